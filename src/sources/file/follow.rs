//! Which file is which: finding, opening, and following files through rotation, truncation and deletion.
//!
//! Whatever happened, it is told by looking (`stat`, the first bytes, the bytes before the cursor), never by believing
//! an event: events only say where to look. Files that follow each other at one path form a chain, and each is read to
//! its end before the next begins.

use super::ReadFrom;
use super::cursor::{Cursor, Flush};
use super::discover::{self, Found, Opened};
use super::finish::is_out_of_files;
use super::identity::{Age, FileId, agrees};
use super::messages::Format;
use super::origin;
use super::progress::{Point, Progress};
use super::reader::{AWAY_LOOK, Reader};
use super::resume::{resumed, starts_binary};
use super::tail::{Place, Tail, TailId, written};
use crate::checkpoint::{Key, Start};
use crate::clock::file_nanos;
use crate::labels::{Labels, Stream};
use crate::sources::containers::Std;
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
    /// Looks everywhere.
    pub(super) fn scan(&mut self, now: Instant) {
        self.scans += 1;
        self.never.refresh();
        self.more_room();
        // Whatever waits for room is looked at again now.
        let waited = std::mem::take(&mut self.short);
        self.short_ids.clear();
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
            waited.into_iter().for_each(|(path, file)| self.look_after(&path, file, now));
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
            Some(id) if self.tails.get(id).is_some_and(|tail| tail.is_packed) => {}
            Some(id) if self.is_still(id, path) => self.moved(id, path),
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
    pub(super) fn moved(&mut self, id: TailId, path: &Path) {
        let scan = self.scans;
        let Some(tail) = self.tails.get_mut(id) else { return };
        if tail.place == Place::Here {
            if tail.is_at_its_path() {
                return; // A hard link: it is read once, by the path it was found at first.
            }
            self.by_path.remove(&tail.path);
        }
        (tail.path, tail.place, tail.scan) = (path.into(), Place::Here, scan);
        self.by_path.insert(path.into(), id);
        self.make_ready(id);
    }

    // --- opening

    pub(super) fn open_log(&mut self, path: &Path) -> Option<Opened> {
        if !self.make_room() {
            self.wait_for_room(path);
            return None;
        }
        self.open_now(path)
    }

    /// As `open_log`, whether or not more files may be open: a rotated file has no name it would be looked for by later.
    pub(super) fn open_now(&mut self, path: &Path) -> Option<Opened> {
        let opened = match discover::open(path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) if is_out_of_files(&error) => {
                self.out_of_files(&error);
                self.wait_for_room(path);
                return None;
            }
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
            None if self.is_read_elsewhere(path, &opened, now)? => return Ok(()),
            None => {
                let cursor = self.first_cursor(&opened)?;
                Begin { cursor, key: None, origin: path.into() }
            }
        };
        // What is compressed is no file of its own, but perhaps the rest of one: see `resume`.
        let looks = begin.cursor.read > 0 || discover::is_compressed(path);
        if looks && begin.key.is_none() && starts_binary(&opened)? {
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
        let here = opened.packed.is_none() && self.globs.wants(path);
        let age = discover::age(path, &opened.meta);
        let streams = self.streams(&origin);
        let path: Arc<Path> = path.into();
        let point = Point { offset: cursor.read, edge: cursor.edge, tail_crc: cursor.before.crc() };
        let mut tail = Tail {
            path: Arc::clone(&path),
            origin: Arc::clone(&origin),
            streams,
            id: file,
            age,
            file: Some(opened.file),
            is_packed: opened.packed.is_some(),
            unpacking: opened.packed,
            cursor,
            progress: Progress::new(point),
            generation: 0,
            key: Key::NONE,
            size: opened.meta.len(),
            written: written(&opened.meta),
            // Nothing to read is read.
            seen: opened.meta.modified().ok().filter(|_| opened.meta.len() == 0).map(|time| (0, time)),
            copied: None,
            place: if here { Place::Here } else { Place::Away(now) },
            queued: false,
            waits: false,
            next: None,
            parked: false,
            paused: None,
            rewind: false,
            partial: None,
            flush: Flush::None,
            timer: None,
            need: 0,
            unread_since: None,
            used: self.turns,
            scan: self.scans,
            dirty: false,
            failed: false,
        };
        let position = tail.position(file_nanos());
        tail.key = match key {
            Some(key) => {
                self.checkpoint.set(key, position);
                key
            }
            None => {
                self.unnoted = true;
                self.checkpoint.add(&self.name, position)
            }
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

    /// The streams of this origin: those its files had before, if there were any.
    pub(super) fn streams(&self, origin: &Arc<Path>) -> [Arc<Stream>; 2] {
        let known = self.origins.get(origin).and_then(|id| self.tails.get(*id));
        if let Some(tail) = known.filter(|tail| tail.origin == *origin) {
            return tail.streams.clone();
        }
        let stream = |labels| {
            let text = origin.to_string_lossy();
            Arc::new(Stream::new(self.settings.source, Arc::clone(&self.name), "file", text, labels))
        };
        if self.settings.format == Format::Plain {
            let one = stream(self.settings.labels.clone());
            return [Arc::clone(&one), one];
        }
        let facts = origin::labels(origin);
        Std::ALL.map(|std| {
            let facts = facts.iter().map(|(name, value)| (*name, &**value)).chain([("stream", std.name())]);
            // What the config says has the last word.
            stream(Labels::new(facts.chain(self.settings.labels.iter())))
        })
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
            tail.seen = None;
            let other = tail.next.replace(after).filter(|other| *other != after);
            // Whoever waited for it so far must not wait for ever.
            self.release(other);
            self.make_ready(before);
            if let Some(tail) = self.tails.get_mut(after) {
                tail.waits = true;
            }
        }
    }
}
