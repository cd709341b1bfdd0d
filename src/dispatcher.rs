//! Ringmain inside another program: the same engine, fed by [`Dispatcher::submit`], with sinks and steps of the
//! program's own beside the built-in ones.
//!
//! Everything that holds for the binary holds here: order per stream, bounded memory, the ledger. What was submitted
//! successfully is delivered, or counted as dropped with a reason.

use crate::admin::{Health, Snapshot};
use crate::config::keys::GeneralConfig;
use crate::config::{Config, PipelineConfig, PipelineKeys, Report, SinkConfig, SourceConfig};
use crate::engine::{Ended, Engine, StartError};
use crate::sinks::Sink;
use crate::sinks::config::{SinkKeys, SinkKind};
use crate::sinks::custom::CustomSink;
use crate::sources::config::SourceKind;
use crate::sources::submit::{LogEntry, Refusal, Refused, SubmitSourceConfig, Submitter};
use crate::steps::Step;
use crate::steps::config::StepConfig;
use crate::steps::custom::CustomStep;
use crate::units::{Auto, Pairs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::admin::health::Component;

/// How every component is, and why.
pub type HealthStatus = Health;

/// The name of the source of submitted entries, and of its pipeline.
pub const SUBMIT: &str = "submit";

/// What is read in place of a file, so that a config made in code is checked as one that was written.
const REST: &str = "\nsources: { submit: { type: stdin } }\nsinks: { none: { type: blackhole } }\n";

/// Makes a config in code; what is not said has the default of the binary, except that nothing listens.
#[derive(Clone, Debug)]
pub struct ConfigBuilder(GeneralConfig);

impl Default for ConfigBuilder {
    fn default() -> Self {
        let mut general = GeneralConfig::default();
        general.admin.listen = None;
        ConfigBuilder(general)
    }
}

impl ConfigBuilder {
    /// A config with all defaults.
    pub fn new() -> Self {
        ConfigBuilder::default()
    }

    /// Entries the ring may hold.
    pub fn queue_size(mut self, entries: usize) -> Self {
        self.0.dispatcher.queue_size = entries;
        self
    }

    /// How many workers; without this as many as the cores suggest.
    pub fn workers(mut self, count: usize) -> Self {
        self.0.dispatcher.worker_count = Auto::Set(count);
        self
    }

    /// Entries in a batch: the first size where batches adapt.
    pub fn batch_size(mut self, entries: usize) -> Self {
        self.0.dispatcher.batch_size = entries;
        self
    }

    /// Longest an entry waits for company in its batch.
    pub fn batch_timeout(mut self, timeout: Duration) -> Self {
        self.0.dispatcher.batch_timeout = timeout;
        self
    }

    /// Where checkpoints and the lock are; one dispatcher per directory.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.0.data_dir = dir.into();
        self
    }

    /// Everything else, by its keys.
    pub fn change(mut self, change: impl FnOnce(&mut GeneralConfig)) -> Self {
        change(&mut self.0);
        self
    }

    /// The config, without a sink yet.
    ///
    /// Errors: values that cannot be, or do not fit each other, as they would be reported for a file.
    pub fn build(self) -> Result<Config, Report> {
        // GeneralConfig writes what it reads; a test keeps it so.
        let text = serde_yaml::to_string(&self.0).unwrap_or_default() + REST;
        let mut config = Config::parse("the program's config", &text, &|_| None)?;
        config.sources.clear();
        config.sinks.clear();
        Ok(config)
    }
}

/// A sink to be added: a built-in one by its config, or the program's own.
pub struct AnySink(SinkKind);

impl From<SinkKind> for AnySink {
    fn from(kind: SinkKind) -> Self {
        AnySink(kind)
    }
}

impl<S: Sink + 'static> From<Arc<S>> for AnySink {
    fn from(sink: Arc<S>) -> Self {
        AnySink(SinkKind::Custom(CustomSink(sink)))
    }
}

/// A dispatcher in this process.
pub struct Dispatcher {
    config: Config,
    running: Option<(Engine, Submitter)>,
}

/// A few numbers; the rest is in [`Dispatcher::snapshot`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// How full the ring is, 0 to 1, by whichever of its limits is nearer.
    pub queue_utilization: f64,
    /// Entries that left a pipeline per second, lately.
    pub throughput_per_second: f64,
    /// What an entry's way takes on average since the start: the wait in the ring, the work on its block, and one
    /// request to a sink. Its wait for a batch is not in it.
    pub average_latency: Duration,
    /// Entries taken in.
    pub received: u64,
    /// Copies delivered.
    pub delivered: u64,
    /// Entries and copies dropped, whatever the reason.
    pub dropped: u64,
    /// Entries and copies on their way.
    pub in_flight: u64,
}

impl Dispatcher {
    /// A dispatcher with the sources, pipelines and sinks of `config`, and the source [`SUBMIT`] for submitted entries.
    /// If the config has a pipeline of that name, they go through it. Nothing runs yet.
    pub fn new(mut config: Config) -> Self {
        if !config.sources.iter().any(|source| source.name == SUBMIT) {
            config.sources.push(SourceConfig {
                name: SUBMIT.into(),
                pipeline: config.pipeline(SUBMIT).map(|pipeline| pipeline.name.clone()),
                strategy: config.dispatcher.backpressure.in_force(),
                rate_limit: None,
                kind: SourceKind::Submit(SubmitSourceConfig {}),
                labels: Pairs::default(),
            });
        }
        Dispatcher { config, running: None }
    }

    /// Adds a sink before the start; all entries go to it. One of the same name gives way.
    pub fn add_sink(&mut self, name: &str, sink: impl Into<AnySink>) -> &mut Self {
        let AnySink(kind) = sink.into();
        self.config.sinks.retain(|known| known.name != name);
        self.config.sinks.push(SinkConfig {
            name: name.into(),
            enabled: true,
            when: None,
            lane: crate::config::lane(&self.config.dispatcher, &SinkKeys::default(), &kind),
            kind,
        });
        self
    }

    /// Adds a step before the start, behind those submitted entries go through already.
    pub fn add_step(&mut self, step: Arc<dyn Step>) -> &mut Self {
        let step = StepConfig::Custom(CustomStep(step));
        match self.config.pipelines.iter_mut().find(|pipeline| pipeline.name == SUBMIT) {
            Some(pipeline) => pipeline.steps.push(step),
            None => self.config.pipelines.push(PipelineConfig {
                name: SUBMIT.into(),
                workers: PipelineKeys::default(),
                steps: vec![step],
            }),
        }
        for source in self.config.sources.iter_mut().filter(|source| source.name == SUBMIT) {
            source.pipeline = Some(SUBMIT.into());
        }
        self
    }

    /// Starts it; a second call does nothing.
    ///
    /// Errors: there is no sink, or something cannot be had (a port, a directory); nothing runs then.
    pub fn start(&mut self) -> Result<(), StartError> {
        if self.running.is_some() {
            return Ok(());
        }
        if self.config.enabled_sinks().next().is_none() {
            return Err(StartError::Config("there is no sink: add one before the start".into()));
        }
        let engine = Engine::start(self.config.clone())?;
        let Some(submitter) = engine.submitter(SUBMIT) else {
            engine.stop(Instant::now());
            return Err(StartError::Config(format!("the source `{SUBMIT}` is not for submitted entries")));
        };
        self.running = Some((engine, submitter));
        Ok(())
    }

    /// Takes an entry in. Success means it is accepted: it will be delivered, or counted as dropped with a reason.
    /// Where there is no room it waits (strategy `block`) or gives up entries as the strategy says.
    ///
    /// Errors: the dispatcher does not run, or the entry is too long; it comes back.
    pub fn submit(&self, entry: LogEntry) -> Result<(), Refused> {
        match &self.running {
            Some((_, submitter)) => submitter.submit(entry),
            None => Err(Refused { entry, why: Refusal::Stopping }),
        }
    }

    /// Takes an entry in if that needs no waiting.
    ///
    /// Errors: as [`Dispatcher::submit`], or there is no room now.
    pub fn try_submit(&self, entry: LogEntry) -> Result<(), Refused> {
        match &self.running {
            Some((_, submitter)) => submitter.try_submit(entry),
            None => Err(Refused { entry, why: Refusal::Stopping }),
        }
    }

    /// Takes entries in, in their order.
    ///
    /// Errors: as [`Dispatcher::submit`]; those that were not taken come back.
    pub fn submit_batch(
        &self,
        entries: impl IntoIterator<Item = LogEntry>,
    ) -> Result<(), (Refusal, Vec<LogEntry>)> {
        match &self.running {
            Some((_, submitter)) => submitter.submit_batch(entries),
            None => Err((Refusal::Stopping, entries.into_iter().collect())),
        }
    }

    /// The way in, to be given to other threads; `None` while it does not run.
    pub fn submitter(&self) -> Option<Submitter> {
        self.running.as_ref().map(|(_, submitter)| submitter.clone())
    }

    /// A few numbers; all zero while it does not run.
    pub fn stats(&self) -> Stats {
        let snapshot = self.snapshot();
        let latency = self.running.as_ref().map(|(engine, _)| engine.mean_latency());
        let (sources, sinks) = (&snapshot.sources, &snapshot.sinks);
        Stats {
            queue_utilization: snapshot.ring.utilization,
            throughput_per_second: snapshot.rates.processed,
            average_latency: latency.unwrap_or_default(),
            received: sources.iter().map(|source| source.received).sum(),
            delivered: sinks.iter().map(|sink| sink.delivered).sum(),
            dropped: sources.iter().flat_map(|source| source.dropped.values()).sum::<u64>()
                + sinks.iter().flat_map(|sink| sink.dropped.values()).sum::<u64>(),
            in_flight: sources.iter().map(|source| source.in_transit).sum::<u64>()
                + sinks.iter().map(|sink| sink.in_flight).sum::<u64>(),
        }
    }

    /// All numbers, as `/stats` shows them; empty while it does not run.
    pub fn snapshot(&self) -> Snapshot {
        self.running.as_ref().map_or_else(Snapshot::default, |(engine, _)| engine.snapshot())
    }

    /// How every component is, and why; no component while it does not run.
    pub fn health(&self) -> HealthStatus {
        self.running.as_ref().map_or_else(HealthStatus::default, |(engine, _)| engine.health())
    }

    /// Ends it: nothing more is taken in, what is here is delivered until `deadline`. Says what was and was not
    /// delivered; `None` if it did not run.
    pub fn stop(&mut self, deadline: Duration) -> Option<Ended> {
        let (engine, _) = self.running.take()?;
        Some(engine.stop(Instant::now() + deadline))
    }
}

impl Drop for Dispatcher {
    /// Ends it with the deadline of its config, `dispatcher.drain_timeout`.
    fn drop(&mut self) {
        self.stop(self.config.dispatcher.drain_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_made_in_code_is_what_was_asked_for_and_checked_like_a_file() {
        let config = ConfigBuilder::new()
            .queue_size(5000)
            .workers(3)
            .batch_size(200)
            .batch_timeout(Duration::from_millis(1500))
            .data_dir("/somewhere/else")
            .build()
            .unwrap();
        let dispatcher = &config.dispatcher;
        assert_eq!((dispatcher.queue_size, dispatcher.batch_size), (5000, 200));
        assert_eq!((config.decided.workers, dispatcher.batch_timeout), (3, Duration::from_millis(1500)));
        assert_eq!((config.data_dir, config.admin.listen), ("/somewhere/else".into(), None));

        let defaults = ConfigBuilder::new().build().unwrap();
        let GeneralConfig { dispatcher, quotas, affinity, .. } = GeneralConfig::default();
        assert_eq!((defaults.dispatcher, defaults.quotas, defaults.affinity), (dispatcher, quotas, affinity));

        let wrong =
            ConfigBuilder::new().change(|general| general.dispatcher.backpressure.low_watermark = 0.9);
        assert!(wrong.build().unwrap_err().render(false).contains("low_watermark"));
    }

    #[test]
    fn without_a_sink_or_a_start_nothing_is_taken_and_entries_come_back() {
        let mut dispatcher = Dispatcher::new(ConfigBuilder::new().build().unwrap());
        assert!(dispatcher.start().unwrap_err().to_string().contains("no sink"));
        let refused = dispatcher.submit(LogEntry::new("x")).unwrap_err();
        assert_eq!((refused.why, refused.entry), (Refusal::Stopping, LogEntry::new("x")));
        assert_eq!(dispatcher.stats().received, 0);
        assert!(dispatcher.stop(Duration::ZERO).is_none());
    }
}
