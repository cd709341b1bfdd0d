//! What does it cost to read a syslog message of some 200 bytes? The bound is one pass over its bytes for newlines.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod cpu;

use std::{hint::black_box, time::Duration};

use cpu::{CpuTime, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use memchr::memchr_iter;
use ringmain::steps::parse::syslog::parse::{Clock, parse};

/// 2026-11-23T10:00:00Z.
const NOW: i64 = 1_795_428_000_000_000_000;
const LINES: u64 = 300;

fn rfc5424(n: u64) -> Vec<u8> {
    format!(
        "<165>1 2026-11-23T09:{:02}:{:02}.{:06}Z web-{}.example.com nginx {} ID47 \
         [request@32473 method=\"GET\" status=\"200\" id=\"{n:08x}\"] GET /api/v1/items/{n} from 192.0.2.{} took {} ms, \
         upstream cache was warm",
        n % 60, n * 7 % 60, n * 7919 % 1_000_000, n % 9, 1000 + n * 31 % 30_000, n % 255, n % 97,
    )
    .into_bytes()
}

fn rfc3164(n: u64) -> Vec<u8> {
    format!(
        "<165>Nov 23 09:{:02}:{:02} web-{} nginx[{}]: GET /api/v1/items/{n} from 192.0.2.{} took {} ms, status 200, \
         request {n:08x}, upstream cache was warm and everything else as it should be on a quiet morning in November",
        n % 60, n * 7 % 60, n % 9, 1000 + n * 31 % 30_000, n % 255, n % 97,
    )
    .into_bytes()
}

/// Parses all and keeps each result alive, so that no part of it is left out.
fn read(messages: &[Vec<u8>], clock: &Clock) -> u64 {
    messages.iter().map(|message| u64::from(black_box(parse(message, clock)).message.len)).sum()
}

fn pass_over(messages: &[Vec<u8>]) -> u64 {
    messages.iter().map(|message| memchr_iter(b'\n', message).count() as u64).sum()
}

fn syslog(criterion: &mut Criterion<CpuTime>) {
    let clock = Clock::new(TimeZone::UTC, NOW);
    let shapes: [(&str, Vec<_>); 2] =
        [("5424", (0..LINES).map(rfc5424).collect()), ("3164", (0..LINES).map(rfc3164).collect())];
    for (name, messages) in shapes {
        let work = Work { lines: LINES, bytes: messages.iter().map(|m| m.len() as u64).sum() };
        let mut group = criterion.benchmark_group("syslog");
        group.throughput(work.throughput());
        group.bench_function(name, |b| b.iter(|| read(black_box(&messages), &clock)));
        group.finish();
        cpu::compare(
            work,
            &mut [
                ("syslog/bound", &mut || pass_over(black_box(&messages))),
                (&format!("syslog/{name}, {} bytes", work.bytes / LINES), &mut || {
                    read(black_box(&messages), &clock)
                }),
            ],
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = syslog
}
criterion_main!(benches);
