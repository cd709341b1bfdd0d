//! `redact` as written in a pipeline: a list of built-in patterns, or a map of options.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as Derive, Serialize};

use super::patterns::BuiltIn;
use crate::steps::OnError;

/// What stands in place of what was found, unless the config says something else.
pub const REPLACEMENT: &str = "[redacted]";

/// `redact` with its options.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RedactConfig {
    /// Built-in patterns.
    pub patterns: Vec<BuiltIn>,
    /// Regular expressions of one's own; with a group in it, only what the first group matched is replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regex: Vec<String>,
    /// Where to look: names of fields, and `message` for the message; absent: everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// What to put there instead; `{name}` in it is the name of the pattern.
    pub replacement: String,
    /// What becomes of an entry whose redacted text has no room in its block.
    pub on_error: OnError,
}

impl Default for RedactConfig {
    fn default() -> Self {
        RedactConfig {
            patterns: Vec::new(),
            regex: Vec::new(),
            fields: None,
            replacement: REPLACEMENT.into(),
            // An entry that cannot be redacted does not go on with what it was to hide.
            on_error: OnError::Discard,
        }
    }
}

/// The map.
#[derive(Derive)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    patterns: Vec<BuiltIn>,
    regex: Vec<String>,
    fields: Option<Vec<String>>,
    replacement: String,
    on_error: OnError,
}

impl Default for Keys {
    fn default() -> Self {
        let RedactConfig { patterns, regex, fields, replacement, on_error } = RedactConfig::default();
        Keys { patterns, regex, fields, replacement, on_error }
    }
}

impl<'de> Deserialize<'de> for RedactConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrMap;
        impl<'de> Visitor<'de> for ListOrMap {
            type Value = RedactConfig;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("patterns such as `[email, secret]`, or a map with `patterns` or `regex`")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<RedactConfig, E> {
                let pattern = BuiltIn::deserialize(StrDeserializer::new(word))?;
                Ok(RedactConfig { patterns: vec![pattern], ..RedactConfig::default() })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RedactConfig, A::Error> {
                let patterns = Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                checked(RedactConfig { patterns, ..RedactConfig::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RedactConfig, A::Error> {
                let Keys { patterns, regex, fields, replacement, on_error } =
                    Keys::deserialize(MapAccessDeserializer::new(map))?;
                checked(RedactConfig { patterns, regex, fields, replacement, on_error })
            }
        }
        fn checked<E: Error>(config: RedactConfig) -> Result<RedactConfig, E> {
            match config.patterns.is_empty() && config.regex.is_empty() {
                true => Err(E::custom("expected at least one of `patterns` or `regex` to look for")),
                false => Ok(config),
            }
        }
        deserializer.deserialize_any(ListOrMap)
    }
}
