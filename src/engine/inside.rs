//! What can be seen of a running engine from outside: the numbers behind `/stats`, `/health` and `/metrics`.

use super::letters::{Desk, ask};
use super::ordered::OrderedSteps;
use super::pools::Pools;
use super::quotas::Quotas;
use super::remote::Remote;
use super::vigil::{Looked, News, Vigil};
use crate::admin::Inside;
use crate::admin::ThreadLook;
use crate::admin::history::RequestStats;
use crate::admin::pulse::Pulse;
use crate::admin::rows::{BufferStats, FileStats, LaneStats, SinkState, StepStats};
use crate::admin::snapshot::{DomainStats, Phase, Snapshot, UnusedBuffer};
use crate::admin::threads::Looks;
use crate::delivery::circuit::Circuit;
use crate::delivery::dlq::numbers::LettersStats;
use crate::http::Response;
use crate::lane::disk::DiskLane;
use crate::lane::{Lane, LaneView};
use crate::ledger::Ledger;
use crate::metrics::Telemetry;
use crate::sinks::Sink;
use crate::sources::docker::Containers;
use crate::sources::file::FileRow;
use crate::sources::inlet::Gate;
use crate::sources::rate::RateLimit;
use crate::tap::{Point, Seen, Taps, Wish};
use crate::thread::Threads;
use crate::worker::{Domain, Domains};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Instant;

/// What one source shows besides its ledger.
#[derive(Clone)]
pub(super) struct SourceView {
    /// The gate its lanes close.
    pub gate: Arc<Gate>,
    /// Where it listens.
    pub listening: Vec<String>,
    /// The files it follows.
    pub files: Option<Arc<Mutex<Vec<FileRow>>>>,
    /// The containers it reads.
    pub containers: Option<Arc<Mutex<Containers>>>,
    /// What it takes in, in words.
    pub what: String,
    /// It is not in the config any more; its numbers stay, so that the sums hold.
    pub removed: bool,
}

impl SourceView {
    /// The view of a source that does nothing yet.
    pub fn new(gate: &Arc<Gate>) -> Self {
        SourceView {
            gate: Arc::clone(gate),
            listening: Vec::new(),
            files: None,
            containers: None,
            what: String::new(),
            removed: false,
        }
    }
}

/// What one sink shows besides its ledger.
#[derive(Clone)]
pub(super) struct SinkView {
    /// What is in front of it.
    pub lane: Arc<Lane>,
    /// Its buffer on disk, before the lane.
    pub disk: Option<Arc<DiskLane>>,
    /// The sink itself, while the config has it.
    pub sink: Option<Arc<dyn Sink>>,
    /// What its senders know of it.
    pub circuit: Arc<Circuit>,
    /// Where it delivers to, in words.
    pub what: String,
    /// It is not in the config any more.
    pub removed: bool,
}

/// All rows that can be looked at now; a reload puts another in its place.
#[derive(Clone, Default)]
pub(super) struct View {
    /// Rows are only ever added.
    pub ledger: Arc<Ledger>,
    /// By the rows of the ledger.
    pub sources: Vec<SourceView>,
    /// By the rows of the ledger.
    pub sinks: Vec<SinkView>,
}

/// Everything that can be looked at.
pub(super) struct House {
    /// The dead letters, unless the config wants none.
    pub desk: Option<Arc<Desk>>,
    pub ordered: Arc<OrderedSteps>,
    pub threads: Threads,
    pub quotas: Quotas,
    pub telemetry: Telemetry,
    pub taps: Arc<Taps>,
    pub remote: Remote,
    pub pools: Pools,
    /// The rate limit of all sources together.
    pub rate: Arc<RateLimit>,
    pub domains: Arc<Domains>,
    pub view: ArcSwap<View>,
    pub config: String,
    pub data_dir: String,
    pub admin: Option<String>,
    pub begun: Instant,
    /// Held as long as the engine lives: one instance per data directory.
    pub _lock: File,
    pub phase: AtomicU8,
    pub pulse: Mutex<Pulse>,
    /// What was last seen of threads.
    pub looks: Mutex<Looks>,
    pub vigil: Mutex<Vigil>,
    /// Buffers on disk that no sink uses.
    pub unused_buffers: Mutex<Vec<UnusedBuffer>>,
    /// Who makes no progress, as of the last tick.
    pub stuck: Mutex<Looked>,
}

impl House {
    /// Entries are taken in from now on.
    pub fn set_running(&self) {
        // Release pairs with the Acquire in `phase`: who sees it running sees everything built.
        self.phase.store(1, Release);
    }

    /// Nothing more is taken in.
    pub fn set_stopping(&self) {
        self.phase.store(2, Release);
    }

    /// How it is, in one line.
    pub fn status(&self) -> String {
        let rates = self.pulse.lock().rates();
        let view = self.view.load();
        let waiting: u64 = view.ledger.sinks.iter().map(|sink| sink.row.in_flight.get()).sum();
        let phase = match self.phase() {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
        };
        format!(
            "{phase}: {:.0} entries/s in, {:.0} copies/s delivered, {waiting} waiting",
            rates.received, rates.delivered
        )
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// Once a second: rates, and the histograms' samples into their buckets.
    pub fn tick(&self, now: Instant) {
        self.pulse.lock().tick(now, &self.view.load().ledger);
        self.quotas.watch_cpu(&self.threads, now);
        let looked = self.vigil.lock().look(&self.threads.rows(), now);
        for news in &looked.news {
            match news {
                News::Stuck(what) => tracing::error!("{what}"),
                News::GoesOn(what) => tracing::info!("{what}"),
            }
        }
        *self.stuck.lock() = looked;
        self.telemetry.upkeep();
        self.taps.sweep(now);
        crate::logs::sweep(now);
    }

    /// Where it listens and what it reads and writes, a line each.
    pub fn describe(&self) -> Vec<String> {
        let all = self.view.load_full();
        let sources = || all.ledger.sources.iter().zip(&all.sources).filter(|(_, view)| !view.removed);
        let mut lines: Vec<String> = sources()
            .map(|(named, view)| format!("source {} ({}): {}", named.name, named.kind, view.what))
            .collect();
        lines.extend(all.sinks.iter().filter(|view| !view.removed).map(|view| view.what.clone()));
        match &self.admin {
            Some(address) => lines.push(format!("admin: http://{address}/ (metrics, stats, health, ready)")),
            None => lines.push("admin: off".into()),
        }
        if let Some(address) = sources().flat_map(|(_, view)| &view.listening).next() {
            // As it was called, so that the line can be copied; and to where a client can reach it.
            let program = std::env::args().next().unwrap_or_else(|| "ringmain".into());
            let reachable = address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
            let how = match reachable.starts_with("http") {
                true => format!("curl --data-binary 'hello from me' {reachable}"),
                false => format!("{program} send --to {reachable} 'hello from me'"),
            };
            lines.push(format!("send a first line: {how}"));
        }
        lines
    }

    fn lane_stats(view: &LaneView) -> LaneStats {
        LaneStats {
            entries: view.entries as u64,
            bytes: view.bytes,
            oldest_ms: view.oldest.map_or(0, |age| age.as_millis() as u64),
            gate_closed: view.gates_closed,
            batch_want: view.batch_size as u64,
            batches_out_limit: view.in_flight_limit as u64,
            last_latency_ms: view.last_latency.as_secs_f64() * 1e3,
        }
    }

    /// Whether there is such a point to look at; the error says which there are.
    fn is_there(&self, point: &Point) -> Result<(), String> {
        let view = self.view.load();
        let sources = view.ledger.sources.iter().zip(&view.sources).filter(|(_, view)| !view.removed);
        let mut points: Vec<Point> =
            sources.map(|(named, _)| Point::Source(named.name.to_string())).collect();
        for (_, domain) in self.domains.all() {
            let plan = domain.plan.load();
            if let Some((name, before)) = &plan.named {
                let steps = plan.pipeline.views().count() - before;
                points.extend((1..=steps).map(|place| Point::Step(name.to_string(), place)));
            }
        }
        let sinks = view.ledger.sinks.iter().zip(&view.sinks).filter(|(_, view)| !view.removed);
        points.extend(sinks.map(|(named, _)| Point::Sink(named.name.to_string())));
        if points.contains(point) {
            return Ok(());
        }
        let mut there: Vec<String> = points.iter().map(ToString::to_string).collect();
        there.dedup();
        Err(format!("there is no `{point}`; there are: {}", there.join(", ")))
    }

    fn domain_stats(&self) -> Vec<DomainStats> {
        let all = self.domains.all().into_iter();
        all.map(|(id, domain)| DomainStats {
            id: id.0,
            source: domain.source.name.to_string(),
            next_ticket: domain.sequencer.next_ticket(),
            waiting: domain.sequencer.waiting() as u64,
        })
        .collect()
    }
}

impl Inside for House {
    fn snapshot(&self) -> Snapshot {
        let (rows, now) = (self.threads.rows(), Instant::now());
        let view = self.view.load_full();
        let mut snapshot = Snapshot::of(&view.ledger, &self.pulse.lock(), &rows);
        snapshot.phase = self.phase();
        snapshot.uptime_seconds = self.begun.elapsed().as_secs_f64();
        snapshot.data_dir = self.data_dir.clone();
        snapshot.config = self.config.clone();
        snapshot.rate_limit_keys = self.rate.keys() as u64;
        snapshot.ring = self.pools.ring_stats();
        snapshot.memory = self.pools.memory_stats();
        snapshot.quotas = self.quotas.stats(&snapshot.process, &self.threads);
        snapshot.cpu_limit_rest_seconds = self.threads.cpu_limit().rested().as_secs_f64();
        let domains = self.domains.all();
        for (stats, view) in snapshot.sources.iter_mut().zip(&view.sources) {
            stats.gate_open = view.gate.is_open() || view.removed;
            stats.removed = view.removed;
            // All its threads share one plan.
            let of_it = |(_, domain): &&(_, Arc<Domain>)| *domain.source.name == *stats.name;
            if let Some((_, domain)) = domains.iter().rev().find(of_it) {
                stats.steps = domain.plan.load().pipeline.views().map(StepStats::of).collect();
            }
            stats.listening = view.listening.clone();
            if let Some(files) = &view.files {
                stats.show_files(files.lock().iter().map(|file| FileStats {
                    path: file.path.display().to_string(),
                    safe_to: file.offset,
                    len: file.size,
                }));
            }
            if let Some(containers) = view.containers.as_ref().filter(|_| !view.removed) {
                stats.show_containers(&containers.lock());
            }
        }
        for (stats, SinkView { lane, disk, sink, circuit, removed, .. }) in
            snapshot.sinks.iter_mut().zip(&view.sinks)
        {
            let view = lane.view(now);
            stats.show_circuit(circuit.view(now));
            stats.lane = Self::lane_stats(&view);
            stats.history = view.history.iter().map(|request| RequestStats::of(request, now)).collect();
            if let Some(disk) = disk {
                let before = disk.front.view(now);
                stats.lane.add_before(&Self::lane_stats(&before));
                stats.buffer = Some(BufferStats::of(disk.view(), disk.uses_disk()));
            }
            stats.removed = *removed;
            stats.attempt = u32::from(stats.batches_out > 0);
            stats.unwell = sink.as_ref().and_then(|sink| sink.is_healthy().err());
            if let Some(trouble) = view.trouble {
                stats.state = SinkState::Retrying;
                stats.attempt = trouble.failures.saturating_add(1);
                stats.last_error = Some(trouble.why);
            }
        }
        snapshot.ordered = self.ordered.stats();
        snapshot.metrics = self.ordered.metrics();
        snapshot.unused_buffers = self.unused_buffers.lock().clone();
        snapshot.domains = self.domain_stats();
        let Looked { stuck, slow, count, .. } = self.stuck.lock().clone();
        (snapshot.stuck, snapshot.slow, snapshot.threads_stuck) = (stuck, slow, count);
        snapshot.dlq = self.desk.as_ref().map(|desk| desk.stats(now));
        snapshot.workers = self.pools.worker_stats(now);
        snapshot
    }

    fn ready(&self) -> Result<(), String> {
        match self.phase() {
            Phase::Running => Ok(()),
            Phase::Starting => Err("starting".into()),
            Phase::Stopping => Err("stopping: nothing more is taken in".into()),
        }
    }

    fn tap(&self, wish: Wish) -> Result<Seen, String> {
        self.is_there(&wish.point)?;
        self.taps.ask(wish, Instant::now())
    }

    fn threads(&self) -> Vec<ThreadLook> {
        let mut looks = self.looks.lock();
        looks.look(&self.threads.rows(), self.begun, Instant::now())
    }

    fn letters(&self) -> Option<LettersStats> {
        self.desk.as_ref().map(|desk| desk.stats(Instant::now()))
    }

    fn post(&self, path: &str, body: &[u8]) -> Option<Response> {
        ask::post(self.desk.as_deref(), path, body).or_else(|| self.remote.post(path))
    }

    fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}
