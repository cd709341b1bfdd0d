//! The end where records come out.

use super::quarantine;
use super::record;
use super::scan::{Scanner, Step};
use super::shared::{Buffer, Here};
use super::{RecordHead, Seq, Skipped};
use crate::storage_io::{Access, PRIVATE};
use std::io;
use std::sync::Arc;

/// How often a place is read before what cannot be read counts as damaged.
const READS_MAX: u32 = 5;

/// Gives records in order, each once. One thread has it.
pub struct Reader {
    shared: Arc<Buffer>,
    /// The first segment it is not through with is at this place or behind it.
    place: u64,
    open: Option<Open>,
    /// The next record, if it was looked for and found; its payload is beside it.
    head: Option<RecordHead>,
    payload: Vec<u8>,
    /// Errors in a row.
    failures: u32,
}

/// The segment it is in.
struct Open {
    place: u64,
    /// None if its file is gone.
    scanner: Option<Scanner>,
    /// Its seal was met.
    sealed: bool,
    /// Ranges without records, met since the last record.
    bad: Vec<(u64, u64)>,
}

impl Reader {
    /// Reads from the segment at `place` on.
    pub(super) fn new(shared: Arc<Buffer>, place: u64) -> Reader {
        Reader { shared, place, open: None, head: None, payload: Vec::new(), failures: 0 }
    }

    /// The next durable record: its payload is put in the place of what `into` held. None: there is none now.
    ///
    /// Damaged records are passed over, copied aside and counted. Errors: the disk cannot read; call again, about once a
    /// second. What it cannot read several times in a row counts as damaged.
    pub fn next(&mut self, into: &mut Vec<u8>) -> io::Result<Option<RecordHead>> {
        into.clear();
        self.look()?;
        let Some(head) = self.head.take() else { return Ok(None) };
        std::mem::swap(into, &mut self.payload);
        self.shared.inner.lock().progress.hand_out(head);
        Ok(Some(head))
    }

    /// The head of the record that [`Reader::next`] would give, which stays the next.
    pub fn peek(&mut self) -> io::Result<Option<RecordHead>> {
        self.look()?;
        Ok(self.head)
    }

    /// Passes over the oldest unread records, whole ones, until their payloads are at least `bytes` together. They are
    /// done, and stay so after the next [`Buffer::persist`](super::Buffer::persist).
    pub fn skip_oldest(&mut self, bytes: u64) -> io::Result<Skipped> {
        let mut skipped = Skipped::default();
        while skipped.bytes < bytes && self.skip(&mut skipped)? {}
        Ok(skipped)
    }

    /// Passes over what is unread of the oldest segment with anything unread: the least that must go to make room.
    /// [`Buffer::persist`](super::Buffer::persist) then removes it, unless records before it are handed out from the same
    /// segment.
    pub fn skip_segment(&mut self) -> io::Result<Skipped> {
        let mut skipped = Skipped::default();
        self.look()?;
        let place = self.place;
        while self.place == place && self.skip(&mut skipped)? {
            // To see whether the segment ends here.
            self.look()?;
        }
        Ok(skipped)
    }

    /// Passes over the next record, if there is one.
    fn skip(&mut self, skipped: &mut Skipped) -> io::Result<bool> {
        self.look()?;
        let Some(head) = self.head.take() else { return Ok(false) };
        skipped.entries += u64::from(head.entries);
        skipped.records += 1;
        skipped.bytes += u64::from(head.len);
        self.shared.inner.lock().progress.pass(record::end(&head));
        Ok(true)
    }

    /// Looks for the next record, unless it is there.
    fn look(&mut self) -> io::Result<()> {
        while self.head.is_none() {
            let here = self.shared.inner.lock().here(self.place);
            let Some(here) = here else {
                self.without_segment();
                return Ok(());
            };
            if !self.step(&here)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes one step; false if there is nothing more now.
    fn step(&mut self, here: &Here) -> io::Result<bool> {
        self.enter(here)?;
        let Some(open) = &mut self.open else { return Ok(false) };
        let step = match &mut open.scanner {
            Some(scanner) if !open.sealed => match scanner.step(here.limit, &mut self.payload) {
                Err(error) if self.failures < READS_MAX => {
                    self.failures += 1;
                    return Err(error);
                }
                Err(_) => scanner.pass_unreadable(here.limit, &mut self.payload)?,
                Ok(step) => step,
            },
            _ => Step::End,
        };
        self.failures = 0;
        match step {
            Step::Record(head, _) => self.found(here, head),
            Step::Seal(_) => open.sealed = true,
            Step::Bad(from, to) => open.bad.push((from, to)),
            Step::End => return Ok(self.end(here)),
        }
        Ok(true)
    }

    /// Opens the segment, unless it is open.
    fn enter(&mut self, here: &Here) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.place == here.place) {
            return Ok(());
        }
        let scanner = match self.shared.io.open(&here.path, Access::Read, PRIVATE) {
            Ok(file) => Some(Scanner::new(file, here.salt)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.place = here.place;
        self.open = Some(Open { place: here.place, scanner, sealed: false, bad: Vec::new() });
        let mut inner = self.shared.inner.lock();
        let read = inner.progress.read();
        if let Some(segment) = inner.segment_mut(here.place) {
            segment.entered = read;
        }
        Ok(())
    }

    /// A valid record: the next one, unless it was read before, is dropped, or stands again in a later segment.
    fn found(&mut self, here: &Here, head: RecordHead) {
        let end = record::end(&head);
        let read = self.shared.inner.lock().progress.read();
        if head.seq < read || end > here.bound {
            return;
        }
        self.close_gap(here, head.seq);
        let mut inner = self.shared.inner.lock();
        if inner.progress.in_hole(head.seq) {
            inner.progress.pass(end);
        } else {
            inner.unread_ms = head.time_ms;
            self.head = Some(head);
        }
    }

    /// The end of a segment; whether there is a next one to go to.
    fn end(&mut self, here: &Here) -> bool {
        self.close_gap(here, here.bound);
        if here.more {
            let mut inner = self.shared.inner.lock();
            let read = inner.progress.read();
            if let Some(segment) = inner.segment_mut(here.place) {
                segment.passed = Some(read);
            }
            self.place = here.place + 1;
            self.open = None;
        }
        here.more
    }

    /// Nowhere to look: what was on disk and is not read yet is gone with its segments.
    fn without_segment(&self) {
        let mut inner = self.shared.inner.lock();
        let (read, durable) = (inner.progress.read(), inner.durable);
        let lost = inner.lose(durable);
        drop(inner);
        if lost > 0 {
            self.say(lost, read, "their segments are gone");
        }
    }

    /// What is missing up to `seq` is lost: it is counted, and what stands in its place copied aside. A damaged range that
    /// took nothing with it, as the torn end of a segment whose records were written again, is none of our business.
    fn close_gap(&mut self, here: &Here, seq: Seq) {
        let Some(open) = &mut self.open else { return };
        let (shared, bad) = (&self.shared, std::mem::take(&mut open.bad));
        let mut inner = shared.inner.lock();
        let read = inner.progress.read();
        let lost = inner.lose(seq);
        if lost == 0 && (bad.is_empty() || !here.nameless) {
            return;
        }
        inner.damaged += bad.len() as u64;
        let mut used = inner.quarantined;
        drop(inner);
        let mut why = String::from("they are in none of the segments");
        for (from, to) in bad {
            why = format!("bytes {from} to {to} of {} are damaged", here.path.display());
            let Some(scanner) = &open.scanner else { break };
            let segment = (here.id, scanner.file());
            let room = [used, shared.spec.quarantine_max];
            match quarantine::copy(&*shared.io, &shared.spec.dir, segment, (from, to), room) {
                Ok(added) => used += added,
                Err(error) => tracing::warn!("buffer: {why}, and cannot be copied aside: {error}"),
            }
        }
        shared.inner.lock().quarantined = used;
        self.say(lost, read, &why);
    }

    fn say(&self, lost: u64, from: Seq, why: &str) {
        let dir = self.shared.spec.dir.display();
        tracing::error!("buffer {dir}: {lost} entries are lost, from number {from} on: {why}");
    }
}
