//! What each lane gets of a block.

use super::Block;
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
            let (entries, bytes) = self.measure(row, range.start as usize..range.end as usize);
            if entries == 0 {
                continue;
            }
            self.cuts.push(Cut { lane, row, range, entries, bytes });
        }
    }

    /// What each lane gets, in the order of the plan's lanes.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }
}
