//! Steps that see entries in their order.
//!
//! A worker may have any block at any time, so what depends on the entries before cannot be decided there. An ordered step
//! is in two parts. What it needs to know of an entry is noted by the worker, as by any step, at the step's place in
//! the pipeline: the *note*, 128 bits. The decision is made when the block's turn comes, in ticket order, from the notes
//! alone: O(1) per entry, without waiting for anything.
//!
//! All the steps behind it are pure and look at one entry at a time, so they may work on entries that it takes out later:
//! what they made of them is taken out with them. The outcome is the same as if the steps ran one after the other.
//!
//! What it remembers belongs to the pipeline: sources that name the same pipeline share it, in the order in which their
//! blocks come.

pub mod config;
pub mod dedupe;
mod key;
mod keyed;
pub mod metric;
pub mod throttle;

use super::{Failures, Step, StepError, Verdict};
use crate::block::{Block, count_selected};
use crate::clock::SteadyNanos;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use key::Key;

/// An ordered step.
pub trait Ordered: Send + Sync {
    /// Its verb, as in the config.
    fn verb(&self) -> &'static str;

    /// What it has to know of the entry `index`; in any worker, at any time.
    fn note(&self, block: &Block, index: usize) -> Result<u128, StepError>;

    /// Notes what it has to know of all entries at `place`.
    fn note_all(&self, place: Place<'_>, failures: &mut Failures) {
        place.note(failures, |block, index| self.note(block, index));
    }

    /// Sets the bits of the entries to be taken out in `out`, which has those of the steps before it set already; their
    /// notes do not count. `now` is when the block was shipped. In ticket order per domain.
    fn decide(&self, block: &Block, notes: Notes<'_>, now: SteadyNanos, out: &mut [u64]);

    /// Forgets what it knows of entries, as some are going to be given again.
    fn forget(&self) {}

    /// What it takes out counts as dropped, for the reason `throttle`, instead of filtered.
    fn drops(&self) -> bool {
        false
    }

    /// What it remembers.
    fn view(&self) -> OrderedView;

    /// It as one that makes a metric.
    fn as_metric(&self) -> Option<&metric::Metric> {
        None
    }

    /// It as one that counts what it took out, to be told later.
    fn as_dedupe(self: Arc<Self>) -> Option<Arc<dedupe::Dedupe>> {
        None
    }
}

/// Where an ordered step notes something: the wanted entries of a range.
pub struct Place<'a> {
    block: &'a mut Block,
    slot: usize,
    range: Range<usize>,
}

impl Place<'_> {
    /// Notes for each what `note` says; those it fails on go to `failures`.
    pub fn note(
        self,
        failures: &mut Failures,
        mut note: impl FnMut(&Block, usize) -> Result<u128, StepError>,
    ) {
        let Place { block, slot, range } = self;
        for word in range.start / 64..range.end.div_ceil(64) {
            let first = word * 64;
            let bits = [block.selection(0)[word]];
            let here = range.start.max(first) - first..range.end.min(first + 64) - first;
            for index in crate::block::selected(&bits, here).map(|at| first + at) {
                match note(block, index) {
                    Ok(note) => block.note(slot, index, note),
                    Err(error) => failures.note(block.parts().live, index, error),
                }
            }
        }
    }
}

/// What an ordered step remembers, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderedView {
    /// Keys it knows.
    pub keys: u64,
    /// Keys it forgot before their time, as there was no room.
    pub evicted: u64,
    /// Counts of what it took out that could not be told.
    pub lost_counts: u64,
}

/// The entries of a block that came to an ordered step.
#[derive(Clone, Copy)]
pub struct Notes<'a> {
    block: &'a Block,
    slot: usize,
}

impl<'a> Notes<'a> {
    /// Each entry with its note, in their order.
    pub fn iter(self) -> impl Iterator<Item = (usize, u128)> + 'a {
        self.block.notes(self.slot)
    }
}

/// Whether the bit of the entry `index` is set.
fn is_set(bits: &[u64], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}

/// Sets the bit of the entry `index`.
fn set(bits: &mut [u64], index: usize) {
    bits[index / 64] |= 1 << (index % 64);
}

/// The part of an ordered step that stands in its pipeline.
pub(super) struct Noting {
    /// Its number among the ordered ones.
    pub slot: usize,
    pub ordered: Arc<dyn Ordered>,
}

impl Step for Noting {
    fn name(&self) -> &'static str {
        self.ordered.verb()
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let note = self.ordered.note(block, index)?;
        block.note(self.slot, index, note);
        Ok(Verdict::Keep)
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        self.ordered.note_all(Place { block, slot: self.slot, range }, failures);
    }
}

/// What the ordered steps of a pipeline made of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// A bit per entry that was taken out.
    pub out: Vec<u64>,
    /// How many were, in all.
    pub taken: u64,
    /// Of those, how many count as dropped.
    pub throttled: u64,
}

/// Has each of the steps decide over `block` in turn; `count` hears how many each took out and how long it took.
pub(super) fn decide<'a>(
    steps: impl Iterator<Item = &'a Arc<dyn Ordered>>,
    block: &Block,
    now: SteadyNanos,
    mut count: impl FnMut(usize, u64, Duration),
) -> Decided {
    let entries = block.entries().len();
    let mut decided = Decided { out: vec![0; entries.div_ceil(64)], ..Decided::default() };
    let mut begun = Instant::now();
    for (slot, step) in steps.enumerate() {
        step.decide(block, Notes { block, slot }, now, &mut decided.out);
        let (taken, ended) = (count_selected(&decided.out, 0..entries) as u64, Instant::now());
        let here = taken - decided.taken;
        decided.taken = taken;
        decided.throttled += if step.drops() { here } else { 0 };
        count(slot, here, ended - begun);
        begun = ended;
    }
    decided
}

#[cfg(test)]
mod tests;
