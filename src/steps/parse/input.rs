//! What a `parse` step reads: the message, or a field.

use crate::block::{ARENA_MAX, Parts};
use crate::entry::{Kind, Slice, Space, unescape};
use crate::steps::StepError;

/// What to read. The message is the field `message` where an earlier step found one, else the entry's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// The message.
    #[default]
    Message,
    /// The last field of this name.
    Field(Box<str>),
}

impl Input {
    /// What the config's `field` says.
    pub fn named(field: Option<&str>) -> Self {
        field.map_or(Input::Message, |name| Input::Field(name.into()))
    }

    /// Where the plain text to read stands. JSON escapes are resolved into the arena first.
    ///
    /// Errors: there is no such field, or no room.
    pub fn find(&self, parts: &mut Parts<'_>, index: usize) -> Result<Slice, StepError> {
        let name = match self {
            // Nearly always: the first `parse` of a pipeline reads what came.
            Input::Message if parts.entries[index].fields_n == 0 => return Ok(parts.text_of(index)),
            Input::Message => "message",
            Input::Field(name) => name,
        };
        let Some(field) = parts.field(index, name.as_bytes()) else {
            return match self {
                Input::Message => Ok(parts.text_of(index)),
                Input::Field(_) => Err(StepError::Malformed("the field to read is not there")),
            };
        };
        if field.kind() != Kind::Escaped {
            return Ok(field.value());
        }
        let plain = unescape(parts.bytes(field.value())).ok_or(StepError::Malformed("a malformed escape"))?;
        if parts.arena.len() + plain.len() > ARENA_MAX {
            return Err(StepError::NoRoom);
        }
        let offset = parts.arena.len() as u32;
        parts.arena.extend_from_slice(&plain);
        Ok(Slice { space: Space::Arena, offset, len: plain.len() as u32 })
    }
}
