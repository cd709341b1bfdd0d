//! How a file begins to be followed, or why it is not.

use super::ReadFrom;
use super::cursor::{Cursor, looks_binary};
use super::discover::{self, Opened};
use super::identity::{Age, FileId};
use super::progress::{Point, Progress};
use super::reader::{AWAY_LOOK, Reader};
use super::resume::resumed;
use super::tail::{Place, Tail, TailId, written};
use crate::checkpoint::{HEAD_MAX, Key, Start};
use crate::clock::unix_nanos;
use crate::labels::Stream;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Where a file begins to be read, and what it is remembered as.
pub(super) struct Begin {
    pub(super) cursor: Cursor,
    pub(super) key: Option<Key>,
    pub(super) origin: Arc<Path>,
}

impl Reader {
    pub(super) fn open_log(&mut self, path: &Path) -> Option<Opened> {
        if !self.make_room() {
            self.short.push_back(path.to_path_buf());
            return None;
        }
        self.open_now(path)
    }

    /// As `open_log`, whether or not more files may be open: a rotated file has no name it would be looked for by later.
    pub(super) fn open_now(&mut self, path: &Path) -> Option<Opened> {
        let opened = match discover::open(path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.refuse(path, &error);
                return None;
            }
        };
        if self.never.covers(path, &opened.meta) {
            self.skip(path, FileId::of(&opened.meta), "it is our own output");
            return None;
        }
        Some(opened)
    }

    pub(super) fn open_new(&mut self, path: &Path, now: Instant) {
        if let Some(opened) = self.open_log(path)
            && let Err(error) = self.begin(path, opened, now)
        {
            self.refuse(path, &error);
        }
    }

    /// Begins to follow a file that no tail knows.
    pub(super) fn begin(&mut self, path: &Path, opened: Opened, now: Instant) -> io::Result<()> {
        let mut known = self.positions.take_known(FileId::of(&opened.meta), &opened.file)?;
        if known.is_none() {
            known = self.positions.take_moved(path, &opened.file)?;
        }
        let begin = match known {
            Some((key, at)) => resumed(key, &at, &opened)?,
            None if self.is_copy(path, &opened)? => return Ok(()),
            None => {
                let cursor = self.first_cursor(&opened)?;
                Begin { cursor, key: None, origin: path.into() }
            }
        };
        if begin.cursor.read > 0 && begin.key.is_none() && starts_binary(&opened)? {
            self.skip(path, FileId::of(&opened.meta), "it is not text");
            return Ok(());
        }
        let age = Age::of(&opened.meta);
        let before = self.origins.get(path).copied();
        let between = before.map_or(Vec::new(), |before| self.between(path, before, &age));
        let id = self.adopt(path, opened, begin, now);
        let chain: Vec<_> =
            before.into_iter().chain(self.adopt_all(path, between, now)).chain([id]).collect();
        self.chain(&chain, now);
        let left = self.positions.left_at(path);
        if !self.is_first_scan && !left.is_empty() {
            // A file of the last run was here, and was not found before it was rotated: too many were open.
            let origin = Arc::from(path);
            self.find_rotated(&origin, left, now);
            self.chain_resumed(Some(path), now);
        }
        Ok(())
    }

    /// Where a file that was never read begins to be.
    pub(super) fn first_cursor(&self, opened: &Opened) -> io::Result<Cursor> {
        let first =
            self.is_first_scan && self.start == Start::First && self.settings.read_from == ReadFrom::End;
        let age = opened.meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        let old = self.settings.ignore_older.zip(age).is_some_and(|(limit, age)| age > limit);
        if first || old {
            Cursor::at_end(&opened.file, opened.meta.len())
        } else {
            Cursor::at_start(&opened.file)
        }
    }

    /// Makes a tail of an open file.
    pub(super) fn adopt(&mut self, path: &Path, opened: Opened, begin: Begin, now: Instant) -> TailId {
        let Begin { cursor, key, origin } = begin;
        let file = FileId::of(&opened.meta);
        let here = self.globs.wants(path);
        let stream = self.stream(&origin);
        let path: Arc<Path> = path.into();
        let point = Point { offset: cursor.read, edge: cursor.edge, tail_crc: cursor.before.crc() };
        let mut tail = Tail {
            path: Arc::clone(&path),
            origin: Arc::clone(&origin),
            stream,
            id: file,
            age: Age::of(&opened.meta),
            file: Some(opened.file),
            cursor,
            progress: Progress::new(point),
            generation: 0,
            key: Key::NONE,
            size: opened.meta.len(),
            written: written(&opened.meta),
            seen: None,
            place: if here { Place::Here } else { Place::Away(now) },
            queued: false,
            waits: false,
            next: None,
            parked: false,
            paused: None,
            partial: None,
            whole: false,
            timer: None,
            need: 0,
            unread_since: None,
            used: self.turns,
            scan: self.scans,
            dirty: false,
            failed: false,
        };
        let position = tail.position(unix_nanos());
        tail.key = match key {
            Some(key) => {
                self.checkpoint.set(key, position);
                key
            }
            None => self.checkpoint.add(&self.name, position),
        };
        self.open_count += 1;
        let id = self.tails.add(tail);
        self.by_inode.insert(file, id);
        if here {
            if opened.link {
                self.watch.add_link(&path);
            }
            if path == origin || !self.origins.contains_key(&origin) {
                self.origins.insert(origin, id);
            }
            self.by_path.insert(path, id);
        } else {
            self.set_timer(id, now + AWAY_LOOK);
        }
        self.make_ready(id);
        id
    }

    /// The stream of this origin: the one its files had before, if there were any.
    pub(super) fn stream(&self, origin: &Arc<Path>) -> Arc<Stream> {
        let known = self.origins.get(origin).and_then(|id| self.tails.get(*id));
        let known = known.filter(|tail| tail.origin == *origin);
        known.map_or_else(
            || {
                let labels = self.settings.labels.clone();
                let text = origin.to_string_lossy();
                Arc::new(Stream::new(self.settings.source, Arc::clone(&self.name), "file", text, labels))
            },
            |tail| Arc::clone(&tail.stream),
        )
    }

    /// Lets each of these wait for the one before it. All belong to one stream, oldest first.
    pub(super) fn chain(&mut self, ids: &[TailId], now: Instant) {
        for pair in ids.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let Some(tail) = self.tails.get_mut(before) else { continue };
            if tail.file.is_none() {
                // It rests, read to its end, or is lost: nothing to wait for. Its successor is there: it can go.
                self.finish(before, now);
                continue;
            }
            // What was written to it since it was last read comes first.
            (tail.next, tail.seen) = (Some(after), None);
            self.make_ready(before);
            if let Some(tail) = self.tails.get_mut(after) {
                tail.waits = true;
            }
        }
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
        let limit = self.settings.open_files.max(1);
        if self.open_count < limit {
            return true;
        }
        let resting = self.tails.iter().filter(|(_, tail)| tail.may_rest());
        let mut resting: Vec<_> = resting.map(|(id, tail)| (tail.used, id)).collect();
        resting.sort_unstable();
        // Several more than needed: looking for them costs a walk over all files.
        let count = self.open_count - limit + limit.div_ceil(8);
        for (_, id) in resting.into_iter().take(count) {
            if let Some(tail) = self.tails.get_mut(id) {
                tail.file = None;
                self.open_count -= 1;
            }
        }
        self.open_count < limit
    }

    /// Opens files that had to wait for others to be closed.
    pub(super) fn open_short(&mut self, now: Instant) {
        if self.short.is_empty() || !std::mem::take(&mut self.room_again) {
            return;
        }
        while self.make_room()
            && let Some(path) = self.short.pop_front()
        {
            self.look_at(&path, now);
        }
    }
}

fn starts_binary(opened: &Opened) -> io::Result<bool> {
    let mut bytes = [0; HEAD_MAX];
    let n = crate::storage_io::read_full_at(&opened.file, &mut bytes, 0)?;
    Ok(looks_binary(&bytes[..n]))
}
