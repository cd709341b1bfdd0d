//! A dead letter by itself: everything that is known of one refused entry, and the bytes it is on disk.
//!
//! Layout, little-endian, version 1: `version u8 · reason u8 · flags u8 · status u16 · attempts u32 · retries u32 ·
//! first_failed_ms u64 · dead_ms u64 · next_try_ms u64 · sink s16 · why s16`, then the entry: `source s16 ·
//! source_type s16 · origin s32 · labels u16 × (name s16, value s32) · time i64 · entry_flags u8 · received b32 ·
//! replaced b32 (if flags has REPLACED) · fields u32 × (key b16, kind u8, value b32)`. `sN` is UTF-8 text and `bN` bytes
//! behind a length of N bits. What decodes encodes to the same bytes; anything else is refused.

use super::bytes::{Bytes, Malformed, put};
use crate::block::{EntryView, FieldView};
use crate::delivery::letters::{Letter, LetterReason};
use crate::entry::{Entry, Field, Kind};
use crate::labels::Labels;
use std::sync::Arc;

/// The version this writes, and the only one it reads.
pub const VERSION: u8 = 1;
/// Most bytes of an error text that are kept.
pub const WHY_MAX: usize = 512;
/// The letter has a status.
const STATUS: u8 = 1;
/// A step replaced the text.
const REPLACED: u8 = 2;
/// In a field's kind: its key has JSON escapes.
const KEY_ESCAPED: u8 = 0x80;
const ENTRY_FLAGS: u8 = Entry::CUT | Entry::OWN_TIME | Entry::NEWLINES;
const KINDS: [Kind; 6] = [Kind::Plain, Kind::Escaped, Kind::Number, Kind::Bool, Kind::Null, Kind::Json];

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why it is one.
    pub reason: LetterReason,
    /// The status code of the last answer, if there was one.
    pub status: Option<u16>,
    /// How many attempts were made before it became one.
    pub attempts: u32,
    /// How often it was given again since, by itself or by hand.
    pub retries: u32,
    /// When the first attempt failed, in milliseconds since 1970-01-01 UTC, as all times here.
    pub first_failed_ms: u64,
    /// When it became a dead letter; the last time, if it was given again.
    pub dead_ms: u64,
    /// When it is tried again by itself; 0: never.
    pub next_try_ms: u64,
    /// The sink that refused it; empty where a step did.
    pub sink: String,
    /// What happened, in words.
    pub why: String,
    /// The entry.
    pub entry: KeptEntry,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEntry {
    /// The name of its source.
    pub source: Arc<str>,
    /// The type of its source.
    pub source_type: String,
    /// What its stream is called: a path, a peer's address.
    pub origin: String,
    /// The labels of its stream.
    pub labels: Labels,
    /// When it was said, in nanoseconds since 1970-01-01 UTC.
    pub time: i64,
    /// See [`Entry::CUT`] and its kin.
    pub flags: u8,
    /// Its text as it was received.
    pub received: Vec<u8>,
    /// What a step put in its place.
    pub replaced: Option<Vec<u8>>,
    /// Its fields.
    pub fields: Vec<KeptField>,
}

/// A field as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptField {
    /// Its name, as written.
    pub key: Vec<u8>,
    /// Whether that has JSON escapes.
    pub key_escaped: bool,
    /// How its value is to be read.
    pub kind: Kind,
    /// Its value, as written.
    pub value: Vec<u8>,
}

impl KeptEntry {
    /// A copy of the entry.
    pub fn of(entry: EntryView<'_>) -> Self {
        let (stream, row) = (entry.stream(), entry.entry());
        let (received, now) = (entry.received(), entry.text());
        let field = |field: FieldView<'_>| KeptField {
            key: field.key().to_vec(),
            key_escaped: field.key_escaped(),
            kind: field.kind(),
            value: field.raw().to_vec(),
        };
        KeptEntry {
            source: Arc::clone(&stream.source_name),
            source_type: stream.source_type.into(),
            origin: stream.origin.clone().into(),
            labels: stream.labels.clone(),
            time: row.time,
            flags: row.flags & ENTRY_FLAGS,
            received: received.to_vec(),
            replaced: entry.is_replaced().then(|| now.to_vec()),
            fields: entry.fields().map(field).collect(),
        }
    }

    /// Its text as it is now.
    pub fn text(&self) -> &[u8] {
        self.replaced.as_deref().unwrap_or(&self.received)
    }
}

impl DeadLetter {
    /// What is kept of `letter`, which became one at `now_ms`; given again `retries` times so far.
    pub fn of(letter: &Letter<'_>, now_ms: u64) -> Self {
        let again = letter.entry.stream().again;
        DeadLetter {
            reason: letter.reason,
            status: letter.status,
            attempts: letter.attempts,
            retries: again.map_or(0, |again| again.retries),
            first_failed_ms: again.map_or(letter.first_failed_ms, |again| again.first_failed_ms),
            dead_ms: now_ms,
            next_try_ms: 0,
            sink: letter.sink.into(),
            why: sanitised(letter.why),
            entry: KeptEntry::of(letter.entry),
        }
    }

    /// Its bytes, behind what `out` holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let entry = &self.entry;
        let flags = if self.status.is_some() { STATUS } else { 0 }
            | if entry.replaced.is_some() { REPLACED } else { 0 };
        out.extend_from_slice(&[VERSION, self.reason as u8, flags]);
        out.extend_from_slice(&self.status.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.attempts.to_le_bytes());
        out.extend_from_slice(&self.retries.to_le_bytes());
        for time in [self.first_failed_ms, self.dead_ms, self.next_try_ms] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        put::short(out, self.sink.as_bytes());
        put::short(out, self.why.as_bytes());
        put::short(out, entry.source.as_bytes());
        put::short(out, entry.source_type.as_bytes());
        put::long(out, entry.origin.as_bytes());
        out.extend_from_slice(&(entry.labels.len() as u16).to_le_bytes());
        for (name, value) in entry.labels.iter() {
            put::short(out, name.as_bytes());
            put::long(out, value.as_bytes());
        }
        out.extend_from_slice(&entry.time.to_le_bytes());
        out.push(entry.flags);
        put::long(out, &entry.received);
        if let Some(replaced) = &entry.replaced {
            put::long(out, replaced);
        }
        out.extend_from_slice(&(entry.fields.len() as u32).to_le_bytes());
        for field in &entry.fields {
            put::short(out, &field.key);
            out.push(field.kind as u8 | if field.key_escaped { KEY_ESCAPED } else { 0 });
            put::long(out, &field.value);
        }
    }

    /// Reads all of `bytes` as one letter. Memory is taken as bytes are there, never as they claim to be.
    ///
    /// Errors: they are not what [`DeadLetter::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Bytes(bytes);
        if rest.u8()? != VERSION {
            return Err(Malformed("a version that is not known"));
        }
        let reason = rest.u8()?;
        let reason = LetterReason::ALL.into_iter().find(|known| *known as u8 == reason);
        let reason = reason.ok_or(Malformed("a reason that is not known"))?;
        let flags = rest.u8()?;
        if flags & !(STATUS | REPLACED) != 0 {
            return Err(Malformed("flags that are not known"));
        }
        let status = rest.u16()?;
        let status = match flags & STATUS {
            0 if status != 0 => return Err(Malformed("a status without its flag")),
            0 => None,
            _ => Some(status),
        };
        let (attempts, retries) = (rest.u32()?, rest.u32()?);
        let (first_failed_ms, dead_ms, next_try_ms) = (rest.u64()?, rest.u64()?, rest.u64()?);
        let (sink, why) = (rest.short_text()?.into(), rest.short_text()?.into());
        let entry = KeptEntry {
            source: rest.short_text()?.into(),
            source_type: rest.short_text()?.into(),
            origin: rest.long_text()?.into(),
            labels: labels(&mut rest)?,
            time: rest.u64()? as i64,
            flags: rest.u8()?,
            received: rest.long()?.to_vec(),
            replaced: match flags & REPLACED {
                0 => None,
                _ => Some(rest.long()?.to_vec()),
            },
            fields: fields(&mut rest)?,
        };
        if entry.flags & !ENTRY_FLAGS != 0 {
            return Err(Malformed("flags of the entry that are not known"));
        }
        if !rest.0.is_empty() {
            return Err(Malformed("bytes behind the end"));
        }
        Ok(DeadLetter {
            reason,
            status,
            attempts,
            retries,
            first_failed_ms,
            dead_ms,
            next_try_ms,
            sink,
            why,
            entry,
        })
    }
}

fn labels(rest: &mut Bytes<'_>) -> Result<Labels, Malformed> {
    let count = rest.u16()?;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for _ in 0..count {
        let pair = (rest.short_text()?, rest.long_text()?);
        if pairs.last().is_some_and(|last| last.0 >= pair.0) {
            return Err(Malformed("labels out of order"));
        }
        pairs.push(pair);
    }
    Ok(Labels::new(pairs))
}

fn fields(rest: &mut Bytes<'_>) -> Result<Vec<KeptField>, Malformed> {
    let count = rest.u32()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let key = rest.short()?.to_vec();
        if key.len() > Field::KEY_MAX {
            return Err(Malformed("a key that is too long"));
        }
        let kind = rest.u8()?;
        let known = KINDS.into_iter().find(|known| *known as u8 == kind & !KEY_ESCAPED);
        let known = known.ok_or(Malformed("a kind of field that is not known"))?;
        fields.push(KeptField {
            key,
            key_escaped: kind & KEY_ESCAPED != 0,
            kind: known,
            value: rest.long()?.to_vec(),
        });
    }
    Ok(fields)
}

/// An error text fit to be kept and shown: one line, nothing that speaks to a terminal, no credentials of a URL, at most
/// [`WHY_MAX`] bytes.
pub fn sanitised(why: &str) -> String {
    let mut out = String::with_capacity(why.len().min(WHY_MAX));
    for letter in without_credentials(why).chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if out.len() + letter.len_utf8() > WHY_MAX {
            break;
        }
        out.push(letter);
    }
    out
}

/// `scheme://user:password@host` becomes `scheme://host`.
fn without_credentials(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'`".contains(c)).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => &after[at + 1..],
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A letter with something in every place.
    pub(in crate::delivery::dlq) fn full() -> DeadLetter {
        DeadLetter {
            reason: LetterReason::RetriesSpent,
            status: Some(500),
            attempts: 3,
            retries: 1,
            first_failed_ms: 1_000,
            dead_ms: 2_000,
            next_try_ms: 3_000,
            sink: "out".into(),
            why: "answered 500".into(),
            entry: KeptEntry {
                source: "app".into(),
                source_type: "file".into(),
                origin: "/var/log/app.log".into(),
                labels: Labels::new([("host", "a"), ("job", "b")]),
                time: 1_700_000_000_123_456_789,
                flags: Entry::OWN_TIME,
                received: b"pin=1234".to_vec(),
                replaced: Some(b"pin=****".to_vec()),
                fields: vec![
                    KeptField {
                        key: b"n".to_vec(),
                        key_escaped: false,
                        kind: Kind::Number,
                        value: b"1.5".to_vec(),
                    },
                    KeptField {
                        key: br"a\n".to_vec(),
                        key_escaped: true,
                        kind: Kind::Escaped,
                        value: br"x\ty".to_vec(),
                    },
                ],
            },
        }
    }

    pub(in crate::delivery::dlq) fn encoded(letter: &DeadLetter) -> Vec<u8> {
        let mut bytes = Vec::new();
        letter.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_letter_reads_as_it_was_written_and_cut_anywhere_it_is_refused() {
        let letter = full();
        let bytes = encoded(&letter);
        assert_eq!(DeadLetter::decode(&bytes), Ok(letter));
        for cut in 0..bytes.len() {
            assert!(DeadLetter::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(DeadLetter::decode(&[bytes.clone(), vec![0]].concat()).is_err());
        let other = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(DeadLetter::decode(&other), Err(Malformed("a version that is not known")));
    }

    proptest! {
        #[test]
        fn bytes_that_are_taken_for_a_letter_are_what_it_is_written_as(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = encoded(&full());
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(letter) = DeadLetter::decode(&bytes) {
                prop_assert_eq!(encoded(&letter), bytes);
            }
        }
    }

    #[test]
    fn an_error_text_is_one_short_line_without_credentials() {
        assert_eq!(sanitised("a\nb\x1b[31m"), "a b [31m");
        assert_eq!(sanitised("at http://me:pw@host/x and ftp://h"), "at http://host/x and ftp://h");
        assert_eq!(sanitised("http://a@b@c:1/y?u=d@e"), "http://c:1/y?u=d@e");
        let long = sanitised(&"é".repeat(1000));
        assert_eq!(long.len(), WHY_MAX);
    }
}
