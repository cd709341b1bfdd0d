//! What the parsers have in common: each reads one text that stands somewhere in a block, and makes rows of it.
//!
//! The new rows of an entry stand behind those it had; on a fault none are added. Values name bytes of the text where
//! they can, so nothing is copied. A text in the arena is copied out first, since parsers may add to that.

use super::input::Input;
use crate::block::{ARENA_MAX, Block, FIELDS_MAX, Parts, selected};
use crate::entry::{Entry, Field, Kind, Slice, Space};
use crate::steps::{Failures, Step, StepError, Verdict};
use std::ops::Range;

/// Most fields that one parser makes of one entry.
pub const FIELDS_PER_ENTRY_MAX: usize = 1000;

/// Reads one text.
pub trait Parser: Send + Sync {
    /// What it needs while it works on a block.
    type Scratch;

    /// Made once for a block that came at `now` (nanoseconds since 1970).
    fn scratch(&self, now: i64) -> Self::Scratch;

    /// Makes rows of `text`.
    ///
    /// Errors: it is no such text, or there is no room; the rows made so far are taken back.
    fn read(&self, text: &[u8], rows: &mut Rows<'_>, scratch: &mut Self::Scratch) -> Result<(), StepError>;
}

/// Where the rows of one entry go.
pub struct Rows<'a> {
    fields: &'a mut Vec<Field>,
    arena: &'a mut Vec<u8>,
    /// Where the text stands.
    origin: Slice,
    /// How many rows there may be in all.
    most: usize,
    time: Option<i64>,
    fault: Option<StepError>,
}

impl Rows<'_> {
    /// The bytes of the text from `start` to `end`.
    #[inline]
    pub fn slice(&self, start: usize, end: usize) -> Slice {
        Slice { offset: self.origin.offset + start as u32, len: (end - start) as u32, ..self.origin }
    }

    /// How many more fields there may be.
    #[inline]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.fields.len())
    }

    /// Adds a field.
    #[inline]
    pub fn push(&mut self, key: Slice, value: Slice, kind: Kind) -> Result<(), StepError> {
        if self.room() == 0 {
            return Err(StepError::NoRoom);
        }
        self.fields.push(Field::new(key, value, kind));
        Ok(())
    }

    /// Adds a field whose value is the text from `start` to `end`: a number if it is written like one.
    #[inline]
    pub fn push_text(&mut self, key: Slice, text: &[u8], start: usize, end: usize) -> Result<(), StepError> {
        let kind = if is_number(&text[start..end]) { Kind::Number } else { Kind::Plain };
        self.push(key, self.slice(start, end), kind)
    }

    /// Puts bytes that do not stand in the text into the arena.
    pub fn store(&mut self, bytes: &[u8]) -> Result<Slice, StepError> {
        self.store_with(bytes.len(), |arena| arena.extend_from_slice(bytes))
    }

    /// As [`Rows::store`], of up to `most` bytes that `write` appends.
    pub fn store_with(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<Slice, StepError> {
        let at = self.arena.len();
        if at + most > ARENA_MAX {
            return Err(StepError::NoRoom);
        }
        write(self.arena);
        Ok(Slice { space: Space::Arena, offset: at as u32, len: (self.arena.len() - at) as u32 })
    }

    /// Sets the entry's time, in nanoseconds since 1970.
    #[inline]
    pub fn set_time(&mut self, time: i64) {
        self.time = Some(time);
    }

    /// Something of the text could not be made a row; the others stand.
    pub fn note(&mut self, fault: StepError) {
        self.fault = Some(fault);
    }
}

/// The step `parse` with this parser.
pub struct Parse<P> {
    parser: P,
    input: Input,
    /// Unused rows to leave behind each entry's fields.
    room: u8,
}

impl<P: Parser> Parse<P> {
    /// A step that reads `input` with `parser`.
    pub fn new(parser: P, input: Input) -> Self {
        Parse { parser, input, room: 0 }
    }

    #[inline]
    fn read(&self, parts: &mut Parts<'_>, index: usize, own: &mut Own<P::Scratch>) -> Result<(), StepError> {
        const UNUSED: Slice = Slice { space: Space::Constant, offset: 0, len: 0 };

        let origin = self.input.find(parts, index)?;
        let text = origin.offset as usize..(origin.offset + origin.len) as usize;
        let text = match origin.space {
            Space::Text => &parts.text[text],
            Space::Constant => &parts.constants[text],
            Space::Arena => {
                own.copy.clear();
                own.copy.extend_from_slice(&parts.arena[text]);
                &own.copy
            }
        };
        let (first, arena) = (parts.fields.len(), parts.arena.len());
        let entry = &mut parts.entries[index];
        if entry.fields_n > 0 {
            let known = entry.fields_first as usize;
            parts.fields.extend_from_within(known..known + usize::from(entry.fields_n));
        }
        let room = usize::from(self.room);
        let most = (parts.fields.len() + FIELDS_PER_ENTRY_MAX)
            .min(FIELDS_MAX - room)
            .min(first + usize::from(u16::MAX));
        let mut rows =
            Rows { fields: parts.fields, arena: parts.arena, origin, most, time: None, fault: None };
        let read = self.parser.read(text, &mut rows, &mut own.scratch);
        let (time, fault) = (rows.time, rows.fault);
        if let Err(error) = read {
            parts.fields.truncate(first);
            parts.arena.truncate(arena);
            return Err(error);
        }
        entry.fields_first = first as u32;
        entry.fields_n = (parts.fields.len() - first) as u16;
        entry.fields_spare = self.room;
        if let Some(time) = time {
            (entry.time, entry.flags) = (time, entry.flags | Entry::OWN_TIME);
        }
        parts.fields.resize(parts.fields.len() + room, Field::new(UNUSED, UNUSED, Kind::Null));
        fault.map_or(Ok(()), Err)
    }
}

/// What a parser has for the time of a block.
struct Own<S> {
    scratch: S,
    copy: Vec<u8>,
}

impl<P: Parser> Step for Parse<P> {
    fn name(&self) -> &'static str {
        "parse"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let mut failures = Failures::default();
        self.run(block, index..index + 1, &mut failures);
        failures.last().map_or(Ok(Verdict::Keep), Err)
    }

    fn leave_room(&mut self, fields: usize) {
        self.room = fields.min(u8::MAX.into()) as u8;
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        let mut own = Own { scratch: self.parser.scratch(block.time()), copy: Vec::new() };
        let mut parts = block.parts();
        for word in range.start / 64..range.end.div_ceil(64) {
            let (bits, from) = ([parts.live[word]], word * 64);
            let span = range.start.max(from) - from..range.end.min(from + 64) - from;
            for at in selected(&bits, span) {
                if let Err(error) = self.read(&mut parts, from + at, &mut own) {
                    failures.note(parts.live, from + at, error);
                }
            }
        }
    }
}

/// Whether the text is a number as JSON writes them (RFC 8259 section 6), so that it can be compared as one.
#[inline]
pub fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest[0] == b'0' {
        return false;
    }
    rest = &rest[whole..];
    if let [b'.', fraction @ ..] = rest {
        let len = digits(fraction);
        if len == 0 {
            return false;
        }
        rest = &fraction[len..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::labels::{Labels, SourceId, Stream};
    use crate::steps::constants::Constants;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// A block of one line each of `lines`, with the constants of a step.
    pub(crate) fn block_of(lines: &[&[u8]], constants: Constants) -> Block {
        let mut block = Block::new(lines.iter().map(|line| line.len() + 1).sum::<usize>().max(64));
        let stream = Stream::new(SourceId(0), "s".into(), "test", "o", Labels::default());
        block.begin_run(&Arc::new(stream));
        for line in lines {
            let offset = block.append(line).unwrap();
            block.push(Entry::at(offset, line.len() as u32));
            block.append(b"\n").unwrap();
        }
        block.reset_side();
        block.set_constants(&constants.finish());
        block
    }

    /// The fields of the entry, as `key=value:Kind`, the value with its escapes resolved.
    pub(crate) fn shown(block: &Block, index: usize) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let one = |field: crate::block::FieldView<'_>| {
            format!("{}={}:{:?}", text(field.key()), text(&field.text()), field.kind())
        };
        block.view(index).fields().map(one).collect()
    }

    #[test]
    fn a_number_is_what_json_takes_for_one() {
        for text in [
            "0",
            "-0",
            "1.5",
            "-12.25e-3",
            "1E9",
            "99999999999999999999",
            "",
            "-",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "0x1",
            "1 ",
            "NaN",
            "1_0",
        ] {
            let theirs = serde_json::from_str::<serde_json::Number>(text).is_ok() && !text.ends_with(' ');
            assert_eq!(is_number(text.as_bytes()), theirs, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_known_as_serde_json_knows_them(text in "[-+]?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][-+]?[0-9]{0,2})?x?") {
            prop_assert_eq!(is_number(text.as_bytes()), serde_json::from_str::<serde_json::Number>(&text).is_ok());
        }
    }
}
