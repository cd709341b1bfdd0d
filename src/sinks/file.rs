//! Entries appended to files named by a template.
//!
//! A batch is written to its files whole or, for the sender to try again, not at all: what an attempt that failed
//! halfway had written is cut off again. A file that someone else appended to meanwhile is left alone; what was
//! written then comes twice, and is counted.
//!
//! A file whose path names another file, or none, is noticed within a second and opened anew, as it is by
//! [`Sink::reopen`]; a *directory* that was moved away, only by the latter. Files are ours to write: one that ends
//! within a line when it is opened is taken to be torn, and repaired.

mod beneath;
mod group;
mod handles;
mod torn;
mod write;

use super::format::Format;
use super::template::Template;
use super::{SendError, Sink};
use crate::batch::Batch;
use beneath::Base;
use group::{Grouper, Span};
use handles::Handles;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Instant;
use write::{Disk, System, Writer};

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
    /// When it is durable.
    pub fsync: Fsync,
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
        let FileSinkSettings { path: template, format, open_files, fsync } = settings;
        let path = template.base().to_owned();
        let base = Base::open(&path).map_err(|error| explain(&path, "", error))?;
        if let Some(file) = template.fixed_path() {
            match base.find(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(explain(&path, &file, error));
                }
                _ => {}
            }
        }
        let state = State {
            grouper: Grouper::new(template),
            writer: Writer::new(format),
            handles: Handles::new(base, open_files, fsync != Fsync::None),
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
        })
    }

    /// How many entries may stand in files twice, as a failed attempt at them could not be undone.
    pub fn duplicates(&self) -> u64 {
        self.state.lock().duplicates
    }

    fn send_at(&self, batch: &Batch, now: Instant) -> io::Result<()> {
        let mut state = self.state.lock();
        self.reopen_moved(&mut state);
        let written = self.write(&mut state, batch, now).and_then(|()| match self.fsync {
            Fsync::Always => self.sync_now(&mut state.handles),
            Fsync::Checkpoint | Fsync::None => Ok(()),
        });
        if written.is_err() {
            self.undo(&mut state);
        } else if self.fsync == Fsync::Checkpoint && state.handles.is_overdue() {
            // An error is for `sync` to tell: this batch was taken.
            let synced = state.handles.take_unsynced().and_then(|unsynced| unsynced.sync(&*self.disk));
            self.note_sync(synced).ok();
        }
        written
    }

    fn write(&self, state: &mut State, batch: &Batch, now: Instant) -> io::Result<()> {
        let State { grouper, writer, handles, wrote, .. } = state;
        wrote.clear();
        grouper.sort(batch);
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
        now: Instant,
    ) -> io::Result<()> {
        let mut open = handles.take(path, now)?;
        let before = open.len;
        let result = writer.write(&*self.disk, &open.file, batch, spans, &mut open.len);
        if open.len > before {
            open.dirty = true;
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
        let result = self.send_at(batch, Instant::now());
        *self.unwell.lock() = result.as_ref().err().map(ToString::to_string);
        result.map_err(SendError::from)
    }

    /// Once it failed it goes on failing, until the process starts again from a checkpoint that was durable.
    fn sync(&self) -> io::Result<()> {
        if self.fsync == Fsync::None {
            return Ok(());
        }
        let _turn = self.syncing.lock();
        // The lock is free again before the disk is waited for.
        let unsynced = self.state.lock().handles.take_unsynced();
        self.note_sync(unsynced.and_then(|unsynced| unsynced.sync(&*self.disk)))
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
