//! The loop of a worker: pop a block, run its pipeline, choose its lanes, deposit it, drain what is in order.
//!
//! A worker never waits for a lane or a sink; it waits for the ring to have something and, if it runs far ahead, for its
//! domain's sequencer to have room. Everything it counts, it counts once per block.
//!
//! Workers stand in pools: those of one pool take from one ring. How many they are is decided in [`elastic`] and done by
//! the engine; each shows what it does at its [`seat`].

pub mod elastic;
pub mod seat;

use crate::ack::{Hold, Status};
use crate::block::{Block, selected};
use crate::clock::steady_nanos;
use crate::lane::Lane;
use crate::ledger::{Count, Named, Reason, SourceLedger};
use crate::metrics::WorkerTelemetry;
use crate::pool::{Charge, Owned};
use crate::ring::Pop;
use crate::ring::wait::Sleeper;
use crate::route::{Routes, Routing};
use crate::sequencer::{Deposit, Sequencer};
use crate::sources::inlet::{DomainId, Drained, Hallway, Shipment, Strategy};
use crate::steps::pipeline::{Outcome, Pipeline};
use crate::tap::{Point, Taps};
use crate::thread::{Doing, Inside, Row};
use arc_swap::ArcSwap;
use seat::Seat;
use std::sync::Arc;
use std::time::Instant;

mod tally;

use tally::{Tally, decide};

/// What a source's entries go through and where they may go.
pub struct Plan {
    /// The steps.
    pub pipeline: Pipeline,
    /// Which lane takes which entry.
    pub routes: Routes,
    /// The lanes, in the order the routes number them.
    pub lanes: Vec<Arc<Lane>>,
    /// Which of the lanes, behind those of the routes, takes what steps gave up; without one that is dropped, counted.
    pub letters: Option<usize>,
    /// What the pipeline is called, and how many steps stand before those of that name: for taps.
    pub named: Option<(Box<str>, usize)>,
    /// Tells each lane that something may still come, until the last block routed with this plan was handed out.
    _feeds: Vec<Inside>,
}

impl Plan {
    /// A plan that feeds `lanes`, which `routes` numbers in this order.
    pub fn new(pipeline: Pipeline, routes: Routes, lanes: Vec<Arc<Lane>>) -> Self {
        Plan::with_name(pipeline, routes, lanes, None)
    }

    /// The same, for a pipeline that has a name; `named` also says how many steps stand before those of that name.
    pub fn with_name(
        pipeline: Pipeline,
        routes: Routes,
        lanes: Vec<Arc<Lane>>,
        named: Option<(Box<str>, usize)>,
    ) -> Self {
        let feeds = lanes.iter().map(|lane| Inside::new(lane.feeds())).collect();
        Plan { pipeline, routes, lanes, letters: None, named, _feeds: feeds }
    }

    /// The same with a lane for what steps gave up.
    pub fn with_letters(mut self, lane: Arc<Lane>) -> Self {
        self._feeds.push(Inside::new(lane.feeds()));
        self.letters = Some(self.lanes.len());
        self.lanes.push(lane);
        self
    }
}

/// A source on one thread, as workers see it.
pub struct Domain {
    /// The source's name, type and ledger.
    pub source: Named<SourceLedger>,
    /// Puts its blocks back into order.
    pub sequencer: Sequencer<Worked>,
    /// How far it has come, for the inlet.
    pub drained: Arc<Drained>,
    /// What its entries go through. Another may be put here at any time: a block keeps the one it was begun with.
    pub plan: ArcSwap<Plan>,
    /// How often the source had begun to give entries again, as of the last block that was decided.
    replays: Count,
}

impl Domain {
    /// One of which nothing was shipped yet; its sequencer lets `window` blocks run ahead.
    pub fn new(source: Named<SourceLedger>, window: usize, plan: Arc<Plan>) -> Self {
        let (sequencer, drained) = (Sequencer::new(window), Drained::new(window));
        Domain { source, sequencer, drained, plan: ArcSwap::new(plan), replays: Count::default() }
    }
}

/// All domains, by number. They come and go while workers work; a number is never used again.
#[derive(Default)]
pub struct Domains(ArcSwap<Vec<Option<Arc<Domain>>>>);

impl Domains {
    /// One more; only for one thread at a time. Gives its number.
    pub fn add(&self, domain: Domain) -> DomainId {
        let mut all = Vec::clone(&self.0.load());
        let id = DomainId(all.len() as u32);
        all.push(Some(Arc::new(domain)));
        self.0.store(Arc::new(all));
        id
    }

    /// Forgets one of which no block can be on its way any more; only for one thread at a time.
    pub fn remove(&self, id: DomainId) {
        let mut all = Vec::clone(&self.0.load());
        if let Some(domain) = all.get_mut(id.0 as usize) {
            *domain = None;
        }
        self.0.store(Arc::new(all));
    }

    /// The domain of this number.
    pub fn get(&self, id: DomainId) -> Option<Arc<Domain>> {
        self.0.load().get(id.0 as usize).cloned().flatten()
    }

    /// All there are, with their numbers.
    pub fn all(&self) -> Vec<(DomainId, Arc<Domain>)> {
        let all = self.0.load();
        let numbered = all.iter().enumerate();
        numbered.filter_map(|(id, domain)| Some((DomainId(id as u32), domain.clone()?))).collect()
    }
}

/// A block a worker is done with, waiting for its turn.
pub struct Worked {
    kind: Kind,
    whole: Hold,
    /// What the block's transit is charged to; given back once its lanes have it.
    charge: Option<Charge>,
    entries: u64,
}

enum Kind {
    /// Its producer gave it up while it was in the ring.
    GivenUp,
    /// It went through its pipeline, but for what the ordered steps decide; it was `shipped` then.
    Routed { block: Owned<Block>, tally: Tally, plan: Arc<Plan>, strategy: Strategy, shipped: Instant },
}

/// One worker thread's equipment.
pub struct Worker {
    /// Where it shows what it does, and is told to leave.
    pub seat: Arc<Seat>,
    /// What it sleeps on; its seat has the bell.
    pub sleeper: Sleeper,
    /// The hallway it takes blocks from.
    pub hallway: Arc<Hallway>,
    /// All domains, by number.
    pub domains: Arc<Domains>,
    /// What its turns took.
    pub telemetry: WorkerTelemetry,
    /// Who looks at entries, if anyone does.
    pub taps: Arc<Taps>,
}

impl Worker {
    /// Works until the ring is closed and empty, or it is told to leave.
    pub fn run(mut self, row: &Row) {
        let mut routing = Routing::default();
        // Looked at between two blocks: nothing is in its hands when it leaves, and no wake-up was meant for it alone,
        // since one that was is passed on in `pop_wait_unless`.
        while !self.seat.is_told() {
            row.keep_to_cpu();
            let shipment = match self.hallway.ring.pop() {
                Some(shipment) => shipment,
                None => {
                    row.set(Doing::Idle);
                    match self.hallway.ring.pop_wait_unless(&mut self.sleeper, || self.seat.is_told()) {
                        Pop::Item(shipment) => shipment,
                        Pop::Nudged | Pop::Told => continue,
                        Pop::Closed => return,
                    }
                }
            };
            row.set(Doing::Working);
            self.turn(shipment, &mut routing, row);
        }
    }

    fn turn(&mut self, shipment: Shipment, routing: &mut Routing, row: &Row) {
        let begun = Instant::now();
        let Shipment { mut block, whole, domain, ticket, credits, shipped, strategy } = shipment;
        let domains = self.domains.0.load();
        let Some(Some(domain)) = domains.get(domain.0 as usize) else {
            unreachable!("the engine made every domain that ships, and keeps it until all of it is settled")
        };
        self.telemetry.queue_wait.record((begun - shipped).as_secs_f64());
        let mut charge = block.take_charge();
        let entries = credits.0 as u64;
        self.seat.begin(entries, begun - shipped, begun);
        let kind = if whole.claim().take() {
            self.hallway.give_back(entries, credits.1 as u64);
            // Loaded once per block: it is handed out to the lanes it was routed to, whatever plan is next.
            let plan = domain.plan.load_full();
            let taps = self.taps.is_open().then_some((&*self.taps, begun));
            let tally = work(domain, &plan, &mut block, routing, taps);
            self.telemetry.processing.record(begun.elapsed().as_secs_f64());
            // What the steps made of it counts as in transit, too.
            let footprint = block.recount();
            charge.iter_mut().for_each(|charge| charge.set(footprint));
            Kind::Routed { block, tally, plan, strategy, shipped }
        } else {
            Kind::GivenUp
        };
        let worked = Worked { kind, whole, charge, entries };
        deposit(domain, ticket, worked, &self.seat, &mut self.sleeper, row);
        drain(domain);
        let ended = Instant::now();
        self.seat.rest(ended);
        self.telemetry.task.record((ended - begun).as_secs_f64());
    }
}

/// Runs the pipeline over the block and chooses the lanes of what is left.
fn work(
    domain: &Domain,
    plan: &Plan,
    block: &mut Owned<Block>,
    routing: &mut Routing,
    taps: Option<(&Taps, Instant)>,
) -> Tally {
    let outcome = match taps {
        None => plan.pipeline.run_guarded(block),
        Some((taps, now)) => run_tapped(domain, plan, block, taps, now),
    };
    domain.source.row.step_errors.add(outcome.errors as u64);
    plan.routes.route(block, routing);
    for choice in &routing.lanes {
        block.add_cuts(choice.lane as u16, choice.row);
    }
    let (refused, panicked) = (block.refused().len() as u64, outcome.panicked.len() as u64);
    let kept = plan.letters.filter(|_| refused > 0);
    if let Some(lane) = kept {
        let row = block.select_refused(lane);
        block.add_cuts(lane as u16, row);
    }
    if panicked > 0 {
        let (name, first) = (&domain.source.name, outcome.panicked[0]);
        let fate = if kept.is_some() { "dead letters now" } else { "dropped" };
        tracing::error!(
            "source {name}: a step panicked on {panicked} entries, {fate}: {:?}",
            Excerpt(block, first)
        );
    }
    Tally::of(routing, (refused, panicked), kept.is_some())
}

/// Runs the pipeline while somebody may be looking.
fn run_tapped(domain: &Domain, plan: &Plan, block: &mut Block, taps: &Taps, now: Instant) -> Outcome {
    let source = &*domain.source.name;
    let is_source = |point: &Point| matches!(point, Point::Source(name) if name == source);
    taps.show(is_source, block, |block| 0..block.entries().len(), now);
    let Some((pipeline, before)) = &plan.named else { return plan.pipeline.run_guarded(block) };
    plan.pipeline.run_watched(block, &mut |at, block| {
        let is_here = |point: &Point| {
            matches!(point, Point::Step(name, place) if **name == **pipeline && before + place == at + 1)
        };
        taps.show(is_here, block, |block| selected(block.selection(0), 0..block.entries().len()), now);
    })
}

/// The beginning of an entry's text, for a log message.
struct Excerpt<'a>(&'a Block, usize);

impl std::fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 80;
        let text = self.0.view(self.1).text();
        write!(f, "{:?}", String::from_utf8_lossy(&text[..text.len().min(SHOWN)]))
    }
}

fn deposit(domain: &Domain, ticket: u64, mut worked: Worked, seat: &Seat, sleeper: &mut Sleeper, row: &Row) {
    loop {
        match domain.sequencer.deposit(ticket, worked) {
            Deposit::Accepted => return,
            // Another attempt at the same block was faster; this one's share must not count.
            Deposit::Late(late) => return late.whole.cancel(),
            Deposit::Early(early) => {
                worked = early;
                drain(domain);
                // Not busy meanwhile: another worker would only wait beside it.
                row.set(Doing::Blocked);
                seat.rest(Instant::now());
                let room = domain.sequencer.wait_room(ticket, sleeper);
                seat.go_on(Instant::now());
                row.set(Doing::Working);
                if !room {
                    // The stop ran out of time. Its share fails as it goes: whoever keeps positions gives it again.
                    return;
                }
            }
        }
    }
}

/// Hands what is next in order to its lanes, unless another worker is at it.
fn drain(domain: &Domain) {
    let now = Instant::now();
    let drained = domain.sequencer.drain(|ticket, worked| {
        hand_out(domain, worked, now);
        domain.drained.pass(ticket);
    });
    if drained {
        domain.drained.call();
    }
}

fn hand_out(domain: &Domain, worked: Worked, now: Instant) {
    let Worked { kind, whole, charge, entries } = worked;
    let row = &domain.source.row;
    match kind {
        Kind::GivenUp => {
            row.dropped.add(Reason::DropOldest, entries);
            row.in_transit.sub(entries);
            whole.settle(Status::Dropped);
        }
        Kind::Routed { mut block, mut tally, plan, strategy, shipped } => {
            if plan.pipeline.has_ordered() {
                let replays = row.replayed_blocks.get();
                if replays != domain.replays.get() {
                    // What is given again equals what was there before, and must pass all the same.
                    plan.pipeline.forget_order();
                    domain.replays.set(replays);
                }
                decide(&plan, &mut block, steady_nanos(shipped), &mut tally);
            }
            let block = block.share();
            row.processed.add(entries - tally.panicked);
            row.filtered.add(tally.filtered);
            row.dropped.add(Reason::Panic, tally.dropped.0);
            row.dropped.add(Reason::Rejected, tally.dropped.1);
            row.dropped.add(Reason::Throttle, tally.throttled);
            row.routed.add(tally.routed);
            row.fan_out_extra.add(tally.extra);
            row.unrouted.add(tally.unrouted);
            for cuts in block.cuts().chunk_by(|a, b| a.lane == b.lane) {
                plan.lanes[usize::from(cuts[0].lane)].push(&block, cuts, &whole, strategy, now);
            }
            // Last: whoever sees nothing in transit sees it in the lanes.
            row.in_transit.sub(entries);
            whole.settle(if tally.dropped == (0, 0) { Status::Delivered } else { Status::Dropped });
        }
    }
    drop(charge);
}

#[cfg(test)]
mod tests;
