//! Values that are worked out: what `set` gives to fields, and what conditions compare.
//!
//! A tree, walked once per entry. What is missing makes everything missing that is made of it, but for `if`, `coalesce`
//! and templates; what cannot be done at all is a [`Fault`]. Texts are made in memory that is kept ([`Scratch`]), and no
//! text that is made is longer than [`TEXT_MAX`].

mod net;
mod num;
mod of_number;
mod of_text;
mod scratch;

pub use net::{Net, address, masked};
pub use num::{Num, Operator};
pub use of_number::OfNumber;
pub use of_text::{OfText, fnv64};
pub use scratch::{Scratch, Text, number};

use super::Node;
use super::number::Number;
use super::placeholders::Pattern;
use super::subject::Subject;
use super::test::Order;
use super::value::Value;
use crate::block::Block;
use crate::entry::{Kind, unescape_into};
use smallvec::SmallVec;
use std::cmp::Ordering;

/// Longest text that an expression makes, in bytes.
pub const TEXT_MAX: usize = 256 << 10;
/// Most arguments of a function that takes any number.
pub const ARGUMENTS_MAX: usize = 16;

/// Why a value could not be worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// What can be worked out of an entry.
#[derive(Clone, Debug)]
pub enum Calc {
    Text(Box<str>),
    Number(Num),
    Bool(bool),
    Null,
    Subject(Subject),
    /// Whether a condition holds.
    Truth(Box<Node>),
    Arithmetic(Operator, Box<[Calc; 2]>),
    If(Box<Node>, Box<[Calc; 2]>),
    /// The first that is there and not `null`.
    Coalesce(Box<[Calc]>),
    /// The one that stands so to all others.
    Extreme(Ordering, Box<[Calc]>),
    Concat(Box<[Calc]>),
    /// From which character on, and how many.
    Substr(Box<[Calc; 2]>, Option<Box<Calc>>),
    OfText(Box<OfText>, Box<Calc>),
    OfNumber(Box<OfNumber>, Box<Calc>),
    Is(Shape, Box<Calc>),
    Template(Pattern),
    /// The time of the entry.
    Timestamp,
    /// The time of the block.
    Now,
}

/// What a value can be asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Number,
    Bool,
    Null,
    Object,
    List,
    Ip,
}

/// A value that was worked out.
#[derive(Clone, Copy, Debug)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Number(Num),
    /// A number as the entry writes it.
    Written(&'a [u8]),
    Text(Text<'a>),
    /// An object or a list.
    Json(&'a [u8]),
}

/// The entry it is about.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// Where it is.
    pub block: &'a Block,
    /// Its place there.
    pub index: usize,
}

/// A value, or that it is missing.
type Found<'a> = Result<Option<Val<'a>>, Fault>;

/// Takes the value out of an expression that gave one, or leaves with what it gave instead.
macro_rules! there {
    ($found:expr) => {
        match $found? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}
impl Calc {
    /// What it comes to for an entry; `None` if what it is made of is missing.
    pub fn find<'a>(&'a self, at: At<'a>, scratch: &mut Scratch) -> Found<'a> {
        Ok(Some(match self {
            Calc::Text(text) => Val::Text(Text::There(text.as_bytes())),
            Calc::Number(number) => Val::Number(*number),
            Calc::Bool(truth) => Val::Bool(*truth),
            Calc::Null => Val::Null,
            Calc::Subject(subject) => {
                let Some(value) = subject.find(at.block, at.index) else { return Ok(None) };
                Val::of(value, scratch)?
            }
            Calc::Truth(node) => Val::Bool(node.matches(at, scratch)),
            Calc::Arithmetic(operator, sides) => return arithmetic(*operator, sides, at, scratch),
            Calc::If(condition, ways) => {
                let way = usize::from(!condition.matches(at, scratch));
                return ways[way].find(at, scratch);
            }
            Calc::Coalesce(calcs) => {
                for calc in calcs {
                    // What cannot be worked out is as good as missing: the next one is asked.
                    match calc.find(at, scratch) {
                        Ok(None | Some(Val::Null)) | Err(_) => {}
                        found => return found,
                    }
                }
                return Ok(None);
            }
            Calc::Extreme(which, calcs) => return extreme(*which, calcs, at, scratch),
            Calc::Concat(calcs) => {
                let mut texts: SmallVec<[Text<'_>; ARGUMENTS_MAX]> = SmallVec::new();
                for calc in calcs {
                    texts.push(there!(calc.find(at, scratch)).text(scratch)?);
                }
                Val::Text(scratch.make(|out| texts.iter().try_for_each(|text| out.push_text(*text)))?)
            }
            Calc::Substr(of, len) => {
                let text = there!(of[0].find(at, scratch)).text(scratch)?;
                let from = there!(of[1].find(at, scratch)).number(scratch)?.whole()?;
                let len = match len {
                    Some(len) => Some(there!(len.find(at, scratch)).number(scratch)?.whole()?),
                    None => None,
                };
                Val::Text(of_text::substr(text, from, len, scratch))
            }
            Calc::OfText(what, of) => {
                let text = there!(of.find(at, scratch)).text(scratch)?;
                return what.find(text, at, scratch);
            }
            Calc::OfNumber(what, of) => {
                let number = there!(of.find(at, scratch)).number(scratch)?;
                return what.find(number, scratch).map(Some);
            }
            Calc::Is(shape, of) => {
                let found = of.find(at, scratch)?;
                Val::Bool(found.is_some_and(|value| value.is(*shape, scratch)))
            }
            Calc::Template(pattern) => {
                let stream = at.block.stream_of(at.index);
                let view = at.block.view(at.index);
                let whole = |out: &mut scratch::Out<'_>| {
                    pattern.pieces().iter().try_for_each(|piece| {
                        out.append(|bytes| Pattern::write_piece(piece, stream, Some(view), bytes))
                    })
                };
                Val::Text(scratch.make(whole)?)
            }
            Calc::Timestamp => Val::Number(Num::Whole(at.block.entries()[at.index].time)),
            Calc::Now => Val::Number(Num::Whole(at.block.time())),
        }))
    }
}

fn arithmetic<'a>(operator: Operator, sides: &'a [Calc; 2], at: At<'a>, scratch: &mut Scratch) -> Found<'a> {
    let one = there!(sides[0].find(at, scratch));
    let other = there!(sides[1].find(at, scratch));
    if operator == Operator::Add && (one.is_text() || other.is_text()) {
        let texts = [one.text(scratch)?, other.text(scratch)?];
        let joined = scratch.make(|out| texts.iter().try_for_each(|text| out.push_text(*text)))?;
        return Ok(Some(Val::Text(joined)));
    }
    Ok(Some(Val::Number(one.number(scratch)?.apply(operator, other.number(scratch)?)?)))
}

fn extreme<'a>(which: Ordering, calcs: &'a [Calc], at: At<'a>, scratch: &mut Scratch) -> Found<'a> {
    let mut best: Option<(Val<'a>, Num)> = None;
    for calc in calcs {
        let value = there!(calc.find(at, scratch));
        let number = value.number(scratch)?;
        if best.is_none_or(|(_, best)| number.compare(best) == which) {
            best = Some((value, number));
        }
    }
    Ok(best.map(|(_, number)| Val::Number(number)))
}

impl<'a> Val<'a> {
    /// The value that stands in an entry.
    fn of(value: Value<'a>, scratch: &mut Scratch) -> Result<Self, Fault> {
        Ok(match value.kind {
            Kind::Plain => Val::Text(Text::There(value.raw)),
            Kind::Escaped => Val::Text(scratch.make(|out| {
                let mut whole = true;
                out.append(|bytes| whole = unescape_into(value.raw, bytes))?;
                if whole { Ok(()) } else { Err(Fault("a text with a malformed escape")) }
            })?),
            Kind::Number => Val::Written(value.raw),
            Kind::Bool => Val::Bool(value.raw == b"true"),
            Kind::Null => Val::Null,
            Kind::Json => Val::Json(value.raw),
        })
    }

    fn is_text(&self) -> bool {
        matches!(self, Val::Text(_))
    }

    /// What it reads as.
    pub fn text(self, scratch: &mut Scratch) -> Result<Text<'a>, Fault> {
        Ok(match self {
            Val::Null => Text::There(b"null"),
            Val::Bool(true) => Text::There(b"true"),
            Val::Bool(false) => Text::There(b"false"),
            Val::Number(number) => scratch.make(|out| out.append(|bytes| number.write(bytes)))?,
            Val::Text(text) => text,
            Val::Written(raw) | Val::Json(raw) => Text::There(raw),
        })
    }

    /// The number it is, or that its text is.
    pub fn number(self, scratch: &Scratch) -> Result<Num, Fault> {
        let raw = match self {
            Val::Number(number) => return Ok(number),
            Val::Written(raw) => raw,
            Val::Text(text) => scratch.bytes(text),
            Val::Null | Val::Bool(_) | Val::Json(_) => return Err(NO_NUMBER),
        };
        Num::parse(raw).ok_or(NO_NUMBER)
    }

    /// How a field holds it.
    pub fn kind(&self) -> Kind {
        match self {
            Val::Null => Kind::Null,
            Val::Bool(_) => Kind::Bool,
            Val::Number(_) | Val::Written(_) => Kind::Number,
            Val::Text(_) => Kind::Plain,
            Val::Json(_) => Kind::Json,
        }
    }

    fn is(self, shape: Shape, scratch: &Scratch) -> bool {
        match (shape, self) {
            (Shape::Text, Val::Text(_))
            | (Shape::Number, Val::Number(_) | Val::Written(_))
            | (Shape::Bool, Val::Bool(_))
            | (Shape::Null, Val::Null) => true,
            (Shape::Object, Val::Json(raw)) => raw.starts_with(b"{"),
            (Shape::List, Val::Json(raw)) => raw.starts_with(b"["),
            (Shape::Ip, Val::Text(text)) => net::address(scratch.bytes(text)).is_some(),
            _ => false,
        }
    }
}

const NO_NUMBER: Fault = Fault("a number is needed where there is none");

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Equal,
    Stands(Order),
}

impl Ask {
    /// Whether the answer is yes: numbers by their value, with numbers and text that is one; texts with what the other
    /// reads as; truths and `null` with themselves.
    pub fn holds(self, one: Val<'_>, other: Val<'_>, scratch: &mut Scratch) -> bool {
        let is_number = |value: &Val<'_>| matches!(value, Val::Number(_) | Val::Written(_));
        let may_be = |value: &Val<'_>| is_number(value) || value.is_text();
        let by_value = (is_number(&one) || is_number(&other)) && may_be(&one) && may_be(&other);
        let both_text = one.is_text() && other.is_text();
        let kinds = (one.kind(), other.kind());
        let (Ok(one), Ok(other)) = (one.text(scratch), other.text(scratch)) else { return false };
        let (one, other) = (scratch.bytes(one), scratch.bytes(other));
        let by_value = if by_value { Number::compare_written(one, other) } else { None };
        match self {
            Ask::Equal => by_value.map_or_else(
                || one == other && (kinds.0 == kinds.1 || kinds.0 == Kind::Plain || kinds.1 == Kind::Plain),
                Ordering::is_eq,
            ),
            Ask::Stands(order) => {
                let stands = by_value.or_else(|| both_text.then(|| one.cmp(other)));
                stands.is_some_and(|stands| order.allows(stands))
            }
        }
    }
}
