//! Events of several lines in a file: like lines, but the first incomplete one is an event that may go on.
//!
//! Reading begins at the first line of the open event, so positions only ever move over whole events: whatever happens
//! in the middle of one, it is read again from its beginning.

use super::cursor::{Cursor, Flush, Limits, Lines, Then, read_at};
use crate::block::Block;
use crate::entry::Entry;
use crate::sources::multiline::{Joined, Open, Rules};
use std::fs::File;
use std::io;

impl Lines<'_> {
    /// Makes entries of the complete events among the `n` bytes, at most `room`; at the file's `end` also of what is to
    /// be flushed. Stops at the first line that is longer than `max`: where its newline stands is the result.
    pub(super) fn push_events(
        &mut self,
        n: usize,
        room: usize,
        max: usize,
        rules: &Rules,
        end: Option<Flush>,
    ) -> Option<usize> {
        while self.entries < room {
            let line = &self.block.text()[self.base + self.line..self.base + n];
            let Some(len) = memchr::memchr(b'\n', line) else {
                self.push_at_end(n, max, rules, end);
                return None;
            };
            if len > max {
                // It stands alone.
                self.end_open();
                return (self.entries < room).then_some(self.line + len);
            }
            let line = &line[..len];
            let joined = match rules.take(&mut self.open, line) {
                Joined::EndsBefore if self.entries + 1 < room => {
                    self.push_open();
                    let line = &self.block.text()[self.base + self.line..][..len];
                    rules.take(&mut self.open, line)
                }
                joined => joined,
            };
            if joined != Joined::EndsBefore {
                self.line += len + 1;
            }
            if joined != Joined::Grows {
                self.end_open();
            }
        }
        None
    }

    /// Behind the last complete line: the open event may have ended all the same.
    fn push_at_end(&mut self, n: usize, max: usize, rules: &Rules, end: Option<Flush>) {
        let held = n - self.line;
        let over = held > max || rules.is_too_much(&self.open, held);
        let flush = match end.unwrap_or(Flush::None) {
            Flush::None => false,
            Flush::Open => true,
            Flush::All => {
                held == 0 || {
                    let line = &self.block.text()[self.base + self.line..self.base + n];
                    rules.take(&mut self.open.clone(), line) == Joined::EndsBefore
                }
            }
        };
        if over || flush {
            self.end_open();
        }
    }

    /// Ends the open event, if there is one.
    fn end_open(&mut self) {
        if self.open.bytes() > 0 {
            self.push_open();
        }
    }

    fn push_open(&mut self) {
        let len = std::mem::take(&mut self.open).bytes() - 1;
        self.block.begin_run(self.stream);
        self.block.push(Entry::at((self.base + self.begin) as u32, len as u32));
        self.begin += len + 1;
        self.entries += 1;
    }
}

impl Cursor {
    /// Looks whether what came behind a long incomplete event ends it, without reading its beginning again. `None` if it
    /// has ended and fits the block.
    pub(super) fn scan_events(
        &mut self,
        file: &File,
        size: u64,
        block: &mut Block,
        limits: &Limits,
        rules: &Rules,
    ) -> io::Result<Option<Then>> {
        let (is_empty, spare) = (block.text().is_empty(), block.spare());
        let room = spare.len();
        let at = self.read + self.partial;
        let mut n = read_at(file, spare, at)?;
        let end = n < room && at + n as u64 >= size;
        let open = self.open.bytes();
        let held = self.partial as usize - open + n;
        let need = if memchr::memchr(b'\n', &spare[..n]).is_none() {
            if held <= limits.line && !rules.is_too_much(&self.open, held) {
                self.partial += n as u64;
                return Ok(Some(if end { Then::End } else { Then::More }));
            }
            if open > 0 { open } else { limits.line + 1 }
        } else {
            // A line is complete that was not: it is to be judged whole.
            n = read_at(file, spare, self.read + open as u64)?;
            let mut grown = self.open.clone();
            match join(&mut grown, &spare[..n], limits.line, rules) {
                None if grown.bytes() > open => {
                    self.partial = (open + n) as u64;
                    self.open = grown;
                    let end = n < room && self.read + self.partial >= size;
                    return Ok(Some(if end { Then::End } else { Then::More }));
                }
                // Not even this line fits.
                None => held.min(limits.line) + 1,
                Some(event) => event,
            }
        };
        Ok((need > room).then_some(if is_empty { Then::Wider(need) } else { Then::Full }))
    }
}

/// Adds the complete lines of `text` to the open event, as far as they belong to it; how long it is if it ended.
fn join(open: &mut Open, mut text: &[u8], max: usize, rules: &Rules) -> Option<usize> {
    while let Some(len) = memchr::memchr(b'\n', text) {
        let before = open.bytes();
        if len > max {
            return Some(if before > 0 { before } else { max + 1 });
        }
        match rules.take(open, &text[..len]) {
            Joined::Grows => text = &text[len + 1..],
            Joined::EndsWith => return Some(open.bytes()),
            Joined::EndsBefore => return Some(before),
        }
    }
    None
}
