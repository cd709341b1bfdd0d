//! Reading logs: opening, taking lines into blocks, and what follows an answer's end.

use super::container::{BACKOFF_MAX, BACKOFF_MIN, Container, Half, Phase, Taken};
use super::exchange::{Exchange, Got};
use super::list::reason;
use super::reader::{Did, Number, Reader, SILENT_MAX, WINDOW, Whose};
use super::settle::mark_dirty;
use crate::entry::Entry;
use crate::sources::containers::Std;
use crate::sources::marks::{Marks, Piece};
use crate::sources::net::filler::Filler;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Most pieces of answers looked at in a turn.
const PIECES_TURN: usize = 64;
/// How much of an answer that is no success is kept.
const REFUSAL_MAX: usize = 4 << 10;

/// From this many bytes on an open line is long.
const LONG: usize = 64 << 10;

/// What ended the reading of an answer.
enum Ended {
    /// It is complete.
    Whole,
    /// It broke off, or cannot be understood; why.
    Broken(String),
    /// It is not what was read before: it is to be asked for anew.
    Differs(Std),
}

/// How far reading came.
enum Came {
    To(Did),
    End(Ended),
}

impl Reader {
    /// Asks for the container's log.
    pub(super) fn open(&mut self, number: Number, now: Instant) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        if self.switchboard.open >= self.settings.most_open() {
            container.phase = Phase::Waiting;
            self.short.push_back(number);
            return;
        }
        let since = container.resume(&self.settings);
        let follows = container.listed.running && !container.looks;
        (container.has_news, container.looks) = (false, false);
        let mut target = format!(
            "/containers/{}/logs?stdout=1&stderr=1&timestamps=1&follow={}",
            container.listed.id,
            u8::from(follows)
        );
        if let Some(since) = since {
            target.push_str(&format!("&since={since}"));
        }
        match self.switchboard.begin(Whose::Log(number), (&self.settings, &target, u64::MAX), now) {
            Ok(exchange) => {
                self.switchboard.open += 1;
                let exchange = Box::new(exchange);
                container.phase = if follows { Phase::Following(exchange) } else { Phase::Looking(exchange) };
                self.make_ready(number);
                self.watch_over(number, now);
            }
            // It has more connections waiting than it takes at once.
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.later(number, BACKOFF_MIN, now),
            // It is told of once, for all containers.
            Err(_) => {
                self.discovery.list_soon();
                let rest = container.rest();
                self.later(number, rest, now);
            }
        }
    }

    /// Closes the container's answer, whatever is open in it.
    pub(super) fn close(&mut self, number: Number, then: Phase) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        let was_open = container.is_open();
        container.phase = then;
        if was_open {
            self.switchboard.open -= 1;
            self.switchboard.forget(Whose::Log(number));
        }
    }

    /// Opens the logs of those that wait for a connection, as far as there are some.
    pub(super) fn open_short(&mut self, now: Instant) {
        while self.switchboard.open < self.settings.most_open()
            && let Some(number) = self.short.pop_front()
        {
            if self.containers.get(&number).is_some_and(|one| matches!(one.phase, Phase::Waiting)) {
                self.open(number, now);
            }
        }
    }

    /// Closes logs if more are open than may be now. They wait with the others.
    pub(super) fn keep_to_share(&mut self) {
        let over = self.switchboard.open.saturating_sub(self.settings.most_open());
        let open = self.containers.iter().filter(|(_, one)| one.is_open()).map(|(number, _)| *number);
        for number in open.take(over).collect::<Vec<_>>() {
            self.close(number, Phase::Waiting);
            self.short.push_back(number);
        }
    }

    /// Has it read on after a rest.
    fn later(&mut self, number: Number, rest: Duration, now: Instant) {
        self.close(number, Phase::Due(now + rest));
        self.set_timer(number, now + rest);
    }

    /// Has it read on after a rest that grows with each failure.
    fn failed(&mut self, number: Number, why: String, now: Instant) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        let rest = container.rest();
        // Once is nothing: an engine that is restarted breaks off everything.
        let well = self.discovery.trouble().is_none();
        if rest > BACKOFF_MIN && well && container.trouble.as_deref() != Some(&why) {
            tracing::warn!(
                "source {}: the log of container {} cannot be read now, it is tried again: {why}",
                self.settings.name,
                container.name()
            );
            container.trouble = Some(why);
        }
        self.later(number, rest, now);
    }

    /// One log's turn. Unless it is `Blocked` or `More` the container has left the queue.
    pub(super) fn read_log(&mut self, number: Number, now: Instant) -> Did {
        let Some(mut container) = self.containers.remove(&number) else { return Did::Waits };
        let came = self.read_container(number, &mut container, now);
        container.queued = matches!(came, Came::To(Did::Blocked | Did::More));
        self.containers.insert(number, container);
        match came {
            Came::To(did) => {
                self.watch_over(number, now);
                did
            }
            Came::End(ended) => {
                self.ended(number, ended, now);
                Did::Waits
            }
        }
    }

    fn read_container(&mut self, number: Number, container: &mut Container, now: Instant) -> Came {
        let (filler, dirty, others) = (&mut self.filler, &mut self.dirty, &self.containers);
        let partial_memory = self.settings.partial_memory;
        let mut into = Into { number, filler, dirty, others, partial_memory, now };
        let timeout = self.settings.multiline.as_ref().map(|rules| rules.timeout).unwrap_or_default();
        for half in &mut container.halves {
            if half.until.take_if(|(until, _)| *until <= now).is_some() {
                half.joiner.end_event();
            }
        }
        if !into.place(container, None, timeout) {
            return Came::To(Did::Blocked);
        }
        let mut phase = std::mem::replace(&mut container.phase, Phase::Resting);
        let came = match &mut phase {
            Phase::Following(exchange) => {
                let came = into.read(container, exchange, timeout);
                let silent = matches!(came, Came::To(Did::Waits)) && exchange.heard + SILENT_MAX <= now;
                if silent { Came::End(Ended::Whole) } else { came }
            }
            Phase::Looking(exchange) => {
                let came = into.read(container, exchange, timeout);
                let late =
                    matches!(came, Came::To(Did::Waits)) && exchange.heard + self.settings.timeout <= now;
                let why = || format!("the engine did not go on for {:?}", self.settings.timeout);
                if late { Came::End(Ended::Broken(why())) } else { came }
            }
            _ => Came::To(Did::Waits),
        };
        container.phase = phase;
        came
    }

    /// An answer has ended.
    fn ended(&mut self, number: Number, ended: Ended, now: Instant) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        let looked = matches!(container.phase, Phase::Looking(_));
        match (ended, container.refusal.take()) {
            (Ended::Whole, Some((404, _))) => {
                self.close(number, Phase::Asked);
                self.ask_about(number);
            }
            (Ended::Whole, Some((status, body))) => self.refused(number, reason(status, &body), now),
            (Ended::Whole, None) => {
                (container.backoff, container.trouble) = (BACKOFF_MIN, None);
                if !looked {
                    // Whether the container ended or only the answer: what came last may be missing, and is looked for.
                    container.looks = true;
                    self.close(number, Phase::Due(now));
                    self.open(number, now);
                } else if container.listed.running || container.has_news {
                    self.close(number, Phase::Asked);
                    self.ask_about(number);
                } else {
                    // There is no more of a line than this.
                    container.halves.iter_mut().for_each(Half::end);
                    self.close(number, Phase::Resting);
                    self.make_ready(number);
                }
            }
            (Ended::Differs(std), _) => {
                let half = &mut container.halves[std as usize];
                (half.given.count, half.given.crc) = (0, 0);
                tracing::info!(
                    "source {}: the log of container {} is not what was read before, some lines are read again",
                    self.settings.name,
                    container.name()
                );
                self.later(number, Duration::ZERO, now);
            }
            (Ended::Broken(why), _) => self.failed(number, why, now),
        }
    }

    /// The engine does not give us the container's log. That is said once, and tried again now and then.
    fn refused(&mut self, number: Number, why: String, now: Instant) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        if container.trouble.as_deref() != Some(&why) {
            tracing::warn!(
                "source {}: the log of container {} cannot be read: {why}",
                self.settings.name,
                container.name()
            );
            container.trouble = Some(why);
        }
        let rest = self.settings.rescan.max(BACKOFF_MAX);
        self.later(number, rest, now);
    }
}

/// Where lines go.
struct Into<'a> {
    number: Number,
    filler: &'a mut Filler<Marks<Number>>,
    dirty: &'a mut Vec<Number>,
    others: &'a BTreeMap<Number, Box<Container>>,
    partial_memory: usize,
    now: Instant,
}

impl Into<'_> {
    /// Reads on, as far as a turn goes.
    fn read(&mut self, container: &mut Container, exchange: &mut Exchange, timeout: Duration) -> Came {
        for _ in 0..PIECES_TURN {
            let given = container.bytes - container.progress.safe().bytes;
            container.parked = given >= WINDOW && !container.progress.is_settled();
            if container.parked {
                return Came::To(Did::Waits);
            }
            match exchange.next(self.now) {
                Ok(Got::Wait) => return Came::To(Did::Waits),
                Ok(Got::End) => return Came::End(Ended::Whole),
                Ok(Got::Status(200)) => {}
                Ok(Got::Status(status)) => container.refusal = Some((status, Vec::new())),
                Ok(Got::Body) => {
                    if let Some((_, body)) = &mut container.refusal {
                        let came = exchange.body();
                        let room = REFUSAL_MAX.saturating_sub(body.len()).min(came.len());
                        body.extend_from_slice(&came[..room]);
                        let n = came.len();
                        exchange.consume(n);
                        continue;
                    }
                    let (used, came) = self.take_all(container, exchange.body(), timeout);
                    exchange.consume(used);
                    if let Some(came) = came {
                        return came;
                    }
                }
                Err(why) => return Came::End(Ended::Broken(why)),
            }
        }
        Came::To(Did::More)
    }

    /// Takes the messages of `body`: how much of it was used, and what keeps the rest from being.
    fn take_all(
        &mut self,
        container: &mut Container,
        body: &[u8],
        timeout: Duration,
    ) -> (usize, Option<Came>) {
        let mut at = 0;
        loop {
            // Whatever comes next is no longer than this.
            if self.filler.room(body.len() - at + 1, self.now).is_none() {
                return (at, Some(Came::To(Did::Blocked)));
            }
            let piece = match container.frames.next(body, &mut at) {
                Ok(Some(piece)) => piece,
                Ok(None) => return (at, None),
                Err(bad) => return (at, Some(Came::End(Ended::Broken(bad.to_string())))),
            };
            let (std, time) = (piece.std, piece.time);
            let half = &mut container.halves[std as usize];
            let (entry, kept) = match half.take(piece) {
                Taken::Differs => return (at, Some(Came::End(Ended::Differs(std)))),
                Taken::Kept => (None, true),
                Taken::Entry(text, time) => {
                    let Some(block) = self.filler.room_left(text.len() + 1) else {
                        unreachable!("there was room for it a moment ago")
                    };
                    block.begin_run(&half.stream);
                    push(block, text, time, false);
                    (Some(text.len()), false)
                }
            };
            container.seen = time.unwrap_or(container.seen);
            if let Some(len) = entry {
                self.given(container, len);
            }
            if container.halves[std as usize].joiner.kept() > LONG && self.is_too_much(container) {
                container.halves[std as usize].give_up_line();
            }
            if kept && !self.place(container, Some(std), timeout) {
                return (at, Some(Came::To(Did::Blocked)));
            }
        }
    }

    /// Whether open lines take more memory than all together may.
    fn is_too_much(&self, container: &Container) -> bool {
        let others: usize = self.others.values().map(|one| one.kept()).sum();
        others + container.kept() > self.partial_memory
    }

    /// Puts what is complete into blocks, something having been `added` to a stream. False: there is no room for it now.
    fn place(&mut self, container: &mut Container, added: Option<Std>, timeout: Duration) -> bool {
        for std in Std::ALL {
            let mut anew = false;
            let at = std as usize;
            while let Some(len) = container.halves[at].joiner.done().map(|done| done.text.len()) {
                let Some(block) = self.filler.room(len + 1, self.now) else { return false };
                let half = &mut container.halves[at];
                block.begin_run(&half.stream);
                if let Some(done) = half.joiner.done() {
                    push(block, done.text, done.time, done.cut);
                    self.filler.ledger().cut.add(u64::from(done.cut));
                }
                half.took();
                anew = true;
                self.given(container, len);
            }
            if anew || added == Some(std) {
                container.halves[at].note_waiting(anew, timeout, self.now);
            }
        }
        true
    }

    /// An entry of `len` bytes was put into the open block: the block answers for it.
    fn given(&mut self, container: &mut Container, len: usize) {
        container.bytes += len as u64 + 1;
        let point = container.point();
        let Some(marks) = self.filler.mark() else { return };
        let last = marks.pieces().last();
        if last.is_some_and(|last| last.origin == self.number && last.generation == container.generation) {
            container.progress.extend(point);
        } else {
            let number = container.progress.add(point, self.now);
            marks.push(Piece { origin: self.number, generation: container.generation, number });
        }
        mark_dirty(self.dirty, self.number, container);
    }
}

/// Adds an entry, and a newline that keeps the block whole lines.
fn push(block: &mut crate::block::Block, text: &[u8], time: Option<i64>, cut: bool) {
    let Some(offset) = block.append(text) else { unreachable!("there is room for it") };
    block.append(b"\n");
    let own = if time.is_some() { Entry::OWN_TIME } else { 0 };
    let cut = if cut { Entry::CUT } else { 0 };
    let entry = Entry::at(offset, text.len() as u32);
    block.push(Entry { time: time.unwrap_or_default(), flags: own | cut, ..entry });
}
