//! Entries that a step gave up: no sink gets them, and what was wrong with each goes along to the dead letters.

use super::Block;
use std::sync::Arc;

/// Why an entry was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The entry's place in the block.
    pub entry: u32,
    /// A step panicked on it; otherwise one could not work on it.
    pub panicked: bool,
    /// Which step it was and what it said.
    pub why: Arc<str>,
}

impl Block {
    /// Takes the entry out, as one that is to be a dead letter.
    #[cold]
    pub fn refuse(&mut self, index: usize, panicked: bool, why: Arc<str>) {
        self.discard(index);
        self.refused.push(Refusal { entry: index as u32, panicked, why });
    }

    /// What was given up, in the order of entries once [`Block::select_refused`] was called.
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// Why the entry `index` was given up, if it was; after [`Block::select_refused`].
    pub fn refusal(&self, index: usize) -> Option<&Refusal> {
        let at = self.refused.binary_search_by_key(&(index as u32), |refusal| refusal.entry).ok()?;
        Some(&self.refused[at])
    }

    /// Opens a further row of bits that selects what was given up, for the lane at `lane` of the plan, which is behind
    /// all others; gives its number. After [`Block::open_selections`].
    pub fn select_refused(&mut self, lane: usize) -> u16 {
        let words = self.words();
        let row = self.bits.len() / words.max(1);
        self.bits.resize(words * (row + 1), 0);
        self.pins.resize_with(lane + 1, Default::default);
        self.refused.sort_unstable_by_key(|refusal| refusal.entry);
        for refusal in &self.refused {
            let index = refusal.entry as usize;
            self.bits[row * words + index / 64] |= 1 << (index % 64);
        }
        row as u16
    }

    /// Takes over what was wrong with an entry of `from` that was copied here as the last one.
    pub(super) fn copy_refusal(&mut self, from: &Block, index: usize) {
        if !from.refused.is_empty()
            && let Some(refusal) = from.refusal(index)
        {
            let entry = self.entries.len().saturating_sub(1) as u32;
            self.refused.push(Refusal { entry, ..refusal.clone() });
        }
    }
}
