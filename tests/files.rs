//! The file sink from outside: rotation under load and under kills, and what senders cannot make it write.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use support::*;

const KILLS: u32 = 15;

/// What all files below `dir` hold, unpacked; a temporary file holds nothing.
fn recount(dir: &Path) -> Recount {
    let mut recount = Recount::default();
    for path in files(dir) {
        let name = path.to_string_lossy();
        let mut file = File::open(&path).expect("it is there");
        let mut text = String::new();
        match () {
            () if name.ends_with(".tmp") || name.ends_with(".torn") => continue,
            () if name.ends_with(".gz") => flate2::read::GzDecoder::new(file).read_to_string(&mut text),
            () if name.ends_with(".zst") => zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text),
            () => file.read_to_string(&mut text),
        }
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends in a whole line");
        recount.add(&text);
    }
    recount
}

#[test]
fn killed_15_times_while_it_rotates_and_compresses_it_loses_nothing() {
    let (seed, mut random) = random();
    let dir = tempfile::tempdir().expect("a directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("created");
    let config = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { logs: { type: file, include: ["logs/*.log"] } }
sinks:
  out: { type: file, path: "out/{source}.log", rotate: { max_size: 64KiB, compress: gzip } }
"#;
    let done = AtomicBool::new(false);
    let mut counts = [0_u64; 2];
    std::thread::scope(|scope| {
        let done = &done;
        for (number, count) in counts.iter_mut().enumerate() {
            let path = logs.join(format!("k{number}.log"));
            scope.spawn(move || {
                let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a log file");
                while !done.load(SeqCst) {
                    let next = Instant::now() + Duration::from_millis(10);
                    let text: String =
                        (*count..*count + 50).map(|n| line(&format!("k{number}"), n, 120) + "\n").collect();
                    file.write_all(text.as_bytes()).expect("appended");
                    *count += 50;
                    std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        for _ in 0..KILLS {
            let mut instance = Instance::start(dir.path(), config);
            // Long enough now and then for files to have settled and be compressed.
            let alive =
                Duration::from_millis(if random.bool() { random.u64(50..700) } else { random.u64(50..3000) });
            let killed_at = Instant::now() + alive;
            while Instant::now() < killed_at {
                instance.stats();
            }
            instance.kill();
        }
        done.store(true, SeqCst);
    });
    let mut instance = Instance::start(dir.path(), config);
    instance.wait_stats("caught up", |stats| {
        // What is behind is only known a moment after the start.
        let known = stats["uptime_seconds"].as_f64().is_some_and(|up| up > 2.5);
        known && at_rest(stats) && number(row(stats, "sources", "logs"), "lag_bytes") == 0
    });
    assert_eq!(instance.terminate(), 0);
    let out = files(&dir.path().join("out"));
    assert!(out.len() > 10, "hardly anything was rotated: {out:?}");
    let recount = recount(&dir.path().join("out"));
    for (number, count) in counts.iter().enumerate() {
        let (lost, twice) = recount.lost_and_twice(&format!("k{number}"), *count);
        assert_eq!(lost, 0, "seed {seed}: of {count}, {twice} came twice");
        assert!(twice as f64 <= *count as f64 * 0.02, "seed {seed}: {twice} of {count} came twice");
    }
    assert!(recount.foreign.is_empty(), "seed {seed}: torn lines {:?}", recount.foreign.first());
}

#[test]
fn a_file_source_that_could_read_what_we_rotate_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("all")).expect("created");
    let config = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources:
  in: { type: stdin }
  files: { type: file, include: ["all/*"], rescan: 100ms }
sinks:
  out: { type: file, path: "all/{source}.log", batch: { max_entries: 10 }, rotate: { max_size: 1KiB, compress: zstd } }
"#;
    let mut instance = Instance::start(dir.path(), config);
    let mut stdin = instance.stdin();
    let text: String = (0..500).map(|n| line("s", n, 100) + "\n").collect();
    stdin.write_all(text.as_bytes()).expect("it reads");
    instance.wait_delivered("out", 500);
    fs::write(dir.path().join("all/other.txt"), line("other", 0, 50) + "\n").expect("written");
    // It read a file that it found after all those that were rotated by then, and none of them.
    let stats = instance.wait_delivered("out", 501);
    assert_eq!(number(row(&stats, "sources", "files"), "received"), 1);
    assert_eq!(instance.terminate(), 0);
    fs::remove_file(dir.path().join("all/other.txt")).expect("removed");
    assert_eq!(recount(&dir.path().join("all")).lost_and_twice("s", 500), (0, 0));
}

#[test]
fn a_message_that_holds_newlines_is_one_line_whatever_brings_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { net: { type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] } }
sinks: { out: { type: file, path: out/all } }
"#;
    let mut instance = Instance::start(dir.path(), config);
    let (tcp, udp) = (instance.address("source net", "tcp://"), instance.address("source net", "udp://"));
    let forged = "<13>real\n<13>forged";
    let mut stream = TcpStream::connect(tcp).expect("it listens");
    write!(stream, "{} {forged}<13>a line\n<13>another\n", forged.len()).expect("sent");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(forged.as_bytes(), udp).expect("sent");
    instance.wait_delivered("out", 4);
    let text = fs::read_to_string(dir.path().join("out/all")).expect("text");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let one = r"<13>real\n<13>forged";
    assert_eq!(lines, ["<13>a line", "<13>another", one, one]);
}
