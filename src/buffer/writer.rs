//! The end where records go in.

use super::record::{self, HEAD, Kind, SEAL, Totals};
use super::segment::{self, HEADER, Header};
use super::shared::{Buffer, Segment, Trouble};
use super::{AppendError, Fsync, Full, NUMBER_MAX, NewRecord, PAYLOAD_MAX, RecordHead, Seq, is_full};
use crate::storage_io::{Access, PRIVATE, StorageFile};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The name of the room that is kept for records whose file failed.
pub(super) const RESERVE: &str = "reserve";

/// Takes records. One thread has it.
pub struct Writer {
    shared: Arc<Buffer>,
    /// None if there is none yet, if the last one is full, or if its file failed.
    current: Option<Current>,
    /// Whole records that are not safe yet, salted for the current segment.
    pending: Vec<u8>,
    /// When the first of them came in.
    pending_ms: u64,
    payload: usize,
    /// The number of the next entry.
    next: Seq,
    durable: Seq,
}

/// The segment that is written to.
pub(super) struct Current {
    pub(super) place: u64,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) salt: u64,
    /// Where the pending records go.
    pub(super) end: u64,
    pub(super) capacity: u64,
    /// Of its records, the pending ones counted.
    pub(super) totals: Totals,
}

impl Writer {
    pub(super) fn new(shared: Arc<Buffer>, current: Option<Current>, next: Seq) -> Writer {
        let (pending, pending_ms, payload) = (Vec::new(), 0, 0);
        Writer { shared, current, pending, pending_ms, payload, next, durable: next }
    }

    /// Takes a record and gives its number. It is in memory, at most a segment of it, until [`Writer::sync`] returns or
    /// a segment is full; call that after about 1 MiB.
    pub fn append(&mut self, record: NewRecord<'_>) -> Result<Seq, AppendError> {
        let end = self.next + Seq::from(record.entries);
        if record.entries == 0
            || record.payload.len() > self.payload_max()
            || end > NUMBER_MAX - u64::from(u32::MAX)
        {
            return Err(AppendError::Refused);
        }
        let size = record::size(record.payload.len());
        while self.current.as_ref().is_none_or(|current| !current.fits(self.pending.len() as u64 + size)) {
            self.make_room(record.time_ms)?;
        }
        let Some(current) = &mut self.current else { return Err(AppendError::Refused) };
        let head = RecordHead {
            seq: self.next,
            entries: record.entries,
            time_ms: record.time_ms,
            len: record.payload.len() as u32,
        };
        if self.pending.is_empty() {
            self.pending_ms = record.time_ms;
        }
        let crc = record::write(&mut self.pending, Kind::Data, &head, record.payload, current.salt);
        current.totals.add(record.entries, crc);
        self.payload += record.payload.len();
        self.next = end;
        Ok(head.seq)
    }

    /// One step on the way to a segment with room.
    fn make_room(&mut self, now_ms: u64) -> Result<(), AppendError> {
        if self.current.is_some() {
            // Not sealed for nothing: a smaller record may still fit.
            if !self.shared.has_room(self.shared.spec.segment_size) {
                return Err(AppendError::Full(Full::MaxSize));
            }
            return self.settle(true).map_err(refusal);
        }
        if self.pending.is_empty() {
            let created = self.create(self.shared.spec.segment_size, now_ms, false);
            return self.told(created).map_err(refusal);
        }
        self.settle(false).map_err(refusal)
    }

    /// Makes everything that was appended durable (with [`Fsync::None`](super::Fsync::None): writes it) and gives the
    /// number behind it: every entry below is safe.
    ///
    /// A file whose sync failed is given up for good, and what was not durable is written to a new segment from memory.
    /// Errors: that failed too, or there is no room. Nothing is forgotten: call again, about once a second. Meanwhile
    /// [`BufferView::degraded`](super::BufferView::degraded) says why.
    pub fn sync(&mut self) -> io::Result<Seq> {
        self.settle(false)?;
        Ok(self.durable)
    }

    /// Every entry below this number is safe.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Bytes of payload that were appended and are not safe yet.
    pub fn pending(&self) -> usize {
        self.payload
    }

    /// When what it writes is made durable.
    pub fn fsync(&self) -> Fsync {
        self.shared.spec.fsync
    }

    /// Most bytes of a payload: 1 MiB, less with smaller segments.
    pub fn payload_max(&self) -> usize {
        let room = self.shared.spec.segment_size.saturating_sub((HEADER + HEAD + SEAL) as u64 + 7);
        PAYLOAD_MAX.min(usize::try_from(room).unwrap_or(PAYLOAD_MAX))
    }

    /// Writes and syncs what is pending, and a seal behind it if wanted; if the file fails, once more to a new one.
    fn settle(&mut self, seal: bool) -> io::Result<()> {
        if self.pending.is_empty() && !(seal && self.current.is_some()) {
            return Ok(());
        }
        if self.current.as_ref().is_some_and(|current| self.shared.unsynced.lock().has_failed(current.place))
        {
            self.give_up();
        }
        let settled = match self.write(seal) {
            Some(Err(Failed { error, for_good: false })) => Err(error),
            Some(Ok(())) => Ok(()),
            Some(Err(Failed { error, .. })) => {
                tracing::warn!(
                    "buffer {}: a segment is given up, what is not durable goes to a new one: {error}",
                    self.shared.spec.dir.display()
                );
                self.give_up();
                self.rescue()
            }
            None => self.rescue(),
        };
        self.told(settled)
    }

    /// Writes what is pending to the current segment, if there is one.
    fn write(&mut self, seal: bool) -> Option<Result<(), Failed>> {
        let current = self.current.as_mut()?;
        let records = self.pending.len();
        if seal {
            let head = RecordHead { seq: self.next, entries: 0, time_ms: self.pending_ms, len: 0 };
            record::write(&mut self.pending, Kind::Seal, &head, &current.totals.encode(), current.salt);
        }
        let written = current.file.write_at(&self.pending, current.end);
        // A write without room may be repeated. A sync may not: a second one can say that all is well when it is not.
        let written = written.map_err(|error| Failed { for_good: !is_full(&error), error });
        let synced = written.and_then(|()| match self.shared.spec.fsync {
            Fsync::None => Ok(()),
            Fsync::Group | Fsync::Always => {
                current.file.sync_data().map_err(|error| Failed { for_good: true, error })
            }
        });
        if let Err(failed) = synced {
            self.pending.truncate(records);
            return Some(Err(failed));
        }
        current.end += self.pending.len() as u64;
        let (place, end) = (current.place, current.end);
        if self.shared.spec.fsync == Fsync::None {
            self.shared.unsynced.lock().add(place, &current.file);
        }
        let mut inner = self.shared.inner.lock();
        inner.written(place, end, self.next, self.pending_ms);
        if seal {
            (self.current, inner.writing) = (None, None);
        }
        drop(inner);
        self.durable = self.next;
        self.payload = 0;
        self.pending.clear();
        Some(Ok(()))
    }

    /// Leaves the current file for good. What a failed sync left in memory is cut off, or the next process would find it there
    /// and take it for safe; that may fail, and then it is only counted as lost after a power cut.
    fn give_up(&mut self) {
        if let Some(current) = self.current.take() {
            let _ = current.file.set_len(current.end);
        }
        self.shared.inner.lock().writing = None;
    }

    /// Writes what is pending to a new segment.
    fn rescue(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let least = (HEADER + self.pending.len() + SEAL) as u64;
        self.create(self.shared.spec.segment_size.max(least), self.pending_ms, true)?;
        let Some(current) = &mut self.current else { return Ok(()) };
        salt_anew(&mut self.pending, current);
        let place = current.place;
        match self.write(false) {
            Some(Err(Failed { error, .. })) => {
                // Nothing in it is durable: it makes room for the next attempt.
                self.give_up();
                self.shared.forget(place);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Makes a new segment the current one. Its name and header are durable before any record is written to it.
    fn create(&mut self, capacity: u64, created_ms: u64, rescue: bool) -> io::Result<()> {
        let shared = &self.shared;
        // What was taken already may use the room that is kept for it.
        let of_reserve = rescue && !shared.has_room(capacity);
        let reserve = if of_reserve { shared.inner.lock().reserve } else { 0 };
        if !shared.has_room(capacity.saturating_sub(reserve)) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, MaxSize));
        }
        let (place, id) = shared.inner.lock().next_segment();
        let path = shared.spec.dir.join(segment::name(id));
        let salt = segment::salt(shared.number, id);
        let content = shared.spec.content as u8;
        let header = Header { content, id, first_seq: self.durable, created_ms, salt, capacity };
        let made = if of_reserve {
            shared.make_of_reserve(&path, &header)
        } else {
            shared.make(&path, &header).or_else(|error| {
                // Half of a file must not stay; if it does, it holds no record and is passed over.
                let _ = shared.io.remove(&path);
                if rescue && is_full(&error) { shared.make_of_reserve(&path, &header) } else { Err(error) }
            })
        };
        let file: Arc<dyn StorageFile> = Arc::from(made?);
        if shared.spec.fsync == Fsync::None {
            let mut unsynced = shared.unsynced.lock();
            unsynced.names = true;
            unsynced.add(place, &file);
        }
        let mut inner = shared.inner.lock();
        inner.table.push_back(Segment {
            place,
            id,
            path,
            first_seq: Some(self.durable),
            created_ms,
            salt,
            capacity,
            len: HEADER as u64,
            entered: self.durable,
            passed: None,
        });
        inner.writing = Some(place);
        drop(inner);
        let end = HEADER as u64;
        self.current = Some(Current { place, file, salt, end, capacity, totals: Totals::default() });
        shared.keep_reserve();
        Ok(())
    }

    /// Says how it went to those who look. A buffer that has reached its size is well, unless it holds what it cannot save.
    fn told(&self, went: io::Result<()>) -> io::Result<()> {
        let is_trouble = |error: &&io::Error| !is_max_size(error) || !self.pending.is_empty();
        let why = went.as_ref().err().filter(is_trouble);
        let why = why.map(|error| format!("{}: {error}", self.shared.spec.dir.display()));
        self.shared.inner.lock().degraded[Trouble::Writing as usize] = why;
        went
    }
}

/// Why something is not on disk.
struct Failed {
    error: io::Error,
    /// The file must not be used again.
    for_good: bool,
}

/// No segment more fits into `max_size`.
#[derive(Debug)]
struct MaxSize;

impl std::fmt::Display for MaxSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the buffer is full")
    }
}

impl std::error::Error for MaxSize {}

fn is_max_size(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<MaxSize>())
}

fn refusal(error: io::Error) -> AppendError {
    match is_full(&error) {
        true if is_max_size(&error) => AppendError::Full(Full::MaxSize),
        true => AppendError::Full(Full::Disk),
        false => AppendError::Io(error),
    }
}

impl Current {
    /// Whether so many pending bytes, and a seal, fit.
    fn fits(&self, pending: u64) -> bool {
        self.end + pending + SEAL as u64 <= self.capacity
    }
}

/// Salts pending records for another segment.
fn salt_anew(pending: &mut [u8], current: &mut Current) {
    let mut at = 0;
    while let Some(len) = pending.get(at + 4..).and_then(|rest| rest.first_chunk::<4>()) {
        let entries =
            pending.get(at + 16..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        let len = u32::from_le_bytes(*len) as usize;
        let crc = record::seal(&mut pending[at..at + HEAD + len], current.salt);
        current.totals.add(u32::from_le_bytes(entries), crc);
        at += record::size(len) as usize;
    }
}

impl Buffer {
    /// Whether so many more bytes may be on disk.
    fn has_room(&self, bytes: u64) -> bool {
        self.inner.lock().bytes().saturating_add(bytes) <= self.spec.max_size
    }

    /// Creates a segment's file: room, header, and a name that survives, in this order.
    fn make(&self, path: &Path, header: &Header) -> io::Result<Box<dyn StorageFile>> {
        let file = self.io.open(path, Access::Fresh, PRIVATE)?;
        allocate(&*file, header.capacity)?;
        self.begin(file, header)
    }

    /// As [`Buffer::make`], from the room that was kept.
    fn make_of_reserve(&self, path: &Path, header: &Header) -> io::Result<Box<dyn StorageFile>> {
        self.io.rename(&self.spec.dir.join(RESERVE), path)?;
        self.inner.lock().reserve = 0;
        let begun = self.io.open(path, Access::Update, PRIVATE).and_then(|file| self.begin(file, header));
        if begun.is_err() {
            let _ = self.io.remove(path);
        }
        begun
    }

    fn begin(&self, file: Box<dyn StorageFile>, header: &Header) -> io::Result<Box<dyn StorageFile>> {
        file.write_at(&header.encode(), 0)?;
        if self.spec.fsync != Fsync::None {
            file.sync_data()?;
            // The file is durable but its name is not: a power cut could take it with all that will be in it.
            self.io.sync_dir(&self.spec.dir)?;
        }
        Ok(file)
    }

    /// Keeps room for one segment, if it can be had: records that were taken can then be saved on a full disk.
    pub(super) fn keep_reserve(&self) {
        let size = self.spec.segment_size;
        if self.inner.lock().reserve > 0 || !self.has_room(size) {
            return;
        }
        let path = self.spec.dir.join(RESERVE);
        let made = self.io.open(&path, Access::Fresh, PRIVATE).and_then(|file| allocate(&*file, size));
        match made {
            Ok(()) => self.inner.lock().reserve = size,
            Err(_) => drop(self.io.remove(&path)),
        }
    }

    /// Takes a segment without records out of the table and off the disk.
    fn forget(&self, place: u64) {
        let path = self.inner.lock().segment(place).map(|segment| segment.path.clone());
        // One that cannot be removed still takes up room, and the reader passes over it.
        if path.is_some_and(|path| self.io.remove(&path).is_ok()) {
            self.inner.lock().table.retain(|segment| segment.place != place);
        }
    }
}

/// Reserves room; a file system that cannot do that says it is full when it is.
fn allocate(file: &dyn StorageFile, len: u64) -> io::Result<()> {
    match file.allocate(len) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}
