//! What one request to one sink carries: parts of blocks, each with the share of acknowledgement it answers for.

use crate::ack::{Hold, Status};
use crate::block::{Block, count_selected, selected};
use crate::entry::EntryView;
use crate::labels::Stream;
use crate::ledger::{Reason, SinkLedger};
use crate::pool::Shared;
use crossbeam_utils::CachePadded;
use std::ops::Range;
use std::sync::Arc;

/// Entries of one stream in one block that go to one sink: those of `range` whose bit is set in row `row`.
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
}

impl Part {
    /// The selected entries' places in the block.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
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

    /// Takes the first `count` selected entries out into a part of their own. `count` is less than `entries`.
    pub fn split(&mut self, count: u32) -> Part {
        let (mut bytes, mut cut) = (0, self.range.start);
        for entry in self.iter().take(count as usize) {
            bytes += u64::from(entry.entry().len);
        }
        if let Some(place) = self.places().nth(count as usize) {
            cut = place as u32;
        }
        let first = self.range.start..cut;
        self.range.start = cut;
        self.entries -= count;
        self.bytes -= bytes;
        Part { block: self.block.clone(), range: first, row: self.row, entries: count, bytes }
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
}

impl Batch {
    /// An empty batch for the sink with this ledger.
    pub fn new(ledger: Arc<CachePadded<SinkLedger>>) -> Self {
        Batch { parts: Vec::new(), holds: Vec::new(), entries: 0, bytes: 0, ledger }
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

    /// Everything was delivered.
    pub fn delivered(self) {
        self.ledger.delivered_bytes.add(self.bytes);
        self.finish(Status::Delivered, 0);
    }

    /// All but `refused` entries were delivered; those were refused for good and are dropped, counted.
    pub fn delivered_but(self, refused: usize) {
        let refused = refused.min(self.entries);
        self.finish(if refused == 0 { Status::Delivered } else { Status::Dropped }, refused);
    }

    fn finish(mut self, status: Status, refused: usize) {
        self.ledger.in_flight.sub(self.entries as u64);
        self.ledger.delivered.add((self.entries - refused) as u64);
        self.ledger.dropped.add(Reason::Rejected, refused as u64);
        self.entries = 0;
        for hold in self.holds.drain(..) {
            hold.settle(status);
        }
    }

    /// Gives it up undelivered at the end of the process: its entries stay in flight in the ledger, and their sources
    /// keep them.
    pub fn abandon(mut self) {
        self.entries = 0;
        self.holds.clear();
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.entries > 0 {
            self.ledger.in_flight.sub(self.entries as u64);
            self.ledger.dropped.add(Reason::Failed, self.entries as u64);
        }
    }
}
