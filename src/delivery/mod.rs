//! Patience: attempts at one batch until it is settled.
//!
//! The loop of a sender thread: cut a batch, let the sink make one attempt, and by what came of it settle the batch, wait
//! and try again, or take it apart until what cannot be taken is known. What nobody takes goes to the dead letters, or is
//! dropped and counted where there are none. `docs/delivery.md` is the manual.
//!
//! Decisions are made elsewhere: when the sink is asked at all in [`breaker`], what follows an attempt in [`patience`],
//! which part is next in `work`, how fast a batch is taken apart in [`pace`].

pub mod breaker;
pub mod circuit;
pub mod dlq;
pub mod fallback;
pub mod letters;
pub mod pace;
pub mod patience;
pub mod retry;
mod settle;
#[cfg(test)]
mod tests;
mod work;

use crate::batch::{Batch, Said};
use crate::lane::history::{self, Request};
use crate::lane::{Crew, Lane, Pause, Taken};
use crate::metrics::SinkTelemetry;
use crate::sinks::{SendError, Sink};
use crate::tap::{Point, Taps};
use crate::thread::{Doing, Row};
use circuit::{Call, Came, Circuit};
use fallback::{Fallback, Outlet};
use letters::DeadLetters;
use patience::{Failure, Next, Patience};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use work::Work;

/// One sender of one lane.
pub struct Sender {
    /// Where batches come from.
    pub lane: Arc<Lane>,
    /// Which of the lane's crews it is of.
    pub crew: Crew,
    /// Where they go.
    pub sink: Arc<dyn Sink>,
    /// What all senders of the sink know.
    pub circuit: Arc<Circuit>,
    /// How long the sink is borne with.
    pub patience: Patience,
    /// Who takes its place when it is out of reach.
    pub fallback: Option<Fallback>,
    /// Where refused entries are kept; without, they are dropped and counted.
    pub letters: Option<Arc<dyn DeadLetters>>,
    /// How long one attempt may take before somebody should look at it.
    pub attempt_max: Duration,
    /// What attempts took.
    pub telemetry: SinkTelemetry,
    /// Who looks at entries, if anyone does.
    pub taps: Arc<Taps>,
}

/// One batch in a sender's hands.
struct Case {
    work: Work,
    /// Attempts that failed since it was cut.
    failures: u32,
    /// When the first of them ended, in milliseconds since 1970-01-01 UTC; 0 before that.
    first_failed_ms: u64,
    /// How long the one attempt took that took all of it.
    latency: Option<Duration>,
}

impl Case {
    /// Notes since when attempts fail, and of what was refused by now how often it was tried.
    fn date(&mut self, batch: &Batch, attempts: u32) {
        let mut progress = batch.progress();
        let fresh = progress.refused().last().is_some_and(|refused| refused.attempts == 0);
        if self.first_failed_ms == 0 && (fresh || self.failures > 0) {
            self.first_failed_ms = unix_millis();
        }
        if fresh {
            progress.date(attempts, self.first_failed_ms);
        }
    }
}

/// What one attempt came to.
enum Attempt {
    /// All of it is settled.
    Settled,
    /// Something is left of it.
    Failed { said: Said, failure: Failure },
}

impl Attempt {
    /// The request with `batch` that it was, which took `latency` and has just ended.
    fn as_request(&self, batch: &Batch, latency: Duration) -> Request {
        let came = match self {
            Attempt::Settled if batch.progress().refused().is_empty() => history::Came::Took,
            Attempt::Settled => history::Came::Partly,
            Attempt::Failed { failure, .. } => match failure {
                Failure::Unwell { .. } => history::Came::Unwell,
                Failure::Answered { .. } => history::Came::Failed,
                Failure::Denied { .. } => history::Came::Denied,
                Failure::Refused => history::Came::Refused,
                Failure::Panicked => history::Came::Panicked,
            },
        };
        Request { at: Instant::now(), entries: batch.len(), latency, came }
    }
}

/// Whether a sender goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Yes,
    No,
}

impl Sender {
    /// Sends batches until the lane is closed and empty, or to be left, or another crew is in charge.
    pub fn run(&self, row: &Row) {
        row.set_patience(self.attempt_max);
        loop {
            // Before it has a batch: meanwhile that grows, and whoever relieves it need not wait for it.
            row.keep_to_cpu();
            let Some(taken) = self.lane.cut(row, self.crew) else { return };
            if self.deliver(taken, row) == Stay::No {
                return;
            }
        }
    }

    /// Tries until the batch is settled.
    fn deliver(&self, taken: Taken, row: &Row) -> Stay {
        if self.taps.is_open() {
            self.show(&taken);
        }
        let mut case = Case { work: Work::of(&taken.batch), failures: 0, first_failed_ms: 0, latency: None };
        while let Some(piece) = case.work.next(&taken.batch) {
            let (now, bisecting) = (Instant::now(), piece.trial.is_suspected());
            let (range, attempts) = (piece.range.clone(), piece.trial.failures.saturating_add(1));
            let outlet = self.outlet(now);
            let (sink, circuit) = match &outlet {
                None => (&self.sink, &self.circuit),
                Some(outlet) => (&outlet.sink, &outlet.circuit),
            };
            let slow = if bisecting { circuit.bisect_wait(now) } else { Duration::ZERO };
            let call = if slow.is_zero() { circuit.enter(now) } else { Err(slow) };
            let call = match call {
                Ok(call) => call,
                Err(wait) => match self.rest(self.until_fallback(wait, now), row) {
                    None => continue,
                    Some(put_down) => return self.end(taken, put_down),
                },
            };
            let whole = range.len() == taken.batch.len() && taken.batch.progress().is_empty();
            let slice = (!whole).then(|| taken.batch.slice(range));
            let sent = slice.as_ref().map_or(&taken.batch, |slice| slice.batch());
            row.set(Doing::Sending);
            let (attempt, taken_of_it, latency) = self.attempt(sink, sent, call, bisecting);
            if outlet.is_none() {
                self.lane.asked(attempt.as_request(sent, latency));
            }
            if let Some(slice) = &slice {
                slice.note_in(&taken.batch);
            }
            if outlet.is_some() {
                self.lane.sink().row.fallback.add(taken_of_it);
            }
            let wait = match attempt {
                Attempt::Settled => {
                    case.latency = (whole && outlet.is_none()).then_some(latency);
                    case.date(&taken.batch, attempts);
                    continue;
                }
                Attempt::Failed { said, failure } => {
                    let wait = self.go_on(&taken, &mut case, said, failure);
                    // The other sink is asked at once; what is waited for is this one.
                    let turn = outlet.is_none() && self.outlet(Instant::now()).is_some();
                    wait.map(|wait| if turn { Duration::ZERO } else { wait })
                }
            };
            if let Some(wait) = wait {
                if let Some(put_down) = self.rest(wait, row) {
                    return self.end(taken, put_down);
                }
                self.lane.sink().row.retries.add(1);
            }
        }
        if case.failures > 0 {
            tracing::info!("sink {}: delivering again after {} failed attempts", self.name(), case.failures);
        }
        self.settle(taken, &case, row)
    }

    /// The sink that takes this one's place now, if one does.
    fn outlet(&self, now: Instant) -> Option<Outlet> {
        let fallback = self.fallback.as_ref()?;
        let due = fallback.due_in(self.circuit.open_for(now))?;
        // A probe that is due comes first: nobody else finds out whether the sink is back.
        let turn = due.is_zero() && self.circuit.is_shut(now);
        if turn { fallback.outlets.get(&fallback.name) } else { None }
    }

    /// No longer than until the fallback's turn.
    fn until_fallback(&self, wait: Duration, now: Instant) -> Duration {
        let due = self.fallback.as_ref().and_then(|fallback| fallback.due_in(self.circuit.open_for(now)));
        match due {
            Some(due) if !due.is_zero() => wait.min(due),
            _ => wait,
        }
    }

    /// One attempt: what came of it, how many entries were taken, how long it took.
    fn attempt(
        &self,
        sink: &Arc<dyn Sink>,
        batch: &Batch,
        call: Call<'_>,
        bisecting: bool,
    ) -> (Attempt, u64, Duration) {
        let before = taken_of(batch);
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| sink.send(batch)));
        let now = Instant::now();
        let latency = now - begun;
        self.telemetry.delivery.record(latency.as_secs_f64());
        if bisecting {
            self.lane.sink().row.bisect_requests.add(1);
        }
        let since = call.denied_since().unwrap_or(now);
        let failed = |said: Said, failure| Attempt::Failed { said, failure };
        let all = batch.len();
        let attempt = match result {
            Ok(Ok(())) => {
                batch.progress().take_rest(all);
                Attempt::Settled
            }
            Ok(Err(SendError::Partial(refused))) => {
                let mut progress = batch.progress();
                refused.into_iter().for_each(|(place, said)| progress.refuse(place, said));
                progress.take_rest(all);
                Attempt::Settled
            }
            Ok(Err(SendError::Retry { why, after })) => failed(why.into(), Failure::Unwell { after }),
            Ok(Err(SendError::Failed { said, after })) => failed(said, Failure::Answered { after }),
            Ok(Err(SendError::Denied(said))) => failed(said, Failure::Denied { since }),
            Ok(Err(SendError::Reject(said))) => failed(said, Failure::Refused),
            Err(_) => failed("the sink panicked".into(), Failure::Panicked),
        };
        let taken = taken_of(batch).saturating_sub(before);
        let came = match &attempt {
            // It is there, whatever became of the rest.
            _ if taken > 0 => Came::Well,
            Attempt::Settled => Came::Unknown,
            Attempt::Failed { failure: Failure::Unwell { .. }, .. } => Came::Unwell,
            Attempt::Failed { failure: Failure::Denied { .. }, .. } => Came::Denied,
            Attempt::Failed { .. } => Came::Unknown,
        };
        call.came(came, now, bisecting.then_some(latency));
        (attempt, taken, latency)
    }

    /// What follows a failed attempt: the time to wait before the next, if any.
    fn go_on(&self, taken: &Taken, case: &mut Case, said: Said, failure: Failure) -> Option<Duration> {
        let batch = &taken.batch;
        let now = Instant::now();
        case.failures = case.failures.saturating_add(1);
        let piece = case.work.next(batch)?;
        let next = self.patience.next(&mut piece.trial, failure, now, fastrand::f64());
        let attempts = piece.trial.failures;
        match next {
            Next::Again(wait) => {
                let wait = self.until_fallback(wait, now);
                self.say_again(batch.left(), failure, wait, &said.why);
                let overloaded = failure.is_overload().then_some(taken);
                self.lane.failed(said.why.to_string(), case.failures, now, overloaded);
                case.date(batch, attempts);
                return Some(wait);
            }
            Next::Split(reason) => case.work.split(batch, &said, reason),
            Next::GiveUp(reason) => case.work.give_up(batch, &said, reason),
        }
        self.lane.sink().row.errors.add(1);
        case.date(batch, attempts);
        None
    }

    fn say_again(&self, entries: usize, failure: Failure, wait: Duration, why: &str) {
        let name = self.name();
        match failure {
            Failure::Denied { .. } => tracing::error!(
                "sink {name} is not let in: {entries} entries kept, next attempt in {wait:.1?}: {why}"
            ),
            _ => tracing::warn!("sink {name}: {entries} entries kept, next attempt in {wait:.1?}: {why}"),
        }
    }

    /// Waits between two attempts; if it is over before the batch is settled, gives what to do with that.
    fn rest(&self, wait: Duration, row: &Row) -> Option<fn(&Lane, Taken)> {
        row.set(Doing::BackingOff);
        match self.lane.pause(wait, self.crew) {
            Pause::Over => None,
            Pause::Relieved => Some(Lane::give_back),
            Pause::Leave => Some(Lane::leave_behind),
        }
    }

    fn end(&self, taken: Taken, put_down: fn(&Lane, Taken)) -> Stay {
        put_down(&self.lane, taken);
        Stay::No
    }

    /// Shows the batch to whoever looks at what goes to this sink.
    fn show(&self, taken: &Taken) {
        let (now, name) = (Instant::now(), self.name());
        let is_here = |point: &Point| matches!(point, Point::Sink(sink) if sink == name);
        for part in taken.batch.parts() {
            self.taps.show(is_here, &part.block, |_| part.places(), now);
        }
    }

    fn name(&self) -> &str {
        &self.lane.sink().name
    }
}

/// How many of its entries were taken so far.
fn taken_of(batch: &Batch) -> u64 {
    let progress = batch.progress();
    (progress.settled() - progress.refused().len()) as u64
}

fn unix_millis() -> u64 {
    (crate::clock::unix_nanos() / 1_000_000).unsigned_abs()
}
