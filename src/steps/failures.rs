//! What becomes of entries a step could not work on: the step's `on_error`.

use super::StepError;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};

/// What a step does with an entry it could not work on. Counted as the step's error either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes on as it was.
    #[default]
    Pass,
    /// It is taken out, counted as filtered.
    Discard,
    /// It is taken out and kept among the dead letters.
    DeadLetter,
}

impl<'de> Deserialize<'de> for OnError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "pass" => Ok(OnError::Pass),
            "discard" => Ok(OnError::Discard),
            "dead_letter" => Ok(OnError::DeadLetter),
            other => Err(D::Error::unknown_variant(other, &["pass", "discard", "dead_letter"])),
        }
    }
}

/// Gathers what a step could not work on while it runs over a block, and does with it what `on_error` says.
#[derive(Debug, Default)]
pub struct Failures {
    on_error: OnError,
    count: usize,
    last: Option<StepError>,
    /// What is to be dead letters.
    refused: Vec<(usize, StepError)>,
}

impl Failures {
    /// None yet; those to come are treated as `on_error` says.
    pub fn new(on_error: OnError) -> Self {
        Failures { on_error, count: 0, last: None, refused: Vec::new() }
    }

    /// The step could not work on the entry `index`; `live` are the bits of wanted entries.
    #[cold]
    pub fn note(&mut self, live: &mut [u64], index: usize, error: StepError) {
        self.count += 1;
        self.last = Some(error);
        match self.on_error {
            OnError::Pass => {}
            OnError::Discard => live[index / 64] &= !(1 << (index % 64)),
            OnError::DeadLetter => {
                live[index / 64] &= !(1 << (index % 64));
                self.refused.push((index, error));
            }
        }
    }

    /// Those that are to be dead letters, each with what was wrong with it.
    pub fn refused(&self) -> &[(usize, StepError)] {
        &self.refused
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Why the last of them failed.
    pub fn last(&self) -> Option<StepError> {
        self.last
    }
}
