//! The door every source has: memory to read into, the gate, tickets, credits, the ring, and what comes back.
//!
//! One inlet belongs to one source on one thread: that is a *domain*. It numbers the blocks it ships (the ticket); the
//! sequencer restores that order behind the workers. The source gives each block a mark of its own (an offset, a
//! connection) and gets the mark back when the block is settled, in whatever order that happens.

use crate::ack::{Ack, Hold, Return, Status};
use crate::block::Block;
use crate::clock::{Stamps, unix_nanos};
use crate::ledger::{Named, Reason, SourceLedger};
use crate::pool::Owned;
pub use crate::sources::assigned::{Assigned, Drained};
pub use crate::sources::hallway::{DomainId, Gate, Hallway, Shipment, Strategy};
use crate::sources::rate::{Admission, Limits};
use crate::thread::Wake;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Most blocks of one domain that may be unsettled; at this many the source waits.
pub const OUTSTANDING_MAX: usize = 1 << 16;

/// What makes an inlet: which domain it is, and of which source.
pub struct InletSpec {
    /// The domain's number.
    pub domain: DomainId,
    /// The source's name, type and ledger.
    pub source: Named<SourceLedger>,
    /// What to do when it cannot go on.
    pub strategy: Strategy,
    /// The gate its lanes close.
    pub gate: Arc<Gate>,
    /// Which hallway its blocks go through.
    pub assigned: Arc<Assigned>,
    /// How far they are drained.
    pub drained: Arc<Drained>,
    /// How fast its entries may come.
    pub limits: Limits,
}

/// Where settled blocks come back to: a queue and the source's waker.
struct Back {
    sender: Sender<(u64, Status)>,
    waker: Arc<dyn Wake>,
}

impl Return for Back {
    fn settled(&self, number: u64, status: Status) {
        // The channel is unbounded and holds at most one message per outstanding block. It is closed only when the
        // source is gone, and then nobody wants to know.
        if self.sender.send((number, status)).is_ok() {
            self.waker.wake();
        }
    }
}

struct Outstanding<M> {
    ack: Arc<Ack>,
    credits: (usize, usize),
    /// `None` once it was settled and handed back.
    mark: Option<M>,
}

/// The door of one source on one thread. `M` is what the source wants to be told when a block is settled.
pub struct Inlet<M> {
    spec: InletSpec,
    /// The hallway it ships into.
    hallway: Arc<Hallway>,
    /// Blocks with tickets below this may be in the ring of another; 0 when they are known not to be.
    elsewhere: u64,
    back: Arc<Back>,
    returns: Receiver<(u64, Status)>,
    /// By number, from `first` on.
    outstanding: VecDeque<Outstanding<M>>,
    first: u64,
    /// Where the search for a block to give up goes on (`drop_oldest`).
    oldest_queued: u64,
    spare: Vec<Arc<Ack>>,
    /// The next ticket. Blocks dropped at the door take a row among the outstanding, but no ticket.
    ticket: u64,
    stamps: Stamps,
    /// It was told not to read, and not yet to go on.
    held_up: bool,
    /// Most entries for the block that was opened last.
    block_entries: usize,
    /// It waits for its rate, and is woken then.
    paced: Option<Instant>,
}

impl<M> Inlet<M> {
    /// A door made from `spec`; `waker` wakes the source's thread when there is something to hear or room to go on.
    pub fn new(spec: InletSpec, waker: Arc<dyn Wake>) -> Self {
        let (sender, returns) = unbounded();
        spec.gate.wake_when_open(Arc::clone(&waker));
        spec.assigned.join(&waker);
        spec.drained.join(&waker);
        // After it has joined: whatever is assigned from here on is heard of.
        let hallway = spec.assigned.hallway();
        hallway.join(&waker);
        let block_entries = spec.limits.allowance(hallway.block_entries, Instant::now());
        let back = Arc::new(Back { sender, waker });
        Inlet {
            spec,
            hallway,
            elsewhere: 0,
            back,
            returns,
            outstanding: VecDeque::new(),
            first: 0,
            oldest_queued: 0,
            spare: Vec::new(),
            ticket: 0,
            stamps: Stamps::default(),
            held_up: false,
            block_entries,
            paced: None,
        }
    }

    /// The source's numbers.
    pub fn ledger(&self) -> &SourceLedger {
        &self.spec.source.row
    }

    /// The source's name in the config.
    pub fn source_name(&self) -> &Arc<str> {
        &self.spec.source.name
    }

    /// Most entries to put in the block that was opened last.
    pub fn block_entries(&self) -> usize {
        self.block_entries
    }

    /// Whether it may not go on for its rate.
    pub fn is_paced(&self) -> bool {
        self.paced.is_some()
    }

    /// What the source does from now on when it cannot go on.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.spec.strategy = strategy;
    }

    /// Whether the source should read on. If not, its thread is woken when it should.
    pub fn may_read(&mut self) -> bool {
        if self.spec.limits.is_on() {
            let now = Instant::now();
            if let Some(at) = self.spec.limits.wait(None, now) {
                self.wait_for_rate(at, now);
                return false;
            }
        }
        self.paced = None;
        self.follow();
        let may = !self.spec.strategy.waits() || (self.spec.gate.is_open() && !self.hallway.is_congested());
        if !may && !self.held_up {
            self.ledger().blocked.add(1);
        }
        self.held_up = !may;
        may
    }

    /// Has the thread woken when its rate lets it go on, at `at`.
    fn wait_for_rate(&mut self, at: Instant, now: Instant) {
        if self.paced.is_none() {
            self.ledger().paced.add(1);
        }
        // One alarm at a time.
        if self.paced.is_none_or(|paced| paced <= now) {
            let look = Limits::look_at(at, now);
            self.spec.limits.pacer.wake_at(look, &self.back.waker);
            self.paced = Some(look);
        }
    }

    /// Goes over to the hallway its source is assigned to by now, if that is another.
    fn follow(&mut self) {
        if self.spec.assigned.is(&self.hallway) {
            return;
        }
        let waker = &self.back.waker;
        self.hallway.leave(waker);
        self.hallway = self.spec.assigned.hallway();
        self.hallway.join(waker);
        self.elsewhere = self.ticket;
        // To give up what is in another ring makes no room in this one.
        self.oldest_queued = self.first + self.outstanding.len() as u64;
    }

    /// Whether the next block may be shipped as far as those before it are concerned, which may be in another ring.
    fn is_in_reach(&mut self) -> bool {
        if self.elsewhere > 0 && self.spec.drained.all_below(self.elsewhere) {
            self.elsewhere = 0;
        }
        self.elsewhere == 0 || self.spec.drained.lets_in(self.ticket)
    }

    /// An empty block with room for at least `text` bytes (or of the largest class), or `None` while memory is short;
    /// then the source's thread is woken when there is some.
    pub fn open(&mut self, text: usize) -> Option<Owned<Block>> {
        let most = self.hallway.block_entries;
        self.block_entries = match self.spec.limits.is_on() {
            true => self.spec.limits.allowance(most, Instant::now()),
            false => most,
        };
        let blocks = &self.hallway.blocks;
        let charge = self.hallway.transit.charge(blocks.class(text))?;
        let mut block = blocks.get(text);
        block.set_charge(charge);
        Some(block)
    }

    /// Sends the block on its way. `mark` comes back from [`Inlet::settled`] when all of it is settled.
    ///
    /// Under `block` and `spill` the block is handed back when it does not fit; keep it and try again when woken. The other
    /// strategies always take it, and count what they drop. The block must have at least one entry.
    pub fn ship(&mut self, mut block: Owned<Block>, mark: M) -> Result<(), (Owned<Block>, M)> {
        debug_assert!(!block.entries().is_empty(), "an empty block has nothing to ship");
        if self.outstanding.len() >= OUTSTANDING_MAX || !self.keeps_to_rate(&mut block) {
            return Err((block, mark));
        }
        self.follow();
        let came = block.entries().len();
        if came == 0 {
            self.note(mark, (0, 0)).settle(Status::Dropped);
            return Ok(());
        }
        let Some(credits) = self.admit(&mut block) else {
            return Err(self.blocked(block, mark));
        };
        let (block, mark, kept) = match self.push(block, mark, credits) {
            Ok(()) => {
                self.count_received(came, credits);
                return Ok(());
            }
            Err((block, mark)) if self.spec.strategy.waits() => return Err(self.blocked(block, mark)),
            Err((block, mark)) => (block, mark, 0),
        };
        // No slot, too far ahead, or nothing left after the cut: the source still learns that this stretch is done with.
        drop(block);
        self.count_received(came, (kept, 0));
        self.note(mark, (0, 0)).settle(Status::Dropped);
        Ok(())
    }

    /// There is no room for it now: it asks again, also for its rate.
    fn blocked(&self, block: Owned<Block>, mark: M) -> (Owned<Block>, M) {
        self.ledger().blocked.add(1);
        if self.spec.limits.is_on() {
            self.spec.limits.give_back(&block, Instant::now());
        }
        (block, mark)
    }

    /// Asks the limits for the block, and drops of it what they say. False: it has to wait.
    fn keeps_to_rate(&mut self, block: &mut Owned<Block>) -> bool {
        if !self.spec.limits.is_on() {
            self.paced = None;
            return true;
        }
        let now = Instant::now();
        let came = self.spec.limits.admit(block, now);
        self.ledger().rate_limit_keys.set(self.spec.limits.own.keys() as u64);
        match came {
            Admission::Wait(at) => {
                self.wait_for_rate(at, now);
                false
            }
            Admission::Go { dropped } => {
                self.paced = None;
                self.drop_for_rate(dropped);
                true
            }
        }
    }

    /// Counts entries that came faster than they may.
    pub fn drop_for_rate(&self, entries: usize) {
        self.ledger().received.add(entries as u64);
        self.ledger().dropped.add(Reason::RateLimit, entries as u64);
    }

    fn count_received(&self, came: usize, (entries, bytes): (usize, usize)) {
        let ledger = self.ledger();
        ledger.received.add(came as u64);
        ledger.received_bytes.add(bytes as u64);
        ledger.dropped.add(Reason::DropNewest, (came - entries) as u64);
    }

    /// Takes credits for the block, making room as the strategy says: by giving up older blocks, or by cutting this one.
    fn admit(&mut self, block: &mut Owned<Block>) -> Option<(usize, usize)> {
        loop {
            let wanted = (block.entries().len(), block.text().len());
            if wanted.0 == 0 || self.take_credits(wanted) {
                return Some(wanted);
            }
            match self.spec.strategy {
                Strategy::Block | Strategy::Spill => return None,
                Strategy::DropOldest => {
                    if !self.give_up_oldest() {
                        cut(block, 0);
                    }
                }
                // As many as are free; if they are, bytes are what is short: half as many at a time.
                Strategy::DropNewest => {
                    let free = self.hallway.credits.free_entries() as usize;
                    cut(block, if free < wanted.0 { free } else { wanted.0 / 2 });
                }
            }
        }
    }

    fn take_credits(&self, (entries, bytes): (usize, usize)) -> bool {
        let hallway = &self.hallway;
        let fits = || hallway.credits.take(entries as u64, bytes as u64).is_ok();
        fits() || {
            hallway.freed.want();
            fits()
        }
    }

    /// Gives up the oldest own block that no worker has begun, with its credits. False if there is none.
    fn give_up_oldest(&mut self) -> bool {
        self.oldest_queued = self.oldest_queued.max(self.first);
        while let Some(row) = self.outstanding.get((self.oldest_queued - self.first) as usize) {
            self.oldest_queued += 1;
            if row.credits.0 > 0 && row.ack.claim().give_up() {
                // The worker that pops the block sees the claim, counts its entries and deposits it as dropped.
                self.hallway.credits.give(row.credits.0 as u64, row.credits.1 as u64);
                return true;
            }
        }
        false
    }

    /// Stamps, notes and pushes the block; hands it back if the ring has no slot.
    fn push(
        &mut self,
        mut block: Owned<Block>,
        mark: M,
        credits: (usize, usize),
    ) -> Result<(), (Owned<Block>, M)> {
        if credits.0 == 0 {
            return Err((block, mark));
        }
        if !self.is_in_reach() {
            self.hallway.give_back(credits.0 as u64, credits.1 as u64);
            return Err((block, mark));
        }
        let time = self.stamps.take(unix_nanos(), credits.0);
        block.stamp(time);
        let charge = block.take_charge();
        let mut block = self.hallway.blocks.fit(block);
        if let Some(mut charge) = charge {
            charge.set(block.recount());
            block.set_charge(charge);
        }
        let whole = self.note(mark, credits);
        // Counted before it can be seen: the gauge never goes below zero.
        self.ledger().in_transit.add(credits.0 as u64);
        let (domain, ticket, strategy) = (self.spec.domain, self.ticket, self.spec.strategy);
        let shipment = Shipment { block, whole, domain, ticket, credits, shipped: Instant::now(), strategy };
        let Err(refused) = self.hallway.ring.push(shipment) else {
            self.ticket += 1;
            return Ok(());
        };
        let Shipment { block, whole, .. } = refused.into_inner();
        whole.cancel();
        self.ledger().in_transit.sub(credits.0 as u64);
        self.hallway.credits.give(credits.0 as u64, credits.1 as u64);
        self.hallway.freed.want();
        match self.outstanding.pop_back().and_then(|row| row.mark) {
            Some(mark) => Err((block, mark)),
            None => unreachable!("the row was noted above"),
        }
    }

    fn note(&mut self, mark: M, credits: (usize, usize)) -> Hold {
        let number = self.first + self.outstanding.len() as u64;
        let fresh = |back: &Arc<Back>| Arc::new(Ack::new(number, Arc::clone(back) as Arc<dyn Return>));
        let mut ack = self.spare.pop().unwrap_or_else(|| fresh(&self.back));
        match Arc::get_mut(&mut ack) {
            Some(own) => own.reuse(number),
            None => ack = fresh(&self.back),
        }
        let whole = ack.whole();
        self.outstanding.push_back(Outstanding { ack, credits, mark: Some(mark) });
        whole
    }

    /// The next settled block's mark and what became of it, in the order they were settled; `None` when all that came
    /// back has been told.
    pub fn settled(&mut self) -> Option<(M, Status)> {
        let (number, status) = self.returns.try_recv().ok()?;
        let row = self.outstanding.get_mut((number - self.first) as usize)?;
        let mark = row.mark.take()?;
        while self.outstanding.front().is_some_and(|row| row.mark.is_none()) {
            if let Some(row) = self.outstanding.pop_front() {
                self.spare.push(row.ack);
                self.first += 1;
            }
        }
        Some((mark, status))
    }

    /// How many blocks are on their way.
    pub fn outstanding(&self) -> usize {
        self.outstanding.iter().filter(|row| row.mark.is_some()).count()
    }

    /// Whether everything that was shipped is settled and told.
    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }
}

impl<M> Drop for Inlet<M> {
    fn drop(&mut self) {
        let (spec, waker) = (&self.spec, &self.back.waker);
        spec.gate.forget(waker);
        spec.assigned.leave(waker);
        spec.drained.leave(waker);
        self.hallway.leave(waker);
    }
}

/// Keeps the first `entries` of the block, and the text up to their end.
fn cut(block: &mut Block, entries: usize) {
    block.truncate(entries);
    let end = block.entries().last().map_or(0, |last| (last.offset + last.len) as usize);
    block.shrink(end);
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
