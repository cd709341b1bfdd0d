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
use wait::{Bell, Sleeper, Waiters};

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
    /// What [`Ring::pop_wait_unless`] was given to ask says that this consumer need not wait any more.
    Told,
    /// The ring is closed and empty, for good.
    Closed,
}

impl<T> Ring<T> {
    /// A ring with room for `capacity` items, rounded up to a power of two and to 2 at least. Consumers do not
    /// spin before they sleep.
    pub fn new(capacity: usize) -> Self {
        Self::with_spins(capacity, 0)
    }

    /// Like [`Ring::new`], with `spins` `pause` instructions (at most [`wait::SPINS_MAX`]) before a consumer sleeps:
    /// only where workers are fewer than cores.
    pub fn with_spins(capacity: usize, spins: u32) -> Self {
        let capacity = capacity.max(2).next_power_of_two() as u64;
        let slot = |turn| Slot { turn: AtomicU64::new(turn), value: UnsafeCell::new(MaybeUninit::uninit()) };
        Self {
            head: CachePadded::new(AtomicU64::new(0)),
            tail: CachePadded::new(AtomicU64::new(0)),
            slots: (0..capacity).map(slot).collect(),
            mask: capacity - 1,
            waiters: CachePadded::new(Waiters::new(spins)),
        }
    }

    /// Puts one item in and wakes a consumer if one sleeps.
    ///
    /// # Errors
    /// Hands the item back when no place is free or the ring is closed.
    pub fn push(&self, item: T) -> Result<(), PushError<T>> {
        match self.claim_tail(1) {
            Ok((at, _)) => {
                self.write(at, item);
                self.waiters.wake_one();
                Ok(())
            }
            Err(PushError::Full(())) => Err(PushError::Full(item)),
            Err(PushError::Closed(())) => Err(PushError::Closed(item)),
        }
    }

    /// Puts as many items in as fit, from the front of `items`, as one claim and one wake-up: they come out with
    /// nothing in between. Says how many; the rest stays in `items`.
    ///
    /// # Errors
    /// Leaves all of `items` where they are when no place is free or the ring is closed.
    pub fn push_n(&self, items: &mut Vec<T>) -> Result<usize, PushError<()>> {
        if items.is_empty() {
            return Ok(0);
        }
        let (at, n) = self.claim_tail(items.len())?;
        for (position, item) in (at..).zip(items.drain(..n)) {
            self.write(position, item);
        }
        self.waiters.wake_one();
        Ok(n)
    }

    /// Takes the next item out, without waiting. None: empty, or the producer of the next item is still writing it.
    pub fn pop(&self) -> Option<T> {
        let (at, _) = self.claim_head(1)?;
        Some(self.read(at))
    }

    /// Takes up to `max` items out to the end of `out`, as one claim and without waiting. Says how many.
    pub fn pop_n(&self, out: &mut Vec<T>, max: usize) -> usize {
        // Before the claim: once places are claimed nothing may fail until they are left.
        out.reserve(max.min(self.len()));
        let Some((at, n)) = self.claim_head(max.min(out.capacity() - out.len())) else { return 0 };
        out.extend((at..at + n as u64).map(|position| self.read(position)));
        n
    }

    /// Takes the next item out, sleeping while there is none. A nudge is answered before an item is taken, so that
    /// a busy ring cannot put it off.
    pub fn pop_wait(&self, sleeper: &mut Sleeper) -> Pop<T> {
        self.pop_wait_unless(sleeper, || false)
    }

    /// The same, for a consumer that can be told to do something else: `is_told` is asked before anything is taken, and
    /// whoever turns its answer calls [`Ring::wake_this`] afterwards. A wake-up that had been meant for an item is
    /// passed on.
    pub fn pop_wait_unless(&self, sleeper: &mut Sleeper, is_told: impl Fn() -> bool) -> Pop<T> {
        let look = || if is_told() { Some(Pop::Told) } else { self.look() };
        let found = match look() {
            Some(found @ (Pop::Item(_) | Pop::Nudged | Pop::Told)) => return found,
            Some(Pop::Closed) => Pop::Closed,
            None => self.waiters.wait_until(sleeper, look),
        };
        // A wake-up reaches one consumer. It passes the word on while there is something left for another: a batch
        // is announced once, an item can become ready only when a slower producer before it is done, and the end
        // of a closed ring is for all of them.
        if self.is_ready() || self.waiters.is_nudged() || self.is_closed() {
            self.waiters.wake_one();
        }
        found
    }

    /// Makes one consumer's [`Ring::pop_wait`] return [`Pop::Nudged`]: one that sleeps, else the next one that looks.
    /// Never lost; several nudges before the first answer count as one. Whoever answers sees all that the nudging
    /// threads had written.
    pub fn nudge(&self) {
        self.waiters.nudge();
    }

    /// Wakes the consumer of this bell, if it sleeps here, and no other: see [`Ring::pop_wait_unless`].
    pub fn wake_this(&self, bell: &Bell) {
        self.waiters.wake_this(bell);
    }

    /// Refuses further items and wakes all consumers; what is inside can still be taken out. Doing it again is fine.
    pub fn close(&self) {
        // Release pairs with the Acquire in `is_closed`: who sees the ring closed sees what led to it.
        self.tail.fetch_or(CLOSED, Release);
        self.waiters.wake_all();
    }

    /// Whether [`Ring::close`] was called. Items may still be inside.
    pub fn is_closed(&self) -> bool {
        // Acquire pairs with the Release in `close`.
        self.tail.load(Acquire) & CLOSED != 0
    }

    /// How many items are inside, or on their way in or out: exact only while nobody pushes or pops.
    pub fn len(&self) -> usize {
        // Relaxed: for display and decisions that may be a little late. Head first: it only grows towards tail.
        let head = self.head.load(Relaxed);
        let tail = self.tail.load(Relaxed) & !CLOSED;
        tail.saturating_sub(head).min(self.slots.len() as u64) as usize
    }

    /// Whether nothing is inside, as exact as [`Ring::len`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items fit.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, position: u64) -> &Slot<T> {
        &self.slots[(position & self.mask) as usize]
    }

    /// How many places from `from` on, at most `max`, say that it is the turn of `position + ahead`.
    fn run(&self, from: u64, max: usize, ahead: u64) -> usize {
        // Acquire pairs with the Release stores of `turn` in `write` and `read`: whoever sees a place handed over
        // sees what was done to it. With Relaxed a consumer could read a place nobody has written, or a producer
        // overwrite one that is still being read.
        let ready = |at: &u64| self.slot(*at).turn.load(Acquire) == at + ahead;
        (from..from + max as u64).take_while(ready).count()
    }

    /// Makes a run of free places ours to write: the first position and how many, 1 to `max`.
    fn claim_tail(&self, max: usize) -> Result<(u64, usize), PushError<()>> {
        // Relaxed, here and in the exchange: `tail` only shares out numbers. That the places are free was seen
        // by the Acquire loads in `run`, and only the winner of the exchange may change them from there.
        let mut tail = self.tail.load(Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed(()));
            }
            let n = self.run(tail, max, 0);
            let now = if n > 0 {
                match self.tail.compare_exchange_weak(tail, tail + n as u64, Relaxed, Relaxed) {
                    Ok(_) => return Ok((tail, n)),
                    Err(now) => now,
                }
            } else {
                // Not free: taken by another producer, and then its exchange came before the turn we have just
                // acquired and this load sees it; or not yet left by its last consumer, and then we are full.
                match self.tail.load(Relaxed) {
                    now if now == tail => return Err(PushError::Full(())),
                    now => now,
                }
            };
            tail = now;
        }
    }

    /// Makes a run of written places ours to read: the first position and how many, 1 to `max`.
    fn claim_head(&self, max: usize) -> Option<(u64, usize)> {
        // Relaxed as in `claim_tail`, with the roles exchanged.
        let mut head = self.head.load(Relaxed);
        loop {
            let n = self.run(head, max, 1);
            let now = if n > 0 {
                match self.head.compare_exchange_weak(head, head + n as u64, Relaxed, Relaxed) {
                    Ok(_) => return Some((head, n)),
                    Err(now) => now,
                }
            } else {
                match self.head.load(Relaxed) {
                    now if now == head => return None,
                    now => now,
                }
            };
            head = now;
        }
    }

    /// Fills a claimed place and hands it to its consumer.
    fn write(&self, at: u64, item: T) {
        let slot = self.slot(at);
        slot.value.with_mut(|value| {
            // SAFETY: winning the exchange in `claim_tail` made position `at` ours alone, after its turn had said that
            // the last consumer is out; other producers claim other positions, and consumers stay away until the
            // turn says `at + 1`, which is stored below. What is overwritten is uninitialized or was moved out.
            unsafe { (*value).write(item) };
        });
        // Release pairs with the Acquire in `run`, called for `claim_head`: whoever sees this turn sees the value.
        slot.turn.store(at + 1, Release);
    }

    /// Empties a claimed place and hands it to its next producer.
    fn read(&self, at: u64) -> T {
        let slot = self.slot(at);
        let item = slot.value.with_mut(|value| {
            // SAFETY: winning the exchange in `claim_head` made position `at` ours alone, after its turn had said that
            // the value is written; nobody writes here until the turn stored below. The value is moved out once,
            // because no position is claimed twice.
            unsafe { (*value).assume_init_read() }
        });
        // Release pairs with the Acquire in `run`, called for `claim_tail`: whoever sees this turn may write, our read
        // is over. With Relaxed a producer could overwrite the value while it is still being copied.
        slot.turn.store(at + self.slots.len() as u64, Release);
        item
    }

    /// One look for whatever ends a wait.
    fn look(&self) -> Option<Pop<T>> {
        if self.waiters.take_nudge() {
            return Some(Pop::Nudged);
        }
        match self.pop() {
            Some(item) => Some(Pop::Item(item)),
            None => self.is_finished().then_some(Pop::Closed),
        }
    }

    /// Whether the ring is closed and every place ever claimed by a producer was claimed by a consumer too.
    fn is_finished(&self) -> bool {
        // Acquire pairs with the Release in `close`, for the caller's sake. Head is Relaxed: it can only be read too
        // small, and that means another look; once closed, `tail` cannot move away from it.
        let tail = self.tail.load(Acquire);
        tail & CLOSED != 0 && self.head.load(Relaxed) == tail & !CLOSED
    }

    /// Whether the next item could be taken now.
    fn is_ready(&self) -> bool {
        // Relaxed as in `claim_head`, and as there a place that another consumer has just left says nothing of the next
        // one. Answered from the first look alone, a wake-up would end here with an item behind that place and somebody
        // asleep: `tests/loom.rs` finds it.
        let mut head = self.head.load(Relaxed);
        loop {
            if self.run(head, 1, 1) == 1 {
                return true;
            }
            match self.head.load(Relaxed) {
                now if now == head => return false,
                now => head = now,
            }
        }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests;
