//! The sink of the lane for what steps gave up: it takes nothing. What it is given is refused with the step's reason, and
//! so becomes dead letters by the way of all that is refused.
//!
//! Workers never wait for a disk: they push to this lane as to any other, and its sender waits.

use super::store::NAME;
use crate::batch::Batch;
use crate::sinks::{SendError, Sink};

/// The sink.
pub struct GivenUp;

impl Sink for GivenUp {
    fn kind(&self) -> &'static str {
        NAME
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let _ = batch;
        Err(SendError::Reject("x".into()))
    }
}
