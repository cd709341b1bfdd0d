//! Files that container engines write: each line holds a message (`json-file` or CRI), a line of the container's or a
//! piece of one.
//!
//! Bytes are read beside the block and what the messages say is copied into it. A position stands before the first piece
//! of what is not complete, in either stream; what came behind it is read again. That costs little, as the pieces of a
//! line follow each other closely, and no state has to be remembered but this: of which stream a line was cut whose
//! further pieces are to be passed over ([`Edge`]).

use super::cursor::{Cursor, Filled, Flush, Limits, Then, looks_binary, read_at};
use crate::block::Block;
use crate::checkpoint::Edge;
use crate::entry::Entry;
use crate::labels::Stream;
use crate::sources::containers::join::Joiner;
use crate::sources::containers::{Piece, Std, cri, docker_json};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Entries.
    #[default]
    Plain,
    /// What Docker's `json-file` driver writes.
    DockerJson,
    /// What Kubernetes' container runtimes and podman (`k8s-file`) write.
    Cri,
    /// Either, or entries: each line is looked at.
    Auto,
}

impl Format {
    /// What the line, given without its newline, says, perhaps in `scratch`; a line in no such format says itself.
    fn parse<'a>(self, line: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Piece<'a>> {
        match self {
            Format::Plain => None,
            Format::DockerJson => docker_json::parse(line, scratch),
            Format::Cri => cri::parse(line),
            Format::Auto if line.first() == Some(&b'{') => docker_json::parse(line, scratch),
            Format::Auto => cri::parse(line),
        }
    }
}

/// Memory for reading, shared by the files of a source.
#[derive(Default)]
pub struct Scratch {
    raw: Vec<u8>,
    text: Vec<u8>,
}

/// The scratch of a source.
pub type SharedScratch = RefCell<Scratch>;

/// Where something was begun that is not complete: how far reading was, and what the block held.
#[derive(Clone, Copy, Debug)]
struct Begun {
    raw: usize,
    entries: usize,
    text: usize,
    passing: [bool; 2],
}

/// Messages on their way into a block.
struct Messages<'a> {
    block: &'a mut Block,
    streams: &'a [Arc<Stream>; 2],
    format: Format,
    /// Most entries of the block.
    entries_max: usize,
    max_line: usize,
    joiners: [Joiner; 2],
    begun: [Option<Begun>; 2],
    /// The line was cut, its further pieces are passed over.
    passing: [bool; 2],
    cut: usize,
    /// The block has no room for what was to be put into it.
    full: bool,
    /// Where the line that comes in was begun, and where the message that is looked at stands.
    line_raw: [usize; 2],
    now_raw: usize,
    /// Where the last line of each stream's event stands.
    event_raw: [usize; 2],
    /// What is begun at the very beginning is not waited for.
    impatient: bool,
}

impl Messages<'_> {
    /// Takes the line at `raw`, given without its newline. False: the block has no room for what it completes.
    fn take(&mut self, raw: usize, line: &[u8], scratch: &mut Vec<u8>) -> bool {
        self.now_raw = raw;
        let Some(piece) = self.format.parse(line, scratch) else {
            let text = &line[..line.len().min(self.max_line)];
            return self.push(Std::Out, text, None, text.len() < line.len());
        };
        let at = piece.std as usize;
        if self.passing[at] {
            self.passing[at] = !piece.ends;
            return true;
        }
        if self.joiners[at].passes(&piece) {
            return self.push(piece.std, piece.text, piece.time, false);
        }
        if self.joiners[at].is_empty() {
            self.begin(at, raw);
        }
        if !self.joiners[at].is_in_line() {
            self.line_raw[at] = raw;
        }
        self.joiners[at].add(&piece);
        if self.impatient && raw == 0 {
            return self.give_up(at);
        }
        let placed = self.place(at);
        if self.joiners[at].has_event() {
            self.event_raw[at] = raw;
        }
        placed
    }

    /// Takes all whole lines of `bytes`, or as many as the block has room for; how far that is.
    fn take_all(&mut self, bytes: &[u8], scratch: &mut Vec<u8>) -> usize {
        let mut raw = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            if !self.take(raw, &bytes[raw..newline], scratch) {
                break;
            }
            raw = newline + 1;
        }
        raw
    }

    fn begin(&mut self, at: usize, raw: usize) {
        let (entries, text) = (self.block.entries().len(), self.block.text().len());
        self.begun[at] = Some(Begun { raw, entries, text, passing: self.passing });
    }

    /// Puts what is complete of a stream into the block.
    fn place(&mut self, at: usize) -> bool {
        loop {
            let joiner = &mut self.joiners[at];
            let Some(done) = joiner.done() else { return true };
            if !push(self.block, &self.streams[at], self.entries_max, (done.text, done.time, done.cut)) {
                self.full = true;
                return false;
            }
            self.cut += usize::from(done.cut);
            let last = if joiner.has_waiting_line() { self.event_raw[at] } else { self.now_raw };
            joiner.took();
            self.keep(at, last);
            let joiner = &self.joiners[at];
            let raw = self.line_raw[at];
            match joiner.is_empty() {
                true => self.begun[at] = None,
                // The line has ended what came before it, and is begun itself. If it came in pieces, others' lines may
                // stand between them: then the place to go back to stays where it was.
                false if self.now_raw == raw => self.begin(at, raw),
                false => {}
            }
        }
    }

    /// What was begun first of a stream is in the block; its last line stands at `last`. If the other stream's open item was
    /// begun in the middle of it, reading cannot begin again there: both wait for the other's end.
    fn keep(&mut self, at: usize, last: usize) {
        let (entries, text) = (self.block.entries().len(), self.block.text().len());
        if let (Some(own), Some(other)) = (self.begun[at], &mut self.begun[1 - at])
            && own.raw < other.raw
        {
            *other = if last < other.raw { Begun { entries, text, ..*other } } else { own };
        }
    }

    fn push(&mut self, std: Std, text: &[u8], time: Option<i64>, cut: bool) -> bool {
        let pushed = push(self.block, &self.streams[std as usize], self.entries_max, (text, time, cut));
        self.cut += usize::from(cut && pushed);
        self.full |= !pushed;
        pushed
    }

    /// Everything that is open goes out as it is. False: there is no room for it.
    fn end_all(&mut self) -> bool {
        let mut order = [0, 1];
        order.sort_by_key(|at| self.begun[*at].map(|begun| begun.raw));
        order.into_iter().all(|at| {
            self.joiners[at].end_line();
            self.place(at) && {
                self.joiners[at].end_event();
                self.place(at)
            }
        })
    }

    /// What is open of a stream goes out as it is; what comes of its line is passed over. False: there is no room for it.
    fn give_up(&mut self, at: usize) -> bool {
        if self.joiners[at].has_event() {
            self.joiners[at].end_event();
        } else if self.joiners[at].cut_line() {
            self.passing[at] = true;
        }
        self.place(at)
    }

    /// What was begun first and is not complete.
    fn first_begun(&self) -> Option<Begun> {
        self.begun.iter().flatten().copied().min_by_key(|begun| begun.raw)
    }
}

/// Adds an entry and the newline that keeps blocks whole lines. False: there is no room for it.
fn push(
    block: &mut Block,
    stream: &Arc<Stream>,
    entries_max: usize,
    (text, time, cut): (&[u8], Option<i64>, bool),
) -> bool {
    if block.entries().len() >= entries_max || block.spare().len() <= text.len() {
        return false;
    }
    block.begin_run(stream);
    let Some(offset) = block.append(text) else { return false };
    block.append(b"\n");
    let own = if time.is_some() { Entry::OWN_TIME } else { 0 };
    let flags = own | if cut { Entry::CUT } else { 0 };
    let entry = Entry::at(offset, text.len() as u32);
    block.push(Entry { time: time.unwrap_or_default(), flags, ..entry });
    true
}

fn passing(edge: Edge) -> [bool; 2] {
    [
        matches!(edge, Edge::PassingOut | Edge::PassingBoth),
        matches!(edge, Edge::PassingErr | Edge::PassingBoth),
    ]
}

fn edge(passing: [bool; 2]) -> Edge {
    match passing {
        [false, false] => Edge::Line,
        [true, false] => Edge::PassingOut,
        [false, true] => Edge::PassingErr,
        [true, true] => Edge::PassingBoth,
    }
}

impl Cursor {
    /// As [`Cursor::fill`], for files of messages. Lines that are cut between two messages are not: only whole ones count.
    pub(super) fn fill_messages(
        &mut self,
        file: &File,
        size: u64,
        block: &mut Block,
        streams: &[Arc<Stream>; 2],
        limits: &Limits,
        flush: Flush,
    ) -> io::Result<Filled> {
        let scratch = &mut *limits.scratch.borrow_mut();
        let Scratch { raw, text } = scratch;
        let (fresh, room) = (block.entries().is_empty(), block.spare().len());
        // The largest block: beyond it only what was written with many escapes still fits.
        let widest = fresh && room > limits.longest();
        let want = if widest { 2 * room } else { room };
        raw.resize(raw.len().max(want), 0);
        let n = read_at(file, &mut raw[..want], self.read)?;
        let raw = &raw[..n];
        let end = n < want && self.read + n as u64 >= size;
        let nothing = |then| Ok(Filled { entries: 0, cut: 0, then });
        // A container may say a NUL, too.
        let line = memchr::memchr(b'\n', raw).map_or(raw, |end| &raw[..end]);
        if self.read == 0 && looks_binary(raw) && limits.format.parse(line, text).is_none() {
            return nothing(Then::Binary);
        }
        if self.edge == Edge::Partial && raw.first() == Some(&b'\n') {
            self.advance(b"\n", Edge::Line);
            return nothing(Then::More);
        }
        let (before, base) = (block.entries().len(), block.text().len());
        let joiner = || Joiner::new(limits.line, limits.rules.clone());
        let mut messages = Messages {
            block,
            streams,
            format: limits.format,
            entries_max: limits.entries,
            max_line: limits.line,
            joiners: [joiner(), joiner()],
            begun: [None; 2],
            passing: passing(self.edge),
            cut: 0,
            full: false,
            line_raw: [0; 2],
            now_raw: 0,
            event_raw: [0; 2],
            impatient: false,
        };
        let mut at = messages.take_all(raw, text);
        let whole = at;
        let mut partial = false;
        if end
            && flush != Flush::None
            && !messages.full
            && messages.end_all()
            && flush == Flush::All
            && n > at
        {
            partial = messages.push(Std::Out, &raw[at..n.min(at + limits.line)], None, n - at > limits.line);
        }
        let first = |messages: &Messages<'_>| messages.first_begun().map(|begun| begun.raw);
        if widest && first(&messages) == Some(0) && (messages.full || n == want) {
            // Longer than anything may be: it goes out as it is.
            let all = [0, 1].into_iter().filter(|at| messages.begun[*at].is_some_and(|begun| begun.raw == 0));
            let all: Vec<usize> = all.collect();
            if messages.full || !all.into_iter().all(|at| messages.give_up(at)) {
                // The other stream has taken the room: then only its first piece does.
                messages.block.truncate(before);
                messages.block.shrink(base);
                messages.joiners = [joiner(), joiner()];
                (messages.begun, messages.passing) = ([None; 2], passing(self.edge));
                (messages.cut, messages.full, messages.impatient) = (0, false, true);
                at = messages.take_all(raw, text);
            }
        } else if widest && n == want && at == 0 && !messages.full {
            // No line of any format.
            messages.push(Std::Out, &raw[..n.min(limits.line)], None, true);
            let (entries, cut) = (messages.block.entries().len() - before, messages.cut);
            self.advance(raw, Edge::Skipping);
            return Ok(Filled { entries, cut, then: Then::More });
        }
        let begun = messages.first_begun();
        if let Some(begun) = begun {
            messages.block.truncate(begun.entries);
            messages.block.shrink(begun.text);
        }
        let (taken, edge) = match begun {
            Some(begun) => (begun.raw, edge(begun.passing)),
            None if partial => (n, Edge::Partial),
            None => (at, edge(messages.passing)),
        };
        let waits = messages.joiners.iter().any(Joiner::has_event);
        let then = if messages.full || n == want {
            // A block without anything in it is too small for this.
            if taken == 0 && fresh { Then::Wider((2 * n + 1).min(limits.longest() + 1)) } else { Then::Full }
        } else if end {
            Then::End
        } else {
            Then::More
        };
        let (entries, cut) = (messages.block.entries().len() - before, messages.cut);
        if taken > 0 {
            self.advance(&raw[..taken], edge);
        }
        if then == Then::End {
            (self.partial, self.event) = ((n - taken) as u64, waits && whole == n);
        }
        Ok(Filled { entries, cut, then })
    }
}

#[cfg(test)]
#[path = "messages/tests.rs"]
mod tests;
