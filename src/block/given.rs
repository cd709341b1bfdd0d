//! Fields that came with their entries, such as Loki's structured metadata: known to the source before any step ran.
//!
//! They are kept apart from what steps work on, and every reset begins with a copy of them. Their bytes are the first of
//! the arena: the text holds only the entries' own bytes, so that sinks can write spans of it.

use super::{Block, FIELDS_MAX};
use crate::entry::{Field, Kind, Slice, Space};

/// What came with a block's entries.
#[derive(Default)]
pub(super) struct Given {
    fields: Vec<Field>,
    /// Ascending by entry.
    owners: Vec<Owner>,
    /// How many bytes of the arena are theirs.
    bytes: usize,
}

struct Owner {
    entry: u32,
    /// Where its fields end; they begin where those of the owner before it do.
    end: u32,
}

impl Given {
    pub(super) fn truncate(&mut self, entries: usize) {
        let owners = self.owners.partition_point(|owner| (owner.entry as usize) < entries);
        self.owners.truncate(owners);
        self.fields.truncate(self.owners.last().map_or(0, |owner| owner.end as usize));
    }

    /// Of entry n only what `place` says is left of it: its new place.
    pub(super) fn keep(&mut self, place: impl Fn(u32) -> Option<u32>) {
        let (mut fields, mut owners, mut first) = (Vec::new(), Vec::new(), 0);
        for owner in &self.owners {
            if let Some(entry) = place(owner.entry) {
                fields.extend_from_slice(&self.fields[first..owner.end as usize]);
                owners.push(Owner { entry, end: fields.len() as u32 });
            }
            first = owner.end as usize;
        }
        (self.fields, self.owners) = (fields, owners);
    }

    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.owners.clear();
        self.bytes = 0;
    }
}

impl Block {
    /// Whether [`Block::give`] has room for so many more fields, with so many bytes of keys and values together.
    ///
    /// All bytes given may be as many as those of text; a single entry's always fit if they do.
    pub fn has_room_to_give(&self, fields: usize, bytes: usize) -> bool {
        self.given.fields.len() + fields <= FIELDS_MAX / 2 && self.given.bytes + bytes <= self.pages.len()
    }

    /// Gives the entry pushed last a field that it came with, which every reset keeps.
    ///
    /// Only while the block is filled, and with [room](Block::has_room_to_give).
    pub fn give(&mut self, (key, key_escaped): (&[u8], bool), value: &[u8], kind: Kind) {
        debug_assert!(self.has_room_to_give(1, key.len() + value.len()), "the caller asked for room");
        debug_assert_eq!(self.arena.len(), self.given.bytes, "steps come later");
        let mut store = |bytes: &[u8]| {
            let offset = self.arena.len() as u32;
            self.arena.extend_from_slice(bytes);
            Slice { space: Space::Arena, offset, len: bytes.len() as u32 }
        };
        let field = Field::new(store(key), store(value), kind);
        self.given.bytes = self.arena.len();
        self.given.fields.push(if key_escaped { field.with_escaped_key() } else { field });
        let (entry, end) = (self.entries.len().saturating_sub(1) as u32, self.given.fields.len() as u32);
        match self.given.owners.last_mut() {
            Some(owner) if owner.entry == entry => owner.end = end,
            _ => self.given.owners.push(Owner { entry, end }),
        }
    }

    /// Makes the field table and the arena what they were before any step.
    pub(super) fn restore_given(&mut self) {
        self.arena.truncate(self.given.bytes);
        self.fields.extend_from_slice(&self.given.fields);
        let mut first = 0;
        for owner in &self.given.owners {
            let entry = &mut self.entries[owner.entry as usize];
            (entry.fields_first, entry.fields_n) = (first, (owner.end - first) as u16);
            first = owner.end;
        }
    }

    /// Takes over what came with the entries of `from`, which are the same.
    pub(super) fn take_given(&mut self, from: &mut Block) {
        self.arena.extend_from_slice(&from.arena[..from.given.bytes]);
        std::mem::swap(&mut self.given, &mut from.given);
    }
}
