//! Memory in which values are worked out: kept for the next entry, so that nothing is allocated per entry.

use super::{Fault, TEXT_MAX};
use crate::time::Clock;
use jiff::tz::TimeZone;
use regex::bytes::{CaptureLocations, Regex};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Most bytes of text that working out one value may take, what is only needed on the way included.
const MADE_MAX: usize = 4 * TEXT_MAX;
/// Most memory that is kept for the next entry.
const KEPT_MAX: usize = 1 << 20;

/// Most clocks and most places of groups that are kept: those of configs that are gone make room.
const KEPT_OF_EACH: usize = 255;

/// A number for what an expression keeps from entry to entry: its clock, its places of groups.
pub fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only that no two are equal matters.
    NEXT.fetch_add(1, Relaxed)
}

/// A text where it stands.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// In the entry or in the expression.
    There(&'a [u8]),
    /// Made here: from, to.
    Made(usize, usize),
}

/// What is made on the way to a value.
#[derive(Default)]
pub struct Scratch {
    made: Vec<u8>,
    /// What is being rewritten, while `made` grows.
    copy: Vec<u8>,
    /// Clocks of those that read times, by their number.
    clocks: Vec<(usize, Clock)>,
    /// Places of groups of those that match patterns, likewise.
    groups: Vec<(usize, CaptureLocations)>,
}

/// Where a text is made.
pub struct Out<'s> {
    bytes: &'s mut Vec<u8>,
    start: usize,
}

const TOO_LONG: Fault = Fault("the result is longer than 256KiB");

impl Scratch {
    /// Forgets what was made for the entry before.
    pub fn clear(&mut self) {
        self.made.clear();
        if self.made.capacity() + self.copy.capacity() > KEPT_MAX {
            (self.made, self.copy) = (Vec::new(), Vec::new());
        }
    }

    /// The bytes of a text.
    pub fn bytes<'s>(&'s self, text: Text<'s>) -> &'s [u8] {
        match text {
            Text::There(bytes) => bytes,
            Text::Made(from, to) => &self.made[from..to],
        }
    }

    /// The text that `write` makes.
    pub fn make<'a>(
        &mut self,
        write: impl FnOnce(&mut Out<'_>) -> Result<(), Fault>,
    ) -> Result<Text<'a>, Fault> {
        let start = self.made.len();
        write(&mut Out { bytes: &mut self.made, start })?;
        Ok(Text::Made(start, self.made.len()))
    }

    /// The text, made here if it stands elsewhere.
    pub fn own<'a>(&mut self, text: Text<'_>) -> Result<Text<'a>, Fault> {
        match text {
            Text::There(bytes) => self.make(|out| out.push(bytes)),
            Text::Made(from, to) => Ok(Text::Made(from, to)),
        }
    }

    /// The text that `write` makes of `text`.
    pub fn rewrite<'a>(
        &mut self,
        text: Text<'a>,
        write: impl FnOnce(&[u8], &mut Out<'_>) -> Result<(), Fault>,
    ) -> Result<Text<'a>, Fault> {
        let (from, to) = match text {
            Text::There(bytes) => return self.make(|out| write(bytes, out)),
            Text::Made(from, to) => (from, to),
        };
        let mut copy = std::mem::take(&mut self.copy);
        copy.clear();
        copy.extend_from_slice(&self.made[from..to]);
        let result = self.make(|out| write(&copy, out));
        self.copy = copy;
        result
    }

    /// The part of `text` from `from` to before `to`.
    pub fn part<'a>(&self, text: Text<'a>, from: usize, to: usize) -> Text<'a> {
        match text {
            Text::There(bytes) => Text::There(&bytes[from..to]),
            Text::Made(start, _) => Text::Made(start + from, start + to),
        }
    }

    /// The clock with this number, for times of `zone`, set to `now`; to be given back.
    pub fn take_clock(&mut self, number: usize, zone: &TimeZone, now: i64) -> Clock {
        let mut clock = match self.clocks.iter().position(|(known, _)| *known == number) {
            Some(at) => self.clocks.swap_remove(at).1,
            None => Clock::new(zone.clone(), now),
        };
        clock.set(now);
        clock
    }

    /// Keeps the clock for the next entry.
    pub fn keep_clock(&mut self, number: usize, clock: Clock) {
        self.clocks.truncate(KEPT_OF_EACH);
        self.clocks.push((number, clock));
    }

    /// The places of groups with this number, of matches of `regex`; to be given back.
    pub fn groups(&mut self, number: usize, regex: &Regex) -> CaptureLocations {
        match self.groups.iter().position(|(known, _)| *known == number) {
            Some(at) => self.groups.swap_remove(at).1,
            None => regex.capture_locations(),
        }
    }

    /// Keeps the places for the next entry.
    pub fn keep_groups(&mut self, number: usize, groups: CaptureLocations) {
        self.groups.truncate(KEPT_OF_EACH);
        self.groups.push((number, groups));
    }
}

impl Out<'_> {
    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.room(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a text, which may have been made here.
    pub fn push_text(&mut self, text: Text<'_>) -> Result<(), Fault> {
        match text {
            Text::There(bytes) => self.push(bytes),
            Text::Made(from, to) => {
                self.room(to - from)?;
                self.bytes.extend_from_within(from..to);
                Ok(())
            }
        }
    }

    /// Appends one character.
    pub fn push_char(&mut self, letter: char) -> Result<(), Fault> {
        self.push(letter.encode_utf8(&mut [0; 4]).as_bytes())
    }

    /// Appends what `write` appends, which is looked at afterwards: for what is short by itself.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Fault> {
        write(self.bytes);
        self.room(0)
    }

    fn room(&self, more: usize) -> Result<(), Fault> {
        let len = self.bytes.len() + more;
        if len - self.start > TEXT_MAX || len > MADE_MAX { Err(TOO_LONG) } else { Ok(()) }
    }
}
