//! The lane on disk with hands for its threads: what is settled when, what is read, what is lost.

use super::write::GROUP;
use super::*;
use crate::ack::Ack;
use crate::block::{Block, Blocks};
use crate::buffer::{BufferSpec, Fsync, Opened};
use crate::config::Config;
use crate::lane::batcher::{BatchLimits, Batcher, FlowControl};
use crate::lane::{FIRST_CREW, Quota};
use crate::pool::Pool;
use crate::sinks::testing::{Heard, block_of, stream};
use crate::storage_io::{Access, Disk, StorageFile, StorageIo};
use crate::thread::{Flag, Row, Threads};
use std::ffi::OsString;
use std::io::IoSlice;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

const WIDE: Quota = Quota { high: 1 << 30, low: 1 << 29 };

/// The real disk; counts how often files are made durable.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

struct CountingFile(Box<dyn StorageFile>, Arc<AtomicUsize>);

impl StorageIo for Counting {
    fn open(&self, path: &Path, access: Access, mode: u32) -> io::Result<Box<dyn StorageFile>> {
        let file = Disk.open(path, access, mode)?;
        Ok(Box::new(CountingFile(file, Arc::clone(&self.0))))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.sync_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        Disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Disk.lock(path)
    }
}

impl StorageFile for CountingFile {
    fn append(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.append(slices)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.fetch_add(1, SeqCst);
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
}

/// Wakes nobody.
struct Nobody;
impl Wake for Nobody {
    fn wake(&self) {}
}

struct Rig {
    dir: tempfile::TempDir,
    syncs: Counting,
    disk: Arc<DiskLane>,
    heard: Arc<Heard>,
    row: Arc<Row>,
    sent: u64,
}

/// A disk lane with its two threads' equipment.
fn open(dir: tempfile::TempDir, fsync: Fsync) -> (Rig, Appender, Fetcher) {
    open_with(dir, fsync, None)
}

fn open_with(
    dir: tempfile::TempDir,
    fsync: Fsync,
    keep_elsewhere: Option<KeepElsewhere>,
) -> (Rig, Appender, Fetcher) {
    let spec = BufferSpec { fsync, ..BufferSpec::new(dir.path().join("buffer"), 16 << 20) };
    open_spec(dir, spec, keep_elsewhere)
}

fn open_spec(
    dir: tempfile::TempDir,
    spec: BufferSpec,
    keep_elsewhere: Option<KeepElsewhere>,
) -> (Rig, Appender, Fetcher) {
    let syncs = Counting::default();
    let Opened { writer, reader, shared, found } =
        Buffer::open(Arc::new(syncs.clone()), spec, 1000).expect("it opens");
    let limits = |batch_size| BatchLimits {
        batch_size,
        batch_timeout: Duration::ZERO,
        max_entries: batch_size,
        max_bytes: 1 << 20,
    };
    let flow = FlowControl { enabled: false, target_latency: Duration::ZERO, adjustment_factor: 0.1 };
    let sink = Named::new("out", "test");
    let lane = || LaneSpec {
        sink: sink.clone(),
        quota: WIDE,
        ordered: true,
        gates: Vec::new(),
        blocks: Blocks::new(0),
        batcher: Batcher::new(limits(1000), flow),
    };
    let disk = DiskLane::new(DiskSpec {
        front: LaneSpec { ordered: false, ..lane() },
        back: lane(),
        buffer: shared,
        when_full: WhenFull::Block,
        ahead_max: DiskLane::ahead_max(16 << 20),
        source: SourceId(7),
        spills: false,
        hurry: Arc::new(Nobody),
        note: Arc::new(Nobody),
    });
    disk.count_found(found.entries, &SourceLedger::default());
    let sync_took = crate::metrics::Telemetry::new().buffer_sync("out");
    let appender = Appender::new(Arc::clone(&disk), writer, sync_took, keep_elsewhere);
    let fetcher = Fetcher::new(Arc::clone(&disk), reader, SourceId(7), &["test"], &Blocks::new(0));
    let threads = Threads::default();
    threads.spawn("x", &[], |_| ()).expect("a thread").join().expect("it ends");
    let row = Arc::clone(&threads.rows()[0]);
    (Rig { dir, syncs, disk, heard: Arc::default(), row, sent: 0 }, appender, fetcher)
}

impl Rig {
    /// Pushes a block with these lines to the front lane.
    fn push(&mut self, origin: &str, lines: &[String]) {
        let mut block = block_of(&stream("app", origin, &[]), lines);
        block.add_cuts(0, 0);
        let mut owned = Pool::default().get(|| Block::new(1));
        *owned = block;
        let block = owned.share();
        let whole = Arc::new(Ack::new(self.sent, Arc::clone(&self.heard) as Arc<dyn Return>)).whole();
        self.sent += 1;
        self.disk.front.push(&block, block.cuts(), &whole, Strategy::Block, Instant::now());
        whole.settle(Status::Delivered);
    }

    /// Everything the back lane gives until it is closed.
    fn take_all(&self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(taken) = self.disk.back.cut(&self.row, FIRST_CREW) {
            texts.extend(taken.batch.iter().map(|entry| String::from_utf8_lossy(entry.text()).into_owned()));
            self.disk.back.finish(taken, Duration::ZERO, 0);
        }
        texts
    }

    fn assert_sums(&self) {
        let row = &self.disk.sink.row;
        let kept = row.delivered.get() + row.persisted.get() + row.dropped.total() + row.dead_lettered.get();
        assert_eq!((row.copies.get(), row.in_flight.get()), (kept, 0));
    }
}

fn lines(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

#[test]
fn sources_hear_of_it_once_it_is_synced_and_the_sink_gets_it_in_order() {
    let (mut rig, appender, fetcher) = open(tempfile::tempdir().expect("a directory"), Fsync::Group);
    for n in 0..10 {
        rig.push("a", &lines(n * 100..n * 100 + 100));
    }
    assert!(rig.heard.0.lock().is_empty());
    rig.disk.front.close();
    appender.run(&rig.row);
    let settled: Vec<_> = (0..10).map(|n| (n, Status::Persisted)).collect();
    assert_eq!(*rig.heard.0.lock(), settled);
    assert_eq!(rig.disk.sink.row.persisted.get(), 1000);
    rig.assert_sums();
    rig.disk.finish();
    fetcher.run(&rig.row);
    assert_eq!(rig.take_all(), lines(0..1000));
    rig.assert_sums();
    assert_eq!(rig.disk.sink.row.delivered.get(), 1000);
    let done = rig.disk.take_done();
    assert_eq!(rig.disk.view().entries, 1000, "nothing is forgotten before it is said to be safe");
    rig.disk.forget(&done).expect("the disk works");
    assert_eq!(rig.disk.view().entries, 0);
}

#[test]
fn what_fits_no_record_becomes_a_dead_letter_or_is_dropped_and_the_rest_goes_on() {
    let large = "x".repeat(1 << 20);
    let texts = ["a".to_owned(), large.clone(), "b".to_owned(), large.clone(), "c".to_owned()];
    for letters in [true, false] {
        let kept = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let (seen, tries) = (Arc::clone(&kept), AtomicUsize::new(0));
        let keep: KeepElsewhere = Box::new(move |entry| {
            if tries.fetch_add(1, SeqCst) == 0 {
                return Err(io::Error::other("not now"));
            }
            seen.lock().push(entry.text().to_vec());
            Ok(())
        });
        let dir = tempfile::tempdir().expect("a directory");
        let (mut rig, appender, fetcher) = open_with(dir, Fsync::Group, letters.then_some(keep));
        rig.push("a", &texts);
        rig.disk.front.close();
        appender.run(&rig.row);
        let row = &rig.disk.sink.row;
        let (status, counts) = match letters {
            true => (Status::Persisted, (3, 2, 0)),
            false => (Status::Dropped, (3, 0, 2)),
        };
        assert_eq!(*rig.heard.0.lock(), [(0, status)]);
        let dropped = row.dropped.get(Reason::TooLarge);
        assert_eq!((row.persisted.get(), row.dead_lettered.get(), dropped), counts);
        rig.assert_sums();
        assert!(kept.lock().iter().all(|text| *text == large.as_bytes()));
        assert_eq!(kept.lock().len() as u64, counts.1);
        rig.disk.finish();
        fetcher.run(&rig.row);
        assert_eq!(rig.take_all(), ["a", "b", "c"]);
    }
}

#[test]
fn what_was_not_delivered_comes_again_after_a_restart_and_the_sums_hold() {
    let (mut rig, appender, fetcher) = open(tempfile::tempdir().expect("a directory"), Fsync::Group);
    rig.push("a", &lines(0..3000));
    rig.disk.front.close();
    appender.run(&rig.row);
    rig.disk.finish();
    fetcher.run(&rig.row);
    // One batch is out when it ends.
    let taken = rig.disk.back.cut(&rig.row, FIRST_CREW).expect("a batch");
    rig.disk.back.leave();
    rig.disk.back.leave_behind(taken);
    rig.disk.put_back();
    assert_eq!(rig.disk.sink.row.persisted.get(), 3000);
    rig.assert_sums();
    let Rig { dir, disk, .. } = rig;
    drop(disk);
    let (rig, appender, fetcher) = open(dir, Fsync::Group);
    assert_eq!((rig.disk.sink.row.copies.get(), rig.disk.sink.row.persisted.get()), (3000, 3000));
    rig.disk.front.close();
    appender.run(&rig.row);
    rig.disk.finish();
    fetcher.run(&rig.row);
    assert_eq!(rig.take_all(), lines(0..3000));
    rig.assert_sums();
    drop(rig.dir);
}

/// The equipment for a sink with this `fsync` in its buffer on disk, as a config has it.
fn written(fsync: &str) -> (Rig, Appender, Fetcher) {
    let buffer = format!("buffer: {{ type: disk, max_size: 16MiB, fsync: {fsync} }}");
    let text =
        format!("sources: {{ in: {{ type: stdin }} }}\nsinks: {{ out: {{ type: blackhole, {buffer} }} }}\n");
    let config = Config::parse("test", &text, &|_| None).expect("a config");
    let dir = tempfile::tempdir().expect("a directory");
    let spec = config.sinks[0].lane.buffer.spec(dir.path().join("buffer"));
    open_spec(dir, spec, None)
}

#[test]
fn fsync_always_and_group_sync_before_they_settle_and_none_only_when_it_is_flushed() {
    for (fsync, synced, waits) in [("always", true, false), ("group", true, true), ("none", false, false)] {
        let (mut rig, appender, _fetcher) = written(fsync);
        let (disk, row, ended) = (Arc::clone(&rig.disk), Arc::clone(&rig.row), Flag::default());
        let (mut syncs, mut soonest) = (Vec::new(), Duration::MAX);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                appender.run(&row);
                ended.raise();
            });
            // A busy machine may be slow a few times, but not each time.
            for turn in 0..20_usize {
                let (begun, before) = (Instant::now(), rig.syncs.0.load(SeqCst));
                rig.push("a", &lines(turn * 10..turn * 10 + 10));
                while rig.heard.0.lock().len() <= turn {
                    std::thread::yield_now();
                }
                soonest = soonest.min(begun.elapsed());
                syncs.push(rig.syncs.0.load(SeqCst) - before);
            }
            if !synced {
                let before = rig.syncs.0.load(SeqCst);
                disk.buffer.flush().expect("the disk works");
                syncs.push(rig.syncs.0.load(SeqCst) - before);
            }
            disk.front.close();
        });
        assert!(ended.is_raised());
        // Looked at when the thread has ended: it would wait for ever behind a test that failed.
        let flushed = if synced { None } else { syncs.pop() };
        // The file is there before it is counted: with the first come the syncs of its making.
        assert!(syncs[1..].iter().all(|count| (*count > 0) == synced), "{fsync}: {syncs:?}");
        assert!(flushed.is_none_or(|count| count > 0), "{fsync}: {flushed:?}");
        assert_eq!(soonest >= GROUP, waits, "{fsync}: {soonest:?}");
    }
}
