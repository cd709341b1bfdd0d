//! A sender with a sink that does as it is told, and dead letters that can be shut.

use super::letters::{Letter, LetterReason};
use super::retry::Retry;
use super::*;
use crate::ack::Status;
use crate::labels::Stream;
use crate::lane::batcher::{BatchLimits, Batcher, FlowControl};
use crate::lane::{FIRST_CREW, LaneSpec, Quota};
use crate::ledger::{Named, Reason, SinkLedger};
use crate::metrics::Telemetry;
use crate::sinks::config::BreakerConfig;
use crate::sinks::testing::{Heard, block_of, stream};
use crate::sources::inlet::Strategy;
use crate::thread::Threads;
use parking_lot::Mutex;
use std::io;

const MS: Duration = Duration::from_millis(1);

/// What a sink does with one attempt, by the texts it is sent.
type Act = Box<dyn Fn(usize, &[String]) -> Result<(), SendError> + Send + Sync>;

struct Told {
    act: Act,
    sent: Mutex<Vec<Vec<String>>>,
}

impl Sink for Told {
    fn kind(&self) -> &'static str {
        "told"
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let texts: Vec<_> =
            batch.iter().map(|entry| String::from_utf8_lossy(entry.text()).into_owned()).collect();
        self.sent.lock().push(texts.clone());
        let attempt = self.sent.lock().len();
        (self.act)(attempt, &texts)
    }
}

#[derive(Default)]
struct Drawer {
    /// How many calls fail first.
    shut: Mutex<usize>,
    kept: Mutex<Vec<(String, LetterReason, Option<u16>, String, u32)>>,
}

impl DeadLetters for Drawer {
    fn keep(&self, letters: &[Letter<'_>]) -> io::Result<()> {
        let mut shut = self.shut.lock();
        if *shut > 0 {
            *shut -= 1;
            return Err(io::Error::other("disk full"));
        }
        for one in letters {
            assert!(one.first_failed_ms > 1_600_000_000_000 && one.sink == "out");
            let text = String::from_utf8_lossy(one.entry.text()).into_owned();
            self.kept.lock().push((text, one.reason, one.status, one.why.to_owned(), one.attempts));
        }
        Ok(())
    }
}

struct Rig {
    sender: Sender,
    sink: Arc<Told>,
    drawer: Arc<Drawer>,
    heard: Arc<Heard>,
    now: Instant,
    blocks: u64,
}

fn rig(
    with_letters: bool,
    act: impl Fn(usize, &[String]) -> Result<(), SendError> + Send + Sync + 'static,
) -> Rig {
    let named: Named<SinkLedger> = Named::new("out", "told");
    let limits = BatchLimits {
        batch_size: 1000,
        batch_timeout: Duration::ZERO,
        max_entries: 1000,
        max_bytes: 1 << 20,
    };
    let flow = FlowControl { enabled: false, target_latency: Duration::ZERO, adjustment_factor: 0.1 };
    let lane = Arc::new(Lane::new(LaneSpec {
        sink: named.clone(),
        quota: Quota { high: 1 << 30, low: 1 << 29 },
        ordered: true,
        gates: Vec::new(),
        blocks: crate::block::Blocks::new(0),
        batcher: Batcher::new(limits, flow),
    }));
    let breaker =
        BreakerConfig { failure_threshold: 3, timeout: 20 * MS, success_threshold: 1, ..Default::default() };
    let (sink, drawer) =
        (Arc::new(Told { act: Box::new(act), sent: Mutex::default() }), Arc::new(Drawer::default()));
    let retry = Retry { backoff: MS, backoff_max: 2 * MS, multiplier: 2.0, jitter: false };
    let letters: Option<Arc<dyn DeadLetters>> = if with_letters { Some(drawer.clone()) } else { None };
    let sender = Sender {
        lane,
        crew: FIRST_CREW,
        sink: sink.clone(),
        circuit: Arc::new(Circuit::new(breaker, Arc::clone(&named.row))),
        patience: Patience { retry, max_retries: Some(2), auth_grace: 50 * MS },
        fallback: None,
        letters,
        attempt_max: Duration::from_secs(1),
        telemetry: Telemetry::new().sink("out"),
        taps: Arc::default(),
    };
    Rig { sender, sink, drawer, heard: Arc::default(), now: Instant::now(), blocks: 0 }
}

impl Rig {
    fn push(&mut self, stream: &Arc<Stream>, lines: &[String]) {
        let mut block = block_of(stream, lines);
        block.open_selections(1, 1);
        (0..lines.len()).for_each(|at| block.select_word(1, at / 64, 1 << (at % 64)));
        block.add_cuts(0, 1);
        let mut owned = crate::pool::Pool::default().get(|| crate::block::Block::new(1));
        *owned = block;
        let block = owned.share();
        let whole = Arc::new(crate::ack::Ack::new(self.blocks, self.heard.clone())).whole();
        self.blocks += 1;
        self.sender.lane.push(&block, block.cuts(), &whole, Strategy::Block, self.now);
        whole.settle(Status::Delivered);
    }

    /// Delivers what was pushed, and checks the sums.
    fn run(&self) {
        self.sender.lane.close();
        std::thread::scope(|scope| {
            let threads = Threads::default();
            let (tell, told) = std::sync::mpsc::channel();
            // A row of its own, for this thread.
            threads.spawn("x", &[], move |_| told.recv()).unwrap();
            let row = threads.rows().remove(0);
            scope.spawn(move || self.sender.run(&row)).join().unwrap();
            tell.send(()).unwrap();
        });
        let row = &self.sender.lane.sink().row;
        let kept = row.delivered.get() + row.dead_lettered.get() + row.dropped.total();
        assert_eq!((row.in_flight.get(), row.copies.get()), (0, kept));
    }

    fn sent(&self) -> usize {
        self.sink.sent.lock().len()
    }

    fn statuses(&self) -> Vec<(u64, Status)> {
        let mut heard = self.heard.0.lock().clone();
        heard.sort_by_key(|(number, _)| *number);
        heard
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn one() -> Arc<Stream> {
    stream("s", "one", &[])
}

fn refuses(bad: &'static str, said: fn() -> SendError) -> impl Fn(usize, &[String]) -> Result<(), SendError> {
    move |_, texts| if texts.iter().any(|text| text == bad) { Err(said()) } else { Ok(()) }
}

#[test]
fn one_bad_entry_in_a_thousand_is_a_dead_letter_and_the_others_arrive() {
    let mut rig = rig(true, refuses("617", || SendError::Reject(Said::with_status("bad", 400))));
    let (mut a, b) = (numbers(1000), numbers(3));
    rig.push(&one(), &a.split_off(500));
    rig.push(&one(), &a);
    rig.push(&stream("s", "two", &[]), &b);
    rig.run();
    assert!(rig.sent() <= 2 * 10 + 1 + 1, "{} requests", rig.sent());
    let kept = rig.drawer.kept.lock();
    let [(text, reason, status, why, attempts)] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(
        (text.as_str(), *reason, *status, why.as_str()),
        ("617", LetterReason::Rejected, Some(400), "bad")
    );
    assert!((10..=12).contains(attempts), "{attempts}");
    let row = &rig.sender.lane.sink().row;
    assert_eq!((row.delivered.get(), row.dead_lettered.get()), (1002, 1));
    assert_eq!(row.bisect_requests.get(), rig.sent() as u64 - 2);
    // Each block has the worst of its own entries, not of the batch's.
    let expected = [(0, Status::DeadLettered), (1, Status::Delivered), (2, Status::Delivered)];
    assert_eq!(rig.statuses(), expected);
}

#[test]
fn without_dead_letters_it_is_dropped_and_counted() {
    let mut rig = rig(false, refuses("3", || SendError::Reject("bad".into())));
    rig.push(&one(), &numbers(10));
    rig.run();
    let row = &rig.sender.lane.sink().row;
    assert_eq!((row.delivered.get(), row.dropped.get(Reason::Rejected)), (9, 1));
    assert_eq!(rig.statuses(), [(0, Status::Dropped)]);
}

#[test]
fn entries_named_one_by_one_need_no_search() {
    let mut rig = rig(true, |_, texts| {
        let refused = texts.iter().enumerate().filter(|(_, text)| text.ends_with('7'));
        let said = |(place, _)| (place, Said::with_status("too old", 400));
        Err(SendError::Partial(refused.map(said).collect()))
    });
    rig.push(&one(), &numbers(100));
    rig.run();
    assert_eq!((rig.sent(), rig.drawer.kept.lock().len()), (1, 10));
    assert!(rig.drawer.kept.lock().iter().all(|letter| letter.0.ends_with('7') && letter.4 == 1));
}

#[test]
fn answers_about_a_batch_are_counted_and_then_its_parts_are_tried() {
    let mut rig =
        rig(true, refuses("5", || SendError::Failed { said: Said::with_status("oops", 500), after: None }));
    rig.push(&one(), &numbers(8));
    rig.run();
    // Three times whole, then halves of 8, 4 and 2.
    assert_eq!(rig.sent(), 3 + 2 * 3);
    let kept = rig.drawer.kept.lock();
    let expected = ("5".to_string(), LetterReason::RetriesSpent, Some(500), "oops".to_string(), 6);
    assert_eq!(kept[..], [expected]);
    let row = &rig.sender.lane.sink().row;
    assert_eq!((row.delivered.get(), row.retries.get()), (7, 2));
    assert_eq!(row.breaker_changes[1].get(), 0, "an answer about data does not open the breaker");
}

#[test]
fn an_unwell_sink_is_tried_until_it_is_well_and_nothing_is_refused() {
    let mut rig = rig(true, |attempt, _| match attempt {
        1..=30 => Err(SendError::Retry { why: "no".into(), after: None }),
        _ => Ok(()),
    });
    rig.push(&one(), &numbers(10));
    rig.run();
    assert_eq!((rig.sent(), rig.drawer.kept.lock().len()), (31, 0));
    let row = &rig.sender.lane.sink().row;
    assert_eq!((row.delivered.get(), row.retries.get(), row.errors.get()), (10, 30, 30));
    // It opened at the third failure, and each probe but the last failed.
    let changes = row.breaker_changes.each_ref().map(|count| count.get());
    assert_eq!(changes, [1, 28, 28]);
}

#[test]
fn who_is_kept_out_gives_up_after_the_grace_and_not_before() {
    let begun = Instant::now();
    let mut rig = rig(true, move |_, _| Err(SendError::Denied(Said::with_status("who?", 401))));
    rig.push(&one(), &numbers(4));
    rig.run();
    assert!(begun.elapsed() >= 50 * MS);
    let kept = rig.drawer.kept.lock();
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|letter| letter.1 == LetterReason::Denied && letter.2 == Some(401)));
    assert!(rig.sender.lane.sink().row.denied_since.get() > 0);
}

#[test]
fn a_sink_that_lets_us_in_again_gets_everything() {
    let mut rig = rig(true, |attempt, _| match attempt {
        1..=4 => Err(SendError::Denied("who?".into())),
        _ => Ok(()),
    });
    rig.push(&one(), &numbers(4));
    rig.run();
    let row = &rig.sender.lane.sink().row;
    assert_eq!((row.delivered.get(), row.dead_lettered.get(), row.denied_since.get()), (4, 0, 0));
}

#[test]
fn a_sink_that_panics_on_an_entry_is_asked_twice_and_loses_that_one() {
    let mut rig = rig(true, |_, texts| {
        assert!(!texts.iter().any(|text| text == "2"), "on purpose");
        Ok(())
    });
    rig.push(&one(), &numbers(4));
    rig.run();
    let kept = rig.drawer.kept.lock();
    assert_eq!((kept.len(), kept[0].0.as_str(), kept[0].1), (1, "2", LetterReason::Panic));
    // Twice whole, 0-1, 2-3, 2, 3.
    assert_eq!((rig.sent(), rig.sender.lane.sink().row.delivered.get()), (6, 3));
}

#[test]
fn dead_letters_that_cannot_be_written_are_waited_for() {
    let mut rig = rig(true, refuses("1", || SendError::Reject("bad".into())));
    *rig.drawer.shut.lock() = 5;
    rig.push(&one(), &numbers(2));
    rig.run();
    assert_eq!((rig.sent(), rig.drawer.kept.lock().len()), (3, 1), "nothing is sent again meanwhile");
    assert_eq!(rig.sender.lane.sink().row.errors.get(), 2 + 5);
}

#[test]
fn another_sink_takes_over_while_it_is_out_of_reach_and_is_counted_apart() {
    let mut rig = rig(true, |attempt, _| match attempt {
        1..=5 => Err(SendError::Retry { why: "no".into(), after: None }),
        _ => Ok(()),
    });
    let other = Arc::new(Told { act: Box::new(|_, _| Ok(())), sent: Mutex::default() });
    let outlets = Arc::new(fallback::Outlets::default());
    let circuit = Arc::new(Circuit::new(BreakerConfig::default(), Arc::default()));
    let outlet = Outlet { sink: other.clone(), circuit };
    outlets.set([("other".to_string(), outlet)].into());
    let name = "other".to_string();
    rig.sender.fallback = Some(Fallback { name, after: 5 * MS, outlets });
    for _ in 0..3 {
        rig.push(&one(), &numbers(1000));
    }
    rig.run();
    let row = &rig.sender.lane.sink().row;
    let elsewhere: usize = other.sent.lock().iter().map(Vec::len).sum();
    assert!(elsewhere >= 1000, "{elsewhere}");
    assert_eq!((row.delivered.get(), row.fallback.get()), (3000, elsewhere as u64));
    assert!(rig.sink.sent.lock().len() >= 3, "it opened");
}
