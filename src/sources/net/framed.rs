//! A source of frames over TCP and UDP: its listeners, its connections, their limits, and its end.
//!
//! Limits (RELIABILITY.md S07): connections in all and per address; memory for unfinished frames in all; and time: a
//! connection that completes no frame for `idle_timeout`, silent or dripping, is closed. Whatever closes a connection,
//! what it had sent is handed in first, an unfinished message as it stands.
//! Not here: how frames are told apart (see [`Framing`]) and what they mean.

use super::datagrams::Datagrams;
use super::filler::Filler;
use super::incoming::{Framing, HEADROOM, Incoming, Pumped, READ_MAX};
use super::listen::{self, Listen, Refusal};
use super::quiet::Quiet;
use super::{Member, Next, Place, Readiness, Turn};
use crate::labels::{Labels, SourceId, Stream};
use crate::sources::inlet::InletSpec;
use crate::thread::Wake;
use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes a turn reads from connections, all together.
const TURN_BYTES: usize = 512 << 10;
/// Most reads in a turn: small ones cost about a microsecond each, whatever they bring.
const TURN_READS: usize = 256;
/// Most connections accepted in a turn.
const TURN_ACCEPTS: usize = 32;
/// How long accepting rests when the system is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long after being told to stop what the kernel has already received is read.
const LAST_READ: Duration = Duration::from_secs(1);
/// Bounds of the time between two looks for idle connections; within them it is a quarter of the timeout.
const IDLE_LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// What a source of frames is told by its config.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's number.
    pub source: SourceId,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Most connections at once; further ones are closed at once and counted.
    pub max_connections: usize,
    /// Most connections of one address at once. IPv6 peers count by their /64, as one host can have all of it.
    pub max_connections_per_address: usize,
    /// A connection that completes no message for this long is closed. Zero: never.
    pub idle_timeout: Duration,
    /// Longest message in bytes; a longer one is cut or refused, as the framing says.
    pub max_message: usize,
    /// Most memory for unfinished messages, all connections together, in bytes.
    pub partial_memory: usize,
    /// The receive buffer to ask for at each UDP socket, in bytes.
    pub receive_buffer: usize,
    /// The labels every entry has.
    pub labels: Labels,
}

/// The member.
pub struct Framed<F> {
    settings: Settings,
    kind: &'static str,
    framing: F,
    place: Place,
    filler: Filler,
    /// By key: first these, then the connections.
    doors: Vec<Door>,
    connections: Vec<Option<Connection<F>>>,
    free: Vec<u32>,
    /// Connections that may have something to read, each once, in the order they will be read.
    queue: VecDeque<u32>,
    per_address: HashMap<IpAddr, usize>,
    /// Memory of unfinished messages.
    partial: usize,
    /// When to look for idle connections; none while there are no connections.
    look: Option<Instant>,
    /// We do not read now, as there is no room.
    blocked: bool,
    /// When that last ended: no connection is idle because of time before it.
    excused: Option<Instant>,
    phase: Phase,
    quiet: Causes,
}

enum Door {
    Tcp(Listener),
    Udp(Box<Datagrams>),
    Closed,
}

struct Listener {
    socket: TcpListener,
    ready: bool,
    /// Accepting rests until then.
    rests: Option<Instant>,
}

struct Connection<F> {
    socket: TcpStream,
    peer: SocketAddr,
    incoming: Incoming<F>,
    /// When it last completed a message, or was accepted.
    progress: Instant,
    queued: bool,
    /// The peer sends no more: read to the end, as no further event will say so.
    closed: bool,
    /// Its part of `Framed::partial`.
    charged: usize,
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

#[derive(Default)]
struct Causes {
    refused: Quiet,
    rests: Quiet,
    idle: Quiet,
    memory: Quiet,
    broken: Quiet,
}

enum Drive {
    /// It may have more: to the end of the queue.
    Again,
    /// Nothing to do until it is noticed again.
    Rest,
    /// The way is full: it stays at the head of the queue.
    Blocked,
    /// To be closed and forgotten.
    Gone,
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
        let largest = spec.hallway.blocks.class(usize::MAX);
        if settings.max_message.saturating_add(HEADROOM) > largest {
            let (name, max) = (&spec.source.name, settings.max_message);
            let error = format!("source {name}: messages of {max} bytes do not fit blocks of {largest}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let mut framed = Framed {
            kind,
            framing,
            place,
            filler: Filler::new(spec, waker),
            doors: Vec::new(),
            connections: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            per_address: HashMap::new(),
            partial: 0,
            look: None,
            blocked: false,
            excused: None,
            phase: Phase::Running,
            quiet: Causes::default(),
            settings,
        };
        let mut bound = Vec::new();
        for listen in framed.settings.listen.clone() {
            let opened = framed.open(listen);
            bound.push(
                opened
                    .map_err(|error| listen::cannot_listen(&framed.filler.source_name(), listen, &error))?,
            );
        }
        Ok((framed, bound))
    }

    fn open(&mut self, listen: Listen) -> io::Result<Listen> {
        let key = self.doors.len() as u32;
        match listen {
            Listen::Tcp(address) => {
                let mut socket = listen::tcp(address)?;
                self.place.register(key, &mut socket, Interest::READABLE)?;
                let bound = Listen::Tcp(socket.local_addr()?);
                self.doors.push(Door::Tcp(Listener { socket, ready: true, rests: None }));
                Ok(bound)
            }
            Listen::Udp(address) => {
                let (buffer, max) = (self.settings.receive_buffer, self.settings.max_message);
                let mut bound = listen;
                let mut socket = Datagrams::bind(address, buffer, max, |at| {
                    bound = at;
                    self.stream(at.to_string())
                })?;
                self.place.register(key, socket.socket(), Interest::READABLE)?;
                self.doors.push(Door::Udp(Box::new(socket)));
                Ok(bound)
            }
        }
    }

    fn stream(&self, origin: String) -> Arc<Stream> {
        let Settings { source, labels, .. } = &self.settings;
        Arc::new(Stream::new(*source, self.filler.source_name(), self.kind, origin, labels.clone()))
    }

    fn open_connections(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    // --- accepting

    fn accept(&mut self, now: Instant) {
        for at in 0..self.doors.len() {
            for _ in 0..TURN_ACCEPTS {
                let Door::Tcp(listener) = &mut self.doors[at] else { break };
                if listener.rests.is_some_and(|until| now < until) || !listener.ready {
                    break;
                }
                listener.rests = None;
                match listener.socket.accept() {
                    Ok((socket, peer)) => self.admit(socket, peer, now),
                    Err(error) => self.not_accepted(at, &error, now),
                }
            }
        }
    }

    fn not_accepted(&mut self, at: usize, error: &io::Error, now: Instant) {
        let Door::Tcp(listener) = &mut self.doors[at] else { return };
        match Refusal::of(error) {
            Refusal::Next => {}
            Refusal::Nobody => listener.ready = false,
            Refusal::Pause => {
                // They wait in the backlog, which costs us nothing, and are served when descriptors come back.
                listener.rests = Some(now + ACCEPT_PAUSE);
                if let Some(more) = self.quiet.rests.may_speak(now) {
                    tracing::warn!(
                        "source {}: new connections wait, next try in {ACCEPT_PAUSE:?}: {error} ({more} more times)",
                        self.filler.source_name()
                    );
                }
            }
        }
    }

    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr, now: Instant) {
        let of_address = self.per_address.get(&counted_as(peer.ip())).copied().unwrap_or(0);
        let limit = match &self.settings {
            limits if self.open_connections() >= limits.max_connections => {
                Some(format!("{} connections in all", limits.max_connections))
            }
            limits if of_address >= limits.max_connections_per_address => {
                Some(format!("{} connections of one address", limits.max_connections_per_address))
            }
            _ => None,
        };
        if let Some(limit) = limit {
            self.refuse(peer, &limit, now);
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        let key = self.doors.len() as u32 + slot;
        if let Err(error) = self.place.register(key, &mut socket, Interest::READABLE) {
            self.free.push(slot);
            self.refuse(peer, &error.to_string(), now);
            return;
        }
        let incoming =
            Incoming::new(self.stream(peer.to_string()), self.framing.clone(), self.settings.max_message);
        let connection =
            Connection { socket, peer, incoming, progress: now, queued: false, closed: false, charged: 0 };
        self.connections[slot as usize] = Some(connection);
        *self.per_address.entry(counted_as(peer.ip())).or_default() += 1;
        self.filler.ledger().streams.add(1);
        // Senders mostly speak at once: looking now often saves the event.
        self.enqueue(slot);
        if !self.settings.idle_timeout.is_zero() {
            self.look.get_or_insert(now + self.look_interval());
        }
    }

    fn refuse(&mut self, peer: SocketAddr, limit: &str, now: Instant) {
        self.filler.ledger().refused_connections.add(1);
        if let Some(more) = self.quiet.refused.may_speak(now) {
            tracing::warn!(
                "source {}: connection of {peer} refused: {limit} ({more} more refused since this was last said)",
                self.filler.source_name()
            );
        }
    }

    // --- reading

    fn enqueue(&mut self, slot: u32) {
        if let Some(Some(connection)) = self.connections.get_mut(slot as usize)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.queue.push_back(slot);
        }
    }

    /// Reads from the connections in the queue, each at most once, as far as a turn goes.
    fn read(&mut self, now: Instant) {
        let (mut bytes, mut reads) = (TURN_BYTES, TURN_READS);
        for _ in 0..self.queue.len() {
            if bytes == 0 || reads == 0 {
                return;
            }
            let Some(slot) = self.queue.pop_front() else { return };
            match self.drive(slot, now, &mut bytes, &mut reads) {
                Drive::Again => self.queue.push_back(slot),
                Drive::Rest => {}
                Drive::Blocked => {
                    self.queue.push_front(slot);
                    return;
                }
                Drive::Gone => self.forget(slot),
            }
            if self.partial > self.settings.partial_memory {
                self.free_partial_memory(now);
            }
        }
    }

    fn drive(&mut self, slot: u32, now: Instant, bytes: &mut usize, reads: &mut usize) -> Drive {
        let Some(Some(connection)) = self.connections.get_mut(slot as usize) else { return Drive::Rest };
        let mut turn_read = 0;
        let drive = loop {
            *reads = reads.saturating_sub(1);
            match connection.incoming.pump(&mut connection.socket, &mut self.filler, now) {
                Pumped::Moved { read, entries, more } => {
                    turn_read += read;
                    *bytes = bytes.saturating_sub(read);
                    if entries > 0 {
                        connection.progress = now;
                    }
                    if !more && !connection.closed && self.phase == Phase::Running {
                        break Drive::Rest;
                    }
                    if turn_read >= READ_MAX || *reads == 0 {
                        break Drive::Again;
                    }
                }
                // What had arrived by the time we were told to stop has been read.
                Pumped::Empty if self.phase != Phase::Running => connection.incoming.end(),
                Pumped::Empty => break Drive::Rest,
                Pumped::Blocked => break Drive::Blocked,
                Pumped::Ended => break Drive::Gone,
                Pumped::Broken { reason, given_up } => {
                    if let Some(more) = self.quiet.broken.may_speak(now) {
                        tracing::warn!(
                            "source {}: connection of {} closed, {given_up} bytes of it lost: {reason} ({more} more \
                             closed since this was last said)",
                            self.filler.source_name(),
                            connection.peer
                        );
                    }
                    break Drive::Gone;
                }
            }
        };
        connection.queued = matches!(drive, Drive::Again | Drive::Blocked);
        let charge = if connection.incoming.is_ended() { 0 } else { connection.incoming.carried() };
        self.partial = self.partial - connection.charged + charge;
        connection.charged = charge;
        let cut = connection.incoming.take_cut();
        self.filler.ledger().cut.add(cut);
        drive
    }

    fn forget(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize).and_then(Option::take) else { return };
        self.free.push(slot);
        self.partial -= connection.charged;
        let address = counted_as(connection.peer.ip());
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        self.filler.ledger().streams.sub(1);
        if self.open_connections() == 0 {
            self.look = None;
            // A crowd that has left leaves no memory behind.
            (self.connections, self.free, self.queue) = Default::default();
        }
    }

    // --- limits

    /// Closes the connections with the longest unfinished messages until the rest has room.
    fn free_partial_memory(&mut self, now: Instant) {
        while self.partial > self.settings.partial_memory {
            let open = self.connections.iter().enumerate();
            let partial = open.filter_map(|(slot, connection)| Some((slot, connection.as_ref()?)));
            let longest = partial
                .filter(|(_, connection)| connection.incoming.is_partial() && connection.charged > 0)
                .max_by_key(|(_, connection)| connection.charged);
            let Some((slot, connection)) = longest else { return };
            if let Some(more) = self.quiet.memory.may_speak(now) {
                tracing::warn!(
                    "source {}: connection of {} closed with {} bytes of an unfinished message: all of them took more \
                     than partial_memory, {} bytes ({more} more closed since this was last said)",
                    self.filler.source_name(),
                    connection.peer,
                    connection.charged,
                    self.settings.partial_memory
                );
            }
            self.end(slot as u32);
        }
    }

    /// Reads no more from the connection: its next turn hands in what there is and closes it.
    fn end(&mut self, slot: u32) {
        if let Some(Some(connection)) = self.connections.get_mut(slot as usize) {
            connection.incoming.end();
            self.partial -= std::mem::take(&mut connection.charged);
            self.enqueue(slot);
        }
    }

    fn look_interval(&self) -> Duration {
        (self.settings.idle_timeout / 4).clamp(IDLE_LOOK.0, IDLE_LOOK.1)
    }

    /// Ends the connections that completed nothing for too long, if it is time to look.
    fn end_idle(&mut self, now: Instant) {
        if self.look.is_none_or(|look| now < look) {
            return;
        }
        self.look = Some(now + self.look_interval());
        let timeout = self.settings.idle_timeout;
        for slot in 0..self.connections.len() {
            let Some(connection) = &self.connections[slot] else { continue };
            let excused = self.excused.unwrap_or(connection.progress);
            // One in the queue has bytes we have not read: that is our delay.
            if connection.queued || now < connection.progress.max(excused) + timeout {
                continue;
            }
            if let Some(more) = self.quiet.idle.may_speak(now) {
                let state =
                    if connection.incoming.is_partial() { "an unfinished message" } else { "nothing" };
                tracing::info!(
                    "source {}: connection of {} closed: {state} for {timeout:?} ({more} more closed since this was \
                     last said)",
                    self.filler.source_name(),
                    connection.peer
                );
            }
            self.end(slot as u32);
        }
    }

    // --- ending

    /// Goes on with the ending as far as it can.
    fn go_on_ending(&mut self, since: Instant, now: Instant) {
        if self.phase == Phase::Running {
            self.phase = Phase::Last(since + LAST_READ);
            for door in &mut self.doors {
                match door {
                    Door::Tcp(listener) => (listener.ready, listener.rests) = (true, None),
                    Door::Udp(socket) => socket.notice(),
                    Door::Closed => {}
                }
            }
            (0..self.connections.len() as u32).for_each(|slot| self.enqueue(slot));
        }
        if let Phase::Last(until) = self.phase
            && now >= until
        {
            self.phase = Phase::Closing;
            for door in &mut self.doors {
                match door {
                    Door::Udp(socket) => socket.stop(),
                    door => *door = Door::Closed,
                }
            }
            (0..self.connections.len() as u32).for_each(|slot| self.end(slot));
        }
    }

    /// Closes the doors behind which nothing is left, and ships the rest when all are closed.
    fn close_emptied(&mut self, now: Instant) {
        for door in &mut self.doors {
            match door {
                Door::Tcp(listener) if listener.ready && listener.rests.is_none() => {}
                Door::Udp(socket) if socket.is_ready() => {}
                door => *door = Door::Closed,
            }
        }
        let closed = self.doors.iter().all(|door| matches!(door, Door::Closed));
        if closed && self.open_connections() == 0 && self.filler.ship(now) {
            self.phase = Phase::Shipped;
        }
    }

    fn next(&self, due: Option<Instant>) -> Next {
        let doors = || self.doors.iter();
        let ready = |door: &Door| match door {
            Door::Tcp(listener) => listener.ready && listener.rests.is_none(),
            Door::Udp(socket) => !self.blocked && socket.is_ready(),
            Door::Closed => false,
        };
        if (!self.blocked && !self.queue.is_empty()) || doors().any(ready) {
            return Next::Now;
        }
        let rests = doors().filter_map(|door| match door {
            Door::Tcp(listener) => listener.rests,
            _ => None,
        });
        let last = match self.phase {
            Phase::Last(until) => Some(until),
            _ => None,
        };
        rests.chain(due).chain(self.look).chain(last).min().map_or(Next::Told, Next::At)
    }
}

impl<F: Framing + Clone> Member for Framed<F> {
    fn notice(&mut self, key: u32, readiness: Readiness) {
        match self.doors.get_mut(key as usize) {
            Some(Door::Tcp(listener)) => listener.ready = true,
            Some(Door::Udp(socket)) => socket.notice(),
            Some(Door::Closed) => {}
            None => {
                let slot = key - self.doors.len() as u32;
                if let Some(Some(connection)) = self.connections.get_mut(slot as usize) {
                    connection.closed |= readiness.closed;
                }
                self.enqueue(slot);
            }
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
                self.excused = Some(now);
            }
            for door in &mut self.doors {
                if let Door::Udp(socket) = door {
                    socket.pump(&mut self.filler, now);
                }
            }
            self.read(now);
        }
        self.blocked = !may_move || self.filler.is_stuck();
        if !self.blocked {
            self.end_idle(now);
        }
        let due = self.filler.keep_pace(now);
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

    fn leave(&mut self) {
        let waiting = self.doors.iter().map(|door| match door {
            Door::Udp(socket) => socket.waiting(),
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

/// The address a peer is counted under.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}
