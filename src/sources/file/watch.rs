//! News from the system about watched directories, and about files that links point to.
//!
//! Watching makes reading prompt, nothing more: without it (no watches left, a network file system) everything is found
//! by the next rescan.

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Room for several hundred events at a time.
const BUFFER: usize = 32 << 10;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The file was written to, or cut.
    Written,
    /// It has come, gone, or become another.
    Renamed,
    /// A directory has come or gone, or news were lost: look everywhere.
    Everything,
}

/// The system's notices.
pub struct Watch {
    inotify: Option<Inotify>,
    /// By the system's number: the directory, or the file itself.
    paths: HashMap<i32, (Arc<Path>, WatchDescriptor)>,
    /// The number each path has.
    numbers: HashMap<Arc<Path>, i32>,
    buffer: Box<[u8]>,
    /// The path of the event at hand, reused.
    path: PathBuf,
    failed: bool,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Watch {
        let inotify = Inotify::init().inspect_err(|error| {
            tracing::warn!("files are only looked at every rescan: the system gives no notices: {error}");
        });
        let (paths, numbers) = (HashMap::new(), HashMap::new());
        let buffer = vec![0; BUFFER].into();
        Watch { inotify: inotify.ok(), paths, numbers, buffer, path: PathBuf::new(), failed: false }
    }

    /// What to wait for, if there is anything.
    pub fn fd(&self) -> Option<RawFd> {
        self.inotify.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Watches the directory that is at this path now. To be said again whenever it may be another one.
    pub fn add_dir(&mut self, dir: &Path) {
        let names = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_FROM | WatchMask::MOVED_TO;
        self.add(
            dir,
            names | WatchMask::MODIFY | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR,
        );
    }

    /// Watches what the link `path` points to now.
    pub fn add_link(&mut self, path: &Path) {
        self.add(path, WatchMask::MODIFY);
    }

    fn add(&mut self, path: &Path, mask: WatchMask) {
        let Some(inotify) = &self.inotify else { return };
        // What is watched already keeps its number; another directory at the path gets another.
        match inotify.watches().add(path, mask) {
            Ok(watch) => {
                let number = watch.get_watch_descriptor_id();
                if self.numbers.get(path) == Some(&number) {
                    return;
                }
                let path: Arc<Path> = path.into();
                if let Some(old) = self.numbers.insert(Arc::clone(&path), number) {
                    self.forget(old);
                }
                self.numbers.insert(Arc::clone(&path), number);
                self.paths.insert(number, (path, watch));
            }
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(
                    "{} is only looked at every rescan: it cannot be watched: {error}",
                    path.display()
                );
            }
            Err(_) => {}
        }
    }

    /// No longer watches what has this number: it is not at its path any more.
    fn forget(&mut self, number: i32) {
        if let Some((path, watch)) = self.paths.remove(&number) {
            self.numbers.remove(&path);
            // An error says that the system has forgotten it before us.
            let _ = self.inotify.as_ref().map(|inotify| inotify.watches().remove(watch));
        }
    }

    /// Tells `each` all news there are, in order, without waiting.
    pub fn read(&mut self, each: &mut dyn FnMut(&Path, News)) {
        while let Some(inotify) = &mut self.inotify {
            let events = match inotify.read_events(&mut self.buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!("files are only looked at every rescan: no more notices: {error}");
                    self.inotify = None;
                    return;
                }
            };
            let (mut none, mut moved) = (true, Vec::new());
            for event in events {
                none = false;
                let number = event.wd.get_watch_descriptor_id();
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    each(Path::new(""), News::Everything);
                }
                if event.mask.intersects(EventMask::IGNORED | EventMask::MOVE_SELF) {
                    moved.push(number);
                    each(Path::new(""), News::Everything);
                }
                if let Some((path, _)) = self.paths.get(&number) {
                    tell(path, event.name, event.mask, &mut self.path, each);
                }
            }
            moved.into_iter().for_each(|number| self.forget(number));
            if none {
                return;
            }
        }
    }
}

fn tell(
    at: &Path,
    name: Option<&OsStr>,
    mask: EventMask,
    path: &mut PathBuf,
    each: &mut dyn FnMut(&Path, News),
) {
    // Not `PathBuf::from`: once per event, and the buffer has the room already.
    path.clear();
    path.push(at);
    path.extend(name);
    if mask.contains(EventMask::ISDIR) {
        each(path, News::Everything);
    } else if mask.contains(EventMask::MODIFY) {
        each(path, News::Written);
    } else if name.is_some() {
        each(path, News::Renamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_in_a_watched_directory_is_told_in_order() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (a, b, real, link) = (
            dir.path().join("a"),
            dir.path().join("b"),
            dir.path().join("sub/real"),
            dir.path().join("link"),
        );
        std::fs::create_dir(dir.path().join("sub"))?;
        std::fs::write(&real, "")?;
        std::os::unix::fs::symlink(&real, &link)?;
        let mut watch = Watch::new();
        watch.add_dir(dir.path());
        watch.add_dir(dir.path());
        watch.add_link(&link);
        let news = |watch: &mut Watch| {
            let mut news = Vec::new();
            watch.read(&mut |path, what| news.push((path.to_path_buf(), what)));
            news
        };
        std::fs::write(&a, "x")?;
        std::fs::rename(&a, &b)?;
        std::fs::write(&real, "y")?;
        let want = [(&a, News::Renamed), (&a, News::Written), (&a, News::Renamed), (&b, News::Renamed)];
        let mut want: Vec<_> = want.map(|(path, what)| (path.clone(), what)).into();
        want.push((link, News::Written));
        let mut got = news(&mut watch);
        got.dedup();
        assert_eq!(got, want);
        std::fs::create_dir(dir.path().join("new"))?;
        assert_eq!(news(&mut watch), [(dir.path().join("new"), News::Everything)]);
        Ok(())
    }
}
