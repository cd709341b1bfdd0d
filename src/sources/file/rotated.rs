//! Which of the files under rotated names is which: the one that a position speaks of, and those that nobody has read.
//!
//! Not here: what becomes of them (see `rotation` and `cut`).

use super::discover::{self, Opened, age, is_compressed, is_numbered, is_unpackable, rotation_rank};
use super::identity::{Age, FileId, HEAD_ENOUGH, HEAD_ENOUGH_FRESH, agrees};
use super::reader::Reader;
use super::tail::{TailId, written};
use super::unpack;
use crate::checkpoint::Position;
use std::cmp::Ordering;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

impl Reader {
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
}
