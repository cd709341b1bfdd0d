//! The door to the dead letters: what delivery says of an entry that nobody takes, and what it expects of their keeper.
//!
//! Who keeps them, for how long, and how they are given again is not said here.

pub use crate::batch::LetterReason;
use crate::block::EntryView;
use std::io;

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
