//! What a worker shows of itself, and how it is told to leave.
//!
//! A worker writes its numbers once per block and alone; whoever looks reads them a little late. It leaves between two
//! blocks: what it has begun it finishes.

use crate::ring::Ring;
use crate::ring::wait::{Bell, Sleeper};
use crate::sources::inlet::Shipment;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

/// One worker, as others see it.
pub struct Seat {
    /// The name of its thread.
    pub name: String,
    bell: Bell,
    told: AtomicBool,
    since: Instant,
    blocks: AtomicU64,
    entries: AtomicU64,
    /// How long the blocks it took had waited in the ring, in nanoseconds.
    waited: AtomicU64,
    /// How long it was at blocks that it has finished with, in nanoseconds.
    busy: AtomicU64,
    /// When it began what it is at, in nanoseconds after `since`; 0 while it has no block, or waits with it.
    begun: AtomicU64,
}

/// The numbers of a worker at one moment; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Blocks it took.
    pub blocks: u64,
    /// Entries in them.
    pub entries: u64,
    /// How long these blocks had waited in the ring, all together.
    pub waited: Duration,
    /// How long it was at them, what it is at now included.
    pub busy: Duration,
    /// Whether it is at one now.
    pub is_busy: bool,
}

impl Seat {
    /// The seat of a worker that is about to begin at `now` and sleeps on `sleeper`.
    pub fn new(name: String, sleeper: &Sleeper, now: Instant) -> Self {
        Seat {
            name,
            bell: sleeper.bell(),
            told: AtomicBool::new(false),
            since: now,
            blocks: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// Tells the worker, which takes its blocks from `ring`, to leave. It does so before it takes another.
    pub fn tell_to_leave(&self, ring: &Ring<Shipment>) {
        // Relaxed: ordered before the last look of a sleeper by the lock in `wake_this`; one that works sees it in time.
        self.told.store(true, Relaxed);
        ring.wake_this(&self.bell);
    }

    /// Whether it was told to leave.
    pub fn is_told(&self) -> bool {
        // Relaxed: see `tell_to_leave`.
        self.told.load(Relaxed)
    }

    /// Since when there is this worker.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What it has done until `now`.
    pub fn done(&self, now: Instant) -> Done {
        // Relaxed, all of them: for decisions that may be a little late. Busy last: read between the two stores of a
        // block that ends it is too small by that block, once, and never counts it twice.
        let begun = self.begun.load(Relaxed);
        let at_it = if begun > 0 { self.nanos(now).saturating_sub(begun) } else { 0 };
        Done {
            blocks: self.blocks.load(Relaxed),
            entries: self.entries.load(Relaxed),
            waited: Duration::from_nanos(self.waited.load(Relaxed)),
            busy: Duration::from_nanos(self.busy.load(Relaxed) + at_it),
            is_busy: begun > 0,
        }
    }

    /// It took a block of so many entries that had waited so long. Only for the worker itself, as all below.
    pub(super) fn begin(&self, entries: u64, waited: Duration, now: Instant) {
        add(&self.blocks, 1);
        add(&self.entries, entries);
        add(&self.waited, waited.as_nanos() as u64);
        self.go_on(now);
    }

    /// It can do nothing about its block for a while, or is done with it.
    pub(super) fn rest(&self, now: Instant) {
        let begun = self.begun.load(Relaxed);
        // In this order: whoever reads in between misses something once, rather than see it twice.
        self.begun.store(0, Relaxed);
        add(&self.busy, self.nanos(now).saturating_sub(begun));
    }

    /// It goes on with its block.
    pub(super) fn go_on(&self, now: Instant) {
        self.begun.store(self.nanos(now).max(1), Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_nanos() as u64
    }
}

/// Relaxed, load and store apart: only the worker itself writes it.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Relaxed) + more, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_a_worker_is_at_counts_before_it_is_done_and_what_it_waits_for_does_not() {
        let (sleeper, t0) = (Sleeper::new(), Instant::now());
        let seat = Seat::new("worker-0".into(), &sleeper, t0);
        assert_eq!(seat.done(t0 + 5 * MS), Done::default());
        seat.begin(10, 3 * MS, t0 + 5 * MS);
        let expected = Done { blocks: 1, entries: 10, waited: 3 * MS, busy: 2 * MS, is_busy: true };
        assert_eq!(seat.done(t0 + 7 * MS), expected);
        seat.rest(t0 + 8 * MS);
        assert_eq!(seat.done(t0 + 20 * MS), Done { busy: 3 * MS, is_busy: false, ..expected });
        seat.go_on(t0 + 20 * MS);
        seat.rest(t0 + 24 * MS);
        seat.begin(1, MS, t0 + 30 * MS);
        let expected = Done { blocks: 2, entries: 11, waited: 4 * MS, busy: 8 * MS, is_busy: true };
        assert_eq!(seat.done(t0 + 31 * MS), expected);
    }
}
