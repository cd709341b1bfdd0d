//! The loop of one docker source: what it holds, and the order things are done in.
//!
//! One turn does whatever can be done without waiting and says how long nothing more will happen by itself. Time is an
//! argument.

use super::DockerSettings;
use super::container::{Container, Phase};
use super::discover::Discovery;
use super::exchange::Exchange;
use super::place::{self, Place};
use super::report::{Containers, Report};
use super::select::Picker;
use crate::checkpoint::{Checkpoint, Key, Start};
use crate::clock::unix_nanos;
use crate::sources::ending::Ending;
use crate::sources::marks::Marks;
use crate::sources::net::filler::Filler;
use mio::{Registry, Token};
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes of one container that may be on their way: what is read again, at worst, after a failure or a crash.
pub(super) const WINDOW: u64 = 4 << 20;
/// Most logs read from in a turn: in between, settlements are heard.
const LOGS_TURN: usize = 64;
/// A followed log that says nothing for this long is asked for anew, in case the engine has lost it.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(300);

/// Who a container is to us; never used again for another.
pub(super) type Number = u64;

/// What a turn ends with.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to do at once.
    Again,
    /// Nothing to do until woken or until then.
    Sleep {
        /// When it wants to be called in any case.
        until: Option<Instant>,
        /// Whether it could go on, but for someone further down who is full.
        blocked: bool,
    },
    /// The source has ended.
    Done,
}

/// How one attempt at one log ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// No room further down.
    Blocked,
    /// Its turn is over, there is more.
    More,
    /// There is nothing to read now.
    Waits,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    List,
    Events,
    Log(Number),
}

/// Makes connections.
pub(super) struct Switchboard {
    registry: Registry,
    next: usize,
    pub(super) whose: HashMap<Token, Whose>,
    pub(super) open: usize,
}

impl Switchboard {
    /// Nobody listens to this connection any more.
    pub(super) fn forget(&mut self, whose: Whose) {
        self.whose.retain(|_, other| *other != whose);
    }

    /// Asks the engine for `target`.
    pub(super) fn begin(
        &mut self,
        whose: Whose,
        (settings, target, body_max): (&DockerSettings, &str, u64),
        now: Instant,
    ) -> std::io::Result<Exchange> {
        let token = Token(self.next);
        self.next += 1;
        self.forget(whose);
        let exchange = Exchange::begin(&settings.socket, target, body_max, (&self.registry, token), now)?;
        self.whose.insert(token, whose);
        Ok(exchange)
    }
}

/// All of one source's containers.
pub struct Reader {
    pub(super) settings: DockerSettings,
    pub(super) picker: Picker,
    pub(super) filler: Filler<Marks<Number>>,
    pub(super) switchboard: Switchboard,
    pub(super) ending: Arc<Ending>,
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) start: Start,
    /// The last run's places, by the container's id, as long as it was not seen.
    pub(super) places: HashMap<String, [Option<(Key, Place)>; 2]>,
    pub(super) containers: BTreeMap<Number, Box<Container>>,
    pub(super) by_id: HashMap<String, Number>,
    pub(super) last_number: Number,
    pub(super) discovery: Discovery,
    /// Those that may have something to read.
    pub(super) ready: VecDeque<Number>,
    /// Those that wait for a connection.
    pub(super) short: VecDeque<Number>,
    pub(super) timers: BinaryHeap<Reverse<(Instant, Number)>>,
    pub(super) dirty: Vec<Number>,
    pub(super) told: bool,
    pub(super) report: Report,
}

impl Reader {
    pub(super) fn new(
        settings: DockerSettings,
        picker: Picker,
        filler: Filler<Marks<Number>>,
        registry: Registry,
        ending: Arc<Ending>,
        checkpoint: Arc<Checkpoint>,
    ) -> Reader {
        let (name, now) = (Arc::clone(&settings.name), unix_nanos());
        let start = checkpoint.start(&name);
        let mut places: HashMap<String, [Option<(Key, Place)>; 2]> = HashMap::new();
        for (key, position) in checkpoint.loaded(&name) {
            let Some((id, std)) = place::whose(&position.path) else { continue };
            let half = usize::from(std == "stderr");
            places.entry(id.to_owned()).or_default()[half] = Some((key, Place::of(&position, now)));
        }
        Reader {
            settings,
            picker,
            filler,
            switchboard: Switchboard { registry, next: 0, whose: HashMap::new(), open: 0 },
            ending,
            checkpoint,
            start,
            places,
            containers: BTreeMap::new(),
            by_id: HashMap::new(),
            last_number: 0,
            discovery: Discovery::default(),
            ready: VecDeque::new(),
            short: VecDeque::new(),
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            told: false,
            report: Report::default(),
        }
    }

    pub(super) fn shown(&self) -> Arc<Mutex<Containers>> {
        Arc::clone(&self.report.shown)
    }

    /// The connection of this token may have something.
    pub(super) fn notice(&mut self, token: Token) {
        match self.switchboard.whose.get(&token).copied() {
            None => {}
            Some(Whose::Log(number)) => {
                if let Some(exchange) = self.containers.get_mut(&number).and_then(|one| one.exchange()) {
                    exchange.notice();
                    self.make_ready(number);
                }
            }
            Some(whose) => self.discovery.notice(whose),
        }
    }

    /// Does what can be done at `now` without waiting.
    pub(super) fn turn(&mut self, now: Instant, woken: bool) -> Next {
        if woken {
            self.settle(now);
        }
        if self.ending.is_stopping() {
            return self.wind_down(now);
        }
        self.discover(now);
        self.ring_timers(now);
        self.open_short(now);
        let did = self.read(now);
        let pace = self.filler.keep_pace(now);
        self.tell_checkpoint();
        let report = self.report.update(now, &self.containers, &self.discovery, self.short.len());
        report.gauges(self.filler.ledger());
        if did == Did::More || self.discovery.wants_turn() {
            return Next::Again;
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let report = report.due();
        let until = [pace, timer, self.discovery.due(), report].into_iter().flatten().min();
        Next::Sleep { until, blocked: did == Did::Blocked || self.filler.is_stuck() }
    }

    /// Reads from those that may have something.
    fn read(&mut self, now: Instant) -> Did {
        for _ in 0..LOGS_TURN {
            let Some(number) = self.ready.pop_front() else { return Did::Waits };
            if !self.filler.may_read() {
                self.ready.push_front(number);
                return Did::Blocked;
            }
            match self.read_log(number, now) {
                Did::Blocked => {
                    self.ready.push_front(number);
                    return Did::Blocked;
                }
                Did::More => self.ready.push_back(number),
                Did::Waits => {}
            }
        }
        if self.ready.is_empty() { Did::Waits } else { Did::More }
    }

    /// Puts the container in the queue of those to be read.
    pub(super) fn make_ready(&mut self, number: Number) {
        if let Some(container) = self.containers.get_mut(&number)
            && !container.queued
            && !container.parked
        {
            container.queued = true;
            self.ready.push_back(number);
        }
    }

    /// Has the container looked at again at this time.
    pub(super) fn set_timer(&mut self, number: Number, at: Instant) {
        if let Some(container) = self.containers.get_mut(&number)
            && container.timer.is_none_or(|timer| at < timer)
        {
            container.timer = Some(at);
            self.timers.push(Reverse((at, number)));
        }
    }

    fn ring_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, number))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let Some(container) = self.containers.get_mut(&number).filter(|one| one.timer == Some(at)) else {
                continue;
            };
            container.timer = None;
            if matches!(container.phase, Phase::Due(due) if due <= now) {
                self.open(number, now);
            }
            self.make_ready(number);
            self.watch_over(number, now);
        }
    }

    /// Sets the timer for whatever the container waits for.
    pub(super) fn watch_over(&mut self, number: Number, now: Instant) {
        let Some(container) = self.containers.get(&number) else { return };
        let event = container.halves.iter().filter_map(|half| half.until).map(|(until, _)| until).min();
        let phase = match &container.phase {
            Phase::Due(at) => Some(*at),
            Phase::Following(exchange) => Some(exchange.heard + SILENT_MAX),
            Phase::Looking(exchange) => Some(exchange.heard + self.settings.timeout),
            Phase::Resting | Phase::Asked | Phase::Waiting => None,
        };
        // What is due already is done as soon as there is room; the timer only ends a sleep.
        if let Some(at) = [event, phase].into_iter().flatten().filter(|at| *at > now).min() {
            self.set_timer(number, at);
        }
    }
}
