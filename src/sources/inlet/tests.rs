//! The door of a source at the marks of the queue, and with a rate; nobody takes anything out unless a test does.

use super::*;
use crate::sources::net::tests::House;
use crate::sources::rate::RateLimit;
use crate::sources::rate::config::RateLimitConfig;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[derive(Default)]
struct Rung(AtomicUsize);

impl Wake for Rung {
    fn wake(&self) {
        // Relaxed: only the number is read.
        self.0.fetch_add(1, Relaxed);
    }
}

const STRATEGIES: [Strategy; 4] =
    [Strategy::Block, Strategy::Spill, Strategy::DropOldest, Strategy::DropNewest];

fn inlet(house: &House, strategy: Strategy, limits: Limits) -> (Inlet<usize>, Arc<Rung>) {
    let rung = Arc::new(Rung::default());
    let spec = InletSpec { strategy, limits, ..house.spec() };
    (Inlet::new(spec, Arc::clone(&rung) as Arc<dyn Wake>), rung)
}

/// A block of so many entries, the number `number`.
fn ship(inlet: &mut Inlet<usize>, entries: usize, number: usize) -> bool {
    let mut block = inlet.open(4000).expect("memory");
    let stream = Arc::new(crate::labels::Stream::new(
        crate::labels::SourceId(0),
        "app".into(),
        "test",
        "a",
        crate::labels::Labels::default(),
    ));
    block.begin_run(&stream);
    for _ in 0..entries {
        let at = block.append(b"x\n").expect("room");
        block.push(crate::entry::Entry::at(at, 1));
    }
    inlet.ship(block, number).is_ok()
}

fn used(house: &House) -> u64 {
    house.hallway.credits.used().entries
}

#[test]
fn at_the_high_watermark_those_who_can_wait_stop_and_the_others_read_on() {
    for strategy in STRATEGIES {
        let mut house = House::new(100, 10);
        let (mut inlet, rung) = inlet(&house, strategy, Limits::default());
        (0..7).for_each(|n| assert!(inlet.may_read() && ship(&mut inlet, 10, n), "{strategy:?}"));
        assert!(ship(&mut inlet, 10, 7), "the eighth of ten is at the mark");
        assert_eq!(inlet.may_read(), !strategy.waits(), "{strategy:?}");
        // What was on its way is still taken.
        assert!(ship(&mut inlet, 10, 8), "{strategy:?}");
        house.empty();
        assert!(inlet.may_read(), "{strategy:?}: it is empty again");
        assert!(rung.0.load(Relaxed) > 0, "and it is woken");
        assert_eq!(house.ledger.row.dropped.total(), 0);
    }
}

#[test]
fn when_the_queue_is_full_each_strategy_does_what_its_row_says() {
    for strategy in STRATEGIES {
        let house = House::new(100, 10);
        let (mut inlet, _) = inlet(&house, strategy, Limits::default());
        (0..9).for_each(|n| assert!(ship(&mut inlet, 10, n)));
        assert!(ship(&mut inlet, 5, 9));
        let taken = ship(&mut inlet, 8, 10);
        let row = &house.ledger.row;
        let (received, newest) = (row.received.get(), row.dropped.get(Reason::DropNewest));
        match strategy {
            Strategy::Block | Strategy::Spill => {
                assert_eq!((taken, received, newest, used(&house)), (false, 95, 0, 95), "{strategy:?}");
                assert_eq!(row.blocked.get(), 1);
            }
            // The oldest block of ten gave way, to be counted by the worker that finds it.
            Strategy::DropOldest => {
                assert_eq!((taken, received, newest, used(&house)), (true, 103, 0, 93));
                let oldest = house.hallway.ring.pop().expect("the first");
                assert!(!oldest.whole.claim().take(), "nobody works on it any more");
            }
            Strategy::DropNewest => {
                assert_eq!((taken, received, newest, used(&house)), (true, 103, 3, 100));
                assert!(ship(&mut inlet, 4, 11));
                assert_eq!((row.received.get(), row.dropped.total()), (107, 7), "nothing of it fits");
                assert_eq!(inlet.settled(), Some((11, Status::Dropped)));
            }
        }
    }
}

fn limits(keys: &str) -> Limits {
    let config: RateLimitConfig = serde_yaml::from_str(keys).expect("a limit");
    let own = RateLimit::default();
    own.set(Some(&config), Instant::now());
    Limits { own: Arc::new(own), ..Limits::default() }
}

#[test]
fn for_its_rate_a_source_waits_whatever_its_strategy_and_is_woken_when_it_may_go_on() {
    for strategy in STRATEGIES {
        let house = House::new(1000, 100);
        let limits = limits("{ entries_per_second: 1, burst: 20 }");
        let pacer = Arc::clone(&limits.pacer);
        let (mut inlet, rung) = inlet(&house, strategy, limits);
        assert_eq!(inlet.block_entries(), 20, "no block is larger than what may go");
        assert!(inlet.may_read() && ship(&mut inlet, 20, 0));
        assert!(!inlet.may_read() && !ship(&mut inlet, 5, 1) && inlet.is_paced(), "{strategy:?}");
        let row = &house.ledger.row;
        assert_eq!((row.received.get(), row.dropped.total(), row.paced.get()), (20, 0, 1), "{strategy:?}");
        assert!(pacer.ring(Instant::now()).is_some() && rung.0.load(Relaxed) == 0);
        pacer.ring(Instant::now() + Duration::from_secs(3600));
        assert_eq!(rung.0.load(Relaxed), 1, "one alarm, however often it asked");
    }
}

#[test]
fn what_is_dropped_for_its_rate_is_counted_and_the_rest_may_still_find_no_room() {
    let house = House::new(30, 100);
    let (mut inlet, _) =
        inlet(&house, Strategy::Block, limits("{ entries_per_second: 1, burst: 40, mode: drop }"));
    assert!(inlet.may_read() && ship(&mut inlet, 28, 0));
    let row = &house.ledger.row;
    // Twelve of twenty may come, or a few more after a second or two; but there is room for two.
    assert!(!ship(&mut inlet, 20, 1));
    let lost = row.dropped.get(Reason::RateLimit);
    assert!((5..=8).contains(&lost) && row.received.get() == 28 + lost, "{lost}");
    // They were not taken, and so cost nothing: they may come elsewhere.
    let other = House::new(100, 100);
    let spec = InletSpec { limits: inlet.spec.limits.clone(), ..other.spec() };
    let mut second: Inlet<usize> = Inlet::new(spec, Arc::new(Rung::default()) as Arc<dyn Wake>);
    assert!(ship(&mut second, 12, 0) && ship(&mut second, 50, 1) && ship(&mut second, 3, 2));
    let row = &other.ledger.row;
    assert!(row.received.get() == 65 && (48..=53).contains(&row.dropped.get(Reason::RateLimit)));
    assert_eq!(row.dropped.total() + used(&other), 65);
}
