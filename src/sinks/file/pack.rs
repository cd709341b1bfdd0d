//! Compressing one rotated file, so that at every moment all of it is on the disk under one name or the other.
//!
//! The compressed file is written under a temporary name, made durable, given its name, the name made durable, and only
//! then the original goes. Whoever finds both keeps the original, which is always whole, and compresses it again.

use super::beneath::{self, Base};
use super::disk::Disk;
use super::rotate::Compress;
use crate::thread::Flag;
use rustix::fs::FlockOperation;
use std::fs::{File, FileTimes};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Bytes read at once; between two reads it is looked whether to stop.
const STEP: usize = 256 << 10;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    /// It is compressed.
    Done,
    /// Someone else works on it or writes to it, or we were told to stop: later.
    Later,
}

/// Whether nobody else works on the file `path`; until the result is dropped nobody will. `None`: somebody does, or it
/// is gone.
pub(super) fn claim(base: &Base, path: &str) -> io::Result<Option<File>> {
    let file = match base.find(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Whoever had it before may be done with it.
    let stat = file.metadata()?;
    Ok((base.identity(path).ok() == Some((stat.dev(), stat.ino()))).then_some(file))
}

/// Compresses the rotated file `path`.
pub(super) fn pack(
    disk: &dyn Disk,
    base: &Base,
    path: &str,
    how: Compress,
    stop: &Flag,
) -> io::Result<Packed> {
    let Some(original) = claim(base, path)? else { return Ok(Packed::Later) };
    let to = format!("{}{}", beneath::name(path), how.suffix());
    let temp = beneath::sibling(path, &format!("{to}.tmp"));
    remove_if_there(disk, base, &temp)?;
    let written = write(disk, base, &original, &temp, how, stop);
    if !matches!(written, Ok(true)) {
        // What cannot be removed now is removed by the next sweep.
        let _ = disk.remove(base, &temp);
        return written.map(|_| Packed::Later);
    }
    disk.rename(base, &temp, &to)?;
    // Before the original goes, the name of what takes its place is durable.
    disk.sync_dir(&base.dir(beneath::parent(path))?)?;
    disk.remove(base, path)?;
    Ok(Packed::Done)
}

/// Removes the file `path`, if it is there.
pub(super) fn remove_if_there(disk: &dyn Disk, base: &Base, path: &str) -> io::Result<()> {
    match disk.remove(base, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes `original` compressed to a new file `temp` and makes it durable; false if it is not all of it.
fn write(
    disk: &dyn Disk,
    base: &Base,
    original: &File,
    temp: &str,
    how: Compress,
    stop: &Flag,
) -> io::Result<bool> {
    let before = original.metadata()?;
    let file = disk.create(base, temp, &mut |_| {})?;
    let out = Out { disk, file: &file };
    let copied = match how {
        Compress::None => return Ok(false),
        Compress::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            let copied = copy(original, &mut encoder, stop)?;
            encoder.finish()?;
            copied
        }
        Compress::Zstd => {
            let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            encoder.include_checksum(true)?;
            let copied = copy(original, &mut encoder, stop)?;
            encoder.finish()?;
            copied
        }
    };
    // As the original was, for whoever looks at ages and rights.
    file.set_permissions(before.permissions())?;
    file.set_times(FileTimes::new().set_modified(before.modified()?))?;
    disk.sync(&file)?;
    let after = original.metadata()?;
    Ok(copied == Some(after.len()) && after.modified()? == before.modified()?)
}

/// Copies all of `from`, and says how much that was; `None` if it was told to stop.
fn copy(from: &File, to: &mut impl Write, stop: &Flag) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    loop {
        if stop.is_raised() {
            return Ok(None);
        }
        match from.read_at(&mut buffer, at) {
            Ok(0) => return Ok(Some(at)),
            Ok(len) => {
                to.write_all(&buffer[..len])?;
                at += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

struct Out<'a> {
    disk: &'a dyn Disk,
    file: &'a File,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.file, &[IoSlice::new(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
