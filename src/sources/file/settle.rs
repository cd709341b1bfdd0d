//! What comes back: positions move over what is settled, and what failed is read again; and the end of the source.

use super::marks::Piece;
use super::progress::Progress;
use super::reader::{Next, REPLAY_PAUSE, Reader, WINDOW, mark_dirty};
use super::tail::{Place, Tail, TailId};
use crate::ack::Status;
use crate::clock::file_nanos;
use std::cmp::Reverse;
use std::time::Instant;

impl Reader {
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some((marks, status)) = self.inlet.settled() {
            let mut current = false;
            for piece in marks.pieces() {
                let Some(mut tail) = self.tails.take(piece.origin) else { continue };
                if tail.generation == piece.generation {
                    current = true;
                    self.settle_piece(*piece, &mut tail, status, now);
                }
                self.tails.put(piece.origin, tail);
                self.after_settling(piece.origin, now);
            }
            if current && status == Status::Failed {
                self.inlet.ledger().replayed_blocks.add(1);
            }
        }
    }

    pub(super) fn settle_piece(&mut self, piece: Piece, tail: &mut Tail, status: Status, now: Instant) {
        let replay = status == Status::Failed && tail.place != Place::Lost;
        if replay && !self.ending.is_stopping() {
            return self.replay(piece.origin, tail, now);
        }
        if replay {
            // Nothing more will be read: the safe place stays before it, for the next start.
            return;
        }
        if status == Status::Failed {
            let (name, path, end) = (&self.name, tail.path.display(), tail.progress.safe().offset);
            tracing::error!(
                "source {name}: {path}: entries after byte {end} are lost: they failed, and the file is gone"
            );
        }
        if tail.progress.settle(piece.number) {
            mark_dirty(&mut self.dirty, piece.origin, tail);
        }
    }

    /// Reads the file again from its safe place, after a pause.
    pub(super) fn replay(&mut self, id: TailId, tail: &mut Tail, now: Instant) {
        let safe = tail.progress.safe();
        tail.generation = tail.generation.wrapping_add(1);
        tail.progress = Progress::new(safe);
        (tail.seen, tail.partial, tail.parked) = (None, None, true);
        tail.paused = Some(now + REPLAY_PAUSE);
        tail.rewind = tail.file.is_none();
        if let Some(file) = &tail.file
            && let Err(error) = tail.cursor.rewind(file, safe.offset, safe.edge)
        {
            tracing::warn!("source {}: {} cannot be read again: {error}", self.name, tail.path.display());
        }
        tail.timer = tail.timer.filter(|at| *at <= now + REPLAY_PAUSE);
        if tail.timer.is_none() {
            tail.timer = tail.paused;
            self.timers.push(Reverse((now + REPLAY_PAUSE, id)));
        }
    }

    pub(super) fn after_settling(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let (parked, settled, place) = (tail.parked, tail.progress.is_settled(), tail.place);
        if parked && tail.cursor.read - tail.progress.safe().offset < WINDOW {
            self.make_ready(id);
        }
        if settled {
            self.room_may_be();
            match place {
                Place::Here => {}
                Place::Away(_) => self.finish(id, now),
                Place::Lost => drop(self.remove(id)),
            }
        }
    }

    /// Tells the checkpoint every position that moved.
    pub(super) fn tell_checkpoint(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let now = file_nanos();
        for id in self.dirty.drain(..) {
            let Some(tail) = self.tails.get_mut(id) else { continue };
            tail.dirty = false;
            // The position of a lost file was forgotten; told again, it would look newer than its successor's.
            if tail.place != Place::Lost {
                self.checkpoint.set(tail.key, tail.position(now));
            }
        }
    }

    // --- the end

    /// Ships what was read, waits for what is on its way, and says good-bye.
    pub(super) fn wind_down(&mut self, now: Instant) -> Next {
        let leaving = self.ending.is_leaving();
        if !self.told {
            let shipped = self.push_waiting(now) && self.ship(now);
            if shipped || leaving {
                // What could not be shipped was never admitted: its position stands before it.
                (self.filling, self.unpushed, self.told) = (None, None, true);
                self.ending.shipped_all();
            }
        }
        self.tell_checkpoint();
        let settled = self.told && self.inlet.is_idle();
        if !leaving && !settled {
            self.report.update(now, &self.tails, self.inlet.ledger());
            return Next::Sleep { until: None, listen: false, blocked: !self.told };
        }
        let seen = file_nanos();
        for (_, tail) in self.tails.iter().filter(|(_, tail)| tail.place != Place::Lost) {
            // What was renamed and not noticed any more was last seen when it was told of last: at the next start, files that
            // came after it and were rotated, too, are looked for since then.
            if tail.place == Place::Here && !tail.is_at_its_path() {
                continue;
            }
            self.checkpoint.set(tail.key, tail.position(seen));
        }
        self.inlet.ledger().streams.set(0);
        Next::Done
    }
}
