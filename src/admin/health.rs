//! How everything is, and why: a judgement of a snapshot.
//!
//! *Degraded* means late but safe: something waits or is tried again, and a person may want to look. *Failing* means that
//! this process will not recover by waiting. A healthy component has no reason.

use super::rows::{SinkState, SinkStats, SourceStats};
use super::snapshot::{Phase, RingStats, Snapshot};
use crate::delivery::breaker::BreakerState;
use serde::Serialize;

/// A source is behind when its lag grew by more than this in half a minute; less is the ebb and flow of reading.
pub const LAG_GROWTH_MAX: u64 = 1 << 20;
/// From this share of the transit memory on, sources wait for memory.
const MEMORY_SHORT: f64 = 0.95;

/// How something is; the worst of several is the greatest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    #[default]
    Ok,
    /// Late, but safe.
    Degraded,
    /// It will not get better by waiting.
    Failing,
}

/// How one component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// What it is, and its name: `sink archive`.
    pub name: String,
    /// How it is.
    pub status: Status,
    /// Why it is not better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The worst of all components.
    pub status: Status,
    /// Where in its life the engine is.
    pub phase: Phase,
    /// All components, healthy ones too.
    pub components: Vec<Component>,
}

impl Health {
    /// Judges `snapshot`.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut health = Health { phase: snapshot.phase, ..Health::default() };
        for source in &snapshot.sources {
            health.add(format!("source {}", source.name), Status::Degraded, of_source(source));
        }
        for sink in &snapshot.sinks {
            health.add(format!("sink {}", sink.name), Status::Degraded, of_sink(sink));
        }
        health.add("ring".into(), Status::Degraded, of_ring(&snapshot.ring));
        health.add("memory".into(), Status::Degraded, of_memory(snapshot));
        let (status, threads) = of_threads(snapshot);
        health.add("threads".into(), status, threads);
        if let Some(letters) = &snapshot.dlq {
            let said = letters.trouble.clone().or_else(|| letters.alarm.clone());
            health.add("dead letters".into(), Status::Degraded, said);
        }
        let broken = snapshot.ledger.broken.as_ref();
        health.add(
            "ledger".into(),
            Status::Degraded,
            broken.map(|text| format!("it does not add up: {text}")),
        );
        health
    }

    fn add(&mut self, name: String, bad: Status, reason: Option<String>) {
        let status = if reason.is_some() { bad } else { Status::Ok };
        self.status = self.status.max(status);
        self.components.push(Component { name, status, reason });
    }
}

fn of_source(source: &SourceStats) -> Option<String> {
    if !source.gate_open {
        return Some("it does not read: a sink it leads to is full".into());
    }
    if let Some(why) = &source.unwell {
        return Some(why.clone());
    }
    let SourceStats { lag_growth_bytes: growth, lag_bytes: lag, .. } = source;
    (*growth > LAG_GROWTH_MAX)
        .then(|| format!("it falls behind: {growth} bytes more wait than half a minute ago, {lag} in all"))
}

fn of_sink(sink: &SinkStats) -> Option<String> {
    let error = sink.last_error.as_deref().unwrap_or("no reason given");
    if sink.breaker.state != BreakerState::Closed.name() {
        let (state, seconds) = (sink.breaker.state.replace('_', " "), sink.breaker.open_ms / 1000);
        return Some(format!("its breaker is {state}, not closed for {seconds}s, entries are kept: {error}"));
    }
    if sink.denied_since > 0 {
        let seconds = sink.denied_ms / 1000;
        return Some(format!(
            "not let in for {seconds}s, entries are kept, something has to be changed: {error}"
        ));
    }
    if sink.state == SinkState::Retrying {
        return Some(format!("attempt {} failed, entries are kept and sent again: {error}", sink.attempt));
    }
    if let Some(why) = &sink.unwell {
        return Some(why.clone());
    }
    if let Some(why) = sink.buffer.as_ref().and_then(|buffer| buffer.degraded.as_ref()) {
        return Some(format!("its buffer: {why}"));
    }
    let lane = &sink.lane;
    lane.gate_closed.then(|| {
        let (entries, seconds) = (lane.entries, lane.oldest_ms / 1000);
        format!(
            "its lane is full: {entries} entries wait, the oldest for {seconds}s; its sources do not read"
        )
    })
}

fn of_ring(ring: &RingStats) -> Option<String> {
    let RingStats { entries, entries_limit, bytes, bytes_limit, .. } = ring;
    ring.congested.then(|| {
        format!(
            "over its high watermark: {entries} of {entries_limit} entries, {bytes} of {bytes_limit} bytes"
        )
    })
}

fn of_memory(snapshot: &Snapshot) -> Option<String> {
    let (used, limit) = (snapshot.memory.transit_bytes, snapshot.memory.transit_limit_bytes);
    let short = limit > 0 && used as f64 >= limit as f64 * MEMORY_SHORT;
    short.then(|| format!("sources wait for memory: {used} of {limit} bytes are in transit"))
}

fn of_threads(snapshot: &Snapshot) -> (Status, Option<String>) {
    if snapshot.phase != Phase::Running {
        return (Status::Ok, None);
    }
    let replaced = |name: &str| snapshot.threads.iter().any(|thread| !thread.lost && thread.name == name);
    let lost = snapshot.threads.iter().filter(|thread| thread.lost).map(|thread| &*thread.name);
    let lost: Vec<&str> = lost.filter(|name| !replaced(name)).collect();
    if !lost.is_empty() {
        return (Status::Failing, Some(format!("panicked: {}", lost.join(", "))));
    }
    if snapshot.workers.active + snapshot.workers.idle == 0 {
        return (Status::Failing, Some("no worker is left".into()));
    }
    match &snapshot.stuck {
        Some(stuck) => (Status::Failing, Some(stuck.clone())),
        None => (Status::Degraded, snapshot.slow.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::ThreadStats;
    use super::super::workers::WorkerStats;
    use super::*;

    fn running() -> Snapshot {
        let source = SourceStats { name: "app".into(), gate_open: true, ..Default::default() };
        let sink = SinkStats { name: "out".into(), ..Default::default() };
        Snapshot {
            phase: Phase::Running,
            workers: WorkerStats { active: 0, idle: 1, ..Default::default() },
            sources: vec![source],
            sinks: vec![sink],
            ..Default::default()
        }
    }

    /// The status, and the one component that is not well.
    fn judged(change: impl FnOnce(&mut Snapshot)) -> (Status, String) {
        let mut snapshot = running();
        change(&mut snapshot);
        let health = Health::of(&snapshot);
        let ill: Vec<_> = health.components.iter().filter(|one| one.status != Status::Ok).collect();
        assert!(ill.len() <= 1 && ill.iter().all(|one| one.status == health.status), "{health:?}");
        let told = ill.first().map_or("", |one| one.reason.as_deref().unwrap_or("?"));
        (health.status, format!("{}: {told}", ill.first().map_or("none", |one| &one.name)))
    }

    #[test]
    fn all_components_are_listed_when_nothing_is_wrong() {
        assert_eq!(judged(|_| ()), (Status::Ok, "none: ".into()));
        let names: Vec<_> = Health::of(&running()).components.into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["source app", "sink out", "ring", "memory", "threads", "ledger"]);
    }

    #[test]
    fn a_worker_that_makes_no_progress_is_failing() {
        let told = judged(|s| s.stuck = Some("worker-0 is at the same thing for 20s".into()));
        assert_eq!(told, (Status::Failing, "threads: worker-0 is at the same thing for 20s".into()));
    }

    #[test]
    fn a_sender_that_makes_no_progress_is_degraded() {
        let told = judged(|s| s.slow = Some("send-out-0 is sending at the same thing for 121s".into()));
        let expected = "threads: send-out-0 is sending at the same thing for 121s".to_owned();
        assert_eq!(told, (Status::Degraded, expected));
    }

    #[test]
    fn what_is_late_is_degraded_and_says_why() {
        type Case = (fn(&mut Snapshot), &'static str);
        let cases: [Case; 9] = [
            (
                |s| {
                    (s.sinks[0].breaker.state, s.sinks[0].breaker.open_ms) = ("half_open", 31_000);
                    s.sinks[0].state = SinkState::Retrying;
                    s.sinks[0].last_error = Some("connection refused".into());
                },
                "sink out: its breaker is half open, not closed for 31s, entries are kept: connection refused",
            ),
            (
                |s| (s.sinks[0].denied_since, s.sinks[0].denied_ms) = (1, 61_000),
                "sink out: not let in for 61s, entries are kept, something has to be changed: no reason given",
            ),
            (|s| s.sources[0].gate_open = false, "source app: it does not read"),
            (|s| s.sources[0].lag_growth_bytes = (1 << 20) + 1, "source app: it falls behind: 1048577 bytes"),
            (
                |s| {
                    s.sinks[0].state = SinkState::Retrying;
                    s.sinks[0].attempt = 4;
                    s.sinks[0].last_error = Some("connection refused".into());
                },
                "sink out: attempt 4 failed, entries are kept and sent again: connection refused",
            ),
            (|s| s.sinks[0].lane.gate_closed = true, "sink out: its lane is full: 0 entries wait"),
            (|s| s.ring.congested = true, "ring: over its high watermark"),
            (
                |s| (s.memory.transit_bytes, s.memory.transit_limit_bytes) = (95, 100),
                "memory: sources wait for memory: 95 of 100",
            ),
            (|s| s.ledger.broken = Some("1 is not 2".into()), "ledger: it does not add up: 1 is not 2"),
        ];
        for (change, expected) in cases {
            let (status, told) = judged(change);
            assert_eq!(status, Status::Degraded, "{expected}");
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn a_little_more_lag_than_before_is_not_worth_a_word() {
        assert_eq!(judged(|s| s.sources[0].lag_growth_bytes = 1 << 20).0, Status::Ok);
    }

    #[test]
    fn without_workers_or_after_a_panic_it_is_failing_unless_it_is_stopping_anyway() {
        let lost = || vec![ThreadStats { name: "reader-0".into(), lost: true, ..Default::default() }];
        assert_eq!(judged(|s| s.workers.idle = 0), (Status::Failing, "threads: no worker is left".into()));
        assert_eq!(judged(|s| s.threads = lost()), (Status::Failing, "threads: panicked: reader-0".into()));
        let replaced =
            || [lost(), vec![ThreadStats { name: "reader-0".into(), ..Default::default() }]].concat();
        assert_eq!(judged(|s| s.threads = replaced()).0, Status::Ok);
        let stopping = |s: &mut Snapshot| (s.workers.idle, s.phase, s.threads) = (0, Phase::Stopping, lost());
        assert_eq!(judged(stopping).0, Status::Ok);
    }
}
