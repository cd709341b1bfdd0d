//! A source of requests on the intake thread: its doors, its turns, and its end.

use super::admission::{Pressure, Way};
use super::change::{Change, Ready};
use super::clients::Clients;
use super::decode::Decoder;
use super::desk::Desk;
use super::memory::BodyMemory;
use super::service::Service;
use super::terms::Terms;
use super::{Answer, HttpSettings};
use crate::logs::Quiet;
use crate::sources::ending::Ending;
use crate::sources::inlet::InletSpec;
use crate::sources::net::listen::{Listen, cannot_listen};
use crate::sources::net::listener::{Listener, Refusal};
use crate::sources::net::{Intake, Member, Next, Readiness, Turn};
use crossbeam_channel::{Receiver, TryRecvError, unbounded};
use mio::Interest;
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most connections accepted in a turn.
const TURN_ACCEPTS: usize = 32;
/// Most answers taken in a turn.
const TURN_ANSWERS: usize = 1024;
/// How long accepting rests when the system is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long after being told to stop bodies under way may still come.
const LAST_READ: Duration = Duration::from_secs(5);

/// Keys of doors are below, those of clients from here on: a source has fewer addresses.
const CLIENT_KEYS: u32 = 1 << 16;

/// The member.
pub struct HttpServer {
    pub(super) doors: Vec<Door>,
    pub(super) clients: Clients,
    pub(super) desk: Desk,
    /// What it is to go on under, once it is told to.
    pub(super) ready: Option<Ready>,
    answers: Receiver<Answer>,
    /// There may be answers that were not taken.
    answers_left: bool,
    /// No answer will come any more.
    answers_ended: bool,
    phase: Phase,
    /// Accepting rests.
    rests: Quiet,
}

/// An address that is listened on.
pub(super) struct Door {
    pub(super) key: u32,
    /// The address as the config has it.
    pub(super) asked: Listen,
    pub(super) listener: Listener,
    ready: bool,
    /// Accepting rests until then.
    rests: Option<Instant>,
    /// It is closed once nobody waits in front of it.
    pub(super) leaving: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Told to stop: bodies under way may come until then.
    Last(Instant),
    /// All requests were handed over, and answers are waited for.
    Answering,
}

impl Intake {
    /// Puts a source of requests on the thread, listening from now on: `specs` has one door for each decode thread. Gives
    /// these threads, which are to be started, and says where it listens: port 0 lets the system choose.
    ///
    /// Errors name the source and the address it cannot listen on.
    pub fn add_http(
        &mut self,
        settings: HttpSettings,
        service: Arc<dyn Service>,
        specs: Vec<InletSpec>,
        ending: &Arc<Ending>,
    ) -> io::Result<(Vec<Decoder>, Vec<Listen>)> {
        let Some(first) = specs.first() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a source of requests needs a decode thread",
            ));
        };
        let ledger = first.source.clone();
        let way = Way {
            gate: Arc::clone(&first.gate),
            assigned: Arc::clone(&first.assigned),
            strategy: first.strategy,
            limits: first.limits.clone(),
        };
        let largest = first.largest_block();
        if settings.max_entry >= largest {
            let (name, max) = (&ledger.name, settings.max_entry);
            let error = format!("source {name}: entries of {max} bytes do not fit blocks of {largest}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let clients = Clients::new(self.place()?, CLIENT_KEYS, &settings.patience);
        let (mut doors, mut bound) = (Vec::new(), Vec::new());
        for (key, listen) in (0..CLIENT_KEYS).zip(&settings.listen) {
            let opened = Door::open(key, listen, &settings, &clients);
            let door = opened.map_err(|error| cannot_listen(&ledger.name, listen, &error))?;
            bound.push(door.listener.bound().clone());
            doors.push(door);
        }
        let (sender, answers) = unbounded();
        let memory = BodyMemory::new(settings.body_memory, settings.limits.wire, self.waker());
        let terms = Arc::new(Terms { settings, service, strategy: way.strategy });
        let decoder =
            |spec| Decoder::new(Arc::clone(&terms), spec, Arc::clone(ending), sender.clone(), self.waker());
        let (decoders, inboxes) = specs.into_iter().map(decoder).unzip();
        let desk = Desk::new(terms, way, ledger, memory, inboxes);
        self.add(Box::new(HttpServer {
            doors,
            clients,
            desk,
            ready: None,
            answers,
            answers_left: true,
            answers_ended: false,
            phase: Phase::Running,
            rests: Quiet::default(),
        }));
        Ok((decoders, bound))
    }
}

impl Door {
    pub(super) fn open(
        key: u32,
        listen: &Listen,
        settings: &HttpSettings,
        clients: &Clients,
    ) -> io::Result<Door> {
        let mut listener = Listener::open(listen, settings.tls.as_ref(), settings.socket_mode)?;
        clients.place().register(key, &mut listener, Interest::READABLE)?;
        Ok(Door { key, asked: listen.clone(), listener, ready: true, rests: None, leaving: false })
    }

    /// It is to be closed, once nobody waits in front of it.
    pub(super) fn leave(&mut self) {
        (self.ready, self.leaving) = (true, true);
    }

    fn may_accept(&self, now: Instant) -> bool {
        self.ready && self.rests.is_none_or(|until| until <= now)
    }
}

/// Whether further connections have to wait until one of those that are here has gone.
fn is_crowded(clients: &Clients, desk: &Desk) -> bool {
    clients.len() >= desk.terms.settings.open.get()
}

impl HttpServer {
    fn accept(&mut self, now: Instant) {
        for door in &mut self.doors {
            for _ in 0..TURN_ACCEPTS {
                if !door.may_accept(now) || is_crowded(&self.clients, &self.desk) {
                    break;
                }
                door.rests = None;
                match door.listener.accept() {
                    Ok(link) => self.clients.admit(link, &self.desk, now),
                    Err(error) => match Refusal::of(&error) {
                        Refusal::Next => {}
                        Refusal::Nobody => door.ready = false,
                        Refusal::Pause => {
                            // They wait in the backlog, which costs us nothing.
                            door.rests = Some(now + ACCEPT_PAUSE);
                            if let Some(more) = self.rests.may_speak(now) {
                                tracing::warn!(
                                    "source {}: new connections wait, next try in {ACCEPT_PAUSE:?}: {error} ({more} \
                                     more times)",
                                    self.desk.ledger.name
                                );
                            }
                        }
                    },
                }
            }
        }
        self.doors.retain(|door| !door.leaving || door.ready);
    }

    fn take_answers(&mut self) {
        for _ in 0..TURN_ANSWERS {
            match self.answers.try_recv() {
                Ok(answer) => self.clients.answer(answer, &mut self.desk),
                Err(error) => {
                    self.answers_left = false;
                    self.answers_ended = error == TryRecvError::Disconnected;
                    return;
                }
            }
        }
    }

    /// Goes on with the ending as far as it can.
    fn go_on_ending(&mut self, since: Instant, now: Instant) {
        if self.phase == Phase::Running {
            self.phase = Phase::Last(since + LAST_READ);
            self.doors.clear();
            self.ready = None;
            self.desk.ending = true;
            self.clients.close();
        }
        if let Phase::Last(until) = self.phase {
            if now >= until {
                self.clients.refuse_unfinished(&Pressure::Ending.response(), &mut self.desk);
            }
            if !self.clients.is_receiving() {
                // The decode threads end when they have done what is in their queues.
                let inboxes = std::mem::take(&mut self.desk.inboxes);
                for inbox in inboxes {
                    drop(inbox.jobs);
                    inbox.waker.wake();
                }
                self.phase = Phase::Answering;
            }
        }
        if self.answers_ended {
            self.clients.close_waiting(&mut self.desk);
        }
    }

    fn next(&self) -> Next {
        if self.clients.is_ready()
            || self.answers_left
            || (!is_crowded(&self.clients, &self.desk)
                && self.doors.iter().any(|door| door.ready && door.rests.is_none()))
        {
            return Next::Now;
        }
        let rests = self.doors.iter().filter_map(|door| door.rests.filter(|_| door.ready));
        let last = match self.phase {
            Phase::Last(until) => Some(until),
            _ => None,
        };
        rests.chain(last).chain(self.clients.look()).min().map_or(Next::Told, Next::At)
    }
}

impl Member for HttpServer {
    fn notice(&mut self, key: u32, readiness: Readiness) {
        if key >= CLIENT_KEYS {
            return self.clients.notice(key, readiness);
        }
        // One that is made ready, and opens later, looks for itself then; a closed one's key is nobody's.
        self.doors.iter_mut().filter(|door| door.key == key).for_each(|door| door.ready = true);
    }

    fn turn(&mut self, turn: &Turn) -> Next {
        let now = turn.now;
        if turn.woken || self.answers_left {
            self.answers_left = true;
            self.take_answers();
        }
        if turn.woken {
            self.clients.feed(now);
        }
        if let Some(since) = turn.stopping {
            self.go_on_ending(since, now);
        }
        self.accept(now);
        self.clients.drive(&mut self.desk, now);
        self.clients.end_overdue(&mut self.desk, now);
        self.next()
    }

    fn is_blocked(&self) -> bool {
        false
    }

    fn has_shipped(&self) -> bool {
        self.phase == Phase::Answering
    }

    fn is_idle(&self) -> bool {
        self.has_shipped() && self.clients.is_empty()
    }

    fn prepare(&mut self, change: Box<dyn Any + Send>) -> Option<io::Result<Vec<Listen>>> {
        let change = change.downcast::<Change>().ok()?;
        // One that ends takes nothing up any more; its decode threads are as many as they are.
        let can = self.phase == Phase::Running && change.settings.decoders == self.desk.inboxes.len();
        can.then(|| self.get_ready(*change))
    }

    fn decide(&mut self, go: bool) {
        match go {
            true => self.take_up(Instant::now()),
            false => self.ready = None,
        }
    }

    fn leave(&mut self) {
        // Whoever was not answered has not been told that anything was taken.
        self.clients.close_all(&mut self.desk);
    }
}
