//! All numbers at one moment, as `/stats` shows them in JSON.
//!
//! The parts that follow from the ledger, the process and its threads are filled here; the engine adds what only it knows.
//! While blocks move, numbers read one after the other may disagree by what moved between.

use super::custom::MetricStats;
use super::ordered::OrderedStats;
use super::process::{self, ProcessStats, ThreadStats};
use super::pulse::{Pulse, Rates};
use super::rows::{SinkStats, SourceStats};
use super::workers::WorkerStats;
use crate::block::Blocks;
use crate::delivery::dlq::numbers::LettersStats;
use crate::ledger::{Ledger, Named, Reason};
use crate::pool::Budget;
use crate::thread::Row;
use serde::Serialize;
use std::sync::Arc;

/// All numbers at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// Our version.
    pub version: &'static str,
    /// Where in its life the engine is.
    pub phase: Phase,
    /// Seconds since the engine began.
    pub uptime_seconds: f64,
    /// The directory with checkpoints and the lock.
    pub data_dir: String,
    /// The config file, or what stands for it.
    pub config: String,
    /// The queues between sources and workers, all rings together.
    pub ring: RingStats,
    /// Label values with a rate limit of their own, of the limit of all sources.
    pub rate_limit_keys: u64,
    /// What there may be in all, what there is, and what there was at most.
    pub quotas: Vec<QuotaStats>,
    /// How long threads rested for `quotas.cpu_limit`, all together, in seconds.
    pub cpu_limit_rest_seconds: f64,
    /// Memory by use.
    pub memory: MemoryStats,
    /// The process as the system sees it.
    pub process: ProcessStats,
    /// What happened per second, lately.
    pub rates: Rates,
    /// The sums, and whether they are right.
    pub ledger: LedgerStats,
    /// The ways in, in the order of the config.
    pub sources: Vec<SourceStats>,
    /// The ways out, in the order of the config.
    pub sinks: Vec<SinkStats>,
    /// Buffers on disk that no sink uses.
    pub unused_buffers: Vec<UnusedBuffer>,
    /// Where order is restored.
    pub domains: Vec<DomainStats>,
    /// What the steps remember that see entries in their order.
    pub ordered: Vec<OrderedStats>,
    /// What `metric` steps count.
    pub metrics: Vec<MetricStats>,
    /// The workers.
    pub workers: WorkerStats,
    /// The dead letters; none if the config wants none.
    pub dlq: Option<LettersStats>,
    /// Who of those everything depends on makes no progress.
    pub stuck: Option<String>,
    /// Who else is at the same thing for too long.
    pub slow: Option<String>,
    /// How many threads these are.
    pub threads_stuck: usize,
    /// Every thread and what it does.
    pub threads: Vec<ThreadStats>,
}

impl Snapshot {
    /// What the ledger, the pulse, the threads' rows and the system tell; the rest is empty.
    pub fn of(ledger: &Ledger, pulse: &Pulse, rows: &[Arc<Row>]) -> Self {
        let source =
            |(at, row)| SourceStats { lag_growth_bytes: pulse.lag_growth(at), ..SourceStats::of(row) };
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            process: ProcessStats::now(),
            rates: pulse.rates(),
            ledger: LedgerStats::of(ledger, pulse),
            sources: ledger.sources.iter().enumerate().map(source).collect(),
            sinks: ledger.sinks.iter().map(SinkStats::of).collect(),
            threads: rows.iter().map(|row| process::thread(row)).collect(),
            ..Snapshot::default()
        }
    }
}

/// Where in its life the engine is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not everything runs yet.
    #[default]
    Starting,
    /// Entries are taken in.
    Running,
    /// Nothing more is taken in; what is there is delivered.
    Stopping,
}

/// The queue between sources and workers, or all of them together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RingStats {
    /// Entries in it.
    pub entries: u64,
    /// Entries it may hold.
    pub entries_limit: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes it may hold.
    pub bytes_limit: u64,
    /// How full it is, 0 to 1, by whichever limit is nearer.
    pub utilization: f64,
    /// Over the high watermark and not yet under the low one.
    pub congested: bool,
    /// How often it came to the high watermark.
    pub backpressure_triggered: u64,
}

impl RingStats {
    /// What is used of what limit, each in entries and bytes; the watermarks' part is left at rest.
    pub fn of((entries, bytes): (u64, u64), (entries_limit, bytes_limit): (u64, u64)) -> Self {
        let share = |used: u64, limit: u64| used as f64 / limit.max(1) as f64;
        let utilization = share(entries, entries_limit).max(share(bytes, bytes_limit)).min(1.0);
        RingStats { entries, entries_limit, bytes, bytes_limit, utilization, ..RingStats::default() }
    }

    /// Two as one: as full as the fuller one.
    pub fn with(self, other: RingStats) -> Self {
        RingStats {
            entries: self.entries + other.entries,
            entries_limit: self.entries_limit + other.entries_limit,
            bytes: self.bytes + other.bytes,
            bytes_limit: self.bytes_limit + other.bytes_limit,
            utilization: self.utilization.max(other.utilization),
            congested: self.congested || other.congested,
            backpressure_triggered: self.backpressure_triggered + other.backpressure_triggered,
        }
    }
}

/// Something there may only be so much of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QuotaStats {
    /// What of: `memory` in bytes, `threads`, `fds`, `cpu` in cores.
    pub name: &'static str,
    /// How much there may be; none if that is not limited.
    pub limit: Option<Amount>,
    /// How much there is; of CPU how much was used lately, over about a second.
    pub used: Amount,
    /// How much there was at most, as far as somebody looked.
    pub peak: Amount,
}

/// How much of something there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// What can be counted.
    Whole(u64),
    /// What can be divided.
    Part(f64),
}

impl Amount {
    /// As a number with a fraction.
    pub fn as_f64(self) -> f64 {
        match self {
            Amount::Whole(count) => count as f64,
            Amount::Part(part) => part,
        }
    }
}

impl Default for Amount {
    fn default() -> Self {
        Amount::Whole(0)
    }
}

impl From<u64> for Amount {
    fn from(count: u64) -> Self {
        Amount::Whole(count)
    }
}

/// Memory by use.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemoryStats {
    /// Bytes of blocks between source and lane.
    pub transit_bytes: u64,
    /// Most of these.
    pub transit_limit_bytes: u64,
    /// Bytes of all blocks, also of those that nobody uses.
    pub blocks_bytes: u64,
    /// What these may take before none is kept for later.
    pub blocks_limit_bytes: u64,
    /// The pools of blocks.
    pub pools: Vec<PoolStats>,
}

impl MemoryStats {
    /// What the budgets and the pools say.
    pub fn of<'a>(transit: impl Iterator<Item = &'a Budget>, blocks: &Blocks) -> Self {
        let (used, limit) =
            transit.fold((0, 0), |sum, budget| (sum.0 + budget.used(), sum.1 + budget.limit()));
        let pool = |(class_bytes, made, free)| PoolStats { class_bytes, made, free };
        MemoryStats {
            transit_bytes: used as u64,
            transit_limit_bytes: limit as u64,
            blocks_bytes: blocks.stock().bytes() as u64,
            blocks_limit_bytes: blocks.stock().limit() as u64,
            pools: blocks.census().into_iter().map(pool).collect(),
        }
    }
}

/// The blocks of one class.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PoolStats {
    /// Bytes of text one holds.
    pub class_bytes: usize,
    /// How many there are.
    pub made: usize,
    /// How many of them nobody uses.
    pub free: usize,
}

/// The sums over all rows, and whether they are right.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LedgerStats {
    /// Every equation holds. Only meaningful at rest.
    pub balanced: bool,
    /// The first equation that does not hold; while entries move, it may not for a moment.
    pub imbalance: Option<String>,
    /// The same, seen unchanged over a second: entries are lost to the books, which is a fault of ours.
    pub broken: Option<String>,
    /// Entries admitted.
    pub received: u64,
    /// Entries that left a pipeline.
    pub processed: u64,
    /// Entries that a step or a sink refused.
    pub failed: u64,
    /// Copies that sinks took.
    pub delivered: u64,
    /// Entries and copies that were dropped.
    pub dropped: u64,
    /// Entries and copies that are still on their way.
    pub under_way: u64,
}

impl LedgerStats {
    /// The sums of `ledger`.
    pub fn of(ledger: &Ledger, pulse: &Pulse) -> Self {
        let imbalance = ledger.imbalance();
        let mut all = LedgerStats { balanced: imbalance.is_none(), imbalance, ..LedgerStats::default() };
        all.broken = pulse.broken().map(str::to_owned);
        for Named { row, .. } in &ledger.sources {
            all.received += row.received.get();
            all.processed += row.processed.get();
            all.failed += row.step_errors.get() + row.dropped.get(Reason::Panic);
            all.dropped += row.dropped.total();
            all.under_way += row.in_transit.get();
        }
        for Named { row, .. } in &ledger.sinks {
            all.failed += row.dead_lettered.get() + row.dropped.get(Reason::Rejected);
            all.delivered += row.delivered.get();
            all.dropped += row.dropped.total();
            all.under_way += row.in_flight.get();
        }
        all
    }
}

/// A buffer on disk that no sink uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UnusedBuffer {
    /// The name a sink would need to use it.
    pub name: String,
    /// Bytes of its segments.
    pub bytes: u64,
}

/// Where the order of one source's thread is restored.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DomainStats {
    /// Its number.
    pub id: u32,
    /// The source's name.
    pub source: String,
    /// The ticket it waits for.
    pub next_ticket: u64,
    /// Blocks that wait behind that ticket.
    pub waiting: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_as_full_as_its_nearer_limit() {
        let utilization = |entries, bytes| RingStats::of((entries, bytes), (100, 4)).utilization;
        assert_eq!([utilization(10, 3), utilization(90, 3), utilization(1000, 0)], [0.75, 0.9, 1.0]);
        assert_eq!(RingStats::of((0, 0), (0, 0)).utilization, 0.0);
        let congested =
            RingStats { congested: true, backpressure_triggered: 2, ..RingStats::of((90, 1), (100, 4)) };
        let both = RingStats::of((10, 3), (100, 4)).with(congested);
        assert_eq!((both.entries, both.entries_limit, both.bytes, both.bytes_limit), (100, 200, 4, 8));
        assert_eq!((both.utilization, both.congested, both.backpressure_triggered), (0.9, true, 2));
    }

    #[test]
    fn the_json_has_every_row_with_its_name_and_type() {
        let ledger =
            Ledger { sources: vec![Named::new("app", "file")], sinks: vec![Named::new("out", "console")] };
        ledger.sources[0].row.received.add(5);
        ledger.sources[0].row.dropped.add(Reason::DropNewest, 2);
        ledger.sinks[0].row.dropped.add(Reason::Rejected, 1);
        let pulse = Pulse::default();
        let json = serde_json::to_value(Snapshot::of(&ledger, &pulse, &[])).unwrap();
        assert_eq!(json["sources"][0]["name"], "app");
        assert_eq!(json["sources"][0]["type"], "file");
        assert_eq!(json["sources"][0]["dropped"]["drop_newest"], 2);
        assert_eq!(json["sinks"][0]["lane"]["gate_closed"], false);
        assert_eq!(json["sinks"][0]["state"], "ok");
        assert_eq!((&json["phase"], &json["ring"]["utilization"]), (&"starting".into(), &0.0.into()));
        assert!(json["sources"][0]["files"].is_array() && json["threads"].is_array());
        assert_eq!(json["ledger"]["balanced"], false);
        assert_eq!((&json["ledger"]["received"], &json["ledger"]["failed"]), (&5.into(), &1.into()));
        assert_eq!(json["ledger"]["dropped"], 3);
        assert!(json["process"]["resident_bytes"].as_u64().unwrap() > 1 << 20);
    }
}
