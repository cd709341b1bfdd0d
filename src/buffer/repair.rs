//! Makes a closed buffer sound: what is damaged is copied aside, what is valid is kept, and the state says what is missing.
//!
//! A damaged segment is written anew beside the old one, made durable, and takes its name: at every moment there is a whole
//! one. The next start then finds nothing wrong and counts nothing as lost.

use super::check::{Closed, Verdict};
use super::persist::StateFile;
use super::record::{self, Kind, Totals};
use super::scan::{Scanner, Step};
use super::segment::{HEADER, Header};
use super::shared::Segment;
use super::state::{HOLES_MAX, State};
use super::{OpenError, RecordHead, Seq, quarantine};
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use std::io;
use std::path::Path;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was wrong.
    pub found: Verdict,
    /// Segments that were written anew.
    pub rewritten: usize,
    /// Segments in which nothing is valid: they were copied aside and removed.
    pub removed: usize,
    /// Bytes that were copied aside.
    pub quarantined_bytes: u64,
    /// Entries that are missing and that there is no room in the state for: the next start will count them as lost.
    pub unexplained: u64,
}

/// Repairs the buffer in `dir`, which nobody else may use meanwhile. `bytes` hears how many were read.
pub fn repair(
    io: &dyn StorageIo,
    dir: &Path,
    content: u8,
    mut bytes: impl FnMut(u64),
) -> Result<Repaired, OpenError> {
    let failed = |error| OpenError::Io(dir.to_owned(), error);
    let closed = Closed::read(io, dir)?;
    let found = closed.verify(|_, _, _| Ok(()), &mut bytes).map_err(failed)?;
    let mut repaired = Repaired { found, ..Repaired::default() };
    if repaired.found.is_sound() && repaired.found.torn == 0 {
        return Ok(repaired);
    }
    let work = Work { io, dir, content };
    for segment in &closed.survey.table {
        work.segment(&closed, segment, &mut repaired).map_err(failed)?;
    }
    work.state(&closed, &mut repaired).map_err(failed)?;
    Ok(repaired)
}

struct Work<'a> {
    io: &'a dyn StorageIo,
    dir: &'a Path,
    content: u8,
}

impl Work<'_> {
    /// Writes a segment anew, unless it is sound.
    fn segment(&self, closed: &Closed<'_>, segment: &Segment, repaired: &mut Repaired) -> io::Result<()> {
        let is_last = closed.survey.table.back().is_some_and(|last| last.place == segment.place);
        let header = super::recover::head(self.io, &segment.path)?.1.ok();
        let name = segment.path.display().to_string();
        let damaged = repaired.found.damaged.iter().filter(|(path, ..)| *path == segment.path);
        let damaged: Vec<_> = damaged.cloned().collect();
        let is_wrong = repaired.found.wrong.iter().any(|wrong| wrong.starts_with(&name));
        if damaged.is_empty() && !is_wrong && !(is_last && repaired.found.torn > 0) {
            return Ok(());
        }
        let file = self.io.open(&segment.path, Access::Read, PRIVATE)?;
        for (_, from, to) in damaged {
            let source = (segment.id, &*file);
            repaired.quarantined_bytes +=
                quarantine::copy(self.io, self.dir, source, (from, to), [0, u64::MAX])?;
        }
        let Some(first_seq) = segment.first_seq else {
            self.io.remove(&segment.path)?;
            repaired.removed += 1;
            return self.io.sync_dir(self.dir);
        };
        let header = header.unwrap_or(Header {
            content: self.content,
            id: segment.id,
            first_seq,
            created_ms: segment.created_ms,
            salt: segment.salt,
            capacity: segment.capacity,
        });
        let tmp = self.dir.join("repair.tmp");
        let out = self.io.open(&tmp, Access::Fresh, PRIVATE)?;
        out.write_at(&header.encode(), 0)?;
        copy_records(file, segment, &*out, !is_last)?;
        out.sync_data()?;
        self.io.rename(&tmp, &segment.path)?;
        self.io.sync_dir(self.dir)?;
        repaired.rewritten += 1;
        Ok(())
    }

    /// Writes a state of two sound slots, in which what is missing counts as done.
    fn state(&self, closed: &Closed<'_>, repaired: &mut Repaired) -> io::Result<()> {
        let old = closed.loaded.slots.best.clone().unwrap_or_default();
        let mut holes = old.holes.clone();
        for gap in &repaired.found.gaps {
            holes.push(gap.clone());
        }
        holes.sort_unstable_by_key(|hole| hole.start);
        holes.dedup_by(|next, hole| {
            let touching = next.start <= hole.end;
            if touching {
                hole.end = hole.end.max(next.end);
            }
            touching
        });
        let mut committed = closed.committed();
        if holes.first().is_some_and(|hole| hole.start <= committed) {
            committed = committed.max(holes.remove(0).end);
        }
        repaired.unexplained = holes.iter().skip(HOLES_MAX).map(|hole| hole.end - hole.start).sum();
        holes.truncate(HOLES_MAX);
        let state = State {
            generation: 0,
            buffer: closed.survey.buffer,
            committed,
            written: closed.next(),
            oldest: closed.survey.table.front().map_or(closed.survey.next_id, |segment| segment.id),
            next: closed.survey.next_id.max(old.next),
            holes,
        };
        let mut file = StateFile::anew(&closed.loaded);
        file.write(self.io, self.dir, state.clone())?;
        file.write(self.io, self.dir, state)
    }
}

/// Copies the valid records of a segment, and seals the copy if nothing will be added.
fn copy_records(
    file: Box<dyn StorageFile>,
    segment: &Segment,
    out: &dyn StorageFile,
    seal: bool,
) -> io::Result<()> {
    let mut scanner = Scanner::new(file, segment.salt);
    let (mut payload, mut bytes, mut totals) = (Vec::new(), Vec::new(), Totals::default());
    let (mut at, mut next, mut time_ms): (u64, Seq, u64) = (HEADER as u64, 0, 0);
    loop {
        let step = match scanner.step(segment.len, &mut payload) {
            Ok(step) => step,
            Err(_) => scanner.pass_unreadable(segment.len, &mut payload)?,
        };
        match step {
            Step::Record(head, _) => {
                bytes.clear();
                let crc = record::write(&mut bytes, Kind::Data, &head, &payload, segment.salt);
                totals.add(head.entries, crc);
                out.write_at(&bytes, at)?;
                at += bytes.len() as u64;
                (next, time_ms) = (record::end(&head), head.time_ms);
            }
            Step::Bad(..) => {}
            Step::Seal(_) | Step::End => break,
        }
    }
    if seal && next > 0 {
        bytes.clear();
        let head = RecordHead { seq: next, entries: 0, time_ms, len: 0 };
        record::write(&mut bytes, Kind::Seal, &head, &totals.encode(), segment.salt);
        out.write_at(&bytes, at)?;
    }
    Ok(())
}
