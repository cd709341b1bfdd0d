use super::*;
use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::thread;

#[test]
fn any_sequence_of_operations_agrees_with_a_deque() {
    for seed in 0..300 {
        compare_with_a_deque(seed);
    }
}

fn compare_with_a_deque(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let ring = Ring::new(random.usize(0..20));
    let mut oracle = VecDeque::new();
    let (mut next, mut out, mut sleeper) = (0u32, Vec::new(), Sleeper::new());
    for step in 0..400 {
        let room = ring.capacity() - oracle.len();
        match random.u8(0..6) {
            0 => match ring.push(next) {
                Ok(()) => oracle.push_back(next),
                Err(refused) => {
                    assert_eq!((refused, room), (PushError::Full(next), 0), "seed {seed} step {step}")
                }
            },
            1 => {
                let mut items: Vec<_> = (next..).take(random.usize(1..10)).collect();
                let fits = items.len().min(room);
                oracle.extend(&items[..fits]);
                let rest = items[fits..].to_vec();
                let expected = if fits > 0 { Ok(fits) } else { Err(PushError::Full(())) };
                assert_eq!(ring.push_n(&mut items), expected, "seed {seed} step {step}");
                assert_eq!(items, rest, "seed {seed} step {step}");
            }
            2 => assert_eq!(ring.pop(), oracle.pop_front(), "seed {seed} step {step}"),
            3 => {
                let max = random.usize(0..10);
                let expected: Vec<_> = oracle.drain(..max.min(oracle.len())).collect();
                assert_eq!(ring.pop_n(&mut out, max), expected.len(), "seed {seed} step {step}");
                assert_eq!(std::mem::take(&mut out), expected, "seed {seed} step {step}");
            }
            4 => {
                ring.nudge();
                assert_eq!(ring.pop_wait(&mut sleeper), Pop::Nudged, "seed {seed} step {step}");
            }
            _ if oracle.is_empty() => {}
            _ => {
                let expected = oracle.pop_front().map(Pop::Item);
                assert_eq!(Some(ring.pop_wait(&mut sleeper)), expected, "seed {seed} step {step}");
            }
        }
        next += 10;
        assert_eq!(
            (ring.len(), ring.is_empty()),
            (oracle.len(), oracle.is_empty()),
            "seed {seed} step {step}"
        );
    }
    ring.close();
    assert_eq!(ring.push(next), Err(PushError::Closed(next)));
    assert_eq!(ring.push_n(&mut vec![next]), Err(PushError::Closed(())));
    while let Some(expected) = oracle.pop_front() {
        assert_eq!(ring.pop_wait(&mut sleeper), Pop::Item(expected));
    }
    assert_eq!(ring.pop_wait(&mut sleeper), Pop::Closed);
    assert!(ring.is_closed() && ring.is_empty());
}

#[test]
fn a_refused_item_comes_back_whole() {
    let ring = Ring::new(2);
    ring.push(String::from("a")).unwrap();
    ring.push(String::from("b")).unwrap();
    assert_eq!(ring.push(String::from("c")).unwrap_err().into_inner(), "c");
    ring.close();
    assert_eq!(ring.push(String::from("d")), Err(PushError::Closed(String::from("d"))));
    assert_eq!(ring.pop().as_deref(), Some("a"));
}

#[test]
fn a_dropped_ring_drops_what_is_left_in_it() {
    let item = Arc::new(());
    let ring = Ring::new(8);
    for _ in 0..5 {
        ring.push(Arc::clone(&item)).unwrap();
    }
    drop(ring.pop());
    assert_eq!(Arc::strong_count(&item), 5);
    drop(ring);
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn several_nudges_before_the_first_answer_are_one() {
    let (ring, mut sleeper) = (Ring::new(2), Sleeper::new());
    ring.nudge();
    ring.nudge();
    ring.push(1).unwrap();
    assert_eq!(ring.pop_wait(&mut sleeper), Pop::Nudged, "even while there is an item");
    assert_eq!(ring.pop_wait(&mut sleeper), Pop::Item(1));
}

#[test]
fn under_load_every_item_arrives_once_and_each_producers_in_order() {
    for spins in [0, wait::SPINS_MAX] {
        load(Ring::with_spins(64, spins));
    }
}

const PRODUCERS: usize = 3;
const ITEMS: usize = 20_000;

fn load(ring: Ring<(usize, usize)>) {
    let taken: Vec<Vec<(usize, usize)>> = thread::scope(|scope| {
        let ring = &ring;
        let consumers: Vec<_> = (0..3).map(|batch| scope.spawn(move || consume(ring, batch * 5))).collect();
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| scope.spawn(move || produce(ring, producer, producer * 7)))
            .collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        ring.close();
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    for items in &taken {
        for producer in 0..PRODUCERS {
            let sequence: Vec<_> = items.iter().filter(|item| item.0 == producer).collect();
            assert!(sequence.is_sorted(), "a consumer saw producer {producer} out of order");
        }
    }
    let mut all = taken.concat();
    all.sort_unstable();
    let sent: Vec<_> =
        (0..PRODUCERS).flat_map(|producer| (0..ITEMS).map(move |item| (producer, item))).collect();
    assert!(all == sent, "{} items of {} arrived", all.len(), sent.len());
}

/// Pushes one by one, or `batch` at a time.
fn produce(ring: &Ring<(usize, usize)>, producer: usize, batch: usize) {
    let mut items = Vec::new();
    for item in 0..ITEMS {
        items.push((producer, item));
        while items.len() > batch || item + 1 == ITEMS && !items.is_empty() {
            let pushed = match batch {
                0 => ring.push(items[0]).is_ok_and(|()| items.pop().is_some()),
                _ => ring.push_n(&mut items).is_ok(),
            };
            if !pushed {
                thread::yield_now();
            }
        }
    }
}

/// Takes what comes until the ring is closed: one by one, or up to `batch` more each time.
fn consume(ring: &Ring<(usize, usize)>, batch: usize) -> Vec<(usize, usize)> {
    let (mut items, mut sleeper) = (Vec::new(), Sleeper::new());
    loop {
        match ring.pop_wait(&mut sleeper) {
            Pop::Item(item) => items.push(item),
            Pop::Nudged | Pop::Told => {}
            Pop::Closed => return items,
        }
        ring.pop_n(&mut items, batch);
    }
}

#[test]
fn every_sleeping_consumer_leaves_a_closed_ring() {
    let ring = Ring::<u8>::new(2);
    thread::scope(|scope| {
        let consumers: Vec<_> = (0..4).map(|_| scope.spawn(|| ring.pop_wait(&mut Sleeper::new()))).collect();
        until(|| ring.waiters.anyone_asleep());
        ring.close();
        assert!(consumers.into_iter().all(|consumer| consumer.join().unwrap() == Pop::Closed));
    });
}

#[test]
fn one_batch_wakes_as_many_sleepers_as_it_has_items() {
    let ring = Ring::new(8);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..3 {
            let (ring, sender) = (&ring, sender.clone());
            // Each takes one and keeps away, so that only passing the word on can bring the next.
            scope.spawn(move || sender.send(ring.pop_wait(&mut Sleeper::new())).unwrap());
        }
        until(|| ring.waiters.anyone_asleep());
        ring.push_n(&mut vec![1, 2, 3]).unwrap();
        let mut taken: Vec<_> = receiver.iter().take(3).collect();
        taken.sort_by_key(|pop| matches!(pop, Pop::Item(n) if *n > 1).then(|| format!("{pop:?}")));
        assert_eq!(taken, [Pop::Item(1), Pop::Item(2), Pop::Item(3)]);
    });
}

#[test]
fn a_nudge_wakes_a_sleeper() {
    let ring = Ring::<u8>::new(2);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| ring.pop_wait(&mut Sleeper::new()));
        until(|| ring.waiters.anyone_asleep());
        ring.nudge();
        assert_eq!(consumer.join().unwrap(), Pop::Nudged);
    });
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}
