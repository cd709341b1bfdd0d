//! A token bucket: so many entries at once, and so many a second. Time is an argument.

use std::time::{Duration, Instant};

/// How fast, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Entries a second.
    pub per_second: f64,
    /// Entries at once after a rest, 1 at least.
    pub burst: u64,
}

/// In any span of `t` seconds it gives no more than `burst + per_second * t` tokens, an entry each.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Below zero after something that was larger than the burst.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Bucket { rate, tokens: rate.burst as f64, at: now }
    }

    /// Another rate from now on; what is in it stays, if there is room.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.fill(now);
        self.rate = rate;
        self.tokens = self.tokens.min(rate.burst as f64);
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + since * self.rate.per_second).min(self.rate.burst as f64);
    }

    /// How many tokens it has.
    pub fn tokens(&mut self, now: Instant) -> u64 {
        self.fill(now);
        // Sums of many small shares may be a hair below the whole number they come to.
        (self.tokens + 1e-6).max(0.0) as u64
    }

    /// Whether it is full: it knows nothing that a new one would not.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.rate.burst as f64
    }

    /// Takes `count` tokens if it has them. What is larger than the burst passes when the bucket is full, and leaves a debt.
    pub fn take(&mut self, count: u64, now: Instant) -> bool {
        let passes = self.tokens(now) >= count.min(self.rate.burst);
        if passes {
            self.tokens -= count as f64;
        }
        passes
    }

    /// Takes as many tokens as it has, `count` at most; says how many.
    pub fn take_up_to(&mut self, count: u64, now: Instant) -> u64 {
        let taken = self.tokens(now).min(count);
        self.tokens -= taken as f64;
        taken
    }

    /// Gives back what was taken for nothing.
    pub fn give_back(&mut self, count: u64) {
        self.tokens = (self.tokens + count as f64).min(self.rate.burst as f64);
    }

    /// When it will have `count` tokens, or be full.
    pub fn when(&mut self, count: u64, now: Instant) -> Instant {
        let missing = count.min(self.rate.burst) as f64 - {
            self.fill(now);
            self.tokens
        };
        if missing <= 0.0 {
            return now;
        }
        // Far away is far away: the clock need not be able to say when.
        now + Duration::from_secs_f64((missing / self.rate.per_second).min(1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, proptest};

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_burst_passes_at_once_and_then_as_much_as_time_brings() {
        let t0 = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 100.0, burst: 50 }, t0);
        assert!(bucket.take(50, t0) && !bucket.take(1, t0));
        assert_eq!(bucket.when(10, t0), t0 + ms(100));
        assert!(!bucket.take(10, t0 + ms(99)) && bucket.take(10, t0 + ms(100)));
        assert_eq!(bucket.take_up_to(50, t0 + ms(300)), 20);
        assert_eq!(bucket.tokens(t0 + ms(60_000)), 50, "and no more than the burst is saved up");
    }

    #[test]
    fn what_is_larger_than_the_burst_waits_for_a_full_bucket_and_is_paid_off() {
        let t0 = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 10.0, burst: 5 }, t0);
        assert!(bucket.take(1, t0) && !bucket.take(20, t0));
        assert_eq!(bucket.when(20, t0), t0 + ms(100));
        assert!(bucket.take(20, t0 + ms(100)));
        assert_eq!((bucket.tokens(t0 + ms(1600)), bucket.tokens(t0 + ms(1700))), (0, 1));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_a_clock_that_goes_back_gives_nothing() {
        let t0 = Instant::now() + ms(1000);
        let mut bucket = Bucket::new(Rate { per_second: 1000.0, burst: 5 }, t0);
        assert!(bucket.take(5, t0));
        bucket.give_back(2);
        assert_eq!(bucket.tokens(t0 - ms(500)), 2);
        assert_eq!(bucket.tokens(t0 + ms(1)), 3);
        bucket.give_back(100);
        assert_eq!(bucket.tokens(t0 + ms(1)), 5);
    }

    proptest! {
        /// In every window between two moments, not only from the start.
        #[test]
        fn no_window_sees_more_than_the_burst_and_its_share_of_the_rate(
            per_second in 0.1..100_000.0_f64,
            burst in 1..10_000_u64,
            steps in prop::collection::vec((0..200_000_u64, 0..20_000_u64, prop::bool::ANY), 1..60),
        ) {
            let t0 = Instant::now();
            let mut bucket = Bucket::new(Rate { per_second, burst }, t0);
            let (mut now, mut given) = (t0, Vec::new());
            for (micros, count, whole) in steps {
                now += Duration::from_micros(micros);
                let count = count % (burst + 1);
                let came = match whole {
                    true => if bucket.take(count, now) { count } else { 0 },
                    false => bucket.take_up_to(count, now),
                };
                given.push((now, came));
            }
            for (first, (from, _)) in given.iter().enumerate() {
                let mut sum = 0;
                for (to, came) in &given[first..] {
                    sum += came;
                    let bound = burst as f64 + per_second * (*to - *from).as_secs_f64();
                    prop_assert!(sum as f64 <= bound + 0.01, "{sum} within {:?}, not {bound}", *to - *from);
                }
            }
        }

        /// It is not only a bound: who asks all the time gets all of it.
        #[test]
        fn who_always_asks_gets_the_whole_rate(per_second in 1.0..10_000.0_f64, burst in 1..1000_u64) {
            let t0 = Instant::now();
            let mut bucket = Bucket::new(Rate { per_second, burst }, t0);
            let (mut now, mut sum, end) = (t0, 0, t0 + Duration::from_secs(10));
            while now < end {
                sum += bucket.take_up_to(u64::MAX, now);
                now = bucket.when(1, now) + Duration::from_micros(10);
            }
            let least = burst as f64 + per_second * 9.0 - 1.0;
            prop_assert!(sum as f64 >= least, "{sum}, not {least}");
        }
    }
}
