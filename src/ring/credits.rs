//! Credits in entries and bytes: what the ring may hold.
//!
//! A producer takes credits for a block before it pushes it; the worker that pops the block gives them back. Neither limit
//! is ever exceeded, with one exception so that nothing can stand still for ever: an item larger than a whole limit is
//! admitted while nothing else counts against that limit. Both numbers and the congestion flag live in one word, so that taking is
//! all or nothing without a moment in which credits are held that are about to be undone, and the flag cannot disagree
//! with the numbers. Not here: waiting for credits, and what a source does without them.

use super::sync::AtomicU64;
use super::sync::Ordering::{Acquire, Relaxed, Release};
use crossbeam_utils::CachePadded;

const ENTRY_BITS: u32 = 26;
const BYTE_BITS: u32 = 37;
const CONGESTED: u64 = 1 << 63;

/// The largest limit in entries, 67 million; a larger one is cut to it.
pub const ENTRIES_MAX: u64 = (1 << ENTRY_BITS) - 1;
/// The largest limit in bytes, 128 GiB; a larger one is cut to it.
pub const BYTES_MAX: u64 = (1 << BYTE_BITS) - 1;

/// A number of entries and the bytes they occupy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many entries.
    pub entries: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// There is not room for all of it; nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// What was free when the attempt failed.
    pub free: Amount,
}

/// Where congestion begins and ends, as shares of a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watermarks {
    /// Congestion begins when either number comes up to this share of its limit, 0 to 1.
    pub high: f64,
    /// It ends when both numbers are down to this share, 0 to `high`.
    pub low: f64,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { high: 0.8, low: 0.6 }
    }
}

/// What of the two limits is in use. Producers take, workers give back.
pub struct Credits {
    /// Bit 63: congested. Bits 26 to 62: bytes in use. Bits 0 to 25: entries in use. Changed by exchange only, and each
    /// exchange also decides the flag, from the numbers before and after it.
    state: CachePadded<AtomicU64>,
    limit: Amount,
    high: Amount,
    low: Amount,
    triggers: AtomicU64,
}

impl Credits {
    /// All of `limit` free. A limit of 0 counts as 1, one above [`ENTRIES_MAX`] or [`BYTES_MAX`] as that.
    pub fn new(limit: Amount, marks: Watermarks) -> Self {
        let limit =
            Amount { entries: limit.entries.clamp(1, ENTRIES_MAX), bytes: limit.bytes.clamp(1, BYTES_MAX) };
        let high = marks.high.clamp(0.0, 1.0);
        // Up to the high mark, down to the low one: neither may round to a state that is always or never reached.
        let up = |limit: u64| ((limit as f64 * high).ceil() as u64).max(1);
        let down = |limit: u64, up: u64| ((limit as f64 * marks.low.clamp(0.0, high)) as u64).min(up - 1);
        let high = Amount { entries: up(limit.entries), bytes: up(limit.bytes) };
        let low = Amount { entries: down(limit.entries, high.entries), bytes: down(limit.bytes, high.bytes) };
        let state = CachePadded::new(AtomicU64::new(0));
        Self { state, limit, high, low, triggers: AtomicU64::new(0) }
    }

    /// Takes credits for `entries` that occupy `bytes`, all of them or none.
    ///
    /// # Errors
    /// Says what is free if that is not enough.
    pub fn take(&self, entries: u64, bytes: u64) -> Result<(), Short> {
        // Acquire pairs with the Release in `give`: whoever takes credits sees that what held them is gone.
        let mut now = self.state.load(Acquire);
        loop {
            let used = unpack(now);
            if !fits(used.entries, entries, self.limit.entries, ENTRIES_MAX)
                || !fits(used.bytes, bytes, self.limit.bytes, BYTES_MAX)
            {
                return Err(Short { free: self.free_of(used) });
            }
            let after = Amount { entries: used.entries + entries, bytes: used.bytes + bytes };
            let begins = now & CONGESTED == 0 && self.is_high(after);
            let flag = if begins { CONGESTED } else { now & CONGESTED };
            match self.state.compare_exchange_weak(now, pack(after) | flag, Acquire, Acquire) {
                Ok(_) => {
                    if begins {
                        // Relaxed: read for display only.
                        self.triggers.fetch_add(1, Relaxed);
                    }
                    return Ok(());
                }
                Err(other) => now = other,
            }
        }
    }

    /// Gives back what a `take` took. True: this ended the congestion.
    ///
    /// # Panics
    /// When more is given than was taken: then the accounts are wrong, and going on would hide it.
    pub fn give(&self, entries: u64, bytes: u64) -> bool {
        // Relaxed: what is read here is checked again by the exchange.
        let mut now = self.state.load(Relaxed);
        loop {
            let used = unpack(now);
            assert!(entries <= used.entries && bytes <= used.bytes, "credits given back twice");
            let after = Amount { entries: used.entries - entries, bytes: used.bytes - bytes };
            let ends = now & CONGESTED != 0 && self.is_low(after);
            let flag = if ends { 0 } else { now & CONGESTED };
            // Release pairs with the Acquire loads in `take`.
            match self.state.compare_exchange_weak(now, pack(after) | flag, Release, Relaxed) {
                Ok(_) => return ends,
                Err(other) => now = other,
            }
        }
    }

    /// What is taken now.
    pub fn used(&self) -> Amount {
        // Relaxed, here and below: a reading that may be a little late; `take` decides for itself.
        unpack(self.state.load(Relaxed))
    }

    /// What is free now.
    pub fn free(&self) -> Amount {
        self.free_of(self.used())
    }

    /// How many entries are free now: what a source that drops its newest cuts to.
    pub fn free_entries(&self) -> u64 {
        self.free().entries
    }

    /// The limits in force.
    pub fn limit(&self) -> Amount {
        self.limit
    }

    /// How full: the share of the limit that is nearer, 0 to 1 (above 1 while an oversized item is inside).
    pub fn utilisation(&self) -> f64 {
        let used = self.used();
        let share = |used: u64, limit: u64| used as f64 / limit as f64;
        share(used.entries, self.limit.entries).max(share(used.bytes, self.limit.bytes))
    }

    /// Whether the high watermark was reached and the low one not yet again.
    pub fn congested(&self) -> bool {
        self.state.load(Relaxed) & CONGESTED != 0
    }

    /// How often the high watermark was reached.
    pub fn triggers(&self) -> u64 {
        self.triggers.load(Relaxed)
    }

    fn is_high(&self, used: Amount) -> bool {
        used.entries >= self.high.entries || used.bytes >= self.high.bytes
    }

    fn is_low(&self, used: Amount) -> bool {
        used.entries <= self.low.entries && used.bytes <= self.low.bytes
    }

    fn free_of(&self, used: Amount) -> Amount {
        Amount {
            entries: self.limit.entries.saturating_sub(used.entries),
            bytes: self.limit.bytes.saturating_sub(used.bytes),
        }
    }
}

/// Whether `wanted` more fits, alone if it is larger than the limit, and never more than its field can hold.
fn fits(used: u64, wanted: u64, limit: u64, field_max: u64) -> bool {
    match used {
        0 => wanted <= field_max,
        _ => used.saturating_add(wanted) <= limit || wanted == 0,
    }
}

fn pack(used: Amount) -> u64 {
    used.bytes << ENTRY_BITS | used.entries
}

fn unpack(state: u64) -> Amount {
    Amount { entries: state & ENTRIES_MAX, bytes: state >> ENTRY_BITS & BYTES_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(entries: u64, bytes: u64) -> Credits {
        Credits::new(Amount { entries, bytes }, Watermarks::default())
    }

    #[test]
    fn taking_is_all_or_nothing_and_says_what_was_free() {
        let credits = credits(10, 1000);
        credits.take(4, 900).unwrap();
        let short = Short { free: Amount { entries: 6, bytes: 100 } };
        assert_eq!(credits.take(1, 101), Err(short));
        assert_eq!(credits.take(7, 1), Err(short));
        assert_eq!(credits.used(), Amount { entries: 4, bytes: 900 });
        credits.take(6, 100).unwrap();
        assert_eq!(credits.free(), Amount::default());
        credits.give(4, 900);
        credits.give(6, 100);
        assert_eq!(credits.used(), Amount::default());
    }

    #[test]
    fn an_item_larger_than_a_limit_goes_in_alone() {
        let credits = credits(10, 1000);
        credits.take(1, 1).unwrap();
        assert!(credits.take(1, 5000).is_err());
        credits.give(1, 1);
        credits.take(1, 5000).unwrap();
        assert!(credits.utilisation() > 1.0);
        assert!(credits.take(1, 1).is_err());
        credits.take(9, 0).unwrap();
        credits.give(10, 5000);
        credits.take(10, 1000).unwrap();
    }

    #[test]
    fn congestion_begins_at_the_high_mark_and_ends_at_the_low_one() {
        let credits = credits(10, 1000);
        credits.take(7, 0).unwrap();
        assert!(!credits.congested());
        credits.take(1, 0).unwrap();
        assert!(credits.congested());
        assert!(!credits.give(1, 0), "between the marks it goes on");
        credits.take(1, 0).unwrap();
        assert_eq!(credits.triggers(), 1, "and reaching the high mark again is not news");
        assert!(credits.give(2, 0));
        assert!(!credits.congested());
    }

    #[test]
    fn the_nearer_of_the_two_limits_decides() {
        let credits = credits(100, 1000);
        credits.take(1, 800).unwrap();
        assert!(credits.congested());
        assert_eq!(credits.utilisation(), 0.8);
        credits.take(70, 0).unwrap();
        assert!(!credits.give(0, 800), "entries are still above their low mark");
        assert!(credits.give(11, 0));
    }

    #[test]
    fn a_limit_of_one_is_congested_when_full_and_free_when_empty() {
        let credits = credits(1, 1);
        credits.take(1, 1).unwrap();
        assert!(credits.congested());
        assert!(credits.give(1, 1));
        assert_eq!((credits.congested(), credits.triggers()), (false, 1));
    }

    #[test]
    fn the_largest_limits_do_not_run_into_each_other() {
        let credits = credits(u64::MAX, u64::MAX);
        assert_eq!(credits.limit(), Amount { entries: ENTRIES_MAX, bytes: BYTES_MAX });
        credits.take(ENTRIES_MAX, BYTES_MAX).unwrap();
        assert_eq!(credits.used(), credits.limit());
        assert!(credits.take(1, 0).is_err() && credits.take(0, 1).is_err());
        credits.give(ENTRIES_MAX, BYTES_MAX);
        assert!(credits.take(1, BYTES_MAX + 1).is_err(), "more than can be counted is never admitted");
        assert_eq!(credits.used(), Amount::default());
    }

    #[test]
    #[should_panic(expected = "credits given back twice")]
    fn giving_back_what_was_not_taken_is_a_bug_of_ours() {
        let credits = credits(10, 10);
        credits.take(1, 1).unwrap();
        credits.give(2, 1);
    }
}
