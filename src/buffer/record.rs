//! A record's bytes: a head of 32 bytes, the payload, zeros up to the next multiple of eight.
//!
//! ```text
//! 0  marker  u16   16 bits of the segment's salt: what others may log looks like a record once in 65,536 times
//! 2  kind    u8    1: data, 2: seal
//! 3  flags   u8    0
//! 4  len     u32   bytes of the payload
//! 8  seq     u64   number of the first entry
//! 16 entries u32   how many entries; 0 in a seal
//! 20 time_ms u64   when they came in, milliseconds since 1970
//! 28 crc     u32   CRC-32C (Castagnoli) of the salt, bytes 0..28 and the payload
//! ```
//! All numbers are little-endian.

use super::{NUMBER_MAX, PAYLOAD_MAX, RecordHead, Seq};

/// Bytes of a head.
pub const HEAD: usize = 32;
/// Records begin at multiples of this.
pub const ALIGN: u64 = 8;
/// Bytes of a seal's payload.
pub const SEAL_PAYLOAD: usize = 24;
/// Bytes of a seal.
pub const SEAL: usize = HEAD + SEAL_PAYLOAD;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It holds entries.
    Data = 1,
    /// It is the last one of its segment, which does not change any more. Its number is the one behind the last entry.
    Seal = 2,
}

/// A head that may be one: its checksum is known to be right only together with the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub head: RecordHead,
    crc: u32,
}

impl Claim {
    /// Reads a head of a segment with this salt; None if it cannot be one.
    pub fn read(bytes: &[u8; HEAD], salt: u64) -> Option<Claim> {
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let kind = match bytes[2] {
            1 => Kind::Data,
            2 => Kind::Seal,
            _ => return None,
        };
        let head = RecordHead { seq: u64_at(8), entries: u32_at(16), time_ms: u64_at(20), len: u32_at(4) };
        let fits = match kind {
            Kind::Data => head.entries > 0 && head.len as usize <= PAYLOAD_MAX,
            Kind::Seal => head.entries == 0 && head.len as usize == SEAL_PAYLOAD,
        };
        let sound =
            bytes[..2] == marker(salt) && bytes[3] == 0 && head.seq <= NUMBER_MAX - u64::from(u32::MAX);
        (fits && sound).then(|| Claim { kind, head, crc: u32_at(28) })
    }

    /// Whether the payload is the one that was written with this head.
    pub fn holds(&self, bytes: &[u8; HEAD], payload: &[u8], salt: u64) -> bool {
        payload.len() == self.head.len as usize && self.crc == checksum(bytes, payload, salt)
    }

    /// The record's checksum, as it stands in the head.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Bytes on disk, with the head and what pads it.
    pub fn size(&self) -> u64 {
        size(self.head.len as usize)
    }
}

/// Bytes on disk of a record with so much payload.
pub fn size(payload: usize) -> u64 {
    (HEAD as u64 + payload as u64).next_multiple_of(ALIGN)
}

/// The number behind a record's last entry.
pub fn end(head: &RecordHead) -> Seq {
    head.seq + Seq::from(head.entries)
}

/// Appends a record to `out`, which must hold whole records only; gives its checksum.
pub fn write(out: &mut Vec<u8>, kind: Kind, head: &RecordHead, payload: &[u8], salt: u64) -> u32 {
    let start = out.len();
    out.extend_from_slice(&marker(salt));
    out.extend_from_slice(&[kind as u8, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&head.seq.to_le_bytes());
    out.extend_from_slice(&head.entries.to_le_bytes());
    out.extend_from_slice(&head.time_ms.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    let crc = seal(&mut out[start..], salt);
    out.resize(start + size(payload.len()) as usize, 0);
    crc
}

/// Writes marker and checksum of another salt into a record without its padding; gives the checksum. `record` must be at
/// least a head.
pub fn seal(record: &mut [u8], salt: u64) -> u32 {
    record[..2].copy_from_slice(&marker(salt));
    let (head, payload) = record.split_at_mut(HEAD);
    let crc = checksum(head, payload, salt);
    head[28..].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// What a seal says of its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records before it.
    pub records: u64,
    /// Entries in them.
    pub entries: u64,
    /// CRC-32C over the checksums of the records, in order.
    pub crc: u32,
}

impl Totals {
    /// Counts a record.
    pub fn add(&mut self, entries: u32, crc: u32) {
        self.records += 1;
        self.entries += u64::from(entries);
        self.crc = crc32c::crc32c_append(self.crc, &crc.to_le_bytes());
    }

    /// The payload of the seal.
    pub fn encode(&self) -> [u8; SEAL_PAYLOAD] {
        let mut out = [0; SEAL_PAYLOAD];
        out[..8].copy_from_slice(&self.records.to_le_bytes());
        out[8..16].copy_from_slice(&self.entries.to_le_bytes());
        out[16..20].copy_from_slice(&self.crc.to_le_bytes());
        out
    }
}

fn marker(salt: u64) -> [u8; 2] {
    // Never zero: room that was reserved and not written is full of those.
    ((salt as u16) | 1).to_le_bytes()
}

fn checksum(head: &[u8], payload: &[u8], salt: u64) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &head[..28]), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x0123_4567_89ab_cdef;

    fn written(kind: Kind, payload: &[u8], entries: u32) -> Vec<u8> {
        let head = RecordHead { seq: 7, entries, time_ms: 1_700_000_000_000, len: payload.len() as u32 };
        let mut out = Vec::new();
        write(&mut out, kind, &head, payload, SALT);
        out
    }

    fn read(bytes: &[u8], salt: u64) -> Option<(RecordHead, Vec<u8>)> {
        let head = bytes.first_chunk()?;
        let claim = Claim::read(head, salt)?;
        let payload = bytes.get(HEAD..HEAD + claim.head.len as usize)?;
        claim.holds(head, payload, salt).then(|| (claim.head, payload.to_vec()))
    }

    #[test]
    fn the_checksum_is_castagnoli() {
        // RFC 3720, B.4: the test vectors of iSCSI, and the usual check value.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c::crc32c(&rising), 0x46dd_794e);
        // A record's own: of the salt, the head up to its checksum, and the payload.
        let bytes = written(Kind::Data, b"hello", 1);
        let covered = [&SALT.to_le_bytes(), &bytes[..28], b"hello"].concat();
        assert_eq!(bytes[28..32], crc32c::crc32c(&covered).to_le_bytes());
    }

    #[test]
    fn a_record_survives_its_bytes_and_no_changed_one_is_taken_for_it() {
        for payload in [&b""[..], b"x", b"12345678", &[0xa5; 1000]] {
            let bytes = written(Kind::Data, payload, 3);
            assert_eq!(bytes.len() as u64, size(payload.len()));
            let (head, read_back) = read(&bytes, SALT).unwrap();
            assert_eq!((head.seq, head.entries, head.time_ms), (7, 3, 1_700_000_000_000));
            assert_eq!((read_back.as_slice(), end(&head)), (payload, 10));
            assert_eq!(read(&bytes, SALT + 1), None);
            for at in 0..HEAD + payload.len() {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << (at % 8);
                assert_eq!(read(&wrong, SALT), None, "byte {at}");
            }
        }
    }

    #[test]
    fn what_cannot_be_a_record_is_refused_before_anything_is_reserved_for_it() {
        let mut bytes = written(Kind::Data, b"x", 1);
        bytes[4..8].copy_from_slice(&(PAYLOAD_MAX as u32 + 1).to_le_bytes());
        assert!(Claim::read(bytes.first_chunk().unwrap(), SALT).is_none());
        assert!(Claim::read(&[0; HEAD], 0).is_none());
        assert!(Claim::read(written(Kind::Data, b"x", 0).first_chunk().unwrap(), SALT).is_none());
        assert!(Claim::read(written(Kind::Seal, b"x", 0).first_chunk().unwrap(), SALT).is_none());
    }

    #[test]
    fn a_record_can_be_salted_anew() {
        let mut bytes = written(Kind::Data, b"hello", 1);
        seal(&mut bytes[..HEAD + 5], SALT + 9);
        assert_eq!(read(&bytes, SALT), None);
        assert_eq!(read(&bytes, SALT + 9).unwrap().1, b"hello");
    }
}
