//! Quotas: a config that cannot keep within them is refused before anything of it is started, and what runs is held to
//! them.

use super::StartError;
use super::build::{all_lanes, claims};
use super::changes::{Change, Changes};
use super::descriptors::Plan;
use super::live::Core;
use super::sources::longest_entry;
use crate::admin::process::ProcessStats;
use crate::admin::snapshot::QuotaStats;
use crate::config::threads::{count, planned, table};
use crate::config::{Config, QuotasConfig};
use crate::thread::Threads;
use parking_lot::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Threads that are not started like the others: the first one, and what hears signals at the end.
const OTHERS: usize = 2;

/// Whether `config` can keep within its quotas.
///
/// Errors: which it cannot, and what would do.
pub fn fits(config: &Config) -> Result<(), StartError> {
    fit_threads(config, &Changes::default())?;
    Plan::of(config).map_err(StartError::Config)?;
    claims(config, all_lanes(config), widest(config)).share_out().map(drop).map_err(StartError::Config)
}

/// The longest entry of any source.
pub(super) fn widest(config: &Config) -> usize {
    config.sources.iter().map(longest_entry).max().unwrap_or(0)
}

/// Whether there are no more threads than may be; `changes` are what made them more.
///
/// Errors: a table of them.
pub(super) fn fit_threads(config: &Config, changes: &Changes) -> Result<(), StartError> {
    let Some(most) = config.quotas.max_threads else { return Ok(()) };
    let planned = planned(config);
    let count = count(&planned);
    if count <= most {
        return Ok(());
    }
    let new = changes.items.iter().filter(|item| item.change == Change::Added);
    let new: Vec<_> = new.map(|item| format!("{} {}", item.shelf, item.name)).collect();
    let with = if new.is_empty() { String::new() } else { format!(" with {}", new.join(", ")) };
    Err(StartError::Config(format!(
        "`quotas.max_threads` of {most} does not hold the {count} threads it comes to{with}:\n{}",
        table(&planned).trim_end()
    )))
}

/// What is in force, and what was seen.
#[derive(Default)]
pub(super) struct Quotas {
    in_force: Mutex<(QuotasConfig, usize)>,
    descriptors_peak: AtomicU64,
}

impl Quotas {
    /// As many threads may run as the config says.
    pub fn set_most_threads(&self, threads: &Threads, config: &Config) {
        let most = config.quotas.max_threads;
        threads.set_most(most.map_or(usize::MAX, |most| most.saturating_sub(OTHERS)));
    }

    /// What each comes to.
    pub fn stats(&self, process: &ProcessStats, threads: &Threads) -> Vec<QuotaStats> {
        let (quotas, max_memory) = self.in_force.lock().clone();
        // Relaxed: read for display only.
        let seen = self.descriptors_peak.fetch_max(process.open_fds, Relaxed).max(process.open_fds);
        let off = |limit: Option<usize>| limit.map(|limit| limit as u64);
        let run = process.threads;
        vec![
            QuotaStats {
                name: "memory",
                limit: Some(max_memory as u64),
                used: process.resident_bytes,
                peak: process.resident_peak_bytes,
            },
            QuotaStats {
                name: "threads",
                limit: off(quotas.max_threads),
                used: run,
                peak: run.max(threads.peak() as u64 + 1),
            },
            QuotaStats { name: "fds", limit: off(quotas.max_fds), used: process.open_fds, peak: seen },
        ]
    }
}

impl Core {
    /// What `config` says is in force.
    pub fn enforce_quotas(&self, config: &Config) {
        let quotas = &self.house.quotas;
        *quotas.in_force.lock() = (config.quotas.clone(), config.decided.max_memory);
        quotas.set_most_threads(&self.house.threads, config);
        // It was found to fit before.
        if let Ok(plan) = Plan::of(config) {
            self.descriptors.enforce(&plan, config.quotas.max_fds);
        }
    }

    /// Looks at what the process takes, and gives blocks more or less of it.
    pub fn watch_memory(&self, now: Instant) {
        let mut pressure = self.pressure.lock();
        if !pressure.is_due(now) {
            return;
        }
        let budget = self.house.quotas.in_force.lock().1;
        let blocks = self.house.pools.blocks.stock();
        let room = blocks.limit().saturating_add(pressure.withheld()).min(budget);
        let relief = pressure.look(crate::sys::resident_memory(), budget, room, now);
        drop(pressure);
        if relief.trim {
            self.house.pools.blocks.trim_all();
            crate::sys::trim_memory();
        }
        // Whoever holds it changes what runs, and shares the memory out at the end.
        if let (Some(_), Some(live)) = (relief.withhold, self.live.try_lock()) {
            self.share_memory(&live);
        }
    }
}
