//! `validate` as written in a pipeline.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use crate::steps::OnError;
use crate::steps::set::config::SetValue;
use crate::units::Pairs;

/// `validate` with its rules.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateConfig {
    /// Fields, as conditions name them, with what each has to be.
    pub fields: Pairs<FieldRules>,
    /// What becomes of entries that are not so.
    #[serde(default = "dead_letter")]
    pub on_error: OnError,
}

/// What one field has to be. What is not there breaks no rule but `required`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldRules {
    /// It has to be there.
    pub required: bool,
    /// What it has to be.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub of: Option<FieldType>,
    /// The least number.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "number")]
    pub min: Option<Number>,
    /// The largest number.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "number")]
    pub max: Option<Number>,
    /// How many characters it has at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// How many characters it has at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// The values it may have.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_values")]
    pub values: Option<Vec<SetValue>>,
    /// A pattern that has to match somewhere in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// What a field can have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Bool,
    /// An object.
    Object,
    /// A list.
    List,
    /// Text that is an IP address.
    Ip,
}

impl FieldType {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            FieldType::Text => "text",
            FieldType::Number => "number",
            FieldType::Integer => "integer",
            FieldType::Bool => "bool",
            FieldType::Object => "object",
            FieldType::List => "list",
            FieldType::Ip => "ip",
        }
    }

    /// The condition that `field` is so.
    pub fn condition(self, field: &str) -> String {
        match self {
            FieldType::Integer => format!("(is_number({field}) and {field} % 1 == 0)"),
            other => format!("is_{}({field})", other.word()),
        }
    }
}

fn dead_letter() -> OnError {
    OnError::DeadLetter
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    Number::deserialize(deserializer).map(Some)
}

fn some_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<SetValue>>, D::Error> {
    let values = Vec::<SetValue>::deserialize(deserializer)?;
    if values.is_empty() {
        return Err(D::Error::invalid_length(0, &"at least one value"));
    }
    Ok(Some(values))
}

/// The value as the language writes it.
pub fn literal(value: &SetValue) -> String {
    match value {
        SetValue::Text(text) => quoted(text),
        SetValue::Integer(number) => number.to_string(),
        // The config refuses numbers JSON cannot write.
        SetValue::Float(number) => {
            Number::from_f64(*number).map_or_else(|| "null".into(), |number| number.to_string())
        }
        SetValue::Bool(truth) => truth.to_string(),
    }
}

/// The text as the language writes it.
pub fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
}
