//! What is handed out, what is done, and what of it is safe to forget: decisions, no I/O.

use super::state::HOLES_MAX;
use super::{RecordHead, Seq, record};
use std::collections::VecDeque;
use std::ops::Range;

/// A record that was handed out.
struct Out {
    head: RecordHead,
    /// It need not be given again after the death of the process.
    delivered: bool,
    /// It may be removed.
    done: bool,
}

/// How far a reader and those it hands records to are.
pub(super) struct Progress {
    /// Handed out, by number; the first is not done.
    out: VecDeque<Out>,
    /// Everything below was handed out, passed over, or lost.
    read: Seq,
    /// Passed over while older records were handed out. Rising, not touching, at most [`HOLES_MAX`], none below the first
    /// that is handed out.
    holes: Vec<Range<Seq>>,
}

impl Progress {
    /// Begins with everything below `committed` done, and the ranges `holes`.
    pub(super) fn new(committed: Seq, mut holes: Vec<Range<Seq>>) -> Progress {
        holes.retain(|hole| hole.end > committed && !hole.is_empty());
        Progress { out: VecDeque::new(), read: committed, holes }
    }

    /// Everything below was handed out, passed over, or lost.
    pub(super) fn read(&self) -> Seq {
        self.read
    }

    /// Everything below is done.
    pub(super) fn committed(&self) -> Seq {
        self.out.front().map_or(self.read, |out| out.head.seq)
    }

    /// Ranges that are done beside the prefix.
    pub(super) fn holes(&self) -> &[Range<Seq>] {
        &self.holes
    }

    /// How many entries of a range are in no hole.
    pub(super) fn outside_holes(&self, range: Range<Seq>) -> u64 {
        let inside = |hole: &Range<Seq>| hole.end.min(range.end).saturating_sub(hole.start.max(range.start));
        range.end.saturating_sub(range.start) - self.holes.iter().map(inside).sum::<u64>()
    }

    /// What of a range is in no hole.
    pub(super) fn without_holes(&self, range: Range<Seq>) -> Vec<Range<Seq>> {
        let (mut at, mut parts) = (range.start, Vec::new());
        for hole in self.holes.iter().filter(|hole| hole.start < range.end && hole.end > range.start) {
            parts.push(at..hole.start);
            at = at.max(hole.end);
        }
        parts.push(at..range.end);
        parts.retain(|part| part.start < part.end);
        parts
    }

    /// Whether an entry is in a hole.
    pub(super) fn in_hole(&self, seq: Seq) -> bool {
        self.holes.iter().any(|hole| hole.contains(&seq))
    }

    /// Whether nobody needs the entries of a range any more.
    pub(super) fn covers(&self, range: &Range<Seq>) -> bool {
        let committed = self.committed();
        range.end <= committed || self.outside_holes(range.start.max(committed)..range.end) == 0
    }

    /// Entries below `end` that are not done, and when the first of those handed out came in.
    pub(super) fn open(&self, end: Seq) -> (u64, Option<u64>) {
        let unread = self.outside_holes(self.read..end.max(self.read));
        let out = self.out.iter().filter(|out| !out.done).map(|out| u64::from(out.head.entries)).sum::<u64>();
        (unread + out, self.out.front().map(|out| out.head.time_ms))
    }

    /// A record is handed out. Its number is not below [`Progress::read`].
    pub(super) fn hand_out(&mut self, head: RecordHead) {
        self.out.push_back(Out { head, delivered: false, done: false });
        self.advance(record::end(&head));
    }

    /// Entries up to `end` are passed over: they are done, if that can be kept in mind.
    pub(super) fn pass(&mut self, end: Seq) {
        let range = self.read..end;
        if !self.out.is_empty() && !range.is_empty() {
            let last_out = self.out.back().map_or(0, |out| record::end(&out.head));
            let full = self.holes.len() >= HOLES_MAX;
            match self.holes.iter_mut().rfind(|hole| hole.start < range.start) {
                // Nothing that is handed out lies between them.
                Some(hole) if hole.end >= last_out => hole.end = hole.end.max(range.end),
                // Too many to keep in mind: after a crash these will come again.
                _ if full => {}
                _ => self.holes.push(range),
            }
            self.holes.sort_unstable_by_key(|hole| hole.start);
            self.join_holes();
        }
        self.advance(end);
    }

    fn join_holes(&mut self) {
        self.holes.dedup_by(|next, hole| {
            let touching = next.start <= hole.end;
            if touching {
                hole.end = hole.end.max(next.end);
            }
            touching
        });
    }

    fn advance(&mut self, end: Seq) {
        self.read = self.read.max(end);
        self.forget();
    }

    /// A record is delivered, but what it was delivered to may not be safe yet.
    pub(super) fn delivered(&mut self, seq: Seq) {
        if let Ok(at) = self.out.binary_search_by_key(&seq, |out| out.head.seq) {
            self.out[at].delivered = true;
        }
    }

    /// Everything below is done, or at least delivered.
    pub(super) fn delivered_up_to(&self) -> Seq {
        let first = self.out.iter().find(|out| !(out.done || out.delivered));
        first.map_or(self.read, |out| out.head.seq)
    }

    /// A record is done; false if it was not handed out.
    pub(super) fn complete(&mut self, seq: Seq) -> bool {
        let Ok(at) = self.out.binary_search_by_key(&seq, |out| out.head.seq) else { return false };
        self.out[at].done = true;
        while self.out.front().is_some_and(|out| out.done) {
            self.out.pop_front();
        }
        self.forget();
        true
    }

    fn forget(&mut self) {
        let committed = self.committed();
        self.holes.retain(|hole| hole.end > committed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: Seq, entries: u32) -> RecordHead {
        RecordHead { seq, entries, time_ms: seq * 10, len: 0 }
    }

    #[test]
    fn what_is_committed_is_the_prefix_without_gaps_whatever_the_order_of_completion() {
        let mut progress = Progress::new(5, Vec::new());
        [head(5, 2), head(7, 1), head(10, 5)].into_iter().for_each(|head| progress.hand_out(head));
        assert_eq!((progress.committed(), progress.read()), (5, 15));
        assert_eq!(progress.open(20), (13, Some(50)));
        assert!(progress.complete(7) && progress.complete(7));
        assert!(!progress.complete(8), "not the number of a record");
        assert_eq!((progress.committed(), progress.open(20).0), (5, 12));
        progress.complete(5);
        assert_eq!(progress.committed(), 10);
        progress.complete(10);
        assert_eq!((progress.committed(), progress.open(20)), (15, (5, None)));
    }

    #[test]
    fn what_is_passed_over_behind_a_record_handed_out_is_a_hole_until_the_prefix_reaches_it() {
        let mut progress = Progress::new(0, Vec::new());
        progress.pass(10);
        assert_eq!((progress.committed(), progress.holes().len()), (10, 0));
        progress.hand_out(head(10, 10));
        progress.pass(30);
        progress.pass(40);
        assert_eq!(progress.holes(), std::slice::from_ref(&(20..40)));
        assert!(progress.covers(&(0..10)) && progress.covers(&(20..40)) && !progress.covers(&(15..40)));
        progress.hand_out(head(40, 1));
        progress.pass(50);
        assert_eq!(progress.holes(), [20..40, 41..50]);
        assert_eq!(
            (progress.outside_holes(0..60), progress.in_hole(39), progress.in_hole(40)),
            (31, true, false)
        );
        assert_eq!(progress.without_holes(15..45), [15..20, 40..41]);
        assert_eq!(progress.without_holes(0..60), [0..20, 40..41, 50..60]);
        progress.complete(10);
        assert_eq!((progress.committed(), progress.holes()), (40, std::slice::from_ref(&(41..50))));
        progress.complete(40);
        assert_eq!((progress.committed(), progress.holes()), (50, &[][..]));
    }

    #[test]
    fn holes_that_are_too_many_are_not_kept() {
        let mut progress = Progress::new(0, Vec::new());
        for n in 0..40 {
            progress.hand_out(head(n * 10, 5));
            progress.pass(n * 10 + 10);
        }
        assert_eq!((progress.holes().len(), progress.read()), (HOLES_MAX, 400));
        assert!(!progress.covers(&(395..400)));
    }
}
