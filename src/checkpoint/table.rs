//! The positions in memory, and what of them waits to be written.

use super::{Key, POSITIONS_MAX, Row, durable};
use std::sync::Arc;

pub(super) struct Held {
    pub(super) id: u64,
    pub(super) row: Row,
    /// No file is open for it: it may go when room is needed.
    pub(super) gone: bool,
    /// Kept only until a durable file without it is written: until then the fast tier must say so.
    pub(super) forgotten: bool,
}

#[derive(Default)]
pub(super) struct Table {
    /// By place, which is also its place in the fast tier.
    pub(super) held: Vec<Option<Held>>,
    pub(super) free: Vec<u32>,
    /// How many are not forgotten.
    pub(super) live: usize,
    /// Places whose rows are forgotten.
    pub(super) forgotten: Vec<u32>,
    pub(super) sources: Vec<Arc<str>>,
    /// Places to write to the fast tier; at most once each, as `is_dirty` says.
    pub(super) dirty: Vec<u32>,
    pub(super) is_dirty: Vec<bool>,
    /// Something changed since the last durable snapshot.
    pub(super) changed: bool,
    pub(super) last_id: u64,
    pub(super) last_stamp: u64,
    pub(super) warned_full: bool,
}

impl Table {
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Held> {
        self.held.get_mut(key.place as usize)?.as_mut().filter(|held| held.id == key.id && !held.forgotten)
    }

    pub(super) fn row(&self, place: u32) -> Option<(Row, bool)> {
        self.held[place as usize].as_ref().map(|held| (held.row.clone(), held.forgotten))
    }

    pub(super) fn next_stamp(&mut self) -> u64 {
        self.last_stamp += 1;
        self.last_stamp
    }

    pub(super) fn insert(&mut self, row: Row, gone: bool) -> Key {
        let place = self.free.pop().unwrap_or(self.held.len() as u32);
        if place as usize == self.held.len() {
            self.held.push(None);
            self.is_dirty.push(false);
        }
        self.last_id += 1;
        self.held[place as usize] = Some(Held { id: self.last_id, row, gone, forgotten: false });
        self.live += 1;
        self.touch(place);
        Key { place, id: self.last_id }
    }

    pub(super) fn forget(&mut self, place: u32) {
        let stamp = self.next_stamp();
        if let Some(held) = &mut self.held[place as usize] {
            (held.forgotten, held.row.stamp) = (true, stamp);
        }
        self.live -= 1;
        self.forgotten.push(place);
        self.touch(place);
    }

    /// A durable file without these is written: their places may be used again.
    pub(super) fn free(&mut self, forgotten: Vec<u32>) {
        for place in &forgotten {
            self.held[*place as usize] = None;
        }
        self.free.extend(forgotten);
    }

    /// The file was not written after all.
    pub(super) fn keep(&mut self, forgotten: Vec<u32>) {
        self.changed = true;
        self.forgotten.extend(forgotten);
    }

    pub(super) fn forget_oldest_gone(&mut self) -> bool {
        if !std::mem::replace(&mut self.warned_full, true) {
            tracing::warn!(
                "checkpoint: {POSITIONS_MAX} positions are kept; those of files long gone are forgotten"
            );
        }
        let gone = self.held.iter().enumerate().filter_map(|(place, held)| {
            let held = held.as_ref().filter(|held| held.gone && !held.forgotten)?;
            Some((held.row.position.last_seen, place))
        });
        let oldest = gone.min();
        if let Some((_, place)) = oldest {
            self.forget(place as u32);
        }
        oldest.is_some()
    }

    pub(super) fn touch(&mut self, place: u32) {
        self.changed = true;
        self.mark_dirty(place);
    }

    pub(super) fn mark_dirty(&mut self, place: u32) {
        if !std::mem::replace(&mut self.is_dirty[place as usize], true) {
            self.dirty.push(place);
        }
    }

    /// All positions with their places, and whether they were forgotten.
    pub(super) fn placed(&self) -> Vec<(usize, Row, bool)> {
        let held = self.held.iter().enumerate();
        held.filter_map(|(place, held)| held.as_ref().map(|held| (place, held.row.clone(), held.forgotten)))
            .collect()
    }

    pub(super) fn take_dirty(&mut self) -> Vec<u32> {
        let places = std::mem::take(&mut self.dirty);
        for place in &places {
            self.is_dirty[*place as usize] = false;
        }
        places
    }

    /// The bytes of a snapshot and the places it has forgotten, or `None` if nothing changed since the last.
    pub(super) fn snapshot(&mut self, generation: u64) -> Option<(Vec<u8>, Vec<u32>)> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let live = self.held.iter().flatten().filter(|held| !held.forgotten).map(|held| &held.row);
        let rows = live.filter(|row| row.is_encodable());
        let bytes = durable::encode_parts([generation, self.last_stamp], &self.sources, rows);
        Some((bytes, std::mem::take(&mut self.forgotten)))
    }
}
