//! Fields that hold a duration.

use std::time::Duration;

use serde::{Deserializer, Serializer};

use super::{DURATION_EXPECTED, Scalar, format_duration, parse_duration};

/// `#[serde(with)]` for a [`Duration`].
pub mod duration {
    use super::*;

    /// Reads a duration with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let visitor = Scalar { expected: DURATION_EXPECTED, text: parse_duration, whole: |_| None };
        deserializer.deserialize_any(visitor)
    }

    /// Writes a duration with its unit.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }
}

/// `#[serde(with)]` for a [`Duration`] that must be longer than nothing.
pub mod positive_duration {
    pub use super::duration::serialize;
    use super::*;

    /// Reads a duration with its unit, not `0s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a duration such as `500ms`, `5s`, `5m`, `24h`, `1d`, longer than nothing",
            text: |text| parse_duration(text).filter(|duration| !duration.is_zero()),
            whole: |_| None,
        })
    }
}

/// `#[serde(with)]` for an optional [`Duration`] written as `off` when there is none.
pub mod duration_or_off {
    use super::*;

    /// Reads a duration with its unit, or `off`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`off` or a duration such as `5m`, `24h`, `7d`",
            text: |text| match text {
                "off" => Some(None),
                text => parse_duration(text).filter(|duration| !duration.is_zero()).map(Some),
            },
            whole: |_| None,
        })
    }

    /// Writes a duration with its unit, or `off`.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&format_duration(*duration)),
            None => serializer.serialize_str("off"),
        }
    }
}

/// `#[serde(with)]` for an optional duration; absent means the default of the place.
pub mod optional_duration {
    use super::*;

    /// Reads a duration with its unit, not `0s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        positive_duration::deserialize(deserializer).map(Some)
    }
}
