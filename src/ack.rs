//! The way back: one settlement per block, counted down by whoever finishes its entries.
//!
//! A source hands on a block together with an [`Ack`]. Every copy of every entry holds a share of it; whoever is done
//! with some copies settles that many, with a status. When nothing is pending any more, the worst status goes back to
//! the source, which alone decides what it may forget.
//!
//! Text and acknowledgement are separate: freeing a block's text completes nothing, and a [`Hold`] that is lost without
//! a status means *failed*, never *delivered*.

use crate::ring::claim::Claim;
use crate::ring::sync::Ordering::{AcqRel, Relaxed};
use crate::ring::sync::{AtomicU8, AtomicU64};
use std::sync::Arc;

/// What became of a copy of an entry. Of a block's copies the worst counts; all but `Failed` release the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// The sink took it.
    Delivered = 0,
    /// It is on our disk, synced.
    Persisted = 1,
    /// It is among the dead letters, synced.
    DeadLettered = 2,
    /// A policy took it out, and counted it.
    Dropped = 3,
    /// Nobody can say: a source that can replay must.
    Failed = 4,
}

impl Status {
    fn from_code(code: u8) -> Status {
        [Status::Delivered, Status::Persisted, Status::DeadLettered, Status::Dropped]
            .get(usize::from(code))
            .copied()
            .unwrap_or(Status::Failed)
    }
}

/// The place at a source where settled blocks come back to.
pub trait Return: Send + Sync {
    /// The block with this number, as the source counts them, is settled. Called once per block, by any thread; must not block.
    fn settled(&self, number: u64, status: Status);
}

/// The settlement of one block.
pub struct Ack {
    /// Copies that nobody has settled yet, and one more while the block is being routed.
    pending: AtomicU64,
    worst: AtomicU8,
    claim: Claim,
    number: u64,
    back: Arc<dyn Return>,
}

impl Ack {
    /// A settlement that goes back to `back` as `number`; one share is pending: the block itself.
    pub fn new(number: u64, back: Arc<dyn Return>) -> Self {
        Ack { pending: AtomicU64::new(1), worst: AtomicU8::new(0), claim: Claim::new(), number, back }
    }

    /// Makes a settled one ready for another block.
    pub fn reuse(&mut self, number: u64) {
        let back = Arc::clone(&self.back);
        *self = Ack::new(number, back);
    }

    /// Which block it is, as its source counts them.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether a worker or the producer decides over the block while it waits in the ring.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The share every block begins with. Call once per block.
    pub fn whole(self: &Arc<Self>) -> Hold {
        Hold { ack: Arc::clone(self), n: 1 }
    }

    fn settle(&self, n: u32, status: Status) {
        if status != Status::Delivered {
            // Relaxed: the AcqRel below orders it before the last subtraction, whose caller reads it.
            self.worst.fetch_max(status as u8, Relaxed);
        }
        // AcqRel: whoever subtracts last sees every status that was written before an earlier subtraction.
        let before = self.pending.fetch_sub(u64::from(n), AcqRel);
        assert!(before >= u64::from(n), "no copy is settled twice");
        if before == u64::from(n) {
            self.back.settled(self.number, Status::from_code(self.worst.load(Relaxed)));
        }
    }
}

/// A share of an [`Ack`]: `n` copies that its holder answers for.
#[must_use = "a share that is dropped counts as failed"]
pub struct Hold {
    ack: Arc<Ack>,
    n: u32,
}

impl Hold {
    /// A further share of `n` copies, on top of what is pending. Only while this one is held, so never from zero.
    pub fn more(&self, n: u32) -> Hold {
        // Relaxed: this share keeps the count above zero, and every new share is handed on by a synchronised queue.
        self.ack.pending.fetch_add(u64::from(n), Relaxed);
        Hold { ack: Arc::clone(&self.ack), n }
    }

    /// Takes `n` of its copies out into a share of their own.
    pub fn split(&mut self, n: u32) -> Hold {
        assert!(n <= self.n, "a share is split within itself");
        self.n -= n;
        Hold { ack: Arc::clone(&self.ack), n }
    }

    /// The claim on the block while it waits in the ring.
    pub fn claim(&self) -> &Claim {
        &self.ack.claim
    }

    /// How many copies it answers for.
    pub fn copies(&self) -> u32 {
        self.n
    }

    /// Joins a share of the same block to this one, so that both settle by one subtraction; or hands it back.
    pub fn join(&mut self, mut other: Hold) -> Result<(), Hold> {
        if !Arc::ptr_eq(&self.ack, &other.ack) {
            return Err(other);
        }
        self.n += std::mem::take(&mut other.n);
        Ok(())
    }

    /// Takes the share back: the block never left its source, nobody is told.
    pub fn cancel(mut self) {
        self.n = 0;
    }

    /// Says what became of its copies.
    pub fn settle(mut self, status: Status) {
        self.finish(status);
    }

    fn finish(&mut self, status: Status) {
        let n = std::mem::take(&mut self.n);
        if n > 0 {
            self.ack.settle(n, status);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.finish(Status::Failed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u64, Status)>>);
    impl Return for Heard {
        fn settled(&self, number: u64, status: Status) {
            self.0.lock().push((number, status));
        }
    }

    fn acked() -> (Arc<Heard>, Hold) {
        let heard = Arc::new(Heard::default());
        let whole = Arc::new(Ack::new(7, heard.clone())).whole();
        (heard, whole)
    }

    #[test]
    fn the_source_hears_once_and_of_the_worst() {
        let (heard, whole) = acked();
        let mut lane = whole.more(5);
        let other = whole.more(2);
        whole.settle(Status::Delivered);
        lane.split(3).settle(Status::Dropped);
        other.settle(Status::Persisted);
        assert!(heard.0.lock().is_empty());
        lane.settle(Status::Delivered);
        assert_eq!(*heard.0.lock(), [(7, Status::Dropped)]);
    }

    #[test]
    fn a_lost_share_means_failed() {
        let (heard, whole) = acked();
        let lane = whole.more(5);
        whole.settle(Status::Delivered);
        drop(lane);
        assert_eq!(*heard.0.lock(), [(7, Status::Failed)]);
    }

    #[test]
    fn joined_shares_settle_together() {
        let (heard, whole) = acked();
        let (mut a, b) = (whole.more(1), whole.more(2));
        whole.settle(Status::Delivered);
        assert!(a.join(b).is_ok());
        assert!(a.join(acked().1).is_err());
        a.settle(Status::Delivered);
        assert_eq!(*heard.0.lock(), [(7, Status::Delivered)]);
    }
}
