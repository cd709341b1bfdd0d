//! Fields that hold a size in bytes.

use serde::{Deserializer, Serializer};

use super::{Auto, SIZE_EXPECTED, Scalar, format_size, parse_size};

/// `#[serde(with)]` for a size in bytes kept as `usize`, at least one byte and at most 1 TiB.
pub mod size {
    use super::*;

    /// The sizes a field may hold; the upper end keeps sums of a few of them far from overflow.
    pub(in crate::units) fn fits(bytes: u64) -> Option<usize> {
        usize::try_from(bytes).ok().filter(|bytes| (1..=1 << 40).contains(bytes))
    }

    /// Reads a size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let text = |text: &str| parse_size(text).and_then(fits);
        deserializer.deserialize_any(Scalar { expected: SIZE_EXPECTED, text, whole: fits })
    }

    /// Writes a size with its unit.
    pub fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_size(*bytes as u64))
    }
}

/// `#[serde(with)]` for the longest line or message: a size from 64 bytes to 16 MiB.
pub mod line_size {
    pub use super::size::serialize;
    use super::*;

    /// Reads a size within the limits. The buffers of a source are cut to this size, so it is bounded.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let fits = |bytes| size::fits(bytes).filter(|bytes| (64..=16 << 20).contains(bytes));
        deserializer.deserialize_any(Scalar {
            expected: "a size from `64B` to `16MiB`",
            text: |text| {
                parse_size(text).and_then(size::fits).filter(|bytes| (64..=16 << 20).contains(bytes))
            },
            whole: fits,
        })
    }
}

/// `#[serde(with)]` for an optional size in bytes; absent means the default of the place.
pub mod optional_size {
    use super::*;

    /// Reads a size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
        size::deserialize(deserializer).map(Some)
    }
}

/// `#[serde(with)]` for a size in bytes or `auto`.
pub mod size_or_auto {
    use super::*;

    /// Reads a size or `auto`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Auto<usize>, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`auto` or a size such as `256MiB`, `1GiB`",
            text: |text| match text {
                "auto" => Some(Auto::Auto),
                text => parse_size(text).and_then(size::fits).map(Auto::Set),
            },
            whole: |bytes| size::fits(bytes).map(Auto::Set),
        })
    }

    /// Writes a size with its unit, or `auto`.
    pub fn serialize<S: Serializer>(bytes: &Auto<usize>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Set(bytes) => size::serialize(bytes, serializer),
        }
    }
}
