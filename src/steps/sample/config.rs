//! `sample` as written in a pipeline: the share alone (`sample: 0.1`), or a map of it and its options.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize as Derive, Serialize, Serializer};

use crate::steps::OnError;

/// `sample` with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleConfig {
    /// The share of entries that goes through: above 0, and at most 1.
    pub rate: f64,
    /// An expression: entries for which it gives the same go the same way. Absent: each entry by itself.
    pub key: Option<String>,
    /// A condition: entries that meet it all go through.
    pub except: Option<String>,
    /// The field that says for how many entries an entry stands; absent: none.
    pub weight: Option<String>,
    /// What becomes of entries whose key cannot be worked out.
    pub on_error: OnError,
}

/// The map.
#[derive(Derive, Serialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(deserialize_with = "share")]
    rate: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    except: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<String>,
    #[serde(default)]
    on_error: OnError,
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    checked(f64::deserialize(deserializer)?)
}

fn checked<E: Error>(rate: f64) -> Result<f64, E> {
    match rate > 0.0 && rate <= 1.0 {
        true => Ok(rate),
        false => Err(E::custom("expected a share above 0 and at most 1, such as 0.1 for one entry in ten")),
    }
}

impl From<f64> for SampleConfig {
    fn from(rate: f64) -> Self {
        SampleConfig { rate, key: None, except: None, weight: None, on_error: OnError::Pass }
    }
}

impl Serialize for SampleConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == SampleConfig::from(self.rate) {
            return serializer.serialize_f64(self.rate);
        }
        let SampleConfig { rate, key, except, weight, on_error } = self.clone();
        Keys { rate, key, except, weight, on_error }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SampleConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrMap;
        impl<'de> Visitor<'de> for NumberOrMap {
            type Value = SampleConfig;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a share such as 0.1, or a map with a `rate`")
            }
            fn visit_f64<E: Error>(self, rate: f64) -> Result<SampleConfig, E> {
                checked(rate).map(SampleConfig::from)
            }
            fn visit_i64<E: Error>(self, rate: i64) -> Result<SampleConfig, E> {
                self.visit_f64(rate as f64)
            }
            fn visit_u64<E: Error>(self, rate: u64) -> Result<SampleConfig, E> {
                self.visit_f64(rate as f64)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SampleConfig, A::Error> {
                let Keys { rate, key, except, weight, on_error } =
                    Keys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SampleConfig { rate, key, except, weight, on_error })
            }
        }
        deserializer.deserialize_any(NumberOrMap)
    }
}
