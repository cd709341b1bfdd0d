//! `parse` as written in a pipeline: the format alone (`parse: json`), or a map of it and its options.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize as Derive, Serialize, Serializer};

use crate::steps::OnError;
use crate::time::zone::Zone;

/// `parse` with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct ParseConfig {
    /// What to read it as.
    pub format: ParseFormat,
    /// The field to read; absent: the message (the field `message` where an earlier step found one, else the text).
    pub field: Option<String>,
    /// What becomes of entries that are no such thing.
    pub on_error: OnError,
    /// `regex`: the expression.
    pub pattern: Option<String>,
    /// `syslog`, `nginx_error`: the zone of times that name none.
    pub timezone: Option<Zone>,
}

/// What `parse` understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Derive, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParseFormat {
    /// One JSON object per entry (RFC 8259).
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// Access logs of nginx and Apache: the common and the combined format.
    Nginx,
    /// The error log of nginx.
    NginxError,
    /// An expression whose named groups become fields: needs `pattern`.
    Regex,
    /// RFC 5424 and RFC 3164.
    Syslog,
}

impl From<ParseFormat> for ParseConfig {
    fn from(format: ParseFormat) -> Self {
        ParseConfig { format, field: None, on_error: OnError::Pass, pattern: None, timezone: None }
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
    #[serde(default, deserialize_with = "pattern", skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(default, deserialize_with = "zone", skip_serializing_if = "Option::is_none")]
    timezone: Option<Zone>,
}

impl Keys {
    /// Whether the keys are those of the format.
    fn check<E: Error>(self) -> Result<ParseConfig, E> {
        let Keys { format, field, on_error, pattern, timezone } = self;
        let zoned = matches!(format, ParseFormat::Syslog | ParseFormat::NginxError);
        match (format == ParseFormat::Regex, &pattern) {
            (true, None) => return Err(E::custom("`format: regex` needs a `pattern`")),
            (false, Some(_)) => return Err(E::custom("`pattern` is a key of `format: regex` alone")),
            _ if timezone.is_some() && !zoned => {
                return Err(E::custom(
                    "`timezone` is a key of `format: syslog` and `format: nginx_error` alone",
                ));
            }
            _ => {}
        }
        Ok(ParseConfig { format, field, on_error, pattern, timezone })
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match super::regex::compile(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(D::Error::custom(format_args!("not an expression that makes fields: {error}"))),
    }
}

fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zone>, D::Error> {
    Zone::deserialize(deserializer).map(Some)
}

impl Serialize for ParseConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == ParseConfig::from(self.format) {
            return self.format.serialize(serializer);
        }
        let ParseConfig { format, field, on_error, pattern, timezone } = self.clone();
        Keys { format, field, on_error, pattern, timezone }.serialize(serializer)
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
                let format = ParseFormat::deserialize(StrDeserializer::new(word))?;
                let keys =
                    Keys { format, field: None, on_error: OnError::Pass, pattern: None, timezone: None };
                keys.check()
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ParseConfig, A::Error> {
                Keys::deserialize(MapAccessDeserializer::new(map))?.check()
            }
        }
        deserializer.deserialize_any(WordOrMap)
    }
}
