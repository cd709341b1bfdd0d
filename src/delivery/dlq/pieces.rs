//! What records of the dead letters hold: a letter, a piece of one that is larger than a record may be, or the numbers of
//! letters that are gone though older ones are still there.
//!
//! The first byte says which: 0 a whole letter, 1 the first piece of one (with its full length, `u32`), 2 the next piece,
//! 3 a list of numbers (`u64` each). A letter has the number of its first record. Its pieces follow each other; one that
//! was begun and not finished was never promised to anybody.

use super::bytes::{Bytes, Malformed};

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const MORE: u8 = 2;
const GONE: u8 = 3;
/// Bytes before a first piece.
const FIRST_HEAD: usize = 5;
/// Most bytes of a letter: beyond what any entry with its fields can have.
pub const LETTER_MAX: usize = 64 << 20;

/// Cuts a letter into payloads of up to `most` bytes and gives each to `take`, until that says no.
pub fn cut<E>(letter: &[u8], most: usize, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut payload = Vec::with_capacity(most.min(letter.len() + FIRST_HEAD));
    if letter.len() < most {
        payload.push(WHOLE);
        payload.extend_from_slice(letter);
        return take(&payload);
    }
    let (first, rest) = letter.split_at(most.saturating_sub(FIRST_HEAD).max(1));
    payload.push(FIRST);
    payload.extend_from_slice(&(letter.len() as u32).to_le_bytes());
    payload.extend_from_slice(first);
    take(&payload)?;
    for piece in rest.chunks(most.saturating_sub(1).max(1)) {
        payload.clear();
        payload.push(MORE);
        payload.extend_from_slice(piece);
        take(&payload)?;
    }
    Ok(())
}

/// A payload that says that the letters of these numbers are gone.
pub fn gone(numbers: &[u64]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + numbers.len() * 8);
    payload.push(GONE);
    numbers.iter().for_each(|number| payload.extend_from_slice(&number.to_le_bytes()));
    payload
}

/// What a record came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// Nothing yet: more pieces are to follow.
    Nothing,
    /// A letter is whole.
    Letter {
        /// The number of its first record.
        number: u64,
        /// How many records it has.
        records: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Letters that are gone.
    Gone(Vec<u64>),
}

/// Puts letters together from records in their order.
#[derive(Default)]
pub struct Gatherer {
    open: Option<Open>,
}

struct Open {
    number: u64,
    records: u32,
    total: usize,
    bytes: Vec<u8>,
}

impl Gatherer {
    /// Takes the next record. What was begun and is not continued is forgotten.
    ///
    /// Errors: the payload is none of ours.
    pub fn take(&mut self, number: u64, payload: &[u8]) -> Result<Came, Malformed> {
        let open = self.open.take();
        let mut rest = Bytes(payload);
        match rest.u8()? {
            WHOLE => Ok(Came::Letter { number, records: 1, bytes: rest.0.to_vec() }),
            FIRST => {
                let total = rest.u32()? as usize;
                if total > LETTER_MAX || total <= rest.0.len() {
                    return Err(Malformed("a first piece of a length that cannot be"));
                }
                self.open = Some(Open { number, records: 1, total, bytes: rest.0.to_vec() });
                Ok(Came::Nothing)
            }
            MORE => {
                let mut open = open
                    .filter(|open| open.number + u64::from(open.records) == number)
                    .ok_or(Malformed("a piece of a letter whose beginning is not there"))?;
                open.records += 1;
                open.bytes.extend_from_slice(rest.0);
                if open.bytes.len() > open.total {
                    return Err(Malformed("pieces of a letter that are more than it"));
                }
                if open.bytes.len() < open.total {
                    self.open = Some(open);
                    return Ok(Came::Nothing);
                }
                Ok(Came::Letter { number: open.number, records: open.records, bytes: open.bytes })
            }
            GONE => {
                let mut numbers = Vec::new();
                while !rest.0.is_empty() {
                    numbers.push(rest.u64()?);
                }
                Ok(Came::Gone(numbers))
            }
            _ => Err(Malformed("a record that is not known")),
        }
    }

    /// Whether a letter was begun and is not whole yet.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(letter: &[u8], most: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let cut: Result<(), ()> = cut(letter, most, |piece| {
            assert!(piece.len() <= most, "{} of {most}", piece.len());
            all.push(piece.to_vec());
            Ok(())
        });
        cut.unwrap();
        all
    }

    #[test]
    fn a_letter_of_any_length_is_put_together_again() {
        for most in [8, 9, 100] {
            for len in 0..200 {
                let letter: Vec<u8> = (0..len).map(|n| n as u8).collect();
                let (mut gatherer, mut came) = (Gatherer::default(), Came::Nothing);
                let pieces = pieces(&letter, most);
                for (at, piece) in pieces.iter().enumerate() {
                    assert_eq!(came, Came::Nothing);
                    came = gatherer.take(7 + at as u64, piece).unwrap();
                }
                let records = pieces.len() as u32;
                assert_eq!(came, Came::Letter { number: 7, records, bytes: letter });
            }
        }
    }

    #[test]
    fn a_letter_that_was_not_finished_is_forgotten_and_its_rest_is_refused() {
        let pieces = pieces(&[1; 30], 10);
        let mut gatherer = Gatherer::default();
        assert_eq!(gatherer.take(1, &pieces[0]), Ok(Came::Nothing));
        assert!(gatherer.is_open());
        assert_eq!(gatherer.take(2, &gone(&[5, 6])), Ok(Came::Gone(vec![5, 6])));
        assert!(gatherer.take(3, &pieces[1]).is_err() && !gatherer.is_open());
        assert_eq!(gatherer.take(4, &pieces[0]), Ok(Came::Nothing));
        assert!(gatherer.take(6, &pieces[1]).is_err(), "one is missing between them");
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut gatherer = Gatherer::default();
        for payload in
            [&[][..], &[9], &[FIRST, 255, 255, 255, 255, 1], &[FIRST, 1, 0, 0, 0, 1], &[GONE, 1, 2]]
        {
            assert!(gatherer.take(1, payload).is_err(), "{payload:?}");
        }
    }
}
