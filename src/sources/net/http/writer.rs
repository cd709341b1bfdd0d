//! The open block of a decode thread: filled by the requests in turn, shipped when it is full or due.
//!
//! It keeps the pace of all sources (see [`PACE`]): a lone request does not wait for others, and many share a block.

use super::requests::{Due, Requests};
use crate::ack::Status;
use crate::block::{Block, ORDINARY};
use crate::labels::Stream;
use crate::ledger::SourceLedger;
use crate::pool::Owned;
use crate::sources::body::{Full, Item, fits, room};
use crate::sources::inlet::{Inlet, InletSpec, Strategy};
use crate::sources::net::filler::PACE;
use crate::thread::Wake;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

/// The requests with entries in a block.
pub type Holders = RangeInclusive<u64>;

/// A source's door on a decode thread, with one open block in front of it.
pub struct Writer {
    inlet: Inlet<Holders>,
    open: Option<Owned<Block>>,
    /// Whose entries are in the open block.
    holders: Option<Holders>,
    /// Something was refused: nothing to try until woken.
    stuck: bool,
    shipped: Option<Instant>,
    max_entry: usize,
}

impl Writer {
    /// A door made from `spec`; `waker` wakes the thread when it may go on.
    pub fn new(spec: InletSpec, waker: Arc<dyn Wake>, max_entry: usize) -> Self {
        let inlet = Inlet::new(spec, waker);
        Writer { inlet, open: None, holders: None, stuck: false, shipped: None, max_entry }
    }

    /// Goes on under other settings.
    pub fn change(&mut self, strategy: Strategy, max_entry: usize) {
        self.inlet.set_strategy(strategy);
        self.max_entry = max_entry;
    }

    /// The source's numbers.
    pub fn ledger(&self) -> &SourceLedger {
        self.inlet.ledger()
    }

    /// The thread was woken: what was refused may go now.
    pub fn woken(&mut self) {
        self.stuck = false;
    }

    /// The open block, or a new one, with room for the entry; ships the one before. `heed_gate` unless the source is
    /// ending: then what was admitted goes, whoever is behind.
    ///
    /// Errors: there is none now; the thread is woken when to try again.
    pub fn room_for(
        &mut self,
        item: &Item<'_>,
        stream: &Arc<Stream>,
        heed_gate: bool,
        now: Instant,
        requests: &mut Requests,
        due: impl FnMut(Due),
    ) -> Result<&mut Block, Full> {
        let bytes = room(item, self.max_entry);
        let takes = |block: &Owned<Block>, most: usize| {
            block.entries().len() < most && fits(block, stream, item, self.max_entry)
        };
        let most = self.inlet.block_entries();
        if !self.open.as_ref().is_some_and(|block| takes(block, most)) {
            if !self.ship(now, requests, due) {
                return Err(Full);
            }
            if !heed_gate || self.inlet.may_read() {
                self.open = self.inlet.open(bytes.max(ORDINARY));
            }
            self.stuck = self.open.is_none();
        }
        self.open.as_deref_mut().ok_or(Full)
    }

    /// The open block has an entry of the request from now on. True if it had none before.
    pub fn hold(&mut self, number: u64) -> bool {
        match &self.holders {
            Some(holders) if *holders.end() == number => false,
            Some(holders) => {
                self.holders = Some(*holders.start()..=number);
                true
            }
            None => {
                self.holders = Some(number..=number);
                true
            }
        }
    }

    /// Whether entries of the request are in the open block.
    pub fn holds(&self, number: u64) -> bool {
        self.holders.as_ref().is_some_and(|holders| holders.contains(&number))
    }

    /// Ships the open block if it is due. Says when to look again, if there is something left to look at.
    pub fn keep_pace(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        due: impl FnMut(Due),
    ) -> Option<Instant> {
        if self.holders.is_none() || self.stuck {
            return None;
        }
        match self.shipped.map(|last| last + PACE).filter(|at| now < *at) {
            Some(at) => Some(at),
            None => {
                self.ship(now, requests, due);
                None
            }
        }
    }

    /// Ships the open block now. False: it cannot go yet, and the thread is woken when it can.
    pub fn ship(&mut self, now: Instant, requests: &mut Requests, due: impl FnMut(Due)) -> bool {
        if self.stuck {
            return false;
        }
        let (Some(block), Some(holders)) = (self.open.take(), self.holders.take()) else { return true };
        match self.inlet.ship(block, holders.clone()) {
            Ok(()) => {
                self.shipped = Some(now);
                requests.shipped(holders, due);
            }
            Err((block, holders)) => {
                (self.open, self.holders) = (Some(block), Some(holders));
                self.stuck = true;
            }
        }
        !self.stuck
    }

    /// The next settled block, and what became of it.
    pub fn settled(&mut self) -> Option<(Holders, Status)> {
        self.inlet.settled()
    }

    /// Whether nothing is open and everything shipped is settled.
    pub fn is_idle(&self) -> bool {
        self.holders.is_none() && self.inlet.is_idle()
    }
}
