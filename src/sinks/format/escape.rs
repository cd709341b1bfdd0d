//! Bytes of unknown origin, written so that they stay inside their place: a JSON string, a line on a terminal.

/// What is done with the bytes that cannot stand as they are.
pub(super) trait Style {
    /// Whether `"` and `\` are among them.
    const QUOTES: bool;
    /// Writes a control character (C0, DEL, C1: all below U+0100), or a quote or backslash.
    fn special(byte: u8, out: &mut Vec<u8>);
    /// Writes bytes that are no UTF-8.
    fn invalid(bytes: &[u8], out: &mut Vec<u8>);
}

/// Inside a JSON string (RFC 8259 section 7). DEL and C1 are escaped too, though JSON would let them through: they
/// speak to terminals. What is no UTF-8 becomes U+FFFD, as [`String::from_utf8_lossy`] does it.
pub(super) struct Json;

/// On a line for people, between quotes: escapes as in C.
pub(super) struct Quoted;

/// On a line for people, as it is but for control characters. Not to be read back: a backslash may be the entry's own.
pub(super) struct Bare;

/// Between the tokens of a JSON value, where control characters may stand; inside its strings they may not.
struct Value;

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Style for Json {
    const QUOTES: bool = true;

    fn special(byte: u8, out: &mut Vec<u8>) {
        match short_escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
    }

    fn invalid(_: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice("\u{fffd}".as_bytes());
    }
}

impl Style for Quoted {
    const QUOTES: bool = true;

    fn special(byte: u8, out: &mut Vec<u8>) {
        match short_escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => hex(byte, out),
        }
    }

    fn invalid(bytes: &[u8], out: &mut Vec<u8>) {
        bytes.iter().for_each(|byte| hex(*byte, out));
    }
}

impl Style for Bare {
    const QUOTES: bool = false;

    fn special(byte: u8, out: &mut Vec<u8>) {
        Quoted::special(byte, out);
    }

    fn invalid(bytes: &[u8], out: &mut Vec<u8>) {
        Quoted::invalid(bytes, out);
    }
}

impl Style for Value {
    const QUOTES: bool = false;

    fn special(_: u8, out: &mut Vec<u8>) {
        out.push(b' ');
    }

    fn invalid(bytes: &[u8], out: &mut Vec<u8>) {
        Json::invalid(bytes, out);
    }
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        _ => return None,
    })
}

/// How many words are gathered before they are appended.
const GROUP: usize = 8;
/// Room for a group in which every byte is escaped by a backslash, and for what a store writes beyond its last byte.
const ROOM: usize = GROUP * 16 + 8;

/// Appends `bytes` in the given style.
pub(super) fn write<S: Style>(bytes: &[u8], out: &mut Vec<u8>) {
    let (words, tail) = bytes.as_chunks::<8>();
    if !words.is_empty() && !write_words::<S>(words, out) {
        // Those that were written are ASCII, so the rest begins where a letter does.
        let written = words.iter().take_while(|word| u64::from_le_bytes(**word) & HIGH == 0).count();
        return write_beyond_ascii::<S>(&bytes[written * 8..], out);
    }
    // What is missing of the last word is filled with bytes that are clean.
    let mut word = [b' '; 8];
    word[..tail.len()].copy_from_slice(tail);
    let marks = Marks::of::<S>(u64::from_le_bytes(word));
    match (marks.beyond, marks.control) {
        (0, 0) => {
            let mut room = [0; 24];
            let end = put(u64::from_le_bytes(word), marks.quotes, &mut room, 0);
            out.extend_from_slice(&room[..end - (8 - tail.len())]);
        }
        (0, _) => write_bytes::<S>(tail, out),
        _ => write_beyond_ascii::<S>(tail, out),
    }
}

/// Appends words up to the first that is not ASCII; whether that was all of them is the result.
fn write_words<S: Style>(words: &[[u8; 8]], out: &mut Vec<u8>) -> bool {
    let mut room = [0; ROOM];
    for group in words.chunks(GROUP) {
        let mut end = 0;
        for bytes in group {
            let word = u64::from_le_bytes(*bytes);
            let marks = Marks::of::<S>(word);
            if marks.beyond | marks.control != 0 {
                out.extend_from_slice(&room[..end]);
                end = 0;
                if marks.beyond != 0 {
                    return false;
                }
                write_bytes::<S>(bytes, out);
                continue;
            }
            end = put(word, marks.quotes, &mut room, end);
        }
        out.extend_from_slice(&room[..end]);
    }
    true
}

/// Puts the eight bytes of `word` to `room` from `end` on, those that are marked behind a backslash; gives the new end.
/// Up to eight bytes behind that are overwritten: a store of known length costs less than one of the right length.
#[inline]
fn put<const N: usize>(mut word: u64, mut quotes: u64, room: &mut [u8; N], mut end: usize) -> usize {
    let mut left = 8;
    room[end..end + 8].copy_from_slice(&word.to_le_bytes());
    while quotes != 0 {
        let clean = quotes.trailing_zeros() as usize / 8;
        room[end + clean] = b'\\';
        end += clean + 1;
        left -= clean;
        // What is left now begins with the byte behind the backslash.
        word >>= 8 * clean;
        room[end..end + 8].copy_from_slice(&word.to_le_bytes());
        quotes = quotes >> (8 * clean) & !0x80;
    }
    end + left
}

/// Appends ASCII, byte by byte.
#[inline(never)]
fn write_bytes<S: Style>(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            0..0x20 | 0x7f => S::special(*byte, out),
            b'"' | b'\\' if S::QUOTES => S::special(*byte, out),
            _ => out.push(*byte),
        }
    }
}

/// Appends the inside of a JSON string that is escaped already: its escapes stay, everything that may not stand there
/// is written as by [`write`], so that the result is a JSON string whatever came in.
pub(super) fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        write::<Json>(&rest[..at], out);
        rest = &rest[at..];
        let len = escape_len(rest);
        match len {
            0 => out.extend_from_slice(b"\\\\"),
            _ => out.extend_from_slice(&rest[..len]),
        }
        rest = &rest[len.max(1)..];
    }
    write::<Json>(rest, out);
}

/// How long the escape is that `bytes` begin with; 0 if it is none.
fn escape_len(bytes: &[u8]) -> usize {
    match bytes {
        [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
        [_, b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => 6,
        _ => 0,
    }
}

/// Appends a JSON value as it was written, but on one line and in UTF-8: the control characters that may stand between
/// its tokens become spaces.
pub(super) fn write_value(bytes: &[u8], out: &mut Vec<u8>) {
    write::<Value>(bytes, out);
}

/// Appends bytes of which some are beyond ASCII. Apart from [`write`], as most text is not worth the check of UTF-8.
#[inline(never)]
fn write_beyond_ascii<S: Style>(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        loop {
            rest = copy_clean(rest, clean_len::<S>(rest), out);
            match rest {
                [] => break,
                // C1 in UTF-8 is C2 80 to C2 9F, and C2 is always the first of two bytes.
                [0xC2, control @ 0x80..0xA0, ..] => {
                    S::special(*control, out);
                    rest = &rest[2..];
                }
                [0xC2, ..] => {
                    out.extend_from_slice(&rest[..2]);
                    rest = &rest[2..];
                }
                [byte, ..] => {
                    S::special(*byte, out);
                    rest = &rest[1..];
                }
            }
        }
        if !chunk.invalid().is_empty() {
            S::invalid(chunk.invalid(), out);
        }
    }
}

/// Appends the first `clean` bytes and gives those behind them.
#[inline]
fn copy_clean<'a>(bytes: &'a [u8], clean: usize, out: &mut Vec<u8>) -> &'a [u8] {
    match bytes.first_chunk::<8>() {
        // A copy of known length and a step back cost less than a call that copies three bytes.
        Some(word) if clean < 8 => {
            out.extend_from_slice(word);
            out.truncate(out.len() - 8 + clean);
        }
        _ => out.extend_from_slice(&bytes[..clean]),
    }
    &bytes[clean..]
}

/// How many bytes of UTF-8 at the start can be copied as they are: up to the next that may be a control character.
#[inline]
fn clean_len<S: Style>(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let marks = first_odd::<S>(u64::from_le_bytes(*word));
        if marks != 0 {
            return at * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    // As in `write`.
    let mut word = [b' '; 8];
    word[..tail.len()].copy_from_slice(tail);
    let marks = first_odd::<S>(u64::from_le_bytes(word));
    let clean = if marks == 0 { tail.len() } else { marks.trailing_zeros() as usize / 8 };
    words.len() * 8 + clean
}

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// The high bit of each of the eight bytes of UTF-8 that may be a control character, or a quote. Exact up to the first
/// mark, which is all that is asked: a borrow can only put false marks above a true one.
#[inline]
fn first_odd<S: Style>(word: u64) -> u64 {
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let is = |byte: u8| zero(word ^ (ONES * u64::from(byte)));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = if S::QUOTES { is(b'"') | is(b'\\') } else { 0 };
    // C1 begins with C2.
    (control | is(0x7f) | quotes | is(0xC2)) & HIGH
}

/// What the bytes of a word are, as the high bit of each. `control` and `quotes` are exact if `beyond` is zero.
struct Marks {
    /// Beyond ASCII.
    beyond: u64,
    /// C0 and DEL.
    control: u64,
    /// To be put behind a backslash.
    quotes: u64,
}

impl Marks {
    #[inline]
    fn of<S: Style>(word: u64) -> Self {
        // In ASCII no sum of two bytes carries into the next.
        let ascii = word & !HIGH;
        let is = |byte: u8| !((ascii ^ (ONES * u64::from(byte))) + ONES * 0x7f);
        let control = !(ascii + ONES * 0x60) | (ascii + ONES);
        let quotes = if S::QUOTES { (is(b'"') | is(b'\\')) & HIGH } else { 0 };
        Marks { beyond: word & HIGH, control: control & HIGH, quotes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written<S: Style>(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write::<S>(bytes, &mut out);
        out
    }

    /// Bytes that are mostly the interesting ones.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<u8>().prop_map(|byte| vec![byte]),
            4 => "[ -~]{0,12}".prop_map(String::into_bytes),
            3 => "\\PC{0,4}".prop_map(String::into_bytes),
            2 => "[\"\\\\\n\r\t\u{1b}\u{7f}\u{80}-\u{a0}\u{2028}]".prop_map(String::into_bytes),
            1 => Just("é😀".as_bytes()[..4].to_vec()),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn every_byte_at_every_place_is_found_to_be_what_it_is() {
        for byte in 0..=255_u8 {
            let (control, quote) = (byte < 0x20 || byte == 0x7f, byte == b'"' || byte == b'\\');
            let maybe_c1 = byte == 0xC2;
            for len in 1..=17 {
                for at in 0..len {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = byte;
                    let until = |found: bool| if found { at } else { len };
                    let context = format!("{byte} at {at} of {len}");
                    assert_eq!(clean_len::<Json>(&bytes), until(control || quote || maybe_c1), "{context}");
                    assert_eq!(clean_len::<Bare>(&bytes), until(control || maybe_c1), "{context}");
                }
            }
            // Between any two neighbours, of which none may be marked for another's sake.
            for (before, after) in
                [(0, 0x7f), (0x21, 0x23), (0x5b, 0x5d), (0x7f, 0), (0x22, 0x5c), (0x7e, 0x20)]
            {
                for at in 0..8 {
                    let mut word: [u8; 8] =
                        std::array::from_fn(|place| if place < at { before } else { after });
                    word[at] = byte;
                    let marks = Marks::of::<Json>(u64::from_le_bytes(word));
                    let bit = |marks: u64| marks >> (8 * at + 7) & 1 == 1;
                    assert_eq!(bit(marks.beyond), byte >= 0x80, "{word:?}");
                    assert!(byte >= 0x80 || bit(marks.control) == control, "{word:?}");
                    assert!(byte >= 0x80 || bit(marks.quotes) == quote, "{word:?}");
                    assert_eq!(Marks::of::<Bare>(u64::from_le_bytes(word)).quotes, 0);
                }
            }
        }
    }

    #[test]
    fn quotes_at_all_places_of_two_words_are_put_behind_a_backslash() {
        for quotes in 0..1_u32 << 13 {
            for len in [13, 16] {
                let is_quote = |at: usize| quotes >> at.min(13) & 1 == 1;
                let bytes: Vec<u8> =
                    (0..len).map(|at| if is_quote(at) { b'"' } else { b'a' + at as u8 }).collect();
                let escaped = String::from_utf8(bytes.clone()).unwrap().replace('"', "\\\"");
                assert_eq!(written::<Json>(&bytes), escaped.as_bytes());
                assert_eq!(written::<Bare>(&bytes), bytes);
            }
        }
    }

    #[test]
    fn terminals_are_told_nothing() {
        assert_eq!(written::<Bare>(b"a\x1b[31mb\r\nc\\\x00\x7f"), br"a\x1b[31mb\r\nc\\x00\x7f");
        assert_eq!(written::<Bare>("é\u{9b}31m\u{a0}".as_bytes()), "é\\x9b31m\u{a0}".as_bytes());
        assert_eq!(written::<Bare>(b"\x9b\xffa\xc3"), br"\x9b\xffa\xc3");
        assert_eq!(written::<Quoted>(br#"a"b\c"#), br#"a\"b\\c"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_string_is_read_back_by_serde_json(bytes in bytes()) {
            let lossy = String::from_utf8_lossy(&bytes);
            let json = [b"\"", &*written::<Json>(&bytes), b"\""].concat();
            let back: String = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(&back, &lossy);
            if !lossy.contains(|letter: char| ('\u{7f}'..='\u{9f}').contains(&letter)) {
                prop_assert_eq!(String::from_utf8(json).unwrap(), serde_json::to_string(&lossy).unwrap());
            }
        }

        #[test]
        fn an_escaped_string_keeps_its_meaning(text in "\\PC*") {
            let json = serde_json::to_string(&text).unwrap();
            let mut out = vec![b'"'];
            write_escaped(&json.as_bytes()[1..json.len() - 1], &mut out);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn what_claims_to_be_escaped_becomes_a_string_whatever_it_is(bytes in bytes()) {
            let mut out = vec![b'"'];
            write_escaped(&bytes, &mut out);
            out.push(b'"');
            let text = std::str::from_utf8(&out).unwrap();
            prop_assert!(!text.contains(char::is_control));
            // A lone surrogate is an escape by the grammar, though serde_json has no character for it.
            if let Err(error) = serde_json::from_slice::<String>(&out) {
                prop_assert!(error.to_string().contains("surrogate") || error.to_string().contains("hex escape"), "{error}");
            }
        }

        #[test]
        fn a_value_keeps_its_meaning_on_one_line(text in "\\PC*", number: i32) {
            let value = serde_json::json!({ "a": [text, number, null], "b": {} });
            let mut out = Vec::new();
            write_value(serde_json::to_string_pretty(&value).unwrap().as_bytes(), &mut out);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), value);
        }

        #[test]
        fn a_value_is_one_line_of_utf_8_whatever_it_is(bytes in bytes()) {
            let mut out = Vec::new();
            write_value(&bytes, &mut out);
            prop_assert!(!std::str::from_utf8(&out).unwrap().contains(char::is_control));
        }
    }
}
