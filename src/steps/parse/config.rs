//! `parse` as written in a pipeline: the format alone (`parse: json`), or a map of it and its options.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize as Derive, Serialize, Serializer};

use crate::steps::OnError;

/// `parse` with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct ParseConfig {
    /// What to read it as.
    pub format: ParseFormat,
    /// The field to read; absent: the message (the field `message` where an earlier step found one, else the text).
    pub field: Option<String>,
    /// What becomes of entries that are no such thing.
    pub on_error: OnError,
}

/// What `parse` understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Derive, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParseFormat {
    /// One JSON object per entry (RFC 8259).
    Json,
}

impl From<ParseFormat> for ParseConfig {
    fn from(format: ParseFormat) -> Self {
        ParseConfig { format, field: None, on_error: OnError::Pass }
    }
}

/// The map. Keys that only some formats have are `Option`s here, and looked at in `check`.
#[derive(Derive, Serialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    format: ParseFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default)]
    on_error: OnError,
}

impl Serialize for ParseConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == ParseConfig::from(self.format) {
            return self.format.serialize(serializer);
        }
        let ParseConfig { format, field, on_error } = self.clone();
        Keys { format, field, on_error }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ParseConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;
        impl<'de> Visitor<'de> for WordOrMap {
            type Value = ParseConfig;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a format such as `json`, or a map with a `format`")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<ParseConfig, E> {
                ParseFormat::deserialize(StrDeserializer::new(word)).map(ParseConfig::from)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ParseConfig, A::Error> {
                let Keys { format, field, on_error } = Keys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ParseConfig { format, field, on_error })
            }
        }
        deserializer.deserialize_any(WordOrMap)
    }
}
