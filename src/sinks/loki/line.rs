//! What an entry's line says, and the structured metadata beside it.

use super::config::Fields;
use super::labels::write_name;
use crate::batch::Part;
use crate::block::{EntryView, FieldView};
use crate::entry::{Kind, unescape};
use crate::expr::placeholders::write_text;
use crate::sinks::format::{Encoder, Format};
use serde::{Deserialize, Serialize};
use std::iter::once;

/// Most pairs of structured metadata an entry carries: Loki refuses entries with more, unless told otherwise.
pub const PAIRS_MAX: usize = 128;
/// Most bytes of them, names and values; likewise.
pub const PAIRS_BYTES_MAX: usize = 64 << 10;

/// How an entry is written in its line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFormat {
    /// The entry's text.
    #[default]
    Raw,
    /// A JSON object with everything that is known of it.
    Json,
    /// The same as `name=value` words.
    Logfmt,
}

/// Makes lines.
pub(super) struct Liner {
    encoder: Option<Encoder>,
    line: Vec<u8>,
}

impl Liner {
    pub(super) fn new(format: LineFormat) -> Self {
        let encoder = match format {
            LineFormat::Raw => None,
            LineFormat::Json => Some(Encoder::new(Format::Json)),
            LineFormat::Logfmt => Some(Encoder::new(Format::Logfmt)),
        };
        Liner { encoder, line: Vec::new() }
    }

    /// The line of the entry at `place` of the part's block; UTF-8, or bytes as they came if it is raw.
    pub(super) fn line<'a>(&'a mut self, part: &'a Part, place: usize) -> &'a [u8] {
        let Some(encoder) = &mut self.encoder else { return part.block.view(place).text() };
        self.line.clear();
        encoder.encode(&part.block, part.stream(), once(place), &mut self.line);
        // Ends in a newline, and has no other.
        self.line.pop();
        &self.line
    }
}

/// Writes an entry's fields as pairs of structured metadata.
pub(super) struct Metadata {
    fields: Fields,
    name: Vec<u8>,
    value: Vec<u8>,
    /// Pairs that were left out, as the entry had too many.
    pub(super) left_out: u64,
}

impl Metadata {
    pub(super) fn new(fields: Fields) -> Self {
        Metadata { fields, name: Vec::new(), value: Vec::new(), left_out: 0 }
    }

    /// Whether no entry has any.
    pub(super) fn is_off(&self) -> bool {
        matches!(&self.fields, Fields::Named(names) if names.is_empty())
    }

    /// Gives each pair to `pair`; of an entry that has `taken` pairs already. Values are bytes as they came.
    pub(super) fn write(&mut self, entry: EntryView<'_>, taken: Taken, mut pair: impl FnMut(&[u8], &[u8])) {
        let fields = std::mem::take(&mut self.fields);
        let mut room = taken;
        match &fields {
            Fields::All => entry.fields().for_each(|field| self.field(None, field, &mut room, &mut pair)),
            Fields::Named(names) => {
                for name in names {
                    if let Some(field) = entry.field(name.as_bytes()) {
                        self.field(Some(name.as_bytes()), field, &mut room, &mut pair);
                    }
                }
            }
        }
        self.fields = fields;
    }

    fn field(
        &mut self,
        name: Option<&[u8]>,
        field: FieldView<'_>,
        room: &mut Taken,
        pair: &mut impl FnMut(&[u8], &[u8]),
    ) {
        if field.kind() == Kind::Null {
            return;
        }
        self.name.clear();
        match name {
            Some(name) => write_name(name, &mut self.name),
            None if field.key_escaped() => {
                write_name(unescape(field.key()).as_deref().unwrap_or(field.key()), &mut self.name);
            }
            None => write_name(field.key(), &mut self.name),
        }
        let value = match field.kind() {
            Kind::Escaped => {
                self.value.clear();
                write_text(Kind::Escaped, field.raw(), &mut self.value);
                &self.value[..]
            }
            _ => field.raw(),
        };
        match room.add(self.name.len() + value.len()) {
            true => pair(&self.name, value),
            false => self.left_out += 1,
        }
    }
}

/// How much structured metadata an entry has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pairs: usize,
    bytes: usize,
}

impl Taken {
    /// Adds a pair of so many bytes, if Loki takes it.
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        let fits = self.pairs < PAIRS_MAX && self.bytes + bytes <= PAIRS_BYTES_MAX;
        if fits {
            (self.pairs, self.bytes) = (self.pairs + 1, self.bytes + bytes);
        }
        fits
    }
}
