//! The clients of a source: who comes in, whose turn it is, whose time is over.

use super::client::{Client, Drive, SCRATCH};
use super::desk::Desk;
use super::{Answer, HttpSettings};
use crate::http::{Patience, Response, Status};
use crate::logs::Quiet;
use crate::sources::net::link::Link;
use crate::sources::net::{Place, Readiness};
use mio::Interest;
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often clients are looked at for their time being over, within these bounds: a quarter of the shortest time.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The clients of a source.
pub struct Clients {
    place: Place,
    /// The key of slot 0 at `place`.
    first_key: u32,
    slots: Vec<Option<Box<Client>>>,
    free: Vec<u32>,
    /// Those that have something to do, each once.
    queue: VecDeque<u32>,
    /// Those that wait for memory.
    starved: Vec<u32>,
    per_address: HashMap<Option<IpAddr>, usize>,
    scratch: Vec<u8>,
    /// How many ever came.
    came: u64,
    /// When to look for those whose time is over; none while there are no clients.
    look: Option<Instant>,
    look_every: Duration,
    refused: Quiet,
    overdue: Quiet,
}

/// How often to look for those whose time is over.
fn look_every(patience: &Patience) -> Duration {
    let Patience { head, body_grace, idle, answer, last, .. } = *patience;
    (head.min(body_grace).min(idle).min(answer).min(last) / 4).clamp(LOOK.0, LOOK.1)
}

impl Clients {
    /// No clients yet. They will be registered at `place` under keys from `first_key` on.
    pub fn new(place: Place, first_key: u32, patience: &Patience) -> Self {
        Clients {
            place,
            first_key,
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            starved: Vec::new(),
            per_address: HashMap::new(),
            scratch: vec![0; SCRATCH],
            came: 0,
            look: None,
            look_every: look_every(patience),
            refused: Quiet::default(),
            overdue: Quiet::default(),
        }
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

    /// Whether one of them has something to do.
    pub fn is_ready(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When it is time to look for those whose time is over.
    pub fn look(&self) -> Option<Instant> {
        self.look
    }

    /// Whether a body is being received.
    pub fn is_receiving(&self) -> bool {
        self.slots.iter().flatten().any(|client| client.is_receiving())
    }

    /// The socket under `key` has something to say, or room.
    pub fn notice(&mut self, key: u32, readiness: Readiness) {
        let slot = key - self.first_key;
        if let Some(Some(client)) = self.slots.get_mut(slot as usize) {
            client.closed |= readiness.closed;
        }
        self.enqueue(slot);
    }

    fn enqueue(&mut self, slot: u32) {
        if let Some(Some(client)) = self.slots.get_mut(slot as usize)
            && !std::mem::replace(&mut client.queued, true)
        {
            self.queue.push_back(slot);
        }
    }

    /// They go on under the terms of `desk`, which are others now.
    pub fn change(&mut self, desk: &Desk, now: Instant) {
        self.look_every = look_every(&desk.terms.settings.patience);
        if !self.is_empty() {
            self.look = Some(now + self.look_every);
        }
        self.slots.iter_mut().flatten().for_each(|client| client.change(desk));
    }

    // --- coming and going

    /// Takes the connection in, unless that would pass a limit: then it is told so, closed and counted.
    pub fn admit(&mut self, mut link: Link, desk: &Desk, now: Instant) {
        let HttpSettings { max_connections, max_connections_per_address, .. } = desk.terms.settings;
        let address = link.peer().counted_as();
        let of_address = self.per_address.get(&address).copied().unwrap_or(0);
        if self.len() >= max_connections {
            let why = format!("{max_connections} connections in all");
            return self.refuse(link, Status::UNAVAILABLE, &why, desk, now);
        }
        if of_address >= max_connections_per_address {
            let why = format!("{max_connections_per_address} connections of one address");
            return self.refuse(link, Status::TOO_MANY_REQUESTS, &why, desk, now);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let key = self.first_key + slot;
        if let Err(error) = self.place.register(key, &mut link, Interest::READABLE | Interest::WRITABLE) {
            self.free.push(slot);
            return self.refuse(link, Status::UNAVAILABLE, &error.to_string(), desk, now);
        }
        let stream = desk.stream(link.peer().to_string(), &[]);
        self.came += 1;
        let client = Client::new(link, self.came, stream, desk.terms.settings.limits.wire, now);
        self.slots[slot as usize] = Some(Box::new(client));
        *self.per_address.entry(address).or_default() += 1;
        desk.ledger.row.streams.add(1);
        self.enqueue(slot);
        self.look.get_or_insert(now + self.look_every);
    }

    fn refuse(&mut self, mut link: Link, status: Status, limit: &str, desk: &Desk, now: Instant) {
        desk.ledger.row.refused_connections.add(1);
        let says = format!("no more than {limit} are served\n");
        let mut answer = Vec::new();
        Response::text(status, says).with("Retry-After", "5").encode(false, false, &mut answer);
        // A fresh socket has room for it; where it does not go, closing says enough.
        let _ = link.write(&answer);
        link.shutdown();
        if let Some(more) = self.refused.may_speak(now) {
            tracing::warn!(
                "source {}: connection of {} refused: {limit} ({more} more refused since this was last said)",
                desk.ledger.name,
                link.peer()
            );
        }
    }

    fn forget(&mut self, slot: u32, mut client: Box<Client>, desk: &mut Desk) {
        client.leave(desk);
        self.free.push(slot);
        let address = client.link.peer().counted_as();
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        desk.ledger.row.streams.sub(1);
        if self.is_empty() {
            self.look = None;
            // A crowd that has left leaves no memory behind.
            (self.slots, self.free, self.queue) = Default::default();
        }
    }

    // --- turns

    /// Gives those in the queue their turn, each at most once, as far as a turn goes.
    pub fn drive(&mut self, desk: &mut Desk, now: Instant) {
        desk.begin_turn();
        for _ in 0..self.queue.len() {
            if desk.is_spent() {
                break;
            }
            let Some(slot) = self.queue.pop_front() else { break };
            let Some(mut client) = self.slots.get_mut(slot as usize).and_then(Option::take) else { continue };
            let waited = client.starved;
            let drive = client.drive(slot, desk, &mut self.scratch, now);
            client.queued = drive == Drive::Again;
            match drive {
                Drive::Gone => {
                    self.forget(slot, client, desk);
                    continue;
                }
                Drive::Again => self.queue.push_back(slot),
                Drive::Starved if !waited => self.starved.push(slot),
                Drive::Rest | Drive::Starved => {}
            }
            if let Some(place) = self.slots.get_mut(slot as usize) {
                *place = Some(client);
            }
        }
        if std::mem::take(&mut desk.memory_freed) {
            self.feed(now);
        }
    }

    /// Lets those that wait for memory try again.
    pub fn feed(&mut self, now: Instant) {
        for slot in std::mem::take(&mut self.starved) {
            if let Some(Some(client)) = self.slots.get_mut(slot as usize) {
                client.starved = false;
                // We did not read: that is nobody's slowness but ours.
                client.machine.excuse(now);
            }
            self.enqueue(slot);
        }
    }

    /// Hands an answer to whom it is for, if they are still there.
    pub fn answer(&mut self, answer: Answer, desk: &mut Desk) {
        desk.requests -= 1;
        desk.count(&answer.response);
        if let Some(Some(client)) = self.slots.get_mut(answer.who.slot as usize)
            && client.id == answer.who.client
        {
            client.answered(answer.who.number, answer.response);
            self.enqueue(answer.who.slot);
        }
    }

    /// Ends those whose time is over, if it is time to look.
    pub fn end_overdue(&mut self, desk: &mut Desk, now: Instant) {
        if self.look.is_none_or(|look| now < look) {
            return;
        }
        self.look = Some(now + self.look_every);
        for slot in 0..self.slots.len() as u32 {
            let Some(Some(client)) = self.slots.get_mut(slot as usize) else { continue };
            if client.starved {
                client.machine.excuse(now);
            }
            // One in the queue has bytes we have not read: that is our delay.
            if client.queued || client.machine.overdue(now, &desk.terms.settings.patience).is_none() {
                continue;
            }
            if client.is_overdue(desk, now) {
                if let Some(more) = self.overdue.may_speak(now) {
                    tracing::info!(
                        "source {}: connection of {} closed: its time was over ({more} more since this was last said)",
                        desk.ledger.name,
                        client.link.peer()
                    );
                }
                if let Some(client) = self.slots.get_mut(slot as usize).and_then(Option::take) {
                    self.forget(slot, client, desk);
                }
            } else {
                self.enqueue(slot);
            }
        }
    }

    // --- ending

    /// No further request is taken.
    pub fn close(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if let Some(Some(client)) = self.slots.get_mut(slot as usize) {
                client.close();
            }
            self.enqueue(slot);
        }
    }

    /// Refuses all requests that have not come whole.
    pub fn refuse_unfinished(&mut self, response: &Response, desk: &mut Desk) {
        for slot in 0..self.slots.len() as u32 {
            if let Some(Some(client)) = self.slots.get_mut(slot as usize)
                && client.is_receiving()
            {
                client.refuse(response.clone(), desk);
                self.enqueue(slot);
            }
        }
    }

    /// Closes those that wait for answers: there will be none.
    pub fn close_waiting(&mut self, desk: &mut Desk) {
        for slot in 0..self.slots.len() as u32 {
            let waits = |client: &mut Box<Client>| client.machine.due() > 0;
            if let Some(client) = self.slots.get_mut(slot as usize).and_then(|place| place.take_if(waits)) {
                self.forget(slot, client, desk);
            }
        }
    }

    /// Closes all, whatever they wait for.
    pub fn close_all(&mut self, desk: &mut Desk) {
        for slot in 0..self.slots.len() as u32 {
            if let Some(client) = self.slots.get_mut(slot as usize).and_then(Option::take) {
                self.forget(slot, client, desk);
            }
        }
    }
}
