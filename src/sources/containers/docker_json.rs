//! Lines of Docker's `json-file` log driver: `{"log":"TEXT\n","stream":"stdout","time":"TIME"}`.
//!
//! The text has its newline inside; without one the line goes on in the stream's next (Docker cuts at 16 KiB). With
//! other keys in between (`attrs`) or in another order it is the same line.

use super::{Piece, Std};
use crate::entry::unescape_into;
use crate::time::rfc3339;
use memchr::memchr2;
use serde::Deserialize;
use std::borrow::Cow;

/// What the line, given without its newline, says, with its text in `scratch` where it has escapes; `None`: it is not of
/// this format.
pub fn parse<'a>(line: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Piece<'a>> {
    // In the order Docker writes it, which is nearly always; anything else is left to a JSON parser.
    match in_order(line) {
        Some((log, std, time)) => {
            scratch.clear();
            let text = match log.strip_suffix(b"\\n") {
                // A backslash of its own before it would make this an `n`.
                Some(plain) if !plain.contains(&b'\\') => return Some(piece(std, time, plain, true)),
                _ if !log.contains(&b'\\') => return Some(piece(std, time, log, false)),
                _ => {
                    if !unescape_into(log, scratch) {
                        return None;
                    }
                    &scratch[..]
                }
            };
            Some(whole(std, time, text))
        }
        None => by_parser(line, scratch),
    }
}

fn piece(std: Std, time: Option<i64>, text: &[u8], ends: bool) -> Piece<'_> {
    Piece { std, time, text, ends }
}

fn whole(std: Std, time: Option<i64>, text: &[u8]) -> Piece<'_> {
    match text.strip_suffix(b"\n") {
        Some(text) => piece(std, time, text, true),
        None => piece(std, time, text, false),
    }
}

/// The inside of the string `log`, the stream and the time.
fn in_order(line: &[u8]) -> Option<(&[u8], Std, Option<i64>)> {
    let (log, rest) = string(line.strip_prefix(b"{\"log\":\"")?)?;
    let (std, rest) = string(rest.strip_prefix(b",\"stream\":\"")?)?;
    let (time, rest) = string(rest.strip_prefix(b",\"time\":\"")?)?;
    if rest != b"}" {
        return None;
    }
    // What is no text is no JSON either.
    std::str::from_utf8(log).ok()?;
    let control = log.iter().any(|byte| *byte < b' ');
    // Whether a time that is none is a text at all is asked of the parser.
    let time = rfc3339(time)?;
    Some((log, Std::of(std)?, Some(time))).filter(|_| !control)
}

/// The string that `bytes` begin inside of, still escaped, and what stands behind its quote.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            return Some((&bytes[..at], &bytes[at + 1..]));
        }
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

#[cold]
fn by_parser<'a>(line: &[u8], scratch: &'a mut Vec<u8>) -> Option<Piece<'a>> {
    let Line { log, stream, time } = serde_json::from_slice(line).ok()?;
    let std = Std::of(stream.as_bytes())?;
    scratch.clear();
    scratch.extend_from_slice(log.as_bytes());
    Some(whole(std, rfc3339(time.as_bytes()), scratch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const T: i64 = 1_795_839_346_585_508_564;

    fn parsed(line: &[u8]) -> Option<(Std, Option<i64>, Vec<u8>, bool)> {
        let mut scratch = b"left over".to_vec();
        parse(line, &mut scratch).map(|piece| (piece.std, piece.time, piece.text.to_vec(), piece.ends))
    }

    #[test]
    fn lines_as_docker_writes_them_are_read() {
        let time = r#""time":"2026-11-28T04:15:46.585508564Z""#;
        for (log, text, ends) in [
            (r"hello\n", &b"hello"[..], true),
            (r"\n", b"", true),
            ("", b"", false),
            ("no end", b"no end", false),
            (r"a \\n", br"a \n", false),
            (r"a \\\n", b"a \\", true),
            (r#"say \"hi\"\t\u00e9 \ud83d\ude00\r\n"#, "say \"hi\"\t\u{e9} \u{1f600}\r".as_bytes(), true),
        ] {
            let line = format!(r#"{{"log":"{log}","stream":"stderr",{time}}}"#);
            assert_eq!(parsed(line.as_bytes()), Some((Std::Err, Some(T), text.to_vec(), ends)), "{line}");
        }
        let other = format!(r#"{{"log":"x\n","stream":"stdout","attrs":{{"a":"b"}},{time}}}"#);
        assert_eq!(parsed(other.as_bytes()), Some((Std::Out, Some(T), b"x".to_vec(), true)));
        let odd = br#"{"log":"x\n","stream":"stdout","time":"yesterday"}"#;
        assert_eq!(parsed(odd), Some((Std::Out, None, b"x".to_vec(), true)), "it is a line all the same");
        let half = br#"{"log":"\ud800\n","stream":"stdout","time":"2026-11-28T04:15:46.585508564Z"}"#;
        assert_eq!(parsed(half), Some((Std::Out, Some(T), "\u{fffd}".into(), true)));
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            &b""[..],
            b"hello",
            b"{}",
            br#"{"log":"x"}"#,
            br#"{"log":"x","stream":"stdin","time":"2026-11-28T04:15:46Z"}"#,
            br#"{"log":"x","stream":"stdout","time":"2026-11-28T04:15:46Z""#,
            b"{\"log\":\"\xff\",\"stream\":\"stdout\",\"time\":\"2026-11-28T04:15:46Z\"}",
        ] {
            assert_eq!(parsed(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_it_was(text: String, ends: bool, err: bool) {
            let (std, text) = (Std::ALL[usize::from(err)], text.trim_end_matches('\n'));
            let log = if ends { format!("{text}\n") } else { text.to_owned() };
            let line = json!({ "log": log, "stream": std.name(), "time": "2026-11-28T04:15:46.585508564Z" });
            let wanted = Some((std, Some(T), text.as_bytes().to_vec(), ends));
            prop_assert_eq!(parsed(line.to_string().as_bytes()), wanted.clone());
            let inside = line["log"].to_string();
            let other = format!(r#"{{"stream":"{}","time":{},"log":{inside}}}"#, std.name(), line["time"]);
            prop_assert_eq!(parsed(other.as_bytes()), wanted);
        }
    }
}
