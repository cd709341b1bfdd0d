//! nginx's error log to fields.
//!
//! ```text
//! 2026/11/23 10:00:00 [error] 1234#5678: *99 open() "/x" failed, client: 192.0.2.1, server: a, request: "GET /x HTTP/1.1"
//! ```
//!
//! Fields: `level`, `pid`, `tid`, `connection` if there is one, `message`, and the parts of the tail by their names:
//! `client`, `server`, `request`, `subrequest`, `upstream`, `host`, `referrer`. The entry's time becomes the line's, which
//! is local.

use super::rows::{Parser, Rows};
use crate::entry::{Kind, Slice};
use crate::steps::StepError;
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::time::{Clock, slashed};
use jiff::tz::TimeZone;
use memchr::{memchr, memmem};

/// The parts of the tail, in the order nginx writes them (`ngx_http_log_error`).
const TAIL: [&str; 7] = ["client", "server", "request", "subrequest", "upstream", "host", "referrer"];
/// What the tail begins with.
const CLIENT: &[u8] = b", client: ";

/// Reads error logs.
pub struct NginxError {
    zone: TimeZone,
    tail: Vec<(&'static str, Slice)>,
    level: Slice,
    pid: Slice,
    tid: Slice,
    connection: Slice,
    message: Slice,
}

impl NginxError {
    /// A parser of times in `zone`; its names go to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(zone: TimeZone, constants: &mut Constants) -> Result<Self, SetError> {
        let mut add = |name: &str| constants.intern(name.as_bytes()).ok_or(SetError::TooLarge);
        Ok(NginxError {
            zone,
            tail: TAIL.iter().map(|name| Ok((*name, add(name)?))).collect::<Result<_, _>>()?,
            level: add("level")?,
            pid: add("pid")?,
            tid: add("tid")?,
            connection: add("connection")?,
            message: add("message")?,
        })
    }
}

const NO_HEAD: StepError =
    StepError::Malformed("no nginx error log: DATE TIME [LEVEL] PID#TID: at its beginning");

/// How long the date and the time are.
const TIME: usize = 19;

impl Parser for NginxError {
    type Scratch = Clock;

    fn scratch(&self, now: i64) -> Clock {
        Clock::new(self.zone.clone(), now)
    }

    #[inline]
    fn read(&self, text: &[u8], rows: &mut Rows<'_>, clock: &mut Clock) -> Result<(), StepError> {
        let time = text.get(..TIME).and_then(|time| slashed(time, clock)).ok_or(NO_HEAD)?;
        let level = TIME + 2;
        let rest = text[TIME..].strip_prefix(b" [").ok_or(NO_HEAD)?;
        let level_end = level + memchr(b']', rest).ok_or(NO_HEAD)?;
        let pid = level_end + 2;
        let pid_end = number_at(text, pid).filter(|_| text[level_end + 1] == b' ').ok_or(NO_HEAD)?;
        let tid = pid_end + 1;
        let tid_end = number_at(text, tid).filter(|_| text[pid_end] == b'#').ok_or(NO_HEAD)?;
        let mut at = tid_end + 2;
        if text.get(tid_end..at) != Some(b": ") {
            return Err(NO_HEAD);
        }
        rows.set_time(time);
        rows.push(self.level, rows.slice(level, level_end), Kind::Plain)?;
        rows.push_text(self.pid, text, pid, pid_end)?;
        rows.push_text(self.tid, text, tid, tid_end)?;
        if text.get(at) == Some(&b'*')
            && let Some(end) = number_at(text, at + 1).filter(|end| text.get(*end) == Some(&b' '))
        {
            rows.push_text(self.connection, text, at + 1, end)?;
            at = end + 1;
        }
        let tail = memmem::rfind(&text[at..], CLIENT).map_or(text.len(), |len| at + len);
        rows.push(self.message, rows.slice(at, tail), Kind::Plain)?;
        self.tail(text, tail, rows)
    }
}

impl NginxError {
    /// The parts behind the message, as far as they are what nginx writes.
    fn tail(&self, text: &[u8], mut at: usize, rows: &mut Rows<'_>) -> Result<(), StepError> {
        let mut names = self.tail.iter();
        while let Some(rest) = text[at..].strip_prefix(b", ") {
            let Some((name, key)) = names.find(|(name, _)| {
                rest.strip_prefix(name.as_bytes()).is_some_and(|behind| behind.starts_with(b": "))
            }) else {
                break;
            };
            let mut start = at + 2 + name.len() + 2;
            let (end, behind) = match text[start..].strip_prefix(b"\"") {
                Some(quoted) => {
                    start += 1;
                    // A request may hold anything: its quote closes where the next part, or nothing, follows.
                    let end = memmem::find(quoted, b"\", ").unwrap_or(quoted.len().saturating_sub(1));
                    (start + end, (start + end + 1).min(text.len()))
                }
                None => {
                    let len = memmem::find(&text[start..], b", ").unwrap_or(text.len() - start);
                    (start + len, start + len)
                }
            };
            rows.push(*key, rows.slice(start, end), Kind::Plain)?;
            at = behind;
        }
        Ok(())
    }
}

/// Where the digits at `at` end, if there are some and something behind them.
#[inline]
fn number_at(text: &[u8], at: usize) -> Option<usize> {
    let len = text.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (len > 0 && at + len < text.len()).then_some(at + len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Step;
    use crate::steps::parse::input::Input;
    use crate::steps::parse::rows::Parse;
    use crate::steps::parse::rows::tests::{block_of, shown};
    use proptest::prelude::*;

    fn parsed(lines: &[&[u8]]) -> (crate::block::Block, usize) {
        let mut constants = Constants::default();
        let zone = TimeZone::posix("CET-1").unwrap();
        let step = Parse::new(NginxError::new(zone, &mut constants).unwrap(), Input::Message);
        let mut block = block_of(lines, constants);
        let errors = step.run_alone(&mut block, 0..lines.len());
        (block, errors)
    }

    #[test]
    fn error_logs_are_read_with_their_tail() {
        let (block, errors) = parsed(&[
            br#"2026/11/23 10:00:00 [error] 12#34: *99 open() "/x" failed (2: No such file or directory), client: 192.0.2.1, server: a.b, request: "GET /x, y HTTP/1.1", upstream: "http://u/", host: "h", referrer: "http://r/""#,
            b"2026/11/23 10:00:00 [notice] 1#1: start worker processes",
            b"2026/11/23 10:00:00 [info] 1#1: *5 closed, client: ::1, server: 0.0.0.0:80",
            b"2026/11/23 10:00:00 [info] 1#1: *x, client: \"",
        ]);
        assert_eq!(errors, 0);
        assert_eq!(
            shown(&block, 0),
            [
                "level=error:Plain",
                "pid=12:Number",
                "tid=34:Number",
                "connection=99:Number",
                "message=open() \"/x\" failed (2: No such file or directory):Plain",
                "client=192.0.2.1:Plain",
                "server=a.b:Plain",
                "request=GET /x, y HTTP/1.1:Plain",
                "upstream=http://u/:Plain",
                "host=h:Plain",
                "referrer=http://r/:Plain",
            ]
        );
        assert_eq!(block.entries()[0].time, 1_795_424_400_000_000_000);
        assert_eq!(shown(&block, 1)[3], "message=start worker processes:Plain");
        assert_eq!(
            shown(&block, 2)[4..],
            ["message=closed:Plain", "client=::1:Plain", "server=0.0.0.0:80:Plain"][..1]
                .iter()
                .chain(&["client=::1:Plain", "server=0.0.0.0:80:Plain"])
                .copied()
                .collect::<Vec<_>>()[..]
        );
        assert_eq!(shown(&block, 3)[3..], ["message=*x:Plain", "client=:Plain"]);
    }

    #[test]
    fn what_is_no_error_log_is_refused() {
        let lines: [&[u8]; 8] = [
            b"",
            b"2026/11/23 10:00:00",
            b"2026/11/23 10:00:00 [error",
            b"2026/11/23 10:00:00 [error] x#1: m",
            b"2026/11/23 10:00:00 [error] 1#1",
            b"2026/11/23 10:00:00 [error]1#1: m",
            b"2026/13/23 10:00:00 [error] 1#1: m",
            b"2026/11/23 10:00:00 [error] 1#1:m",
        ];
        assert_eq!(parsed(&lines).1, lines.len());
    }

    proptest! {
        #[test]
        fn no_line_is_read_beyond_its_bounds(tail in "[\\[\\]0-9#:* ,\"a]{0,12}((, (client|server|request|host): ?\"?[a\", ]{0,4}\"?){0,3})?") {
            parsed(&[format!("2026/11/23 10:00:00{tail}").as_bytes(), format!("2026/11/23 10:00:00 [e] 1#2: {tail}").as_bytes()]);
        }
    }
}
