//! What is tested, and where an entry has it.

use super::path::{Part, follow};
use super::value::Value;
use crate::block::Block;
use crate::entry::Field;
use crate::labels::Stream;

/// What is tested.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The last field of this name, or what is inside of it.
    Field(Box<str>, Box<[Part]>),
    /// A label of the stream.
    Label(Box<str>),
    /// The name of the source.
    Source,
    /// The field `message`, or the text where there is none.
    Message,
}

impl Subject {
    /// Whether what it names is text, and so is known to be no number, for every entry.
    pub fn is_text(&self) -> bool {
        !matches!(self, Subject::Field(..))
    }

    /// Whether every entry has it.
    pub fn always_exists(&self) -> bool {
        matches!(self, Subject::Source | Subject::Message)
    }

    /// What the entry `index` has of it.
    pub fn find<'a>(&self, block: &'a Block, index: usize) -> Option<Value<'a>> {
        let value = |field: &Field| Value { kind: field.kind(), raw: block.bytes(field.value()) };
        match self {
            Subject::Field(name, path) => {
                let outer = last_named(block, index, name.as_bytes()).map(value)?;
                if path.is_empty() { Some(outer) } else { follow(outer, path) }
            }
            Subject::Message => Some(match last_named(block, index, b"message") {
                Some(field) => value(field),
                None => Value::plain(block.bytes(block.text_of(index))),
            }),
            Subject::Label(_) | Subject::Source => self.of_stream(block.stream_of(index)).flatten(),
        }
    }

    /// What all entries of `stream` have of it; `None` where that depends on the entry.
    pub fn of_stream<'a>(&self, stream: &'a Stream) -> Option<Option<Value<'a>>> {
        match self {
            Subject::Label(name) => Some(stream.labels.get(name).map(|label| Value::plain(label.as_bytes()))),
            Subject::Source => Some(Some(Value::plain(stream.source_name.as_bytes()))),
            Subject::Field(..) | Subject::Message => None,
        }
    }
}

/// The last field of that name, as [`crate::block::EntryView::field`] finds it, but without an allocation for keys with
/// escapes.
fn last_named<'a>(block: &'a Block, index: usize, name: &[u8]) -> Option<&'a Field> {
    let spaces = block.spaces();
    block.fields_of(index).iter().rev().find(|field| spaces.is_named(field, name))
}
