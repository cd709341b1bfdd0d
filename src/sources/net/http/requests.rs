//! The requests of one decode thread that wait for an answer: which blocks they wait for, and until when.
//!
//! A request's entries may be in several blocks, and a block may have entries of several requests, always of such as
//! follow each other. So a block names the first and last of its requests, and settling it costs one step for each.

use super::Promise;
use crate::ack::Status;
use crate::sources::body::Refusals;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

/// A request, as the intake knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// The place of its connection.
    pub slot: u32,
    /// Which connection that is, of all that ever had the place.
    pub client: u64,
    /// Which of that connection's requests.
    pub number: u64,
}

/// The requests some of whose entries are in blocks.
#[derive(Default)]
pub struct Requests {
    rows: VecDeque<Row>,
    /// The number of the first row.
    first: u64,
    /// Everything before it has been answered: where the search for those that are late begins.
    unanswered: u64,
}

struct Row {
    who: Who,
    /// Blocks with entries of it that are open or on their way.
    blocks: u32,
    /// All its entries are in blocks.
    complete: bool,
    answered: bool,
    /// What was promised to whoever sent it; known once it is complete.
    promise: Promise,
    worst: Status,
    entries: u64,
    refusals: Refusals,
    deadline: Instant,
}

/// A request that is to be answered now.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// Who.
    pub who: Who,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a request with entries.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// So many entries are where they were promised to be.
    Done(u64, Refusals),
    /// Some were not.
    Lost(Status),
    /// Nobody knows yet, and the time is over.
    Late,
}

impl Requests {
    /// A request is about to have its first entry in a block; to be answered until `deadline`, or when the time of an
    /// earlier one is over, if that is later. Its number.
    pub fn begin(&mut self, who: Who, deadline: Instant) -> u64 {
        let deadline = self.rows.back().map_or(deadline, |last| last.deadline.max(deadline));
        self.rows.push_back(Row {
            who,
            blocks: 0,
            complete: false,
            answered: false,
            promise: Promise::Delivered,
            worst: Status::Delivered,
            entries: 0,
            refusals: Refusals::default(),
            deadline,
        });
        self.first + self.rows.len() as u64 - 1
    }

    fn row(&mut self, number: u64) -> Option<&mut Row> {
        self.rows.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// A further block has entries of the request.
    pub fn hold(&mut self, number: u64) {
        if let Some(row) = self.row(number) {
            row.blocks += 1;
        }
    }

    /// All entries of the request, `entries` of them, are in blocks. `shipped`: none of these is still open.
    pub fn complete(
        &mut self,
        number: u64,
        entries: u64,
        refusals: Refusals,
        shipped: bool,
        promise: Promise,
    ) -> Option<Due> {
        let row = self.row(number)?;
        (row.complete, row.promise, row.entries, row.refusals) = (true, promise, entries, refusals);
        let done = row.blocks == 0 || shipped && promise == Promise::Accepted;
        let due = if done { row.answer() } else { None };
        self.forget();
        due
    }

    /// Blocks with entries of these requests are in the queue now; `due` takes those to be answered.
    pub fn shipped(&mut self, numbers: RangeInclusive<u64>, mut due: impl FnMut(Due)) {
        for number in numbers {
            let told = |row: &&mut Row| row.complete && row.promise == Promise::Accepted;
            if let Some(row) = self.row(number).filter(told) {
                row.answer().into_iter().for_each(&mut due);
            }
        }
    }

    /// A block with entries of these requests is settled; `due` takes those to be answered.
    pub fn settled(&mut self, numbers: RangeInclusive<u64>, status: Status, mut due: impl FnMut(Due)) {
        for number in numbers {
            if let Some(row) = self.row(number) {
                debug_assert!(row.blocks > 0, "a block names only requests that hold it");
                row.blocks = row.blocks.saturating_sub(1);
                row.worst = row.worst.max(status);
                if row.blocks == 0 && row.complete {
                    row.answer().into_iter().for_each(&mut due);
                }
            }
        }
        self.forget();
    }

    /// Takes those whose time is over at `now`.
    pub fn late(&mut self, now: Instant, mut due: impl FnMut(Due)) {
        while let Some(row) = self.next_unanswered().filter(|row| row.deadline <= now) {
            row.answered = true;
            due(Due { who: row.who, fate: Fate::Late });
        }
    }

    /// When the time of the next one is over.
    pub fn deadline(&mut self) -> Option<Instant> {
        self.next_unanswered().map(|row| row.deadline)
    }

    fn next_unanswered(&mut self) -> Option<&mut Row> {
        self.unanswered = self.unanswered.max(self.first);
        while self.rows.get((self.unanswered - self.first) as usize)?.answered {
            self.unanswered += 1;
        }
        self.rows.get_mut((self.unanswered - self.first) as usize)
    }

    /// Takes all that are not answered: they never will be otherwise.
    pub fn give_up(&mut self, mut due: impl FnMut(Due)) {
        while let Some(row) = self.next_unanswered() {
            row.answered = true;
            due(Due { who: row.who, fate: Fate::Late });
        }
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn forget(&mut self) {
        while self.rows.front().is_some_and(|row| row.complete && row.answered && row.blocks == 0) {
            self.rows.pop_front();
            self.first += 1;
        }
    }
}

impl Row {
    fn answer(&mut self) -> Option<Due> {
        if std::mem::replace(&mut self.answered, true) {
            return None;
        }
        let fate = match self.worst {
            Status::Delivered | Status::Persisted | Status::DeadLettered => {
                Fate::Done(self.entries, std::mem::take(&mut self.refusals))
            }
            lost => Fate::Lost(lost),
        };
        Some(Due { who: self.who, fate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn who(number: u64) -> Who {
        Who { slot: 0, client: 1, number }
    }

    fn done(number: u64, entries: u64) -> Due {
        Due { who: who(number), fate: Fate::Done(entries, Refusals::default()) }
    }

    fn settled(requests: &mut Requests, numbers: RangeInclusive<u64>, status: Status) -> Vec<Due> {
        let mut due = Vec::new();
        requests.settled(numbers, status, |one| due.push(one));
        due
    }

    /// Three requests: the first and second share a block, the second goes on in one of its own, the third shares that.
    fn three() -> (Requests, Instant) {
        let (mut requests, t0) = (Requests::default(), Instant::now());
        for number in 0..3 {
            assert_eq!(requests.begin(who(number), t0 + Duration::from_secs(number)), number);
        }
        for number in [0, 1, 1, 2] {
            requests.hold(number);
        }
        (requests, t0)
    }

    fn complete(requests: &mut Requests, number: u64, shipped: bool, promise: Promise) -> Option<Due> {
        requests.complete(number, number + 10, Refusals::default(), shipped, promise)
    }

    #[test]
    fn a_request_is_answered_when_the_last_of_its_blocks_is_settled() {
        let (mut requests, _) = three();
        for number in 0..3 {
            assert_eq!(complete(&mut requests, number, true, Promise::Delivered), None);
        }
        assert_eq!(settled(&mut requests, 1..=2, Status::Delivered), [done(2, 12)]);
        assert_eq!(settled(&mut requests, 0..=1, Status::DeadLettered), [done(0, 10), done(1, 11)]);
        assert!(requests.is_empty());
    }

    #[test]
    fn a_request_that_is_not_complete_waits_for_the_rest_and_the_worst_block_counts() {
        let (mut requests, _) = three();
        assert_eq!(settled(&mut requests, 0..=1, Status::Dropped), []);
        let lost = Due { who: who(0), fate: Fate::Lost(Status::Dropped) };
        assert_eq!(complete(&mut requests, 0, true, Promise::Delivered), Some(lost));
        assert_eq!(complete(&mut requests, 1, true, Promise::Delivered), None);
        let lost = Due { who: who(1), fate: Fate::Lost(Status::Failed) };
        assert_eq!(settled(&mut requests, 1..=2, Status::Failed), [lost]);
        assert!(!requests.is_empty());
        assert!(complete(&mut requests, 2, true, Promise::Delivered).is_some());
        assert!(requests.is_empty());
    }

    #[test]
    fn where_accepted_is_promised_the_answer_comes_with_the_last_shipment() {
        let (mut requests, _) = three();
        assert_eq!(complete(&mut requests, 0, false, Promise::Accepted), None);
        let mut due = Vec::new();
        requests.shipped(0..=1, |one| due.push(one));
        assert_eq!(due, [done(0, 10)], "the other is not complete");
        assert_eq!(complete(&mut requests, 1, false, Promise::Accepted), None);
        assert_eq!(complete(&mut requests, 2, true, Promise::Accepted), Some(done(2, 12)));
        assert_eq!(settled(&mut requests, 0..=1, Status::Failed), [], "there is one answer to a request");
    }

    #[test]
    fn each_request_keeps_the_promise_that_it_was_complete_under() {
        let (mut requests, _) = three();
        assert_eq!(complete(&mut requests, 0, false, Promise::Delivered), None);
        assert_eq!(complete(&mut requests, 1, false, Promise::Accepted), None);
        let mut due = Vec::new();
        requests.shipped(0..=1, |one| due.push(one));
        assert_eq!(due, [done(1, 11)]);
        assert_eq!(settled(&mut requests, 0..=1, Status::Delivered), [done(0, 10)]);
    }

    #[test]
    fn a_time_that_was_shortened_is_over_no_sooner_than_those_before_it() {
        let (mut requests, t0) = (Requests::default(), Instant::now());
        requests.begin(who(0), t0 + Duration::from_secs(30));
        requests.begin(who(1), t0 + Duration::from_secs(5));
        let mut late = Vec::new();
        requests.late(t0 + Duration::from_secs(29), |due| late.push(due.who.number));
        assert!(late.is_empty());
        requests.late(t0 + Duration::from_secs(30), |due| late.push(due.who.number));
        assert_eq!(late, [0, 1]);
    }

    #[test]
    fn whose_time_is_over_is_answered_once_and_its_blocks_are_still_waited_for() {
        let (mut requests, t0) = three();
        assert_eq!(requests.deadline(), Some(t0));
        let mut late = Vec::new();
        requests.late(t0 + Duration::from_secs(1), |due| late.push(due));
        assert_eq!(
            late.iter().map(|due| (due.who.number, &due.fate)).collect::<Vec<_>>(),
            [(0, &Fate::Late), (1, &Fate::Late)]
        );
        assert_eq!(requests.deadline(), Some(t0 + Duration::from_secs(2)));
        for number in 0..3 {
            complete(&mut requests, number, true, Promise::Delivered);
        }
        assert_eq!(settled(&mut requests, 0..=1, Status::Delivered), []);
        assert_eq!(settled(&mut requests, 1..=2, Status::Delivered), [done(2, 12)]);
        assert!(requests.is_empty() && requests.deadline().is_none());
    }
}
