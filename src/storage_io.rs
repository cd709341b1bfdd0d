//! Every file operation that durability depends on, behind one trait.
//!
//! Checkpoints, buffers and file sinks call nothing else, so that a simulated disk can stand in for the real one and
//! lose exactly what a power cut would. [`Disk`] is the real one. Files and directories it creates can be read by the
//! process's own user alone unless the caller says otherwise.
//!
//! Not here: reading the logs of others (see `sources::file`); nothing of ours depends on how those are written.

#[cfg(test)]
pub(crate) mod sim;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

/// The mode of files that hold our own state.
pub const PRIVATE: u32 = 0o600;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it; it must exist.
    Read,
    /// To write at its end; created if missing.
    Append,
    /// To read and write anywhere in it; created if missing.
    Update,
    /// To write it from nothing: what was there is cut off.
    Fresh,
}

/// A file system, as far as durability needs one.
pub trait StorageIo: Send + Sync {
    /// Opens a file; if that creates it, with `mode`. A symbolic link at the last component is not followed.
    fn open(&self, path: &Path, access: Access, mode: u32) -> io::Result<Box<dyn StorageFile>>;
    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Gives a file another name, in place of what had it. Durable only after [`StorageIo::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name. Durable only after [`StorageIo::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes durable which names a directory holds.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Creates a directory, and those above it, for our own user alone. No error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock that the file at `path` stands for, until the returned value is dropped or the process ends.
    ///
    /// Errors: [`io::ErrorKind::WouldBlock`] if another process (or another value) has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Writes behind the last byte, as much as the system takes at once: how many bytes that was is the result.
    fn append(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads at `offset` until `bytes` is full or the file ends: how many bytes that was is the result.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes its bytes durable, and its length. After an error nothing is known about what was written since the last
    /// success, and a second call may lie: give the file up.
    fn sync_data(&self) -> io::Result<()>;
    /// How long it is.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts it off, or lengthens it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room on the disk for its first `len` bytes; its length stays.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl StorageIo for Disk {
    fn open(&self, path: &Path, access: Access, mode: u32) -> io::Result<Box<dyn StorageFile>> {
        let how = match access {
            Access::Read => OFlags::RDONLY,
            Access::Append => OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE,
            Access::Update => OFlags::RDWR | OFlags::CREATE,
            Access::Fresh => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
        };
        Ok(Box::new(open(path, how, mode)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        open(dir, OFlags::RDONLY | OFlags::DIRECTORY, 0)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = open(path, OFlags::RDWR | OFlags::CREATE, PRIVATE)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

/// Never waits for a FIFO, never takes a terminal, never follows a link someone planted at the name.
fn open(path: &Path, how: OFlags, mode: u32) -> io::Result<File> {
    let always = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, how | always, Mode::from_raw_mode(mode))?))
}

impl StorageFile for File {
    fn append(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut file = self;
        file.write_vectored(slices)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(self, FallocateFlags::KEEP_SIZE, 0, len)?)
    }
}

/// Reads at `offset` until `bytes` is full or the file ends: how many bytes that was is the result.
pub fn read_full_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match FileExt::read_at(file, &mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_disk_does_what_the_trait_says() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (a, b, sub) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("x/y"));
        let file = Disk.open(&a, Access::Append, PRIVATE)?;
        assert_eq!(file.append(&[IoSlice::new(b"one "), IoSlice::new(b"two")])?, 7);
        file.sync_data()?;
        file.allocate(4096)?;
        assert_eq!((file.len()?, a.metadata()?.permissions().mode() & 0o777), (7, PRIVATE));
        Disk.rename(&a, &b)?;
        let file = Disk.open(&b, Access::Update, PRIVATE)?;
        file.write_at(b"ONE", 0)?;
        let mut bytes = [0; 16];
        assert_eq!((file.read_at(&mut bytes, 4)?, &bytes[..3]), (3, &b"two"[..]));
        file.set_len(5)?;
        assert_eq!(Disk.read(&b)?, b"ONE t");
        Disk.create_dir(&sub)?;
        Disk.create_dir(&sub)?;
        assert_eq!(sub.metadata()?.permissions().mode() & 0o777, 0o700);
        Disk.remove(&b)?;
        Disk.sync_dir(dir.path())?;
        assert_eq!(Disk.list(dir.path())?, ["x"]);
        Ok(())
    }

    #[test]
    fn a_lock_is_held_by_one_and_given_back_by_dropping_it() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("lock");
        let held = Disk.lock(&path)?;
        assert_eq!(Disk.lock(&path).map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        drop(held);
        Disk.lock(&path).map(drop)
    }

    #[test]
    fn a_link_planted_at_a_name_is_not_followed() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (secret, link) = (dir.path().join("secret"), dir.path().join("link"));
        std::fs::write(&secret, "s")?;
        std::os::unix::fs::symlink(&secret, &link)?;
        assert!(Disk.open(&link, Access::Fresh, PRIVATE).is_err());
        assert_eq!(Disk.read(&secret)?, b"s");
        Ok(())
    }
}
