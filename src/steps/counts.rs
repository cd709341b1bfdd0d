//! What each step did, for `/stats` and `/metrics`: counted once per block, so cheap enough to leave on.

use super::{Failures, Step, StepError};
use crate::ledger::Count;
use parking_lot::Mutex;
use std::time::Duration;

/// One step's numbers over its life.
#[derive(Debug, Default)]
pub struct StepCounts {
    entries: Count,
    errors: Count,
    discarded: Count,
    nanos: Count,
    last_error: Mutex<Option<StepError>>,
}

/// The same of one run over one block, kept apart until the run is known to count: one that panics is done again.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTally {
    /// Entries that came to it.
    pub entries: u64,
    /// Entries it could not work on.
    pub errors: u64,
    /// Entries it took out, those its `on_error` took out included.
    pub discarded: u64,
    /// Nanoseconds it took.
    pub nanos: u64,
    /// Why the last of the errors.
    pub last_error: Option<StepError>,
}

impl StepTally {
    /// Adds a run: wanted entries before and after it, its failures, its time.
    pub fn add(&mut self, before: usize, after: usize, failures: &Failures, took: Duration) {
        self.entries += before as u64;
        self.discarded += before.saturating_sub(after) as u64;
        self.errors += failures.count() as u64;
        self.nanos += took.as_nanos() as u64;
        self.last_error = failures.last().or(self.last_error);
    }
}

/// A step's numbers at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// Its place in the pipeline, from 1; 0 for the one a source begins with by itself.
    pub number: usize,
    /// Its verb, such as `parse`.
    pub verb: &'static str,
    /// Entries that came to it.
    pub entries: u64,
    /// Entries it could not work on.
    pub errors: u64,
    /// Entries it took out, those its `on_error` took out included.
    pub discarded: u64,
    /// The time it took in all.
    pub time: Duration,
    /// Why it failed last.
    pub last_error: Option<String>,
}

impl StepCounts {
    /// Adds what one block's run came to.
    pub fn add(&self, tally: &StepTally) {
        self.entries.add(tally.entries);
        self.errors.add(tally.errors);
        self.discarded.add(tally.discarded);
        self.nanos.add(tally.nanos);
        if tally.last_error.is_some() {
            *self.last_error.lock() = tally.last_error;
        }
    }

    /// The numbers now, of `step`, which has this number.
    pub fn view(&self, number: usize, step: &dyn Step) -> StepView {
        StepView {
            number,
            verb: step.name(),
            entries: self.entries.get(),
            errors: self.errors.get(),
            discarded: self.discarded.get(),
            time: Duration::from_nanos(self.nanos.get()),
            last_error: self.last_error.lock().map(|error| step.explain(error)),
        }
    }
}
