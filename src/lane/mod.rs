//! Everything in front of one sink: a queue of runs that keeps order per stream, and the batcher a free sender asks.
//!
//! Workers push and never wait. A lane that holds on to too much memory closes the gates of the sources that can reach
//! it, and what is already on its way still finds room: the gate closes well below the quota. Senders cut batches
//! themselves, under the lane's lock, when the batcher says one is due.
//!
//! Order: streams are hashed to buckets. A batch takes buckets of which nothing is being sent, the one whose oldest
//! entry waited longest first, and they stay busy until the batch is settled.

pub mod batcher;
mod compact;
pub mod config;
pub mod crew;
pub mod disk;
pub mod history;
mod queue;
#[cfg(test)]
mod tests;

use crate::ack::{Hold, Status};
use crate::batch::Batch;
use crate::block::{Block, Blocks, Cut};
use crate::labels::{BUCKETS, SourceId};
use crate::ledger::{Named, Reason, SinkLedger};
use crate::pool::Shared;
use crate::sources::inlet::{Gate, Strategy};
use crate::thread::{Doing, Latch, Row};
use batcher::{Answer, Batcher, Due};
pub use crew::{Crew, FIRST_CREW, Manner, Pause};
use disk::Bypass;
use history::{History, Request};
use parking_lot::{Condvar, Mutex, MutexGuard};
use queue::State;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A selection below one part in this many of its block's memory is copied out, so that the block can go.
pub const COMPACT_BELOW: usize = 4;

/// How much memory a lane may hold on to.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Above this the gates close. The quota itself is this plus all that can be in transit.
    pub high: usize,
    /// Below this they open again.
    pub low: usize,
}

/// What makes a lane.
pub struct LaneSpec {
    /// The sink's name, type and ledger.
    pub sink: Named<SinkLedger>,
    /// The lane's memory.
    pub quota: Quota,
    /// Whether order is kept per stream; otherwise any sender takes anything.
    pub ordered: bool,
    /// The gates of the sources that can reach the lane.
    pub gates: Vec<Arc<Gate>>,
    /// Where compaction buffers come from.
    pub blocks: Blocks,
    /// The batcher.
    pub batcher: Batcher,
}

/// The queue in front of one sink.
pub struct Lane {
    sink: Named<SinkLedger>,
    /// Plans that may still bring something.
    feeds: Arc<Latch>,
    state: Mutex<State>,
    /// Something is due, or the lane is closed.
    ready: Condvar,
    /// Senders between attempts sleep here; whoever ends their duty wakes them.
    pause: Condvar,
    /// Senders that are not in charge yet sleep here: they must not take the wake-ups of those who are.
    relief: Condvar,
    /// What the buffer on disk makes of it, if the sink has one.
    role: Role,
}

/// What a lane is for.
enum Role {
    /// Everything in front of its sink.
    Whole,
    /// What goes to disk; what it may pass by while there is no need for the disk.
    Front(Option<Bypass>),
    /// What comes from disk, of this source.
    Back(SourceId),
}

/// What came of waiting for a batch.
pub enum Next {
    /// This batch is due.
    Batch(Taken),
    /// None is, and the time is over.
    Later,
    /// There will be none for this sender.
    Over,
}

/// A batch on its way, and what the lane must know to take the answer.
pub struct Taken {
    /// The batch.
    pub batch: Batch,
    buckets: [u64; BUCKETS / 64],
    pressed: bool,
    /// When it was cut, to the batcher.
    epoch: u32,
    /// Whose hands it is in.
    crew: Crew,
}

/// Why a sink is behind.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What the last attempt failed with.
    pub why: String,
    /// How many attempts at the batch have failed.
    pub failures: u32,
    /// When the first of them failed.
    pub since: Instant,
}

/// A look at a lane.
#[derive(Clone, Debug, Default)]
pub struct LaneView {
    /// Entries waiting for a sender, also those behind others of their bucket that are being sent.
    pub entries: usize,
    /// Bytes of their text.
    pub bytes: u64,
    /// How long the oldest has waited.
    pub oldest: Option<Duration>,
    /// Memory held on to, in bytes.
    pub pinned: usize,
    /// Whether sources are kept from reading.
    pub gates_closed: bool,
    /// How many entries the next batch should have.
    pub batch_size: usize,
    /// How many batches may be out at once.
    pub in_flight_limit: usize,
    /// What the last request took.
    pub last_latency: Duration,
    /// What the last requests came to.
    pub history: History,
    /// Why the sink is behind, if it is.
    pub trouble: Option<Trouble>,
}

impl Lane {
    /// An open lane.
    pub fn new(spec: LaneSpec) -> Self {
        Lane::of(spec, Role::Whole)
    }

    fn of(spec: LaneSpec, role: Role) -> Self {
        Lane {
            role,
            sink: spec.sink,
            feeds: Arc::default(),
            state: Mutex::new(State::new(spec.batcher, spec.blocks, spec.quota, spec.ordered, spec.gates)),
            ready: Condvar::new(),
            pause: Condvar::new(),
            relief: Condvar::new(),
        }
    }

    /// The sink's name, type and ledger.
    pub fn sink(&self) -> &Named<SinkLedger> {
        &self.sink
    }

    /// Whoever is in here may still push.
    pub fn feeds(&self) -> &Arc<Latch> {
        &self.feeds
    }

    /// Takes the cuts of `block` that are for this lane. Never waits; called by whoever drains the block's sequencer.
    pub fn push(&self, block: &Shared<Block>, cuts: &[Cut], whole: &Hold, strategy: Strategy, now: Instant) {
        // Held until the cuts are in: what goes to disk must not be overtaken by what does not.
        let _way = match &self.role {
            Role::Front(Some(bypass)) => match bypass.spill() {
                Some(spilling) => Some(spilling),
                None => return bypass.pass(block, cuts, whole, strategy, now),
            },
            _ => None,
        };
        let entries: u64 = cuts.iter().map(|cut| u64::from(cut.entries)).sum();
        self.sink.row.copies.add(entries);
        self.sink.row.in_flight.add(entries);
        self.take_in(block, cuts, whole, strategy, now);
    }

    /// Takes cuts that are counted already.
    fn take_in(&self, block: &Shared<Block>, cuts: &[Cut], whole: &Hold, strategy: Strategy, now: Instant) {
        let bytes: u64 = cuts.iter().map(|cut| cut.bytes).sum();
        let compact = (bytes as usize).saturating_mul(COMPACT_BELOW) < block.capacity();
        let mut state = self.state.lock();
        let empty = state.entries == 0;
        for cut in cuts {
            if state.forsaken {
                self.sink.row.in_flight.sub(cut.entries.into());
                self.sink.row.dropped.add(Reason::Removed, cut.entries.into());
                whole.more(cut.entries).settle(Status::Dropped);
                continue;
            }
            if state.pinned > state.quota.high
                && !self.make_room(&mut state, strategy, block.stream_of(cut.range.start as usize).source)
            {
                self.sink.row.in_flight.sub(cut.entries.into());
                self.sink.row.dropped.add(Reason::DropNewest, cut.entries.into());
                whole.more(cut.entries).settle(Status::Dropped);
                continue;
            }
            let hold = whole.more(cut.entries);
            state.enqueue(block, cut, hold, strategy, now, compact);
        }
        self.watch_quota(&mut state);
        let due = state.due(now);
        if state.batches_out >= state.batcher.in_flight_limit() {
            // Nobody may take it: it is not worth waking anyone.
            if due == Due::Now {
                state.batcher.held_up();
            }
        } else if due == Due::Now || (empty && due != Due::Never) {
            self.ready.notify_one();
        }
    }

    /// Over the high watermark: what the run's strategy says. False if the run itself is to be dropped.
    fn make_room(&self, state: &mut State, strategy: Strategy, source: SourceId) -> bool {
        match strategy {
            // Its gate is closed: this was on its way, and has room kept for it.
            Strategy::Block | Strategy::Spill => true,
            Strategy::DropNewest => false,
            Strategy::DropOldest => {
                while state.pinned > state.quota.high {
                    let Some(entries) = state.drop_oldest_of(source) else { break };
                    self.sink.row.in_flight.sub(entries);
                    self.sink.row.dropped.add(Reason::DropOldest, entries);
                }
                state.pinned <= state.quota.high
            }
        }
    }

    /// Waits for a batch to be due and cuts it; `None` once the lane is closed and empty, or to be left, or another crew
    /// is in charge.
    pub fn cut(&self, row: &Row, crew: Crew) -> Option<Taken> {
        match self.cut_until(row, crew, None) {
            Next::Batch(taken) => Some(taken),
            Next::Later | Next::Over => None,
        }
    }

    /// As [`Lane::cut`], but waits no longer than until `deadline`.
    pub fn cut_until(&self, row: &Row, crew: Crew, deadline: Option<Instant>) -> Next {
        let mut state = self.state.lock();
        loop {
            if state.leaving || state.duty.is_over(crew) {
                // Whoever was woken for something else passes it on.
                self.ready.notify_one();
                return Next::Over;
            }
            if state.closed && state.entries == 0 && state.batches_out == 0 && state.returned.is_empty() {
                // One sender was woken by the last answer; the others end as well.
                self.ready.notify_all();
                return Next::Over;
            }
            if !state.duty.is_on(crew) {
                row.set(Doing::Idle);
                self.relief.wait(&mut state);
                continue;
            }
            if let Some(taken) = state.returned.pop_front() {
                state.batches_out += 1;
                self.show_out(&state);
                self.ready.notify_one();
                return Next::Batch(Taken { crew, ..taken });
            }
            let now = Instant::now();
            let due = match state.take_due(&self.sink.row, crew, now) {
                Ok(taken) => {
                    row.set(Doing::Working);
                    self.show_out(&state);
                    if state.entries > 0 && state.batches_out < state.batcher.in_flight_limit() {
                        // What is left may be due as well, or needs someone to hold the timer.
                        self.ready.notify_one();
                    }
                    return Next::Batch(taken);
                }
                Err(_) if deadline.is_some_and(|deadline| deadline <= now) => return Next::Later,
                Err(due) => due,
            };
            match due {
                Due::In(wait) if !state.timer_held => {
                    row.set(Doing::Idle);
                    state.timer_held = true;
                    let wake = deadline.map_or(now + wait, |deadline| deadline.min(now + wait));
                    self.ready.wait_until(&mut state, wake);
                    state.timer_held = false;
                }
                Due::In(_) | Due::Never | Due::Now => {
                    row.set(Doing::Idle);
                    match deadline {
                        Some(deadline) => drop(self.ready.wait_until(&mut state, deadline)),
                        None => self.ready.wait(&mut state),
                    }
                }
            }
        }
    }

    /// Cuts a batch if one is due at `now`, and else says when to look again; for one that has its own way to wait. The
    /// crew is the one the lane began with.
    pub fn try_cut(&self, now: Instant) -> Result<Taken, Due> {
        let mut state = self.state.lock();
        let taken = state.take_due(&self.sink.row, FIRST_CREW, now)?;
        self.show_out(&state);
        Ok(taken)
    }

    /// The sink took the batch by one attempt that took `latency`; see [`Batch::settle`] for `letters`.
    pub fn finish(&self, taken: Taken, latency: Duration, letters: usize) {
        self.finish_after(taken, Some(latency), letters);
    }

    /// The batch is settled. `latency` is that of the one attempt that took all of it; where there were several, nothing is
    /// learned of the sink's cost.
    pub fn finish_after(&self, taken: Taken, latency: Option<Duration>, letters: usize) {
        let mut state = self.state.lock();
        self.put_down(&mut state, &taken);
        let Taken { batch, buckets, pressed, epoch, .. } = taken;
        match latency {
            Some(latency) => state.batcher.answered(batch.len(), epoch, latency, pressed, Answer::Took),
            None if batch.progress().refused().is_empty() => state.batcher.took_at_last(epoch),
            None => {}
        }
        state.trouble = None;
        self.release(&mut state, &batch, buckets);
        drop(state);
        self.sink.row.batches.add(1);
        let spare = batch.settle(letters);
        self.state.lock().spare.push(spare);
        self.ready.notify_one();
    }

    /// An attempt at a batch failed and there will be another; `overloaded` is the batch if smaller ones may fare better.
    pub fn failed(&self, why: String, failures: u32, now: Instant, overloaded: Option<&Taken>) {
        self.sink.row.errors.add(1);
        let mut state = self.state.lock();
        let since = state.trouble.as_ref().map_or(now, |trouble| trouble.since);
        if let Some(Taken { batch, epoch, .. }) = overloaded {
            state.batcher.answered(batch.left(), *epoch, Duration::ZERO, false, Answer::Overloaded);
        }
        state.trouble = Some(Trouble { why, failures, since });
    }

    /// A request to the sink ended, whatever it came to.
    pub fn asked(&self, request: Request) {
        self.state.lock().history.push(request);
    }

    /// Gives the memory of the batch back and makes its buckets idle.
    fn release(&self, state: &mut MutexGuard<'_, State>, batch: &Batch, buckets: [u64; BUCKETS / 64]) {
        for part in batch.parts() {
            state.unpin(&part.block, part.pin);
        }
        for bucket in crate::block::selected(&buckets, 0..BUCKETS) {
            state.make_idle(bucket as u8);
        }
        self.watch_quota(state);
    }

    /// Shows how many batches are being sent; what is on its way to disk is not.
    fn show_out(&self, state: &State) {
        if !matches!(self.role, Role::Front(_)) {
            self.sink.row.batches_out.set(state.batches_out as u64);
        }
    }

    /// Closes or opens the gates when the lane's memory crosses its marks.
    fn watch_quota(&self, state: &mut MutexGuard<'_, State>) {
        // The lanes before and behind a disk show their sum.
        self.sink.row.pinned_bytes.add(state.pinned.saturating_sub(state.pinned_shown) as u64);
        self.sink.row.pinned_bytes.sub(state.pinned_shown.saturating_sub(state.pinned) as u64);
        state.pinned_shown = state.pinned;
        if !state.gates_closed && state.pinned > state.quota.high {
            state.gates_closed = true;
            state.gates.iter().for_each(|gate| gate.close());
        } else if state.gates_closed && state.pinned <= state.quota.low {
            state.gates_closed = false;
            state.gates.iter().for_each(|gate| gate.open());
        }
    }

    /// Nothing will be pushed any more: senders cut what is left at once, and end.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake_all();
    }

    /// Senders are to end now; what is left stays undelivered.
    pub fn leave(&self) {
        self.state.lock().leaving = true;
        self.wake_all();
    }

    /// A look inside.
    pub fn view(&self, now: Instant) -> LaneView {
        let state = self.state.lock();
        let (entries, bytes, oldest) = state.waiting();
        LaneView {
            entries,
            bytes,
            oldest: oldest.map(|since| now.saturating_duration_since(since)),
            pinned: state.pinned,
            gates_closed: state.gates_closed,
            batch_size: state.batcher.optimal_batch_size(),
            in_flight_limit: state.batcher.in_flight_limit(),
            last_latency: state.batcher.last_latency(),
            history: state.history.clone(),
            trouble: state.trouble.clone(),
        }
    }
}
