//! Finding the messages in a syslog stream over TCP or TLS, by RFC 6587.
//!
//! Two framings exist and senders do not announce theirs, so each frame is judged by its first byte: a digit begins
//! an octet-counted frame (`LEN SP MSG`, section 3.4.1), anything else a line that ends in LF (section 3.4.2). A
//! length that cannot be honoured is an error that ends the connection: behind it nothing says where the next message
//! begins. A line that is too long is only cut, since its LF says so.
//! Of both kinds of frames one final LF, with a CR before it, is line ending and taken off (senders that count their
//! newline are common), and frames with nothing else in them are passed over. NUL bytes are kept.

use crate::sources::framing::{Frame, LineFramer};

/// Why a connection cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The count begins with a zero, which RFC 6587 forbids (and leaves no empty message to speak of).
    #[error("the length of an octet-counted message begins with a zero")]
    LeadingZero,
    /// A message without a length, where each must have one.
    #[error("byte {found:#04x} where the length of an octet-counted message must begin")]
    NoLength {
        /// The byte found instead.
        found: u8,
    },
    /// The digits are followed by something else than one space.
    #[error("byte {found:#04x} where a space must end the length of an octet-counted message")]
    NoSpace {
        /// The byte found instead.
        found: u8,
    },
    /// The count is more than is accepted. The digits behind that point are not read.
    #[error("an octet-counted message of {len} bytes or more, where {max} are accepted")]
    TooLong {
        /// What the digits read so far say, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: u32,
    },
}

/// Cuts a syslog connection into messages; used like [`LineFramer`], except that it can fail for good.
///
/// The same bytes give the same messages and the same error, however they are cut into pieces. The carry is never
/// more than `max_message` and its count.
#[derive(Debug, Clone)]
pub struct OctetFramer {
    max_message: u32,
    line: LineFramer,
    /// Lines are messages too.
    lines: bool,
}

impl OctetFramer {
    /// A framer at the start of a connection. Longer lines are cut, longer counts refused; in bytes.
    pub fn new(max_message: u32) -> Self {
        Self { max_message, line: LineFramer::new(max_message as usize).strip_cr(), lines: true }
    }

    /// Every message has its length in front; anything else ends the connection.
    pub fn counted_only(mut self) -> Self {
        self.lines = false;
        self
    }

    /// Lines end in a NUL byte too: over unix sockets that is how syslog(3) ends them.
    pub fn or_nul(mut self) -> Self {
        self.line = self.line.or_nul();
        self
    }

    /// The next message of `buf` at or behind `at`, or `None` when only an unfinished one is left; `at` moves as in
    /// [`LineFramer::next_frame`]. After an error the connection is to be closed: the framer has lost its place.
    #[inline]
    pub fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, FramingError> {
        let buf = &buf[..buf.len().min(u32::MAX as usize)];
        if self.line.is_discarding() && !self.line.skip_to_line_end(buf, at) {
            return Ok(None);
        }
        while let Some(first) = buf.get(*at) {
            let found = match *first {
                b'0'..=b'9' => self.counted(buf, at)?,
                _ if self.lines => self.line.next_frame(buf, at),
                found => return Err(FramingError::NoLength { found }),
            };
            match found {
                Some(frame) if frame.len == 0 => {}
                found => return Ok(found),
            }
        }
        Ok(None)
    }

    /// Hands every complete message of `buf` to `sink`; returns how many bytes are done with.
    #[inline]
    pub fn feed(&mut self, buf: &[u8], mut sink: impl FnMut(Frame)) -> Result<usize, FramingError> {
        let mut at = 0;
        while let Some(frame) = self.next_frame(buf, &mut at)? {
            sink(frame);
        }
        Ok(at)
    }

    /// The connection has ended: like [`feed`](Self::feed), and what is left is delivered too: a line as if its LF
    /// had come, the part of an octet-counted message that arrived as `truncated`.
    pub fn finish(&mut self, buf: &[u8], mut sink: impl FnMut(Frame)) -> Result<(), FramingError> {
        let at = self.feed(buf, &mut sink)?;
        let rest = &buf[at..];
        if !rest.first().is_some_and(u8::is_ascii_digit) {
            let moved = |frame: Frame| Frame { start: frame.start + at as u32, ..frame };
            self.line.finish(rest, |frame| {
                if frame.len > 0 {
                    sink(moved(frame))
                }
            });
        } else if let Some(Count { digits, .. }) = self.count(rest)?
            && rest.len() > digits + 1
        {
            let start = at + digits + 1;
            sink(counted_frame(buf, start, buf.len() - start, true));
        }
        Ok(())
    }

    /// Bytes of over-long lines given up so far.
    pub fn discarded_bytes(&self) -> u64 {
        self.line.discarded_bytes()
    }

    /// An octet-counted message at `at`, once all of it is there.
    #[inline]
    fn counted(&self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, FramingError> {
        let Some(Count { digits, message }) = self.count(&buf[*at..])? else { return Ok(None) };
        let start = *at + digits + 1;
        let Some(bytes) = buf[start..].get(..message) else { return Ok(None) };
        *at = start + message;
        let len = match bytes {
            [line @ .., b'\r', b'\n'] => line.len(),
            [line @ .., b'\n'] => line.len(),
            whole => whole.len(),
        };
        Ok(Some(counted_frame(buf, start, len, false)))
    }

    /// Reads `LEN SP` at the start of `buf`; `None` while its space has not come.
    ///
    /// The sum stops at the first digit that puts it over the limit, so thirty digits are no more work than eight
    /// and it cannot overflow: it is at most ten times a `u32`, in a `u64`.
    #[inline]
    fn count(&self, buf: &[u8]) -> Result<Option<Count>, FramingError> {
        let mut len = 0u64;
        for (digits, &byte) in buf.iter().enumerate() {
            match byte {
                b'0' if digits == 0 => return Err(FramingError::LeadingZero),
                b'0'..=b'9' => len = len * 10 + u64::from(byte - b'0'),
                b' ' => return Ok(Some(Count { digits, message: len as usize })),
                found => return Err(FramingError::NoSpace { found }),
            }
            if len > u64::from(self.max_message) {
                return Err(FramingError::TooLong { len, max: self.max_message });
            }
        }
        Ok(None)
    }
}

/// The frame of a counted message, in which newlines end nothing.
fn counted_frame(buf: &[u8], start: usize, len: usize, truncated: bool) -> Frame {
    let newlines = memchr::memchr(b'\n', &buf[start..start + len]).is_some();
    Frame { start: start as u32, len: len as u32, truncated, newlines }
}

/// The head of an octet-counted frame: how many digits, and the length of the message they tell.
struct Count {
    digits: usize,
    message: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::framing::oracle;

    /// What a connection gives whose bytes arrive cut at the given places, and the error that ended it.
    fn in_pieces(max: u32, stream: &[u8], cuts: &[usize]) -> (Vec<oracle::Entry>, Result<(), FramingError>) {
        pieces_of(OctetFramer::new(max), stream, cuts)
    }

    fn pieces_of(
        mut framer: OctetFramer,
        stream: &[u8],
        cuts: &[usize],
    ) -> (Vec<oracle::Entry>, Result<(), FramingError>) {
        let (mut found, mut carry, mut from) = (Vec::new(), Vec::new(), 0);
        for &cut in cuts {
            carry.extend_from_slice(&stream[from..cut]);
            from = cut;
            match framer.feed(&carry, |f| found.push(entry(f, &carry))) {
                Ok(done) => drop(carry.drain(..done)),
                Err(error) => return (found, Err(error)),
            }
            assert!(carry.len() <= framer.max_message as usize + 11);
        }
        carry.extend_from_slice(&stream[from..]);
        let end = framer.finish(&carry, |f| found.push(entry(f, &carry)));
        (found, end)
    }

    fn entry(frame: Frame, buf: &[u8]) -> oracle::Entry {
        assert_eq!(
            frame.newlines,
            frame.of(buf).contains(&b'\n'),
            "it is said of every message that holds one"
        );
        (frame.of(buf).to_vec(), frame.truncated)
    }

    fn assert_like_oracle(stream: &[u8], cuts: &[usize], max: u32) {
        let (found, end) = in_pieces(max, stream, cuts);
        assert_eq!((found, end.is_err()), oracle::octets(stream, max as usize), "{stream:?} {cuts:?}");
        let (found, end) = pieces_of(OctetFramer::new(max).counted_only(), stream, cuts);
        assert_eq!((found, end.is_err()), oracle::counted(stream, max as usize), "{stream:?} {cuts:?}");
    }

    fn messages(stream: &[u8]) -> Vec<oracle::Entry> {
        let (found, end) = in_pieces(100, stream, &[]);
        assert_eq!(end, Ok(()));
        found
    }

    fn whole<const N: usize>(messages: [&[u8]; N]) -> Vec<oracle::Entry> {
        messages.map(|message| (message.to_vec(), false)).to_vec()
    }

    #[test]
    fn each_frame_is_judged_by_its_first_byte() {
        assert_eq!(
            messages(b"6 <1>one<2>two\n8 <3>three plain\r\n5 <4>\n5<6>six"),
            whole([b"<1>one", b"<2>two", b"<3>three", b" plain", b"<4>\n5", b"<6>six"])
        );
    }

    #[test]
    fn a_counted_newline_is_line_ending_and_a_stray_one_between_frames_is_nothing() {
        assert_eq!(
            messages(b"4 <1>\n4 <2>\n\n\r\n5 <3>\r\n1 \n3 <4>"),
            whole([b"<1>", b"<2>", b"<3>", b"<4>"])
        );
        assert_eq!(
            messages(b"7 <1>a\nb\r"),
            whole([b"<1>a\nb\r"]),
            "newlines inside and a lone CR are content"
        );
    }

    #[test]
    fn a_count_that_cannot_be_honoured_ends_the_connection_after_what_came_before() {
        let too_long = |len| FramingError::TooLong { len, max: 65_536 };
        let many = |n| [b"1".repeat(n), b" x".to_vec()].concat();
        for (bytes, error) in [
            (b"0 ".to_vec(), FramingError::LeadingZero),
            (b"007 <1>four".to_vec(), FramingError::LeadingZero),
            (b"12<1>hello world".to_vec(), FramingError::NoSpace { found: b'<' }),
            (b"12\n".to_vec(), FramingError::NoSpace { found: b'\n' }),
            (b"1-2 ".to_vec(), FramingError::NoSpace { found: b'-' }),
            (b"1\0 ".to_vec(), FramingError::NoSpace { found: 0 }),
            (b"65537 ".to_vec(), too_long(65_537)),
            (b"4294967296 ".to_vec(), too_long(429_496)),
            (b"4294967295 ".to_vec(), too_long(429_496)),
            (b"18446744073709551617 ".to_vec(), too_long(184_467)),
            // SIZE_MAX / 10 and its neighbour, the borders of a careless `len * 10 + digit`.
            (b"1844674407370955161 ".to_vec(), too_long(184_467)),
            (b"1844674407370955162 ".to_vec(), too_long(184_467)),
        ]
        .into_iter()
        .chain((6..=30).map(|n| (many(n), too_long(111_111))))
        {
            let stream = [b"3 <7><8>line\n", &bytes[..]].concat();
            for cut in 0..=stream.len() {
                let (found, end) = in_pieces(65_536, &stream, &[cut]);
                assert_eq!(end, Err(error), "{bytes:?} cut at {cut}");
                assert_eq!(found, whole([b"<7>", b"<8>line"]));
            }
        }
        let largest = OctetFramer::new(u32::MAX).feed(&b"9".repeat(30), |_| ());
        assert_eq!(largest, Err(FramingError::TooLong { len: 9_999_999_999, max: u32::MAX }));
    }

    #[test]
    fn where_every_message_is_counted_a_line_ends_the_connection() {
        for (stream, found) in
            [(&b"3 <1>x"[..], b'x'), (b"3 <1>\n", b'\n'), (b"3 <1> 3 ", b' '), (b"3 <1>-1 ", b'-')]
        {
            let mut came = Vec::new();
            let end = OctetFramer::new(9).counted_only().feed(stream, |frame| came.push(frame.of(stream)));
            assert_eq!((end, &came[..]), (Err(FramingError::NoLength { found }), &[&b"<1>"[..]][..]));
        }
    }

    #[test]
    fn by_unix_sockets_a_nul_ends_a_line_too() {
        let stream = b"<1>a\0<2>b\n\0\n5 <3>\0x<4>c";
        let mut came = Vec::new();
        OctetFramer::new(9).or_nul().finish(stream, |frame| came.push(frame.of(stream))).unwrap();
        assert_eq!(came, [&b"<1>a"[..], b"<2>b", b"<3>\0x", b"<4>c"]);
    }

    #[test]
    fn a_count_at_the_limit_is_honoured() {
        assert_eq!(in_pieces(4, b"4 <1>a5 <2>bb", &[]).0, whole([b"<1>a"]));
    }

    #[test]
    fn a_line_too_long_is_cut_and_digits_in_its_rest_are_no_count() {
        let (found, end) = in_pieces(5, b"<1>long5 <2>55555\n5 <3>ok<4>\n", &[9, 10, 14]);
        assert_eq!(end, Ok(()));
        assert_eq!(found, [(b"<1>lo".to_vec(), true), (b"<3>ok".to_vec(), false), (b"<4>".to_vec(), false)]);
    }

    #[test]
    fn a_connection_that_ends_early_loses_nothing_that_arrived() {
        for (stream, last) in [
            (&b"3 <1><2>rest"[..], Some((b"<2>rest".to_vec(), false))),
            (b"3 <1><2>rest\r", Some((b"<2>rest".to_vec(), false))),
            (b"3 <1>9 <2>part\n", Some((b"<2>part\n".to_vec(), true))),
            (b"3 <1>9 ", None),
            (b"3 <1>9", None),
        ] {
            assert_eq!(messages(stream).get(1), last.as_ref(), "{stream:?}");
        }
    }

    #[test]
    fn the_place_of_a_cut_never_matters() {
        let streams: [&[u8]; 5] = [
            b"6 <1>one<2>two\n8 <3>three plain\r\n5 <4>\n5\n\n<6>six",
            b"12 <1>a\nb\r\n<2>c<3>0123456789012345 9\n4 <4>\n9 <5>",
            b"<1>\r\r\n\r\n3 \0\xff\r2 \r\n<2>\xef\xbb\xbf\n12",
            b"3 <1>17 <2>0123456789abcd<3>",
            b"3 <1>3x<2>\n",
        ];
        for stream in streams {
            for max in [3, 5, 12, 100] {
                for first in 0..=stream.len() {
                    for second in first..=stream.len() {
                        assert_like_oracle(stream, &[first, second], max);
                    }
                }
                assert_like_oracle(stream, &(0..stream.len()).collect::<Vec<_>>(), max);
            }
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let text = || prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..40);
        prop_oneof![
            3 => text().prop_map(|text| [format!("{} ", text.len()).as_bytes(), &text].concat()),
            3 => text().prop_map(|text| [b"<", &text[..], b"\n"].concat()),
            1 => (0..60u32).prop_map(|len| format!("{len} ").into_bytes()),
            1 => text(),
        ]
    }

    proptest! {
        #[test]
        fn any_stream_in_any_pieces_gives_the_messages_of_the_oracle(
            pieces in prop::collection::vec(piece(), 0..8),
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
