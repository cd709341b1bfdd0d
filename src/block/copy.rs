//! Taking single entries over from another block.

use super::{Block, ENTRIES_MAX, FIELDS_MAX};
use crate::entry::{Entry, Field, Slice, Space};

impl Block {
    /// Copies an entry of another block behind the own ones, with its text as it is now, time, flags and fields. False if it does
    /// not fit; then nothing was copied.
    pub fn copy_entry(&mut self, from: &Block, index: usize) -> bool {
        let entry = from.entries[index];
        let text = from.bytes(from.text_of(index));
        let fields = from.fields_of(index);
        // Behind a text that was replaced, fields may name parts of the one that was received; that one stays behind.
        let moves_along = |slice: &Slice| slice.space == Space::Text && !from.is_replaced(index);
        let side = fields.iter().flat_map(|field| [field.key(), field.value()]);
        let arena: usize = side.filter(|slice| !moves_along(slice)).map(|slice| slice.len as usize).sum();
        let room = self.pages.len() - self.text_len > text.len()
            && self.entries.len() < ENTRIES_MAX
            && self.fields.len() + fields.len() <= FIELDS_MAX
            && self.arena.len() + arena <= self.pages.len();
        if !room {
            return false;
        }
        let offset = self.text_len as u32;
        self.pages[self.text_len..][..text.len()].copy_from_slice(text);
        // A newline behind each keeps lines whole for sinks that write spans.
        self.pages[self.text_len + text.len()] = b'\n';
        self.text_len += text.len() + 1;
        let fields_first = self.fields.len() as u32;
        for field in fields {
            let mut moved = |slice: Slice| {
                if moves_along(&slice) {
                    return Slice { offset: slice.offset - entry.offset + offset, ..slice };
                }
                let at = self.arena.len() as u32;
                self.arena.extend_from_slice(from.bytes(slice));
                Slice { space: Space::Arena, offset: at, len: slice.len }
            };
            let copy = Field::new(moved(field.key()), moved(field.value()), field.kind());
            self.fields.push(if field.key_escaped() { copy.with_escaped_key() } else { copy });
        }
        self.push(Entry { offset, len: text.len() as u32, fields_first, fields_spare: 0, ..entry });
        self.copy_refusal(from, index);
        true
    }

    /// How many rows the field table has, and how many bytes the arena.
    pub fn side(&self) -> (usize, usize) {
        (self.fields.len(), self.arena.len())
    }

    /// Puts rows behind the field table, and bytes behind the arena: for entries that were kept elsewhere, whose rows of
    /// the index and whose slices count with what [`Block::side`] said before.
    pub fn add_side(&mut self, fields: &[Field], arena: &[u8]) {
        self.fields.extend_from_slice(fields);
        self.arena.extend_from_slice(arena);
    }
}
