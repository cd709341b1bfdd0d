//! What was delivered lately, for a start after the death of the process.
//!
//! The state is written about once a second, after what sinks wrote was synced. A process that is killed in between would
//! deliver all of that again. So what is delivered is also noted here, every 20 ms and without syncing: the page cache
//! outlives the process. It does not outlive the system, and then a note might stand while what the sink wrote is gone:
//! a note counts only in the run of the system it was written in.
//!
//! Two slots of 128 bytes, written in turn, little-endian:
//!
//! ```text
//! 0   magic      8   "RINGFST1"
//! 8   boot       36  which run of the system: its boot id
//! 44  zeros      4
//! 48  buffer     u64 the buffer's own number
//! 56  generation u64 the valid slot with the highest one counts
//! 64  done       u64 every entry below is delivered
//! 72  zeros      52
//! 124 crc        u32 CRC-32C (Castagnoli) of bytes 0..124
//! ```

use super::{Buffer, Seq};
use crate::checkpoint::fast::{BootId, boot_id};
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use std::io;
use std::ops::Range;
use std::path::Path;

/// The file's name.
pub(super) const NAME: &str = "state.fast";
const SLOT: usize = 128;
const MAGIC: [u8; 8] = *b"RINGFST1";
const BOOT: Range<usize> = 8..44;
const NUMBERS_AT: usize = 48;
const CRC_AT: usize = SLOT - 4;

/// Where it is noted what was delivered.
pub(super) struct FastState {
    /// Which run of the system this is; None if it does not say, and then nothing is noted.
    boot: Option<BootId>,
    /// None until the first note.
    file: Option<Box<dyn StorageFile>>,
    generation: u64,
    done: Seq,
}

impl FastState {
    /// Reads what was noted of the buffer called `number` in this run of the system: every entry below is delivered.
    pub(super) fn load(io: &dyn StorageIo, dir: &Path, number: u64) -> (FastState, Option<Seq>) {
        let boot = boot_id(io);
        let found = boot.and_then(|boot| {
            let bytes = io.read(&dir.join(NAME)).ok()?;
            let slots = bytes.chunks_exact(SLOT).take(2).filter_map(|slot| decode(slot, &boot, number));
            slots.max_by_key(|(generation, _)| *generation)
        });
        let (generation, done) = found.unwrap_or_default();
        (FastState { boot, file: None, generation, done }, found.map(|(_, done)| done))
    }

    /// Notes that every entry below `done` is delivered, if that is news.
    fn note(&mut self, io: &dyn StorageIo, dir: &Path, number: u64, done: Seq) -> io::Result<()> {
        let Some(boot) = self.boot.filter(|_| done > self.done) else { return Ok(()) };
        let file = match self.file.take() {
            Some(file) => file,
            None => io.open(&dir.join(NAME), Access::Update, PRIVATE)?,
        };
        let generation = self.generation + 1;
        file.write_at(&encode(&boot, number, generation, done), generation % 2 * SLOT as u64)?;
        (self.file, self.generation, self.done) = (Some(file), generation, done);
        Ok(())
    }
}

impl Buffer {
    /// The record with this number is delivered: it need not be given again after the death of the process, but may not
    /// be removed before [`Buffer::complete`]. In any order; what is not handed out is ignored.
    pub fn delivered(&self, seq: Seq) {
        self.inner.lock().progress.delivered(seq);
    }

    /// Notes what is delivered, without syncing. Call it every 20 ms while something is; cheap if nothing changed.
    ///
    /// Errors: the disk; what is delivered may be given again after the death of the process.
    pub fn note_delivered(&self) -> io::Result<()> {
        let done = self.inner.lock().progress.delivered_up_to();
        self.fast.lock().note(&*self.io, &self.spec.dir, self.number, done)
    }
}

fn encode(boot: &BootId, number: u64, generation: u64, done: Seq) -> [u8; SLOT] {
    let mut out = [0; SLOT];
    out[..8].copy_from_slice(&MAGIC);
    out[BOOT].copy_from_slice(boot);
    for (place, value) in out[NUMBERS_AT..][..24].chunks_exact_mut(8).zip([number, generation, done]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[..CRC_AT]);
    out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Generation and number of a slot of this buffer and this run of the system.
fn decode(slot: &[u8], boot: &BootId, number: u64) -> Option<(u64, Seq)> {
    let value = |at: usize| slot.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
    let crc = slot.get(CRC_AT..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    let valid = slot.starts_with(&MAGIC) && crc32c::crc32c(&slot[..CRC_AT]) == crc;
    let ours = slot.get(BOOT)? == boot && value(NUMBERS_AT)? == number;
    (valid && ours).then_some((value(NUMBERS_AT + 8)?, value(NUMBERS_AT + 16)?))
}

#[cfg(test)]
mod tests {
    use super::super::{BufferSpec, NewRecord, Opened};
    use super::*;
    use crate::storage_io::Disk;
    use std::sync::Arc;

    fn open(dir: &Path) -> Opened {
        let spec = BufferSpec { segment_size: 4096, ..BufferSpec::new(dir.to_path_buf(), 64 << 10) };
        Buffer::open(Arc::new(Disk), spec, 0).unwrap()
    }

    /// A buffer of ten records that are all handed out.
    fn ten(dir: &Path) -> (Opened, Vec<Seq>) {
        let mut opened = open(dir);
        for n in 0..10_u64 {
            let record = NewRecord { payload: &n.to_le_bytes(), entries: 1, time_ms: n };
            opened.writer.append(record).unwrap();
        }
        opened.writer.sync().unwrap();
        let (mut seqs, mut payload) = (Vec::new(), Vec::new());
        while let Some(head) = opened.reader.next(&mut payload).unwrap() {
            seqs.push(head.seq);
        }
        (opened, seqs)
    }

    #[test]
    fn what_was_delivered_before_the_process_died_does_not_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let (opened, seqs) = ten(dir.path());
        // Out of order: only what has nothing undelivered before it is known afterwards.
        [0, 1, 2, 4].iter().for_each(|at| opened.shared.delivered(seqs[*at]));
        opened.shared.note_delivered().unwrap();
        drop(opened);
        let mut opened = open(dir.path());
        assert_eq!(opened.found.entries, 7);
        let mut payload = Vec::new();
        assert_eq!(opened.reader.next(&mut payload).unwrap().map(|head| head.seq), Some(seqs[3]));
    }

    #[test]
    fn a_note_of_another_run_of_the_system_or_of_another_buffer_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (opened, seqs) = ten(dir.path());
        let number = opened.shared.number;
        seqs.iter().for_each(|seq| opened.shared.delivered(*seq));
        drop(opened);
        let boot = boot_id(&Disk).unwrap();
        for (boot, number, done, left) in [
            ([7; 36], number, 10, 10),
            (boot, number ^ 1, 10, 10),
            // More than there ever was: what is there counts.
            (boot, number, 99, 0),
            (boot, number, 6, 4),
        ] {
            std::fs::write(dir.path().join(NAME), encode(&boot, number, 1, done)).unwrap();
            assert_eq!(open(dir.path()).found.entries, left, "{done}");
        }
    }

    #[test]
    fn a_damaged_slot_leaves_the_other_one() {
        let boot = [1; 36];
        let slot = encode(&boot, 2, 3, 4);
        assert_eq!(decode(&slot, &boot, 2), Some((3, 4)));
        for at in 0..SLOT {
            let mut slot = slot;
            slot[at] ^= 1;
            assert_eq!(decode(&slot, &boot, 2), None, "byte {at}");
        }
    }
}
