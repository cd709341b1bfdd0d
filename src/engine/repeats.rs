//! The source of what `dedupe` counted: one thread that gives an entry once more, with the number of its equals, when
//! their window has closed.
//!
//! It is a source like others (`repeats` in the ledger). What it gives has been through its pipeline already; it goes
//! to the sinks whose conditions it meets, as the entries it stands for did.

use super::inside::{House, SourceView};
use super::ordered::{OrderedSteps, wants_repeats};
use super::ready::thread_refused;
use super::reload::Stage;
use super::{StartError, build};
use crate::block::{Block, ORDINARY};
use crate::clock::steady_nanos;
use crate::config::SinkConfig;
use crate::lane::Lane;
use crate::ledger::Named;
use crate::pool::Owned;
use crate::sources::ending::Ending;
use crate::sources::inlet::{Assigned, Gate, Inlet, InletSpec, Strategy};
use crate::sources::rate::Limits;
use crate::steps::ordered::dedupe::{Dedupe, Repeat};
use crate::thread::{Bell, Doing, Inside, Latch, Row, Wake};
use crate::worker::Domain;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the source is called; no source of the config may be.
pub const NAME: &str = crate::steps::ordered::dedupe::SOURCE;
/// Its type.
const KIND: &str = "dedupe";
/// The field with the number.
const COUNT: &str = crate::steps::ordered::dedupe::COUNT;
/// How often it looks which windows are over: so much later than that a count may come.
const PACE: Duration = Duration::from_millis(200);
/// How often it looks whether the last block of the others is decided, at the end.
const PACE_AT_END: Duration = Duration::from_millis(5);
/// Most windows closed at a time: workers wait for that long.
const AT_ONCE: usize = 256;

/// The running source.
#[derive(Clone)]
pub(super) struct Repeats {
    /// Closed by the lanes.
    pub gate: Arc<Gate>,
    /// How it ends.
    pub ending: Arc<Ending>,
    /// Left by its thread.
    pub done: Arc<Latch>,
    domain: Arc<Domain>,
}

impl Stage<'_> {
    /// Makes the source ready, once a pipeline has something for it; it stays until the end.
    pub(super) fn make_repeats(
        &mut self,
        sinks: &[&SinkConfig],
        lanes: &[Arc<Lane>],
    ) -> Result<(), StartError> {
        self.repeats = self.live.repeats.clone();
        let plan = build::plan_of_done(sinks, lanes)?;
        if let Some(repeats) = &self.repeats {
            self.plans.push((Arc::clone(&repeats.domain), plan));
            return Ok(());
        }
        if !wants_repeats(self.config) {
            return Ok(());
        }
        let core = self.core;
        let named = Named::new(NAME, KIND);
        self.ledger.sources.push(named.clone());
        let gate = Arc::<Gate>::default();
        let what = "gives what `dedupe` counted".into();
        self.view.sources.push(SourceView { what, ..SourceView::new(&gate) });
        let id =
            core.house.domains.add(Domain::new(named.clone(), build::window(self.config), Arc::new(plan)));
        let Some(domain) = core.house.domains.get(id) else { return Ok(()) };
        let (ending, done, bell) =
            (Arc::<Ending>::default(), Arc::<Latch>::default(), Arc::<Bell>::default());
        ending.join(Arc::clone(&bell) as Arc<dyn Wake>);
        let spec = InletSpec {
            domain: id,
            source: named,
            strategy: Strategy::Block,
            gate: Arc::clone(&gate),
            assigned: Assigned::to(&core.house.pools.general().hallway),
            drained: Arc::clone(&domain.drained),
            // What they are counts of was admitted before.
            limits: Limits::default(),
        };
        let thread = Giver {
            inlet: Inlet::new(spec, Arc::clone(&bell) as Arc<dyn Wake>),
            steps: Arc::clone(&core.ordered),
            house: Arc::clone(&core.house),
            ending: Arc::clone(&ending),
            bell,
            waiting: None,
        };
        let (go, inside) = (Arc::clone(&self.go), Inside::new(&done));
        let spawned = core.house.threads.spawn("repeats", &[], move |row| {
            let _inside = inside;
            if go.wait() {
                thread.run(row);
            }
        });
        self.repeats = Some(Repeats { gate, ending, done, domain });
        self.made_repeats = Some(id);
        spawned.map(drop).map_err(thread_refused)
    }
}

/// The thread.
struct Giver {
    inlet: Inlet<()>,
    steps: Arc<OrderedSteps>,
    house: Arc<House>,
    ending: Arc<Ending>,
    bell: Arc<Bell>,
    /// A block that found no room yet.
    waiting: Option<Owned<Block>>,
}

impl Giver {
    fn run(mut self, row: &Row) {
        let mut shipped = false;
        loop {
            row.set(Doing::Working);
            while self.inlet.settled().is_some() {}
            let stopping = self.ending.is_stopping();
            // Told apart before the windows are closed: what comes to them later must not be missed.
            let at_rest = stopping && self.others_are_done();
            if !shipped {
                let all_given = self.give(at_rest);
                if all_given && at_rest {
                    shipped = true;
                    self.ending.shipped_all();
                }
            }
            if self.ending.is_leaving() || (shipped && self.inlet.is_idle()) {
                return;
            }
            row.set(Doing::Idle);
            self.bell.sleep(Instant::now() + if stopping { PACE_AT_END } else { PACE });
        }
    }

    /// Whether no other source has entries that are not decided.
    fn others_are_done(&self) -> bool {
        let view = self.house.view.load();
        let mut others = view.ledger.sources.iter().filter(|source| *source.name != *NAME);
        others.all(|source| source.row.in_transit.get() == 0)
    }

    /// Gives what windows have to say that are over, or `all`. False: there was no room for all of it.
    fn give(&mut self, all: bool) -> bool {
        for (dedupe, is_over) in self.steps.dedupes() {
            let all = all || is_over;
            loop {
                let (mut repeats, now) = (Vec::new(), (!all).then(|| steady_nanos(Instant::now())));
                let is_done = dedupe.closed(now, AT_ONCE, &mut repeats);
                let mut repeats = repeats.into_iter();
                while let Some(repeat) = repeats.next() {
                    if let Err(repeat) = self.put(&dedupe, repeat) {
                        // In front of what comes meanwhile, in their order.
                        repeats.rev().for_each(|repeat| dedupe.put_back(repeat));
                        dedupe.put_back(repeat);
                        return false;
                    }
                }
                if is_done {
                    break;
                }
            }
            if is_over {
                self.steps.forget(&dedupe);
            }
        }
        self.ship()
    }

    /// Puts one into the open block, and hands it back if there is no room now.
    fn put(&mut self, dedupe: &Dedupe, repeat: Repeat) -> Result<(), Repeat> {
        if !self.inlet.may_read() {
            return Err(repeat);
        }
        for fresh in [false, true] {
            if fresh && !self.ship() {
                return Err(repeat);
            }
            if self.waiting.is_none() {
                self.waiting = self.inlet.open(repeat.entry.room().max(ORDINARY));
            }
            let Some(block) = self.waiting.as_mut() else { return Err(repeat) };
            let room = block.entries().len() < self.inlet.block_entries();
            if room && repeat.entry.put(block, (COUNT, repeat.count)) {
                dedupe.give_back(repeat.entry);
                return Ok(());
            }
        }
        // Larger than any block.
        dedupe.count_lost();
        Ok(())
    }

    /// Ships the open block. False: there is no room now.
    fn ship(&mut self) -> bool {
        let Some(block) = self.waiting.take() else { return true };
        if block.entries().is_empty() {
            return true;
        }
        match self.inlet.ship(block, ()) {
            Ok(()) => true,
            Err((block, ())) => {
                self.waiting = Some(block);
                false
            }
        }
    }
}
