//! Sets fields: to constants, or to what expressions give.

pub mod config;

use crate::block::Block;
use crate::entry::{Field, Kind, Slice};
use crate::expr::{Fault, StoreError, ValueExpr};
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

/// What a field is set to.
#[derive(Clone, Debug)]
pub enum Given {
    /// The same for every entry.
    Constant(ConstValue),
    /// Worked out for each.
    Made(ValueExpr),
}

impl From<ConstValue> for Given {
    fn from(value: ConstValue) -> Self {
        Given::Constant(value)
    }
}

/// Sets each of its fields in every entry, one after the other, in place of the entry's own if it has one of that name.
///
/// A field whose value is made of something that is missing stays as it is.
#[derive(Clone, Debug)]
pub struct Set {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
enum Row {
    Constant(Field),
    Made { key: Slice, name: Box<str>, value: ValueExpr },
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
    /// Sets `fields`, of which names and constants are put into `constants`.
    pub fn new(fields: Vec<(String, Given)>, constants: &mut Constants) -> Result<Self, SetError> {
        let mut row = |(name, value): (String, Given)| {
            if name.len() > Field::KEY_MAX {
                return Err(SetError::KeyTooLong(name));
            }
            let key = constants.intern(name.as_bytes()).ok_or(SetError::TooLarge)?;
            Ok(match value {
                Given::Constant(value) => {
                    let (written, kind) = value.written();
                    let value = constants.intern(written.as_bytes()).ok_or(SetError::TooLarge)?;
                    Row::Constant(Field::new(key, value, kind))
                }
                Given::Made(value) => Row::Made { key, name: name.into(), value },
            })
        };
        Ok(Set { rows: fields.into_iter().map(&mut row).collect::<Result<_, _>>()? })
    }
}

impl Step for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn explain(&self, error: StepError) -> String {
        match error {
            StepError::Part(part, what) => match self.rows.get(usize::from(part)) {
                Some(Row::Made { name, .. }) => format!("`{name}`: {what}"),
                _ => what.into(),
            },
            other => other.to_string(),
        }
    }

    fn adds_fields(&self) -> usize {
        self.rows.len()
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let mut fault = None;
        for (at, row) in self.rows.iter().enumerate() {
            match row {
                Row::Constant(field) => block.set_field(index, *field)?,
                Row::Made { key, value, .. } => match value.store(block, index) {
                    Ok(Some((slice, kind))) => block.set_field(index, Field::new(*key, slice, kind))?,
                    Ok(None) => {}
                    // The others are set all the same.
                    Err(StoreError::Fault(Fault(what))) => fault = Some(StepError::Part(at as u16, what)),
                    Err(StoreError::NoRoom) => return Err(StepError::NoRoom),
                },
            }
        }
        fault.map_or(Ok(Verdict::Keep), Err)
    }
}
