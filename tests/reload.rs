//! Another config while it runs: nothing is lost, nothing comes twice, order stays, and what cannot be is refused whole.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "reload/requests.rs"]
mod requests;
mod support;

use serde_json::Value;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use support::*;

/// Reloads under load: `RINGMAIN_RELOADS`, 50 by default.
fn reloads() -> u32 {
    std::env::var("RINGMAIN_RELOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// What a round of the big test may change.
#[derive(Default)]
struct Round {
    a_path: u32,
    a_format: u32,
    a_when: bool,
    b: bool,
    pipeline: u32,
    labels: u32,
    more_source: bool,
    concurrency: u32,
}

impl Round {
    fn next(&mut self, random: &mut fastrand::Rng) {
        match random.u32(0..9) {
            0 => self.a_path = random.u32(0..4),
            1 => self.a_format = random.u32(0..2),
            2 => self.a_when = !self.a_when,
            3 => self.b = !self.b,
            4 => self.pipeline = random.u32(0..3),
            5 => self.labels = random.u32(0..100),
            6 => self.more_source = !self.more_source,
            7 => self.concurrency = random.u32(1..3),
            // Nothing: a reload that changes nothing is one as well.
            _ => {}
        }
    }

    fn config(&self, port: u16) -> String {
        let mut text = format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  logs: {{ type: file, include: \
             [\"logs/*.log\"], pipeline: work, labels: {{ round: \"{}\" }} }}\n  net: {{ type: syslog, listen: \
             [\"tcp://127.0.0.1:{port}\"], pipeline: work, labels: {{ round: \"{}\" }} }}\n",
            self.labels,
            self.labels / 2,
        );
        if self.more_source {
            text += "  more: { type: file, include: [\"more/*.log\"] }\n";
        }
        // Every step keeps everything: the recount needs all of it.
        let steps = ["[]", "[ { set: { round: 1 } } ]", "[ { discard: \"labels.none == 'x'\" } ]"];
        writeln!(text, "pipelines: {{ work: {} }}", steps[self.pipeline as usize]).unwrap();
        let format = ["raw", "raw, open_files: 4"][self.a_format as usize];
        let when = if self.a_when { ", when: \"labels.none != 'x'\"" } else { "" };
        writeln!(
            text,
            "sinks:\n  a: {{ type: file, path: \"out/a{}/{{source}}.log\", format: {format}, concurrency: {}{when} }}",
            self.a_path,
            self.concurrency.max(1),
        )
        .unwrap();
        if self.b {
            text += "  b: { type: file, path: \"out-b/{source}.log\" }\n";
        }
        text
    }
}

#[test]
fn reloads_under_load_lose_nothing_double_nothing_and_keep_the_order() {
    let (seed, mut random) = random();
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["logs", "more"] {
        fs::create_dir(dir.path().join(name)).expect("created");
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut round = Round { b: true, ..Round::default() };
    let mut instance = Instance::start(dir.path(), &round.config(port));
    let done = AtomicBool::new(false);
    let (mut file_lines, mut net_lines) = (0, 0);
    std::thread::scope(|scope| {
        // Also when an assertion fails: the writers are waited for.
        let _end = OnDrop(|| done.store(true, SeqCst));
        let (done, path) = (&done, dir.path());
        let files = scope.spawn(move || {
            let mut file = append(&path.join("logs/f.log"));
            let mut count = 0;
            while !done.load(SeqCst) {
                let text: String = (count..count + 40).map(|n| line("f", n, 90) + "\n").collect();
                file.write_all(text.as_bytes()).expect("appended");
                count += 40;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            count
        });
        let net = scope.spawn(move || {
            // One connection through all of it: a reload must not cost the sender a line.
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            let mut count = 0;
            while !done.load(SeqCst) {
                let text: String = (count..count + 20)
                    .map(|n| format!("<13>1 - - - - - - {}\n", line("n", n, 90)))
                    .collect();
                stream.write_all(text.as_bytes()).expect("sent");
                count += 20;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            count
        });
        for _ in 0..reloads() {
            round.next(&mut random);
            put(dir.path(), &round.config(port));
            let said = reload(&mut instance, &SAID);
            assert!(!said.contains("refused"), "seed {seed}: {said}\n{}", instance.log());
        }
        done.store(true, SeqCst);
        (file_lines, net_lines) = (files.join().expect("it wrote"), net.join().expect("it sent"));
    });
    let stats = instance.wait_stats("everything came and went", |stats| {
        let received = |name: &str| number(row(stats, "sources", name), "received");
        at_rest(stats) && received("logs") == file_lines && received("net") == net_lines
    });
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    // Sink `a` had all of it, in one directory after the other.
    let mut all = Vec::new();
    for (stream, count) in [("f", file_lines), ("n", net_lines)] {
        let mut numbers: Vec<u64> = Vec::new();
        for a in 0..4 {
            let recount = Recount::of(&dir.path().join(format!("out/a{a}")));
            assert!(recount.foreign.is_empty(), "seed {seed}: {:?}", recount.foreign.first());
            let here = recount.streams.get(stream).cloned().unwrap_or_default();
            assert!(here.is_sorted(), "seed {seed}: stream {stream} is out of order in a{a}");
            numbers.extend(here);
        }
        numbers.sort_unstable();
        let wrong = numbers.iter().enumerate().find(|(at, number)| *at as u64 != **number);
        assert_eq!((wrong, numbers.len() as u64), (None, count), "seed {seed}: stream {stream}");
        all.push(numbers.len());
    }
    let b = Recount::of(&dir.path().join("out-b"));
    for numbers in b.streams.values() {
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "seed {seed}: sink b has something twice or out of order"
        );
    }
    println!("{} reloads: {all:?} lines, none lost, none twice", reloads());
}

struct OnDrop<F: FnMut()>(F);
impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a log file")
}

fn write_lines(path: &Path, stream: &str, numbers: std::ops::Range<u64>) {
    let text: String = numbers.map(|n| line(stream, n, 80) + "\n").collect();
    append(path).write_all(text.as_bytes()).expect("appended");
}

const BASE: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { logs: { type: file, include: ["logs/*.log"] } }
sinks: { out: { type: file, path: "out/{source}.log" } }
"#;

fn start() -> (tempfile::TempDir, Instance) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    let instance = Instance::start(dir.path(), BASE);
    (dir, instance)
}

#[test]
fn a_wrong_config_is_refused_whole_and_the_old_one_goes_on() {
    let (dir, mut instance) = start();
    put(dir.path(), &BASE.replace("path:", "pathh:"));
    let said = reload(&mut instance, &SAID);
    assert!(said.contains("refused"), "{said}");
    instance.wait_log("did you mean `path`?");
    write_lines(&dir.path().join("logs/a.log"), "s", 0..100);
    assert_ledger(&instance.wait_delivered("out", 100));
    Recount::of(&dir.path().join("out")).assert_exact("s", 100);
}

#[test]
fn keys_that_take_a_restart_are_named_and_nothing_changes() {
    let (dir, mut instance) = start();
    let other = BASE.replace("data_dir: state", "data_dir: state\ndispatcher: { queue_size: 777 }");
    put(dir.path(), &other.replace("out/{source}.log", "elsewhere/{source}.log"));
    let said = reload(&mut instance, &SAID);
    assert!(said.contains("refused"), "{said}");
    instance.wait_log("these take a restart: dispatcher.queue_size 10000 -> 777");
    write_lines(&dir.path().join("logs/a.log"), "s", 0..10);
    instance.wait_delivered("out", 10);
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn a_source_that_cannot_be_had_takes_everything_back() {
    let (dir, mut instance) = start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (port, sources) = (taken.local_addr().unwrap().port(), "sources: { logs:");
    let more = format!(
        "sources: {{ one: {{ type: syslog, listen: [\"tcp://{free}\"] }}, two: {{ type: syslog, listen: \
         [\"tcp://127.0.0.1:{port}\"] }}, logs:"
    );
    let wanted = BASE
        .replace(sources, &more)
        .replace("sinks: {", "sinks: { more: { type: file, path: more/x.log }, ")
        .replace("out/{source}", "other/{source}");
    put(dir.path(), &wanted);
    let threads = instance.stats()["process"]["threads"].as_u64().unwrap();
    let said = reload(&mut instance, &SAID);
    assert!(said.contains("refused"), "{said}");
    instance.wait_log("source two: cannot listen on");
    // The port that could be had is free again, and the threads are gone.
    drop(TcpListener::bind(free).expect("nobody listens there any more"));
    instance.wait_stats("its threads are gone", |stats| {
        // The intake stays, with nothing on it.
        stats["process"]["threads"].as_u64().unwrap() <= threads + 1
    });
    let stats = instance.stats();
    assert_eq!(stats["sources"].as_array().unwrap().len(), 1, "{stats:#}");
    write_lines(&dir.path().join("logs/a.log"), "s", 0..100);
    assert_ledger(&instance.wait_delivered("out", 100));
    Recount::of(&dir.path().join("out")).assert_exact("s", 100);
    // Once the port is free the same config is taken.
    drop(taken);
    let said = reload(&mut instance, &SAID);
    assert!(said.contains("in force"), "{said}");
    write_lines(&dir.path().join("logs/a.log"), "s", 100..200);
    assert_ledger(&instance.wait_delivered("more", 100));
}

#[test]
fn a_sink_with_a_wrong_directory_is_mended_by_a_reload_and_its_backlog_delivered() {
    let (dir, mut instance) = start();
    let out = dir.path().join("out");
    write_lines(&dir.path().join("logs/a.log"), "s", 0..10);
    instance.wait_delivered("out", 10);
    // What is there now is a file: no directory can be made of it, as after a mistake in the config.
    let broken = BASE.replace("out/{source}.log", "out/logs.log/{stream}.log");
    put(dir.path(), &broken.replace("{stream}", "{source}"));
    let said = reload(&mut instance, &SAID);
    if said.contains("refused") {
        // The sink said so at once: nothing to mend.
        return;
    }
    write_lines(&dir.path().join("logs/a.log"), "s", 10..5_000);
    instance.wait_stats("it tries", |stats| row(stats, "sinks", "out")["state"] == "retrying");
    put(dir.path(), BASE);
    assert!(reload(&mut instance, &SAID).contains("in force"));
    assert_ledger(&instance.wait_delivered("out", 5_000));
    Recount::of(&out).assert_exact("s", 5_000);
}

#[test]
fn a_removed_sink_delivers_what_it_has_and_its_row_stays() {
    let (dir, mut instance) = start();
    let two = BASE.replace("sinks: {", "sinks: { more: { type: file, path: \"more/{source}.log\" }, ");
    put(dir.path(), &two);
    assert!(reload(&mut instance, &SAID).contains("in force"));
    write_lines(&dir.path().join("logs/a.log"), "s", 0..20_000);
    put(dir.path(), BASE);
    assert!(reload(&mut instance, &SAID).contains("in force"));
    instance.wait_log("sink more: removed");
    let stats = instance.wait_delivered("out", 20_000);
    assert_ledger(&stats);
    let more = row(&stats, "sinks", "more");
    assert_eq!(more["removed"], true);
    let numbers = Recount::of(&dir.path().join("more")).streams.remove("s").unwrap_or_default();
    assert_eq!(numbers.len() as u64, number(more, "delivered"));
    assert!(numbers.iter().enumerate().all(|(at, number)| at as u64 == *number));
}

#[test]
fn a_removed_sink_that_cannot_deliver_drops_its_backlog_when_its_time_is_over_and_counts_it() {
    let (dir, mut instance) = start();
    // A console nobody reads.
    let two = BASE
        .replace("data_dir: state", "data_dir: state\ndispatcher: { drain_timeout: 300ms }")
        .replace("sinks: {", "sinks: { tty: { type: console, format: raw }, ");
    put(dir.path(), &two);
    assert!(reload(&mut instance, &SAID).contains("in force"));
    write_lines(&dir.path().join("logs/a.log"), "s", 0..4_000);
    instance.wait_stats("it is stuck", |stats| {
        number(row(stats, "sinks", "tty"), "copies") == 4_000
            && number(row(stats, "sinks", "out"), "delivered") == 4_000
    });
    let one = BASE.replace("data_dir: state", "data_dir: state\ndispatcher: { drain_timeout: 300ms }");
    put(dir.path(), &one);
    assert!(reload(&mut instance, &SAID).contains("in force"));
    instance.wait_log("sink tty: removed with entries it could not deliver");
    // What is being written hangs in the pipe; it is counted when somebody reads it.
    let mut pipe = instance.stdout();
    std::thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()));
    let stats = instance.wait_stats("all is counted", at_rest);
    assert_ledger(&stats);
    let tty = row(&stats, "sinks", "tty");
    assert!(tty["dropped"]["removed"].as_u64().unwrap() > 0, "{tty:#}");
    // The file source has moved on: nothing holds it back.
    write_lines(&dir.path().join("logs/a.log"), "s", 4_000..4_100);
    assert_ledger(&instance.wait_delivered("out", 4_100));
    Recount::of(&dir.path().join("out")).assert_exact("s", 4_100);
}

#[test]
fn a_removed_source_that_comes_back_goes_on_where_it_was() {
    let (dir, mut instance) = start();
    let log = dir.path().join("logs/a.log");
    write_lines(&log, "s", 0..1_000);
    instance.wait_delivered("out", 1_000);
    let without = BASE.replace("logs: { type: file, include: [\"logs/*.log\"] }", "in: { type: stdin }");
    put(dir.path(), &without);
    assert!(reload(&mut instance, &SAID).contains("in force"));
    write_lines(&log, "s", 1_000..2_000);
    put(dir.path(), &BASE.replace("include: [\"logs/*.log\"]", "include: [\"logs/*.log\"], read_from: end"));
    assert!(reload(&mut instance, &SAID).contains("in force"));
    let stats = instance.wait_delivered("out", 2_000);
    assert_ledger(&stats);
    assert_eq!(row(&stats, "sources", "in")["removed"], true);
    assert_eq!(instance.terminate(), 0);
    Recount::of(&dir.path().join("out")).assert_exact("s", 2_000);
}

#[test]
fn two_hundred_reloads_leave_no_thread_and_no_descriptor_behind() {
    let (dir, mut instance) = start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut round = Round::default();
    // Every part comes and goes in turn, so that each has been there before it is counted.
    let mut turn = |instance: &mut Instance, n: u32| {
        round = Round {
            a_path: n % 2,
            a_format: n % 2,
            a_when: n % 2 == 1,
            b: n.is_multiple_of(2),
            pipeline: n % 3,
            labels: n % 2,
            more_source: n.is_multiple_of(2),
            concurrency: 1 + n % 2,
        };
        put(dir.path(), &round.config(port));
        let said = reload(instance, &SAID);
        assert!(!said.contains("refused") || said.contains("a moment ago"), "{said}\n{}", instance.log());
    };
    let counts = |stats: &Value| {
        let number = |key: &str| stats["process"][key].as_u64().unwrap();
        (number("threads"), number("open_fds"))
    };
    let is_over = |stats: &Value| {
        let threads = stats["threads"].as_array().unwrap();
        // The last of them cannot take itself from the list.
        let at_it = |thread: &Value| thread["doing"] != "ended";
        !threads.iter().any(|thread| at_it(thread) && thread["name"].as_str().unwrap().starts_with("end-"))
    };
    (0..20).for_each(|n| turn(&mut instance, n));
    // A sink that was replaced is let go after its last sync, within a second or two.
    let mut lowest = (u64::MAX, u64::MAX);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let stats = instance.wait_stats("all that was replaced has ended", is_over);
        let now = counts(&stats);
        lowest = (lowest.0.min(now.0), lowest.1.min(now.1));
    }
    (20..220).for_each(|n| turn(&mut instance, n));
    instance.wait_stats(&format!("no more (threads, descriptors) than {lowest:?}"), |stats| {
        let now = counts(stats);
        is_over(stats) && now.0 <= lowest.0 && now.1 <= lowest.1
    });
    let stats: Value = instance.stats();
    assert!(stats["sources"].as_array().unwrap().len() <= 3, "rows do not pile up: {stats:#}");
}

#[test]
fn ringmain_reload_says_what_would_change_changes_it_and_needs_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let config = |path: &str| {
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\", token: s3cret }}\nsources: {{ in: {{ type: stdin }} }}\n\
             sinks: {{ out: {{ type: file, path: {path} }} }}\n"
        )
    };
    let mut instance = Instance::start(dir.path(), &config("one.log"));
    let address = instance.address("admin: http", "http://");
    let ask = |more: &[&str]| run(dir.path(), &[&["reload", "--admin", &address], more].concat());
    let (code, _, said) = ask(&[]);
    assert!(code == 2 && said.contains("admin.token"), "{said}");
    let token = ["--token", "s3cret"];
    fs::write(dir.path().join("config.yaml"), config("two.log")).unwrap();
    let (code, changes, said) = ask(&[&["--dry-run"], &token[..]].concat());
    assert!(code == 0 && changes.contains("sink out"), "{changes}{said}");
    let mut input = instance.stdin();
    writeln!(input, "before").unwrap();
    instance.wait_delivered("out", 1);
    assert!(!dir.path().join("two.log").exists(), "a dry run changes nothing");
    let (code, changes, said) = ask(&token);
    assert!(code == 0 && changes.contains("sink out"), "{changes}{said}");
    writeln!(input, "after").unwrap();
    instance.wait_delivered("out", 2);
    let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!([text("one.log"), text("two.log")], ["before\n", "after\n"]);
    fs::write(dir.path().join("config.yaml"), config("[]")).unwrap();
    let (code, _, said) = ask(&token);
    assert!(code == 2 && said.contains("as before") && said.contains("path"), "{said}");
    fs::write(dir.path().join("config.yaml"), config("two.log").replace("state", "other")).unwrap();
    let (code, _, said) = ask(&token);
    assert!(code == 2 && said.contains("take a restart: data_dir"), "{said}");
    drop(input);
    assert_eq!(instance.terminate(), 0);
}
