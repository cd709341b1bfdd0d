//! The workers in `/stats` and `/metrics`: the pools, and each worker.

use super::snapshot::RingStats;
use crate::metrics::Page;
use serde::Serialize;

/// The workers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkerStats {
    /// How many have a block.
    pub active: u64,
    /// How many wait for one.
    pub idle: u64,
    /// The pools they stand in, the general one first.
    pub pools: Vec<WorkerPoolStats>,
    /// Each of them.
    pub each: Vec<WorkerRow>,
}

/// One pool.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkerPoolStats {
    /// Its name.
    pub name: String,
    /// How many workers it has now.
    pub workers: u64,
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// How many have a block.
    pub active: u64,
    /// How many wait for one.
    pub idle: u64,
    /// How many came after the start.
    pub grown: u64,
    /// How many were let go.
    pub shrunk: u64,
    /// The last change, and why.
    pub last_change: Option<String>,
    /// How long ago that was.
    pub last_change_seconds: Option<f64>,
    /// What pipelines can ask for.
    pub capabilities: Vec<String>,
    /// Its queue.
    pub ring: RingStats,
}

/// One worker.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkerRow {
    /// The name of its thread.
    pub name: String,
    /// The pool it stands in.
    pub pool: String,
    /// Blocks it has worked on.
    pub processed_blocks: u64,
    /// Entries in the blocks it has taken.
    pub processed_entries: u64,
    /// Whether it has no block.
    pub is_idle: bool,
    /// The share of its time, lately, that it had one, 0 to 1.
    pub busy_share: f64,
    /// Seconds since it began.
    pub age_seconds: f64,
    /// It was told to leave, and does when it is done with its block.
    pub leaving: bool,
}

/// Adds their numbers to the page.
pub(super) fn rows(page: &Page, workers: &WorkerStats) {
    page.gauge("dispatcher_workers_active", "Workers with a block.", &[], workers.active as f64);
    page.gauge("dispatcher_workers_idle", "Workers without a block.", &[], workers.idle as f64);
    workers.pools.iter().for_each(|pool| pool_row(page, pool));
}

fn pool_row(page: &Page, pool: &WorkerPoolStats) {
    let of = &[("pool", &*pool.name)];
    let gauge = |name, help, value| page.gauge(name, help, of, value);
    gauge("dispatcher_worker_pool_workers", "Workers of the pool.", pool.workers as f64);
    gauge("dispatcher_worker_pool_workers_busy", "Those of them with a block.", pool.active as f64);
    gauge("dispatcher_worker_pool_workers_max", "The most workers it may have.", pool.max as f64);
    gauge("dispatcher_worker_pool_queue_size", "Entries in the ring of the pool.", pool.ring.entries as f64);
    gauge(
        "dispatcher_worker_pool_queue_utilization",
        "How full that ring is, 0 to 1, by whichever limit is nearer.",
        pool.ring.utilization,
    );
    let counter = |name, help, value| page.counter(name, help, of, value);
    counter("dispatcher_worker_pool_grown_total", "Workers that came after the start.", pool.grown);
    counter("dispatcher_worker_pool_shrunk_total", "Workers that were let go.", pool.shrunk);
}
