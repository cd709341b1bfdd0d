//! One client: its connection, the body it is sending, and what moves between them in a turn.

use super::Job;
use super::admission;
use super::desk::Desk;
use super::requests::Who;
use super::service::Reading;
use crate::http::head::HEAD_MAX;
use crate::http::{Connection, Event, Head, Overdue, Response, Status};
use crate::labels::Stream;
use crate::pool::Charge;
use crate::sources::net::incoming::READ_MAX;
use crate::sources::net::link::Link;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// Most bytes read at once while no body is coming: what else comes with a head has to be kept.
const READ_HEAD: usize = 16 << 10;
/// Bytes a scratch buffer needs: for what a client can have kept, and a read behind it.
pub const SCRATCH: usize = HEAD_MAX + 2 * READ_MAX;
/// What a body has room for at first, in bytes; it grows with what comes, not with what is announced.
const BODY_FIRST: usize = 4 << 10;
/// How much a body grows at a time at most, in bytes; beyond that by half.
const BODY_STEP: usize = 256 << 10;

/// One client.
pub struct Client {
    pub link: Link,
    pub machine: Connection,
    /// Its number among all that ever came.
    pub id: u64,
    /// Whose entries it sends, unless a request says more.
    stream: Arc<Stream>,
    /// The labels of its last request's head, and the stream they make.
    labelled: Option<(Labels, Arc<Stream>)>,
    receiving: Option<Receiving>,
    /// It is in the queue of those to be looked after.
    pub queued: bool,
    /// It sends no more: read to the end, as no further event will say so.
    pub closed: bool,
    /// It waits for memory for its body.
    pub starved: bool,
    /// It has said all it will.
    heard_all: bool,
    /// We have said that we say no more.
    said_all: bool,
}

/// The labels of a request's head.
type Labels = Vec<(Box<str>, Box<str>)>;

/// A request whose body is coming.
struct Receiving {
    reading: Reading,
    body: Vec<u8>,
    charge: Option<Charge>,
}

/// What a turn with a client came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// It may have more: to the end of the queue.
    Again,
    /// Nothing to do until it is noticed again, or answered.
    Rest,
    /// There is no memory for its body: until some returns.
    Starved,
    /// To be closed and forgotten.
    Gone,
}

impl Client {
    /// The `id`th client, come at `now` over `link`.
    pub fn new(link: Link, id: u64, stream: Arc<Stream>, body_max: usize, now: Instant) -> Self {
        Client {
            link,
            machine: Connection::new(body_max as u64, now),
            id,
            stream,
            labelled: None,
            receiving: None,
            queued: false,
            closed: false,
            starved: false,
            heard_all: false,
            said_all: false,
        }
    }

    /// Its further requests come under the terms of `desk`, which are others now.
    pub fn change(&mut self, desk: &Desk) {
        self.stream = desk.stream(self.stream.origin.to_string(), &[]);
        self.labelled = None;
        self.machine.set_body_max(desk.terms.settings.limits.wire as u64);
    }

    /// Whether a body of its is coming.
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Moves what can be moved, as far as a turn goes. `scratch` has [`SCRATCH`] bytes and keeps nothing.
    pub fn drive(&mut self, slot: u32, desk: &mut Desk, scratch: &mut [u8], now: Instant) -> Drive {
        // What had to wait for an answer may go on.
        if !self.machine.carry().is_empty() && self.machine.wants_input() {
            let carried = self.lay_out(scratch);
            self.take(slot, &scratch[..carried], desk, now);
        }
        let drive = self.converse(slot, desk, scratch, now);
        self.machine.mark(now);
        self.starved = drive == Drive::Starved;
        drive
    }

    /// Puts what was kept at the beginning of `scratch`, and says how much that is.
    fn lay_out(&self, scratch: &mut [u8]) -> usize {
        let carry = self.machine.carry();
        scratch[..carry.len()].copy_from_slice(carry);
        carry.len()
    }

    fn converse(&mut self, slot: u32, desk: &mut Desk, scratch: &mut [u8], now: Instant) -> Drive {
        let mut read_here = 0;
        loop {
            if !self.speak() || self.said_all && self.heard_all {
                return Drive::Gone;
            }
            if !self.machine.wants_input() && !self.said_all && !self.link.is_handshaking() {
                return Drive::Rest;
            }
            if read_here >= READ_MAX || desk.is_spent() {
                return Drive::Again;
            }
            let Some(room) = self.room(desk) else { return Drive::Starved };
            let carried = self.lay_out(scratch);
            let read = self.link.read(&mut scratch[carried..carried + room]);
            desk.spend(read.as_ref().copied().unwrap_or(0), self.link.take_flights());
            match read {
                Ok(0) => self.hear_end(desk),
                Ok(len) => {
                    read_here += len;
                    self.take(slot, &scratch[..carried + len], desk, now);
                    // A read that was not filled has emptied the socket; the next event tells of more.
                    if len < room && !self.closed && !self.link.has_more() {
                        return if self.speak() { Drive::Rest } else { Drive::Gone };
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock if self.link.has_more() => {}
                    // What a handshake has to say, it says in reads.
                    ErrorKind::WouldBlock => return if self.speak() { Drive::Rest } else { Drive::Gone },
                    _ => return Drive::Gone,
                },
            }
        }
    }

    /// Writes what there is to write, and says when that was all. False: nobody listens.
    fn speak(&mut self) -> bool {
        if self.machine.has_output() && self.machine.write(&mut self.link).is_err() {
            return false;
        }
        if self.link.wants_write()
            && self.link.flush().is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
        {
            return false;
        }
        if self.machine.is_done() && !self.said_all && !self.link.wants_write() {
            self.said_all = true;
            self.link.shutdown();
        }
        true
    }

    fn hear_end(&mut self, desk: &mut Desk) {
        self.heard_all = true;
        self.machine.end_input();
        self.forget_body(desk);
    }

    fn forget_body(&mut self, desk: &mut Desk) {
        if self.receiving.take().is_some() {
            desk.requests -= 1;
            desk.memory_freed |= desk.memory.leave(self.id);
        }
    }

    // --- requests

    /// How many bytes to read, with room for those of them that are of a body. `None`: there is no memory for it.
    fn room(&mut self, desk: &mut Desk) -> Option<usize> {
        let Some(receiving) = &mut self.receiving else { return Some(READ_HEAD) };
        let left =
            self.machine.body_left().map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let body = &mut receiving.body;
        if body.capacity() - body.len() < left.min(BODY_FIRST) {
            let more = grown(body.capacity()).saturating_sub(body.len()).max(BODY_FIRST).min(left);
            let charge = desk.memory.take(self.id, body.len() + more - body.capacity())?;
            body.reserve_exact(more);
            receiving.add(charge);
        }
        let free = receiving.body.capacity() - receiving.body.len();
        // Behind the body's end a further head may come.
        Some(if free >= left { (left.saturating_add(READ_HEAD)).min(READ_MAX) } else { free.min(READ_MAX) })
    }

    /// Takes what was kept, and what came behind it.
    fn take(&mut self, slot: u32, input: &[u8], desk: &mut Desk, now: Instant) {
        let mut at = 0;
        loop {
            let (used, event) = self.machine.step(&input[at..]);
            at += used;
            match event {
                Event::More | Event::Full => break,
                Event::Request(number, head) => self.begin(number, &head, desk),
                Event::Body(piece) => {
                    desk.ledger.row.http.body_bytes.add(piece.len() as u64);
                    if let Some(receiving) = &mut self.receiving {
                        receiving.push(piece, desk);
                    }
                }
                Event::End(number) => self.end(slot, number, desk, now),
                Event::Refused(number, refusal) => {
                    self.forget_body(desk);
                    let response = admission::refused(&refusal, desk.terms.settings.limits.wire);
                    self.answer(number, response, desk);
                }
            }
        }
        self.machine.keep(&input[at..]);
    }

    fn begin(&mut self, number: u64, head: &Head, desk: &mut Desk) {
        match desk.judge(head) {
            Ok(reading) => {
                desk.requests += 1;
                self.receiving = Some(Receiving { reading, body: Vec::new(), charge: None });
                self.machine.go_on(number);
            }
            Err(response) => self.answer(number, response, desk),
        }
    }

    fn end(&mut self, slot: u32, number: u64, desk: &mut Desk, now: Instant) {
        let Some(Receiving { reading, body, charge }) = self.receiving.take() else { return };
        desk.memory_freed |= desk.memory.leave(self.id);
        let stream = self.stream_of(&reading, desk);
        let who = Who { slot, client: self.id, number };
        let job = Job { who, reading, body, charge, stream, arrived: now, terms: Arc::clone(&desk.terms) };
        if let Err(response) = desk.hand_over(job) {
            desk.requests -= 1;
            self.answer(number, response, desk);
        }
    }

    /// The stream of a request; the same as long as the labels are.
    fn stream_of(&mut self, reading: &Reading, desk: &Desk) -> Arc<Stream> {
        if reading.labels.is_empty() {
            return Arc::clone(&self.stream);
        }
        if let Some((labels, stream)) = &self.labelled
            && *labels == reading.labels
        {
            return Arc::clone(stream);
        }
        let stream = desk.stream(self.stream.origin.to_string(), &reading.labels);
        self.labelled = Some((reading.labels.clone(), Arc::clone(&stream)));
        stream
    }

    /// Answers a request that is none of a decode thread's.
    fn answer(&mut self, number: u64, response: Response, desk: &Desk) {
        desk.count(&response);
        self.machine.answer(number, response);
    }

    /// A decode thread has answered a request.
    pub fn answered(&mut self, number: u64, response: Response) {
        self.machine.answer(number, response);
    }

    /// Takes no further request. What is under way goes on.
    pub fn close(&mut self) {
        self.machine.close();
    }

    /// Gives up the request that is coming, and says why.
    pub fn refuse(&mut self, response: Response, desk: &mut Desk) {
        self.forget_body(desk);
        let number = self.machine.refuse();
        self.answer(number, response, desk);
    }

    /// Ends what takes too long: with an answer where there is somebody to read it. True if it is to be closed at once.
    pub fn is_overdue(&mut self, desk: &mut Desk, now: Instant) -> bool {
        let patience = desk.terms.settings.patience;
        let says = match self.machine.overdue(now, &patience) {
            None => return false,
            Some(Overdue::Idle | Overdue::Answer | Overdue::Last) => return true,
            Some(Overdue::Head) if self.link.is_handshaking() => return true,
            Some(Overdue::Head) => {
                format!("the head of a request is to arrive within {:?}\n", patience.head)
            }
            Some(Overdue::Body) => format!(
                "a body is to arrive with at least {} bytes per second, {:?} after its begin\n",
                patience.body_rate, patience.body_grace
            ),
        };
        self.refuse(Response::text(Status::REQUEST_TIMEOUT, says), desk);
        false
    }

    /// It is to be forgotten.
    pub fn leave(&mut self, desk: &mut Desk) {
        self.forget_body(desk);
    }
}

/// The capacity of a body that outgrows `capacity`.
fn grown(capacity: usize) -> usize {
    match capacity {
        0 => BODY_FIRST,
        _ if capacity < BODY_STEP => capacity * 4,
        _ => capacity + capacity / 2,
    }
}

impl Receiving {
    fn push(&mut self, piece: &[u8], desk: &Desk) {
        let free = self.body.capacity() - self.body.len();
        if piece.len() > free {
            // It came with the head or behind another body: it is here already, and not much.
            let before = self.body.capacity();
            self.body.reserve_exact(piece.len());
            self.add(desk.memory.take_anyway(self.body.capacity() - before));
        }
        self.body.extend_from_slice(piece);
    }

    fn add(&mut self, more: Charge) {
        match &mut self.charge {
            Some(charge) => charge.join(more),
            None => self.charge = Some(more),
        }
    }
}
