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
}

impl<'de> Deserialize<'de> for OnError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "pass" => Ok(OnError::Pass),
            "discard" => Ok(OnError::Discard),
            "dead_letter" => Err(D::Error::custom(
                "`dead_letter` comes with the dead letter queue; now: `pass` or `discard`",
            )),
            other => Err(D::Error::unknown_variant(other, &["pass", "discard"])),
        }
    }
}

/// Gathers what a step could not work on while it runs over a block, and does with it what `on_error` says.
#[derive(Debug, Default)]
pub struct Failures {
    on_error: OnError,
    count: usize,
    last: Option<StepError>,
}

impl Failures {
    /// None yet; those to come are treated as `on_error` says.
    pub fn new(on_error: OnError) -> Self {
        Failures { on_error, count: 0, last: None }
    }

    /// The step could not work on the entry `index`; `live` are the bits of wanted entries.
    #[cold]
    pub fn note(&mut self, live: &mut [u64], index: usize, error: StepError) {
        self.count += 1;
        self.last = Some(error);
        match self.on_error {
            OnError::Pass => {}
            OnError::Discard => live[index / 64] &= !(1 << (index % 64)),
        }
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
