//! What each lane gets of a block.

use super::{Block, count_selected, selected};
use std::ops::Range;

/// What one lane gets of one run: filled in by the worker that knows, read by the lane.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The lane's place in the plan.
    pub lane: u16,
    /// Which row of the bits selects.
    pub row: u16,
    /// The span of the index, within one run.
    pub range: Range<u32>,
    /// How many of it are selected.
    pub entries: u32,
    /// Bytes of their text.
    pub bytes: u64,
}

impl Block {
    /// Notes that the lane at `lane` of the plan gets what `row` selects: one cut per run that has any of it.
    pub fn add_cuts(&mut self, lane: u16, row: u16) {
        for run in &self.runs {
            let range = run.first..run.end;
            let span = range.start as usize..range.end as usize;
            let bits = &self.bits[usize::from(row) * self.words()..][..self.words()];
            let entries = count_selected(bits, span.clone());
            if entries == 0 {
                continue;
            }
            let bytes = if entries == span.len() && !self.has_replaced() {
                let last = &self.entries[span.end - 1];
                u64::from(last.offset + last.len - self.entries[span.start].offset)
            } else {
                selected(bits, span).map(|place| u64::from(self.text_of(place).len)).sum()
            };
            self.cuts.push(Cut { lane, row, range, entries: entries as u32, bytes });
        }
    }

    /// What each lane gets, in the order of the plan's lanes.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }
}
