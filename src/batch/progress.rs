//! What attempts at a batch have settled of it so far.
//!
//! A sink that makes several requests of one batch may see some taken and another fail. What was taken must not be sent
//! again with the next attempt, so the sink notes it here, and the batch carries it along.

use super::refusal::{LetterReason, Refused, Said};
use std::ops::Range;

/// Settled entries, by their place in the batch.
#[derive(Debug, Default)]
pub struct Progress {
    /// A bit per entry; as long as the last settled one needs.
    bits: Vec<u64>,
    settled: usize,
    /// Everything is settled: no bit says so then.
    all: bool,
    refused: Vec<Refused>,
}

impl Progress {
    /// Whether the entry was taken or refused already.
    pub fn is_settled(&self, place: usize) -> bool {
        self.all || self.bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    /// Whether nothing is settled yet.
    pub fn is_empty(&self) -> bool {
        self.settled == 0
    }

    /// How many entries are settled.
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// Notes that the destination took these entries; what was refused among them stays refused.
    pub fn take(&mut self, places: Range<usize>) {
        for place in places {
            self.settle(place);
        }
    }

    /// Notes that the destination took all of `entries` that it did not refuse. Costs the same however many they are.
    pub fn take_rest(&mut self, entries: usize) {
        (self.all, self.settled) = (true, entries);
    }

    /// Notes that the destination refused the entry for good.
    pub fn refuse(&mut self, place: usize, said: impl Into<Said>) {
        self.refuse_for(place, said.into(), LetterReason::Rejected);
    }

    /// Notes that the entry is not tried any more.
    pub fn refuse_for(&mut self, place: usize, said: Said, reason: LetterReason) {
        self.note(Refused { place, said, reason, attempts: 0, first_failed_ms: 0 });
    }

    /// Notes what is known of an entry that is not tried any more.
    pub fn note(&mut self, refused: Refused) {
        if self.settle(refused.place) {
            self.refused.push(refused);
        }
    }

    /// The refused entries, in the order they were refused.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Says of what was refused since the last call how often it was tried, and since when.
    pub fn date(&mut self, attempts: u32, first_failed_ms: u64) {
        for fresh in self.refused.iter_mut().rev().take_while(|refused| refused.attempts == 0) {
            (fresh.attempts, fresh.first_failed_ms) = (attempts, first_failed_ms);
        }
    }

    /// The refused entries, once everything is settled.
    pub fn into_refused(self) -> Vec<Refused> {
        self.refused
    }

    /// False if it was settled before.
    fn settle(&mut self, place: usize) -> bool {
        if self.all {
            return false;
        }
        if self.bits.len() <= place / 64 {
            self.bits.resize(place / 64 + 1, 0);
        }
        let bit = 1 << (place % 64);
        let fresh = self.bits[place / 64] & bit == 0;
        self.bits[place / 64] |= bit;
        self.settled += usize::from(fresh);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_settled_once_whatever_is_said_of_it_later() {
        let mut progress = Progress::default();
        assert!(progress.is_empty() && !progress.is_settled(1000));
        progress.refuse(70, "bad");
        progress.take(60..72);
        progress.refuse(61, "too late");
        progress.refuse(70, "again");
        assert_eq!(progress.settled(), 12);
        assert!(progress.is_settled(60) && progress.is_settled(71) && !progress.is_settled(72));
        let refused: Vec<_> = progress.into_refused().into_iter().map(|one| (one.place, one.said)).collect();
        assert_eq!(refused, [(70, "bad".into())]);
    }

    #[test]
    fn the_rest_is_what_was_not_refused() {
        let mut progress = Progress::default();
        progress.refuse(1, "bad");
        progress.take_rest(3);
        progress.refuse(2, "too late");
        assert!((0..3).all(|place| progress.is_settled(place)));
        assert_eq!((progress.settled(), progress.refused().len()), (3, 1));
    }

    #[test]
    fn what_was_dated_before_keeps_its_date() {
        let mut progress = Progress::default();
        progress.refuse(1, "bad");
        progress.date(2, 100);
        progress.refuse(5, "worse");
        progress.date(9, 200);
        let dates: Vec<_> =
            progress.refused().iter().map(|one| (one.attempts, one.first_failed_ms)).collect();
        assert_eq!(dates, [(2, 100), (9, 200)]);
    }
}
