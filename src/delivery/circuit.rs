//! What all senders of one sink know together: its breaker, since when it keeps us out, and how fast it may be bothered
//! with batches that are taken apart.

use super::breaker::{Breaker, BreakerState, Gate};
use super::pace::Pace;
use crate::ledger::SinkLedger;
use crate::sinks::config::BreakerConfig;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for a call that is under way before the next look.
const BUSY_LOOK: Duration = Duration::from_millis(50);

/// What the senders of one sink share. Locked once per attempt.
pub struct Circuit {
    state: Mutex<State>,
    row: Arc<CachePadded<SinkLedger>>,
}

struct State {
    breaker: Breaker,
    pace: Pace,
    /// Since when every answer was that we are not let in.
    denied_since: Option<Instant>,
}

/// A look at a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CircuitView {
    /// What the breaker does.
    pub state: BreakerState,
    /// How long it has not been closed.
    pub open_for: Option<Duration>,
    /// How long the sink has kept us out.
    pub denied_for: Option<Duration>,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Some of what was sent was taken.
    Well,
    /// The destination is unwell.
    Unwell,
    /// We are not let in.
    Denied,
    /// Nothing can be said of the destination.
    Unknown,
}

impl Circuit {
    /// A closed one; what happens is counted in `row`.
    pub fn new(limits: BreakerConfig, row: Arc<CachePadded<SinkLedger>>) -> Self {
        let state = State { breaker: Breaker::new(limits), pace: Pace::default(), denied_since: None };
        row.denied_since.set(0);
        Circuit { state: Mutex::new(state), row }
    }

    /// Asks for a call at `now`; the error is how long to wait before asking again.
    pub fn enter(&self, now: Instant) -> Result<Call<'_>, Duration> {
        let mut state = self.state.lock();
        let before = state.breaker.state();
        let gate = state.breaker.gate(now);
        self.count(before, state.breaker.state());
        drop(state);
        match gate {
            Gate::Go | Gate::Probe => Ok(Call { circuit: self, ended: false }),
            Gate::Wait(wait) => Err(wait),
            Gate::Busy => Err(BUSY_LOOK),
        }
    }

    /// How long one that bisects has to wait at `now`.
    pub fn bisect_wait(&self, now: Instant) -> Duration {
        self.state.lock().pace.wait(now)
    }

    /// How long the breaker has not been closed at `now`.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        self.state.lock().breaker.open_since().map(|since| now.saturating_duration_since(since))
    }

    /// Whether the breaker keeps all calls waiting at `now`.
    pub fn is_shut(&self, now: Instant) -> bool {
        self.state.lock().breaker.is_shut(now)
    }

    /// A look at `now`.
    pub fn view(&self, now: Instant) -> CircuitView {
        let state = self.state.lock();
        let since = |since: Option<Instant>| since.map(|since| now.saturating_duration_since(since));
        CircuitView {
            state: state.breaker.state(),
            open_for: since(state.breaker.open_since()),
            denied_for: since(state.denied_since),
        }
    }

    fn end(&self, came: Came, now: Instant, bisected: Option<Duration>) {
        let mut state = self.state.lock();
        let before = state.breaker.state();
        match came {
            Came::Well => state.breaker.succeeded(),
            Came::Unwell => state.breaker.failed(now),
            Came::Denied | Came::Unknown => state.breaker.ended(),
        }
        match bisected {
            Some(latency) => state.pace.bisected(now, latency),
            None => state.pace.ordinary(),
        }
        match came {
            Came::Denied if state.denied_since.is_none() => {
                state.denied_since = Some(now);
                self.row.denied_since.set((crate::clock::unix_nanos() / 1_000_000_000).unsigned_abs());
            }
            Came::Well if state.denied_since.take().is_some() => self.row.denied_since.set(0),
            _ => {}
        }
        self.count(before, state.breaker.state());
    }

    fn count(&self, before: BreakerState, after: BreakerState) {
        if before != after {
            self.row.breaker_changes[after as usize].add(1);
        }
    }
}

/// A call that was let through. Dropped without a word it says nothing of the destination.
pub struct Call<'a> {
    circuit: &'a Circuit,
    ended: bool,
}

impl Call<'_> {
    /// Since when every answer was that we are not let in.
    pub fn denied_since(&self) -> Option<Instant> {
        self.circuit.state.lock().denied_since
    }

    /// It ended at `now`; `bisected` says how long it took if it was part of a batch that is taken apart.
    pub fn came(mut self, came: Came, now: Instant, bisected: Option<Duration>) {
        self.ended = true;
        self.circuit.end(came, now, bisected);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.circuit.state.lock().breaker.ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn circuit() -> (Circuit, Arc<CachePadded<SinkLedger>>) {
        let limits = BreakerConfig {
            enabled: true,
            failure_threshold: 2,
            success_threshold: 1,
            timeout: 10 * S,
            half_open_max_calls: 1,
        };
        let row = Arc::<CachePadded<SinkLedger>>::default();
        (Circuit::new(limits, Arc::clone(&row)), row)
    }

    fn call(circuit: &Circuit, came: Came, now: Instant) {
        circuit.enter(now).unwrap_or_else(|wait| panic!("{wait:?}")).came(came, now, None);
    }

    #[test]
    fn changes_of_the_breaker_are_counted_by_what_it_became() {
        let (circuit, row) = circuit();
        let t0 = Instant::now();
        let changes = || row.breaker_changes.each_ref().map(|count| count.get());
        call(&circuit, Came::Unwell, t0);
        call(&circuit, Came::Unwell, t0);
        assert_eq!((changes(), circuit.enter(t0).err()), ([0, 1, 0], Some(10 * S)));
        let probe = circuit.enter(t0 + 10 * S).unwrap_or_else(|wait| panic!("{wait:?}"));
        assert_eq!(circuit.enter(t0 + 10 * S).err(), Some(BUSY_LOOK));
        probe.came(Came::Well, t0 + 11 * S, None);
        assert_eq!(changes(), [1, 1, 1]);
        assert_eq!(circuit.view(t0 + 11 * S), CircuitView::default());
    }

    #[test]
    fn a_call_that_ends_without_a_word_gives_its_place_back() {
        let (circuit, _) = circuit();
        let t0 = Instant::now();
        (0..2).for_each(|_| call(&circuit, Came::Unwell, t0));
        drop(circuit.enter(t0 + 10 * S));
        assert!(circuit.enter(t0 + 10 * S).is_ok());
    }

    #[test]
    fn who_is_kept_out_is_so_until_something_is_taken() {
        let (circuit, row) = circuit();
        let t0 = Instant::now();
        for came in [Came::Denied, Came::Unknown, Came::Denied, Came::Unwell] {
            call(&circuit, came, t0);
        }
        assert_eq!(circuit.view(t0 + S).denied_for, Some(S));
        assert!(row.denied_since.get() > 0);
        call(&circuit, Came::Well, t0);
        assert_eq!((circuit.view(t0).denied_for, row.denied_since.get()), (None, 0));
    }
}
