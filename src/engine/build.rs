//! What an engine has from its start to its end, and the parts a config describes.

use super::StartError;
use super::descriptors::Descriptors;
use super::inside::{House, View};
use super::keeper::Keeper;
use super::letters::{Desk, has_steps};
use super::live::{Core, Live};
use super::memory::{Claims, Reserve};
use super::ordered::OrderedSteps;
use super::pools::{Means, Pools};
use super::quotas::{Quotas, fits, widest};
use super::remote::Remote;
use super::sources::producers;
use super::steps::{compile, place_of, planned};
use crate::admin::{AdminServer, Pulse};
use crate::block::{Blocks, ENTRIES_MAX};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::delivery::dlq::store::{self, Store};
use crate::lane::Lane;
use crate::lane::Manner;
use crate::lane::batcher::{BatchLimits, FlowControl};
use crate::metrics::Telemetry;
use crate::route::Routes;
use crate::sinks::config::Ordering;
use crate::sources::config::SourceKind;
use crate::steps::parse::input::Input;
use crate::steps::pipeline::{Pipeline, Planned, StepSpec};
use crate::storage_io::Disk;
use crate::thread::{Latch, Threads};
use crate::worker::{Domains, Plan};
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Instant;

/// The least number of blocks a sequencer lets run ahead.
const WINDOW_MIN: usize = 16;

/// Builds what stays from start to end: takes the lock, opens the checkpoint, binds the admin address. There are no
/// sources and no sinks yet.
pub(super) fn build(config: &Config) -> Result<(Core, Option<AdminServer>), StartError> {
    fits(config)?;
    let lock = lock_data_dir(&config.data_dir)?;
    let largest = widest(config);
    let shares = claims(config, all_lanes(config), largest).share_out().map_err(StartError::Config)?;
    let checkpoint = Checkpoint::open(Arc::new(Disk), &config.data_dir);
    let checkpoint = checkpoint.map_err(|error| StartError::start(config.data_dir.display(), error))?;
    let checkpoint = Arc::new(checkpoint);
    let admin = match config.admin.listen {
        None => None,
        Some(address) => Some(
            AdminServer::bind(address, config.admin.token.clone())
                .map_err(|error| StartError::start(format!("admin: cannot listen on {address}"), error))?,
        ),
    };
    let desk = desk(config)?;
    let ordered = Arc::<OrderedSteps>::default();
    let (threads, telemetry, taps) = (Threads::default(), Telemetry::new(), Arc::default());
    let domains = Arc::new(Domains::default());
    let means = Means {
        threads: threads.clone(),
        domains: Arc::clone(&domains),
        taps: Arc::clone(&taps),
        done: Arc::default(),
    };
    let house = Arc::new(House {
        desk: desk.clone(),
        ordered: Arc::clone(&ordered),
        pools: Pools::new(config, &shares, Blocks::new(largest), &telemetry, means),
        threads,
        quotas: Quotas::default(),
        telemetry,
        taps,
        remote: Remote::default(),
        rate: Arc::default(),
        domains,
        view: ArcSwap::from_pointee(View::default()),
        config: config.name.clone(),
        data_dir: config.data_dir.display().to_string(),
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()).map(|address| address.to_string()),
        begun: Instant::now(),
        _lock: lock,
        phase: AtomicU8::new(0),
        pulse: Mutex::new(Pulse::default()),
        looks: Mutex::default(),
        vigil: Mutex::default(),
        unused_buffers: Mutex::default(),
        stuck: Mutex::default(),
    });
    let keeper = Arc::new(Keeper::new(Arc::clone(&checkpoint), Arc::clone(&house)));
    let live = Mutex::new(Live::of_nothing(config));
    let working = Latch::default();
    working.enter();
    Ok((
        Core {
            house,
            descriptors: Descriptors::default(),
            pressure: Mutex::default(),
            checkpoint,
            keeper,
            desk,
            ordered,
            pacer: Arc::default(),
            live,
            ended: Condvar::new(),
            outlets: Arc::default(),
            helpers: Arc::default(),
            working,
        },
        admin,
    ))
}

/// Opens the dead letters, unless the config wants none.
fn desk(config: &Config) -> Result<Option<Arc<Desk>>, StartError> {
    let dlq = config.dispatcher.dlq;
    if !dlq.enabled {
        return Ok(None);
    }
    let dir = store::dir_of(&config.data_dir);
    let opened = Store::open(Arc::new(Disk), dir, dlq, Instant::now(), store::unix_millis());
    let store = opened.map_err(|error| StartError::start("dead letters", error))?;
    Ok(Some(Arc::new(Desk::new(Arc::new(store)))))
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

/// How many lanes the sinks have: a buffer on disk has one before it and one behind.
pub(super) fn lanes(config: &Config) -> usize {
    config.enabled_sinks().map(|sink| 1 + usize::from(config.has_buffer(sink))).sum()
}

/// The same with the lane of what steps give up.
pub(super) fn all_lanes(config: &Config) -> usize {
    lanes(config) + usize::from(config.dispatcher.dlq.enabled && has_steps(config))
}

/// What memory is shared out among `lanes` and the pools of workers, where blocks hold entries of `largest` bytes.
pub(super) fn claims(config: &Config, lanes: usize, largest: usize) -> Claims {
    let marks = &config.dispatcher.backpressure;
    let mut threads: Vec<usize> = config.decided.pools.iter().map(|pool| pool.max).collect();
    for source in &config.sources {
        threads[config.pool_of(source)] += producers(source);
    }
    Claims {
        budget: config.decided.max_memory,
        reserve: Reserve::of(config),
        lanes,
        threads,
        largest: largest.max(crate::block::CLASSES[2]),
        low: marks.low_watermark / marks.high_watermark,
    }
}

/// The most entries a block may have.
pub(super) fn block_entries(config: &Config) -> usize {
    (config.dispatcher.queue_size / 16).clamp(1, ENTRIES_MAX)
}

/// How many blocks a sequencer lets run ahead: as many as hold `worker_pool.queue_size` entries, two for each worker
/// that its pool may have at least: whichever that is, a reload may choose another.
pub(super) fn window(config: &Config) -> usize {
    let blocks = config.dispatcher.worker_pool.queue_size / block_entries(config);
    let workers = config.decided.pools.iter().map(|pool| pool.max).max().unwrap_or(1);
    blocks.max(2 * workers).max(WINDOW_MIN)
}

/// How the lane of the sink goes about its batches.
pub(super) fn manner(sink: &SinkConfig) -> Manner {
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
    let in_flight = sink.lane.concurrency.limits();
    Manner { ordered: sink.lane.ordering == Ordering::Stream, limits, flow, in_flight }
}

/// What the source's entries go through, and where they may go; what steps give up goes to `letters`.
pub(super) fn plan(
    config: &Config,
    source: &SourceConfig,
    sinks: &[&SinkConfig],
    lanes: &[Arc<Lane>],
    letters: Option<&Arc<Lane>>,
    ordered: &OrderedSteps,
) -> Result<Plan, StartError> {
    let (steps, before) = steps_of(config, source, ordered)?;
    let pipeline = Pipeline::compile(steps).map_err(|error| StartError::Config(error.to_string()))?;
    let routes = routes(sinks)?;
    let named = source.pipeline.as_ref().map(|name| (name.as_str().into(), before));
    // Where there are no steps, nothing is given up.
    let letters = letters.filter(|_| !pipeline.is_empty()).map(Arc::clone);
    let plan = Plan::with_name(pipeline, routes, lanes.to_vec(), named);
    Ok(match letters {
        Some(lane) => plan.with_letters(lane),
        None => plan,
    })
}

/// The steps that the source's entries go through, and how many of them stand before those of its pipeline.
pub(super) fn steps_of(
    config: &Config,
    source: &SourceConfig,
    ordered: &OrderedSteps,
) -> Result<(Vec<Planned>, usize), StartError> {
    let named = source.pipeline.as_ref();
    let pipeline = named.and_then(|name| config.pipelines.iter().find(|pipeline| pipeline.name == *name));
    let mut steps: Vec<Planned> = Vec::new();
    if let SourceKind::Syslog(syslog) = &source.kind {
        let zone = syslog.timezone.zone.clone();
        steps.push(StepSpec::ParseSyslog(Input::Message, zone).by_itself());
    }
    let before = steps.len();
    let written = pipeline.map_or(&[][..], |pipeline| &pipeline.steps);
    for (at, step) in written.iter().enumerate() {
        let name = named.map_or("", String::as_str);
        steps.push(match ordered.planned(name, written, at) {
            Some(step) => step?,
            None => planned(step, &place_of(name, at))?,
        });
    }
    Ok((steps, before))
}

/// Where entries may go that have been through their pipeline.
pub(super) fn plan_of_done(sinks: &[&SinkConfig], lanes: &[Arc<Lane>]) -> Result<Plan, StartError> {
    let pipeline = Pipeline::compile(Vec::<Planned>::new());
    let pipeline = pipeline.map_err(|error| StartError::Config(error.to_string()))?;
    Ok(Plan::new(pipeline, routes(sinks)?, lanes.to_vec()))
}

/// Which lane takes which entry.
pub(super) fn routes(sinks: &[&SinkConfig]) -> Result<Routes, StartError> {
    let condition = |sink: &&SinkConfig| match &sink.when {
        None => Ok(None),
        Some(when) => compile(when, &format!("sink {}: when", sink.name)).map(Some),
    };
    Ok(Routes::new(sinks.iter().map(condition).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    #[test]
    fn a_larger_worker_pool_queue_lets_more_blocks_run_ahead_and_two_per_worker_always_may() {
        let blocks = |queue_size: usize, workers: &str, block_entries: usize| {
            let text = format!(
                "dispatcher: {{ queue_size: {}, worker_pool: {{ queue_size: {queue_size}, {workers} }} }}\n\
                 sources: {{ in: {{ type: stdin }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n",
                16 * block_entries
            );
            window(&Config::parse("test", &text, &|_| None).unwrap())
        };
        let one = "max_workers: 1";
        assert_eq!([blocks(1000, one, 10), blocks(2000, one, 10)], [100, 200]);
        assert_eq!([blocks(1, one, 10), blocks(1, "max_workers: 20", 10)], [WINDOW_MIN, 40]);
        assert_eq!(blocks(1, "pools: { p: { workers: 30 } }", 10), 60);
    }

    #[test]
    fn the_blocks_of_a_source_run_ahead_as_far_as_the_worker_pool_queue_says() {
        for blocks in [100, 200] {
            let dir = tempfile::tempdir().unwrap();
            let text = format!(
                "data_dir: {0}/state\nadmin: {{ listen: off }}\n\
                 dispatcher: {{ queue_size: 160, worker_pool: {{ queue_size: {1}, max_workers: 1 }} }}\n\
                 sources: {{ in: {{ type: file, include: ['{0}/*.log'] }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n",
                dir.path().display(),
                blocks * 10
            );
            let config = Config::parse("test", &text, &|_| None).unwrap_or_else(|report| panic!("{report}"));
            let engine = Engine::start(config).unwrap();
            let domains = engine.core.house.domains.all();
            let ahead = |ticket| domains.iter().all(|(_, domain)| domain.sequencer.has_room(ticket));
            // Nothing was shipped: tickets count from the first.
            assert_eq!((domains.len(), ahead(blocks - 1), ahead(blocks)), (1, true, false));
            engine.stop(Instant::now() + crate::engine::GRACE);
        }
    }
}
