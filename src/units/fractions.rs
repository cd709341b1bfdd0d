//! Fields that hold a number with a fraction.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

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
