//! What a source may forget, on disk in two tiers.
//!
//! A source says how far each of its files is safe ([`Checkpoint::set`], a few stores under a lock); the keeper writes:
//!
//! - the *fast* tier every 20 ms, in place, without syncing: enough after the death of the process, and only then;
//! - the *durable* tier every second, whole, after everything it relies on was synced: enough after a power cut.
//!
//! At the start both are read, and of two rows about one file the newer counts. Nothing usable on disk where there
//! should be something means [`Start::Lost`]: sources then read from the beginning, because a line twice is better than
//! a line lost.
//!
//! Not here: what makes a file the same file (see `sources::file`).

pub mod durable;
pub mod fast;
mod position;
mod table;

pub use position::{Edge, HEAD_MAX, Position, Row, TAIL_MAX};

use crate::storage_io::{Access, PRIVATE, StorageIo};
use crate::thread::Wake;
use durable::Snapshot;
use fast::{BootId, FastFile};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use table::Table;

/// Most positions kept. Beyond it files that are gone are forgotten, longest unseen first; if none is gone, new files
/// are read but not remembered.
pub const POSITIONS_MAX: usize = 65_536;

/// How many positions a flush looks at before it lets go of the table: sources neither wait for all of them, nor change
/// places with it at each one.
const ROWS_AT_ONCE: usize = 64;

/// One position's handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    place: u32,
    /// Tells later users of the same place apart.
    id: u64,
}

impl Key {
    /// The handle of nothing.
    pub const NONE: Key = Key { place: u32::MAX, id: 0 };
}

/// What a source finds when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// This source never ran with this data directory.
    First,
    /// It ran, and its positions stand.
    Again,
    /// There were checkpoints, and none of them can be read: it may have run.
    Lost,
}

/// The durable tier as it stands on disk.
struct Durable {
    generation: u64,
    /// Whether the main file is a valid one, worth keeping as the previous generation.
    main_is_good: bool,
}

/// The positions of all sources. Shared by sources and keeper.
pub struct Checkpoint {
    io: Arc<dyn StorageIo>,
    dir: PathBuf,
    table: Mutex<Table>,
    /// Which run of the machine this is; without one there is no fast tier.
    boot: Option<BootId>,
    /// `None` as long as there was no room for it.
    fast: Mutex<Option<FastFile>>,
    durable: Mutex<Durable>,
    lost: bool,
    /// Who writes the fast tier, and sleeps while there is nothing to write.
    keeper: OnceLock<Arc<dyn Wake>>,
}

impl Checkpoint {
    /// Reads what is in `dir`, which must exist, and gets ready to write there.
    ///
    /// Files that cannot be used are moved aside or passed over with a warning. Errors: the directory cannot be
    /// written to.
    pub fn open(io: Arc<dyn StorageIo>, dir: &Path) -> io::Result<Checkpoint> {
        let [_, _, tmp] = paths(dir);
        // Left-overs are never preferred, however new: nobody promised that they are whole.
        let _ = (io.remove(&tmp), io.remove(&dir.join(fast::TMP)));
        let loaded = load_durable(&*io, dir);
        for (path, why) in &loaded.unusable {
            tracing::warn!("checkpoint: {} cannot be used: {why}", path.display());
            move_aside(&*io, path);
        }
        let boot = fast::boot_id(&*io);
        let recent = boot.map_or(Ok(Vec::new()), |boot| fast::load(&*io, dir, &boot));
        let recent = recent.unwrap_or_else(|error| {
            let path = dir.join(fast::NAME);
            tracing::warn!("checkpoint: {} cannot be used: {error}", path.display());
            move_aside(&*io, &path);
            Vec::new()
        });
        let lost = !loaded.unusable.is_empty() && loaded.best.is_none();
        if lost {
            tracing::warn!(
                "checkpoint: {} positions are left in {}; other files are read from their beginning, to lose no entry",
                recent.len(),
                dir.display()
            );
        }
        let mut best = loaded.best.unwrap_or_default();
        let (generation, stamp) = (best.generation, best.stamp);
        let mut known = std::mem::take(&mut best.sources);
        let mut table = Table { last_stamp: stamp, ..Table::default() };
        for (row, forgotten) in both_tiers(best, recent) {
            if !known.contains(&row.source) {
                known.push(Arc::clone(&row.source));
            }
            table.last_stamp = table.last_stamp.max(row.stamp);
            let key = table.insert(row, true);
            if forgotten {
                table.forget(key.place);
            }
        }
        // What was lost must not look like a first start next time.
        table.changed |= lost;
        table.sources = known;
        let fast = match boot.map(|boot| FastFile::create(&*io, dir, &boot, &table.placed())).transpose() {
            Ok(fast) => fast,
            // What is there stays in force: its stamps tell it from a newer durable file.
            Err(error) if is_full(&error) => {
                tracing::warn!(
                    "checkpoint: {}: {error}; positions are kept in memory until there is room",
                    dir.display()
                );
                None
            }
            Err(error) => return Err(error),
        };
        let durable = Durable { generation, main_is_good: loaded.main_is_good };
        let (table, fast, durable) = (Mutex::new(table), Mutex::new(fast), Mutex::new(durable));
        let keeper = OnceLock::new();
        Ok(Checkpoint { io, dir: dir.to_path_buf(), table, boot, fast, durable, lost, keeper })
    }

    /// A source begins: what it finds, and from now on it counts as having run.
    pub fn start(&self, source: &Arc<str>) -> Start {
        let mut table = self.table.lock();
        let known = table.sources.contains(source);
        if !known {
            table.sources.push(Arc::clone(source));
            table.changed = true;
        }
        match (known, self.lost) {
            (true, _) => Start::Again,
            (false, true) => Start::Lost,
            (false, false) => Start::First,
        }
    }

    /// The positions of the source, as they were found at the start or have been set since.
    pub fn loaded(&self, source: &str) -> Vec<(Key, Position)> {
        let table = self.table.lock();
        let rows = table.held.iter().enumerate();
        rows.filter_map(|(place, held)| {
            let held = held.as_ref().filter(|held| !held.forgotten && &*held.row.source == source)?;
            Some((Key { place: place as u32, id: held.id }, held.row.position.clone()))
        })
        .collect()
    }

    /// Remembers a further file. If there is no room for it, the key names nothing and `set` does nothing.
    pub fn add(&self, source: &Arc<str>, position: Position) -> Key {
        let mut table = self.table.lock();
        if table.live >= POSITIONS_MAX && !table.forget_oldest_gone() {
            return Key::NONE;
        }
        let stamp = table.next_stamp();
        let first = table.dirty.is_empty();
        let key = table.insert(Row { stamp, source: Arc::clone(source), position }, false);
        drop(table);
        self.wake_keeper(first);
        key
    }

    /// Says how far a file is safe now.
    pub fn set(&self, key: Key, position: Position) {
        let mut table = self.table.lock();
        let stamp = table.next_stamp();
        let Some(held) = table.get(key) else { return };
        (held.row.position, held.row.stamp, held.gone) = (position, stamp, false);
        let first = table.dirty.is_empty();
        table.touch(key.place);
        drop(table);
        self.wake_keeper(first);
    }

    /// Wakes the keeper if this was the `first` change since it looked.
    fn wake_keeper(&self, first: bool) {
        if first && let Some(keeper) = self.keeper.get() {
            keeper.wake();
        }
    }

    /// Who is woken when there is something to flush after there was nothing. Only the first call counts.
    pub fn wake_when_dirty(&self, keeper: Arc<dyn Wake>) {
        // A second keeper would find nothing to do.
        let _ = self.keeper.set(keeper);
    }

    /// Whether something waits to be flushed to the fast tier.
    pub fn is_dirty(&self) -> bool {
        !self.table.lock().dirty.is_empty()
    }

    /// Says that no file is read under this position any more. It is kept, but goes first when room is needed.
    pub fn release(&self, key: Key) {
        if let Some(held) = self.table.lock().get(key) {
            held.gone = true;
        }
    }

    /// Forgets a position: its file is gone, and all of it is safe.
    pub fn forget(&self, key: Key) {
        let mut table = self.table.lock();
        if table.get(key).is_some() {
            table.forget(key.place);
        }
    }

    /// How many positions there are.
    pub fn len(&self) -> usize {
        self.table.lock().live
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes what changed to the fast tier; how many positions that were is the result. Cheap if nothing changed.
    pub fn flush_fast(&self) -> io::Result<usize> {
        let mut fast = self.fast.lock();
        let Some(boot) = self.boot else { return Ok(0) };
        let fast = match &mut *fast {
            Some(fast) => fast,
            // There was no room for it at the start.
            none => {
                let rows = self.table.lock().placed();
                none.insert(FastFile::create(&*self.io, &self.dir, &boot, &rows)?)
            }
        };
        let places = self.table.lock().take_dirty();
        for (turn, some) in places.chunks(ROWS_AT_ONCE).enumerate() {
            let table = self.table.lock();
            let rows: SmallVec<[_; ROWS_AT_ONCE]> = some.iter().map(|place| table.row(*place)).collect();
            drop(table);
            for (place, row) in some.iter().zip(rows) {
                let Some((row, forgotten)) = row else { continue };
                if let Err(error) = fast.write(*place as usize, row, forgotten) {
                    let mut table = self.table.lock();
                    places[turn * ROWS_AT_ONCE..].iter().for_each(|place| table.mark_dirty(*place));
                    return Err(error);
                }
            }
        }
        Ok(places.len())
    }

    /// Writes the durable tier if anything changed; whether it did is the result. After an error everything is as
    /// before, and the next call tries again.
    ///
    /// `sync` makes durable whatever acknowledgements relied on (file sinks, disk buffers). The snapshot is taken
    /// *before* it runs: a position that moves during the sync may rest on bytes the sync no longer covers, and a
    /// durable checkpoint must not outlive them.
    pub fn flush_durable(&self, sync: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool> {
        let mut durable = self.durable.lock();
        let generation = durable.generation + 1;
        let Some((bytes, forgotten)) = self.table.lock().snapshot(generation) else { return Ok(false) };
        let written = sync().and_then(|()| self.write_durable(&bytes, &mut durable));
        match written {
            Ok(()) => {
                durable.generation = generation;
                self.table.lock().free(forgotten);
            }
            Err(_) => self.table.lock().keep(forgotten),
        }
        written.map(|()| true)
    }

    fn write_durable(&self, bytes: &[u8], durable: &mut Durable) -> io::Result<()> {
        let [main, prev, tmp] = paths(&self.dir);
        let file = self.io.open(&tmp, Access::Fresh, PRIVATE)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        if durable.main_is_good {
            // Between the two renames there is no main file; the previous generation is complete and is used.
            self.io.rename(&main, &prev)?;
            durable.main_is_good = false;
        }
        self.io.rename(&tmp, &main)?;
        durable.main_is_good = true;
        // The bytes are durable but their name is not: a power cut here could bring the previous generation back.
        self.io.sync_dir(&self.dir)
    }
}

/// Whether there is no room: what passes by itself or by a person's hand.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What the directory of a process that does not run holds.
#[derive(Debug, Default)]
pub struct Stored {
    /// The positions, by source and path.
    pub rows: Vec<Row>,
    /// Files that cannot be used, each with why.
    pub unusable: Vec<(PathBuf, String)>,
}

/// Looks what is in `dir`, and changes nothing there.
pub fn stored(io: &dyn StorageIo, dir: &Path) -> Stored {
    let loaded = load_durable(io, dir);
    let recent = fast::boot_id(io).map_or(Ok(Vec::new()), |boot| fast::load(io, dir, &boot));
    let mut unusable = loaded.unusable;
    let recent = recent.unwrap_or_else(|error| {
        unusable.push((dir.join(fast::NAME), error.to_string()));
        Vec::new()
    });
    let rows = both_tiers(loaded.best.unwrap_or_default(), recent);
    let mut rows: Vec<_> = rows.into_iter().filter(|(_, forgotten)| !forgotten).map(|(row, _)| row).collect();
    rows.sort_by(|a, b| (&a.source, &a.position.path).cmp(&(&b.source, &b.position.path)));
    Stored { rows, unusable }
}

struct Loaded {
    /// The newest that can be used.
    best: Option<Snapshot>,
    main_is_good: bool,
    /// What was there and cannot be used.
    unusable: Vec<(PathBuf, String)>,
}

/// Main file, previous generation, and the one being written.
fn paths(dir: &Path) -> [PathBuf; 3] {
    ["positions", "positions.prev", "positions.tmp"].map(|name| dir.join(name))
}

/// The newest valid one of the main file and the previous generation.
fn load_durable(io: &dyn StorageIo, dir: &Path) -> Loaded {
    let [main, prev, _] = paths(dir);
    let mut loaded = Loaded { best: None, main_is_good: false, unusable: Vec::new() };
    for path in [&main, &prev] {
        let why = match io.read(path).map(|bytes| durable::decode(&bytes)) {
            Ok(Ok(snapshot)) => {
                loaded.main_is_good |= path == &main;
                if loaded.best.as_ref().is_none_or(|best| best.generation < snapshot.generation) {
                    loaded.best = Some(snapshot);
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(Err(bad)) => bad.to_string(),
            Err(error) => error.to_string(),
        };
        loaded.unusable.push((path.clone(), why));
    }
    loaded
}

/// Keeps what cannot be used for whoever wants to look, out of the way of what is written next. What is still in the way is
/// written over.
fn move_aside(io: &dyn StorageIo, path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = |end: &str| path.with_file_name(format!("{name}.bad{end}"));
    // A directory does not go where a file of that name is, nor the other way round.
    let _ = io.rename(path, &aside("")).or_else(|_| io.rename(path, &aside(".2")));
}

/// The newer row about each file, with whether it was forgotten.
fn both_tiers(durable: Snapshot, recent: Vec<fast::Slot>) -> Vec<(Row, bool)> {
    let recent = recent.into_iter().filter(|slot| slot.row.stamp > durable.stamp);
    let recent: Vec<_> = recent.map(|slot| (slot.row, slot.forgotten)).collect();
    merged(durable.rows.into_iter().map(|row| (row, false)).chain(recent))
}

/// Of several rows about one file the one with the highest stamp, with whether it says that the file was forgotten.
fn merged(rows: impl Iterator<Item = (Row, bool)>) -> Vec<(Row, bool)> {
    /// Source, path, device, inode.
    type File = (Arc<str>, Arc<Path>, u64, u64);
    let mut newest: HashMap<File, (Row, bool)> = HashMap::new();
    for (row, forgotten) in rows {
        let at = &row.position;
        let file = (Arc::clone(&row.source), Arc::clone(&at.path), at.dev, at.inode);
        match newest.get(&file) {
            Some((known, _)) if known.stamp >= row.stamp => {}
            _ => drop(newest.insert(file, (row, forgotten))),
        }
    }
    let mut rows: Vec<_> = newest.into_values().collect();
    rows.sort_unstable_by_key(|(row, _)| row.stamp);
    rows
}

#[cfg(test)]
mod tests;
