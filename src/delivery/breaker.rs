//! When a sink is asked and when it is left alone: a breaker, as a state machine that is given the time.
//!
//! It counts what says that the destination is unwell. An answer about the data of a batch says that the destination is
//! there: it counts neither way. After `failure_threshold` failures in a row the breaker opens, and nobody is let
//! through for `timeout`; then probes are, `half_open_max_calls` at a time. A probe that fails opens it again;
//! `success_threshold` that go well close it. A sink that came back is not flooded: as many calls as there were probes
//! are let through at once at first, and twice as many after each that goes well.

use crate::sinks::config::BreakerConfig;
use std::time::{Duration, Instant};

/// The most calls at once that are counted while a sink comes back; beyond that it is back.
const RAMP_MAX: usize = 64;

/// Whether a call may be made. `Go` and `Probe` are to be followed by word of how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Go,
    /// Yes, as one of the few that find out whether the sink is back.
    Probe,
    /// Not before so much time has passed.
    Wait(Duration),
    /// Not before one of those under way has ended.
    Busy,
}

/// What a breaker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets through.
    #[default]
    Closed,
    /// Lets nobody through.
    Open,
    /// Lets probes through.
    HalfOpen,
}

impl BreakerState {
    /// All states.
    pub const ALL: [BreakerState; 3] = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

    /// The word for it in metrics, `/stats` and logs.
    pub fn name(self) -> &'static str {
        ["closed", "open", "half_open"][self as usize]
    }
}

/// The breaker of one sink.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: BreakerConfig,
    phase: Phase,
    /// Calls under way, whenever they began.
    out: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// `allowed` calls at once: [`usize::MAX`] but for a sink that has just come back.
    Closed {
        failures: usize,
        allowed: usize,
    },
    Open {
        since: Instant,
        until: Instant,
    },
    HalfOpen {
        since: Instant,
        successes: usize,
    },
}

impl Breaker {
    /// A closed one.
    pub fn new(limits: BreakerConfig) -> Self {
        Breaker { limits, phase: Phase::Closed { failures: 0, allowed: usize::MAX }, out: 0 }
    }

    /// Whether a call may be made at `now`; it counts as under way if so.
    pub fn gate(&mut self, now: Instant) -> Gate {
        if let Phase::Open { since, until } = self.phase {
            match until.checked_duration_since(now) {
                Some(left) if !left.is_zero() => return Gate::Wait(left),
                _ => self.phase = Phase::HalfOpen { since, successes: 0 },
            }
        }
        let (most, gate) = match self.phase {
            Phase::Closed { allowed, .. } => (allowed, Gate::Go),
            _ => (self.limits.half_open_max_calls.max(1), Gate::Probe),
        };
        if self.out >= most {
            return Gate::Busy;
        }
        self.out += 1;
        gate
    }

    /// A call went well.
    pub fn succeeded(&mut self) {
        self.ended();
        match &mut self.phase {
            Phase::Closed { failures, allowed } => {
                *failures = 0;
                *allowed = if *allowed > RAMP_MAX { usize::MAX } else { allowed.saturating_mul(2) };
            }
            // It was let through before the breaker opened.
            Phase::Open { .. } => {}
            Phase::HalfOpen { successes, .. } => {
                *successes += 1;
                if *successes >= self.limits.success_threshold {
                    let allowed = self.limits.half_open_max_calls.max(1);
                    self.phase = Phase::Closed { failures: 0, allowed };
                }
            }
        }
    }

    /// A call showed at `now` that the destination is unwell.
    pub fn failed(&mut self, now: Instant) {
        self.ended();
        if !self.limits.enabled {
            return;
        }
        let until = now + self.limits.timeout;
        match &mut self.phase {
            Phase::Closed { failures, allowed } => {
                *failures += 1;
                if *allowed != usize::MAX {
                    *allowed = (*allowed / 2).max(1);
                }
                if *failures >= self.limits.failure_threshold {
                    self.phase = Phase::Open { since: now, until };
                }
            }
            Phase::Open { .. } => {}
            Phase::HalfOpen { since, .. } => self.phase = Phase::Open { since: *since, until },
        }
    }

    /// A call ended that says nothing of how the destination is.
    pub fn ended(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// Whether a call would have to wait at `now`, as the breaker is not closed.
    pub fn is_shut(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => false,
            Phase::Open { until, .. } => now < until,
            Phase::HalfOpen { .. } => self.out >= self.limits.half_open_max_calls.max(1),
        }
    }

    /// What it does.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Since when it has not been closed.
    pub fn open_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { since, .. } | Phase::HalfOpen { since, .. } => Some(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn limits() -> BreakerConfig {
        BreakerConfig {
            enabled: true,
            failure_threshold: 3,
            success_threshold: 2,
            timeout: secs(30),
            half_open_max_calls: 1,
        }
    }

    /// A breaker with these failures in a row at `at`.
    fn failed(limits: BreakerConfig, times: usize, at: Instant) -> Breaker {
        let mut breaker = Breaker::new(limits);
        for _ in 0..times {
            assert_eq!(breaker.gate(at), Gate::Go);
            breaker.failed(at);
        }
        breaker
    }

    #[test]
    fn it_allows_one_probe_after_the_cooldown() {
        let t0 = Instant::now();
        let mut breaker = failed(limits(), 3, t0);
        assert_eq!(breaker.gate(t0 + secs(29)), Gate::Wait(secs(1)));
        assert!(breaker.is_shut(t0 + secs(29)) && !breaker.is_shut(t0 + secs(30)));
        assert_eq!(breaker.gate(t0 + secs(30)), Gate::Probe);
        assert_eq!(breaker.gate(t0 + secs(30)), Gate::Busy);
        assert!(breaker.is_shut(t0 + secs(30)));
        breaker.failed(t0 + secs(31));
        assert_eq!((breaker.state(), breaker.open_since()), (BreakerState::Open, Some(t0)));
        assert_eq!(breaker.gate(t0 + secs(60)), Gate::Wait(secs(1)));
        assert_eq!(breaker.gate(t0 + secs(61)), Gate::Probe);
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let t0 = Instant::now();
        let mut breaker = failed(limits(), 2, t0);
        breaker.gate(t0);
        breaker.succeeded();
        for _ in 0..2 {
            breaker.gate(t0);
            breaker.failed(t0);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        // What says nothing of the destination is no success either.
        breaker.gate(t0);
        breaker.ended();
        breaker.gate(t0);
        breaker.failed(t0);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn it_closes_after_enough_successes_and_lets_more_through_step_by_step() {
        let t0 = Instant::now();
        let mut breaker = failed(limits(), 3, t0);
        for state in [BreakerState::HalfOpen, BreakerState::Closed] {
            assert_eq!(breaker.gate(t0 + secs(30)), Gate::Probe);
            breaker.succeeded();
            assert_eq!(breaker.state(), state);
        }
        assert_eq!(breaker.open_since(), None);
        for at_once in [1, 2, 4, 8] {
            for _ in 0..at_once {
                assert_eq!(breaker.gate(t0), Gate::Go);
            }
            assert_eq!(breaker.gate(t0), Gate::Busy, "{at_once} at once");
            // One goes well, of the others nothing is known.
            breaker.succeeded();
            (1..at_once).for_each(|_| breaker.ended());
        }
    }

    #[test]
    fn calls_from_before_it_opened_count_as_under_way_and_change_nothing_else() {
        let t0 = Instant::now();
        let mut breaker = Breaker::new(limits());
        (0..5).for_each(|_| assert_eq!(breaker.gate(t0), Gate::Go));
        (0..3).for_each(|_| breaker.failed(t0));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.gate(t0 + secs(30)), Gate::Busy, "one of them hangs");
        breaker.failed(t0 + secs(40));
        assert_eq!(breaker.gate(t0 + secs(69)), Gate::Wait(secs(1)));
    }

    #[test]
    fn each_limit_is_the_one_that_was_set() {
        let t0 = Instant::now();
        let off = BreakerConfig { enabled: false, ..limits() };
        assert_eq!(failed(off, 100, t0).gate(t0), Gate::Go);
        let five = BreakerConfig { failure_threshold: 5, ..limits() };
        assert_eq!(failed(five, 4, t0).state(), BreakerState::Closed);
        assert_eq!(failed(five, 5, t0).state(), BreakerState::Open);
        let soon =
            BreakerConfig { timeout: secs(1), half_open_max_calls: 2, success_threshold: 1, ..limits() };
        let mut breaker = failed(soon, 3, t0);
        let gates = [(); 3].map(|()| (breaker.gate(t0 + secs(1)), breaker.is_shut(t0 + secs(1))));
        assert_eq!(gates, [(Gate::Probe, false), (Gate::Probe, true), (Gate::Busy, true)]);
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        // As many as there were probes, and one of those is out still.
        assert_eq!([(); 2].map(|()| breaker.gate(t0 + secs(1))), [Gate::Go, Gate::Busy]);
    }
}
