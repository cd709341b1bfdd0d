//! Reads letters where they lie, without taking part in the buffer: by number for whoever gives them again, and all of
//! them for the tools, also while an instance runs.

use super::filter::{Facts, Filter};
use super::letter::DeadLetter;
use super::pieces::{Came, Gatherer};
use crate::buffer::scan::{Scanner, Step};
use crate::buffer::segment::{self, Bad, Header};
use crate::buffer::state;
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads single letters.
pub struct Pages {
    io: Arc<dyn StorageIo>,
    dir: PathBuf,
    open: Option<Walk>,
    payload: Vec<u8>,
}

/// A segment that is being walked through.
struct Walk {
    scanner: Scanner,
    first: u64,
    /// The least number that the next record can have.
    next: u64,
}

impl Pages {
    /// Of the letters in `dir`.
    pub fn new(io: Arc<dyn StorageIo>, dir: PathBuf) -> Self {
        Pages { io, dir, open: None, payload: Vec::new() }
    }

    /// The letter of this number, which has so many records. Cheap if the numbers rise from call to call. None: it is
    /// not there, or cannot be read.
    ///
    /// Errors: the disk cannot be read.
    pub fn letter(&mut self, number: u64, records: u32) -> io::Result<Option<DeadLetter>> {
        let mut gatherer = Gatherer::default();
        for record in number..number + u64::from(records) {
            if !self.find(record)? {
                self.open = None;
                return Ok(None);
            }
            match gatherer.take(record, &self.payload) {
                Ok(Came::Letter { bytes, .. }) => return Ok(DeadLetter::decode(&bytes).ok()),
                Ok(Came::Nothing) => {}
                Ok(Came::Gone(_)) | Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Whether the record is there; then its payload is.
    fn find(&mut self, record: u64) -> io::Result<bool> {
        if let Some(walk) = &mut self.open
            && walk.next <= record
            && walk.find(record, &mut self.payload)?
        {
            return Ok(true);
        }
        self.open = None;
        let mut place = None;
        for (id, path) in segments(&*self.io, &self.dir)? {
            match open(&*self.io, &path) {
                Ok(Some((header, file))) if header.first_seq <= record => place = Some((id, header, file)),
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let Some((_, header, file)) = place else { return Ok(false) };
        let mut walk = Walk {
            scanner: Scanner::new(file, header.salt),
            first: header.first_seq,
            next: header.first_seq,
        };
        debug_assert!(walk.first <= record, "the last segment that begins before it");
        let found = walk.find(record, &mut self.payload)?;
        self.open = Some(walk);
        Ok(found)
    }
}

impl Walk {
    fn find(&mut self, record: u64, payload: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let limit = self.scanner.file().len()?;
            match self.scanner.step(limit, payload)? {
                Step::Record(head, _) => {
                    self.next = head.seq + u64::from(head.entries);
                    if head.seq >= record {
                        return Ok(head.seq == record);
                    }
                }
                Step::Bad(..) => {}
                Step::Seal(_) | Step::End => return Ok(false),
            }
        }
    }
}

/// Segments by number.
fn segments(io: &dyn StorageIo, dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let named = |name: std::ffi::OsString| {
        let id = segment::id_of(name.to_str()?)?;
        Some((id, dir.join(name)))
    };
    let mut all: Vec<_> = io.list(dir)?.into_iter().filter_map(named).collect();
    all.sort();
    Ok(all)
}

/// A segment that can be read; `None` if its head is damaged.
fn open(io: &dyn StorageIo, path: &Path) -> io::Result<Option<(Header, Box<dyn StorageFile>)>> {
    let file = io.open(path, Access::Read, PRIVATE)?;
    let mut bytes = [0; segment::HEADER];
    if file.read_at(&mut bytes, 0)? < bytes.len() {
        return Ok(None);
    }
    match Header::decode(&bytes) {
        Ok(header) => Ok(Some((header, file))),
        Err(Bad::Damaged) => Ok(None),
        Err(Bad::Version(major)) => Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("format version {major}, this program knows version {}", segment::MAJOR),
        )),
    }
}

/// What a look through all letters came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Letters that were shown.
    pub shown: usize,
    /// Letters and records that cannot be read.
    pub damaged: usize,
}

/// Shows the letters in `dir` that `filter` means, the oldest first, until `show` says no. Nothing is changed, and an
/// instance may be at work: a letter that goes meanwhile may be shown or not.
///
/// Errors: the disk cannot be read, or another version of the program wrote it.
pub fn look(
    io: &dyn StorageIo,
    dir: &Path,
    filter: &Filter,
    show: &mut dyn FnMut(u64, DeadLetter) -> io::Result<bool>,
) -> io::Result<Seen> {
    let state = state(io, dir)?;
    let is_done =
        |record: u64| record < state.committed || state.holes.iter().any(|hole| hole.contains(&record));
    let mut seen = Seen::default();
    let (mut gone, mut lengths) = (HashSet::new(), HashMap::new());
    // First who is there: what says that a letter is gone stands behind it.
    seen.damaged = walk(io, dir, &mut |came| {
        match came {
            Came::Letter { number, records, .. } => drop(lengths.insert(number, records)),
            Came::Gone(numbers) => gone.extend(numbers),
            Came::Nothing => {}
        }
        Ok(true)
    })?;
    let last = lengths.keys().max().copied();
    walk(io, dir, &mut |came| {
        let Came::Letter { number, bytes, .. } = came else { return Ok(true) };
        if is_done(number) || gone.contains(&number) {
            return Ok(true);
        }
        // What came since is not known to be there still.
        if last.is_none_or(|last| number > last) || filter.limit.is_some_and(|most| seen.shown >= most) {
            return Ok(false);
        }
        let Ok(letter) = DeadLetter::decode(&bytes) else {
            seen.damaged += 1;
            return Ok(true);
        };
        let facts = Facts {
            sink: &letter.sink,
            source: &letter.entry.source,
            reason: letter.reason,
            dead_ms: letter.dead_ms,
        };
        if !filter.takes(facts) {
            return Ok(true);
        }
        seen.shown += 1;
        show(number, letter)
    })?;
    Ok(seen)
}

/// Everything that records come to, in order, until `take` says no. Gives how many records cannot be read.
fn walk(io: &dyn StorageIo, dir: &Path, take: &mut dyn FnMut(Came) -> io::Result<bool>) -> io::Result<usize> {
    let mut damaged = 0;
    let (mut gatherer, mut payload) = (Gatherer::default(), Vec::new());
    for (_, path) in segments(io, dir)? {
        let (header, file) = match open(io, &path) {
            Ok(Some(opened)) => opened,
            // Done, and removed since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Ok(None) => {
                damaged += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut scanner = Scanner::new(file, header.salt);
        let mut bad = 0;
        loop {
            let limit = scanner.file().len()?;
            match scanner.step(limit, &mut payload)? {
                Step::Record(head, _) => {
                    // A range with nothing behind it is room that is not written yet, or being written.
                    damaged += std::mem::take(&mut bad);
                    match gatherer.take(head.seq, &payload) {
                        Ok(came) => {
                            if !take(came)? {
                                return Ok(damaged);
                            }
                        }
                        Err(_) => damaged += 1,
                    }
                }
                Step::Bad(..) => bad += 1,
                Step::Seal(_) | Step::End => break,
            }
        }
    }
    Ok(damaged)
}

/// What the buffer says is done; nothing if it says nothing.
fn state(io: &dyn StorageIo, dir: &Path) -> io::Result<state::State> {
    let bytes = match io.read(&dir.join(state::NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(state::State::default()),
        Err(error) => return Err(error),
    };
    let slots = bytes.as_chunks::<{ state::SLOT }>().0;
    let valid = slots.iter().filter_map(|slot| state::State::decode(slot).ok());
    Ok(valid.max_by_key(|state| state.generation).unwrap_or_default())
}
