//! Bytes of one stream on their way into the open block: read, framed in place, the unfinished rest carried over.
//!
//! Bytes are read straight into the block behind the rest of the last read, so that the common entry is copied once,
//! by the kernel. A long unfinished frame grows in the carry until it is whole: moving it in and out of the block with
//! each small piece would let a sender of single bytes cost us a copy of everything before.
//! Not here: where the bytes come from (anything that is `Read`: a socket, a TLS session, a pipe), and limits over
//! many streams (see `framed`).

use super::filler::Filler;
use super::link::Peer;
use crate::block::Block;
use crate::entry::Entry;
use crate::labels::Stream;
use crate::sources::framing::{Frame, LineFramer};
use crate::sources::multiline::TIMEOUTS_MAX;
use crate::sources::syslog::octet::OctetFramer;
use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes taken by one read.
pub const READ_MAX: usize = 64 << 10;
/// Less room than this is not worth a read: the block counts as full.
const READ_MIN: usize = 2 << 10;
/// Carries up to this long are copied into the block before a read; longer ones grow where they are.
const CARRY_SHORT: usize = 4 << 10;
/// How much a long carry grows at a time.
const CARRY_STEP: usize = 16 << 10;
/// Bytes the largest block must hold beyond the longest message: its length prefix, its ending, and what may be read
/// with them.
pub const HEADROOM: usize = 128;

/// How the entries of a stream are told apart.
pub trait Framing: Send {
    /// Why a stream cannot be read on.
    type Error: Display;

    /// The next frame of `buf` at or behind `at`, which moves behind what is done with; `None`: more bytes are needed.
    fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Self::Error>;

    /// The stream has ended with `rest`, in which there is no complete frame: the one to make of it, if any.
    fn last_frame(&mut self, rest: &[u8]) -> Option<Frame>;

    /// How long what is kept may wait to be added to, before [`Framing::end_open`] is to be called; `None`: for ever.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Nothing was added to `rest` for long enough: the frame that would have waited on, which begins at `at`; `at` moves
    /// behind it.
    fn end_open(&mut self, _rest: &[u8], _at: &mut usize) -> Option<Frame> {
        None
    }

    /// The stream has ended with `rest`, from `at` on: a frame that what stands behind it does not belong to, if there
    /// is one; `at` moves behind it, and then [`Framing::last_frame`] is called.
    fn end_before_rest(&mut self, _rest: &[u8], _at: &mut usize) -> Option<Frame> {
        None
    }

    /// The same for a new connection of `peer`.
    fn of(&self, peer: &Peer) -> Self
    where
        Self: Clone,
    {
        let _ = peer;
        self.clone()
    }
}

impl Framing for LineFramer {
    type Error = Infallible;

    fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Infallible> {
        Ok(LineFramer::next_frame(self, buf, at))
    }

    fn last_frame(&mut self, rest: &[u8]) -> Option<Frame> {
        let mut last = None;
        self.finish(rest, |frame| last = Some(frame));
        last
    }
}

impl Framing for OctetFramer {
    type Error = crate::sources::syslog::octet::FramingError;

    fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Self::Error> {
        OctetFramer::next_frame(self, buf, at)
    }

    fn last_frame(&mut self, rest: &[u8]) -> Option<Frame> {
        let mut last = None;
        // An error cannot be told from an unfinished length here, and nothing of either is a message.
        self.finish(rest, |frame| last = Some(frame)).ok()?;
        last
    }

    fn of(&self, peer: &Peer) -> Self {
        match peer {
            Peer::Host(_) => self.clone(),
            Peer::Local(..) => self.clone().or_nul(),
        }
    }
}

/// What one [`Incoming::pump`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Bytes were moved.
    Moved {
        /// How many were read.
        read: usize,
        /// How many entries they completed.
        entries: usize,
        /// Whether there may be more to move: the read took all it had room for.
        more: bool,
    },
    /// There is nothing to read now.
    Empty,
    /// There is no room for more in the house; the thread is woken when there is.
    Blocked,
    /// The stream has ended and all of it is in the block.
    Ended,
    /// The stream cannot be framed any further; what could be is in the block, `given_up` bytes are not.
    Broken {
        /// Why.
        reason: String,
        /// Bytes received that belong to no entry.
        given_up: usize,
    },
}

/// One stream's way into the block.
pub struct Incoming<F> {
    framing: F,
    stream: Arc<Stream>,
    /// The longest a carry may become: an unfinished frame is always shorter.
    carry_max: usize,
    carry: Vec<u8>,
    /// The carry may hold complete frames: the block was full of entries before it was framed.
    unframed: bool,
    ended: bool,
    /// Entries cut at the longest message, not yet counted by the owner.
    cut: u64,
    waits: Option<Waits>,
}

/// A frame that may go on, for a time.
struct Waits {
    /// When it is not waited for any more.
    until: Instant,
    /// However much is added to it.
    latest: Instant,
}

impl<F: Framing + Clone> Incoming<F> {
    /// The beginning of `stream`, whose messages have up to `max_message` bytes by its framing.
    pub fn new(stream: Arc<Stream>, framing: F, max_message: usize) -> Self {
        let carry_max = max_message + HEADROOM / 2;
        Incoming {
            framing,
            stream,
            carry_max,
            carry: Vec::new(),
            unframed: false,
            ended: false,
            cut: 0,
            waits: None,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// What comes from now on is of this stream.
    pub fn set_stream(&mut self, stream: Arc<Stream>) {
        self.stream = stream;
    }

    /// Bytes of memory its unfinished frame takes.
    pub fn carried(&self) -> usize {
        self.carry.capacity()
    }

    /// Whether it waits for the rest of a frame.
    pub fn is_partial(&self) -> bool {
        !self.carry.is_empty() && !self.unframed
    }

    /// How many entries were cut at the longest message since this was last asked.
    pub fn take_cut(&mut self) -> u64 {
        std::mem::take(&mut self.cut)
    }

    /// Nothing more is to be read: the next pumps hand in what is left.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether nothing more will be read.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Reads once and puts the entries completed by it into the open block.
    ///
    /// Errors of `from` other than `WouldBlock` end the stream like its end does, as nothing follows either way.
    pub fn pump(&mut self, from: &mut impl Read, filler: &mut Filler, now: Instant) -> Pumped {
        if self.ended {
            return self.finish(filler, now);
        }
        if self.carry.len() > CARRY_SHORT && !self.unframed {
            return self.grow_carry(from, now);
        }
        let wanted = filler.bytes_wanted().clamp(READ_MIN, READ_MAX);
        let need = self.carry.len() + if self.unframed { 0 } else { READ_MIN };
        // How many entries it may have is known when it is opened.
        if filler.room(need, now).is_none() {
            return Pumped::Blocked;
        }
        let most = filler.block_entries();
        let Some(block) = filler.room_left(need) else { return Pumped::Blocked };
        let base = block.text().len();
        block.append(&self.carry);
        let (mut read, mut more) = (0, true);
        if !self.unframed {
            let room = block.spare();
            let room_len = room.len().min(wanted);
            read = match read_once(from, &mut room[..room_len]) {
                Ok(0) => {
                    block.shrink(base);
                    self.ended = true;
                    return Pumped::Moved { read: 0, entries: 0, more: true };
                }
                Ok(read) => read,
                Err(_) => {
                    block.shrink(base);
                    return Pumped::Empty;
                }
            };
            more = read == room_len;
            block.grow(read);
        }
        self.carry.clear();
        let framed = self.frame(block, base, most);
        self.note_waiting(framed.entries > 0, now);
        self.keep_rest(block, base, framed, read, more)
    }

    /// When [`Incoming::end_open`] is to be called, if nothing more comes.
    pub fn due(&self) -> Option<Instant> {
        self.waits.as_ref().map(|waits| waits.until)
    }

    /// Something was added to what is kept; with `anew`, it was begun just now.
    fn note_waiting(&mut self, anew: bool, now: Instant) {
        self.waits = self.framing.patience().map(|patience| {
            let latest = match &self.waits {
                Some(waits) if !anew => waits.latest,
                _ => now + patience * TIMEOUTS_MAX,
            };
            Waits { until: (now + patience).min(latest), latest }
        });
    }

    /// Hands in the frame that has waited long enough for more, if it is due. False: there is no room for it now, and
    /// the thread is woken when there is.
    pub fn end_open(&mut self, filler: &mut Filler, now: Instant) -> bool {
        if self.unframed || self.due().is_none_or(|due| now < due) {
            return true;
        }
        let Some(block) = filler.room(self.carry.len() + 1, now) else { return false };
        self.waits = None;
        let base = block.text().len();
        let mut at = 0;
        if let Some(frame) = self.framing.end_open(&self.carry, &mut at) {
            block.append(&self.carry[..at]);
            block.begin_run(&self.stream);
            block.push(entry(frame, base));
        }
        // Also what was passed over.
        self.carry.drain(..at);
        true
    }

    /// Pushes the frames of the text from `base` on: how many, how far, and whether that is all or an error.
    fn frame(&mut self, block: &mut Block, base: usize, most: usize) -> Framed<F::Error> {
        let (mut at, first) = (0, block.entries().len());
        loop {
            if block.entries().len() >= most {
                return Framed { at, entries: block.entries().len() - first, state: Ok(Rest::Unframed) };
            }
            let state = match self.framing.next_frame(&block.text()[base..], &mut at) {
                Ok(Some(frame)) => {
                    if block.entries().len() == first {
                        block.begin_run(&self.stream);
                    }
                    self.cut += u64::from(frame.truncated);
                    block.push(entry(frame, base));
                    continue;
                }
                Ok(None) => Ok(Rest::Partial),
                Err(error) => Err(error),
            };
            return Framed { at, entries: block.entries().len() - first, state };
        }
    }

    fn keep_rest(
        &mut self,
        block: &mut Block,
        base: usize,
        framed: Framed<F::Error>,
        read: usize,
        more: bool,
    ) -> Pumped {
        let Framed { at, entries, state } = framed;
        let rest = block.text().len() - base - at;
        if state.is_ok() {
            self.carry.extend_from_slice(&block.text()[base + at..]);
            // A connection that once had much to carry does not keep the memory.
            if self.carry.len() <= CARRY_SHORT && self.carry.capacity() > 2 * CARRY_SHORT {
                self.carry.shrink_to(CARRY_SHORT);
            }
        }
        block.shrink(if entries == 0 { base } else { base + at });
        match state {
            Ok(state) => {
                self.unframed = matches!(state, Rest::Unframed) && !self.carry.is_empty();
                Pumped::Moved { read, entries, more: more || self.unframed }
            }
            Err(error) => Pumped::Broken { reason: error.to_string(), given_up: rest },
        }
    }

    /// Reads behind a long carry, and looks whether its frame is whole now; then the next pump moves it.
    fn grow_carry(&mut self, from: &mut impl Read, now: Instant) -> Pumped {
        let had = self.carry.len();
        let step = CARRY_STEP.min(self.carry_max.saturating_sub(had)).max(1);
        self.carry.resize(had + step, 0);
        let read = match read_once(from, &mut self.carry[had..]) {
            Ok(read) => read,
            Err(_) => {
                self.carry.truncate(had);
                return Pumped::Empty;
            }
        };
        self.carry.truncate(had + read);
        self.ended = read == 0;
        // Looked at by a copy, as a frame found here is to be found again in the block. The framing remembers what it
        // has searched, so only the new bytes are looked at, and the last piece twice.
        let (mut probe, mut at) = (self.framing.clone(), 0);
        match probe.next_frame(&self.carry, &mut at) {
            Ok(None) => {
                self.framing = probe;
                self.carry.drain(..at);
                self.note_waiting(false, now);
            }
            _ => self.unframed = true,
        }
        Pumped::Moved { read, entries: 0, more: read == step || self.unframed || self.ended }
    }

    /// Hands in what is left: whole frames first, then what the framing makes of the rest.
    fn finish(&mut self, filler: &mut Filler, now: Instant) -> Pumped {
        if self.carry.is_empty() {
            return Pumped::Ended;
        }
        let need = self.carry.len() + 1;
        if filler.room(need, now).is_none() {
            return Pumped::Blocked;
        }
        let most = filler.block_entries();
        let Some(block) = filler.room_left(need) else { return Pumped::Blocked };
        let base = block.text().len();
        block.append(&self.carry);
        self.carry.clear();
        let framed = self.frame(block, base, most);
        if !matches!(framed.state, Ok(Rest::Partial)) {
            return self.keep_rest(block, base, framed, 0, true);
        }
        let mut begun = base + framed.at;
        let mut at = 0;
        let before = self.framing.end_before_rest(&block.text()[begun..], &mut at);
        if let Some(frame) = before {
            block.begin_run(&self.stream);
            block.push(entry(frame, begun));
        }
        begun += at;
        if before.is_some() && block.entries().len() >= most && begun < block.text().len() {
            let framed = Framed { at: begun - base, entries: 1, state: Ok(Rest::Partial) };
            return self.keep_rest(block, base, framed, 0, true);
        }
        let last = self.framing.last_frame(&block.text()[begun..]);
        let end = match last {
            Some(frame) => {
                self.cut += u64::from(frame.truncated);
                block.begin_run(&self.stream);
                block.push(entry(frame, begun));
                // As behind every other line.
                block.append(b"\n");
                block.text().len()
            }
            None => begun,
        };
        block.shrink(end);
        self.carry = Vec::new();
        Pumped::Ended
    }
}

struct Framed<E> {
    at: usize,
    entries: usize,
    state: Result<Rest, E>,
}

enum Rest {
    Partial,
    Unframed,
}

fn entry(frame: Frame, base: usize) -> Entry {
    let flag = |holds: bool, flag| if holds { flag } else { 0 };
    let flags = flag(frame.truncated, Entry::CUT) | flag(frame.newlines, Entry::NEWLINES);
    Entry { flags, ..Entry::at(base as u32 + frame.start, frame.len) }
}

/// One read: `Ok(0)` at the end or when the stream is broken, an error only when there is nothing now.
fn read_once(from: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(room) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
            Err(error) => {
                tracing::debug!("a stream ended with an error: {error}");
                return Ok(0);
            }
            done => return done,
        }
    }
}
