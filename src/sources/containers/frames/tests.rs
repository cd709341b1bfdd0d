use super::*;
use proptest::prelude::*;

const T: &str = "2026-11-28T04:15:46.585508564Z";
const NANOS: i64 = 1_795_839_346_585_508_564;

/// The lines of `bytes`, shown in pieces that end at `cuts`, and whether something was wrong with them.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> (Vec<oracle::Line>, bool) {
    let mut frames = Frames::default();
    let mut lines = oracle::Lines::default();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let (piece, mut at) = (&bytes[from..cut], 0);
        from = cut;
        loop {
            match frames.next(piece, &mut at) {
                Ok(None) => break,
                Ok(Some(piece)) => lines.add(piece.std as u8, piece.time, piece.text, piece.ends),
                Err(_) => return (lines.all, true),
            }
        }
        assert_eq!(at, piece.len(), "everything is done with");
    }
    (lines.all, false)
}

fn frame(kind: u8, text: &str) -> Vec<u8> {
    let mut frame = vec![kind, 0, 0, 0];
    frame.extend_from_slice(&(text.len() as u32).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn assert_like_oracle(bytes: &[u8], cuts: &[usize]) {
    assert_eq!(in_pieces(bytes, cuts), oracle::lines(bytes, rfc3339), "cut at {cuts:?}");
}

#[test]
fn frames_tell_streams_apart_and_their_pieces_make_lines() {
    let bytes = [
        frame(1, &format!("{T} one\n")),
        frame(2, &format!("{T} err\n")),
        frame(1, &format!("{T} first half,")),
        frame(2, &format!("{T} \n")),
        frame(1, &format!("{T} second half\n")),
        frame(0, ""),
        frame(1, "no time\n"),
        frame(1, &format!("{T} open")),
    ]
    .concat();
    let line = |std, time, text: &str, ends| (std, time, text.as_bytes().to_vec(), ends);
    let wanted = vec![
        line(0, Some(NANOS), "one", true),
        line(1, Some(NANOS), "err", true),
        line(0, Some(NANOS), "first half,second half", true),
        line(1, Some(NANOS), "", true),
        line(0, None, "no time", true),
        line(0, Some(NANOS), "open", false),
    ];
    assert_eq!(in_pieces(&bytes, &[]), (wanted, false));
    for cut in 0..=bytes.len() {
        assert_like_oracle(&bytes, &[cut]);
    }
    assert_like_oracle(&bytes, &(0..bytes.len()).collect::<Vec<_>>());
}

#[test]
fn a_terminal_has_lines_without_frames_and_what_docker_cut_is_whole_again() {
    let long = "x".repeat(CUT);
    let bytes =
        format!("{T} one\r\n{T} \r\n{T} a\rb\r\r\n{T} {long}{T} {long}{T} tail\r\n{T} {long}\r\n{T} 2026\n");
    let (lines, wrong) = in_pieces(bytes.as_bytes(), &[]);
    let texts: Vec<String> =
        lines.iter().map(|(_, _, text, _)| String::from_utf8(text.clone()).unwrap()).collect();
    let whole = long.repeat(2) + "tail";
    assert_eq!(
        texts,
        ["one", "", "a\rb\r", &whole, &(long.clone() + "\r"), "2026"]
            .map(|text| text.replace(&(long.clone() + "\r"), &long))
    );
    assert!(
        !wrong && lines.iter().all(|(std, time, _, ends)| (*std, *time, *ends) == (0, Some(NANOS), true))
    );
    for cut in [1, 5, 29, 30, 31, 36, 37, 38, CUT, CUT + 100, CUT + 175] {
        assert_like_oracle(bytes.as_bytes(), &[cut]);
    }
}

#[test]
fn what_is_no_log_is_found_out_and_the_engines_own_trouble_is_told() {
    for bytes in [&b"hello"[..], b"\x01\0\0\x01\0\0\0\x01x", b"\x01\0\0\0\0\0\0\x02x\ny\0\0\0\0\0\0\0"] {
        assert!(in_pieces(bytes, &[]).1, "{bytes:?}");
    }
    let (mut frames, mut at) = (Frames::default(), 0);
    let said = frames.next(&frame(3, "the disk is gone\n"), &mut at).map(|piece| piece.is_some());
    assert_eq!(said, Err(Bad::Engine("the disk is gone".into())));
}

proptest! {
    #[test]
    fn any_log_in_any_pieces_gives_the_lines_of_the_oracle(
        messages in prop::collection::vec((0..3u8, any::<bool>(), "[a\r 2]{0,50}", any::<bool>()), 0..12),
        terminal: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        spoilt in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = Vec::new();
        for (kind, timed, text, ends) in messages {
            let time = if timed { format!("{T} ") } else { String::new() };
            let end = if ends { "\n" } else { "" };
            match terminal {
                true => bytes.extend_from_slice(format!("{T} {text}{}\n", if ends { "\r" } else { "" }).as_bytes()),
                false => bytes.extend_from_slice(&frame(kind, &format!("{time}{text}{end}"))),
            }
        }
        if let Some((at, byte)) = spoilt.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        assert_like_oracle(&bytes, &cuts);
    }
}
