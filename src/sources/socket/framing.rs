//! Lines, or events made of lines, without the empty ones, which senders use to keep a connection alive.

use crate::sources::framing::Frame;
use crate::sources::net::incoming::Framing;
use std::convert::Infallible;
use std::time::Duration;

/// A framer that passes empty frames over.
#[derive(Debug, Clone)]
pub(super) struct Filled<F>(pub F);

impl<F: Framing<Error = Infallible>> Framing for Filled<F> {
    type Error = Infallible;

    #[inline]
    fn next_frame(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Infallible> {
        loop {
            match self.0.next_frame(buf, at)? {
                Some(frame) if frame.len == 0 => {}
                found => return Ok(found),
            }
        }
    }

    fn last_frame(&mut self, rest: &[u8]) -> Option<Frame> {
        self.0.last_frame(rest).filter(|frame| frame.len > 0)
    }

    fn patience(&self) -> Option<Duration> {
        self.0.patience()
    }

    fn end_open(&mut self, rest: &[u8], at: &mut usize) -> Option<Frame> {
        self.0.end_open(rest, at).filter(|frame| frame.len > 0)
    }

    fn end_before_rest(&mut self, rest: &[u8], at: &mut usize) -> Option<Frame> {
        self.0.end_before_rest(rest, at).filter(|frame| frame.len > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::framing::LineFramer;

    fn all(mut framer: Filled<LineFramer>, stream: &[u8]) -> Vec<&[u8]> {
        let (mut at, mut found) = (0, Vec::new());
        while let Ok(Some(frame)) = framer.next_frame(stream, &mut at) {
            found.push(frame.of(stream));
        }
        let rest = &stream[at..];
        found.extend(framer.last_frame(rest).map(|frame| frame.of(rest)));
        found
    }

    #[test]
    fn empty_lines_are_no_entries() {
        let lines = Filled(LineFramer::new(10).strip_cr());
        assert_eq!(all(lines.clone(), b"\n\r\none\r\n\n\ntwo"), [b"one", b"two"]);
        assert_eq!(all(lines, b"\n\r"), [b""; 0]);
        let nul = Filled(LineFramer::new(10).ended_by_nul());
        assert_eq!(all(nul, b"\0\0one\r\n\0two\n"), [&b"one\r\n"[..], b"two\n"]);
    }
}
