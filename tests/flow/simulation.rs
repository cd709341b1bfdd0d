//! A lane with a sink and arrivals that are computed: the shipped queue, batcher and limit, but no thread and no clock.
//!
//! Events are arrivals (a block every millisecond), answers of the sink, and moments the batcher asked for. Time is a
//! number that jumps from one to the next, so that a minute takes a second or so and the same seed gives the same figures.

use ringmain::ack::{Ack, Return, Status};
use ringmain::block::{Block, Blocks};
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::lane::batcher::{BatchLimits, Batcher, Due, FlowControl, InFlightLimits};
use ringmain::lane::{Lane, LaneSpec, Quota, Taken};
use ringmain::ledger::Named;
use ringmain::pool::Shared;
use ringmain::sources::inlet::Strategy;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const MS: Duration = Duration::from_millis(1);
/// A block comes every so often.
const TICK: Duration = MS;

/// How the sink takes what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// What a request takes whatever it carries, in milliseconds.
    pub fixed_ms: f64,
    /// What each entry adds, in microseconds.
    pub entry_us: f64,
    /// How many requests it works on at once; others wait there.
    pub parallel: usize,
}

/// 20 ms a request and 20 us an entry.
pub const ORDINARY: Sink = Sink { fixed_ms: 20.0, entry_us: 20.0, parallel: usize::MAX };

impl Sink {
    /// How long it takes for a request with so many entries.
    pub fn takes(&self, entries: usize) -> Duration {
        Duration::from_secs_f64(self.fixed_ms / 1e3 + entries as f64 * self.entry_us / 1e6)
    }
}

/// What is simulated.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    /// Entries a second at a time since the start, in seconds.
    pub rate: fn(f64) -> f64,
    /// The sink at that time.
    pub sink: fn(f64) -> Sink,
    pub streams: usize,
    /// Whether the order of streams is kept.
    pub ordered: bool,
    pub span: Duration,
    /// Entries before this count as dropped or not, but not for the percentiles.
    pub measured_from: Duration,
    /// Most entries that may wait.
    pub queue: usize,
    pub limits: BatchLimits,
    pub flow: FlowControl,
    pub in_flight: InFlightLimits,
    pub seed: u64,
    /// Whether the sink's answers are as irregular as real ones: a tenth either way, and one in a hundred takes three times.
    pub noise: bool,
}

impl Scenario {
    /// What is the same in all: the defaults, an ordinary sink, and a queue of 100,000.
    pub fn ordinary(name: &'static str, rate: fn(f64) -> f64) -> Scenario {
        Scenario {
            name,
            rate,
            sink: |_| ORDINARY,
            streams: 1000,
            ordered: false,
            span: Duration::from_secs(20),
            measured_from: Duration::from_secs(2),
            queue: 100_000,
            limits: BatchLimits {
                batch_size: 100,
                batch_timeout: Duration::from_secs(5),
                max_entries: 10_000,
                max_bytes: 1 << 20,
            },
            flow: FlowControl { enabled: true, target_latency: 100 * MS, adjustment_factor: 0.1 },
            in_flight: InFlightLimits { start: 1, most: 8 },
            seed: 0,
            noise: true,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub arrived: u64,
    pub dropped: u64,
    pub delivered: u64,
    /// Delivered a second within the measured span.
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    pub requests: u64,
    /// Of the last batches.
    pub batch: usize,
    pub in_flight: usize,
    pub most_in_flight: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>7.0}/s, p50 {:>5.0} ms, p99 {:>5.0} ms, {} of {} dropped, {} requests, at the end batches of {}, {} at \
             once ({} at most)",
            self.rate,
            self.p50,
            self.p99,
            self.dropped,
            self.arrived,
            self.requests,
            self.batch,
            self.in_flight,
            self.most_in_flight
        )
    }
}

struct Nobody;

impl Return for Nobody {
    fn settled(&self, _: u64, _: Status) {}
}

/// A block of so many entries of one stream after another, as workers leave it.
fn block(blocks: &Blocks, streams: &[Arc<Stream>], entries: usize) -> Shared<Block> {
    let mut block = blocks.get(ringmain::block::ORDINARY);
    let each = entries.div_ceil(streams.len());
    for (at, stream) in streams.iter().enumerate() {
        let share = each.min(entries.saturating_sub(at * each));
        if share > 0 {
            block.begin_run(stream);
        }
        for _ in 0..share {
            let offset = block.append(b"x\n").expect("it fits");
            block.push(Entry::at(offset, 1));
        }
    }
    block.reset_side();
    block.open_selections(1, 1);
    (0..entries).for_each(|at| block.select_word(1, at / 64, 1 << (at % 64)));
    block.add_cuts(0, 1);
    block.share()
}

struct World {
    scenario: Scenario,
    random: fastrand::Rng,
    zero: Instant,
    now: Duration,
    lane: Lane,
    /// When what waits or is sent came, by stream.
    came: HashMap<usize, VecDeque<(Duration, usize)>>,
    waiting: usize,
    /// Requests the sink works on: when each is done.
    under_way: BinaryHeap<Reverse<(Duration, u64)>>,
    /// Requests that wait at the sink.
    at_the_door: VecDeque<u64>,
    requests: HashMap<u64, (Taken, Duration)>,
    next: u64,
    look: Option<Duration>,
    outcome: Outcome,
    latencies: Vec<(f64, usize)>,
}

/// Runs the scenario to its end.
pub fn run(scenario: &Scenario) -> Outcome {
    let blocks = Blocks::new(0);
    let lane = Lane::new(LaneSpec {
        sink: Named::new("sink", "simulated"),
        quota: Quota { high: usize::MAX / 2, low: usize::MAX / 4 },
        ordered: scenario.ordered,
        gates: Vec::new(),
        blocks: blocks.clone(),
        batcher: Batcher::new(scenario.limits, scenario.flow).with_in_flight(scenario.in_flight),
    });
    let outcome = Outcome {
        arrived: 0,
        dropped: 0,
        delivered: 0,
        rate: 0.0,
        p50: 0.0,
        p99: 0.0,
        requests: 0,
        batch: 0,
        in_flight: 0,
        most_in_flight: 0,
    };
    let mut world = World {
        scenario: scenario.clone(),
        random: fastrand::Rng::with_seed(scenario.seed),
        zero: Instant::now(),
        now: Duration::ZERO,
        lane,
        came: HashMap::new(),
        waiting: 0,
        under_way: BinaryHeap::new(),
        at_the_door: VecDeque::new(),
        requests: HashMap::new(),
        next: 0,
        look: None,
        outcome,
        latencies: Vec::new(),
    };
    world.run(&blocks);
    world.sum_up()
}

impl World {
    fn run(&mut self, blocks: &Blocks) {
        let streams: Vec<_> = (0..self.scenario.streams)
            .map(|n| {
                Arc::new(Stream::new(SourceId(0), "in".into(), "test", n.to_string(), Labels::default()))
            })
            .collect();
        // Blocks are made once for each number of entries and streams they begin at: their text plays no part.
        let mut made: HashMap<(usize, usize), Shared<Block>> = HashMap::new();
        let (mut tick, mut owed) = (Duration::ZERO, 0.0);
        while tick < self.scenario.span || !self.under_way.is_empty() || self.look.is_some() {
            let arrival = (tick < self.scenario.span).then_some(tick);
            let answer = self.under_way.peek().map(|Reverse((at, _))| *at);
            let Some(next) = [arrival, answer, self.look].into_iter().flatten().min() else { break };
            self.now = next;
            if answer == Some(next) {
                self.answer();
            } else if arrival == Some(next) {
                owed += (self.scenario.rate)(tick.as_secs_f64()) * TICK.as_secs_f64();
                let entries = owed as usize;
                owed -= entries as f64;
                if entries > 0 {
                    let first = self.random.usize(..streams.len());
                    let several = (entries / 10).clamp(1, 8).min(streams.len() - first);
                    let (streams, key) = (&streams[first..first + several], (entries, first));
                    let block = made.entry(key).or_insert_with(|| block(blocks, streams, entries)).clone();
                    self.arrive(&block);
                }
                tick += TICK;
            }
            self.send();
        }
    }

    fn instant(&self) -> Instant {
        self.zero + self.now
    }

    fn arrive(&mut self, block: &Shared<Block>) {
        let entries = block.entries().len();
        self.outcome.arrived += entries as u64;
        if self.waiting + entries > self.scenario.queue {
            self.outcome.dropped += entries as u64;
            return;
        }
        self.waiting += entries;
        for cut in block.cuts() {
            let stream = origin(block, cut.range.start);
            self.came.entry(stream).or_default().push_back((self.now, cut.entries as usize));
        }
        let whole = Arc::new(Ack::new(0, Arc::new(Nobody) as Arc<dyn Return>)).whole();
        self.lane.push(block, block.cuts(), &whole, Strategy::Block, self.instant());
        whole.settle(Status::Delivered);
    }

    /// Senders take what is due.
    fn send(&mut self) {
        self.look = None;
        while self.requests.len() < self.scenario.in_flight.most {
            match self.lane.try_cut(self.instant()) {
                Ok(taken) => {
                    self.requests.insert(self.next, (taken, self.now));
                    self.at_the_door.push_back(self.next);
                    self.next += 1;
                }
                Err(Due::In(wait)) => {
                    self.look = Some(self.now + wait);
                    break;
                }
                Err(_) => break,
            }
        }
        self.outcome.most_in_flight = self.outcome.most_in_flight.max(self.requests.len());
        self.serve();
    }

    /// The sink begins with as many as it works on at once.
    fn serve(&mut self) {
        let sink = (self.scenario.sink)(self.now.as_secs_f64());
        while self.under_way.len() < sink.parallel
            && let Some(number) = self.at_the_door.pop_front()
        {
            let mut takes = sink.takes(self.requests[&number].0.batch.len());
            if self.scenario.noise {
                takes = takes.mul_f64(0.9 + 0.2 * self.random.f64());
                takes = takes.mul_f64(if self.random.f64() < 0.01 { 3.0 } else { 1.0 });
            }
            self.under_way.push(Reverse((self.now + takes, number)));
        }
    }

    /// The sink took a batch.
    fn answer(&mut self) {
        let Some(Reverse((_, number))) = self.under_way.pop() else { return };
        let (taken, sent) = self.requests.remove(&number).expect("it was sent");
        self.outcome.requests += 1;
        self.outcome.batch = taken.batch.len();
        self.outcome.delivered += taken.batch.len() as u64;
        self.waiting -= taken.batch.len();
        for part in taken.batch.parts() {
            let came = self.came.get_mut(&origin(&part.block, part.range.start)).expect("it came");
            let mut left = part.entries as usize;
            while left > 0 {
                let (at, some) = came.front_mut().expect("as many as came");
                let now = left.min(*some);
                if *at >= self.scenario.measured_from {
                    self.latencies.push(((self.now - *at).as_secs_f64() * 1e3, now));
                }
                (left, *some) = (left - now, *some - now);
                if *some == 0 {
                    came.pop_front();
                }
            }
        }
        self.lane.finish(taken, self.now - sent, 0);
    }

    fn sum_up(mut self) -> Outcome {
        self.latencies.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let all: usize = self.latencies.iter().map(|(_, entries)| entries).sum();
        let percentile = |share: f64| {
            let mut before = 0;
            let reached = |(_, entries): &&(f64, usize)| {
                before += entries;
                before as f64 >= share * all as f64
            };
            self.latencies.iter().find(reached).map_or(0.0, |(latency, _)| *latency)
        };
        let (p50, p99) = (percentile(0.5), percentile(0.99));
        let span = self.now.saturating_sub(self.scenario.measured_from).as_secs_f64();
        let in_flight = self.lane.view(self.instant()).in_flight_limit;
        Outcome { p50, p99, rate: all as f64 / span, in_flight, ..self.outcome }
    }
}

fn origin(block: &Block, at: u32) -> usize {
    block.stream_of(at as usize).origin.parse().expect("a number")
}
