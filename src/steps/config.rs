//! Steps as written in a pipeline: each is a map of one key, the verb.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Deserialize as Derive, Serialize};

use super::OnError;
use super::custom::CustomStep;
use super::ordered::Ordered;
use super::ordered::config::Emit;
pub use super::ordered::config::{DedupeConfig, ThrottleConfig};
pub use super::ordered::metric::config::MetricConfig;
pub use super::parse::config::{ParseConfig, ParseFormat};
pub use super::redact::config::RedactConfig;
pub use super::timestamp::config::TimestampConfig;
use crate::expr::ExprError;
use crate::units::Pairs;
use std::sync::Arc;

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Derive, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepConfig {
    /// Reads the message and makes fields of what it finds.
    Parse(ParseConfig),
    /// Takes entries out for which the expression holds; they count as filtered.
    Discard(String),
    /// Takes all others out.
    Keep(String),
    /// Makes a field the entry's time.
    Timestamp(TimestampConfig),
    /// Sets fields to constants, over whatever the entry had under that name.
    Set(Pairs<SetValue>),
    /// Gives fields other names: old to new.
    Rename(Pairs<String>),
    /// Takes fields away.
    Remove(Vec<String>),
    /// Replaces what patterns find in texts and fields.
    Redact(RedactConfig),
    /// Takes out what was there a moment ago, and counts it.
    Dedupe(DedupeConfig),
    /// Takes out what is more than so many in a time.
    Throttle(ThrottleConfig),
    /// Makes a number of entries, to be scraped.
    Metric(MetricConfig),
    /// What a program that uses the library brought along; no config file can name it.
    #[serde(skip_deserializing)]
    Custom(CustomStep),
}

impl StepConfig {
    /// The step, if it is an ordered one.
    ///
    /// Errors: the place of the name in it that is none, and what is wrong with that.
    pub fn ordered(&self) -> Option<Result<Arc<dyn Ordered>, (usize, ExprError)>> {
        match self {
            StepConfig::Dedupe(dedupe) => Some(dedupe.make()),
            StepConfig::Throttle(throttle) => Some(throttle.make()),
            StepConfig::Metric(metric) => Some(metric.make()),
            _ => None,
        }
    }

    /// What becomes of entries that an ordered step cannot work on.
    pub fn ordered_on_error(&self) -> OnError {
        match self {
            StepConfig::Metric(metric) => metric.on_error,
            _ => OnError::Pass,
        }
    }

    /// Whether it makes entries, of what it took out.
    pub fn emits(&self) -> bool {
        matches!(self, StepConfig::Dedupe(dedupe) if dedupe.emit == Emit::Count)
    }
}

/// A constant that `set` gives to a field.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SetValue {
    /// Text, in quotes or not.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl<'de> Deserialize<'de> for SetValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Constant;
        impl Visitor<'_> for Constant {
            type Value = SetValue;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("text, a number, `true` or `false`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<SetValue, E> {
                Ok(SetValue::Text(text.into()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<SetValue, E> {
                Ok(SetValue::Integer(number))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<SetValue, E> {
                match i64::try_from(number) {
                    Ok(number) => Ok(SetValue::Integer(number)),
                    Err(_) => Ok(SetValue::Text(number.to_string())),
                }
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<SetValue, E> {
                Ok(SetValue::Float(number))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<SetValue, E> {
                Ok(SetValue::Bool(value))
            }
        }
        deserializer.deserialize_any(Constant)
    }
}
