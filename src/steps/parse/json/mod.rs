//! JSON objects to fields, by a walk over SIMD marks.
//!
//! A field names bytes of the block's text: nothing is copied, unescaped or converted. Objects and arrays inside the
//! outermost object are validated and kept as they were written.

#[allow(unsafe_code)]
mod simd;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use crate::block::{Block, FIELDS_MAX, Parts};
use crate::entry::{Field, Kind, Slice, Space};
use crate::steps::{Step, StepError, Verdict};
use simd::{Isa, Scan, Task};
use std::fmt;
use std::ops::Range;
pub use value::{Value, Values, blank};
use walk::object;
pub use walk::{DEPTH_MAX, FIELDS_PER_ENTRY_MAX, Fault, VALUES_MAX};

/// Reads an entry's text as one JSON object and makes its members fields, in the order they are written.
///
/// An entry that is no valid object goes on without them and counts as an error. What is accepted: `walk`.
#[derive(Clone, Debug)]
pub struct ParseJson {
    isa: Isa,
    /// Unused rows to leave behind each entry's fields.
    room: u8,
}

impl Default for ParseJson {
    fn default() -> Self {
        ParseJson { isa: Isa::detect(), room: 0 }
    }
}

impl ParseJson {
    /// The same step by each way of marking words that this processor has, the best first: for tests that compare them.
    pub fn all() -> Vec<Self> {
        Isa::all().into_iter().map(|isa| ParseJson { isa, room: 0 }).collect()
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
        self.isa.run(One { parts: block.parts(), index, room: self.room }).map_err(StepError::from)?;
        Ok(Verdict::Keep)
    }

    fn leave_room(&mut self, fields: usize) {
        self.room = fields.min(u8::MAX.into()) as u8;
    }

    fn run(&self, block: &mut Block, range: Range<usize>) -> usize {
        self.isa.run(Span { parts: block.parts(), range, room: self.room })
    }
}

/// One entry.
struct One<'a> {
    parts: Parts<'a>,
    index: usize,
    room: u8,
}

impl Task for One<'_> {
    type Out = Result<(), Fault>;

    #[inline(always)]
    fn go<S: Scan>(mut self, scan: S) -> Result<(), Fault> {
        parse(scan, &mut self.parts, self.index, self.room)
    }
}

/// The wanted entries of a span.
struct Span<'a> {
    parts: Parts<'a>,
    range: Range<usize>,
    room: u8,
}

impl Task for Span<'_> {
    type Out = usize;

    #[inline(always)]
    fn go<S: Scan>(mut self, scan: S) -> usize {
        let mut errors = 0;
        let mut index = self.range.start;
        while index < self.range.end {
            if self.parts.live[index / 64] >> (index % 64) & 1 == 1
                && parse(scan, &mut self.parts, index, self.room).is_err()
            {
                errors += 1;
            }
            index += 1;
        }
        errors
    }
}

/// Parses the entry at `index`; its rows move to the end of the table, behind those it had.
#[inline(always)]
fn parse<S: Scan>(scan: S, parts: &mut Parts<'_>, index: usize, room: u8) -> Result<(), Fault> {
    const UNUSED: Slice = Slice { space: Space::Constant, offset: 0, len: 0 };

    let entry = &mut parts.entries[index];
    let first = parts.fields.len();
    if entry.fields_n > 0 {
        let known = entry.fields_first as usize..entry.fields_first as usize + usize::from(entry.fields_n);
        parts.fields.extend_from_within(known);
    }
    let rows_max = FIELDS_MAX - usize::from(room);
    let text = &parts.text[entry.offset as usize..];
    let mut read = object(scan, text, entry.len as usize, entry.offset, rows_max, parts.fields);
    if read.is_ok() && parts.fields.len() > rows_max {
        read = Err(Fault::NoRoom);
    }
    if read.is_err() {
        parts.fields.truncate(first);
        return read;
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
