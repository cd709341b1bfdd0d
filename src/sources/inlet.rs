//! The door every source has: memory to read into, the gate, tickets, credits, the ring, and what comes back.
//!
//! One inlet belongs to one source on one thread: that is a *domain*. It numbers the blocks it ships (the ticket); the
//! sequencer restores that order behind the workers. The source gives each block a mark of its own (an offset, a
//! connection) and gets the mark back when the block is settled, in whatever order that happens.

use crate::ack::{Ack, Hold, Return, Status};
use crate::block::{Block, Blocks};
use crate::clock::{Stamps, unix_nanos};
use crate::ledger::{Named, Reason, SourceLedger};
use crate::pool::{Budget, Owned};
use crate::ring::Ring;
use crate::ring::credits::Credits;
use crate::thread::{WaitList, Wake};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

/// Most blocks of one domain that may be unsettled; at this many the source waits.
pub const OUTSTANDING_MAX: usize = 1 << 16;

/// What a source does when it cannot go on, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// It stops reading until there is room: nothing is lost that can wait outside.
    #[default]
    Block,
    /// It gives up its own oldest entries that no worker has begun, counted.
    DropOldest,
    /// It gives up what comes in, counted.
    DropNewest,
    /// What a sink has no memory for goes to disk; only when there is no room either does it stop reading.
    Spill,
}

impl Strategy {
    /// Whether it waits when there is no room, rather than lose anything.
    pub fn waits(self) -> bool {
        matches!(self, Strategy::Block | Strategy::Spill)
    }
}

/// The number of a domain: a source and the thread that produces its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u32);

/// A block on its way through the ring.
pub struct Shipment {
    /// Its entries.
    pub block: Owned<Block>,
    /// The share that every block begins with; a worker splits it among the lanes.
    pub whole: Hold,
    /// Which sequencer it goes back into order at.
    pub domain: DomainId,
    /// Its place in that order.
    pub ticket: u64,
    /// Credits it took: entries and bytes.
    pub credits: (usize, usize),
    /// When it was pushed.
    pub shipped: Instant,
    /// What its source wants done where a lane has no room.
    pub strategy: Strategy,
}

/// Keeps the sources of full lanes from reading.
#[derive(Default)]
pub struct Gate {
    closed_by: AtomicU32,
    waiting: WaitList,
}

impl Gate {
    /// One more lane is full.
    pub fn close(&self) {
        // SeqCst: ordered with the wish in `waiting`, see `is_open`.
        self.closed_by.fetch_add(1, SeqCst);
    }

    /// One lane has room again; the last one wakes the source.
    pub fn open(&self) {
        self.closed_by.fetch_sub(1, SeqCst);
        self.waiting.call();
    }

    /// Whether the source may read. If not, it is woken when it may.
    pub fn is_open(&self) -> bool {
        if self.closed_by.load(SeqCst) == 0 {
            return true;
        }
        self.waiting.want();
        self.closed_by.load(SeqCst) == 0
    }

    /// Who is woken when the gate opens.
    pub fn wake_when_open(&self, waker: Arc<dyn Wake>) {
        self.waiting.join(waker);
    }

    /// Who is not to be woken any more.
    pub fn forget(&self, waker: &Arc<dyn Wake>) {
        self.waiting.leave(waker);
    }
}

/// The hallway all sources share: the ring with its credits, the memory, and who waits for them.
pub struct Hallway {
    /// The queue to the workers.
    pub ring: Ring<Shipment>,
    /// What it may hold.
    pub credits: Credits,
    /// Those who found no credits or no slot; call it after giving some back.
    pub freed: WaitList,
    /// Memory in transit: open blocks, the ring, the workers, the sequencers.
    pub transit: Arc<Budget>,
    /// Where blocks come from.
    pub blocks: Blocks,
    /// Most entries a block may have, so that a few blocks do not fill the ring.
    pub block_entries: usize,
}

impl Hallway {
    /// Gives credits back, and wakes those who wait for some, once per crossing of the low watermark: while the ring is
    /// congested they would only look and sleep again.
    pub fn give_back(&self, entries: u64, bytes: u64) {
        self.credits.give(entries, bytes);
        if !self.credits.congested() {
            self.freed.call();
        }
    }

    /// Whether the ring is between its watermarks on the way down. If so, `freed` is called when it no longer is.
    fn is_congested(&self) -> bool {
        self.credits.congested() && {
            self.freed.want();
            self.credits.congested()
        }
    }
}

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
    /// The hallway.
    pub hallway: Arc<Hallway>,
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
}

impl<M> Inlet<M> {
    /// A door made from `spec`; `waker` wakes the source's thread when there is something to hear or room to go on.
    pub fn new(spec: InletSpec, waker: Arc<dyn Wake>) -> Self {
        let (sender, returns) = unbounded();
        spec.gate.wake_when_open(Arc::clone(&waker));
        spec.hallway.freed.join(Arc::clone(&waker));
        spec.hallway.transit.wake_when_free(Arc::clone(&waker));
        let back = Arc::new(Back { sender, waker });
        Inlet {
            spec,
            back,
            returns,
            outstanding: VecDeque::new(),
            first: 0,
            oldest_queued: 0,
            spare: Vec::new(),
            ticket: 0,
            stamps: Stamps::default(),
            held_up: false,
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

    /// Most entries to put in one block.
    pub fn block_entries(&self) -> usize {
        self.spec.hallway.block_entries
    }

    /// What the source does from now on when it cannot go on.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.spec.strategy = strategy;
    }

    /// Whether the source should read on. If not, its thread is woken when it should.
    pub fn may_read(&mut self) -> bool {
        let may =
            !self.spec.strategy.waits() || (self.spec.gate.is_open() && !self.spec.hallway.is_congested());
        if !may && !self.held_up {
            self.ledger().blocked.add(1);
        }
        self.held_up = !may;
        may
    }

    /// An empty block with room for at least `text` bytes (or of the largest class), or `None` while memory is short;
    /// then the source's thread is woken when there is some.
    pub fn open(&self, text: usize) -> Option<Owned<Block>> {
        let blocks = &self.spec.hallway.blocks;
        let charge = self.spec.hallway.transit.charge(blocks.class(text))?;
        let mut block = blocks.get(text);
        block.set_charge(charge);
        Some(block)
    }

    /// Sends the block on its way. `mark` comes back from [`Inlet::settled`] when all of it is settled.
    ///
    /// Under `block` and `spill` the block is handed back when it does not fit; keep it and try again when woken. The other
    /// strategies always take it, and count what they drop. The block must have at least one entry.
    pub fn ship(&mut self, mut block: Owned<Block>, mark: M) -> Result<(), (Owned<Block>, M)> {
        let came = block.entries().len();
        debug_assert!(came > 0, "an empty block has nothing to ship");
        if self.outstanding.len() >= OUTSTANDING_MAX {
            return Err((block, mark));
        }
        let Some(credits) = self.admit(&mut block) else {
            self.ledger().blocked.add(1);
            return Err((block, mark));
        };
        let (block, mark, kept) = match self.push(block, mark, credits) {
            Ok(()) => {
                self.count_received(came, credits);
                return Ok(());
            }
            Err(back) if self.spec.strategy.waits() => {
                self.ledger().blocked.add(1);
                return Err(back);
            }
            Err((block, mark)) => (block, mark, 0),
        };
        // No slot, or nothing left after the cut: the source still learns that this stretch is done with.
        drop(block);
        self.count_received(came, (kept, 0));
        self.note(mark, (0, 0)).settle(Status::Dropped);
        Ok(())
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
                // Half as many at a time, once the free entries are tried: bytes may be what is short.
                Strategy::DropNewest => {
                    let free = self.spec.hallway.credits.free_entries() as usize;
                    cut(block, free.min(wanted.0 / 2));
                }
            }
        }
    }

    fn take_credits(&self, (entries, bytes): (usize, usize)) -> bool {
        let hallway = &self.spec.hallway;
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
                self.spec.hallway.credits.give(row.credits.0 as u64, row.credits.1 as u64);
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
        let time = self.stamps.take(unix_nanos(), credits.0);
        block.stamp(time);
        let charge = block.take_charge();
        let mut block = self.spec.hallway.blocks.fit(block);
        if let Some(mut charge) = charge {
            charge.shrink(block.capacity());
            block.set_charge(charge);
        }
        let whole = self.note(mark, credits);
        // Counted before it can be seen: the gauge never goes below zero.
        self.ledger().in_transit.add(credits.0 as u64);
        let (domain, ticket, strategy) = (self.spec.domain, self.ticket, self.spec.strategy);
        let shipment = Shipment { block, whole, domain, ticket, credits, shipped: Instant::now(), strategy };
        let Err(refused) = self.spec.hallway.ring.push(shipment) else {
            self.ticket += 1;
            return Ok(());
        };
        let Shipment { block, whole, .. } = refused.into_inner();
        whole.cancel();
        self.ledger().in_transit.sub(credits.0 as u64);
        self.spec.hallway.credits.give(credits.0 as u64, credits.1 as u64);
        self.spec.hallway.freed.want();
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
        spec.hallway.freed.leave(waker);
        spec.hallway.transit.forget(waker);
    }
}

/// Keeps the first `entries` of the block, and the text up to their end.
fn cut(block: &mut Block, entries: usize) {
    block.truncate(entries);
    let end = block.entries().last().map_or(0, |last| (last.offset + last.len) as usize);
    block.shrink(end);
}
