//! Saying a thing once in a while, though it happens all the time.

use std::time::{Duration, Instant};

/// The least time between two messages about one cause.
pub const EVERY: Duration = Duration::from_secs(10);

/// Keeps one cause from filling the log.
#[derive(Debug, Default)]
pub struct Quiet {
    next: Option<Instant>,
    held_back: u64,
}

impl Quiet {
    /// Whether to speak now, and then how often it was not said since the last time.
    pub fn may_speak(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.held_back += 1;
            return None;
        }
        self.next = Some(now + EVERY);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_once_in_ten_seconds_and_the_silent_ones_are_counted() {
        let (t0, mut quiet) = (Instant::now(), Quiet::default());
        assert_eq!(quiet.may_speak(t0), Some(0));
        assert_eq!(quiet.may_speak(t0 + EVERY / 2), None);
        assert_eq!(quiet.may_speak(t0 + EVERY / 2), None);
        assert_eq!(quiet.may_speak(t0 + EVERY), Some(2));
        assert_eq!(quiet.may_speak(t0 + EVERY * 3), Some(0));
    }
}
