//! What waits in a lane, by bucket: put in at one end, cut into batches at the other. All under the lane's lock.

use super::batcher::{Batcher, Due, Waiting};
use super::compact::{Compactor, Text};
use super::crew::{Crew, Duty};
use super::history::History;
use super::{Quota, Taken, Trouble};
use crate::ack::{Hold, Status};
use crate::batch::{Batch, Part, Spare};
use crate::block::{Block, Blocks, Cut};
use crate::labels::{BUCKETS, SourceId};
use crate::ledger::SinkLedger;
use crate::pool::Shared;
use crate::sources::inlet::{Gate, Strategy};
use crossbeam_utils::CachePadded;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of a lane.
pub(super) struct State {
    pub(super) batcher: Batcher,
    pub(super) quota: Quota,
    pub(super) ordered: bool,
    /// The gates of the sources that can reach the lane.
    pub(super) gates: Vec<Arc<Gate>>,
    pub(super) duty: Duty,
    /// Batches a crew gave back, to be sent before anything else.
    pub(super) returned: VecDeque<Taken>,
    compactor: Compactor,
    buckets: Vec<Bucket>,
    /// The idle buckets that have something, by the arrival of their oldest.
    oldest: BinaryHeap<Reverse<(u64, u8)>>,
    arrivals: u64,
    /// What waits in idle buckets.
    pub(super) entries: usize,
    pub(super) bytes: u64,
    pub(super) batches_out: usize,
    pub(super) pinned: usize,
    /// What of it the sink's row shows.
    pub(super) pinned_shown: usize,
    pub(super) gates_closed: bool,
    /// A sender is asleep until the next batch is due; the others sleep until they are told.
    pub(super) timer_held: bool,
    pub(super) closed: bool,
    pub(super) leaving: bool,
    /// The sink is gone for good: what is left is dropped.
    pub(super) forsaken: bool,
    pub(super) spare: Vec<Spare>,
    pub(super) history: History,
    pub(super) trouble: Option<Trouble>,
}

#[derive(Default)]
struct Bucket {
    queue: VecDeque<Item>,
    entries: usize,
    bytes: u64,
    busy: bool,
}

/// A run's share of a block, waiting.
struct Item {
    text: Text,
    cut: Cut,
    pin: u16,
    arrived: u64,
    at: Instant,
    strategy: Strategy,
    hold: Hold,
}

impl State {
    /// Nothing waits; `batcher` decides, and compaction buffers come from `blocks`.
    pub(super) fn new(
        batcher: Batcher,
        blocks: Blocks,
        quota: Quota,
        ordered: bool,
        gates: Vec<Arc<Gate>>,
    ) -> Self {
        let mut buckets = Vec::new();
        buckets.resize_with(BUCKETS, Bucket::default);
        State {
            batcher,
            quota,
            ordered,
            gates,
            duty: Duty::new(),
            returned: VecDeque::new(),
            compactor: Compactor::new(blocks),
            buckets,
            oldest: BinaryHeap::with_capacity(BUCKETS),
            arrivals: 0,
            entries: 0,
            bytes: 0,
            batches_out: 0,
            pinned: 0,
            pinned_shown: 0,
            gates_closed: false,
            timer_held: false,
            closed: false,
            leaving: false,
            forsaken: false,
            spare: Vec::new(),
            history: History::default(),
            trouble: None,
        }
    }

    pub(super) fn due(&self, now: Instant) -> Due {
        let age = self.oldest_age(now).unwrap_or_default();
        let waiting =
            Waiting { entries: self.entries, bytes: self.bytes, age, batches_out: self.batches_out };
        match self.batcher.should_flush(waiting) {
            Due::In(_) if self.closed => Due::Now,
            due => due,
        }
    }

    /// Cuts a batch, if one is due at `now` and another may be out; else when to look again.
    pub(super) fn take_due(
        &mut self,
        ledger: &Arc<CachePadded<SinkLedger>>,
        crew: Crew,
        now: Instant,
    ) -> Result<Taken, Due> {
        match self.due(now) {
            Due::Now if self.batches_out < self.batcher.in_flight_limit() => {
                Ok(self.take(Arc::clone(ledger), crew))
            }
            // Whoever brings one back wakes the next.
            Due::Now => {
                self.batcher.held_up();
                Err(Due::Never)
            }
            due => Err(due),
        }
    }

    pub(super) fn oldest_age(&self, now: Instant) -> Option<Duration> {
        let Reverse((_, bucket)) = self.oldest.peek()?;
        let front = self.buckets[usize::from(*bucket)].queue.front()?;
        Some(now.saturating_duration_since(front.at))
    }

    /// Everything that waits, in idle and busy buckets and given back: entries, bytes, and since when the oldest does.
    pub(super) fn waiting(&self) -> (usize, u64, Option<Instant>) {
        let returned = self.returned.iter().map(|taken| &taken.batch);
        let back = returned.fold((0, 0), |(entries, bytes), one| (entries + one.len(), bytes + one.bytes()));
        self.buckets.iter().fold((back.0, back.1, None), |(entries, bytes, oldest), bucket| {
            let front = bucket.queue.front().map(|item| item.at);
            (entries + bucket.entries, bytes + bucket.bytes, oldest.into_iter().chain(front).min())
        })
    }

    pub(super) fn enqueue(
        &mut self,
        block: &Shared<Block>,
        cut: &Cut,
        hold: Hold,
        strategy: Strategy,
        now: Instant,
        compact: bool,
    ) {
        let bucket = block.stream_of(cut.range.start as usize).bucket;
        let small = if compact { self.compactor.copy(block, cut, &mut self.pinned) } else { None };
        let (text, cut, pin) = match small {
            Some((text, cut)) => (text, cut, 0),
            None => {
                if block.pin(cut.lane.into(), 1) == 0 {
                    self.pinned += block.footprint();
                }
                (Text::Sealed(block.clone()), cut.clone(), cut.lane)
            }
        };
        let arrived = self.arrivals;
        self.arrivals += 1;
        self.put(bucket, Item { text, cut, pin, arrived, at: now, strategy, hold });
    }

    fn put(&mut self, bucket: u8, item: Item) {
        let (entries, bytes, arrived) = (item.cut.entries as usize, item.cut.bytes, item.arrived);
        let place = &mut self.buckets[usize::from(bucket)];
        place.entries += entries;
        place.bytes += bytes;
        place.queue.push_back(item);
        if !place.busy {
            self.entries += entries;
            self.bytes += bytes;
            if place.queue.len() == 1 {
                self.oldest.push(Reverse((arrived, bucket)));
            }
        }
    }

    /// Cuts one batch from the idle buckets, oldest first.
    fn take(&mut self, ledger: Arc<CachePadded<SinkLedger>>, crew: Crew) -> Taken {
        let mut batch = Batch::reusing(ledger, self.spare.pop().unwrap_or_default());
        let mut buckets = [0; BUCKETS / 64];
        let (want, hard) = (self.batcher.optimal_batch_size(), self.batcher.hard_limit());
        let max_bytes = self.batcher.max_bytes();
        let (mut full, mut left) = (false, 0);
        while !full && let Some(Reverse((_, bucket))) = self.oldest.pop() {
            full = self.take_bucket(bucket, &mut batch, (want, hard, max_bytes));
            if self.ordered {
                buckets[usize::from(bucket) / 64] |= 1 << (bucket % 64);
                let place = &mut self.buckets[usize::from(bucket)];
                place.busy = true;
                left += place.entries;
                self.entries -= place.entries;
                self.bytes -= place.bytes;
            } else if let Some(front) = self.buckets[usize::from(bucket)].queue.front() {
                self.oldest.push(Reverse((front.arrived, bucket)));
            }
        }
        self.batches_out += 1;
        let pressed = full && self.entries + left >= want;
        Taken { batch, buckets, pressed, epoch: self.batcher.epoch(), crew }
    }

    /// Moves items of the bucket into the batch until either is done; true if the batch is full.
    fn take_bucket(
        &mut self,
        bucket: u8,
        batch: &mut Batch,
        (want, hard, max_bytes): (usize, usize, u64),
    ) -> bool {
        loop {
            let place = &mut self.buckets[usize::from(bucket)];
            let Some(front) = place.queue.front_mut() else { return batch.len() >= want };
            if batch.len() >= want || (!batch.is_empty() && batch.bytes() + front.cut.bytes > max_bytes) {
                return true;
            }
            let room = hard - batch.len();
            let fits = front.cut.bytes <= max_bytes || front.cut.entries == 1;
            let item = if fits && front.cut.entries as usize <= room {
                place.queue.pop_front()
            } else {
                self.compactor.seal_if_open(&front.text, &mut self.pinned);
                front.split(room as u32, max_bytes)
            };
            let Some(item) = item else { return true };
            place.entries -= item.cut.entries as usize;
            place.bytes -= item.cut.bytes;
            self.entries -= item.cut.entries as usize;
            self.bytes -= item.cut.bytes;
            let block = self.compactor.block_of(item.text, &mut self.pinned);
            let Cut { row, range, entries, bytes, .. } = item.cut;
            batch.push(Part { block, range, row, entries, bytes, pin: item.pin }, item.hold);
        }
    }

    pub(super) fn make_idle(&mut self, bucket: u8) {
        let place = &mut self.buckets[usize::from(bucket)];
        place.busy = false;
        self.entries += place.entries;
        self.bytes += place.bytes;
        if let Some(front) = place.queue.front() {
            self.oldest.push(Reverse((front.arrived, bucket)));
        }
    }

    pub(super) fn unpin(&mut self, block: &Block, pin: u16) {
        if block.unpin(pin.into()) {
            self.pinned -= block.footprint();
        }
    }

    /// How many of the entries that wait are of the source.
    pub(super) fn waiting_of(&self, source: SourceId) -> u64 {
        let items = self.buckets.iter().flat_map(|bucket| &bucket.queue);
        let waiting = items.filter(|item| item.text.source() == Some(source)).map(|item| item.cut.entries);
        let returned = self.returned.iter().map(|taken| taken.batch.entries_of(source));
        waiting.map(u64::from).sum::<u64>() + returned.sum::<u64>()
    }

    /// Forgets everything that waits in buckets, and gives what answered for it.
    pub(super) fn forget_all(&mut self) -> Vec<Hold> {
        let mut holds = Vec::new();
        for bucket in 0..BUCKETS {
            let place = &mut self.buckets[bucket];
            (place.entries, place.bytes) = (0, 0);
            for item in std::mem::take(&mut place.queue) {
                let block = self.compactor.block_of(item.text, &mut self.pinned);
                self.unpin(&block, item.pin);
                holds.push(item.hold);
            }
        }
        self.oldest.clear();
        (self.entries, self.bytes) = (0, 0);
        holds
    }

    /// Drops everything that waits in buckets; gives how many entries went.
    pub(super) fn drop_all(&mut self) -> u64 {
        let holds = self.forget_all();
        let entries = holds.iter().map(|hold| u64::from(hold.copies())).sum();
        holds.into_iter().for_each(|hold| hold.settle(Status::Dropped));
        entries
    }

    /// Drops the oldest waiting item of the source whose strategy allows it; gives how many entries went.
    pub(super) fn drop_oldest_of(&mut self, source: SourceId) -> Option<u64> {
        let is_candidate =
            |item: &Item| item.strategy == Strategy::DropOldest && item.text.source() == Some(source);
        let (bucket, at) = (0..BUCKETS)
            .filter_map(|bucket| {
                let at = self.buckets[bucket].queue.iter().position(is_candidate)?;
                Some((self.buckets[bucket].queue[at].arrived, bucket, at))
            })
            .min()
            .map(|(_, bucket, at)| (bucket, at))?;
        let place = &mut self.buckets[bucket];
        let item = place.queue.remove(at)?;
        let entries = item.cut.entries as usize;
        place.entries -= entries;
        place.bytes -= item.cut.bytes;
        if !place.busy {
            self.entries -= entries;
            self.bytes -= item.cut.bytes;
        }
        self.oldest.retain(|Reverse((_, other))| usize::from(*other) != bucket);
        let place = &self.buckets[bucket];
        if !place.busy
            && let Some(front) = place.queue.front()
        {
            self.oldest.push(Reverse((front.arrived, bucket as u8)));
        }
        let block = self.compactor.block_of(item.text, &mut self.pinned);
        self.unpin(&block, item.pin);
        item.hold.settle(Status::Dropped);
        Some(entries as u64)
    }
}

impl Item {
    /// Takes its first selected entries, `count` and `bytes` at most but one at least, out into an item of their own. It
    /// must have more than that, and its text must be sealed.
    fn split(&mut self, count: u32, bytes: u64) -> Option<Item> {
        let Text::Sealed(block) = self.text.sealed()? else { return None };
        // The bytes of a whole run include what stands between its entries, so all of them might seem to fit here.
        let count = count.min(self.cut.entries - 1);
        let (count, end, bytes) = Part::first(&block, self.cut.row, self.cut.range.clone(), count, bytes);
        let first = Cut {
            range: self.cut.range.start..end,
            entries: count,
            bytes: bytes.min(self.cut.bytes),
            ..self.cut.clone()
        };
        self.cut.range.start = end;
        self.cut.entries -= count;
        self.cut.bytes -= first.bytes;
        block.pin(self.pin.into(), 1);
        Some(Item {
            text: Text::Sealed(block),
            cut: first,
            pin: self.pin,
            arrived: self.arrived,
            at: self.at,
            strategy: self.strategy,
            hold: self.hold.split(count),
        })
    }
}
