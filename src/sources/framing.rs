//! Finding the entries in a stream of bytes: one line, one entry.
//!
//! A [`LineFramer`] is given what has arrived, says where its lines are, and says how much of it is done with. The
//! caller keeps the rest (the carry) and presents it again with more behind it; the framer remembers how far it has
//! looked, so no byte is searched twice, however small the pieces. It copies nothing: frames are positions.
//! Whatever the pieces, the same bytes give the same lines.
//! Not here: reading, and the budget carries live in (see `net` and `file`).

use memchr::{memchr, memchr2};

/// Where one entry lies in the buffer that was presented, without its line ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// First byte, counted from the start of the buffer.
    pub start: u32,
    /// Length in bytes; zero for an empty line.
    pub len: u32,
    /// The entry was longer than allowed (or its sender left in the middle of it): this is its beginning.
    pub truncated: bool,
    /// It holds a newline, which ended nothing: only in framings other than lines.
    pub newlines: bool,
}

impl Frame {
    /// The bytes of this frame in `buf`, the buffer it was found in.
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..][..self.len as usize]
    }
}

/// Cuts bytes into lines that end in LF, or in what it was told instead.
///
/// The LF is taken off. A CR before it is part of the entry, byte for byte, unless [`strip_cr`](Self::strip_cr) was
/// asked for. A line longer than `max_line` gives its first `max_line` bytes, marked `truncated`, as soon as that is
/// known; what follows up to the next LF is discarded and counted.
#[derive(Debug, Clone)]
pub struct LineFramer {
    max_line: usize,
    strip_cr: bool,
    /// What ends a line, and what else does.
    end: u8,
    or_end: Option<u8>,
    /// Bytes of the open line that were searched before and hold no LF.
    scanned: usize,
    /// The open line was cut; everything up to its LF goes.
    discarding: bool,
    discarded: u64,
}

impl LineFramer {
    /// A framer at the start of a line. `max_line` is in bytes without the line ending.
    pub fn new(max_line: usize) -> Self {
        Self {
            max_line,
            strip_cr: false,
            end: b'\n',
            or_end: None,
            scanned: 0,
            discarding: false,
            discarded: 0,
        }
    }

    /// Takes one CR before the LF off too.
    pub fn strip_cr(mut self) -> Self {
        self.strip_cr = true;
        self
    }

    /// Lines end in a NUL byte, and an LF is a byte like any other.
    pub fn ended_by_nul(mut self) -> Self {
        self.end = 0;
        self
    }

    /// Lines end in a NUL byte too, as syslog(3) ends its messages over a stream.
    pub fn or_nul(mut self) -> Self {
        self.or_end = Some(0);
        self
    }

    /// The next line of `buf` at or behind `at`, or `None` when only an unfinished one is left.
    ///
    /// `at` moves behind what is done with: on `None` the caller keeps `buf[at..]` and presents it again, with more
    /// bytes behind it, at the start of the next buffer. A caller with no room for another frame may also stop after
    /// any `Some`. Only the first 4 GiB of a buffer are looked at.
    #[inline]
    pub fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Option<Frame> {
        let buf = &buf[..buf.len().min(u32::MAX as usize)];
        if self.discarding && !self.skip_to_line_end(buf, at) {
            return None;
        }
        match self.find_end(buf.get(*at + self.scanned..)?) {
            Some(found) => {
                let (start, end) = (*at, *at + self.scanned + found);
                self.scanned = 0;
                *at = end + 1;
                Some(self.line(buf, start, end))
            }
            None => self.open_line(buf, at),
        }
    }

    /// Hands every complete line of `buf` to `sink`; returns how many bytes are done with.
    #[inline]
    pub fn feed(&mut self, buf: &[u8], mut sink: impl FnMut(Frame)) -> usize {
        let mut at = 0;
        while let Some(frame) = self.next_frame(buf, &mut at) {
            sink(frame);
        }
        at
    }

    /// The stream has ended: like [`feed`](Self::feed), and what is left is a line too, as if its LF had come.
    /// The framer is then at the start of a line again.
    pub fn finish(&mut self, buf: &[u8], mut sink: impl FnMut(Frame)) {
        let rest = self.feed(buf, &mut sink);
        // While discarding, all of it was done with.
        if rest < buf.len() {
            sink(self.line(buf, rest, buf.len()));
        }
        (self.scanned, self.discarding) = (0, false);
    }

    /// Whether the next bytes belong to a line that was already handed out cut, and so will be discarded.
    pub fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Bytes of over-long lines given up so far: everything from the cut to the LF, the LF not counted.
    pub fn discarded_bytes(&self) -> u64 {
        self.discarded
    }

    #[inline]
    fn find_end(&self, bytes: &[u8]) -> Option<usize> {
        match self.or_end {
            None => memchr(self.end, bytes),
            Some(other) => memchr2(self.end, other, bytes),
        }
    }

    /// The line `buf[start..end]`, whose LF stood at `end`.
    #[inline]
    fn line(&mut self, buf: &[u8], start: usize, end: usize) -> Frame {
        let raw = end - start;
        let len = if self.strip_cr && buf[start..end].ends_with(b"\r") { raw - 1 } else { raw };
        if len > self.max_line {
            self.discarded += (raw - self.max_line) as u64;
            return self.frame(buf, start, self.max_line, true);
        }
        self.frame(buf, start, len, false)
    }

    /// No LF in sight: wait for it, unless the line is too long whatever comes.
    #[cold]
    fn open_line(&mut self, buf: &[u8], at: &mut usize) -> Option<Frame> {
        let (start, held) = (*at, buf.len() - *at);
        // One byte over may be the CR of a line that just fits.
        if held <= self.max_line.saturating_add(usize::from(self.strip_cr)) {
            self.scanned = held;
            return None;
        }
        (self.scanned, self.discarding) = (0, true);
        self.discarded += (held - self.max_line) as u64;
        *at = buf.len();
        Some(self.frame(buf, start, self.max_line, true))
    }

    /// Positions fit: every caller has cut its buffer to what `u32` can count.
    #[inline]
    fn frame(&self, buf: &[u8], start: usize, len: usize, truncated: bool) -> Frame {
        // Where an LF ends lines there is none in them.
        let newlines = self.end != b'\n' && memchr(b'\n', &buf[start..start + len]).is_some();
        Frame { start: start as u32, len: len as u32, truncated, newlines }
    }

    /// While [`is_discarding`](Self::is_discarding): discards up to and including the next LF; false when that has
    /// not come yet.
    #[cold]
    pub(crate) fn skip_to_line_end(&mut self, buf: &[u8], at: &mut usize) -> bool {
        let rest = &buf[*at..];
        let found = self.find_end(rest);
        self.discarded += found.unwrap_or(rest.len()) as u64;
        *at += found.map_or(rest.len(), |lf| lf + 1);
        self.discarding = found.is_none();
        found.is_some()
    }
}

// Shared with the fuzz targets.
#[cfg(test)]
#[path = "../../fuzz/src/oracle_framing.rs"]
pub(crate) mod oracle;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `stream` cut at the given places, keeping the carry as a source does; also checks that the framer never
    /// asks to keep more than a line.
    fn in_pieces(framer: &mut LineFramer, stream: &[u8], cuts: &[usize]) -> Vec<oracle::Entry> {
        let (mut found, mut carry, mut from) = (Vec::new(), Vec::new(), 0);
        for &cut in cuts {
            carry.extend_from_slice(&stream[from..cut]);
            from = cut;
            let done = framer.feed(&carry, |f| found.push((f.of(&carry).to_vec(), f.truncated)));
            carry.drain(..done);
            assert!(carry.len() <= framer.max_line + 1);
        }
        carry.extend_from_slice(&stream[from..]);
        framer.finish(&carry, |f| found.push((f.of(&carry).to_vec(), f.truncated)));
        found
    }

    fn assert_like_oracle(stream: &[u8], cuts: &[usize], max_line: usize, strip_cr: bool) {
        let mut framer = LineFramer { strip_cr, ..LineFramer::new(max_line) };
        let found = in_pieces(&mut framer, stream, cuts);
        assert_eq!((found, framer.discarded_bytes()), oracle::lines(stream, max_line, strip_cr));
    }

    #[test]
    fn complete_lines_come_out_and_the_open_one_stays() {
        let (mut framer, mut found) = (LineFramer::new(100), Vec::new());
        let done = framer.feed(b"one\r\n\nthree\nfou", |f| found.push(f));
        assert_eq!(done, 12);
        let at = |start, len| Frame { start, len, truncated: false, newlines: false };
        assert_eq!(found, [at(0, 4), at(5, 0), at(6, 5)], "a CR is kept and an empty line is a line");
    }

    #[test]
    fn a_carry_is_not_searched_again() {
        let mut framer = LineFramer::new(100);
        assert_eq!(framer.feed(b"abc", |_| ()), 0);
        // A caller may not change what was searched; if it does, this shows that nobody looks there.
        let mut found = Vec::new();
        assert_eq!(framer.feed(b"\n\n\nd\n", |f| found.push(f.len)), 5);
        assert_eq!(found, [4]);
    }

    #[test]
    fn a_caller_without_room_may_stop_after_any_frame() {
        let (mut framer, mut at) = (LineFramer::new(100), 0);
        assert_eq!(framer.next_frame(b"a\nb\nc", &mut at).map(|f| f.len), Some(1));
        let rest = &b"a\nb\nc"[at..];
        let mut found = Vec::new();
        assert_eq!(framer.feed(rest, |f| found.push(f)), 2);
        assert_eq!(found, [Frame { start: 0, len: 1, truncated: false, newlines: false }]);
    }

    #[test]
    fn a_line_too_long_is_cut_at_once_and_its_rest_discarded_up_to_its_newline() {
        let (mut framer, mut found) = (LineFramer::new(4), Vec::new());
        assert_eq!(framer.feed(b"12345", |f| found.push((f.len, f.truncated))), 5);
        assert!(framer.is_discarding());
        assert_eq!(framer.feed(b"6789", |_| panic!("nothing complete here")), 4);
        assert_eq!(framer.feed(b"0\nnext\n", |f| found.push((f.len, f.truncated))), 7);
        assert_eq!(found, [(4, true), (4, false)]);
        assert_eq!((framer.discarded_bytes(), framer.is_discarding()), (6, false));
    }

    #[test]
    fn a_stripped_cr_does_not_count_towards_the_limit() {
        for (stream, entry) in [
            (&b"1234\r\n"[..], (b"1234".to_vec(), false)),
            (b"1234\r\r\n", (b"1234".to_vec(), true)),
            (b"12345\n", (b"1234".to_vec(), true)),
            (b"1234\r", (b"1234".to_vec(), false)),
        ] {
            assert_eq!(
                in_pieces(&mut LineFramer::new(4).strip_cr(), stream, &[5.min(stream.len())]),
                [entry]
            );
        }
    }

    #[test]
    fn the_end_of_a_stream_makes_a_line_of_what_is_left() {
        for (stream, lines) in
            [(&b""[..], 0), (b"\n", 1), (b"a", 1), (b"a\n", 1), (b"a\n\n", 2), (b"a\nb", 2)]
        {
            assert_eq!(in_pieces(&mut LineFramer::new(9), stream, &[]).len(), lines, "{stream:?}");
        }
        let mut framer = LineFramer::new(2);
        assert_eq!(in_pieces(&mut framer, b"abcd", &[3]), [(b"ab".to_vec(), true)]);
        assert!(!framer.is_discarding(), "ready for another stream");
    }

    #[test]
    fn the_place_of_a_cut_never_matters() {
        let stream = b"ab\r\n\ncdefghij\r\nk\r\r\nlmno\n\0\xff\xfe\npqrst\ruvw";
        for max_line in 1..10 {
            for strip_cr in [false, true] {
                for first in 0..=stream.len() {
                    for second in first..=stream.len() {
                        assert_like_oracle(stream, &[first, second], max_line, strip_cr);
                    }
                }
                assert_like_oracle(stream, &(0..stream.len()).collect::<Vec<_>>(), max_line, strip_cr);
            }
        }
    }

    proptest! {
        #[test]
        fn any_stream_in_any_pieces_gives_the_lines_of_the_oracle(
            stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            max_line in 1..40usize,
            strip_cr: bool,
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            assert_like_oracle(&stream, &cuts, max_line, strip_cr);
        }
    }
}
