//! Limits that can be switched off.

use super::*;

/// `#[serde(with)]` for an optional size in bytes written as `off` when there is none.
pub mod size_or_off {
    use super::*;

    /// Reads a size, or `off`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`off` or a size such as `64KiB`, `100MiB`, `1GiB`",
            text: |text| match text {
                "off" => Some(None),
                text => parse_size(text).and_then(size::fits).map(Some),
            },
            whole: |bytes| size::fits(bytes).map(Some),
        })
    }

    /// Writes a size with its unit, or `off`.
    pub fn serialize<S: Serializer>(bytes: &Option<usize>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => size::serialize(bytes, serializer),
            None => serializer.serialize_str("off"),
        }
    }
}

/// `#[serde(with)]` for an optional count written as `off` when there is none.
pub mod count_or_off {
    use super::*;

    /// Reads a count, or `off`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`off` or a whole number from 1 to 100000000",
            text: |text| (text == "off").then_some(None),
            whole: |count| counted(count).map(Some),
        })
    }

    /// Writes a count, or `off`.
    pub fn serialize<S: Serializer>(count: &Option<usize>, serializer: S) -> Result<S::Ok, S::Error> {
        match count {
            Some(count) => count::serialize(count, serializer),
            None => serializer.serialize_str("off"),
        }
    }
}

/// `#[serde(with)]` for a number of further attempts, written as `unlimited` when there is no end of them.
pub mod retries {
    use super::*;

    /// Reads a number, or `unlimited`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`unlimited` or a whole number from 0 to 1000000",
            text: |text| (text == "unlimited").then_some(None),
            whole: |count| u32::try_from(count).ok().filter(|count| *count <= 1_000_000).map(Some),
        })
    }

    /// Writes a number, or `unlimited`.
    pub fn serialize<S: Serializer>(count: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        match count {
            Some(count) => serializer.serialize_u32(*count),
            None => serializer.serialize_str("unlimited"),
        }
    }
}

/// Reads a number of further attempts that need not be written.
pub fn optional_retries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    retries::deserialize(deserializer).map(Some)
}
