use super::position::tests::row;
use super::*;
use crate::storage_io::{Disk, StorageFile};
use std::ffi::OsString;
use std::io::IoSlice;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

fn position(path: &str, offset: u64) -> Position {
    Position { offset, ..row(0, "", path, 1, 0).position }
}

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(Arc::new(Disk), dir).unwrap()
}

fn offsets(checkpoint: &Checkpoint, source: &str) -> Vec<u64> {
    let mut offsets: Vec<_> = checkpoint.loaded(source).iter().map(|(_, at)| at.offset).collect();
    offsets.sort_unstable();
    offsets
}

/// A machine that starts again: the fast tier's boot id is another one.
fn reboot(dir: &Path) {
    let path = dir.join("positions.fast");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn the_fast_tier_counts_after_a_kill_and_not_after_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let source = "app".into();
    let checkpoint = open(dir.path());
    let key = checkpoint.add(&source, position("/a", 10));
    assert!(checkpoint.flush_durable(&mut || Ok(())).unwrap());
    assert!(!checkpoint.flush_durable(&mut || Ok(())).unwrap(), "nothing changed");
    for offset in [20, 30, 40] {
        checkpoint.set(key, position("/a", offset));
        assert_eq!(checkpoint.flush_fast().unwrap(), 1);
    }
    drop(checkpoint);
    assert_eq!(offsets(&open(dir.path()), "app"), [40]);
    // Opening twice without a durable write in between must not lose what only the fast tier knew.
    assert_eq!(offsets(&open(dir.path()), "app"), [40]);
    reboot(dir.path());
    let checkpoint = open(dir.path());
    assert_eq!(offsets(&checkpoint, "app"), [10]);
    assert!(offsets(&checkpoint, "other").is_empty());
}

#[test]
fn a_file_cut_back_to_nothing_does_not_get_its_old_higher_offset_back() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = open(dir.path());
    let key = checkpoint.add(&"app".into(), position("/a", 1000));
    checkpoint.flush_durable(&mut || Ok(())).unwrap();
    checkpoint.set(key, position("/a", 5));
    checkpoint.flush_fast().unwrap();
    drop(checkpoint);
    assert_eq!(offsets(&open(dir.path()), "app"), [5]);
}

#[test]
fn forgotten_positions_stay_forgotten_whichever_tier_last_heard_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = open(dir.path());
    let source = "app".into();
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| checkpoint.add(&source, position(path, 1)));
    checkpoint.flush_fast().unwrap();
    checkpoint.flush_durable(&mut || Ok(())).unwrap();
    // Only the fast tier hears of the first, only the durable one of the second.
    checkpoint.forget(a);
    checkpoint.forget(a);
    checkpoint.set(a, position("/a", 99));
    checkpoint.flush_fast().unwrap();
    let copy = copied(dir.path());
    // Twice, as the next start after a start that ended at once.
    assert_eq!([open(copy.path()).len(), open(copy.path()).len()], [2, 2]);
    checkpoint.forget(b);
    checkpoint.flush_durable(&mut || Ok(())).unwrap();
    assert_eq!(open(copied(dir.path()).path()).len(), 1);
    // Their places are used again only now.
    let d = checkpoint.add(&source, position("/d", 4));
    assert!(d.place != c.place && d.place < 3);
    checkpoint.flush_fast().unwrap();
    drop(checkpoint);
    assert_eq!(offsets(&open(dir.path()), "app"), [1, 4]);
}

#[test]
fn whatever_is_wrong_with_the_file_the_previous_generation_is_used() {
    let breaks: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |_| Vec::new(),
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |_| b"{\"json\": true}".to_vec(),
        |mut bytes| {
            bytes[8] = 9;
            bytes
        },
        |bytes| [bytes, vec![0]].concat(),
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = open(dir.path());
        let key = checkpoint.add(&"app".into(), position("/a", 10));
        checkpoint.flush_durable(&mut || Ok(())).unwrap();
        checkpoint.set(key, position("/a", 20));
        checkpoint.flush_durable(&mut || Ok(())).unwrap();
        drop(checkpoint);
        reboot(dir.path());
        // A left-over, though whole and newer, is not preferred.
        let main = dir.path().join("positions");
        let newer = Snapshot { generation: 99, ..Snapshot::default() };
        std::fs::write(dir.path().join("positions.tmp"), durable::encode(&newer)).unwrap();
        std::fs::write(&main, break_it(std::fs::read(&main).unwrap())).unwrap();
        let checkpoint = open(dir.path());
        assert_eq!(offsets(&checkpoint, "app"), [10], "break {number}");
        assert_eq!(checkpoint.start(&"app".into()), Start::Again);
        assert!(!dir.path().join("positions.tmp").exists());
        // And the next generation is written beside the good one, not over it.
        checkpoint.add(&"app".into(), position("/b", 5));
        checkpoint.flush_durable(&mut || Ok(())).unwrap();
        drop(checkpoint);
        reboot(dir.path());
        assert_eq!(offsets(&open(dir.path()), "app"), [5, 10]);
    }
}

#[test]
fn nothing_usable_means_lost_and_an_empty_directory_means_first() {
    let dir = tempfile::tempdir().unwrap();
    let (app, new) = ("app".into(), "new".into());
    let checkpoint = open(dir.path());
    assert_eq!(checkpoint.start(&app), Start::First);
    checkpoint.flush_durable(&mut || Ok(())).unwrap();
    drop(checkpoint);
    let checkpoint = open(dir.path());
    assert_eq!(
        (checkpoint.start(&app), checkpoint.start(&new)),
        (Start::Again, Start::First),
        "no file is needed"
    );
    drop(checkpoint);
    std::fs::write(dir.path().join("positions"), "").unwrap();
    let checkpoint = open(dir.path());
    assert_eq!((checkpoint.start(&app), checkpoint.is_empty()), (Start::Lost, true));
}

#[test]
fn when_there_is_no_room_the_file_gone_longest_is_forgotten_and_never_one_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = open(dir.path());
    let source: Arc<str> = "app".into();
    let at = |n: u64| Position { last_seen: -(n as i64), inode: n, ..position("/a", n) };
    let keys: Vec<_> = (0..POSITIONS_MAX as u64).map(|n| checkpoint.add(&source, at(n))).collect();
    let refused = checkpoint.add(&source, at(1 << 40));
    checkpoint.set(refused, at(1 << 40));
    assert_eq!(checkpoint.len(), POSITIONS_MAX);
    checkpoint.release(keys[7]);
    checkpoint.release(keys[8]);
    let taken = checkpoint.add(&source, at(1 << 41));
    assert_eq!((taken.place as usize, checkpoint.len()), (POSITIONS_MAX, POSITIONS_MAX));
    assert!(checkpoint.loaded("app").iter().all(|(key, _)| *key != keys[8]));
    checkpoint.set(keys[7], at(7));
    assert_eq!(checkpoint.add(&source, at(1 << 42)).id, 0, "it was found again");
}

/// A disk that fails from the n-th change on.
struct Failing {
    left: Arc<AtomicUsize>,
}

struct FailingFile {
    inner: Box<dyn StorageFile>,
    left: Arc<AtomicUsize>,
}

fn spend(left: &AtomicUsize) -> io::Result<()> {
    let spent = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::from_raw_os_error(28))
}

impl StorageIo for Failing {
    fn open(&self, path: &Path, access: Access, mode: u32) -> io::Result<Box<dyn StorageFile>> {
        spend(&self.left)?;
        Ok(Box::new(FailingFile { inner: Disk.open(path, access, mode)?, left: Arc::clone(&self.left) }))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        spend(&self.left)?;
        Disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        spend(&self.left)?;
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

impl StorageFile for FailingFile {
    fn append(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.append(slices)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = spend(&self.left) {
            // What a full disk leaves behind: a part of it.
            self.inner.write_at(&bytes[..bytes.len().min(30)], offset)?;
            return Err(error);
        }
        self.inner.write_at(bytes, offset)
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }
}

#[test]
fn a_disk_that_fails_at_any_step_of_a_flush_leaves_an_old_or_the_new_position() {
    // open, write, sync, rename, rename, sync of the directory: six steps of the durable flush.
    for steps in 0..=6 {
        let dir = tempfile::tempdir().unwrap();
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let checkpoint = Checkpoint::open(Arc::new(Failing { left: Arc::clone(&left) }), dir.path()).unwrap();
        let key = checkpoint.add(&"app".into(), position("/a", 10));
        for offset in [20, 30] {
            checkpoint.set(key, position("/a", offset));
            checkpoint.flush_durable(&mut || Ok(())).unwrap();
        }
        checkpoint.set(key, position("/a", 40));
        left.store(steps, SeqCst);
        assert_eq!(checkpoint.flush_durable(&mut || Ok(())).is_ok(), steps == 6, "after {steps} steps");
        let boot = BOOT;
        let copy = copied(dir.path());
        std::fs::write(copy.path().join("positions.fast"), boot).unwrap();
        let seen = offsets(&open(copy.path()), "app");
        assert!(seen == [30] || seen == [40], "after {steps} steps: {seen:?}");
        // When the disk works again, so does the checkpoint.
        left.store(usize::MAX, SeqCst);
        checkpoint.flush_durable(&mut || Ok(())).unwrap();
        drop(checkpoint);
        reboot(dir.path());
        assert_eq!(offsets(&open(dir.path()), "app"), [40]);
    }
}

const BOOT: &[u8] = b"no header at all";

fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in Disk.list(dir).unwrap() {
        std::fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

#[test]
fn on_a_full_disk_it_opens_with_what_it_knows_and_writes_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = open(dir.path());
    checkpoint.add(&"app".into(), position("/a", 10));
    checkpoint.flush_fast().unwrap();
    drop(checkpoint);
    for steps in 0..3 {
        let left = Arc::new(AtomicUsize::new(steps));
        let checkpoint = Checkpoint::open(Arc::new(Failing { left: Arc::clone(&left) }), dir.path()).unwrap();
        let (key, found) = checkpoint.loaded("app")[0].clone();
        assert_eq!(found.offset, 10 + steps as u64);
        checkpoint.set(key, position("/a", 11 + steps as u64));
        assert!(checkpoint.flush_fast().is_err(), "after {steps} steps");
        left.store(usize::MAX, SeqCst);
        assert_eq!(checkpoint.flush_fast().unwrap(), 1);
        drop(checkpoint);
        assert_eq!(offsets(&open(copied(dir.path()).path()), "app"), [11 + steps as u64]);
    }
}

#[test]
fn a_fast_write_that_tears_is_done_again_and_falls_back_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let checkpoint = Checkpoint::open(Arc::new(Failing { left: Arc::clone(&left) }), dir.path()).unwrap();
    let key = checkpoint.add(&"app".into(), position("/a", 10));
    checkpoint.flush_fast().unwrap();
    checkpoint.set(key, position("/a", 20));
    left.store(0, SeqCst);
    assert!(checkpoint.flush_fast().is_err());
    assert!(checkpoint.flush_fast().is_err());
    assert_eq!(offsets(&open(copied(dir.path()).path()), "app"), [10]);
    left.store(usize::MAX, SeqCst);
    assert_eq!(checkpoint.flush_fast().unwrap(), 1);
    assert_eq!(offsets(&open(copied(dir.path()).path()), "app"), [20]);
}

#[test]
fn a_position_that_moves_during_the_sync_waits_for_the_next_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = open(dir.path());
    let key = checkpoint.add(&"app".into(), position("/a", 10));
    checkpoint
        .flush_durable(&mut || {
            checkpoint.set(key, position("/a", 20));
            Ok(())
        })
        .unwrap();
    let copy = copied(dir.path());
    reboot(copy.path());
    assert_eq!(offsets(&open(copy.path()), "app"), [10]);
    let failed = checkpoint.flush_durable(&mut || Err(io::Error::other("the sink's disk is full")));
    assert!(failed.is_err());
    let copy = copied(dir.path());
    reboot(copy.path());
    assert_eq!(offsets(&open(copy.path()), "app"), [10], "not without the sync");
    assert!(checkpoint.flush_durable(&mut || Ok(())).unwrap());
    reboot(dir.path());
    assert_eq!(offsets(&open(dir.path()), "app"), [20]);
}
