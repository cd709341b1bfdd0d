//! What ordered steps noted of entries while a worker had the block, and what they took out when its turn came.
//!
//! A note is all that the decision needs to know of an entry, so that deciding costs the same whatever the entry is. Only
//! entries that came to the step have one, also if a step behind it took them out since.

use super::{Block, selected};
use std::ops::Range;

/// The notes of one step.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// A bit per entry: it came to the step.
    reached: Vec<u64>,
    /// Of those, in order.
    notes: Vec<u128>,
}

impl Block {
    /// Notes something of the entry `index` for the ordered step number `slot`; entries in their order.
    pub fn note(&mut self, slot: usize, index: usize, note: u128) {
        let words = self.words();
        if self.noted.len() <= slot {
            self.noted.resize_with(slot + 1, Noted::default);
        }
        let noted = &mut self.noted[slot];
        if noted.reached.len() < words {
            noted.reached.resize(words, 0);
        }
        noted.reached[index / 64] |= 1 << (index % 64);
        noted.notes.push(note);
    }

    /// The entries that came to the ordered step number `slot`, with what it noted of each.
    pub fn notes(&self, slot: usize) -> impl Iterator<Item = (usize, u128)> + '_ {
        let noted = self.noted.get(slot);
        let (reached, notes) = noted.map_or((&[][..], &[][..]), |noted| (&noted.reached, &noted.notes));
        selected(reached, 0..reached.len() * 64).zip(notes.iter().copied())
    }

    /// Forgets all notes; their memory stays for the next block.
    pub(super) fn clear_notes(&mut self) {
        for noted in &mut self.noted {
            noted.reached.clear();
            noted.notes.clear();
        }
    }

    /// Takes out of everything the entries whose bits are set in `out`: they are not wanted, no lane gets them, and what
    /// was wrong with them is forgotten.
    pub fn take_out(&mut self, out: &[u64]) {
        let words = self.words();
        for row in self.bits.chunks_mut(words.max(1)) {
            row.iter_mut().zip(out).for_each(|(bits, out)| *bits &= !out);
        }
        let is_out = |index: u32| out[index as usize / 64] >> (index % 64) & 1 == 1;
        self.refused.retain(|refusal| !is_out(refusal.entry));
        let mut cuts = std::mem::take(&mut self.cuts);
        cuts.retain_mut(|cut| {
            (cut.entries, cut.bytes) =
                self.measure(cut.row, cut.range.start as usize..cut.range.end as usize);
            cut.entries > 0
        });
        self.cuts = cuts;
    }

    /// Bytes of memory that notes hold on to.
    pub(super) fn notes_footprint(&self) -> usize {
        self.noted.iter().map(|noted| noted.reached.capacity() * 8 + noted.notes.capacity() * 16).sum()
    }

    /// How many entries of `span`, which lies within one run, `row` selects, and bytes of their text.
    pub(super) fn measure(&self, row: u16, span: Range<usize>) -> (u32, u64) {
        let bits = &self.bits[usize::from(row) * self.words()..][..self.words()];
        let entries = super::count_selected(bits, span.clone());
        let bytes = if entries == 0 {
            0
        } else if entries == span.len() && !self.has_replaced() {
            let last = &self.entries[span.end - 1];
            u64::from(last.offset + last.len - self.entries[span.start].offset)
        } else {
            selected(bits, span).map(|place| u64::from(self.text_of(place).len)).sum()
        };
        (entries as u32, bytes)
    }
}
