//! Files that were renamed, copied or cut off: which is which, and in which order they are read.

use super::cursor::Cursor;
use super::discover::{
    self, Opened, age, is_compressed, is_numbered, is_unpackable, rotated_from, rotation_rank,
};
use super::follow::Begin;
use super::identity::{Age, Before, FileId, HEAD_ENOUGH, HEAD_ENOUGH_FRESH, Head, agrees};
use super::reader::{AWAY_LOOK, Reader, mark_dirty};
use super::resume::position_id;
use super::tail::{Place, TailId, written};
use super::unpack;
use crate::checkpoint::{HEAD_MAX, Key, Position, TAIL_MAX};
use crate::clock::unix_nanos;
use std::cmp::Ordering;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How often in a row a file may be cut while one of its copies is looked at.
const CUTS_MAX: usize = 4;

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

    /// The rotated names of `path` that are there.
    pub(super) fn rotations(&self, path: &Path) -> Vec<(PathBuf, Metadata)> {
        self.listing.borrow_mut().rotations(path)
    }

    /// The file among the rotated names of `path` that `position` speaks of: by its number, or by its content.
    pub(super) fn find(&self, path: &Path, position: &Position) -> Option<(PathBuf, Opened)> {
        self.find_among(&self.rotations(path), position)
    }

    /// The same among `files`.
    pub(super) fn find_among(
        &self,
        files: &[(PathBuf, Metadata)],
        position: &Position,
    ) -> Option<(PathBuf, Opened)> {
        let own = FileId { dev: position.dev, inode: position.inode };
        let is_own = |(_, meta): &&(PathBuf, Metadata)| FileId::of(meta) == own;
        let is_other = |(_, meta): &&(PathBuf, Metadata)| {
            FileId::of(meta) != own && !self.by_inode.contains_key(&FileId::of(meta))
        };
        files.iter().filter(is_own).chain(files.iter().filter(is_other)).find_map(|(path, meta)| {
            // A short beginning is enough for a copy that was made since the file was last looked at.
            let least = if written(meta) >= position.last_seen { HEAD_ENOUGH_FRESH } else { HEAD_ENOUGH };
            let may = FileId::of(meta) == own || position.head_len >= least;
            if !may {
                return None;
            }
            if is_unpackable(path) {
                let opened = unpack::open(path, Some(position), &self.settings.scratch).ok().flatten()?;
                return Some((path.clone(), opened));
            }
            let opened = discover::open(path).ok()?;
            agrees(&opened.file, position).ok()?.then(|| (path.clone(), opened))
        })
    }

    /// Files that were made and rotated away between two that we know, oldest first: nobody has read them.
    pub(super) fn between(&self, path: &Path, before: TailId, after: &Age) -> Vec<(PathBuf, Age)> {
        let Some(tail) = self.tails.get(before) else { return Vec::new() };
        self.unread_since(path, &tail.age, Some(tail.id), after)
    }

    /// Files under rotated names of `path` that are newer than a file of the age `before` and not newer than `after`.
    /// Where the clock cannot tell, the names do, if that file has one of them.
    pub(super) fn unread_since(
        &self,
        path: &Path,
        before: &Age,
        before_id: Option<FileId>,
        after: &Age,
    ) -> Vec<(PathBuf, Age)> {
        let name = path.file_name().unwrap_or_default();
        let rank = |rotated: &Path| rotation_rank(rotated, path);
        let mut unread = self.rotations(path);
        let before_rank = unread.iter().find(|(_, meta)| Some(FileId::of(meta)) == before_id);
        let from_packed = before_rank.is_some_and(|(before, _)| is_compressed(before));
        let before_rank = before_rank.map(|(before, _)| rank(before));
        let plain: Vec<PathBuf> = unread.iter().map(|(path, _)| path.clone()).collect();
        let is_unread = |(rotated, meta): &(PathBuf, Metadata)| {
            let (own, id, age) =
                (rotated.file_name().unwrap_or_default(), FileId::of(meta), age(rotated, meta));
            let known = self.by_inode.contains_key(&id) || self.finished.contains(&id);
            let packed = is_compressed(rotated);
            let by_age = age.compare(before);
            let newer = match &before_rank {
                // When something was compressed says nothing.
                Some(before) if packed || from_packed => rank(rotated) > *before,
                None if packed => before_id.is_none() && by_age == Ordering::Greater,
                before if by_age == Ordering::Equal => {
                    before.as_ref().is_none_or(|before| rank(rotated) > *before)
                }
                _ => by_age == Ordering::Greater,
            };
            // While it is compressed both are there.
            let may = !packed || (is_unpackable(rotated) && !plain.contains(&rotated.with_extension("")));
            newer && !known && may && is_numbered(own, name) && age.compare(after) != Ordering::Greater
        };
        unread.retain(is_unread);
        let by_name = from_packed || unread.iter().any(|(path, _)| is_compressed(path));
        let mut unread: Vec<_> = unread
            .into_iter()
            .map(|(path, meta)| (age(&path, &meta), path))
            .map(|(age, path)| (path, age))
            .collect();
        unread.sort_by_cached_key(|(path, age)| ((!by_name).then(|| age.order()), rank(path)));
        unread
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

    /// What the file held before the cursor is gone: it was cut, or written anew in place.
    pub(super) fn rewritten(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let (path, origin, place) = (Arc::clone(&tail.path), Arc::clone(&tail.origin), tail.place);
        let (file, reached, key) = (tail.file.take(), tail.reached(), tail.key);
        let (old, old_age) = (tail.id, tail.age);
        let unread = tail.size.saturating_sub(tail.cursor.read);
        let copy = self.find(&path, &reached);
        self.inlet.ledger().files_truncated.add(1);
        if copy.is_none() && unread > 0 {
            self.vanished(&path, &format!("it was cut with {unread} bytes unread"));
        }
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
        let kept = copy.as_ref().map(|(path, opened)| (FileId::of(&opened.meta), age(path, &opened.meta)));
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
        let opened = Opened { file, meta, link: false, packed: None };
        let begin = Begin { cursor, key: None, origin: Arc::clone(&origin) };
        let fresh = self.adopt(&path, opened, begin, now);
        if let Some(tail) = self.tails.get_mut(fresh) {
            // It is as old as it ever was, though it begins anew.
            tail.age = old_age;
        }
        if let Some((copy, age)) = kept {
            // Cut more than once since the last look: what was written in between is in copies of its own.
            let between = self.adopt_copies(fresh, age, Some(copy), now);
            let chain: Vec<_> = [id].into_iter().chain(between).chain([fresh]).collect();
            self.chain(&chain, now);
        }
    }

    /// The file is as empty as it was when it was last looked at, but there is news of it: if it was written to and cut in
    /// between, all of that is in copies nobody has read.
    pub(super) fn look_for_unseen(&mut self, id: TailId, since: Age, now: Instant) {
        let Some(tail) = self.tails.get(id) else { return };
        let copied = tail.copied.map(|(copy, _)| copy);
        let chain: Vec<_> = self.adopt_copies(id, since, copied, now).into_iter().chain([id]).collect();
        self.chain(&chain, now);
    }

    /// Follows the copies made of what the tail's file held since `before`, which is the age of the copy `copied` if there
    /// was one; oldest first.
    fn adopt_copies(&mut self, id: TailId, before: Age, copied: Option<FileId>, now: Instant) -> Vec<TailId> {
        let Some(tail) = self.tails.get(id) else { return Vec::new() };
        let (path, origin) = (Arc::clone(&tail.path), Arc::clone(&tail.origin));
        let mut copies = self.unread_since(&path, &before, copied, &Age::seen_at(i64::MAX));
        // One that is just being made is of what the file still holds.
        copies.retain(|(copy, _)| {
            !discover::open(copy).and_then(|opened| self.is_copy(copy, &opened)).unwrap_or(false)
        });
        let copies = self.adopt_all(&origin, copies, now);
        let newest = copies.last().and_then(|newest| self.tails.get(*newest));
        let newest = newest.map(|newest| (newest.id, newest.age)).or(copied.map(|copied| (copied, before)));
        if let Some(tail) = self.tails.get_mut(id) {
            tail.copied = newest;
        }
        copies
    }

    /// The tail goes on in a copy of what it had.
    pub(super) fn take_over(&mut self, id: TailId, path: &Path, opened: Opened, now: Instant) {
        let here = opened.packed.is_none() && self.globs.wants(path);
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.id = FileId::of(&opened.meta);
        (tail.is_packed, tail.unpacking) = (opened.packed.is_some(), opened.packed);
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
    pub(super) fn lose(&mut self, id: TailId, key: Key) {
        self.checkpoint.forget(key);
        let Some(tail) = self.tails.get_mut(id) else { return };
        (tail.place, tail.key) = (Place::Lost, Key::NONE);
        let (settled, next) = (tail.progress.is_settled(), tail.next.take());
        self.release(next);
        if settled {
            self.remove(id);
        }
    }

    /// The tail of the file that this is a rotated name of.
    fn original(&self, path: &Path) -> Option<TailId> {
        rotated_from(path).find_map(|of| self.by_path.get(of.as_path()).copied())
    }

    /// Whether what is in the file is read, or will be, by the tail of the file that its name is a rotation of.
    pub(super) fn is_read_elsewhere(
        &mut self,
        path: &Path,
        opened: &Opened,
        now: Instant,
    ) -> io::Result<bool> {
        for _ in 0..CUTS_MAX {
            if self.is_copy(path, opened)? {
                return Ok(true);
            }
            if !self.was_cut(path, now)? {
                return Ok(false);
            }
            // Its tail may go on in this one, or what it begins anew with may be what this is a copy of.
            if self.by_inode.contains_key(&FileId::of(&opened.meta)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the file that this is a rotated name of was cut since it was last looked at; it begins anew then.
    fn was_cut(&mut self, path: &Path, now: Instant) -> io::Result<bool> {
        let Some(id) = self.original(path) else { return Ok(false) };
        let Some(tail) = self.tails.get_mut(id) else { return Ok(false) };
        let Some(file) = &tail.file else { return Ok(false) };
        if tail.cursor.holds(file, file.metadata()?.len())? {
            return Ok(false);
        }
        self.rewritten(id, now);
        Ok(true)
    }

    /// Whether the file is, so far as it goes, a copy of the file that its name is a rotation of (or will be one soon:
    /// an empty file tells nothing). It is left alone until that file is cut (`copytruncate`); then its rest is read,
    /// and nothing of it twice.
    fn is_copy(&mut self, path: &Path, opened: &Opened) -> io::Result<bool> {
        let Some(id) = self.original(path) else { return Ok(false) };
        let Some(tail) = self.tails.get_mut(id) else { return Ok(false) };
        let Some(file) = &tail.file else { return Ok(false) };
        // Nothing of it may have been read yet, and its cut has to be noticed all the same.
        let unknown = tail.cursor.head.len < HEAD_ENOUGH;
        if unknown && tail.cursor.holds(file, file.metadata()?.len())? && tail.cursor.look_ahead(file)? {
            mark_dirty(&mut self.dirty, id, tail);
        }
        let Some(tail) = self.tails.get(id).filter(|tail| tail.cursor.head.len >= HEAD_ENOUGH) else {
            return Ok(false);
        };
        let Some(file) = &tail.file else { return Ok(false) };
        let size = opened.meta.len();
        if size >= tail.cursor.read.max(tail.cursor.head.len.into()) {
            return agrees(&opened.file, &tail.reached());
        }
        let head = size.min(HEAD_MAX as u64);
        let last = size.saturating_sub(TAIL_MAX as u64) + size.min(TAIL_MAX as u64);
        Ok(Head::read(&opened.file, head)? == Head::read(file, head)?
            && Before::read(&opened.file, last)?.bytes() == Before::read(file, last)?.bytes())
    }
}
