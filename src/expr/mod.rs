//! Conditions over entries: `when`, `discard`, `keep`.
//!
//! ```text
//! condition  = all { "or" all }
//! all        = one { "and" one }
//! one        = "not" one | "(" condition ")" | test
//! test       = subject ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) literal
//!            | subject [ "not" ] "in" "[" literal { "," literal } "]"
//!            | subject ( "=~" | "!~" ) text
//!            | ( "contains" | "starts_with" | "ends_with" ) "(" subject "," text ")"
//!            | "exists" subject
//! subject    = "source" | "message" | "labels" "." name | [ "fields" "." ] name { part }
//! part       = "." name | "[" INDEX "]" | "[" text "]"
//! name       = NAME | `NAME` | text, the latter not first
//! literal    = text | NUMBER | "true" | "false" | "null"
//! text       = "TEXT" | 'TEXT'
//! ```
//!
//! `docs/language.md` is its manual, by examples. What a value reads as: text with its escapes resolved, everything else
//! as it is written. A text compares with what a value reads as; a number with numbers and with text that is one, by
//! value and exactly; `true`, `false` and `null` with themselves. What an entry does not have fails every test, so that
//! the negated ones (`!=`, `!~`, `not in`) hold.
//!
//! Compiled once from the config. Judging an entry allocates nothing and takes time linear in its length, whatever the
//! pattern; what depends on a stream alone is decided once per run ([`Expr::constant_for`]).

mod judge;
mod lexer;
mod name;
mod number;
mod parser;
pub(crate) mod path;
pub mod placeholders;
mod subject;
mod test;
#[cfg(test)]
mod tests;
mod value;

use crate::block::Block;
use crate::labels::Stream;
pub use judge::Judge;
use memchr::memmem::Finder;
pub use name::Name;
use regex::bytes::{Regex, RegexBuilder};
use subject::Subject;
use test::Test;

/// Longest condition, in bytes.
pub const LEN_MAX: usize = 4096;
/// Deepest nesting of parentheses and `not`.
pub const DEPTH_MAX: usize = 64;
/// Most memory one pattern may take, in bytes: what a pattern costs per byte of text is bounded by it.
pub const PATTERN_MAX: usize = 1 << 20;

/// A condition, compiled.
#[derive(Clone, Debug)]
pub struct Expr {
    node: Node,
    /// What an entry's text must contain to meet the condition, as long as the message is the text.
    needle: Option<Finder<'static>>,
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

/// What is wrong with a condition, and where.
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
    Test { subject: Subject, test: Test, negated: bool },
}

impl Expr {
    /// Compiles a condition.
    pub fn compile(text: &str) -> Result<Self, ExprError> {
        let node = parser::parse(text)?;
        let needle = node.needle().map(|needle| Finder::new(needle).into_owned());
        Ok(Expr { node, needle })
    }

    /// Whether the entry `index` of `block` meets the condition.
    pub fn matches(&self, block: &Block, index: usize) -> bool {
        self.node.matches(block, index)
    }

    /// Whether all entries of `stream` meet the condition, or none; `None` where that depends on the entry.
    ///
    /// Labels and the source's name belong to the stream, so conditions on those alone are decided once per run.
    pub fn constant_for(&self, stream: &Stream) -> Option<bool> {
        self.node.constant_for(stream)
    }
}

impl Node {
    fn matches(&self, block: &Block, index: usize) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(block, index)),
            Node::All(nodes) => nodes.iter().all(|node| node.matches(block, index)),
            Node::Not(node) => !node.matches(block, index),
            Node::Test { subject, test, negated } => {
                subject.find(block, index).is_some_and(|value| test.holds(value)) != *negated
            }
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
        }
    }

    /// The longest text that the message must contain for the condition to hold.
    fn needle(&self) -> Option<&[u8]> {
        match self {
            Node::All(nodes) => nodes.iter().filter_map(Node::needle).max_by_key(|needle| needle.len()),
            Node::Test { subject: Subject::Message, test, negated: false } => test.needle(),
            Node::Any(_) | Node::Not(_) | Node::Test { .. } => None,
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
