//! Pools of workers: a costly pipeline holds up no other, order holds when pipelines change pools, and there are as many
//! workers as the load needs.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use support::*;

/// A pattern that costs long lines a long time per byte, some milliseconds in all: hundreds of ways to have come there, and all
/// are kept.
const COSTLY: &str = "'^(?<x>.*[a-m].{150}[n-z].{150}|.*)$'";

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a file to append to")
}

/// Lines `from` to `to` of `stream`.
fn lines(stream: &str, from: u64, to: u64, len: usize) -> String {
    (from..to).map(|n| line(stream, n, len) + "\n").collect()
}

/// The pool of this name in `/stats`.
fn pool<'a>(stats: &'a Value, name: &str) -> &'a Value {
    row(&stats["workers"], "pools", name)
}

/// Reloads under load: `RINGMAIN_RELOADS`, 120 by default.
fn reloads() -> u32 {
    std::env::var("RINGMAIN_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

#[test]
fn a_light_pipeline_does_not_wait_for_one_that_its_workers_cannot_manage() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    // Far more than can be worked on while this test runs, and more than the ring holds.
    fs::write(dir.path().join("logs/heavy"), lines("heavy", 0, 12_000, 1_000)).expect("written");
    let config = format!(
        "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
         dispatcher: {{ worker_count: 1, queue_size: 2000, worker_pool: {{ pools: {{ heavy: {{ workers: 2 }} }} }} }}\n\
         sources:\n  heavy: {{ type: file, include: [logs/heavy], pipeline: costly }}\n  \
         light: {{ type: file, include: [logs/light], rescan: 100ms, pipeline: cheap }}\n\
         pipelines:\n  costly: {{ pool: heavy, steps: [ {{ parse: {{ format: regex, pattern: {COSTLY} }} }} ] }}\n  \
         cheap: [ {{ set: {{ a: 1 }} }} ]\n\
         sinks: {{ out: {{ type: file, path: \"out/{{source}}\", format: raw }} }}\n"
    );
    let mut instance = Instance::start(dir.path(), &config);
    instance.wait_stats("the heavy pool has more than it can do", |stats| {
        let pool = pool(stats, "heavy");
        pool["ring"]["congested"] == true && pool["active"] == 2
    });
    // More than any queue holds: it has to flow all the way.
    let count = 20_000;
    fs::write(dir.path().join("logs/light"), lines("light", 0, count, 100)).expect("written");
    let stats = instance.wait_stats("all light ones are delivered", |stats| {
        let light = row(stats, "sources", "light");
        number(light, "routed") == count && number(light, "in_transit") == 0
    });
    let heavy = row(&stats, "sources", "heavy");
    assert!(number(heavy, "in_transit") > 0 && number(heavy, "routed") < 12_000, "{heavy:#}");
    let worked: u64 = stats["workers"]["each"]
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["pool"] == "general")
        .map(|row| number(row, "processed_entries"))
        .sum();
    assert_eq!(worked, count, "the general pool worked on the light ones and on nothing else");
    instance.wait_stats("they are written", |_| {
        let text = fs::read_to_string(dir.path().join("out/light")).unwrap_or_default();
        text.lines().count() as u64 == count
    });
    instance.kill();
    let mut recount = Recount::default();
    recount.add(&fs::read_to_string(dir.path().join("out/light")).expect("written"));
    recount.assert_exact("light", count);
}

/// What a round of the test below may change.
#[derive(Clone, Copy)]
struct Round {
    /// For each pipeline, the place of its pool in [`POOLS`].
    pools: [usize; 3],
    max: u32,
    workers: u32,
}

const POOLS: [&str; 3] = ["pool: general", "needs: [filter]", "pool: other"];

impl Round {
    fn next(&mut self, random: &mut fastrand::Rng) {
        match random.u32(0..5) {
            0 => self.max = random.u32(1..4),
            1 => self.workers = random.u32(1..4),
            // Two change places.
            2 => self.pools.swap(0, 1),
            _ => self.pools[random.usize(0..3)] = random.usize(0..3),
        }
    }

    fn config(&self, port: u16) -> String {
        let [a, b, c] = self.pools.map(|at| POOLS[at]);
        let Round { max, workers, .. } = self;
        // Small queues and windows: rings are full and sources run ahead as far as they may.
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
             dispatcher:\n  queue_size: 640\n  worker_pool: {{ min_workers: 1, max_workers: {max}, queue_size: 1, pools: {{ \
             few: {{ workers: {{ min: 1, max: {workers} }}, capabilities: [filter] }}, other: {{ workers: 1 }} }} }}\n\
             sources:\n  \
             a: {{ type: file, include: [logs/a], pipeline: a }}\n  \
             b: {{ type: socket, listen: [\"tcp://127.0.0.1:{port}\"], pipeline: b }}\n  \
             c: {{ type: file, include: [logs/c], pipeline: c, strategy: drop_oldest }}\n\
             pipelines:\n  a: {{ {a}, steps: [ {{ parse: {{ format: regex, pattern: '(?<x>([a-z]{{1,10}} ?){{1,3}}!$)' }} }} ] }}\n  \
             b: {{ {b}, steps: [ {{ set: {{ a: 1 }} }} ] }}\n  c: {{ {c}, steps: [] }}\n\
             sinks: {{ out: {{ type: file, path: \"out/{{source}}\", format: raw }} }}\n"
        )
    }
}

#[test]
fn pipelines_that_change_pools_under_load_lose_nothing_double_nothing_and_keep_the_order() {
    let (_, mut random) = random();
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut round = Round { pools: [0, 1, 2], max: 2, workers: 2 };
    let mut instance = Instance::start(dir.path(), &round.config(port));
    let done = AtomicBool::new(false);
    let (mut counts, path) = ([0; 3], dir.path());
    std::thread::scope(|scope| {
        let _end = OnDrop(|| done.store(true, SeqCst));
        let done = &done;
        let file = |name: &'static str| {
            scope.spawn(move || {
                let (mut file, mut count) = (append(&path.join("logs").join(name)), 0);
                while !done.load(SeqCst) {
                    file.write_all(lines(name, count, count + 20, 90).as_bytes()).expect("appended");
                    count += 20;
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                count
            })
        };
        let (a, c) = (file("a"), file("c"));
        let b = scope.spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            let mut count = 0;
            while !done.load(SeqCst) {
                stream.write_all(lines("b", count, count + 50, 90).as_bytes()).expect("it reads");
                count += 50;
                std::thread::park_timeout(Duration::from_millis(10));
            }
            count
        });
        for _ in 0..reloads() {
            round.next(&mut random);
            put(path, &round.config(port));
            let said = reload(&mut instance, &SAID);
            assert!(!said.contains("refused"), "{said}\n{}", instance.log());
        }
        done.store(true, SeqCst);
        counts = [a, b, c].map(|writer| writer.join().expect("no panic"));
    });
    let stats = instance.wait_stats("everything came through", |stats| {
        let received = |name| number(row(stats, "sources", name), "received");
        ["a", "b", "c"].map(received) == counts && at_rest(stats)
    });
    assert_ledger(&stats);
    let used: Vec<_> =
        ["general", "few", "other"].map(|name| pool(&stats, name)["ring"]["entries"].clone()).into();
    assert_eq!(used, [0, 0, 0], "no ring holds a credit back");
    let dropped = row(&stats, "sources", "c")["dropped"].as_object().expect("by reason");
    let dropped: u64 = dropped.values().filter_map(Value::as_u64).sum();
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    assert!(recount.foreign.is_empty(), "{:?}", recount.foreign.first());
    recount.assert_exact("a", counts[0]);
    recount.assert_exact("b", counts[1]);
    let c = recount.streams.get("c").map_or(&[][..], Vec::as_slice);
    assert!(c.is_sorted_by(|one, next| one < next), "what is left of it is in order, and there once");
    assert_eq!(c.len() as u64 + dropped, counts[2], "and what is not left is counted");
}

/// Runs what it holds when it goes out of scope.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_pool_grows_while_blocks_wait_and_shrinks_when_there_is_nothing_to_do_and_counts_are_exact() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    let config = format!(
        "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
         dispatcher: {{ queue_size: 640, worker_pool: {{ min_workers: 1, max_workers: 3, idle_timeout: 1s }}, worker_count: 1 }}\n\
         sources: {{ in: {{ type: file, include: [logs/f], pipeline: p }} }}\n\
         pipelines: {{ p: [ {{ parse: {{ format: regex, pattern: {COSTLY} }} }} ] }}\n\
         sinks: {{ out: {{ type: file, path: \"out/{{source}}\", format: raw }} }}\n"
    );
    let mut instance = Instance::start(dir.path(), &config);
    let (file, count) = (append(&dir.path().join("logs/f")), Cell::new(0));
    let workers = |stats: &Value| {
        let pool = pool(stats, "general");
        ["workers", "grown", "shrunk"].map(|key| number(pool, key))
    };
    for round in 0..2 {
        // As much as it takes: one worker more at a time, and never more than three.
        let stats = instance.wait_stats("there are three", |stats| {
            let [now, ..] = workers(stats);
            assert!(now <= 3, "{stats:#}");
            // The ring is kept full: what is in the file is more than it holds.
            if number(row(stats, "sources", "in"), "lag_bytes") < 400_000 {
                let more = lines("f", count.get(), count.get() + 400, 1_000);
                (&file).write_all(more.as_bytes()).expect("appended");
                count.set(count.get() + 400);
            }
            now == 3
        });
        let last = pool(&stats, "general")["last_change"].as_str().expect("it changed").to_owned();
        assert!(last.starts_with("2 -> 3: ") && last.contains("while all workers were busy"), "{last}");
        instance.wait_log("pool general: 1 -> 2 workers: ");
        let stats = instance.wait_stats("it has nothing to do for long", |stats| {
            let [now, grown, shrunk] = workers(stats);
            at_rest(stats) && now == 1 && grown == shrunk && grown >= 2 * (round + 1)
        });
        let last = pool(&stats, "general")["last_change"].as_str().expect("it changed").to_owned();
        assert!(last.starts_with("2 -> 1: a worker had nothing to do for "), "{last}");
    }
    let count = count.get();
    let stats = instance.wait_delivered("out", count);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "in"), "received"), count);
    let [_, grown, shrunk] = workers(&stats);
    let left = stats["workers"]["each"].as_array().expect("rows");
    assert_eq!((left.len(), &left[0]["is_idle"]), (1, &Value::Bool(true)), "{stats:#}");
    let (_, metrics) = instance.get("/metrics");
    for (name, value) in [("grown_total", grown), ("shrunk_total", shrunk), ("workers", 1)] {
        let series = format!("dispatcher_worker_pool_{name}{{pool=\"general\"}} {value}\n");
        assert!(metrics.contains(&series), "{series}{metrics}");
    }
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    recount.assert_exact("f", count);
}
