//! Which file is which: finding, opening, and following files through rotation, truncation and deletion.
//!
//! Whatever happened, it is told by looking (`stat`, the first bytes, the bytes before the cursor), never by believing
//! an event: events only say where to look. Files that follow each other at one path form a chain, and each is read to
//! its end before the next begins.

use super::ReadFrom;
use super::cursor::{Cursor, looks_binary};
use super::discover::{
    self, Found, Opened, is_compressed, is_numbered, rotated_from, rotation_rank, rotations,
};
use super::identity::{Age, Before, FileId, HEAD_ENOUGH, HEAD_ENOUGH_FRESH, Head, agrees};
use super::progress::{Point, Progress};
use super::reader::{AWAY_LOOK, Reader};
use super::tail::{Place, Tail, TailId, written};
use crate::checkpoint::{HEAD_MAX, Key, Position, Start, TAIL_MAX};
use crate::clock::unix_nanos;
use crate::labels::Stream;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// How many finished files are remembered, so that a later rotation of them is not taken for a new file.
const FINISHED_MAX: usize = 1024;

/// Where a file begins to be read, and what it is remembered as.
struct Begin {
    cursor: Cursor,
    key: Option<Key>,
    origin: Arc<Path>,
}

impl Reader {
    /// Looks everywhere.
    pub(super) fn scan(&mut self, now: Instant) {
        self.scans += 1;
        self.never.refresh();
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

    fn look_for_gone(&mut self, now: Instant) {
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
    fn look_behind(&mut self, now: Instant) {
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
    fn is_still(&mut self, id: TailId, path: &Path) -> bool {
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
    fn moved(&mut self, id: TailId, path: &Path, file: FileId) {
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

    // --- opening

    fn open_log(&mut self, path: &Path) -> Option<Opened> {
        if !self.make_room() {
            self.short.push_back(path.to_path_buf());
            return None;
        }
        self.open_now(path)
    }

    /// As `open_log`, whether or not more files may be open: a rotated file has no name it would be looked for by later.
    fn open_now(&mut self, path: &Path) -> Option<Opened> {
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

    fn open_new(&mut self, path: &Path, now: Instant) {
        if let Some(opened) = self.open_log(path)
            && let Err(error) = self.begin(path, opened, now)
        {
            self.refuse(path, &error);
        }
    }

    /// Begins to follow a file that no tail knows.
    fn begin(&mut self, path: &Path, opened: Opened, now: Instant) -> io::Result<()> {
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
    fn first_cursor(&self, opened: &Opened) -> io::Result<Cursor> {
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
    fn adopt(&mut self, path: &Path, opened: Opened, begin: Begin, now: Instant) -> TailId {
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
    fn stream(&self, origin: &Arc<Path>) -> Arc<Stream> {
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
    fn chain(&mut self, ids: &[TailId], now: Instant) {
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

    // --- rotation

    /// The file is no longer at its path.
    fn away(&mut self, id: TailId, now: Instant) {
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
                    if let Some(tail) = self.tails.get_mut(id) {
                        (tail.path, tail.file) = (path.into(), Some(opened.file));
                        self.open_count += 1;
                    }
                }
                None => return self.finish(id, now),
            }
        }
        self.make_ready(id);
        self.set_timer(id, now + AWAY_LOOK);
    }

    /// The file among the rotated names of `path` that `position` speaks of: by its number, or by its content.
    fn find(&self, path: &Path, position: &Position) -> Option<(PathBuf, Opened)> {
        let own = FileId { dev: position.dev, inode: position.inode };
        let mut files = rotations(path);
        files.retain(|(_, meta)| FileId::of(meta) == own || !self.by_inode.contains_key(&FileId::of(meta)));
        files.sort_by_key(|(_, meta)| FileId::of(meta) != own);
        files.into_iter().find_map(|(path, meta)| {
            // A short beginning is enough for a copy that was made since the file was last looked at.
            let least = if written(&meta) >= position.last_seen { HEAD_ENOUGH_FRESH } else { HEAD_ENOUGH };
            let may = FileId::of(&meta) == own || position.head_len >= least;
            let opened = may.then(|| discover::open(&path).ok()).flatten()?;
            agrees(&opened.file, position).ok()?.then_some((path, opened))
        })
    }

    /// Files that were made and rotated away between two that we know, oldest first: nobody has read them.
    fn between(&self, path: &Path, before: TailId, after: &Age) -> Vec<(PathBuf, Age)> {
        let Some(tail) = self.tails.get(before) else { return Vec::new() };
        self.unread_since(path, &tail.age, Some(tail.id), after)
    }

    /// Files under rotated names of `path` that are newer than a file of the age `before` and not newer than `after`.
    /// Where the clock cannot tell, the names do, if that file has one of them.
    fn unread_since(
        &self,
        path: &Path,
        before: &Age,
        before_id: Option<FileId>,
        after: &Age,
    ) -> Vec<(PathBuf, Age)> {
        let name = path.file_name().unwrap_or_default();
        let rank = |rotated: &Path| rotation_rank(rotated, path);
        let mut unread = rotations(path);
        let before_rank = unread.iter().find(|(_, meta)| Some(FileId::of(meta)) == before_id);
        let before_rank = before_rank.map(|(before, _)| rank(before));
        let is_unread = |(rotated, meta): &(PathBuf, Metadata)| {
            let (own, id, age) = (rotated.file_name().unwrap_or_default(), FileId::of(meta), Age::of(meta));
            let known = self.by_inode.contains_key(&id) || self.finished.contains(&id);
            let newer = match age.compare(before) {
                Ordering::Equal => before_rank.as_ref().is_none_or(|before| rank(rotated) > *before),
                order => order == Ordering::Greater,
            };
            newer
                && !known
                && is_numbered(own, name)
                && !is_compressed(own)
                && age.compare(after) != Ordering::Greater
        };
        unread.retain(is_unread);
        let mut unread: Vec<_> = unread.into_iter().map(|(path, meta)| (path, Age::of(&meta))).collect();
        unread.sort_by_cached_key(|(path, age)| (age.order(), rank(path)));
        unread
    }

    fn adopt_all(&mut self, origin: &Path, files: Vec<(PathBuf, Age)>, now: Instant) -> Vec<TailId> {
        let mut ids = Vec::new();
        for (path, _) in files {
            self.make_room();
            if let Some(opened) = self.open_now(&path)
                && let Ok(cursor) = Cursor::at_start(&opened.file)
            {
                let begin = Begin { cursor, key: None, origin: origin.into() };
                ids.push(self.adopt_rotated(&path, opened, begin, now));
            }
        }
        ids
    }

    /// As `adopt`, for a file that is not the newest of its stream.
    fn adopt_rotated(&mut self, path: &Path, opened: Opened, begin: Begin, now: Instant) -> TailId {
        let origin = Arc::clone(&begin.origin);
        let newest = self.origins.get(&origin).copied();
        let id = self.adopt(path, opened, begin, now);
        match newest {
            Some(newest) => drop(self.origins.insert(origin, newest)),
            None => drop(self.origins.entry(origin).or_insert(id)),
        }
        id
    }

    /// What the file held before the cursor is gone: it was cut, or written anew in place.
    pub(super) fn rewritten(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let (path, origin, place) = (Arc::clone(&tail.path), Arc::clone(&tail.origin), tail.place);
        let (file, reached, key) = (tail.file.take(), tail.reached(), tail.key);
        let (old, age) = (tail.id, tail.age);
        let copy = self.find(&path, &reached);
        let rest = copy
            .as_ref()
            .map_or(String::new(), |(path, _)| format!("; its rest is read from {}", path.display()));
        tracing::info!(
            "source {}: {} was rewritten and is read from its beginning{rest}",
            self.name,
            path.display()
        );
        self.by_inode.remove(&old);
        self.by_path.retain(|_, at| *at != id);
        let kept = copy.as_ref().map(|(_, opened)| (FileId::of(&opened.meta), Age::of(&opened.meta)));
        match copy {
            Some((path, opened)) => self.take_over(id, &path, opened, now),
            None => self.lose(id, key),
        }
        let (Some(file), Place::Here) = (file, place) else {
            self.open_count -= 1;
            return;
        };
        // `adopt` counts it again.
        self.open_count -= 1;
        let (Ok(meta), Ok(cursor)) = (file.metadata(), Cursor::at_start(&file)) else { return };
        let opened = Opened { file, meta, link: false };
        let begin = Begin { cursor, key: None, origin: Arc::clone(&origin) };
        let fresh = self.adopt(&path, opened, begin, now);
        if let Some(tail) = self.tails.get_mut(fresh) {
            // It is as old as it ever was, though it begins anew.
            tail.age = age;
        }
        if let Some((copy, age)) = kept {
            // Cut more than once since the last look: what was written in between is in copies of its own.
            let between = self.unread_since(&path, &age, Some(copy), &Age::seen_at(i64::MAX));
            let between = self.adopt_all(&origin, between, now);
            let chain: Vec<_> = [id].into_iter().chain(between).chain([fresh]).collect();
            self.chain(&chain, now);
        }
    }

    /// The tail goes on in a copy of what it had.
    fn take_over(&mut self, id: TailId, path: &Path, opened: Opened, now: Instant) {
        let here = self.globs.wants(path);
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.id = FileId::of(&opened.meta);
        (tail.path, tail.seen) = (path.into(), None);
        tail.note(&opened.meta);
        tail.place = if here { Place::Here } else { Place::Away(now) };
        tail.scan = self.scans;
        tail.file = Some(opened.file);
        let (key, position) = (tail.key, tail.position(unix_nanos()));
        self.open_count += 1;
        self.by_inode.insert(position_id(&position), id);
        if here {
            self.by_path.insert(path.into(), id);
        }
        self.checkpoint.set(key, position);
        self.make_ready(id);
        self.set_timer(id, now + AWAY_LOOK);
    }

    /// The tail's bytes are nowhere any more. It stays until what is on its way is settled.
    fn lose(&mut self, id: TailId, key: Key) {
        self.checkpoint.forget(key);
        let Some(tail) = self.tails.get_mut(id) else { return };
        (tail.place, tail.key) = (Place::Lost, Key::NONE);
        let (settled, next) = (tail.progress.is_settled(), tail.next.take());
        self.release(next);
        if settled {
            self.remove(id);
        }
    }

    /// Whether the file is, so far as it goes, a copy of the file that its name is a rotation of (or will be one soon:
    /// an empty file tells nothing). It is left alone until that file is cut (`copytruncate`); then its rest is read,
    /// and nothing of it twice.
    fn is_copy(&self, path: &Path, opened: &Opened) -> io::Result<bool> {
        let of = rotated_from(path).find_map(|of| self.tails.get(*self.by_path.get(of.as_path())?));
        let Some((tail, file)) = of.and_then(|tail| Some((tail, tail.file.as_ref()?))) else {
            return Ok(false);
        };
        if tail.cursor.head.len < HEAD_ENOUGH {
            return Ok(false);
        }
        let size = opened.meta.len();
        if size >= tail.cursor.read {
            return agrees(&opened.file, &tail.reached());
        }
        let head = size.min(HEAD_MAX as u64);
        let last = size.saturating_sub(TAIL_MAX as u64) + size.min(TAIL_MAX as u64);
        Ok(Head::read(&opened.file, head)? == Head::read(file, head)?
            && Before::read(&opened.file, last)?.bytes() == Before::read(file, last)?.bytes())
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

    fn release(&mut self, next: Option<TailId>) {
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
    fn give_up_waiting(&mut self, id: TailId) {
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

    // --- what is not read

    pub(super) fn skip_binary(&mut self, id: TailId) {
        if let Some(tail) = self.remove(id) {
            self.checkpoint.forget(tail.key);
            self.skip(&tail.path, tail.id, "it is not text");
        }
    }

    fn skip(&mut self, path: &Path, file: FileId, why: &str) {
        if self.skipped.insert(file, self.scans).is_none() {
            tracing::info!("source {}: {} is not read: {why}", self.name, path.display());
        }
    }

    fn refuse(&mut self, path: &Path, error: &io::Error) {
        if self.refused.insert(path.to_path_buf(), self.scans).is_none() && self.refused.len() == 1 {
            let (name, path, rescan) = (&self.name, path.display(), self.settings.rescan);
            tracing::warn!("source {name}: {path} cannot be read, tried again every {rescan:?}: {error}");
        }
    }

    fn report_refused(&self, before: usize) {
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

    // --- the first scan

    /// Finds the files of the last run again, whatever they are called now, and puts them in order.
    fn first_scan(&mut self, files: Vec<PathBuf>, now: Instant) {
        // Those that are known by number first: what is left over must have been moved, copied or deleted.
        let rest: Vec<_> = files.into_iter().filter(|path| !self.resume(path, now)).collect();
        rest.iter().for_each(|path| self.look_at(path, now));
        let mut left: HashMap<Arc<Path>, Vec<(Key, Position)>> = HashMap::new();
        for (key, at) in self.positions.left() {
            left.entry(Arc::clone(&at.path)).or_default().push((key, at));
        }
        for (origin, positions) in left {
            self.find_rotated(&origin, positions, now);
        }
        self.chain_resumed(None, now);
    }

    /// Resumes the file at `path`, if its number and its content say that it is a known one.
    fn resume(&mut self, path: &Path, now: Instant) -> bool {
        let known = |meta: Metadata| self.positions.knows(FileId::of(&meta));
        if !path.metadata().is_ok_and(known) {
            return false;
        }
        let Some(opened) = self.open_log(path) else { return false };
        let id = FileId::of(&opened.meta);
        let Ok(Some((key, at))) = self.positions.take_known(id, &opened.file) else { return false };
        match resumed(key, &at, &opened) {
            Ok(begin) => drop(self.adopt(path, opened, begin, now)),
            Err(error) => self.refuse(path, &error),
        }
        true
    }

    /// Looks for files that were at `origin` when we left, and for those that were there while we were away.
    fn find_rotated(&mut self, origin: &Arc<Path>, positions: Vec<(Key, Position)>, now: Instant) {
        let seen = positions.iter().map(|(_, at)| at.last_seen).max().unwrap_or_default();
        let numbers: Vec<_> = positions.iter().map(|(_, at)| position_id(at)).collect();
        let mut newest = None;
        for (key, at) in positions {
            let found = self
                .find(origin, &at)
                .filter(|(_, opened)| !self.by_inode.contains_key(&FileId::of(&opened.meta)));
            let Some((path, opened)) = found else {
                self.not_found(origin, key, &at);
                continue;
            };
            let (age, id) = (Age::of(&opened.meta), FileId::of(&opened.meta));
            if let Ok(begin) = resumed(key, &at, &opened) {
                self.positions.remove(key);
                self.adopt_rotated(&path, opened, begin, now);
            }
            newest = newest.into_iter().chain([(age, id)]).max_by(|(a, _), (b, _)| a.compare(b));
        }
        let current = self.by_path.get(origin).and_then(|id| self.tails.get(*id));
        let resumed = current.is_some_and(|tail| tail.origin == *origin && tail.cursor.read > 0);
        if !resumed {
            // A file that was cut in place is older than the copies of what it held, and still comes last.
            let until = current.filter(|tail| !numbers.contains(&tail.id));
            let until = until.map_or(Age::seen_at(i64::MAX), |tail| tail.age);
            let (before, id) = newest.map_or((Age::seen_at(seen), None), |(age, id)| (age, Some(id)));
            let unread = self.unread_since(origin, &before, id, &until);
            self.adopt_all(origin, unread, now);
        }
    }

    fn not_found(&mut self, origin: &Path, key: Key, at: &Position) {
        if !self.by_path.contains_key(origin) {
            // Perhaps its directory is not there yet. It is remembered as long as there is room.
            return;
        }
        self.positions.remove(key);
        self.checkpoint.forget(key);
        let (name, path, offset) = (&self.name, origin.display(), at.offset);
        let compressed = rotations(origin).into_iter().find(|(path, meta)| {
            let written = Age::of(meta).compare(&Age::seen_at(at.last_seen)) != Ordering::Less;
            written && is_compressed(path.file_name().unwrap_or_default())
        });
        match compressed {
            Some((gz, _)) => tracing::warn!(
                "source {name}: {path} was rotated and compressed while we were away: what was written to it behind byte \
                 {offset} is not read (it may be in {})",
                gz.display()
            ),
            None => tracing::warn!(
                "source {name}: the file that was {path} is gone: what was written to it behind byte {offset} is not read"
            ),
        }
    }

    /// Puts resumed files in order, of one origin or of all: those that were rotated away before the one that is at their
    /// path now.
    fn chain_resumed(&mut self, only: Option<&Path>, now: Instant) {
        let mut chains: HashMap<Arc<Path>, Vec<_>> = HashMap::new();
        for (id, tail) in self.tails.iter().filter(|(_, tail)| tail.path != tail.origin) {
            if only.is_some_and(|only| *only != *tail.origin) {
                continue;
            }
            let order = (tail.age.order(), rotation_rank(&tail.path, &tail.origin));
            chains.entry(Arc::clone(&tail.origin)).or_default().push((order, id));
        }
        for (origin, mut ids) in chains {
            ids.sort_unstable();
            let newest = self.by_path.get(&origin).copied();
            let chain: Vec<_> = ids.into_iter().map(|(_, id)| id).chain(newest).collect();
            if let Some(last) = chain.last() {
                self.origins.insert(origin, *last);
            }
            self.share_stream(&chain);
            self.chain(&chain, now);
        }
    }

    /// One stream for all files of a chain: nothing of them was read yet.
    fn share_stream(&mut self, chain: &[TailId]) {
        let stream = chain.last().and_then(|id| self.tails.get(*id)).map(|tail| Arc::clone(&tail.stream));
        for id in chain {
            if let Some((tail, stream)) = self.tails.get_mut(*id).zip(stream.as_ref()) {
                tail.stream = Arc::clone(stream);
            }
        }
    }
}

fn position_id(position: &Position) -> FileId {
    FileId { dev: position.dev, inode: position.inode }
}

fn resumed(key: Key, at: &Position, opened: &Opened) -> io::Result<Begin> {
    let mut cursor = Cursor::at(&opened.file, at.offset, at.edge)?;
    if cursor.head.len < at.head_len {
        cursor.head = Head { crc: at.head_crc, len: at.head_len };
    }
    Ok(Begin { cursor, key: Some(key), origin: Arc::clone(&at.path) })
}

fn starts_binary(opened: &Opened) -> io::Result<bool> {
    let mut bytes = [0; HEAD_MAX];
    let n = crate::storage_io::read_full_at(&opened.file, &mut bytes, 0)?;
    Ok(looks_binary(&bytes[..n]))
}
