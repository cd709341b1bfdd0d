//! Cases in the config that `ringmain test` runs: lines, and what is to become of them.

use crate::units::Pairs;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// One case.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TestConfig {
    /// The source whose lines these seem to be: its framing, labels and pipeline count.
    #[serde(default)]
    pub source: Option<String>,
    /// Or the pipeline they go through.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// Labels of the entries, over those of the source.
    #[serde(default)]
    pub labels: Pairs<String>,
    /// The lines as they come.
    pub input: Lines,
    /// What becomes of each entry that the source finds in them.
    #[serde(deserialize_with = "one_or_more")]
    pub expect: Vec<Expected>,
}

/// Lines: one text, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lines(pub String);

/// What is to become of one entry. What is not said is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// Whether a step takes it out.
    pub discarded: Option<bool>,
    /// Its message, as in conditions.
    pub message: Option<String>,
    /// Fields it has, with their values.
    pub fields: Pairs<Value>,
    /// Fields it has not.
    pub without: Vec<String>,
    /// Labels it has, with their values.
    pub labels: Pairs<String>,
    /// Its time, as RFC 3339.
    pub time: Option<String>,
    /// The sinks that take it: these and no others.
    pub sinks: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrList;
        impl<'de> Visitor<'de> for TextOrList {
            type Value = Lines;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a line, or a list of lines")
            }
            fn visit_str<E>(self, text: &str) -> Result<Lines, E> {
                Ok(Lines(text.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Lines, A::Error> {
                let lines: Vec<String> = Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Lines(lines.join("\n")))
            }
        }
        deserializer.deserialize_any(TextOrList)
    }
}

/// What is expected of one entry, or of each of several.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Expected>, D::Error> {
    struct OneOrMore;
    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<Expected>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a map of what is expected, or a list of such maps")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Expected>, A::Error> {
            Ok(vec![Expected::deserialize(MapAccessDeserializer::new(map))?])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<Expected>, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(OneOrMore)
}
