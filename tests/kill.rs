//! Kills the binary at random moments: nothing is lost, and hardly anything comes twice.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use support::*;

const KILLS: u32 = 20;

#[test]
fn killed_20_times_file_to_file_loses_nothing_and_doubles_under_1_percent_a_kill() {
    let (seed, mut random) = random();
    let dir = tempfile::tempdir().expect("a directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("created");
    let config = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { logs: { type: file, include: ["logs/*.log"] } }
sinks: { out: { type: file, path: "out/{source}.log" } }
"#;
    let done = AtomicBool::new(false);
    let mut counts = [0_u64; 4];
    std::thread::scope(|scope| {
        let done = &done;
        for (number, count) in counts.iter_mut().enumerate() {
            let path = logs.join(format!("k{number}.log"));
            scope.spawn(move || {
                let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a log file");
                // About 5,000 lines a second and file, whatever the other side does.
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
            let alive = Duration::from_millis(random.u64(50..700));
            let killed_at = Instant::now() + alive;
            // Kept busy with looking at it until its time has come.
            while Instant::now() < killed_at {
                instance.stats();
            }
            instance.kill();
        }
        done.store(true, SeqCst);
    });
    let mut instance = Instance::start(dir.path(), config);
    let written: u64 = counts.iter().sum();
    instance.wait_stats("caught up", |stats| {
        // What is behind is only known a moment after the start.
        let known = stats["uptime_seconds"].as_f64().is_some_and(|up| up > 2.5);
        known && at_rest(stats) && number(row(stats, "sources", "logs"), "lag_bytes") == 0
    });
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    let (mut lost, mut twice) = (0, 0);
    for (number, count) in counts.iter().enumerate() {
        let (missing, doubled) = recount.lost_and_twice(&format!("k{number}"), *count);
        (lost, twice) = (lost + missing, twice + doubled);
    }
    let share = twice as f64 / written as f64;
    println!("{KILLS} kills: {written} lines, {lost} lost, {twice} twice ({:.3} %)", share * 100.0);
    assert_eq!(lost, 0, "seed {seed}");
    assert!(share < 0.01, "seed {seed}: {twice} of {written} came twice");
    assert!(recount.foreign.is_empty(), "seed {seed}: torn lines {:?}", recount.foreign.first());
}
