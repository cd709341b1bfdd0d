//! What each call promises, one by one.

use super::*;
use crate::storage_io::sim::Op;
use crate::storage_io::{Access, Disk, StorageFile, StorageIo};

#[test]
fn records_come_out_as_they_went_in_and_only_when_they_are_durable() {
    for fsync in [Fsync::Group, Fsync::Always, Fsync::None] {
        let dir = tempfile::tempdir().unwrap();
        let spec = BufferSpec { dir: dir.path().join("a/b"), fsync, ..spec() };
        let mut opened = Buffer::open(Arc::new(Disk), spec.clone(), 5_000).unwrap();
        assert_eq!(opened.found, Found::default());
        append(&mut opened, 0).unwrap();
        assert_eq!((drain(&mut opened), opened.writer.pending()), (vec![], payload(0).len()));
        append_all(&mut opened, 1..20);
        let durable = opened.writer.sync().unwrap();
        assert_eq!((durable, opened.writer.pending()), (opened.writer.durable(), 0));
        assert_eq!(ids(&drain(&mut opened)), (0..20).collect::<Vec<_>>());
        opened.shared.flush().unwrap();
        drop(opened);
        let mut opened = Buffer::open(Arc::new(Disk), spec, 5_000).unwrap();
        assert_eq!(ids(&drain(&mut opened)), (0..20).collect::<Vec<_>>(), "none was completed");
        assert_eq!(opened.found.entries, durable);
    }
}

#[test]
fn one_buffer_is_open_once() {
    let sim = Sim::new(1);
    let opened = open(&sim, &spec());
    assert!(matches!(Buffer::open(Arc::new(sim.clone()), spec(), 0), Err(OpenError::Locked(_))));
    let Opened { writer, reader, shared, .. } = opened;
    drop((writer, reader));
    assert!(Buffer::open(Arc::new(sim.clone()), spec(), 0).is_err());
    drop(shared);
    open(&sim, &spec());
}

#[test]
fn it_is_full_at_its_size_and_has_room_again_once_a_segment_is_done() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    let mut id = 0;
    let full = loop {
        match append(&mut opened, id) {
            Ok(_) => id += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full(Full::MaxSize)), "{full:?}");
    opened.writer.sync().unwrap();
    let view = opened.shared.view();
    assert_eq!((view.bytes, view.segments), (8 * 1024, 7), "seven segments and the reserve");
    assert_eq!(view.degraded, None, "a full buffer is well");
    let (first, _) = (drain(&mut opened)[0], ());
    let seqs: Vec<Seq> =
        (0..id).scan(0, |seq, id| Some(std::mem::replace(seq, *seq + u64::from(entries(id))))).collect();
    seqs.iter().skip(1).for_each(|seq| opened.shared.complete(*seq));
    opened.shared.persist().unwrap();
    assert!(append(&mut opened, id).is_err(), "the first record still holds the first segment");
    opened.shared.complete(first.1);
    opened.shared.persist().unwrap();
    append(&mut opened, id).unwrap();
    assert!(opened.shared.view().bytes <= 3 * 1024);
    // A record that can never fit is not "full".
    let large = vec![0; opened.writer.payload_max() + 1];
    let refused = |record| matches!(record, Err(AppendError::Refused));
    assert!(refused(opened.writer.append(NewRecord { payload: &large, entries: 1, time_ms: 0 })));
    assert!(refused(opened.writer.append(NewRecord { payload: b"x", entries: 0, time_ms: 0 })));
    opened.writer.append(NewRecord { payload: &large[1..], entries: 1, time_ms: 0 }).unwrap();
}

#[test]
fn dropping_the_oldest_frees_room_though_older_records_are_handed_out() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    let mut bytes = Vec::new();
    let (mut id, mut skipped, mut gone) = (0, 0, 0);
    append(&mut opened, 0).unwrap();
    opened.writer.sync().unwrap();
    let stuck = opened.reader.next(&mut bytes).unwrap().unwrap();
    while id < 200 {
        match append(&mut opened, id + 1) {
            Ok(_) => id += 1,
            Err(AppendError::Full(Full::MaxSize)) => {
                opened.writer.sync().unwrap();
                let part = opened.reader.skip_segment().unwrap();
                assert!(part.records > 0);
                (skipped, gone) = (skipped + part.records, gone + part.entries);
                opened.shared.persist().unwrap();
            }
            Err(error) => panic!("{error:?}"),
        }
        assert!(opened.shared.view().bytes <= 8 * 1024);
    }
    opened.writer.sync().unwrap();
    opened.shared.persist().unwrap();
    let left = opened.shared.view().entries;
    assert_eq!(left, opened.writer.durable() - gone);
    // After a crash the stuck one comes again, the dropped ones do not, and they are not counted as lost either.
    drop(opened);
    sim.crash();
    let mut opened = open(&sim, &spec());
    assert_eq!(opened.found.entries, left);
    let came = drain(&mut opened);
    assert_eq!(came[0], (0, stuck.seq));
    let kept: Vec<u32> = (skipped as u32 + 1..=200).collect();
    assert_eq!((&ids(&came)[1..], opened.shared.view().lost_entries), (&kept[..], 0));
}

#[test]
fn bytes_to_drop_are_counted_in_whole_records() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    append_all(&mut opened, 0..10);
    opened.writer.sync().unwrap();
    let bytes = (payload(0).len() + payload(1).len()) as u64;
    let skipped = opened.reader.skip_oldest(bytes).unwrap();
    assert_eq!(skipped, Skipped { records: 2, entries: u64::from(entries(0) + entries(1)), bytes });
    assert_eq!(opened.reader.skip_oldest(1).unwrap().records, 1);
    assert_eq!(opened.reader.peek().unwrap().map(|head| head.time_ms), Some(1_003));
    assert_eq!(ids(&drain(&mut opened)), (3..10).collect::<Vec<_>>());
    assert_eq!(opened.reader.skip_oldest(1).unwrap(), Skipped::default());
}

#[test]
fn a_failed_sync_is_not_repeated_on_its_file_and_nothing_is_lost() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    append(&mut opened, 0).unwrap();
    opened.writer.sync().unwrap();
    append(&mut opened, 1).unwrap();
    sim.fail(Op::SyncData, 0, 1, libc::EIO);
    opened.writer.sync().unwrap();
    assert_eq!((segments(&sim).len(), opened.shared.view().degraded), (2, None));
    // Both files fail: it is said, nothing is acknowledged, and the next attempt finds a well disk.
    append(&mut opened, 2).unwrap();
    sim.fail(Op::SyncData, 0, 2, libc::EIO);
    let durable = opened.writer.durable();
    assert!(opened.writer.sync().is_err());
    assert!(opened.shared.view().degraded.is_some_and(|why| why.contains("os error 5")));
    assert_eq!((opened.writer.durable(), ids(&drain(&mut opened))), (durable, vec![0, 1]));
    assert_eq!(opened.writer.sync().unwrap(), durable + u64::from(entries(2)));
    assert_eq!(opened.shared.view().degraded, None);
    drop(opened);
    sim.crash();
    assert_eq!(ids(&drain(&mut open(&sim, &spec()))), [0, 1, 2]);
}

#[test]
fn a_segment_whose_name_its_maker_could_not_make_durable_is_safe_once_it_is_written_to() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let mut opened = open(&sim, &spec());
        // The process dies between making the segment and syncing the directory.
        sim.fail(Op::SyncDir, 0, 1000, libc::EIO);
        sim.fail(Op::Remove, 0, 1000, libc::EIO);
        assert!(append(&mut opened, 0).is_err());
        drop(opened);
        sim.heal();
        sim.kill();
        let mut opened = open(&sim, &spec());
        append(&mut opened, 1).unwrap();
        opened.writer.sync().unwrap();
        drop(opened);
        sim.crash();
        assert_eq!(ids(&drain(&mut open(&sim, &spec()))), [1], "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_full_and_what_was_taken_is_saved_in_the_reserve() {
    for errno in [libc::ENOSPC, libc::EDQUOT] {
        let sim = Sim::new(1);
        let mut opened = open(&sim, &spec());
        append(&mut opened, 0).unwrap();
        opened.writer.sync().unwrap();
        sim.fail(Op::Allocate, 0, 1000, errno);
        append(&mut opened, 1).unwrap();
        sim.fail(Op::SyncData, 0, 1, libc::EIO);
        opened.writer.sync().unwrap();
        assert!(sim.bytes(&Path::new(DIR).join("reserve")).is_none(), "it was used");
        let mut id = 2;
        let error = loop {
            match append(&mut opened, id) {
                Ok(_) => id += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::Full(Full::Disk)), "{error:?}");
        opened.writer.sync().unwrap();
        sim.heal();
        append(&mut opened, id).unwrap();
        opened.writer.sync().unwrap();
        assert_eq!(ids(&drain(&mut opened)), (0..=id).collect::<Vec<_>>());
        assert!(opened.shared.view().degraded.is_none());
        assert!(sim.bytes(&Path::new(DIR).join("reserve")).is_some(), "it is kept again");
    }
}

#[test]
fn a_disk_that_takes_nothing_is_an_error_value_and_the_backlog_can_be_read() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    append_all(&mut opened, 0..30);
    opened.writer.sync().unwrap();
    drop(opened);
    for op in [Op::Allocate, Op::SetLen, Op::Write, Op::SyncData, Op::SyncDir, Op::Rename] {
        sim.fail(op, 0, 10_000, libc::EROFS);
    }
    let mut opened = open(&sim, &spec());
    let records = drain(&mut opened);
    assert_eq!(records.len(), 30);
    while append(&mut opened, 30).is_ok() {
        if opened.writer.sync().is_err() {
            break;
        }
    }
    assert!(opened.shared.view().degraded.is_some());
    records.iter().for_each(|(_, seq)| opened.shared.complete(*seq));
    let before = segments(&sim);
    assert!(opened.shared.persist().is_err());
    assert_eq!(segments(&sim), before, "nothing is removed before that is durable");
    sim.heal();
    opened.shared.persist().unwrap();
    opened.writer.sync().unwrap();
    assert!(segments(&sim).len() < before.len());
}

#[test]
fn without_syncing_a_flush_makes_durable_and_says_again_what_it_could_not() {
    let none = BufferSpec { fsync: Fsync::None, ..spec() };
    let sim = Sim::new(1);
    let mut opened = open(&sim, &none);
    append(&mut opened, 0).unwrap();
    opened.writer.sync().unwrap();
    opened.shared.flush().unwrap();
    append(&mut opened, 1).unwrap();
    opened.writer.sync().unwrap();
    sim.fail(Op::SyncData, 0, 1, libc::EIO);
    for _ in 0..3 {
        assert!(opened.shared.flush().is_err(), "what may be lost is not forgotten");
    }
    assert!(opened.shared.view().degraded.is_some());
    append(&mut opened, 2).unwrap();
    opened.writer.sync().unwrap();
    assert_eq!(segments(&sim).len(), 2, "the file that failed is not written to");
    assert_eq!(ids(&drain(&mut opened)), [0, 1, 2]);
    opened.shared.flush().unwrap();
    assert_eq!(opened.shared.view().degraded, None);
    drop(opened);
    sim.crash();
    let mut opened = open(&sim, &none);
    let came = ids(&drain(&mut opened));
    assert!(came == [0, 1, 2] || came == [0, 2], "{came:?}");
}

#[test]
fn what_cannot_be_read_many_times_in_a_row_counts_as_damaged() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    append_all(&mut opened, 0..3);
    opened.writer.sync().unwrap();
    let mut bytes = Vec::new();
    sim.fail(Op::Read, 0, 5, libc::EIO);
    for _ in 0..5 {
        assert!(opened.reader.next(&mut bytes).is_err());
    }
    // It was a passing fault: nothing is lost.
    assert_eq!(ids(&drain(&mut opened)), [0, 1, 2]);
    append_all(&mut opened, 3..6);
    opened.writer.sync().unwrap();
    sim.fail(Op::Read, 0, 6, libc::EIO);
    for _ in 0..5 {
        assert!(opened.reader.next(&mut bytes).is_err());
    }
    let came = ids(&drain(&mut opened));
    assert_eq!((came, opened.shared.view().lost_entries), (vec![4, 5], u64::from(entries(3))));
}

#[test]
fn the_view_says_how_old_the_oldest_is() {
    let sim = Sim::new(1);
    let mut opened = open(&sim, &spec());
    assert_eq!(opened.shared.view().oldest_ms, None);
    append_all(&mut opened, 0..3);
    opened.writer.sync().unwrap();
    assert_eq!(opened.shared.view().oldest_ms, Some(1_000));
    let records = drain(&mut opened);
    opened.shared.complete(records[0].1);
    assert_eq!(opened.shared.view().oldest_ms, Some(1_001));
    records.iter().for_each(|(_, seq)| opened.shared.complete(*seq));
    assert_eq!((opened.shared.view().oldest_ms, opened.shared.view().entries), (None, 0));
    append(&mut opened, 9).unwrap();
    opened.writer.sync().unwrap();
    assert_eq!(opened.shared.view().oldest_ms, Some(1_009));
}

#[test]
fn sizes_that_do_not_go_together_are_refused_in_words() {
    for (max_size, segment_size) in [(8192, 100), (1000, 1000), (1024, 1000)] {
        let spec = BufferSpec { max_size, segment_size, ..spec() };
        let Err(error) = Buffer::open(Arc::new(Sim::new(1)), spec, 0) else { panic!("{max_size}") };
        assert!(error.to_string().contains("at least"), "{error}");
    }
    let usual = BufferSpec::new("d".into(), 1 << 30);
    assert_eq!(usual.segment_size, 16 << 20);
    assert_eq!(BufferSpec::new("d".into(), 64 << 20).segment_size, 8 << 20);
}

#[test]
fn ten_gibibytes_are_open_without_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let spec = BufferSpec::new(dir.path().join("b"), 11 << 30);
    let count = (10 << 30) / spec.segment_size;
    // Files with holes where the records would be: 640 of 16 MiB, the last one with a real record.
    std::fs::create_dir_all(&spec.dir).unwrap();
    for id in 1..=count {
        let salt = segment::salt(77, id);
        let (first_seq, capacity) = (id * 1000, spec.segment_size);
        let header = segment::Header { content: 1, id, first_seq, created_ms: id, salt, capacity };
        let file = std::fs::File::create(spec.dir.join(segment::name(id))).unwrap();
        let mut bytes = header.encode().to_vec();
        if id == count {
            let head = RecordHead { seq: first_seq, entries: 1000, time_ms: 1, len: 0 };
            record::write(&mut bytes, record::Kind::Data, &head, b"the last one", salt);
        }
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        if id < count {
            file.set_len(spec.segment_size).unwrap();
        }
    }
    let reads = Arc::new(Counting::default());
    let opened = Buffer::open(Arc::clone(&reads) as Arc<dyn StorageIo>, spec, 5_000).unwrap();
    assert_eq!(
        (opened.found.entries, opened.found.bytes, opened.found.segments),
        (count * 1000, 10 << 30, 640)
    );
    let bytes = reads.0.load(std::sync::atomic::Ordering::Relaxed);
    assert!(bytes < 1 << 20, "{bytes} bytes were read");
    assert_eq!(opened.shared.view().oldest_ms, Some(1));
}

/// The real disk, and how many bytes were read from it.
#[derive(Default)]
struct Counting(Arc<std::sync::atomic::AtomicU64>);

struct CountingFile(Box<dyn StorageFile>, Arc<std::sync::atomic::AtomicU64>);

impl StorageIo for Counting {
    fn open(&self, path: &Path, access: Access, mode: u32) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(CountingFile(Disk.open(path, access, mode)?, Arc::clone(&self.0))))
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
    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
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
    fn append(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.append(slices)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        // Relaxed: read for display only.
        self.1.fetch_add(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
        self.0.read_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
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

#[test]
fn a_repaired_buffer_is_sound_and_starts_without_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let spec = BufferSpec { dir: dir.path().join("b"), ..spec() };
    let open = || Buffer::open(Arc::new(Disk), spec.clone(), 5_000).unwrap();
    let mut opened = open();
    append_all(&mut opened, 0..30);
    opened.writer.sync().unwrap();
    opened.shared.persist().unwrap();
    drop(opened);
    let check = || check::Closed::read(&Disk, &spec.dir).unwrap();
    let verify = || check().verify(|_, _, _| Ok(()), |_| {}).unwrap();
    assert!(verify().is_sound() && verify().records == 30, "{:?}", verify());
    let before = repair::repair(&Disk, &spec.dir, 1, |_| {}).unwrap();
    assert_eq!((before.rewritten, before.quarantined_bytes), (0, 0));
    let report = check().report().unwrap();
    assert!(report.state_is_sound && report.segments.len() >= 3, "{report:?}");
    assert_eq!(report.segments.iter().map(|segment| segment.entries).sum::<u64>(), report.entries);
    // A record in the first, the header of the second, a slot of the state.
    let change = |path: &Path, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    change(&report.segments[0].path, segment::HEADER + 5);
    change(&report.segments[1].path, 20);
    change(&spec.dir.join("state"), 40);
    let verdict = verify();
    assert!(!verdict.is_sound());
    assert_eq!((verdict.records, verdict.lost(), verdict.damaged.len()), (29, u64::from(entries(0)), 1));
    assert_eq!(verdict.wrong.len(), 2, "{:?}", verdict.wrong);
    let repaired = repair::repair(&Disk, &spec.dir, 1, |_| {}).unwrap();
    assert_eq!((repaired.rewritten, repaired.removed, repaired.unexplained), (2, 0, 0));
    assert!(repaired.quarantined_bytes > 0);
    assert!(verify().is_sound(), "{:?}", verify());
    let mut opened = open();
    assert_eq!(opened.found.notes, Vec::<String>::new());
    assert_eq!(ids(&drain(&mut opened)), (1..30).collect::<Vec<_>>());
    assert_eq!(opened.shared.view().lost_entries, 0);
}
