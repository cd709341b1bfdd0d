//! The operations that can fail when a disk is full or broken, and between which a process can be killed.

use super::beneath::Base;
use std::fs::File;
use std::io::{self, IoSlice};

/// What a file sink does to its disk; behind a trait, so that tests can have a broken one.
pub(super) trait Disk: Send + Sync {
    /// Writes some of the bytes to the file's end, and says how many.
    fn write(&self, file: &File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(file, bytes)?)
    }
    /// Cuts the file to its first `len` bytes.
    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }
    /// Makes the file's content durable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
    /// Makes durable which names a directory has.
    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        dir.sync_all()
    }
    /// Makes durable whatever anyone wrote to the file system of `base`.
    fn sync_all(&self, base: &Base) -> io::Result<()> {
        base.sync_all()
    }
    /// Opens the file `path`, making it if need be; `made` is told of each directory that has a new name in it.
    fn create(&self, base: &Base, path: &str, made: &mut dyn FnMut(&str)) -> io::Result<File> {
        base.create(path, &mut |dir| made(dir))
    }
    /// Gives the file `path` a name in its directory that nothing has.
    fn rename(&self, base: &Base, path: &str, to: &str) -> io::Result<()> {
        base.rename(path, to)
    }
    /// Removes the name of the file `path`.
    fn remove(&self, base: &Base, path: &str) -> io::Result<()> {
        base.remove(path)
    }
}

/// The disk as it is.
pub(super) struct System;

impl Disk for System {}
