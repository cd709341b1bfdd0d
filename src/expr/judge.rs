//! Judging the entries of a block together.
//!
//! A condition that needs some text in the message (`contains(message, "timeout") and ...`) is decided for most entries
//! by one search through the text of the whole block: only those in which it stands are looked at.

use super::Expr;
use crate::block::{Block, selected};

/// Judges the entries of one block, 64 at a time and in order.
pub struct Judge<'e> {
    expr: &'e Expr,
    /// Where a search through the text can tell which entries cannot meet the condition.
    searches: bool,
    /// None of the entries looked at that stand before this one can.
    next: usize,
}

impl Expr {
    /// A judge of the entries of `block`, whose texts and fields must not change before it is done.
    pub fn judge(&self, block: &Block) -> Judge<'_> {
        // The text of the block says nothing about messages that stand elsewhere.
        let searches = self.needle.is_some() && !block.has_fields() && !block.has_replaced();
        Judge { expr: self, searches, next: 0 }
    }
}

impl Judge<'_> {
    /// Which of the entries `wanted`, bits from the entry `first` on, meet the condition.
    pub fn word(&mut self, block: &Block, first: usize, wanted: u64) -> u64 {
        let mut met = 0;
        if !self.searches {
            for at in selected(&[wanted], 0..64) {
                met |= u64::from(self.expr.matches(block, first + at)) << at;
            }
            return met;
        }
        if wanted == 0 {
            return 0;
        }
        // Only as far as was asked: the rest of the word may be asked for next, as another run.
        let start = first + wanted.trailing_zeros() as usize;
        let end = first + 64 - wanted.leading_zeros() as usize;
        if self.next < start {
            self.next = self.candidate(block, start);
        }
        while self.next < end {
            let at = self.next - first;
            if wanted >> at & 1 == 1 {
                met |= u64::from(self.expr.matches(block, self.next)) << at;
            }
            self.next = self.candidate(block, self.next + 1);
        }
        met
    }

    /// The first entry from `from` on that may have the needle in it; `usize::MAX` if none can.
    fn candidate(&self, block: &Block, from: usize) -> usize {
        let (text, entries) = (block.text(), block.entries());
        let (Some(entry), Some(finder)) = (entries.get(from), &self.expr.needle) else {
            return usize::MAX;
        };
        let start = entry.offset as usize;
        let Some(place) = finder.find(&text[start..]) else {
            return usize::MAX;
        };
        // Entries stand in the text in their order, so those that end before the place do not have it.
        let place = (start + place) as u32;
        if place < entry.offset + entry.len {
            return from;
        }
        from + 1 + entries[from + 1..].partition_point(|entry| entry.offset + entry.len <= place)
    }
}
