//! Workers, sequencer, lanes and senders together: order however workers are stalled, and what panics cost.

use super::*;
use crate::ack::Status;
use crate::block::{Blocks, ORDINARY};
use crate::entry::Entry;
use crate::expr::Expr;
use crate::labels::{Labels, SourceId, Stream};
use crate::lane::batcher::{BatchLimits, Batcher, FlowControl};
use crate::lane::{FIRST_CREW, LaneSpec, Quota};
use crate::ledger::{Ledger, SinkLedger};
use crate::metrics::Telemetry;
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::{Amount, Credits, Watermarks};
use crate::sources::inlet::{Assigned, DomainId, Gate, Inlet, InletSpec};
use crate::steps::ordered::config::{DedupeConfig, ThrottleConfig};
use crate::steps::pipeline::StepSpec;
use crate::steps::{Step, StepError, Verdict};
use crate::thread::{Threads, WaitList, Wake};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;
use std::thread::ThreadId;
use std::time::Duration;

/// Stalls the thread that runs it until another thread has run it too, now and then; panics on a marker.
#[derive(Default)]
struct Stall {
    served_by: Mutex<HashSet<ThreadId>>,
    turns: Mutex<u64>,
    changed: Condvar,
}

struct StallStep(Arc<Stall>);

impl Step for StallStep {
    fn name(&self) -> &'static str {
        "stall"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let text = block.view(index).text().to_vec();
        assert!(text != b"poison", "a step that cannot stand this entry");
        self.0.served_by.lock().insert(std::thread::current().id());
        if text.ends_with(b"7") {
            // Not a sleep: it waits for the others to get ahead, and gives up when there is nobody to.
            let mut turns = self.0.turns.lock();
            let seen = *turns;
            while *turns < seen + 3
                && !self.0.changed.wait_for(&mut turns, Duration::from_millis(20)).timed_out()
            {}
        } else {
            *self.0.turns.lock() += 1;
            self.0.changed.notify_all();
        }
        Ok(if text.ends_with(b"9") { Verdict::Discard } else { Verdict::Keep })
    }
}

struct Nobody;
impl Wake for Nobody {
    fn wake(&self) {}
}

struct Rig {
    /// One for each pool.
    hallways: Vec<Arc<Hallway>>,
    ledger: Ledger,
    lanes: Vec<Arc<Lane>>,
    domains: Arc<Domains>,
    stall: Arc<Stall>,
    gate: Arc<Gate>,
}

const LANES: usize = 2;

/// A house with so many pools and domains.
fn rig(pools: usize, domains: usize) -> Rig {
    let stalls = |stall| vec![StepSpec::Custom(Box::new(stall))];
    rig_with(pools, domains, stalls, || vec![None; LANES])
}

/// A house of one pool and one domain with these steps, whose lanes have these conditions.
fn rig_of(steps: impl FnOnce(StallStep) -> Vec<StepSpec>, conditions: Vec<Option<Expr>>) -> Rig {
    let (mut steps, mut conditions) = (Some(steps), Some(conditions));
    let mut once = move |stall| steps.take().expect("one domain")(stall);
    rig_with(1, 1, &mut once, move || conditions.take().expect("one domain"))
}

fn rig_with(
    pools: usize,
    domains: usize,
    mut steps: impl FnMut(StallStep) -> Vec<StepSpec>,
    mut conditions: impl FnMut() -> Vec<Option<Expr>>,
) -> Rig {
    let blocks = Blocks::new(0);
    let limit = Amount { entries: 10_000, bytes: 8 << 20 };
    let hallway = || {
        Arc::new(Hallway {
            ring: Ring::new(64),
            credits: Credits::new(limit, Watermarks::default()),
            freed: WaitList::default(),
            transit: Budget::new(16 << 20),
            blocks: blocks.clone(),
            block_entries: 100,
        })
    };
    let hallways: Vec<_> = (0..pools).map(|_| hallway()).collect();
    let ledger = Ledger {
        sources: (0..domains).map(|_| Named::<SourceLedger>::new("in", "test")).collect(),
        sinks: (0..LANES).map(|_| Named::<SinkLedger>::new("out", "test")).collect(),
    };
    let gate = Arc::new(Gate::default());
    let lane = |sink: &Named<SinkLedger>| {
        let limits = BatchLimits {
            batch_size: 70,
            batch_timeout: Duration::ZERO,
            max_entries: 70,
            max_bytes: 1 << 20,
        };
        let flow = FlowControl { enabled: false, target_latency: Duration::ZERO, adjustment_factor: 0.1 };
        Arc::new(Lane::new(LaneSpec {
            sink: sink.clone(),
            quota: Quota { high: 64 << 20, low: 32 << 20 },
            ordered: true,
            gates: vec![Arc::clone(&gate)],
            blocks: blocks.clone(),
            batcher: Batcher::new(limits, flow),
        }))
    };
    let lanes: Vec<_> = ledger.sinks.iter().map(lane).collect();
    let stall = Arc::new(Stall::default());
    let domains = Arc::new(Domains::default());
    for source in &ledger.sources {
        let pipeline = Pipeline::compile(steps(StallStep(Arc::clone(&stall)))).expect("it compiles");
        let plan = Plan::new(pipeline, Routes::new(conditions()), lanes.clone());
        // Narrow: workers that are far ahead have to wait for the stalled one.
        domains.add(Domain::new(source.clone(), 6, Arc::new(plan)));
    }
    Rig { hallways, ledger, lanes, domains, stall, gate }
}

/// A source that ships blocks of three texts, in order.
struct Shipper {
    inlet: Inlet<usize>,
    assigned: Arc<Assigned>,
    stream: Arc<Stream>,
    shipped: usize,
}

impl Shipper {
    fn new(rig: &Rig, domain: u32) -> Self {
        let assigned = Assigned::to(&rig.hallways[0]);
        let source = rig.ledger.sources[domain as usize].clone();
        let spec = InletSpec {
            domain: DomainId(domain),
            source,
            strategy: Strategy::Block,
            gate: Arc::clone(&rig.gate),
            assigned: Arc::clone(&assigned),
            limits: crate::sources::rate::Limits::default(),
            drained: Arc::clone(&rig.domains.get(DomainId(domain)).expect("its domain").drained),
        };
        let name = domain.to_string();
        let stream = Stream::new(SourceId(domain as u16), "in".into(), "test", name, Labels::default());
        Shipper { inlet: Inlet::new(spec, Arc::new(Nobody)), assigned, stream: Arc::new(stream), shipped: 0 }
    }

    fn ship(&mut self, texts: &[String]) {
        let mut block = loop {
            match self.inlet.open(ORDINARY) {
                Some(block) => break block,
                None => std::thread::yield_now(),
            }
        };
        block.begin_run(&self.stream);
        for text in texts {
            let offset = block.append(text.as_bytes()).expect("it fits");
            block.push(Entry::at(offset, text.len() as u32));
        }
        let mut refused = self.inlet.ship(block, self.shipped).err();
        while let Some((block, mark)) = refused {
            std::thread::yield_now();
            refused = self.inlet.ship(block, mark).err();
        }
        self.shipped += 1;
    }

    /// How each block was settled, in the order in which they were shipped.
    fn settled(mut self) -> Vec<Status> {
        let mut settled = Vec::new();
        while let Some((number, status)) = self.inlet.settled() {
            settled.push((number, status));
        }
        assert!(self.inlet.is_idle(), "every block was settled");
        settled.sort_by_key(|(number, _)| *number);
        settled.into_iter().map(|(_, status)| status).collect()
    }
}

fn row(threads: &Threads) -> Arc<Row> {
    let done = threads.spawn("row", &[], |_| ()).expect("a thread");
    done.join().expect("no panic");
    threads.rows().pop().expect("its row")
}

/// Runs `workers` in each pool and one sender per lane while `ship` ships, and gives what each lane sent, by stream.
/// Workers that are to come and go have their seats in `seats`, by pool.
fn run_house(
    rig: &Rig,
    workers: usize,
    ship: impl FnOnce(&mut dyn FnMut(usize) -> Arc<Seat>),
) -> Vec<BTreeMap<String, Vec<String>>> {
    let (telemetry, threads) = (Telemetry::new(), Threads::default());
    std::thread::scope(|scope| {
        let threads = &threads;
        let mut crew = Vec::new();
        let mut hire = |pool: usize| {
            let sleeper = Sleeper::new();
            let seat = Arc::new(Seat::new("worker-0".into(), &sleeper, Instant::now()));
            let worker = Worker {
                seat: Arc::clone(&seat),
                sleeper,
                hallway: Arc::clone(&rig.hallways[pool]),
                domains: Arc::clone(&rig.domains),
                telemetry: telemetry.workers("general"),
                taps: Arc::default(),
            };
            crew.push(scope.spawn(move || worker.run(&row(threads))));
            seat
        };
        for pool in 0..rig.hallways.len() {
            (0..workers).for_each(|_| drop(hire(pool)));
        }
        let send = |lane: &Arc<Lane>| {
            let lane = Arc::clone(lane);
            scope.spawn(move || {
                let (row, mut sent) = (row(threads), BTreeMap::<String, Vec<String>>::new());
                while let Some(taken) = lane.cut(&row, FIRST_CREW) {
                    for entry in taken.batch.iter() {
                        let text = String::from_utf8_lossy(entry.text()).into_owned();
                        sent.entry(entry.stream().origin.to_string()).or_default().push(text);
                    }
                    lane.finish(taken, Duration::ZERO, 0);
                }
                sent
            })
        };
        let senders: Vec<_> = rig.lanes.iter().map(send).collect();
        ship(&mut hire);
        rig.hallways.iter().for_each(|hallway| hallway.ring.close());
        crew.into_iter().for_each(|worker| worker.join().expect("a worker survives"));
        rig.lanes.iter().for_each(|lane| lane.close());
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    })
}

/// Ships `texts` in blocks of three, runs `workers` and one sender per lane, and gives what each lane sent and how
/// each block was settled.
fn run(rig: &Rig, workers: usize, texts: &[String]) -> (Vec<Vec<String>>, Vec<Status>) {
    let mut shipper = Shipper::new(rig, 0);
    let sent = run_house(rig, workers, |_| texts.chunks(3).for_each(|texts| shipper.ship(texts)));
    let sent = sent.into_iter().map(|lane| lane.into_values().flatten().collect());
    (sent.collect(), shipper.settled())
}

/// Whether nothing is left in any ring or in transit.
fn is_empty(rig: &Rig) -> bool {
    rig.hallways.iter().all(|hallway| {
        hallway.transit.used() == 0 && hallway.ring.is_empty() && hallway.credits.used() == Amount::default()
    })
}

#[test]
fn one_stream_served_by_several_stalled_workers_comes_out_in_order_at_every_sink() {
    let rig = rig(1, 1);
    let texts: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    let (sent, settled) = run(&rig, 4, &texts);
    let expected: Vec<_> = texts.iter().filter(|text| !text.ends_with('9')).cloned().collect();
    assert_eq!(sent, vec![expected; LANES]);
    assert!(rig.stall.served_by.lock().len() >= 2, "at least two workers served the stream");
    assert_eq!(settled, vec![Status::Delivered; 1_000]);
    let row = &rig.ledger.sources[0].row;
    assert_eq!((row.received.get(), row.filtered.get(), row.routed.get()), (3_000, 300, 2_700));
    assert_eq!(rig.ledger.imbalance(), None);
    assert!(is_empty(&rig), "all transit memory came back");
}

#[test]
fn a_worker_whose_block_can_never_have_its_turn_ends_and_the_block_fails() {
    let (done, ended) = std::sync::mpsc::channel();
    // Elsewhere: if it never ends, that is a failure and no wait without end.
    std::thread::spawn(move || {
        let rig = rig(1, 1);
        let mut shipper = Shipper::new(&rig, 0);
        let mut first = None;
        run_house(&rig, 0, |hire| {
            (0..20).for_each(|n| shipper.ship(&[format!("{n}")]));
            // Nobody works on it while the others are worked on, of which five fit behind it.
            first = rig.hallways[0].ring.pop();
            rig.domains.get(DomainId(0)).expect("its domain").sequencer.close();
            hire(0);
        });
        let mut settled = Vec::new();
        while let Some(one) = shipper.inlet.settled() {
            settled.push(one);
        }
        assert!(first.is_some());
        done.send(settled)
    });
    let settled = ended.recv_timeout(Duration::from_secs(60)).expect("it ends");
    assert_eq!(settled, (6..20).map(|n| (n, Status::Failed)).collect::<Vec<_>>());
}

#[test]
fn a_poison_entry_costs_itself_and_nothing_else() {
    let rig = rig(1, 1);
    let mut texts: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    texts[100] = "poison".into();
    let (sent, settled) = run(&rig, 3, &texts);
    let expected: Vec<_> =
        texts.iter().filter(|text| *text != "poison" && !text.ends_with('9')).cloned().collect();
    assert_eq!(sent, vec![expected; LANES]);
    assert_eq!(settled.iter().filter(|status| **status == Status::Dropped).count(), 1);
    assert_eq!(rig.ledger.sources[0].row.dropped.get(Reason::Panic), 1);
    assert_eq!(rig.ledger.imbalance(), None);
}

fn dedupe() -> StepSpec {
    let config: DedupeConfig = serde_yaml::from_str("{ fields: message, window: 1h }").expect("a config");
    StepSpec::Ordered(config.make().expect("a step"))
}

#[test]
fn what_ordered_steps_take_out_is_gone_from_every_lane_and_every_sum() {
    // The stall behind the dedupe has its own opinion of entries that are already out: `9` discards.
    let throttle: ThrottleConfig = serde_yaml::from_str("{ rate: 150, every: 1h }").expect("a config");
    let throttle = StepSpec::Ordered(throttle.make().expect("a step"));
    let lanes =
        [None, Some("message =~ '^1'")].map(|text| text.map(|text| Expr::compile(text).expect("it is one")));
    let rig = rig_of(|stall| vec![dedupe(), StepSpec::Custom(Box::new(stall)), throttle], lanes.into());
    // Every text three times, close together, so that equals are in one block and in several, far apart.
    let texts: Vec<String> = (0..900).map(|n| (n / 5 % 200 + n / 500 * 200).to_string()).collect();
    let (sent, settled) = run(&rig, 4, &texts);
    let mut known = HashSet::new();
    let distinct: Vec<_> = texts.iter().filter(|text| known.insert(*text)).cloned().collect();
    let left: Vec<_> = distinct.iter().filter(|text| !text.ends_with('9')).cloned().collect();
    let throttled = left.len() - 150;
    let expected: Vec<_> = left.into_iter().take(150).collect();
    let ones: Vec<_> = expected.iter().filter(|text| text.starts_with('1')).cloned().collect();
    let row = &rig.ledger.sources[0].row;
    let filtered = (texts.len() - expected.len() - throttled) as u64;
    assert_eq!((row.filtered.get(), row.dropped.get(Reason::Throttle)), (filtered, throttled as u64));
    assert_eq!((row.routed.get(), row.fan_out_extra.get()), (150, ones.len() as u64));
    assert!(throttled > 0 && !ones.is_empty());
    assert_eq!(sent, vec![expected, ones]);
    assert_eq!(settled, vec![Status::Delivered; 300], "the config took it out: nobody need give it again");
    assert_eq!(rig.ledger.imbalance(), None);
}

#[test]
fn an_entry_that_an_ordered_step_takes_out_cannot_be_poison_to_a_step_behind_it() {
    let rig = rig_of(|stall| vec![dedupe(), StepSpec::Custom(Box::new(stall))], vec![None; LANES]);
    let mut texts: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for at in [100, 101, 200] {
        texts[at] = "poison".into();
    }
    let (sent, _) = run(&rig, 3, &texts);
    let expected: Vec<_> =
        texts.iter().filter(|text| *text != "poison" && !text.ends_with('9')).cloned().collect();
    assert_eq!(sent, vec![expected; LANES]);
    let row = &rig.ledger.sources[0].row;
    assert_eq!((row.dropped.get(Reason::Panic), row.filtered.get()), (1, 32));
    assert_eq!((row.processed.get(), rig.ledger.imbalance()), (299, None));
}

/// Says that its source begins to give entries again, when it sees `again`.
struct Again(Arc<OnceLock<Named<SourceLedger>>>);

impl Step for Again {
    fn name(&self) -> &'static str {
        "again"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        if block.view(index).text() == b"again" {
            self.0.get().expect("the rig's").row.replayed_blocks.add(1);
        }
        Ok(Verdict::Keep)
    }
}

#[test]
fn what_a_source_gives_again_after_a_failure_is_no_duplicate() {
    let source = Arc::<OnceLock<_>>::default();
    let again = StepSpec::Custom(Box::new(Again(Arc::clone(&source))));
    let rig = rig_of(|_| vec![dedupe(), again], vec![None; LANES]);
    source.set(rig.ledger.sources[0].clone()).expect("once");
    let texts = ["a", "b", "a", "again", "a", "x", "a", "x", "b"].map(String::from);
    let (sent, _) = run(&rig, 1, &texts);
    assert_eq!(sent[0], ["a", "b", "again", "a", "x", "b"]);
    assert_eq!(rig.ledger.imbalance(), None);
}

/// What is left of `texts` behind the pipeline.
fn kept(texts: &[String]) -> Vec<String> {
    texts.iter().filter(|text| !text.ends_with('9')).cloned().collect()
}

#[test]
fn streams_that_change_places_between_two_pools_stay_in_order_and_no_pool_waits_for_the_other() {
    // One worker in each: if it waited for a block in the other's ring, nobody would take that out while the other's waits
    // for one in its own. Blocks of all tickets are in both rings, since nothing waits before a change.
    let rig = rig(2, 2);
    let texts: Vec<Vec<String>> =
        (0..2).map(|domain| (0..1_800).map(|n| format!("{domain} {n}")).collect()).collect();
    let mut shippers: Vec<_> = (0..2).map(|domain| Shipper::new(&rig, domain)).collect();
    let sent = run_house(&rig, 1, |_| {
        for round in 0..600 {
            for (domain, shipper) in shippers.iter_mut().enumerate() {
                // Three rounds here, three there, and the two against each other.
                shipper.assigned.assign(&rig.hallways[(round / 3 + domain) % 2]);
                shipper.ship(&texts[domain][3 * round..3 * round + 3]);
            }
        }
    });
    let expected: BTreeMap<_, _> = (0..2).map(|domain| (domain.to_string(), kept(&texts[domain]))).collect();
    assert_eq!(sent, vec![expected; LANES]);
    for shipper in shippers {
        assert_eq!(shipper.settled(), vec![Status::Delivered; 600]);
    }
    assert_eq!(rig.ledger.imbalance(), None);
    assert!(is_empty(&rig));
}

#[test]
fn an_inlet_whose_blocks_are_in_two_rings_goes_no_further_ahead_than_its_sequencer_lets_in() {
    let rig = rig(2, 1);
    let mut shipper = Shipper::new(&rig, 0);
    let texts: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    (0..2).for_each(|n| shipper.ship(&texts[3 * n..3 * n + 3]));
    shipper.assigned.assign(&rig.hallways[1]);
    // The window is 6: four more than the two that are in the other ring.
    (2..6).for_each(|n| shipper.ship(&texts[3 * n..3 * n + 3]));
    let mut block = shipper.inlet.open(ORDINARY).expect("there is room");
    block.begin_run(&shipper.stream);
    let offset = block.append(b"far").expect("it fits");
    block.push(Entry::at(offset, 3));
    let Err((block, mark)) = shipper.inlet.ship(block, 6) else { panic!("that would be too far ahead") };
    assert_eq!(rig.hallways[1].credits.used().entries, 12, "it holds no credits for what it could not ship");
    let drained = Arc::clone(&rig.domains.get(DomainId(0)).expect("its domain").drained);
    drained.pass(0);
    assert!(shipper.inlet.ship(block, mark).is_ok(), "one more is let in when one is drained");
    // Once all in the other ring are drained it need not look any more.
    drained.pass(1);
    (7..20).for_each(|n| shipper.ship(&texts[3 * n..3 * n + 3]));
    assert_eq!([0, 1].map(|pool| rig.hallways[pool].ring.len()), [2, 18]);
}

#[test]
fn a_source_that_drops_its_oldest_gives_up_what_is_in_its_own_ring_only() {
    let rig = rig(2, 1);
    let mut shipper = Shipper::new(&rig, 0);
    shipper.inlet.set_strategy(Strategy::DropOldest);
    let texts: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    shipper.ship(&texts[0..3]);
    shipper.assigned.assign(&rig.hallways[1]);
    shipper.ship(&texts[3..6]);
    // Another source has all but one of the new pool's credits: the next block needs those of the one before.
    let most = rig.hallways[1].credits.free_entries() - 1;
    rig.hallways[1].credits.take(most, 0).expect("they are free");
    shipper.ship(&texts[6..9]);
    let given_up = |pool: usize| {
        let shipments = std::iter::from_fn(|| rig.hallways[pool].ring.pop());
        shipments.map(|shipment| !shipment.whole.claim().take()).collect::<Vec<_>>()
    };
    assert_eq!([given_up(0), given_up(1)], [vec![false], vec![true, false]]);
    assert_eq!(rig.hallways[0].credits.used().entries, 3);
    assert_eq!(rig.hallways[1].credits.used().entries, most + 3);
}

#[test]
fn workers_come_and_go_between_blocks_and_nothing_is_lost_or_disordered() {
    let rig = rig(1, 1);
    let texts: Vec<String> = (0..6_000).map(|n| n.to_string()).collect();
    let mut shipper = Shipper::new(&rig, 0);
    let sent = run_house(&rig, 1, |hire| {
        let mut seats = Vec::new();
        for (round, texts) in texts.chunks(3).enumerate() {
            shipper.ship(texts);
            match round % 7 {
                0 => seats.push(hire(0)),
                5 => seats.remove(0).tell_to_leave(&rig.hallways[0].ring),
                _ => {}
            }
        }
    });
    assert_eq!(sent, vec![BTreeMap::from([("0".to_owned(), kept(&texts))]); LANES]);
    assert_eq!(shipper.settled(), vec![Status::Delivered; 2_000]);
    assert!(rig.ledger.imbalance().is_none() && is_empty(&rig));
}
