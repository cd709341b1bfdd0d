//! Which hallway a source's blocks go through, and what it must not do while they are in two.

use super::hallway::Hallway;
use super::inlet::InletSpec;
use crate::thread::{WaitList, Wake};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Which hallway the blocks of a source go through. A reload may assign another: the source's inlets see that when they
/// ship the next block, and are woken for it if they sleep.
pub struct Assigned {
    hallway: ArcSwap<Hallway>,
    inlets: WaitList,
}

impl Assigned {
    /// Assigned to `hallway`.
    pub fn to(hallway: &Arc<Hallway>) -> Arc<Self> {
        Arc::new(Assigned { hallway: ArcSwap::new(Arc::clone(hallway)), inlets: WaitList::default() })
    }

    /// The hallway it is assigned to now.
    pub fn hallway(&self) -> Arc<Hallway> {
        self.hallway.load_full()
    }

    /// Whether that is `hallway`.
    pub(super) fn is(&self, hallway: &Arc<Hallway>) -> bool {
        Arc::ptr_eq(&self.hallway.load(), hallway)
    }

    /// Assigns another; nothing happens if it is the same.
    pub fn assign(&self, hallway: &Arc<Hallway>) {
        if !self.is(hallway) {
            self.hallway.store(Arc::clone(hallway));
            self.inlets.want();
            self.inlets.call();
        }
    }

    /// Who is woken when it is assigned to another.
    pub(super) fn join(&self, waker: &Arc<dyn Wake>) {
        self.inlets.join(Arc::clone(waker));
    }

    /// Who is not to be woken any more.
    pub(super) fn leave(&self, waker: &Arc<dyn Wake>) {
        self.inlets.leave(waker);
    }
}

impl InletSpec {
    /// How many bytes of text the largest block holds.
    pub fn largest_block(&self) -> usize {
        self.assigned.hallway().blocks.class(usize::MAX)
    }
}

/// How far the blocks of a domain are drained, for its inlet, which asks only while they are in two rings.
///
/// Then it ships no block that its sequencer would not let in at once. So a worker that waits for its turn always waits for
/// a worker of its own pool, which took the earlier block out of the same ring: no two pools wait for each other.
pub struct Drained {
    /// The lowest ticket that is not drained. Written by whoever drains, one after the other.
    next: AtomicU64,
    /// How many tickets the sequencer lets in from there.
    window: u64,
    waiting: WaitList,
}

impl Drained {
    /// Of a domain whose sequencer lets in `window` blocks.
    pub fn new(window: usize) -> Arc<Self> {
        Arc::new(Drained {
            next: AtomicU64::new(0),
            window: window.max(1) as u64,
            waiting: WaitList::default(),
        })
    }

    /// The block of this ticket is drained. For one thread at a time, in their order; call [`Drained::call`] afterwards.
    pub fn pass(&self, ticket: u64) {
        // Release pairs with the Acquire loads below: whoever ships by what it reads here ships after the sequencer, which
        // has passed the ticket before this, lets the block in.
        self.next.store(ticket + 1, Release);
    }

    /// Wakes the inlet if it waits.
    pub fn call(&self) {
        self.waiting.call();
    }

    /// Whether all tickets below this one are drained.
    pub(super) fn all_below(&self, ticket: u64) -> bool {
        self.next.load(Acquire) >= ticket
    }

    /// Whether the sequencer would let this ticket in at once. If not, the inlet is woken when that may have changed.
    pub(super) fn lets_in(&self, ticket: u64) -> bool {
        let does = || ticket < self.next.load(Acquire).saturating_add(self.window);
        does() || {
            self.waiting.want();
            does()
        }
    }

    /// Who is woken.
    pub(super) fn join(&self, waker: &Arc<dyn Wake>) {
        self.waiting.join(Arc::clone(waker));
    }

    /// Who is not to be woken any more.
    pub(super) fn leave(&self, waker: &Arc<dyn Wake>) {
        self.waiting.leave(waker);
    }
}
