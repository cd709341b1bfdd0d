//! The files a sink has open, and what of them is not yet durable.

use super::beneath::{self, Base};
use super::disk::Disk;
use super::rotate::{self, RotateConfig};
use super::torn;
use crate::clock::UnixNanos;
use crate::pool::Allowance;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a file is asked whether its path still names it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most closed files that wait to be synced; beyond them a file is synced as it is closed.
const UNSYNCED_MAX: usize = 64;
/// How long a file that could not be rotated is written to before it is tried again.
const ROTATE_AGAIN: Duration = Duration::from_secs(10);
/// Most directories that wait to be synced.
const DIRS_MAX: usize = 256;

/// When something happens: by the clock that never goes back, and by the one on the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub steady: Instant,
    pub wall: UnixNanos,
}

/// An open file that ends in a whole line.
pub(super) struct Open {
    pub file: Arc<File>,
    /// Its length when it was last asked.
    pub len: u64,
    /// Device and inode.
    pub id: (u64, u64),
    /// Written since it was last synced.
    pub dirty: bool,
    /// When it was last written to.
    pub written: UnixNanos,
    used: u64,
    looked: Instant,
    /// It could not be rotated; not tried again before then.
    rotate_not_before: Option<Instant>,
}

/// What is to be made durable.
#[derive(Default)]
pub(super) struct Unsynced {
    pub files: Vec<Arc<File>>,
    /// Directories with names that a power cut could still take.
    pub dirs: Vec<(String, File)>,
}

/// A bounded set of open files.
pub(super) struct Handles {
    base: Arc<Base>,
    open: HashMap<Arc<str>, Open>,
    open_max: usize,
    /// What open files, those that wait to be synced, and directories to be synced take together: half, and a quarter
    /// each.
    allowed: Allowance,
    /// Counts uses, to find the file that was used least recently.
    turn: u64,
    /// Whether anyone will ask for what is unsynced.
    syncs: bool,
    unsynced: Vec<Arc<File>>,
    new_names: BTreeSet<String>,
    /// What was rotated last, and its number: a file that is rotated many times a second need not look for the next one.
    rotated: (String, u32),
}

impl Handles {
    pub(super) fn new(base: Base, (open_max, allowed): (usize, Allowance), syncs: bool) -> Self {
        Handles {
            base: Arc::new(base),
            open: HashMap::new(),
            open_max: open_max.max(1),
            allowed,
            turn: 0,
            syncs,
            unsynced: Vec::new(),
            new_names: BTreeSet::new(),
            rotated: (String::new(), 0),
        }
    }

    /// The directory that all files lie beneath.
    pub(super) fn base(&self) -> Arc<Base> {
        Arc::clone(&self.base)
    }

    /// Takes the file `path` out, opened if need be, to be put back when it was written to.
    pub(super) fn take(&mut self, disk: &dyn Disk, path: &Arc<str>, now: Now) -> io::Result<Open> {
        if let Some(mut open) = self.open.remove(path) {
            let stat = open.file.metadata()?;
            if stat.nlink() > 0 && self.is_named(path, &mut open, now.steady) {
                open.len = stat.len();
                return Ok(open);
            }
            // Moved away or removed: what we wrote is in the old file, what comes goes to a new one.
            self.close(open);
        }
        let file = match self.create(disk, path) {
            // The base itself may have been removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.reopen_base()?;
                self.create(disk, path)?
            }
            other => other?,
        };
        torn::repair(&self.base, path, &file)?;
        let stat = file.metadata()?;
        let id = (stat.dev(), stat.ino());
        let written = if stat.len() == 0 { now.wall } else { written(&stat) };
        let (file, looked, len) = (Arc::new(file), now.steady, stat.len());
        Ok(Open { file, len, id, dirty: false, written, used: 0, looked, rotate_not_before: None })
    }

    fn create(&mut self, disk: &dyn Disk, path: &str) -> io::Result<File> {
        let (names, syncs) = (&mut self.new_names, self.syncs);
        disk.create(&self.base, path, &mut |dir| {
            if syncs {
                names.insert(dir.to_owned());
            }
        })
    }

    fn is_named(&self, path: &str, open: &mut Open, now: Instant) -> bool {
        if now.saturating_duration_since(open.looked) < LOOK_EVERY {
            return true;
        }
        open.looked = now;
        self.base.identity(path).is_ok_and(|id| id == open.id)
    }

    /// Puts a file back, and closes the one used least recently if they are too many.
    pub(super) fn put(&mut self, path: &Arc<str>, mut open: Open) {
        self.turn += 1;
        open.used = self.turn;
        while self.open.len() >= self.open_max.min(self.allowed.get() / 2).max(1) {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(path, _)| Arc::clone(path));
            let Some(open) = oldest.and_then(|path| self.open.remove(&path)) else { break };
            self.close(open);
        }
        self.open.insert(Arc::clone(path), open);
    }

    fn close(&mut self, open: Open) {
        if open.dirty && self.syncs {
            self.unsynced.push(open.file);
        }
    }

    /// Closes the file `path`, so that it is repaired when it is opened again.
    pub(super) fn close_one(&mut self, path: &str) {
        if let Some(open) = self.open.remove(path) {
            self.close(open);
        }
    }

    /// Closes all files and opens the base anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        for (_, open) in std::mem::take(&mut self.open) {
            self.close(open);
        }
        self.reopen_base()
    }

    fn reopen_base(&mut self) -> io::Result<()> {
        self.base = Arc::new(self.base.anew()?);
        Ok(())
    }

    /// Rotates the file `path`, which was taken out as `open`, and gives the new one. A file that cannot be rotated is
    /// given back, to be written on.
    pub(super) fn rotate(
        &mut self,
        disk: &dyn Disk,
        path: &Arc<str>,
        mut open: Open,
        now: Now,
    ) -> io::Result<Open> {
        if open.rotate_not_before.is_some_and(|not_before| now.steady < not_before) {
            return Ok(open);
        }
        match self.move_away(disk, path, now.wall) {
            Ok(()) => {
                self.close(open);
                self.take(disk, path, now)
            }
            // Someone else has moved it away: that is as good.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.close(open);
                self.take(disk, path, now)
            }
            Err(error) => {
                tracing::warn!("file {path} could not be rotated and grows on: {error}");
                open.rotate_not_before = Some(now.steady + ROTATE_AGAIN);
                Ok(open)
            }
        }
    }

    /// Rotates the open files whose period is over, and the file `also` if it is there; how many is the result.
    pub(super) fn rotate_due(
        &mut self,
        disk: &dyn Disk,
        config: &RotateConfig,
        also: Option<&str>,
        now: Now,
    ) -> usize {
        let is_due = |len: u64, written| len > 0 && config.is_over(written, now.wall);
        let mut due: Vec<Arc<str>> = Vec::new();
        for (path, open) in &self.open {
            if is_due(open.file.metadata().map_or(0, |stat| stat.len()), open.written) {
                due.push(Arc::clone(path));
            }
        }
        if let Some(path) = also.filter(|path| !self.open.contains_key(*path))
            && let Ok(stat) = self.base.find(path).and_then(|file| file.metadata())
            && is_due(stat.len(), written(&stat))
        {
            due.push(path.into());
        }
        due.retain(|path| self.retire(disk, path, now.wall));
        due.len()
    }

    /// Closes and rotates the file `path`, to which nothing more is expected; whether that worked is the result.
    pub(super) fn retire(&mut self, disk: &dyn Disk, path: &str, now: UnixNanos) -> bool {
        match self.move_away(disk, path, now) {
            Ok(()) => {
                self.close_one(path);
                true
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    // Someone else has moved it away.
                    self.close_one(path);
                } else {
                    tracing::warn!("file {path} could not be rotated: {error}");
                }
                false
            }
        }
    }

    /// Gives the file `path` the name of a rotated one.
    fn move_away(&mut self, disk: &dyn Disk, path: &str, now: UnixNanos) -> io::Result<()> {
        let first = rotate::rotated_name(path, now, 0);
        let begin = if self.rotated.0 == first { self.rotated.1 + 1 } else { 0 };
        for number in begin..=rotate::NUMBER_MAX {
            let name = rotate::rotated_name(beneath::name(path), now, number);
            // Also what it will be called when it is compressed must be free: that comes into being before the plain
            // one goes, so looking at the plain one first leaves no gap between them.
            let mut taken = false;
            for compress in [rotate::Compress::None, rotate::Compress::Gzip, rotate::Compress::Zstd] {
                taken |= self.base.has(&beneath::sibling(path, &format!("{name}{}", compress.suffix())))?;
            }
            if taken {
                continue;
            }
            match disk.rename(&self.base, path, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.rotated = (first, number);
                    if self.syncs {
                        self.new_names.insert(beneath::parent(path).to_owned());
                    }
                    return Ok(());
                }
            }
        }
        Err(io::Error::other("it was rotated too often within a second"))
    }

    /// Cuts the file `path` back to `before` bytes if it is the one known as `id` and has `len` bytes now. An error
    /// says that it was left as it is.
    pub(super) fn cut(
        &self,
        disk: &dyn Disk,
        path: &str,
        id: (u64, u64),
        len: u64,
        before: u64,
    ) -> io::Result<()> {
        let found;
        let file: &File = match self.open.get(path) {
            Some(open) => &open.file,
            None => {
                found = self.base.find(path)?;
                &found
            }
        };
        let stat = file.metadata()?;
        if (stat.dev(), stat.ino()) != id || stat.len() != len {
            return Err(io::Error::other("someone else changed the file meanwhile"));
        }
        disk.truncate(file, before)
    }

    /// Whether more waits to be synced than should.
    pub(super) fn is_overdue(&self) -> bool {
        let most = self.allowed.get() / 4;
        self.unsynced.len() > UNSYNCED_MAX.min(most) || self.new_names.len() > DIRS_MAX.min(most)
    }

    /// What was written since this was last asked.
    pub(super) fn take_unsynced(&mut self) -> io::Result<Unsynced> {
        let mut dirs = Vec::new();
        for name in &self.new_names {
            match self.base.dir(name) {
                Ok(dir) => dirs.push((name.clone(), dir)),
                // Removed meanwhile: there is no name left to be kept.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.new_names.clear();
        let mut files = std::mem::take(&mut self.unsynced);
        for open in self.open.values_mut().filter(|open| open.dirty) {
            open.dirty = false;
            files.push(Arc::clone(&open.file));
        }
        Ok(Unsynced { files, dirs })
    }

    /// Remembers what could not be synced.
    pub(super) fn put_back(&mut self, unsynced: Unsynced) {
        self.unsynced.extend(unsynced.files);
        self.new_names.extend(unsynced.dirs.into_iter().map(|(name, _)| name));
    }
}

impl Unsynced {
    /// Makes it durable: contents, then names.
    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        self.files.iter().try_for_each(|file| disk.sync(file))?;
        self.dirs.iter().try_for_each(|(_, dir)| disk.sync_dir(dir))
    }
}

/// When the file was last written to.
pub(super) fn written(stat: &std::fs::Metadata) -> UnixNanos {
    stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec())
}
