//! Buffers on disk: opens them, starts their two threads, ends them, and finds those that nobody uses.

use super::StartError;
use super::build::manner;
use super::inside::SourceView;
use super::live::{Core, LiveSink};
use super::ready::thread_refused;
use super::reload::Stage;
use crate::admin::snapshot::UnusedBuffer;
use crate::buffer::{Buffer, BufferSpec, Fsync, OpenError, Opened};
use crate::clock::unix_nanos;
use crate::config::{Config, SinkConfig};
use crate::delivery::letters::{DeadLetters, Letter, LetterReason};
use crate::labels::SourceId;
use crate::lane::batcher::{BatchLimits, Batcher, FlowControl, IDLE};
use crate::lane::disk::{Appender, DiskLane, DiskSpec, Fetcher, KeepElsewhere};
use crate::lane::{LaneSpec, Manner, Quota};
use crate::ledger::Named;
use crate::sources::config::SourceKind;
use crate::storage_io::Disk;
use crate::thread::{Inside, Latch};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most entries that go to disk as one batch; bytes are the usual bound.
const BATCH: usize = 10_000;
/// How often it is looked, while the engine ends, whether a sink is unwell: it is not waited for then.
const LOOK: Duration = Duration::from_millis(50);
/// How long a locked buffer is waited for.
const LOCKED: Duration = Duration::from_secs(1);

/// A sink's buffer on disk, with its threads.
#[derive(Clone)]
pub(super) struct LiveDisk {
    pub lane: Arc<DiskLane>,
    /// The thread that writes.
    pub appender: Arc<Latch>,
    /// The thread that reads.
    pub fetcher: Arc<Latch>,
}

/// Where the buffers are.
fn root(data_dir: &Path) -> PathBuf {
    data_dir.join("buffer")
}

/// The buffers that no enabled sink of `config` uses and that are not empty.
fn unused(config: &Config) -> Vec<UnusedBuffer> {
    let Ok(dirs) = std::fs::read_dir(root(&config.data_dir)) else { return Vec::new() };
    let is_used =
        |name: &str| config.enabled_sinks().any(|sink| sink.name == name && config.has_buffer(sink));
    let buffer = |dir: std::fs::DirEntry| {
        let name = dir.file_name().into_string().ok()?;
        let files = std::fs::read_dir(dir.path()).ok()?.flatten();
        let segments = files.filter(|file| file.file_name().to_string_lossy().starts_with("seg-"));
        let bytes = segments.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
        (bytes > 0 && !is_used(&name)).then_some(UnusedBuffer { name, bytes })
    };
    let mut all: Vec<_> = dirs.flatten().filter_map(buffer).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Opens a buffer. One of this process that has just ended may take a moment to let go of its lock.
fn open(spec: BufferSpec) -> Result<Opened, OpenError> {
    let until = Instant::now() + LOCKED;
    loop {
        let now_ms = (unix_nanos() / 1_000_000).max(0) as u64;
        match Buffer::open(Arc::new(Disk), spec.clone(), now_ms) {
            Err(OpenError::Locked(_)) if Instant::now() < until => std::thread::sleep(LOOK),
            other => return other,
        }
    }
}

/// Makes dead letters of the entries of a sink that fit no record of its buffer.
fn keep_too_large(letters: Arc<dyn DeadLetters>, sink: String) -> KeepElsewhere {
    Box::new(move |entry| {
        letters.keep(&[Letter {
            entry,
            reason: LetterReason::TooLarge,
            status: None,
            why: "it does not fit a record of the buffer on disk",
            attempts: 0,
            sink: &sink,
            first_failed_ms: (unix_nanos() / 1_000_000).max(0) as u64,
        }])
    })
}

impl Stage<'_> {
    /// Opens the sink's buffer, makes its lanes and starts its threads, which wait for the word.
    pub(super) fn open_disk(
        &mut self,
        row: usize,
        sink: &SinkConfig,
        quota: Quota,
    ) -> Result<LiveDisk, StartError> {
        let buffer = &sink.lane.buffer;
        let dir = root(&self.config.data_dir).join(&sink.name);
        let opened = open(buffer.spec(dir))
            .map_err(|error| StartError::start(format!("sink {}", sink.name), error))?;
        let source = self.buffer_source(&sink.name)?;
        let named = &self.ledger.sinks[row];
        let lane = |batcher: Batcher, ordered: bool| LaneSpec {
            sink: named.clone(),
            quota,
            ordered,
            gates: Vec::new(),
            blocks: self.core.house.pools.blocks.clone(),
            batcher,
        };
        let Manner { ordered, limits, flow, in_flight } = manner(sink);
        // One thread takes everything in the order it came.
        let to_disk = BatchLimits {
            batch_size: BATCH,
            batch_timeout: if opened.writer.fsync() == Fsync::Group { IDLE } else { Duration::ZERO },
            max_entries: BATCH,
            max_bytes: 1 << 20,
        };
        let steady = FlowControl { enabled: false, ..flow };
        let disk = DiskLane::new(DiskSpec {
            front: lane(Batcher::new(to_disk, steady), false),
            back: lane(Batcher::new(limits, flow).with_in_flight(in_flight), ordered),
            buffer: opened.shared,
            when_full: buffer.when_full,
            ahead_max: DiskLane::ahead_max(buffer.max_size as u64),
            source,
            spills: !buffer.is_on_disk(),
            hurry: self.core.keeper.hurry(),
            note: self.core.keeper.alarm(),
        });
        // Rows are shared with what runs: nothing is counted before it is sure that this will.
        let (ledger, found) = (Arc::clone(&self.ledger.sources[usize::from(source.0)].row), opened.found);
        let counted = Arc::clone(&disk);
        self.found.push(Box::new(move || counted.count_found(found.entries, &ledger)));
        if found.entries > 0 {
            tracing::info!(
                "sink {}: {} entries are in its buffer on disk ({} bytes)",
                sink.name,
                found.entries,
                found.bytes
            );
        }
        let sync_took = self.core.house.telemetry.buffer_sync(&sink.name);
        let elsewhere = self.core.keeps().map(|letters| keep_too_large(letters, sink.name.clone()));
        let appender = Appender::new(Arc::clone(&disk), opened.writer, sync_took, elsewhere);
        let (types, blocks) = (SourceKind::ALL_TYPES, &self.core.house.pools.blocks);
        let fetcher = Fetcher::new(Arc::clone(&disk), opened.reader, source, types, blocks);
        let live = LiveDisk { lane: disk, appender: Arc::default(), fetcher: Arc::default() };
        let threads = &self.core.house.threads;
        let cores = &self.config.decided.cores.senders;
        let (go, inside) = (Arc::clone(&self.go), Inside::new(&live.appender));
        let spawned = threads.spawn(format!("buffer-{}", sink.name), cores, move |row| {
            let _inside = inside;
            if go.wait() {
                appender.run(row);
            }
        });
        spawned.map_err(thread_refused)?;
        let (go, inside) = (Arc::clone(&self.go), Inside::new(&live.fetcher));
        let spawned = threads.spawn(format!("read-{}", sink.name), cores, move |row| {
            let _inside = inside;
            if go.wait() {
                fetcher.run(row);
            }
        });
        spawned.map_err(thread_refused)?;
        Ok(live)
    }

    /// The row of what comes from the buffer of the sink called `name`, as if that were a source.
    fn buffer_source(&mut self, name: &str) -> Result<SourceId, StartError> {
        let what = format!("buffer:{name}");
        let row = self.ledger.sources.iter().position(|row| *row.name == *what);
        let row = row.unwrap_or_else(|| {
            self.ledger.sources.push(Named::new(&what, "buffer"));
            let what = format!("what was in the buffer of sink {name} at the start");
            self.view.sources.push(SourceView { what, ..SourceView::new(&Arc::default()) });
            self.ledger.sources.len() - 1
        });
        let id = u16::try_from(row);
        id.map(SourceId).map_err(|_| StartError::Config("there were 65536 sources since the start".into()))
    }
}

impl LiveDisk {
    /// Waits until all that is in memory is on disk; false if the deadline passes first, and then the rest stays with its
    /// sources. The front lane must be closed.
    pub(super) fn written(&self, deadline: Instant) -> bool {
        self.appender.wait(deadline)
    }

    /// After the senders have ended: remembers on disk what they delivered.
    pub(super) fn settle(&self, sync: impl FnOnce() -> io::Result<()>) {
        self.lane.put_back();
        let done = self.lane.take_done();
        let settled = sync().and_then(|()| self.lane.buffer.flush()).and_then(|()| self.lane.forget(&done));
        if let Err(error) = settled {
            tracing::error!("what was delivered from a buffer may be delivered again: {error}");
        }
    }
}

impl Core {
    /// Ends a sink that a reload took out and that has a buffer on disk: what is there stays there.
    pub(super) fn see_off_disk(&self, sink: &LiveSink, disk: &LiveDisk, deadline: Instant) {
        let name = &sink.config.name;
        disk.lane.front.feeds().wait(deadline);
        disk.lane.front.close();
        if !disk.written(deadline) {
            tracing::error!(
                "sink {name}: removed, and not all of its entries could be written to its buffer"
            );
        }
        if disk.lane.spills() {
            // What is in memory is delivered or dropped, as with any sink that goes; what is on disk alone stays.
            disk.lane.finish();
            if !sink.senders.wait(deadline) {
                let dropped = disk.lane.back.forsake();
                tracing::error!(
                    "sink {name}: removed with entries in memory it could not deliver in time: {dropped} dropped"
                );
            }
        }
        self.end_disk(sink, disk);
        let kept = disk.lane.view().entries;
        if kept > 0 {
            tracing::warn!(
                "sink {name}: removed; its buffer is kept with {kept} entries, for a sink of this name"
            );
        }
    }

    /// Ends the threads of a buffer and the senders behind it, and remembers what was delivered.
    pub(super) fn end_disk(&self, sink: &LiveSink, disk: &LiveDisk) {
        disk.lane.leave();
        disk.lane.back.leave();
        let grace = Instant::now() + super::GRACE;
        let ended = sink.senders.wait(grace) & disk.appender.wait(grace) & disk.fetcher.wait(grace);
        if !ended {
            tracing::warn!("sink {}: an attempt is still under way", sink.config.name);
        }
        disk.settle(|| sink.sink.sync());
    }

    /// While the engine ends: has what is on disk delivered until `deadline`, unless the sink is unwell anyway.
    pub(super) fn drain_disks(&self, sinks: &[LiveSink], deadline: Instant) {
        let disks = || sinks.iter().filter_map(|sink| Some((sink, sink.disk.as_ref()?)));
        for (_, disk) in disks() {
            disk.written(deadline);
            disk.lane.finish();
        }
        for (sink, disk) in disks() {
            // What is in memory alone is tried until the end.
            let trouble = || !disk.lane.spills() && disk.lane.back.view(Instant::now()).trouble.is_some();
            while !sink.senders.wait(deadline.min(Instant::now() + LOOK)) {
                if trouble() || Instant::now() >= deadline {
                    break;
                }
            }
            self.end_disk(sink, disk);
        }
    }
}

/// Counts what was found in a buffer.
pub(super) type Counting = Box<dyn FnOnce() + Send>;

impl Core {
    /// Looks for buffers that nobody uses, says which they are, and shows them.
    pub(super) fn report_unused(&self) {
        let config = Arc::clone(&self.live.lock().config);
        let all = unused(&config);
        all.iter().for_each(|unused| say(&config, unused));
        *self.house.unused_buffers.lock() = all;
    }
}

fn say(config: &Config, UnusedBuffer { name, bytes }: &UnusedBuffer) {
    tracing::warn!(
        "the buffer {} has {bytes} bytes and no sink uses it: a sink called `{name}` with `buffer: {{ type: disk }}` would \
         deliver what is in it; remove the directory if that is not wanted",
        root(&config.data_dir).join(name).display()
    );
}
