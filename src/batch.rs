//! What one request to one sink carries: parts of blocks, each with the share of acknowledgement it answers for.

use crate::ack::{Hold, Status};
use crate::block::EntryView;
use crate::block::{Block, count_selected, selected};
use crate::labels::{SourceId, Stream};
use crate::ledger::{Reason, SinkLedger};
use crate::pool::Shared;
use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
pub use progress::Progress;
pub use refusal::{LetterReason, Refused, Said};
pub use slice::Slice;
use std::ops::Range;
use std::sync::Arc;

mod progress;
mod refusal;
mod slice;

/// Entries of one stream in one block that go to one sink: those of `range` whose bit is set in row `row`.
#[derive(Clone)]
pub struct Part {
    /// The block.
    pub block: Shared<Block>,
    /// The span of its index; all of it belongs to one run.
    pub range: Range<u32>,
    /// Which row of the block's bits selects among them.
    pub row: u16,
    /// How many are selected.
    pub entries: u32,
    /// Bytes of their text.
    pub bytes: u64,
    /// The lane's place among the block's pins.
    pub pin: u16,
}

impl Part {
    /// The selected entries' places in the block.
    pub fn places(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        selected(self.block.selection(self.row.into()), self.range.start as usize..self.range.end as usize)
    }

    /// The selected entries.
    pub fn iter(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.places().map(|place| self.block.view(place))
    }

    /// Whose entries they are.
    pub fn stream(&self) -> &Arc<Stream> {
        self.block.stream_of(self.range.start as usize)
    }

    /// Whether every entry of the span is selected.
    pub fn is_whole(&self) -> bool {
        self.entries == self.range.end - self.range.start
    }

    /// The first selected entries of `range`, `count` and `bytes` at most but one at least: how many they are, where they
    /// end, and how many bytes of text they have.
    pub fn first(block: &Block, row: u16, range: Range<u32>, count: u32, bytes: u64) -> (u32, u32, u64) {
        let span = range.start as usize..range.end as usize;
        let (mut taken, mut sum) = (0, 0);
        for place in selected(block.selection(row.into()), span) {
            let len = u64::from(block.text_of(place).len);
            if taken > 0 && (taken >= count || sum + len > bytes) {
                return (taken, place as u32, sum);
            }
            (taken, sum) = (taken + 1, sum + len);
        }
        (taken, range.end, sum)
    }
}

/// Parts of blocks in order, for one attempt after another until they are settled.
///
/// A batch that is dropped unsettled counts as failed, in the sink's ledger and for its sources.
pub struct Batch {
    parts: Vec<Part>,
    holds: Vec<Hold>,
    entries: usize,
    bytes: u64,
    ledger: Arc<CachePadded<SinkLedger>>,
    progress: Mutex<Progress>,
    /// Whether it answers for its entries; a [`Slice`] does not.
    answers: bool,
}

impl Batch {
    /// An empty batch for the sink with this ledger.
    pub fn new(ledger: Arc<CachePadded<SinkLedger>>) -> Self {
        Batch::reusing(ledger, Spare::default())
    }

    /// An empty batch in the memory of one that is settled.
    pub fn reusing(ledger: Arc<CachePadded<SinkLedger>>, Spare { parts, holds }: Spare) -> Self {
        Batch { parts, holds, entries: 0, bytes: 0, ledger, progress: Mutex::default(), answers: true }
    }

    /// Adds a part, and the share that answers for it.
    pub fn push(&mut self, part: Part, hold: Hold) {
        debug_assert_eq!(part.entries, hold.copies());
        debug_assert_eq!(
            part.entries as usize,
            count_selected(
                part.block.selection(part.row.into()),
                part.range.start as usize..part.range.end as usize
            )
        );
        self.entries += part.entries as usize;
        self.bytes += part.bytes;
        self.parts.push(part);
        // Parts of one block mostly follow each other: one subtraction then settles them all.
        match self.holds.last_mut() {
            Some(last) => {
                if let Err(hold) = last.join(hold) {
                    self.holds.push(hold);
                }
            }
            None => self.holds.push(hold),
        }
    }

    /// The numbers of the sink it is for.
    pub fn ledger(&self) -> &SinkLedger {
        &self.ledger
    }

    /// Its parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All its entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.parts.iter().flat_map(Part::iter)
    }

    /// How many entries it carries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it carries nothing.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of its entries' text.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What attempts have settled of it so far; for sinks that make several requests of one batch.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }

    /// Counts `entries` of it that were taken, but not into the stream of their own.
    pub fn count_overflowed(&self, entries: usize) {
        self.ledger.overflowed.add(entries as u64);
    }

    /// How many of its entries no attempt has settled yet.
    pub fn left(&self) -> usize {
        self.entries - self.progress.lock().settled().min(self.entries)
    }

    /// Settles it: what attempts refused for good is among the dead letters, if `letters` says so many, and otherwise
    /// dropped and counted; everything else was delivered. Gives its memory back, to be used again.
    pub fn settle(mut self, letters: usize) -> Spare {
        let refused = std::mem::take(&mut *self.progress.lock()).into_refused();
        let dropped = refused.len().saturating_sub(letters);
        let lost = refused.len().min(self.entries) as u64;
        self.ledger.delivered.add(self.entries as u64 - lost);
        self.ledger.delivered_bytes.add(self.bytes);
        self.ledger.dead_lettered.add(lost - dropped as u64);
        self.ledger.dropped.add(Reason::Rejected, dropped as u64);
        // Last: whoever sees nothing in flight sees what became of it.
        self.ledger.in_flight.sub(self.entries as u64);
        self.entries = 0;
        // Text first: whoever hears of the settlement may look for free memory.
        self.parts.clear();
        let status = if dropped > 0 { Status::Dropped } else { Status::DeadLettered };
        self.settle_holds(&refused, status, Status::Delivered);
        Spare { parts: std::mem::take(&mut self.parts), holds: std::mem::take(&mut self.holds) }
    }

    /// How many of its entries are of the source.
    pub fn entries_of(&self, source: SourceId) -> u64 {
        let of_it = self.parts.iter().filter(|part| part.stream().source == source);
        of_it.map(|part| u64::from(part.entries)).sum()
    }

    /// Settles what was counted record by record already: all of it is on disk, or some was dropped.
    pub fn persist(mut self, dropped: bool) -> Spare {
        self.entries = 0;
        self.parts.clear();
        let status = if dropped { Status::Dropped } else { Status::Persisted };
        for hold in self.holds.drain(..) {
            hold.settle(status);
        }
        Spare { parts: std::mem::take(&mut self.parts), holds: std::mem::take(&mut self.holds) }
    }

    /// Tells the source of each part what became of it: `worse` where an entry was refused.
    fn settle_holds(&mut self, refused: &[Refused], worse: Status, other: Status) {
        let mut places: Vec<usize> = refused.iter().map(|refused| refused.place).collect();
        places.sort_unstable();
        let mut first = 0;
        for hold in self.holds.drain(..) {
            let end = first + hold.copies() as usize;
            let at = places.partition_point(|place| *place < first);
            let has_refused = places.get(at).is_some_and(|place| *place < end);
            hold.settle(if has_refused { worse } else { other });
            first = end;
        }
    }

    /// Drops what no attempt has settled of it: counted under `reason`, and forgotten by its sources.
    pub fn give_up(mut self, reason: Reason) {
        let left = self.left() as u64;
        let refused = std::mem::take(&mut *self.progress.lock()).into_refused().len() as u64;
        let entries = std::mem::take(&mut self.entries) as u64;
        self.ledger.delivered.add(entries - left - refused);
        self.ledger.dropped.add(Reason::Rejected, refused);
        self.ledger.dropped.add(reason, left);
        self.ledger.in_flight.sub(entries);
        self.parts.clear();
        for hold in self.holds.drain(..) {
            hold.settle(Status::Dropped);
        }
    }

    /// Gives it up undelivered at the end of the process: its entries stay in flight in the ledger, and their sources
    /// keep them.
    pub fn abandon(mut self) {
        self.entries = 0;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.entries > 0 && self.answers {
            self.ledger.dropped.add(Reason::Failed, self.entries as u64);
            self.ledger.in_flight.sub(self.entries as u64);
        }
    }
}

/// The memory of a settled batch.
#[derive(Default)]
pub struct Spare {
    parts: Vec<Part>,
    holds: Vec<Hold>,
}
