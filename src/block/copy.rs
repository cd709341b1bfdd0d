//! Taking single entries over from another block.

use super::{Block, ENTRIES_MAX, FIELDS_MAX};
use crate::entry::{Entry, Field, Slice, Space};

impl Block {
    /// Copies an entry of another block behind the own ones, with its text, time, flags and fields. False if it does
    /// not fit; then nothing was copied.
    pub fn copy_entry(&mut self, from: &Block, index: usize) -> bool {
        let entry = from.entries[index];
        let text = &from.text()[entry.offset as usize..][..entry.len as usize];
        let fields = from.fields_of(index);
        let side = fields.iter().flat_map(|field| [field.key(), field.value()]);
        let arena: usize =
            side.filter(|slice| slice.space != Space::Text).map(|slice| slice.len as usize).sum();
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
            let mut moved = |slice: Slice| match slice.space {
                Space::Text => Slice { offset: slice.offset - entry.offset + offset, ..slice },
                Space::Arena | Space::Constant => {
                    let at = self.arena.len() as u32;
                    self.arena.extend_from_slice(from.bytes(slice));
                    Slice { space: Space::Arena, offset: at, len: slice.len }
                }
            };
            let copy = Field::new(moved(field.key()), moved(field.value()), field.kind());
            self.fields.push(if field.key_escaped() { copy.with_escaped_key() } else { copy });
        }
        self.push(Entry { offset, fields_first, fields_spare: 0, ..entry });
        true
    }
}
