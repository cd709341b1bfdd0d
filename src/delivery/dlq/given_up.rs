//! The sink of the lane for what steps gave up: it takes nothing. What it is given is refused with the step's reason, and
//! so becomes dead letters by the way of all that is refused.
//!
//! Workers never wait for a disk: they push to this lane as to any other, and its sender waits.

use super::store::NAME;
use crate::batch::{Batch, LetterReason, Said};
use crate::sinks::{SendError, Sink};

/// The sink.
pub struct GivenUp;

impl Sink for GivenUp {
    fn kind(&self) -> &'static str {
        NAME
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let mut progress = batch.progress();
        for (place, entry) in batch.iter().enumerate() {
            let refusal = entry.refusal();
            let reason = match refusal {
                Some(refusal) if refusal.panicked => LetterReason::Panic,
                _ => LetterReason::StepFailed,
            };
            let why = refusal.map_or_else(|| "a step refused it".into(), |refusal| refusal.why.clone());
            progress.refuse_for(place, Said { why, status: None }, reason);
        }
        Ok(())
    }
}
