//! JSON objects to fields, by a walk over SIMD marks.
//!
//! A field names bytes of the block's text: nothing is copied, unescaped or converted. Objects and arrays inside the
//! outermost object are validated and kept as they were written.

#[cfg(test)]
mod tests;
mod value;
mod walk;

use crate::block::{Block, FIELDS_MAX, Parts};
use crate::entry::{Field, Kind, Slice, Space};
use crate::simd::{Isa, Scan, Task};
use crate::steps::parse::input::Input;
use crate::steps::{Failures, Step, StepError, Verdict};
use std::fmt;
use std::ops::Range;
pub use value::{Value, Values, blank};
use walk::object;
pub use walk::{DEPTH_MAX, FIELDS_PER_ENTRY_MAX, Fault, VALUES_MAX};

/// Reads an entry's message, or a field, as one JSON object and makes its members fields, in the order they are written.
///
/// An entry that is no valid object goes on without them and counts as an error. What is accepted: `walk`.
#[derive(Clone, Debug)]
pub struct ParseJson {
    isa: Isa,
    input: Input,
    /// Unused rows to leave behind each entry's fields.
    room: u8,
}

impl Default for ParseJson {
    fn default() -> Self {
        ParseJson::of(Input::Message)
    }
}

impl ParseJson {
    /// A step that reads `input`.
    pub fn of(input: Input) -> Self {
        ParseJson { isa: Isa::detect(), input, room: 0 }
    }

    /// The same step by each way of marking words that this processor has, the best first: for tests that compare them.
    pub fn all() -> Vec<Self> {
        Isa::all().into_iter().map(|isa| ParseJson { isa, input: Input::Message, room: 0 }).collect()
    }
}

impl fmt::Display for ParseJson {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.isa.name())
    }
}

impl Step for ParseJson {
    fn name(&self) -> &'static str {
        "parse"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        self.isa.run(One { parts: block.parts(), index, input: &self.input, room: self.room })?;
        Ok(Verdict::Keep)
    }

    fn leave_room(&mut self, fields: usize) {
        self.room = fields.min(u8::MAX.into()) as u8;
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        self.isa.run(Span { parts: block.parts(), range, input: &self.input, room: self.room, failures });
    }
}

/// One entry.
struct One<'a> {
    parts: Parts<'a>,
    index: usize,
    input: &'a Input,
    room: u8,
}

impl Task for One<'_> {
    type Out = Result<(), StepError>;

    #[inline(always)]
    fn go<S: Scan>(mut self, scan: S) -> Result<(), StepError> {
        parse(scan, &mut self.parts, self.index, self.input, self.room)
    }
}

/// The wanted entries of a span.
struct Span<'a> {
    parts: Parts<'a>,
    range: Range<usize>,
    input: &'a Input,
    room: u8,
    failures: &'a mut Failures,
}

impl Task for Span<'_> {
    type Out = ();

    #[inline(always)]
    fn go<S: Scan>(mut self, scan: S) {
        let mut index = self.range.start;
        while index < self.range.end {
            if self.parts.live[index / 64] >> (index % 64) & 1 == 1
                && let Err(error) = parse(scan, &mut self.parts, index, self.input, self.room)
            {
                self.failures.note(self.parts.live, index, error);
            }
            index += 1;
        }
    }
}

/// Whether `inside` can stand between the quotes of a JSON string: for other parsers whose escapes are the same.
pub(super) fn is_json_text(inside: &[u8]) -> bool {
    walk::check_escapes(inside).is_ok() && std::str::from_utf8(inside).is_ok()
}

/// Parses the entry at `index`; its rows move to the end of the table, behind those it had.
#[inline(always)]
fn parse<S: Scan>(
    scan: S,
    parts: &mut Parts<'_>,
    index: usize,
    input: &Input,
    room: u8,
) -> Result<(), StepError> {
    const UNUSED: Slice = Slice { space: Space::Constant, offset: 0, len: 0 };

    let source = input.find(parts, index)?;
    let entry = &mut parts.entries[index];
    let first = parts.fields.len();
    if entry.fields_n > 0 {
        let known = entry.fields_first as usize..entry.fields_first as usize + usize::from(entry.fields_n);
        parts.fields.extend_from_within(known);
    }
    let rows_max = FIELDS_MAX - usize::from(room);
    let space: &[u8] = match source.space {
        Space::Text => parts.text,
        Space::Arena => parts.arena,
        Space::Constant => parts.constants,
    };
    let (text, origin) = (&space[source.offset as usize..], (source.space, source.offset));
    let mut read = object(scan, text, source.len as usize, origin, rows_max, parts.fields);
    if read.is_ok() && parts.fields.len() > rows_max {
        read = Err(Fault::NoRoom);
    }
    if read.is_err() {
        parts.fields.truncate(first);
        return read.map_err(StepError::from);
    }
    entry.fields_first = first as u32;
    entry.fields_n = (parts.fields.len() - first) as u16;
    entry.fields_spare = room;
    let rows = parts.fields.len() + usize::from(room);
    parts.fields.resize(rows, Field::new(UNUSED, UNUSED, Kind::Null));
    Ok(())
}

impl Fault {
    /// What is wrong, in words.
    pub fn says(self) -> &'static str {
        match self {
            Fault::NotAnObject => "not a JSON object",
            Fault::Syntax => "malformed JSON",
            Fault::Encoding => "JSON that is not UTF-8",
            Fault::Depth => "JSON nested deeper than 64 levels",
            Fault::Fields => "a JSON object of more than 1000 members",
            Fault::Values => "JSON of more than 100000 values",
            Fault::Key => "a JSON key of more than 1024 bytes",
            Fault::NoRoom => "the block's side state is full",
        }
    }
}

impl From<Fault> for StepError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoRoom => StepError::NoRoom,
            _ => StepError::Malformed(fault.says()),
        }
    }
}
