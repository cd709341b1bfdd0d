//! Any bytes, in any pieces: the framers find what the oracles find, and keep no more than they may.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::sources::{
    framing::{Frame, LineFramer},
    net::incoming::Framing,
    socket::prefix::PrefixFramer,
    syslog::octet::OctetFramer,
};
use ringmain_fuzz::oracle_framing as oracle;

struct Input<'a> {
    /// The longest entry, in bytes; short, so that the limit is met often.
    max: u8,
    /// Lengths of the pieces the stream arrives in, over and over.
    pieces: [u8; 4],
    stream: &'a [u8],
}

fuzz_target!(|data: &[u8]| {
    let Some((&[max, ref pieces @ ..], stream)) = data.split_first_chunk::<5>() else { return };
    let input = Input { max, pieces: *pieces, stream };
    let max = usize::from(input.max).max(1);
    let lines = LineFramer::new(max);
    for (mut framer, ends, strip_cr) in [
        (lines.clone(), &b"\n"[..], false),
        (lines.clone().strip_cr(), b"\n", true),
        (lines.clone().ended_by_nul(), b"\0", false),
        (lines.clone().strip_cr().or_nul(), b"\n\0", true),
    ] {
        let (found, refused) = in_pieces(&input, max + 1, |buf, end, sink| {
            if end {
                framer.finish(buf, sink);
                return Some(buf.len());
            }
            Some(framer.feed(buf, sink))
        });
        assert!(!refused);
        assert_eq!(
            (found, framer.discarded_bytes()),
            oracle::lines_ended_by(ends, input.stream, max, strip_cr)
        );
    }

    let octets = OctetFramer::new(max as u32);
    let expected = [oracle::octets(input.stream, max), oracle::counted(input.stream, max)];
    for (mut framer, expected) in [octets.clone(), octets.counted_only()].into_iter().zip(expected) {
        let found = in_pieces(&input, max + 4, |buf, end, sink| {
            if end {
                return framer.finish(buf, sink).ok().map(|()| buf.len());
            }
            framer.feed(buf, sink).ok()
        });
        assert_eq!(found, expected);
    }

    let mut framer = PrefixFramer::new(max as u32);
    let found = in_pieces(&input, max + 3, |buf, end, sink| {
        let mut at = 0;
        while let Some(frame) = framer.next_frame(buf, &mut at).ok()? {
            sink(frame);
        }
        if end {
            let last = framer.last_frame(&buf[at..]);
            last.map(|frame| Frame { start: frame.start + at as u32, ..frame }).into_iter().for_each(sink);
        }
        Some(at)
    });
    assert_eq!(found, oracle::prefixed(input.stream, max));
});

/// Presents the stream piece by piece with its carry, as a source does, and then its end. `feed` tells the bytes that
/// are done with, or `None` for an error.
fn in_pieces(
    input: &Input,
    carry_max: usize,
    mut feed: impl FnMut(&[u8], bool, &mut dyn FnMut(Frame)) -> Option<usize>,
) -> (Vec<oracle::Entry>, bool) {
    let (mut found, mut carry, mut rest) = (Vec::new(), Vec::new(), input.stream);
    for piece in input.pieces.iter().cycle().map(|&len| usize::from(len).max(1)) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        carry.extend_from_slice(now);
        let end = now.is_empty();
        let done = feed(&carry, end, &mut |frame| found.push((frame.of(&carry).to_vec(), frame.truncated)));
        let Some(done) = done else { return (found, true) };
        carry.drain(..done);
        assert!(carry.len() <= carry_max, "{} bytes kept", carry.len());
        if end {
            break;
        }
    }
    (found, false)
}
