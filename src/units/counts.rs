//! Fields that hold a count, or a number of threads.

use serde::{Deserializer, Serializer};

use super::{Auto, Scalar};

/// The most anything can be counted to in the config. Rings and windows are made to measure, so a typing error of a
/// few digits must be a message and not an allocation that ends the process.
pub const COUNT_MAX: u64 = 100_000_000;

/// A count as the program keeps it, if it is one.
pub(super) fn counted(count: u64) -> Option<usize> {
    usize::try_from(count).ok().filter(|count| (1..=COUNT_MAX as usize).contains(count))
}

/// `#[serde(with)]` for a count that must be at least one.
pub mod count {
    use super::*;

    /// Reads a count.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a whole number from 1 to 100000000",
            text: |_| None,
            whole: counted,
        })
    }

    /// Writes a count.
    pub fn serialize<S: Serializer>(count: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*count as u64)
    }
}

/// `#[serde(with)]` for an optional count; absent means the default of the place.
pub mod optional_count {
    use super::*;

    /// Reads a count.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
        count::deserialize(deserializer).map(Some)
    }
}

/// `#[serde(with)]` for a number of threads or `auto`.
pub mod threads_or_auto {
    use super::*;

    /// Reads a number of threads or `auto`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Auto<usize>, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`auto` or a whole number from 1 to 256",
            text: |text| (text == "auto").then_some(Auto::Auto),
            whole: |count| counted(count).filter(|count| *count <= 256).map(Auto::Set),
        })
    }

    /// Writes a number of threads, or `auto`.
    pub fn serialize<S: Serializer>(count: &Auto<usize>, serializer: S) -> Result<S::Ok, S::Error> {
        match count {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Set(count) => serializer.serialize_u64(*count as u64),
        }
    }
}

/// Reads a number of threads.
pub fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserializer.deserialize_any(Scalar {
        expected: "a whole number from 1 to 256",
        text: |_| None,
        whole: |count| counted(count).filter(|count| *count <= 256),
    })
}

/// Reads a number of threads, or `auto`, that need not be written.
pub fn optional_threads_or_auto<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Auto<usize>>, D::Error> {
    threads_or_auto::deserialize(deserializer).map(Some)
}
