//! Quotas: memory, threads and descriptors of the running binary, as the kernel counts them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use support::{Instance, Recount, line, number, row, run};

const MIB: u64 = 1 << 20;

/// The number behind `key` in the kernel's account of the process.
fn status(instance: &Instance, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", instance.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("it is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn quota<'a>(stats: &'a Value, name: &str) -> &'a Value {
    row(stats, "quotas", name)
}

fn tcp(instance: &mut Instance, source: &str) -> String {
    instance.address(&format!("source {source}"), "tcp://")
}

/// Long lines, many entries of many fields, unfinished messages of more connections than memory has room for, and a sink
/// that takes nothing, in memory and on disk.
#[test]
fn resident_memory_keeps_within_its_quota_whatever_comes() {
    const BUDGET: u64 = 64 * MIB;
    const CONNECTIONS: usize = 1500;
    for buffer in ["", ", buffer: { type: disk }"] {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("in")).expect("created");
        let config = format!(
            r#"
data_dir: state
admin: {{ listen: "127.0.0.1:0" }}
quotas: {{ max_memory: 64MiB }}
sources:
  files: {{ type: file, include: ["in/*"], rescan: 1s, pipeline: p }}
  net:
    type: syslog
    listen: ["tcp://127.0.0.1:0"]
    max_connections: 5000
    max_connections_per_address: 5000
    max_message: 256KiB
pipelines: {{ p: [ {{ parse: json }} ] }}
sinks:
  dead: {{ type: http, url: "http://127.0.0.1:9/"{buffer} }}
"#
        );
        let mut instance = Instance::start(dir.path(), &config);
        let address = tcp(&mut instance, "net");
        let begin = [b"<13>1 - h a - - - ".as_slice(), &[b'y'; 8000]].concat();
        let mut senders: Vec<TcpStream> = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut sender = TcpStream::connect(&address).expect("it listens");
            sender.set_nonblocking(true).expect("set");
            let _ = sender.write(&begin);
            senders.push(sender);
        }
        let fields: Vec<String> = (0..20).map(|n| format!("\"k{n}\":\"v{n}\"")).collect();
        let json = format!("{{{}}}\n", fields.join(","));
        fs::write(dir.path().join("in/json"), json.repeat(40_000)).expect("written");
        fs::write(dir.path().join("in/tiny"), "abc\n".repeat(200_000)).expect("written");
        let long = [vec![b'x'; 200 << 10], b"\n".to_vec()].concat();
        for n in 0..4 {
            fs::write(dir.path().join(format!("in/long{n}")), long.repeat(40)).expect("written");
        }
        for _ in 0..6 {
            // Whoever has been closed meanwhile has done its part.
            senders.iter_mut().for_each(|sender| drop(sender.write(&[b'y'; 16_000])));
            let before = number(&instance.stats()["ledger"], "received");
            instance.wait_stats("it goes on, or nothing more fits", |stats| {
                number(&stats["ledger"], "received") > before
                    || row(stats, "sinks", "dead")["lane"]["gate_closed"] == true
            });
        }
        let stats = instance.wait_stats("all is read, or nothing more fits", |stats| {
            number(row(stats, "sources", "files"), "received") == 240_160
                || row(stats, "sinks", "dead")["lane"]["gate_closed"] == true
        });
        let peak = status(&instance, "VmHWM:") << 10;
        assert!(peak <= BUDGET + BUDGET / 10, "{} MiB: {stats:#}", peak / MIB);
        let memory = quota(&stats, "memory");
        assert_eq!(number(memory, "limit"), BUDGET);
        // The kernel sums what is resident exactly when it is asked, as Ringmain does, but keeps the most there ever was
        // from counters that are behind by some pages of each core.
        assert!(number(memory, "used") > 8 * MIB, "{memory}");
        assert!(number(memory, "peak") <= peak + BUDGET / 10, "{peak} to the kernel: {memory}");
        instance.kill();
    }
}

const THREADS: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
dispatcher: { worker_count: 2, dlq: { enabled: false } }
sources: { in: { type: stdin } }
"#;

#[test]
fn a_config_with_more_threads_than_may_be_is_refused_with_a_table_and_a_reload_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    // Main and signals, keeper, admin, a reader, two workers, a sender, two for a reload.
    let config = |most: &str, more: &str| {
        format!("{THREADS}quotas: {{ max_threads: {most} }}\nsinks:\n  out: {{ type: blackhole }}\n{more}")
    };
    let check = |most: &str| {
        fs::write(dir.path().join("config.yaml"), config(most, "")).expect("written");
        run(dir.path(), &["check", "-c", "config.yaml"])
    };
    let (code, _, error) = check("9");
    assert_eq!(code, 2);
    assert!(error.contains("of 9 does not hold the 10 threads"), "{error}");
    assert!(error.lines().any(|line| line.split_whitespace().eq(["workers", "2"])), "{error}");
    assert_eq!(check("10").0, 0);
    let mut instance = Instance::start(dir.path(), &config("10", ""));
    let stats = instance.stats();
    let threads = quota(&stats, "threads");
    assert_eq!((number(threads, "limit"), number(threads, "used")), (10, status(&instance, "Threads:")));
    assert!(number(threads, "peak") >= number(threads, "used") && number(threads, "peak") <= 10, "{threads}");
    let more = config("10", "  extra: { type: blackhole }\n");
    fs::write(dir.path().join("config.yaml"), &more).expect("written");
    instance.signal("HUP");
    let line = instance.wait_log("of 10 does not hold");
    assert!(line.contains("the 11 threads it comes to with sink extra"), "{line}");
    instance.wait_log("refused, everything stays as it was");
    assert_eq!(instance.stats()["sinks"].as_array().expect("rows").len(), 1);
    // With room for it, in the same reload, it comes.
    fs::write(dir.path().join("config.yaml"), more.replace("max_threads: 10", "max_threads: 11"))
        .expect("written");
    instance.signal("HUP");
    instance.wait_stats("it is there", |stats| stats["sinks"].as_array().expect("rows").len() == 2);
    assert_eq!(number(quota(&instance.stats(), "threads"), "limit"), 11);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn within_its_descriptors_connections_wait_files_take_turns_and_checkpoints_are_written() {
    const MOST: u64 = 170;
    const CLIENTS: usize = 150;
    const FILES: usize = 120;
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("in")).expect("created");
    for n in 0..FILES {
        fs::write(dir.path().join(format!("in/{n}.log")), format!("to {n}\n")).expect("written");
    }
    let config = |most: u64| {
        format!(
            r#"
data_dir: state
admin: {{ listen: "127.0.0.1:0" }}
quotas: {{ max_fds: {most} }}
sources:
  files: {{ type: file, include: ["in/*"], rescan: 1s }}
  net: {{ type: socket, listen: ["tcp://127.0.0.1:0"] }}
sinks:
  out: {{ type: file, path: "out/{{origin}}" }}
"#
        )
    };
    fs::write(dir.path().join("config.yaml"), config(60)).expect("written");
    let (code, _, error) = run(dir.path(), &["check", "-c", "config.yaml"]);
    assert!(code == 2 && error.contains("`quotas.max_fds` of 60 is too small"), "{code} {error}");
    let mut instance = Instance::start(dir.path(), &config(MOST));
    let limits = fs::read_to_string(format!("/proc/{}/limits", instance.id())).expect("it runs");
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line");
    assert_eq!(soft.split_whitespace().next(), Some(MOST.to_string().as_str()));
    let address = tcp(&mut instance, "net");
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|n| {
            let mut client = TcpStream::connect(&address).expect("the backlog takes it");
            client.write_all(format!("from {n}\n").as_bytes()).expect("it is sent");
            client
        })
        .collect();
    let stats = instance.wait_stats("files are done and some clients", |stats| {
        number(row(stats, "sources", "files"), "routed") == FILES as u64
            && number(row(stats, "sources", "net"), "streams") > 5
    });
    let came = number(row(&stats, "sources", "net"), "streams");
    assert!(came < 80, "some have to wait: {stats:#}");
    // Whoever goes makes room for others, until all were served.
    let mut gone = 0;
    while gone < CLIENTS {
        let client = clients.remove(0);
        client.shutdown(std::net::Shutdown::Write).expect("it is there");
        wait_closed(client);
        gone += 1;
        let fds = fs::read_dir(format!("/proc/{}/fd", instance.id())).expect("it runs").count() as u64;
        assert!(fds <= MOST, "{fds}");
    }
    let stats = instance.wait_delivered("out", (FILES + CLIENTS) as u64);
    let fds = quota(&stats, "fds");
    assert_eq!(number(fds, "limit"), MOST);
    assert!(number(fds, "used") > 20 && number(fds, "peak") <= MOST, "{fds}");
    assert_eq!(number(row(&stats, "sources", "net"), "refused_connections"), 0);
    // A reload gives more, in place.
    fs::write(dir.path().join("config.yaml"), config(1000)).expect("written");
    instance.signal("HUP");
    instance.wait_log("in force");
    assert_eq!(number(quota(&instance.stats(), "fds"), "limit"), 1000);
    let log = instance.log();
    assert!(!log.contains("could not be made safe"), "{log}");
    assert_eq!(support::files(&dir.path().join("out")).len(), FILES + CLIENTS);
    assert_eq!(instance.terminate(), 0);
}

/// How much of a core the process used in `span`, by the kernel's account (proc_pid_stat(5)).
fn cores_used(instance: &Instance, span: Duration) -> f64 {
    const TICK: f64 = 0.01;
    let cpu = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", instance.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        // Behind the name stands field 3; 14 and 15 are the time in user and kernel.
        [14, 15].map(|field| fields[field - 3].parse::<f64>().expect("ticks")).iter().sum::<f64>() * TICK
    };
    let (begun, before) = (Instant::now(), cpu());
    // What is measured is what goes on meanwhile.
    std::thread::sleep(span);
    (cpu() - before) / begun.elapsed().as_secs_f64()
}

/// For how many seconds its threads stood in line for a core.
fn waited(instance: &Instance) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", instance.id())).expect("it runs");
    let stat =
        |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("schedstat")).ok();
    let nanos = |stat: String| stat.split(' ').nth(1).and_then(|nanos| nanos.parse::<f64>().ok());
    tasks.filter_map(stat).filter_map(nanos).sum::<f64>() / 1e9
}

/// Reading bodies is most of the work of whoever is posted to.
#[test]
fn who_reads_bodies_rests_at_a_cpu_limit_too_and_all_that_was_taken_is_delivered() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = "data_dir: state\nadmin: { listen: \"127.0.0.1:0\" }\nquotas: { cpu_limit: 0.05 }\n\
                  sources: { web: { type: http, listen: [\"tcp://127.0.0.1:0\"] } }\n\
                  sinks: { out: { type: file, path: out/all.log, format: raw } }\n";
    let mut instance = Instance::start(dir.path(), config);
    let (address, enough) = (instance.address("source web ", "http://"), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&enough);
    let sender = std::thread::spawn(move || {
        let mut sent = 0;
        while !stop.load(SeqCst) {
            let body: String = (sent..sent + 2000).map(|n| line("s", n, 200) + "\n").collect();
            assert_eq!(support::http::post(&address, "/", "", body).status, 200);
            sent += 2000;
        }
        sent
    });
    let is_decoder = |row: &Value| row["name"].as_str().is_some_and(|name| name.starts_with("decode-web"));
    instance.wait_stats("a decoder rests", |stats| {
        let mut threads = stats["threads"].as_array().expect("rows").iter();
        threads.any(|row| is_decoder(row) && row["doing"] == "rests: cpu_limit")
    });
    enough.store(true, SeqCst);
    let sent = sender.join().expect("each was answered");
    instance.wait_delivered("out", sent);
    assert_eq!(instance.terminate(), 0);
    Recount::of(&dir.path().join("out")).assert_exact("s", sent);
}

/// Lines without end through a costly pipeline, until told otherwise.
#[test]
fn cpu_keeps_within_its_limit_nothing_is_lost_and_a_reload_or_the_end_lift_it() {
    const LIMIT: f64 = 0.3;
    let costly =
        "    - parse: { format: regex, pattern: '(?<a>\\w+).*?(?<b>\\w+) .*?n=(?<c>\\d+) (?<d>\\w*?)$' }\n";
    let dir = tempfile::tempdir().expect("a directory");
    let config = |limit: &str| {
        format!(
            r#"
data_dir: state
admin: {{ listen: "127.0.0.1:0" }}
quotas: {{ cpu_limit: {limit} }}
sources: {{ in: {{ type: stdin, pipeline: costly }} }}
pipelines:
  costly:
{}sinks: {{ out: {{ type: file, path: out/all.log, format: raw }} }}
"#,
            costly.repeat(8)
        )
    };
    let mut instance = Instance::start(dir.path(), &config("0.3"));
    let (mut stdin, enough) = (instance.stdin(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&enough);
    let writer = std::thread::spawn(move || {
        let mut lines = 0;
        while !stop.load(SeqCst) {
            let some: String = (lines..lines + 100).map(|n| line("s", n, 60) + "\n").collect();
            if stdin.write_all(some.as_bytes()).is_err() {
                break;
            }
            lines += 100;
        }
    });
    let resting = |stats: &Value| {
        let threads = stats["threads"].as_array().expect("rows");
        threads.iter().any(|thread| thread["doing"] == "rests: cpu_limit")
    };
    let before = instance.wait_stats("it rests", resting);
    let used = cores_used(&instance, Duration::from_secs(4));
    assert!(used <= LIMIT * 1.1, "{used} cores");
    let stats = instance.stats();
    assert!(number(&stats["ledger"], "delivered") > number(&before["ledger"], "delivered"), "{stats:#}");
    let cpu = quota(&stats, "cpu");
    let part = |key: &str| cpu[key].as_f64().expect("a number");
    assert_eq!(part("limit"), LIMIT);
    assert!(part("used") > 0.0 && part("used") <= part("peak"), "{cpu}");
    assert!(stats["cpu_limit_rest_seconds"].as_f64().expect("a number") > 0.0, "{stats:#}");
    let deadline = Instant::now() + support::PATIENCE;
    let counts =
        |line: &str| line.starts_with("dispatcher_cpu_limit_rest_seconds_total ") && !line.ends_with(" 0");
    let says = |line: &str| line.contains("rests: cpu_limit");
    for (page, shows) in [("/threads", &says as &dyn Fn(&str) -> bool), ("/metrics", &counts)] {
        while !instance.get(page).1.lines().any(shows) {
            assert!(Instant::now() < deadline, "{page} does not show that threads rest");
        }
    }

    // Without a limit it takes what it needs, as soon as the machine has it.
    fs::write(dir.path().join("config.yaml"), config("off")).expect("written");
    instance.signal("HUP");
    instance.wait_log("in force");
    let deadline = Instant::now() + support::PATIENCE;
    loop {
        let before = waited(&instance);
        let span = Duration::from_millis(500);
        let used = cores_used(&instance, span);
        // On a busy machine it has to share; what it stood in line for it would have taken.
        let wanted = used + (waited(&instance) - before) / span.as_secs_f64();
        if wanted > 2.0 * LIMIT {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "it still keeps to a limit: {used} cores, {wanted} with those it waited for"
        );
    }
    assert_eq!(quota(&instance.stats(), "cpu")["limit"], Value::Null);

    // With next to nothing again, and much that is not delivered: the end takes what it needs.
    fs::write(dir.path().join("config.yaml"), config("0.01")).expect("written");
    instance.signal("HUP");
    instance.wait_stats("it rests again", |stats| quota(stats, "cpu")["limit"] == 0.01 && resting(stats));
    enough.store(true, SeqCst);
    instance.signal("TERM");
    assert_eq!(instance.wait().code(), Some(0));
    writer.join().expect("no panic");
    let recount = Recount::of(&dir.path().join("out"));
    recount.assert_exact("s", recount.lines());
    // It may have been told in the middle of a line.
    assert!(recount.foreign.len() <= 1 && recount.lines() > 1000, "{:?}", recount.foreign);
}

/// Waits until the other side has closed.
fn wait_closed(mut client: TcpStream) {
    let mut rest = [0; 16];
    match client.read(&mut rest) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it sends nothing: {other:?}"),
    }
}

#[test]
fn the_plan_for_a_machine_given_as_a_tree_keeps_siblings_apart_and_warns_of_those_that_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |path: String, text: &str| {
        let path = dir.path().join("sys/devices/system/cpu").join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("online".into(), "0-7\n");
    for core in 0..8 {
        write(
            format!("cpu{core}/topology/thread_siblings_list"),
            &format!("{},{}\n", core % 4, core % 4 + 4),
        );
    }
    let config = |affinity: &str, pools: &str| {
        let text = format!(
            "dispatcher: {{ worker_count: 2{pools} }}\naffinity: {{ {affinity} }}\nsources: {{ in: {{ type: stdin }} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}\n"
        );
        fs::write(dir.path().join("config.yaml"), text).expect("written");
        let (code, out, error) = run(dir.path(), &["topology", "-c", "config.yaml", "--sys", "sys"]);
        assert_eq!(code, 0, "{error}");
        out
    };
    let out = config("", "");
    assert!(out.starts_with("machine: 1 sockets, 1 nodes, 4 physical cores, 8 to run on"), "{out}");
    assert!(out.contains("socket 0, node 0, cache of 0: 0+4 1+5 2+6 3+7"), "{out}");
    let place = |out: &str, thread: &str| {
        let line = out.lines().find(|line| line.trim_start().starts_with(thread)).expect("a line");
        line.split_whitespace().nth(1).expect("cores").to_string()
    };
    assert_eq!(["reader-in", "worker-0", "worker-1"].map(|name| place(&out, name)), ["[1]", "[2]", "[3]"]);
    assert!(out.ends_with("no warnings\n"), "{out}");
    let out = config("readers: [1], workers: [5, 2]", "");
    assert!(out.contains("readers (core 1) and workers (core 5) share a physical core"), "{out}");
    let out = config("", ", worker_pool: { pools: { NET: { workers: { min: 1, max: 2 }, cores: [2, 6] } } }");
    assert_eq!(["worker-NET-0", "worker-NET-1"].map(|name| place(&out, name)), ["[2]", "[6]"]);
    // What is kept for a pool, the others keep away from.
    assert_eq!(["worker-0", "worker-1"].map(|name| place(&out, name)), ["[3]", "[7]"]);
}
