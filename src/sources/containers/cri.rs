//! Lines of log files in the format of the Kubernetes container runtime interface (CRI): `TIME STREAM TAGS TEXT`.
//!
//! The time is RFC 3339 with nanoseconds, the stream `stdout` or `stderr`, and of the tags, joined by `:`, the first
//! says whether the line is complete (`F`) or goes on in the stream's next (`P`). containerd, CRI-O and podman's `k8s-file`
//! write it.

use super::{Piece, Std};
use crate::time::rfc3339;
use memchr::memchr;

/// Longest time we look for, in bytes.
const TIME_MAX: usize = 40;
/// Longest tags, likewise.
const TAGS_MAX: usize = 64;

/// What the line, given without its newline, says; `None`: it is not of this format.
pub fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let (time, rest) = word(line, TIME_MAX)?;
    let time = rfc3339(time)?;
    let (std, rest) = word(rest, 8)?;
    let std = Std::of(std)?;
    let (tags, text) = match word(rest, TAGS_MAX) {
        Some(parts) => parts,
        // An empty text may have no blank before it.
        None => (Some(rest).filter(|rest| rest.len() < TAGS_MAX)?, &[][..]),
    };
    let ends = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Piece { std, time: Some(time), text, ends })
}

fn word(line: &[u8], max: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', &line[..line.len().min(max)])?;
    Some((&line[..end], &line[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_839_346_585_508_564;

    #[test]
    fn complete_lines_and_pieces_are_told_apart() {
        let piece = |std, text, ends| Some(Piece { std, time: Some(T), text, ends });
        for (line, told) in [
            (
                &b"2026-11-28T04:15:46.585508564Z stdout F hello  you "[..],
                piece(Std::Out, b"hello  you ", true),
            ),
            (b"2026-11-28T04:15:46.585508564+00:00 stderr P a piece", piece(Std::Err, b"a piece", false)),
            (b"2026-11-28T05:15:46.585508564+01:00 stdout P:x:y more", piece(Std::Out, b"more", false)),
            (b"2026-11-28T04:15:46.585508564Z stdout F ", piece(Std::Out, b"", true)),
            (b"2026-11-28T04:15:46.585508564Z stdout F", piece(Std::Out, b"", true)),
            (b"2026-11-28T04:15:46.585508564Z stdout F \xff\0", piece(Std::Out, b"\xff\0", true)),
        ] {
            assert_eq!(parse(line), told, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            &b""[..],
            b"hello",
            b"2026-11-28T04:15:46Z",
            b"2026-11-28T04:15:46Z stdout",
            b"2026-11-28T04:15:46Z stdin F x",
            b"2026-11-28T04:15:46Z stdout G x",
            b"2026-11-28T04:15:46Z  stdout F x",
            b"2026-13-28T04:15:46Z stdout F x",
            b"{\"log\":\"x\\n\"}",
        ] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
