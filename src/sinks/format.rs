//! How an entry is written: raw, text, JSON or logfmt.
//!
//! Every entry ends in one newline. In all but `raw` that is the only one: what an entry says cannot begin a line
//! of its own or speak to a terminal. `raw` keeps the bytes as they came, but for one thing: a newline inside a message
//! that was framed by something else (octet-counted syslog, datagrams: [`Entry::NEWLINES`]) is written as `\n`, so that
//! nobody can slip in a line that another seems to have said. Lines that we put together ourselves stay lines.
//!
//! Entries are appended to a buffer of the caller's; nothing is allocated per entry.

mod escape;
mod json;
mod logfmt;
mod text;
mod timestamp;

use crate::block::Block;
use crate::block::EntryView;
use crate::entry::Entry;
use crate::labels::Stream;
use std::iter::Peekable;
use std::sync::Arc;
use timestamp::Timestamps;
pub(super) use timestamp::civil;

/// The shape entries are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The entry's text, byte for byte.
    #[default]
    Raw,
    /// For people: time, source, origin, labels, text, fields; control characters escaped.
    Text,
    /// For programs: one JSON object with `time`, `source`, `origin`, `labels`, `message` and `fields`.
    Json,
    /// For programs: `name=value` words of the same, the message as `msg`.
    Logfmt,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::Raw, Format::Text, Format::Json, Format::Logfmt];

    /// Its word in the config.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Text => "text",
            Format::Json => "json",
            Format::Logfmt => "logfmt",
        }
    }
}

/// Writes entries in one format, and remembers what many of them share: the second they were said in, their stream.
pub struct Encoder {
    format: Format,
    times: Timestamps,
    /// The stream that `head` speaks of; held, so that no other stream can take its address.
    stream: Option<Arc<Stream>>,
    /// What every entry of that stream has between its time and its text.
    head: Vec<u8>,
}

impl Encoder {
    /// An encoder for `format`.
    pub fn new(format: Format) -> Self {
        Encoder { format, times: Timestamps::new(), stream: None, head: Vec::new() }
    }

    /// The format it writes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Appends the entries at `places` of `block`, all of `stream`, to `out`.
    pub fn encode(
        &mut self,
        block: &Block,
        stream: &Arc<Stream>,
        places: impl Iterator<Item = usize>,
        out: &mut Vec<u8>,
    ) {
        if self.format == Format::Raw {
            for span in raw_spans(block, places) {
                span.copy_to(out);
            }
            return;
        }
        self.meet(stream);
        for place in places {
            self.encode_one(block.view(place), out);
        }
    }

    /// Appends one entry of the stream it met last.
    fn encode_one(&mut self, entry: EntryView<'_>, out: &mut Vec<u8>) {
        match self.format {
            Format::Raw => {
                out.extend_from_slice(entry.text());
                out.push(b'\n');
            }
            Format::Text => text::write(entry, &mut self.times, &self.head, out),
            Format::Json => json::write(entry, &mut self.times, &self.head, out),
            Format::Logfmt => logfmt::write(entry, &mut self.times, &self.head, out),
        }
    }

    fn meet(&mut self, stream: &Arc<Stream>) {
        if self.stream.as_ref().is_some_and(|known| Arc::ptr_eq(known, stream)) {
            return;
        }
        self.head.clear();
        match self.format {
            Format::Raw => {}
            Format::Text => text::write_head(stream, &mut self.head),
            Format::Json => json::write_head(stream, &mut self.head),
            Format::Logfmt => logfmt::write_head(stream, &mut self.head),
        }
        self.stream = Some(Arc::clone(stream));
    }
}

/// Appends `bytes` as the inside of a JSON string; what is no UTF-8 becomes U+FFFD.
pub(super) fn write_json_text(bytes: &[u8], out: &mut Vec<u8>) {
    escape::write::<escape::Json>(bytes, out);
}

/// Neighbouring entries of a block that stand in its text just as `raw` writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSpan<'a> {
    /// Their text, with the newlines between them.
    pub bytes: &'a [u8],
    /// Whether the last one's newline is among the bytes; if not, it is to be written after them.
    pub ended: bool,
    /// Whether newlines among the bytes are the sender's own, and to be escaped.
    pub escape: bool,
}

impl RawSpan<'_> {
    /// Appends what `raw` writes for it.
    pub fn copy_to(self, out: &mut Vec<u8>) {
        match self.escape {
            true => escape_newlines(self.bytes, out),
            false => out.extend_from_slice(self.bytes),
        }
        if !self.ended {
            out.push(b'\n');
        }
    }
}

#[cold]
fn escape_newlines(bytes: &[u8], out: &mut Vec<u8>) {
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            out.extend_from_slice(br"\n");
        }
        out.extend_from_slice(line);
    }
}

/// The entries at `places` of `block` in as few spans as possible, so that they can be written without being copied.
pub fn raw_spans<'a>(
    block: &'a Block,
    places: impl Iterator<Item = usize> + 'a,
) -> impl Iterator<Item = RawSpan<'a>> + 'a {
    RawSpans { block, places: places.peekable() }
}

struct RawSpans<'a, P: Iterator<Item = usize>> {
    block: &'a Block,
    places: Peekable<P>,
}

impl<'a, P: Iterator<Item = usize>> Iterator for RawSpans<'a, P> {
    type Item = RawSpan<'a>;

    fn next(&mut self) -> Option<RawSpan<'a>> {
        let (text, entries) = (self.block.text(), self.block.entries());
        let place = self.places.next()?;
        if self.block.is_replaced(place) {
            let escape = entries[place].flags & Entry::NEWLINES != 0;
            return Some(RawSpan {
                bytes: self.block.bytes(self.block.text_of(place)),
                ended: false,
                escape,
            });
        }
        let first = &entries[place];
        let start = first.offset as usize;
        let mut end = start + first.len as usize;
        if first.flags & Entry::NEWLINES != 0 {
            return Some(RawSpan { bytes: &text[start..end], ended: false, escape: true });
        }
        loop {
            // Whoever the byte belongs to (a frame's end, the next entry's first): it is the newline we would write.
            if text.get(end) != Some(&b'\n') {
                return Some(RawSpan { bytes: &text[start..end], ended: false, escape: false });
            }
            let follows = |place: &usize| {
                let next = &entries[*place];
                next.offset as usize == end + 1
                    && next.flags & Entry::NEWLINES == 0
                    && !self.block.is_replaced(*place)
            };
            match self.places.next_if(follows) {
                Some(place) => end += 1 + entries[place].len as usize,
                None => return Some(RawSpan { bytes: &text[start..=end], ended: true, escape: false }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::sinks::testing::{block_of, stream};
    use proptest::prelude::*;

    fn naive(block: &Block, places: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for place in places {
            let text = block.view(*place).text();
            match block.entries()[*place].flags & Entry::NEWLINES != 0 {
                true => out.extend(text.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&br"\n"[..])),
                false => out.extend_from_slice(text),
            }
            out.push(b'\n');
        }
        out
    }

    /// A block whose text is `text` and whose entries are `(offset, len)`.
    fn block_at(text: &[u8], entries: &[(u32, u32)]) -> Block {
        let mut block = Block::new(text.len().max(1));
        block.begin_run(&stream("s", "o", &[]));
        block.append(text).unwrap();
        for (offset, len) in entries {
            block.push(Entry::at(*offset, *len));
        }
        block.reset_side();
        block
    }

    #[test]
    fn spans_write_what_the_naive_encoder_writes_for_every_selection_of_every_framing() {
        // Every text of up to five bytes over { x, newline }, every cut of it into entries with a gap of 0 to 2 bytes.
        for len in 0..=5_usize {
            for bits in 0..1_u32 << len {
                let text: Vec<u8> =
                    (0..len).map(|at| if bits >> at & 1 == 1 { b'\n' } else { b'x' }).collect();
                for cut in 0..=len {
                    for gap in 0..=2.min(len - cut) {
                        let second = cut + gap;
                        for end in second..=len {
                            let entries = [
                                (0, cut as u32),
                                (second as u32, (end - second) as u32),
                                (end as u32, (len - end) as u32),
                            ];
                            for chosen in 0..64_usize {
                                let mut block = block_at(&text, &entries);
                                for (at, entry) in block.parts().entries.iter_mut().enumerate() {
                                    entry.flags =
                                        if chosen >> (3 + at) & 1 == 1 { Entry::NEWLINES } else { 0 };
                                }
                                let places: Vec<_> = (0..3).filter(|at| chosen >> at & 1 == 1).collect();
                                let mut out = Vec::new();
                                raw_spans(&block, places.iter().copied())
                                    .for_each(|span| span.copy_to(&mut out));
                                assert_eq!(out, naive(&block, &places), "{text:?} {entries:?} {places:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_that_holds_newlines_is_one_line() {
        let mut block = block_at(b"a\nb\nplain\n\nlast", &[(0, 3), (4, 5), (10, 5)]);
        for place in [0, 2] {
            block.parts().entries[place].flags = Entry::NEWLINES;
        }
        let mut out = Vec::new();
        let stream = block.stream_of(0).clone();
        Encoder::new(Format::Raw).encode(&block, &stream, 0..3, &mut out);
        assert_eq!(out, b"a\\nb\nplain\n\\nlast\n");
    }

    #[test]
    fn lines_as_they_were_read_are_one_span() {
        let block = block_at(b"one\ntwo\n\nfour\n", &[(0, 3), (4, 3), (8, 0), (9, 4)]);
        let spans: Vec<_> = raw_spans(&block, 0..4).collect();
        assert_eq!(spans, [RawSpan { bytes: block.text(), ended: true, escape: false }]);
        let spans: Vec<_> = raw_spans(&block, [0, 1, 3].into_iter()).map(|span| span.bytes).collect();
        assert_eq!(spans, [&b"one\ntwo\n"[..], b"four\n"]);
        let last = block_at(b"one\ntwo", &[(0, 3), (4, 3)]);
        let spans: Vec<_> = raw_spans(&last, 0..2).collect();
        assert_eq!(spans, [RawSpan { bytes: b"one\ntwo", ended: false, escape: false }]);
    }

    #[test]
    fn a_text_that_was_replaced_is_what_every_format_writes() {
        let stream = stream("s", "o", &[]);
        let mut block = block_of(&stream, &["one", "two", "three"]);
        block.replace_text(1, b"***").unwrap();
        for (format, times) in [(Format::Raw, 0), (Format::Text, 3), (Format::Json, 3)] {
            let mut out = Vec::new();
            Encoder::new(format).encode(&block, &stream, 0..3, &mut out);
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains("***") && !out.contains("two"), "{out}");
            assert_eq!(out.matches("1970-01-01").count(), times);
            if format == Format::Raw {
                assert_eq!(out, "one\n***\nthree\n");
            }
        }
    }

    proptest! {
        #[test]
        fn one_event_in_is_one_line_out_and_says_nothing_to_a_terminal(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..20),
            origin in "\\PC*|[\\x00-\\x1f]{1,4}",
        ) {
            let block = block_of(&stream("s", &origin, &[("l\n", "v\u{9b}")]), &messages);
            for format in [Format::Text, Format::Json, Format::Logfmt] {
                let mut out = Vec::new();
                let stream = block.stream_of(0).clone();
                Encoder::new(format).encode(&block, &stream, 0..messages.len(), &mut out);
                let out = String::from_utf8(out).expect("the output is UTF-8");
                prop_assert_eq!(out.matches('\n').count(), messages.len());
                prop_assert!(out.ends_with('\n'));
                prop_assert!(out.chars().all(|letter| letter == '\n' || !letter.is_control()));
            }
        }
    }
}
