//! The connections of one source: who may come, whose turn it is to be read, and who has to go.
//!
//! Limits (RELIABILITY.md S07): connections in all and per address; memory for unfinished frames in all; and time: a
//! connection that has not completed its TLS handshake within `handshake_timeout`, or completes no frame for
//! `idle_timeout`, silent or dripping, is closed. Whatever closes a connection, what it had sent is handed in first, an
//! unfinished message as it stands.
//! Not here: accepting, and when a source ends (see `framed`).

mod limits;

use super::Place;
use super::filler::Filler;
use super::incoming::{Framing, Incoming, Pumped, READ_MAX};
use super::link::{Link, Peer};
use super::settings::Settings;
use crate::labels::Stream;
use crate::logs::Quiet;
use mio::Interest;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Most bytes a turn reads from connections, all together.
const TURN_BYTES: usize = 512 << 10;
/// Most reads in a turn: small ones cost about a microsecond each, whatever they bring.
const TURN_READS: usize = 256;
/// Most costly parts of TLS handshakes in a turn, of two or three in each. All of one together took 0.1 ms with a P-256 key, and
/// 0.2 ms with client certificates.
const TURN_FLIGHTS: u32 = 2;

/// The open connections of a source.
pub struct Connections<F> {
    settings: Settings,
    kind: &'static str,
    framing: F,
    place: Place,
    /// The key of slot 0 at `place`.
    first_key: u32,
    slots: Vec<Option<Connection<F>>>,
    free: Vec<u32>,
    /// Those that may have something to read, each once, in the order they will be read.
    queue: VecDeque<u32>,
    /// Those that are read no more and have not handed in what they have.
    ended: VecDeque<u32>,
    per_address: HashMap<Option<IpAddr>, usize>,
    /// Memory of unfinished messages.
    partial: usize,
    /// When to look for idle ones; none while there are no connections.
    look: Option<Instant>,
    /// When the first message that might go on is not waited for any more, at the earliest.
    open: Option<Instant>,
    /// Nobody is idle because of time before this: we did not read.
    excused: Option<Instant>,
    /// The source is ending: who has nothing to read now is closed.
    last: bool,
    quiet: Causes,
}

struct Connection<F> {
    link: Link,
    incoming: Incoming<F>,
    /// When it last completed a message or its handshake, or was accepted.
    progress: Instant,
    queued: bool,
    /// The peer sends no more: read to the end, as no further event will say so.
    closed: bool,
    /// Its part of `Connections::partial`.
    charged: usize,
}

#[derive(Default)]
struct Causes {
    refused: Quiet,
    idle: Quiet,
    memory: Quiet,
    broken: Quiet,
}

/// What a turn may still do.
struct Left {
    bytes: usize,
    reads: usize,
    flights: u32,
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

impl<F: Framing + Clone> Connections<F> {
    /// No connection yet. They will be registered at `place` under keys from `first_key` on.
    pub fn new(settings: Settings, kind: &'static str, framing: F, place: Place, first_key: u32) -> Self {
        Connections {
            settings,
            kind,
            framing,
            place,
            first_key,
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            ended: VecDeque::new(),
            per_address: HashMap::new(),
            partial: 0,
            look: None,
            open: None,
            excused: None,
            last: false,
            quiet: Causes::default(),
        }
    }

    /// Goes on under other settings: those that are here carry the new labels from their next message on.
    pub fn change(&mut self, settings: Settings, framing: F, source: &Arc<str>) {
        (self.settings, self.framing) = (settings, framing);
        for slot in 0..self.slots.len() {
            let Some(Some(connection)) = self.slots.get(slot) else { continue };
            let stream = self.stream(Arc::clone(source), connection.link.peer().to_string());
            if let Some(Some(connection)) = self.slots.get_mut(slot) {
                connection.incoming.set_stream(stream);
            }
        }
        let times_out = !self.settings.idle_timeout.is_zero() || self.settings.tls.is_some();
        if times_out && !self.is_empty() {
            // Looked at again with the next turn: what was long enough before may be too long now.
            self.look.get_or_insert(Instant::now() + self.look_interval());
        }
    }

    /// What the source is told by its config.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the source's sockets are registered.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one of them may have something to read.
    pub fn is_ready(&self) -> bool {
        !self.queue.is_empty() || !self.ended.is_empty()
    }

    /// When it is time to look for idle ones, or for messages that need not be waited for.
    pub fn look(&self) -> Option<Instant> {
        self.look.into_iter().chain(self.open).min()
    }

    /// Queues the connections with a message that waited long enough: their turn hands it in, if nothing was added.
    pub fn look_for_open(&mut self, now: Instant) {
        if self.open.is_none_or(|open| now < open) {
            return;
        }
        let due = |connection: &Connection<F>| connection.incoming.due();
        let dues: Vec<_> = self.slots.iter().map(|slot| slot.as_ref().and_then(due)).collect();
        self.open = dues.iter().flatten().copied().filter(|due| now < *due).min();
        let now = (0..).zip(dues).filter(|(_, due)| due.is_some_and(|due| due <= now));
        now.for_each(|(slot, _)| self.enqueue(slot));
    }

    /// Time up to `now` makes nobody idle, as we did not read.
    pub fn excuse(&mut self, now: Instant) {
        self.excused = Some(now);
    }

    /// The socket under `key` has something to say; `closed`: its peer sends no more.
    pub fn notice(&mut self, key: u32, closed: bool) {
        let slot = key - self.first_key;
        if let Some(Some(connection)) = self.slots.get_mut(slot as usize) {
            connection.closed |= closed;
        }
        self.enqueue(slot);
    }

    /// The source ends: every connection is read until there is nothing to read now, and closed.
    pub fn read_last(&mut self) {
        self.last = true;
        (0..self.slots.len() as u32).for_each(|slot| self.enqueue(slot));
    }

    /// Nothing more is read: every connection hands in what it has and is closed.
    pub fn end_all(&mut self) {
        (0..self.slots.len() as u32).for_each(|slot| self.end(slot));
    }

    /// A stream of the source called `source`.
    pub fn stream(&self, source: Arc<str>, origin: String) -> Arc<Stream> {
        let Settings { source: id, labels, .. } = &self.settings;
        Arc::new(Stream::new(*id, source, self.kind, origin, labels.clone()))
    }

    /// Takes the connection in, unless that would pass a limit: then it is closed and counted.
    pub fn admit(&mut self, mut link: Link, filler: &Filler, now: Instant) {
        let of_address = self.per_address.get(&link.peer().counted_as()).copied().unwrap_or(0);
        let limit = match &self.settings {
            limits if self.len() >= limits.max_connections => {
                Some(format!("{} connections in all", limits.max_connections))
            }
            limits if of_address >= limits.max_connections_per_address => {
                Some(format!("{} connections of one address", limits.max_connections_per_address))
            }
            _ => None,
        };
        if let Some(limit) = limit {
            self.refuse(link.peer(), &limit, filler, now);
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let key = self.first_key + slot;
        if let Err(error) = self.place.register(key, &mut link, Interest::READABLE) {
            self.free.push(slot);
            self.refuse(link.peer(), &error.to_string(), filler, now);
            return;
        }
        let incoming = Incoming::new(
            self.stream(filler.source_name(), link.peer().to_string()),
            self.framing.of(link.peer()),
            self.settings.max_message,
        );
        *self.per_address.entry(link.peer().counted_as()).or_default() += 1;
        let times_out = !self.timeout(&link).is_zero();
        let connection =
            Connection { link, incoming, progress: now, queued: false, closed: false, charged: 0 };
        self.slots[slot as usize] = Some(connection);
        filler.ledger().streams.add(1);
        // Senders mostly speak at once: looking now often saves the event.
        self.enqueue(slot);
        if times_out {
            self.look.get_or_insert(now + self.look_interval());
        }
    }

    fn refuse(&mut self, peer: &Peer, limit: &str, filler: &Filler, now: Instant) {
        filler.ledger().refused_connections.add(1);
        if let Some(more) = self.quiet.refused.may_speak(now) {
            tracing::warn!(
                "source {}: connection of {peer} refused: {limit} ({more} more refused since this was last said)",
                filler.source_name()
            );
        }
    }

    // --- reading

    fn enqueue(&mut self, slot: u32) {
        if let Some(Some(connection)) = self.slots.get_mut(slot as usize)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.queue.push_back(slot);
        }
    }

    /// Reads from those in the queue, each at most once, as far as a turn goes.
    pub fn read(&mut self, filler: &mut Filler, now: Instant) {
        let mut left = Left { bytes: TURN_BYTES, reads: TURN_READS, flights: TURN_FLIGHTS };
        if !self.hand_in(filler, now, &mut left) {
            return;
        }
        for _ in 0..self.queue.len() {
            if left.bytes == 0 || left.reads == 0 {
                return;
            }
            let Some(slot) = self.queue.pop_front() else { return };
            match self.drive(slot, filler, now, &mut left) {
                Drive::Again => self.queue.push_back(slot),
                Drive::Rest => {}
                Drive::Blocked => {
                    self.queue.push_front(slot);
                    return;
                }
                Drive::Gone => self.forget(slot, filler),
            }
            if self.partial > self.settings.partial_memory {
                self.free_partial_memory(filler, now);
                if !self.hand_in(filler, now, &mut left) {
                    return;
                }
            }
        }
    }

    /// Those that are read no more hand in what they have. False: there is no room for it, and until there is nobody is
    /// read on, as it takes memory as long.
    fn hand_in(&mut self, filler: &mut Filler, now: Instant, left: &mut Left) -> bool {
        while let Some(slot) = self.ended.pop_front() {
            match self.drive(slot, filler, now, left) {
                Drive::Again => self.ended.push_front(slot),
                Drive::Rest => {}
                Drive::Blocked => {
                    self.ended.push_front(slot);
                    return false;
                }
                Drive::Gone => self.forget(slot, filler),
            }
        }
        true
    }

    fn drive(&mut self, slot: u32, filler: &mut Filler, now: Instant, left: &mut Left) -> Drive {
        let Some(Some(connection)) = self.slots.get_mut(slot as usize) else { return Drive::Rest };
        let handshaking = connection.link.is_handshaking();
        if handshaking && left.flights == 0 && !connection.incoming.is_ended() {
            return Drive::Again;
        }
        let mut turn_read = 0;
        let drive = loop {
            left.reads = left.reads.saturating_sub(1);
            match connection.incoming.pump(&mut connection.link, filler, now) {
                Pumped::Moved { read, entries, more } => {
                    turn_read += read;
                    left.bytes = left.bytes.saturating_sub(read);
                    if entries > 0 {
                        connection.progress = now;
                    }
                    if !more && !connection.link.has_more() && !connection.closed && !self.last {
                        break Drive::Rest;
                    }
                    if turn_read >= READ_MAX || left.reads == 0 {
                        break Drive::Again;
                    }
                }
                Pumped::Empty if connection.link.has_more() => break Drive::Again,
                // What had arrived by the time we were told to stop has been read.
                Pumped::Empty if self.last => connection.incoming.end(),
                Pumped::Empty if !connection.incoming.end_open(filler, now) => break Drive::Blocked,
                Pumped::Empty => break Drive::Rest,
                Pumped::Blocked => break Drive::Blocked,
                Pumped::Ended => break Drive::Gone,
                Pumped::Broken { reason, given_up } => {
                    let peer = connection.link.peer();
                    self.quiet.broken(filler, peer, &reason, given_up, now);
                    break Drive::Gone;
                }
            }
        };
        if handshaking {
            left.flights = left.flights.saturating_sub(connection.link.take_flights());
            if !connection.link.is_handshaking() {
                connection.progress = now;
            }
        }
        if let (Drive::Gone, Some(reason)) = (&drive, connection.link.failure()) {
            self.quiet.broken(filler, connection.link.peer(), reason, 0, now);
        }
        connection.queued = matches!(drive, Drive::Again | Drive::Blocked);
        let charge = connection.incoming.carried();
        self.partial = self.partial - connection.charged + charge;
        connection.charged = charge;
        self.open = self.open.into_iter().chain(connection.incoming.due()).min();
        let cut = connection.incoming.take_cut();
        filler.ledger().cut.add(cut);
        drive
    }

    fn forget(&mut self, slot: u32, filler: &Filler) {
        let Some(connection) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.free.push(slot);
        self.partial -= connection.charged;
        let address = connection.link.peer().counted_as();
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        filler.ledger().streams.sub(1);
        if self.is_empty() {
            self.look = None;
            // A crowd that has left leaves no memory behind.
            (self.slots, self.free, self.queue, self.ended) = Default::default();
        }
    }
}

impl Causes {
    /// A connection is closed as it cannot be understood; `lost` bytes of it belong to no entry.
    fn broken(&mut self, filler: &Filler, peer: &Peer, reason: &str, lost: usize, now: Instant) {
        filler.ledger().broken_connections.add(1);
        if let Some(more) = self.broken.may_speak(now) {
            let lost = if lost > 0 { format!(", {lost} bytes of it lost") } else { String::new() };
            tracing::warn!(
                "source {}: connection of {peer} closed{lost}: {reason} ({more} more closed since this was last said)",
                filler.source_name()
            );
        }
    }
}
