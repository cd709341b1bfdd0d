//! What do metrics, flow control, rate limits and steps in order cost a line, from its source to its sink?
//!
//! Each config runs in this process over lines in the page cache; every round runs all of them in turn, so that a neighbour's
//! load falls on all alike. CPU time of all threads of the engine, from its start to its end. What is compared is the middle of
//! the ratios of each round: rounds differ more than what is measured here.
//!
//! `cargo bench --bench costs [-- PART_OF_A_NAME]`. Without `--bench` (as `cargo test` has it) the data is small.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "pipeline/clock.rs"]
mod clock;
// Its frames and shares are another bench's.
#[allow(dead_code)]
#[path = "pipeline/data.rs"]
mod data;
// Its other figures are another bench's.
#[allow(dead_code)]
#[path = "pipeline/engine.rs"]
mod engine;

use data::Data;
use engine::Run;
use std::path::Path;

/// What all of them do, and the one part in which each differs: of the dispatcher, of the source, and the last step.
struct Case {
    name: &'static str,
    dispatcher: &'static str,
    source: &'static str,
    step: &'static str,
}

const PLAIN: Case = Case { name: "plain", dispatcher: "", source: "", step: "" };

const CASES: &[Case] = &[
    PLAIN,
    // The measure of what rounds differ by.
    Case { name: "plain once more", ..PLAIN },
    Case { name: "metrics off", dispatcher: "worker_pool: { enable_metrics: false }", ..PLAIN },
    Case { name: "flow control off", dispatcher: "flow_control: { enabled: false }", ..PLAIN },
    Case {
        name: "rate limit of all",
        dispatcher: "rate_limit: { enabled: true, entries_per_second: 100000000 }",
        ..PLAIN
    },
    Case {
        name: "rate limit of the source",
        source: "rate_limit: { entries_per_second: 100000000 }",
        ..PLAIN
    },
    Case { name: "throttle by key", step: "{ throttle: { per: level, rate: 100000000 } }", ..PLAIN },
    // Fewer keys than lines that differ: each is new, and makes room by another.
    Case {
        name: "dedupe, every line new",
        step: "{ dedupe: { fields: [message], max_keys: 1000 } }",
        ..PLAIN
    },
    Case {
        name: "metric that counts by label",
        step: "{ metric: { name: lines_total, type: counter, labels: { level: level } } }",
        ..PLAIN
    },
];

fn config(case: &Case) -> String {
    let Case { dispatcher, source, step, .. } = case;
    format!(
        r#"
dispatcher: {{ {dispatcher} }}
sources: {{ in: {{ type: file, include: ["in/*.log"], pipeline: tidy, {source} }} }}
pipelines: {{ tidy: [ {{ parse: json }}, {{ discard: 'level == "debug"' }}, {{ set: {{ env: prod }} }}, {step} ] }}
sinks: {{ out: {{ type: blackhole }} }}
"#
    )
}

fn main() {
    let measured = std::env::args().any(|arg| arg == "--bench");
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let (bytes, rounds) = if measured { (128 << 20, 15) } else { (1 << 20, 1) };
    let data = Data::lines(bytes);
    let dir = data.write();
    let cases: Vec<&Case> =
        CASES.iter().filter(|case| case.name.contains(&wanted) || case.name == PLAIN.name).collect();
    let mut costs = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for (case, costs) in cases.iter().zip(&mut costs) {
            costs.push(cost(case, &data, dir.path()));
        }
    }
    println!("{:<34}{:>10}{:>10}{:>12}", "CPU ns per line", "best", "median", "of plain");
    for (case, own) in cases.iter().zip(&costs) {
        let ratios = own.iter().zip(&costs[0]).map(|(own, plain)| own / plain);
        let (best, median) = (own.iter().copied().fold(f64::INFINITY, f64::min), middle(own.iter().copied()));
        println!("costs/{:<28}{best:>10.1}{median:>10.1}{:>12.3}", case.name, middle(ratios));
    }
}

/// CPU nanoseconds per line of one run.
fn cost(case: &Case, data: &Data, dir: &Path) -> f64 {
    Run::of(&config(case), data, dir).cpu.as_secs_f64() / data.lines as f64 * 1e9
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
