//! The end of a batch: what nobody takes goes to the dead letters, then its sources hear of all of it.

use super::letters::{DeadLetters, Letter};
use super::{Case, Sender, Stay};
use crate::batch::{Batch, Refused};
use crate::lane::Taken;
use crate::thread::Row;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Most letters that are kept by one call.
const LETTERS_MAX: usize = 1000;

impl Sender {
    /// Settles a batch of which nothing is left to be sent. Waits for the dead letters if they cannot be written.
    pub(super) fn settle(&self, taken: Taken, case: &Case, row: &Row) -> Stay {
        let refused = taken.batch.progress().refused().to_vec();
        if let Some(first) = refused.first() {
            let (name, lost, all) = (self.name(), refused.len(), taken.batch.len());
            let fate = if self.letters.is_some() { "go to the dead letters" } else { "dropped" };
            let (reason, why) = (first.reason.name(), &first.said.why);
            tracing::error!("sink {name}: {lost} of {all} entries refused ({reason}) and {fate}: {why}");
        }
        let mut kept = 0;
        if let Some(letters) = &self.letters {
            let mut failures = 0;
            while kept < refused.len() {
                let some = &refused[kept..refused.len().min(kept + LETTERS_MAX)];
                match keep(&**letters, &taken.batch, some, self.name()) {
                    Ok(()) => kept += some.len(),
                    Err(error) => {
                        failures = u32::saturating_add(failures, 1);
                        let wait = self.patience.retry.wait(failures, None, fastrand::f64());
                        let left = refused.len() - kept;
                        let why = format!("{left} dead letters cannot be written: {error}");
                        tracing::error!("sink {}: {why}; next attempt in {wait:.1?}", self.name());
                        self.lane.failed(why, failures, Instant::now(), None);
                        if let Some(put_down) = self.rest(wait, row) {
                            return self.end(taken, put_down);
                        }
                    }
                }
            }
        }
        self.telemetry.batch_entries.record(taken.batch.len() as f64);
        self.lane.finish_after(taken, case.latency, kept);
        Stay::Yes
    }
}

fn keep(letters: &dyn DeadLetters, batch: &Batch, refused: &[Refused], sink: &str) -> io::Result<()> {
    let wanted: HashMap<usize, &Refused> = refused.iter().map(|one| (one.place, one)).collect();
    let letter = |(place, entry)| {
        let one: &Refused = wanted.get(&place)?;
        Some(Letter {
            entry,
            reason: one.reason,
            status: one.said.status,
            why: &one.said.why,
            attempts: one.attempts,
            sink,
            first_failed_ms: one.first_failed_ms,
        })
    };
    let written: Vec<Letter<'_>> = batch.iter().enumerate().filter_map(letter).collect();
    // Nothing of ours may be lost by a fault there.
    catch_unwind(AssertUnwindSafe(|| letters.keep(&written)))
        .unwrap_or_else(|_| Err(io::Error::other("the dead letters panicked")))
}
