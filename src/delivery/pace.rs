//! How fast a batch is taken apart: a sink has others to serve, so at most a tenth of its requests look for what is wrong.
//!
//! Each ordinary request earns a part of one that bisects, up to a store that is enough to take a few batches apart at
//! once. Who has nothing in store waits nine times as long as its last request took. Time comes in as an argument.

use std::time::{Duration, Instant};

/// Ordinary requests for each that bisects.
const ORDINARY: u32 = 9;
/// What can be in store. Three batches of a thousand entries with one that is wrong take 63.
const STORE_MAX: f64 = 64.0;
/// The longest wait between two.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The pace of one sink.
#[derive(Clone, Debug)]
pub struct Pace {
    store: f64,
    not_before: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { store: STORE_MAX, not_before: None }
    }
}

impl Pace {
    /// How long one that bisects has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        match self.not_before {
            Some(at) if self.store < 1.0 => at.saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    /// A request that bisects was made, and ended at `now` after `latency`.
    pub fn bisected(&mut self, now: Instant, latency: Duration) {
        self.store = (self.store - 1.0).max(0.0);
        self.not_before = Some(now + latency.saturating_mul(ORDINARY).min(WAIT_MAX));
    }

    /// Any other request was made.
    pub fn ordinary(&mut self) {
        self.store = (self.store + 1.0 / f64::from(ORDINARY)).min(STORE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How many of `time` can be made that take `latency` each.
    fn made(pace: &mut Pace, time: Duration, latency: Duration) -> u32 {
        let begun = Instant::now();
        let (mut now, mut count) = (begun, 0);
        while now < begun + time {
            now += pace.wait(now) + latency;
            pace.bisected(now, latency);
            count += 1;
        }
        count
    }

    #[test]
    fn a_few_batches_are_taken_apart_at_once_and_then_a_tenth_of_the_time_is_left_for_it() {
        let mut pace = Pace::default();
        assert_eq!(made(&mut pace, 64 * 5 * MS, 5 * MS), 64);
        let later = made(&mut pace, 10_000 * MS, 5 * MS);
        assert!((190..=205).contains(&later), "{later} of the 2000 that a sink of 5 ms can take");
    }

    #[test]
    fn ordinary_requests_earn_a_ninth_of_one() {
        let mut pace = Pace::default();
        made(&mut pace, 64 * MS, MS);
        (0..91).for_each(|_| pace.ordinary());
        let at_once = made(&mut pace, 10 * MS, MS);
        assert_eq!(at_once, 10);
        assert!(!pace.wait(Instant::now()).is_zero());
        pace.bisected(Instant::now(), Duration::from_secs(60));
        assert!(pace.wait(Instant::now()) <= WAIT_MAX, "also for one that is slow");
    }
}
