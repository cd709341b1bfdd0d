//! What attempts at a batch have settled of it so far.
//!
//! A sink that makes several requests of one batch may see some taken and another fail. What was taken must not be sent
//! again with the next attempt, so the sink notes it here, and the batch carries it along.

use std::ops::Range;

/// Settled entries, by their place in the batch.
#[derive(Debug, Default)]
pub struct Progress {
    /// A bit per entry; as long as the last settled one needs.
    bits: Vec<u64>,
    settled: usize,
    refused: Vec<(usize, String)>,
}

impl Progress {
    /// Whether the entry was taken or refused already.
    pub fn is_settled(&self, place: usize) -> bool {
        self.bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
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

    /// Notes that the destination refused the entry for good.
    pub fn refuse(&mut self, place: usize, why: impl Into<String>) {
        if self.settle(place) {
            self.refused.push((place, why.into()));
        }
    }

    /// The refused entries with their reasons, once everything is settled.
    pub fn into_refused(self) -> Vec<(usize, String)> {
        self.refused
    }

    /// False if it was settled before.
    fn settle(&mut self, place: usize) -> bool {
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
        assert_eq!(progress.into_refused(), [(70, "bad".to_string())]);
    }
}
