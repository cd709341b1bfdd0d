//! Which file is which, from when it is found until it is let go.
//!
//! Whatever happened, it is told by looking (`stat`, the first bytes, the bytes before the cursor), never by believing
//! an event: events only say where to look. Files that follow each other at one path form a chain, and each is read to
//! its end before the next begins.
//!
//! Not here: how a file begins to be followed (see `opening`), what rotations leave behind (see `rotation`), and how the
//! files of the last run are found again (see `resume`).

use super::discover::{self, Found};
use super::identity::{Age, FileId, agrees};
use super::reader::{AWAY_LOOK, Reader};
use super::tail::{Place, Tail, TailId};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How many finished files are remembered, so that a later rotation of them is not taken for a new file.
const FINISHED_MAX: usize = 1024;

impl Reader {
    /// Looks everywhere.
    pub(super) fn scan(&mut self, now: Instant) {
        self.scans += 1;
        self.never.refresh();
        // Whatever waits for room is looked at again now.
        self.short.clear();
        let mut files = Vec::new();
        let (globs, watch) = (&self.globs, &mut self.watch);
        // A directory is watched before it is listed: what comes in between is found twice, not never.
        globs.walk(&mut |found| match found {
            Found::Dir(dir) => watch.add_dir(dir),
            Found::File(path) => files.push(path.to_path_buf()),
        });
        let refused_before = self.refused.len();
        if self.scans == 1 {
            self.is_first_scan = true;
            self.first_scan(files, now);
            self.is_first_scan = false;
        } else {
            files.iter().for_each(|path| self.look_at(path, now));
        }
        self.look_for_gone(now);
        self.report_refused(refused_before);
    }

    pub(super) fn look_for_gone(&mut self, now: Instant) {
        let scan = self.scans;
        let unseen = |(_, tail): &(TailId, &Tail)| tail.place == Place::Here && tail.scan != scan;
        let gone: Vec<_> = self.tails.iter().filter(unseen).map(|(_, tail)| Arc::clone(&tail.path)).collect();
        gone.iter().for_each(|path| self.look_at(path, now));
        self.skipped.retain(|_, seen| *seen == scan);
        self.refused.retain(|_, seen| *seen == scan);
        self.look_behind(now);
        // What could not be read on is tried again.
        let failed: Vec<_> = self.tails.iter().filter(|(_, tail)| tail.failed).map(|(id, _)| id).collect();
        failed.into_iter().for_each(|id| self.make_ready(id));
    }

    /// Looks for files that came and were rotated away again before we opened them, where nothing came after them.
    pub(super) fn look_behind(&mut self, now: Instant) {
        let is_away =
            |id: &TailId| self.tails.get(*id).is_some_and(|tail| matches!(tail.place, Place::Away(_)));
        let away: Vec<_> =
            self.origins.iter().filter(|(_, id)| is_away(id)).map(|(at, id)| (Arc::clone(at), *id)).collect();
        for (origin, newest) in away {
            let unread = self.between(&origin, newest, &Age::seen_at(i64::MAX));
            let chain: Vec<_> = [newest].into_iter().chain(self.adopt_all(&origin, unread, now)).collect();
            if let Some(last) = chain.last() {
                self.origins.insert(origin, *last);
            }
            self.chain(&chain, now);
        }
    }

    /// Looks what is at a path now.
    pub(super) fn look_at(&mut self, path: &Path, now: Instant) {
        let meta = match path.metadata() {
            Ok(meta) => meta,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.refuse(path, &error);
                } else if let Some(id) = self.by_path.get(path) {
                    self.away(*id, now);
                }
                return;
            }
        };
        let file = FileId::of(&meta);
        if let Some(id) = self.by_path.get(path).copied() {
            let scan = self.scans;
            let same = self.tails.get_mut(id).filter(|tail| tail.id == file);
            if let Some(tail) = same {
                tail.scan = scan;
                if tail.has_news(&meta) {
                    self.make_ready(id);
                    self.heard.push(id);
                }
                return;
            }
            self.away(id, now);
        }
        let skipped = self.skipped.get_mut(&file).map(|seen| *seen = self.scans).is_some();
        if skipped || !meta.is_file() || !self.globs.wants(path) {
            return;
        }
        match self.by_inode.get(&file).copied() {
            Some(id) if self.is_still(id, path) => self.moved(id, path, file),
            _ => self.open_new(path, now),
        }
    }

    /// Whether the tail is what is at this path now, though it was known by another. A tail whose file is open is: the
    /// number cannot be given to another file meanwhile. One at rest is asked for its content.
    pub(super) fn is_still(&mut self, id: TailId, path: &Path) -> bool {
        let Some(tail) = self.tails.get(id) else { return false };
        let same = tail.file.is_some()
            || discover::open(path)
                .is_ok_and(|opened| agrees(&opened.file, &tail.reached()).unwrap_or(false));
        if !same && let Some(tail) = self.remove(id) {
            self.checkpoint.forget(tail.key);
        }
        same
    }

    /// The tail's file has this path now, or this one too.
    pub(super) fn moved(&mut self, id: TailId, path: &Path, file: FileId) {
        let scan = self.scans;
        let Some(tail) = self.tails.get_mut(id) else { return };
        if tail.place == Place::Here {
            if tail.path.metadata().is_ok_and(|meta| FileId::of(&meta) == file) {
                return; // A hard link: it is read once, by the path it was found at first.
            }
            self.by_path.remove(&tail.path);
        }
        (tail.path, tail.place, tail.scan) = (path.into(), Place::Here, scan);
        self.by_path.insert(path.into(), id);
        self.make_ready(id);
    }

    /// The file is no longer at its path.
    pub(super) fn away(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let path = Arc::clone(&tail.path);
        (tail.place, tail.seen) = (Place::Away(now), None);
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
                        (tail.path, tail.file, tail.id) = (path.into(), Some(opened.file), file);
                        self.by_inode.insert(file, id);
                        self.open_count += 1;
                    }
                }
                None => return self.finish(id, now),
            }
        }
        self.make_ready(id);
        self.set_timer(id, now + AWAY_LOOK);
    }

    // --- reading to the end, and the end

    /// The file was read to its end as it is now.
    pub(super) fn drained(&mut self, id: TailId, now: Instant) {
        let timeout = self.settings.partial_timeout;
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.whole = false;
        let len = tail.cursor.partial;
        match tail.partial {
            _ if len == 0 => (tail.partial, tail.unread_since) = (None, None),
            Some((known, _)) if known == len => {}
            _ => {
                tail.partial = Some((len, now + timeout));
                self.set_timer(id, now + timeout);
            }
        }
        let Some(tail) = self.tails.get_mut(id) else { return };
        // A piece of a line at the old file's end comes before the new file too, once it is clear that no more follows.
        if len == 0 {
            let next = tail.next.take();
            self.release(next);
        }
        self.room_again = true;
        self.finish(id, now);
    }

    pub(super) fn release(&mut self, next: Option<TailId>) {
        if let Some(id) = next {
            if let Some(tail) = self.tails.get_mut(id) {
                tail.waits = false;
            }
            self.make_ready(id);
        }
    }

    /// Lets go of a file that was renamed or deleted, if everything is done for it.
    pub(super) fn finish(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get(id) else { return };
        let Place::Away(since) = tail.place else { return };
        let waited = now >= since + self.settings.rotate_wait;
        let read = tail.seen.is_some() && tail.cursor.partial == 0;
        if tail.file.is_some() && !(waited && read && tail.progress.is_settled() && tail.next.is_none()) {
            if waited && tail.cursor.partial > 0 && tail.seen.is_some() {
                self.give_up_waiting(id);
            }
            return;
        }
        let deleted =
            tail.file.as_ref().is_none_or(|file| file.metadata().is_ok_and(|meta| meta.nlink() == 0));
        let newest = self.origins.get(&tail.origin) == Some(&id);
        if newest && !deleted {
            // Renamed, and nothing has taken its place yet. What does will want to know what came before it, now or
            // after a restart.
            let key = tail.key;
            if let Some(tail) = self.tails.get_mut(id)
                && tail.file.take().is_some()
            {
                (self.open_count, self.room_again) = (self.open_count - 1, true);
            }
            self.checkpoint.release(key);
            return;
        }
        if let Some(tail) = self.remove(id) {
            self.checkpoint.forget(tail.key);
            self.finished.push_back(tail.id);
            if self.finished.len() > FINISHED_MAX {
                self.finished.pop_front();
            }
        }
    }

    /// The incomplete last line of a file that was rotated away goes out as it is.
    pub(super) fn give_up_waiting(&mut self, id: TailId) {
        if let Some(tail) = self.tails.get_mut(id) {
            tail.whole = true;
            self.make_ready(id);
        }
    }

    /// Takes the tail out of all tables.
    pub(super) fn remove(&mut self, id: TailId) -> Option<Box<Tail>> {
        let mut tail = self.tails.remove(id)?;
        self.open_count -= usize::from(tail.file.is_some());
        self.room_again = true;
        let forget = |at: &mut TailId| *at == id;
        if self.by_inode.get_mut(&tail.id).is_some_and(forget) {
            self.by_inode.remove(&tail.id);
        }
        if self.by_path.get_mut(&tail.path).is_some_and(forget) {
            self.by_path.remove(&tail.path);
        }
        if self.origins.get_mut(&tail.origin).is_some_and(forget) {
            self.origins.remove(&tail.origin);
        }
        let next = tail.next.take();
        self.release(next);
        Some(tail)
    }
}
