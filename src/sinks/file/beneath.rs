//! Opening files beneath a directory, and nowhere else.
//!
//! No symbolic link is followed below the base: someone who may write there cannot make us write elsewhere. The kernel
//! sees to it in one call (`openat2`, Linux 5.6); where that is missing or forbidden we walk name by name.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// How often an open is tried again when directories move while the kernel walks them.
const RACES_MAX: usize = 16;

/// A directory that files are opened beneath. Paths are relative to it and made of ordinary names.
pub(super) struct Base {
    path: PathBuf,
    dir: OwnedFd,
    /// `openat2` does not work here. Relaxed: only a hint, finding out again is harmless.
    walks: AtomicBool,
}

impl Base {
    /// Opens `path`, making it and what leads to it if need be, and sees that files can be made in it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o750).create(path)?;
        let dir =
            rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
        Ok(Base { path: path.to_owned(), dir, walks: AtomicBool::new(false) })
    }

    /// Opens it anew: someone may have moved it away.
    pub(super) fn anew(&self) -> io::Result<Self> {
        Base::open(&self.path)
    }

    /// Opens the file `path` to append and read, making it and its directories if need be. `made` is told of each
    /// directory that has a new name in it.
    pub(super) fn create(&self, path: &str, made: &mut impl FnMut(&str)) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND;
        for _ in 0..RACES_MAX {
            match self.at(path, flags) {
                Err(Errno::NOENT) => {}
                other => return regular(other?),
            }
            match self.at(path, flags | OFlags::CREATE | OFlags::EXCL) {
                Ok(file) => {
                    made(parent(path));
                    return regular(file);
                }
                Err(Errno::NOENT) => self.make_dirs(parent(path), made)?,
                // Someone else made it in between.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other("the directory keeps changing"))
    }

    /// Opens the file `path` to append and read, if it is there.
    pub(super) fn find(&self, path: &str) -> io::Result<File> {
        regular(self.at(path, OFlags::RDWR | OFlags::APPEND)?)
    }

    /// Opens the directory `path`, to be synced; an empty path is the base itself.
    pub(super) fn dir(&self, path: &str) -> io::Result<File> {
        let path = if path.is_empty() { "." } else { path };
        Ok(self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?.into())
    }

    /// The device and inode that `path` names now.
    pub(super) fn identity(&self, path: &str) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Whether there is anything called `path`.
    pub(super) fn has(&self, path: &str) -> io::Result<bool> {
        let dir = match self.dir(parent(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match rustix::fs::statat(&dir, name(path), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the file `path` another name in its directory.
    ///
    /// Errors: something has that name already; and whatever else can fail.
    pub(super) fn rename(&self, path: &str, to: &str) -> io::Result<()> {
        let dir = self.dir(parent(path))?;
        match rustix::fs::renameat_with(&dir, name(path), &dir, to, RenameFlags::NOREPLACE) {
            // Not every file system can promise it: then we look ourselves, and nobody else should give such names.
            Err(Errno::INVAL | Errno::NOSYS) if !self.has(&sibling(path, to))? => {
                Ok(rustix::fs::renameat(&dir, name(path), &dir, to)?)
            }
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST.into()),
            other => Ok(other?),
        }
    }

    /// Removes the name of the file `path`.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let dir = self.dir(parent(path))?;
        Ok(rustix::fs::unlinkat(&dir, name(path), AtFlags::empty())?)
    }

    /// Calls `each` with every name in the directory `path` and whether that is a directory itself, until it says no.
    /// What is neither a file nor a directory is left out.
    pub(super) fn list(&self, path: &str, mut each: impl FnMut(&str, bool) -> bool) -> io::Result<()> {
        let dir = self.dir(path)?;
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            // None of our names is anything but UTF-8.
            let Ok(name) = entry.file_name().to_str() else { continue };
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
                    stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
                }
                known => known,
            };
            let wanted = matches!(kind, FileType::RegularFile | FileType::Directory);
            if wanted && name != "." && name != ".." && !each(name, kind == FileType::Directory) {
                break;
            }
        }
        Ok(())
    }

    /// Makes durable whatever was written to the file system that the base lies on, by whomever.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        match rustix::fs::syncfs(&self.dir) {
            // What sandboxes answer to calls they do not know.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::sync(),
            other => other?,
        }
        Ok(())
    }

    fn make_dirs(&self, dirs: &str, made: &mut impl FnMut(&str)) -> io::Result<()> {
        let ends = dirs.match_indices('/').map(|(at, _)| at).chain(Some(dirs.len()));
        for dir in ends.map(|end| &dirs[..end]).filter(|dir| !dir.is_empty()) {
            let above = self.dir(parent(dir))?;
            match rustix::fs::mkdirat(&above, name(dir), Mode::from_raw_mode(0o750)) {
                Ok(()) => made(parent(dir)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Nothing to make, yet nothing there: the base itself is gone.
        if dirs.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the directory was removed"));
        }
        Ok(())
    }

    fn at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        // NONBLOCK: a planted pipe must not make us wait. It means nothing to ordinary files.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o640) } else { Mode::empty() };
        if self.walks.load(Relaxed) {
            return self.walk(path, flags, mode);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut races = 0;
        loop {
            match rustix::fs::openat2(&self.dir, path, flags, mode, resolve) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if races < RACES_MAX => races += 1,
                // EPERM: what older container runtimes answer to calls they do not know.
                Err(Errno::NOSYS | Errno::PERM) => {
                    let walked = self.walk(path, flags, mode);
                    self.walks.store(walked.is_ok(), Relaxed);
                    return walked;
                }
                other => return other,
            }
        }
    }

    /// What `openat2` does, name by name.
    fn walk(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir: Option<OwnedFd> = None;
        for name in parent(path).split('/').filter(|name| !name.is_empty()) {
            if name == ".." {
                return Err(Errno::XDEV);
            }
            dir = Some(rustix::fs::openat(dir.as_ref().unwrap_or(&self.dir), name, step, Mode::empty())?);
        }
        if name(path) == ".." {
            return Err(Errno::XDEV);
        }
        rustix::io::retry_on_intr(|| {
            rustix::fs::openat(dir.as_ref().unwrap_or(&self.dir), name(path), flags, mode)
        })
    }
}

fn regular(file: OwnedFd) -> io::Result<File> {
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is something that is not a regular file",
        ));
    }
    Ok(file)
}

/// What leads to the last name of `path`.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// `name` in the directory of `path`.
pub(super) fn sibling(path: &str, name: &str) -> String {
    match parent(path) {
        "" => name.to_owned(),
        dir => format!("{dir}/{name}"),
    }
}

pub(super) fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    /// The base as the kernel walks it, and as we do.
    fn bases(dir: &Path) -> [Base; 2] {
        let (by_kernel, by_hand) = (Base::open(dir).unwrap(), Base::open(dir).unwrap());
        by_hand.walks.store(true, Relaxed);
        [by_kernel, by_hand]
    }

    #[test]
    fn files_and_directories_are_made_and_told_of_once() {
        for which in 0..2 {
            let temp = tempfile::tempdir().unwrap();
            let base = &bases(&temp.path().join("deep/base"))[which];
            let mut told = Vec::new();
            for path in ["a/b/c.log", "a/b/c.log", "a/d.log", "e.log"] {
                base.create(path, &mut |dir| told.push(dir.to_owned())).unwrap();
            }
            assert_eq!(told, ["", "a", "a/b", "a", ""]);
            let mode = |path| fs::metadata(temp.path().join("deep/base").join(path)).unwrap().mode() & 0o777;
            assert_eq!((mode("a") & !0o750, mode("a/b/c.log") & !0o640), (0, 0));
            assert!(base.find("a/d.log").is_ok() && base.find("a/x.log").is_err());
            assert!(base.dir("").is_ok() && base.dir("a/b").is_ok());
        }
    }

    #[test]
    fn a_planted_link_is_not_followed_wherever_it_stands() {
        for which in 0..2 {
            let temp = tempfile::tempdir().unwrap();
            let (inside, outside) = (temp.path().join("base"), temp.path().join("outside"));
            let base = &bases(&inside)[which];
            fs::create_dir(&outside).unwrap();
            fs::write(outside.join("secret"), "kept").unwrap();
            symlink(&outside, inside.join("dir")).unwrap();
            symlink(outside.join("secret"), inside.join("file.log")).unwrap();
            symlink(outside.join("new"), inside.join("dangling.log")).unwrap();
            for path in [
                "dir/secret",
                "dir/new",
                "dir/sub/new",
                "file.log",
                "dangling.log",
                "../outside/secret",
                "..",
            ] {
                assert!(base.create(path, &mut |_| {}).is_err(), "{path}");
                assert!(base.find(path).is_err(), "{path}");
            }
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
            assert_eq!(fs::read(outside.join("secret")).unwrap(), b"kept");
        }
    }

    #[test]
    fn only_regular_files_are_written_to() {
        let temp = tempfile::tempdir().unwrap();
        let pipe = temp.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        for base in bases(temp.path()) {
            assert!(base.create("pipe", &mut |_| {}).is_err());
            assert!(base.create("dir", &mut |_| {}).is_err());
        }
    }
}
