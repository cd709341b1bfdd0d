//! What a condition compares with, and when a field's value equals it.

use crate::entry::Kind;

/// A value written in a condition.
#[derive(Clone, Debug)]
pub enum Literal {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
    Null,
}

impl Literal {
    /// Whether a field of this kind, written as `raw`, equals it.
    pub fn equals(&self, kind: Kind, raw: &[u8]) -> bool {
        match (self, kind) {
            (Literal::Text(text), Kind::Escaped) => reads_as(raw, text.as_bytes()),
            (Literal::Text(text), _) => raw == text.as_bytes(),
            (Literal::Number(number), Kind::Number) => number.equals(raw),
            (Literal::Bool(truth), Kind::Bool) => (raw == b"true") == *truth,
            (Literal::Null, Kind::Null) => true,
            _ => false,
        }
    }

    /// Whether it is this text.
    pub fn is_text(&self, text: &str) -> bool {
        self.is_bytes(text.as_bytes())
    }

    /// Whether it is the text that these bytes are.
    pub fn is_bytes(&self, bytes: &[u8]) -> bool {
        matches!(self, Literal::Text(text) if text.as_bytes() == bytes)
    }
}

/// A number to compare with: exactly where both are whole and fit 64 bits, else as the nearest double.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    whole: Option<i64>,
    near: f64,
}

impl Number {
    /// Reads `text`; `None` if it is no number or larger than a double.
    pub fn parse(text: &str) -> Option<Self> {
        let near = text.parse().ok().filter(|number: &f64| number.is_finite())?;
        Some(Number { whole: text.parse().ok(), near })
    }

    fn equals(self, raw: &[u8]) -> bool {
        let Some(other) = std::str::from_utf8(raw).ok().and_then(Number::parse) else {
            return false;
        };
        match (self.whole, other.whole) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.near == other.near,
        }
    }
}

/// Whether the inside of a JSON string reads `plain` once its escapes are resolved, as [`crate::entry::unescape`] does.
pub fn reads_as(mut raw: &[u8], mut plain: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'\\', raw) {
        let Some(rest) = plain.strip_prefix(&raw[..at]) else {
            return false;
        };
        raw = &raw[at..];
        let Some((letter, used)) = escape(raw) else {
            return false;
        };
        let Some(rest) = rest.strip_prefix(letter.encode_utf8(&mut [0; 4]).as_bytes()) else {
            return false;
        };
        (raw, plain) = (&raw[used..], rest);
    }
    raw == plain
}

/// The character that the escape at the start of `raw` stands for, and how long it is written (RFC 8259 section 7).
/// A lone surrogate is U+FFFD.
fn escape(raw: &[u8]) -> Option<(char, usize)> {
    let letter = match raw.get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'u' => return unicode_escape(raw),
        other @ (b'"' | b'\\' | b'/') => char::from(*other),
        _ => return None,
    };
    Some((letter, 2))
}

fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |raw: &[u8]| {
        let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0_u16, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)? as u16))
    };
    let first = unit(raw)?;
    let second = raw.get(6..).and_then(unit).unwrap_or(0);
    // A pair, or a first one that stands alone: what follows it is then read by itself.
    let letter = char::decode_utf16([first, second]).next()?;
    let used = if letter.as_ref().is_ok_and(|letter| letter.len_utf16() == 2) { 12 } else { 6 };
    Some((letter.unwrap_or(char::REPLACEMENT_CHARACTER), used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::unescape;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_reads_as_what_unescape_makes_of_it(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "a", "é", "\\n", "\\\\", "\\/", "\\\"", "\\u0041", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\u00", "\\x", "\\",
            ]), 0..8),
            other in ".{0,4}",
        ) {
            let raw = pieces.concat();
            match unescape(raw.as_bytes()) {
                Some(plain) => {
                    prop_assert!(reads_as(raw.as_bytes(), &plain));
                    let longer = [&plain, other.as_bytes()].concat();
                    prop_assert_eq!(reads_as(raw.as_bytes(), &longer), other.is_empty());
                    prop_assert_eq!(reads_as(raw.as_bytes(), other.as_bytes()), plain == other.as_bytes());
                }
                None => prop_assert!(!reads_as(raw.as_bytes(), other.as_bytes())),
            }
        }
    }

    #[test]
    fn whole_numbers_are_compared_exactly_and_others_as_doubles() {
        let equal = |ours: &str, theirs: &str| Number::parse(ours).unwrap().equals(theirs.as_bytes());
        assert!(equal("500", "500") && equal("500", "5e2") && equal("500", "500.0") && equal("0", "-0"));
        assert!(equal("0.1", "1e-1"));
        assert!(!equal("500", "501") && !equal("1", "1e999") && !equal("1", "x"));
        assert!(!equal("9007199254740993", "9007199254740992"), "doubles cannot tell these apart");
        assert!(Number::parse("1e999").is_none());
    }
}
