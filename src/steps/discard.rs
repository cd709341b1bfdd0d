//! Takes entries out by a condition: `discard` those that meet it, `keep` only those.

use crate::block::Block;
use crate::expr::{Expr, Judge};
use crate::steps::{Failures, Step, StepError, Verdict};
use std::ops::Range;

/// Takes out the entries that meet the condition, or all others; they count as filtered.
#[derive(Clone, Debug)]
pub struct Discard {
    condition: Expr,
    /// The answer of the condition that takes an entry out.
    out: bool,
}

impl Discard {
    /// Takes out what meets `condition`.
    pub fn new(condition: Expr) -> Self {
        Discard { condition, out: true }
    }

    /// Takes out what does not meet `condition`.
    pub fn unless(condition: Expr) -> Self {
        Discard { condition, out: false }
    }

    /// Judges the wanted entries of `range`, which lies within one run whose stream does not decide.
    fn judge(&self, block: &mut Block, judge: &mut Judge<'_>, range: Range<usize>) {
        for word in range.start / 64..range.end.div_ceil(64) {
            let first = word * 64;
            let within = bits_of(range.start.max(first) - first, range.end.min(first + 64) - first);
            let wanted = block.selection(0)[word] & within;
            let met = judge.word(block, first, wanted);
            let out = if self.out { met } else { wanted & !met };
            block.parts().live[word] &= !out;
        }
    }
}

impl Step for Discard {
    fn name(&self) -> &'static str {
        if self.out { "discard" } else { "keep" }
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        Ok(if self.condition.matches(block, index) == self.out { Verdict::Discard } else { Verdict::Keep })
    }

    fn run(&self, block: &mut Block, range: Range<usize>, _failures: &mut Failures) {
        let mut judge = self.condition.judge(block);
        let mut run = block.runs().partition_point(|run| run.end as usize <= range.start);
        while let Some(here) = block.runs().get(run).filter(|run| (run.first as usize) < range.end) {
            let span = range.start.max(here.first as usize)..range.end.min(here.end as usize);
            match self.condition.constant_for(&here.stream) {
                Some(answer) if answer == self.out => clear(block.parts().live, span),
                Some(_) => {}
                None => self.judge(block, &mut judge, span),
            }
            run += 1;
        }
    }
}

/// Clears the bits of `range`.
fn clear(bits: &mut [u64], range: Range<usize>) {
    let words = range.start / 64..range.end.div_ceil(64);
    for (first, bits) in (words.start * 64..).step_by(64).zip(&mut bits[words]) {
        *bits &= !bits_of(range.start.max(first) - first, range.end.min(first + 64) - first);
    }
}

/// A word whose bits from `from` to before `to` are set; `from` is below 64.
fn bits_of(from: usize, to: usize) -> u64 {
    let below = if to == 64 { u64::MAX } else { (1 << to) - 1 };
    below & (u64::MAX << from)
}
