//! Takes entries out by a condition.

use crate::block::{Block, selected};
use crate::expr::Expr;
use crate::steps::{Step, StepError, Verdict};
use std::ops::Range;

/// Takes out the entries that meet the condition; they count as filtered.
#[derive(Clone, Debug)]
pub struct Discard {
    condition: Expr,
}

impl Discard {
    /// Takes out what meets `condition`.
    pub fn new(condition: Expr) -> Self {
        Discard { condition }
    }

    /// Judges the wanted entries of `range`, which lies within one run whose stream does not decide.
    fn judge(&self, block: &mut Block, range: Range<usize>) {
        for word in range.start / 64..range.end.div_ceil(64) {
            let first = word * 64;
            let span = range.start.max(first) - first..range.end.min(first + 64) - first;
            let mut kept = block.selection(0)[word];
            for at in selected(&[kept], span) {
                if self.condition.matches(block, first + at) {
                    kept &= !(1 << at);
                }
            }
            block.parts().live[word] = kept;
        }
    }
}

impl Step for Discard {
    fn name(&self) -> &'static str {
        "discard"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        Ok(if self.condition.matches(block, index) { Verdict::Discard } else { Verdict::Keep })
    }

    fn run(&self, block: &mut Block, range: Range<usize>) -> usize {
        let mut run = block.runs().partition_point(|run| run.end as usize <= range.start);
        while let Some(here) = block.runs().get(run).filter(|run| (run.first as usize) < range.end) {
            let span = range.start.max(here.first as usize)..range.end.min(here.end as usize);
            match self.condition.constant_for(&here.stream) {
                Some(false) => {}
                Some(true) => clear(block.parts().live, span),
                None => self.judge(block, span),
            }
            run += 1;
        }
        0
    }
}

/// Clears the bits of `range`.
fn clear(bits: &mut [u64], range: Range<usize>) {
    let words = range.start / 64..range.end.div_ceil(64);
    for (first, bits) in (words.start * 64..).step_by(64).zip(&mut bits[words]) {
        let (from, to) = (range.start.max(first) - first, range.end.min(first + 64) - first);
        let below = if to == 64 { u64::MAX } else { (1 << to) - 1 };
        *bits &= !(below & (u64::MAX << from));
    }
}
