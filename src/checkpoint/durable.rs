//! The durable tier's file: all positions at one moment, whole or not at all.
//!
//! ```text
//! "RINGPOS\n"  version u32  crc u32  generation u64  stamp u64  sources u32  rows u32   then the sources, then the rows
//! ```
//! All numbers are little-endian. The checksum is CRC32C of everything behind it. A source is its length (u16) and its
//! name.

use super::position::{Row, take, text};
use std::fmt;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"RINGPOS\n";
/// The version we write, and the only one there has been.
pub const VERSION: u32 = 1;
/// Where the checksum stands, and where what it covers begins.
const CRC: std::ops::Range<usize> = 12..16;

/// All that one file of the durable tier says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Rises with every file written.
    pub generation: u64,
    /// The last stamp that was given before it was taken: whatever has a lower one and is not in it was forgotten.
    pub stamp: u64,
    /// The sources that were running, with or without positions.
    pub sources: Vec<Arc<str>>,
    /// The positions.
    pub rows: Vec<Row>,
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It has no bytes: its writer died, or the disk was full.
    Empty,
    /// It is no checkpoint of ours.
    Foreign,
    /// A later version of this program wrote it.
    Version(u32),
    /// Its bytes are not all the ones that were written.
    Damaged,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Empty => f.write_str("it is empty"),
            Bad::Foreign => f.write_str("it is not a checkpoint"),
            Bad::Version(version) => write!(f, "it has version {version}, this program knows {VERSION}"),
            Bad::Damaged => f.write_str("its checksum or its layout is wrong"),
        }
    }
}

/// The bytes of a snapshot. Its texts are at most 65,535 bytes long each.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let rows = snapshot.rows.iter();
    encode_parts([snapshot.generation, snapshot.stamp], &snapshot.sources, rows)
}

/// As [`encode`], from borrowed parts.
pub(super) fn encode_parts<'a>(
    [generation, stamp]: [u64; 2],
    sources: &[Arc<str>],
    rows: impl Iterator<Item = &'a Row> + Clone,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + rows.clone().map(Row::encoded_len).sum::<usize>());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&stamp.to_le_bytes());
    out.extend_from_slice(&(sources.len() as u32).to_le_bytes());
    out.extend_from_slice(&(rows.clone().count() as u32).to_le_bytes());
    for source in sources {
        out.extend_from_slice(&(source.len() as u16).to_le_bytes());
        out.extend_from_slice(source.as_bytes());
    }
    rows.for_each(|row| row.encode(&mut out));
    seal(&mut out);
    out
}

/// Writes the right checksum into `bytes`, if they are long enough to have one.
pub fn seal(bytes: &mut [u8]) {
    if let Some((front, body)) = bytes.split_at_mut_checked(CRC.end) {
        front[CRC].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    }
}

/// What the bytes say. Of all byte strings, only those that [`encode`] writes are accepted.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Bad> {
    if bytes.is_empty() {
        return Err(Bad::Empty);
    }
    let mut rest = bytes.strip_prefix(&MAGIC).ok_or(Bad::Foreign)?;
    let version = u32::from_le_bytes(take(&mut rest).ok_or(Bad::Damaged)?);
    if version != VERSION {
        return Err(Bad::Version(version));
    }
    let crc = u32::from_le_bytes(take(&mut rest).ok_or(Bad::Damaged)?);
    if crc != crc32c::crc32c(rest) {
        return Err(Bad::Damaged);
    }
    body(rest).ok_or(Bad::Damaged)
}

fn body(mut rest: &[u8]) -> Option<Snapshot> {
    let generation = u64::from_le_bytes(take(&mut rest)?);
    let stamp = u64::from_le_bytes(take(&mut rest)?);
    let sources = u32::from_le_bytes(take(&mut rest)?);
    let rows = u32::from_le_bytes(take(&mut rest)?);
    let source = |rest: &mut &[u8]| {
        let len = u16::from_le_bytes(take(rest)?);
        text(rest, len.into())
    };
    // The counts are not believed before the items are there: nothing is reserved for them.
    let sources = (0..sources).map(|_| source(&mut rest)).collect::<Option<Vec<_>>>()?;
    let rows = (0..rows).map(|_| Row::decode(&mut rest)).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some(Snapshot { generation, stamp, sources, rows })
}

#[cfg(test)]
mod tests {
    use super::super::position::tests::row;
    use super::*;

    fn snapshot() -> Snapshot {
        let rows = vec![row(1, "a", "/x", 1, 10), row(2, "b", "/y", 2, 20)];
        Snapshot { generation: 5, stamp: 2, sources: vec!["a".into(), "b".into(), "idle".into()], rows }
    }

    #[test]
    fn a_snapshot_survives_its_bytes() {
        for snapshot in [Snapshot::default(), snapshot()] {
            assert_eq!(decode(&encode(&snapshot)), Ok(snapshot));
        }
    }

    #[test]
    fn a_file_cut_or_changed_at_any_byte_is_refused() {
        let bytes = encode(&snapshot());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
            let mut wrong = bytes.clone();
            wrong[cut] ^= 0x10;
            assert!(decode(&wrong).is_err(), "flipped at {cut}");
        }
        assert_eq!(decode(b""), Err(Bad::Empty));
        assert_eq!(decode(b"hello, world, hello"), Err(Bad::Foreign));
        let mut later = bytes;
        later[8] = 2;
        assert_eq!(decode(&later), Err(Bad::Version(2)));
    }

    #[test]
    fn counts_that_promise_too_much_are_refused_without_reserving_for_them() {
        let mut bytes = encode(&snapshot());
        bytes[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        seal(&mut bytes);
        assert_eq!(decode(&bytes), Err(Bad::Damaged));
    }
}
