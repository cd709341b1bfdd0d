//! The first look after a start: what is remembered meets what is there.

use super::cursor::{Cursor, looks_binary};
use super::discover::{self, Opened, is_compressed, rotation_rank};
use super::follow::Begin;
use super::identity::{Age, FileId, Head};
use super::reader::Reader;
use super::rotated::{Candidates, Rotated};
use super::tail::TailId;
use crate::checkpoint::{HEAD_MAX, Key, Position};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

impl Reader {
    /// Finds the files of the last run again, whatever they are called now, and puts them in order.
    pub(super) fn first_scan(&mut self, files: Vec<PathBuf>, now: Instant) {
        // Those that are known by number first: what is left over must have been moved, copied or deleted.
        let (mut rest, mut doubtful) = (Vec::new(), Vec::new());
        for path in files {
            match self.resume(&path, now) {
                Some(at) if at.head_len == 0 => doubtful.push((path, at.last_seen)),
                Some(_) => {}
                None => rest.push(path),
            }
        }
        rest.iter().for_each(|path| self.look_at(path, now));
        let mut left: HashMap<Arc<Path>, Vec<(Key, Position)>> = HashMap::new();
        for (key, at) in self.positions.left() {
            left.entry(Arc::clone(&at.path)).or_default().push((key, at));
        }
        for (origin, positions) in left {
            self.find_rotated(&origin, positions, now);
        }
        // An empty file is known by its number alone, and that may be another's by now: it may have been rotated meanwhile.
        for (path, seen) in doubtful {
            let current = self.by_path.get(&*path).and_then(|id| self.tails.get(*id));
            let Some((origin, until)) = current.map(|tail| (Arc::clone(&tail.origin), tail.age)) else {
                continue;
            };
            let unread = self.unread_since(&origin, &Age::seen_at(seen), None, &until);
            self.adopt_all(&origin, unread, now);
        }
        self.chain_resumed(None, now);
    }

    /// Resumes the file at `path`, if its number and its content say that it is a known one, from the position it gives.
    pub(super) fn resume(&mut self, path: &Path, now: Instant) -> Option<Position> {
        let known = |meta: Metadata| self.positions.knows(FileId::of(&meta));
        path.metadata().is_ok_and(known).then_some(())?;
        let opened = self.open_log(path)?;
        let id = FileId::of(&opened.meta);
        let (key, at) = self.positions.take_known(id, &opened.file).ok()??;
        match resumed(key, &at, &opened) {
            Ok(begin) => drop(self.adopt(path, opened, begin, now)),
            Err(error) => self.refuse(path, &error),
        }
        Some(at)
    }

    /// Looks for files that were at `origin` when we left, and for those that were there while we were away.
    pub(super) fn find_rotated(&mut self, origin: &Arc<Path>, positions: Vec<(Key, Position)>, now: Instant) {
        let seen = positions.iter().map(|(_, at)| at.last_seen).max().unwrap_or_default();
        let numbers: Vec<_> = positions.iter().map(|(_, at)| position_id(at)).collect();
        let (mut newest, mut missing) = (None, positions);
        // Looked at once for all of them: with thousands of rotated files beside thousands of positions that is a second
        // instead of minutes. Whoever rotates meanwhile gives them other names: those are looked for once more.
        for last in [false, true] {
            let looked_for = std::mem::take(&mut missing);
            if looked_for.is_empty() {
                break;
            }
            let mut candidates = Candidates::new(self.rotations(origin));
            for row in &looked_for {
                let (key, at) = row;
                let found = self.find_among(&mut candidates, &looked_for, row);
                let Some((path, opened)) = found.filter(|(_, opened)| !self.is_tailed(&opened.meta)) else {
                    match last {
                        true => self.not_found(origin, *key, at, candidates.files()),
                        false => missing.push(row.clone()),
                    }
                    continue;
                };
                let (age, id) = (discover::age(&path, &opened.meta), FileId::of(&opened.meta));
                if let Ok(begin) = resumed(*key, at, &opened) {
                    self.positions.remove(*key);
                    self.adopt_rotated(&path, opened, begin, now);
                }
                // By its number alone nothing is known of what was read before it.
                if at.head_len > 0 {
                    newest = newest.into_iter().chain([(age, id)]).max_by(|(a, _), (b, _)| a.compare(b));
                }
            }
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

    /// None of the `rotated` names of `origin` is that of the position's file.
    fn not_found(&mut self, origin: &Path, key: Key, at: &Position, rotated: &[Rotated]) {
        if !self.by_path.contains_key(origin) {
            // Perhaps its directory is not there yet. It is remembered as long as there is room.
            return;
        }
        self.positions.remove(key);
        self.checkpoint.forget(key);
        self.inlet.ledger().files_vanished.add(1);
        let (name, path, offset) = (&self.name, origin.display(), at.offset);
        let compressed = rotated.iter().find(|(path, meta)| {
            let written = Age::written(meta).compare(&Age::seen_at(at.last_seen)) != Ordering::Less;
            written && is_compressed(path)
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
    pub(super) fn chain_resumed(&mut self, only: Option<&Path>, now: Instant) {
        let mut chains: HashMap<Arc<Path>, Vec<_>> = HashMap::new();
        for (id, tail) in self.tails.iter().filter(|(_, tail)| tail.path != tail.origin) {
            if only.is_some_and(|only| *only != *tail.origin) {
                continue;
            }
            let order = (tail.age.order(), rotation_rank(&tail.path, &tail.origin));
            chains.entry(Arc::clone(&tail.origin)).or_default().push((order, id));
        }
        for (origin, mut ids) in chains {
            // When something was compressed says nothing about its age: then their names do.
            let packed = |id: &TailId| self.tails.get(*id).is_some_and(|tail| tail.is_packed);
            if ids.iter().any(|(_, id)| packed(id)) {
                ids.sort_unstable_by(|((_, a), _), ((_, b), _)| a.cmp(b));
            } else {
                ids.sort_unstable();
            }
            let newest = self.by_path.get(&origin).copied();
            // A file of another stream may have come by this name.
            let newest = newest.filter(|id| self.tails.get(*id).is_some_and(|tail| tail.origin == origin));
            let chain: Vec<_> = ids.into_iter().map(|(_, id)| id).chain(newest).collect();
            if let Some(last) = chain.last() {
                self.origins.insert(origin, *last);
            }
            self.share_stream(&chain);
            self.chain(&chain, now);
        }
    }

    /// One stream for all files of a chain: nothing of them was read yet.
    pub(super) fn share_stream(&mut self, chain: &[TailId]) {
        let streams = chain.last().and_then(|id| self.tails.get(*id)).map(|tail| tail.streams.clone());
        for id in chain {
            if let Some((tail, streams)) = self.tails.get_mut(*id).zip(streams.as_ref()) {
                tail.streams.clone_from(streams);
            }
        }
    }
}

pub(super) fn position_id(position: &Position) -> FileId {
    FileId { dev: position.dev, inode: position.inode }
}

pub(super) fn resumed(key: Key, at: &Position, opened: &Opened) -> io::Result<Begin> {
    let mut cursor = Cursor::at(&opened.file, at.offset, at.edge)?;
    if cursor.head.len < at.head_len {
        cursor.head = Head { crc: at.head_crc, len: at.head_len };
    }
    Ok(Begin { cursor, key: Some(key), origin: Arc::clone(&at.path) })
}

pub(super) fn starts_binary(opened: &Opened) -> io::Result<bool> {
    let mut bytes = [0; HEAD_MAX];
    let n = crate::storage_io::read_full_at(&opened.file, &mut bytes, 0)?;
    Ok(looks_binary(&bytes[..n]))
}
