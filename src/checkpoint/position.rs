//! How far one file was read, what it looked like then, and both as bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Most bytes at the beginning of a file that its fingerprint covers; shorter while less was read.
pub const HEAD_MAX: usize = 1024;
/// Most bytes before the offset that the second checksum covers; fewer only nearer to the beginning.
pub const TAIL_MAX: usize = 256;

/// What stands just before an offset, and so how to read on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Edge {
    /// The end of a line, or the beginning of the file: a line begins here.
    #[default]
    Line = 0,
    /// A piece of a line that went out for itself because its end did not come: a newline here ends that piece, and is
    /// no empty line.
    Partial = 1,
    /// The beginning of a line of which no more is wanted: skip to its end.
    Skipping = 2,
    /// The end of a line of a container's log file, in the middle of a line of its standard output that was cut: of that no
    /// more is wanted.
    PassingOut = 3,
    /// The same, of its standard error.
    PassingErr = 4,
    /// The same, of both.
    PassingBoth = 5,
}

impl Edge {
    fn from_code(code: u8) -> Option<Edge> {
        use Edge::*;
        [Line, Partial, Skipping, PassingOut, PassingErr, PassingBoth].get(usize::from(code)).copied()
    }
}

/// How far a file was read, and how to know it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The path its stream is called by: where the file was found first, though it may have been renamed since.
    pub path: Arc<Path>,
    /// The device it is on.
    pub dev: u64,
    /// Its number there.
    pub inode: u64,
    /// CRC32C of its first `head_len` bytes.
    pub head_crc: u32,
    /// How many those are, at most [`HEAD_MAX`].
    pub head_len: u16,
    /// Everything before this byte is safe.
    pub offset: u64,
    /// What stands before it.
    pub edge: Edge,
    /// CRC32C of the last [`TAIL_MAX`] bytes before the offset, or of all if it is smaller.
    pub tail_crc: u32,
    /// When the file was last known to be there, in nanoseconds since 1970-01-01 UTC, by the clock of file systems.
    pub last_seen: i64,
}

/// A position as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Rises with every change of any position: of two rows about one file the higher stamp is the newer.
    pub stamp: u64,
    /// The name of the source that reads the file.
    pub source: Arc<str>,
    /// How far.
    pub position: Position,
}

/// Bytes of a row before its two texts.
const FIXED: usize = 8 * 5 + 4 * 2 + 2 + 1 + 2 + 2;

impl Row {
    /// How many bytes [`Row::encode`] writes.
    pub fn encoded_len(&self) -> usize {
        FIXED + self.source.len() + self.position.path.as_os_str().len()
    }

    /// Whether the lengths of its texts can be written at all.
    pub fn is_encodable(&self) -> bool {
        self.source.len() <= u16::MAX.into() && self.position.path.as_os_str().len() <= u16::MAX.into()
    }

    /// Appends it to `out`, all numbers little-endian.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = &self.position;
        let path = at.path.as_os_str().as_bytes();
        for number in [self.stamp, at.dev, at.inode, at.offset, at.last_seen as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&at.head_crc.to_le_bytes());
        out.extend_from_slice(&at.tail_crc.to_le_bytes());
        out.extend_from_slice(&at.head_len.to_le_bytes());
        out.push(at.edge as u8);
        out.extend_from_slice(&(self.source.len() as u16).to_le_bytes());
        out.extend_from_slice(&(path.len() as u16).to_le_bytes());
        out.extend_from_slice(self.source.as_bytes());
        out.extend_from_slice(path);
    }

    /// Takes one off the front of `bytes`, or `None` if what stands there is none.
    pub fn decode(bytes: &mut &[u8]) -> Option<Row> {
        let mut numbers = [0; 5];
        for number in &mut numbers {
            *number = u64::from_le_bytes(take(bytes)?);
        }
        let [stamp, dev, inode, offset, last_seen] = numbers;
        let head_crc = u32::from_le_bytes(take(bytes)?);
        let tail_crc = u32::from_le_bytes(take(bytes)?);
        let head_len = u16::from_le_bytes(take(bytes)?);
        let [edge] = take(bytes)?;
        let source_len = u16::from_le_bytes(take(bytes)?);
        let path_len = u16::from_le_bytes(take(bytes)?);
        let source = text(bytes, source_len.into())?;
        let path = bytes.split_off(..usize::from(path_len))?;
        let path = Path::new(OsStr::from_bytes(path)).into();
        let edge = Edge::from_code(edge)?;
        let last_seen = last_seen as i64;
        let position = Position { path, dev, inode, head_crc, head_len, offset, edge, tail_crc, last_seen };
        (usize::from(head_len) <= HEAD_MAX).then_some(Row { stamp, source, position })
    }
}

/// Takes `N` bytes off the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*front)
}

/// Takes `len` bytes of UTF-8 off the front.
pub(super) fn text(bytes: &mut &[u8], len: usize) -> Option<Arc<str>> {
    Some(std::str::from_utf8(bytes.split_off(..len)?).ok()?.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn row(stamp: u64, source: &str, path: &str, inode: u64, offset: u64) -> Row {
        let position = Position {
            path: Path::new(path).into(),
            dev: 7,
            inode,
            head_crc: 0x1234_5678,
            head_len: 1024,
            offset,
            edge: Edge::Partial,
            tail_crc: 9,
            last_seen: -5,
        };
        Row { stamp, source: source.into(), position }
    }

    #[test]
    fn a_row_survives_its_bytes_and_no_cut_of_them_is_taken_for_one() {
        let row = row(3, "app", "/var/log/a\u{e9}.log", 11, 99);
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        assert_eq!(bytes.len(), row.encoded_len());
        assert_eq!(Row::decode(&mut &bytes[..]), Some(row));
        for cut in 0..bytes.len() {
            assert_eq!(Row::decode(&mut &bytes[..cut]), None, "cut at {cut}");
        }
    }
}
