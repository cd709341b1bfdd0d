//! What must stand in a text for a condition to hold: a search for it decides about most entries at once.

use super::subject::Subject;
use super::{Expr, Node};

impl Node {
    /// The longest text that the message must contain for the condition to hold.
    pub(super) fn needle(&self) -> Option<&[u8]> {
        match self {
            Node::All(nodes) => nodes.iter().filter_map(Node::needle).max_by_key(|needle| needle.len()),
            Node::Test { subject: Subject::Message, test, negated: false } => test.needle(),
            _ => None,
        }
    }

    /// Texts of which one must stand, as it reads or with escapes, in the value of some field.
    fn needles_in_fields(&self) -> Option<Vec<&[u8]>> {
        match self {
            // The fewest are found the soonest.
            Node::All(nodes) => nodes.iter().filter_map(Node::needles_in_fields).min_by_key(Vec::len),
            Node::Any(nodes) => {
                let all: Option<Vec<_>> = nodes.iter().map(Node::needles_in_fields).collect();
                Some(all?.concat())
            }
            Node::Test { subject: Subject::Field(..), test, negated: false } => test.needles(),
            _ => None,
        }
    }
}

impl Expr {
    /// Texts of which one must stand in what fields are made of, as it is or with escapes, for the condition to hold;
    /// `None` if it can hold without. An entry without fields never meets a condition that has some.
    pub fn needles_in_fields(&self) -> Option<Vec<&[u8]>> {
        self.node.needles_in_fields()
    }
}
