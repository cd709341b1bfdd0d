//! What was done a moment ago, beside the state: it counts after the death of the process, and only then.
//!
//! The state is written about once a second, once what was delivered is safe. What is delivered between two of these would
//! come again after a kill. So it is noted here at once, in place and without a sync: the page cache survives the process.
//! After the death of the machine the note means nothing (what it calls delivered may be gone with it): the boot id tells.
//!
//! ```text
//! 0    a slot of the state (see `state`), of which buffer, committed, written and the ranges count   512
//! 512  boot id                                                                                        36
//! 548  crc32c of all before                                                                            4
//! ```

use super::shared::Buffer;
use super::state::{SLOT, State};
use super::{Seq, record};
use crate::checkpoint::fast::{BootId, boot_id};
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use parking_lot::Mutex;
use std::path::Path;

const NAME: &str = "state.fast";
const LEN: usize = SLOT + size_of::<BootId>() + 4;

/// The file, if the system says which run of the machine this is.
pub(super) struct FastFile {
    boot: Option<BootId>,
    file: Mutex<Option<Box<dyn StorageFile>>>,
}

impl FastFile {
    /// Opens it. Without it nothing is noted: that costs repetitions after a kill, nothing else.
    pub(super) fn open(io: &dyn StorageIo, dir: &Path) -> FastFile {
        let boot = boot_id(io);
        let file = boot.and_then(|_| io.open(&dir.join(NAME), Access::Update, PRIVATE).ok());
        FastFile { boot, file: Mutex::new(file) }
    }

    /// What was noted of the buffer `number` in this run of the machine.
    pub(super) fn load(&self, number: u64) -> Option<State> {
        let mut bytes = [0; LEN];
        let read = self.file.lock().as_ref()?.read_at(&mut bytes, 0).ok()?;
        let (content, crc) = bytes.split_at(LEN - 4);
        let (slot, boot) = content.split_first_chunk::<SLOT>()?;
        if read < LEN || crc != crc32c::crc32c(content).to_le_bytes() || boot != self.boot? {
            return None;
        }
        State::decode(slot).ok().filter(|state| state.buffer == number)
    }
}

impl Buffer {
    /// Says, for the case that the process dies, that the records `done` are done; those that are completed by now are
    /// taken out of the list. One write in place, no sync. Unlike [`Buffer::complete`] this removes nothing, and after the
    /// death of the machine it never was.
    pub fn note(&self, done: &mut Vec<Seq>) {
        let Some(boot) = self.fast.boot else { return };
        // Held from the look to the write, so that a later look is not overwritten by an earlier one.
        let file = self.fast.file.lock();
        let Some(file) = file.as_ref() else { return };
        let (committed, holes, written) = {
            let inner = self.inner.lock();
            let (committed, holes) = inner.progress.with(done);
            (committed, holes, inner.durable)
        };
        let state = State { buffer: self.number, committed, written, holes, ..State::default() };
        let mut bytes = state.encode().to_vec();
        bytes.extend_from_slice(&boot);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        // What cannot be noted comes again after a kill.
        let _ = file.write_at(&bytes, 0);
    }
}

impl super::progress::Progress {
    /// What would be committed, and the ranges beside it, were `done` completed. What is not handed out is taken out of the
    /// list.
    fn with(&self, done: &mut Vec<Seq>) -> (Seq, Vec<std::ops::Range<Seq>>) {
        done.sort_unstable();
        let (mut committed, mut holes, mut kept) = (self.committed(), self.holes().to_vec(), Vec::new());
        for (head, is_done) in self.handed_out() {
            let listed = done.binary_search(&head.seq).is_ok();
            if listed {
                kept.push(head.seq);
            }
            if listed || is_done {
                holes.push(head.seq..record::end(head));
            }
        }
        *done = kept;
        holes.sort_unstable_by_key(|hole| hole.start);
        holes.retain(|hole| {
            let touches = hole.start <= committed;
            if touches {
                committed = committed.max(hole.end);
            }
            !touches
        });
        holes.truncate(super::state::HOLES_MAX);
        (committed, holes)
    }
}
