//! A disk that forgets what a real one may forget, for tests.
//!
//! Until `sync_data` a file's bytes are only in memory: a crash keeps any of its sectors in their old or their new state,
//! and any length in between. Until `sync_dir` names are only in memory: a crash keeps any of the changes, in order. A sync
//! that fails leaves its sectors old or new and says nothing about them again. All of it follows from a seed.

use super::{Access, StorageFile, StorageIo};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are written whole or not at all.
pub const SECTOR: usize = 512;

/// What an operation is, to let it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Open,
    Read,
    Write,
    SyncData,
    SetLen,
    Allocate,
    Rename,
    Remove,
    SyncDir,
    CreateDir,
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<State>>);

struct State {
    random: fastrand::Rng,
    files: BTreeMap<u64, File>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since their directory was synced.
    changes: Vec<Change>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Operations that fail: which, how many of them first succeed, how many then fail, with what.
    faults: Vec<(Op, u32, u32, i32)>,
    /// Bytes of files, with what is reserved for them; at most.
    room: u64,
    /// Appends take less than they are given, now and then.
    short_appends: bool,
    /// Rises with every crash: files opened before are dead.
    boot: u64,
    /// Every operation, counted.
    operations: u64,
    /// The disk is gone once so many operations were done: power is cut in the middle of things.
    power_cut_at: Option<u64>,
}

#[derive(Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ, perhaps.
    dirty: BTreeSet<usize>,
    reserved: u64,
}

#[derive(Clone)]
enum Change {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    fn dir(&self) -> Option<&Path> {
        let (Change::Add(path, _) | Change::Remove(path) | Change::Rename(path, _)) = self;
        path.parent()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Change::Add(path, file) => drop(names.insert(path.clone(), *file)),
            Change::Remove(path) => drop(names.remove(path)),
            Change::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Sim {
    /// An empty disk with much room.
    pub fn new(seed: u64) -> Sim {
        Sim(Arc::new(Mutex::new(State {
            random: fastrand::Rng::with_seed(seed),
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            dirs: BTreeSet::new(),
            locks: BTreeSet::new(),
            faults: Vec::new(),
            room: u64::MAX,
            short_appends: false,
            boot: 0,
            operations: 0,
            power_cut_at: None,
        })))
    }

    /// Lets `times` operations of a kind fail with a system error, after `after` more of them succeeded. Takes the place of
    /// what was said of that kind before.
    pub fn fail(&self, op: Op, after: u32, times: u32, errno: i32) {
        let mut state = self.0.lock();
        state.faults.retain(|fault| fault.0 != op);
        state.faults.push((op, after, times, errno));
    }

    /// No operation fails any more, but for want of room.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.faults.clear();
        state.power_cut_at = None;
    }

    /// How many bytes files may have together.
    pub fn set_room(&self, room: u64) {
        self.0.lock().room = room;
    }

    /// Appends take less than they are given, now and then.
    pub fn short_appends(&self) {
        self.0.lock().short_appends = true;
    }

    /// After so many more operations every further one fails, until the crash that was the reason for it.
    pub fn cut_power_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.power_cut_at = Some(state.operations + operations);
    }

    /// The power fails and comes back. Whoever had files open has to let go of them.
    pub fn crash(&self) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        for change in std::mem::take(&mut state.changes) {
            if state.random.bool() {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| named.contains(id));
        for file in state.files.values_mut() {
            file.crash(&mut state.random);
        }
        state.locks.clear();
        state.boot += 1;
        state.power_cut_at = None;
    }

    /// The process dies; the system goes on and forgets nothing.
    pub fn kill(&self) {
        let mut state = self.0.lock();
        state.locks.clear();
        state.boot += 1;
        state.power_cut_at = None;
    }

    /// The bytes of a file as readers see them.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        state.names.get(path).map(|file| state.files[file].now.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.lock();
        let id = state.names.get(path).copied().unwrap_or(state.next_file);
        state.next_file = state.next_file.max(id + 1);
        let file = File { now: bytes.to_vec(), durable: bytes.to_vec(), ..File::default() };
        state.files.insert(id, file);
        state.names.insert(path.to_owned(), id);
        state.durable_names.insert(path.to_owned(), id);
    }

    /// Takes a file away, durably.
    pub fn take(&self, path: &Path) {
        let mut state = self.0.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// The files in a directory.
    pub fn files(&self, dir: &Path) -> Vec<PathBuf> {
        self.0.lock().names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect()
    }
}

impl File {
    fn crash(&mut self, random: &mut fastrand::Rng) {
        let len = match random.u8(..3) {
            0 => self.durable.len(),
            1 => self.now.len(),
            _ => {
                let (a, b) = (self.durable.len(), self.now.len());
                random.usize(a.min(b)..=a.max(b))
            }
        };
        self.settle(random, len);
        self.now = self.durable.clone();
    }

    /// Some of the dirty sectors reach the disk, the others never will.
    fn settle(&mut self, random: &mut fastrand::Rng, len: usize) {
        self.durable.resize(len, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if random.bool() {
                self.write_back(sector);
            }
        }
    }

    fn write_back(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.now.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.now[start..end]);
        }
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn size(&self) -> u64 {
        self.reserved.max(self.now.len() as u64)
    }
}

impl State {
    /// Counts an operation, and lets it fail if it is its turn.
    fn begin(&mut self, op: Op) -> io::Result<()> {
        self.operations += 1;
        if self.power_cut_at.is_some_and(|at| self.operations > at) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let Some(fault) = self.faults.iter_mut().find(|fault| fault.0 == op) else { return Ok(()) };
        if fault.1 > 0 {
            fault.1 -= 1;
            return Ok(());
        }
        fault.2 -= 1;
        let errno = fault.3;
        self.faults.retain(|fault| fault.2 > 0);
        Err(io::Error::from_raw_os_error(errno))
    }

    /// Whether files may grow by so many bytes.
    fn need(&self, bytes: u64) -> io::Result<()> {
        // What has no name takes up no room, though a crash may bring it back.
        let used: u64 = self.names.values().filter_map(|id| self.files.get(id)).map(File::size).sum();
        match used.saturating_add(bytes) <= self.room {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }
}

struct Handle {
    sim: Sim,
    id: u64,
    boot: u64,
}

struct Lock(Sim, PathBuf, u64);

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        if state.boot == self.2 {
            state.locks.remove(&self.1);
        }
    }
}

impl StorageIo for Sim {
    fn open(&self, path: &Path, access: Access, _mode: u32) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.0.lock();
        state.begin(Op::Open)?;
        let id = match (state.names.get(path).copied(), access) {
            (Some(id), _) => id,
            (None, Access::Read) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                let id = state.next_file;
                state.next_file += 1;
                state.files.insert(id, File::default());
                state.names.insert(path.to_owned(), id);
                state.changes.push(Change::Add(path.to_owned(), id));
                id
            }
        };
        if access == Access::Fresh {
            let file = state.files.get_mut(&id).unwrap();
            (file.now, file.reserved) = (Vec::new(), 0);
        }
        let boot = state.boot;
        Ok(Box::new(Handle { sim: self.clone(), id, boot }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.lock().begin(Op::Read)?;
        self.bytes(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin(Op::Rename)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = Change::Rename(from.to_owned(), to.to_owned());
        change.apply(&mut state.names);
        state.changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin(Op::Remove)?;
        if state.names.remove(path).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.changes.push(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        state.begin(Op::SyncDir)?;
        let (ours, others) =
            std::mem::take(&mut state.changes).into_iter().partition(|change| change.dir() == Some(dir));
        state.changes = others;
        let ours: Vec<Change> = ours;
        ours.iter().for_each(|change| change.apply(&mut state.durable_names));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let state = self.0.lock();
        let inside = |path: &&PathBuf| path.parent() == Some(dir);
        let dirs = state.dirs.iter().filter(inside);
        Ok(state
            .names
            .keys()
            .filter(inside)
            .chain(dirs)
            .filter_map(|path| path.file_name())
            .map(Into::into)
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.begin(Op::CreateDir)?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.0.lock();
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let boot = state.boot;
        drop(state);
        Ok(Box::new(Lock(self.clone(), path.to_owned(), boot)))
    }
}

impl Handle {
    fn with<T>(&self, op: Op, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.sim.0.lock();
        assert_eq!(self.boot, state.boot, "a file was used after the crash of its system");
        state.begin(op)?;
        state.files.entry(self.id).or_default();
        act(&mut state, self.id)
    }
}

impl StorageFile for Handle {
    fn append(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(Op::Write, |state, id| {
            let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            if state.short_appends && state.random.u8(..4) == 0 {
                bytes.truncate(state.random.usize(..=bytes.len()).max(1));
            }
            let at = state.files[&id].now.len();
            state.need((at as u64 + bytes.len() as u64).saturating_sub(state.files[&id].size()))?;
            state.files.get_mut(&id).unwrap().write(&bytes, at);
            Ok(bytes.len())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(Op::Write, |state, id| {
            state.need((offset + bytes.len() as u64).saturating_sub(state.files[&id].size()))?;
            state.files.get_mut(&id).unwrap().write(bytes, offset as usize);
            Ok(())
        })
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Op::Read, |state, id| {
            let rest = state.files[&id].now.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(bytes.len());
            bytes[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.with(Op::SyncData, |state, id| {
            let file = state.files.get_mut(&id).unwrap();
            file.durable.resize(file.now.len(), 0);
            // Not those that an earlier sync failed to write: they are no longer known as dirty.
            std::mem::take(&mut file.dirty).into_iter().for_each(|sector| file.write_back(sector));
            Ok(())
        });
        if result.is_err() {
            let mut guard = self.sim.0.lock();
            let state = &mut *guard;
            if let Some(file) = state.files.get_mut(&self.id) {
                let len = file.now.len();
                file.settle(&mut state.random, len);
            }
        }
        result
    }

    fn len(&self) -> io::Result<u64> {
        self.with(Op::Read, |state, id| Ok(state.files[&id].now.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(Op::SetLen, |state, id| {
            let file = state.files.get_mut(&id).unwrap();
            let before = file.now.len();
            file.now.resize(len as usize, 0);
            let changed = before.min(len as usize)..before.max(len as usize);
            file.dirty.extend(changed.start / SECTOR..changed.end.div_ceil(SECTOR));
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(Op::Allocate, |state, id| {
            state.need(len.saturating_sub(state.files[&id].size()))?;
            let file = state.files.get_mut(&id).unwrap();
            file.reserved = file.reserved.max(len);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage_io::PRIVATE;

    fn open(sim: &Sim, path: &str) -> Box<dyn StorageFile> {
        sim.open(Path::new(path), Access::Update, PRIVATE).unwrap()
    }

    /// What a file is after a crash, over many seeds.
    fn outcomes(act: fn(&Sim)) -> BTreeSet<Option<Vec<u8>>> {
        let one = |seed| {
            let sim = Sim::new(seed);
            act(&sim);
            sim.crash();
            sim.bytes(Path::new("/d/a"))
        };
        (0..200).map(one).collect()
    }

    #[test]
    fn what_was_synced_stays_and_what_was_not_may_vanish_tear_or_stay() {
        let kept = outcomes(|sim| {
            let file = open(sim, "/d/a");
            file.write_at(b"safe", 0).unwrap();
            file.sync_data().unwrap();
            sim.sync_dir(Path::new("/d")).unwrap();
        });
        assert_eq!(kept, BTreeSet::from([Some(b"safe".to_vec())]));
        let unnamed = outcomes(|sim| open(sim, "/d/a").sync_data().unwrap());
        assert_eq!(unnamed, BTreeSet::from([None, Some(Vec::new())]));
        let torn = outcomes(|sim| {
            let file = open(sim, "/d/a");
            sim.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[1; 2 * SECTOR], 0).unwrap();
        });
        for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            assert!(torn.contains(&Some([[first; SECTOR], [second; SECTOR]].concat())), "{first} {second}");
        }
        assert!(torn.contains(&Some(Vec::new())));
    }

    #[test]
    fn what_a_failed_sync_left_out_is_never_written_though_it_can_be_read() {
        let outcomes = outcomes(|sim| {
            let file = open(sim, "/d/a");
            sim.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[1; SECTOR], 0).unwrap();
            sim.fail(Op::SyncData, 0, 1, libc::EIO);
            assert!(file.sync_data().is_err());
            let mut byte = [0];
            file.read_at(&mut byte, 0).unwrap();
            assert_eq!(byte, [1]);
            file.sync_data().unwrap();
        });
        assert!(outcomes.contains(&Some(vec![0; SECTOR])) && outcomes.contains(&Some(vec![1; SECTOR])));
    }

    #[test]
    fn appends_may_be_short_and_a_cut_of_power_ends_everything_until_the_crash() {
        let sim = Sim::new(5);
        sim.short_appends();
        let file = open(&sim, "/d/a");
        let taken: Vec<usize> =
            (0..50).map(|_| file.append(&[IoSlice::new(b"1234"), IoSlice::new(b"5678")]).unwrap()).collect();
        assert!(taken.contains(&8) && taken.iter().any(|taken| (1..8).contains(taken)));
        assert_eq!(file.len().unwrap(), taken.iter().sum::<usize>() as u64);
        sim.cut_power_after(1);
        file.sync_data().unwrap();
        assert!(file.sync_data().is_err() && sim.sync_dir(Path::new("/d")).is_err());
        sim.crash();
        sim.sync_dir(Path::new("/d")).unwrap();
    }

    #[test]
    fn a_rename_is_durable_after_the_directory_is_and_room_ends() {
        let old_or_new = outcomes(|sim| {
            sim.put(Path::new("/d/a"), b"old");
            sim.put(Path::new("/d/b"), b"new");
            sim.rename(Path::new("/d/b"), Path::new("/d/a")).unwrap();
        });
        assert_eq!(old_or_new, BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]));
        let sim = Sim::new(1);
        sim.set_room(100);
        let file = open(&sim, "/d/a");
        file.allocate(90).unwrap();
        file.write_at(&[0; 90], 0).unwrap();
        assert_eq!(file.write_at(&[0; 11], 90).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(open(&sim, "/d/b").allocate(11).unwrap_err().kind(), io::ErrorKind::StorageFull);
        sim.remove(Path::new("/d/a")).unwrap();
        sim.sync_dir(Path::new("/d")).unwrap();
        open(&sim, "/d/b").allocate(100).unwrap();
    }
}
