//! Quotas: a config that cannot keep within them is refused before anything of it is started, and what runs is held to
//! them.

use super::StartError;
use super::build::{all_lanes, claims};
use super::changes::{Change, Changes};
use super::descriptors::Plan;
use super::live::Core;
use super::sources::longest_entry;
use crate::admin::process::ProcessStats;
use crate::admin::snapshot::{Amount, QuotaStats};
use crate::config::threads::{count, planned, table};
use crate::config::{Config, QuotasConfig};
use crate::thread::Threads;
use parking_lot::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

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
    cpu: Mutex<CpuSeen>,
}

/// CPU is taken over at least this: the system's clocks are coarse, and a burst is no use of it.
const CPU_SPAN: Duration = Duration::from_millis(900);

/// How much CPU the process used between two looks.
#[derive(Default)]
struct CpuSeen {
    last: Option<(Instant, Duration)>,
    /// In cores.
    used: f64,
    peak: f64,
}

impl CpuSeen {
    /// Looks at `now`, when the process has used `cpu` since it began.
    fn look(&mut self, now: Instant, cpu: Duration) {
        let Some((at, before)) = self.last else {
            self.last = Some((now, cpu));
            return;
        };
        let span = now.saturating_duration_since(at);
        if span < CPU_SPAN {
            return;
        }
        self.used = cpu.saturating_sub(before).as_secs_f64() / span.as_secs_f64();
        self.peak = self.peak.max(self.used);
        self.last = Some((now, cpu));
    }
}

impl Quotas {
    /// As many threads may run as the config says.
    pub fn set_most_threads(&self, threads: &Threads, config: &Config) {
        let most = config.quotas.max_threads;
        threads.set_most(most.map_or(usize::MAX, |most| most.saturating_sub(OTHERS)));
    }

    /// Once a second: how much CPU was used.
    pub fn watch_cpu(&self, threads: &Threads, now: Instant) {
        threads.cpu_limit().look();
        self.cpu.lock().look(now, crate::sys::process_cpu());
    }

    /// What each comes to.
    pub fn stats(&self, process: &ProcessStats, threads: &Threads) -> Vec<QuotaStats> {
        let (quotas, max_memory) = self.in_force.lock().clone();
        // Relaxed: read for display only.
        let seen = self.descriptors_peak.fetch_max(process.open_fds, Relaxed).max(process.open_fds);
        let off = |limit: Option<usize>| limit.map(|limit| Amount::Whole(limit as u64));
        let run = process.threads;
        let cpu = self.cpu.lock();
        vec![
            QuotaStats {
                name: "memory",
                limit: Some(Amount::Whole(max_memory as u64)),
                used: process.resident_bytes.into(),
                peak: process.resident_peak_bytes.into(),
            },
            QuotaStats {
                name: "threads",
                limit: off(quotas.max_threads),
                used: run.into(),
                peak: run.max(threads.peak() as u64 + 1).into(),
            },
            QuotaStats {
                name: "fds",
                limit: off(quotas.max_fds),
                used: process.open_fds.into(),
                peak: seen.into(),
            },
            QuotaStats {
                name: "cpu",
                limit: quotas.cpu_limit.map(|hundredths| Amount::Part(f64::from(hundredths) / 100.0)),
                used: Amount::Part(cpu.used),
                peak: Amount::Part(cpu.peak),
            },
        ]
    }
}

impl Core {
    /// What `config` says is in force.
    pub fn enforce_quotas(&self, config: &Config) {
        let quotas = &self.house.quotas;
        *quotas.in_force.lock() = (config.quotas.clone(), config.decided.max_memory);
        quotas.set_most_threads(&self.house.threads, config);
        self.house.threads.cpu_limit().set(config.quotas.cpu_limit);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_what_was_used_over_a_second_and_the_most_of_that() {
        let (mut seen, t0) = (CpuSeen::default(), Instant::now());
        let ms = Duration::from_millis;
        seen.look(t0, ms(5000));
        assert_eq!((seen.used, seen.peak), (0.0, 0.0));
        seen.look(t0 + ms(1000), ms(6500));
        assert_eq!((seen.used, seen.peak), (1.5, 1.5));
        seen.look(t0 + ms(1010), ms(6600));
        assert_eq!(seen.used, 1.5, "a moment says nothing");
        seen.look(t0 + ms(3000), ms(7000));
        assert_eq!((seen.used, seen.peak), (0.25, 1.5));
    }
}
