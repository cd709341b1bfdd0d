//! Every metric on `/metrics` moves when what it tells of happens, and has the number that is right from outside.
//!
//! One instance goes through everything that a metric can tell of in this version; the names are taken from the page
//! itself, so that a new one without a story here fails. What cannot happen yet stands in [`STILL`] with the reason.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::*;

/// What does not move in this version, and why.
const STILL: &[(&str, &str)] = &[
    ("dispatcher_ledger_broken", "a fault of ours would move it"),
    ("dispatcher_cpu_limit_rest_seconds_total", "there is no limit here: tests/quotas.rs moves it"),
    ("dispatcher_sink_persisted", "there is no buffer on disk here: tests/buffer.rs moves it"),
    ("dispatcher_sink_stored_total", "there is no buffer on disk here: tests/buffer.rs moves it"),
    ("dispatcher_sink_dead_lettered_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_letters", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_bytes", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_kept_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_dropped_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_retried_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_replayed_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_settled_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_purged_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_disk_bytes", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_oldest_seconds", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_lost_total", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_dlq_alarm", "nothing is refused here: tests/dlq.rs moves it"),
    ("dispatcher_ordered_evicted_total", "no step here knows too many keys: tests/keys/ordered.rs moves it"),
    (
        "dispatcher_ordered_lost_counts_total",
        "a `repeats` that finds no room for long would move it: src/steps/ordered/tests.rs does",
    ),
    (
        "dispatcher_sink_duplicated_total",
        "a disk that takes part of a batch and cannot take it back would move it",
    ),
    ("dispatcher_source_requests_total", "there is no source of requests here: tests/http.rs moves it"),
    ("dispatcher_source_request_bytes_total", "there is no source of requests here: tests/http.rs moves it"),
    (
        "dispatcher_source_refused_entries_total",
        "there is no source of requests here: tests/http.rs moves it",
    ),
    (
        "dispatcher_sink_bisect_requests_total",
        "no sink here refuses what it is sent: tests/delivery.rs moves it",
    ),
    ("dispatcher_sink_denied_since_seconds", "no sink here asks who we are: tests/delivery.rs moves it"),
    ("dispatcher_sink_batches_out_limit", "all sinks here have one batch out: tests/flow/ moves it"),
    ("dispatcher_source_paced_total", "there is no rate limit here: tests/rates.rs moves it"),
    ("dispatcher_source_rate_limit_keys", "there is no rate limit here: tests/rates.rs moves it"),
    ("dispatcher_rate_limit_keys", "there is no rate limit here: tests/rates.rs moves it"),
    ("dispatcher_sink_fallback_total", "no sink here has a fallback: tests/delivery.rs moves it"),
    ("dispatcher_sink_breaker_open", "no sink here is out of reach for long: tests/delivery.rs moves it"),
    (
        "dispatcher_sink_breaker_transitions_total",
        "no sink here is out of reach for long: tests/delivery.rs moves it",
    ),
    ("dispatcher_worker_pool_grown_total", "the number of workers is fixed here: tests/pools.rs moves it"),
    ("dispatcher_worker_pool_shrunk_total", "the number of workers is fixed here: tests/pools.rs moves it"),
    ("dispatcher_threads_stuck", "a fault of ours, or a disk that hangs, would move it"),
    ("dispatcher_source_files_rotated_total", "no file is rotated here: tests/tailing/ moves it"),
    ("dispatcher_source_files_truncated_total", "no file is cut here: tests/tailing/ moves it"),
    ("dispatcher_source_files_vanished_total", "no file vanishes here: tests/tailing/ moves it"),
    ("dispatcher_source_replayed_blocks_total", "nothing fails for good yet while the process lives"),
];

/// What never moves, but is checked against a number from outside: see `constants`.
const CONSTANT: &[&str] = &[
    "dispatcher_build_info",
    "dispatcher_blocks_limit_bytes",
    "dispatcher_queue_limit",
    "dispatcher_queue_limit_bytes",
    "dispatcher_quota_limit",
    "dispatcher_transit_limit_bytes",
    "dispatcher_worker_pool_workers",
    "dispatcher_worker_pool_workers_max",
    "process_max_fds",
    "process_start_time_seconds",
    "process_threads",
];

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
quotas: { max_memory: 96MiB }
dispatcher:
  queue_size: 2000
  worker_count: 3
  retry_backoff: 200ms
  retry_jitter: none
sources:
  in:    { type: stdin, pipeline: p, max_line: 1000B }
  files: { type: file, include: ["logs/*"], pipeline: p }
  loss:  { type: file, include: ["loss/*"], pipeline: slow, strategy: drop_newest }
  net:   { type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], max_connections: 1, receive_buffer: 8KiB }
pipelines:
  p:
    - parse: json
    - discard: 'level == "debug"'
    - throttle: { rate: 100000000 }
  slow:
    - parse: json
    SLOW
sinks:
  out:    { type: file, path: "out/{fields.n}", max_files: 1, when: 'to == "out"' }
  none:   { type: blackhole, when: 'to == "out"' }
  dead:   { type: console, format: raw, when: 'to == "dead"' }
  broken: { type: file, path: "bad/{source}", when: 'to == "broken"' }
"#;

/// A page: the types by name, the values by name and labels as they are written.
#[derive(Default)]
struct Page {
    types: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Page {
    fn of(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                page.types.insert(name.into(), kind.into());
            } else if !line.starts_with('#') && !line.is_empty() {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                page.values.insert(series.into(), value.parse().expect("a number"));
            }
        }
        page
    }

    /// The value of a series; what is not there has not happened.
    fn get(&self, series: &str) -> f64 {
        self.values.get(series).copied().unwrap_or(0.0)
    }

    /// The sum over all series of a name.
    fn sum(&self, name: &str) -> f64 {
        let of = |series: &str| series == name || series.starts_with(&format!("{name}{{"));
        self.values.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// The name that a series belongs to.
    fn name(&self, series: &str) -> String {
        let name = series.split('{').next().unwrap_or(series);
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        base.filter(|base| self.types.contains_key(*base)).unwrap_or(name).to_string()
    }
}

/// Looks again and again, and notes what has moved.
struct Watch {
    first: Page,
    moved: BTreeSet<String>,
}

impl Watch {
    fn look(&mut self, instance: &mut Instance) -> Page {
        let (status, text) = instance.get("/metrics");
        assert_eq!(status, 200);
        let page = Page::of(&text);
        let moved = page.values.iter().filter(|(series, value)| self.first.get(series) != **value);
        self.moved.extend(moved.map(|(series, _)| page.name(series)));
        page
    }

    fn until(&mut self, instance: &mut Instance, what: &str, is_so: impl Fn(&Page) -> bool) -> Page {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.look(instance);
            if is_so(&page) {
                return page;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{:#?}\n{}", page.values, instance.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Looks until all of `names` have moved.
    fn until_moved(&mut self, instance: &mut Instance, names: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look(instance);
            let still: Vec<_> = names.iter().filter(|name| !self.moved.contains(**name)).collect();
            if still.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "never moved: {still:?}\n{}", instance.log());
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

/// `count` entries for the sink `to`, of 200 bytes each with the end of the line.
fn entries(to: &str, count: usize) -> String {
    let entry = |n: usize| {
        let head = format!("{{\"to\":\"{to}\",\"n\":{n},\"fill\":\"");
        format!("{head}{}\"}}\n", "x".repeat(200 - head.len() - 3))
    };
    (0..count).map(entry).collect()
}

/// Writes `part`, a thousand lines, again and again until told that it is enough.
struct Writer {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<(f64, ChildStdin)>,
}

impl Writer {
    fn start(mut stdin: ChildStdin, part: String) -> Writer {
        let enough = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut sent = 0.0;
            // Relaxed, here and below: nothing but the flag itself is read on the strength of it.
            while !done.load(Ordering::Relaxed) {
                stdin.write_all(part.as_bytes()).expect("it reads");
                sent += 1000.0;
            }
            (sent, stdin)
        });
        Writer { enough, thread }
    }

    /// Says how many lines were sent. The last of them must be taken for that.
    fn stop(self) -> (f64, ChildStdin) {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

/// Numbers that stay as they are, against what can be known of them from outside.
fn constants(page: &Page, instance: &Instance) {
    let proc = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", instance.id())).expect("it runs");
    let version = format!("dispatcher_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    // Of what is for five lanes (that of the dead letters is one) each can take in all of transit and hold on to as much again.
    let blocks = page.get("dispatcher_blocks_limit_bytes");
    assert!((50 << 20) as f64 <= blocks && blocks <= (70 << 20) as f64, "{blocks}");
    let transit = (blocks / 11.0).floor();
    let limits = proc("limits");
    let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    let max_fds: f64 =
        max_fds.split_whitespace().next().and_then(|soft| soft.parse().ok()).expect("a number");
    let threads = fs::read_dir(format!("/proc/{}/task", instance.id())).expect("it runs").count() as f64;
    for (series, value) in [
        (version.as_str(), 1.0),
        ("dispatcher_queue_limit", 2000.0),
        ("dispatcher_quota_limit{quota=\"memory\"}", (96 << 20) as f64),
        ("dispatcher_queue_limit_bytes", (transit / 2.0).floor()),
        ("dispatcher_transit_limit_bytes", transit),
        ("process_max_fds", max_fds),
        ("process_threads", threads),
    ] {
        assert_eq!(page.get(series), value, "{series}");
    }
    let age =
        fs::metadata(format!("/proc/{}", instance.id())).and_then(|meta| meta.modified()).expect("it runs");
    let begun = age.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((page.get("process_start_time_seconds") - begun).abs() < 60.0, "{begun}");
}

#[test]
fn every_metric_moves_and_has_the_right_number() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["logs", "loss", "bad/in"] {
        fs::create_dir_all(dir.path().join(name)).expect("created");
    }
    fs::write(dir.path().join("logs/a"), "").expect("written");
    fs::write(dir.path().join("loss/a"), "").expect("written");
    // Steps that make a worker slower than a reader, on any machine.
    let slow =
        "- discard: 'a == \"1\" or b == \"2\" or c == \"3\" or d == \"4\" or e == \"5\" or f == \"6\"'\n    ";
    let mut instance = Instance::start(dir.path(), &CONFIG.replace("SLOW", &slow.repeat(30)));
    let first = Page::of(&instance.get("/metrics").1);
    let mut watch = Watch { first, moved: BTreeSet::new() };
    let mut stdin = instance.stdin();

    few_of_everything(&mut instance, &mut watch, &mut stdin, dir.path());
    let sent_udp = a_burst_that_does_not_fit(&mut instance, &mut watch);
    let (writer, lost, at_the_door) = a_sink_nobody_reads(&mut instance, &mut watch, stdin, dir.path());
    let mut stdout = instance.stdout();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("text");
        text.lines().count() as f64
    });
    let (for_dead, stdin) = writer.stop();
    watch
        .until(&mut instance, "the sink is empty again", |page| page.sum("dispatcher_sink_in_flight") == 0.0);
    let (load, load_loss) = more_than_it_can_take(&mut instance, &mut watch, stdin, dir.path());

    let (debug, wrong) = (2.0, 2.0);
    let input = 3.0 + debug + 1.0 + wrong + 1.0 + for_dead + load;
    instance.wait_stats("rest", |stats| {
        let received = |name| number(row(stats, "sources", name), "received") as f64;
        at_rest(stats) && received("in") >= input && received("loss") >= lost + load_loss
    });
    let page = watch.look(&mut instance);
    let stats = instance.stats();
    assert_ledger(&stats);
    constants(&page, &instance);
    let of = |name: &str, label: &str| page.get(&format!("dispatcher_{name}{{{label}}}"));

    // The sources: what was sent, and of it what each step and sink was told to do with it.
    for (name, label, value) in [
        ("source_received_total", "source=\"in\"", input),
        ("source_processed_total", "source=\"in\"", input),
        ("source_filtered_total", "source=\"in\"", debug),
        ("source_step_errors_total", "source=\"in\"", wrong),
        ("source_cut_total", "source=\"in\"", 1.0),
        ("source_unrouted_total", "source=\"in\"", 1.0 + wrong + load),
        ("source_routed_total", "source=\"in\"", 3.0 + 1.0 + for_dead),
        ("source_fan_out_extra_total", "source=\"in\"", 3.0),
        ("source_received_total", "source=\"files\"", 4.0 + 600.0 + 1.0),
        ("source_received_total", "source=\"loss\"", lost + load_loss),
        ("source_refused_connections_total", "source=\"net\"", 1.0),
        ("source_broken_connections_total", "source=\"net\"", 1.0),
        ("sink_copies_total", "sink=\"out\"", 3.0 + 4.0 + 1.0),
        // Each of the three times all but number 0.
        ("sink_overflowed_total", "sink=\"out\"", 2.0 + 3.0),
        ("sink_delivered_total", "sink=\"none\"", 3.0 + 4.0 + 1.0),
        ("sink_delivered_total", "sink=\"broken\"", 1.0),
        ("sink_retries_total", "sink=\"broken\"", of("sink_errors_total", "sink=\"broken\"")),
    ] {
        assert_eq!(of(name, label), value, "{name} of {label}");
    }
    let udp = of("source_received_total", "source=\"net\"") - 2.0
        + of("source_kernel_drops_total", "source=\"net\"");
    assert_eq!(udp, sent_udp, "what came and what the kernel threw away");
    // The sums are those of the rows.
    for (all, rows) in [
        ("dispatcher_entries_received_total", "dispatcher_source_received_total"),
        ("dispatcher_entries_processed_total", "dispatcher_source_processed_total"),
        ("dispatcher_entries_failed_total", "dispatcher_source_step_errors_total"),
    ] {
        assert_eq!(page.get(all), page.sum(rows), "{all}");
    }
    // The sinks: what can be counted in what they wrote.
    let texts =
        files(&dir.path().join("out")).into_iter().map(|path| fs::read_to_string(path).expect("text"));
    let written: String = texts.collect();
    assert_eq!(of("sink_delivered_total", "sink=\"out\""), written.lines().count() as f64);
    // The text, with or without the ends of its lines.
    let bytes = of("sink_delivered_bytes_total", "sink=\"out\"");
    let most = written.len() as f64;
    assert!(bytes <= most && bytes >= most - written.lines().count() as f64, "{bytes} of {most}");
    let dropped = of("sink_dropped_total", "sink=\"dead\",reason=\"drop_newest\"");
    assert_eq!(
        of("sink_copies_total", "sink=\"dead\""),
        of("sink_delivered_total", "sink=\"dead\"") + dropped
    );
    assert_eq!(of("sink_delivered_total", "sink=\"dead\"") + dropped, for_dead + 600.0 + lost - at_the_door);
    // The histograms: a sample for each block, request and batch.
    let blocks = stats["domains"]
        .as_array()
        .expect("domains")
        .iter()
        .map(|row| number(row, "next_ticket"))
        .sum::<u64>();
    for name in ["processing_duration_seconds", "queue_wait_duration_seconds", "worker_task_duration_seconds"]
    {
        assert_eq!(
            page.get(&format!("dispatcher_{name}_count{{pool=\"general\"}}")),
            blocks as f64,
            "{name}"
        );
    }
    for sink in ["out", "none", "dead", "broken"] {
        let label = format!("sink=\"{sink}\"");
        let (batches, errors) = (of("sink_batches_total", &label), of("sink_errors_total", &label));
        assert_eq!(of("sink_delivery_duration_seconds_count", &label), batches + errors, "{sink}");
        assert_eq!(of("sink_batch_entries_count", &label), batches, "{sink}");
        assert_eq!(of("sink_batch_entries_sum", &label), of("sink_delivered_total", &label), "{sink}");
    }
    assert_eq!(page.get("dispatcher_workers_active") + page.get("dispatcher_workers_idle"), 3.0);
    for name in ["workers", "workers_max"] {
        assert_eq!(page.get(&format!("dispatcher_worker_pool_{name}{{pool=\"general\"}}")), 3.0, "{name}");
    }
    let delivered = of("sink_delivered_total", "sink=\"dead\"");
    every_name_has_its_story(&page, &watch);
    assert_eq!(instance.terminate(), 0);
    assert_eq!(reader.join().expect("no panic"), delivered);
}

fn every_name_has_its_story(page: &Page, watch: &Watch) {
    let still: BTreeSet<&str> = STILL.iter().map(|(name, _)| *name).collect();
    let constant: BTreeSet<&str> = CONSTANT.iter().copied().collect();
    for name in still.union(&constant) {
        assert!(page.types.contains_key(*name), "{name} is not on the page");
        assert!(!watch.moved.contains(*name), "{name} does move");
    }
    let told = |name: &&String| still.contains(name.as_str()) || constant.contains(name.as_str());
    let untold: Vec<_> =
        page.types.keys().filter(|name| !told(name) && !watch.moved.contains(*name)).collect();
    assert!(untold.is_empty(), "these never moved: {untold:?}");
    assert!(page.types.len() > 50, "only {} names", page.types.len());
}

/// A few entries of every kind, a sink that fails and recovers, a connection and one too many.
fn few_of_everything(instance: &mut Instance, watch: &mut Watch, stdin: &mut ChildStdin, dir: &Path) {
    let lines = [
        entries("out", 3),
        "{\"level\":\"debug\"}\n".repeat(2),
        entries("nobody", 1),
        "{\"broken\n".into(),
        format!("{{\"to\":\"{}\"}}\n", "x".repeat(2000)),
        entries("broken", 1),
    ];
    stdin.write_all(lines.concat().as_bytes()).expect("it reads");
    append(&dir.join("logs/a"), &entries("out", 4));
    watch.until(instance, "the sink fails", |page| {
        page.get("dispatcher_sink_retrying{sink=\"broken\"}") == 1.0
    });
    // A directory stood where the file should be.
    fs::remove_dir(dir.join("bad/in")).expect("removed");
    watch.until(instance, "and works again", |page| {
        page.get("dispatcher_sink_delivered_total{sink=\"broken\"}") == 1.0
    });
    let address = instance.address("source net", "tcp://");
    let mut connection = TcpStream::connect(&address).expect("connected");
    connection.write_all(b"<13>one\n<13>two\n").expect("it reads");
    let two = |page: &Page| {
        page.get("dispatcher_source_streams{source=\"net\"}") == 1.0
            && page.get("dispatcher_source_received_total{source=\"net\"}") == 2.0
    };
    watch.until(instance, "a connection", two);
    let refused = TcpStream::connect(&address).expect("connected");
    let one_refused =
        |page: &Page| page.get("dispatcher_source_refused_connections_total{source=\"net\"}") == 1.0;
    watch.until(instance, "one too many", one_refused);
    drop((connection, refused));
    watch.until(instance, "none", |page| page.get("dispatcher_source_streams{source=\"net\"}") == 0.0);
    // A length that begins with a zero.
    TcpStream::connect(&address).expect("connected").write_all(b"0 nothing").expect("it reads");
    watch.until(instance, "one that cannot be understood", |page| {
        page.get("dispatcher_source_broken_connections_total{source=\"net\"}") == 1.0
    });
}

/// Datagrams while the process stands still. Says how many.
fn a_burst_that_does_not_fit(instance: &mut Instance, watch: &mut Watch) -> f64 {
    let to = instance.address("source net", "udp://");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let before = watch.look(instance).get("dispatcher_source_received_total{source=\"net\"}");
    instance.signal("STOP");
    for _ in 0..100 {
        socket.send_to(&[b'x'; 500], &to).expect("sent");
    }
    instance.signal("CONT");
    let came = |page: &Page| page.get("dispatcher_source_received_total{source=\"net\"}") > before;
    watch.until(instance, "some of it comes", came);
    // What the kernel threw away is told with the next datagram.
    socket.send_to(b"last", &to).expect("sent");
    let kernel = |page: &Page| page.get("dispatcher_source_kernel_drops_total{source=\"net\"}");
    watch.until(instance, "the loss is told", |page| {
        page.get("dispatcher_source_received_total{source=\"net\"}") - before + kernel(page) == 101.0
            && kernel(page) > 0.0
    });
    101.0
}

/// More for a console that nobody reads than its lane holds, and then some from a source that drops. Gives who still
/// writes, and says how many entries the other sent, and how many of them did not even come to the sink.
fn a_sink_nobody_reads(
    instance: &mut Instance,
    watch: &mut Watch,
    stdin: ChildStdin,
    dir: &Path,
) -> (Writer, f64, f64) {
    // More than the pipe takes: they are read and stay unsafe, which is a lag that grows older.
    append(&dir.join("logs/a"), &entries("dead", 600));
    let read = |page: &Page| page.get("dispatcher_source_received_total{source=\"files\"}") == 604.0;
    watch.until(instance, "they are read", read);
    let writer = Writer::start(stdin, entries("dead", 1000));
    let gate = |page: &Page| page.get("dispatcher_sink_gate_closed{sink=\"dead\"}") == 1.0;
    watch.until(instance, "the lane is full", gate);
    // It stays so: nobody reads. What the writer still sends waits in its pipe.
    writer.enough.store(true, Ordering::Relaxed);
    append(&dir.join("loss/a"), &entries("dead", 5000));
    let page = watch.until(instance, "what comes now is dropped", |page| {
        page.get("dispatcher_sink_dropped_total{sink=\"dead\",reason=\"drop_newest\"}") > 0.0
            && page.get("dispatcher_source_received_total{source=\"loss\"}") == 5000.0
    });
    append(&dir.join("logs/a"), &entries("out", 1));
    let names = [
        "dispatcher_sink_queue_size",
        "dispatcher_sink_queue_bytes",
        "dispatcher_sink_queue_age_seconds",
        "dispatcher_sink_in_flight",
        "dispatcher_sink_pinned_bytes",
        "dispatcher_sink_batches_out",
        "dispatcher_source_gate_closed",
        "dispatcher_source_blocked_total",
        "dispatcher_source_lag_bytes",
        "dispatcher_source_lag_seconds",
    ];
    watch.until_moved(instance, &names);
    let at_the_door = page.get("dispatcher_source_dropped_total{source=\"loss\",reason=\"drop_newest\"}");
    (writer, 5000.0, at_the_door)
}

/// Sends without end, until everything that only shows under load was seen. Says how much: over the standard input, and
/// by the file of the source that drops.
fn more_than_it_can_take(
    instance: &mut Instance,
    watch: &mut Watch,
    stdin: ChildStdin,
    dir: &Path,
) -> (f64, f64) {
    let writer = Writer::start(stdin, entries("nobody", 1000));
    let (done, part, path) = (Arc::clone(&writer.enough), entries("nobody", 5000), dir.join("loss/a"));
    let file = std::thread::spawn(move || {
        let mut sent = 0.0;
        while !done.load(Ordering::Relaxed) {
            append(&path, &part);
            sent += 5000.0;
            std::thread::sleep(Duration::from_millis(5));
        }
        sent
    });
    let names = [
        "dispatcher_entries_per_second",
        "dispatcher_queue_size",
        "dispatcher_queue_bytes",
        "dispatcher_queue_utilization",
        "dispatcher_queue_congested",
        "dispatcher_backpressure_triggered_total",
        "dispatcher_workers_active",
        "dispatcher_workers_idle",
        "dispatcher_sequencer_waiting_blocks",
        "dispatcher_transit_bytes",
        "dispatcher_source_in_transit",
        "dispatcher_source_dropped_total",
        "dispatcher_thread_cpu_seconds_total",
        "process_cpu_seconds_total",
    ];
    watch.until_moved(instance, &names);
    let (sent, _) = writer.stop();
    (sent, file.join().expect("no panic"))
}
