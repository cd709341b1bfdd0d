//! The time, read once per block and never per entry.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970-01-01 UTC.
pub type UnixNanos = i64;

/// The wall clock now. A clock set before 1970 reads as 0, one beyond the year 2262 as the last nanosecond of it.
pub fn unix_nanos() -> UnixNanos {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Nanoseconds since some moment early in the life of the process: a clock that nobody sets back or forward.
pub type SteadyNanos = i64;

/// `at` on the steady clock; 0 for what was before it began to count.
pub fn steady_nanos(at: Instant) -> SteadyNanos {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let began = *BEGAN.get_or_init(|| at);
    i64::try_from(at.saturating_duration_since(began).as_nanos()).unwrap_or(i64::MAX)
}

/// Gives block times that never go back, so that entries of a stream keep increasing times though the clock is set back.
#[derive(Debug, Default)]
pub struct Stamps {
    next: UnixNanos,
}

impl Stamps {
    /// A time for a block of `entries`, at `now` or just after the last block's last entry.
    pub fn take(&mut self, now: UnixNanos, entries: usize) -> UnixNanos {
        let time = now.max(self.next);
        self.next = time + entries as i64;
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_on_rising_when_the_clock_goes_back() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.take(1000, 10), 1000);
        assert_eq!(stamps.take(1005, 1), 1010);
        assert_eq!(stamps.take(500, 5), 1011);
        assert_eq!(stamps.take(5000, 1), 5000);
    }
}
