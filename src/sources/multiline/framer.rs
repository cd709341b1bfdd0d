//! Finding events in a stream of bytes: lines, joined by rules.
//!
//! Like [`crate::sources::framing::LineFramer`] it is given what has arrived and says how much is done with. What it keeps
//! begins with the first line of the open event, so an event always stands in one piece in the buffer, its newlines
//! inside. Whatever the pieces, the same bytes give the same events, as long as nobody asks for an early end.

use super::{Joined, Open, Rules};
use crate::sources::framing::Frame;
use crate::sources::net::incoming::Framing;
use memchr::memchr;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Cuts bytes into events made of lines that end in LF.
///
/// A line longer than `max_line` is an event of its own: its first `max_line` bytes, marked `truncated`.
#[derive(Clone, Debug)]
pub struct EventFramer {
    rules: Arc<Rules>,
    max_line: usize,
    strip_cr: bool,
    /// The open event: its lines stand at the beginning of what is kept.
    open: Open,
    /// Bytes of the line behind them that were searched and hold no LF.
    scanned: usize,
    /// The line was cut; everything up to its LF goes.
    discarding: bool,
}

impl EventFramer {
    /// A framer at the start of an event. `max_line` is in bytes without the line ending.
    pub fn new(rules: Arc<Rules>, max_line: usize) -> Self {
        EventFramer { rules, max_line, strip_cr: false, open: Open::default(), scanned: 0, discarding: false }
    }

    /// Takes one CR at the end of an event off too; those inside stay.
    pub fn strip_cr(mut self) -> Self {
        self.strip_cr = true;
        self
    }

    /// The longest an event can be, in bytes.
    pub fn longest(&self) -> usize {
        self.max_line.max(self.rules.max_bytes)
    }

    /// The next event of `buf` at or behind `at`, or `None` when only one is left that may go on; `at` moves as in
    /// [`crate::sources::framing::LineFramer::next_frame`].
    #[inline]
    pub fn next_event(&mut self, buf: &[u8], at: &mut usize) -> Option<Frame> {
        let buf = &buf[..buf.len().min(u32::MAX as usize)];
        if self.discarding && !self.skip(buf, at) {
            return None;
        }
        loop {
            let line = *at + self.open.bytes();
            let rest = buf.get(line..)?;
            let Some(len) = rest.get(self.scanned..).and_then(|new| Some(self.scanned + memchr(b'\n', new)?))
            else {
                return self.unfinished(buf, rest.len(), at);
            };
            if len > self.max_line {
                // It stands alone, after what came before it.
                self.scanned = len;
                if let Some(event) = self.end_before(buf, at) {
                    return Some(event);
                }
                self.scanned = 0;
                let event = frame(*at, self.max_line, true);
                *at += len + 1;
                return Some(event);
            }
            match self.rules.take(&mut self.open, &rest[..len]) {
                Joined::Grows => self.scanned = 0,
                Joined::EndsWith => {
                    self.scanned = 0;
                    return self.end_before(buf, at);
                }
                Joined::EndsBefore => {
                    self.scanned = len;
                    return self.end_before(buf, at);
                }
            }
        }
    }

    /// No LF in sight, after `held` bytes of a line: wait for it, unless it does not matter what comes.
    #[cold]
    fn unfinished(&mut self, buf: &[u8], held: usize, at: &mut usize) -> Option<Frame> {
        self.scanned = held;
        let long = held > self.max_line;
        if self.open.bytes() > 0 {
            return (long || self.rules.is_too_much(&self.open, held))
                .then(|| self.end_before(buf, at))
                .flatten();
        }
        if !long {
            return None;
        }
        (self.scanned, self.discarding) = (0, true);
        let event = frame(*at, self.max_line, true);
        *at += held;
        Some(event)
    }

    /// The open event, whose last line is its last; `at` moves behind it.
    #[inline]
    fn end_before(&mut self, buf: &[u8], at: &mut usize) -> Option<Frame> {
        let bytes = std::mem::take(&mut self.open).bytes();
        let event = bytes.checked_sub(1).map(|len| self.event(buf, *at, len));
        *at += bytes;
        event
    }

    /// The event of `len` bytes at `start`.
    #[inline]
    fn event(&self, buf: &[u8], start: usize, len: usize) -> Frame {
        let cr = self.strip_cr && buf[start..start + len].ends_with(b"\r");
        frame(start, len - usize::from(cr), false)
    }

    #[cold]
    fn skip(&mut self, buf: &[u8], at: &mut usize) -> bool {
        let rest = buf.get(*at..).unwrap_or_default();
        let found = memchr(b'\n', rest);
        *at += found.map_or(rest.len(), |lf| lf + 1);
        self.discarding = found.is_none();
        found.is_some()
    }
}

impl Framing for EventFramer {
    type Error = Infallible;

    #[inline]
    fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Infallible> {
        Ok(self.next_event(buf, at))
    }

    fn patience(&self) -> Option<Duration> {
        (self.open.bytes() > 0).then_some(self.rules.timeout)
    }

    fn end_open(&mut self, buf: &[u8], at: &mut usize) -> Option<Frame> {
        self.end_before(buf, at)
    }

    fn end_before_rest(&mut self, rest: &[u8], at: &mut usize) -> Option<Frame> {
        let line = rest.get(*at + self.open.bytes()..).unwrap_or_default();
        let belongs = !line.is_empty() && self.rules.take(&mut self.open, line) != Joined::EndsBefore;
        if belongs { None } else { self.end_before(rest, at) }
    }

    fn last_frame(&mut self, rest: &[u8]) -> Option<Frame> {
        let last = !rest.is_empty() && !self.discarding;
        (self.open, self.scanned, self.discarding) = (Open::default(), 0, false);
        last.then(|| self.event(rest, 0, rest.len().min(u32::MAX as usize)))
    }
}

/// Positions fit: every caller has cut its buffer to what `u32` can count.
#[inline]
fn frame(start: usize, len: usize, truncated: bool) -> Frame {
    // An event is written as the lines it was, so its newlines are none that `raw` has to escape.
    Frame { start: start as u32, len: len as u32, truncated, newlines: false }
}
