//! The lock-free MPMC queue between sources and workers.
//!
//! What goes in comes out once, in the order in which producers claimed their places, to whichever consumer is first;
//! a full or closed ring hands the item back. Closing lets what is inside be taken out: no item accepted before the
//! close is lost. Places are Dmitry Vyukov's (bounded MPMC queue, 1024cores.net): each carries the turn of its next
//! user, so producers and consumers meet only at two counters and never wait for a lock.
//! Not here: what an item is, how much may be inside (see [`credits`]), who may give one up (see [`claim`]).

pub mod claim;
pub mod credits;
pub mod sync;
pub mod wait;

use crossbeam_utils::CachePadded;
use std::mem::MaybeUninit;
use sync::Ordering::{Acquire, Relaxed, Release};
use sync::{AtomicU64, UnsafeCell};
use wait::{Sleeper, Waiters};

/// The bit of `tail` that says: no more. The 63 bits below count positions and would last 292 years at one per ns.
const CLOSED: u64 = 1 << 63;

/// A bounded queue for any number of producers and consumers.
pub struct Ring<T> {
    /// The position the next consumer claims. Moved only by an exchange, and only over places whose turn says
    /// they are ready, so a claimed place can be read at once.
    head: CachePadded<AtomicU64>,
    /// The position the next producer claims, and [`CLOSED`] above it. In one word, so that an exchange that claims a
    /// place fails once the ring is closed: after that, what `tail` counts is all there will ever be.
    tail: CachePadded<AtomicU64>,
    /// A power of two of them; position `p` lives in place `p & mask`.
    slots: Box<[Slot<T>]>,
    mask: u64,
    waiters: CachePadded<Waiters>,
}

/// One place of the ring.
struct Slot<T> {
    /// Whose turn it is: position `p` while `p`'s producer may write here, `p + 1` while `p`'s consumer may read. After
    /// that it is `p + capacity`, the next producer's. (So a ring of one place could not tell the last two apart.)
    turn: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: a value is moved in by one thread and out by one other, never looked at by two: the turn protocol above gives
// a place to one owner at a time. So sharing a ring only ever sends values, and `T: Send` is what that needs.
unsafe impl<T: Send> Sync for Ring<T> {}

// SAFETY: the ring owns its values; moving it to another thread moves them.
unsafe impl<T: Send> Send for Ring<T> {}

/// Why an item was not taken; it comes back inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// No place is free now (or the consumer of the oldest one is just leaving it): try again later.
    Full(T),
    /// The ring is closed: nothing will ever fit again.
    Closed(T),
}

impl<T> PushError<T> {
    /// The item that did not go in.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

/// What a consumer that waits comes back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pop<T> {
    /// The next item.
    Item(T),
    /// Somebody called [`Ring::nudge`]: look at what is shared, then wait again.
    Nudged,
    /// The ring is closed and empty, for good.
    Closed,
}

impl<T> Ring<T> {
    /// A ring with room for `capacity` items, rounded up to a power of two and to 2 at least. Consumers do not
    /// spin before they sleep.
    pub fn new(capacity: usize) -> Self {
        Self::with_spins(capacity, 0)
    }
    /// Pop.
    pub fn pop(&self) -> Option<T> {
        self.0.lock().pop_front()
    }
    /// Push.
    pub fn push(&self, item: T) -> Result<(), Refused<T>> {
        self.0.lock().push_back(item);
        Ok(())
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests;
