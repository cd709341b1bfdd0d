//! A lane whose queue is on disk: what a sink cannot take now survives the process, and no source has to wait for it.
//!
//! ```text
//!  workers -> front lane -> buffer-SINK -> buffer on disk -> read-SINK -> back lane -> senders
//!             (memory)      appends, syncs                   reads ahead   (memory)
//! ```
//!
//! Sources hear *persisted* when their entries are synced. Behind the disk everything is as with a lane in memory: the
//! back lane keeps order per stream, batches adapt, attempts are repeated for ever. What is delivered is remembered, and
//! forgotten on disk once the sink's own writing is safe too ([`DiskLane::take_done`]).
//!
//! Not here: files and records (see `buffer`), what a record holds (see `payload`).

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::Fetcher;
pub use write::{Appender, KeepElsewhere};

use super::{Cut, Lane, LaneSpec, Role};
use crate::ack::{Hold, Return, Status};
use crate::block::Block;
use crate::buffer::config::WhenFull;
use crate::buffer::{Buffer, BufferView, Seq};
use crate::labels::SourceId;
use crate::ledger::{Named, Reason, SinkLedger, SourceLedger};
use crate::pool::Shared;
use crate::sources::inlet::{Gate, Strategy};
use crate::thread::Wake;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::time::{Duration, Instant};

/// How long a thread of the buffer waits before it looks again at what cannot tell: a full disk, one that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Most bytes of records that are read and not done with: reading further ahead only takes memory.
const AHEAD_MAX: u64 = 64 << 20;

/// The lanes before and behind a buffer on disk, and what its two threads share.
pub struct DiskLane {
    /// Where entries come in.
    pub front: Arc<Lane>,
    /// Where senders take them.
    pub back: Arc<Lane>,
    /// The buffer.
    pub buffer: Arc<Buffer>,
    sink: Named<SinkLedger>,
    when_full: AtomicU8,
    /// What is done with, but not yet forgotten on disk.
    done: Mutex<Vec<Seq>>,
    /// Something was delivered that is not noted on disk.
    news: AtomicBool,
    /// Bytes of records that were read and are not done with.
    ahead: AtomicU64,
    ahead_max: u64,
    /// Closed by the back lane: it has no room.
    gate: Arc<Gate>,
    signals: Mutex<Signals>,
    rung: Condvar,
    /// Wakes whoever forgets what is done: there is no room.
    hurry: Arc<dyn Wake>,
    /// Wakes whoever notes what is delivered.
    note: Arc<dyn Wake>,
}

/// What the two threads tell each other.
#[derive(Default)]
struct Signals {
    /// Everything below is durable, and counted as persisted.
    safe: Seq,
    /// The writer has something that is not.
    writing: bool,
    /// The writer needs room that only the reader can make.
    needs_room: bool,
    /// Whether the reader could, when it has tried.
    room: Option<bool>,
    /// How often something was forgotten on disk.
    forgot: u64,
    /// Nothing more will be appended.
    written: bool,
    /// The reader ends when it has given everything.
    finish: bool,
    /// The reader ends now.
    leave: bool,
    /// Something happened since the reader looked.
    rung: bool,
}

/// What makes a disk lane.
pub struct DiskSpec {
    /// The front lane's: its gates are those of the sources.
    pub front: LaneSpec,
    /// The back lane's; its gate is made here.
    pub back: LaneSpec,
    /// The buffer.
    pub buffer: Arc<Buffer>,
    /// What becomes of entries while the buffer is full.
    pub when_full: WhenFull,
    /// Most bytes of records that are read and not done with.
    pub ahead_max: u64,
    /// The source that what comes from disk is of in this process.
    pub source: SourceId,
    /// Whether the disk is only used while memory is full.
    pub spills: bool,
    /// Wakes whoever calls [`DiskLane::take_done`].
    pub hurry: Arc<dyn Wake>,
    /// Wakes whoever calls [`DiskLane::note_delivered`].
    pub note: Arc<dyn Wake>,
}

impl DiskLane {
    /// The two lanes; nothing is read or written yet.
    pub fn new(spec: DiskSpec) -> Arc<Self> {
        let gate = Arc::new(Gate::default());
        let sink = spec.front.sink.clone();
        let back = LaneSpec { gates: vec![Arc::clone(&gate)], ..spec.back };
        let back = Arc::new(Lane::of(back, Role::Back(spec.source)));
        let bypass = spec.spills.then(|| Bypass { to: Arc::clone(&back), spilling: Mutex::default() });
        let disk = Arc::new(DiskLane {
            front: Arc::new(Lane::of(spec.front, Role::Front(bypass))),
            back,
            buffer: spec.buffer,
            sink,
            when_full: AtomicU8::new(spec.when_full as u8),
            done: Mutex::default(),
            news: AtomicBool::new(false),
            ahead: AtomicU64::new(0),
            ahead_max: spec.ahead_max,
            gate,
            signals: Mutex::default(),
            rung: Condvar::new(),
            hurry: spec.hurry,
            note: spec.note,
        });
        disk.gate.wake_when_open(Arc::new(Bell(Arc::downgrade(&disk))));
        disk
    }

    /// Counts what was found on disk: entries that are not in the sink's row yet came by the source `row`, those that are
    /// there and not on disk are lost.
    pub fn count_found(&self, found: u64, source: &SourceLedger) {
        let row = &self.sink.row;
        let known = row.persisted.get();
        let new = found.saturating_sub(known);
        source.received.add(new);
        source.routed.add(new);
        row.copies.add(new);
        row.persisted.add(new);
        self.count_lost(known.saturating_sub(found));
    }

    /// What becomes of entries while the buffer is full, from now on.
    pub fn set_when_full(&self, when_full: WhenFull) {
        // Relaxed: a moment late is as good.
        self.when_full.store(when_full as u8, Relaxed);
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::from_code(self.when_full.load(Relaxed))
    }

    /// The reader ends when everything on disk is delivered or it is told to leave, and closes the back lane.
    pub fn finish(&self) {
        self.signals.lock().finish = true;
        self.ring();
    }

    /// Both threads end now: what is on disk stays there, what is not stays with its source.
    pub fn leave(&self) {
        self.signals.lock().leave = true;
        self.ring();
        self.front.leave();
    }

    /// After the senders have ended: what they and the back lane still had is on disk.
    pub fn put_back(&self) {
        self.back.return_to_disk();
    }

    /// What was delivered since this was last called, and may be forgotten on disk once everything that the sink wrote so
    /// far is safe: then give it to [`DiskLane::forget`], or back to [`DiskLane::keep`].
    pub fn take_done(&self) -> Vec<Seq> {
        std::mem::take(&mut *self.done.lock())
    }

    /// Forgets what is done, and removes what no longer has anything else.
    ///
    /// Errors: the disk; it is tried again with the next call.
    pub fn forget(&self, done: &[Seq]) -> io::Result<()> {
        done.iter().for_each(|seq| self.buffer.complete(*seq));
        let persisted = self.buffer.persist();
        if !done.is_empty() {
            self.signals.lock().forgot += 1;
            self.rung.notify_all();
        }
        persisted
    }

    /// Whether something was delivered that is not noted on disk.
    pub fn has_news(&self) -> bool {
        // Relaxed: a wake-up comes with it.
        self.news.load(Relaxed)
    }

    /// Notes on disk what was delivered, without syncing: it does not come again after the death of the process.
    ///
    /// Errors: the disk; it is tried again with the next call.
    pub fn note_delivered(&self) -> io::Result<()> {
        // Relaxed: what is delivered from here on raises it again, under the buffer's lock that the note takes.
        if !self.news.swap(false, Relaxed) {
            return Ok(());
        }
        let noted = self.buffer.note_delivered();
        if noted.is_err() {
            self.news.store(true, Relaxed);
        }
        noted
    }

    /// Takes back what could not be forgotten yet.
    pub fn keep(&self, done: Vec<Seq>) {
        self.done.lock().extend(done);
    }

    /// A look at the buffer.
    pub fn view(&self) -> BufferView {
        self.buffer.view()
    }

    /// Most bytes of records that are read and not done with, for a buffer of `max_size`: most of what is on disk must be
    /// nobody's, so that the oldest can be dropped.
    pub fn ahead_max(max_size: u64) -> u64 {
        (max_size / 4).min(AHEAD_MAX)
    }

    /// Whether entries go to disk now.
    pub fn uses_disk(&self) -> bool {
        match &self.front.role {
            Role::Front(Some(bypass)) => *bypass.spilling.lock(),
            _ => true,
        }
    }

    /// Whether the disk is only used while memory is full.
    pub fn spills(&self) -> bool {
        matches!(self.front.role, Role::Front(Some(_)))
    }

    /// Everything below `read` was read: if that is all there is, entries pass by the disk again.
    fn pass_by(&self, read: Seq) {
        let Role::Front(Some(bypass)) = &self.front.role else { return };
        // Nobody pushes while this is held.
        let mut spilling = bypass.spilling.lock();
        if !*spilling || !self.front.is_empty() {
            return;
        }
        // What was cut from the front lane is being written until it is safe.
        let signals = self.signals.lock();
        if !signals.writing && signals.safe <= read {
            *spilling = false;
            tracing::info!("sink {}: its buffer on disk is empty, memory has room again", self.name());
        }
    }

    /// So many entries of the front lane are on disk.
    fn count_stored(&self, entries: u64) {
        let row = &self.sink.row;
        row.in_flight.sub(entries);
        row.persisted.add(entries);
        row.stored.add(entries);
    }

    /// So many entries of the front lane will never be.
    fn count_dropped(&self, entries: u64, reason: Reason) {
        self.sink.row.in_flight.sub(entries);
        self.sink.row.dropped.add(reason, entries);
    }

    fn count_dead_letter(&self) {
        self.sink.row.in_flight.sub(1);
        self.sink.row.dead_lettered.add(1);
    }

    fn count_lost(&self, entries: u64) {
        self.sink.row.persisted.sub(entries);
        self.sink.row.dropped.add(Reason::Corrupt, entries);
    }

    /// Wakes both threads.
    fn ring(&self) {
        self.signals.lock().rung = true;
        self.rung.notify_all();
    }

    /// Waits until something changes, `wait` at the longest.
    fn wait(&self, signals: &mut MutexGuard<'_, Signals>, wait: Duration) {
        let until = Instant::now() + wait;
        self.rung.wait_until(signals, until);
    }

    fn name(&self) -> &str {
        &self.sink.name
    }
}

impl Return for DiskLane {
    fn settled(&self, number: u64, status: Status) {
        // Nobody can say what became of it: it stays on disk, and is delivered again after the next start.
        if status != Status::Failed {
            self.buffer.delivered(number);
            self.done.lock().push(number);
            // Relaxed: the wake-up comes after it, and whoever wakes looks.
            if !self.news.swap(true, Relaxed) {
                self.note.wake();
            }
        }
    }
}

impl Lane {
    /// Takes what was read from disk; its entries are counted as persisted until now.
    fn push_read(&self, block: &Shared<Block>, whole: &Hold, now: Instant) {
        let entries: u64 = block.cuts().iter().map(|cut| u64::from(cut.entries)).sum();
        self.sink.row.in_flight.add(entries);
        self.sink.row.persisted.sub(entries);
        self.take_in(block, block.cuts(), whole, Strategy::Block, now);
    }

    /// Entries that are in nobody's hands any more and stand on disk still.
    pub(super) fn is_on_disk(&self, entries: u64) {
        self.sink.row.in_flight.sub(entries);
        self.sink.row.persisted.add(entries);
    }

    /// Lets go of all that waits: what is on disk is on disk, the rest stays with its sources.
    fn return_to_disk(&self) {
        let Role::Back(source) = self.role else { return };
        let mut state = self.state.lock();
        self.is_on_disk(state.waiting_of(source));
        let holds = state.forget_all();
        let returned = std::mem::take(&mut state.returned);
        for super::Taken { batch, buckets, .. } in returned {
            self.release(&mut state, &batch, buckets);
            batch.abandon();
        }
        self.watch_quota(&mut state);
        drop(state);
        // Nobody settled them: that means failed, and then they are kept wherever they came from.
        drop(holds);
    }

    /// Settles what is on disk now, or was dropped.
    fn persisted(&self, taken: super::Taken, dropped: bool) {
        let mut state = self.state.lock();
        self.put_down(&mut state, &taken);
        let super::Taken { batch, buckets, .. } = taken;
        self.release(&mut state, &batch, buckets);
        drop(state);
        let spare = batch.persist(dropped);
        self.state.lock().spare.push(spare);
    }

    fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.entries == 0 && state.batches_out == 0 && state.returned.is_empty()
    }

    fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.pinned <= state.quota.high
    }
}

/// The way past the disk, while memory has room.
pub struct Bypass {
    to: Arc<Lane>,
    /// Entries go to disk, until that is empty again. Held while entries go in, whichever way.
    spilling: Mutex<bool>,
}

impl Bypass {
    /// If entries have to go to disk now: holds that until they are in.
    pub(super) fn spill(&self) -> Option<MutexGuard<'_, bool>> {
        let mut spilling = self.spilling.lock();
        if !*spilling && !self.to.has_room() {
            *spilling = true;
            tracing::warn!("sink {}: memory is full, entries go to its buffer on disk", self.to.sink.name);
        }
        spilling.then_some(spilling)
    }

    /// Takes cuts past the disk.
    pub(super) fn pass(
        &self,
        block: &Shared<Block>,
        cuts: &[Cut],
        whole: &Hold,
        strategy: Strategy,
        now: Instant,
    ) {
        self.to.push(block, cuts, whole, strategy, now);
    }
}

/// Wakes the reader as long as there is one: it is held by what it wakes.
struct Bell(std::sync::Weak<DiskLane>);

impl Wake for Bell {
    fn wake(&self) {
        if let Some(disk) = self.0.upgrade() {
            disk.ring();
        }
    }
}
