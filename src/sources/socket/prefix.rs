//! Finding messages that have their length in front: four bytes, the most significant first, then as many bytes as they
//! say. The length counts itself not. A length of zero is no message and is passed over.

use crate::sources::framing::Frame;
use crate::sources::net::incoming::Framing;

/// Bytes of a length.
const LENGTH: usize = 4;

/// The length in front of a message is more than is accepted: behind it nothing says where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes by its prefix, where {max} are accepted")]
pub struct TooLong {
    /// What the prefix says, in bytes.
    pub len: u32,
    /// The limit, in bytes.
    pub max: u32,
}

/// Cuts a connection into messages with their length in front.
///
/// The same bytes give the same messages and the same error, however they are cut into pieces. The carry is never more
/// than `max_message` and its length.
#[derive(Debug, Clone)]
pub struct PrefixFramer {
    max_message: u32,
}

impl PrefixFramer {
    /// A framer that refuses messages of more than `max_message` bytes.
    pub fn new(max_message: u32) -> Self {
        PrefixFramer { max_message }
    }

    /// The length at `at`, once all of it is there; lengths of nothing are passed over.
    #[inline]
    fn length(&self, buf: &[u8], at: &mut usize) -> Result<Option<usize>, TooLong> {
        while let Some(length) = buf.get(*at..).and_then(|rest| rest.first_chunk::<LENGTH>()) {
            match u32::from_be_bytes(*length) {
                0 => *at += LENGTH,
                len if len > self.max_message => return Err(TooLong { len, max: self.max_message }),
                len => return Ok(Some(len as usize)),
            }
        }
        Ok(None)
    }
}

impl Framing for PrefixFramer {
    type Error = TooLong;

    #[inline]
    fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, TooLong> {
        let buf = &buf[..buf.len().min(u32::MAX as usize)];
        let Some(len) = self.length(buf, at)? else { return Ok(None) };
        let start = *at + LENGTH;
        if buf.len() - start < len {
            return Ok(None);
        }
        *at = start + len;
        Ok(Some(frame(buf, start, len, false)))
    }

    fn last_frame(&mut self, rest: &[u8]) -> Option<Frame> {
        // What is left is less than its length says.
        let len = rest.len().checked_sub(LENGTH).filter(|len| *len > 0)?;
        Some(frame(rest, LENGTH, len, true))
    }
}

/// The frame of a counted message, in which newlines end nothing.
fn frame(buf: &[u8], start: usize, len: usize, truncated: bool) -> Frame {
    let newlines = memchr::memchr(b'\n', &buf[start..start + len]).is_some();
    Frame { start: start as u32, len: len as u32, truncated, newlines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::framing::oracle;
    use proptest::prelude::*;

    fn in_pieces(max: u32, stream: &[u8], cuts: &[usize]) -> (Vec<oracle::Entry>, Result<(), TooLong>) {
        let (mut found, mut carry, mut from) = (Vec::new(), Vec::new(), 0);
        let mut framer = PrefixFramer::new(max);
        for cut in cuts.iter().copied().chain([stream.len()]) {
            carry.extend_from_slice(&stream[from..cut]);
            from = cut;
            let mut at = 0;
            loop {
                match framer.next_frame(&carry, &mut at) {
                    Ok(Some(frame)) => found.push((frame.of(&carry).to_vec(), frame.truncated)),
                    Ok(None) => break,
                    Err(error) => return (found, Err(error)),
                }
            }
            carry.drain(..at);
            assert!(carry.len() < max as usize + LENGTH);
        }
        found.extend(framer.last_frame(&carry).map(|frame| (frame.of(&carry).to_vec(), frame.truncated)));
        (found, Ok(()))
    }

    fn assert_like_oracle(stream: &[u8], cuts: &[usize], max: u32) {
        let (found, end) = in_pieces(max, stream, cuts);
        assert_eq!((found, end.is_err()), oracle::prefixed(stream, max as usize), "{stream:?} {cuts:?}");
    }

    #[test]
    fn the_place_of_a_cut_never_matters() {
        let streams: [&[u8]; 4] = [
            b"\0\0\0\x03one\0\0\0\0\0\0\0\x05t\0\no!\0\0\0\x01",
            b"\0\0\0\x03one\0\0\0\x09unfini",
            b"\0\0\0\x05fives\0\0\0\x06sixsix",
            b"\0\0\0\0\0\0",
        ];
        for stream in streams {
            for max in [1, 5, 6, 100] {
                for first in 0..=stream.len() {
                    for second in first..=stream.len() {
                        assert_like_oracle(stream, &[first, second], max);
                    }
                }
                assert_like_oracle(stream, &(0..stream.len()).collect::<Vec<_>>(), max);
            }
        }
    }

    #[test]
    fn a_length_over_the_limit_ends_the_connection_however_large_it_is() {
        for len in [101, 1 << 31, (1 << 31) - 1, u32::MAX, u32::MAX - 3] {
            let stream = [&b"\0\0\0\x03one"[..], &len.to_be_bytes(), b"rest"].concat();
            for cut in 0..=stream.len() {
                let (found, end) = in_pieces(100, &stream, &[cut]);
                assert_eq!((found, end), (vec![(b"one".to_vec(), false)], Err(TooLong { len, max: 100 })));
            }
        }
        let largest = PrefixFramer::new(u32::MAX).next_frame(&[255; 100], &mut 0);
        assert_eq!(largest, Ok(None), "it is waited for, by whoever bounds what is waited for");
    }

    proptest! {
        #[test]
        fn any_stream_in_any_pieces_gives_the_messages_of_the_oracle(
            pieces in prop::collection::vec(
                prop_oneof![
                    5 => prop::collection::vec(any::<u8>(), 0..40)
                        .prop_map(|text| [&(text.len() as u32).to_be_bytes()[..], &text].concat()),
                    1 => prop::collection::vec(any::<u8>(), 0..9),
                ],
                0..8,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            max in 1..50u32,
        ) {
            let stream = pieces.concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            assert_like_oracle(&stream, &cuts, max);
        }
    }
}
