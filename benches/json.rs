//! What does it cost to read a JSON line, and to ask it something? CPU time of one thread; only the ratios travel well
//! between machines.
//!
//! `cargo bench --bench json [-- PART_OF_A_NAME]`

use ringmain::block::Block;
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::Step;
use ringmain::steps::parse::json::ParseJson;
use serde_json::Value;
use std::hint::black_box;
use std::sync::Arc;

/// Shortest measurement, in nanoseconds: the kernel adds CPU time up once per tick, some 4 ms.
const ROUND_NS: u64 = 250_000_000;
const ROUNDS: usize = 5;
/// What the mark asks of a line of ten members: this many times as fast as `serde_json`.
const RATIO_MARK: f64 = 4.0;

const LEVELS: [&str; 4] = ["info", "warn", "error", "debug"];

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    println!("{:<34} {:>9} {:>9} {:>10} {:>8}", "", "ns/line", "median", "lines/s", "MB/s");
    let lines =
        [("json/3_fields", 3, three_members as fn(usize) -> String), ("json/10_fields", 10, ten_members)];
    for (name, members, line) in lines {
        if name.contains(&wanted) {
            compare(name, members, &block_of(line));
        }
    }
}

/// Reading a block and finding three members of each line, by us and by `serde_json`.
fn compare(name: &str, members: usize, lines: &[String]) {
    let names = ["level", "status", "msg"];
    let theirs = measure(&format!("{name} serde_json Value + get"), lines, || {
        for line in lines {
            let value: Value = serde_json::from_slice(line.as_bytes()).expect("a valid line");
            black_box(names.map(|name| value.get(name)));
        }
    });
    let mut block = filled(lines);
    let whole = 0..lines.len();
    for step in ParseJson::all() {
        block.reset_side();
        assert_eq!(step.run(&mut block, whole.clone()), 0);
        assert_eq!(block.view(0).fields().count(), members);
        let ours = measure(&format!("{name} {step}"), lines, || {
            block.reset_side();
            step.run(&mut block, whole.clone());
        });
        let ours_found = measure(&format!("{name} {step} + field"), lines, || {
            block.reset_side();
            step.run(&mut block, whole.clone());
            for at in whole.clone() {
                let view = block.view(at);
                black_box(names.map(|name| view.field(name.as_bytes()).map(|field| field.raw().len())));
            }
        });
        let (alone, ratio) = (theirs / ours, theirs / ours_found);
        let judged = if ratio >= RATIO_MARK { "meets" } else { "MISSES" };
        println!(
            "{:<34} {ratio:>8.1}x  ({alone:.1}x without finding; {judged} the mark of {RATIO_MARK}x)",
            ""
        );
    }
}

/// Runs `pass`, which works on all `lines` once, again and again; prints and gives the best round's time per line.
fn measure(name: &str, lines: &[String], mut pass: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (start, mut passes) = (cpu_ns(), 0);
            loop {
                for _ in 0..16 {
                    pass();
                }
                passes += 16;
                let spent = cpu_ns() - start;
                if spent >= ROUND_NS {
                    return spent as f64 / (passes * lines.len()) as f64;
                }
            }
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (best, median) = (rounds[0], rounds[ROUNDS / 2]);
    let bytes = lines.iter().map(String::len).sum::<usize>() as f64 / lines.len() as f64;
    println!("{name:<34} {best:>9.1} {median:>9.1} {:>10.0} {:>8.0}", 1e9 / best, bytes * 1e3 / best);
    best
}

/// What this thread has had of its processor, in nanoseconds (proc(5), `schedstat`).
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with CONFIG_SCHED_INFO");
    stat.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

/// As many lines as an ordinary block holds.
fn block_of(line: fn(usize) -> String) -> Vec<String> {
    let mut room = ringmain::block::ORDINARY;
    let fits = |line: &String| {
        room = room.saturating_sub(line.len() + 1);
        room > 0
    };
    (0..).map(line).take_while(fits).collect()
}

fn filled(lines: &[String]) -> Block {
    let mut block = Block::new(ringmain::block::ORDINARY);
    let labels = Labels::new([("app", "shop")]);
    block.begin_run(&Arc::new(Stream::new(SourceId(0), "s".into(), "file", "/var/log/shop.log", labels)));
    for line in lines {
        let offset = block.append(line.as_bytes()).expect("room");
        block.push(Entry::at(offset, line.len() as u32));
        block.append(b"\n").expect("room");
    }
    block.reset_side();
    block
}

fn three_members(at: usize) -> String {
    let (level, status) = (LEVELS[at % 4], 200 + at % 5 * 75);
    format!(r#"{{"level":"{level}","status":{status},"msg":"request number {at} done"}}"#)
}

/// About 250 bytes, as web services write them.
fn ten_members(at: usize) -> String {
    let (level, status, ms, user) = (LEVELS[at % 4], 200 + at % 5 * 75, at * 37 % 1000, at * 7919 % 100_000);
    format!(
        r#"{{"ts":"2025-09-14T12:{:02}:{:02}.{ms:03}Z","level":"{level}","msg":"request {at} finished by the upstream","service":"checkout","host":"web-{:02}.eu-west","method":"GET","path":"/api/v1/orders/{user}","status":{status},"duration_ms":{ms}.{:02},"trace_id":"{:016x}"}}"#,
        at / 60 % 60,
        at % 60,
        at % 32,
        at % 100,
        (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    )
}
