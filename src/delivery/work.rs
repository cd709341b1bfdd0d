//! What of a batch is still to be sent, in which pieces and in which order.

use super::patience::Trial;
use crate::batch::{Batch, LetterReason, Said};
use smallvec::SmallVec;
use std::ops::Range;

/// Entries of a batch that are sent together.
pub(super) struct Piece {
    /// Their places; what is settled among them is not sent.
    pub range: Range<usize>,
    /// What they went through.
    pub trial: Trial,
}

/// The pieces of one batch, first ones last.
pub(super) struct Work(SmallVec<[Piece; 1]>);

impl Work {
    /// All of a batch as one.
    pub fn of(batch: &Batch) -> Self {
        Work(SmallVec::from_buf([Piece { range: 0..batch.len(), trial: Trial::default() }]))
    }

    /// The piece to be sent next: the first of which anything is left.
    pub fn next(&mut self, batch: &Batch) -> Option<&mut Piece> {
        let progress = batch.progress();
        if progress.settled() == batch.len() {
            return None;
        }
        while self.0.last()?.range.clone().all(|place| progress.is_settled(place)) {
            self.0.pop();
        }
        self.0.last_mut()
    }

    /// Takes the piece that was sent last apart: two halves of what is left, the earlier first, so that entries keep their
    /// order. An entry alone is not tried any more.
    pub fn split(&mut self, batch: &Batch, said: &Said, reason: LetterReason) {
        let Some(Piece { range, trial }) = self.0.pop() else { return };
        let mut progress = batch.progress();
        let left: Vec<usize> = range.clone().filter(|place| !progress.is_settled(*place)).collect();
        match left[..] {
            [] => {}
            [alone] => progress.refuse_for(alone, said.clone(), reason),
            [.., _] => {
                let middle = left[left.len().div_ceil(2)];
                for range in [middle..range.end, range.start..middle] {
                    self.0.push(Piece { range, trial: trial.of_part(reason) });
                }
            }
        }
    }

    /// Gives up all that is left of the piece that was sent last.
    pub fn give_up(&mut self, batch: &Batch, said: &Said, reason: LetterReason) {
        let Some(Piece { range, .. }) = self.0.pop() else { return };
        let mut progress = batch.progress();
        range.for_each(|place| progress.refuse_for(place, said.clone(), reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing::{batch_of, stream};

    /// How many requests it takes until all but `bad` are taken, and what was refused.
    fn bisected(entries: usize, bad: &[usize]) -> (usize, Vec<usize>) {
        let lines: Vec<String> = (0..entries).map(|n| n.to_string()).collect();
        let batch = batch_of(&stream("s", "o", &[]), &lines);
        let mut work = Work::of(&batch);
        let (mut requests, mut taken) = (0, Vec::new());
        while let Some(piece) = work.next(&batch) {
            let slice = batch.slice(piece.range.clone());
            let texts: Vec<usize> = slice
                .batch()
                .iter()
                .map(|e| std::str::from_utf8(e.text()).unwrap().parse().unwrap())
                .collect();
            requests += 1;
            if texts.iter().any(|n| bad.contains(n)) {
                work.split(&batch, &"bad".into(), LetterReason::Rejected);
            } else {
                taken.extend(texts);
                slice.batch().progress().take_rest(slice.batch().len());
                slice.note_in(&batch);
            }
        }
        let refused: Vec<usize> = batch.progress().refused().iter().map(|one| one.place).collect();
        let good: Vec<usize> = (0..entries).filter(|n| !bad.contains(n)).collect();
        assert_eq!(taken, good, "in order, each once");
        (requests, refused)
    }

    #[test]
    fn one_bad_entry_of_n_costs_two_requests_for_each_halving() {
        for entries in [1, 2, 3, 5, 64, 100, 1000] {
            let halvings = (entries as f64).log2().ceil() as usize;
            for bad in [0, entries / 3, entries / 2, entries - 1] {
                let (requests, refused) = bisected(entries, &[bad]);
                assert_eq!(refused, [bad]);
                assert!(requests <= 2 * halvings + 1, "{requests} for {bad} of {entries}");
            }
        }
    }

    #[test]
    fn several_bad_entries_are_all_found() {
        assert_eq!(bisected(100, &[0, 1, 57, 99]).1, [0, 1, 57, 99]);
        assert_eq!(bisected(7, &[0, 1, 2, 3, 4, 5, 6]), (13, vec![0, 1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn giving_up_refuses_what_is_left_and_no_more() {
        let batch = batch_of(&stream("s", "o", &[]), &["0", "1", "2"]);
        let mut work = Work::of(&batch);
        batch.progress().take(1..2);
        assert!(work.next(&batch).is_some());
        work.give_up(&batch, &"no".into(), LetterReason::Denied);
        let refused: Vec<_> = batch.progress().refused().iter().map(|one| (one.place, one.reason)).collect();
        assert_eq!(refused, [(0, LetterReason::Denied), (2, LetterReason::Denied)]);
        assert!(work.next(&batch).is_none());
    }
}
