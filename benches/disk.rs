//! What does a buffer on disk cost? Lines of a file through a buffer on disk to a blackhole, beside the same without the
//! buffer, and beside a plain loop that appends the same bytes and syncs each mebibyte: the disk's own pace.
//!
//! Wall time against wall time, as a disk is waited for. Aim: at least 60 % of the slower of the two others.
//!
//! `cargo bench --bench disk`. Without `--bench` (as `cargo test` has it) the data is small.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![allow(missing_docs)] // criterion's macros write public items without any
#![allow(dead_code, reason = "the parts of another bench are used")]

#[path = "pipeline/clock.rs"]
mod clock;
#[path = "pipeline/data.rs"]
mod data;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group};
use data::Data;
use ringmain::config::Config;
use ringmain::engine::Engine;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const BYTES: u64 = 256 << 20;
const BYTES_TRIED: u64 = 4 << 20;
/// What is synced at a time by the plain loop, as by the buffer.
const GROUP: usize = 1 << 20;
/// Longest a run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Wall times: plain loop, memory, disk.
static ROUNDS: Mutex<Vec<[Duration; 3]>> = Mutex::new(Vec::new());

/// From the start until the last line is delivered.
fn engine(data: &Data, dir: &Path, buffer: &str) -> Duration {
    let shown = dir.display();
    fs::remove_dir_all(dir.join("state")).ok();
    let text = format!(
        "data_dir: {shown}/state\nadmin: {{ listen: off }}\n\
         sources: {{ in: {{ type: file, include: [\"{shown}/in/*.log\"] }} }}\n\
         sinks: {{ out: {{ type: blackhole{buffer} }} }}\n"
    );
    let config = Config::parse("bench", &text, &|_| None).unwrap_or_else(|report| panic!("{report}"));
    let begun = Instant::now();
    let engine = Engine::start(config).unwrap_or_else(|error| panic!("{error}"));
    let delivered = || engine.ledger().sinks[0].row.delivered.get();
    while delivered() < data.lines {
        assert!(begun.elapsed() < PATIENCE, "never through: {:?}", engine.ledger());
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    let ended = engine.stop(Instant::now() + PATIENCE);
    assert_eq!((ended.delivered, ended.undelivered, ended.dropped, ended.kept), (data.lines, 0, 0, 0));
    took
}

/// Reads the data, appends it to a file and syncs that each mebibyte.
fn plain(dir: &Path) -> Duration {
    let path = dir.join("plain.log");
    let begun = Instant::now();
    let mut from = File::open(dir.join("in/data.log")).expect("the data");
    let mut to = File::create(&path).expect("created");
    let mut group = vec![0; GROUP];
    loop {
        let len = from.read(&mut group).expect("read");
        if len == 0 {
            break;
        }
        to.write_all(&group[..len]).expect("written");
        to.sync_data().expect("synced");
    }
    let took = begun.elapsed();
    fs::remove_file(path).expect("removed");
    took
}

fn buffers(criterion: &mut Criterion) {
    let bytes = if std::env::args().any(|arg| arg == "--bench") { BYTES } else { BYTES_TRIED };
    let data = Data::lines(bytes);
    let dir = data.write();
    let mut group = criterion.benchmark_group("disk");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::ElementsAndBytes { elements: data.lines, bytes: data.bytes });
    group.bench_function("file_to_disk_to_blackhole", |bencher| {
        bencher.iter_custom(|runs| {
            let round = |_| {
                let before = plain(dir.path());
                let memory = engine(&data, dir.path(), "");
                let disk = engine(&data, dir.path(), ", buffer: { type: disk, max_size: 4GiB }");
                let plain = (before + plain(dir.path())) / 2;
                ROUNDS.lock().unwrap().push([plain, memory, disk]);
                disk
            };
            (0..runs).map(round).sum()
        });
    });
    group.finish();
    report(&data);
}

fn report(data: &Data) {
    let rounds = ROUNDS.lock().unwrap();
    let median = |of: &dyn Fn(&[Duration; 3]) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let rate = |at: usize| median(&|round| data.bytes as f64 / round[at].as_secs_f64() / 1e6);
    let share = median(&|round| round[0].max(round[1]).as_secs_f64() / round[2].as_secs_f64());
    println!(
        "buffer: append and sync {:.0} MB/s, memory {:.0} MB/s, through the disk {:.0} MB/s: {:.0} % of the slower \
         (aim: 60 %), {} rounds",
        rate(0),
        rate(1),
        rate(2),
        share * 100.0,
        rounds.len()
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(10))
        .without_plots();
    targets = buffers
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
