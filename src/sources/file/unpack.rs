//! Rotated files that were compressed before they were read to their end (gzip, zstd).
//!
//! What is unpacked goes piece by piece, as it is read, into a file without a name in our own directory, at the offsets
//! it had before: so positions, fingerprints and reading on after a failure are those of any file. Bytes before the
//! position are left out, and what is safe is given back, so that only what is on its way takes room.
//!
//! Memory: the decoder's window, at most 8 MiB (zstd), and one piece.

use super::discover::{self, Opened};
use super::reader::WINDOW;
use crate::checkpoint::{HEAD_MAX, Position, TAIL_MAX};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Most bytes unpacked at a time: the thread has other files to read.
const PIECE: usize = 256 << 10;
/// Largest window of a zstd stream, as a power of two; what `zstd -19` needs.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Room is given back in whole pages.
const PAGE: u64 = 4096;

/// A compressed file on its way into a file without a name.
pub struct Unpacking {
    packed: Box<dyn Read + Send>,
    piece: Box<[u8]>,
    /// How much of the piece waits to be written.
    held: usize,
    /// Where it goes.
    at: u64,
    /// Everything behind the first page and before this was given back.
    freed: u64,
}

/// Opens the compressed file at `path` as what it was: at the place that `position` says, if its content agrees; at its
/// beginning without one. `None` if it is not the file that was meant.
pub fn open(path: &Path, position: Option<&Position>, scratch: &Path) -> io::Result<Option<Opened>> {
    let raw = discover::open(path)?;
    let mut packed = decoder(raw.file.try_clone()?)?;
    let file = nameless(scratch)?;
    let mut at = 0;
    if let Some(position) = position {
        let mut head = vec![0; position.head_len.into()];
        if !filled(&mut packed, &mut head)? || crc32c::crc32c(&head) != position.head_crc {
            return Ok(None);
        }
        file.write_all_at(&head, 0)?;
        at = head.len() as u64;
        if position.offset > at {
            let Some(tail) = skip(&mut packed, &head, position.offset - at)? else { return Ok(None) };
            file.write_all_at(&tail, position.offset - tail.len() as u64)?;
            at = position.offset;
        }
        if position.offset > 0 && !super::identity::agrees(&file, position)? {
            return Ok(None);
        }
    }
    let (piece, freed) = (vec![0; PIECE].into(), PAGE);
    let unpacking = Unpacking { packed, piece, held: 0, at, freed };
    Ok(Some(Opened { file, meta: raw.meta, link: false, packed: Some(Box::new(unpacking)) }))
}

/// How what is packed in `raw` begins, as far as a file is known by that.
pub fn beginning(raw: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // What is damaged may be whole up to there.
    let _ = decoder(raw)?.take(HEAD_MAX as u64).read_to_end(&mut bytes);
    Ok(bytes)
}

impl Unpacking {
    /// Unpacks a further piece into `file` unless enough waits there to be read from `read` on; what is before `safe` is
    /// not needed any more. Whether there may be more to come is the result. After an error of the disk it can be called
    /// again; [`io::ErrorKind::InvalidData`] says that what follows cannot be unpacked.
    pub fn go_on(&mut self, file: &File, read: u64, safe: u64) -> io::Result<bool> {
        self.free(file, safe.saturating_sub(TAIL_MAX as u64) / PAGE * PAGE);
        if self.at > read + WINDOW {
            return Ok(true);
        }
        if self.held == 0 {
            self.held = loop {
                match self.packed.read(&mut self.piece) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                    Ok(n) => break n,
                }
            };
        }
        file.write_all_at(&self.piece[..self.held], self.at)?;
        self.at += self.held as u64;
        Ok(std::mem::take(&mut self.held) > 0)
    }

    /// Gives the room of everything before `until` back, but for the first page: the file is known by that.
    fn free(&mut self, file: &File, until: u64) {
        if until > self.freed {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where the file system cannot, it stays until the file is closed.
            let _ = rustix::fs::fallocate(file, how, self.freed, until - self.freed);
            self.freed = until;
        }
    }
}

/// What reads the bytes as they were before.
fn decoder(raw: File) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; 4];
    let n = crate::storage_io::read_full_at(&raw, &mut magic, 0)?;
    match &magic[..n] {
        // Several gzip files behind each other are one, as for `zcat`.
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(raw)))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::Decoder::new(raw)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Ok(Box::new(decoder))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is neither gzip nor zstd")),
    }
}

/// A file that nobody else can find and that is gone when it is closed.
fn nameless(dir: &Path) -> io::Result<File> {
    let mode = Mode::from_raw_mode(crate::storage_io::PRIVATE);
    match rustix::fs::open(dir, OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC, mode) {
        Ok(file) => Ok(file.into()),
        // Some file systems know no such files.
        Err(_) => {
            let path = dir.join(format!("unpacked.{:?}.tmp", std::thread::current().id()));
            let how = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, how, mode)?;
            std::fs::remove_file(&path)?;
            Ok(file.into())
        }
    }
}

/// Reads until `bytes` is full: false if there are not as many.
fn filled(packed: &mut dyn Read, bytes: &mut [u8]) -> io::Result<bool> {
    match packed.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

/// Passes over `count` bytes behind `before`: the last bytes then, as many as a position is known by. `None` if there are
/// not as many.
fn skip(packed: &mut dyn Read, before: &[u8], count: u64) -> io::Result<Option<Vec<u8>>> {
    let mut last = before[before.len().saturating_sub(TAIL_MAX)..].to_vec();
    let (mut piece, mut left) = (vec![0; PIECE.min(64 << 10)], count);
    while left > 0 {
        let most = left.min(piece.len() as u64) as usize;
        let n = match packed.read(&mut piece[..most]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if n == 0 {
            return Ok(None);
        }
        last.extend_from_slice(&piece[..n]);
        last.drain(..last.len().saturating_sub(TAIL_MAX));
        left -= n as u64;
    }
    Ok(Some(last))
}

const _: () = assert!(HEAD_MAX as u64 <= PAGE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::file::identity::{Before, Head};
    use std::io::Write;

    /// The bytes packed in two ways, as two files behind each other where that is one.
    fn packed(dir: &Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
        let (gz, zst) = (dir.join("a.gz"), dir.join("a.zst"));
        let mut out = Vec::new();
        for half in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
            encoder.write_all(half).unwrap();
            encoder.finish().unwrap();
        }
        std::fs::write(&gz, out).unwrap();
        std::fs::write(&zst, zstd::encode_all(bytes, 1).unwrap()).unwrap();
        vec![gz, zst]
    }

    fn position(file: &File, offset: u64) -> Position {
        let head = Head::read(file, offset).unwrap();
        Position {
            path: Path::new("/a").into(),
            dev: 1,
            inode: 2,
            head_crc: head.crc,
            head_len: head.len,
            offset,
            edge: crate::checkpoint::Edge::Line,
            tail_crc: Before::read(file, offset).unwrap().crc(),
            last_seen: 0,
        }
    }

    fn rest(opened: &mut Opened, offset: u64) -> Vec<u8> {
        let unpacking = opened.packed.as_mut().unwrap();
        let mut bytes = Vec::new();
        loop {
            let at = offset + bytes.len() as u64;
            let more = unpacking.go_on(&opened.file, at, at).unwrap();
            let mut piece = vec![0; (opened.file.metadata().unwrap().len().saturating_sub(at)) as usize];
            opened.file.read_exact_at(&mut piece, at).unwrap();
            bytes.extend(piece);
            if !more {
                return bytes;
            }
        }
    }

    #[test]
    fn what_follows_a_position_is_the_same_as_before_it_was_packed_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..60_000).flat_map(|n| format!("line {n} of it\n").into_bytes()).collect();
        let plain = dir.path().join("a");
        std::fs::write(&plain, &text).unwrap();
        let file = File::open(&plain).unwrap();
        for path in packed(dir.path(), &text) {
            for offset in [0, 1, 200, 256, 1023, 1024, 1025, 1200, 5000, 700_000, text.len() as u64] {
                let mut opened = open(&path, Some(&position(&file, offset)), dir.path()).unwrap().unwrap();
                let rest = rest(&mut opened, offset);
                assert!(rest == text[offset as usize..], "{}: {offset}", path.display());
            }
            let mut opened = open(&path, None, dir.path()).unwrap().unwrap();
            assert!(rest(&mut opened, 0) == text);
            // Another file, or one that does not reach so far.
            let mut other = position(&file, 5000);
            other.tail_crc ^= 1;
            assert!(open(&path, Some(&other), dir.path()).unwrap().is_none());
            other = position(&file, 5000);
            other.offset = 10 << 20;
            assert!(open(&path, Some(&other), dir.path()).unwrap().is_none());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left behind");
    }

    #[test]
    fn what_is_on_its_way_takes_room_and_what_is_safe_does_not() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let text = b"the same line again and again\n".repeat(1 << 20);
        for path in packed(dir.path(), &text) {
            let mut opened = open(&path, None, dir.path()).unwrap().unwrap();
            let unpacking = opened.packed.as_mut().unwrap();
            let (mut at, mut most) = (0, 0);
            // Nothing is read: it stops by itself.
            for _ in 0..1000 {
                unpacking.go_on(&opened.file, 0, 0).unwrap();
            }
            assert!(unpacking.at <= WINDOW + 2 * PIECE as u64);
            while unpacking.go_on(&opened.file, at, at).unwrap() {
                at = unpacking.at;
                most = most.max(opened.file.metadata().unwrap().blocks() * 512);
            }
            assert_eq!(at, text.len() as u64);
            assert!(most <= 2 * WINDOW, "{most}");
        }
    }

    #[test]
    fn a_file_that_is_damaged_or_not_packed_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..60_000).flat_map(|n| format!("line {n} of it\n").into_bytes()).collect();
        for path in packed(dir.path(), &text) {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            let mut opened = open(&path, None, dir.path()).unwrap().unwrap();
            let unpacking = opened.packed.as_mut().unwrap();
            let end = loop {
                match unpacking.go_on(&opened.file, u64::MAX - WINDOW, 0) {
                    Ok(true) => {}
                    other => break other,
                }
            };
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert!(opened.file.metadata().unwrap().len() > 1000, "what was whole is there");
            std::fs::write(&path, "text\n").unwrap();
            assert!(open(&path, None, dir.path()).is_err());
        }
    }
}
