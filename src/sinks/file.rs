//! Entries appended to files named by a template.
//!
//! A batch is written to its files whole or, for the sender to try again, not at all: what an attempt that failed
//! halfway had written is cut off again. A file that someone else appended to meanwhile is left alone; what was
//! written then comes twice, and is counted.
//!
//! A file whose path names another file, or none, is noticed within a second and opened anew, as it is by
//! [`Sink::reopen`]; a *directory* that was moved away, only by the latter. Files are ours to write: one that ends
//! within a line when it is opened is taken to be torn, and repaired.
//!
//! Files can be rotated (see `rotate`): by a rename between two batches, so that no line is split. What becomes of rotated
//! files is done by [`Sink::upkeep`], beside the deliveries.

mod beneath;
mod disk;
mod group;
mod handles;
mod keep;
mod pack;
mod places;
pub mod rotate;
mod shape;
mod torn;
mod write;

use super::config::FileSinkConfig;
use super::format::Format;
use super::template::Template;
use super::{SendError, Sink};
use crate::batch::Batch;
use crate::clock::unix_nanos;
use crate::pool::Allowance;
use crate::thread::Flag;
use beneath::Base;
use disk::{Disk, System};
use group::{Grouper, Span};
use handles::{Handles, Now};
use keep::{Keeper, Owner};
use parking_lot::Mutex;
use places::OVERFLOW;
use rotate::RotateConfig;
use rustix::io::Errno;
use shape::Shape;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::time::Instant;
use write::Writer;

/// When what was written is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// By [`Sink::sync`], before the checkpoint that relies on it.
    #[default]
    Checkpoint,
    /// Before a batch counts as taken.
    Always,
    /// When the system likes.
    None,
}

/// How a [`FileSink`] writes.
#[derive(Clone, Debug)]
pub struct FileSinkSettings {
    /// Where to.
    pub path: Template,
    /// In which shape.
    pub format: Format,
    /// Most files kept open; at least one.
    pub open_files: usize,
    /// How many descriptors its files may take now.
    pub open: Allowance,
    /// When it is durable.
    pub fsync: Fsync,
    /// Most different files written to within an hour.
    pub max_files: usize,
    /// When files are rotated, if ever.
    pub rotate: Option<RotateConfig>,
}

impl FileSinkSettings {
    /// As the keys of a sink say, with so many descriptors for its files.
    ///
    /// Errors: the path cannot be read as a template; says why.
    pub fn of(config: &FileSinkConfig, open: Allowance) -> Result<Self, String> {
        // Each by its name: a key that is forgotten here would be read and have no effect.
        let FileSinkConfig { path, format, open_files, fsync, max_files, rotate } = config;
        let path = Template::compile(path).map_err(|error| error.message)?;
        let (format, open_files, fsync, max_files) = (*format, *open_files, *fsync, *max_files);
        Ok(FileSinkSettings { path, format, open_files, open, fsync, max_files, rotate: rotate.clone() })
    }
}

/// Appends entries to files.
pub struct FileSink {
    base: PathBuf,
    fsync: Fsync,
    disk: Box<dyn Disk>,
    state: Mutex<State>,
    /// Held during a sync: a second one must not return before the first has done what both rely on.
    syncing: Mutex<()>,
    /// Why the last attempt failed, if it did.
    unwell: Mutex<Option<String>>,
    /// The system could not say what became of acknowledged entries. Final: a second sync of the same file may succeed
    /// though the pages are gone.
    unsafe_since: Mutex<Option<String>>,
    /// Files are to be opened anew before the next batch.
    moved: AtomicBool,
    /// What another process wrote here before it was killed, acknowledged and never synced, is durable.
    inherited_is_synced: AtomicBool,
    rotate: Option<RotateConfig>,
    /// What tends rotated files.
    keeper: Option<Mutex<Keeper>>,
    /// A file was rotated since the keeper looked.
    rotated: AtomicBool,
    /// The only path, if there is but one.
    fixed_path: Option<String>,
}

struct State {
    grouper: Grouper,
    writer: Writer,
    handles: Handles,
    /// What this attempt wrote.
    wrote: Vec<Wrote>,
    duplicates: u64,
}

/// What an attempt wrote to one file.
struct Wrote {
    path: Arc<str>,
    id: (u64, u64),
    before: u64,
    len: u64,
    entries: u64,
}

impl FileSink {
    /// Opens the base directory of the template, making it if need be.
    pub fn new(settings: FileSinkSettings) -> io::Result<Self> {
        FileSink::on(Box::new(System), settings)
    }

    fn on(disk: Box<dyn Disk>, settings: FileSinkSettings) -> io::Result<Self> {
        let FileSinkSettings { path: template, format, open_files, open, fsync, max_files, rotate } =
            settings;
        let path = template.base().to_owned();
        let base = Base::open(&path).map_err(|error| explain(&path, "", error))?;
        let fixed_path = template.fixed_path();
        if let Some(file) = &fixed_path {
            match base.find(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(explain(&path, file, error));
                }
                _ => {}
            }
        }
        let keeper = match &rotate {
            None => None,
            Some(config) => {
                let shape = Shape::of(&template).map_err(io::Error::other)?;
                Some(Mutex::new(Keeper::new(shape, config.clone())))
            }
        };
        let state = State {
            grouper: Grouper::new(template, max_files.max(1)),
            writer: Writer::new(format),
            handles: Handles::new(base, (open_files, open), fsync != Fsync::None),
            wrote: Vec::new(),
            duplicates: 0,
        };
        Ok(FileSink {
            base: path,
            fsync,
            disk,
            state: Mutex::new(state),
            syncing: Mutex::new(()),
            unwell: Mutex::new(None),
            unsafe_since: Mutex::new(None),
            moved: AtomicBool::new(false),
            inherited_is_synced: AtomicBool::new(false),
            rotate,
            keeper,
            rotated: AtomicBool::new(false),
            fixed_path,
        })
    }

    /// How many entries may stand in files twice, as a failed attempt at them could not be undone.
    pub fn duplicates(&self) -> u64 {
        self.state.lock().duplicates
    }

    fn send_at(&self, batch: &Batch, now: Now) -> io::Result<()> {
        let mut state = self.state.lock();
        self.reopen_moved(&mut state);
        let written = self.write(&mut state, batch, now).and_then(|()| match self.fsync {
            Fsync::Always => self.sync_now(&mut state.handles),
            Fsync::Checkpoint | Fsync::None => Ok(()),
        });
        if written.is_err() {
            let before = state.duplicates;
            self.undo(&mut state);
            batch.ledger().duplicated.add(state.duplicates - before);
            return written;
        }
        if let Some(overflow) = state.wrote.iter().find(|wrote| &*wrote.path == OVERFLOW) {
            batch.ledger().overflowed.add(overflow.entries);
        }
        if self.fsync == Fsync::Checkpoint && state.handles.is_overdue() {
            // An error is for `sync` to tell: this batch was taken.
            let synced = state.handles.take_unsynced().and_then(|unsynced| unsynced.sync(&*self.disk));
            self.note_sync(synced).ok();
        }
        written
    }

    fn write(&self, state: &mut State, batch: &Batch, now: Now) -> io::Result<()> {
        let State { grouper, writer, handles, wrote, .. } = state;
        wrote.clear();
        grouper.sort(batch, now.wall);
        for (path, spans) in grouper.files() {
            self.write_file(writer, handles, wrote, batch, (path, spans), now)
                .map_err(|error| explain(&self.base, path, error))?;
        }
        Ok(())
    }

    fn write_file(
        &self,
        writer: &mut Writer,
        handles: &mut Handles,
        wrote: &mut Vec<Wrote>,
        batch: &Batch,
        (path, spans): (&Arc<str>, &[Span]),
        now: Now,
    ) -> io::Result<()> {
        let mut open = handles.take(&*self.disk, path, now)?;
        if let Some(rotate) = &self.rotate {
            let more = if rotate.max_size.is_some() { text_of(batch, spans) } else { 0 };
            if rotate.is_due(open.len, more, open.written, now.wall) {
                open = handles.rotate(&*self.disk, path, open, now)?;
                // Relaxed: a hint; what is found then is found on the disk.
                self.rotated.store(true, Relaxed);
            }
        }
        let before = open.len;
        let result = writer.write(&*self.disk, &open.file, batch, spans, &mut open.len);
        if open.len > before {
            open.dirty = true;
            open.written = now.wall;
            let entries = spans.iter().map(|span| span.places(&batch.parts()[span.part]).count() as u64);
            wrote.push(Wrote {
                path: Arc::clone(path),
                id: open.id,
                before,
                len: open.len,
                entries: entries.sum(),
            });
        }
        handles.put(path, open);
        result
    }

    /// Syncs what this attempt wrote. After a failure the whole of it is written and synced again.
    fn sync_now(&self, handles: &mut Handles) -> io::Result<()> {
        let result = handles.take_unsynced().and_then(|unsynced| {
            let result = unsynced.sync(&*self.disk);
            if result.is_err() {
                handles.put_back(unsynced);
            }
            result
        });
        result.map_err(|error| explain(&self.base, "", error))
    }

    /// Takes back what the attempt wrote.
    fn undo(&self, state: &mut State) {
        for Wrote { path, id, before, len, entries } in state.wrote.drain(..).rev() {
            if let Err(error) = state.handles.cut(&*self.disk, &path, id, len, before) {
                state.duplicates += entries;
                state.handles.close_one(&path);
                let error = explain(&self.base, &path, error);
                tracing::warn!("up to {entries} entries will be written twice: {error}");
            }
        }
    }

    fn reopen_moved(&self, state: &mut State) {
        // AcqRel: pairs with the Release in `reopen`; the files that were moved before the call are seen as moved.
        if self.moved.swap(false, AcqRel)
            && let Err(error) = state.handles.reopen()
        {
            // Every file is opened again through the old handle, or fails by itself.
            tracing::warn!("{}", explain(&self.base, "", error));
        }
    }

    /// Syncs what was written, and the first time also what another process of ours may have left unsynced: its fast
    /// checkpoint outlived it, and what we make durable now rests on that.
    fn sync_all(&self) -> io::Result<()> {
        // The lock is free again before the disk is waited for.
        let (base, unsynced) = {
            let mut state = self.state.lock();
            (state.handles.base(), state.handles.take_unsynced())
        };
        // Relaxed: only written and read under the lock of `syncing`.
        if !self.inherited_is_synced.load(Relaxed) {
            self.disk.sync_all(&base)?;
            self.inherited_is_synced.store(true, Relaxed);
        }
        unsynced?.sync(&*self.disk)
    }

    fn upkeep_at(&self, now: Now, stop: &Flag) {
        let Some(keeper) = &self.keeper else { return };
        let base = self.state.lock().handles.base();
        // Relaxed: see where it is set.
        let rotated = self.rotated.swap(false, Relaxed);
        keeper.lock().upkeep(self, &*self.disk, &base, (now, rotated), stop);
    }

    fn note_sync(&self, synced: io::Result<()>) -> io::Result<()> {
        let mut unsafe_since = self.unsafe_since.lock();
        if let Err(error) = synced {
            let why = format!("{}: written entries could not be made durable: {error}", self.base.display());
            tracing::error!("{why}; they come again after a restart");
            unsafe_since.get_or_insert(why);
        }
        unsafe_since.as_ref().map_or(Ok(()), |why| Err(io::Error::other(why.clone())))
    }
}

impl Sink for FileSink {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let result = self.send_at(batch, now());
        *self.unwell.lock() = result.as_ref().err().map(ToString::to_string);
        result.map_err(SendError::from)
    }

    /// Once it failed it goes on failing, until the process starts again from a checkpoint that was durable.
    fn sync(&self) -> io::Result<()> {
        if self.fsync == Fsync::None {
            return Ok(());
        }
        let _turn = self.syncing.lock();
        self.note_sync(self.sync_all())
    }

    fn has_upkeep(&self) -> bool {
        self.keeper.is_some()
    }

    fn upkeep(&self, stop: &Flag) {
        self.upkeep_at(now(), stop);
    }

    fn reopen(&self) {
        // Release pairs with the swap in `reopen_moved`.
        self.moved.store(true, Release);
        // An idle sink would hold on to the old files; a busy one is soon there by itself.
        if let Some(mut state) = self.state.try_lock() {
            self.reopen_moved(&mut state);
        }
    }

    fn is_healthy(&self) -> Result<(), String> {
        self.unwell.lock().clone().or_else(|| self.unsafe_since.lock().clone()).map_or(Ok(()), Err)
    }
}

impl Owner for FileSink {
    fn rotate_due(&self, now: Now) -> usize {
        let Some(rotate) = &self.rotate else { return 0 };
        self.state.lock().handles.rotate_due(&*self.disk, rotate, self.fixed_path.as_deref(), now)
    }

    fn retire(&self, path: &str, now: Now) -> bool {
        self.state.lock().handles.retire(&*self.disk, path, now.wall)
    }
}

/// Globs of all files that a sink with this path writes, rotates and keeps: what file sources must never read. None if
/// its base directory is not there.
pub fn own_files(path: &Template) -> Vec<String> {
    let Some(glob) = path.as_glob() else { return Vec::new() };
    let base = path.base().canonicalize().map_or(String::new(), |base| base.display().to_string());
    let overflow = format!("{}/{OVERFLOW}", globset::escape(base.trim_end_matches('/')));
    let stamp = format!("-{}T{}*", "[0-9]".repeat(8), "[0-9]".repeat(6));
    let forms = |glob: String| [format!("{glob}.torn"), format!("{glob}{stamp}"), glob];
    [glob, overflow].into_iter().flat_map(forms).collect()
}

fn now() -> Now {
    Now { steady: Instant::now(), wall: unix_nanos() }
}

/// Bytes of text that the entries of `spans` have, each with its newline.
fn text_of(batch: &Batch, spans: &[Span]) -> u64 {
    let span = |span: &Span| {
        let part = &batch.parts()[span.part];
        let entries = part.block.entries();
        span.places(part).map(|place| u64::from(entries[place].len) + 1).sum::<u64>()
    };
    spans.iter().map(span).sum()
}

/// The error with the path it is about, and what it means here.
fn explain(base: &Path, path: &str, error: io::Error) -> io::Error {
    let whole = if path.is_empty() { base.to_owned() } else { base.join(path) };
    let meaning = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP | Errno::XDEV) => "a symbolic link stands in the way".to_owned(),
        Some(Errno::NOSPC) => "no space left on its disk".to_owned(),
        Some(Errno::DQUOT) => "its disk quota is used up".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("{}: {meaning}", whole.display()))
}

#[cfg(test)]
mod tests;
