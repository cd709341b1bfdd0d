//! The lane with a hand for a sender: order, sizes, memory.

use super::batcher::{BatchLimits, FlowControl};
use super::*;
use crate::ack::{Ack, Return};
use crate::block::ORDINARY;
use crate::entry::Entry;
use crate::labels::{Labels, Stream};
use crate::thread::Threads;
use std::collections::HashMap;

struct Heard(Mutex<Vec<(u64, Status)>>);
impl Return for Heard {
    fn settled(&self, number: u64, status: Status) {
        self.0.lock().push((number, status));
    }
}

struct Rig {
    lane: Lane,
    gate: Arc<Gate>,
    blocks: Blocks,
    heard: Arc<Heard>,
    sent: u64,
    now: Instant,
}

fn stream(source: u16, origin: &str) -> Arc<Stream> {
    Arc::new(Stream::new(SourceId(source), "s".into(), "test", origin, Labels::default()))
}

fn rig(batch_size: usize, quota: Quota, ordered: bool) -> Rig {
    rig_of(batch_size, 1 << 30, quota, ordered)
}

fn rig_of(batch_size: usize, max_bytes: u64, quota: Quota, ordered: bool) -> Rig {
    let limits =
        BatchLimits { batch_size, batch_timeout: Duration::ZERO, max_entries: batch_size, max_bytes };
    let flow = FlowControl { enabled: false, target_latency: Duration::ZERO, adjustment_factor: 0.1 };
    let (gate, blocks) = (Arc::new(Gate::default()), Blocks::new(0));
    let spec = LaneSpec {
        sink: Named::new("out", "test"),
        quota,
        ordered,
        gates: vec![Arc::clone(&gate)],
        blocks: blocks.clone(),
        batcher: Batcher::new(limits, flow),
    };
    let heard = Arc::new(Heard(Mutex::new(Vec::new())));
    Rig { lane: Lane::new(spec), gate, blocks, heard, sent: 0, now: Instant::now() }
}

const WIDE: Quota = Quota { high: 1 << 30, low: 1 << 29 };

impl Rig {
    /// A block with the given lines of each stream, of which the lane gets those that `keep`.
    fn push(
        &mut self,
        runs: &[(&Arc<Stream>, &[String])],
        size: usize,
        strategy: Strategy,
        keep: impl Fn(usize) -> bool,
    ) {
        let mut block = self.blocks.get(size);
        for (stream, lines) in runs {
            block.begin_run(stream);
            for line in lines.iter() {
                let offset = block.append(line.as_bytes()).expect("fits");
                block.append(b"\n").expect("fits");
                block.push(Entry::at(offset, line.len() as u32));
            }
        }
        block.reset_side();
        block.open_selections(1, 1);
        (0..block.entries().len())
            .filter(|at| keep(*at))
            .for_each(|at| block.select_word(1, at / 64, 1 << (at % 64)));
        block.add_cuts(0, 1);
        let ack = Arc::new(Ack::new(self.sent, Arc::clone(&self.heard) as Arc<dyn Return>));
        self.sent += 1;
        let (block, whole) = (block.share(), ack.whole());
        self.lane.push(&block, block.cuts(), &whole, strategy, self.now);
        whole.settle(Status::Delivered);
    }

    fn cut(&self) -> Option<Taken> {
        // A lane that has nothing due would put the thread to sleep: the tests only ask when something is.
        let threads = Threads::default();
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let row = threads.spawn("x", &[], |_| ()).map(|_| threads.rows());
                    self.lane.cut(&row.expect("a thread")[0], FIRST_CREW)
                })
                .join()
                .expect("no panic")
        })
    }

    fn texts(taken: &Taken) -> Vec<(String, String)> {
        let text = |entry: crate::block::EntryView<'_>| {
            (entry.stream().origin.to_string(), String::from_utf8_lossy(entry.text()).into_owned())
        };
        taken.batch.iter().map(text).collect()
    }

    fn assert_empty(&self) {
        let (view, row) = (self.lane.view(self.now), &self.lane.sink.row);
        assert_eq!((view.entries, view.bytes, view.pinned), (0, 0, 0));
        assert_eq!((row.in_flight.get(), row.pinned_bytes.get()), (0, 0));
        assert_eq!(row.copies.get(), row.delivered.get() + row.dropped.total());
        assert_eq!(self.heard.0.lock().len() as u64, self.sent);
        for (size, made, free) in self.blocks.census() {
            assert_eq!(made, free, "every block of {size} bytes came home");
        }
    }
}

fn lines(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{prefix}{n}")).collect()
}

#[test]
fn batches_have_exactly_their_size_and_everything_comes_out_in_order() {
    let mut rig = rig(100, WIDE, true);
    let a = stream(0, "a");
    for block in 0..7 {
        rig.push(&[(&a, &lines("", block * 37..(block + 1) * 37))], ORDINARY, Strategy::Block, |_| true);
    }
    rig.lane.close();
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    while let Some(taken) = rig.cut() {
        seen.extend(Rig::texts(&taken).into_iter().map(|(_, text)| text));
        sizes.push(taken.batch.len());
        rig.lane.finish(taken, Duration::ZERO, 0);
    }
    assert_eq!(seen, lines("", 0..259));
    assert_eq!(sizes, [100, 100, 59]);
    assert!(rig.heard.0.lock().iter().all(|(_, status)| *status == Status::Delivered));
    rig.assert_empty();
}

#[test]
fn two_senders_never_hold_entries_of_one_stream_at_once() {
    let mut rig = rig(10, WIDE, true);
    let (a, b) = (stream(0, "a"), stream(0, "b"));
    rig.push(&[(&a, &lines("a", 0..15)), (&b, &lines("b", 0..5))], ORDINARY, Strategy::Block, |_| true);
    let first = rig.cut().expect("due");
    let second = rig.cut().expect("due");
    let origins = |taken: &Taken| Rig::texts(taken).into_iter().map(|(origin, _)| origin).collect::<Vec<_>>();
    assert_eq!(origins(&first), ["a"; 10]);
    assert_eq!(origins(&second), ["b"; 5], "stream a is busy, so the other sender passes it by");
    let view = rig.lane.view(rig.now + Duration::from_secs(3));
    assert_eq!(
        (view.entries, view.oldest),
        (5, Some(Duration::from_secs(3))),
        "the rest of it is seen to wait"
    );
    rig.lane.finish(first, Duration::ZERO, 0);
    let third = rig.cut().expect("due");
    assert_eq!(Rig::texts(&third)[0].1, "a10");
    rig.lane.finish(third, Duration::ZERO, 0);
    (0..2).for_each(|place| second.batch.progress().refuse(place, "no"));
    rig.lane.finish(second, Duration::ZERO, 0);
    assert_eq!(rig.lane.sink.row.dropped.get(Reason::Rejected), 2);
    assert_eq!(*rig.heard.0.lock(), [(0, Status::Dropped)]);
    rig.assert_empty();
}

#[test]
fn without_order_a_second_sender_takes_the_rest_of_a_stream() {
    let mut rig = rig(10, WIDE, false);
    let a = stream(0, "a");
    rig.push(&[(&a, &lines("a", 0..15))], ORDINARY, Strategy::Block, |_| true);
    let (first, second) = (rig.cut().expect("due"), rig.cut().expect("due"));
    assert_eq!((first.batch.len(), Rig::texts(&second)[0].1.as_str()), (10, "a10"));
    rig.lane.finish(second, Duration::ZERO, 0);
    rig.lane.finish(first, Duration::ZERO, 0);
    rig.assert_empty();
}

#[test]
fn one_entry_in_a_thousand_does_not_pin_the_block_it_came_in() {
    let mut rig = rig(1_000_000, Quota { high: 4 << 20, low: 3 << 20 }, true);
    let a = stream(0, "a");
    // 64 MiB of blocks, one entry of each for this lane, and a sender that never comes.
    for block in 0..1000 {
        let text: Vec<String> = (0..250).map(|n| format!("{block} {n} {}", "x".repeat(240))).collect();
        rig.push(&[(&a, &text)], ORDINARY, Strategy::Block, |at| at == 100);
    }
    let view = rig.lane.view(rig.now);
    assert_eq!(view.entries, 1000);
    assert!(view.pinned < 1 << 20, "{} bytes pinned for 250 kB of text", view.pinned);
    assert!(rig.gate.is_open());
    let made: usize = rig.blocks.census().iter().map(|(size, made, free)| size * (made - free)).sum();
    assert!(made < 1 << 20, "{made} bytes of blocks are out");
    rig.lane.close();
    let taken = rig.cut().expect("due");
    let texts = Rig::texts(&taken);
    assert!(texts.iter().enumerate().all(|(block, (_, text))| text.starts_with(&format!("{block} 100 x"))));
    rig.lane.finish(taken, Duration::ZERO, 0);
    rig.assert_empty();
}

#[test]
fn a_full_lane_closes_the_gate_and_opens_it_when_memory_comes_back() {
    let mut rig = rig(100, Quota { high: 10 * ORDINARY, low: 5 * ORDINARY }, true);
    let a = stream(0, "a");
    let text: Vec<String> = (0..100).map(|n| format!("{n:0600}")).collect();
    let mut pushed = 0;
    while rig.gate.is_open() {
        rig.push(&[(&a, &text)], ORDINARY, Strategy::Block, |_| true);
        pushed += 1;
    }
    assert!((6..=11).contains(&pushed), "{pushed} blocks of 64 KiB and their index fill 640 KiB");
    let mut finished = 0;
    while !rig.gate.is_open() {
        rig.lane.finish(rig.cut().expect("due"), Duration::ZERO, 0);
        finished += 1;
    }
    assert!(finished >= pushed / 3, "the gate waits for the low mark");
    (finished..pushed).for_each(|_| rig.lane.finish(rig.cut().expect("due"), Duration::ZERO, 0));
    rig.assert_empty();
}

#[test]
fn over_the_mark_a_run_s_own_strategy_says_what_goes() {
    for (strategy, reason) in
        [(Strategy::DropOldest, Reason::DropOldest), (Strategy::DropNewest, Reason::DropNewest)]
    {
        let mut rig = rig(1000, Quota { high: 4 * ORDINARY, low: 2 * ORDINARY }, true);
        let (patient, a) = (stream(1, "patient"), stream(0, "a"));
        let text = |from: usize| (from..from + 100).map(|n| format!("{n:0600}")).collect::<Vec<_>>();
        rig.push(&[(&patient, &text(0))], ORDINARY, Strategy::Block, |_| true);
        for block in 0..20 {
            rig.push(&[(&a, &text(block * 100))], ORDINARY, strategy, |_| true);
        }
        let dropped = rig.lane.sink.row.dropped.get(reason);
        assert!(dropped > 0 && dropped == rig.lane.sink.row.dropped.total());
        rig.lane.close();
        let mut kept: HashMap<String, Vec<usize>> = HashMap::new();
        while let Some(taken) = rig.cut() {
            for (origin, text) in Rig::texts(&taken) {
                kept.entry(origin).or_default().push(text.parse().expect("a number"));
            }
            rig.lane.finish(taken, Duration::ZERO, 0);
        }
        assert_eq!(kept["patient"], (0..100).collect::<Vec<_>>(), "another source's entries are not touched");
        let lost = dropped as usize;
        let expected = match strategy {
            Strategy::DropOldest => (lost..2000).collect::<Vec<_>>(),
            _ => (0..2000 - lost).collect(),
        };
        assert_eq!(kept["a"], expected, "{strategy:?} keeps the end it is named for");
        rig.assert_empty();
    }
}

#[test]
fn a_run_of_more_bytes_than_a_batch_may_have_is_cut_and_an_entry_of_more_goes_alone() {
    let mut rig = rig_of(10_000, 40, WIDE, true);
    let one = stream(0, "one");
    let long = "x".repeat(100);
    let mut all = lines("0123456789abcde", 0..10);
    all.insert(5, long.clone());
    rig.push(&[(&one, &all)], 4 << 10, Strategy::Block, |_| true);
    let (mut out, mut sizes) = (Vec::new(), Vec::new());
    while out.len() < all.len() {
        let taken = rig.cut().expect("something is due");
        sizes.push(taken.batch.len());
        out.extend(Rig::texts(&taken).into_iter().map(|(_, text)| text));
        rig.lane.finish(taken, Duration::ZERO, 0);
    }
    assert_eq!((out, sizes), (all, vec![2, 2, 1, 1, 2, 2, 1]));
    rig.assert_empty();
}
