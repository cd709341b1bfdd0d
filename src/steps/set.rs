//! Sets fields to constants.

use crate::block::Block;
use crate::entry::{Field, Kind};
use crate::steps::constants::Constants;
use crate::steps::{Step, StepError, Verdict};

/// A value from the config.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstValue {
    /// Text.
    Text(String),
    /// A number as it is to be written.
    Number(serde_json::Number),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl ConstValue {
    /// How a field with this value is written and read.
    fn written(&self) -> (String, Kind) {
        match self {
            ConstValue::Text(text) => (text.clone(), Kind::Plain),
            ConstValue::Number(number) => (number.to_string(), Kind::Number),
            ConstValue::Bool(truth) => (truth.to_string(), Kind::Bool),
            ConstValue::Null => ("null".into(), Kind::Null),
        }
    }
}

/// Sets each of its fields in every entry, in place of the entry's own if it has one of that name.
#[derive(Clone, Debug)]
pub struct Set {
    fields: Vec<Field>,
}

/// Why fields cannot be set as the config says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetError {
    /// The name is longer than a field's may be.
    #[error("the field name {0:.40?}... has more than 1024 bytes")]
    KeyTooLong(String),
    /// All constants together are too large.
    #[error("the names and values set by one pipeline have more than 1 MiB")]
    TooLarge,
}

impl Set {
    /// Sets `fields`, of which names and values are put into `constants`.
    pub fn new(fields: &[(String, ConstValue)], constants: &mut Constants) -> Result<Self, SetError> {
        let mut row = |(name, value): &(String, ConstValue)| {
            if name.len() > Field::KEY_MAX {
                return Err(SetError::KeyTooLong(name.clone()));
            }
            let (written, kind) = value.written();
            let key = constants.intern(name.as_bytes()).ok_or(SetError::TooLarge)?;
            let value = constants.intern(written.as_bytes()).ok_or(SetError::TooLarge)?;
            Ok(Field::new(key, value, kind))
        };
        Ok(Set { fields: fields.iter().map(&mut row).collect::<Result<_, _>>()? })
    }
}

impl Step for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn adds_fields(&self) -> usize {
        self.fields.len()
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        for field in &self.fields {
            block.set_field(index, *field)?;
        }
        Ok(Verdict::Keep)
    }
}
