//! How long to wait before the next attempt: exponential, bounded, jittered.

use std::time::Duration;

/// The pace of attempts at one sink.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The first wait.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// What each wait is multiplied by for the next.
    pub multiplier: f64,
    /// Whether to wait a random part of the time, so that many senders do not come back at once.
    pub jitter: bool,
}

impl Retry {
    /// How long to wait after `failures` failed attempts (1 or more). `chance` is uniform in `0.0..1.0`; `asked` is what
    /// the destination asked for, and is never undercut.
    pub fn wait(&self, failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let longest = self.backoff_max.as_secs_f64();
        let raised = self.multiplier.powi(failures.saturating_sub(1).min(1000) as i32);
        let full = (self.backoff.as_secs_f64() * raised).min(longest);
        let wait = if self.jitter { full * chance } else { full };
        Duration::from_secs_f64(wait).max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_to_their_bound_and_jitter_takes_a_part() {
        let mut retry = Retry { backoff: S, backoff_max: 60 * S, multiplier: 2.0, jitter: false };
        let waits: Vec<_> = (1..9).map(|n| retry.wait(n, None, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry.wait(u32::MAX, None, 0.5), 60 * S);
        retry.jitter = true;
        assert_eq!(retry.wait(3, None, 0.25), S);
        assert_eq!(retry.wait(3, Some(9 * S), 0.25), 9 * S, "the destination's word counts");
    }

    #[test]
    fn fifty_that_were_refused_together_do_not_come_back_together() {
        let retry = Retry { backoff: S, backoff_max: 60 * S, multiplier: 2.0, jitter: true };
        let mut random = fastrand::Rng::with_seed(28);
        let mut arrivals = Vec::new();
        for _ in 0..50 {
            let (mut at, mut failures) = (Duration::ZERO, 0);
            // Refused for five minutes.
            while at < 300 * S {
                failures += 1;
                let wait = retry.wait(failures, None, random.f64());
                assert!(wait <= 60 * S);
                at += wait;
            }
            arrivals.push(at - 300 * S);
        }
        let mut seconds = [0_u32; 60];
        arrivals.iter().for_each(|at| seconds[at.as_secs().min(59) as usize] += 1);
        // In windows of ten seconds, as one of a second has not even one on average.
        let busiest = seconds.chunks(10).map(|ten| ten.iter().sum::<u32>()).max();
        assert!(busiest <= Some(3 * 50 / 6), "{seconds:?}");
    }
}
