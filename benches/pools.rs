//! What pools of workers bring, in time by the clock: a costly pipeline beside a light one, in one pool and in two; and a
//! pool that follows a stepping load beside fixed ones.
//!
//! `cargo bench --bench pools`. Only ratios of one run mean anything, and only on a machine that does nothing else. Beside the light
//! pipeline the costly one parses by an expression that costs some hundred times as much: cores are what both take, too. The
//! stepping load goes through a step that keeps its worker for a while and sleeps: how many workers there are is what is
//! measured there, and not how many cores.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench relies on what it sets up"
)]

use ringmain::block::Block;
use ringmain::config::{Config, PipelineConfig};
use ringmain::engine::Engine;
use ringmain::sources::submit::{LogEntry, Submitter};
use ringmain::steps::config::StepConfig;
use ringmain::steps::custom::CustomStep;
use ringmain::steps::{Step, StepError, Verdict};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long the step keeps its worker for each entry of the stepping load.
const COST: Duration = Duration::from_micros(200);
/// A pattern that costs long lines a long time per byte: hundreds of ways to have come there, and all are kept.
const COSTLY: &str = "{ parse: { format: regex, pattern: '^(?<x>.*[a-m].{150}[n-z].{150}|.*)$' } }";
/// Light entries of one measurement.
const LIGHT: usize = 200_000;

struct Sleeps;

impl Step for Sleeps {
    fn name(&self) -> &'static str {
        "sleeps"
    }

    fn apply(&self, _: &mut Block, _: usize) -> Result<Verdict, StepError> {
        std::thread::sleep(COST);
        Ok(Verdict::Keep)
    }
}

/// An engine with the sources `light` and `heavy`; the pipeline of the latter is for `pool` and does `step`, or sleeps.
fn engine(dir: &Path, workers: &str, pool: &str, step: Option<&str>) -> Engine {
    let text = format!(
        "data_dir: {}\nadmin: {{ listen: \"off\" }}\ndispatcher: {{ {workers} }}\n\
         sources: {{ light: {{ type: stdin }}, heavy: {{ type: file, include: [none], pipeline: heavy }} }}\n\
         pipelines: {{ heavy: {{ {pool} steps: [ {} ] }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n",
        dir.display(),
        step.unwrap_or_default()
    );
    let mut config = Config::parse("bench", &text, &|_| None).expect("a config");
    for source in &mut config.sources {
        source.kind = ringmain::sources::config::SourceKind::Submit(Default::default());
    }
    for PipelineConfig { steps, .. } in config.pipelines.iter_mut().filter(|_| step.is_none()) {
        steps.push(StepConfig::Custom(CustomStep(Arc::new(Sleeps))));
    }
    Engine::start(config).expect("it starts")
}

fn submit(to: &Submitter, count: usize) {
    submit_each(to, count, LogEntry::new("x".repeat(100)));
}

/// A text at which the costly pattern has much to try.
fn costly() -> LogEntry {
    LogEntry::new((0..1000_u32).map(|n| char::from(b'a' + (n * n % 26) as u8)).collect::<String>())
}

fn submit_each(to: &Submitter, count: usize, entry: LogEntry) {
    (0..count).for_each(|_| to.submit(entry.clone()).unwrap());
}

/// Entries of the source that went to the sink.
fn routed(engine: &Engine, source: &str) -> u64 {
    engine.snapshot().sources.iter().find(|row| row.name == source).map_or(0, |row| row.routed)
}

/// Entries the source has taken in.
fn received(engine: &Engine, source: &str) -> u64 {
    engine.snapshot().sources.iter().find(|row| row.name == source).map_or(0, |row| row.received)
}

/// Light entries per second while the heavy source has always more than its workers manage, if it has anything.
fn light_rate(workers: &str, pool: &str, with_heavy: bool) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), workers, pool, Some(COSTLY));
    let (light, heavy) = (engine.submitter("light").unwrap(), engine.submitter("heavy").unwrap());
    let done = AtomicBool::new(false);
    let rate = std::thread::scope(|scope| {
        if with_heavy {
            let (heavy, done) = (&heavy, &done);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    submit_each(heavy, 10, costly());
                }
            });
            // Workers have their hands full by then.
            while received(&engine, "heavy") < 500 {
                std::thread::yield_now();
            }
        }
        let count = if with_heavy && pool.is_empty() { LIGHT / 20 } else { LIGHT };
        let begun = Instant::now();
        submit(&light, count);
        while routed(&engine, "light") < count as u64 {
            std::thread::yield_now();
        }
        done.store(true, Relaxed);
        count as f64 / begun.elapsed().as_secs_f64()
    });
    engine.stop(Instant::now());
    rate
}

/// How long a load takes that steps up from what one worker manages to what three do, and how many worker-seconds there were.
fn stepping(workers: &str) -> (Duration, f64) {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), workers, "", None);
    let heavy = engine.submitter("heavy").unwrap();
    let begun = Instant::now();
    let (mut seconds, mut last) = (0.0, begun);
    let mut look = |engine: &Engine| {
        let workers = engine.snapshot().workers;
        seconds += (workers.active + workers.idle) as f64 * last.elapsed().as_secs_f64();
        last = Instant::now();
    };
    // Half of a worker for a while, then twelve seconds of work at once, then half of one again.
    for (slices, entries) in [(20, 250), (1, 48_000), (20, 250)] {
        for _ in 0..slices {
            let slice = Instant::now();
            submit(&heavy, entries);
            std::thread::sleep(Duration::from_millis(100).saturating_sub(slice.elapsed()));
            look(&engine);
        }
    }
    while routed(&engine, "heavy") < 58_000 {
        std::thread::sleep(Duration::from_millis(5));
        look(&engine);
    }
    let took = begun.elapsed();
    engine.stop(Instant::now());
    (took, seconds)
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let pools = "worker_count: 1, worker_pool: { pools: { heavy: { workers: 1 } } }";
    let alone = light_rate(pools, "pool: heavy,", false);
    let shared = light_rate("worker_count: 2", "", true);
    let apart = light_rate(pools, "pool: heavy,", true);
    println!("pools/light_alone            {alone:>12.0} entries/s");
    println!(
        "pools/light_beside_heavy_1   {shared:>12.0} entries/s in one pool of two: {:.3} of alone",
        shared / alone
    );
    println!(
        "pools/light_beside_heavy_2   {apart:>12.0} entries/s in two pools of one: {:.3} of alone",
        apart / alone
    );
    println!("pools/two_pools_against_one  {:>12.1} times", apart / shared);
    let elastic = "worker_count: 1, worker_pool: { max_workers: 4, idle_timeout: 500ms }";
    for (name, workers) in
        [("fixed_1", "worker_count: 1"), ("fixed_4", "worker_count: 4"), ("elastic_1_to_4", elastic)]
    {
        let (took, seconds) = stepping(workers);
        println!("pools/stepping_{name:<14} {:>10.2} s, {seconds:>7.1} worker-seconds", took.as_secs_f64());
    }
}
