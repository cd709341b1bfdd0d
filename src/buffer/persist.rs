//! What is done, made durable; and only then what is done removed.

use super::segment::Bad;
use super::shared::{Buffer, Inner, Segment, Trouble};
use super::state::{self, SLOT, Slots, State};
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use std::io;
use std::path::{Path, PathBuf};

/// The file of the two slots.
pub(super) struct StateFile {
    /// None until it is written, and after an error: then the next write makes a new file.
    file: Option<Box<dyn StorageFile>>,
    /// What was written last.
    last: State,
}

/// The state as it was found.
pub(super) struct Loaded {
    pub(super) slots: Slots,
    /// There is no such file.
    pub(super) missing: bool,
}

/// Reads the state in a directory. `Ok(Err(major))`: a later version wrote it.
pub(super) fn load(io: &dyn StorageIo, dir: &Path) -> io::Result<Result<Loaded, u16>> {
    let file = match io.open(&dir.join(state::NAME), Access::Read, PRIVATE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Ok(Loaded { slots: Slots { best: None, damaged: false }, missing: true }));
        }
        Err(error) => return Err(error),
    };
    let mut bytes = [0; 2 * SLOT];
    let read = file.read_at(&mut bytes, 0)?;
    Ok(match state::decode(&bytes[..read]) {
        Ok(slots) => Ok(Loaded { slots, missing: false }),
        Err(Bad::Version(major)) => Err(major),
        Err(Bad::Damaged) => Ok(Loaded { slots: Slots { best: None, damaged: true }, missing: false }),
    })
}

impl StateFile {
    /// Goes on from `found`. The first write makes a new file if there is no good one.
    pub(super) fn new(io: &dyn StorageIo, dir: &Path, found: &Loaded) -> StateFile {
        let good = found.slots.best.is_some() && !found.slots.damaged;
        let file = good.then(|| io.open(&dir.join(state::NAME), Access::Update, PRIVATE).ok()).flatten();
        StateFile { file, last: found.slots.best.clone().unwrap_or_default() }
    }

    /// The first write makes a new file, whatever is there.
    pub(super) fn anew(found: &Loaded) -> StateFile {
        StateFile { file: None, last: found.slots.best.clone().unwrap_or_default() }
    }

    /// Writes the slot that does not count. After an error the other one counts as before.
    pub(super) fn write(&mut self, io: &dyn StorageIo, dir: &Path, mut state: State) -> io::Result<()> {
        state.generation = self.last.generation + 1;
        let slot = (state.generation % 2) as usize * SLOT;
        // A file whose write or sync failed is given up: it may say later that all is well.
        let file = match self.file.take() {
            Some(file) => {
                file.write_at(&state.encode(), slot as u64)?;
                file.sync_data()?;
                file
            }
            None => {
                let mut bytes = [0; 2 * SLOT];
                if self.last.generation > 0 {
                    bytes[SLOT - slot..][..SLOT].copy_from_slice(&self.last.encode());
                }
                bytes[slot..][..SLOT].copy_from_slice(&state.encode());
                create(io, dir, &bytes)?
            }
        };
        (self.file, self.last) = (Some(file), state);
        Ok(())
    }
}

/// Makes a new file in the place of what is there.
fn create(io: &dyn StorageIo, dir: &Path, bytes: &[u8]) -> io::Result<Box<dyn StorageFile>> {
    let (path, tmp) = (dir.join(state::NAME), dir.join("state.tmp"));
    let file = io.open(&tmp, Access::Fresh, PRIVATE)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    io.rename(&tmp, &path)?;
    // The bytes are durable but their name is not: a power cut here could bring the old file back.
    io.sync_dir(dir)?;
    Ok(file)
}

impl Buffer {
    /// Writes durably what is done, then removes the segments that are done as a whole. Call it about once a second, when
    /// the buffer is full, and at the end. Cheap if nothing changed. Errors: the call can be repeated, nothing is lost.
    pub fn persist(&self) -> io::Result<()> {
        let mut file = self.state.lock();
        let (state, done) = self.inner.lock().to_persist(self.number);
        let dir = &self.spec.dir;
        let changed = State { generation: file.last.generation, ..state.clone() } != file.last;
        let written: io::Result<()> = (|| {
            if changed || file.file.is_none() {
                file.write(&*self.io, dir, state.clone())?;
            }
            if !done.is_empty() {
                // Into the other slot too: were the newer one damaged, the older one would miss segments that are gone.
                file.write(&*self.io, dir, state)?;
                self.remove(&done)?;
            }
            Ok(())
        })();
        let why = |error: &io::Error| format!("{}: {error}", dir.join(state::NAME).display());
        self.inner.lock().degraded[Trouble::State as usize] = written.as_ref().err().map(why);
        written
    }

    /// Removes segments from the disk, and from the table once that is durable: till then they count.
    fn remove(&self, done: &[(u64, PathBuf)]) -> io::Result<()> {
        for (_, path) in done {
            match self.io.remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.io.sync_dir(&self.spec.dir)?;
        self.inner.lock().table.retain(|segment| !done.iter().any(|(place, _)| *place == segment.place));
        Ok(())
    }
}

impl Inner {
    /// The state now, and the segments that nobody needs any more.
    fn to_persist(&self, number: u64) -> (State, Vec<(u64, PathBuf)>) {
        let unneeded = |segment: &&Segment| {
            let through = segment.passed.is_some_and(|end| self.progress.covers(&(segment.entered..end)));
            through && self.writing != Some(segment.place)
        };
        let done: Vec<_> =
            self.table.iter().filter(unneeded).map(|segment| (segment.place, segment.path.clone())).collect();
        let stays = |segment: &&Segment| !done.iter().any(|(place, _)| *place == segment.place);
        let state = State {
            generation: 0,
            buffer: number,
            committed: self.progress.committed(),
            written: self.durable,
            oldest: self.table.iter().find(stays).map_or(self.next_id, |segment| segment.id),
            next: self.next_id,
            holes: self.progress.holes().to_vec(),
        };
        (state, done)
    }
}
