//! The door to the dead letters: what delivery says of an entry that nobody takes, and what it expects of their keeper.
//!
//! Who keeps them, for how long, and how they are given again is not said here.

use crate::block::EntryView;
use std::io;

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

/// One refused entry.
#[derive(Clone, Copy)]
pub struct Letter<'a> {
    /// The entry, with its stream.
    pub entry: EntryView<'a>,
    /// Why it is refused.
    pub reason: LetterReason,
    /// The status code of the last answer, where the sink speaks HTTP and answered.
    pub status: Option<u16>,
    /// What happened, in words for the operator.
    pub why: &'a str,
    /// How many attempts at it were made, the last one included.
    pub attempts: u32,
    /// The sink that refused it; empty where a step did.
    pub sink: &'a str,
    /// When the first attempt failed, in milliseconds since 1970-01-01 UTC.
    pub first_failed_ms: u64,
}

/// Where refused entries are kept.
pub trait DeadLetters: Send + Sync {
    /// Keeps them; when this returns they are synced.
    ///
    /// Errors: it cannot now (a full disk); none of them counts as kept. The caller waits and tries again with the same
    /// letters, and its lane waits with it.
    fn keep(&self, letters: &[Letter<'_>]) -> io::Result<()>;
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
