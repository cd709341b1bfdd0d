//! What the threads of a buffer share: which segments there are, how far writer and reader are, what is done.

use super::fast::FastState;
use super::persist::StateFile;
use super::progress::Progress;
use super::{BufferSpec, BufferView, OpenError, Opened, Seq, recover};
use crate::storage_io::{StorageFile, StorageIo};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A buffer. Locks are taken per record and per call, never per entry, and no file is touched under `inner`.
pub struct Buffer {
    pub(super) io: Arc<dyn StorageIo>,
    pub(super) spec: BufferSpec,
    /// The buffer's own number, from which the salts are made.
    pub(super) number: u64,
    pub(super) inner: Mutex<Inner>,
    pub(super) state: Mutex<StateFile>,
    pub(super) fast: Mutex<FastState>,
    pub(super) unsynced: Mutex<Unsynced>,
    /// Given back when writer, reader and all others are gone.
    pub(super) _lock: Box<dyn Send + Sync>,
}

/// A segment on disk.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Its place in the table: they rise, and none is used twice.
    pub(super) place: u64,
    pub(super) id: u64,
    pub(super) path: PathBuf,
    /// The number of its first entry; None if nothing in it says so.
    pub(super) first_seq: Option<Seq>,
    pub(super) created_ms: u64,
    pub(super) salt: u64,
    /// Bytes it counts for.
    pub(super) capacity: u64,
    /// Bytes that may be read: they are durable.
    pub(super) len: u64,
    /// How far everything was read when the reader came to it.
    pub(super) entered: Seq,
    /// And when it was through with it.
    pub(super) passed: Option<Seq>,
}

/// The table of segments, and how far everybody is.
pub(super) struct Inner {
    /// By place.
    pub(super) table: VecDeque<Segment>,
    pub(super) next_place: u64,
    /// The number of the next segment.
    pub(super) next_id: u64,
    /// The place of the segment that is written to.
    pub(super) writing: Option<u64>,
    /// Every entry below is safe.
    pub(super) durable: Seq,
    pub(super) progress: Progress,
    /// When the first unread record came in, or earlier.
    pub(super) unread_ms: u64,
    /// Bytes of the reserve; 0 if there is none.
    pub(super) reserve: u64,
    pub(super) lost: u64,
    pub(super) damaged: u64,
    pub(super) quarantined: u64,
    /// Why it cannot make things durable, by [`Trouble`].
    pub(super) degraded: [Option<String>; 3],
}

/// What may be in trouble.
#[derive(Clone, Copy)]
pub(super) enum Trouble {
    /// Records.
    Writing = 0,
    /// The state.
    State = 1,
    /// Files that were written without syncing.
    Flush = 2,
}

/// Files that were written and not synced, with [`Fsync::None`](super::Fsync::None).
#[derive(Default)]
pub(super) struct Unsynced {
    pub(super) files: Vec<(u64, Arc<dyn StorageFile>)>,
    /// Names were added to the directory.
    pub(super) names: bool,
    /// Places of segments whose sync failed.
    failed: Vec<u64>,
}

impl Unsynced {
    /// Nothing yet, but for the names in the directory if nobody knows whether they were.
    pub(super) fn new(names: bool) -> Unsynced {
        Unsynced { names, ..Unsynced::default() }
    }

    /// Whether a sync of this segment failed: it must not be written to again.
    pub(super) fn has_failed(&self, place: u64) -> bool {
        self.failed.contains(&place)
    }

    /// Has a file synced with the next flush.
    pub(super) fn add(&mut self, place: u64, file: &Arc<dyn StorageFile>) {
        if self.files.last().is_none_or(|(last, _)| *last != place) {
            self.files.push((place, Arc::clone(file)));
        }
    }
}

/// Where the reader is to look.
pub(super) struct Here {
    pub(super) place: u64,
    pub(super) id: u64,
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    /// Bytes that may be read.
    pub(super) limit: u64,
    /// Records end at or before this number, or are written again in a later segment.
    pub(super) bound: Seq,
    /// There is a later segment.
    pub(super) more: bool,
    /// Nothing in the segment says where its numbers begin.
    pub(super) nameless: bool,
}

impl Buffer {
    /// Opens the buffer of `spec`, creating it if there is none. `now_ms` is in milliseconds since 1970.
    ///
    /// Only the heads of segments and the last segment are read. A torn end of the last segment is cut off; damage
    /// elsewhere is met while reading. A disk that is full or cannot be written is no error: the backlog can be read, and
    /// [`BufferView::degraded`] says what is wrong.
    pub fn open(io: Arc<dyn StorageIo>, spec: BufferSpec, now_ms: u64) -> Result<Opened, OpenError> {
        recover::open(io, spec, now_ms)
    }

    /// The record with this number, as the reader gave it, is done with: it may be removed. In any order; what counts on
    /// disk is everything below the first that is not done. A number that is not handed out is ignored.
    pub fn complete(&self, seq: Seq) {
        self.inner.lock().progress.complete(seq);
    }

    /// Makes durable what was written: all there is to do with [`Fsync::None`](super::Fsync::None), nothing otherwise.
    ///
    /// Errors: what was written may be lost in a power cut; this is said again until the reader is through with it.
    pub fn flush(&self) -> io::Result<()> {
        let mut unsynced = self.unsynced.lock();
        let mut failed = None;
        for (place, file) in std::mem::take(&mut unsynced.files) {
            if let Err(error) = file.sync_data() {
                unsynced.failed.push(place);
                failed = Some(error);
            }
        }
        if unsynced.names {
            self.io.sync_dir(&self.spec.dir)?;
            unsynced.names = false;
        }
        let mut inner = self.inner.lock();
        unsynced.failed.retain(|place| inner.segment(*place).is_some_and(|segment| segment.passed.is_none()));
        if unsynced.failed.is_empty() {
            inner.degraded[Trouble::Flush as usize] = None;
            return Ok(());
        }
        let why = failed.map_or_else(|| "an earlier sync failed".to_owned(), |error| error.to_string());
        let why = format!("{}: written entries may not survive a power cut: {why}", self.spec.dir.display());
        inner.degraded[Trouble::Flush as usize] = Some(why.clone());
        Err(io::Error::other(why))
    }

    /// What there is now.
    pub fn view(&self) -> BufferView {
        let inner = self.inner.lock();
        let (entries, out_ms) = inner.progress.open(inner.durable);
        BufferView {
            bytes: inner.bytes(),
            entries,
            oldest_ms: out_ms.or((entries > 0).then_some(inner.unread_ms)),
            segments: inner.table.len(),
            lost_entries: inner.lost,
            damaged_ranges: inner.damaged,
            quarantined_bytes: inner.quarantined,
            degraded: inner.degraded.iter().flatten().next().cloned(),
        }
    }
}

impl Inner {
    /// Bytes of segments and reserve.
    pub(super) fn bytes(&self) -> u64 {
        self.table.iter().fold(self.reserve, |sum, segment| sum.saturating_add(segment.capacity))
    }

    pub(super) fn segment(&self, place: u64) -> Option<&Segment> {
        let at = self.table.partition_point(|segment| segment.place < place);
        self.table.get(at).filter(|segment| segment.place == place)
    }

    pub(super) fn segment_mut(&mut self, place: u64) -> Option<&mut Segment> {
        let at = self.table.partition_point(|segment| segment.place < place);
        self.table.get_mut(at).filter(|segment| segment.place == place)
    }

    /// Place and number of a new segment.
    pub(super) fn next_segment(&mut self) -> (u64, u64) {
        let new = (self.next_place, self.next_id);
        self.next_place += 1;
        self.next_id += 1;
        new
    }

    /// The first segment at or behind a place.
    pub(super) fn here(&self, place: u64) -> Option<Here> {
        let at = self.table.partition_point(|segment| segment.place < place);
        let segment = self.table.get(at)?;
        let bound = self.table.range(at + 1..).find_map(|later| later.first_seq);
        Some(Here {
            place: segment.place,
            id: segment.id,
            path: segment.path.clone(),
            salt: segment.salt,
            limit: segment.len,
            bound: bound.unwrap_or(self.durable),
            more: at + 1 < self.table.len(),
            nameless: segment.first_seq.is_none(),
        })
    }

    /// What is not read up to `seq` cannot be read: how many entries that costs.
    pub(super) fn lose(&mut self, seq: Seq) -> u64 {
        let read = self.progress.read();
        let lost = self.progress.outside_holes(read..seq.max(read));
        self.progress.pass(seq.max(read));
        self.lost += lost;
        lost
    }

    /// Everything below `next` is safe now, in `len` bytes of the segment at `place`; the first of it came in at
    /// `first_ms`.
    pub(super) fn written(&mut self, place: u64, len: u64, next: Seq, first_ms: u64) {
        if self.progress.read() >= self.durable {
            self.unread_ms = first_ms;
        }
        self.durable = next;
        if let Some(segment) = self.segment_mut(place) {
            segment.len = len;
        }
    }
}
