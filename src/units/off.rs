//! Limits that can be switched off.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

use super::counts::counted;
use super::{Scalar, count, parse_size, size};

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

/// `#[serde(with)]` for an optional number of cores, kept in hundredths of one, written as `off` when there is none.
pub mod cores_or_off {
    use super::*;

    const EXPECTED: &str = "`off` or a number of cores such as `0.5`, `1.5`, `4`, at least `0.01` and with no more than two decimals";
    /// More than any machine has.
    const CORES_MAX: f64 = 10_000.0;

    struct Cores;

    impl Visitor<'_> for Cores {
        type Value = Option<u32>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str(EXPECTED)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Option<u32>, E> {
            match text {
                "off" => Ok(None),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }
        fn visit_f64<E: Error>(self, cores: f64) -> Result<Option<u32>, E> {
            let hundredths = (cores * 100.0).round();
            // Two decimals are not exact in binary; a third one is further off than that.
            let has_two = (cores * 100.0 - hundredths).abs() < 1e-6;
            if !has_two || hundredths < 1.0 || cores > CORES_MAX {
                return Err(E::invalid_value(Unexpected::Float(cores), &self));
            }
            Ok(Some(hundredths as u32))
        }
        fn visit_u64<E: Error>(self, cores: u64) -> Result<Option<u32>, E> {
            if cores == 0 || cores > CORES_MAX as u64 {
                return Err(E::invalid_value(Unexpected::Unsigned(cores), &self));
            }
            Ok(Some(cores as u32 * 100))
        }
    }

    /// Reads a number of cores, or `off`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        deserializer.deserialize_any(Cores)
    }

    /// Writes a number of cores, or `off`.
    pub fn serialize<S: Serializer>(hundredths: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        match hundredths {
            Some(whole) if whole.is_multiple_of(100) => serializer.serialize_u32(whole / 100),
            Some(hundredths) => serializer.serialize_f64(f64::from(*hundredths) / 100.0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_have_two_decimals_at_most_and_are_never_none() {
        #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        struct One(#[serde(with = "cores_or_off")] Option<u32>);
        let read = |text: &str| serde_yaml::from_str::<One>(text).map(|one| one.0);
        let (off, half) = (None, Some(50));
        for (text, hundredths) in
            [("off", off), ("0.5", half), ("0.50", half), ("2", Some(200)), ("0.29", Some(29))]
        {
            assert_eq!(read(text).unwrap(), hundredths, "{text}");
            let written = serde_yaml::to_string(&One(hundredths)).unwrap();
            assert_eq!(read(&written).unwrap(), hundredths, "{written}");
        }
        for text in [
            "0", "0.0", "-1", "-0.5", "150%", "1.505", "0.001", "10001", "1e9", ".nan", ".inf", "auto",
            "true",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
