//! What does a line cost from its source to its sink, and how far is that from the least it could cost?
//!
//! Each pipeline runs in this process, on default settings, over lines in the page cache. Every round runs the bound
//! beside it, a plain loop of the same stages on one thread, so that a neighbour's load falls on both. CPU time against
//! CPU time: threads of the engine count all, from its start to its end; who sends over TCP does not.
//!
//! `cargo bench --bench pipeline [-- PART_OF_A_NAME]`. Without `--bench` (as `cargo test` has it) the data is small.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![allow(missing_docs)] // criterion's macros write public items without any

#[path = "pipeline/bound.rs"]
mod bound;
#[path = "pipeline/clock.rs"]
mod clock;
#[path = "pipeline/data.rs"]
mod data;
#[path = "pipeline/engine.rs"]
mod engine;
#[path = "pipeline/report.rs"]
mod report;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group};
use data::Data;
use engine::Run;
use report::{Mark, Report, Round};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// Bytes each pipeline is given: enough to outlast caches and the start of threads.
const BYTES: u64 = 256 << 20;
/// Bytes where nobody measures.
const BYTES_TRIED: u64 = 4 << 20;
/// Parsing into `serde_json`'s values is slow and steady: this part of the data is enough to know its cost.
const SERDE_SHARE: u64 = 8;

static REPORTS: Mutex<Vec<Report>> = Mutex::new(Vec::new());

const FILE_TO_BLACKHOLE: &str = r#"
sources: { in: { type: file, include: ["in/*.log"] } }
sinks: { out: { type: blackhole } }
"#;
const FILE_TO_FILE: &str = r#"
sources: { in: { type: file, include: ["in/*.log"] } }
sinks: { out: { type: file, path: "out/all.log" } }
"#;
const JSON_TO_RAW: &str = r#"
sources: { in: { type: file, include: ["in/*.log"], pipeline: tidy } }
pipelines: { tidy: [ { parse: json }, { discard: 'level == "debug"' }, { set: { env: prod } } ] }
sinks: { out: { type: file, path: "out/all.log", format: raw } }
"#;
const JSON_TO_JSON: &str = r#"
sources: { in: { type: file, include: ["in/*.log"], pipeline: tidy } }
pipelines: { tidy: [ { parse: json }, { discard: 'level == "debug"' }, { set: { env: prod } } ] }
sinks: { out: { type: file, path: "out/all.log", format: json } }
"#;
const TCP_TO_FILE: &str = r#"
sources: { in: { type: syslog, listen: ["tcp://127.0.0.1:0"] } }
sinks: { out: { type: file, path: "out/all.log" } }
"#;

/// A plain loop over the data that writes to the path, if it writes; gives the CPU time it took.
type Loop = fn(&Data, &Path) -> Duration;

struct Pipeline {
    name: &'static str,
    config: &'static str,
    over_tcp: bool,
    bound: Loop,
    /// The same work by way of `serde_json`'s values.
    serde: Option<Loop>,
    mark: Option<Mark>,
}

fn pipelines(criterion: &mut Criterion) {
    let bytes = if std::env::args().any(|arg| arg == "--bench") { BYTES } else { BYTES_TRIED };
    let file = Pipeline {
        name: "file_to_file",
        config: FILE_TO_FILE,
        over_tcp: false,
        bound: bound::copy_lines,
        serde: None,
        mark: Some(Mark::OfTheBound(0.4)),
    };
    let json = "file_json_discard_set_to_file";
    let all = [
        Pipeline {
            name: "file_to_blackhole",
            config: FILE_TO_BLACKHOLE,
            bound: bound::scan_lines,
            mark: Some(Mark::GigabytesPerCore(1.0)),
            ..file
        },
        file,
        Pipeline {
            name: json,
            config: JSON_TO_RAW,
            over_tcp: false,
            bound: bound::json_to_raw,
            serde: Some(bound::serde_to_raw),
            mark: None,
        },
        Pipeline {
            name: "file_json_discard_set_to_file_as_json",
            config: JSON_TO_JSON,
            over_tcp: false,
            bound: bound::json_to_json,
            serde: Some(bound::serde_to_json),
            mark: None,
        },
        Pipeline {
            name: "tcp_to_file",
            config: TCP_TO_FILE,
            over_tcp: true,
            bound: bound::receive_lines,
            serde: None,
            mark: None,
        },
    ];
    let mut group = criterion.benchmark_group("pipeline");
    group.sampling_mode(SamplingMode::Flat);
    for pipeline in all {
        let data = match pipeline.over_tcp {
            true => Data::frames(bytes),
            false => Data::lines(bytes),
        };
        group.throughput(Throughput::ElementsAndBytes { elements: data.lines, bytes: data.bytes });
        // Written on first use: a pipeline that was not asked for costs nothing.
        let mut files = None;
        let mut report = Report::new(pipeline.name, &data, pipeline.mark);
        group.bench_function(pipeline.name, |bencher| {
            let dir = files.get_or_insert_with(|| data.write());
            bencher.iter_custom(|runs| {
                (0..runs).map(|_| round(&pipeline, &data, dir.path(), &mut report)).sum()
            });
        });
        if report.has_rounds() {
            REPORTS.lock().unwrap_or_else(|broken| broken.into_inner()).push(report);
        }
    }
    group.finish();
}

/// Bound, engine, bound: what the neighbours do while the engine runs, they do around it too.
fn round(pipeline: &Pipeline, data: &Data, dir: &Path, report: &mut Report) -> Duration {
    let out = dir.join("bound.log");
    let before = (pipeline.bound)(data, &out);
    let run = Run::of(pipeline.config, data, dir);
    let after = (pipeline.bound)(data, &out);
    let cpu = run.cpu;
    let serde = pipeline.serde.map(|serde| serde(&data.share(SERDE_SHARE), &out) * SERDE_SHARE as u32);
    report.add(Round { run, bound: (before + after) / 2, serde });
    cpu
}

criterion_group! {
    name = benches;
    // A round is about a second: one per sample, and no more of them than criterion insists on.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(10))
        .without_plots();
    targets = pipelines
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    report::print(&REPORTS.lock().unwrap_or_else(|broken| broken.into_inner()));
}
