//! Syslog messages to fields and times: the first step of every `syslog` source.
//!
//! Fields: `facility` and `severity` by name, `host`, `app`, `procid`, `msgid` where the message has them, structured
//! data as `SD-ID.NAME`, and `message`, the text behind the header. The entry's time becomes the message's own, if it
//! has one that can be read. A message that is neither RFC 5424 nor RFC 3164 is all `message`, `user`, `notice`
//! (RFC 3164 4.3.3), so this step never fails for what a sender wrote.

pub mod parse;
mod rfc3164;
mod rfc5424;
pub mod time;

use crate::block::{ARENA_MAX, Block, FIELDS_MAX, Parts, selected};
use crate::entry::{Entry, Field, Kind, Slice, Space};
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::steps::{Failures, Step, StepError, Verdict};
use jiff::tz::TimeZone;
use parse::{Clock, FACILITIES, Message, SEVERITIES, Span, parse};
use std::ops::Range;

/// The fields every message may have, besides structured data.
const NAMED: usize = 7;

/// Reads syslog messages.
pub struct ParseSyslog {
    zone: TimeZone,
    names: Names,
    facilities: Vec<Slice>,
    severities: Vec<Slice>,
    spare: u8,
}

/// The fields' names among the pipeline's constants.
struct Names {
    facility: Slice,
    severity: Slice,
    host: Slice,
    app: Slice,
    procid: Slice,
    msgid: Slice,
    message: Slice,
}

impl ParseSyslog {
    /// A step that reads RFC 3164 times as of `zone`; its names go to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(zone: TimeZone, constants: &mut Constants) -> Result<Self, SetError> {
        let mut add = |text: &str| constants.intern(text.as_bytes()).ok_or(SetError::TooLarge);
        Ok(ParseSyslog {
            zone,
            names: Names {
                facility: add("facility")?,
                severity: add("severity")?,
                host: add("host")?,
                app: add("app")?,
                procid: add("procid")?,
                msgid: add("msgid")?,
                message: add("message")?,
            },
            facilities: FACILITIES.iter().map(|name| add(name)).collect::<Result<_, _>>()?,
            severities: SEVERITIES.iter().map(|name| add(name)).collect::<Result<_, _>>()?,
            spare: 0,
        })
    }

    /// Reads the entry at `index`; false if its fields do not fit the block any more.
    fn read(&self, parts: &mut Parts<'_>, index: usize, clock: &mut Clock) -> bool {
        let entry = parts.entries[index];
        let text = &parts.text[entry.offset as usize..][..entry.len as usize];
        let message = parse(text, clock);
        if parts.fields.len() + NAMED + usize::from(self.spare) > FIELDS_MAX {
            return false;
        }
        let first = parts.fields.len();
        self.add_header(parts, &message, entry.offset);
        let fits = self.add_params(parts, &message, text, entry.offset);
        let value = in_text(message.message, entry.offset);
        parts.fields.push(Field::new(self.names.message, value, Kind::Plain));
        let row = &mut parts.entries[index];
        row.fields_first = first as u32;
        row.fields_n = (parts.fields.len() - first) as u16;
        row.fields_spare = self.spare;
        let blank = Field::new(self.names.message, value, Kind::Plain);
        parts.fields.extend((0..self.spare).map(|_| blank));
        if let Some(time) = message.timestamp {
            (row.time, row.flags) = (time, row.flags | Entry::OWN_TIME);
        }
        fits
    }

    fn add_header(&self, parts: &mut Parts<'_>, message: &Message, offset: u32) {
        let names = &self.names;
        let facility = self.facilities[usize::from(message.facility)];
        let severity = self.severities[usize::from(message.severity)];
        parts.fields.push(Field::new(names.facility, facility, Kind::Plain));
        parts.fields.push(Field::new(names.severity, severity, Kind::Plain));
        let header = [
            (names.host, message.host),
            (names.app, message.app),
            (names.procid, message.procid),
            (names.msgid, message.msgid),
        ];
        for (name, span) in header {
            if let Some(span) = span {
                parts.fields.push(Field::new(name, in_text(span, offset), Kind::Plain));
            }
        }
    }

    /// Structured data: names are put together in the arena, values are resolved there if they have escapes.
    fn add_params(&self, parts: &mut Parts<'_>, message: &Message, text: &[u8], offset: u32) -> bool {
        let mut fits = true;
        for param in message.params(text) {
            let key_len = param.id.len() + 1 + param.name.len();
            let room = parts.fields.len() + 1 + usize::from(self.spare) < FIELDS_MAX
                && parts.arena.len() + key_len + param.raw.len() <= ARENA_MAX
                && key_len <= Field::KEY_MAX;
            if !room {
                fits = false;
                continue;
            }
            let at = parts.arena.len();
            parts.arena.extend_from_slice(param.id);
            parts.arena.push(b'.');
            parts.arena.extend_from_slice(param.name);
            let key = in_arena(at, key_len);
            let value = if param.escaped {
                let at = parts.arena.len();
                param.unescape_into(parts.arena);
                in_arena(at, parts.arena.len() - at)
            } else {
                // The parameter borrows from `text`, so the distance is its place there.
                let start = (param.raw.as_ptr() as usize - text.as_ptr() as usize) as u32;
                in_text(Span { start, len: param.raw.len() as u32 }, offset)
            };
            parts.fields.push(Field::new(key, value, Kind::Plain));
        }
        fits
    }
}

fn in_text(span: Span, offset: u32) -> Slice {
    Slice { space: Space::Text, offset: offset + span.start, len: span.len }
}

fn in_arena(at: usize, len: usize) -> Slice {
    Slice { space: Space::Arena, offset: at as u32, len: len as u32 }
}

impl Step for ParseSyslog {
    fn name(&self) -> &'static str {
        "parse_syslog"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let mut failures = Failures::default();
        self.run(block, index..index + 1, &mut failures);
        failures.last().map_or(Ok(Verdict::Keep), Err)
    }

    fn leave_room(&mut self, fields: usize) {
        self.spare = fields.min(u8::MAX.into()) as u8;
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        // The year and the zone of times that name neither, once per block.
        let mut clock = Clock::new(self.zone.clone(), block.time());
        let mut parts = block.parts();
        for word in range.start / 64..range.end.div_ceil(64) {
            let bits = [parts.live[word]];
            let from = word * 64;
            let span = range.start.max(from) - from..range.end.min(from + 64) - from;
            for at in selected(&bits, span) {
                if !self.read(&mut parts, from + at, &mut clock) {
                    failures.note(parts.live, from + at, StepError::NoRoom);
                }
            }
        }
    }
}
