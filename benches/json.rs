//! What does it cost to read a JSON line, and to ask it something? CPU time of one thread; only the ratios travel well
//! between machines.
//!
//! `cargo bench --bench json [-- PART_OF_A_NAME]`

// The lines and conditions are its own.
#![allow(clippy::expect_used)]

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;

use ringmain::block::Block;
use ringmain::entry::Entry;
use ringmain::expr::Expr;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::route::{Routes, Routing};
use ringmain::steps::Step;
use ringmain::steps::parse::json::ParseJson;
use serde_json::Value;
use std::hint::black_box;
use std::sync::Arc;

const ROUNDS: usize = 15;
/// Each candidate's share of a round, in passes over the lines.
const PASSES: usize = 100;
/// How many times as fast as `serde_json` reading ten members and finding three is to be.
const RATIO_MARK: f64 = 4.0;

/// What is measured: its name, and one pass over all lines.
type Pass<'a> = (String, Box<dyn FnMut() + 'a>);

const LEVELS: [&str; 4] = ["info", "warn", "error", "debug"];
const NAMES: [&str; 3] = ["level", "status", "msg"];

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    println!("{:<42} {:>8} {:>8} {:>12} {:>7} {:>6}", "", "ns/line", "median", "lines/s", "MB/s", "ratio");
    if "json/3_fields".contains(&wanted) {
        read("json/3_fields", &lines_of(three_members));
    }
    if "json/10_fields".contains(&wanted) {
        let ratio = read("json/10_fields", &lines_of(ten_members));
        let judged = if ratio >= RATIO_MARK { "meets" } else { "MISSES" };
        println!(
            "json/10_fields {judged} the mark: {ratio:.1} times as fast as serde_json, {RATIO_MARK} asked"
        );
    }
    if "expr/level_eq".contains(&wanted) {
        ask(&lines_of(ten_members));
    }
}

/// Reading lines and finding three members of each, by `serde_json` and by us; gives how many times as fast we are.
fn read(name: &str, lines: &[String]) -> f64 {
    let all = 0..lines.len();
    let mut serde = || {
        for line in lines {
            let value: Value = serde_json::from_slice(line.as_bytes()).expect("a valid line");
            black_box(NAMES.map(|name| value.get(name).is_some()));
        }
    };
    let steps = ParseJson::all();
    let mut passes: Vec<Pass<'_>> = vec![(format!("{name} serde_json Value + 3 gets"), Box::new(&mut serde))];
    for step in &steps {
        let (mut block, mut same, range, same_range) =
            (filled(lines), filled(lines), all.clone(), all.clone());
        passes.push((
            format!("{name} {step} + 3 fields"),
            Box::new(move || {
                block.reset_side();
                assert_eq!(step.run_alone(&mut block, range.clone()), 0);
                for at in range.clone() {
                    let view = block.view(at);
                    black_box(NAMES.map(|name| view.field(name.as_bytes()).is_some()));
                }
            }),
        ));
        passes.push((
            format!("{name} {step}"),
            Box::new(move || {
                same.reset_side();
                assert_eq!(step.run_alone(&mut same, same_range.clone()), 0);
            }),
        ));
    }
    let best = measure(lines, &mut passes);
    best[0] / best[1]
}

/// Asking lines that are already read.
fn ask(lines: &[String]) {
    let mut block = filled(lines);
    let all = 0..lines.len();
    assert_eq!(ParseJson::default().run_alone(&mut block, all.clone()), 0);
    let mut routed = filled(lines);
    ParseJson::default().run_alone(&mut routed, all.clone());
    let expr = |text| Expr::compile(text).expect("a valid condition");
    let (level, three) =
        (expr("level == 'error'"), expr("level == 'error' or status == 500 or host == 'web-01'"));
    let routes = Routes::new(vec![None, Some(expr("level == 'error'")), Some(expr("labels.app == 'shop'"))]);
    let mut routing = Routing::default();
    let count = |expr: &Expr| black_box(all.clone().filter(|at| expr.matches(&block, *at)).count());
    measure(
        lines,
        &mut [
            ("expr/level_eq".into(), Box::new(|| _ = count(&level))),
            ("expr/three_joined".into(), Box::new(|| _ = count(&three))),
            ("route/none_level_label".into(), Box::new(|| routes.route(&mut routed, &mut routing))),
        ],
    );
}

/// Runs the passes, each of which works on all `lines` once, in turn; prints and gives the best time per line of each.
fn measure(lines: &[String], passes: &mut [Pass<'_>]) -> Vec<f64> {
    let mut times = vec![Vec::new(); passes.len()];
    for _ in 0..ROUNDS {
        for ((_, pass), times) in passes.iter_mut().zip(&mut times) {
            let start = cpu::now();
            for _ in 0..PASSES {
                pass();
            }
            times.push((cpu::now() - start).as_nanos() as f64 / (PASSES * lines.len()) as f64);
        }
    }
    let bytes = lines.iter().map(String::len).sum::<usize>() as f64 / lines.len() as f64;
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let best: Vec<f64> = times.iter().map(|times| times[0]).collect();
    for ((name, _), times) in passes.iter().zip(&times) {
        let (ns, median) = (times[0], times[ROUNDS / 2]);
        let (rate, speed, ratio) = (1e9 / ns, bytes * 1e3 / ns, best[0] / ns);
        println!("{name:<42} {ns:>8.1} {median:>8.1} {rate:>12.0} {speed:>7.0} {ratio:>6.1}");
    }
    best
}

/// As many lines as an ordinary block holds.
fn lines_of(line: fn(usize) -> String) -> Vec<String> {
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
