//! Numbers that are worked out: whole ones exactly, others as doubles.
//!
//! What an entry writes stays as it is written until something is done with it. A double that is whole, and small enough
//! to be exact, is a whole number again.

use super::Fault;
use crate::expr::number::{self, Number};
use std::cmp::Ordering;
use std::io::Write;

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Num {
    Whole(i64),
    /// Finite, and not whole or at least 2^53 in size.
    Real(f64),
}

/// `+`, `-`, `*`, `/` or `%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Below this, every whole number is a double of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Num {
    /// The number that is the whole of `raw`, as JSON writes it; beyond 64 bits, the nearest double.
    pub fn parse(raw: &[u8]) -> Option<Num> {
        if let Some(small) = number::small(raw) {
            return Some(Num::Whole(small));
        }
        let text = std::str::from_utf8(raw).ok().filter(|text| Number::is_one(text.as_bytes()))?;
        match text.parse() {
            Ok(whole) => Some(Num::Whole(whole)),
            Err(_) => Num::real(text.parse().ok()?).ok(),
        }
    }

    /// The number that the double `value` is.
    pub fn real(value: f64) -> Result<Num, Fault> {
        if value.is_finite() {
            let exact = value.fract() == 0.0 && value.abs() < EXACT;
            return Ok(if exact { Num::Whole(value as i64) } else { Num::Real(value) });
        }
        Err(Fault("the result is no number, or too large for one"))
    }

    /// It as a double.
    pub fn double(self) -> f64 {
        match self {
            Num::Whole(whole) => whole as f64,
            Num::Real(real) => real,
        }
    }

    /// What `operator` makes of two numbers. Whole ones give whole ones, exactly; a quotient that is none is a double.
    pub fn apply(self, operator: Operator, other: Num) -> Result<Num, Fault> {
        const TOO_LARGE: Fault = Fault("the result is too large for a whole number of 64 bits");
        if let (Num::Whole(one), Num::Whole(other)) = (self, other) {
            let whole = match operator {
                Operator::Add => one.checked_add(other),
                Operator::Subtract => one.checked_sub(other),
                Operator::Multiply => one.checked_mul(other),
                Operator::Divide if other == 0 => return Err(Fault("a division by zero")),
                Operator::Remainder if other == 0 => {
                    return Err(Fault("the remainder of a division by zero"));
                }
                Operator::Divide if one.wrapping_rem(other) != 0 => {
                    return Num::real(one as f64 / other as f64);
                }
                Operator::Divide => one.checked_div(other),
                Operator::Remainder => Some(one.wrapping_rem(other)),
            };
            return whole.map(Num::Whole).ok_or(TOO_LARGE);
        }
        let (one, other) = (self.double(), other.double());
        Num::real(match operator {
            Operator::Add => one + other,
            Operator::Subtract => one - other,
            Operator::Multiply => one * other,
            Operator::Divide if other == 0.0 => return Err(Fault("a division by zero")),
            Operator::Remainder if other == 0.0 => return Err(Fault("the remainder of a division by zero")),
            Operator::Divide => one / other,
            Operator::Remainder => one % other,
        })
    }

    /// How it compares with another.
    pub fn compare(self, other: Num) -> Ordering {
        match (self, other) {
            (Num::Whole(one), Num::Whole(other)) => one.cmp(&other),
            // Neither is ever NaN.
            (one, other) => one.double().total_cmp(&other.double()),
        }
    }

    /// The whole number it is, if it is one of 64 bits.
    pub fn whole(self) -> Result<i64, Fault> {
        match self {
            Num::Whole(whole) => Ok(whole),
            Num::Real(_) => Err(Fault("a whole number is needed here")),
        }
    }

    /// What remains when `round` brought it to a whole number.
    pub fn rounded(self, round: fn(f64) -> f64) -> Result<Num, Fault> {
        match self {
            Num::Whole(_) => Ok(self),
            Num::Real(real) => Num::real(round(real)),
        }
    }

    /// Its absolute value.
    pub fn abs(self) -> Result<Num, Fault> {
        match self {
            Num::Whole(whole) => whole.checked_abs().map(Num::Whole).ok_or(Fault("the result is too large")),
            Num::Real(real) => Ok(Num::Real(real.abs())),
        }
    }

    /// Appends it as JSON writes numbers: a double in the fewest digits that read as the same.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Num::Whole(whole) => out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes()),
            // Nearly all are of this size, and formatted in half of the time.
            Num::Real(real) if (1e-4..1e15).contains(&real.abs()) => {
                out.extend_from_slice(zmij::Buffer::new().format_finite(real).as_bytes());
            }
            // Writing to memory cannot fail.
            Num::Real(real) => drop(write!(out, "{real:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(num: Num) -> String {
        let mut out = Vec::new();
        num.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_numbers_stay_whole_and_others_are_the_nearest_double() {
        let apply = |one: &str, operator, other: &str| {
            let [one, other] = [one, other].map(|raw| Num::parse(raw.as_bytes()).unwrap());
            one.apply(operator, other).map(written)
        };
        use Operator::{Add, Divide, Multiply, Remainder, Subtract};
        for (one, operator, other, expected) in [
            ("1", Add, "2", "3"),
            ("0.1", Add, "0.2", "0.30000000000000004"),
            ("1.5", Add, "1.5", "3"),
            ("9223372036854775806", Add, "1", "9223372036854775807"),
            ("1", Subtract, "2.5", "-1.5"),
            ("6", Divide, "3", "2"),
            ("1", Divide, "3", "0.3333333333333333"),
            ("1500", Divide, "1000", "1.5"),
            ("7", Remainder, "3", "1"),
            ("-7", Remainder, "3", "-1"),
            ("1e300", Multiply, "2", "2e300"),
            ("18446744073709551615", Add, "0", "1.8446744073709552e19"),
            ("-9223372036854775808", Remainder, "-1", "0"),
        ] {
            assert_eq!(apply(one, operator, other).as_deref(), Ok(expected), "{one} {operator:?} {other}");
        }
        for (one, operator, other) in [
            ("9223372036854775807", Add, "1"),
            ("-9223372036854775808", Divide, "-1"),
            ("1", Divide, "0"),
            ("1.5", Remainder, "0"),
            ("1e308", Multiply, "10"),
        ] {
            assert!(apply(one, operator, other).is_err(), "{one} {operator:?} {other}");
        }
        for text in ["", "01", "1x", "+1", "inf", "NaN", "1_0", " 1", "1e999"] {
            assert_eq!(Num::parse(text.as_bytes()), None, "{text}");
        }
    }
}
