//! Builds the house from a config, starts its threads, and ends them in the order in which entries leave it.
//!
//! A config takes its place by one way only, at the start as at a reload: everything it needs that is not there yet is
//! made ready, then it is put into force as a whole ([`reload`]).
//!
//! Nothing but the engine starts a thread. It starts from the way out to the way in, so that nobody ships before the next
//! one can take, and ends the other way round: sources stop and ship what they hold, the ring empties, lanes cut what
//! is left, senders deliver it until the deadline, sources hear of it, and the last checkpoint is written.

mod build;
pub mod changes;
mod commit;
mod descriptors;
mod disks;
mod go;
mod inside;
mod intake;
mod keeper;
mod letters;
mod live;
mod memory;
pub mod notify;
mod ordered;
mod overlap;
mod pools;
mod quotas;
mod ready;
pub mod reload;
mod remote;
mod repeats;
pub mod run;
mod see_off;
mod sinks;
mod sources;
mod steps;
pub mod trial;
mod upkeep;
mod vigil;

pub use changes::Changes;
pub use quotas::fits;
pub use reload::ReloadError;
pub use run::run;
pub use steps::tables;

use crate::admin::{AdminServer, Health, Inside, Snapshot};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::sources::submit::Submitter;
use crate::thread::{Flag, Inside as InLatch, Latch, Row, Wake};
use live::Core;
use notify::Notify;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// A thread of a source, ready to run.
struct Runner {
    name: String,
    cores: Vec<usize>,
    body: Box<dyn FnOnce(&Row) + Send>,
}

/// A running engine.
pub struct Engine {
    core: Arc<Core>,
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
    /// Copies that are on disk, for the next start.
    pub kept: u64,
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
        let (core, admin) = build::build(&config)?;
        let core = Arc::new(core);
        core.checkpoint.wake_when_dirty(core.keeper.alarm());
        core.keeper.watch(&core);
        let mut engine =
            Engine { core, keeper_done: Arc::default(), admin_stop: None, admin_done: Arc::default() };
        let started = engine.start_threads(&config).and_then(|()| match engine.core.apply(config) {
            Ok(_) => Ok(()),
            Err(ReloadError::Start(error)) => Err(error),
            Err(error) => Err(StartError::Config(error.to_string())),
        });
        let started = started.and_then(|()| engine.start_admin(admin).map_err(ready::thread_refused));
        if let Err(error) = started {
            engine.stop(Instant::now());
            return Err(error);
        }
        engine.core.report_unused();
        engine.core.house.set_running();
        Ok(engine)
    }

    /// Starts those who are there whatever the config says.
    fn start_threads(&self, config: &Config) -> Result<(), StartError> {
        let core = &self.core;
        core.house.pools.start(&config.decided)?;
        let keeper = Arc::clone(&core.keeper);
        let body = InLatch::until_the_end_of(&self.keeper_done, move |row| keeper.run(row));
        let spawned = core.house.threads.spawn("keeper", &[], body);
        spawned.map(drop).map_err(ready::thread_refused)?;
        let Some(desk) = core.desk.clone() else { return Ok(()) };
        let (core, done) = (Arc::clone(core), Arc::clone(&desk.done));
        let body = InLatch::until_the_end_of(&done, move |row| desk.run(&core, row));
        let spawned = self.core.house.threads.spawn("letters", &[], body);
        spawned.map(drop).map_err(ready::thread_refused)
    }

    fn start_admin(&mut self, admin: Option<AdminServer>) -> io::Result<()> {
        let Some(admin) = admin else { return Ok(()) };
        let stop = Flag::default();
        self.admin_stop = Some((stop.clone(), admin.waker()));
        let house = Arc::clone(&self.core.house);
        let body = InLatch::until_the_end_of(&self.admin_done, move |row| {
            if let Err(error) = admin.run(row, &*house, &stop) {
                tracing::error!("admin: no more answers: {error}");
            }
        });
        self.core.house.threads.spawn("admin", &[], body).map(drop)
    }

    /// Has the service manager hear how it is, and signs of life if it wants them.
    pub fn tell(&self, notify: &Arc<Notify>) {
        self.core.keeper.tell(Arc::clone(notify));
    }

    /// Puts another config into force while the engine runs. Sources and sinks for which nothing changes are not touched.
    /// Says what changed.
    ///
    /// Errors: something of it cannot be, or cannot be had; then all is as it was before.
    pub fn reload(&self, config: Config) -> Result<Changes, ReloadError> {
        self.core.apply(config)
    }

    /// Reads the config at `path` and puts it into force.
    ///
    /// Errors: as [`Engine::reload`], or it is wrong.
    pub fn reload_from(&self, path: &Path) -> Result<Changes, ReloadError> {
        let config = Config::load(path).map_err(|report| ReloadError::Config(Box::new(report)))?;
        self.reload(config)
    }

    /// Lets `POST /reload` on the admin server put the config at `path` into force.
    pub fn reload_on_request(&self, path: &Path) {
        self.core.house.remote.allow(&self.core, path);
    }

    /// What putting `config` into force would change.
    pub fn changes(&self, config: &Config) -> Changes {
        self.core.changes(config)
    }

    /// The config in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.core.live.lock().config)
    }

    /// Where the program hands entries in to its source of this name.
    pub fn submitter(&self, source: &str) -> Option<Submitter> {
        let live = self.core.live.lock();
        live.sources.iter().find(|one| one.config.name == source)?.submitter.clone()
    }

    /// Where it listens and what it reads and writes, a line each.
    pub fn describe(&self) -> Vec<String> {
        self.core.house.describe()
    }

    /// All numbers now.
    pub fn snapshot(&self) -> Snapshot {
        self.core.house.snapshot()
    }

    /// How everything is, and why.
    pub fn health(&self) -> Health {
        self.core.house.health()
    }

    /// What blocks took on average since the start: the wait in a ring, the work on them, and one request to a sink.
    pub fn mean_latency(&self) -> Duration {
        let (waited, worked) = self.core.house.pools.means(Instant::now());
        waited + worked + Duration::from_secs_f64(self.core.house.telemetry.mean_delivery())
    }

    /// The ledger as it is now: what became of every entry. A reload may add rows to it.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.core.house.view.load().ledger)
    }

    /// Opens the sinks' destinations anew: someone moved their files away.
    pub fn reopen(&self) {
        let live = self.core.live.lock();
        live.lanes().for_each(|sink| sink.sink.reopen());
    }

    /// Ends it: no more in, everything out until `deadline`, the last checkpoint. Says what was and was not delivered.
    pub fn stop(self, deadline: Instant) -> Ended {
        let core = &self.core;
        core.house.set_stopping();
        core.house.threads.cpu_limit().lift();
        core.working.leave();
        let (producers, lanes) = {
            let mut live = core.live.lock();
            live.ending = true;
            let producers: Vec<_> = live.producers().cloned().collect();
            (producers, live.lanes().cloned().collect::<Vec<_>>())
        };
        producers.iter().for_each(|source| source.ending.stop());
        core.desk.iter().for_each(|desk| desk.ending.stop());
        for source in &producers {
            source.ending.wait_shipped(deadline);
        }
        if let Some(desk) = &core.desk {
            desk.ending.wait_shipped(deadline);
        }
        let repeats = core.live.lock().repeats.clone();
        if let Some(repeats) = &repeats {
            // Last: what the others shipped may open windows.
            repeats.ending.stop();
            repeats.ending.wait_shipped(deadline);
        }
        core.house.pools.close();
        core.house.pools.wait(deadline);
        lanes.iter().for_each(|sink| sink.entrance().close());
        core.drain_disks(&lanes, deadline);
        let senders_done = |deadline| lanes.iter().all(|sink| sink.senders.wait(deadline));
        if !senders_done(deadline) {
            lanes.iter().for_each(|sink| sink.lane.leave());
            senders_done(Instant::now() + GRACE);
        }
        let upkeep = || lanes.iter().filter_map(|sink| sink.upkeep.as_ref());
        upkeep().for_each(|upkeep| upkeep.stop());
        // Whatever is settled by now has been heard of; nothing more will be.
        let sources_done = |deadline| {
            producers.iter().all(|source| source.done.wait(deadline))
                && core.desk.iter().all(|desk| desk.done.wait(deadline))
                && repeats.iter().all(|repeats| repeats.done.wait(deadline))
        };
        if !sources_done(deadline.min(Instant::now() + GRACE)) {
            producers.iter().for_each(|source| source.ending.leave());
            core.desk.iter().for_each(|desk| desk.ending.leave());
            repeats.iter().for_each(|repeats| repeats.ending.leave());
        }
        let grace = Instant::now() + GRACE;
        let mut all_ended = sources_done(grace);
        core.live.lock().intake.close();
        all_ended &= core.live.lock().intake_done.clone().wait(grace + GRACE);
        core.house.domains.all().iter().for_each(|(_, domain)| domain.sequencer.close());
        core.pacer.close();
        let pacer_done = core.live.lock().pacer_done.take();
        all_ended &= pacer_done.is_none_or(|done| done.wait(grace + GRACE));
        core.keeper.stop();
        all_ended &= self.keeper_done.wait(grace + GRACE);
        all_ended &= upkeep().all(|upkeep| upkeep.wait(grace + GRACE));
        if let Some((stop, waker)) = &self.admin_stop {
            stop.raise();
            waker.wake();
        }
        all_ended &= self.admin_done.wait(Instant::now() + GRACE);
        all_ended &= core.helpers.wait(Instant::now() + GRACE);
        let now = Instant::now();
        all_ended &= core.house.pools.wait(now) && senders_done(now);
        core.keeper.let_go_all();
        core.desk.iter().for_each(|desk| desk.close());
        self.ended(all_ended)
    }

    fn ended(&self, all_ended: bool) -> Ended {
        let ledger = self.ledger();
        let sources = ledger.sources.iter().map(|source| &source.row);
        let sinks = ledger.sinks.iter().map(|sink| &sink.row);
        Ended {
            received: sources.clone().map(|row| row.received.get()).sum(),
            delivered: sinks.clone().map(|row| row.delivered.get()).sum(),
            kept: sinks.clone().map(|row| row.persisted.get()).sum(),
            dropped: sources.clone().map(|row| row.dropped.total()).sum::<u64>()
                + sinks.clone().map(|row| row.dropped.total()).sum::<u64>(),
            undelivered: sources.map(|row| row.in_transit.get()).sum::<u64>()
                + sinks.map(|row| row.in_flight.get()).sum::<u64>(),
            all_ended,
        }
    }
}
