//! What is done, in a file of two slots: the one that is written is never the one that counts.
//!
//! ```text
//! 0   magic      8        "RINGBUF\n"
//! 8   major      u16      1; another one is refused
//! 10  minor      u16      0; a higher one is read
//! 12  holes      u16      how many of the ranges below count
//! 14  reserved   2        0
//! 16  generation u64      the slot with the highest valid one counts
//! 24  buffer     u64      the buffer's own number, from which the salts are made
//! 32  committed  u64      every entry below is done
//! 40  written    u64      every entry below was on disk
//! 48  oldest     u64      number of the oldest segment
//! 56  next       u64      no segment has had this number or a higher one
//! 64  ranges     16 x 16  further entries that are done: first, end (not included), rising
//! 508 crc        u32      CRC-32C (Castagnoli) of bytes 0..508
//! ```
//! All numbers are little-endian. Magic, major and checksum stay where they are in every later version.

use super::segment::Bad;
use super::{NUMBER_MAX, Seq};
use std::ops::Range;

/// Bytes of a slot: what a disk writes whole or not at all, mostly.
pub const SLOT: usize = 512;
/// The file's name.
pub const NAME: &str = "state";
/// Most ranges kept beside the prefix.
pub const HOLES_MAX: usize = 16;

const MAGIC: [u8; 8] = *b"RINGBUF\n";
const MAJOR: u16 = super::segment::MAJOR;
const CRC_AT: usize = SLOT - 4;
const HOLES_AT: usize = 64;

/// What one slot says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Rises with every slot written.
    pub generation: u64,
    /// The buffer's own number, from which the salts are made.
    pub buffer: u64,
    /// Every entry below is done.
    pub committed: Seq,
    /// Every entry below was on disk. What is missing of them is lost, and was no torn write.
    pub written: Seq,
    /// The number of the oldest segment.
    pub oldest: u64,
    /// No segment has had this number or a higher one.
    pub next: u64,
    /// Further entries that are done: they were dropped while older ones were still handed out. At most [`HOLES_MAX`].
    pub holes: Vec<Range<Seq>>,
}

impl State {
    /// Its bytes.
    pub fn encode(&self) -> [u8; SLOT] {
        let mut out = [0; SLOT];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&MAJOR.to_le_bytes());
        let holes = &self.holes[..self.holes.len().min(HOLES_MAX)];
        out[12..14].copy_from_slice(&(holes.len() as u16).to_le_bytes());
        let numbers =
            [self.generation, self.buffer, self.committed, self.written, self.oldest, self.next].into_iter();
        let numbers = numbers.chain(holes.iter().flat_map(|hole| [hole.start, hole.end]));
        for (place, number) in out[16..CRC_AT].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        seal(&mut out);
        out
    }

    /// What the bytes say.
    pub fn decode(bytes: &[u8; SLOT]) -> Result<State, Bad> {
        if bytes[..8] != MAGIC || bytes[CRC_AT..] != crc32c::crc32c(&bytes[..CRC_AT]).to_le_bytes() {
            return Err(Bad::Damaged);
        }
        let major = u16::from_le_bytes([bytes[8], bytes[9]]);
        if major != MAJOR {
            return Err(Bad::Version(major));
        }
        let count = usize::from(u16::from_le_bytes([bytes[12], bytes[13]]));
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let state = State {
            generation: number(16),
            buffer: number(24),
            committed: number(32),
            written: number(40),
            oldest: number(48),
            next: number(56),
            holes: (0..count.min(HOLES_MAX))
                .map(|i| number(HOLES_AT + i * 16)..number(HOLES_AT + i * 16 + 8))
                .collect(),
        };
        let bounds = state.holes.iter().flat_map(|hole| [hole.start, hole.end]);
        let rising = bounds.clone().zip(bounds.skip(1)).all(|(a, b)| a <= b);
        let numbers = [state.generation, state.committed, state.written, state.oldest, state.next];
        let sane = numbers.into_iter().chain(state.holes.last().map(|hole| hole.end)).all(|n| n < NUMBER_MAX);
        (count <= HOLES_MAX && rising && sane).then_some(state).ok_or(Bad::Damaged)
    }
}

/// Writes the right checksum into a slot.
pub fn seal(bytes: &mut [u8; SLOT]) {
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The valid slot with the highest generation.
    pub best: Option<State>,
    /// A slot that is not empty cannot be used.
    pub damaged: bool,
}

/// Reads the first two slots of a file that may be shorter.
pub fn decode(bytes: &[u8]) -> Result<Slots, Bad> {
    let mut slots = Slots { best: None, damaged: bytes.len() < 2 * SLOT };
    for at in [0, SLOT] {
        let Some(bytes) = bytes.get(at..).and_then(|rest| rest.first_chunk::<SLOT>()) else { continue };
        match State::decode(bytes) {
            Ok(state) if slots.best.as_ref().is_none_or(|best| best.generation < state.generation) => {
                slots.best = Some(state);
            }
            Ok(_) => {}
            Err(Bad::Version(major)) => return Err(Bad::Version(major)),
            Err(Bad::Damaged) => slots.damaged |= bytes.iter().any(|byte| *byte != 0),
        }
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(generation: u64) -> State {
        let holes = vec![20..30, 40..45];
        State { generation, buffer: 5, committed: 10, written: 100, oldest: 2, next: 4, holes }
    }

    #[test]
    fn a_slot_survives_its_bytes_and_no_changed_one_is_taken_for_it() {
        for state in [State::default(), state(1), State { holes: vec![1..2; 0], ..state(3) }] {
            let bytes = state.encode();
            assert_eq!(State::decode(&bytes), Ok(state));
            for at in 0..SLOT {
                let mut wrong = bytes;
                wrong[at] ^= 1 << (at % 8);
                assert_eq!(State::decode(&wrong), Err(Bad::Damaged), "byte {at}");
            }
        }
        let full = State { holes: (0..16).map(|i| i * 10..i * 10 + 5).collect(), ..state(1) };
        assert_eq!(State::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn the_newer_slot_counts_and_a_torn_one_does_not() {
        let (old, new) = (state(7).encode(), state(8).encode());
        for file in [[old, new].concat(), [new, old].concat()] {
            assert_eq!(decode(&file), Ok(Slots { best: Some(state(8)), damaged: false }));
        }
        for torn in 0..SLOT {
            let mut slot = old;
            slot[..torn].copy_from_slice(&new[..torn]);
            let slots = decode(&[state(6).encode(), slot].concat()).unwrap();
            let best = slots.best.unwrap();
            assert!([6, 7, 8].contains(&best.generation) && best == state(best.generation), "torn at {torn}");
        }
        assert_eq!(decode(&[]), Ok(Slots { best: None, damaged: true }));
        assert_eq!(decode(&[0; 2 * SLOT]), Ok(Slots { best: None, damaged: false }));
        assert_eq!(decode(&new[..]), Ok(Slots { best: Some(state(8)), damaged: true }));
        let mut later = state(9).encode();
        later[8] = 2;
        seal(&mut later);
        assert_eq!(decode(&[old, later].concat()), Err(Bad::Version(2)));
    }
}
