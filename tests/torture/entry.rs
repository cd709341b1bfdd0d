//! Numbered entries that prove themselves: whoever finds one knows whose it is, which it is, and whether it is whole.
//!
//! `RM1 RUN STREAM NUMBER KIND LENGTH PAYLOAD CHECKSUM`: the payload is derived from run, stream and number, the
//! checksum (CRC32C) covers everything before it. No byte of it is ever escaped in JSON, so an entry is found in
//! whatever it was wrapped into.

use std::fmt::{self, Display, Write};

const MARK: &[u8] = b"RM1 ";
/// Twice, so that 36 of them can be taken from anywhere in the first half.
const ALPHABET: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
/// Longest payload.
const LONGEST: usize = 60_000;

/// An ordered origin of entries: a letter for the way in and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    pub way: char,
    pub number: u32,
}

impl Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.way, self.number)
    }
}

/// What a destination is to make of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// A scripted destination refuses it.
    Poison,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Poison => "poison",
        }
    }
}

/// How long payloads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// About 200 bytes on average, one of 1,000 with 8 KB, one of 20,000 with 60 KB.
    Mixed,
    /// Up to 300 bytes: they fit a datagram.
    Short,
}

/// Which entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub stream: Stream,
    pub number: u64,
    pub kind: Kind,
}

/// Appends the entry without a newline.
pub fn write(run: u32, id: Id, sizes: Sizes, out: &mut String) {
    let hash =
        mixed(u64::from(run) << 32 ^ u64::from(id.stream.number) << 8 ^ id.stream.way as u64, id.number);
    let length = match (sizes, hash % 20_000) {
        (Sizes::Mixed, 0) => LONGEST,
        (Sizes::Mixed, rest) if rest % 1_000 == 1 => 8_000,
        _ => 80 + (hash >> 20) as usize % 180,
    };
    whole(run, id, length, hash, out);
}

fn whole(run: u32, id: Id, length: usize, hash: u64, out: &mut String) {
    let begin = out.len();
    let (stream, number, kind) = (id.stream, id.number, id.kind.name());
    write!(out, "RM1 {run:08x} {stream} {number} {kind} {length} ").expect("memory");
    let first = (hash >> 40) as usize;
    let (mut left, mut turn) = (length, 0);
    while left > 0 {
        let (start, part) = ((first + turn * 7) % 36, left.min(36));
        out.push_str(&ALPHABET[start..start + part]);
        (left, turn) = (left - part, turn + 1);
    }
    let sum = crc32c::crc32c(&out.as_bytes()[begin..]);
    write!(out, " {sum:08x}").expect("memory");
}

fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// What a record of a destination turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Whole(Id),
    /// One of this run, not as it was written.
    Corrupt,
    /// None of this run.
    Foreign,
}

/// Finds the entry in a record.
pub fn read(run: u32, record: &[u8]) -> Found {
    let Some(at) = memchr::memmem::find(record, MARK) else { return Found::Foreign };
    let text = &record[at..];
    let mut words = text.splitn(7, |byte| *byte == b' ').skip(1);
    let mut word = || std::str::from_utf8(words.next()?).ok();
    if word().is_none_or(|found| u32::from_str_radix(found, 16) != Ok(run)) {
        return Found::Foreign;
    }
    let mut parsed = || {
        let stream = word()?;
        let way = stream.chars().next()?;
        let stream = Stream { way, number: stream.get(1..)?.parse().ok()? };
        let number = word()?.parse().ok()?;
        let kind = match word()? {
            "plain" => Kind::Plain,
            "poison" => Kind::Poison,
            _ => return None,
        };
        let length: usize = word()?.parse().ok().filter(|length| *length <= LONGEST)?;
        Some((Id { stream, number, kind }, length))
    };
    let Some((id, length)) = parsed() else { return Found::Corrupt };
    let hash =
        mixed(u64::from(run) << 32 ^ u64::from(id.stream.number) << 8 ^ id.stream.way as u64, id.number);
    let mut expected = String::with_capacity(length + 100);
    whole(run, id, length, hash, &mut expected);
    if text.starts_with(expected.as_bytes()) { Found::Whole(id) } else { Found::Corrupt }
}

/// An entry proves itself, and only while it is as it was: checked before every run, as a checker that cannot fail proves
/// nothing.
pub fn self_test() {
    for number in 0..2_000 {
        let id = Id { stream: Stream { way: 'f', number: 3 }, number, kind: Kind::Plain };
        let mut text = String::from("{\"message\":\"");
        write(7, id, Sizes::Mixed, &mut text);
        text += "\"}";
        assert_eq!(read(7, text.as_bytes()), Found::Whole(id), "{text}");
        assert_eq!(read(8, text.as_bytes()), Found::Foreign);
        let middle = text.len() / 2;
        let mut broken = text.clone().into_bytes();
        broken[middle] ^= 1;
        assert_ne!(read(7, &broken), Found::Whole(id), "{text}");
        assert_eq!(read(7, &text.as_bytes()[..text.len() - 4]), Found::Corrupt, "{text}");
    }
}
