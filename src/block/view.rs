//! Entries and fields of a block, borrowed to be read by steps and sinks.

use super::{Block, Refusal};
use crate::entry::{Entry, Field, Kind, unescape};
use crate::labels::Stream;

/// One entry of a block, to be read.
#[derive(Clone, Copy)]
pub struct EntryView<'a> {
    block: &'a Block,
    index: usize,
}

impl<'a> EntryView<'a> {
    /// The entry `index` of `block`.
    pub fn new(block: &'a Block, index: usize) -> Self {
        EntryView { block, index }
    }

    /// The block it is in, and where.
    pub fn place(&self) -> (&'a Block, usize) {
        (self.block, self.index)
    }

    /// Its row of the index.
    pub fn entry(&self) -> &'a Entry {
        &self.block.entries()[self.index]
    }

    /// Its text without the frame's end: as received, or what a step put in its place (`redact`).
    pub fn text(&self) -> &'a [u8] {
        self.block.bytes(self.block.text_of(self.index))
    }

    /// Its text as it was received, whatever a step put in its place.
    pub fn received(&self) -> &'a [u8] {
        let Entry { offset, len, .. } = *self.entry();
        &self.block.text()[offset as usize..][..len as usize]
    }

    /// Whether a step put something in place of its text.
    pub fn is_replaced(&self) -> bool {
        self.block.is_replaced(self.index)
    }

    /// Why a step gave it up, if one did.
    pub fn refusal(&self) -> Option<&'a Refusal> {
        self.block.refusal(self.index)
    }

    /// What it says: its field `message`, where parsing found one (as in syslog), else its text.
    ///
    /// The same as `message` in conditions.
    pub fn message(&self) -> std::borrow::Cow<'a, [u8]> {
        self.field(b"message").map_or_else(|| self.text().into(), |field| field.text())
    }

    /// When it was said, in nanoseconds since 1970-01-01 UTC.
    pub fn time(&self) -> i64 {
        self.entry().time
    }

    /// The stream it came in by: a binary search over the block's runs.
    pub fn stream(&self) -> &'a Stream {
        self.block.stream_of(self.index)
    }

    /// Its fields in the order they were found.
    pub fn fields(&self) -> impl Iterator<Item = FieldView<'a>> + use<'a> {
        let block = self.block;
        block.fields_of(self.index).iter().map(move |field| FieldView { block, field: *field })
    }

    /// The last field with this name (a repeated JSON key: the last one counts).
    pub fn field(&self, name: &[u8]) -> Option<FieldView<'a>> {
        let block = self.block;
        let spaces = block.spaces();
        let field = block.fields_of(self.index).iter().rev().find(|field| spaces.is_named(field, name))?;
        Some(FieldView { block, field: *field })
    }
}

/// One field of an entry, to be read.
#[derive(Clone, Copy)]
pub struct FieldView<'a> {
    block: &'a Block,
    field: Field,
}

impl<'a> FieldView<'a> {
    /// Its name as written (JSON escapes, if any, still in it: see [`FieldView::key_escaped`]).
    pub fn key(&self) -> &'a [u8] {
        self.block.bytes(self.field.key())
    }

    /// Whether the name has JSON escapes in it.
    pub fn key_escaped(&self) -> bool {
        self.field.key_escaped()
    }

    /// Whether it is called `name`, escapes resolved.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.block.spaces().is_named(&self.field, name)
    }

    /// The bytes of its value as written; how to read them says [`FieldView::kind`].
    pub fn raw(&self) -> &'a [u8] {
        self.block.bytes(self.field.value())
    }

    /// How to read [`FieldView::raw`].
    pub fn kind(&self) -> Kind {
        self.field.kind()
    }

    /// The value as text: escapes resolved, everything else as written.
    pub fn text(&self) -> std::borrow::Cow<'a, [u8]> {
        let raw = self.raw();
        match self.kind() {
            Kind::Escaped => unescape(raw).map_or(raw.into(), Into::into),
            _ => raw.into(),
        }
    }
}
