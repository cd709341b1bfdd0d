//! Builds the house from a config, starts its threads, and ends them in the order in which entries leave it.
//!
//! Nothing but the engine starts a thread. It starts from the way out to the way in, so that nobody ships before the next
//! one can take, and ends the other way round: sources stop and ship what they hold, the ring empties, lanes cut what
//! is left, senders deliver it until the deadline, sources hear of it, and the last checkpoint is written.

mod build;
mod inside;
mod keeper;
mod memory;
pub mod run;
mod sinks;
mod sources;
mod steps;
mod upkeep;

pub use run::run;

use crate::admin::{AdminServer, Health, Inside, Snapshot};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::delivery::Sender;
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::sinks::Sink;
use crate::sources::ending::Ending;
use crate::sources::inlet::Hallway;
use crate::sources::submit::Submitter;
use crate::thread::{Flag, Inside as InLatch, Latch, Row, Threads, Wake};
use crate::worker::{Domain, Worker};
use inside::House;
use keeper::Keeper;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upkeep::Upkeep;

/// How long threads that were told to leave have to do so, beyond the deadline.
const GRACE: Duration = Duration::from_millis(500);

/// Why the engine could not start. Nothing runs then, and nothing was changed but the data directory.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config cannot be made to work on this host.
    #[error("{0}")]
    Config(String),
    /// A port, a directory or a file cannot be had.
    #[error("{0}")]
    Start(String),
}

impl StartError {
    fn start(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        StartError::Start(format!("{what}: {error}"))
    }
}

/// A source, ready to run on its own thread.
struct Runner {
    name: String,
    cores: Vec<usize>,
    body: Box<dyn FnOnce(&Row) + Send>,
}

/// Everything there is, not yet running.
struct Parts {
    hallway: Arc<Hallway>,
    domains: Arc<[Domain]>,
    lanes: Vec<Arc<Lane>>,
    sinks: Vec<Arc<dyn Sink>>,
    senders: Vec<(String, Sender)>,
    runners: Vec<Runner>,
    submitter: Option<Submitter>,
    checkpoint: Arc<Checkpoint>,
    ending: Arc<Ending>,
    house: Arc<House>,
    admin: Option<AdminServer>,
}

/// A running engine.
pub struct Engine {
    config: Config,
    threads: Threads,
    hallway: Arc<Hallway>,
    domains: Arc<[Domain]>,
    lanes: Vec<Arc<Lane>>,
    sinks: Vec<Arc<dyn Sink>>,
    upkeep: Vec<Upkeep>,
    submitter: Option<Submitter>,
    ending: Arc<Ending>,
    house: Arc<House>,
    keeper: Arc<Keeper>,
    sources_done: Arc<Latch>,
    workers_done: Arc<Latch>,
    senders_done: Arc<Latch>,
    keeper_done: Arc<Latch>,
    admin_stop: Option<(Flag, Arc<dyn Wake>)>,
    admin_done: Arc<Latch>,
}

/// What the end came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Entries admitted in this run.
    pub received: u64,
    /// Copies delivered.
    pub delivered: u64,
    /// Entries and copies dropped by a policy.
    pub dropped: u64,
    /// Entries and copies that were neither delivered nor dropped. Files give theirs again at the next start.
    pub undelivered: u64,
    /// Whether every thread ended.
    pub all_ended: bool,
}

impl Engine {
    /// Builds everything `config` describes and starts it.
    ///
    /// Errors: the config cannot work here, or something cannot be had; nothing runs then.
    pub fn start(config: Config) -> Result<Engine, StartError> {
        let parts = build::build(&config)?;
        let threads = parts.house.threads.clone();
        let keeper = Arc::new(Keeper::new(&parts));
        parts.checkpoint.wake_when_dirty(Arc::clone(&keeper) as Arc<dyn Wake>);
        let mut engine = Engine {
            threads,
            hallway: parts.hallway,
            domains: parts.domains,
            lanes: parts.lanes,
            sinks: parts.sinks,
            upkeep: Vec::new(),
            submitter: parts.submitter,
            ending: parts.ending,
            house: parts.house,
            keeper,
            sources_done: Arc::default(),
            workers_done: Arc::default(),
            senders_done: Arc::default(),
            keeper_done: Arc::default(),
            admin_stop: None,
            admin_done: Arc::default(),
            config,
        };
        if let Err(error) = engine.start_threads(parts.senders, parts.runners, parts.admin) {
            engine.ending.leave();
            engine.stop(Instant::now());
            return Err(StartError::start("cannot start a thread", error));
        }
        engine.house.set_running();
        Ok(engine)
    }

    fn start_threads(
        &mut self,
        senders: Vec<(String, Sender)>,
        runners: Vec<Runner>,
        admin: Option<AdminServer>,
    ) -> io::Result<()> {
        let cores = self.config.decided.cores.clone();
        for (name, sender) in senders {
            let done = InLatch::new(&self.senders_done);
            self.threads.spawn(name, &cores.senders, move |row| {
                let _done = done;
                sender.run(row);
            })?;
        }
        for (sink, named) in self.sinks.iter().zip(&self.house.ledger.sinks) {
            self.upkeep.extend(Upkeep::start(&self.threads, &named.name, sink)?);
        }
        for number in 0..self.config.decided.workers {
            let worker = Worker {
                hallway: Arc::clone(&self.hallway),
                domains: Arc::clone(&self.domains),
                telemetry: self.house.telemetry.workers(),
            };
            // One core each: a worker keeps its cache.
            let core: Vec<usize> = match cores.workers.len() {
                0 => Vec::new(),
                count => vec![cores.workers[number % count]],
            };
            let done = InLatch::new(&self.workers_done);
            self.threads.spawn(format!("worker-{number}"), &core, move |row| {
                let _done = done;
                worker.run(row);
            })?;
        }
        let (keeper, done) = (Arc::clone(&self.keeper), InLatch::new(&self.keeper_done));
        self.threads.spawn("keeper", &[], move |row| {
            let _done = done;
            keeper.run(row);
        })?;
        for Runner { name, cores, body } in runners {
            let done = InLatch::new(&self.sources_done);
            self.threads.spawn(name, &cores, move |row| {
                let _done = done;
                body(row);
            })?;
        }
        if let Some(admin) = admin {
            let stop = Flag::default();
            self.admin_stop = Some((stop.clone(), admin.waker()));
            let (house, done) = (Arc::clone(&self.house), InLatch::new(&self.admin_done));
            self.threads.spawn("admin", &[], move |row| {
                let _done = done;
                if let Err(error) = admin.run(row, &*house, &stop) {
                    tracing::error!("admin: no more answers: {error}");
                }
            })?;
        }
        Ok(())
    }

    /// Where it listens and what it reads and writes, a line each.
    pub fn describe(&self) -> Vec<String> {
        self.house.describe()
    }

    /// The ledger: what became of every entry.
    pub fn ledger(&self) -> &Ledger {
        &self.house.ledger
    }

    /// Where the program hands entries in, if a source is made for that.
    pub fn submitter(&self) -> Option<&Submitter> {
        self.submitter.as_ref()
    }

    /// All numbers now.
    pub fn snapshot(&self) -> Snapshot {
        self.house.snapshot()
    }

    /// How everything is, and why.
    pub fn health(&self) -> Health {
        self.house.health()
    }

    /// The mean of what its histograms hold, in seconds, of the metric called `name`.
    pub fn mean_seconds(&self, name: &str) -> f64 {
        self.house.telemetry.mean(name)
    }

    /// Opens the sinks' destinations anew: someone moved their files away.
    pub fn reopen(&self) {
        for sink in &self.sinks {
            sink.reopen();
        }
    }

    /// Ends it: no more in, everything out until `deadline`, the last checkpoint. Says what was and was not delivered.
    pub fn stop(self, deadline: Instant) -> Ended {
        self.house.set_stopping();
        self.ending.stop();
        self.ending.wait_shipped(deadline);
        self.hallway.ring.close();
        self.workers_done.wait(deadline);
        self.lanes.iter().for_each(|lane| lane.close());
        if !self.senders_done.wait(deadline) {
            self.lanes.iter().for_each(|lane| lane.leave());
            self.senders_done.wait(Instant::now() + GRACE);
        }
        self.upkeep.iter().for_each(Upkeep::stop);
        // Whatever is settled by now has been heard of; nothing more will be.
        if !self.sources_done.wait(deadline.min(Instant::now() + GRACE)) {
            self.ending.leave();
        }
        let grace = Instant::now() + GRACE;
        let mut all_ended = self.sources_done.wait(grace);
        self.domains.iter().for_each(|domain| domain.sequencer.close());
        self.keeper.stop();
        all_ended &= self.keeper_done.wait(grace + GRACE);
        all_ended &= self.upkeep.iter().all(|upkeep| upkeep.wait(grace + GRACE));
        if let Some((stop, waker)) = &self.admin_stop {
            stop.raise();
            waker.wake();
        }
        all_ended &= self.admin_done.wait(Instant::now() + GRACE);
        let now = Instant::now();
        all_ended &= self.workers_done.wait(now) && self.senders_done.wait(now);
        self.sinks.iter().for_each(|sink| sink.stop());
        self.ended(all_ended)
    }

    fn ended(&self, all_ended: bool) -> Ended {
        let ledger = &self.house.ledger;
        let sources = ledger.sources.iter().map(|source| &source.row);
        let sinks = ledger.sinks.iter().map(|sink| &sink.row);
        Ended {
            received: sources.clone().map(|row| row.received.get()).sum(),
            delivered: sinks.clone().map(|row| row.delivered.get()).sum(),
            dropped: sources.clone().map(|row| row.dropped.total()).sum::<u64>()
                + sinks.clone().map(|row| row.dropped.total()).sum::<u64>(),
            undelivered: sources.map(|row| row.in_transit.get()).sum::<u64>()
                + sinks.map(|row| row.in_flight.get()).sum::<u64>(),
            all_ended,
        }
    }
}
