//! The intake: one thread, one readiness loop, all sockets. (Standard input has a loop of its own, of the same make.)
//!
//! The loop knows nothing of protocols. A source on it is a [`Member`]: it registers its sockets under keys of its
//! own, is told which of them are ready, and gets turns in which it moves a bounded number of bytes, well under a
//! millisecond. A member whose way is blocked leaves its bytes in the kernel and sits its turns out; the others go on.
//! When nobody has anything to do the thread sleeps until a socket, a waker or the next deadline; there is no tick.
//!
//! What members are made of: a [`listener`] is opened at an address of [`listen`] and hands out [`link`]s, [`incoming`]
//! frames bytes of one stream into the [`filler`]'s open block, [`datagrams`] does so for what comes in one piece,
//! [`connections`] holds the streams and their limits, [`framed`] is the whole member for sources of frames (syslog).
//! Not here: what an entry means, and who else fills blocks.

pub mod change;
pub mod connections;
pub mod datagrams;
pub mod filler;
pub mod framed;
pub mod http;
pub mod incoming;
pub mod link;
pub mod listen;
pub mod listener;
pub mod seats;
pub mod settings;
mod socket_file;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod tests;

use crate::sources::ending::Ending;
use crate::sources::waker::PollWaker;
use crate::thread::{Doing, Row, Wake};
use listen::Listen;
use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token};
use seats::{Host, Orders, Seat};
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The token of the loop's waker; members' tokens are below.
const WAKER: Token = Token(usize::MAX);
/// Bits of a token that are the member's own key.
const KEY_BITS: u32 = 32;

/// A source on the intake thread.
pub trait Member: Send {
    /// The socket the member registered as `key` has something to say. Only takes note: work is for turns.
    fn notice(&mut self, key: u32, readiness: Readiness);

    /// Does what there is to do, as far as one turn goes, and says when it wants the next.
    fn turn(&mut self, turn: &Turn) -> Next;

    /// Whether it could go on, but for someone further down who is full.
    fn is_blocked(&self) -> bool;

    /// Whether it has ended: took the last in after being told to stop, and shipped it.
    fn has_shipped(&self) -> bool;

    /// Whether all it shipped is settled, too.
    fn is_idle(&self) -> bool;

    /// The thread ends now: counts and reports what was received and not shipped.
    fn leave(&mut self);

    /// Makes everything ready to go on under `change`, of a type it knows, without letting go of anything. Says where it
    /// will listen then. `None`: it cannot.
    ///
    /// Errors: something of it cannot be had; it stays as it was.
    fn prepare(&mut self, change: Box<dyn Any + Send>) -> Option<io::Result<Vec<Listen>>> {
        drop(change);
        None
    }

    /// Takes up what was made ready, or drops it.
    fn decide(&mut self, go: bool) {
        let _ = go;
    }
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// There may be bytes, datagrams or connections to take.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer sends no more; what it sent may still be unread.
    pub closed: bool,
}

/// What a member should know in its turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The time.
    pub now: Instant,
    /// The thread was woken: something was settled, or what was refused before may go now.
    pub woken: bool,
    /// Since when the sources are to end, once they are.
    pub stopping: Option<Instant>,
}

/// When a member wants its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// At once: it has more to do.
    Now,
    /// At this time, or when there is something.
    At(Instant),
    /// When there is something: a socket, or a wake-up.
    Told,
}

/// Where a member registers its sockets.
pub struct Place {
    registry: Registry,
    member: usize,
}

impl Place {
    /// Wants to be told, once per change (edge-triggered), when `socket` has become ready.
    pub fn register(&self, key: u32, socket: &mut impl Source, interest: Interest) -> io::Result<()> {
        self.registry.register(socket, Token(self.member << KEY_BITS | key as usize), interest)
    }
}

/// The intake thread's loop and the sources on it.
pub struct Intake {
    poll: Poll,
    events: Events,
    waker: Arc<PollWaker>,
    seats: Vec<Seat>,
    /// What is added now belongs to this.
    host: Host,
    /// The number of the next seat; none is used twice, so that a late event never meets the wrong member.
    next: usize,
    orders: Orders,
    woken: bool,
    /// It goes on without members: more may come.
    stays: bool,
    /// It rests when the process has used the CPU it may.
    keeps_to_cpu: bool,
}

impl Intake {
    /// A loop without sources; each that is added counts as one source in `ending`.
    ///
    /// Errors: the system has no descriptors left.
    pub fn new(ending: Arc<Ending>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = PollWaker::new(poll.registry(), WAKER)?;
        Ok(Intake {
            poll,
            events: Events::with_capacity(1024),
            waker,
            seats: Vec::new(),
            host: Host { ending, done: None, waits: false },
            next: 0,
            orders: Orders::default(),
            // Whatever happened before the first turn is to be looked at.
            woken: true,
            stays: false,
            keeps_to_cpu: false,
        })
    }

    /// Rests when the process has used the CPU it may: only where nobody on a connection waits for it.
    pub fn keeping_to_cpu(mut self) -> Self {
        self.keeps_to_cpu = true;
        self
    }

    /// Wakes the thread.
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    /// The place of the member that will be added next.
    pub fn place(&self) -> io::Result<Place> {
        Ok(Place { registry: self.poll.registry().try_clone()?, member: self.next })
    }

    /// Puts a source on the thread, at the place it was given.
    pub fn add(&mut self, member: Box<dyn Member>) {
        self.seats.push(Seat::new(self.next, member, &self.host));
        self.host.ending.join(self.waker());
        self.next += 1;
    }

    /// Runs until every source has ended: all shipped and settled, or told to leave. If others may still come it goes on
    /// until it is told that none will.
    pub fn run(mut self, row: &Row) {
        loop {
            if self.keeps_to_cpu && !self.host.ending.is_stopping() {
                row.keep_to_cpu();
            }
            row.set(Doing::Working);
            self.obey();
            let next = self.turn(Instant::now());
            if self.has_ended() {
                break;
            }
            let blocked = self.seats.iter().any(|seat| seat.member.is_blocked());
            row.set(if blocked { Doing::Blocked } else { Doing::Idle });
            self.wait(next);
        }
    }

    /// One turn for everyone. Says when the next one is due.
    fn turn(&mut self, now: Instant) -> Next {
        let woken = std::mem::take(&mut self.woken);
        self.seats.iter_mut().map(|seat| seat.turn(now, woken)).min().unwrap_or(Next::Told)
    }

    /// Lets those go that have nothing left to do, or no time left to do it. Whether all have gone for good.
    fn has_ended(&mut self) -> bool {
        self.seats.retain_mut(|seat| !seat.has_ended());
        self.seats.is_empty() && !self.stays
    }

    /// Sleeps until there is something to do, and tells the members what.
    fn wait(&mut self, next: Next) {
        // A wake-up since the last look is as good as an event.
        self.woken = !self.waker.may_sleep();
        let timeout = match next {
            _ if self.woken => Some(std::time::Duration::ZERO),
            Next::Now => Some(std::time::Duration::ZERO),
            Next::At(due) => Some(due.saturating_duration_since(Instant::now())),
            Next::Told => None,
        };
        let polled = self.poll.poll(&mut self.events, timeout);
        self.waker.awake();
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            // epoll_wait(2) has no other error for a descriptor and a buffer that are ours.
            Err(error) => panic!("the intake cannot wait for its sockets: {error}"),
            Ok(()) => {}
        }
        for event in &self.events {
            let Token(token) = event.token();
            if event.token() == WAKER {
                self.woken = true;
                continue;
            }
            let readiness = Readiness {
                readable: event.is_readable(),
                writable: event.is_writable(),
                closed: event.is_read_closed() || event.is_error(),
            };
            if let Some(seat) = self.seats.iter_mut().find(|seat| seat.number == token >> KEY_BITS) {
                seat.member.notice(token as u32, readiness);
            }
        }
    }
}
