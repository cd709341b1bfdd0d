//! The thread that writes: takes what is due from the front lane, appends it, syncs in groups, and only then settles.

use super::{AGAIN, DiskLane};
use crate::batch::Part;
use crate::block::EntryView;
use crate::buffer::config::WhenFull;
use crate::buffer::{AppendError, Fsync, NewRecord, Writer};
use crate::clock::unix_nanos;
use crate::lane::{FIRST_CREW, Next, Taken};
use crate::ledger::Reason;
use crate::payload::{Added, Encoder};
use crate::thread::{Doing, Row};
use metrics::Histogram;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keeps an entry that fits no record elsewhere, as a dead letter. An error means: not now.
pub type KeepElsewhere = Box<dyn Fn(EntryView<'_>) -> io::Result<()> + Send>;

/// How long what was appended waits for company before it is synced.
pub(super) const GROUP: Duration = Duration::from_millis(50);
/// How many bytes do not wait for more.
const GROUP_BYTES: usize = 1 << 20;
/// A record with as many bytes is closed: damage costs a record.
const RECORD: usize = 256 << 10;

/// Whether a record found its place.
enum Placed {
    Kept,
    /// Its entries were dropped.
    Dropped,
    /// The thread is to leave.
    Left,
}

/// A batch that is not settled yet.
struct Unsettled {
    taken: Taken,
    /// Some of it was dropped.
    dropped: bool,
}

/// The equipment of the thread that writes.
pub struct Appender {
    disk: Arc<DiskLane>,
    writer: Writer,
    encoder: Encoder,
    unsettled: Vec<Unsettled>,
    /// Which batches the open record has entries of.
    shares: Vec<usize>,
    /// When the first of them came.
    since: Option<Instant>,
    /// Bytes appended since the last sync.
    bytes: usize,
    /// Entries appended since the last sync.
    entries: u64,
    sync_took: Histogram,
    /// What was said last of why it cannot go on.
    said: Option<&'static str>,
    keep_elsewhere: Option<KeepElsewhere>,
}

impl Appender {
    /// Writes what comes to `disk` by `writer`. `sync_took` hears how long each sync took, in seconds. What fits no record
    /// goes to `keep_elsewhere`; without that it is dropped and counted.
    pub fn new(
        disk: Arc<DiskLane>,
        writer: Writer,
        sync_took: Histogram,
        keep_elsewhere: Option<KeepElsewhere>,
    ) -> Self {
        let encoder = Encoder::new(writer.payload_max());
        Appender {
            disk,
            writer,
            encoder,
            unsettled: Vec::new(),
            shares: Vec::new(),
            since: None,
            bytes: 0,
            entries: 0,
            sync_took,
            said: None,
            keep_elsewhere,
        }
    }

    /// Writes until the front lane is closed and empty, or to be left.
    pub fn run(mut self, row: &Row) {
        self.publish();
        let front = Arc::clone(&self.disk.front);
        loop {
            let went_on = match front.cut_until(row, FIRST_CREW, self.deadline()) {
                Next::Batch(taken) => self.add(taken, row),
                Next::Later => true,
                Next::Over => {
                    self.sync(row);
                    break;
                }
            };
            let due = self.bytes + self.encoder.payload().len() >= GROUP_BYTES
                || self.deadline().is_some_and(|deadline| deadline <= Instant::now());
            if !went_on || (due && !self.unsettled.is_empty() && !self.sync(row)) {
                break;
            }
        }
        // Left: these stay with their sources.
        self.unsettled.drain(..).for_each(|one| front.leave_behind(one.taken));
        self.disk.signals.lock().written = true;
        self.disk.ring();
    }

    /// When what was appended is to be synced.
    fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| if self.writer.fsync() == Fsync::Group { since + GROUP } else { since })
    }

    /// Appends a batch; false if the thread is to leave.
    fn add(&mut self, taken: Taken, row: &Row) -> bool {
        self.since.get_or_insert_with(Instant::now);
        self.disk.signals.lock().writing = true;
        let parts = taken.batch.parts().len();
        let mut before_it = 0;
        self.unsettled.push(Unsettled { taken, dropped: false });
        for part in 0..parts {
            let mut skip = 0;
            loop {
                // It is the last one still, but those before it may be settled by now.
                let at = self.unsettled.len() - 1;
                let part: &Part = &self.unsettled[at].taken.batch.parts()[part];
                let before = self.encoder.entries();
                let added = self.encoder.add(part, skip);
                let count = self.encoder.entries() - before;
                skip += count;
                if count > 0 {
                    self.shares.push(at);
                }
                match added {
                    Added::All => break,
                    Added::Full(_) if !self.place(row) => return false,
                    Added::Full(_) => {}
                    Added::TooLarge(_) if !self.put_elsewhere(at, before_it + skip as usize, row) => {
                        return false;
                    }
                    Added::TooLarge(_) => skip += 1,
                }
            }
            before_it += skip as usize;
            if self.encoder.payload().len() >= RECORD && !self.place(row) {
                return false;
            }
        }
        true
    }

    /// Keeps an entry of an unsettled batch that fits no record elsewhere, or drops it; false if the thread is to leave.
    fn put_elsewhere(&mut self, at: usize, entry: usize, row: &Row) -> bool {
        let (name, max) = (self.disk.name(), self.writer.payload_max());
        let Some(keep) = &self.keep_elsewhere else {
            tracing::error!(
                "sink {name}: an entry that does not fit a record of its buffer ({max} bytes) is dropped"
            );
            self.disk.count_dropped(1, Reason::TooLarge);
            self.unsettled[at].dropped = true;
            return true;
        };
        tracing::error!(
            "sink {name}: an entry that does not fit a record of its buffer ({max} bytes) goes to the dead letters"
        );
        loop {
            let forgot = self.disk.signals.lock().forgot;
            let Some(entry) = self.unsettled[at].taken.batch.iter().nth(entry) else { return true };
            match keep(entry) {
                Ok(()) => break self.disk.count_dead_letter(),
                Err(error) => {
                    tracing::error!("sink {name}: a dead letter cannot be written, trying again: {error}");
                    if !self.wait(forgot, row) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Finds the open record its place; false if the thread is to leave.
    fn place(&mut self, row: &Row) -> bool {
        if self.encoder.entries() == 0 {
            return true;
        }
        let placed = self.append(row);
        if matches!(placed, Placed::Dropped) {
            self.disk.count_dropped(self.encoder.entries().into(), Reason::DropNewest);
            for at in &self.shares {
                self.unsettled[*at].dropped = true;
            }
        }
        self.shares.clear();
        self.encoder.clear();
        !matches!(placed, Placed::Left)
    }

    fn append(&mut self, row: &Row) -> Placed {
        let time_ms = (unix_nanos() / 1_000_000).max(0) as u64;
        loop {
            // Looked at before it is found full: what is forgotten after that makes room.
            let forgot = self.disk.signals.lock().forgot;
            let (payload, entries) = (self.encoder.payload(), self.encoder.entries());
            match self.writer.append(NewRecord { payload, entries, time_ms }) {
                Ok(_) => {
                    self.bytes += payload.len();
                    self.entries += u64::from(entries);
                    self.say(None);
                    return Placed::Kept;
                }
                Err(AppendError::Refused) => {
                    tracing::error!(
                        "sink {}: its buffer refused {entries} entries, dropped",
                        self.disk.name()
                    );
                    return Placed::Dropped;
                }
                Err(AppendError::Io(error)) => {
                    tracing::error!(
                        "sink {}: its buffer cannot be written, trying again: {error}",
                        self.disk.name()
                    );
                    if !self.wait(forgot, row) {
                        return Placed::Left;
                    }
                }
                Err(AppendError::Full(_)) => {
                    let when_full = self.disk.when_full();
                    self.say(Some(when_full.name()));
                    match when_full {
                        WhenFull::DropNewest => return Placed::Dropped,
                        WhenFull::DropOldest => {
                            // What may be dropped is counted as on disk first.
                            if !self.sync_appended(row) {
                                return Placed::Left;
                            }
                            if !self.make_room(row) {
                                return Placed::Dropped;
                            }
                        }
                        WhenFull::Block => {
                            // Those before it need not wait for room.
                            if !self.sync_appended(row) || !self.wait(forgot, row) {
                                return Placed::Left;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Has the reader drop the oldest that is on disk; false if there is nothing to drop.
    fn make_room(&mut self, row: &Row) -> bool {
        row.set(Doing::Blocked);
        let mut signals = self.disk.signals.lock();
        (signals.needs_room, signals.room, signals.rung) = (true, None, true);
        self.disk.rung.notify_all();
        let made = loop {
            match signals.room.take() {
                Some(made) => break made,
                None if signals.leave => break false,
                None => self.disk.wait(&mut signals, AGAIN),
            }
        };
        drop(signals);
        row.set(Doing::Working);
        made
    }

    /// Waits a while, or until more is forgotten than had been before; false if the thread is to leave.
    fn wait(&self, forgot: u64, row: &Row) -> bool {
        row.set(Doing::Blocked);
        self.disk.hurry.wake();
        let until = Instant::now() + AGAIN;
        let mut signals = self.disk.signals.lock();
        while !signals.leave && signals.forgot == forgot {
            if self.disk.rung.wait_until(&mut signals, until).timed_out() {
                break;
            }
        }
        let leave = signals.leave;
        drop(signals);
        row.set(Doing::Working);
        !leave
    }

    /// Syncs everything there is and settles it; false if the thread is to leave.
    fn sync(&mut self, row: &Row) -> bool {
        self.place(row) && self.sync_appended(row)
    }

    /// Syncs what is appended, and settles the batches that are appended as a whole.
    fn sync_appended(&mut self, row: &Row) -> bool {
        loop {
            let (begun, forgot) = (Instant::now(), self.disk.signals.lock().forgot);
            match self.writer.sync() {
                Ok(_) => {
                    self.sync_took.record(begun.elapsed().as_secs_f64());
                    break;
                }
                Err(error) => {
                    tracing::error!(
                        "sink {}: its buffer is not safe, trying again: {error}",
                        self.disk.name()
                    );
                    if !self.wait(forgot, row) {
                        return false;
                    }
                }
            }
        }
        self.bytes = 0;
        self.disk.count_stored(std::mem::take(&mut self.entries));
        // The open record has some of the last batch, or of those before it.
        let open = self.shares.iter().copied().min().unwrap_or(self.unsettled.len());
        let whole = if self.encoder.entries() > 0 { open } else { self.unsettled.len() };
        for one in self.unsettled.drain(..whole) {
            self.disk.front.persisted(one.taken, one.dropped);
        }
        self.shares.iter_mut().for_each(|at| *at -= whole);
        self.since = (!self.unsettled.is_empty()).then(Instant::now);
        self.publish();
        true
    }

    /// Lets the reader have what is durable.
    fn publish(&self) {
        let mut signals = self.disk.signals.lock();
        (signals.safe, signals.writing) = (self.writer.durable(), !self.unsettled.is_empty());
        drop(signals);
        self.disk.ring();
    }

    /// Says once why entries do not get to disk, and once that they do again.
    fn say(&mut self, why: Option<&'static str>) {
        if self.said == why {
            return;
        }
        let name = self.disk.name();
        match why {
            Some("block") => tracing::warn!("sink {name}: its buffer is full, its sources wait"),
            Some(policy) => tracing::error!("sink {name}: its buffer is full, entries are lost: {policy}"),
            None => tracing::info!("sink {name}: its buffer has room again"),
        }
        self.said = why;
    }
}
