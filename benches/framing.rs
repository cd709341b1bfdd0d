//! What does it cost to find the entries in a block? The bound is a plain loop over the newlines in the same bytes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod cpu;

use std::{hint::black_box, time::Duration};

use cpu::{CpuTime, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use memchr::memchr_iter;
use ringmain::sources::{framing::LineFramer, syslog::octet::OctetFramer};

const BLOCK: usize = 64 * 1024;

/// A block of lines of 250 bytes with their ends, `prefix` before each.
fn block(prefix: &str) -> (Vec<u8>, Work) {
    let mut text = Vec::new();
    let mut lines = 0;
    while text.len() + 260 < BLOCK {
        let line = format!("<13>1 2026-11-23T10:00:00.{lines:06}Z host app {lines} - - text ");
        text.extend_from_slice(format!("{prefix}{line:x<249}\n").as_bytes());
        lines += 1;
    }
    let bytes = text.len() as u64;
    (text, Work { lines, bytes })
}

fn count_newlines(text: &[u8]) -> u64 {
    let mut lines = 0;
    for at in memchr_iter(b'\n', text) {
        lines += 1 + u64::from(at == usize::MAX);
    }
    lines
}

/// What a source does with frames: it writes them to an index that is there already.
fn newline(text: &[u8], index: &mut Vec<(u32, u32)>) -> u64 {
    index.clear();
    let mut framer = LineFramer::new(BLOCK);
    framer.feed(text, |frame| index.push((frame.start, frame.len)));
    index.len() as u64
}

fn octet(text: &[u8], index: &mut Vec<(u32, u32)>) -> u64 {
    index.clear();
    let mut framer = OctetFramer::new(BLOCK as u32);
    let done = framer.feed(text, |frame| index.push((frame.start, frame.len)));
    assert_eq!(done, Ok(text.len()));
    index.len() as u64
}

fn framing(criterion: &mut Criterion<CpuTime>) {
    let mut index = Vec::with_capacity(4096);
    let mut group = criterion.benchmark_group("framing");
    let (lines, work) = block("");
    group.throughput(work.throughput());
    group.bench_function("bound_250b", |b| b.iter(|| count_newlines(black_box(&lines))));
    group.bench_function("newline_250b", |b| b.iter(|| newline(black_box(&lines), &mut index)));
    let (counted, work) = block("250 ");
    group.throughput(work.throughput());
    group.bench_function("octet_250b", |b| b.iter(|| octet(black_box(&counted), &mut index)));
    group.finish();

    let (mut index_a, mut index_b) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    cpu::compare(
        work,
        &mut [
            ("framing/bound_250b", &mut || count_newlines(black_box(&lines))),
            ("framing/newline_250b", &mut || newline(black_box(&lines), &mut index_a)),
            ("framing/octet_250b", &mut || octet(black_box(&counted), &mut index_b)),
        ],
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = framing
}
criterion_main!(benches);
