//! The pools of workers: the hallway of each, who works there, and how many they are.
//!
//! The first pool is the general one, for every pipeline that is assigned to no other. Pools are made at the start and
//! stay to the end; a reload moves sources between them and changes how many workers they may have. The keeper looks at
//! them ([`Pools::look`]): nobody else adds workers or tells them to leave.

mod crew;
mod view;

use super::StartError;
use super::memory::Shares;
use super::ready::thread_refused;
use crate::block::Blocks;
use crate::config::{Config, Decided, PoolPlan, SourceConfig};
use crate::metrics::{Telemetry, WorkerTelemetry};
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::{Amount, Credits, Watermarks};
use crate::ring::wait::Sleeper;
use crate::sources::inlet::Hallway;
use crate::tap::Taps;
use crate::thread::{Inside, Latch, Threads, WaitList};
use crate::worker::Domains;
use crate::worker::Worker;
use crate::worker::seat::Seat;
use crew::{Crew, Member, Told};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a pool is looked at while it has something to do.
const LOOK: Duration = Duration::from_millis(50);
/// How often one that rests is looked at.
const REST: Duration = Duration::from_secs(1);

/// All pools.
pub struct Pools {
    /// The general one first.
    all: Vec<Pool>,
    /// Where blocks come from, for all of them.
    pub blocks: Blocks,
    means: Means,
}

/// One pool.
pub struct Pool {
    name: String,
    /// The way to its workers.
    pub hallway: Arc<Hallway>,
    cores: Vec<usize>,
    telemetry: WorkerTelemetry,
    crew: Mutex<Crew>,
}

/// What every worker needs that is not its pool's.
pub struct Means {
    pub threads: Threads,
    pub domains: Arc<Domains>,
    pub taps: Arc<Taps>,
    /// Left by every worker that has ended.
    pub done: Arc<Latch>,
}

impl Pools {
    /// The pools `config` describes, without workers.
    pub fn new(
        config: &Config,
        shares: &Shares,
        blocks: Blocks,
        telemetry: &Telemetry,
        means: Means,
    ) -> Self {
        let all = config.decided.pools.iter().zip(&shares.pools).map(|(plan, transit)| {
            let telemetry = match config.dispatcher.worker_pool.enable_metrics {
                true => telemetry.workers(&plan.name),
                false => WorkerTelemetry::none(),
            };
            Pool {
                name: plan.name.clone(),
                hallway: Arc::new(hallway(config, *transit, blocks.clone())),
                cores: plan.cores.clone(),
                telemetry,
                crew: Mutex::new(Crew::new(plan)),
            }
        });
        Pools { all: all.collect(), blocks, means }
    }

    /// The one of all pipelines that are assigned to no other.
    pub fn general(&self) -> &Pool {
        &self.all[0]
    }

    /// The one whose workers the entries of `source` are for.
    pub fn of(&self, config: &Config, source: &SourceConfig) -> &Pool {
        let name = &config.decided.pools[config.pool_of(source)].name;
        // A config with other pools takes a restart.
        self.all.iter().find(|pool| pool.name == *name).unwrap_or_else(|| self.general())
    }

    /// Starts the workers that are there from the start.
    ///
    /// Errors: the system has no more threads to give.
    pub fn start(&self, decided: &Decided) -> Result<(), StartError> {
        for (pool, plan) in self.all.iter().zip(&decided.pools) {
            let crew = &mut pool.crew.lock();
            for _ in 0..plan.start {
                self.add(pool, crew).map_err(thread_refused)?;
            }
        }
        Ok(())
    }

    /// They may have as many workers as `decided` says from now on: seen to at the next look.
    pub fn set_bounds(&self, decided: &Decided) {
        for plan in &decided.pools {
            for pool in self.all.iter().filter(|pool| pool.name == plan.name) {
                pool.crew.lock().set(plan);
            }
        }
    }

    /// As much may be on its way through them as `shares` says, in the order of `decided`.
    pub fn set_limits(&self, decided: &Decided, shares: &Shares) {
        for (plan, transit) in decided.pools.iter().zip(&shares.pools) {
            for pool in self.all.iter().filter(|pool| pool.name == plan.name) {
                pool.hallway.transit.set_limit(*transit);
            }
        }
    }

    /// Adds workers where they are short and lets those go there is no use for. Says when to look again.
    pub fn look(&self, now: Instant) -> Instant {
        let mut soon = false;
        for pool in &self.all {
            let mut crew = pool.crew.lock();
            if crew.forget_ended() {
                self.means.threads.forget_ended();
            }
            let told = crew.decide(&pool.hallway, now);
            soon |= told.is_at_something;
            match told {
                Told { add: 0, leave: 0, .. } => {}
                Told { add, leave, why, .. } => {
                    let before = crew.count();
                    if let Err(error) = (0..add).try_for_each(|_| self.add(pool, &mut crew))
                        && let Some(more) = crew.refused.may_speak(now)
                    {
                        tracing::warn!(
                            "pool {}: no further worker though {why}: {error} ({more} more refused since this was last said)",
                            pool.name
                        );
                    }
                    crew.let_go(leave, &pool.hallway.ring);
                    let after = crew.count();
                    if before != after {
                        crew.changed(before, after, &why, now);
                        tracing::info!("pool {}: {before} -> {after} workers: {why}", pool.name);
                    }
                }
            }
        }
        now + if soon { LOOK } else { REST }
    }

    /// Nothing more comes in: workers end when they have emptied their rings, and no more are started.
    pub fn close(&self) {
        for pool in &self.all {
            pool.crew.lock().close();
            pool.hallway.ring.close();
        }
    }

    /// Waits until all workers have ended; false if the deadline passes first.
    pub fn wait(&self, deadline: Instant) -> bool {
        self.means.done.wait(deadline)
    }

    /// One worker more.
    fn add(&self, pool: &Pool, crew: &mut Crew) -> io::Result<()> {
        let Means { threads, domains, taps, done } = &self.means;
        let number = crew.free_number();
        let name = match std::ptr::eq(pool, self.general()) {
            true => format!("worker-{number}"),
            false => format!("worker-{}-{number}", pool.name),
        };
        // One core each: a worker keeps its cache.
        let own: Vec<usize> = match pool.cores.len() {
            0 => Vec::new(),
            count => vec![pool.cores[number % count]],
        };
        let sleeper = Sleeper::new();
        let seat = Arc::new(Seat::new(name.clone(), &sleeper, Instant::now()));
        let worker = Worker {
            seat: Arc::clone(&seat),
            sleeper,
            hallway: Arc::clone(&pool.hallway),
            domains: Arc::clone(domains),
            telemetry: pool.telemetry.clone(),
            taps: Arc::clone(taps),
        };
        let body = Inside::until_the_end_of(done, move |row| worker.run(row));
        let thread = threads.spawn(name, &own, body)?;
        crew.join(Member::new(number, seat, thread));
        Ok(())
    }
}

/// The hallway of one pool, with so many bytes in transit.
fn hallway(config: &Config, transit: usize, blocks: Blocks) -> Hallway {
    let queue_size = config.dispatcher.queue_size;
    let pressure = &config.dispatcher.backpressure;
    // Without watermarks congestion begins where the ring is full.
    let marks = match pressure.enabled {
        true => Watermarks { high: pressure.high_watermark, low: pressure.low_watermark },
        false => Watermarks { high: 1.0, low: 1.0 },
    };
    let limit = Amount { entries: queue_size as u64, bytes: transit as u64 / 2 };
    // A short spin pays only where a worker has a core to itself.
    let workers: usize = config.decided.pools.iter().map(|pool: &PoolPlan| pool.max).sum();
    let spare_core = workers < std::thread::available_parallelism().map_or(1, |count| count.get());
    let spins = if spare_core && workers > 1 { crate::ring::wait::SPINS_MAX } else { 0 };
    Hallway {
        ring: Ring::with_spins((queue_size / 16).clamp(64, 4096), spins),
        credits: Credits::new(limit, marks),
        freed: WaitList::default(),
        transit: Budget::new(transit),
        blocks,
        block_entries: super::build::block_entries(config),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
