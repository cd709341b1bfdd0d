//! A list of steps, made ready to run.

use crate::block::Block;
use crate::expr::Expr;
use crate::steps::Step;
use crate::steps::constants::Constants;
use crate::steps::discard::Discard;
use crate::steps::parse::json::ParseJson;
use crate::steps::parse::syslog::ParseSyslog;
use crate::steps::set::{ConstValue, Set, SetError};
use jiff::tz::TimeZone;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One step as the config says it.
pub enum StepSpec {
    /// `parse` as JSON.
    ParseJson,
    /// What every `syslog` source begins with; times of RFC 3164 are of this zone.
    ParseSyslog(TimeZone),
    /// `discard` by a condition.
    Discard(Expr),
    /// `set` these fields.
    Set(Vec<(String, ConstValue)>),
    /// A step made elsewhere.
    Custom(Box<dyn Step>),
}

/// The steps of one pipeline, in order, with the constants they share.
pub struct Pipeline {
    steps: Vec<Box<dyn Step>>,
    constants: Arc<[u8]>,
}

/// What became of a block's entries, beyond the bits and fields in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How often a step could not work on an entry, which then went on as it was.
    pub errors: usize,
    /// The entries on which a step panicked; their bits are cleared, so no lane gets them.
    pub panicked: Vec<usize>,
}

impl Pipeline {
    /// Makes the steps, and has each leave room for the fields that those behind it add.
    pub fn compile(specs: Vec<StepSpec>) -> Result<Self, SetError> {
        let mut constants = Constants::default();
        let mut make = |spec| -> Result<Box<dyn Step>, SetError> {
            Ok(match spec {
                StepSpec::ParseJson => Box::new(ParseJson::default()),
                StepSpec::ParseSyslog(zone) => Box::new(ParseSyslog::new(zone, &mut constants)?),
                StepSpec::Discard(condition) => Box::new(Discard::new(condition)),
                StepSpec::Set(fields) => Box::new(Set::new(&fields, &mut constants)?),
                StepSpec::Custom(step) => step,
            })
        };
        let mut steps = specs.into_iter().map(&mut make).collect::<Result<Vec<_>, _>>()?;
        let mut added = 0;
        for step in steps.iter_mut().rev() {
            step.leave_room(added);
            added += step.adds_fields();
        }
        Ok(Pipeline { steps, constants: constants.finish() })
    }

    /// Whether it has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs all steps over the wanted entries in `range`, one step after the other.
    pub fn run(&self, block: &mut Block, range: Range<usize>) -> Outcome {
        block.set_constants(&self.constants);
        let errors = self.steps.iter().map(|step| step.run(block, range.clone())).sum();
        Outcome { errors, panicked: Vec::new() }
    }

    /// Runs all steps over the whole block, from a fresh side state, and survives their panics.
    ///
    /// After a panic the block is done again entry by entry, so that only those that panic by themselves are lost to
    /// it: they are taken out and named.
    pub fn run_guarded(&self, block: &mut Block) -> Outcome {
        block.reset_side();
        if self.is_empty() {
            return Outcome::default();
        }
        let all = 0..block.entries().len();
        // AssertUnwindSafe: what a panic leaves behind in the block is its side state, and that is reset below.
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| self.run(block, all.clone()))) {
            return outcome;
        }
        block.reset_side();
        let mut outcome = Outcome::default();
        for index in all {
            // AssertUnwindSafe: the entry is taken out, and the rows of others are not touched by work on it.
            match catch_unwind(AssertUnwindSafe(|| self.run(block, index..index + 1))) {
                Ok(alone) => outcome.errors += alone.errors,
                Err(_) => {
                    block.discard(index);
                    outcome.panicked.push(index);
                }
            }
        }
        outcome
    }
}
