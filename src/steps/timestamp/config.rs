//! The keys of the `timestamp` step.

use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::Field;
use crate::steps::OnError;
use crate::time::format::TimeFormat;
use crate::time::zone::Zone;
use crate::units;

/// Makes a field the entry's time.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampConfig {
    /// The field that holds the time.
    #[serde(deserialize_with = "name")]
    pub field: String,
    /// How it may be written; the first that fits counts.
    #[serde(default = "formats", deserialize_with = "formats_some")]
    pub formats: Vec<TimeFormat>,
    /// The zone of times that name none.
    #[serde(default)]
    pub timezone: Zone,
    /// How long before its arrival a time may be; `off`: any time.
    #[serde(default, with = "units::duration_or_off")]
    pub max_past: Option<Duration>,
    /// How long after its arrival a time may be; `off`: any time.
    #[serde(default, with = "units::duration_or_off")]
    pub max_future: Option<Duration>,
    /// What becomes of a time beyond these.
    #[serde(default)]
    pub on_out_of_range: OutOfRange,
    /// What becomes of the field, once the entry's time is set by it.
    #[serde(default)]
    pub keep_original: KeepOriginal,
    /// What becomes of entries without the field, or with one that is no time.
    #[serde(default)]
    pub on_error: OnError,
}

/// What becomes of a time that is too long ago, or too far ahead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfRange {
    /// It is the entry's time all the same.
    Keep,
    /// The entry gets the nearest time that is allowed.
    Clamp,
    /// The entry keeps the time of its arrival.
    #[default]
    Now,
}

/// What becomes of the field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeepOriginal {
    /// `true`: it stays.
    #[default]
    Yes,
    /// `false`: it goes, unless its time was out of range.
    No,
    /// A name: it is called that from here on.
    As(String),
}

impl Serialize for KeepOriginal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            KeepOriginal::Yes => serializer.serialize_bool(true),
            KeepOriginal::No => serializer.serialize_bool(false),
            KeepOriginal::As(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for KeepOriginal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoolOrName;
        impl Visitor<'_> for BoolOrName {
            type Value = KeepOriginal;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("`true`, `false` or the name of a field")
            }
            fn visit_bool<E: Error>(self, keep: bool) -> Result<KeepOriginal, E> {
                Ok(if keep { KeepOriginal::Yes } else { KeepOriginal::No })
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<KeepOriginal, E> {
                named(text).map(KeepOriginal::As)
            }
        }
        deserializer.deserialize_any(BoolOrName)
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    named(&String::deserialize(deserializer)?)
}

fn named<E: Error>(text: &str) -> Result<String, E> {
    match text.len() {
        1..=Field::KEY_MAX => Ok(text.to_owned()),
        _ => Err(E::custom("expected the name of a field, of 1 to 1024 bytes")),
    }
}

fn formats() -> Vec<TimeFormat> {
    vec![TimeFormat::Rfc3339]
}

fn formats_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TimeFormat>, D::Error> {
    let formats = Vec::<TimeFormat>::deserialize(deserializer)?;
    if formats.is_empty() {
        return Err(D::Error::invalid_length(0, &"at least one format such as `rfc3339`"));
    }
    Ok(formats)
}
