//! The fast tier's file: a slot pair per position, written in place and never synced.
//!
//! After the death of the process the page cache still has every write, so the slots are exact to the last flush. After
//! the death of the machine they mean nothing: the header's boot id tells. A position's two slots are written in turn,
//! so that a write torn by the death falls back to the one before.
//!
//! ```text
//! header, one slot:  "RINGFAST"  version u32  crc u32  boot id (36 bytes)  zeros
//! slot:              crc u32  kind u8  generation u64  row                 zeros
//! ```
//! Kind 1 is a position; kind 2 says that it was forgotten, which must outweigh a durable file that still has it.
//! A position whose path and source name do not fit its slot is left to the durable tier.

use super::position::{Row, take};
use crate::storage_io::{Access, PRIVATE, StorageFile, StorageIo};
use std::io;
use std::path::Path;

/// Bytes of a slot: what a disk writes whole, though we do not rely on that.
pub const SLOT: usize = 512;
const MAGIC: [u8; 8] = *b"RINGFAST";
const VERSION: u32 = 1;
/// The file's name.
pub const NAME: &str = "positions.fast";
/// A new file, while it is not whole.
pub const TMP: &str = "positions.fast.tmp";
/// Length of a boot id, as text.
const BOOT: usize = 36;
/// What tells one run of the machine from the next.
pub type BootId = [u8; BOOT];

/// Which run of the machine this is, or `None` if the system does not say.
pub fn boot_id(io: &dyn StorageIo) -> Option<BootId> {
    io.read(Path::new("/proc/sys/kernel/random/boot_id")).ok()?.first_chunk().copied()
}

/// One write of one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Rises by one with every write of the position.
    pub generation: u64,
    /// The position.
    pub row: Row,
    /// It was forgotten.
    pub forgotten: bool,
}

impl Slot {
    /// Its bytes, or `None` if the row is too long.
    pub fn encode(&self) -> Option<[u8; SLOT]> {
        if !self.row.is_encodable() {
            return None;
        }
        let mut out = Vec::with_capacity(SLOT);
        out.extend_from_slice(&[0; 4]);
        out.push(1 + u8::from(self.forgotten));
        out.extend_from_slice(&self.generation.to_le_bytes());
        self.row.encode(&mut out);
        if out.len() > SLOT {
            return None;
        }
        out.resize(SLOT, 0);
        let mut slot = *out.first_chunk()?;
        seal(&mut slot);
        Some(slot)
    }

    /// What the bytes say, or `None` if they are torn, or were never written.
    pub fn decode(bytes: &[u8; SLOT]) -> Option<Slot> {
        let mut rest = &bytes[..];
        if u32::from_le_bytes(take(&mut rest)?) != crc32c::crc32c(rest) {
            return None;
        }
        let [kind @ 1..=2] = take(&mut rest)? else { return None };
        let generation = u64::from_le_bytes(take(&mut rest)?);
        let row = Row::decode(&mut rest)?;
        rest.iter().all(|byte| *byte == 0).then_some(Slot { generation, row, forgotten: kind == 2 })
    }
}

/// Writes the right checksum into a slot.
pub fn seal(slot: &mut [u8; SLOT]) {
    let crc = crc32c::crc32c(&slot[4..]);
    slot[..4].copy_from_slice(&crc.to_le_bytes());
}

fn header(boot: &BootId) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..16 + BOOT].copy_from_slice(boot);
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The newer valid slot of every pair; none at all unless the file was written in the run of the machine `boot`.
pub fn decode(bytes: &[u8], boot: &BootId) -> Vec<Slot> {
    let Some((front, slots)) = bytes.split_first_chunk::<SLOT>() else { return Vec::new() };
    if *front != header(boot) {
        return Vec::new();
    }
    let newest =
        |pair: &[[u8; SLOT]]| pair.iter().filter_map(Slot::decode).max_by_key(|slot| slot.generation);
    slots.as_chunks().0.chunks(2).filter_map(newest).collect()
}

/// The file, open to be written.
pub struct FastFile {
    file: Box<dyn StorageFile>,
    /// By the position's place: the generation last written.
    generations: Vec<u64>,
}

impl FastFile {
    /// Writes a new file that holds `rows`, each with its place and whether it was forgotten, and puts it where the old
    /// one was.
    ///
    /// The old one stays in force until the new one is whole.
    pub fn create(
        io: &dyn StorageIo,
        dir: &Path,
        boot: &BootId,
        rows: &[(usize, Row, bool)],
    ) -> io::Result<Self> {
        let (path, tmp) = (dir.join(NAME), dir.join(TMP));
        let file = io.open(&tmp, Access::Fresh, PRIVATE)?;
        file.write_at(&header(boot), 0)?;
        let mut fast = FastFile { file, generations: Vec::new() };
        for (place, row, forgotten) in rows {
            fast.write(*place, row.clone(), *forgotten)?;
        }
        io.rename(&tmp, &path)?;
        Ok(fast)
    }

    /// Writes the position at `place`, into the older of its two slots.
    pub fn write(&mut self, place: usize, row: Row, forgotten: bool) -> io::Result<()> {
        if place >= self.generations.len() {
            self.generations.resize(place + 1, 0);
        }
        let generation = self.generations[place] + 1;
        let Some(bytes) = (Slot { generation, row, forgotten }).encode() else { return Ok(()) };
        let slot = 1 + 2 * place as u64 + generation % 2;
        self.file.write_at(&bytes, slot * SLOT as u64)?;
        // Only now: after an error the same slot is written again, and the good one stays.
        self.generations[place] = generation;
        Ok(())
    }
}

/// What the file in `dir` says about this run of the machine.
///
/// Errors: there is something, and it cannot be read.
pub fn load(io: &dyn StorageIo, dir: &Path, boot: &BootId) -> io::Result<Vec<Slot>> {
    match io.read(&dir.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map(|bytes| decode(&bytes, boot)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::position::tests::row;
    use super::*;
    use crate::storage_io::Disk;

    const BOOT_A: BootId = *b"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
    const BOOT_B: BootId = *b"bbbbbbbb-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

    #[test]
    fn a_slot_survives_its_bytes_and_one_too_long_is_not_written() {
        for forgotten in [false, true] {
            let slot = Slot { generation: 6, row: row(4, "s", "/var/log/x", 3, 8), forgotten };
            assert_eq!(slot.encode().as_ref().and_then(Slot::decode), Some(slot));
        }
        let long = Slot { generation: 1, row: row(4, "s", &"p".repeat(500), 3, 8), forgotten: false };
        assert_eq!(long.encode(), None);
        assert_eq!(Slot::decode(&[0; SLOT]), None);
    }

    #[test]
    fn a_torn_slot_falls_back_to_the_one_before_and_another_boot_to_nothing() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (io, path) = (Disk, dir.path().join("positions.fast"));
        let rows = [(0, row(1, "s", "/a", 1, 10), false), (1, row(2, "s", "/b", 2, 20), false)];
        let mut fast = FastFile::create(&io, dir.path(), &BOOT_A, &rows)?;
        fast.write(1, row(3, "s", "/b", 2, 21), false)?;
        fast.write(2, row(4, "s", "/c", 3, 30), false)?;
        fast.write(0, row(5, "s", "/a", 1, 10), true)?;
        let offsets = |boot| {
            let slots = load(&io, dir.path(), boot).unwrap().into_iter();
            slots.filter(|slot| !slot.forgotten).map(|slot| slot.row.position.offset).collect::<Vec<_>>()
        };
        assert_eq!(offsets(&BOOT_A), [21, 30]);
        assert_eq!(offsets(&BOOT_B), Vec::<u64>::new());
        let mut bytes = std::fs::read(&path)?;
        // The pair of place 1 stands in slots 3 and 4; its second write went to slot 3.
        bytes[3 * SLOT + 40] ^= 1;
        std::fs::write(&path, bytes)?;
        assert_eq!(offsets(&BOOT_A), [20, 30]);
        Ok(())
    }
}
