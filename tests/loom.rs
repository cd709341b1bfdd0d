//! The hallway under loom: every interleaving of the shipped files that a few threads can produce.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --target-dir target/loom --test loom`
//!
//! A model that would sleep for ever is reported by loom as a deadlock, so "nothing is left asleep" needs no assert.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use ringmain::ring::claim::Claim;
use ringmain::ring::credits::{Amount, Credits, Watermarks};
use ringmain::ring::wait::{Bell, Sleeper, Waiters};
use ringmain::ring::{Pop, PushError, Ring};
use ringmain::sequencer::{Deposit, Sequencer};

/// Runs a model over all schedules with at most `preemptions` forced switches.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn item(pop: Pop<u32>) -> u32 {
    match pop {
        Pop::Item(item) => item,
        other => panic!("not an item: {other:?}"),
    }
}

#[test]
fn two_producers_and_a_batch_claim_lose_and_repeat_nothing() {
    check(6, || {
        let ring = Arc::new(Ring::new(4));
        let single = spawn(&ring, |ring| ring.push(1).unwrap());
        let batch = spawn(&ring, |ring| assert_eq!(ring.push_n(&mut vec![10, 11]), Ok(2)));
        let mut out = Vec::new();
        ring.pop_n(&mut out, 4);
        single.join().unwrap();
        batch.join().unwrap();
        ring.pop_n(&mut out, 4);
        let at = |wanted| out.iter().position(|item| *item == wanted);
        assert_eq!(at(11), at(10).map(|at| at + 1), "a batch lies in one piece: {out:?}");
        out.sort_unstable();
        assert_eq!(out, [1, 10, 11]);
    });
}

#[test]
fn a_place_is_reused_only_after_its_consumer_has_left_it() {
    check(6, || {
        let ring = Arc::new(Ring::new(2));
        ring.push_n(&mut vec![1, 2]).unwrap();
        let consumer = spawn(&ring, |ring| {
            let mut out = Vec::new();
            ring.pop_n(&mut out, 2);
            out
        });
        let mut sent = vec![1, 2];
        for next in [3, 4] {
            match ring.push(next) {
                Ok(()) => sent.push(next),
                Err(refused) => assert_eq!(refused, PushError::Full(next)),
            }
        }
        let mut out = consumer.join().unwrap();
        ring.pop_n(&mut out, 2);
        assert_eq!(out, sent);
    });
}

#[test]
fn two_consumers_share_a_batch_without_overlap() {
    check(6, || {
        let ring = Arc::new(Ring::new(4));
        ring.push_n(&mut vec![1, 2, 3]).unwrap();
        let other = spawn(&ring, |ring| {
            let mut out = Vec::new();
            ring.pop_n(&mut out, 2);
            out
        });
        let mut out: Vec<u32> = ring.pop().into_iter().chain(ring.pop()).collect();
        out.extend(other.join().unwrap());
        ring.pop_n(&mut out, 4);
        out.sort_unstable();
        assert_eq!(out, [1, 2, 3]);
    });
}

#[test]
fn an_item_pushed_while_the_consumer_falls_asleep_wakes_it() {
    check(5, || {
        let ring = Arc::new(Ring::new(2));
        let consumer = spawn(&ring, |ring| {
            let mut sleeper = Sleeper::new();
            item(ring.pop_wait(&mut sleeper)) + item(ring.pop_wait(&mut sleeper))
        });
        ring.push(1).unwrap();
        ring.push(2).unwrap();
        assert_eq!(consumer.join().unwrap(), 3);
    });
}

#[test]
fn a_waiter_never_sleeps_through_a_change() {
    // The protocol alone, on the weakest accesses there are: only the fences order them.
    check(6, || {
        let shared = Arc::new((Waiters::new(0), AtomicUsize::new(0)));
        let waiter = spawn(&shared, |(waiters, flag)| {
            waiters.wait_until(&mut Sleeper::new(), || (flag.load(Relaxed) == 1).then_some(()));
        });
        shared.1.store(1, Relaxed);
        shared.0.wake_one();
        waiter.join().unwrap();
    });
}

#[test]
fn a_waiter_that_did_not_need_its_wake_up_leaves_no_trace() {
    // Whoever finds the change while getting ready to sleep may have been picked by a waker already. If the wake-up
    // that is under way stayed behind, its next sleep would end early and leave it registered twice, and a later
    // wake-up would go to nobody.
    check(3, || {
        let shared = Arc::new((Waiters::new(0), AtomicUsize::new(0)));
        let waiter = |wanted: &'static [usize]| {
            spawn(&shared, move |(waiters, level)| {
                let mut sleeper = Sleeper::new();
                for wanted in wanted {
                    waiters.wait_until(&mut sleeper, || (level.load(Relaxed) >= *wanted).then_some(()));
                }
            })
        };
        let both = [waiter(&[2]), waiter(&[1, 2])];
        for level in [1, 2] {
            shared.1.store(level, Relaxed);
            shared.0.wake_one();
        }
        shared.0.wake_one();
        both.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn one_batch_wakes_every_sleeper_it_has_an_item_for() {
    check(2, || {
        let ring = Arc::new(Ring::new(2));
        let one = spawn(&ring, |ring| item(ring.pop_wait(&mut Sleeper::new())));
        let two = spawn(&ring, |ring| item(ring.pop_wait(&mut Sleeper::new())));
        ring.push_n(&mut vec![1, 2]).unwrap();
        assert_eq!(one.join().unwrap() + two.join().unwrap(), 3);
    });
}

#[test]
fn an_item_behind_a_slower_producer_is_not_forgotten() {
    check(2, || {
        let ring = Arc::new(Ring::new(2));
        let slow = spawn(&ring, |ring| ring.push(1).unwrap());
        let one = spawn(&ring, |ring| item(ring.pop_wait(&mut Sleeper::new())));
        ring.push(2).unwrap();
        let two = item(ring.pop_wait(&mut Sleeper::new()));
        slow.join().unwrap();
        assert_eq!(one.join().unwrap() + two, 3);
    });
}

#[test]
fn closing_loses_no_accepted_item_and_releases_every_consumer() {
    check(3, || {
        let ring = Arc::new(Ring::new(2));
        let producer = spawn(&ring, |ring| ring.push(1).is_ok());
        let consumer = spawn(&ring, drain_to_the_end);
        ring.close();
        let taken = drain_to_the_end(&ring) + consumer.join().unwrap();
        assert_eq!(taken, usize::from(producer.join().unwrap()));
    });
}

#[test]
fn closing_wakes_who_sleeps_already() {
    check(6, || {
        let ring = Arc::new(Ring::<u32>::new(2));
        let consumer = spawn(&ring, |ring| ring.pop_wait(&mut Sleeper::new()));
        ring.close();
        assert_eq!(consumer.join().unwrap(), Pop::Closed);
    });
}

#[test]
fn the_last_item_of_a_closed_ring_releases_the_consumer_that_does_not_get_it() {
    check(3, || {
        let ring = Arc::new(Ring::new(2));
        let consumer = spawn(&ring, |ring| ring.pop_wait(&mut Sleeper::new()));
        let closer = spawn(&ring, Ring::close);
        let pushed = ring.push(1).is_ok();
        // Takes one with `pop`, and so tells nobody that this was the last.
        let taken = ring.pop().is_some();
        closer.join().unwrap();
        assert_eq!(matches!(consumer.join().unwrap(), Pop::Item(_)), pushed && !taken);
    });
}

fn drain_to_the_end(ring: &Ring<u32>) -> usize {
    let (mut taken, mut sleeper) = (0, Sleeper::new());
    while let Pop::Item(_) = ring.pop_wait(&mut sleeper) {
        taken += 1;
    }
    taken
}

#[test]
fn a_nudge_reaches_a_consumer_and_shows_what_came_before_it() {
    check(4, || {
        let shared = Arc::new((Ring::<u32>::new(2), AtomicUsize::new(0)));
        let consumer = spawn(&shared, |(ring, flags)| {
            let mut sleeper = Sleeper::new();
            let mut seen = 0;
            while seen < 2 {
                assert_eq!(ring.pop_wait(&mut sleeper), Pop::Nudged);
                seen = flags.load(Relaxed);
            }
        });
        let other = spawn(&shared, nudge);
        nudge(&shared);
        other.join().unwrap();
        consumer.join().unwrap();
    });
}

fn nudge((ring, flags): &(Ring<u32>, AtomicUsize)) {
    flags.fetch_add(1, Relaxed);
    ring.nudge();
}

#[test]
fn a_nudge_and_an_item_at_once_find_two_sleepers() {
    check(3, || {
        let ring = Arc::new(Ring::new(2));
        ring.push(1).unwrap();
        let one = spawn(&ring, |ring| ring.pop_wait(&mut Sleeper::new()));
        let two = spawn(&ring, |ring| ring.pop_wait(&mut Sleeper::new()));
        ring.nudge();
        let both = [one.join().unwrap(), two.join().unwrap()];
        assert!(both.contains(&Pop::Item(1)) && both.contains(&Pop::Nudged));
    });
}

/// A worker that may be told to leave: it takes items until then.
fn take_until_told((ring, told): &(Ring<u32>, AtomicUsize), sleeper: &mut Sleeper) -> usize {
    let mut taken = 0;
    loop {
        match ring.pop_wait_unless(sleeper, || told.load(Relaxed) == 1) {
            Pop::Item(_) => taken += 1,
            Pop::Told | Pop::Closed => return taken,
            Pop::Nudged => {}
        }
    }
}

#[test]
fn a_consumer_that_is_told_to_leave_leaves_also_if_it_is_falling_asleep() {
    check(6, || {
        let shared = Arc::new((Ring::<u32>::new(2), AtomicUsize::new(0)));
        let (leaving, bell) = spawn_leaving(&shared);
        shared.1.store(1, Relaxed);
        shared.0.wake_this(&bell);
        assert_eq!(leaving.join().unwrap(), 0);
    });
}

#[test]
fn a_consumer_that_leaves_takes_no_wake_up_with_it() {
    // It is told just before the item comes, so the push may pick the one that leaves: then the other has to hear of the
    // item from it. Nobody else wakes anybody: a word that was not passed on leaves a sleeper for ever. Who tells is also
    // who pushes: on threads of their own there are too many schedules, and a sleeper cannot tell them apart.
    check(3, || {
        let shared = Arc::new((Ring::<u32>::new(2), AtomicUsize::new(0)));
        let (leaving, bell) = spawn_leaving(&shared);
        let staying = spawn(&shared, |(ring, _)| item(ring.pop_wait(&mut Sleeper::new())));
        let (ring, told) = &*shared;
        told.store(1, Relaxed);
        ring.push(1).unwrap();
        ring.wake_this(&bell);
        // What it took before it heard of it is given again.
        (0..leaving.join().unwrap()).for_each(|_| ring.push(1).unwrap());
        assert_eq!(staying.join().unwrap(), 1);
    });
}

#[test]
fn a_consumer_that_leaves_passes_the_word_on_while_another_takes_items() {
    // Whether something is left for another must not be read from a place that a third is just taking.
    check(2, || {
        let shared = Arc::new((Ring::<u32>::new(4), AtomicUsize::new(0)));
        let (leaving, bell) = spawn_leaving(&shared);
        let staying = spawn(&shared, |(ring, _)| item(ring.pop_wait(&mut Sleeper::new())));
        let (ring, told) = &*shared;
        told.store(1, Relaxed);
        ring.push_n(&mut vec![1, 1]).unwrap();
        // Takes one with `pop`, as one does that has just finished, and then leaves too.
        let taken = usize::from(ring.pop().is_some());
        ring.wake_this(&bell);
        let taken = taken + leaving.join().unwrap();
        (1..taken).for_each(|_| ring.push(1).unwrap());
        assert_eq!(staying.join().unwrap(), 1);
    });
}

/// Starts a worker that may be told to leave, and gives its bell too.
fn spawn_leaving(shared: &Arc<(Ring<u32>, AtomicUsize)>) -> (thread::JoinHandle<usize>, Bell) {
    let mut sleeper = Sleeper::new();
    let bell = sleeper.bell();
    (spawn(shared, move |shared| take_until_told(shared, &mut sleeper)), bell)
}

#[test]
fn credits_never_exceed_a_limit_and_balance_to_zero() {
    check(6, || {
        let limit = Amount { entries: 3, bytes: 30 };
        let credits = Arc::new(Credits::new(limit, Watermarks::default()));
        let use_some = move |credits: &Credits| {
            for (entries, bytes) in [(2, 10), (1, 25)] {
                if credits.take(entries, bytes).is_ok() {
                    let used = credits.used();
                    assert!(used.entries <= limit.entries && used.bytes <= limit.bytes, "{used:?}");
                    credits.give(entries, bytes);
                }
            }
        };
        let others = [spawn(&credits, use_some), spawn(&credits, use_some)];
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(credits.used(), Amount::default());
        assert!(!credits.congested(), "no order of a take and a give leaves the flag behind");
    });
}

#[test]
fn a_refusal_for_want_of_credits_means_somebody_holds_them() {
    check(6, || {
        let credits = Arc::new(Credits::new(Amount { entries: 1, bytes: 1 }, Watermarks::default()));
        let other = spawn(&credits, |credits| credits.take(1, 1).is_ok());
        let ours = credits.take(1, 1).is_ok();
        assert!(
            ours ^ other.join().unwrap(),
            "exactly one had them: a refused attempt holds nothing for a moment"
        );
    });
}

#[test]
fn a_claim_is_settled_by_exactly_one_side() {
    check(6, || {
        let shared = Arc::new((Claim::new(), AtomicUsize::new(0)));
        let producer = spawn(&shared, |(claim, reason)| {
            reason.store(7, Relaxed);
            claim.give_up()
        });
        let taken = shared.0.take();
        if !taken {
            assert_eq!(shared.1.load(Relaxed), 7, "the worker sees why");
        }
        assert!(taken ^ producer.join().unwrap());
    });
}

/// Tickets in the order in which drains have fed them, as decimal digits. A load and a store and both Relaxed, so that
/// two drains at once, or one that does not see all of the one before, lose a digit in some schedule.
struct Order(AtomicUsize);

impl Order {
    fn new() -> Self {
        Self(AtomicUsize::new(9))
    }

    fn push(&self, ticket: u64) {
        let before = self.0.load(Relaxed);
        self.0.store(before * 10 + ticket as usize, Relaxed);
    }

    fn is(&self, expected: &[u64]) -> bool {
        self.0.load(Relaxed) == expected.iter().fold(9, |order, ticket| order * 10 + *ticket as usize)
    }
}

type Line = (Sequencer<u64>, Order);

fn line(window: usize) -> Arc<Line> {
    Arc::new((Sequencer::new(window), Order::new()))
}

fn deposit_and_drain((sequencer, order): &Line, ticket: u64) {
    assert_eq!(sequencer.deposit(ticket, ticket), Deposit::Accepted);
    sequencer.drain(|ticket, _| order.push(ticket));
}

#[test]
fn what_two_workers_deposit_out_of_order_is_all_drained_in_order() {
    check(6, || {
        let line = line(4);
        let other = spawn(&line, |line| {
            deposit_and_drain(line, 2);
            deposit_and_drain(line, 0);
        });
        deposit_and_drain(&line, 1);
        other.join().unwrap();
        assert!(line.1.is(&[0, 1, 2]), "somebody relied on the other to drain");
    });
}

#[test]
fn three_workers_hand_the_baton_over_without_dropping_it() {
    check(4, || {
        let line = line(3);
        let others = [
            spawn(&line, |line| deposit_and_drain(line, 0)),
            spawn(&line, |line| deposit_and_drain(line, 1)),
        ];
        deposit_and_drain(&line, 2);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(line.1.is(&[0, 1, 2]));
    });
}

#[test]
fn a_depositor_beyond_the_window_is_woken_by_the_drain_that_makes_room() {
    check(6, || {
        let line = line(1);
        let far = spawn(&line, |line| {
            assert!(line.0.wait_room(1, &mut Sleeper::new()));
            deposit_and_drain(line, 1);
        });
        deposit_and_drain(&line, 0);
        far.join().unwrap();
        assert!(line.1.is(&[0, 1]));
    });
}

#[test]
fn closing_a_sequencer_releases_who_waits_for_room() {
    check(6, || {
        let line = line(1);
        let far = spawn(&line, |line| line.0.wait_room(1, &mut Sleeper::new()));
        line.0.close();
        assert!(!far.join().unwrap());
    });
}

#[test]
fn of_two_attempts_at_one_ticket_one_is_drained_and_one_handed_back() {
    check(6, || {
        let line = line(2);
        let attempt = |line: &Line| {
            let late = match line.0.deposit(0, 7) {
                Deposit::Accepted => 0,
                Deposit::Late(item) => item,
                Deposit::Early(_) => panic!("the next ticket is always let in"),
            };
            line.0.drain(|ticket, _| line.1.push(ticket));
            late
        };
        let wedged = spawn(&line, attempt);
        let handed_back = attempt(&line) + wedged.join().unwrap();
        assert_eq!(handed_back, 7);
        assert!(line.1.is(&[0]));
    });
}

#[test]
fn after_a_panic_in_a_drain_every_other_ticket_is_still_drained() {
    // Two at most: loom runs all its threads on one, so from three on one can hold a lock when another begins to unwind
    // and std's lock inside loom's takes that for a panic of its own.
    check(2, || {
        let line = line(4);
        for ticket in [0, 1] {
            assert_eq!(line.0.deposit(ticket, ticket), Deposit::Accepted);
        }
        let other = spawn(&line, |line| deposit_and_survive(line, 2));
        deposit_and_survive(&line, 3);
        other.join().unwrap();
        assert!(line.1.is(&[0, 1, 2, 3]));
    });
}

/// A worker whose drain panics when it has half done ticket 1, and which, as a worker does, catches it and drains again.
fn deposit_and_survive(line: &Line, ticket: u64) {
    let (sequencer, order) = line;
    assert_eq!(sequencer.deposit(ticket, ticket), Deposit::Accepted);
    let drain = || {
        sequencer.drain(|ticket, _| {
            order.push(ticket);
            if ticket == 1 {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        })
    };
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(drain)).is_err() {
        sequencer.drain(|ticket, _| order.push(ticket));
    }
}

fn spawn<S, R>(shared: &Arc<S>, f: impl FnOnce(&S) -> R + 'static) -> thread::JoinHandle<R>
where
    S: Send + Sync + 'static,
    R: 'static,
{
    let shared = Arc::clone(shared);
    thread::spawn(move || f(&shared))
}
