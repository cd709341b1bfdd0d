//! What an entry says now: its text as it was received, or what a step put in its place.
//!
//! Received text never changes. A step that replaces it (`redact`) writes the new text to the arena, and the block
//! remembers where; [`Block::text_of`] is the one place that knows, and everything that reads an entry goes through it:
//! [`super::EntryView::text`], conditions, `raw` spans, copies. A retry resets it with the rest of the side state.

use super::{Block, NoRoom, Parts};
use crate::entry::{Entry, Field, Slice, Space};

/// What slices point into.
#[derive(Clone, Copy)]
pub struct Spaces<'a> {
    pub(super) text: &'a [u8],
    pub(super) arena: &'a [u8],
    pub(super) constants: &'a [u8],
}

impl<'a> Spaces<'a> {
    /// The bytes that `slice` names.
    #[inline]
    pub fn bytes(&self, slice: Slice) -> &'a [u8] {
        let space = match slice.space {
            Space::Text => self.text,
            Space::Arena => self.arena,
            Space::Constant => self.constants,
        };
        &space[slice.offset as usize..][..slice.len as usize]
    }

    /// Whether the field is called `name`, escapes resolved.
    #[inline(always)]
    pub fn is_named(&self, field: &Field, name: &[u8]) -> bool {
        field.is_named(name, |slice| self.bytes(slice))
    }
}

impl Block {
    /// Where the text of the entry `index` is now: in the block's text, or in its arena if a step replaced it.
    pub fn text_of(&self, index: usize) -> Slice {
        match self.texts.get(index) {
            Some(slice) => *slice,
            None => received(&self.entries[index]),
        }
    }

    /// Whether a step replaced the text of the entry `index`: then it does not stand in [`Block::text`].
    pub fn is_replaced(&self, index: usize) -> bool {
        self.texts.get(index).is_some_and(|slice| slice.space != Space::Text)
    }

    /// Whether a step replaced the text of any entry.
    pub fn has_replaced(&self) -> bool {
        !self.texts.is_empty()
    }

    /// Whether any entry has, or had, a field.
    pub fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Puts `bytes` in place of the text of the entry `index`.
    pub fn replace_text(&mut self, index: usize, bytes: &[u8]) -> Result<(), NoRoom> {
        let slice = self.store(bytes)?;
        self.parts().replace_text(index, slice);
        Ok(())
    }
}

impl Parts<'_> {
    /// As [`Block::text_of`].
    pub fn text_of(&self, index: usize) -> Slice {
        match self.texts.get(index) {
            Some(slice) => *slice,
            None => received(&self.entries[index]),
        }
    }

    /// Puts the bytes that `slice` names in place of the text of the entry `index`.
    pub fn replace_text(&mut self, index: usize, slice: Slice) {
        if self.texts.is_empty() {
            // Blocks in which nothing is replaced, nearly all, pay nothing.
            self.texts.extend(self.entries.iter().map(received));
        }
        self.texts[index] = slice;
    }

    /// The bytes that `slice` names.
    #[inline]
    pub fn bytes(&self, slice: Slice) -> &[u8] {
        self.spaces().bytes(slice)
    }

    /// As [`Block::spaces`].
    #[inline]
    pub fn spaces(&self) -> Spaces<'_> {
        Spaces { text: self.text, arena: self.arena, constants: self.constants }
    }

    /// The last field of the entry `index` with this name, as [`super::EntryView::field`] finds it.
    pub fn field(&self, index: usize, name: &[u8]) -> Option<Field> {
        let entry = &self.entries[index];
        let rows = &self.fields[entry.fields_first as usize..][..usize::from(entry.fields_n)];
        let spaces = self.spaces();
        rows.iter().rev().find(|field| spaces.is_named(field, name)).copied()
    }

    /// Rewrites the fields of the entry `index` in their order: each stays as `keep` gives it, or goes.
    pub fn rewrite_fields(
        &mut self,
        index: usize,
        mut keep: impl FnMut(&Spaces<'_>, Field) -> Option<Field>,
    ) {
        let entry = &mut self.entries[index];
        let spaces = Spaces { text: self.text, arena: self.arena, constants: self.constants };
        let rows = &mut self.fields[entry.fields_first as usize..][..usize::from(entry.fields_n)];
        let mut left = 0;
        for row in 0..rows.len() {
            if let Some(field) = keep(&spaces, rows[row]) {
                rows[left] = field;
                left += 1;
            }
        }
        let freed = entry.fields_n - left as u16;
        entry.fields_n = left as u16;
        entry.fields_spare = (u16::from(entry.fields_spare) + freed).min(u8::MAX.into()) as u8;
    }
}

fn received(entry: &Entry) -> Slice {
    Slice { space: Space::Text, offset: entry.offset, len: entry.len }
}
