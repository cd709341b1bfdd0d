//! The positions of the last run whose files have not been found yet.

use super::discover::is_rotation;
use super::identity::{FileId, HEAD_ENOUGH, Head, agrees};
use crate::checkpoint::{HEAD_MAX, Key, Position};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Positions waiting for their files.
#[derive(Default)]
pub struct Positions {
    rows: Vec<Option<(Key, Position)>>,
    by_inode: HashMap<FileId, Vec<usize>>,
    by_path: HashMap<Arc<Path>, Vec<usize>>,
    by_head: HashMap<Head, Vec<usize>>,
    /// The lengths of the heads that are enough to go by.
    lens: BTreeSet<u16>,
}

impl Positions {
    /// All of these.
    pub fn new(rows: Vec<(Key, Position)>) -> Positions {
        let mut all = Positions::default();
        for (place, (_, at)) in rows.iter().enumerate() {
            all.by_inode.entry(FileId { dev: at.dev, inode: at.inode }).or_default().push(place);
            all.by_path.entry(Arc::clone(&at.path)).or_default().push(place);
            if at.head_len >= HEAD_ENOUGH {
                all.lens.insert(at.head_len);
                all.by_head.entry(Head { crc: at.head_crc, len: at.head_len }).or_default().push(place);
            }
        }
        all.rows = rows.into_iter().map(Some).collect();
        all
    }

    /// Whether there is a position of a file with this device and inode.
    pub fn knows(&self, id: FileId) -> bool {
        self.by_inode.contains_key(&id)
    }

    /// Takes the position of the file with this device and inode, if the content agrees too.
    pub fn take_known(&mut self, id: FileId, file: &File) -> io::Result<Option<(Key, Position)>> {
        let places = self.by_inode.get(&id).cloned().unwrap_or_default();
        // Of several the one that got furthest: the others are of files that had the number before.
        self.take_best(&places, file, |_| true)
    }

    /// Takes the position of a file that was at another path or had another inode, by its content alone: a copy, or
    /// one moved between file systems.
    pub fn take_moved(&mut self, path: &Path, file: &File) -> io::Result<Option<(Key, Position)>> {
        let mut places = Vec::new();
        for len in &self.lens {
            let head = Head::read(file, (*len).into())?;
            if head.len < *len {
                break;
            }
            places.extend(self.by_head.get(&head).into_iter().flatten());
        }
        // Many files begin alike: under a name of its own it must also agree further on.
        let elsewhere = |at: &Position| at.offset > HEAD_MAX as u64 && has_left(at);
        self.take_best(&places, file, |at| is_rotated(path, &at.path) || elsewhere(at))
    }

    fn take_best(
        &mut self,
        places: &[usize],
        file: &File,
        wanted: impl Fn(&Position) -> bool,
    ) -> io::Result<Option<(Key, Position)>> {
        let mut best: Option<(u64, usize)> = None;
        for place in places {
            let Some((_, at)) = &self.rows[*place] else { continue };
            if best.is_none_or(|(offset, _)| offset < at.offset) && wanted(at) && agrees(file, at)? {
                best = Some((at.offset, *place));
            }
        }
        Ok(best.and_then(|(_, place)| self.rows[place].take()))
    }

    /// Those that are left.
    pub fn left(&self) -> Vec<(Key, Position)> {
        self.rows.iter().flatten().cloned().collect()
    }

    /// Those of files that were found at `path` first.
    pub fn left_at(&self, path: &Path) -> Vec<(Key, Position)> {
        let places = self.by_path.get(path).into_iter().flatten();
        places.filter_map(|place| self.rows[*place].clone()).collect()
    }

    /// Takes one out.
    pub fn remove(&mut self, key: Key) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.as_ref().is_some_and(|(own, _)| *own == key)) {
            *row = None;
        }
    }
}

fn is_rotated(path: &Path, of: &Path) -> bool {
    path.parent() == of.parent()
        && path.file_name().zip(of.file_name()).is_some_and(|(name, of)| is_rotation(name, of))
}

/// Whether the file is no longer where it was.
fn has_left(at: &Position) -> bool {
    at.path.metadata().map_or(true, |meta| FileId::of(&meta) != FileId { dev: at.dev, inode: at.inode })
}
