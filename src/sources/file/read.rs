//! Reading: from files into blocks, in turns.

use super::cursor::{Flush, Then};
use super::identity::Age;
use super::marks::{Marks, Piece};
use super::reader::{AWAY_LOOK, Did, FILE_TURN, FILES_TURN, Filling, ROOM_MIN, Reader, WINDOW, mark_dirty};
use super::tail::{Tail, TailId, written};
use crate::block::{ENTRIES_MAX, ORDINARY};
use std::io;
use std::sync::Arc;
use std::time::Instant;

impl Reader {
    pub(super) fn read(&mut self, now: Instant) -> Did {
        if !self.push_waiting(now) {
            return Did::Blocked;
        }
        for _ in 0..FILES_TURN {
            let Some(id) = self.ready.pop_front() else { break };
            if !self.inlet.may_read() {
                self.ready.push_front(id);
                return Did::Blocked;
            }
            match self.read_file(id, now) {
                Did::Blocked => {
                    self.ready.push_front(id);
                    return Did::Blocked;
                }
                Did::More => self.ready.push_back(id),
                _ => {}
            }
        }
        if !self.ready.is_empty() {
            return Did::More;
        }
        // An empty block would pin memory while nothing happens.
        self.filling.take_if(|filling| filling.marks.pieces().is_empty());
        Did::Drained
    }

    /// Looks at files that have news and could not be read in this turn: one that is cut twice before it can be read must
    /// be seen in between, while its bytes are still in a copy.
    pub(super) fn peek(&mut self, now: Instant) {
        let mut heard = std::mem::take(&mut self.heard);
        for id in heard.drain(..) {
            let Some(tail) = self.tails.get_mut(id).filter(|tail| tail.used != self.turns) else { continue };
            let Some(file) = &tail.file else { continue };
            let mut learnt = false;
            let holds = file.metadata().and_then(|meta| {
                let holds = tail.cursor.holds(file, meta.len())?;
                if holds {
                    (tail.size, tail.written) = (meta.len(), written(&meta));
                    learnt = tail.cursor.look_ahead(file)?;
                }
                Ok(holds)
            });
            if learnt {
                mark_dirty(&mut self.dirty, id, tail);
            }
            // An error is told when the file is read.
            if let Ok(false) = holds {
                self.rewritten(id, now);
            }
        }
        self.heard = heard;
    }

    /// One file's turn. Unless it is `Blocked` or `More` the file has left the queue.
    pub(super) fn read_file(&mut self, id: TailId, now: Instant) -> Did {
        let Some(mut tail) = self.tails.take(id) else { return Did::Parked };
        if tail.waits {
            // It was queued before it was known what comes before it.
            tail.queued = false;
            self.tails.put(id, tail);
            return Did::Parked;
        }
        tail.used = self.turns;
        let did = self.read_tail(id, &mut tail, now).unwrap_or_else(|error| {
            if !std::mem::replace(&mut tail.failed, true) {
                let (name, path) = (&self.name, tail.path.display());
                tracing::warn!(
                    "source {name}: {path} cannot be read on, tried again at each rescan: {error}"
                );
            }
            tail.seen = None;
            Did::Parked
        });
        tail.queued = matches!(did, Did::Blocked | Did::More);
        let path = Arc::clone(&tail.path);
        self.tails.put(id, tail);
        match did {
            Did::Drained => self.drained(id, now),
            Did::Empty(since) => {
                self.look_for_unseen(id, since, now);
                self.drained(id, now);
            }
            Did::Rewritten => self.rewritten(id, now),
            Did::Binary => self.skip_binary(id),
            Did::Moved => self.look_at(&path, now),
            Did::Shrunk => self.set_timer(id, now + AWAY_LOOK),
            _ => {}
        }
        did
    }

    pub(super) fn read_tail(&mut self, id: TailId, tail: &mut Tail, now: Instant) -> io::Result<Did> {
        if tail.file.is_none()
            && let Some(did) = self.reopen(tail)?
        {
            return Ok(did);
        }
        let Some(file) = tail.file.take() else { return Ok(Did::Parked) };
        let did = self.read_open(id, tail, &file, now);
        tail.file = Some(file);
        did
    }

    pub(super) fn read_open(
        &mut self,
        id: TailId,
        tail: &mut Tail,
        file: &std::fs::File,
        now: Instant,
    ) -> io::Result<Did> {
        self.unpack(tail, file)?;
        let meta = file.metadata()?;
        if tail.flush == Flush::None && !tail.has_news(&meta) && tail.unpacking.is_none() {
            return Ok(Did::Drained);
        }
        // Cheap enough to ask each time (one read of 256 bytes per turn and file): a file that was cut and has grown
        // past the cursor again looks like one that has just grown.
        if !tail.cursor.holds(file, meta.len())? {
            return Ok(Did::Rewritten);
        }
        tail.note(&meta);
        // It has grown since it was to go out as it is: it may be complete now.
        if tail.size != tail.cursor.read + tail.cursor.partial {
            tail.flush = Flush::None;
        }
        if tail.size > tail.cursor.read {
            tail.unread_since.get_or_insert(now);
        }
        let begin = tail.cursor.read;
        let did = loop {
            if tail.cursor.read - begin >= FILE_TURN {
                break Did::More;
            }
            tail.parked = tail.cursor.read - tail.progress.safe().offset >= WINDOW;
            if tail.parked && !tail.progress.is_settled() {
                break Did::Parked;
            }
            if !self.open_block(tail.need, now) {
                break Did::Blocked;
            }
            let stood = (tail.cursor.read, tail.cursor.partial);
            match self.fill(id, tail, file, now)? {
                Then::More if stood == (tail.cursor.read, tail.cursor.partial) => break Did::Shrunk,
                Then::More => {}
                Then::Full if self.ship(now) => {}
                Then::Full => break Did::Blocked,
                Then::Wider(need) => tail.need = need,
                Then::Binary => break Did::Binary,
                Then::End if tail.unpacking.is_some() => break Did::More,
                Then::End => {
                    let before = tail.copied.map(|(_, age)| age).or(tail.seen.map(|(_, time)| Age::at(time)));
                    tail.seen = meta.modified().ok().map(|time| (tail.size, time));
                    let empty = tail.size == 0 && tail.cursor.read + tail.cursor.partial == 0;
                    break before.filter(|_| empty).map_or(Did::Drained, Did::Empty);
                }
            }
        };
        tail.failed = false;
        Ok(did)
    }

    /// Unpacks a piece more of what was compressed.
    fn unpack(&mut self, tail: &mut Tail, file: &std::fs::File) -> io::Result<()> {
        let Some(unpacking) = &mut tail.unpacking else { return Ok(()) };
        let more = match unpacking.go_on(file, tail.cursor.read, tail.progress.safe().offset) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let (name, path) = (&self.name, tail.path.display());
                self.inlet.ledger().files_vanished.add(1);
                tracing::error!("source {name}: the rest of {path} is lost, it cannot be unpacked: {error}");
                false
            }
            other => other?,
        };
        if !more {
            (tail.unpacking, tail.seen) = (None, None);
        }
        Ok(())
    }

    /// One read into the open block.
    pub(super) fn fill(
        &mut self,
        id: TailId,
        tail: &mut Tail,
        file: &std::fs::File,
        now: Instant,
    ) -> io::Result<Then> {
        let Some(filling) = &mut self.filling else { return Ok(Then::Full) };
        let (before, head) = (tail.cursor.read, tail.cursor.head.len);
        let filled =
            tail.cursor.fill(file, tail.size, &mut filling.block, &tail.streams, &self.limits, tail.flush)?;
        if tail.cursor.read == before {
            return Ok(filled.then);
        }
        (tail.need, tail.flush) = (0, Flush::None);
        if tail.cursor.head.len != head {
            // How it begins is worth remembering before anything of it is safe: a copy is known by that.
            mark_dirty(&mut self.dirty, id, tail);
        }
        let point = tail.point();
        let last = filling.marks.pieces().last();
        if filled.entries == 0 {
            tail.progress.pass(point, now);
            mark_dirty(&mut self.dirty, id, tail);
        } else if last.is_some_and(|last| last.origin == id && last.generation == tail.generation) {
            tail.progress.extend(point);
        } else {
            let number = tail.progress.add(point, now);
            filling.marks.push(Piece { origin: id, generation: tail.generation, number });
        }
        self.inlet.ledger().cut.add(filled.cut as u64);
        Ok(filled.then)
    }

    /// Makes sure that a block with room for `need` bytes is open.
    pub(super) fn open_block(&mut self, need: usize, now: Instant) -> bool {
        if let Some(filling) = &mut self.filling {
            let empty = filling.marks.pieces().is_empty();
            let fits = filling.block.capacity() >= need && filling.block.spare().len() >= ROOM_MIN;
            if fits {
                return true;
            }
            if empty {
                self.filling = None;
            } else if !self.ship(now) {
                return false;
            }
        }
        let block = self.inlet.open(need.max(ORDINARY));
        self.limits.entries = self.inlet.block_entries().clamp(1, ENTRIES_MAX);
        self.filling = block.map(|block| Filling { block, marks: Marks::None });
        self.filling.is_some()
    }

    /// Sends the open block on its way, if there is anything in it. False if it has to wait.
    pub(super) fn ship(&mut self, now: Instant) -> bool {
        let Some(Filling { block, marks }) = self.filling.take() else { return true };
        if marks.pieces().is_empty() {
            return true;
        }
        self.unpushed = Some((block, marks));
        self.push_waiting(now)
    }

    /// Tries once more to send what could not be sent. False if it still has to wait.
    pub(super) fn push_waiting(&mut self, now: Instant) -> bool {
        let Some((block, marks)) = self.unpushed.take() else { return true };
        match self.inlet.ship(block, marks) {
            Ok(()) => self.last_ship = Some(now),
            Err(back) => self.unpushed = Some(back),
        }
        self.unpushed.is_none()
    }
}
