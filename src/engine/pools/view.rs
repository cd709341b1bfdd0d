//! What the pools show of themselves.

use super::{Pool, Pools};
use crate::admin::snapshot::{MemoryStats, RingStats};
use crate::admin::workers::{WorkerPoolStats, WorkerRow, WorkerStats};
use crate::sources::inlet::Hallway;
use std::time::{Duration, Instant};

impl Pools {
    /// How all their rings are, as one.
    pub fn ring_stats(&self) -> RingStats {
        self.all.iter().map(|pool| ring_stats(&pool.hallway)).reduce(RingStats::with).unwrap_or_default()
    }

    /// What all blocks take.
    pub fn memory_stats(&self) -> MemoryStats {
        let transit = self.all.iter().map(|pool| &*pool.hallway.transit);
        MemoryStats::of(transit, &self.blocks)
    }

    /// The pools and their workers.
    pub fn worker_stats(&self, now: Instant) -> WorkerStats {
        let mut stats = WorkerStats::default();
        for pool in &self.all {
            let (row, workers) = pool.stats(now);
            stats.active += row.active;
            stats.idle += row.idle;
            stats.pools.push(row);
            stats.each.extend(workers);
        }
        stats
    }

    /// What blocks took on average since the start: in a ring, and at a worker.
    pub fn means(&self, now: Instant) -> (Duration, Duration) {
        let all = self.all.iter().map(|pool| pool.crew.lock().total(now));
        let (blocks, waited, busy) = all.fold((0, Duration::ZERO, Duration::ZERO), |sum, done| {
            (sum.0 + done.blocks, sum.1 + done.waited, sum.2 + done.busy)
        });
        match u32::try_from(blocks) {
            Ok(blocks @ 1..) => (waited / blocks, busy / blocks),
            _ => (Duration::ZERO, Duration::ZERO),
        }
    }
}

impl Pool {
    fn stats(&self, now: Instant) -> (WorkerPoolStats, Vec<WorkerRow>) {
        let crew = self.crew.lock();
        let there = crew.members.iter().filter(|member| !member.has_ended());
        let workers: Vec<WorkerRow> = there
            .map(|member| {
                let done = member.seat.done(now);
                WorkerRow {
                    name: member.seat.name.clone(),
                    pool: self.name.clone(),
                    processed_blocks: done.blocks - u64::from(done.is_busy),
                    processed_entries: done.entries,
                    is_idle: !done.is_busy,
                    busy_share: member.busy_share,
                    age_seconds: now.saturating_duration_since(member.seat.since()).as_secs_f64(),
                    leaving: member.seat.is_told(),
                }
            })
            .collect();
        let active = workers.iter().filter(|worker| !worker.is_idle).count() as u64;
        let pool = WorkerPoolStats {
            name: self.name.clone(),
            workers: workers.len() as u64,
            min: crew.bounds.min as u64,
            max: crew.bounds.max as u64,
            active,
            idle: workers.len() as u64 - active,
            grown: crew.grown,
            shrunk: crew.shrunk,
            last_change: crew.last.as_ref().map(|last| last.what.clone()),
            last_change_seconds: crew
                .last
                .as_ref()
                .map(|last| now.saturating_duration_since(last.at).as_secs_f64()),
            capabilities: crew.capabilities.clone(),
            ring: ring_stats(&self.hallway),
        };
        (pool, workers)
    }
}

fn ring_stats(hallway: &Hallway) -> RingStats {
    let credits = &hallway.credits;
    let (used, limit) = (credits.used(), credits.limit());
    RingStats {
        congested: credits.congested(),
        backpressure_triggered: credits.triggers(),
        ..RingStats::of((used.entries, used.bytes), (limit.entries, limit.bytes))
    }
}
