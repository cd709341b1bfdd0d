//! The time zone of times that name none.

use jiff::tz::TimeZone;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time zone, looked up when the config is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// As written.
    pub name: String,
    /// What it means here.
    pub zone: TimeZone,
}

impl Default for Zone {
    fn default() -> Self {
        Zone { name: "local".into(), zone: TimeZone::system() }
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let zone = match name.as_str() {
            "local" => TimeZone::system(),
            "utc" => TimeZone::UTC,
            other => TimeZone::get(other).map_err(|_| {
                D::Error::custom("expected `local`, `utc` or a zone this host knows, such as `Europe/Berlin`")
            })?,
        };
        Ok(Zone { name, zone })
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}
