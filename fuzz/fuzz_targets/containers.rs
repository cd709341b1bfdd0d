//! What container engines write and send: frames in any pieces are the lines the oracle finds, and a line of a log file
//! says what a JSON parser, or a split at its blanks, finds in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::sources::containers::frames::Frames;
use ringmain::sources::containers::{Std, cri, docker_json};
use ringmain::time::rfc3339;
use ringmain_fuzz::oracle_frames as oracle;

fuzz_target!(|data: &[u8]| {
    // Lengths of the pieces frames arrive in (over and over), and the bytes.
    let Some((pieces, bytes)) = data.split_first_chunk::<4>() else { return };
    assert_eq!(in_pieces(bytes, pieces), oracle::lines(bytes, rfc3339));
    for line in bytes.split(|byte| *byte == b'\n') {
        message_of_docker(line);
        message_of_cri(line);
    }
});

fn in_pieces(bytes: &[u8], pieces: &[u8]) -> (Vec<oracle::Line>, bool) {
    let mut frames = Frames::default();
    let mut lines = oracle::Lines::default();
    let mut rest = bytes;
    for piece in pieces.iter().cycle().map(|len| usize::from(*len).max(1)) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        let mut at = 0;
        loop {
            match frames.next(now, &mut at) {
                Ok(None) => break,
                Ok(Some(piece)) => lines.add(piece.std as u8, piece.time, piece.text, piece.ends),
                Err(_) => return (lines.all, true),
            }
        }
        assert_eq!(at, now.len());
        if rest.is_empty() {
            return (lines.all, false);
        }
    }
    unreachable!("there are four pieces, over and over")
}

fn message_of_docker(line: &[u8]) {
    let mut scratch = Vec::new();
    let Some(piece) = docker_json::parse(line, &mut scratch) else { return };
    // Whatever is taken for a message is JSON, but for two things: a lone surrogate, and what stands in a key nobody asked
    // for need not be text.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) else {
        let surrogate = line.windows(3).any(|part| part.eq_ignore_ascii_case(b"\\ud"));
        assert!(surrogate || std::str::from_utf8(line).is_err(), "{}", line.escape_ascii());
        return;
    };
    let log = value["log"].as_str().expect("a text");
    let text = log.strip_suffix('\n').unwrap_or(log);
    assert_eq!((piece.text, piece.ends), (text.as_bytes(), log.ends_with('\n')));
    assert_eq!(Some(piece.std.name()), value["stream"].as_str());
    assert_eq!(piece.time, value["time"].as_str().and_then(|time| rfc3339(time.as_bytes())));
}

fn message_of_cri(line: &[u8]) {
    let parts: Vec<&[u8]> = line.splitn(4, |byte| *byte == b' ').collect();
    let told = match parts[..] {
        [time, std, tags] => Some((time, std, tags, &[][..])),
        [time, std, tags, text] => Some((time, std, tags, text)),
        _ => None,
    };
    let told = told.and_then(|(time, std, tags, text)| {
        let ends = match tags.split(|byte| *byte == b':').next() {
            Some(b"F") => true,
            Some(b"P") => false,
            _ => return None,
        };
        let std = Std::ALL.into_iter().find(|one| one.name().as_bytes() == std)?;
        Some((std, rfc3339(time).filter(|_| time.len() < 40 && tags.len() < 64)?, text, ends))
    });
    let found =
        cri::parse(line).map(|piece| (piece.std, piece.time.expect("it has one"), piece.text, piece.ends));
    // Longer times and tags are none that anybody writes.
    if parts.first().is_some_and(|time| time.len() < 40) && parts.get(2).is_none_or(|tags| tags.len() < 64) {
        assert_eq!(found, told);
    }
}
