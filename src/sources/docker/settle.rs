//! What comes back: positions move over what is settled, and what failed is read again; and the end of the source.

use super::container::{Container, Phase};
use super::reader::{Next, Number, Reader, WINDOW};
use crate::ack::Status;
use crate::clock::unix_nanos;
use std::time::{Duration, Instant};

/// How long a container rests before what failed of it is read again.
const REPLAY_PAUSE: Duration = Duration::from_millis(100);

/// Notes that the container's position is to be told.
pub(super) fn mark_dirty(dirty: &mut Vec<Number>, number: Number, container: &mut Container) {
    if !std::mem::replace(&mut container.dirty, true) {
        dirty.push(number);
    }
}

impl Reader {
    pub(super) fn settle(&mut self, now: Instant) {
        let stopping = self.ending.is_stopping();
        while let Some((marks, status)) = self.filler.settled() {
            let mut replayed = false;
            for piece in marks.pieces() {
                let Some(container) = self.containers.get_mut(&piece.origin) else { continue };
                if container.generation != piece.generation {
                    continue;
                }
                if status != Status::Failed {
                    if container.progress.settle(piece.number) {
                        mark_dirty(&mut self.dirty, piece.origin, container);
                    }
                    self.after_settling(piece.origin);
                } else if !stopping {
                    replayed = true;
                    container.rewind(&self.settings);
                    container.parked = false;
                    self.close(piece.origin, Phase::Due(now + REPLAY_PAUSE));
                    self.set_timer(piece.origin, now + REPLAY_PAUSE);
                }
                // When stopping nothing more is read: the safe place stays before it, for the next start.
            }
            self.filler.ledger().replayed_blocks.add(u64::from(replayed));
        }
    }

    fn after_settling(&mut self, number: Number) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        if container.parked && container.bytes - container.progress.safe().bytes < WINDOW {
            container.parked = false;
            self.make_ready(number);
        }
        self.remove_if_over(number);
    }

    /// Lets go of a container that the engine does not know any more, once all of it is safe.
    pub(super) fn remove_if_over(&mut self, number: Number) {
        if let Some(container) = self.containers.get(&number)
            && container.gone
            && !container.is_open()
            && container.progress.is_settled()
        {
            container.halves.iter().for_each(|half| self.checkpoint.forget(half.key));
            self.by_id.remove(&container.listed.id);
            self.containers.remove(&number);
        }
    }

    /// Tells the checkpoint every position that moved.
    pub(super) fn tell_checkpoint(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let now = unix_nanos();
        for number in self.dirty.drain(..) {
            let Some(container) = self.containers.get_mut(&number) else { continue };
            container.dirty = false;
            let safe = container.progress.safe();
            for (half, place) in container.halves.iter().zip(safe.places) {
                self.checkpoint.set(half.key, place.position(&half.path, now));
            }
        }
    }

    /// Ships what was read, waits for what is on its way, and says good-bye.
    pub(super) fn wind_down(&mut self, now: Instant) -> Next {
        let leaving = self.ending.is_leaving();
        if !self.told && (self.filler.ship(now) || leaving) {
            // What could not be shipped was never admitted: its position stands before it.
            self.told = true;
            self.ending.shipped_all();
        }
        self.tell_checkpoint();
        let settled = self.told && self.filler.is_idle();
        if !leaving && !settled {
            return Next::Sleep { until: None, blocked: !self.told };
        }
        let ledger = self.filler.ledger();
        ledger.streams.set(0);
        ledger.lag_millis.set(0);
        Next::Done
    }
}
