//! RFC 3164, in the shapes that are really sent: `<PRI>Nov 23 10:00:00 host tag[pid]: text`, and much less.
//!
//! The RFC only observes, so this goes by what can be told apart. A timestamp (of the RFC, or RFC 3339 as rsyslog's
//! forward format sends it) is a timestamp if it is valid. The word behind it is the host, unless it already is a tag,
//! as `/dev/log` clients send. A word is a tag if it ends in `:` or `[pid]` or both; a bare word might as well be the
//! first of the text, and stays there. What is not recognised is text, and so is everything behind it.

use memchr::memchr;

use super::parse::{Format, Message, Span};
use crate::time::{Clock, rfc3164, rfc3339};

/// Reads what follows the priority, which ended at `at`.
#[inline]
pub(super) fn parse(bytes: &[u8], pri: u8, at: usize, clock: &Clock) -> Message {
    let mut message = Message::bare(pri, Format::Rfc3164, at, bytes.len());
    let mut at = at;
    if let Some((timestamp, len)) = timestamp(&bytes[at..], clock) {
        message.timestamp = Some(timestamp);
        at += len;
        if !is_repeat_notice(&bytes[at..])
            && tag(&bytes[at..]).is_none()
            && let Some(len) = memchr(b' ', &bytes[at..]).filter(|&len| len > 0)
        {
            message.host = Some(Span::new(at, at + len));
            at += len + 1;
        }
    }
    if let Some(tag) = tag(&bytes[at..]) {
        message.app = Some(Span::new(at, at + tag.name));
        message.procid = tag.pid.map(|len| Span::new(at + tag.name + 1, at + tag.name + 1 + len));
        at += tag.end;
    }
    message.message = Span::new(at, bytes.len());
    message
}

/// Reads a line of a file that a syslog daemon wrote: the same without a priority (`RSYSLOG_TraditionalFileFormat`,
/// `RSYSLOG_FileFormat`). Nothing unless both a time and a tag are there: many a line begins with a date.
#[inline]
pub(super) fn parse_file(bytes: &[u8], pri: u8, clock: &Clock) -> Option<Message> {
    let message = parse(bytes, pri, 0, clock);
    (message.timestamp.is_some() && message.app.is_some()).then_some(message)
}

/// A timestamp and the blank behind it: its time, and the length of both.
#[inline]
fn timestamp(text: &[u8], clock: &Clock) -> Option<(i64, usize)> {
    let (timestamp, len) = if text.first()?.is_ascii_digit() {
        let len = memchr(b' ', text)?;
        (rfc3339(&text[..len])?, len)
    } else {
        let (timestamp, len) = rfc3164(text, clock)?;
        // Routers end it with a colon, and name no host.
        (timestamp, len + usize::from(text.get(len) == Some(&b':')))
    };
    (text.get(len) == Some(&b' ')).then_some((timestamp, len + 1))
}

/// syslogd's own line for lines it holds back. Its words stand where a host would, if it names none.
#[inline]
fn is_repeat_notice(text: &[u8]) -> bool {
    text.starts_with(b"last message repeated ") || text.starts_with(b"--- last message repeated ")
}

/// Lengths of the parts of a tag.
struct Tag {
    name: usize,
    /// Of what stands in the brackets, unless that is nothing.
    pid: Option<usize>,
    /// Of all of it, with the blank behind.
    end: usize,
}

/// A longer word is no tag. The RFC has 32; names of containers take more.
const TAG_MAX: usize = 128;

/// `name:`, `name[pid]:` or `name[pid]` as the first word of `text`.
#[inline]
fn tag(text: &[u8]) -> Option<Tag> {
    let (word, end) = match memchr(b' ', &text[..text.len().min(TAG_MAX + 1)]) {
        Some(len) => (&text[..len], len + 1),
        None if text.len() <= TAG_MAX => (text, text.len()),
        None => return None,
    };
    let named = word.strip_suffix(b":");
    let tag = match named.unwrap_or(word) {
        [bracketed @ .., b']'] => {
            let name = bracketed.iter().rposition(|&b| b == b'[')?;
            Tag { name, pid: Some(bracketed.len() - name - 1).filter(|&len| len > 0), end }
        }
        name => Tag { name: named.map(|_| name.len())?, pid: None, end },
    };
    (tag.name > 0).then_some(tag)
}
