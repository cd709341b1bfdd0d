//! The hallway to the workers of one pool: the ring with its credits and memory; and the gates that keep sources from it.

use crate::ack::Hold;
use crate::block::{Block, Blocks};
use crate::pool::{Budget, Owned};
use crate::ring::Ring;
use crate::ring::credits::Credits;
use crate::thread::{WaitList, Wake};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

/// The number of a domain: a source and the thread that produces its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u32);

/// A block on its way through the ring.
pub struct Shipment {
    /// Its entries.
    pub block: Owned<Block>,
    /// The share that every block begins with; a worker splits it among the lanes.
    pub whole: Hold,
    /// Which sequencer it goes back into order at.
    pub domain: DomainId,
    /// Its place in that order.
    pub ticket: u64,
    /// Credits it took: entries and bytes.
    pub credits: (usize, usize),
    /// When it was pushed.
    pub shipped: Instant,
    /// What its source wants done where a lane has no room.
    pub strategy: Strategy,
}

/// What a source does when it cannot go on, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// It stops reading until there is room: nothing is lost that can wait outside.
    #[default]
    Block,
    /// It gives up its own oldest entries that no worker has begun, counted.
    DropOldest,
    /// It gives up what comes in, counted.
    DropNewest,
    /// What a sink has no memory for goes to disk; only when there is no room either does it stop reading.
    Spill,
}

impl Strategy {
    /// Whether it waits when there is no room, rather than lose anything.
    pub fn waits(self) -> bool {
        matches!(self, Strategy::Block | Strategy::Spill)
    }
}

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

/// The hallway to the workers of one pool: the ring with its credits, the memory, and who waits for them. Pools share
/// nothing of it but where blocks come from, so that one that is full costs the others nothing.
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

    /// Whether the ring is between its watermarks on the way down. If so, `freed` is called when it no longer is.
    pub(super) fn is_congested(&self) -> bool {
        self.credits.congested() && {
            self.freed.want();
            self.credits.congested()
        }
    }

    /// Who is woken when there is room or memory again.
    pub(super) fn join(&self, waker: &Arc<dyn Wake>) {
        self.freed.join(Arc::clone(waker));
        self.transit.wake_when_free(Arc::clone(waker));
    }

    /// Who is not to be woken any more.
    pub(super) fn leave(&self, waker: &Arc<dyn Wake>) {
        self.freed.leave(waker);
        self.transit.forget(waker);
    }
}
