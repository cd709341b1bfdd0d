//! Syslog messages to fields and times: the first step of every `syslog` source, and a `parse` format.
//!
//! Fields: `facility` and `severity` by name, `host`, `app`, `procid`, `msgid` where the message has them, structured
//! data as `SD-ID.NAME`, and `message`, the text behind the header. The entry's time becomes the message's own, if it
//! has one that can be read. A message without a priority is `user`, `notice` (RFC 3164 4.3.3); one that is neither RFC 5424
//! nor RFC 3164 is all `message`, so this step never fails for what a sender wrote.

pub mod parse;
mod rfc3164;
mod rfc5424;

use super::rows::{Parser, Rows};
use crate::entry::{Field, Kind, Slice};
use crate::steps::StepError;
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use jiff::tz::TimeZone;
use parse::{Clock, FACILITIES, Message, SEVERITIES, Span, parse};

/// Reads syslog messages.
pub struct Syslog {
    zone: TimeZone,
    names: Names,
    facilities: Vec<Slice>,
    severities: Vec<Slice>,
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

impl Syslog {
    /// A parser of RFC 3164 times as of `zone`; its names go to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(zone: TimeZone, constants: &mut Constants) -> Result<Self, SetError> {
        let mut add = |text: &str| constants.intern(text.as_bytes()).ok_or(SetError::TooLarge);
        Ok(Syslog {
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
        })
    }

    fn header(&self, message: &Message, rows: &mut Rows<'_>) -> Result<(), StepError> {
        let names = &self.names;
        let facility = self.facilities[usize::from(message.facility)];
        let severity = self.severities[usize::from(message.severity)];
        rows.push(names.facility, facility, Kind::Plain)?;
        rows.push(names.severity, severity, Kind::Plain)?;
        let header = [
            (names.host, message.host),
            (names.app, message.app),
            (names.procid, message.procid),
            (names.msgid, message.msgid),
        ];
        for (name, span) in header {
            if let Some(span) = span {
                rows.push(name, in_text(span, rows), Kind::Plain)?;
            }
        }
        Ok(())
    }

    /// Structured data: names are put together in the arena, values are resolved there if they have escapes.
    fn params(&self, message: &Message, text: &[u8], rows: &mut Rows<'_>) -> Result<(), StepError> {
        for param in message.params(text) {
            let key_len = param.id.len() + 1 + param.name.len();
            // One row is for the message.
            if key_len > Field::KEY_MAX || rows.room() <= 1 {
                rows.note(StepError::NoRoom);
                continue;
            }
            let key = rows.store_with(key_len, |arena| {
                arena.extend_from_slice(param.id);
                arena.push(b'.');
                arena.extend_from_slice(param.name);
            })?;
            let value = if param.escaped {
                rows.store_with(param.raw.len(), |arena| param.unescape_into(arena))?
            } else {
                // The parameter borrows from `text`, so the distance is its place there.
                let start = param.raw.as_ptr() as usize - text.as_ptr() as usize;
                rows.slice(start, start + param.raw.len())
            };
            rows.push(key, value, Kind::Plain)?;
        }
        Ok(())
    }
}

fn in_text(span: Span, rows: &Rows<'_>) -> Slice {
    rows.slice(span.start as usize, (span.start + span.len) as usize)
}

impl Parser for Syslog {
    /// The year and the zone of times that name neither, once per block.
    type Scratch = Clock;

    fn scratch(&self, now: i64) -> Clock {
        Clock::new(self.zone.clone(), now)
    }

    #[inline]
    fn read(&self, text: &[u8], rows: &mut Rows<'_>, clock: &mut Clock) -> Result<(), StepError> {
        let message = parse(text, clock);
        self.header(&message, rows)?;
        if let Some(time) = message.timestamp {
            rows.set_time(time);
        }
        // What of the structured data does not fit is missing; the message is there.
        if let Err(error) = self.params(&message, text, rows) {
            rows.note(error);
        }
        rows.push(self.names.message, in_text(message.message, rows), Kind::Plain)
    }
}
