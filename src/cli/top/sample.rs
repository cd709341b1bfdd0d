//! What is taken from `/stats` and `/health`, and what two looks at them say together.
//!
//! A field that an instance does not have, as it is older, is as if nothing had happened.

use serde::Deserialize;
use std::collections::HashMap;

/// One look at an instance.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub stats: Stats,
    pub health: Health,
}

/// Of `/stats`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub version: String,
    pub phase: String,
    pub uptime_seconds: f64,
    pub process: Process,
    pub quotas: Vec<Quota>,
    pub cpu_limit_rest_seconds: f64,
    pub ring: Ring,
    pub ledger: Ledger,
    pub workers: Workers,
    pub sources: Vec<Source>,
    pub sinks: Vec<Sink>,
    pub dlq: Option<Letters>,
    pub threads: Vec<Thread>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    pub pid: u32,
    pub start_time_seconds: f64,
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Quota {
    pub name: String,
    pub limit: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ring {
    pub entries: u64,
    pub utilization: f64,
    pub congested: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ledger {
    pub received: u64,
    pub delivered: u64,
    pub dropped: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Workers {
    pub active: u64,
    pub idle: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Letters {
    pub letters: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub received: u64,
    pub received_bytes: u64,
    pub dropped: HashMap<String, u64>,
    pub in_transit: u64,
    pub kernel_drops: u64,
    pub lag_bytes: u64,
    pub lag_ms: u64,
    pub streams: u64,
    pub blocked: u64,
    pub paced: u64,
    pub removed: bool,
    pub gate_open: bool,
    pub unwell: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    pub step: usize,
    pub verb: String,
    pub entries: u64,
    pub errors: u64,
    pub discarded: u64,
    pub seconds: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sink {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub delivered: u64,
    pub delivered_bytes: u64,
    pub dead_lettered: u64,
    pub dropped: HashMap<String, u64>,
    pub in_flight: u64,
    pub batches: u64,
    pub batches_out: u64,
    pub errors: u64,
    pub breaker: Breaker,
    pub denied_ms: u64,
    pub denied_since: u64,
    pub removed: bool,
    pub lane: Lane,
    pub buffer: Option<Buffer>,
    pub state: String,
    pub attempt: u32,
    pub last_error: Option<String>,
    pub unwell: Option<String>,
    pub history: Vec<Request>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Breaker {
    pub state: String,
    pub open_ms: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lane {
    pub entries: u64,
    pub oldest_ms: u64,
    pub gate_closed: bool,
    pub batches_out_limit: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Buffer {
    pub bytes: u64,
    pub entries: u64,
    pub degraded: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    pub latency_ms: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Thread {
    pub name: String,
    pub tid: i32,
    pub doing: String,
    pub core: Option<u32>,
    pub cpu_seconds: Option<f64>,
    pub lost: bool,
}

/// Of `/health`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Health {
    pub status: String,
    pub components: Vec<Component>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Component {
    pub name: String,
    pub status: String,
    pub reason: Option<String>,
}

impl Stats {
    /// Whether this is a later look at the same run of the same instance.
    pub fn follows(&self, before: &Stats) -> bool {
        // Its uptime counts from when its engine began, the other from when its process did: a number may be used again.
        self.process.pid == before.process.pid
            && (self.process.start_time_seconds - before.process.start_time_seconds).abs() < 1.0
            && self.uptime_seconds > before.uptime_seconds
    }

    /// How much there may be of something.
    pub fn limit(&self, quota: &str) -> Option<f64> {
        self.quotas.iter().find(|one| one.name == quota)?.limit
    }
}

/// The time between two looks, which makes rates of differences; without an earlier look there are none.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    pub before: Option<&'a Stats>,
    seconds: f64,
}

impl<'a> Between<'a> {
    /// From `before` to `now`, unless it was restarted in between.
    pub fn new(before: Option<&'a Stats>, now: &Stats) -> Self {
        let before = before.filter(|before| now.follows(before));
        let seconds = before.map_or(0.0, |before| now.uptime_seconds - before.uptime_seconds);
        Between { before, seconds }
    }

    /// How much there came per second; what was not there before has no rate yet.
    pub fn rate(&self, before: Option<u64>, now: u64) -> Option<f64> {
        self.rate_of(before.map(|before| before as f64), now as f64)
    }

    /// The same of what can be divided: a share, if it is seconds.
    pub fn rate_of(&self, before: Option<f64>, now: f64) -> Option<f64> {
        self.before?;
        Some((now - before?).max(0.0) / self.seconds)
    }

    /// A source as it was.
    pub fn source(&self, name: &str) -> Option<&'a Source> {
        self.before?.sources.iter().find(|source| source.name == name)
    }

    /// A sink as it was.
    pub fn sink(&self, name: &str) -> Option<&'a Sink> {
        self.before?.sinks.iter().find(|sink| sink.name == name)
    }

    /// A thread as it was.
    pub fn thread(&self, tid: i32) -> Option<&'a Thread> {
        self.before?.threads.iter().find(|thread| thread.tid == tid)
    }
}
