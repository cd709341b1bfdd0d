//! Any bytes, in any pieces: the events the oracle finds; and a stack trace read by the ready-made rules is the same
//! however it is cut, and from whichever of its events it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::sources::multiline::framer::EventFramer;
use ringmain::sources::multiline::pattern::Pattern;
use ringmain::sources::multiline::preset::Preset;
use ringmain::sources::multiline::{Rule, Rules};
use ringmain::sources::net::incoming::Framing;
use ringmain_fuzz::oracle_multiline as oracle;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Each rule, and how the oracle knows it.
type Known = (Rule, fn(&[u8]) -> bool, fn(&[u8]) -> bool);
static KNOWN: LazyLock<[Known; 3]> = LazyLock::new(|| {
    let pattern = |text| Pattern::compile(text).expect("a pattern");
    [
        (Rule::Start(pattern("^[0-9]")), |line| !matches!(line, [b'0'..=b'9', ..]), |_| false),
        (Rule::Continue(pattern("^[ \t]+")), |line| matches!(line, [b' ' | b'\t', ..]), |_| false),
        (Rule::End(pattern(";$")), |_| true, |line| line.ends_with(b";")),
    ]
});

fuzz_target!(|data: &[u8]| {
    // Limits, lengths of the pieces the stream arrives in (over and over), the stream.
    let Some((&[line, lines, bytes, ref pieces @ ..], stream)) = data.split_first_chunk::<7>() else {
        return;
    };
    let limits = oracle::Limits {
        line: usize::from(line).max(1),
        lines: usize::from(lines % 16).max(1),
        bytes: usize::from(bytes).max(1),
    };
    let framer = |rule: &Rule| {
        let rules = Rules {
            rule: rule.clone(),
            max_lines: limits.lines,
            max_bytes: limits.bytes,
            timeout: Duration::ZERO,
        };
        EventFramer::new(Arc::new(rules), limits.line)
    };
    for (rule, belongs, ends) in KNOWN.iter() {
        let found = in_pieces(framer(rule), stream, pieces);
        assert_eq!(found, oracle::events(stream, &limits, belongs, ends));
    }
    for preset in [Preset::Java, Preset::Python, Preset::Go] {
        let rule = Rule::Preset(preset);
        let whole = in_pieces(framer(&rule), stream, &[255]);
        assert_eq!(in_pieces(framer(&rule), stream, pieces), whole);
        if whole.iter().any(|(_, cut)| *cut) {
            continue;
        }
        assert_eq!(whole.iter().map(|(event, _)| event.len() + 1).sum::<usize>(), ended(stream));
        let middle = whole.len() / 2;
        let begin: usize = whole[..middle].iter().map(|(event, _)| event.len() + 1).sum();
        let again = stream.get(begin..).unwrap_or_default();
        assert_eq!(in_pieces(framer(&rule), again, pieces), whole[middle..]);
    }
});

/// How long the stream is once its last line has its newline.
fn ended(stream: &[u8]) -> usize {
    stream.len() + usize::from(!stream.is_empty() && !stream.ends_with(b"\n"))
}

/// Presents the stream piece by piece with its carry, as a source does, and then its end.
fn in_pieces(mut framer: EventFramer, stream: &[u8], pieces: &[u8]) -> Vec<oracle::Entry> {
    let (mut found, mut carry, mut rest) = (Vec::new(), Vec::new(), stream);
    for piece in pieces.iter().cycle().map(|&len| usize::from(len).max(1)) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        carry.extend_from_slice(now);
        let mut at = 0;
        while let Some(event) = framer.next_event(&carry, &mut at) {
            found.push((event.of(&carry).to_vec(), event.truncated));
        }
        carry.drain(..at);
        assert!(carry.len() <= framer.longest() + 1, "{} bytes kept", carry.len());
        if now.is_empty() {
            break;
        }
    }
    let mut at = 0;
    let before = framer.end_before_rest(&carry, &mut at);
    found.extend(before.map(|event| (event.of(&carry).to_vec(), event.truncated)));
    let last = framer.last_frame(&carry[at..]);
    found.extend(last.map(|event| (event.of(&carry[at..]).to_vec(), event.truncated)));
    found
}
