//! Conditions over entries (`when`, `discard`, `keep`), and values made of them (`set`).
//!
//! ```text
//! any        = all { "or" all }
//! all        = one { "and" one }
//! one        = "not" one | test
//! test       = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum
//!                  | [ "not" ] "in" "[" literal { "," literal } "]"
//!                  | ( "=~" | "!~" ) text ]
//! sum        = product { ( "+" | "-" ) product }
//! product    = operand { ( "*" | "/" | "%" ) operand }
//! operand    = "(" any ")" | "exists" subject | NAME "(" any { "," any } ")" | subject | literal
//! subject    = "source" | "message" | "labels" "." name | [ "fields" "." ] name { part }
//! part       = "." name | "[" INDEX "]" | "[" text "]"
//! name       = NAME | `NAME` | text, the latter not first
//! literal    = text | NUMBER | "true" | "false" | "null"
//! text       = "TEXT" | 'TEXT'
//! ```
//!
//! What is joined by `and`, `or` and `not` must be a condition, and so must what stands in `when`; what is compared or
//! computed with must be a value. On the right of a comparison a field is written with `fields.`, because a bare word
//! there is most often a text that lacks its quotes.
//!
//! `docs/language.md` is its manual, by examples. What a value reads as: text with its escapes resolved, everything else
//! as it is written. A text compares with what a value reads as; a number with numbers and with text that is one, by
//! value and exactly; `true`, `false` and `null` with themselves. What an entry does not have fails every test, so that
//! the negated ones (`!=`, `!~`, `not in`) hold; so does what cannot be worked out.
//!
//! Compiled once from the config. Judging an entry allocates nothing and takes time linear in its length, whatever the
//! pattern; what depends on a stream alone is decided once per run ([`Expr::constant_for`]).

mod calc;
mod judge;
mod lexer;
mod name;
mod needle;
mod number;
mod parser;
pub(crate) mod path;
pub mod placeholders;
mod subject;
mod test;
#[cfg(test)]
mod tests;
mod value;

use crate::block::{Block, NoRoom};
use crate::entry::{Kind, Slice};
use crate::labels::Stream;
use calc::{Ask, At, Calc, Scratch, Val};
pub use calc::{Fault, Net, TEXT_MAX, address, fnv64, masked};
pub use judge::Judge;
use memchr::memmem::Finder;
pub use name::Name;
use regex::bytes::{Regex, RegexBuilder};
use std::cell::RefCell;
use subject::Subject;
use test::Test;
use value::Value;

/// Longest expression, in bytes.
pub const LEN_MAX: usize = 4096;
/// Deepest nesting of parentheses, functions and `not`.
///
/// There may be twice as many operators that compute.
pub const DEPTH_MAX: usize = 64;
/// Most memory one pattern may take, in bytes: what a pattern costs per byte of text is bounded by it.
pub const PATTERN_MAX: usize = 1 << 20;

/// A condition, compiled.
#[derive(Clone, Debug)]
pub struct Expr {
    node: Node,
    /// What an entry's text must contain to meet the condition, as long as the message is the text.
    needle: Option<Finder<'static>>,
    /// Whether values are worked out on the way to an answer.
    works_out: bool,
}

/// An expression that gives a value, compiled.
#[derive(Clone, Debug)]
pub struct ValueExpr {
    calc: Calc,
}

/// Why a value was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It cannot be worked out.
    Fault(Fault),
    /// The block has no room for it.
    NoRoom,
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        StoreError::Fault(fault)
    }
}

impl From<NoRoom> for StoreError {
    fn from(NoRoom: NoRoom) -> Self {
        StoreError::NoRoom
    }
}

thread_local! {
    /// One per thread, so that working out values allocates nothing per entry.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Compiles a pattern that is matched in time linear in the text; at most [`PATTERN_MAX`] large.
///
/// Errors: what is wrong with it, in words.
pub fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => format!(
                "this pattern takes more than {} to match: make its counts or classes smaller",
                crate::units::format_size(PATTERN_MAX as u64)
            ),
            // The last line says what is wrong; those before it show the pattern again.
            other => {
                let said = other.to_string();
                let what = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("not a regular expression: {what}")
            }
        }
    })
}

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// What is wrong, and what would be right.
    pub message: String,
    /// The first byte of the part it is about.
    pub start: usize,
    /// How many bytes that part has; 0 at the end.
    pub len: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Any(Box<[Node]>),
    All(Box<[Node]>),
    Not(Box<Node>),
    Test {
        subject: Subject,
        test: Test,
        negated: bool,
    },
    /// A test of a value that is worked out.
    Made {
        tested: Box<(Calc, Test)>,
        negated: bool,
    },
    Compare {
        sides: Box<[Calc; 2]>,
        ask: Ask,
        negated: bool,
    },
    /// A function that says yes or no.
    Truth(Calc),
}

impl Expr {
    /// Compiles a condition.
    pub fn compile(text: &str) -> Result<Self, ExprError> {
        let node = parser::parse(text)?;
        let needle = node.needle().map(|needle| Finder::new(needle).into_owned());
        Ok(Expr { works_out: node.works_out(), node, needle })
    }

    /// Whether the entry `index` of `block` meets the condition.
    pub fn matches(&self, block: &Block, index: usize) -> bool {
        let at = At { block, index };
        if !self.works_out {
            // Nothing is made, so nothing is needed to make it in.
            return self.node.matches(at, &mut Scratch::default());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            self.node.matches(at, scratch)
        })
    }

    /// Whether all entries of `stream` meet the condition, or none; `None` where that depends on the entry.
    ///
    /// Labels and the source's name belong to the stream, so conditions on those alone are decided once per run.
    pub fn constant_for(&self, stream: &Stream) -> Option<bool> {
        self.node.constant_for(stream)
    }
}

impl ValueExpr {
    /// Compiles an expression that gives a value; a condition gives `true` or `false`.
    pub fn compile(text: &str) -> Result<Self, ExprError> {
        parser::parse_value(text).map(|calc| ValueExpr { calc })
    }

    /// Works the value out for the entry `index` of `block` and has `take` look at its kind and its bytes, which are
    /// never those of an escaped text; `None` where what it is made of is missing.
    ///
    /// Errors: it cannot be worked out.
    pub fn find<R>(
        &self,
        block: &Block,
        index: usize,
        take: impl FnOnce(Kind, &[u8]) -> R,
    ) -> Result<Option<R>, Fault> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let Some(value) = self.calc.find(At { block, index }, scratch)? else { return Ok(None) };
            let text = value.text(scratch)?;
            Ok(Some(take(value.kind(), scratch.bytes(text))))
        })
    }

    /// As [`ValueExpr::find`], with the bytes put into the block's arena.
    ///
    /// Errors: it cannot be worked out, or there is no room.
    pub fn store(&self, block: &mut Block, index: usize) -> Result<Option<(Slice, Kind)>, StoreError> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let Some(value) = self.calc.find(At { block, index }, scratch)? else { return Ok(None) };
            let (kind, text) = (value.kind(), value.text(scratch)?);
            // What stands in the block cannot be read while the block is written to.
            let made = scratch.own(text)?;
            Ok(Some((block.store(scratch.bytes(made))?, kind)))
        })
    }
}

impl Node {
    fn matches(&self, at: At<'_>, scratch: &mut Scratch) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(at, scratch)),
            Node::All(nodes) => nodes.iter().all(|node| node.matches(at, scratch)),
            Node::Not(node) => !node.matches(at, scratch),
            Node::Test { subject, test, negated } => {
                subject.find(at.block, at.index).is_some_and(|value| test.holds(value)) != *negated
            }
            Node::Made { tested, negated } => {
                let (calc, test) = &**tested;
                let holds = match calc.find(at, scratch) {
                    Ok(Some(value)) => value
                        .text(scratch)
                        .is_ok_and(|text| test.holds(Value { kind: value.kind(), raw: scratch.bytes(text) })),
                    Ok(None) | Err(_) => false,
                };
                holds != *negated
            }
            Node::Compare { sides, ask, negated } => {
                let found = [sides[0].find(at, scratch), sides[1].find(at, scratch)];
                let holds = match found {
                    [Ok(Some(one)), Ok(Some(other))] => ask.holds(one, other, scratch),
                    _ => false,
                };
                holds != *negated
            }
            Node::Truth(calc) => matches!(calc.find(at, scratch), Ok(Some(Val::Bool(true)))),
        }
    }

    /// Whether values are worked out on the way to an answer.
    fn works_out(&self) -> bool {
        match self {
            Node::Any(nodes) | Node::All(nodes) => nodes.iter().any(Node::works_out),
            Node::Not(node) => node.works_out(),
            Node::Test { .. } => false,
            Node::Made { .. } | Node::Compare { .. } | Node::Truth(_) => true,
        }
    }

    fn constant_for(&self, stream: &Stream) -> Option<bool> {
        match self {
            Node::Any(nodes) => joined(nodes, stream, true),
            Node::All(nodes) => joined(nodes, stream, false),
            Node::Not(node) => node.constant_for(stream).map(|constant| !constant),
            Node::Test { subject, test, negated } => {
                let value = subject.of_stream(stream)?;
                Some(value.is_some_and(|value| test.holds(value)) != *negated)
            }
            Node::Made { .. } | Node::Compare { .. } | Node::Truth(_) => None,
        }
    }
}

/// What `nodes` joined come to: `decisive` as soon as one of them is that, the other if all are the other.
fn joined(nodes: &[Node], stream: &Stream, decisive: bool) -> Option<bool> {
    let mut all_known = true;
    for node in nodes {
        match node.constant_for(stream) {
            Some(constant) if constant == decisive => return Some(decisive),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decisive)
}
