//! What all sources share on their way in: the ring with its credits and memory; and the gates that keep them from it.

use super::inlet::Shipment;
use crate::block::Blocks;
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::Credits;
use crate::thread::{WaitList, Wake};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

/// Keeps the sources of full lanes from reading.
#[derive(Default)]
pub struct Gate {
    closed_by: AtomicU32,
    waiting: WaitList,
}

impl Gate {
    /// One more lane is full.
    pub fn close(&self) {
        // SeqCst: ordered with the wish in `waiting`, see `is_open`.
        self.closed_by.fetch_add(1, SeqCst);
    }

    /// One lane has room again; the last one wakes the source.
    pub fn open(&self) {
        self.closed_by.fetch_sub(1, SeqCst);
        self.waiting.call();
    }

    /// Whether the source may read. If not, it is woken when it may.
    pub fn is_open(&self) -> bool {
        if self.closed_by.load(SeqCst) == 0 {
            return true;
        }
        self.waiting.want();
        self.closed_by.load(SeqCst) == 0
    }

    /// Who is woken when the gate opens.
    pub fn wake_when_open(&self, waker: Arc<dyn Wake>) {
        self.waiting.join(waker);
    }

    /// Who is not to be woken any more.
    pub fn forget(&self, waker: &Arc<dyn Wake>) {
        self.waiting.leave(waker);
    }
}

/// The hallway all sources share: the ring with its credits, the memory, and who waits for them.
pub struct Hallway {
    /// The queue to the workers.
    pub ring: Ring<Shipment>,
    /// What it may hold.
    pub credits: Credits,
    /// Those who found no credits or no slot; call it after giving some back.
    pub freed: WaitList,
    /// Memory in transit: open blocks, the ring, the workers, the sequencers.
    pub transit: Arc<Budget>,
    /// Where blocks come from.
    pub blocks: Blocks,
    /// Most entries a block may have, so that a few blocks do not fill the ring.
    pub block_entries: usize,
}

impl Hallway {
    /// Gives credits back, and wakes those who wait for some, once per crossing of the low watermark: while the ring is
    /// congested they would only look and sleep again.
    pub fn give_back(&self, entries: u64, bytes: u64) {
        self.credits.give(entries, bytes);
        if !self.credits.congested() {
            self.freed.call();
        }
    }
}

/// Whether the ring is between its watermarks on the way down. If so, `freed` is called when it no longer is.
pub(super) fn is_congested(hallway: &Hallway) -> bool {
    hallway.credits.congested() && {
        hallway.freed.want();
        hallway.credits.congested()
    }
}
