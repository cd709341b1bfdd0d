//! A sink made by the program this is a library of, as it stands in a config.

use super::Sink;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A sink of the program's own. Two are the same if they are one object.
#[derive(Clone)]
pub struct CustomSink(pub Arc<dyn Sink>);

impl fmt::Debug for CustomSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomSink({})", self.0.kind())
    }
}

impl PartialEq for CustomSink {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Serialize for CustomSink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("of", "the program")])
    }
}
