//! A step made by the program this is a library of, as it stands in a config.

use super::{Failures, Step, StepError, Verdict};
use crate::block::Block;
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A step of the program's own. Two are the same if they are one object.
#[derive(Clone)]
pub struct CustomStep(pub Arc<dyn Step>);

impl fmt::Debug for CustomStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomStep({})", self.0.name())
    }
}

impl PartialEq for CustomStep {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Serialize for CustomStep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl Step for CustomStep {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        self.0.apply(block, index)
    }

    fn explain(&self, error: StepError) -> String {
        self.0.explain(error)
    }

    fn adds_fields(&self) -> usize {
        self.0.adds_fields()
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        self.0.run(block, range, failures);
    }
}
