//! What pipelines are made of.
//!
//! A pure step looks at one entry at a time and changes its side state; any worker may run it on any block. It never
//! waits, never touches text, and can be tried again after [`crate::block::Block::reset_side`].

use crate::block::{Block, NoRoom, selected};
use constants::Constants;
use std::ops::Range;

mod ahead;
pub mod config;
pub mod constants;
pub mod counts;
pub mod custom;
pub mod discard;
pub mod edit;
pub mod enrich;
mod failures;
pub mod ordered;
pub mod parse;
pub mod pipeline;
pub mod redact;
pub mod route;
pub mod sample;
pub mod set;
#[cfg(test)]
mod tests;
pub mod timestamp;
pub mod validate;

pub use failures::{Failures, OnError};

/// One step of a pipeline.
pub trait Step: Send + Sync {
    /// The step's verb, as in the config.
    fn name(&self) -> &'static str;

    /// Works on the entry at `index` of `block`. Default steps override [`Step::run`] where a whole span is cheaper.
    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError>;

    /// What was wrong, in words. A step of many parts says which of them it was.
    fn explain(&self, error: StepError) -> String {
        error.to_string()
    }

    /// How many fields it may add to an entry, so that an earlier step can leave room.
    fn adds_fields(&self) -> usize {
        0
    }

    /// Told before the pipeline starts how many fields the steps behind it may add.
    fn leave_room(&mut self, _fields: usize) {}

    /// Told before the pipeline starts all names and values that its steps bring from the config.
    fn told_constants(&mut self, _constants: &Constants) {}

    /// Works on the wanted entries in `range`; those it could not work on go to `failures`, which knows what becomes of
    /// them.
    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        // Entries are few per word: a copy of the bits frees the block for the step.
        for word in range.start / 64..range.end.div_ceil(64) {
            let bits = [block.selection(0)[word]];
            let span = word * 64..(word + 1) * 64;
            let here = range.start.max(span.start) - span.start..range.end.min(span.end) - span.start;
            for at in selected(&bits, here) {
                let index = span.start + at;
                match self.apply(block, index) {
                    Ok(Verdict::Keep) => {}
                    Ok(Verdict::Discard) => block.discard(index),
                    Err(error) => failures.note(block.parts().live, index, error),
                }
            }
        }
    }

    /// Runs it by itself, errors passing, and gives how many there were: for tests and measurements.
    fn run_alone(&self, block: &mut Block, range: Range<usize>) -> usize {
        let mut failures = Failures::default();
        self.run(block, range, &mut failures);
        failures.count()
    }
}

/// What a step decided about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It is taken out, counted as filtered.
    Discard,
}

/// Why a step could not work on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The text is not what the step reads.
    #[error("{0}")]
    Malformed(&'static str),
    /// The same of one part of the step, counted from 0: [`Step::explain`] knows what it is called.
    #[error("{1}")]
    Part(u16, &'static str),
    /// What the step makes does not fit the block any more.
    #[error("the block's side state is full")]
    NoRoom,
}

impl From<NoRoom> for StepError {
    fn from(NoRoom: NoRoom) -> Self {
        StepError::NoRoom
    }
}
