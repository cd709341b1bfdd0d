//! The end of a file: read to its end, given up, or refused from the start; and room for open files.

use super::cursor::Flush;
use super::identity::{Age, FileId};
use super::reader::Reader;
use super::tail::{Partial, Place, Tail, TailId};
use crate::pool::Allowance;
use crate::sources::multiline::TIMEOUTS_MAX;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

/// How many finished files are remembered, so that a later rotation of them is not taken for a new file.
const FINISHED_MAX: usize = 1024;

impl Reader {
    /// The file was read to its end as it is now.
    pub(super) fn drained(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.flush = Flush::None;
        let (begin, len) = (tail.cursor.read, tail.cursor.partial);
        // An event that may go on waits for a line, an incomplete line for its end.
        let (timeout, latest) = match &self.settings.multiline {
            Some(rules) if tail.cursor.has_event() => (rules.timeout, now + rules.timeout * TIMEOUTS_MAX),
            _ => (self.settings.partial_timeout, now + self.settings.partial_timeout * TIMEOUTS_MAX),
        };
        match tail.partial {
            _ if len == 0 => (tail.partial, tail.unread_since) = (None, None),
            Some(known) if (known.begin, known.len) == (begin, len) => {}
            known => {
                let same = known.filter(|known| known.begin == begin && tail.cursor.has_event());
                let latest = same.map_or(latest, |known| known.latest);
                let until = (now + timeout).min(latest);
                tail.partial = Some(Partial { begin, len, until, latest });
                self.set_timer(id, until);
            }
        }
        let Some(tail) = self.tails.get_mut(id) else { return };
        // A piece of a line at the old file's end comes before the new file too, once it is clear that no more follows.
        if len == 0 {
            let next = tail.next.take();
            self.release(next);
        }
        self.room_may_be();
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
                self.open_count -= 1;
                self.room_may_be();
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
            tail.flush = Flush::All;
            self.make_ready(id);
        }
    }

    /// Takes the tail out of all tables.
    pub(super) fn remove(&mut self, id: TailId) -> Option<Box<Tail>> {
        let mut tail = self.tails.remove(id)?;
        self.open_count -= usize::from(tail.file.is_some());
        self.room_may_be();
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

    // --- what is not read

    pub(super) fn skip_binary(&mut self, id: TailId) {
        if let Some(tail) = self.remove(id) {
            self.checkpoint.forget(tail.key);
            self.skip(&tail.path, tail.id, "it is not text");
        }
    }

    pub(super) fn skip(&mut self, path: &Path, file: FileId, why: &str) {
        if self.skipped.insert(file, self.scans).is_none() {
            tracing::info!("source {}: {} is not read: {why}", self.name, path.display());
        }
    }

    pub(super) fn refuse(&mut self, path: &Path, error: &io::Error) {
        if self.refused.insert(path.to_path_buf(), self.scans).is_none() && self.refused.len() == 1 {
            let (name, path, rescan) = (&self.name, path.display(), self.settings.rescan);
            tracing::warn!("source {name}: {path} cannot be read, tried again every {rescan:?}: {error}");
        }
    }

    pub(super) fn report_refused(&self, before: usize) {
        let now = self.refused.len();
        if now > before && now > 1 {
            tracing::warn!("source {}: {now} files cannot be read", self.name);
        }
    }

    // --- room for open files

    /// Makes sure that one more file may be open, by closing files that were read to their end, longest unused first.
    pub(super) fn make_room(&mut self) -> bool {
        let limit = self.open_max;
        if self.open_count < limit || self.nothing_rests {
            return self.open_count < limit;
        }
        // Several more than needed: looking for them costs a walk over all files.
        self.rest(self.open_count - limit + limit.div_ceil(8));
        // Until something happens asking again would only cost another walk.
        self.nothing_rests = self.open_count >= limit;
        self.open_count < limit
    }

    /// Closes up to `count` files that were read to their end and of which everything is settled.
    fn rest(&mut self, count: usize) {
        self.close_first(count, Tail::may_rest);
    }

    /// Closes up to `count` files that can be closed, longest unused first.
    fn close_first(&mut self, count: usize, can: impl Fn(&Tail) -> bool) {
        let resting = self.tails.iter().filter(|(_, tail)| can(tail));
        let mut resting: Vec<_> = resting.map(|(id, tail)| (tail.used, id)).collect();
        resting.sort_unstable();
        for (_, id) in resting.into_iter().take(count) {
            if let Some(tail) = self.tails.get_mut(id) {
                tail.file = None;
                self.open_count -= 1;
            }
        }
    }

    /// The system gives no more open files: some less than are open now are as many as there may be, for a while. Others
    /// than files need some, too.
    pub(super) fn out_of_files(&mut self, error: &io::Error) {
        let (name, open) = (&self.name, self.open_count);
        tracing::warn!("source {name}: no more than {open} files can be open, the others wait: {error}");
        self.open_max = self.most_open().min(open - open.div_ceil(8)).max(1);
        self.keep_to_limit();
    }

    fn most_open(&self) -> usize {
        open_max(self.settings.open_files, &self.settings.open)
    }

    /// The system may give more again, or less.
    pub(super) fn more_room(&mut self) {
        self.open_max = (2 * self.open_max).min(self.most_open());
        self.keep_to_limit();
    }

    /// Closes files that were read to their end while more are open than may be. Those with entries on their way come
    /// last, but the sink may be waiting for just this.
    pub(super) fn keep_to_limit(&mut self) {
        self.open_max = self.open_max.min(self.settings.open.get()).max(1);
        if self.open_count > self.open_max {
            self.rest(self.open_count - self.open_max);
            self.close_first(self.open_count.saturating_sub(self.open_max), Tail::is_quiet);
        }
    }

    /// Notes a file that cannot be opened yet, and which one it is: it may be rotated away meanwhile.
    pub(super) fn wait_for_room(&mut self, path: &Path) {
        if let Ok(meta) = path.metadata() {
            self.add_short(path, FileId::of(&meta));
        }
    }

    /// Notes it once.
    pub(super) fn add_short(&mut self, path: &Path, file: FileId) {
        if self.short_ids.insert(file) {
            self.short.push_back((path.to_path_buf(), file));
        }
    }

    /// A file was read to its end or closed: another may have its turn.
    pub(super) fn room_may_be(&mut self) {
        (self.room_again, self.nothing_rests) = (true, false);
    }

    /// A file had to wait for room to be opened. If another is at its path by now, it is looked for.
    pub(super) fn look_after(&mut self, path: &Path, file: FileId, now: Instant) {
        let there = path.metadata().map(|meta| FileId::of(&meta)).ok();
        let known = self.by_inode.contains_key(&file) || self.skipped.contains_key(&file);
        if there != Some(file) && !known && !self.finished.contains(&file) {
            let rotated = self.rotations(path).into_iter().find(|(_, meta)| FileId::of(meta) == file);
            match rotated {
                Some((rotated, meta)) => {
                    let age = Age::of(&meta);
                    let before = self.origins.get(path).copied();
                    // Others may have come and gone before it, and what is being read comes first in any case.
                    let mut waited = before.map_or(Vec::new(), |before| self.between(path, before, &age));
                    if !waited.iter().any(|(path, _)| *path == rotated) {
                        waited.push((rotated, age));
                    }
                    let ids: Vec<_> = before.into_iter().chain(self.adopt_all(path, waited, now)).collect();
                    if let Some(id) = ids.last() {
                        self.origins.insert(path.into(), *id);
                    }
                    self.chain(&ids, now);
                }
                None => self.vanished(path, "it was not opened in time, too many files were open"),
            }
        }
    }

    /// Says and counts that a file cannot be read to its end.
    pub(super) fn vanished(&self, path: &Path, why: &str) {
        self.inlet.ledger().files_vanished.add(1);
        tracing::warn!("source {}: {} is not read to its end: {why}", self.name, path.display());
    }

    /// Opens files that had to wait for others to be closed.
    pub(super) fn open_short(&mut self, now: Instant) {
        if self.short.is_empty() || !std::mem::take(&mut self.room_again) {
            return;
        }
        while self.make_room()
            && let Some((path, file)) = self.short.pop_front()
        {
            self.short_ids.remove(&file);
            self.look_after(&path, file, now);
            self.look_at(&path, now);
        }
    }
}

/// Whether the system has no room for one more open file.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// How many files may be open if `wanted` were asked for: sockets, sinks and checkpoints need some, too.
pub(super) fn open_max(wanted: usize, allowed: &Allowance) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    match allowed.get() {
        // Shared out already, the rest is kept for others.
        shared if shared < usize::MAX => wanted.min(shared).max(1),
        _ => wanted.min(limit.saturating_sub(256).max(limit / 2)).max(1),
    }
}
