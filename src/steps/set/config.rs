//! `set` as written in a pipeline: the fields alone, or under `fields` with options beside them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::steps::OnError;
use crate::units::Pairs;

/// `set` with its options.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SetConfig {
    /// The fields, in the order they are set.
    pub fields: Pairs<SetValue>,
    /// What becomes of entries of which a value cannot be worked out.
    pub on_error: OnError,
}

impl Serialize for SetConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.on_error == OnError::Pass {
            return self.fields.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("fields", &self.fields)?;
        map.serialize_entry("on_error", &self.on_error)?;
        map.end()
    }
}

/// What may stand behind a name: only `fields` is a map, and then the names are in there.
enum Slot {
    Value(SetValue),
    Fields(Pairs<SetValue>),
}

impl<'de> Deserialize<'de> for SetConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KEYS: &[&str] = &["fields", "on_error"];
        let Pairs(slots) = Pairs::<Slot>::deserialize(deserializer)?;
        let long = slots.iter().any(|(name, slot)| name == "fields" && matches!(slot, Slot::Fields(_)));
        let mut config = SetConfig::default();
        for (name, slot) in slots {
            match (name.as_str(), slot) {
                ("fields", Slot::Fields(fields)) => config.fields = fields,
                ("on_error", Slot::Value(SetValue::Text(word))) if long => {
                    config.on_error = OnError::deserialize(serde::de::value::StrDeserializer::new(&word))?;
                }
                (other, _) if long => return Err(D::Error::unknown_field(other, KEYS)),
                (_, Slot::Value(value)) => config.fields.0.push((name, value)),
                (_, Slot::Fields(_)) => {
                    let message = format!("`{name}` is a map: expected text, a number, `true` or `false`");
                    return Err(D::Error::custom(message));
                }
            }
        }
        Ok(config)
    }
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueOrMap;
        impl<'de> Visitor<'de> for ValueOrMap {
            type Value = Slot;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                Constant.expecting(f)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Slot, E> {
                Constant.visit_str(text).map(Slot::Value)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Slot, E> {
                Constant.visit_i64(number).map(Slot::Value)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Slot, E> {
                Constant.visit_u64(number).map(Slot::Value)
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Slot, E> {
                Constant.visit_f64(number).map(Slot::Value)
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Slot, E> {
                Constant.visit_bool(value).map(Slot::Value)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Slot, A::Error> {
                Pairs::deserialize(MapAccessDeserializer::new(map)).map(Slot::Fields)
            }
        }
        deserializer.deserialize_any(ValueOrMap)
    }
}

/// What `set` gives to a field: a constant, or an expression.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SetValue {
    /// Text, in quotes or not; an expression if it begins with `=`.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl SetValue {
    /// The expression, if it is one: what stands behind the `=`.
    pub fn expression(&self) -> Option<&str> {
        match self {
            SetValue::Text(text) => text.strip_prefix('='),
            _ => None,
        }
    }
}

/// Reads a [`SetValue`].
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

impl<'de> Deserialize<'de> for SetValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Constant)
    }
}
