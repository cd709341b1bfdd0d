//! Saying a thing once in a while, though it happens all the time.

use super::PERIOD;
use std::time::Instant;

/// Keeps one cause from filling the log, for whoever knows better what is one cause than its words tell: they name the one of
/// thousands it happened to. It also holds where another process logs, which has a subscriber of its own.
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
        self.next = Some(now + PERIOD);
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
        assert_eq!(quiet.may_speak(t0 + PERIOD / 2), None);
        assert_eq!(quiet.may_speak(t0 + PERIOD / 2), None);
        assert_eq!(quiet.may_speak(t0 + PERIOD), Some(2));
        assert_eq!(quiet.may_speak(t0 + PERIOD * 3), Some(0));
    }
}
