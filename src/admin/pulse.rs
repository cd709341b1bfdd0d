//! What only shows over time: rates, a lag that grows, books that stay wrong.

use crate::ledger::{Count, Ledger, Named};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Rates are taken over at least this; ticks that come sooner change nothing.
const BEAT_MIN: Duration = Duration::from_millis(900);
/// How long a lag is watched before it is said to grow.
pub const LAG_WINDOW: Duration = Duration::from_secs(30);

/// What happened per second between the last two beats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Entries admitted.
    pub received: f64,
    /// Bytes of their text.
    pub received_bytes: f64,
    /// Entries that left a pipeline: the throughput.
    pub processed: f64,
    /// Copies that sinks took.
    pub delivered: f64,
}

/// The sums the rates are made of.
#[derive(Debug, Clone, Copy)]
struct Beat {
    at: Instant,
    received: u64,
    received_bytes: u64,
    processed: u64,
    delivered: u64,
}

impl Beat {
    fn of(ledger: &Ledger, at: Instant) -> Self {
        let sources = |count: fn(&crate::ledger::SourceLedger) -> &Count| {
            ledger.sources.iter().map(|named| count(&named.row).get()).sum()
        };
        Beat {
            at,
            received: sources(|row| &row.received),
            received_bytes: sources(|row| &row.received_bytes),
            processed: sources(|row| &row.processed),
            delivered: ledger.sinks.iter().map(|named| named.row.delivered.get()).sum(),
        }
    }

    fn rates_since(&self, before: &Beat) -> Rates {
        let seconds = (self.at - before.at).as_secs_f64();
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Rates {
            received: per_second(self.received, before.received),
            received_bytes: per_second(self.received_bytes, before.received_bytes),
            processed: per_second(self.processed, before.processed),
            delivered: per_second(self.delivered, before.delivered),
        }
    }
}

/// Feels the ledger's pulse: give it a [`Pulse::tick`] about every second.
#[derive(Debug, Default)]
pub struct Pulse {
    last: Option<Beat>,
    rates: Rates,
    lags_since: Option<Instant>,
    /// Per source: the lag when the window began, and its growth over the window before.
    lags: Vec<(u64, u64)>,
    imbalance: Option<String>,
    broken: Option<String>,
}

impl Pulse {
    /// Looks at the ledger at `now`.
    pub fn tick(&mut self, now: Instant, ledger: &Ledger) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last.at) < BEAT_MIN) {
            return;
        }
        let beat = Beat::of(ledger, now);
        if let Some(last) = self.last.replace(beat) {
            self.rates = beat.rates_since(&last);
        }
        self.watch_books(ledger);
        if self.lags_since.is_none_or(|since| now.saturating_duration_since(since) >= LAG_WINDOW) {
            self.lags_since = Some(now);
            self.watch_lags(ledger);
        }
    }

    /// Moving numbers never show the same imbalance twice, a lost entry shows it for ever.
    fn watch_books(&mut self, ledger: &Ledger) {
        let imbalance = ledger.imbalance();
        self.broken = imbalance.clone().filter(|_| imbalance == self.imbalance);
        self.imbalance = imbalance;
    }

    fn watch_lags(&mut self, ledger: &Ledger) {
        let row = |(at, named): (usize, &Named<crate::ledger::SourceLedger>)| {
            let lag = named.row.lag_bytes.get();
            (lag, self.lags.get(at).map_or(0, |(before, _)| lag.saturating_sub(*before)))
        };
        self.lags = ledger.sources.iter().enumerate().map(row).collect();
    }

    /// What happened per second lately.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// By how many bytes the lag of the source at `source` in the ledger grew over the last full [`LAG_WINDOW`].
    pub fn lag_growth(&self, source: usize) -> u64 {
        self.lags.get(source).map_or(0, |(_, growth)| *growth)
    }

    /// The equation that has not held, with the same numbers, for two beats.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger { sources: vec![Named::new("app", "file")], sinks: vec![Named::new("out", "console")] }
    }

    #[test]
    fn rates_are_what_came_since_the_last_beat_by_the_time_it_took() {
        let (mut pulse, ledger, t0) = (Pulse::default(), ledger(), Instant::now());
        let (source, sink) = (&ledger.sources[0].row, &ledger.sinks[0].row);
        source.received.add(1000);
        pulse.tick(t0, &ledger);
        assert_eq!(pulse.rates(), Rates::default());
        source.received.add(200);
        source.received_bytes.add(4000);
        source.processed.add(100);
        sink.delivered.add(50);
        pulse.tick(t0 + Duration::from_millis(500), &ledger);
        assert_eq!(pulse.rates(), Rates::default());
        pulse.tick(t0 + Duration::from_secs(2), &ledger);
        let expected = Rates { received: 100.0, received_bytes: 2000.0, processed: 50.0, delivered: 25.0 };
        assert_eq!(pulse.rates(), expected);
        pulse.tick(t0 + Duration::from_secs(3), &ledger);
        assert_eq!(pulse.rates(), Rates::default());
    }

    #[test]
    fn a_lag_grows_only_if_it_is_longer_after_a_whole_window() {
        let (mut pulse, ledger, t0) = (Pulse::default(), ledger(), Instant::now());
        let lag = &ledger.sources[0].row.lag_bytes;
        let mut after = |seconds, bytes| {
            lag.set(bytes);
            pulse.tick(t0 + Duration::from_secs(seconds), &ledger);
            pulse.lag_growth(0)
        };
        assert_eq!([after(0, 500), after(10, 900), after(30, 700), after(40, 100)], [0, 0, 200, 200]);
        assert_eq!([after(60, 600), after(90, 601)], [0, 1]);
        assert_eq!(pulse.lag_growth(7), 0);
    }

    #[test]
    fn books_are_broken_when_the_same_numbers_do_not_add_up_twice() {
        let (mut pulse, ledger, t0) = (Pulse::default(), ledger(), Instant::now());
        let source = &ledger.sources[0].row;
        let mut after = |seconds, received| {
            source.received.add(received);
            pulse.tick(t0 + Duration::from_secs(seconds), &ledger);
            pulse.broken().is_some()
        };
        assert_eq!([after(0, 1), after(1, 1), after(2, 0), after(3, 1)], [false, false, true, false]);
        source.routed.add(3);
        ledger.sinks[0].row.copies.add(3);
        ledger.sinks[0].row.in_flight.add(3);
        pulse.tick(t0 + Duration::from_secs(4), &ledger);
        pulse.tick(t0 + Duration::from_secs(5), &ledger);
        assert_eq!(pulse.broken(), None);
    }
}
