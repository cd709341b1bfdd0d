//! Buffers on disk, as a user meets them: sinks die and come back, processes end and are killed, disks fill up.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "support/destination.rs"]
mod destination;
mod support;

use destination::Destination;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};
use support::http::{Client, post};
use support::*;

/// Least `max_size`, so that little fills it.
const SMALL: &str = "9MiB";

/// An address where nobody answers.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/", listener.local_addr().expect("bound"))
}

/// A sink called `far` behind a buffer with these keys, and one called `near` that writes files. One batch at a time: each
/// request is a stream of its own, and what several of them bring is looked for in one order.
fn config(url: &str, buffer: &str, rest: &str) -> String {
    format!(
        "data_dir: state
admin: {{ listen: \"127.0.0.1:0\" }}
dispatcher: {{ drain_timeout: 20s }}
sources:
  logs: {{ type: file, include: [\"logs/*.log\"] }}
  push: {{ type: http, listen: [\"tcp://127.0.0.1:0\"] }}
sinks:
  far:
    type: http
    url: \"{url}\"
    body: lines
    concurrency: 1
    retry: {{ backoff: 20ms, backoff_max: 50ms }}
    buffer: {{ type: disk, {buffer} }}
{rest}"
    )
}

const NEAR: &str = "  near: { type: file, path: \"out/{source}.log\" }\n";

fn write(dir: &Path, name: &str, numbers: std::ops::Range<u64>, len: usize) {
    fs::create_dir_all(dir.join("logs")).expect("created");
    let text: String = numbers.map(|n| line(name, n, len) + "\n").collect();
    let path = dir.join("logs").join(format!("{name}.log"));
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a log file");
    file.write_all(text.as_bytes()).expect("appended");
}

fn sink<'a>(stats: &'a Value, name: &str) -> &'a Value {
    row(stats, "sinks", name)
}

/// What is neither delivered nor lost.
fn kept(stats: &Value) -> u64 {
    number(sink(stats, "far"), "persisted") + number(sink(stats, "far"), "in_flight")
}

fn dropped(stats: &Value, reason: &str) -> u64 {
    number(&sink(stats, "far")["dropped"], reason)
}

/// The number before `words` in the last line it said.
fn last_line(instance: &mut Instance, words: &str) -> u64 {
    let last = instance.wait_log("ended after");
    let before = last.split(words).next().filter(|before| before.len() < last.len());
    let number = before.and_then(|text| text.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {words:?} in {last}"))
}

/// Ends it while the sink is dead: nothing is lost, so it is a clean end. Gives how many are kept on disk.
fn end(mut instance: Instance) -> u64 {
    instance.signal("TERM");
    assert_eq!(instance.wait().code(), Some(0), "what is on disk is no loss");
    last_line(&mut instance, " kept on disk")
}

/// Every line that came to the destination, in order.
fn arrived(destination: &Destination) -> Recount {
    let mut recount = Recount::default();
    for request in destination.requests() {
        recount.add(&String::from_utf8(request.body).expect("text"));
    }
    recount
}

/// Starts with a sink that works, and waits until all `count` lines have come.
fn deliver(dir: &Path, buffer: &str, rest: &str, count: u64) -> (Destination, Instance) {
    let destination = Destination::start();
    let mut instance = Instance::start(dir, &config(&destination.url(), buffer, rest));
    instance.wait_stats("all is delivered", |stats| {
        at_rest(stats) && number(sink(stats, "far"), "delivered") >= count && kept(stats) == 0
    });
    (destination, instance)
}

#[test]
fn a_dead_sink_slows_no_other_and_its_entries_are_delivered_in_order_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..20_000, 120);
    let mut instance = Instance::start(dir.path(), &config(&nobody(), "max_size: 64MiB", NEAR));
    let stats = instance.wait_stats("near has all, far keeps all", |stats| {
        number(sink(stats, "near"), "delivered") == 20_000 && number(sink(stats, "far"), "stored") == 20_000
    });
    assert_eq!(sink(&stats, "far")["lane"]["gate_closed"], false);
    let buffer = &sink(&stats, "far")["buffer"];
    assert!(number(buffer, "bytes") > 0 && number(buffer, "segments") > 0, "{buffer:#}");
    assert_eq!(kept(&stats), 20_000);
    assert_eq!(end(instance), 20_000);
    Recount::of(&dir.path().join("out")).assert_exact("a", 20_000);

    // More comes while the backlog is there: it comes after it.
    write(dir.path(), "a", 20_000..25_000, 120);
    let (destination, mut instance) = deliver(dir.path(), "max_size: 64MiB", NEAR, 25_000);
    let stats = instance.stats();
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "buffer:far"), "received"), 20_000);
    assert_eq!(number(sink(&stats, "near"), "delivered"), 5_000, "what it had it does not get again");
    instance
        .wait_stats("nothing is left on disk", |stats| number(&sink(stats, "far")["buffer"], "entries") == 0);
    assert_eq!(instance.terminate(), 0);
    arrived(&destination).assert_exact("a", 25_000);
}

/// The value of a metric of the sink `far`.
fn metric(page: &str, name: &str) -> f64 {
    let series = format!("{name}{{sink=\"far\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{page}"))
}

#[test]
fn every_metric_of_a_buffer_moves() {
    let dir = tempfile::tempdir().expect("a directory");
    let buffer = "max_size: 64MiB";
    let mut instance = Instance::start(dir.path(), &config(&nobody(), buffer, ""));
    let still = [
        "dispatcher_sink_stored_total",
        "dispatcher_sink_persisted",
        "dispatcher_sink_buffer_entries",
        "dispatcher_sink_buffer_age_seconds",
        "dispatcher_sink_buffer_lost_entries_total",
        "dispatcher_sink_buffer_quarantined_bytes",
        "dispatcher_sink_buffer_degraded",
    ];
    let (_, page) = instance.get("/metrics");
    still.iter().for_each(|name| assert_eq!(metric(&page, name), 0.0, "{name}"));
    // More than is read ahead, so that some of it is only on disk.
    write(dir.path(), "a", 0..40_000, 1000);
    instance.wait_stats("all is on disk", |stats| number(sink(stats, "far"), "stored") == 40_000);
    let (_, page) = instance.get("/metrics");
    let moved = [
        "dispatcher_sink_persisted",
        "dispatcher_sink_buffer_bytes",
        "dispatcher_sink_buffer_segments",
        "dispatcher_sink_buffer_age_seconds",
        "dispatcher_sink_buffer_in_use",
        "dispatcher_sink_buffer_sync_duration_seconds_count",
    ];
    moved.iter().for_each(|name| assert!(metric(&page, name) > 0.0, "{name} in\n{page}"));
    assert_eq!(metric(&page, "dispatcher_sink_stored_total"), 40_000.0);
    assert_eq!(metric(&page, "dispatcher_sink_buffer_entries"), 40_000.0);
    assert!(metric(&page, "dispatcher_sink_buffer_bytes") >= 40_000_000.0);
    assert_eq!(end(instance), 40_000);

    // A byte is broken: its record is lost, counted to the entry, and the others come.
    let segments: Vec<_> = files(&dir.path().join("state/buffer/far"))
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seg-")))
        .collect();
    let mut bytes = fs::read(&segments[0]).expect("a segment");
    bytes[100_000] ^= 1;
    fs::write(&segments[0], bytes).expect("written");
    let destination = Destination::start();
    let mut instance = Instance::start(dir.path(), &config(&destination.url(), buffer, ""));
    let stats = instance.wait_stats("the rest is delivered", |stats| {
        at_rest(stats) && number(sink(stats, "far"), "delivered") + dropped(stats, "corrupt") == 40_000
    });
    assert_ledger(&stats);
    let lost = dropped(&stats, "corrupt");
    assert!(lost > 0 && lost < 1000, "a record is lost: {lost}");
    let (_, page) = instance.get("/metrics");
    assert_eq!(metric(&page, "dispatcher_sink_buffer_lost_entries_total"), lost as f64);
    assert!(metric(&page, "dispatcher_sink_buffer_quarantined_bytes") > 0.0);
    assert_eq!(instance.terminate(), 0);
    let arrived = arrived(&destination);
    assert_eq!(arrived.streams["a"].len() as u64 + lost, 40_000);
    assert!(arrived.streams["a"].windows(2).all(|two| two[0] < two[1]));
}

#[test]
fn killed_with_a_backlog_it_keeps_everything_it_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = config(&nobody(), "max_size: 64MiB", "");
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut instance = Instance::start(dir.path(), &text);
        let address = instance.address("source push", "http://");
        let mut client = Client::connect(&address);
        for _ in 0..20 {
            let body: String =
                (acknowledged..acknowledged + 50).map(|n| line("push", n, 200) + "\n").collect();
            let answer = client.ask("/", "", body);
            assert_eq!(answer.status, 200, "round {round}: the sink is dead, the disk is not: {answer:?}");
            acknowledged += 50;
        }
        instance.kill();
    }
    let (destination, instance) = deliver(dir.path(), "max_size: 64MiB", "", acknowledged);
    assert_eq!(instance.terminate(), 0);
    arrived(&destination).assert_exact("push", acknowledged);
}

#[test]
fn a_request_is_answered_once_it_is_on_disk_though_the_sink_is_dead_and_waits_where_there_is_no_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    for fsync in ["group", "always", "none"] {
        let text = config(&nobody(), &format!("fsync: {fsync}"), "");
        let mut instance = Instance::start(dir.path(), &text);
        let address = instance.address("source push", "http://");
        assert_eq!(post(&address, "/", "", "one\ntwo\n").status, 200, "fsync: {fsync}");
        let stats = instance.stats();
        assert!(kept(&stats) >= 2, "{stats:#}");
        assert_eq!(instance.terminate(), 0);
    }
    let text = config(&nobody(), "fsync: group", "").replace("type: disk", "type: memory");
    let text = text
        .replace("listen: [\"tcp://127.0.0.1:0\"]", "listen: [\"tcp://127.0.0.1:0\"], ack_timeout: 300ms");
    let mut instance = Instance::start(dir.path(), &text.replace("drain_timeout: 20s", "drain_timeout: 1s"));
    instance.wait_log("no sink uses it");
    let unused = instance.stats()["unused_buffers"].clone();
    assert_eq!(unused[0]["name"], "far", "{unused:#}");
    let address = instance.address("source push", "http://");
    assert_eq!(post(&address, "/", "", "three\n").status, 503);
}

#[test]
fn with_group_a_request_waits_for_company_on_its_way_to_disk_and_with_none_it_does_not() {
    for (fsync, waits) in [("group", true), ("none", false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut instance = Instance::start(dir.path(), &config(&nobody(), &format!("fsync: {fsync}"), ""));
        let address = instance.address("source push", "http://");
        // A busy machine may be slow a few times, but not each time.
        let answered = (0..20).map(|_| {
            let begun = Instant::now();
            assert_eq!(post(&address, "/", "", "one\n").status, 200);
            begun.elapsed()
        });
        let soonest = answered.min().expect("some");
        assert_eq!(soonest >= Duration::from_millis(50), waits, "fsync: {fsync}: {soonest:?}");
    }
}

#[test]
fn a_full_buffer_drops_the_newest_and_counts_each() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..20_000, 1000);
    let buffer = format!("max_size: {SMALL}, when_full: drop_newest");
    let mut instance = Instance::start(dir.path(), &config(&nobody(), &buffer, NEAR));
    let stats = instance.wait_stats("all is kept or lost", |stats| {
        let far = sink(stats, "far");
        number(sink(stats, "near"), "delivered") == 20_000
            && number(far, "stored") + dropped(stats, "drop_newest") == 20_000
    });
    let lost = dropped(&stats, "drop_newest");
    assert!(lost > 5_000 && kept(&stats) > 5_000, "{stats:#}");
    let kept = end(instance);
    assert_eq!(kept + lost, 20_000);
    let (destination, instance) = deliver(dir.path(), &buffer, NEAR, kept);
    assert_eq!(instance.terminate(), 0);
    let arrived = arrived(&destination);
    let numbers = &arrived.streams["a"];
    assert!(numbers.is_sorted() && numbers.windows(2).all(|two| two[0] < two[1]));
    assert_eq!((numbers.len() as u64, numbers[0]), (kept, 0));

    // A larger one loses none of them.
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..20_000, 1000);
    let buffer = "max_size: 64MiB, when_full: drop_newest";
    let mut instance = Instance::start(dir.path(), &config(&nobody(), buffer, NEAR));
    let stats = instance.wait_stats("all is kept", |stats| {
        number(sink(stats, "far"), "stored") + dropped(stats, "drop_newest") == 20_000
    });
    assert_eq!(dropped(&stats, "drop_newest"), 0);
    assert_eq!(end(instance), 20_000);
}

#[test]
fn a_full_buffer_drops_the_oldest_and_counts_each() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..20_000, 1000);
    let buffer = format!("max_size: {SMALL}, when_full: drop_oldest");
    let mut instance = Instance::start(dir.path(), &config(&nobody(), &buffer, NEAR));
    let stats = instance.wait_stats("all is kept or lost", |stats| {
        number(sink(stats, "near"), "delivered") == 20_000 && number(sink(stats, "far"), "stored") == 20_000
    });
    let lost = dropped(&stats, "drop_oldest");
    assert!(lost > 5_000, "{stats:#}");
    assert_eq!(kept(&stats) + lost, 20_000);
    let kept = end(instance);
    assert_eq!(kept + lost, 20_000);
    let (destination, instance) = deliver(dir.path(), &buffer, NEAR, kept);
    assert_eq!(instance.terminate(), 0);
    let arrived = arrived(&destination);
    let numbers = &arrived.streams["a"];
    assert!(numbers.windows(2).all(|two| two[0] < two[1]));
    assert_eq!((numbers.len() as u64, numbers.last()), (kept, Some(&19_999)));
}

#[test]
fn a_full_buffer_stops_its_sources_and_nothing_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    // More than memory and disk hold together.
    let rest = "quotas: { max_memory: 96MiB }\n";
    write(dir.path(), "a", 0..60_000, 1000);
    let buffer = format!("max_size: {SMALL}");
    let mut instance = Instance::start(dir.path(), &config(&nobody(), &buffer, rest));
    instance.wait_log("its buffer is full, its sources wait");
    let stats = instance.wait_stats("what may be on its way is", |stats| {
        number(row(stats, "sources", "logs"), "in_transit") == 0 && number(sink(stats, "far"), "stored") > 0
    });
    assert!(number(row(&stats, "sources", "logs"), "received") < 60_000);
    // Another address, while it runs.
    let destination = Destination::start();
    fs::write(dir.path().join("config.yaml"), config(&destination.url(), &buffer, rest)).expect("written");
    instance.signal("HUP");
    let stats = instance.wait_stats("all is delivered", |stats| {
        at_rest(stats) && number(sink(stats, "far"), "delivered") == 60_000
    });
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    arrived(&destination).assert_exact("a", 60_000);
}

#[test]
fn the_buffer_of_a_removed_sink_is_kept_and_one_of_its_name_takes_it_up() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..3_000, 120);
    let with = config(&nobody(), "max_size: 64MiB", NEAR);
    let mut instance = Instance::start(dir.path(), &with);
    instance.wait_stats("all is on disk", |stats| number(sink(stats, "far"), "stored") == 3_000);
    let start = with.find("  far:").expect("there");
    let without = format!("{}{NEAR}", &with[..start]);
    fs::write(dir.path().join("config.yaml"), &without).expect("written");
    instance.signal("HUP");
    instance.wait_log("its buffer is kept with 3000 entries");
    let stats = instance.wait_stats("it is gone", at_rest);
    assert_ledger(&stats);
    assert_eq!(number(sink(&stats, "far"), "persisted"), 3_000);

    let destination = Destination::start();
    let again = config(&destination.url(), "max_size: 64MiB", NEAR);
    fs::write(dir.path().join("config.yaml"), again).expect("written");
    instance.signal("HUP");
    let stats = instance.wait_stats("its entries are delivered", |stats| {
        at_rest(stats) && number(sink(stats, "far"), "delivered") == 3_000 && kept(stats) == 0
    });
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    arrived(&destination).assert_exact("a", 3_000);
}

#[test]
fn a_buffer_that_nobody_uses_is_reported_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..100, 120);
    let mut instance = Instance::start(dir.path(), &config(&nobody(), "max_size: 64MiB", NEAR));
    instance.wait_stats("all is on disk", |stats| number(sink(stats, "far"), "stored") == 100);
    assert_eq!(end(instance), 100);
    let text = config(&nobody(), "max_size: 64MiB", NEAR).replace("  far:", "  other:");
    let mut instance = Instance::start(dir.path(), &text);
    let said = instance.wait_log("no sink uses it");
    assert!(said.contains("buffer/far") && said.contains("a sink called `far`"), "{said}");
    let stats = instance.stats();
    assert_eq!(stats["unused_buffers"][0]["name"], "far");
    assert_eq!(stats["unused_buffers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_becomes_of_entries_in_a_full_buffer_can_change_while_it_runs_and_its_size_cannot() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", 0..100, 120);
    let url = nobody();
    let mut instance = Instance::start(dir.path(), &config(&url, "max_size: 64MiB", NEAR));
    instance.wait_stats("all was read", |stats| number(row(stats, "sources", "logs"), "received") == 100);
    fs::write(dir.path().join("config.yaml"), config(&url, "max_size: 65MiB", NEAR)).expect("written");
    instance.signal("HUP");
    let said = instance.wait_log("these take a restart");
    assert!(said.contains("sinks.far.buffer.max_size"), "{said}");
    let changed = config(&url, "max_size: 64MiB, when_full: drop_oldest", NEAR);
    fs::write(dir.path().join("config.yaml"), changed).expect("written");
    instance.signal("HUP");
    let said = instance.wait_log("buffer.when_full");
    assert!(said.contains("block -> drop_oldest"), "{said}");
    instance.wait_log("reload 2: in force");
    assert_eq!(end(instance), 100);
}

#[test]
fn a_lane_in_memory_spills_to_disk_while_it_is_full_and_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    // Much more than the lane may have in memory, from files enough that none has to wait for its own entries.
    let rest = "quotas: { max_memory: 96MiB }\n";
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    names.iter().for_each(|name| write(dir.path(), name, 0..3000, 1000));
    let spilling = |url: &str| {
        let text = config(url, "max_size: 512MiB", rest).replace("type: disk", "type: memory");
        text.replace("include: [\"logs/*.log\"]", "include: [\"logs/*.log\"], strategy: spill")
    };
    let mut instance = Instance::start(dir.path(), &spilling(&nobody()));
    let stats = instance.wait_stats("all came in", |stats| {
        number(row(stats, "sources", "logs"), "received") == 60_000
            && number(row(stats, "sources", "logs"), "in_transit") == 0
            && number(sink(stats, "far"), "stored") > 0
            && number(&sink(stats, "far")["lane"], "entries") > 0
            && sink(stats, "far")["lane"]["gate_closed"] == false
    });
    assert_eq!(sink(&stats, "far")["buffer"]["in_use"], true);
    assert!(number(sink(&stats, "far"), "stored") < 60_000, "what memory holds is not written");
    let destination = Destination::start();
    fs::write(dir.path().join("config.yaml"), spilling(&destination.url())).expect("written");
    instance.signal("HUP");
    let stats = instance.wait_stats("memory has room again", |stats| {
        at_rest(stats)
            && number(sink(stats, "far"), "delivered") == 60_000
            && sink(stats, "far")["buffer"]["in_use"] == false
    });
    assert_ledger(&stats);
    let stored = number(sink(&stats, "far"), "stored");
    // From now on the disk is not used.
    write(dir.path(), "s0", 3000..4000, 1000);
    let stats = instance.wait_delivered("far", 61_000);
    assert_eq!(number(sink(&stats, "far"), "stored"), stored);
    assert_eq!(instance.terminate(), 0);
    let arrived = arrived(&destination);
    arrived.assert_exact("s0", 4000);
    names[1..].iter().for_each(|name| arrived.assert_exact(name, 3000));
}

#[test]
fn check_refuses_what_cannot_work_and_says_who_stops_whom() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |text: &str| {
        fs::write(dir.path().join("config.yaml"), text).expect("written");
        let (code, out, error) = run(dir.path(), &["check", "-c", "config.yaml"]);
        (code, out + &error)
    };
    let (code, said) = check(&config("http://127.0.0.1:1/", "max_size: 1MiB", NEAR));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("`max_size` in `buffer` of sink `far` is 1MiB")
            && said.contains("expected at least 9MiB"),
        "{said}"
    );
    let (code, said) = check(&config("http://127.0.0.1:1/", "max_size: 9MiB", NEAR));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("sink far, when its 9MiB on disk are full, stops: logs, push"), "{said}");
    let ack = said.lines().find(|line| line.trim_start().starts_with("ack ")).expect("a line");
    assert!(ack.contains("persisted"), "{ack}");
    let (_, said) = check(&config("http://127.0.0.1:1/", "when_full: drop_oldest", NEAR));
    assert!(said.contains("sink far stops no source: what does not fit its 1GiB on disk is lost"), "{said}");
    let text = config("http://127.0.0.1:1/", "max_size: 9MiB", NEAR);
    let (code, said) = check(&text.replace("127.0.0.1:0\"] }", "127.0.0.1:0\"], ack: delivered }"));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("source `push` cannot wait for delivery: sink `far` has a buffer on disk"),
        "{said}"
    );
    let memory = text.replace("type: disk", "type: memory");
    let (code, said) = check(&memory.replace("127.0.0.1:0\"] }", "127.0.0.1:0\"], ack: persisted }"));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("source `push` cannot wait for a disk"), "{said}");
    let (_, said) = check(&memory);
    let ack = said.lines().find(|line| line.trim_start().starts_with("ack ")).expect("a line");
    assert!(ack.contains("delivered"), "{ack}");
}

#[test]
fn an_entry_that_fits_no_record_becomes_a_dead_letter_and_the_others_are_delivered() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "data_dir: state
admin: { listen: \"127.0.0.1:0\" }
sources: { logs: { type: file, include: [\"logs/*.log\"], max_line: 1MiB } }
sinks: { out: { type: file, path: \"out/all.log\", buffer: { type: disk } } }
";
    fs::create_dir_all(dir.path().join("logs")).expect("created");
    let large = "x".repeat(1 << 20);
    fs::write(dir.path().join("logs/a.log"), format!("one\n{large}\ntwo\n")).expect("written");
    let mut instance = Instance::start(dir.path(), text);
    let stats = instance.wait_delivered("out", 2);
    assert_ledger(&stats);
    let out = sink(&stats, "out");
    assert_eq!((number(out, "dead_lettered"), number(&out["dropped"], "too_large")), (1, 0));
    let rows = stats["dlq"]["by_reason"].as_array().expect("rows");
    let letters = rows.iter().find(|row| row["reason"] == "too_large").map(|row| number(row, "letters"));
    assert_eq!(letters, Some(1), "{rows:?}");
    assert_eq!(instance.terminate(), 0);
    assert_eq!(fs::read_to_string(dir.path().join("out/all.log")).expect("written"), "one\ntwo\n");
}
