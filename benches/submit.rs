//! What it costs a program to hand in an entry: a pre-built one of 50 bytes with two labels, by one thread, until it is
//! accepted. In CPU time of the submitting thread; the dispatcher behind it counts and forgets.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench relies on what it sets up"
)]

// Its comparisons are the other benches'.
#[allow(dead_code)]
mod cpu;

use cpu::CpuTime;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::config::{BlackholeSinkConfig, SinkKind};
use ringmain::sources::submit::LogEntry;
use std::time::Duration;

/// Entries made before each measured round.
const ROUND: usize = 10_000;

fn submit(c: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().unwrap();
    let config = ConfigBuilder::new().queue_size(100_000).data_dir(dir.path()).build().unwrap();
    let mut dispatcher = Dispatcher::new(config);
    dispatcher.add_sink("none", SinkKind::Blackhole(BlackholeSinkConfig {}));
    dispatcher.start().unwrap();
    let entry = LogEntry::new("x".repeat(50)).label("service", "web-api").label("level", "info");
    let submitter = dispatcher.submitter().unwrap();
    let mut group = c.benchmark_group("submit");
    group.throughput(Throughput::Elements(ROUND as u64));
    group.bench_function("one_thread_50b", |bencher| {
        bencher.iter_batched(
            || vec![entry.clone(); ROUND],
            |entries| entries.into_iter().for_each(|entry| submitter.submit(entry).unwrap()),
            BatchSize::LargeInput,
        );
    });
    // The bound: the same bytes copied one by one into a buffer, and the entries dropped.
    let mut room = Vec::with_capacity(ROUND * 51);
    group.bench_function("bound_copy_50b", |bencher| {
        bencher.iter_batched(
            || vec![entry.clone(); ROUND],
            |entries| {
                room.clear();
                for entry in entries {
                    room.extend_from_slice(entry.message.as_bytes());
                    room.push(b'\n');
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
    dispatcher.stop(Duration::from_secs(10));
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = submit
}
criterion_main!(benches);
