//! Values as users write them: durations, sizes, counts, shares, and maps that keep their order.
//!
//! A duration is a whole number with a unit (`500ms`, `5s`, `5m`, `24h`, `1d`; `us` and `ns` exist for the very small).
//! A size is a whole number of bytes with or without a unit: `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024, `KB`, `MB`,
//! `GB`, `TB` powers of 1000. Both print in the largest unit that needs no fraction, so what is printed can be written.
//!
//! The modules are for `#[serde(with = "...")]`: structs keep the plain types, the file keeps the units.

mod off;

pub use off::{cores_or_off, count_or_off, optional_retries, retries, size_or_off};

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What a duration looks like, for messages.
pub const DURATION_EXPECTED: &str = "a duration such as `500ms`, `5s`, `5m`, `24h`, `1d`";
/// What a size looks like, for messages.
pub const SIZE_EXPECTED: &str = "a size such as `4096`, `64KiB`, `100MiB`, `1GiB`";

const DURATION_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads a duration such as `250ms`; `None` for anything else, a bare number and more than 1000 days included.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (count, unit) = split(text)?;
    let (_, nanos) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    let total = u128::from(count).checked_mul(*nanos)?;
    // Deadlines are made by adding durations to the clock; the limit keeps every such sum representable.
    (total <= 1000 * DURATION_UNITS[0].1).then(|| Duration::from_nanos_u128(total))
}

/// Prints a duration in the largest unit that needs no fraction.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    match DURATION_UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

/// Reads a size in bytes such as `64KiB` or `4096`; `None` for anything else.
pub fn parse_size(text: &str) -> Option<u64> {
    let (count, unit) = split(text)?;
    if unit.is_empty() {
        return Some(count);
    }
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    count.checked_mul(*bytes)
}

/// Prints a size in the largest unit that needs no fraction.
pub fn format_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".into();
    }
    // The largest unit is the one with the fewest of it: 1 TB is 976562500 KiB too.
    let whole = SIZE_UNITS.iter().filter(|(_, unit)| bytes.is_multiple_of(*unit));
    match whole.min_by_key(|(_, unit)| bytes / unit) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    Some((count.parse().ok()?, unit))
}

/// A value the user may leave to the program, which decides it at start; `check` shows the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auto<T> {
    /// Written as `auto`, or not at all.
    #[default]
    Auto,
    /// Written by the user.
    Set(T),
}

impl<T> Auto<T> {
    /// The written value, if there is one.
    pub fn set(&self) -> Option<&T> {
        match self {
            Auto::Auto => None,
            Auto::Set(value) => Some(value),
        }
    }
}

/// Names and values in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs<V>(pub Vec<(String, V)>);

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Pairs(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Collect<V> {
            type Value = Pairs<V>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of names and values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect(PhantomData))
    }
}

impl<V: Serialize> Serialize for Pairs<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// One scalar, read by `parse` from text or from a whole number; anything else is refused as not `expected`.
struct Scalar<T> {
    expected: &'static str,
    text: fn(&str) -> Option<T>,
    whole: fn(u64) -> Option<T>,
}

impl<'de, T> Visitor<'de> for Scalar<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
    fn visit_u64<E: Error>(self, whole: u64) -> Result<T, E> {
        (self.whole)(whole).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(whole), &self))
    }
}

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

/// `#[serde(with)]` for a size in bytes kept as `usize`, at least one byte and at most 1 TiB.
pub mod size {
    use super::*;

    /// The sizes a field may hold; the upper end keeps sums of a few of them far from overflow.
    pub(super) fn fits(bytes: u64) -> Option<usize> {
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

/// `#[serde(with)]` for an optional duration; absent means the default of the place.
pub mod optional_duration {
    use super::*;

    /// Reads a duration with its unit, not `0s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        positive_duration::deserialize(deserializer).map(Some)
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

/// The most anything can be counted to in the config. Rings and windows are made to measure, so a typing error of a
/// few digits must be a message and not an allocation that ends the process.
pub const COUNT_MAX: u64 = 100_000_000;

fn counted(count: u64) -> Option<usize> {
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

/// `#[serde(with)]` for the mode of a file, as `0660`.
pub mod file_mode {
    use super::*;

    /// Reads four octal digits, the first a zero. Without it YAML would take them for a decimal number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a mode such as `0660`: a zero and three octal digits",
            text: |text| {
                let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3)?;
                digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| u32::from_str_radix(digits, 8).ok())?
            },
            whole: |_| None,
        })
    }

    /// Writes it the same way.
    pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
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

/// One number with a fraction between two limits.
struct Fraction {
    expected: &'static str,
    fits: fn(f64) -> bool,
}

impl Visitor<'_> for Fraction {
    type Value = f64;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        if (self.fits)(number) {
            return Ok(number);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        if (self.fits)(number as f64) {
            return Ok(number as f64);
        }
        Err(E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

/// `#[serde(deserialize_with)]` for a share of a whole, above 0 and at most 1.
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let fits = |number: f64| number > 0.0 && number <= 1.0;
    deserializer.deserialize_any(Fraction { expected: "a number above 0 and at most 1", fits })
}

/// `#[serde(deserialize_with)]` for the factor by which something grows, from 1 to 100.
pub fn growth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let fits = |number: f64| (1.0..=100.0).contains(&number);
    deserializer.deserialize_any(Fraction { expected: "a number from 1 to 100", fits })
}

/// `#[serde(deserialize_with)]` for an optional factor; absent means the default of the place.
pub fn optional_growth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    growth(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_unit_and_refused_without() {
        let millis = |count| Some(Duration::from_millis(count));
        let cases =
            [("500ms", millis(500)), ("5s", millis(5000)), ("5m", millis(300_000)), ("0s", millis(0))];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        assert_eq!(parse_duration("24h"), parse_duration("1d"));
        let bad =
            ["", "5", "s", "5 s", "-5s", "+5s", "1.5s", "5S", "5sec", "99999999999999999999s", "1001d", "5é"];
        for text in bad {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_powers_of_1024_or_powers_of_1000() {
        let cases = [
            ("4096", 4096),
            ("1B", 1),
            ("64KiB", 65_536),
            ("64KB", 64_000),
            ("2MiB", 2 << 20),
            ("1GiB", 1 << 30),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), Some(expected), "{text}");
        }
        for text in ["", "KiB", "64K", "64 KiB", "64kib", "-1", "18446744073709551615KiB", "1.5GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn printing_takes_the_largest_unit_without_a_fraction() {
        let durations = [(90_000, "90s"), (86_400_000, "1d"), (1500, "1500ms"), (0, "0s")];
        for (millis, text) in durations {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(format_duration(Duration::from_nanos(1_500)), "1500ns");
        for (bytes, text) in [
            (65_536, "64KiB"),
            (1000, "1KB"),
            (1001, "1001B"),
            (1 << 30, "1GiB"),
            (1_000_000_000_000, "1TB"),
            (0, "0B"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }

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

    proptest! {
        #[test]
        fn what_is_printed_can_be_read_back(nanos in 0u64..86_400_000_000_000_000, bytes in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_the_units_panic(text in ".{0,24}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
