//! What does it cost to carry a 64-byte entry from a producer to a worker?
//!
//! Every figure is CPU time of the whole process per entry (criterion's "time" too): on a machine with fewer cores than
//! threads wall time says little, and a queue that spins looks fast while it takes the core from those it waits for.
//! Everybody parks when there is nothing to do, except the `ArrayQueue`, which has nothing to park on and yields. The
//! table at the end puts each way beside crossbeam-channel at the same shape.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![allow(missing_docs)] // criterion's macros write public items without any

use criterion::{Criterion, SamplingMode, Throughput, criterion_group};
use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use ringmain::ring::wait::{Sleeper, Waiters};
use ringmain::ring::{Pop, PushError, Ring};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

type Entry = [u8; 64];

/// Entries carried per measured run, shared out evenly among the producers.
const ENTRIES: usize = 160_000;
/// Entries a queue of single entries has room for.
const CAPACITY: usize = 1024;
const BATCH: usize = 64;
/// Entries of a block: 64 KB, one L2-friendly buffer.
const BLOCK: usize = 1000;
/// Blocks in flight, and blocks that exist.
const BLOCKS: usize = 16;

/// A way to carry entries: its name, and one run with so many producers and as many consumers.
type Way = (&'static str, fn(usize));

const WAYS: [Way; 5] = [
    ("crossbeam-channel", crossbeam_channel_one_by_one),
    ("array-queue-yield", array_queue_one_by_one),
    ("one-by-one", ring_one_by_one),
    ("claim-64", ring_claims_of_64),
    ("blocks-of-1000", ring_of_blocks),
];

const PAIRS: [usize; 3] = [1, 2, 4];

/// What the runs of one way and shape took in all.
#[derive(Clone, Copy, Default)]
struct Taken {
    cpu: Duration,
    wall: Duration,
    entries: f64,
}

static TABLE: Mutex<[[Option<Taken>; PAIRS.len()]; WAYS.len()]> =
    Mutex::new([[None; PAIRS.len()]; WAYS.len()]);

fn ring(criterion: &mut Criterion) {
    for (shape, pairs) in PAIRS.into_iter().enumerate() {
        let mut group = criterion.benchmark_group(format!("ring/{pairs}p{pairs}c_64b"));
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(ENTRIES as u64));
        for (way, (name, run)) in WAYS.into_iter().enumerate() {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|runs| {
                    let (cpu, wall) = (cpu_time(), Instant::now());
                    (0..runs).for_each(|_| run(pairs));
                    let (cpu, wall) = (cpu_time() - cpu, wall.elapsed());
                    let mut table = TABLE.lock();
                    let taken = table[way][shape].get_or_insert_default();
                    taken.cpu += cpu;
                    taken.wall += wall;
                    taken.entries += (runs as usize * ENTRIES) as f64;
                    cpu
                });
            });
        }
        group.finish();
    }
}

/// Runs `pairs` producers, each with its share of the entries, and `pairs` consumers; `close` tells the consumers that
/// the producers are done.
fn run(pairs: usize, produce: impl Fn(usize) + Sync, consume: impl Fn() + Sync, close: impl FnOnce()) {
    thread::scope(|scope| {
        for _ in 0..pairs {
            scope.spawn(&consume);
        }
        let producers: Vec<_> = (0..pairs).map(|_| scope.spawn(|| produce(ENTRIES / pairs))).collect();
        let failed = producers.into_iter().filter_map(|producer| producer.join().err()).count();
        assert_eq!(failed, 0, "producers panicked");
        close();
    });
}

/// The `n`th entry: written anew each time, as a reader would.
fn entry(n: usize) -> Entry {
    let mut entry = [b'x'; 64];
    entry[..8].copy_from_slice(&n.to_le_bytes());
    black_box(entry)
}

/// The end of an entry's way: copied out of whatever carried it.
fn take_out(entry: Entry) {
    black_box(entry);
}

fn crossbeam_channel_one_by_one(pairs: usize) {
    let (sender, receiver) = crossbeam_channel::bounded::<Entry>(CAPACITY);
    // Consumers end when the last sender is gone: the producers' clones, and this one.
    let sender = Mutex::new(Some(sender));
    let produce = |entries: usize| {
        let sender = sender.lock().clone();
        let send = |n| assert!(sender.as_ref().is_some_and(|sender| sender.send(entry(n)).is_ok()));
        (0..entries).for_each(send);
    };
    let consume = || receiver.iter().for_each(take_out);
    run(pairs, produce, consume, || drop(sender.lock().take()));
}

fn array_queue_one_by_one(pairs: usize) {
    let (queue, done) = (ArrayQueue::<Entry>::new(CAPACITY), AtomicBool::new(false));
    let produce = |entries: usize| {
        for n in 0..entries {
            let mut entry = entry(n);
            while let Err(back) = queue.push(entry) {
                entry = back;
                thread::yield_now();
            }
        }
    };
    let consume = || {
        loop {
            let last = done.load(SeqCst);
            match queue.pop() {
                Some(entry) => take_out(entry),
                None if last => return,
                None => thread::yield_now(),
            }
        }
    };
    run(pairs, produce, consume, || done.store(true, SeqCst));
}

/// The ring with producers that sleep while it is full: the ring itself leaves that to its credits.
struct Hallway {
    ring: Ring<Entry>,
    room: Waiters,
}

impl Hallway {
    fn new() -> Self {
        Self { ring: Ring::new(CAPACITY), room: Waiters::new(0) }
    }

    fn wait_room(&self, sleeper: &mut Sleeper) {
        if !self.has_room() {
            self.room.wait_until(sleeper, || self.has_room().then_some(()));
        }
    }

    /// Half empty: who sleeps for room is not woken for one place.
    fn has_room(&self) -> bool {
        self.ring.len() <= CAPACITY / 2
    }

    fn made_room(&self) {
        if self.has_room() {
            self.room.wake_one();
        }
    }
}

fn ring_one_by_one(pairs: usize) {
    let hallway = Hallway::new();
    let produce = |entries: usize| {
        let mut sleeper = Sleeper::new();
        for n in 0..entries {
            let mut entry = entry(n);
            while let Err(PushError::Full(back)) = hallway.ring.push(entry) {
                entry = back;
                hallway.wait_room(&mut sleeper);
            }
        }
    };
    let consume = || {
        let mut sleeper = Sleeper::new();
        while let Pop::Item(entry) = hallway.ring.pop_wait(&mut sleeper) {
            take_out(entry);
            hallway.made_room();
        }
    };
    run(pairs, produce, consume, || hallway.ring.close());
}

fn ring_claims_of_64(pairs: usize) {
    let hallway = Hallway::new();
    let produce = |entries: usize| {
        let (mut sleeper, mut batch) = (Sleeper::new(), Vec::with_capacity(BATCH));
        for n in 0..entries {
            batch.push(entry(n));
            while batch.len() == BATCH || n + 1 == entries && !batch.is_empty() {
                if hallway.ring.push_n(&mut batch).is_err() {
                    hallway.wait_room(&mut sleeper);
                }
            }
        }
    };
    let consume = || {
        let (mut sleeper, mut batch) = (Sleeper::new(), Vec::with_capacity(BATCH));
        while let Pop::Item(entry) = hallway.ring.pop_wait(&mut sleeper) {
            batch.push(entry);
            hallway.ring.pop_n(&mut batch, BATCH - 1);
            batch.drain(..).for_each(take_out);
            hallway.made_room();
        }
    };
    run(pairs, produce, consume, || hallway.ring.close());
}

fn ring_of_blocks(pairs: usize) {
    let ring = Ring::<Vec<Entry>>::new(BLOCKS);
    // The pool: last in, first out, so that the next block filled is the one whose memory is still warm.
    let free = Mutex::new((0..BLOCKS).map(|_| Vec::with_capacity(BLOCK)).collect::<Vec<_>>());
    let returned = Waiters::new(0);
    let produce = |entries: usize| {
        let mut sleeper = Sleeper::new();
        let take = || free.lock().pop();
        let mut n = 0;
        while n < entries {
            let mut block = take().unwrap_or_else(|| returned.wait_until(&mut sleeper, take));
            let end = entries.min(n + BLOCK);
            block.extend((n..end).map(entry));
            n = end;
            assert!(ring.push(block).is_ok(), "there are no more blocks than places");
        }
    };
    let consume = || {
        let mut sleeper = Sleeper::new();
        while let Pop::Item(mut block) = ring.pop_wait(&mut sleeper) {
            block.iter().for_each(|entry| take_out(*entry));
            block.clear();
            free.lock().push(block);
            returned.wake_one();
        }
    };
    run(pairs, produce, consume, || ring.close());
}

/// CPU time this process has used, all threads together.
#[allow(unsafe_code)]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live, writable timespec of ours; the call writes that and nothing else.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "no process clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn print_table() {
    let table = TABLE.lock();
    let nanos = |taken: &Taken| taken.cpu.as_nanos() as f64 / taken.entries;
    println!(
        "{:<22}{:>7}{:>15}{:>18}{:>26}",
        "way", "shape", "CPU ns/entry", "wall entries/s", "crossbeam-channel costs"
    );
    for (shape, pairs) in PAIRS.into_iter().enumerate() {
        for (way, (name, _)) in WAYS.into_iter().enumerate() {
            let (Some(taken), Some(channel)) = (&table[way][shape], &table[0][shape]) else { continue };
            let per_second = taken.entries / taken.wall.as_secs_f64();
            let times = nanos(channel) / nanos(taken);
            let shape = format!("{pairs}x{pairs}");
            println!("{name:<22}{shape:>7}{:>15.1}{per_second:>18.0}{times:>20.2} times", nanos(taken));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots();
    targets = ring
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    print_table();
}
