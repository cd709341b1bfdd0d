//! A source of frames over connections and datagrams: its doors, its turns, and its end.
//!
//! Not here: the connections and their limits (see [`Connections`]), how frames are told apart (see [`Framing`]) and
//! what they mean.

use super::change::{Change, Ready};
use super::connections::Connections;
use super::datagrams::Datagrams;
use super::filler::Filler;
use super::incoming::{Framing, HEADROOM};
use super::listen::{Listen, cannot_listen};
use super::listener::{Listener, Refusal};
use super::settings::Settings;
use super::{Member, Next, Place, Readiness, Turn};
use crate::logs::Quiet;
use crate::sources::inlet::InletSpec;
use crate::thread::Wake;
use mio::Interest;
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most connections accepted in a turn.
const TURN_ACCEPTS: usize = 32;
/// How long accepting rests when the system is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long after being told to stop what the kernel has already received is read.
const LAST_READ: Duration = Duration::from_secs(1);
/// The keys below this one are of doors.
const FIRST_CONNECTION: u32 = 1 << 16;

/// The member.
pub struct Framed<F> {
    pub(super) filler: Filler,
    /// By key.
    pub(super) doors: Vec<Door>,
    /// What each door was asked to be.
    pub(super) asked: Vec<Listen>,
    /// Doors that are closed when nothing is left behind them.
    pub(super) leaving: Vec<usize>,
    pub(super) connections: Connections<F>,
    /// What it goes on under, if that is decided.
    pub(super) ready: Option<Ready<F>>,
    /// We do not read now, as there is no room.
    blocked: bool,
    phase: Phase,
    /// Accepting rests.
    rests: Quiet,
}

pub(super) enum Door {
    Connections(Box<Entrance>),
    Datagrams(Box<Datagrams>),
    Closed,
}

pub(super) struct Entrance {
    pub(super) listener: Listener,
    ready: bool,
    /// Accepting rests until then.
    rests: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Told to stop: reads what has arrived, until then at the latest.
    Last(Instant),
    /// Reads nothing more, hands in what it has.
    Closing,
    /// Everything is shipped.
    Shipped,
}

impl<F: Framing + Clone> Framed<F> {
    /// Opens everything there is to listen on. Also says which addresses it came to (port 0 lets the system choose).
    ///
    /// Errors name the source and the address, or the setting that cannot be.
    pub fn listen(
        settings: Settings,
        kind: &'static str,
        framing: F,
        spec: InletSpec,
        place: Place,
        waker: Arc<dyn Wake>,
    ) -> io::Result<(Self, Vec<Listen>)> {
        let largest = spec.largest_block();
        if settings.max_message.saturating_add(HEADROOM) > largest {
            let (name, max) = (&spec.source.name, settings.max_message);
            let error = format!("source {name}: messages of {max} bytes do not fit blocks of {largest}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let listens = settings.listen.clone();
        let connections = Connections::new(settings, kind, framing, place, FIRST_CONNECTION);
        let mut framed = Framed {
            filler: Filler::new(spec, waker),
            doors: Vec::new(),
            asked: listens.clone(),
            leaving: Vec::new(),
            connections,
            ready: None,
            blocked: false,
            phase: Phase::Running,
            rests: Quiet::default(),
        };
        let mut bound = Vec::new();
        for listen in listens {
            let key = framed.doors.len() as u32;
            let opened = framed.open_door(&listen, key, framed.connections.settings());
            let error = |error| cannot_listen(&framed.filler.source_name(), &listen, &error);
            let (door, at) = opened.map_err(error)?;
            framed.doors.push(door);
            bound.push(at);
        }
        Ok((framed, bound))
    }

    /// Opens one door, with the address it came to.
    pub(super) fn open_door(
        &self,
        listen: &Listen,
        key: u32,
        settings: &Settings,
    ) -> io::Result<(Door, Listen)> {
        if listen.is_datagrams() {
            let name = self.filler.source_name();
            let mut socket =
                Datagrams::bind(listen, settings, |bound| self.connections.stream(name, bound.to_string()))?;
            self.connections.place().register(key, &mut socket, Interest::READABLE)?;
            let bound = socket.bound().clone();
            return Ok((Door::Datagrams(Box::new(socket)), bound));
        }
        let mut listener = Listener::open(listen, settings.tls.as_ref(), settings.socket_mode)?;
        self.connections.place().register(key, &mut listener, Interest::READABLE)?;
        let bound = listener.bound().clone();
        Ok((Door::Connections(Box::new(Entrance { listener, ready: true, rests: None })), bound))
    }

    // --- accepting

    fn accept(&mut self, now: Instant) {
        for at in 0..self.doors.len() {
            for _ in 0..TURN_ACCEPTS {
                if self.is_crowded() {
                    return;
                }
                let Door::Connections(entrance) = &mut self.doors[at] else { break };
                if entrance.rests.is_some_and(|until| now < until) || !entrance.ready {
                    break;
                }
                entrance.rests = None;
                match entrance.listener.accept() {
                    Ok(link) => self.connections.admit(link, &self.filler, now),
                    Err(error) => self.not_accepted(at, &error, now),
                }
            }
        }
    }

    /// Whether further connections have to wait until one of those that are here has gone.
    fn is_crowded(&self) -> bool {
        self.connections.len() >= self.connections.settings().open.get()
    }

    fn not_accepted(&mut self, at: usize, error: &io::Error, now: Instant) {
        let Door::Connections(entrance) = &mut self.doors[at] else { return };
        match Refusal::of(error) {
            Refusal::Next => {}
            Refusal::Nobody => entrance.ready = false,
            Refusal::Pause => {
                // They wait in the backlog, which costs us nothing, and are served when descriptors come back.
                entrance.rests = Some(now + ACCEPT_PAUSE);
                if let Some(more) = self.rests.may_speak(now) {
                    tracing::warn!(
                        "source {}: new connections wait, next try in {ACCEPT_PAUSE:?}: {error} ({more} more times)",
                        self.filler.source_name()
                    );
                }
            }
        }
    }

    // --- ending

    /// Goes on with the ending as far as it can.
    fn go_on_ending(&mut self, since: Instant, now: Instant) {
        if self.phase == Phase::Running {
            self.phase = Phase::Last(since + LAST_READ);
            for door in &mut self.doors {
                match door {
                    Door::Connections(entrance) => (entrance.ready, entrance.rests) = (true, None),
                    Door::Datagrams(socket) => socket.notice(),
                    Door::Closed => {}
                }
            }
            self.connections.read_last();
        }
        if let Phase::Last(until) = self.phase
            && now >= until
        {
            self.phase = Phase::Closing;
            for door in &mut self.doors {
                match door {
                    Door::Datagrams(socket) => socket.stop(),
                    door => *door = Door::Closed,
                }
            }
            self.connections.end_all();
        }
    }

    /// Closes the doors behind which nothing is left, and ships the rest when all are closed.
    fn close_emptied(&mut self, now: Instant) {
        for door in self.doors.iter_mut().filter(|door| door.is_emptied()) {
            *door = Door::Closed;
        }
        let closed = self.doors.iter().all(|door| matches!(door, Door::Closed));
        if closed && self.connections.is_empty() && self.filler.ship(now) {
            self.phase = Phase::Shipped;
        }
    }

    fn next(&self, due: Option<Instant>) -> Next {
        let (doors, crowded) = (|| self.doors.iter(), self.is_crowded());
        let ready = |door: &Door| match door {
            Door::Connections(entrance) => entrance.ready && entrance.rests.is_none() && !crowded,
            Door::Datagrams(socket) => {
                socket.is_ready() && (!self.blocked || (self.filler.is_paced() && socket.is_udp()))
            }
            Door::Closed => false,
        };
        if (!self.blocked && self.connections.is_ready()) || doors().any(ready) {
            return Next::Now;
        }
        let rests = doors().filter_map(|door| match door {
            Door::Connections(entrance) => entrance.rests,
            _ => None,
        });
        let last = match self.phase {
            Phase::Last(until) => Some(until),
            _ => None,
        };
        // While blocked nobody is idle, and there is nothing to look for.
        let look = self.connections.look().filter(|_| !self.blocked);
        rests.chain(due).chain(look).chain(last).min().map_or(Next::Told, Next::At)
    }
}

impl Door {
    /// Whether nothing is left behind it now.
    pub(super) fn is_emptied(&self) -> bool {
        match self {
            Door::Connections(entrance) => !entrance.ready || entrance.rests.is_some(),
            Door::Datagrams(socket) => !socket.is_ready(),
            Door::Closed => true,
        }
    }
}

impl<F: Framing + Clone + 'static> Member for Framed<F> {
    fn notice(&mut self, key: u32, readiness: Readiness) {
        match self.doors.get_mut(key as usize) {
            Some(Door::Connections(entrance)) => entrance.ready = true,
            Some(Door::Datagrams(socket)) => socket.notice(),
            None if key >= FIRST_CONNECTION => self.connections.notice(key, readiness.closed),
            Some(Door::Closed) | None => {}
        }
    }

    fn turn(&mut self, turn: &Turn) -> Next {
        let now = turn.now;
        if turn.woken {
            self.filler.woken();
        }
        if let Some(since) = turn.stopping {
            self.go_on_ending(since, now);
        }
        self.accept(now);
        // Handing in what was read needs room, but no open gate.
        let may_move =
            if self.phase == Phase::Closing { !self.filler.is_stuck() } else { self.filler.may_read() };
        if may_move {
            if std::mem::take(&mut self.blocked) {
                self.connections.excuse(now);
            }
            for door in &mut self.doors {
                if let Door::Datagrams(socket) = door {
                    socket.pump(&mut self.filler, now);
                }
            }
            self.connections.look_for_open(now);
            self.connections.read(&mut self.filler, now);
        }
        self.blocked = !may_move || self.filler.is_stuck();
        if self.blocked && self.filler.is_paced() {
            for door in &mut self.doors {
                if let Door::Datagrams(socket) = door {
                    socket.shed(&mut self.filler, now);
                }
            }
        }
        if !self.blocked {
            self.connections.end_idle(&self.filler, now);
        }
        let due = self.filler.keep_pace(now);
        if !self.leaving.is_empty() {
            self.close_left();
        }
        if turn.stopping.is_some() && self.phase != Phase::Shipped {
            self.close_emptied(now);
        }
        self.blocked |= self.filler.is_stuck();
        self.next(due)
    }

    fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn has_shipped(&self) -> bool {
        self.phase == Phase::Shipped
    }

    fn is_idle(&self) -> bool {
        self.has_shipped() && self.filler.is_idle()
    }

    fn prepare(&mut self, change: Box<dyn Any + Send>) -> Option<io::Result<Vec<Listen>>> {
        let change = change.downcast::<Change<F>>().ok()?;
        // One that ends takes nothing up any more.
        (self.phase == Phase::Running).then(|| self.get_ready(*change))
    }

    fn decide(&mut self, go: bool) {
        match go {
            true => self.take_up(),
            false => self.ready = None,
        }
    }

    fn leave(&mut self) {
        let waiting = self.doors.iter().map(|door| match door {
            Door::Datagrams(socket) => socket.waiting(),
            _ => 0,
        });
        let lost = self.filler.abandon(waiting.sum());
        if lost > 0 {
            tracing::error!(
                "source {}: {lost} entries lost: they were received, and the time to deliver them is over",
                self.filler.source_name()
            );
        }
    }
}
