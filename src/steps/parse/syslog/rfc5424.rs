//! RFC 5424: `<PRI>1 TIMESTAMP HOST APP PROCID MSGID SD MSG`, and the structured data in it.
//!
//! The header must be complete; beyond that this is lenient where nothing is lost by it. Lengths and character sets
//! of names are not enforced, a timestamp that is not valid is passed over, and structured data that is not well formed
//! (or is missing, as some senders have it) is the beginning of the message text.

use memchr::{memchr, memchr2};

use super::parse::{Format, Message, Span};
use crate::time::rfc3339;

/// Reads what follows the priority, which ended at `at`; `None` if that is not a complete header of version 1.
#[inline]
pub(super) fn parse(bytes: &[u8], pri: u8, at: usize) -> Option<Message> {
    if !bytes[at..].starts_with(b"1 ") {
        return None;
    }
    let mut at = at + 2;
    let timestamp = token(bytes, &mut at)?;
    let host = token(bytes, &mut at)?;
    let app = token(bytes, &mut at)?;
    let procid = token(bytes, &mut at)?;
    let msgid = token(bytes, &mut at)?;
    let data_end = at + structured_data_len(&bytes[at..]);
    let text = match bytes[at..data_end] {
        // Not well formed, or not there.
        [] => at,
        _ => text_start(bytes, data_end),
    };
    let given = |span: Span| (span.of(bytes) != b"-").then_some(span);
    Some(Message {
        timestamp: rfc3339(timestamp.of(bytes)),
        host: given(host),
        app: given(app),
        procid: given(procid),
        msgid: given(msgid),
        structured_data: if bytes[at..].starts_with(b"[") {
            Span::new(at, data_end)
        } else {
            Span::new(at, at)
        },
        ..Message::bare(pri, Format::Rfc5424, text, bytes.len())
    })
}

/// The bytes up to the next blank, at least one, and steps over that blank.
#[inline]
fn token(bytes: &[u8], at: &mut usize) -> Option<Span> {
    let len = memchr(b' ', &bytes[*at..]).filter(|&len| len > 0)?;
    let start = *at;
    *at += len + 1;
    Some(Span::new(start, start + len))
}

/// Where the text begins behind structured data that ended at `at`: over the blank and the byte order mark.
#[inline]
fn text_start(bytes: &[u8], at: usize) -> usize {
    let blank = usize::from(at < bytes.len());
    let mark = if bytes[at + blank..].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    at + blank + mark
}

/// Length of the STRUCTURED-DATA at the start of `bytes`, `-` or elements; zero if what stands there is none, or is
/// not followed by a blank or the end.
#[inline]
fn structured_data_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    if let [b'-', behind @ ..] = rest {
        rest = behind;
    } else {
        while let [b'[', element @ ..] = rest {
            let Some(behind) = skip_element(element) else { return 0 };
            rest = behind;
        }
    }
    if rest.first().is_none_or(|&b| b == b' ') { bytes.len() - rest.len() } else { 0 }
}

/// What follows an element whose `[` has been read: `id *(SP name="value") ]`.
#[inline]
fn skip_element(element: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = name(element)?;
    loop {
        match rest {
            [b']', behind @ ..] => return Some(behind),
            [b' ', param_text @ ..] => (_, _, rest) = param(param_text)?,
            _ => return None,
        }
    }
}

/// `name="value"`: the name, the value as it is written, and what follows.
#[inline]
fn param(text: &[u8]) -> Option<(&[u8], Value<'_>, &[u8])> {
    let (name, rest) = name(text)?;
    let rest = rest.strip_prefix(b"=\"")?;
    let (mut end, mut escaped) = (0, false);
    loop {
        end += memchr2(b'"', b'\\', &rest[end..])?;
        if rest[end] == b'"' {
            return Some((name, Value { raw: &rest[..end], escaped }, &rest[end + 1..]));
        }
        // Whatever stands behind the backslash, a quote above all, ends nothing.
        escaped = true;
        end += 2;
        if end > rest.len() {
            return None;
        }
    }
}

struct Value<'m> {
    raw: &'m [u8],
    escaped: bool,
}

/// An SD-NAME, at least one byte, and what follows. RFC 5424, section 6.3.2, keeps `=`, blank, `]` and `"` out of it.
#[inline]
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = text.iter().position(|b| matches!(b, b'=' | b' ' | b']' | b'"'))?;
    (len > 0).then(|| text.split_at(len))
}

/// One SD-PARAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'m> {
    /// The SD-ID of its element, like `origin` or `example@32473`.
    pub id: &'m [u8],
    /// Its name.
    pub name: &'m [u8],
    /// Its value as written, between the quotes.
    pub raw: &'m [u8],
    /// Whether `raw` has backslashes in it; if not, it is the value.
    pub escaped: bool,
}

impl Param<'_> {
    /// Appends the value to `out`. A backslash before `"`, `\` or `]` is taken away; before anything else it is part
    /// of the value (RFC 5424, section 6.3.3).
    pub fn unescape_into(&self, out: &mut Vec<u8>) {
        let mut raw = self.raw;
        while let Some(at) = memchr(b'\\', raw) {
            let taken = matches!(raw.get(at + 1), Some(b'"' | b'\\' | b']'));
            out.extend_from_slice(if taken { &raw[..at] } else { &raw[..=at] });
            // The byte behind goes out here, lest an escaped backslash be read as the start of another escape.
            out.extend(raw.get(at + 1));
            raw = raw.get(at + 2..).unwrap_or(&[]);
        }
        out.extend_from_slice(raw);
    }
}

/// The parameters of structured data, element by element; elements without any do not show. See
/// [`Message::params`].
#[derive(Debug, Clone)]
pub struct Params<'m> {
    id: &'m [u8],
    rest: &'m [u8],
}

impl<'m> Params<'m> {
    /// `elements` must have been found well formed; what is not ends the iteration.
    pub(super) fn new(elements: &'m [u8]) -> Self {
        Self { id: &[], rest: elements }
    }
}

impl<'m> Iterator for Params<'m> {
    type Item = Param<'m>;

    #[inline]
    fn next(&mut self) -> Option<Param<'m>> {
        loop {
            match self.rest {
                [b'[', element @ ..] => (self.id, self.rest) = name(element)?,
                [b']', behind @ ..] => self.rest = behind,
                [b' ', text @ ..] => {
                    let (name, Value { raw, escaped }, rest) = param(text)?;
                    self.rest = rest;
                    return Some(Param { id: self.id, name, raw, escaped });
                }
                _ => return None,
            }
        }
    }
}
