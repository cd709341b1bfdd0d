//! What is said of entries that are not taken.

use std::fmt;
use std::sync::Arc;

/// Why an entry is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LetterReason {
    /// The sink understood it and refused it (400, 413, 422, an answer about single entries), or it cannot be encoded.
    Rejected = 0,
    /// The sink answered `max_retries` times that it could not work on what was sent.
    RetriesSpent = 1,
    /// The sink did not let us in for longer than `auth_grace`.
    Denied = 2,
    /// A step could not work on it and said `on_error: dead_letter`.
    StepFailed = 3,
    /// A step or a sink panicked on it.
    Panic = 4,
    /// It is larger than anything that could carry it.
    TooLarge = 5,
}

impl LetterReason {
    /// All reasons.
    pub const ALL: [LetterReason; 6] = [
        LetterReason::Rejected,
        LetterReason::RetriesSpent,
        LetterReason::Denied,
        LetterReason::StepFailed,
        LetterReason::Panic,
        LetterReason::TooLarge,
    ];

    /// The reason's word in metrics, `/stats`, logs and records.
    pub fn name(self) -> &'static str {
        ["rejected", "retries_spent", "denied", "step_failed", "panic", "too_large"][self as usize]
    }

    /// Whether the same entry may be taken later though nobody changed it.
    pub fn may_pass(self) -> bool {
        matches!(self, LetterReason::RetriesSpent | LetterReason::Denied)
    }
}

/// What a destination said when it did not take something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// In words, for the operator.
    pub why: Arc<str>,
    /// The status code, where it speaks HTTP and answered.
    pub status: Option<u16>,
}

impl Said {
    /// What an answer with this status says.
    pub fn with_status(why: impl Into<Arc<str>>, status: u16) -> Self {
        Said { why: why.into(), status: Some(status) }
    }
}

impl<T: Into<Arc<str>>> From<T> for Said {
    fn from(why: T) -> Self {
        Said { why: why.into(), status: None }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// One entry of a batch that its sink does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch.
    pub place: usize,
    /// What was said of it last.
    pub said: Said,
    /// Why it is not tried any more.
    pub reason: LetterReason,
    /// How many attempts at it were made; 0 until delivery says so.
    pub attempts: u32,
    /// When the first attempt at it failed, in milliseconds since 1970-01-01 UTC; 0 until delivery says so.
    pub first_failed_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own_and_only_two_may_pass_by_themselves() {
        let words: Vec<_> = LetterReason::ALL.map(LetterReason::name).into();
        assert_eq!(words, ["rejected", "retries_spent", "denied", "step_failed", "panic", "too_large"]);
        let passing = LetterReason::ALL.into_iter().filter(|reason| reason.may_pass());
        assert_eq!(passing.collect::<Vec<_>>(), [LetterReason::RetriesSpent, LetterReason::Denied]);
    }
}
