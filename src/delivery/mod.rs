//! Patience: attempts at one batch until it is settled.
//!
//! The loop of a sender thread: cut a batch, let the sink make one attempt, settle it or wait and try again. A sink that
//! is unwell is tried for ever; what it refuses for good is dropped and counted, as there are no dead letters yet. A
//! sink that panics is taken as unwell: the batch survives, nothing is settled by accident.

pub mod dlq;
pub mod letters;
pub mod retry;

use crate::lane::{Crew, Lane, Pause, Taken};
use crate::metrics::SinkTelemetry;
use crate::sinks::{SendError, Sink};
use crate::tap::{Point, Taps};
use crate::thread::{Doing, Row};
use retry::Retry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One sender of one lane.
pub struct Sender {
    /// Where batches come from.
    pub lane: Arc<Lane>,
    /// Which of the lane's crews it is of.
    pub crew: Crew,
    /// Where they go.
    pub sink: Arc<dyn Sink>,
    /// The pace of attempts.
    pub retry: Retry,
    /// What attempts took.
    pub telemetry: SinkTelemetry,
    /// Who looks at entries, if anyone does.
    pub taps: Arc<Taps>,
}

/// What one attempt came to.
enum Attempt {
    Took { refused: usize },
    Failed { why: String, pace: Pace },
}

/// When to try again.
enum Pace {
    /// Soon, but not before the destination's own word.
    Backoff(Option<Duration>),
    /// After the longest wait: only a person can mend it.
    Slow,
}

impl Sender {
    /// Sends batches until the lane is closed and empty, or to be left, or another crew is in charge.
    pub fn run(&self, row: &Row) {
        while let Some(taken) = self.lane.cut(row, self.crew) {
            if !self.deliver(taken, row) {
                return;
            }
        }
    }

    /// Tries until the batch is settled; false if this sender is to go before that.
    fn deliver(&self, taken: Taken, row: &Row) -> bool {
        if self.taps.is_open() {
            self.show(&taken);
        }
        let mut failures = 0;
        loop {
            row.set(Doing::Sending);
            let begun = Instant::now();
            let attempt = self.attempt(&taken);
            let latency = begun.elapsed();
            self.telemetry.delivery.record(latency.as_secs_f64());
            match attempt {
                Attempt::Took { refused } => {
                    if failures > 0 {
                        tracing::info!(
                            "sink {}: delivering again after {failures} failed attempts",
                            self.name()
                        );
                    }
                    self.telemetry.batch_entries.record(taken.batch.len() as f64);
                    self.lane.finish(taken, latency, refused);
                    return true;
                }
                Attempt::Failed { why, pace } => {
                    failures = u32::saturating_add(failures, 1);
                    let wait = self.wait(failures, pace, taken.batch.left(), &why);
                    self.lane.failed(why, failures, begun);
                    row.set(Doing::BackingOff);
                    match self.lane.pause(wait, self.crew) {
                        Pause::Over => {}
                        Pause::Relieved => {
                            self.lane.give_back(taken);
                            return false;
                        }
                        Pause::Leave => {
                            self.lane.leave_behind(taken);
                            return false;
                        }
                    }
                    self.lane.sink().row.retries.add(1);
                }
            }
        }
    }

    /// Shows the batch to whoever looks at what goes to this sink.
    fn show(&self, taken: &Taken) {
        let (now, name) = (Instant::now(), self.name());
        let is_here = |point: &Point| matches!(point, Point::Sink(sink) if sink == name);
        for part in taken.batch.parts() {
            self.taps.show(is_here, &part.block, |_| part.places(), now);
        }
    }

    /// How long to wait before the next attempt; says so.
    fn wait(&self, failures: u32, pace: Pace, entries: usize, why: &str) -> Duration {
        let name = self.name();
        match pace {
            Pace::Backoff(after) => {
                let wait = self.retry.wait(failures, after, fastrand::f64());
                tracing::warn!("sink {name}: {entries} entries kept, next attempt in {wait:.1?}: {why}");
                wait
            }
            Pace::Slow => {
                let wait = self.retry.backoff_max;
                tracing::error!(
                    "sink {name} is not let in: {entries} entries kept, next attempt in {wait:.1?}: {why}"
                );
                wait
            }
        }
    }

    fn attempt(&self, taken: &Taken) -> Attempt {
        let batch = &taken.batch;
        match catch_unwind(AssertUnwindSafe(|| self.sink.send(batch))) {
            Ok(Ok(())) => Attempt::Took { refused: 0 },
            Ok(Err(SendError::Retry { why, after })) => Attempt::Failed { why, pace: Pace::Backoff(after) },
            Ok(Err(SendError::Denied(why))) => Attempt::Failed { why, pace: Pace::Slow },
            Ok(Err(SendError::Reject(why))) => {
                tracing::error!("sink {}: {} entries refused and dropped: {why}", self.name(), batch.len());
                Attempt::Took { refused: batch.len() }
            }
            Ok(Err(SendError::Partial(refused))) => {
                if let Some((_, why)) = refused.first() {
                    let (name, lost, all) = (self.name(), refused.len(), batch.len());
                    tracing::error!("sink {name}: {lost} of {all} entries refused and dropped: {why}");
                }
                Attempt::Took { refused: refused.len() }
            }
            Err(_) => Attempt::Failed { why: "the sink panicked".into(), pace: Pace::Backoff(None) },
        }
    }

    fn name(&self) -> &str {
        &self.lane.sink().name
    }
}
