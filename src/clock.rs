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

/// The wall clock as file systems read it, which ticks in milliseconds (clock_gettime(2), `CLOCK_REALTIME_COARSE`): what is
/// written from now on has no time of writing before this.
pub fn file_nanos() -> UnixNanos {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec).max(0)
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
    fn what_is_written_after_a_moment_of_files_is_not_older() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        for n in 0..2000 {
            let (path, before) = (dir.path().join(n.to_string()), file_nanos());
            std::fs::write(&path, "x").unwrap();
            let meta = std::fs::metadata(&path).unwrap();
            assert!(meta.mtime() * 1_000_000_000 + meta.mtime_nsec() >= before, "{before}, {meta:?}");
        }
        assert!((unix_nanos() - file_nanos()).abs() < 1_000_000_000);
    }

    #[test]
    fn stamps_go_on_rising_when_the_clock_goes_back() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.take(1000, 10), 1000);
        assert_eq!(stamps.take(1005, 1), 1010);
        assert_eq!(stamps.take(500, 5), 1011);
        assert_eq!(stamps.take(5000, 1), 5000);
    }
}
