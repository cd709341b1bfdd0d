//! Files that were cut in place (`copytruncate`), and the copies of what they held.

use super::cursor::Cursor;
use super::discover::{self, Opened, age, rotated_from};
use super::follow::Begin;
use super::identity::{Age, Before, FileId, HEAD_ENOUGH, Head, agrees};
use super::reader::{AWAY_LOOK, Reader, mark_dirty};
use super::resume::position_id;
use super::tail::{Place, TailId};
use crate::checkpoint::{HEAD_MAX, Key, TAIL_MAX};
use crate::clock::file_nanos;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How often in a row a file may be cut while one of its copies is looked at.
const CUTS_MAX: usize = 4;

impl Reader {
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
        let (key, position) = (tail.key, tail.position(file_nanos()));
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
