//! Opens a directory, whatever is in it.
//!
//! The state says what is done; without one, nothing is. The heads of all segments are read, and the last segment as a
//! whole: where its valid records end, writing goes on. Memory does not grow with what is in the segments.

use super::fast::{self, FastState};
use super::persist::{self, Loaded, StateFile};
use super::progress::Progress;
use super::record::{self, SEAL, Totals};
use super::scan::{Scanner, Step};
use super::segment::{self, Bad, HEADER, Header};
use super::shared::{Buffer, Inner, Segment, Unsynced};
use super::state::{self, State};
use super::writer::{Current, RESERVE};
use super::{BufferSpec, Found, Fsync, NUMBER_MAX, OpenError, Opened, Reader, Seq, Writer, quarantine};
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most sentences about what is unusual.
const NOTES_MAX: usize = 16;

/// Opens the buffer of `spec`.
pub(super) fn open(io: Arc<dyn StorageIo>, spec: BufferSpec, now_ms: u64) -> Result<Opened, OpenError> {
    check(&spec)?;
    let dir = spec.dir.clone();
    let failed = |error| OpenError::Io(dir.clone(), error);
    io.create_dir(&dir).map_err(failed)?;
    // The directory's own name is in the one above, and that one's in the next.
    for above in dir.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()) {
        if let Err(error) = io.sync_dir(above) {
            tracing::warn!("{}: its names may not survive a power cut: {error}", above.display());
        }
    }
    let lock = io.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(dir.clone()),
        _ => OpenError::Io(dir.join("lock"), error),
    })?;
    let mut found = Found::default();
    let loaded = load_state(&*io, &dir, &mut found)?;
    let mut survey = Survey::of(&*io, &dir, &loaded, &mut found)?;
    let state = loaded.slots.best.clone().unwrap_or_default();
    let end = survey.end(&*io, &state)?;
    for husk in &survey.husks {
        let _ = io.remove(husk);
    }
    let committed = survey.committed(&loaded);
    let next = end.next.max(state.written).max(committed);
    let (fast, delivered) = FastState::load(&*io, &dir, survey.buffer);
    let committed = delivered.map_or(committed, |delivered| delivered.clamp(committed, next));
    let progress = Progress::new(committed, state.holes.clone());
    found.entries = progress.open(next).0;
    found.quarantined_bytes = quarantine::bytes(&*io, &dir);

    let mut table = survey.table;
    pass_done(&mut table, committed);
    let resumed = end.last.and_then(|last| resume(&*io, &spec, table.back_mut()?, &last, next));
    let unread = table.iter().find(|segment| segment.passed.is_none());
    let inner = Inner {
        next_place: table.len() as u64,
        next_id: survey.next_id.max(state.next),
        writing: resumed.as_ref().map(|current| current.place),
        durable: next,
        progress,
        unread_ms: unread.map_or(now_ms, |segment| segment.created_ms),
        reserve: 0,
        lost: 0,
        damaged: 0,
        quarantined: found.quarantined_bytes,
        degraded: Default::default(),
        table,
    };
    let first_unread = inner.table.iter().find(|segment| segment.passed.is_none());
    let place = first_unread.map_or(inner.next_place, |segment| segment.place);
    (found.bytes, found.segments) = (inner.bytes(), inner.table.len());
    let new = loaded.slots.best.is_none();
    let mut unsynced = Unsynced::new(spec.fsync == Fsync::None);
    if let Some(current) = resumed.as_ref().filter(|_| spec.fsync == Fsync::None) {
        unsynced.add(current.place, &current.file);
    }
    let shared = Arc::new(Buffer {
        state: Mutex::new(StateFile::new(&*io, &dir, &loaded)),
        fast: Mutex::new(fast),
        io,
        spec,
        number: survey.buffer,
        inner: Mutex::new(inner),
        unsynced: Mutex::new(unsynced),
        _lock: lock,
    });
    if new {
        // Says itself what went wrong; the next one may succeed.
        let _ = shared.persist();
    }
    shared.find_reserve();
    let writer = Writer::new(Arc::clone(&shared), resumed, next);
    let reader = Reader::new(Arc::clone(&shared), place);
    Ok(Opened { writer, reader, shared, found })
}

fn check(spec: &BufferSpec) -> Result<(), OpenError> {
    let least = (HEADER + 2 * record::HEAD + SEAL) as u64;
    if spec.segment_size < least || spec.segment_size > spec.max_size / 4 {
        let why = format!("segments of {} bytes in a buffer of {}: ", spec.segment_size, spec.max_size);
        return Err(OpenError::Spec(format!(
            "{why}at least {least} bytes, and at most a quarter of it, would do"
        )));
    }
    Ok(())
}

impl Found {
    fn note(&mut self, note: String) {
        tracing::warn!("buffer: {note}");
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }
}

pub(super) fn load_state(io: &dyn StorageIo, dir: &Path, found: &mut Found) -> Result<Loaded, OpenError> {
    let path = dir.join(state::NAME);
    match persist::load(io, dir) {
        Ok(Ok(loaded)) => {
            if loaded.slots.damaged && !loaded.missing {
                let what = if loaded.slots.best.is_some() {
                    "the other slot counts"
                } else {
                    "nothing counts as done"
                };
                found.note(format!("{}: damaged; {what}", path.display()));
            }
            Ok(loaded)
        }
        Ok(Err(major)) => Err(OpenError::Version { path, major }),
        Err(error) => Err(OpenError::Io(path, error)),
    }
}

/// The segments of a directory.
pub(super) struct Survey {
    pub(super) table: VecDeque<Segment>,
    /// Above the number of every segment there is.
    pub(super) next_id: u64,
    /// The buffer's own number.
    pub(super) buffer: u64,
    /// Files that were to become segments, and did not: all they hold is room.
    pub(super) husks: Vec<PathBuf>,
}

/// How the segments end.
pub(super) struct End {
    /// The number behind the last entry.
    pub(super) next: Seq,
    /// The last segment, scanned; None if there is none.
    last: Option<Scan>,
    /// How many segments at the end have no record.
    empty: usize,
}

/// What scanning a segment shows.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Behind the last valid record.
    end: u64,
    /// The number behind its last entry; None if there is no record.
    next: Option<Seq>,
    sealed: bool,
    totals: Totals,
}

impl Survey {
    /// Reads the heads of all segments. Files of others are left alone.
    pub(super) fn of(
        io: &dyn StorageIo,
        dir: &Path,
        loaded: &Loaded,
        found: &mut Found,
    ) -> Result<Survey, OpenError> {
        let failed = |error| OpenError::Io(dir.to_owned(), error);
        let (mut heads, mut next_id) = (Vec::new(), 1);
        for name in io.list(dir).map_err(failed)? {
            let name = name.to_string_lossy().into_owned();
            let Some(id) = segment::id_of(&name).filter(|id| *id < NUMBER_MAX) else {
                if ![state::NAME, "state.tmp", fast::NAME, "repair.tmp", "lock", RESERVE, quarantine::NAME]
                    .contains(&&*name)
                {
                    found.note(format!("{}: not ours, left alone", dir.join(name).display()));
                }
                continue;
            };
            next_id = next_id.max(id + 1);
            let path = dir.join(&name);
            let head = head(io, &path).map_err(|error| OpenError::Io(path.clone(), error))?;
            if let (_, Err(Bad::Version(major))) = head {
                return Err(OpenError::Version { path, major });
            }
            heads.push((id, path, head));
        }
        // By what the header says: the name may be another one's, if someone moved files about.
        heads.sort_unstable_by_key(|(id, path, (_, head))| (head.map_or(*id, |head| head.id), path.clone()));
        let known = loaded.slots.best.as_ref().map(|state| state.buffer);
        let first = heads.iter().find_map(|(_, _, (_, head))| Some(segment::buffer_of(head.as_ref().ok()?)));
        let buffer = known.or(first).unwrap_or_else(|| fastrand::u64(..));
        let mut survey = Survey { table: VecDeque::new(), next_id, buffer, husks: Vec::new() };
        for (id, path, (len, head)) in heads {
            let header = head.ok();
            if len == 0 {
                survey.husks.push(path);
                continue;
            }
            if header.is_some_and(|header| segment::buffer_of(&header) != buffer) {
                found.note(format!("{}: a segment of another buffer, left alone", path.display()));
                continue;
            }
            let salt = header.map_or_else(|| segment::salt(buffer, id), |header| header.salt);
            let first_seq = match header {
                Some(header) => Some(header.first_seq),
                None => {
                    first_record(io, &path, salt, len).map_err(|error| OpenError::Io(path.clone(), error))?
                }
            };
            if header.is_none() {
                found.note(format!("{}: its header is damaged", path.display()));
            }
            let id = header.map_or(id, |header| header.id);
            survey.next_id = survey.next_id.max(id + 1);
            survey.table.push_back(Segment {
                place: survey.table.len() as u64,
                id,
                path,
                first_seq,
                created_ms: header.map_or(0, |header| header.created_ms),
                salt,
                capacity: header.map_or(len, |header| header.capacity.max(len)),
                len,
                entered: 0,
                passed: None,
            });
        }
        Ok(survey)
    }

    /// Everything below is done: the state says so, or else nothing is.
    pub(super) fn committed(&self, loaded: &Loaded) -> Seq {
        match &loaded.slots.best {
            Some(state) => state.committed,
            None => self.table.iter().find_map(|segment| segment.first_seq).unwrap_or(0),
        }
    }

    /// Scans from the back to the last segment that has a record.
    pub(super) fn end(&mut self, io: &dyn StorageIo, state: &State) -> Result<End, OpenError> {
        // No number is used twice, whatever stands where: a new record must not be taken for an old one.
        let firsts = self.table.iter().filter_map(|segment| segment.first_seq);
        let dropped = state.holes.last().map_or(0, |hole| hole.end);
        let next = firsts.max().unwrap_or(0).max(state.written).max(dropped);
        let mut end = End { next, last: None, empty: 0 };
        for segment in self.table.iter_mut().rev() {
            let scan = scan(io, segment).map_err(|error| OpenError::Io(segment.path.clone(), error))?;
            end.next = end.next.max(scan.next.or(segment.first_seq).unwrap_or(0));
            let is_end = scan.next.is_some();
            end.last.get_or_insert(scan);
            if is_end {
                break;
            }
            end.empty += 1;
        }
        // A segment that was begun for records of one that failed, and got none of them, takes none away from it.
        let empty = self.table.iter_mut().rev().take(end.empty);
        for segment in empty {
            segment.first_seq = segment.first_seq.filter(|first| *first >= end.next);
        }
        Ok(end)
    }
}

/// Length and header of a segment's file.
pub(super) fn head(io: &dyn StorageIo, path: &Path) -> io::Result<(u64, Result<Header, Bad>)> {
    let file = io.open(path, Access::Read, PRIVATE)?;
    let mut bytes = [0; HEADER];
    let read = file.read_at(&mut bytes, 0)?;
    let header = if read == HEADER { Header::decode(&bytes) } else { Err(Bad::Damaged) };
    let numbers =
        |header: &Header| [header.id, header.first_seq, header.capacity].iter().all(|n| *n < NUMBER_MAX);
    Ok((file.len()?, header.and_then(|header| numbers(&header).then_some(header).ok_or(Bad::Damaged))))
}

/// The number of the first valid record.
fn first_record(io: &dyn StorageIo, path: &Path, salt: u64, len: u64) -> io::Result<Option<Seq>> {
    let mut scanner = Scanner::new(io.open(path, Access::Read, PRIVATE)?, salt);
    let mut payload = Vec::new();
    loop {
        match scanner.step(len, &mut payload)? {
            Step::Record(head, _) | Step::Seal(head) => return Ok(Some(head.seq)),
            Step::Bad(..) => {}
            Step::End => return Ok(None),
        }
    }
}

/// Reads a segment as a whole.
pub(super) fn scan(io: &dyn StorageIo, segment: &Segment) -> io::Result<Scan> {
    let mut scanner = Scanner::new(io.open(&segment.path, Access::Read, PRIVATE)?, segment.salt);
    let (mut scan, mut payload) = (Scan { end: HEADER as u64, ..Scan::default() }, Vec::new());
    loop {
        match scanner.step(segment.len, &mut payload)? {
            Step::Record(head, crc) => {
                scan.end = scanner.at();
                scan.next = scan.next.max(Some(record::end(&head)));
                scan.totals.add(head.entries, crc);
            }
            Step::Seal(head) => {
                scan.sealed = true;
                scan.next = scan.next.max(Some(head.seq));
                return Ok(scan);
            }
            Step::Bad(..) => {}
            Step::End => return Ok(scan),
        }
    }
}

/// Marks the segments that end before what is not done.
fn pass_done(table: &mut VecDeque<Segment>, committed: Seq) {
    let firsts: Vec<_> = table.iter().map(|segment| segment.first_seq).collect();
    for (at, segment) in table.iter_mut().enumerate() {
        segment.entered = committed;
        let end = firsts[at + 1..].iter().flatten().next();
        if end.is_none_or(|end| *end > committed) {
            return;
        }
        segment.passed = Some(committed);
    }
}

/// Goes on in the last segment, if that is sound: its torn end is cut off. Otherwise the next record begins a new one.
fn resume(
    io: &dyn StorageIo,
    spec: &BufferSpec,
    segment: &mut Segment,
    scan: &Scan,
    next: Seq,
) -> Option<Current> {
    let sound = !scan.sealed && scan.next.or(segment.first_seq) == Some(next) && segment.len >= HEADER as u64;
    let header = head(io, &segment.path).ok()?.1.is_ok();
    if !sound || !header {
        return None;
    }
    let file: Arc<dyn StorageFile> = Arc::from(io.open(&segment.path, Access::Update, PRIVATE).ok()?);
    if segment.len > scan.end {
        file.set_len(scan.end).ok()?;
    }
    segment.len = scan.end;
    // What was found was written, but perhaps not made durable before the end of the process that wrote it. Nor was its
    // name, if that process ended between making it and syncing the directory: a power cut would take all that follows.
    if spec.fsync != Fsync::None {
        file.sync_data().ok()?;
        io.sync_dir(&spec.dir).ok()?;
    }
    let (place, salt, end, capacity) = (segment.place, segment.salt, scan.end, segment.capacity);
    Some(Current { place, file, salt, end, capacity, totals: scan.totals })
}

impl Buffer {
    /// Takes over the room an earlier run kept, or keeps some.
    fn find_reserve(&self) {
        let path = self.spec.dir.join(RESERVE);
        // It has no bytes, so its size cannot be seen: it is made anew.
        let _ = self.io.remove(&path);
        self.keep_reserve();
    }
}
