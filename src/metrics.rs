//! The recorder behind `/metrics`: what is measured where it happens, and the page a scrape is answered with.
//!
//! Only durations and sizes are recorded as they happen (histograms, once per block, batch or request). All other numbers
//! are read from a snapshot when someone asks, so that they cost nothing until then, and vanish with what they describe.
//!
//! Every engine has a recorder of its own; the process-wide one of the `metrics` crate is not used, since several engines
//! may live in one process. Not here: which numbers a snapshot has (see `admin`).

use metrics::{Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use std::sync::Arc;

/// Upper bounds of the histograms of durations, in seconds: a block takes microseconds, a sick sink a minute.
pub const SECONDS_BUCKETS: [f64; 17] = [
    0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    15.0, 60.0,
];
/// Upper bounds of the histograms of sizes, in entries.
pub const ENTRIES_BUCKETS: [f64; 13] =
    [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6];

const PROCESSING: &str = "dispatcher_processing_duration_seconds";
const QUEUE_WAIT: &str = "dispatcher_queue_wait_duration_seconds";
const TASK: &str = "dispatcher_worker_task_duration_seconds";
const DELIVERY: &str = "dispatcher_sink_delivery_duration_seconds";
const BATCH: &str = "dispatcher_sink_batch_entries";
const SYNC: &str = "dispatcher_sink_buffer_sync_duration_seconds";

/// The level and origin the `metrics` crate wants with each metric; nobody filters by them here.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// What workers record, in seconds, once per block. Cheap to clone; clones share their histograms.
#[derive(Clone)]
pub struct WorkerTelemetry {
    /// A block's pipeline.
    pub processing: Histogram,
    /// From the push into the ring to the pop.
    pub queue_wait: Histogram,
    /// A worker's whole turn with a block.
    pub task: Histogram,
}

/// What a sink's senders record, once per batch or request. Cheap to clone; clones share their histograms.
#[derive(Clone)]
pub struct SinkTelemetry {
    /// One request, in seconds, whatever its answer.
    pub delivery: Histogram,
    /// The entries in a batch, when it is cut.
    pub batch_entries: Histogram,
}

/// One engine's recorder. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Telemetry {
    /// A recorder that has recorded nothing.
    pub fn new() -> Self {
        let recorder = builder().unwrap_or_default().build_recorder();
        let describe = |name: &'static str, help: &'static str| {
            recorder.describe_histogram(name.into(), None, help.into())
        };
        describe(PROCESSING, "How long a block's pipeline took.");
        describe(QUEUE_WAIT, "How long a block waited in the ring.");
        describe(TASK, "How long a worker's whole turn with a block took.");
        describe(DELIVERY, "How long one request to a sink took, whatever its answer.");
        describe(BATCH, "Entries in a batch when it was cut.");
        describe(SYNC, "How long it took to make a group of records in a buffer safe.");
        Telemetry { handle: recorder.handle(), recorder: Arc::new(recorder) }
    }

    /// What the workers of the pool called `pool` record.
    pub fn workers(&self, pool: &str) -> WorkerTelemetry {
        let label = || vec![Label::new("pool", pool.to_owned())];
        WorkerTelemetry {
            processing: self.histogram(PROCESSING, label()),
            queue_wait: self.histogram(QUEUE_WAIT, label()),
            task: self.histogram(TASK, label()),
        }
    }

    /// What the senders of the sink called `name` record.
    pub fn sink(&self, name: &str) -> SinkTelemetry {
        let label = || vec![Label::new("sink", name.to_owned())];
        SinkTelemetry {
            delivery: self.histogram(DELIVERY, label()),
            batch_entries: self.histogram(BATCH, label()),
        }
    }

    /// How long the syncs of the buffer of the sink called `name` take, in seconds.
    pub fn buffer_sync(&self, name: &str) -> Histogram {
        self.histogram(SYNC, vec![Label::new("sink", name.to_owned())])
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
    }

    /// Sorts recorded samples into their buckets. Until then, or until a scrape, each keeps its own 16 bytes: call it
    /// every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The mean of all samples of the histogram called `name`, whatever its labels; 0 without any.
    fn mean(&self, name: &str) -> f64 {
        let text = self.handle.render();
        let total = |suffix: &str| -> f64 {
            let of_it = |line: &&str| {
                line.strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix(suffix))
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let count = total("_count");
        if count > 0.0 { total("_sum") / count } else { 0.0 }
    }

    /// How long a request to a sink takes, in seconds: the mean over all of them; 0 before the first.
    pub fn mean_delivery(&self) -> f64 {
        self.mean(DELIVERY)
    }

    /// The answer to a scrape, in the Prometheus text format 0.0.4: the histograms, and what `fill` puts on the page.
    pub fn render(&self, fill: impl FnOnce(&Page)) -> String {
        let page = Page(PrometheusBuilder::new().build_recorder());
        fill(&page);
        let mut text = page.0.handle().render();
        text.push_str(&self.handle.render());
        text
    }
}

impl WorkerTelemetry {
    /// Records nothing.
    pub fn none() -> Self {
        WorkerTelemetry {
            processing: Histogram::noop(),
            queue_wait: Histogram::noop(),
            task: Histogram::noop(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry::new()
    }
}

/// Errors: never, the buckets are not empty; a test keeps it so.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_entries".into()), &ENTRIES_BUCKETS)
}

/// Labels of a number: names and values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// The numbers of one scrape. It begins empty each time, so nothing outlives what it describes.
pub struct Page(PrometheusRecorder);

impl Page {
    /// Writes down a number that only grows; its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Labels<'_>, value: u64) {
        self.0.describe_counter(name.into(), None, help.into());
        self.0.register_counter(&key(name, labels), &METADATA).absolute(value);
    }

    /// Writes down a number that comes and goes.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Labels<'_>, value: f64) {
        self.0.describe_gauge(name.into(), None, help.into());
        self.0.register_gauge(&key(name, labels), &METADATA).set(value);
    }
}

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|other| other == line)
    }

    #[test]
    fn every_histogram_moves_in_its_buckets() {
        assert!(builder().is_ok());
        let telemetry = Telemetry::new();
        let (workers, sink) = (telemetry.workers("general"), telemetry.sink("out"));
        let before = telemetry.render(|_| ());
        for name in [PROCESSING, QUEUE_WAIT, TASK] {
            assert!(has(&before, &format!("{name}_count{{pool=\"general\"}} 0")), "{name} in\n{before}");
        }
        workers.processing.record(0.000_02);
        workers.queue_wait.record(0.5);
        workers.task.record(61.0);
        sink.delivery.record(0.002);
        assert!((telemetry.mean(QUEUE_WAIT) - 0.5).abs() < 1e-9 && telemetry.mean("none") == 0.0);
        telemetry.upkeep();
        sink.batch_entries.record(100.0);
        let after = telemetry.render(|_| ());
        for line in [
            "dispatcher_processing_duration_seconds_bucket{pool=\"general\",le=\"0.00001\"} 0",
            "dispatcher_processing_duration_seconds_bucket{pool=\"general\",le=\"0.00003\"} 1",
            "dispatcher_queue_wait_duration_seconds_sum{pool=\"general\"} 0.5",
            "dispatcher_worker_task_duration_seconds_bucket{pool=\"general\",le=\"60\"} 0",
            "dispatcher_worker_task_duration_seconds_bucket{pool=\"general\",le=\"+Inf\"} 1",
            "dispatcher_sink_delivery_duration_seconds_count{sink=\"out\"} 1",
            "dispatcher_sink_batch_entries_bucket{sink=\"out\",le=\"30\"} 0",
            "dispatcher_sink_batch_entries_bucket{sink=\"out\",le=\"100\"} 1",
            "# TYPE dispatcher_sink_batch_entries histogram",
        ] {
            assert!(has(&after, line), "{line} in\n{after}");
        }
    }

    #[test]
    fn engines_in_one_process_do_not_see_each_other_s_numbers() {
        let (one, other) = (Telemetry::new(), Telemetry::new());
        one.workers("general").task.record(1.0);
        other.workers("general");
        assert!(has(
            &one.render(|_| ()),
            "dispatcher_worker_task_duration_seconds_count{pool=\"general\"} 1"
        ));
        assert!(has(
            &other.render(|_| ()),
            "dispatcher_worker_task_duration_seconds_count{pool=\"general\"} 0"
        ));
    }

    #[test]
    fn a_page_begins_empty_and_keeps_strange_label_values_apart() {
        let telemetry = Telemetry::new();
        let text = telemetry.render(|page| {
            page.counter("a_total", "A.", &[("source", "x\"y\\z\n")], 7);
            page.counter("a_total", "A.", &[("source", "plain")], 8);
            page.gauge("b", "B.", &[], 0.25);
        });
        for line in [
            r#"a_total{source="x\"y\\z\n"} 7"#,
            r#"a_total{source="plain"} 8"#,
            "b 0.25",
            "# HELP a_total A.",
        ] {
            assert!(has(&text, line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE a_total counter").count(), 1);
        assert!(!telemetry.render(|_| ()).contains("a_total"));
    }
}
