use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

fn drained(sequencer: &Sequencer<u64>) -> Vec<u64> {
    let mut tickets = Vec::new();
    sequencer.drain(|ticket, item| {
        assert_eq!(item, ticket * 10);
        tickets.push(ticket);
    });
    tickets
}

#[test]
fn deposits_in_any_order_are_drained_in_ticket_order() {
    let sequencer = Sequencer::new(3);
    assert_eq!(sequencer.deposit(2, 20), Deposit::Accepted);
    assert_eq!(sequencer.deposit(1, 10), Deposit::Accepted);
    assert_eq!(drained(&sequencer), Vec::<u64>::new());
    assert_eq!(sequencer.deposit(0, 0), Deposit::Accepted);
    assert_eq!(drained(&sequencer), [0, 1, 2]);
    assert_eq!(sequencer.next_ticket(), 3);
    assert_eq!(sequencer.deposit(3, 30), Deposit::Accepted);
    assert_eq!(drained(&sequencer), [3]);
}

#[test]
fn the_first_deposit_of_a_ticket_wins_and_later_ones_are_handed_back() {
    let sequencer = Sequencer::new(2);
    assert_eq!(sequencer.deposit(1, 10), Deposit::Accepted);
    assert_eq!(sequencer.deposit(1, 99), Deposit::Late(99), "while it waits");
    assert_eq!(sequencer.deposit(0, 0), Deposit::Accepted);
    sequencer.drain(|ticket, _| assert_eq!(sequencer.deposit(ticket, 99), Deposit::Late(99), "in the drain"));
    assert_eq!(sequencer.deposit(0, 99), Deposit::Late(99), "when it is gone");
}

#[test]
fn the_window_keeps_out_what_is_too_far_ahead_but_never_the_next_ticket() {
    let sequencer = Sequencer::new(0);
    assert!(sequencer.has_room(0) && !sequencer.has_room(1));
    assert_eq!(sequencer.deposit(1, 10), Deposit::Early(10));
    assert_eq!(sequencer.deposit(0, 0), Deposit::Accepted);
    assert_eq!(sequencer.deposit(1, 10), Deposit::Early(10), "its place is taken by another ticket");
    assert_eq!(drained(&sequencer), [0]);
    assert!(sequencer.wait_room(1, &mut Sleeper::new()));
    assert_eq!(sequencer.deposit(1, 10), Deposit::Accepted);
}

#[test]
fn a_depositor_beyond_the_window_sleeps_until_a_drain_makes_room() {
    let sequencer = Sequencer::new(2);
    thread::scope(|scope| {
        let far = scope.spawn(|| {
            assert!(sequencer.wait_room(2, &mut Sleeper::new()));
            sequencer.deposit(2, 20)
        });
        until(|| sequencer.room.anyone_asleep());
        assert_eq!(sequencer.deposit(0, 0), Deposit::Accepted);
        assert_eq!(drained(&sequencer), [0]);
        assert_eq!(far.join().unwrap(), Deposit::Accepted);
    });
}

#[test]
fn closing_sends_home_who_waits_for_room() {
    let sequencer = Sequencer::<u64>::new(1);
    thread::scope(|scope| {
        let far = scope.spawn(|| sequencer.wait_room(5, &mut Sleeper::new()));
        until(|| sequencer.room.anyone_asleep());
        sequencer.close();
        assert!(!far.join().unwrap());
    });
    assert!(!sequencer.wait_room(5, &mut Sleeper::new()), "and who comes later");
    assert_eq!(sequencer.deposit(0, 0), Deposit::Accepted);
    assert_eq!(drained(&sequencer), [0], "but what is inside the window still goes its way");
}

#[test]
fn a_panic_in_a_drain_costs_only_the_item_in_hand() {
    let sequencer = Sequencer::new(4);
    for ticket in 0..3 {
        assert_eq!(sequencer.deposit(ticket, ticket * 10), Deposit::Accepted);
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        sequencer.drain(|ticket, _| assert_ne!(ticket, 1, "on purpose"));
    }));
    assert!(panicked.is_err());
    assert_eq!(drained(&sequencer), [2]);
    assert_eq!(sequencer.deposit(1, 10), Deposit::Late(10));
}

#[test]
fn a_deposit_made_during_a_drain_is_drained_by_it() {
    let sequencer = Sequencer::new(2);
    assert_eq!(sequencer.deposit(0, 0), Deposit::Accepted);
    let mut order = Vec::new();
    sequencer.drain(|ticket, _| {
        order.push(ticket);
        if ticket < 5 {
            assert_eq!(sequencer.deposit(ticket + 1, 0), Deposit::Accepted);
            assert!(!sequencer.drain(|_, _| unreachable!("the baton is taken")));
        }
    });
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn order_holds_whatever_thread_is_stalled() {
    for seed in 0..20 {
        stall_at_random(seed);
    }
}

/// Hands tickets to threads at random; each waits for a word before it deposits, and the words come in random order.
fn stall_at_random(seed: u64) {
    const TICKETS: u64 = 300;
    const WORKERS: usize = 4;
    let sequencer = Sequencer::new(8);
    let order = parking_lot::Mutex::new(Vec::new());
    let mut random = fastrand::Rng::with_seed(seed);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (sender, receiver) = mpsc::channel::<(u64, mpsc::Receiver<()>)>();
                let (sequencer, order) = (&sequencer, &order);
                scope.spawn(move || {
                    let mut sleeper = Sleeper::new();
                    for (ticket, go) in receiver {
                        go.recv().unwrap();
                        assert!(sequencer.wait_room(ticket, &mut sleeper));
                        assert_eq!(sequencer.deposit(ticket, ()), Deposit::Accepted);
                        sequencer.drain(|ticket, ()| order.lock().push(ticket));
                    }
                });
                sender
            })
            .collect();
        let mut stalled = Vec::new();
        for ticket in 0..TICKETS {
            let (go, stall) = mpsc::channel();
            workers[random.usize(..WORKERS)].send((ticket, stall)).unwrap();
            stalled.push(go);
            while stalled.len() > random.usize(1..12) {
                stalled.swap_remove(random.usize(..stalled.len())).send(()).unwrap();
            }
        }
        random.shuffle(&mut stalled);
        stalled.into_iter().for_each(|go| go.send(()).unwrap());
    });
    assert_eq!(order.into_inner(), (0..TICKETS).collect::<Vec<_>>(), "seed {seed}");
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}
