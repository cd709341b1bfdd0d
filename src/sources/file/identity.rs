//! What makes a file the same file: device and inode, a checksum of how it begins, and one of what stands before the
//! place we have reached.
//!
//! Inodes are reused and many logs begin alike, so neither is believed alone.

use crate::checkpoint::{HEAD_MAX, Position, TAIL_MAX};
use crate::storage_io::read_full_at;
use std::cmp::Ordering;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

/// Shortest beginning that may tell a moved or copied file by its content alone.
pub const HEAD_ENOUGH: u16 = 256;
/// The same, for a file under a rotated name that was written since the original was last looked at.
pub const HEAD_ENOUGH_FRESH: u16 = 32;

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The number on it.
    pub inode: u64,
}

impl FileId {
    /// Of the file with this metadata.
    pub fn of(meta: &Metadata) -> FileId {
        FileId { dev: meta.dev(), inode: meta.ino() }
    }
}

/// Which of two files with rotated names is the newer. The system's birth time where it has one: renaming and late
/// writes leave it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    born: Option<SystemTime>,
    written: SystemTime,
}

impl Age {
    /// Of the file with this metadata.
    pub fn of(meta: &Metadata) -> Age {
        Age { born: meta.created().ok(), written: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH) }
    }

    /// Of the file with this metadata, by its last write alone.
    pub fn written(meta: &Metadata) -> Age {
        Age { born: None, ..Age::of(meta) }
    }

    /// Of a file that we only know was there at `seen`, nanoseconds since 1970-01-01 UTC.
    pub fn seen_at(seen: i64) -> Age {
        Age::at(SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(seen.max(0) as u64))
    }

    /// As [`Age::seen_at`].
    pub fn at(seen: SystemTime) -> Age {
        Age { born: None, written: seen }
    }

    /// Whether this file is older or newer than `other`; `Equal` if the clock, which ticks in milliseconds, cannot tell.
    pub fn compare(&self, other: &Age) -> Ordering {
        match self.born.zip(other.born) {
            Some((ours, theirs)) => ours.cmp(&theirs),
            None => self.written.cmp(&other.written),
        }
    }

    /// What to sort by, oldest first.
    pub fn order(&self) -> SystemTime {
        self.born.unwrap_or(self.written)
    }
}

/// Checksum of how a file begins; it grows with what was read, up to [`HEAD_MAX`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// CRC32C of the bytes.
    pub crc: u32,
    /// How many they are.
    pub len: u16,
}

impl Head {
    /// Of the first `len` bytes of `file`, at most [`HEAD_MAX`] and what there is.
    pub fn read(file: &File, len: u64) -> io::Result<Head> {
        let mut bytes = [0; HEAD_MAX];
        let len = len.min(HEAD_MAX as u64) as usize;
        let n = read_full_at(file, &mut bytes[..len], 0)?;
        Ok(Head { crc: crc32c::crc32c(&bytes[..n]), len: n as u16 })
    }

    /// Takes in bytes that follow those it covers.
    pub fn grow(&mut self, bytes: &[u8]) {
        let room = HEAD_MAX - usize::from(self.len);
        let more = &bytes[..bytes.len().min(room)];
        self.crc = crc32c::crc32c_append(self.crc, more);
        self.len += more.len() as u16;
    }
}

/// The last [`TAIL_MAX`] bytes before a place in a file, or all if it is nearer to the beginning.
#[derive(Clone)]
pub struct Before {
    bytes: [u8; TAIL_MAX],
    len: usize,
}

impl Default for Before {
    fn default() -> Self {
        Before { bytes: [0; TAIL_MAX], len: 0 }
    }
}

impl Before {
    /// Of the place `offset` of `file`; fewer bytes if the file does not reach there.
    pub fn read(file: &File, offset: u64) -> io::Result<Before> {
        let mut before = Before::default();
        let len = offset.min(TAIL_MAX as u64);
        before.len = read_full_at(file, &mut before.bytes[..len as usize], offset - len)?;
        Ok(before)
    }

    /// Moves the place behind `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(TAIL_MAX)..];
        let keep = self.len.min(TAIL_MAX - new.len());
        self.bytes.copy_within(self.len - keep..self.len, 0);
        self.bytes[keep..keep + new.len()].copy_from_slice(new);
        self.len = keep + new.len();
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Their CRC32C.
    pub fn crc(&self) -> u32 {
        crc32c::crc32c(self.bytes())
    }
}

/// Whether `file` is as `position` says it was: it begins the same, it reaches to the offset, and the same bytes stand
/// before that. If not, it was rewritten or is another file, and both mean: read it from its beginning.
pub fn agrees(file: &File, position: &Position) -> io::Result<bool> {
    let head = Head::read(file, position.head_len.into())?;
    if (head.crc, head.len) != (position.head_crc, position.head_len) {
        return Ok(false);
    }
    let before = Before::read(file, position.offset)?;
    Ok(before.len as u64 == position.offset.min(TAIL_MAX as u64)
        && (position.offset == 0 || before.crc() == position.tail_crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_in_pieces_is_what_is_read_at_once() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("f");
        let text: Vec<u8> = (0..5000u32).flat_map(|n| n.to_le_bytes()).collect();
        std::fs::write(&path, &text)?;
        let file = File::open(&path)?;
        let (mut head, mut before, mut at) = (Head::default(), Before::default(), 0);
        for step in [1, 2, 250, 3, 256, 1000, 7, 300, 10_000] {
            head.grow(&text[at..at + step]);
            before.push(&text[at..at + step]);
            at += step;
            assert_eq!(head, Head::read(&file, at as u64)?);
            assert_eq!(before.bytes(), Before::read(&file, at as u64)?.bytes());
            assert_eq!(before.bytes(), &text[at.saturating_sub(TAIL_MAX)..at]);
        }
        Ok(())
    }
}
