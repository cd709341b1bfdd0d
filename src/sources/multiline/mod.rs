//! Several lines that are one event: stack traces, statements, dumps.
//!
//! [`Rules`] say of each line whether it belongs to the event before it. What they know of the event so far is in an
//! [`Open`], a few bytes that live with the stream; the text itself stays where it is. Whatever opens an event is
//! judged by its own line alone, so that reading again from where an event began gives the same events.
//!
//! An event is bounded: by lines, by bytes and by the time nothing is added to it. At a limit it goes out as it is, and
//! the next line opens another, whatever it looks like: nothing is lost to a limit.
//! Not here: finding lines (see [`framer`] for streams and `file::events` for files).

pub mod config;
pub mod framer;
pub mod pattern;
pub mod preset;

use pattern::Pattern;
use preset::{Preset, State};
use std::time::Duration;

/// How many timeouts an event may be open in all, though it grows all the time.
pub const TIMEOUTS_MAX: u32 = 10;

/// How lines that belong together are known.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Lines that match begin an event, all others belong to the one before.
    Start(Pattern),
    /// Lines that match belong to the event before.
    Continue(Pattern),
    /// Lines that match end their event.
    End(Pattern),
    /// As the stack traces of a language are written.
    Preset(Preset),
}

/// The rules of one source.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What belongs together.
    pub rule: Rule,
    /// Most lines of one event.
    pub max_lines: usize,
    /// Most bytes of one event with the newlines between its lines; a single line may be longer.
    pub max_bytes: usize,
    /// How long an event waits for its next line.
    pub timeout: Duration,
}

/// The event that may go on, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// Its lines so far, each with its newline.
    bytes: usize,
    lines: usize,
    state: State,
}

impl Open {
    /// Bytes of its lines so far with their newlines; zero if no event is open.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a line came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It belongs to the open event, or opens one.
    Grows,
    /// It does, and is the last one.
    EndsWith,
    /// The open event ended before it. The line is not taken yet.
    EndsBefore,
}

impl Rules {
    /// Decides about the next line, given without its newline. When an event has ended `open` is to be made anew.
    #[inline]
    pub fn take(&self, open: &mut Open, line: &[u8]) -> Joined {
        // Whoever writes CRLF means the same lines.
        let shown = line.strip_suffix(b"\r").unwrap_or(line);
        if open.bytes == 0 {
            if let Rule::Preset(preset) = self.rule {
                open.state = preset.open(shown);
            }
        } else if self.is_too_much(open, line.len()) || !self.continues(open, shown) {
            return Joined::EndsBefore;
        }
        open.bytes += line.len() + 1;
        open.lines += 1;
        let ends = matches!(&self.rule, Rule::End(pattern) if pattern.is_match(shown));
        match ends || open.lines >= self.max_lines || open.bytes > self.max_bytes {
            true => Joined::EndsWith,
            false => Joined::Grows,
        }
    }

    /// Whether a line of `len` bytes or more has no room in the open event, so that this has ended before it.
    #[inline]
    pub fn is_too_much(&self, open: &Open, len: usize) -> bool {
        open.bytes > 0 && open.bytes + len > self.max_bytes
    }

    #[inline]
    fn continues(&self, open: &mut Open, line: &[u8]) -> bool {
        match &self.rule {
            Rule::Start(pattern) => !pattern.is_match(line),
            Rule::Continue(pattern) => pattern.is_match(line),
            Rule::End(_) => true,
            Rule::Preset(preset) => match preset.go_on(open.state, line) {
                Some(state) => {
                    open.state = state;
                    true
                }
                None => false,
            },
        }
    }
}

// Shared with the fuzz target.
#[cfg(test)]
#[path = "../../../fuzz/src/oracle_multiline.rs"]
pub(crate) mod oracle;

#[cfg(test)]
mod tests;
