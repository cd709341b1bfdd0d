//! The machine of one connection: bytes in, requests and pieces of bodies out; answers in, bytes out, in the order of
//! the requests.
//!
//! Several requests may be under way (pipelining, RFC 9112, 9.3.2) and may be answered in any order; what goes out is in
//! theirs. A request that is answered before its body has come has the rest of it skipped if that is short, else the
//! connection ends behind the answer.
//! Not here: sockets and threads. Time is an argument.

use super::patience::{Overdue, Patience};
use super::reader::{Found, Reader};
use super::response::Response;
use super::{Head, Method, Refusal};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::time::Instant;

/// Most requests of one connection that wait for their answers; further ones wait unread.
pub const PIPELINE_MAX: usize = 8;
/// Longest rest of a body that is skipped so that the connection can be used again, in bytes.
pub const SKIP_MAX: u64 = 256 << 10;
/// Most bytes that are thrown away behind the last answer.
pub const LAST_BYTES: u64 = 1 << 20;

/// What comes next on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing further: keep the rest, and show it again with more behind it.
    More,
    /// Nothing further until a request has been answered, whatever comes.
    Full,
    /// A request begins.
    Request(u64, Box<Head>),
    /// The next piece of its body.
    Body(&'a [u8]),
    /// The request is complete.
    End(u64),
    /// What comes is no request: answer it; the connection ends with that answer.
    Refused(u64, Refusal),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    input: Input,
    /// What came and could not be used yet.
    carry: Vec<u8>,
    /// The requests to be answered, in their order.
    due: VecDeque<Due>,
    /// The number of the first of them.
    first: u64,
    out: Vec<u8>,
    sent: usize,
    /// No request is to be read any more, but those under way are.
    closing: bool,
    state: Reading,
    since: Instant,
    /// Bytes of the body since then, or thrown away.
    came: u64,
    /// Requests begun, to tell one pause between two of them from the next.
    begun: u64,
    /// Since when something waits to be written.
    writing: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// The rest of the last request's body is not wanted.
    Skip,
    /// Nothing is read any more.
    Shut,
}

/// What is read, as far as patience is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Fresh,
    Idle(u64),
    Head,
    Body(u64),
    /// It is us who are at work.
    Nothing,
    Last,
}

#[derive(Debug)]
struct Due {
    bodyless: bool,
    keep: bool,
    /// The client waits for `100 Continue`, and may have it.
    go_on: bool,
    /// The client said that it waits, and has not been told to go on.
    waits: bool,
    /// All of the request has come.
    complete: bool,
    answer: Option<Response>,
}

impl Connection {
    /// A connection that begins at `now`, and on which bodies have at most `body_max` bytes.
    pub fn new(body_max: u64, now: Instant) -> Self {
        Connection {
            reader: Reader::new(body_max),
            input: Input::Open,
            carry: Vec::new(),
            due: VecDeque::new(),
            first: 0,
            out: Vec::new(),
            sent: 0,
            closing: false,
            state: Reading::Fresh,
            since: now,
            came: 0,
            begun: 0,
            writing: None,
        }
    }

    /// Bodies of its further requests have at most `body_max` bytes.
    pub fn set_body_max(&mut self, body_max: u64) {
        self.reader.set_body_max(body_max);
    }

    // --- in

    /// What was kept: it comes before what is read next.
    pub fn carry(&self) -> &[u8] {
        &self.carry
    }

    /// Keeps what could not be used yet.
    pub fn keep(&mut self, rest: &[u8]) {
        self.carry.clear();
        self.carry.extend_from_slice(rest);
        if rest.is_empty() {
            // Thousands of connections that rest hold nothing.
            self.carry = Vec::new();
        }
    }

    /// Finds the next thing in `input` and says how many bytes are done with.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> (usize, Event<'a>) {
        let mut at = 0;
        loop {
            if self.input == Input::Shut {
                self.came += (input.len() - at) as u64;
                return (input.len(), Event::More);
            }
            if self.reader.is_between() && self.due.len() >= PIPELINE_MAX {
                return (at, Event::Full);
            }
            let (used, found) = self.reader.read(&input[at..]);
            at += used;
            let latest = self.first + self.due.len() as u64;
            match found {
                Found::More => return (at, Event::More),
                Found::Head(head) => {
                    self.begin(Due {
                        bodyless: head.method == Method::Head,
                        keep: head.keep,
                        go_on: false,
                        waits: head.expects_continue,
                        complete: false,
                        answer: None,
                    });
                    return (at, Event::Request(latest, head));
                }
                Found::Body(piece) => {
                    self.came += piece.len() as u64;
                    if self.input == Input::Open {
                        return (at, Event::Body(piece));
                    }
                }
                Found::End => {
                    let last = self.due.back_mut();
                    let keep = last.is_none_or(|due| {
                        due.complete = true;
                        due.keep
                    });
                    let skipped =
                        std::mem::replace(&mut self.input, if keep { Input::Open } else { Input::Shut });
                    if skipped == Input::Open {
                        return (at, Event::End(latest - 1));
                    }
                }
                Found::Bad(refusal) => {
                    if self.input == Input::Skip {
                        // It was answered: there is no second answer to one request.
                        self.shut();
                        continue;
                    }
                    return (at, Event::Refused(self.refuse(), refusal));
                }
            }
        }
    }

    fn begin(&mut self, due: Due) {
        self.begun += 1;
        self.came = 0;
        self.due.push_back(due);
    }

    /// Gives up the request that is being read, or would be next, and all behind it. Its number, for the answer.
    pub fn refuse(&mut self) -> u64 {
        self.input = Input::Shut;
        if self.due.back().is_none_or(|due| due.complete || due.answer.is_some()) {
            let (waits, go_on, complete) = (false, false, true);
            self.begin(Due { bodyless: false, keep: false, go_on, waits, complete, answer: None });
        }
        if let Some(due) = self.due.back_mut() {
            (due.keep, due.complete) = (false, true);
        }
        self.first + self.due.len() as u64 - 1
    }

    /// The client sends no more. A request that is not complete will not be.
    pub fn end_input(&mut self) {
        self.due.pop_back_if(|due| !due.complete && due.answer.is_none());
        self.shut();
    }

    /// No further request is taken; those under way are answered, and the last answer says that it is the last.
    pub fn close(&mut self) {
        self.closing = true;
        if self.reader.is_between() {
            self.shut();
        }
    }

    fn shut(&mut self) {
        self.input = Input::Shut;
        self.came = 0;
    }

    /// Whether bytes that come are of use.
    pub fn wants_input(&self) -> bool {
        match self.input {
            Input::Shut => false,
            Input::Skip => true,
            Input::Open => !self.reader.is_between() || self.due.len() < PIPELINE_MAX,
        }
    }

    /// Whether a body is being read, and how many bytes of it are still to come, if that is known.
    pub fn body_left(&self) -> Option<u64> {
        self.reader.body_left()
    }

    // --- out

    /// The body of the request may come: tells so to a client that waits for it.
    pub fn go_on(&mut self, number: u64) {
        if let Some(due) = self.due_mut(number)
            && std::mem::take(&mut due.waits)
        {
            due.go_on = true;
            self.fill();
        }
    }

    /// Answers a request. A second answer to one is nobody's.
    pub fn answer(&mut self, number: u64, response: Response) {
        let is_read = number + 1 == self.first + self.due.len() as u64;
        let left = self.reader.body_left();
        let Some(due) = self.due_mut(number) else { return };
        if due.answer.is_some() {
            return;
        }
        due.answer = Some(response);
        if is_read && !due.complete {
            // One that waits will perhaps send nothing, perhaps all: who knows what comes next.
            let skip = !due.waits && due.keep && left.is_some_and(|left| left <= SKIP_MAX);
            due.keep &= skip;
            self.input = if skip { Input::Skip } else { Input::Shut };
        }
        self.fill();
    }

    fn due_mut(&mut self, number: u64) -> Option<&mut Due> {
        self.due.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Puts out what is next in order.
    fn fill(&mut self) {
        while let Some(due) = self.due.front_mut() {
            let Some(response) = due.answer.take() else {
                if std::mem::take(&mut due.go_on) {
                    self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                return;
            };
            let (bodyless, keep) = (due.bodyless, due.keep && !(self.closing && self.due.len() == 1));
            response.encode(bodyless, keep, &mut self.out);
            self.due.pop_front();
            self.first += 1;
            if !keep {
                self.first += self.due.len() as u64;
                self.due.clear();
                self.shut();
            }
        }
    }

    /// Whether something waits to be written.
    pub fn has_output(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Writes what there is to write; false if the stream takes no more for now.
    pub fn write(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        while self.has_output() {
            match stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.out, self.sent) = (Vec::new(), 0);
        Ok(true)
    }

    /// How many requests wait for their answers.
    pub fn due(&self) -> usize {
        self.due.len()
    }

    /// Whether all is said: nothing more is read, and everything was written.
    pub fn is_done(&self) -> bool {
        self.input == Input::Shut && self.due.is_empty() && !self.has_output()
    }

    /// Whether it is between two requests, and nobody waits for anything.
    pub fn is_idle(&self) -> bool {
        self.reader.is_between() && self.carry.is_empty() && self.due.is_empty() && !self.has_output()
    }

    /// Bytes of memory it holds for its client.
    pub fn footprint(&self) -> usize {
        self.carry.capacity() + self.out.capacity()
    }

    // --- patience

    /// Takes note of the state it is in at `now`: call it when all that can be done was done.
    pub fn mark(&mut self, now: Instant) {
        let state = match () {
            _ if self.is_done() => Reading::Last,
            _ if !self.wants_input() => Reading::Nothing,
            _ if !self.reader.is_between() => Reading::Body(self.begun),
            _ if !self.carry.is_empty() => Reading::Head,
            _ if !self.due.is_empty() => Reading::Nothing,
            _ if self.begun == 0 => Reading::Fresh,
            _ => Reading::Idle(self.begun),
        };
        // Coming bytes make a head of a fresh connection, and its time has begun already.
        if state != self.state && (self.state, state) != (Reading::Fresh, Reading::Head) {
            self.since = now;
            if state == Reading::Last {
                self.came = 0;
            }
        }
        self.state = state;
        self.writing = match self.has_output() {
            true => self.writing.or(Some(now)),
            false => None,
        };
    }

    /// Time up to `now` is nobody's fault but ours: we did not read.
    pub fn excuse(&mut self, now: Instant) {
        self.since = now;
        self.came = 0;
    }

    /// When its patience ends, if nothing comes until then.
    pub fn deadline(&self, patience: &Patience) -> Option<Instant> {
        let reading = match self.state {
            Reading::Fresh | Reading::Head => Some(patience.head),
            Reading::Idle(_) => Some(patience.idle),
            Reading::Body(_) => Some(patience.body(self.came)),
            Reading::Last => Some(patience.last),
            Reading::Nothing => None,
        };
        let reading = reading.map(|time| self.since + time);
        reading.into_iter().chain(self.writing.map(|since| since + patience.answer)).min()
    }

    /// Whose time is over at `now`.
    pub fn overdue(&self, now: Instant, patience: &Patience) -> Option<Overdue> {
        if self.state == Reading::Last && self.came > LAST_BYTES {
            return Some(Overdue::Last);
        }
        if self.deadline(patience)? > now {
            return None;
        }
        Some(match self.state {
            _ if self.writing.is_some_and(|since| now >= since + patience.answer) => Overdue::Answer,
            Reading::Head => Overdue::Head,
            Reading::Body(_) => Overdue::Body,
            Reading::Last => Overdue::Last,
            _ => Overdue::Idle,
        })
    }
}

#[cfg(test)]
mod tests;
