//! Values of entries as conditions see them, and values written in conditions.

use super::number::Number;
use crate::entry::{Kind, reads_as, unescape_into};
use std::cell::RefCell;
use std::cmp::Ordering;

/// A value of an entry where it stands: its bytes, and how to read them.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    pub kind: Kind,
    pub raw: &'a [u8],
}

/// Longest text whose escapes are resolved in memory that is kept for the next.
const SCRATCH_KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<'a> Value<'a> {
    /// A value that is text as it stands.
    pub fn plain(raw: &'a [u8]) -> Self {
        Value { kind: Kind::Plain, raw }
    }

    /// Asks something of the value as text: escapes resolved, everything else as it is written. False where an escape
    /// is malformed.
    pub fn reads(&self, ask: impl FnOnce(&[u8]) -> bool) -> bool {
        if self.kind != Kind::Escaped {
            return ask(self.raw);
        }
        // One buffer per thread, so that judging an entry allocates nothing.
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let answer = unescape_into(self.raw, scratch) && ask(scratch);
            if scratch.capacity() > SCRATCH_KEPT {
                *scratch = Vec::new();
            }
            answer
        })
    }

    /// How it compares with `number`: if it is one, or text that is one.
    pub fn compare(&self, number: &Number) -> Option<Ordering> {
        matches!(self.kind, Kind::Number | Kind::Plain).then(|| number.compare(self.raw)).flatten()
    }
}

/// A value written in a condition.
#[derive(Clone, Debug)]
pub enum Literal {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
    Null,
}

impl Literal {
    /// Whether `value` equals it.
    pub fn equals(&self, value: Value<'_>) -> bool {
        match (self, value.kind) {
            (Literal::Text(text), Kind::Escaped) => reads_as(value.raw, text.as_bytes()),
            (Literal::Text(text), _) => value.raw == text.as_bytes(),
            (Literal::Number(number), _) => value.compare(number) == Some(Ordering::Equal),
            (Literal::Bool(truth), Kind::Bool) => (value.raw == b"true") == *truth,
            (Literal::Null, Kind::Null) => true,
            _ => false,
        }
    }
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
            let value = Value { kind: Kind::Escaped, raw: raw.as_bytes() };
            match unescape(raw.as_bytes()) {
                Some(plain) => {
                    prop_assert!(reads_as(raw.as_bytes(), &plain));
                    prop_assert!(value.reads(|text| text == plain));
                    let longer = [&plain, other.as_bytes()].concat();
                    prop_assert_eq!(reads_as(raw.as_bytes(), &longer), other.is_empty());
                    prop_assert_eq!(reads_as(raw.as_bytes(), other.as_bytes()), plain == other.as_bytes());
                }
                None => {
                    prop_assert!(!reads_as(raw.as_bytes(), other.as_bytes()));
                    prop_assert!(!value.reads(|_| true));
                }
            }
        }
    }

    #[test]
    fn a_number_equals_numbers_and_text_that_is_one() {
        let equals = |kind, raw: &str| {
            Literal::Number(Number::parse("500").unwrap()).equals(Value { kind, raw: raw.as_bytes() })
        };
        assert!(equals(Kind::Number, "500") && equals(Kind::Number, "5e2") && equals(Kind::Plain, "500.0"));
        assert!(!equals(Kind::Number, "501") && !equals(Kind::Plain, "500 ") && !equals(Kind::Plain, "0500"));
        assert!(!equals(Kind::Json, "500") && !equals(Kind::Bool, "true") && !equals(Kind::Escaped, "500"));
    }
}
