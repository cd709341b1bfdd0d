//! A segment's name and header.
//!
//! A segment is a file `seg-` and its number in 20 digits: a header of 64 bytes, then records (see
//! [`record`](super::record)), the last of which is a seal once it is full.
//!
//! ```text
//! 0  magic      8    "RINGSEG\n"
//! 8  major      u16  1; another one is refused
//! 10 minor      u16  0; a higher one is read
//! 12 header_len u16  64
//! 14 content    u8   1: entries, 2: dead letters
//! 15 flags      u8   0
//! 16 id         u64  number of the segment
//! 24 first_seq  u64  number of its first entry
//! 32 created_ms u64  milliseconds since 1970
//! 40 salt       u64  mixed into the checksums of its records
//! 48 capacity   u64  bytes it may grow to
//! 56 reserved   4    0
//! 60 crc        u32  CRC-32C (Castagnoli) of bytes 0..60
//! ```
//! All numbers are little-endian. Magic, major and checksum stay where they are in every later version.

use super::Seq;

/// The major version of the format that we write, and the only one we read.
pub const MAJOR: u16 = 1;
/// The minor version that we write.
pub const MINOR: u16 = 0;
/// Bytes of a header.
pub const HEADER: usize = 64;

const MAGIC: [u8; 8] = *b"RINGSEG\n";
const CRC_AT: usize = 60;
const PREFIX: &str = "seg-";
const DIGITS: usize = 20;

/// What the head of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What its payloads are, see [`Content`](super::Content); others are carried all the same.
    pub content: u8,
    /// Its number: they rise, and none is used twice.
    pub id: u64,
    /// The number of its first entry.
    pub first_seq: Seq,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// Mixed into the checksums of its records.
    pub salt: u64,
    /// Bytes it may grow to.
    pub capacity: u64,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A later version of this program wrote it; its major version.
    Version(u16),
    /// It is none, or not as it was written.
    Damaged,
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&MAJOR.to_le_bytes());
        out[10..12].copy_from_slice(&MINOR.to_le_bytes());
        out[12..14].copy_from_slice(&(HEADER as u16).to_le_bytes());
        out[14] = self.content;
        let numbers = [self.id, self.first_seq, self.created_ms, self.salt, self.capacity];
        for (place, number) in out[16..56].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        seal(&mut out);
        out
    }

    /// What the bytes say.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Header, Bad> {
        if bytes[..8] != MAGIC || bytes[CRC_AT..] != crc32c::crc32c(&bytes[..CRC_AT]).to_le_bytes() {
            return Err(Bad::Damaged);
        }
        let major = u16::from_le_bytes([bytes[8], bytes[9]]);
        if major != MAJOR {
            return Err(Bad::Version(major));
        }
        if bytes[12..14] != (HEADER as u16).to_le_bytes() {
            return Err(Bad::Damaged);
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Header {
            content: bytes[14],
            id: number(16),
            first_seq: number(24),
            created_ms: number(32),
            salt: number(40),
            capacity: number(48),
        })
    }
}

/// Writes the right checksum into a header.
pub fn seal(bytes: &mut [u8; HEADER]) {
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// The salt of a segment. That of one whose header is damaged can be made from its name and the buffer's own number, which
/// stands in the state and, mixed, in every other header.
pub fn salt(buffer: u64, id: u64) -> u64 {
    buffer ^ mixed(id)
}

/// The buffer's own number, from one of its headers.
pub fn buffer_of(header: &Header) -> u64 {
    header.salt ^ mixed(header.id)
}

fn mixed(id: u64) -> u64 {
    // The finisher of splitmix64: neighbours have nothing in common.
    let mut x = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The name of the file.
pub fn name(id: u64) -> String {
    format!("{PREFIX}{id:0DIGITS$}")
}

/// The number in a name; None if it is not that of a segment.
pub fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let sound = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_OF: Header =
        Header { content: 1, id: 3, first_seq: 100, created_ms: 9, salt: 77, capacity: 4096 };

    #[test]
    fn a_header_survives_its_bytes_and_no_changed_one_is_taken_for_it() {
        let bytes = HEADER_OF.encode();
        assert_eq!(Header::decode(&bytes), Ok(HEADER_OF));
        for at in 0..HEADER {
            let mut wrong = bytes;
            wrong[at] ^= 1 << (at % 8);
            assert_eq!(Header::decode(&wrong), Err(Bad::Damaged), "byte {at}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = HEADER_OF.encode();
        bytes[8] = 2;
        seal(&mut bytes);
        assert_eq!(Header::decode(&bytes), Err(Bad::Version(2)));
        let mut bytes = HEADER_OF.encode();
        bytes[10] = 9;
        seal(&mut bytes);
        assert_eq!(Header::decode(&bytes), Ok(HEADER_OF), "a later minor version can be read");
    }

    #[test]
    fn the_salt_of_a_segment_follows_from_any_other_one_of_its_buffer() {
        let other = Header { salt: salt(12_345, 3), ..HEADER_OF };
        assert_eq!(salt(buffer_of(&other), 4), salt(12_345, 4));
        assert_ne!(salt(12_345, 3), salt(12_345, 4));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for id in [0, 7, u64::MAX] {
            assert_eq!(id_of(&name(id)), Some(id));
        }
        for name in [
            "seg-1",
            "seg-0000000000000000000x",
            "seg-99999999999999999999",
            "state",
            "seg-+0000000000000000001",
        ] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
