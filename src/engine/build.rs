//! From a checked config to everything it describes, bound and opened, but not yet running.

use super::inside::House;
use super::memory::{self, Shares};
use super::sinks::{describe_sink, open_sink};
use super::sources::{Opened, Sources};
use super::steps::{compile, planned};
use super::{Parts, StartError};
use crate::admin::{AdminServer, Pulse};
use crate::block::{Blocks, ENTRIES_MAX};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::delivery::Sender;
use crate::delivery::retry::Retry;
use crate::lane::batcher::{BatchLimits, Batcher, FlowControl};
use crate::lane::{Lane, LaneSpec};
use crate::ledger::{Ledger, Named};
use crate::metrics::Telemetry;
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::{Amount, Credits, Watermarks};
use crate::route::Routes;
use crate::sinks::config::{Jitter, Ordering};
use crate::sources::config::SourceKind;
use crate::sources::ending::Ending;
use crate::sources::inlet::{Gate, Hallway};
use crate::sources::multiline::config::MultilineConfig;
use crate::sources::net::incoming::HEADROOM;
use crate::steps::parse::input::Input;
use crate::steps::pipeline::{Pipeline, Planned, StepSpec};
use crate::storage_io::Disk;
use crate::thread::{Threads, WaitList};
use crate::worker::Plan;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Instant;

/// The least number of blocks a sequencer lets run ahead.
const WINDOW_MIN: usize = 16;

/// Builds everything; binds ports, opens directories, takes the lock.
pub(super) fn build(config: &Config) -> Result<Parts, StartError> {
    let lock = lock_data_dir(&config.data_dir)?;
    let sinks: Vec<&SinkConfig> = config.sinks.iter().filter(|sink| sink.enabled).collect();
    let largest = config.sources.iter().map(|source| longest_entry(source) + HEADROOM).max().unwrap_or(0);
    let shares = shares(config, sinks.len(), largest)?;
    let blocks = Blocks::new(largest);
    let hallway = Arc::new(hallway(config, &shares, blocks.clone()));
    let telemetry = Telemetry::new();
    let gates: Vec<Arc<Gate>> = config.sources.iter().map(|_| Arc::default()).collect();
    let ledger = Ledger {
        sources: config.sources.iter().map(|source| Named::new(&source.name, source.kind.name())).collect(),
        sinks: sinks.iter().map(|sink| Named::new(&sink.name, sink.kind.name())).collect(),
    };

    let (mut lanes, mut opened, mut senders) = (Vec::new(), Vec::new(), Vec::new());
    for (sink, named) in sinks.iter().zip(&ledger.sinks) {
        let lane = Arc::new(lane(sink, named.clone(), &shares, &gates, &blocks));
        let open = open_sink(sink)?;
        for number in 0..sink.lane.concurrency {
            let sender = Sender {
                lane: Arc::clone(&lane),
                sink: Arc::clone(&open),
                retry: retry(sink),
                telemetry: telemetry.sink(&sink.name),
            };
            senders.push((format!("send-{}-{number}", sink.name), sender));
        }
        lanes.push(lane);
        opened.push(open);
    }

    let plan = |source| plan(config, source, &sinks, &lanes).map(Arc::new);
    let plans = config.sources.iter().map(plan).collect::<Result<Vec<_>, _>>()?;

    let ending = Arc::new(Ending::default());
    let checkpoint = Checkpoint::open(Arc::new(Disk), &config.data_dir);
    let checkpoint = checkpoint.map_err(|error| StartError::start(config.data_dir.display(), error))?;
    let mut sources = Sources {
        config,
        sinks: &sinks,
        hallway: &hallway,
        gates: &gates,
        plans: &plans,
        window: window(config, hallway.block_entries),
        domains: Vec::new(),
        ledger: &ledger,
        ending: &ending,
        checkpoint: Arc::new(checkpoint),
        intake: None,
        runners: Vec::new(),
        views: Vec::new(),
        submitter: None,
    };
    for at in 0..config.sources.len() {
        sources.open(at)?;
    }
    let Opened { runners, views, domains, checkpoint, submitter } = sources.finish();

    let admin = match config.admin.listen {
        None => None,
        Some(address) => Some(
            AdminServer::bind(address)
                .map_err(|error| StartError::start(format!("admin: cannot listen on {address}"), error))?,
        ),
    };
    let house = House {
        threads: Threads::default(),
        ledger,
        telemetry,
        hallway: Arc::clone(&hallway),
        lanes: lanes.clone(),
        opened: opened.clone(),
        domains: Arc::clone(&domains),
        sources: views,
        sinks: sinks.iter().map(|sink| describe_sink(sink)).collect(),
        config: config.name.clone(),
        data_dir: config.data_dir.display().to_string(),
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()).map(|address| address.to_string()),
        begun: Instant::now(),
        _lock: lock,
        phase: AtomicU8::new(0),
        pulse: parking_lot::Mutex::new(Pulse::default()),
    };
    Ok(Parts {
        hallway,
        domains,
        lanes,
        sinks: opened,
        senders,
        runners,
        submitter,
        checkpoint,
        ending,
        house: Arc::new(house),
        admin,
    })
}

/// Creates the data directory and takes its lock.
fn lock_data_dir(dir: &Path) -> Result<File, StartError> {
    let shown = dir.display();
    std::fs::create_dir_all(dir)
        .map_err(|error| StartError::start(format!("data_dir {shown}: cannot create it"), error))?;
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file =
        file.map_err(|error| StartError::start(format!("data_dir {shown}: cannot write to it"), error))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        StartError::Start(format!(
            "data_dir {shown}: another ringmain is using it (it holds the lock on {}); stop it, or give this one a \
             data_dir of its own",
            path.display()
        ))
    })?;
    Ok(file)
}

fn longest_entry(source: &SourceConfig) -> usize {
    match &source.kind {
        SourceKind::File(file) => longest_event(file.multiline.as_ref(), file.max_line),
        SourceKind::Stdin(stdin) => longest_event(stdin.multiline.as_ref(), stdin.max_line),
        SourceKind::Submit(_) => 0,
        SourceKind::Syslog(syslog) => syslog.max_message,
    }
}

fn longest_event(multiline: Option<&MultilineConfig>, max_line: usize) -> usize {
    multiline.map_or(max_line, |multiline| multiline.longest(max_line))
}

fn shares(config: &Config, lanes: usize, largest: usize) -> Result<Shares, StartError> {
    let marks = &config.dispatcher.backpressure;
    let low = marks.low_watermark / marks.high_watermark;
    let threads = config.sources.len() + config.decided.workers;
    memory::share_out(config.decided.max_memory, lanes, threads, largest.max(crate::block::CLASSES[2]), low)
        .map_err(StartError::Config)
}

fn hallway(config: &Config, shares: &Shares, blocks: Blocks) -> Hallway {
    let queue_size = config.dispatcher.queue_size;
    let pressure = &config.dispatcher.backpressure;
    // Without watermarks congestion begins where the ring is full.
    let marks = match pressure.enabled {
        true => Watermarks { high: pressure.high_watermark, low: pressure.low_watermark },
        false => Watermarks { high: 1.0, low: 1.0 },
    };
    let limit = Amount { entries: queue_size as u64, bytes: shares.transit as u64 / 2 };
    // A short spin pays only where a worker has a core to itself.
    let spare_core =
        config.decided.workers < std::thread::available_parallelism().map_or(1, |count| count.get());
    let spins = if spare_core && config.decided.workers > 1 { crate::ring::wait::SPINS_MAX } else { 0 };
    Hallway {
        ring: Ring::with_spins((queue_size / 16).clamp(64, 4096), spins),
        credits: Credits::new(limit, marks),
        freed: WaitList::default(),
        transit: Budget::new(shares.transit),
        blocks,
        block_entries: (queue_size / 16).clamp(1, ENTRIES_MAX),
    }
}

/// How many blocks a sequencer lets run ahead: as many as hold `worker_pool.queue_size` entries, two per worker at least.
fn window(config: &Config, block_entries: usize) -> usize {
    let blocks = config.dispatcher.worker_pool.queue_size / block_entries;
    blocks.max(2 * config.decided.workers).max(WINDOW_MIN)
}

fn lane(
    sink: &SinkConfig,
    named: Named<crate::ledger::SinkLedger>,
    shares: &Shares,
    gates: &[Arc<Gate>],
    blocks: &Blocks,
) -> Lane {
    let (batch, flow) = (&sink.lane.batch, &sink.lane.flow_control);
    let limits = BatchLimits {
        batch_size: batch.size,
        batch_timeout: sink.lane.batch_timeout,
        max_entries: batch.max_entries,
        max_bytes: batch.max_bytes as u64,
    };
    let flow = FlowControl {
        enabled: flow.enabled,
        target_latency: flow.target_latency,
        adjustment_factor: flow.adjustment_factor,
    };
    Lane::new(LaneSpec {
        sink: named,
        quota: shares.lane,
        ordered: sink.lane.ordering == Ordering::Stream,
        gates: gates.to_vec(),
        blocks: blocks.clone(),
        batcher: Batcher::new(limits, flow),
    })
}

fn retry(sink: &SinkConfig) -> Retry {
    let retry = &sink.lane.retry;
    Retry {
        backoff: retry.backoff,
        backoff_max: retry.backoff_max,
        multiplier: retry.multiplier,
        jitter: retry.jitter == Jitter::Full,
    }
}

/// What the source's entries go through, and where they may go.
fn plan(
    config: &Config,
    source: &SourceConfig,
    sinks: &[&SinkConfig],
    lanes: &[Arc<Lane>],
) -> Result<Plan, StartError> {
    let named = source.pipeline.as_ref();
    let pipeline = named.and_then(|name| config.pipelines.iter().find(|pipeline| pipeline.name == *name));
    let mut steps: Vec<Planned> = Vec::new();
    if let SourceKind::Syslog(syslog) = &source.kind {
        steps.push(StepSpec::ParseSyslog(Input::Message, syslog.timezone.zone.clone()).into());
    }
    for step in pipeline.into_iter().flat_map(|pipeline| &pipeline.steps) {
        let place = format!("pipeline {}", named.map_or("", String::as_str));
        steps.push(planned(step, &place)?);
    }
    let condition = |sink: &&SinkConfig| match &sink.when {
        None => Ok(None),
        Some(when) => compile(when, &format!("sink {}: when", sink.name)).map(Some),
    };
    Ok(Plan {
        pipeline: Pipeline::compile(steps).map_err(|error| StartError::Config(error.to_string()))?,
        routes: Routes::new(sinks.iter().map(condition).collect::<Result<_, _>>()?),
        lanes: lanes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_worker_pool_queue_lets_more_blocks_run_ahead_and_two_per_worker_always_may() {
        let blocks = |queue_size: usize, workers: usize, block_entries| {
            let text = format!(
                "dispatcher: {{ worker_count: {workers}, worker_pool: {{ queue_size: {queue_size} }} }}\n\
                 sources: {{ in: {{ type: stdin }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n"
            );
            window(&Config::parse("test", &text, &|_| None).unwrap(), block_entries)
        };
        assert_eq!([blocks(1000, 1, 10), blocks(2000, 1, 10)], [100, 200]);
        assert_eq!([blocks(1, 1, 10), blocks(1, 20, 10)], [WINDOW_MIN, 40]);
    }
}
