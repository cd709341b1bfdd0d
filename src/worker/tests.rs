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
use crate::sources::inlet::{DomainId, Gate, Inlet, InletSpec};
use crate::steps::ordered::config::{DedupeConfig, ThrottleConfig};
use crate::steps::pipeline::StepSpec;
use crate::steps::{Step, StepError, Verdict};
use crate::thread::{Threads, WaitList, Wake};
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
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
    hallway: Arc<Hallway>,
    ledger: Ledger,
    lanes: Vec<Arc<Lane>>,
    domains: Arc<Domains>,
    stall: Arc<Stall>,
    gate: Arc<Gate>,
}

const LANES: usize = 2;

fn rig() -> Rig {
    rig_of(|stall| vec![StepSpec::Custom(Box::new(stall))], vec![None; LANES])
}

/// A rig whose lanes have these conditions.
fn rig_of(steps: impl FnOnce(StallStep) -> Vec<StepSpec>, conditions: Vec<Option<Expr>>) -> Rig {
    let blocks = Blocks::new(0);
    let limit = Amount { entries: 10_000, bytes: 8 << 20 };
    let hallway = Arc::new(Hallway {
        ring: Ring::new(64),
        credits: Credits::new(limit, Watermarks::default()),
        freed: WaitList::default(),
        transit: Budget::new(16 << 20),
        blocks: blocks.clone(),
        block_entries: 100,
    });
    let ledger = Ledger {
        sources: vec![Named::<SourceLedger>::new("in", "test")],
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
    let pipeline = Pipeline::compile(steps(StallStep(Arc::clone(&stall)))).expect("it compiles");
    let plan = Plan::new(pipeline, Routes::new(conditions), lanes.clone());
    // Narrow: workers that are far ahead have to wait for the stalled one.
    let domain = Domain::new(ledger.sources[0].clone(), Sequencer::new(6), Arc::new(plan));
    let domains = Arc::new(Domains::default());
    domains.add(domain);
    Rig { hallway, ledger, lanes, domains, stall, gate }
}

/// Ships `texts` in blocks of three, runs `workers` and one sender per lane, and gives what each lane sent and how
/// each block was settled.
fn run(rig: &Rig, workers: usize, texts: &[String]) -> (Vec<Vec<String>>, Vec<Status>) {
    let telemetry = Telemetry::new();
    let spec = InletSpec {
        domain: DomainId(0),
        source: rig.ledger.sources[0].clone(),
        strategy: Strategy::Block,
        gate: Arc::clone(&rig.gate),
        hallway: Arc::clone(&rig.hallway),
        limits: crate::sources::rate::Limits::default(),
    };
    let mut inlet: Inlet<usize> = Inlet::new(spec, Arc::new(Nobody));
    let stream = Arc::new(Stream::new(SourceId(0), "in".into(), "test", "one", Labels::default()));
    let threads = Threads::default();
    let mut settled = Vec::new();
    let sent = std::thread::scope(|scope| {
        let (threads, domains, hallway) = (&threads, &rig.domains, &rig.hallway);
        let row = move || {
            let done = threads.spawn("row", &[], |_| ()).expect("a thread");
            done.join().expect("no panic");
            threads.rows().pop().expect("its row")
        };
        let crew: Vec<_> = (0..workers)
            .map(|_| {
                let telemetry = telemetry.workers();
                scope.spawn(move || {
                    Worker {
                        hallway: Arc::clone(hallway),
                        domains: Arc::clone(domains),
                        telemetry,
                        taps: Arc::default(),
                    }
                    .run(&row())
                })
            })
            .collect();
        let senders: Vec<_> = rig
            .lanes
            .iter()
            .map(|lane| {
                scope.spawn(move || {
                    let (row, mut sent) = (row(), Vec::new());
                    while let Some(taken) = lane.cut(&row, FIRST_CREW) {
                        let text = |entry: crate::block::EntryView<'_>| {
                            String::from_utf8_lossy(entry.text()).into_owned()
                        };
                        sent.extend(taken.batch.iter().map(text));
                        lane.finish(taken, Duration::ZERO, 0);
                    }
                    sent
                })
            })
            .collect();
        for (number, texts) in texts.chunks(3).enumerate() {
            let mut block = loop {
                match inlet.open(ORDINARY) {
                    Some(block) => break block,
                    None => std::thread::yield_now(),
                }
            };
            block.begin_run(&stream);
            for text in texts {
                let offset = block.append(text.as_bytes()).expect("it fits");
                block.push(Entry::at(offset, text.len() as u32));
            }
            let mut refused = inlet.ship(block, number).err();
            while let Some((block, mark)) = refused {
                std::thread::yield_now();
                refused = inlet.ship(block, mark).err();
            }
        }
        rig.hallway.ring.close();
        crew.into_iter().for_each(|worker| worker.join().expect("a worker survives"));
        rig.lanes.iter().for_each(|lane| lane.close());
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    });
    while let Some((number, status)) = inlet.settled() {
        settled.push((number, status));
    }
    assert!(inlet.is_idle(), "every block was settled");
    settled.sort_by_key(|(number, _)| *number);
    (sent, settled.into_iter().map(|(_, status)| status).collect())
}

#[test]
fn one_stream_served_by_several_stalled_workers_comes_out_in_order_at_every_sink() {
    let rig = rig();
    let texts: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    let (sent, settled) = run(&rig, 4, &texts);
    let expected: Vec<_> = texts.iter().filter(|text| !text.ends_with('9')).cloned().collect();
    assert_eq!(sent, vec![expected; LANES]);
    assert!(rig.stall.served_by.lock().len() >= 2, "at least two workers served the stream");
    assert_eq!(settled, vec![Status::Delivered; 1_000]);
    let row = &rig.ledger.sources[0].row;
    assert_eq!((row.received.get(), row.filtered.get(), row.routed.get()), (3_000, 300, 2_700));
    assert_eq!(rig.ledger.imbalance(), None);
    assert_eq!(rig.hallway.transit.used(), 0, "all transit memory came back");
}

#[test]
fn a_poison_entry_costs_itself_and_nothing_else() {
    let rig = rig();
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
