//! Placeholder, replaced by the ring branch.
use super::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Relaxed},
};
/// Who decides over a queued block.
pub struct Claim(AtomicU8);
impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}
impl Claim {
    /// Queued.
    pub fn new() -> Self {
        Claim(AtomicU8::new(0))
    }
    /// By the worker.
    pub fn take(&self) -> bool {
        self.0.compare_exchange(0, 1, AcqRel, Relaxed).is_ok()
    }
    /// By the producer.
    pub fn give_up(&self) -> bool {
        self.0.compare_exchange(0, 2, AcqRel, Relaxed).is_ok()
    }
}
