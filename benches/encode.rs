//! What does it cost to write an entry as JSON? CPU time of one thread; only the ratios travel well between machines.
//!
//! `cargo bench --bench encode [-- PART_OF_A_NAME]`

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;

use ringmain::block::Block;
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::sinks::format::{Encoder, Format};
use ringmain::steps::parse::json::ParseJson;
use ringmain::steps::{Failures, Step};
use std::hint::black_box;
use std::sync::Arc;

const ROUNDS: usize = 15;
/// Passes over the lines in a round.
const PASSES: usize = 100;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    println!("{:<36} {:>8} {:>12} {:>7} {:>18}", "", "ns/line", "lines/s", "MB/s", "of serde_json's");
    let plain = |n: u64| {
        format!(
            "{n:06} GET /api/v1/orders/{:05} from web-{:02}.eu-west took 37 ms, and {}",
            n * 7919 % 100_000,
            n % 32,
            "so on ".repeat(30)
        )
    };
    let tabbed = |n: u64| plain(n).replace("so on", "so\ton");
    let beyond = |n: u64| plain(n).replace("so on", "so ön");
    for (name, line) in [
        ("encode/json/plain_250b", &plain as &dyn Fn(u64) -> String),
        ("encode/json/quoted_330b", &quoted),
        ("encode/json/tabs_250b", &tabbed),
        ("encode/json/beyond_ascii_280b", &beyond),
    ] {
        if name.contains(&wanted) {
            measure(name, line, false);
        }
    }
    if "encode/json/quoted_330b_and_9_fields".contains(&wanted) {
        measure("encode/json/quoted_330b_and_9_fields", &quoted, true);
    }
}

fn quoted(n: u64) -> String {
    format!(
        r#"{{"ts":"2026-11-23T12:{:02}:{:02}.{:03}Z","level":"info","service":"checkout","host":"web-{:02}.eu-west","method":"GET","path":"/api/v1/orders/{:05}","status":{},"duration_ms":{}.25,"trace_id":"{:016x}","msg":"request finished by the upstream after a retry"}}"#,
        n / 60 % 60,
        n % 60,
        n,
        n % 32,
        n * 7919 % 100_000,
        200 + n % 5 * 75,
        n * 37 % 1000,
        (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    )
}

/// Writes lines that `line` makes, with or without their members as fields, beside `serde_json` writing them as strings.
fn measure(name: &str, line: &dyn Fn(u64) -> String, with_fields: bool) {
    let stream = Arc::new(Stream::new(
        SourceId(0),
        "app".into(),
        "file",
        "/var/log/app.log",
        Labels::new([("job", "web")]),
    ));
    let lines: Vec<String> = (0..200).map(line).collect();
    let mut block = Block::new(256 << 10);
    block.begin_run(&stream);
    for line in &lines {
        if let Some(at) = block.append(line.as_bytes()) {
            block.append(b"\n");
            block.push(Entry::at(at, line.len() as u32));
        }
    }
    block.stamp(1_795_442_400_000_000_000);
    block.reset_side();
    if with_fields {
        let all = 0..block.entries().len();
        ParseJson::default().run(&mut block, all, &mut Failures::default());
    }
    let entries = block.entries().len();
    let (mut encoder, mut out) = (Encoder::new(Format::Json), Vec::with_capacity(1 << 20));
    let ours = best(|| {
        out.clear();
        encoder.encode(black_box(&block), &stream, 0..entries, &mut out);
        black_box(&out);
    });
    let mut theirs_out = Vec::with_capacity(1 << 20);
    let theirs = best(|| {
        theirs_out.clear();
        for line in &lines {
            // Nothing can fail: it is written to memory.
            let _ = serde_json::to_writer(&mut theirs_out, black_box(line));
        }
        black_box(&theirs_out);
    });
    let per_line = ours / entries as f64;
    let bytes = block.text().len() as f64 / entries as f64;
    let ratio = per_line / (theirs / lines.len() as f64);
    println!(
        "{name:<36} {per_line:>8.1} {:>12.0} {:>7.0} {ratio:>18.2}",
        1e9 / per_line,
        bytes * 1e3 / per_line
    );
}

/// The least time of one pass, in nanoseconds.
fn best(mut pass: impl FnMut()) -> f64 {
    let round = |_| {
        let begun = cpu::now();
        (0..PASSES).for_each(|_| pass());
        (cpu::now() - begun).as_nanos() as f64 / PASSES as f64
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}
