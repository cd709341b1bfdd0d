//! Values as users write them: durations, sizes, counts, shares, and maps that keep their order.
//!
//! A duration is a whole number with a unit (`500ms`, `5s`, `5m`, `24h`, `1d`; `us` and `ns` exist for the very small).
//! A size is a whole number of bytes with or without a unit: `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024, `KB`, `MB`,
//! `GB`, `TB` powers of 1000. Both print in the largest unit that needs no fraction, so what is printed can be written.
//!
//! The modules are for `#[serde(with = "...")]`: structs keep the plain types, the file keeps the units.
mod counts;
mod durations;
mod fractions;
mod off;
mod pairs;
mod sizes;
mod text;

pub use counts::{COUNT_MAX, count, optional_count, optional_threads_or_auto, threads, threads_or_auto};
pub use durations::{duration, duration_or_off, optional_duration, positive_duration};
pub use fractions::{growth, optional_growth, share};
pub use off::{cores_or_off, count_or_off, optional_retries, retries, size_or_off};
pub use pairs::Pairs;
pub use sizes::{line_size, optional_size, size, size_or_auto};
pub use text::{DURATION_EXPECTED, SIZE_EXPECTED, format_duration, format_size, parse_duration, parse_size};

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

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
