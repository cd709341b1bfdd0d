//! Copies of damaged ranges, for whoever wants to look.

use super::segment;
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use std::io;
use std::path::Path;

/// Name of the directory, within that of the buffer.
pub const NAME: &str = "quarantine";

/// Copies a range of a segment, unless there would be more than `max` bytes with the `used` ones: how many bytes were
/// added. The name says where they come from; met again after a restart, the range takes the same name.
pub(super) fn copy(
    io: &dyn StorageIo,
    dir: &Path,
    segment: (u64, &dyn StorageFile),
    range: (u64, u64),
    [used, max]: [u64; 2],
) -> io::Result<u64> {
    let (id, file) = segment;
    let (mut at, end) = (range.0, range.1.min(file.len()?));
    if used.saturating_add(end.saturating_sub(at)) > max {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "the quarantine is full"));
    }
    let dir = dir.join(NAME);
    io.create_dir(&dir)?;
    let out = io.open(&dir.join(format!("{}-{at}", segment::name(id))), Access::Update, PRIVATE)?;
    let before = out.len()?;
    let mut bytes = vec![0; 64 << 10];
    while at < end {
        let want = bytes.len().min((end - at) as usize);
        let read = file.read_at(&mut bytes[..want], at)?;
        if read == 0 {
            break;
        }
        out.write_at(&bytes[..read], at - range.0)?;
        at += read as u64;
    }
    out.sync_data()?;
    io.sync_dir(&dir)?;
    Ok(out.len()?.saturating_sub(before))
}

/// Bytes that lie there.
pub fn bytes(io: &dyn StorageIo, dir: &Path) -> u64 {
    let dir = dir.join(NAME);
    let names = io.list(&dir).unwrap_or_default();
    let len = |name| io.open(&dir.join(name), Access::Read, PRIVATE).and_then(|file| file.len()).unwrap_or(0);
    names.into_iter().map(len).sum()
}
