//! The open block of a source: filled from whichever of its origins has bytes, shipped when it is full or due.
//!
//! It keeps the pace: who shipped nothing for [`PACE`] ships what there is at once, so that a lone entry does not wait;
//! who ships all the time ships full blocks, or what there is [`PACE`] after the last.
//! Not here: reading and framing (see `incoming`), and what becomes of a shipped block (see `inlet`).

use crate::ack::Status;
use crate::block::{Block, ORDINARY};
use crate::ledger::{Reason, SourceLedger};
use crate::pool::Owned;
use crate::sources::inlet::{Inlet, InletSpec, Strategy};
use crate::thread::Wake;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest an entry waits for others to fill its block.
pub const PACE: Duration = Duration::from_millis(5);

/// A source's door with one open block in front of it. `M` is what the source notes of a block to be told when it is
/// settled.
pub struct Filler<M = ()> {
    inlet: Inlet<M>,
    open: Option<(Owned<Block>, M)>,
    /// The open block was not taken, or there is no memory for another: nothing to try until woken.
    stuck: bool,
    shipped: Option<Instant>,
    /// Bytes per entry in the last block, to guess how many bytes the open one will take.
    entry_bytes: usize,
}

impl<M: Default> Filler<M> {
    /// A filler for the source of `spec`, whose thread `waker` wakes.
    pub fn new(spec: InletSpec, waker: Arc<dyn Wake>) -> Self {
        Filler { inlet: Inlet::new(spec, waker), open: None, stuck: false, shipped: None, entry_bytes: 128 }
    }

    /// The source's numbers.
    pub fn ledger(&self) -> &SourceLedger {
        self.inlet.ledger()
    }

    /// What it does from now on when it cannot go on.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.inlet.set_strategy(strategy);
    }

    /// The source's name in the config.
    pub fn source_name(&self) -> Arc<str> {
        Arc::clone(self.inlet.source_name())
    }

    /// The thread was woken: what was refused may go now, and settled blocks are to be heard of.
    pub fn woken(&mut self) {
        // Most of these sources cannot give anything again, so there is nothing to learn from the status: lanes have
        // counted what failed.
        while self.settled().is_some() {}
    }

    /// The thread was woken: what was refused may go now. The next settled block's note and what became of it.
    pub fn settled(&mut self) -> Option<(M, Status)> {
        self.stuck = false;
        self.inlet.settled()
    }

    /// What is noted of the open block.
    pub fn mark(&mut self) -> Option<&mut M> {
        self.open.as_mut().map(|(_, mark)| mark)
    }

    /// Whether to read on. If not, the thread is woken when it may.
    pub fn may_read(&mut self) -> bool {
        !self.stuck && self.inlet.may_read()
    }

    /// Whether it waits for room further down.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether it may not go on for its rate.
    pub fn is_paced(&self) -> bool {
        self.inlet.is_paced()
    }

    /// Counts entries that came faster than they may, from where nobody can be asked to wait.
    pub fn drop_for_rate(&self, entries: usize) {
        self.inlet.drop_for_rate(entries);
    }

    /// Most entries a block may have.
    pub fn block_entries(&self) -> usize {
        self.inlet.block_entries()
    }

    /// How many bytes will about fill the entries the open block has left.
    pub fn bytes_wanted(&self) -> usize {
        let used = self.open.as_ref().map_or(0, |(block, _)| block.entries().len());
        self.block_entries().saturating_sub(used).saturating_mul(self.entry_bytes)
    }

    /// The open block, or a new one, with room for `bytes` more and an entry; `None` when it cannot be had: then the
    /// thread is woken when it can.
    pub fn room(&mut self, bytes: usize, now: Instant) -> Option<&mut Block> {
        if self.stuck {
            return None;
        }
        if !self.has_room(bytes) {
            if !self.ship(now) {
                return None;
            }
            self.open = self.inlet.open(bytes.max(ORDINARY)).map(|block| (block, M::default()));
            self.stuck = self.open.is_none();
        }
        let (block, _) = self.open.as_mut()?;
        assert!(block.spare().len() >= bytes, "the largest class holds the longest message and its headroom");
        Some(block)
    }

    /// The open block if it has room for `bytes` more and an entry: as [`Filler::room`] for the common case, without a
    /// clock.
    pub fn room_left(&mut self, bytes: usize) -> Option<&mut Block> {
        match !self.stuck && self.has_room(bytes) {
            true => self.open.as_mut().map(|(block, _)| &mut **block),
            false => None,
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let most = self.inlet.block_entries();
        let Some((block, _)) = &mut self.open else { return false };
        if block.entries().is_empty() {
            block.shrink(0);
        }
        // Nearly full counts as full: the last few entries are not worth a read of their own.
        most.saturating_sub(block.entries().len()) > most / 16 && block.spare().len() >= bytes
    }

    /// Ships the open block if it is due. Says when to look again, if there is something left to look at.
    pub fn keep_pace(&mut self, now: Instant) -> Option<Instant> {
        let waits = self.open.as_ref().is_some_and(|(block, _)| !block.entries().is_empty());
        if !waits || self.stuck {
            return None;
        }
        match self.shipped.map(|last| last + PACE).filter(|due| now < *due) {
            Some(due) => Some(due),
            None => {
                self.ship(now);
                None
            }
        }
    }

    /// Ships the open block now. False: it cannot go yet, and the thread is woken when it can.
    pub fn ship(&mut self, now: Instant) -> bool {
        if self.stuck {
            return false;
        }
        let Some((block, mark)) = self.open.take() else { return true };
        let (entries, bytes) = (block.entries().len(), block.text().len());
        if entries == 0 {
            return true;
        }
        match self.inlet.ship(block, mark) {
            Ok(()) => {
                self.shipped = Some(now);
                self.entry_bytes = (bytes / entries).max(1);
            }
            Err(back) => {
                self.open = Some(back);
                self.stuck = true;
            }
        }
        !self.stuck
    }

    /// Whether nothing is open and everything shipped is settled.
    pub fn is_idle(&self) -> bool {
        self.open.is_none() && self.inlet.is_idle()
    }

    /// Gives up the open block and `more` entries that have no place in it: they were received and are lost. Says how
    /// many that is.
    pub fn abandon(&mut self, more: usize) -> usize {
        let open = self.open.take().map_or(0, |(block, _)| block.entries().len());
        let lost = (open + more) as u64;
        self.ledger().received.add(lost);
        self.ledger().dropped.add(Reason::Failed, lost);
        open + more
    }
}
