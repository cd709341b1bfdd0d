//! Files that were renamed: what is left of them is read before what came after them.

use super::cursor::Cursor;
use super::discover::{Opened, is_unpackable};
use super::follow::Begin;
use super::identity::{Age, FileId};
use super::reader::{AWAY_LOOK, Reader};
use super::tail::{Place, TailId};
use super::unpack;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

impl Reader {
    /// The file is no longer at its path.
    pub(super) fn away(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let path = Arc::clone(&tail.path);
        (tail.place, tail.seen) = (Place::Away(now), None);
        self.inlet.ledger().files_rotated.add(1);
        if self.by_path.get(&path) == Some(&id) {
            self.by_path.remove(&path);
        }
        if tail.file.is_none() {
            // It was closed to make room. What was written to it before it was renamed is found by the rotated name.
            let reached = tail.reached();
            match self.find(&path, &reached) {
                Some((path, opened)) => {
                    let file = FileId::of(&opened.meta);
                    if let Some(tail) = self.tails.get_mut(id) {
                        self.by_inode.remove(&tail.id);
                        // It may be a copy: then its number is another.
                        (tail.path, tail.id) = (path.into(), file);
                        (tail.is_packed, tail.unpacking) = (opened.packed.is_some(), opened.packed);
                        self.by_inode.insert(file, id);
                        match tail.set_file(opened.file) {
                            Ok(()) => self.open_count += 1,
                            Err(error) => tracing::warn!(
                                "source {}: {} cannot be read again: {error}",
                                self.name,
                                tail.path.display()
                            ),
                        }
                    }
                }
                None => return self.finish(id, now),
            }
        }
        self.make_ready(id);
        self.set_timer(id, now + AWAY_LOOK);
    }

    pub(super) fn adopt_all(
        &mut self,
        origin: &Path,
        files: Vec<(PathBuf, Age)>,
        now: Instant,
    ) -> Vec<TailId> {
        let mut ids = Vec::new();
        for (path, _) in files {
            self.make_room();
            if let Some(opened) = self.open_rotated(&path)
                && let Ok(cursor) = Cursor::at_start(&opened.file)
            {
                let begin = Begin { cursor, key: None, origin: origin.into() };
                ids.push(self.adopt_rotated(&path, opened, begin, now));
            }
        }
        ids
    }

    /// Opens a rotated file that was never read.
    fn open_rotated(&mut self, path: &Path) -> Option<Opened> {
        if !is_unpackable(path) {
            return self.open_now(path);
        }
        let opened = unpack::open(path, None, &self.settings.scratch);
        opened.inspect_err(|error| self.refuse(path, error)).ok().flatten()
    }

    /// As `adopt`, for a file that is not the newest of its stream.
    pub(super) fn adopt_rotated(
        &mut self,
        path: &Path,
        opened: Opened,
        begin: Begin,
        now: Instant,
    ) -> TailId {
        let origin = Arc::clone(&begin.origin);
        let newest = self.origins.get(&origin).copied();
        let id = self.adopt(path, opened, begin, now);
        match newest {
            Some(newest) => drop(self.origins.insert(origin, newest)),
            None => drop(self.origins.entry(origin).or_insert(id)),
        }
        id
    }
}
