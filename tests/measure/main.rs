//! Measures the binary as it runs: what it costs to do nothing, its memory at a steady rate, how long a line is on its way.
//!
//! `cargo test --release --test measure -- --nocapture`. It prints figures and judges none: they are the machine's as
//! much as the program's. Not part of plain `cargo test`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "../support/destination.rs"]
mod destination;
mod latency;
#[allow(dead_code, reason = "a scenario's name is for those that are many")]
#[path = "../flow/simulation.rs"]
mod simulation;
mod sink;
#[path = "../support/mod.rs"]
mod support;
mod usage;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::Instance;
use usage::{Usage, memory};

/// How long each measurement runs.
const SPAN: Duration = Duration::from_secs(20);
/// How long it is left alone before: start, first scan, first checkpoint.
const SETTLE: Duration = Duration::from_secs(3);
/// Lines a second.
const RATE: u64 = 10_000;

/// As the built-in example has it, with the directories of the test.
const EXAMPLE_LIKE: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources:
  host:   { type: file, include: ["in/*.log"], read_from: end }
  syslog: { type: syslog, listen: ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] }
sinks:
  archive: { type: file, path: "out/{source}.log" }
"#;

#[test]
fn figures() {
    if cfg!(debug_assertions) {
        println!("This is no release build: the figures say little.");
    }
    println!("load before: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    idle();
    for way in [latency::Way::File, latency::Way::Tcp] {
        steady(way);
    }
    for rate in [2_000, 10_000, 40_000] {
        sink::compare(rate);
    }
    println!("load after: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("in")).expect("created");
    dir
}

/// Nothing comes in: a few files that do not grow, two open sockets.
fn idle() {
    let dir = directory();
    for number in 0..10 {
        fs::write(dir.path().join(format!("in/{number}.log")), "a line that was there before\n")
            .expect("written");
    }
    let instance = Instance::start(dir.path(), EXAMPLE_LIKE);
    sleep(SETTLE);
    let (before, begun) = (Usage::of(instance.id()), Instant::now());
    sleep(SPAN);
    let (after, span) = (Usage::of(instance.id()), begun.elapsed().as_secs_f64());
    println!("\nidle, {span:.0} s (goal: 0.1 % of a core)");
    println!("  CPU                 {:>9.3} % of a core", (after.cpu() - before.cpu()) / span * 100.0);
    println!("  wake-ups            {:>9.1} /s", (after.wakes() - before.wakes()) as f64 / span);
    for (name, thread) in &after.threads {
        let earlier = before.threads.get(name).copied().unwrap_or_default();
        let (wakes, cpu) = (thread.wakes - earlier.wakes, thread.cpu - earlier.cpu);
        if wakes > 0 {
            println!(
                "    {name:<17} {:>9.1} /s {:>9.4} % of a core",
                wakes as f64 / span,
                cpu / span * 100.0
            );
        }
    }
    println!("  resident memory     {}", memory(instance.id()));
}

/// [`RATE`] lines a second come in one way and go to a file.
fn steady(way: latency::Way) {
    let dir = directory();
    let input = dir.path().join("in/app.log");
    fs::write(&input, "").expect("written");
    let mut instance = Instance::start(dir.path(), EXAMPLE_LIKE);
    let out = dir.path().join("out").join(way.file_name());
    let mut sender = way.open(&input, &mut instance);
    sleep(SETTLE);
    let (before, begun) = (Usage::of(instance.id()), Instant::now());
    let found = latency::measure(&mut *sender, control(way, &input), &out, RATE, SPAN);
    let (after, span) = (Usage::of(instance.id()), begun.elapsed().as_secs_f64());
    println!("\n{} to file, {RATE} lines/s of {} bytes, {span:.0} s", way.name(), latency::LINE);
    println!("  resident memory     {} (goal: 25 MiB)", memory(instance.id()));
    println!("  CPU                 {:>9.3} % of a core", (after.cpu() - before.cpu()) / span * 100.0);
    println!("  wake-ups            {:>9.1} /s", (after.wakes() - before.wakes()) as f64 / span);
    println!("  write to sink       {} (goal: 10, 20 ms)", found.through);
    if let Some(control) = found.control {
        println!("  write to its reader {control} (the same without the program: the machine and the ruler)");
    }
    println!("  lines               {} written, {} came out", found.written, found.came);
}

/// A file that is read like the output, but is the input.
fn control(way: latency::Way, input: &Path) -> Option<&Path> {
    matches!(way, latency::Way::File).then_some(input)
}
