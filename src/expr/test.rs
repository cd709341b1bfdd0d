//! What is asked of a value that is there.

use super::number::Number;
use super::value::{Literal, Value};
use crate::entry::Kind;
use memchr::memmem::Finder;
use regex::bytes::Regex;
use std::cmp::Ordering;

/// A question. All are asked of what a value reads as, except where numbers, truths and `null` are compared.
#[derive(Clone, Debug)]
pub enum Test {
    /// Is it there at all?
    Exists,
    Equals(Literal),
    /// Is it one of these?
    In(List),
    /// Does it stand so to this number?
    NumberIs(Order, Number),
    /// Is it text that stands so to this text, by the bytes of UTF-8 (which is the order of code points)?
    TextIs(Order, Box<str>),
    Matches(Regex),
    /// A finder is large, and few tests have one.
    Contains(Box<Finder<'static>>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
}

/// `<`, `<=`, `>` or `>=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which of the two sides is to be the greater one, seen from the value.
    pub strict: Ordering,
    /// Whether equal will do.
    pub or_equal: bool,
}

impl Order {
    /// Whether a value that stands so does.
    pub fn allows(self, ordering: Ordering) -> bool {
        ordering == self.strict || self.or_equal && ordering == Ordering::Equal
    }
}

/// The literals of `in [..]`.
#[derive(Clone, Debug)]
pub struct List {
    /// Texts, sorted, to be searched by halves.
    texts: Box<[Box<str>]>,
    others: Box<[Literal]>,
}

impl List {
    /// Lists of this length or shorter are as quick to walk through.
    const SHORT: usize = 4;

    /// A list of these.
    pub fn new(literals: Vec<Literal>) -> Self {
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for literal in literals {
            match literal {
                Literal::Text(text) => texts.push(text),
                other => others.push(other),
            }
        }
        texts.sort_unstable();
        texts.dedup();
        List { texts: texts.into(), others: others.into() }
    }

    fn has(&self, value: Value<'_>) -> bool {
        let is_text = |text: &[u8]| match self.texts.len() {
            ..=List::SHORT => self.texts.iter().any(|known| known.as_bytes() == text),
            _ => self.texts.binary_search_by(|known| known.as_bytes().cmp(text)).is_ok(),
        };
        !self.texts.is_empty() && value.reads(is_text) || self.others.iter().any(|other| other.equals(value))
    }
}

impl Test {
    /// Whether the answer is yes.
    pub fn holds(&self, value: Value<'_>) -> bool {
        match self {
            Test::Exists => true,
            Test::Equals(literal) => literal.equals(value),
            Test::In(list) => list.has(value),
            Test::NumberIs(order, number) => value.compare(number).is_some_and(|stands| order.allows(stands)),
            Test::TextIs(order, text) => {
                matches!(value.kind, Kind::Plain | Kind::Escaped)
                    && value.reads(|own| order.allows(own.cmp(text.as_bytes())))
            }
            Test::Matches(regex) => value.reads(|text| regex.is_match(text)),
            Test::Contains(finder) => value.reads(|text| finder.find(text).is_some()),
            Test::StartsWith(start) => value.reads(|text| text.starts_with(start.as_bytes())),
            Test::EndsWith(end) => value.reads(|text| text.ends_with(end.as_bytes())),
        }
    }

    /// Texts of which a value contains one, as it reads, whenever the answer is yes.
    pub fn needles(&self) -> Option<Vec<&[u8]>> {
        match self {
            Test::Equals(Literal::Bool(true)) => Some(vec![b"true"]),
            Test::Equals(Literal::Bool(false)) => Some(vec![b"false"]),
            Test::Equals(Literal::Null) => Some(vec![b"null"]),
            Test::In(list) => {
                let all = list.others.is_empty() && list.texts.iter().all(|text| !text.is_empty());
                all.then(|| list.texts.iter().map(|text| text.as_bytes()).collect())
            }
            other => other.needle().map(|needle| vec![needle]),
        }
    }

    /// What a value contains whenever the answer is yes, if it is text as it stands.
    pub fn needle(&self) -> Option<&[u8]> {
        let needle = match self {
            Test::Equals(Literal::Text(text)) | Test::StartsWith(text) | Test::EndsWith(text) => {
                text.as_bytes()
            }
            Test::Contains(finder) => finder.needle(),
            _ => return None,
        };
        (!needle.is_empty()).then_some(needle)
    }
}
