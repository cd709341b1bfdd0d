//! One file that is followed, and the table of all of them.

use super::cursor::{Cursor, Flush};
use super::identity::{Age, FileId};
use super::progress::{Point, Progress};
use super::unpack::Unpacking;
use crate::checkpoint::{Key, Position};
use crate::labels::Stream;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A tail's handle; it names nothing once the tail is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TailId {
    slot: u32,
    serial: u32,
}

/// Where the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its path.
    Here,
    /// Renamed or deleted, at this moment as far as we know; what is in it, and what is still written to it for a while,
    /// belongs to its stream.
    Away(Instant),
    /// Its bytes are gone: cut off, or compressed.
    Lost,
}

/// One file that is followed.
pub struct Tail {
    /// Where it is, or was last.
    pub path: Arc<Path>,
    /// Where it was found first: the name of its stream.
    pub origin: Arc<Path>,
    /// The streams its entries belong to: all the first, unless it is the log of a container, which has two. Files that
    /// follow each other at one path share them.
    pub streams: [Arc<Stream>; 2],
    /// Device and inode.
    pub id: FileId,
    /// When it was made.
    pub age: Age,
    /// `None` while it rests: read to its end, and room was needed.
    pub file: Option<File>,
    /// It was compressed: `file` is what it is unpacked into.
    pub is_packed: bool,
    /// What is left to unpack.
    pub unpacking: Option<Box<Unpacking>>,
    /// Where reading stands.
    pub cursor: Cursor,
    /// What is safe.
    pub progress: Progress,
    /// Goes up when it is read again from the safe place: what was on its way then does not count any more.
    pub generation: u32,
    /// Its position in the checkpoint.
    pub key: Key,
    /// How long it was when last looked at.
    pub size: u64,
    /// When it had been written to when last looked at, in nanoseconds since 1970-01-01 UTC.
    pub written: i64,
    /// Length and time of writing when it was last read to its end.
    pub seen: Option<(u64, SystemTime)>,
    /// The last copy that was made of it before it was cut, of those we know.
    pub copied: Option<(FileId, Age)>,
    /// Where it is.
    pub place: Place,
    /// It stands in the queue of those to be read.
    pub queued: bool,
    /// An older file of its stream must be read to its end first.
    pub waits: bool,
    /// The file that waits for this one.
    pub next: Option<TailId>,
    /// It has as many bytes on their way as one stream may have.
    pub parked: bool,
    /// After a failure: not before this.
    pub paused: Option<Instant>,
    /// It is to be read again from the safe place, and its file was not open to go back in.
    pub rewind: bool,
    /// What is incomplete at its end, since it last grew.
    pub partial: Option<Partial>,
    /// What of that is to go out as it is, now.
    pub flush: Flush,
    /// When it wants to be looked at.
    pub timer: Option<Instant>,
    /// Bytes its next line needs in a block.
    pub need: usize,
    /// Since when there have been unread bytes.
    pub unread_since: Option<Instant>,
    /// The number of the last turn it was read in.
    pub used: u64,
    /// The number of the last scan it was found in.
    pub scan: u64,
    /// Its position changed since it was told to the checkpoint.
    pub dirty: bool,
    /// An error while reading was reported.
    pub failed: bool,
}

/// What is incomplete at a file's end: a line, or lines of an event that may go on.
#[derive(Clone, Copy, Debug)]
pub struct Partial {
    /// Where it begins.
    pub begin: u64,
    /// How long it is.
    pub len: u64,
    /// When it goes out as it is.
    pub until: Instant,
    /// When it goes out though it grows.
    pub latest: Instant,
}

impl Tail {
    /// The place reading has reached, to begin again from.
    pub fn point(&self) -> Point {
        let cursor = &self.cursor;
        Point { offset: cursor.read, edge: cursor.edge, tail_crc: cursor.before.crc() }
    }

    /// What to remember: the safe place.
    pub fn position(&self, last_seen: i64) -> Position {
        self.position_at(self.progress.safe(), last_seen)
    }

    /// What to know the file again by, wherever its bytes turn up: the place reading has reached.
    pub fn reached(&self) -> Position {
        self.position_at(self.point(), self.written)
    }

    /// Notes what the file looks like now.
    pub fn note(&mut self, meta: &Metadata) {
        self.size = meta.len();
        self.written = written(meta);
    }

    fn position_at(&self, point: Point, last_seen: i64) -> Position {
        Position {
            path: Arc::clone(&self.origin),
            dev: self.id.dev,
            inode: self.id.inode,
            head_crc: self.cursor.head.crc,
            head_len: self.cursor.head.len,
            offset: point.offset,
            edge: point.edge,
            tail_crc: point.tail_crc,
            last_seen,
        }
    }

    /// Whether the file is not as it was when it was last read to its end.
    pub fn has_news(&self, meta: &Metadata) -> bool {
        self.seen.is_none() || self.seen != meta.modified().ok().map(|time| (meta.len(), time))
    }

    /// Whether its file may be closed and opened again by its path when there is news.
    pub fn may_rest(&self) -> bool {
        self.is_quiet() && self.progress.is_settled()
    }

    /// Whether its file is open, at its path, and read to its end.
    pub fn is_quiet(&self) -> bool {
        let quiet = self.seen.is_some() && self.cursor.partial == 0 && !self.queued && !self.waits;
        self.file.is_some() && self.place == Place::Here && quiet
    }

    /// Whether its file has its path now.
    pub fn is_at_its_path(&self) -> bool {
        self.path.metadata().is_ok_and(|meta| FileId::of(&meta) == self.id)
    }

    /// Takes its file, which was opened again, and goes back to the safe place in it if that is still to be done.
    ///
    /// Errors: what stands before that place cannot be read.
    pub fn set_file(&mut self, file: File) -> io::Result<()> {
        if self.rewind {
            let safe = self.progress.safe();
            self.cursor.rewind(&file, safe.offset, safe.edge)?;
            self.rewind = false;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Bytes that are in the file and not safe yet.
    pub fn lag(&self) -> u64 {
        if self.place == Place::Lost { 0 } else { self.size.saturating_sub(self.progress.safe().offset) }
    }
}

/// When the file was last written to, in nanoseconds since 1970-01-01 UTC.
pub fn written(meta: &Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

/// All tails.
#[derive(Default)]
pub struct Tails {
    slots: Vec<(u32, Option<Box<Tail>>)>,
    free: Vec<u32>,
}

impl Tails {
    /// Adds one.
    pub fn add(&mut self, tail: Tail) -> TailId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let (serial, place) = &mut self.slots[slot as usize];
        *serial = serial.wrapping_add(1);
        *place = Some(Box::new(tail));
        TailId { slot, serial: *serial }
    }

    fn slot(&mut self, id: TailId) -> Option<&mut Option<Box<Tail>>> {
        let (serial, place) = self.slots.get_mut(id.slot as usize)?;
        (*serial == id.serial).then_some(place)
    }

    /// The tail `id`, if it still exists.
    pub fn get(&self, id: TailId) -> Option<&Tail> {
        let (serial, place) = self.slots.get(id.slot as usize)?;
        place.as_deref().filter(|_| *serial == id.serial)
    }

    /// The tail `id`, to be changed.
    pub fn get_mut(&mut self, id: TailId) -> Option<&mut Tail> {
        self.slot(id)?.as_deref_mut()
    }

    /// Takes the tail out of its place for a while, to work on it and on others; then [`Tails::put`].
    pub fn take(&mut self, id: TailId) -> Option<Box<Tail>> {
        self.slot(id)?.take()
    }

    /// Puts it back.
    pub fn put(&mut self, id: TailId, tail: Box<Tail>) {
        if let Some(slot) = self.slot(id) {
            *slot = Some(tail);
        }
    }

    /// Removes one.
    pub fn remove(&mut self, id: TailId) -> Option<Box<Tail>> {
        let tail = self.slot(id)?.take();
        // The serial goes up when the slot is used again; until then the handle finds nothing.
        self.free.extend(tail.as_ref().map(|_| id.slot));
        tail
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (TailId, &Tail)> {
        self.slots.iter().enumerate().filter_map(|(slot, (serial, tail))| {
            Some((TailId { slot: slot as u32, serial: *serial }, tail.as_deref()?))
        })
    }
}
