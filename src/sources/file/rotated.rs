//! Which of the files under rotated names is which: the one that a position speaks of, and those that nobody has read.
//!
//! Not here: what becomes of them (see `rotation` and `cut`).

use super::discover::{self, Opened, age, is_compressed, is_numbered, is_unpackable, rotation_rank};
use super::identity::{Age, FileId, HEAD_ENOUGH, HEAD_ENOUGH_FRESH, Head, agrees};
use super::reader::Reader;
use super::resume::position_id;
use super::tail::{TailId, written};
use super::unpack;
use crate::checkpoint::{HEAD_MAX, Key, Position};
use crate::storage_io::read_full_at;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// A file under a rotated name, with what it was when the names were listed.
pub(super) type Rotated = (PathBuf, Metadata);

impl Reader {
    /// The rotated names of `path` that are there.
    pub(super) fn rotations(&self, path: &Path) -> Vec<Rotated> {
        self.listing.borrow_mut().rotations(path)
    }

    /// The file among the rotated names of `path` that `position` speaks of: by its number, or by its content.
    pub(super) fn find(&self, path: &Path, position: &Position) -> Option<(PathBuf, Opened)> {
        let (files, own) = (self.rotations(path), position_id(position));
        let (own, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(_, meta)| FileId::of(meta) == own);
        let unknown = others.iter().filter(|(_, meta)| !self.is_tailed(meta));
        own.iter().chain(unknown).find_map(|file| self.open_as(file, position))
    }

    /// The same among `candidates`, for one of the positions that are `missing`.
    pub(super) fn find_among(
        &self,
        candidates: &mut Candidates,
        missing: &[(Key, Position)],
        (key, position): &(Key, Position),
    ) -> Option<(PathBuf, Opened)> {
        let own = candidates.of_number(position).find_map(|file| self.open_as(file, position));
        own.or_else(|| {
            let mut alike = candidates.of_content(*key, missing, |meta| self.is_tailed(meta));
            alike.find_map(|file| self.open_as(file, position))
        })
    }

    /// Whether the file is read already, by whatever name.
    pub(super) fn is_tailed(&self, meta: &Metadata) -> bool {
        self.by_inode.contains_key(&FileId::of(meta))
    }

    /// Opens the file if it is the one that `position` speaks of.
    fn open_as(&self, (path, meta): &Rotated, position: &Position) -> Option<(PathBuf, Opened)> {
        if !may_be(meta, position) {
            return None;
        }
        if is_unpackable(path) {
            let opened = unpack::open(path, Some(position), &self.settings.scratch).ok().flatten()?;
            return Some((path.clone(), opened));
        }
        let opened = discover::open(path).ok()?;
        agrees(&opened.file, position).ok()?.then(|| (path.clone(), opened))
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

/// The files under rotated names of one path, for all positions that are missed there. Each file is looked into once,
/// however many positions it could be meant by: after thousands of files were deleted, each position in each of the
/// others is minutes of a start.
pub(super) struct Candidates {
    files: Vec<Rotated>,
    by_number: HashMap<FileId, Vec<usize>>,
    /// Made when the first is asked for: where all are found by their numbers, no file is opened in vain.
    by_content: Option<HashMap<Key, Vec<usize>>>,
}

impl Candidates {
    /// These files.
    pub(super) fn new(files: Vec<Rotated>) -> Candidates {
        let mut by_number: HashMap<FileId, Vec<usize>> = HashMap::new();
        for (place, (_, meta)) in files.iter().enumerate() {
            by_number.entry(FileId::of(meta)).or_default().push(place);
        }
        Candidates { files, by_number, by_content: None }
    }

    /// All of them.
    pub(super) fn files(&self) -> &[Rotated] {
        &self.files
    }

    /// Those with the number of `position`.
    fn of_number(&self, position: &Position) -> impl Iterator<Item = &Rotated> {
        let places = self.by_number.get(&position_id(position)).into_iter().flatten();
        places.map(|place| &self.files[*place])
    }

    /// Those of other numbers, and not `tailed`, whose content is that of the position of `key`, which is among `missing`.
    fn of_content(
        &mut self,
        key: Key,
        missing: &[(Key, Position)],
        is_tailed: impl Fn(&Metadata) -> bool,
    ) -> impl Iterator<Item = &Rotated> {
        let files = &self.files;
        let by_content = self.by_content.get_or_insert_with(|| by_content(files, missing, &is_tailed));
        let places = by_content.get(&key).into_iter().flatten();
        places.map(|place| &files[*place]).filter(move |(_, meta)| !is_tailed(meta))
    }
}

/// Which of `files` could be the file of which of the positions that are `missing`, by their content.
fn by_content(
    files: &[Rotated],
    missing: &[(Key, Position)],
    is_tailed: &dyn Fn(&Metadata) -> bool,
) -> HashMap<Key, Vec<usize>> {
    let mut by_head: HashMap<Head, Vec<&(Key, Position)>> = HashMap::new();
    for row in missing.iter().filter(|(_, at)| at.head_len >= HEAD_ENOUGH_FRESH) {
        by_head.entry(Head { crc: row.1.head_crc, len: row.1.head_len }).or_default().push(row);
    }
    let lens: BTreeSet<u16> = by_head.keys().map(|head| head.len).collect();
    let mut found: HashMap<Key, Vec<usize>> = HashMap::new();
    for (place, (path, meta)) in files.iter().enumerate().filter(|(_, (_, meta))| !is_tailed(meta)) {
        // What cannot be read is nobody's.
        let Ok((bytes, file)) = beginning(path) else { continue };
        let mut head = Head::default();
        for len in &lens {
            let Some(more) = bytes.get(head.len.into()..usize::from(*len)) else { break };
            head.grow(more);
            for (key, at) in by_head.get(&head).into_iter().flatten() {
                let is_other = FileId::of(meta) != position_id(at) && may_be(meta, at);
                // What is packed is only unpacked so far if it is asked for.
                let is_alike =
                    || file.as_ref().is_none_or(|file| agrees(file, at).is_ok_and(|agrees| agrees));
                if is_other && is_alike() {
                    found.entry(*key).or_default().push(place);
                }
            }
        }
    }
    found
}

/// How the file at `path` begins; the file as well, if its bytes are those that were read when it had another name.
fn beginning(path: &Path) -> io::Result<(Vec<u8>, Option<File>)> {
    let file = discover::open(path)?.file;
    if is_unpackable(path) {
        return Ok((unpack::beginning(file)?, None));
    }
    let mut bytes = vec![0; HEAD_MAX];
    let count = read_full_at(&file, &mut bytes, 0)?;
    bytes.truncate(count);
    Ok((bytes, Some(file)))
}

/// Whether enough of the position's file is known to tell it by its content; by its number it always is.
fn may_be(meta: &Metadata, position: &Position) -> bool {
    // A short beginning is enough for a copy that was made since the file was last looked at.
    let least = if written(meta) >= position.last_seen { HEAD_ENOUGH_FRESH } else { HEAD_ENOUGH };
    FileId::of(meta) == position_id(position) || position.head_len >= least
}
