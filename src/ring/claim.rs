//! Who has a block that waits in the ring: the worker that popped it, or the producer that gave it up.

use super::sync::AtomicU8;
use super::sync::Ordering::{AcqRel, Acquire};

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const DROPPED: u8 = 2;

/// One exchange decides whether a queued block is worked on or dropped, so its credits go back exactly once.
///
/// Under `drop_oldest` a producer gives up the oldest of its own queued blocks and uses their credits again at once;
/// the block itself stays where it is until a worker pops it and, having lost the exchange, only deposits its ticket as
/// dropped. A watermark ("everything below ticket n is dropped") would be one store instead of one exchange per block,
/// but a worker may have popped a block just before the store: either both give its credits back or nobody does.
#[derive(Debug)]
pub struct Claim(AtomicU8);

impl Claim {
    /// For a block about to be queued: open to both.
    pub fn new() -> Self {
        Self(AtomicU8::new(QUEUED))
    }

    /// The worker's side, after popping. True: the block is the worker's, credits included. False: its producer gave it
    /// up and has taken the credits back.
    pub fn take(&self) -> bool {
        self.settle(TAKEN)
    }

    /// The producer's side. True: the block will not be worked on and its credits are the producer's to give back.
    /// False: a worker has it.
    pub fn give_up(&self) -> bool {
        self.settle(DROPPED)
    }

    /// Whether the producer gave the block up.
    pub fn is_given_up(&self) -> bool {
        // Acquire pairs with the release half of the winning exchange, as in `settle`.
        self.0.load(Acquire) == DROPPED
    }

    /// Opens the claim for the next block. `&mut`: only where neither side can still hold the old one; an exchange that
    /// comes too late would decide about the wrong block.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    fn settle(&self, outcome: u8) -> bool {
        // The release half pairs with the Acquire of the exchange that fails: the loser sees what the winner wrote
        // before winning (say, why a block was given up). With Relaxed it could act on less than that.
        self.0.compare_exchange(QUEUED, outcome, AcqRel, Acquire).is_ok()
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_settle_a_claim_wins_and_the_other_learns_it() {
        let claim = Claim::new();
        assert!(!claim.is_given_up());
        assert!(claim.take());
        assert!(!claim.give_up() && !claim.take() && !claim.is_given_up());

        let claim = Claim::default();
        assert!(claim.give_up());
        assert!(!claim.take() && !claim.give_up() && claim.is_given_up());
    }

    #[test]
    fn a_reset_claim_is_open_again() {
        let mut claim = Claim::new();
        assert!(claim.give_up());
        claim.reset();
        assert!(claim.take());
    }
}
