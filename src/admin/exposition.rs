//! A snapshot as Prometheus reads it.
//!
//! Names: `dispatcher_` for the whole, `dispatcher_source_` and `dispatcher_sink_` for rows of the ledger, `process_` for
//! what every process has; base units; `_total` for what only grows. Labels are names from the config, words from a fixed
//! list, and our threads: bounded.

use super::custom;
use super::letters;
use super::ordered::OrderedStats;
use super::process::{ProcessStats, ThreadStats};
use super::rows::{BufferStats, DroppedStats, SinkState, SinkStats, SourceStats, StepStats};
use super::snapshot::Snapshot;
use super::workers;
use crate::metrics::{Page, Telemetry};

/// The answer to a scrape: the snapshot's numbers and the histograms.
pub fn render(telemetry: &Telemetry, snapshot: &Snapshot) -> String {
    let mut text = telemetry.render(|page| {
        whole(page, snapshot);
        queue_and_workers(page, snapshot);
        memory(page, snapshot);
        process(page, &snapshot.process);
        snapshot.sources.iter().for_each(|source| source_row(page, source));
        snapshot.ordered.iter().for_each(|row| ordered_row(page, row));
        snapshot.sinks.iter().for_each(|sink| sink_row(page, sink));
        snapshot.dlq.iter().for_each(|letters| letters::rows(page, letters));
        snapshot.threads.iter().for_each(|thread| thread_row(page, thread));
    });
    snapshot.metrics.iter().for_each(|metric| custom::write(&mut text, &metric.view));
    text
}

fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

fn whole(page: &Page, snapshot: &Snapshot) {
    let all = &snapshot.ledger;
    page.counter("dispatcher_entries_received_total", "Entries admitted.", &[], all.received);
    page.counter(
        "dispatcher_entries_processed_total",
        "Entries that left a pipeline, filtered ones too.",
        &[],
        all.processed,
    );
    page.counter(
        "dispatcher_entries_failed_total",
        "Entries that a step or a sink refused.",
        &[],
        all.failed,
    );
    page.gauge(
        "dispatcher_entries_per_second",
        "Entries that left a pipeline, per second.",
        &[],
        snapshot.rates.processed,
    );
    page.gauge(
        "dispatcher_ledger_broken",
        "1 if the books do not add up at rest: entries were lost by a fault of ours.",
        &[],
        flag(all.broken.is_some()),
    );
    page.gauge("dispatcher_build_info", "1, with the version.", &[("version", snapshot.version)], 1.0);
    page.gauge("dispatcher_uptime_seconds", "Time since the engine began.", &[], snapshot.uptime_seconds);
}

fn queue_and_workers(page: &Page, snapshot: &Snapshot) {
    let ring = &snapshot.ring;
    page.gauge("dispatcher_queue_size", "Entries in the ring.", &[], ring.entries as f64);
    page.gauge("dispatcher_queue_limit", "Entries the ring may hold.", &[], ring.entries_limit as f64);
    page.gauge("dispatcher_queue_bytes", "Bytes in the ring.", &[], ring.bytes as f64);
    page.gauge("dispatcher_queue_limit_bytes", "Bytes the ring may hold.", &[], ring.bytes_limit as f64);
    page.gauge(
        "dispatcher_queue_utilization",
        "How full the ring is, 0 to 1, by whichever limit is nearer.",
        &[],
        ring.utilization,
    );
    page.gauge(
        "dispatcher_queue_congested",
        "1 from the high watermark down to the low one.",
        &[],
        flag(ring.congested),
    );
    page.counter(
        "dispatcher_backpressure_triggered_total",
        "Times the ring came to its high watermark.",
        &[],
        ring.backpressure_triggered,
    );
    page.gauge(
        "dispatcher_rate_limit_keys",
        "Label values with a rate limit of their own, of the limit of all sources.",
        &[],
        snapshot.rate_limit_keys as f64,
    );
    workers::rows(page, &snapshot.workers);
    page.gauge(
        "dispatcher_threads_stuck",
        "Threads that are at the same thing for too long.",
        &[],
        snapshot.threads_stuck as f64,
    );
    let waiting: u64 = snapshot.domains.iter().map(|domain| domain.waiting).sum();
    page.gauge(
        "dispatcher_sequencer_waiting_blocks",
        "Blocks that wait for an earlier one.",
        &[],
        waiting as f64,
    );
}

fn memory(page: &Page, snapshot: &Snapshot) {
    let memory = &snapshot.memory;
    page.gauge(
        "dispatcher_transit_bytes",
        "Bytes of blocks between source and lane.",
        &[],
        memory.transit_bytes as f64,
    );
    page.gauge("dispatcher_transit_limit_bytes", "Most of these.", &[], memory.transit_limit_bytes as f64);
    page.gauge(
        "dispatcher_blocks_bytes",
        "Bytes of all blocks with what steps made of them, free ones too.",
        &[],
        memory.blocks_bytes as f64,
    );
    page.gauge(
        "dispatcher_blocks_limit_bytes",
        "What blocks may take of quotas.max_memory.",
        &[],
        memory.blocks_limit_bytes as f64,
    );
    for quota in &snapshot.quotas {
        let of = &[("quota", quota.name)];
        if let Some(limit) = quota.limit {
            page.gauge("dispatcher_quota_limit", "Most there may be.", of, limit.as_f64());
        }
        page.gauge("dispatcher_quota_used", "How much of it there is.", of, quota.used.as_f64());
        page.gauge("dispatcher_quota_peak", "How much there was at most.", of, quota.peak.as_f64());
    }
    page.counter(
        "dispatcher_cpu_limit_rest_seconds_total",
        "How long threads rested for quotas.cpu_limit, all together, in whole seconds.",
        &[],
        snapshot.cpu_limit_rest_seconds as u64,
    );
    for pool in &memory.pools {
        let class = pool.class_bytes.to_string();
        let bytes = |blocks: usize| (blocks * pool.class_bytes) as f64;
        for (state, blocks) in [("free", pool.free), ("used", pool.made.saturating_sub(pool.free))] {
            page.gauge(
                "dispatcher_pool_bytes",
                "Bytes of text that pooled blocks hold, by class.",
                &[("class", &class), ("state", state)],
                bytes(blocks),
            );
        }
    }
}

fn process(page: &Page, process: &ProcessStats) {
    page.gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        &[],
        process.resident_bytes as f64,
    );
    page.gauge("process_threads", "Number of OS threads in the process.", &[], process.threads as f64);
    page.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        &[],
        process.start_time_seconds,
    );
    page.counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time in whole seconds.",
        &[],
        process.cpu_seconds as u64,
    );
    page.gauge("process_open_fds", "Number of open file descriptors.", &[], process.open_fds as f64);
    page.gauge("process_max_fds", "Maximum number of open file descriptors.", &[], process.max_fds as f64);
}

fn thread_row(page: &Page, thread: &ThreadStats) {
    page.counter(
        "dispatcher_thread_cpu_seconds_total",
        "CPU time of a thread in whole seconds.",
        &[("thread", &thread.name)],
        thread.cpu_seconds.unwrap_or(0.0) as u64,
    );
}

fn source_row(page: &Page, source: &SourceStats) {
    let of = &[("source", &*source.name)];
    let counter = |name, help, value| page.counter(name, help, of, value);
    let gauge = |name, help, value| page.gauge(name, help, of, value);
    counter("dispatcher_source_received_total", "Entries admitted.", source.received);
    counter("dispatcher_source_received_bytes_total", "Bytes of admitted entries.", source.received_bytes);
    counter("dispatcher_source_filtered_total", "Entries a step took out.", source.filtered);
    counter("dispatcher_source_routed_total", "Entries that went to a lane or several.", source.routed);
    counter("dispatcher_source_unrouted_total", "Entries that no sink wanted.", source.unrouted);
    gauge("dispatcher_source_in_transit", "Entries between admission and lane.", source.in_transit as f64);
    counter(
        "dispatcher_source_fan_out_extra_total",
        "Copies beyond the first that routed entries made.",
        source.fan_out_extra,
    );
    counter("dispatcher_source_processed_total", "Entries that left the pipeline.", source.processed);
    counter("dispatcher_source_step_errors_total", "Entries a step could not work on.", source.step_errors);
    counter("dispatcher_source_cut_total", "Entries cut at the longest line.", source.cut);
    counter("dispatcher_source_replayed_blocks_total", "Blocks given again.", source.replayed_blocks);
    counter(
        "dispatcher_source_kernel_drops_total",
        "Datagrams the kernel threw away before we saw them.",
        source.kernel_drops,
    );
    gauge("dispatcher_source_lag_bytes", "Bytes known to wait outside.", source.lag_bytes as f64);
    gauge("dispatcher_source_lag_seconds", "Age of the oldest of them.", source.lag_ms as f64 / 1e3);
    gauge("dispatcher_source_streams", "Open streams: files, connections.", source.streams as f64);
    counter(
        "dispatcher_source_files_rotated_total",
        "Files that were renamed or deleted while they were followed.",
        source.files_rotated,
    );
    counter(
        "dispatcher_source_files_truncated_total",
        "Files that were cut or written anew in place.",
        source.files_truncated,
    );
    counter(
        "dispatcher_source_files_vanished_total",
        "Files that could not be read to their end.",
        source.files_vanished,
    );
    counter(
        "dispatcher_source_refused_connections_total",
        "Connections refused at a limit.",
        source.refused_connections,
    );
    counter(
        "dispatcher_source_broken_connections_total",
        "Connections closed as they could not be understood.",
        source.broken_connections,
    );
    counter("dispatcher_source_blocked_total", "Times it found no room.", source.blocked);
    counter("dispatcher_source_paced_total", "Times it had to wait for its rate.", source.paced);
    gauge(
        "dispatcher_source_rate_limit_keys",
        "Label values with a rate limit of their own.",
        source.rate_limit_keys as f64,
    );
    // One series from the beginning, so that a rate has where to start from.
    let ok = (!source.requests.contains_key(&200)).then_some((200, 0));
    for (status, count) in source.requests.iter().map(|(status, count)| (*status, *count)).chain(ok) {
        page.counter(
            "dispatcher_source_requests_total",
            "HTTP requests answered.",
            &[of[0], ("status", &status.to_string())],
            count,
        );
    }
    counter("dispatcher_source_request_bytes_total", "Bytes of HTTP bodies, as sent.", source.request_bytes);
    counter(
        "dispatcher_source_refused_entries_total",
        "Entries of HTTP requests refused, and their senders told.",
        source.refused_entries,
    );
    gauge(
        "dispatcher_source_gate_closed",
        "1 while a full lane keeps it from reading.",
        flag(!source.gate_open),
    );
    dropped(
        page,
        "dispatcher_source_dropped_total",
        "Entries dropped before they had a lane.",
        of[0],
        &source.dropped,
    );
    source.steps.iter().for_each(|step| step_row(page, &source.name, step));
}

fn step_row(page: &Page, source: &str, step: &StepStats) {
    let place = step.step.to_string();
    let of = &[("source", source), ("step", &*place), ("verb", step.verb)];
    page.counter("dispatcher_step_entries_total", "Entries that came to a step.", of, step.entries);
    page.counter("dispatcher_step_errors_total", "Entries a step could not work on.", of, step.errors);
    page.counter("dispatcher_step_discarded_total", "Entries a step took out.", of, step.discarded);
    // Not a counter, as those are whole numbers here.
    page.gauge("dispatcher_step_busy_seconds", "Time a step took in all; only grows.", of, step.seconds);
}

fn ordered_row(page: &Page, row: &OrderedStats) {
    let place = row.step.to_string();
    let of = &[("pipeline", &*row.pipeline), ("step", &*place), ("verb", row.verb)];
    page.gauge("dispatcher_ordered_keys", "Keys an ordered step knows.", of, row.keys as f64);
    page.counter("dispatcher_ordered_evicted_total", "Keys it forgot for want of room.", of, row.evicted);
    page.counter(
        "dispatcher_ordered_lost_counts_total",
        "Counts of what it took out that could not be told.",
        of,
        row.lost_counts,
    );
}

fn sink_row(page: &Page, sink: &SinkStats) {
    let of = &[("sink", &*sink.name)];
    let counter = |name, help, value| page.counter(name, help, of, value);
    let gauge = |name, help, value| page.gauge(name, help, of, value);
    counter("dispatcher_sink_copies_total", "Copies that came to the lane.", sink.copies);
    counter("dispatcher_sink_delivered_total", "Copies the sink took.", sink.delivered);
    counter("dispatcher_sink_delivered_bytes_total", "Bytes of delivered copies.", sink.delivered_bytes);
    gauge("dispatcher_sink_persisted", "Copies in the buffer on disk.", sink.persisted as f64);
    counter("dispatcher_sink_dead_lettered_total", "Copies among the dead letters.", sink.dead_lettered);
    gauge("dispatcher_sink_in_flight", "Copies in the lane or being sent.", sink.in_flight as f64);
    gauge("dispatcher_sink_pinned_bytes", "Memory the lane holds on to.", sink.pinned_bytes as f64);
    counter("dispatcher_sink_retries_total", "Attempts beyond a batch's first.", sink.retries);
    counter("dispatcher_sink_batches_total", "Batches settled.", sink.batches);
    gauge("dispatcher_sink_batches_out", "Batches being sent.", sink.batches_out as f64);
    counter("dispatcher_sink_errors_total", "Attempts that failed.", sink.errors);
    counter(
        "dispatcher_sink_bisect_requests_total",
        "Requests that looked for what was wrong with a batch.",
        sink.bisect_requests,
    );
    counter("dispatcher_sink_fallback_total", "Delivered copies that its fallback took.", sink.fallback);
    gauge(
        "dispatcher_sink_breaker_open",
        "0 while its breaker is closed, 1 while it is open, 0.5 while it is half open.",
        match sink.breaker.state {
            "open" => 1.0,
            "half_open" => 0.5,
            _ => 0.0,
        },
    );
    gauge(
        "dispatcher_sink_denied_since_seconds",
        "When it began not to let us in, since unix epoch; 0 while it does.",
        sink.denied_since as f64,
    );
    for (to, count) in &sink.breaker.changes {
        page.counter(
            "dispatcher_sink_breaker_transitions_total",
            "Changes of its breaker, by what it became.",
            &[of[0], ("to", to)],
            *count,
        );
    }
    counter(
        "dispatcher_sink_overflowed_total",
        "Copies beyond the bound on files or streams.",
        sink.overflowed,
    );
    counter("dispatcher_sink_duplicated_total", "Entries that may be written twice.", sink.duplicated);
    gauge(
        "dispatcher_sink_retrying",
        "1 while a batch is tried again.",
        flag(sink.state == SinkState::Retrying),
    );
    counter("dispatcher_sink_stored_total", "Copies that were put on disk.", sink.stored);
    sink.buffer.iter().for_each(|buffer| buffer_row(page, &sink.name, buffer));
    let lane = &sink.lane;
    gauge("dispatcher_sink_queue_size", "Copies that wait for a sender.", lane.entries as f64);
    gauge("dispatcher_sink_queue_bytes", "Bytes of their text.", lane.bytes as f64);
    gauge("dispatcher_sink_queue_age_seconds", "Wait of the oldest of them.", lane.oldest_ms as f64 / 1e3);
    gauge("dispatcher_sink_gate_closed", "1 while it keeps sources from reading.", flag(lane.gate_closed));
    gauge(
        "dispatcher_sink_batches_out_limit",
        "Batches that may be out at once.",
        lane.batches_out_limit as f64,
    );
    gauge("dispatcher_sink_batch_want", "Entries the next batch should have.", lane.batch_want as f64);
    dropped(page, "dispatcher_sink_dropped_total", "Copies dropped.", of[0], &sink.dropped);
}

fn buffer_row(page: &Page, sink: &str, buffer: &BufferStats) {
    let of = &[("sink", sink)];
    let gauge = |name, help, value| page.gauge(name, help, of, value);
    gauge("dispatcher_sink_buffer_bytes", "Bytes of the buffer on disk.", buffer.bytes as f64);
    gauge("dispatcher_sink_buffer_entries", "Entries in it that are not delivered.", buffer.entries as f64);
    gauge("dispatcher_sink_buffer_age_seconds", "Age of the oldest of them.", buffer.oldest_ms as f64 / 1e3);
    gauge("dispatcher_sink_buffer_segments", "Files it consists of.", buffer.segments as f64);
    page.counter(
        "dispatcher_sink_buffer_lost_entries_total",
        "Entries in it that were damaged.",
        of,
        buffer.lost_entries,
    );
    gauge(
        "dispatcher_sink_buffer_quarantined_bytes",
        "Bytes of damaged ranges kept aside.",
        buffer.quarantined_bytes as f64,
    );
    gauge("dispatcher_sink_buffer_in_use", "1 while entries go to disk.", flag(buffer.in_use));
    gauge(
        "dispatcher_sink_buffer_degraded",
        "1 while it cannot make entries safe.",
        flag(buffer.degraded.is_some()),
    );
}

fn dropped(
    page: &Page,
    name: &'static str,
    help: &'static str,
    of: (&'static str, &str),
    reasons: &DroppedStats,
) {
    for (reason, count) in reasons {
        page.counter(name, help, &[of, ("reason", reason)], *count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{FileStats, LaneStats};
    use super::super::snapshot::{Amount, DomainStats, Phase, PoolStats, QuotaStats};
    use super::super::{Pulse, snapshot};
    use super::*;
    use crate::http::Status;
    use crate::ledger::{Count, Dropped, Ledger, Named, Reason};
    use std::collections::{BTreeMap, BTreeSet};

    /// CONTRACT: the names that users build their dashboards on.
    const PROMISED: [(&str, &str); 12] = [
        ("dispatcher_entries_received_total", "counter"),
        ("dispatcher_entries_processed_total", "counter"),
        ("dispatcher_entries_failed_total", "counter"),
        ("dispatcher_entries_per_second", "gauge"),
        ("dispatcher_processing_duration_seconds", "histogram"),
        ("dispatcher_queue_wait_duration_seconds", "histogram"),
        ("dispatcher_sink_delivery_duration_seconds", "histogram"),
        ("dispatcher_queue_size", "gauge"),
        ("dispatcher_queue_utilization", "gauge"),
        ("dispatcher_backpressure_triggered_total", "counter"),
        ("dispatcher_workers_active", "gauge"),
        ("dispatcher_workers_idle", "gauge"),
    ];

    fn dropped_all(dropped: &Dropped) {
        Reason::ALL.iter().for_each(|reason| dropped.add(*reason, 1));
    }

    fn busy_ledger() -> Ledger {
        let ledger =
            Ledger { sources: vec![Named::new("app", "file")], sinks: vec![Named::new("out", "console")] };
        let row = &ledger.sources[0].row;
        let counts: [&Count; 23] = [
            &row.received,
            &row.received_bytes,
            &row.filtered,
            &row.routed,
            &row.unrouted,
            &row.in_transit,
            &row.fan_out_extra,
            &row.processed,
            &row.step_errors,
            &row.cut,
            &row.replayed_blocks,
            &row.kernel_drops,
            &row.lag_bytes,
            &row.lag_millis,
            &row.streams,
            &row.refused_connections,
            &row.broken_connections,
            &row.blocked,
            &row.files_rotated,
            &row.files_truncated,
            &row.files_vanished,
            &row.paced,
            &row.rate_limit_keys,
        ];
        counts.iter().zip(11..).for_each(|(count, n)| count.add(n));
        dropped_all(&row.dropped);
        row.http.answered.add(Status::OK);
        row.http.body_bytes.add(1);
        row.http.refused_entries.add(1);
        let row = &ledger.sinks[0].row;
        row.breaker_changes.iter().for_each(|count| count.add(2));
        let counts: [&Count; 17] = [
            &row.copies,
            &row.delivered,
            &row.delivered_bytes,
            &row.persisted,
            &row.dead_lettered,
            &row.in_flight,
            &row.pinned_bytes,
            &row.retries,
            &row.batches,
            &row.batches_out,
            &row.errors,
            &row.overflowed,
            &row.duplicated,
            &row.stored,
            &row.bisect_requests,
            &row.fallback,
            &row.denied_since,
        ];
        counts.iter().zip(31..).for_each(|(count, n)| count.add(n));
        dropped_all(&row.dropped);
        ledger
    }

    fn busy(snapshot: &mut Snapshot) {
        snapshot.phase = Phase::Running;
        snapshot.uptime_seconds = 1.5;
        snapshot.rates.processed = 12.5;
        snapshot.ledger.broken = Some("so".into());
        snapshot.ring = snapshot::RingStats {
            congested: true,
            backpressure_triggered: 2,
            ..snapshot::RingStats::of((8000, 1), (10_000, 2000))
        };
        snapshot.rate_limit_keys = 9;
        snapshot.memory.transit_bytes = 5;
        snapshot.memory.transit_limit_bytes = 6;
        (snapshot.memory.blocks_bytes, snapshot.memory.blocks_limit_bytes) = (7, 8);
        let quota =
            |name, [limit, used, peak]: [Amount; 3]| QuotaStats { name, limit: Some(limit), used, peak };
        snapshot.quotas = vec![
            quota("memory", [9, 7, 8].map(Amount::Whole)),
            quota("cpu", [1.5, 0.25, 0.5].map(Amount::Part)),
        ];
        snapshot.cpu_limit_rest_seconds = 3.5;
        snapshot.memory.pools = vec![PoolStats { class_bytes: 4096, made: 3, free: 1 }];
        snapshot.workers = workers::WorkerStats {
            active: 1,
            idle: 2,
            pools: vec![workers::WorkerPoolStats {
                name: "heavy".into(),
                workers: 3,
                max: 4,
                active: 1,
                grown: 5,
                shrunk: 6,
                ring: snapshot::RingStats::of((7, 1), (70, 100)),
                ..Default::default()
            }],
            ..Default::default()
        };
        snapshot.threads_stuck = 1;
        snapshot.domains = vec![DomainStats { waiting: 3, ..Default::default() }];
        snapshot.process.cpu_seconds = 2.9;
        snapshot.threads =
            vec![ThreadStats { name: "worker-0".into(), cpu_seconds: Some(1.2), ..Default::default() }];
        snapshot.sources[0].gate_open = false;
        snapshot.sources[0].steps = vec![StepStats {
            step: 1,
            verb: "parse",
            entries: 9,
            errors: 8,
            discarded: 7,
            seconds: 0.5,
            last_error: None,
        }];
        snapshot.sources[0].show_files([FileStats::default()]);
        snapshot.sinks[0].state = SinkState::Retrying;
        snapshot.sinks[0].buffer = Some(BufferStats {
            bytes: 1,
            entries: 2,
            oldest_ms: 3500,
            segments: 4,
            lost_entries: 5,
            quarantined_bytes: 6,
            in_use: true,
            degraded: Some("so".into()),
        });
        snapshot.sinks[0].breaker.state = "half_open";
        snapshot.sinks[0].lane = LaneStats {
            batches_out_limit: 7,
            entries: 1,
            bytes: 2,
            oldest_ms: 2500,
            gate_closed: true,
            batch_want: 100,
            last_latency_ms: 1.0,
        };
    }

    /// The samples by series, after checking what `promtool check metrics` checks.
    fn checked(text: &str) -> BTreeMap<String, f64> {
        let (mut helps, mut types, mut samples) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(!words.is_empty() && helps.insert(name.to_owned()), "help: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "type twice: {line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(!["_milli", "_ms", "_count", "_sum", "_bucket"].iter().any(|bad| name.contains(bad)));
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let twice = samples.insert(series.to_owned(), value.parse().unwrap());
                assert_eq!(twice, None, "twice: {series}");
                let name = series.split('{').next().unwrap();
                let known = types.keys().any(|family| {
                    let rest = name.strip_prefix(&**family);
                    rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
                });
                assert!(known, "{series} comes before its type");
            }
        }
        assert!(helps.iter().eq(types.keys()), "each has both help and type");
        samples
    }

    #[test]
    fn every_promised_name_is_there_with_its_type() {
        let telemetry = Telemetry::new();
        let _handles = (telemetry.workers("general"), telemetry.sink("out"));
        let text = render(&telemetry, &Snapshot::default());
        checked(&text);
        for (name, kind) in
            PROMISED.into_iter().chain([("dispatcher_worker_task_duration_seconds", "histogram")])
        {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        }
    }

    #[test]
    fn every_number_moves() {
        let ledger =
            Ledger { sources: vec![Named::new("app", "file")], sinks: vec![Named::new("out", "console")] };
        let telemetry = Telemetry::new();
        let mut snapshot = Snapshot::of(&ledger, &Pulse::default(), &[]);
        snapshot.process = ProcessStats::default();
        let still = checked(&render(&telemetry, &snapshot));
        let mut snapshot = Snapshot::of(&busy_ledger(), &Pulse::default(), &[]);
        busy(&mut snapshot);
        let moved = checked(&render(&telemetry, &snapshot));
        for (series, value) in &still {
            assert!(*value == 0.0 || series.contains("build_info"), "{series} was {value} at rest");
            assert!(moved.contains_key(series), "{series} vanished");
        }
        for (series, value) in &moved {
            assert!(*value > 0.0, "{series} did not move");
        }
        assert!(moved.len() > 70, "{}", moved.len());
    }

    #[test]
    fn numbers_stand_under_their_own_name() {
        let mut snapshot = Snapshot::of(&busy_ledger(), &Pulse::default(), &[]);
        busy(&mut snapshot);
        let samples = checked(&render(&Telemetry::new(), &snapshot));
        for (series, value) in [
            ("dispatcher_entries_received_total", 11.0),
            ("dispatcher_quota_limit{quota=\"memory\"}", 9.0),
            ("dispatcher_quota_used{quota=\"memory\"}", 7.0),
            ("dispatcher_quota_peak{quota=\"memory\"}", 8.0),
            ("dispatcher_quota_limit{quota=\"cpu\"}", 1.5),
            ("dispatcher_cpu_limit_rest_seconds_total", 3.0),
            ("dispatcher_blocks_bytes", 7.0),
            ("dispatcher_source_received_total{source=\"app\"}", 11.0),
            ("dispatcher_source_broken_connections_total{source=\"app\"}", 27.0),
            ("dispatcher_source_blocked_total{source=\"app\"}", 28.0),
            ("dispatcher_source_lag_seconds{source=\"app\"}", 0.024),
            ("dispatcher_source_files_vanished_total{source=\"app\"}", 31.0),
            ("dispatcher_source_paced_total{source=\"app\"}", 32.0),
            ("dispatcher_source_rate_limit_keys{source=\"app\"}", 33.0),
            ("dispatcher_sink_batches_out_limit{sink=\"out\"}", 7.0),
            ("dispatcher_source_dropped_total{source=\"app\",reason=\"drop_oldest\"}", 1.0),
            ("dispatcher_step_errors_total{source=\"app\",step=\"1\",verb=\"parse\"}", 8.0),
            ("dispatcher_step_busy_seconds{source=\"app\",step=\"1\",verb=\"parse\"}", 0.5),
            ("dispatcher_sink_copies_total{sink=\"out\"}", 31.0),
            ("dispatcher_sink_errors_total{sink=\"out\"}", 41.0),
            ("dispatcher_sink_overflowed_total{sink=\"out\"}", 42.0),
            ("dispatcher_sink_fallback_total{sink=\"out\"}", 46.0),
            ("dispatcher_sink_breaker_open{sink=\"out\"}", 0.5),
            ("dispatcher_sink_breaker_transitions_total{sink=\"out\",to=\"open\"}", 2.0),
            ("dispatcher_sink_queue_age_seconds{sink=\"out\"}", 2.5),
            ("dispatcher_sink_stored_total{sink=\"out\"}", 44.0),
            ("dispatcher_sink_buffer_age_seconds{sink=\"out\"}", 3.5),
            ("dispatcher_sink_buffer_lost_entries_total{sink=\"out\"}", 5.0),
            ("dispatcher_sink_dropped_total{sink=\"out\",reason=\"rejected\"}", 1.0),
            // A step's errors and panics, the sink's dead letters and refusals.
            ("dispatcher_entries_failed_total", 19.0 + 1.0 + 35.0 + 1.0),
            ("dispatcher_queue_utilization", 0.8),
            ("dispatcher_worker_pool_workers{pool=\"heavy\"}", 3.0),
            ("dispatcher_worker_pool_workers_busy{pool=\"heavy\"}", 1.0),
            ("dispatcher_worker_pool_workers_max{pool=\"heavy\"}", 4.0),
            ("dispatcher_worker_pool_grown_total{pool=\"heavy\"}", 5.0),
            ("dispatcher_worker_pool_shrunk_total{pool=\"heavy\"}", 6.0),
            ("dispatcher_worker_pool_queue_size{pool=\"heavy\"}", 7.0),
            ("dispatcher_worker_pool_queue_utilization{pool=\"heavy\"}", 0.1),
            ("dispatcher_pool_bytes{class=\"4096\",state=\"used\"}", 8192.0),
            ("dispatcher_thread_cpu_seconds_total{thread=\"worker-0\"}", 1.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series}");
        }
    }
}
