//! What runs now: the sources and sinks of the config in force, and those of earlier ones that have not ended yet.

use super::build::claims;
use super::descriptors::Descriptors;
use super::disks::LiveDisk;
use super::go::Go;
use super::inside::{House, SinkView, SourceView};
use super::intake::IntakeSlot;
use super::keeper::Keeper;
use super::letters::Desk;
use super::memory::Pressure;
use super::ordered::OrderedSteps;
use super::ready::thread_refused;
use super::repeats::Repeats;
use super::sources::{Opened, Opener};
use super::upkeep::Upkeep;
use super::{Runner, StartError};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::delivery::circuit::Circuit;
use crate::delivery::fallback::{Fallback, Outlets};
use crate::labels::SourceId;
use crate::lane::{Crew, Lane};
use crate::ledger::{Ledger, Named, SourceLedger};
use crate::sinks::Sink;
use crate::sources::ending::Ending;
use crate::sources::inlet::{Assigned, DomainId, Gate};
use crate::sources::rate::pacer::Pacer;
use crate::sources::rate::{Limits, RateLimit};
use crate::sources::submit::Submitter;
use crate::thread::{Inside, Latch};
use crate::worker::Plan;
use parking_lot::{Condvar, Mutex};
use std::ops::Range;
use std::sync::Arc;

/// Everything there is of an engine but its workers, which know nothing of sources and sinks.
pub(super) struct Core {
    pub house: Arc<House>,
    /// How many descriptors each source and sink may have open.
    pub descriptors: Descriptors,
    /// Holds the whole process to its memory.
    pub pressure: Mutex<Pressure>,
    pub checkpoint: Arc<Checkpoint>,
    pub keeper: Arc<Keeper>,
    /// The dead letters, unless the config wants none.
    pub desk: Option<Arc<Desk>>,
    /// The ordered steps of all pipelines.
    pub ordered: Arc<OrderedSteps>,
    /// Who wakes sources that wait for their rate.
    pub pacer: Arc<Pacer>,
    /// Held by whoever changes what runs.
    pub live: Mutex<Live>,
    /// Something that was to end has ended.
    pub ended: Condvar,
    /// The sinks in force, for those they are a fallback of.
    pub outlets: Arc<Outlets>,
    /// Short-lived threads that see something off.
    pub helpers: Arc<Latch>,
    /// Left when the engine ends.
    pub working: Latch,
}

/// What runs now.
pub(super) struct Live {
    /// The config in force.
    pub config: Arc<Config>,
    /// All rows there ever were.
    pub ledger: Arc<Ledger>,
    /// Those of the config, in its order.
    pub sources: Vec<LiveSource>,
    /// Sources that were told to end and have not ended.
    pub leaving: Vec<Leaving>,
    /// The enabled ones of the config, in its order.
    pub sinks: Vec<LiveSink>,
    /// Sinks that were taken out and still deliver what they have.
    pub retiring: Vec<LiveSink>,
    /// The lane for what steps gave up, once there are any.
    pub letters: Option<LiveSink>,
    /// The source of what `dedupe` counted, once there is any.
    pub repeats: Option<Repeats>,
    pub intake: IntakeSlot,
    /// The intake thread.
    pub intake_done: Arc<Latch>,
    /// The thread that wakes sources that wait for their rate; none while there is no limit.
    pub pacer_done: Option<Arc<Latch>>,
    /// The engine ends: nothing is changed any more.
    pub ending: bool,
}

/// A source of the config.
pub(super) struct LiveSource {
    pub config: SourceConfig,
    pub id: SourceId,
    pub gate: Arc<Gate>,
    /// Its own rate limit: that of its name, whoever has it.
    pub rate: Arc<RateLimit>,
    /// Which workers its blocks go to.
    pub assigned: Arc<Assigned>,
    pub plan: Arc<Plan>,
    pub running: Option<Running>,
    pub submitter: Option<Submitter>,
}

/// A source's producers; without them the source waits for its predecessor to end.
#[derive(Clone)]
pub(super) struct Running {
    pub ending: Arc<Ending>,
    pub done: Arc<Latch>,
    pub domains: Vec<DomainId>,
    pub seats: Range<usize>,
}

impl Running {
    pub fn of(opened: &Opened) -> Self {
        Running {
            ending: Arc::clone(&opened.ending),
            done: Arc::clone(&opened.done),
            domains: opened.domains.clone(),
            seats: opened.seats.clone(),
        }
    }
}

/// A source that was told to end.
pub(super) struct Leaving {
    pub source: SourceConfig,
    /// The last config it was in.
    pub config: Arc<Config>,
    pub running: Running,
}

impl Leaving {
    /// The producers of the source, if it has any.
    pub fn of(source: &LiveSource, config: &Arc<Config>) -> Option<Leaving> {
        let running = source.running.clone()?;
        Some(Leaving { source: source.config.clone(), config: Arc::clone(config), running })
    }
}

/// A source that is to be opened.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub config: &'a Config,
    pub source: &'a SourceConfig,
    pub id: SourceId,
    pub named: &'a Named<SourceLedger>,
    pub plan: &'a Arc<Plan>,
    pub gate: &'a Arc<Gate>,
    pub limits: &'a Limits,
    pub assigned: &'a Arc<Assigned>,
}

/// What stands behind a source.
pub(super) struct Ways {
    pub plan: Arc<Plan>,
    pub gate: Arc<Gate>,
    pub assigned: Arc<Assigned>,
    pub limits: Limits,
}

impl Ways {
    pub fn wanted<'a>(
        &'a self,
        config: &'a Config,
        source: &'a SourceConfig,
        id: SourceId,
        named: &'a Named<SourceLedger>,
    ) -> Wanted<'a> {
        let Ways { plan, gate, assigned, limits } = self;
        Wanted { config, source, id, named, plan, gate, assigned, limits }
    }
}

impl Core {
    /// Opens a source; what is open of it comes back in any case.
    pub fn open_source(
        &self,
        intake: &mut IntakeSlot,
        wanted: Wanted<'_>,
    ) -> (Opened, Result<(), StartError>) {
        let opened = Opened::new(wanted.gate);
        let (checkpoint, domains, descriptors) = (&self.checkpoint, &self.house.domains, &self.descriptors);
        let mut opener = Opener { wanted, checkpoint, domains, intake, descriptors, opened };
        let came = opener.open();
        (opener.opened, came)
    }

    /// Makes a running source ready to go on as it is wanted now; what it shows then comes back, if it can.
    pub fn prepare_source(
        &self,
        intake: &mut IntakeSlot,
        wanted: Wanted<'_>,
        seats: &Range<usize>,
    ) -> Result<Option<SourceView>, StartError> {
        let opened = Opened::new(wanted.gate);
        let (checkpoint, domains, descriptors) = (&self.checkpoint, &self.house.domains, &self.descriptors);
        let mut opener = Opener { wanted, checkpoint, domains, intake, descriptors, opened };
        Ok(opener.prepare(seats)?.then_some(opener.opened.view))
    }

    /// Starts a thread of a source, which waits for the word.
    pub fn spawn_source(&self, runner: Runner, done: &Arc<Latch>, go: &Arc<Go>) -> Result<(), StartError> {
        let (go, run) = (Arc::clone(go), runner.body);
        let body = Inside::until_the_end_of(done, move |row| {
            if go.wait() {
                run(row);
            }
        });
        self.house.threads.spawn(runner.name, &runner.cores, body).map(drop).map_err(thread_refused)
    }

    /// What holds for entries of a source whose own limit is `rate`.
    pub fn limits(&self, rate: &Arc<RateLimit>) -> Limits {
        let (all, own) = (Arc::clone(&self.house.rate), Arc::clone(rate));
        Limits { all, own, pacer: Arc::clone(&self.pacer) }
    }

    /// Starts the thread that wakes sources which wait for their rate, if `config` has a limit and it does not run.
    pub fn run_pacer(&self, live: &mut Live, config: &Config) -> Result<(), StartError> {
        let mut limits = config.sources.iter().map(|source| &source.rate_limit);
        let limited = config.dispatcher.rate_limit.is_some() || limits.any(Option::is_some);
        if !limited || live.pacer_done.is_some() {
            return Ok(());
        }
        let done = Arc::<Latch>::default();
        let pacer = Arc::clone(&self.pacer);
        let body = Inside::until_the_end_of(&done, move |row| pacer.run(row));
        self.house.threads.spawn("pacer", &[], body).map_err(thread_refused)?;
        live.pacer_done = Some(done);
        Ok(())
    }

    /// Starts the intake thread, if there is an intake and it does not run.
    pub fn run_intake(&self, live: &mut Live, config: &Config) -> Result<(), StartError> {
        let Some(intake) = live.intake.runner(&config.decided.cores.intake) else { return Ok(()) };
        let body = Inside::until_the_end_of(&live.intake_done, intake.body);
        let spawned = self.house.threads.spawn(intake.name, &intake.cores, body);
        spawned.map(drop).map_err(|error| {
            live.intake = IntakeSlot::None;
            thread_refused(error)
        })
    }

    /// Takes a source back that never began.
    pub fn take_back(&self, intake: &mut IntakeSlot, opened: &Opened) {
        let seats = opened.seats.clone();
        if !seats.is_empty() {
            // Done when it comes back: whoever tries again at once finds the addresses free. An intake that is no more
            // holds none.
            let _ = intake.run(move |intake| intake.retract(seats));
        }
        opened.domains.iter().for_each(|id| self.house.domains.remove(*id));
    }

    /// Who takes the sink's place when it is out of reach.
    pub fn fallback(&self, sink: &SinkConfig) -> Option<Fallback> {
        let (name, outlets) = (sink.lane.fallback.clone()?, Arc::clone(&self.outlets));
        Some(Fallback { name, after: sink.lane.fallback_after, outlets })
    }

    /// Shares the memory out among the lanes there are.
    pub fn share_memory(&self, live: &Live) {
        let pools = &self.house.pools;
        let largest = pools.blocks.class(usize::MAX);
        let claims = claims(&live.config, live.lanes().map(LiveSink::shares).sum(), largest);
        // There were as many before, or it was found that they fit.
        if let Ok(shares) = claims.share_out_but(self.pressure.lock().withheld()) {
            pools.blocks.stock().set_limit(shares.blocks);
            pools.set_limits(&live.config.decided, &shares);
            for sink in live.lanes() {
                sink.lane.set_quota(shares.lane);
                sink.disk.iter().for_each(|disk| disk.lane.front.set_quota(shares.lane));
            }
        }
    }
}

/// A sink and its lane.
#[derive(Clone)]
pub(super) struct LiveSink {
    pub config: SinkConfig,
    /// Its row in the ledger.
    pub row: usize,
    pub lane: Arc<Lane>,
    pub sink: Arc<dyn Sink>,
    /// What its senders know of it.
    pub circuit: Arc<Circuit>,
    pub crew: Crew,
    /// The senders of the crew in charge.
    pub senders: Arc<Latch>,
    /// What tends to its output; ends with the last of its kind.
    pub upkeep: Option<Arc<Upkeep>>,
    /// Its buffer on disk; `lane` is what is behind that.
    pub disk: Option<LiveDisk>,
}

impl LiveSink {
    /// How many shares of the memory it has.
    pub fn shares(&self) -> usize {
        1 + usize::from(self.disk.is_some())
    }

    /// Where its entries come in.
    pub fn entrance(&self) -> &Arc<Lane> {
        self.disk.as_ref().map_or(&self.lane, |disk| &disk.lane.front)
    }

    /// What it shows of itself.
    pub fn view(&self, what: String) -> SinkView {
        let (lane, sink) = (Arc::clone(&self.lane), Some(Arc::clone(&self.sink)));
        let (circuit, disk) =
            (Arc::clone(&self.circuit), self.disk.as_ref().map(|disk| Arc::clone(&disk.lane)));
        SinkView { lane, disk, sink, circuit, what, removed: false }
    }
}

impl Live {
    /// Nothing runs; what cannot change is as `config` says.
    pub fn of_nothing(config: &Config) -> Self {
        let config =
            Config { sources: Vec::new(), sinks: Vec::new(), pipelines: Vec::new(), ..config.clone() };
        Live {
            config: Arc::new(config),
            ledger: Arc::default(),
            sources: Vec::new(),
            leaving: Vec::new(),
            sinks: Vec::new(),
            retiring: Vec::new(),
            letters: None,
            repeats: None,
            intake: IntakeSlot::default(),
            intake_done: Arc::default(),
            pacer_done: None,
            ending: false,
        }
    }

    /// All producers there are, also of sources that are to end.
    pub fn producers(&self) -> impl Iterator<Item = &Running> {
        let leaving = self.leaving.iter().map(|leaving| &leaving.running);
        self.sources.iter().filter_map(|source| source.running.as_ref()).chain(leaving)
    }

    /// All lanes there are, also of sinks that were taken out.
    pub fn lanes(&self) -> impl Iterator<Item = &LiveSink> {
        self.sinks.iter().chain(&self.retiring).chain(&self.letters)
    }
}
