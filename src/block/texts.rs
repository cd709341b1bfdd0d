//! What an entry says now: its text as it was received, or what a step put in its place.
//!
//! Received text never changes. A step that replaces it (`redact`) writes the new text to the arena, and the block
//! remembers where; [`Block::text_of`] is the one place that knows, and everything that reads an entry goes through it:
//! [`super::EntryView::text`], conditions, `raw` spans, copies. A retry resets it with the rest of the side state.

use super::{Block, NoRoom, Parts};
use crate::entry::{Entry, Field, Slice, Space, reads_as};

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
    pub fn bytes(&self, slice: Slice) -> &[u8] {
        let space: &[u8] = match slice.space {
            Space::Text => self.text,
            Space::Arena => self.arena,
            Space::Constant => self.constants,
        };
        &space[slice.offset as usize..][..slice.len as usize]
    }
}

impl Parts<'_> {
    /// The last field of the entry `index` with this name, as [`super::EntryView::field`] finds it.
    pub fn field(&self, index: usize, name: &[u8]) -> Option<Field> {
        let entry = &self.entries[index];
        let rows = &self.fields[entry.fields_first as usize..][..usize::from(entry.fields_n)];
        rows.iter().rev().find(|field| self.is_named(field, name)).copied()
    }

    /// Whether the field is called `name`, escapes resolved.
    pub fn is_named(&self, field: &Field, name: &[u8]) -> bool {
        let key = field.key();
        match field.key_escaped() {
            true => reads_as(self.bytes(key), name),
            false => key.len as usize == name.len() && self.bytes(key) == name,
        }
    }

    /// Rewrites the fields of the entry `index` in their order: each stays as `keep` gives it, or goes.
    pub fn rewrite_fields(&mut self, index: usize, mut keep: impl FnMut(&Self, Field) -> Option<Field>) {
        let entry = self.entries[index];
        let first = entry.fields_first as usize;
        let mut to = first;
        for row in first..first + usize::from(entry.fields_n) {
            if let Some(field) = keep(self, self.fields[row]) {
                self.fields[to] = field;
                to += 1;
            }
        }
        let left = (to - first) as u16;
        let freed = entry.fields_n - left;
        let entry = &mut self.entries[index];
        entry.fields_n = left;
        entry.fields_spare = (u16::from(entry.fields_spare) + freed).min(u8::MAX.into()) as u8;
    }
}

fn received(entry: &Entry) -> Slice {
    Slice { space: Space::Text, offset: entry.offset, len: entry.len }
}
