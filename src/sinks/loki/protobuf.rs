//! `logproto.PushRequest` (Loki, `pkg/push/push.proto`) in the protobuf wire format, written in one pass.
//!
//! ```text
//! PushRequest { repeated Stream streams = 1; }
//! Stream      { string labels = 1; repeated Entry entries = 2; }
//! Entry       { Timestamp timestamp = 1; string line = 2; repeated Pair structured_metadata = 3; }
//! Pair        { string name = 1; string value = 2; }
//! Timestamp   { int64 seconds = 1; int32 nanos = 2; }
//! ```

use super::labels::write_selector;
use super::push::Shape;

/// A length is written before what it is the length of is known; room for this many bytes is kept for it. Three are
/// right for streams from 16 KiB to 2 MiB, so that little is moved: what is larger is rare, what is smaller is small.
const LENGTH_ROOM: usize = 3;
const NANOS: i64 = 1_000_000_000;

/// Tags: the number of a field, then 2 for what has a length, 0 for a varint.
const STREAMS: u8 = 1 << 3 | 2;
const LABELS: u8 = 1 << 3 | 2;
const ENTRIES: u8 = 2 << 3 | 2;
const TIMESTAMP: u8 = 1 << 3 | 2;
const LINE: u8 = 2 << 3 | 2;
const METADATA: u8 = 3 << 3 | 2;
const NAME: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const SECONDS: u8 = 1 << 3;
const SUBSEC: u8 = 2 << 3;

/// Writes pushes as protobuf.
#[derive(Default)]
pub(super) struct Protobuf {
    /// Where the open stream's room for its length begins.
    stream: usize,
    selector: Vec<u8>,
    text: String,
}

impl Shape for Protobuf {
    fn open(&mut self, _: &mut Vec<u8>) {}

    fn open_stream<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
        out.push(STREAMS);
        self.stream = out.len();
        out.extend_from_slice(&[0; LENGTH_ROOM]);
        self.selector.clear();
        write_selector(labels, &mut self.selector);
        write_bytes(LABELS, &self.selector, out);
    }

    fn pair(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let value = utf8(value, &mut self.text);
        out.push(METADATA);
        write_varint((bytes_len(name) + bytes_len(value)) as u64, out);
        write_bytes(NAME, name, out);
        write_bytes(VALUE, value, out);
    }

    fn entry(&mut self, time: i64, line: &[u8], shared: &[u8], own: &[u8], out: &mut Vec<u8>) {
        let line = utf8(line, &mut self.text);
        let (seconds, nanos) = (time.div_euclid(NANOS) as u64, time.rem_euclid(NANOS) as u64);
        let stamp = number_len(seconds) + number_len(nanos);
        // A timestamp is short enough for a length of one byte.
        let len = 2 + stamp + bytes_len(line) + shared.len() + own.len();
        out.push(ENTRIES);
        write_varint(len as u64, out);
        out.extend_from_slice(&[TIMESTAMP, stamp as u8]);
        write_number(SECONDS, seconds, out);
        write_number(SUBSEC, nanos, out);
        write_bytes(LINE, line, out);
        out.extend_from_slice(shared);
        out.extend_from_slice(own);
    }

    fn close_stream(&mut self, out: &mut Vec<u8>) {
        let body = self.stream + LENGTH_ROOM;
        let len = out.len() - body;
        let (digits, written) = varint(len as u64);
        // Makes the room as large as the length.
        out.splice(self.stream..body, digits[..written].iter().copied());
    }

    fn close(&mut self, _: &mut Vec<u8>) {}
}

/// The bytes as UTF-8; what is none becomes U+FFFD. A protobuf string is UTF-8, and readers refuse what is not.
fn utf8<'a>(bytes: &'a [u8], text: &'a mut String) -> &'a [u8] {
    if std::str::from_utf8(bytes).is_ok() {
        return bytes;
    }
    text.clear();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text.as_bytes()
}

/// A varint and its length.
fn varint(mut value: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut len) = ([0; 10], 0);
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        (value, len) = (value >> 7, len + 1);
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

#[inline]
fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero has one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The length of a field with `bytes`; an empty one is not written.
fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { 1 + varint_len(bytes.len() as u64) + bytes.len() }
}

fn write_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.push(tag);
        write_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}

/// The length of a field with a number; zero is not written.
fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + varint_len(number) }
}

fn write_number(tag: u8, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        out.push(tag);
        write_varint(number, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_is_as_long_as_was_said(value: u64, shift in 0..64_u32) {
            for value in [value, value >> shift, 1 << shift, (1 << shift) - 1] {
                let (bytes, len) = varint(value);
                let mut out = Vec::new();
                write_varint(value, &mut out);
                prop_assert_eq!(&out, &bytes[..len]);
                prop_assert_eq!(varint_len(value), len);
                let mut read = &out[..];
                prop_assert_eq!(prost::encoding::decode_varint(&mut read).unwrap(), value);
            }
        }

        #[test]
        fn what_is_no_text_is_made_text(bytes: Vec<u8>) {
            let lossy = String::from_utf8_lossy(&bytes).into_owned();
            let mut text = String::new();
            prop_assert_eq!(utf8(&bytes, &mut text), lossy.as_bytes());
        }
    }
}
