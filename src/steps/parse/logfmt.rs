//! `key=value` pairs to fields.
//!
//! As Go's loggers write it (kr/logfmt, go-logfmt), read with what else is found in the field:
//!
//! - pairs are separated by blanks (any bytes up to 0x20);
//! - a key is what stands before the first `=`, without quotes; keys without `=` are `true`;
//! - a value goes to the next blank, other `=` and quotes in it included, or stands in double quotes, in which a
//!   backslash escapes: as in JSON, else as in Go;
//! - numbers as JSON has them, `true` and `false` are such, in quotes they are text.
//!
//! A text without a single `=` is no logfmt, nor is one with an open quote, or with something behind a closing one.

use super::json::is_json_text;
use super::rows::{Parser, Rows, is_number};
use crate::entry::{Field, Kind, Slice};
use crate::steps::StepError;
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use memchr::memchr2;

/// Reads logfmt.
pub struct Logfmt {
    /// `true`, for keys without a value.
    truth: Slice,
}

impl Logfmt {
    /// A parser; what it adds itself goes to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(constants: &mut Constants) -> Result<Self, SetError> {
        Ok(Logfmt { truth: constants.intern(b"true").ok_or(SetError::TooLarge)? })
    }
}

const NO_PAIR: StepError = StepError::Malformed("no logfmt: not one key=value pair");
const OPEN: StepError = StepError::Malformed("no logfmt: a quote that does not end");
const BEHIND: StepError = StepError::Malformed("no logfmt: something behind a closing quote");
const KEY: StepError = StepError::Malformed("no logfmt: a key that is empty or has a quote in it");
const LONG: StepError = StepError::Malformed("a logfmt key of more than 1024 bytes");

impl Parser for Logfmt {
    type Scratch = ();

    fn scratch(&self, _now: i64) {}

    #[inline]
    fn read(&self, text: &[u8], rows: &mut Rows<'_>, (): &mut ()) -> Result<(), StepError> {
        let (mut at, mut pairs) = (0, 0_usize);
        loop {
            while text.get(at).is_some_and(|byte| *byte <= b' ') {
                at += 1;
            }
            let start = at;
            while text.get(at).is_some_and(|byte| *byte > b' ' && *byte != b'=' && *byte != b'"') {
                at += 1;
            }
            if start == at {
                break;
            }
            if at - start > Field::KEY_MAX {
                return Err(LONG);
            }
            let key = rows.slice(start, at);
            match text.get(at) {
                Some(b'=') => {
                    pairs += 1;
                    at = match text.get(at + 1) {
                        Some(b'"') => quoted(text, at + 2, key, rows)?,
                        _ => bare(text, at + 1, key, rows)?,
                    };
                }
                Some(b'"') => return Err(KEY),
                _ => rows.push(key, self.truth, Kind::Bool)?,
            }
        }
        // A key ends before a blank, or is one: what stops it at once is `=` or a quote.
        match (at < text.len(), pairs) {
            (true, _) => Err(KEY),
            (false, 0) => Err(NO_PAIR),
            (false, _) => Ok(()),
        }
    }
}

/// A value without quotes from `start` on; gives where it ends.
#[inline]
fn bare(text: &[u8], start: usize, key: Slice, rows: &mut Rows<'_>) -> Result<usize, StepError> {
    let len = text[start..].iter().take_while(|byte| **byte > b' ').count();
    let value = &text[start..start + len];
    let kind = match value.first() {
        Some(b'-' | b'0'..=b'9') if is_number(value) => Kind::Number,
        Some(b't' | b'f') if value == b"true" || value == b"false" => Kind::Bool,
        _ => Kind::Plain,
    };
    rows.push(key, rows.slice(start, start + len), kind)?;
    Ok(start + len)
}

/// A value whose opening quote stands before `start`; gives where the text goes on behind the closing one.
#[inline]
fn quoted(text: &[u8], start: usize, key: Slice, rows: &mut Rows<'_>) -> Result<usize, StepError> {
    let (mut at, mut escapes) = (start, false);
    let end = loop {
        at += memchr2(b'"', b'\\', text.get(at..).ok_or(OPEN)?).ok_or(OPEN)?;
        if text[at] == b'"' {
            break at;
        }
        escapes = true;
        at += 2;
    };
    if text.get(end + 1).is_some_and(|behind| *behind > b' ') {
        return Err(BEHIND);
    }
    let inside = &text[start..end];
    if !escapes {
        rows.push(key, rows.slice(start, end), Kind::Plain)?;
    } else if is_json_text(inside) {
        rows.push(key, rows.slice(start, end), Kind::Escaped)?;
    } else {
        let value = rows.store_with(inside.len(), |arena| unescape(inside, arena))?;
        rows.push(key, value, Kind::Plain)?;
    }
    Ok(end + 1)
}

/// Appends `inside` with the escapes of Go's strings resolved; what is none stays as it is.
#[cold]
fn unescape(mut inside: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', inside) {
        out.extend_from_slice(&inside[..at]);
        inside = &inside[at..];
        let used = escape(inside, out).unwrap_or_else(|| {
            let kept = inside.len().min(2);
            out.extend_from_slice(&inside[..kept]);
            kept
        });
        inside = &inside[used..];
    }
    out.extend_from_slice(inside);
}

/// Appends what the escape at the start of `text` stands for: how long it is written.
fn escape(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let hex = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
    };
    let plain = match text.get(1)? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'v' => 11,
        b'f' => 12,
        other @ (b'"' | b'\\' | b'/' | b'\'') => *other,
        b'x' => {
            out.push(hex(text.get(2..4)?)? as u8);
            return Some(4);
        }
        long @ (b'u' | b'U') => {
            let end = if *long == b'u' { 6 } else { 10 };
            let letter = char::from_u32(hex(text.get(2..end)?)?)?;
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
        _ => return None,
    };
    out.push(plain);
    Some(2)
}

// Shared with the fuzz target.
#[cfg(test)]
#[path = "../../../fuzz/src/oracle_logfmt.rs"]
mod oracle;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Step;
    use crate::steps::parse::input::Input;
    use crate::steps::parse::rows::Parse;
    use crate::steps::parse::rows::tests::{block_of, shown};
    use proptest::prelude::*;

    /// What one text is read as, in the words of the oracle; `None` if it is refused.
    fn read(text: &[u8]) -> Option<Vec<oracle::Pair>> {
        let mut constants = Constants::default();
        let step = Parse::new(Logfmt::new(&mut constants).unwrap(), Input::Message);
        let mut block = block_of(&[text], constants);
        step.apply(&mut block, 0).ok()?;
        let pair = |field: crate::block::FieldView<'_>| {
            let kind = match field.kind() {
                Kind::Plain | Kind::Escaped => 't',
                Kind::Number => 'n',
                _ => 'b',
            };
            (field.key().to_vec(), field.text().into_owned(), kind)
        };
        Some(block.view(0).fields().map(pair).collect())
    }

    #[test]
    fn pairs_are_read_as_loggers_write_them() {
        let lines: [&[u8]; 4] = [
            br#"time="2026-11-23T10:00:00Z" level=info msg="said \"hi\"\n\u00e9" n=1.5e3 ok=true done url=/a?b=c&d="e" empty= q="" no="1""#,
            br#" a=1	b='c d' "#,
            br#"x="\x41\'\q" y="tab	in" z=007 w=-"#,
            b"just words",
        ];
        let mut constants = Constants::default();
        let step = Parse::new(Logfmt::new(&mut constants).unwrap(), Input::Message);
        let mut block = block_of(&lines, constants);
        assert_eq!(step.run_alone(&mut block, 0..4), 1);
        assert_eq!(
            shown(&block, 0),
            [
                "time=2026-11-23T10:00:00Z:Plain",
                "level=info:Plain",
                "msg=said \"hi\"\né:Escaped",
                "n=1.5e3:Number",
                "ok=true:Bool",
                "done=true:Bool",
                "url=/a?b=c&d=\"e\":Plain",
                "empty=:Plain",
                "q=:Plain",
                "no=1:Plain",
            ]
        );
        assert_eq!(shown(&block, 1), ["a=1:Number", "b='c:Plain", "d'=true:Bool"]);
        assert_eq!(shown(&block, 2), ["x=A'\\q:Plain", "y=tab\tin:Plain", "z=007:Plain", "w=-:Plain"]);
        assert!(shown(&block, 3).is_empty());
    }

    #[test]
    fn a_number_is_one_however_large_and_only_as_a_whole() {
        let kinds = |text: &[u8]| read(text).unwrap().iter().map(|pair| pair.2).collect::<String>();
        let text = b"a=1e999 b=-0.5e+2 c=1.5e2026/11/23 d=1e999x e=01 f=-";
        assert_eq!(kinds(text), "nntttt");
        assert_eq!(read(text), oracle::pairs(text));
    }

    #[test]
    fn what_is_no_logfmt_is_refused_and_leaves_nothing_behind() {
        for text in [
            "",
            " ",
            "words only",
            "=a",
            "a=1 =b",
            "a=\"b",
            "a=\"b\\\"",
            "a=\"b\"c",
            "\"a\"=b",
            "a\"=b",
            "a=1 \"b\"",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        let long = |len| ["k".repeat(len), "=1".into()].concat();
        assert!(read(long(1024).as_bytes()).is_some() && read(long(1025).as_bytes()).is_none());
        assert!(
            read("a=1 ".repeat(1000).as_bytes()).is_some() && read("a=1 ".repeat(1001).as_bytes()).is_none()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_the_oracle_reads_it(
            text in prop_oneof![
                "([a-c]{0,2}(=(\"[a\\\\\"nxu0-9d8 é\t]{0,8}\"?|[a\"=0-9.e-]{0,4}|true|false))?[ \t]?){0,5}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..30),
            ],
        ) {
            prop_assert_eq!(read(&text), oracle::pairs(&text));
        }
    }
}
