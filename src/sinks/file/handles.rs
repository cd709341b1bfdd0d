//! The files a sink has open, and what of them is not yet durable.

use super::beneath::Base;
use super::torn;
use super::write::Disk;
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
/// Most directories that wait to be synced.
const DIRS_MAX: usize = 256;

/// An open file that ends in a whole line.
pub(super) struct Open {
    pub file: Arc<File>,
    /// Its length when it was last asked.
    pub len: u64,
    /// Device and inode.
    pub id: (u64, u64),
    /// Written since it was last synced.
    pub dirty: bool,
    used: u64,
    looked: Instant,
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
    base: Base,
    open: HashMap<Arc<str>, Open>,
    open_max: usize,
    /// Counts uses, to find the file that was used least recently.
    turn: u64,
    /// Whether anyone will ask for what is unsynced.
    syncs: bool,
    unsynced: Vec<Arc<File>>,
    new_names: BTreeSet<String>,
}

impl Handles {
    pub(super) fn new(base: Base, open_max: usize, syncs: bool) -> Self {
        Handles {
            base,
            open: HashMap::new(),
            open_max: open_max.max(1),
            turn: 0,
            syncs,
            unsynced: Vec::new(),
            new_names: BTreeSet::new(),
        }
    }

    /// Takes the file `path` out, opened if need be, to be put back when it was written to.
    pub(super) fn take(&mut self, path: &Arc<str>, now: Instant) -> io::Result<Open> {
        if let Some(mut open) = self.open.remove(path) {
            let stat = open.file.metadata()?;
            if stat.nlink() > 0 && self.is_named(path, &mut open, now) {
                open.len = stat.len();
                return Ok(open);
            }
            // Moved away or removed: what we wrote is in the old file, what comes goes to a new one.
            self.close(open);
        }
        let file = match self.create(path) {
            // The base itself may have been removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.base.reopen()?;
                self.create(path)?
            }
            other => other?,
        };
        torn::repair(&self.base, path, &file)?;
        let stat = file.metadata()?;
        let id = (stat.dev(), stat.ino());
        Ok(Open { file: Arc::new(file), len: stat.len(), id, dirty: false, used: 0, looked: now })
    }

    fn create(&mut self, path: &str) -> io::Result<File> {
        let (names, syncs) = (&mut self.new_names, self.syncs);
        self.base.create(path, &mut |dir| {
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
        if self.open.len() >= self.open_max {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(path, _)| Arc::clone(path));
            if let Some(open) = oldest.and_then(|path| self.open.remove(&path)) {
                self.close(open);
            }
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
        self.base.reopen()
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
        self.unsynced.len() > UNSYNCED_MAX || self.new_names.len() > DIRS_MAX
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
        self.dirs.iter().try_for_each(|(_, dir)| dir.sync_all())
    }
}
