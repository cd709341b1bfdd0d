//! Conditions over entries: `when`, `discard`.
//!
//! ```text
//! condition  = all { "or" all }
//! all        = one { "and" one }
//! one        = "not" one | "(" condition ")" | subject ( "==" | "!=" ) literal
//! subject    = NAME | `NAME` | "labels." NAME | "labels." `NAME` | "source" | "message"
//! literal    = "text" | 'text' | NUMBER | "true" | "false" | "null"
//! ```
//!
//! A bare name is a field's. `source` is the name of the entry's source; `message` is the field of that name where
//! parsing has found one, as in syslog, else the text as it was received. In backticks any name is a field's alone.
//!
//! A text equals a field that reads so: strings with their escapes resolved, everything else as it is written. A number
//! equals only numbers, by value; `true`, `false` and `null` equal only themselves. What an entry does not have equals
//! nothing, so that `!=` holds.
//!
//! Compiled once from the config; judging an entry allocates nothing.

mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use crate::block::Block;
use crate::entry::Field;
use crate::labels::Stream;
use value::Literal;

/// Longest condition, in bytes.
pub const LEN_MAX: usize = 4096;
/// Deepest nesting of parentheses and `not`.
pub const DEPTH_MAX: usize = 64;

/// A condition, compiled.
#[derive(Clone, Debug)]
pub struct Expr(Node);

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
    Test { subject: Subject, equal: bool, literal: Literal },
}

/// What is compared.
#[derive(Clone, Debug)]
enum Subject {
    Field(Box<str>),
    Label(Box<str>),
    Source,
    Message,
}

impl Expr {
    /// Compiles a condition.
    pub fn compile(text: &str) -> Result<Self, ExprError> {
        parser::parse(text).map(Expr)
    }

    /// Whether the entry `index` of `block` meets the condition.
    pub fn matches(&self, block: &Block, index: usize) -> bool {
        self.0.matches(block, index)
    }

    /// Whether all entries of `stream` meet the condition, or none; `None` where that depends on the entry.
    ///
    /// Labels and the source's name belong to the stream, so conditions on those alone are decided once per run.
    pub fn constant_for(&self, stream: &Stream) -> Option<bool> {
        self.0.constant_for(stream)
    }
}

impl Node {
    fn matches(&self, block: &Block, index: usize) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(block, index)),
            Node::All(nodes) => nodes.iter().all(|node| node.matches(block, index)),
            Node::Not(node) => !node.matches(block, index),
            Node::Test { subject, equal, literal } => subject.equals(literal, block, index) == *equal,
        }
    }

    fn constant_for(&self, stream: &Stream) -> Option<bool> {
        match self {
            Node::Any(nodes) => joined(nodes, stream, true),
            Node::All(nodes) => joined(nodes, stream, false),
            Node::Not(node) => node.constant_for(stream).map(|constant| !constant),
            Node::Test { subject, equal, literal } => {
                let equals = match subject {
                    Subject::Label(name) => {
                        stream.labels.get(name).is_some_and(|label| literal.is_text(label))
                    }
                    Subject::Source => literal.is_text(&stream.source_name),
                    Subject::Field(_) | Subject::Message => return None,
                };
                Some(equals == *equal)
            }
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

impl Subject {
    fn equals(&self, literal: &Literal, block: &Block, index: usize) -> bool {
        let value_equals = |field: &Field| literal.equals(field.kind(), block.bytes(field.value()));
        match self {
            Subject::Field(name) => last_named(block, index, name.as_bytes()).is_some_and(value_equals),
            Subject::Label(name) => {
                block.stream_of(index).labels.get(name).is_some_and(|label| literal.is_text(label))
            }
            Subject::Source => literal.is_text(&block.stream_of(index).source_name),
            Subject::Message => match last_named(block, index, b"message") {
                Some(field) => value_equals(field),
                None => literal.is_bytes(block.view(index).text()),
            },
        }
    }
}

/// The last field of that name, as [`crate::block::EntryView::field`] finds it, but without an allocation for keys with
/// escapes. Most names differ in length already: the row tells, their bytes need not be fetched.
fn last_named<'a>(block: &'a Block, index: usize, name: &[u8]) -> Option<&'a Field> {
    let is_named = |field: &&Field| {
        let key = field.key();
        if field.key_escaped() {
            value::reads_as(block.bytes(key), name)
        } else {
            key.len as usize == name.len() && block.bytes(key) == name
        }
    };
    block.fields_of(index).iter().rev().find(is_named)
}
