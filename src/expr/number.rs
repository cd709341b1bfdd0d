//! Decimal numbers of any length, compared by value and exactly: no double stands between 9007199254740993 and its
//! neighbour, or between 0.1 and 1e-1.

use std::cmp::Ordering;

/// A number as JSON writes it (RFC 8259 section 6), taken apart where it stands.
///
/// Its value is 0.DIGITS times ten to the power of `point`, where DIGITS are those of `whole` and `fraction` without
/// zeros at either end.
#[derive(Clone, Copy, Debug)]
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    point: i64,
}

impl<'a> Decimal<'a> {
    /// Takes `raw` apart; `None` if it is no number.
    fn parse(raw: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match raw.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, raw),
        };
        let (whole, rest) = rest.split_at(digits(rest));
        if whole.is_empty() || whole.len() > 1 && whole[0] == b'0' {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => rest.split_at(Some(digits(rest)).filter(|count| *count > 0)?),
            None => (&rest[..0], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => power(exponent)?,
            _ => return None,
        };
        Some(Decimal::trimmed(negative, whole, fraction, exponent))
    }

    fn trimmed(negative: bool, whole: &'a [u8], fraction: &'a [u8], exponent: i64) -> Self {
        let mut point = exponent.saturating_add(whole.len() as i64);
        let (mut whole, mut fraction) = (whole, fraction);
        // No digit but zeros behind it: 1.50 is 1.5, and 10 is 1 with its point moved.
        fraction =
            &fraction[..fraction.len() - fraction.iter().rev().take_while(|digit| **digit == b'0').count()];
        if fraction.is_empty() {
            whole = &whole[..whole.len() - whole.iter().rev().take_while(|digit| **digit == b'0').count()];
        }
        // None before it: 0.05 is 5 with its point moved.
        if whole == b"0" {
            (whole, point) = (&[], point.saturating_sub(1));
        }
        if whole.is_empty() {
            let zeros = fraction.iter().take_while(|digit| **digit == b'0').count();
            (fraction, point) = (&fraction[zeros..], point.saturating_sub(zeros as i64));
        }
        Decimal { negative, whole, fraction, point }
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    fn compare(&self, other: &Decimal<'_>) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return if other.negative { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if self.negative { Ordering::Less } else { Ordering::Greater },
            (false, false) => {}
        }
        match (self.negative, other.negative) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.compare_size(other),
            (true, true) => other.compare_size(self),
        }
    }

    fn compare_size(&self, other: &Decimal<'_>) -> Ordering {
        let digits = |of: &Decimal<'a>| of.whole.iter().chain(of.fraction);
        self.point.cmp(&other.point).then_with(|| digits(self).cmp(other.whole.iter().chain(other.fraction)))
    }
}

/// How many digits `text` begins with.
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The power behind an `e`. Beyond what an entry could write out all are alike, so that they need no more than 64 bits.
fn power(text: &[u8]) -> Option<i64> {
    const MOST: i64 = 1 << 60;
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest.is_empty() || digits(rest) < rest.len() {
        return None;
    }
    let add = |sum: i64, digit: &u8| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    let size = rest.iter().fold(0, add).min(MOST);
    Some(if negative { -size } else { size })
}

/// A whole number of at most 18 digits: what nearly all are, and quick to compare.
pub fn small(raw: &[u8]) -> Option<i64> {
    let (negative, rest) = match raw {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if rest.is_empty() || rest.len() > 18 || rest.len() > 1 && rest[0] == b'0' {
        return None;
    }
    let mut sum = 0;
    for byte in rest {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum = sum * 10 + i64::from(byte - b'0');
    }
    Some(if negative { -sum } else { sum })
}

/// A number of a condition.
#[derive(Clone, Debug)]
pub struct Number {
    written: Box<[u8]>,
    small: Option<i64>,
}

impl Number {
    /// Reads `text`; `None` if it is no number as JSON writes them.
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text.as_bytes())?;
        Some(Number { written: text.as_bytes().into(), small: small(text.as_bytes()) })
    }

    /// Whether `raw` is a number as JSON writes them.
    pub fn is_one(raw: &[u8]) -> bool {
        Decimal::parse(raw).is_some()
    }

    /// How the numbers written as `one` and `other` compare; `None` if one of them is none.
    pub fn compare_written(one: &[u8], other: &[u8]) -> Option<Ordering> {
        match (small(one), small(other)) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => Some(Decimal::parse(one)?.compare(&Decimal::parse(other)?)),
        }
    }

    /// How the number written as `raw` compares with this one; `None` if that is no number.
    pub fn compare(&self, raw: &[u8]) -> Option<Ordering> {
        if let Some(own) = self.small
            && let Some(theirs) = small(raw)
        {
            return Some(theirs.cmp(&own));
        }
        Some(Decimal::parse(raw)?.compare(&Decimal::parse(&self.written)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare(theirs: &str, ours: &str) -> Option<Ordering> {
        Number::parse(ours).unwrap().compare(theirs.as_bytes())
    }

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        for row in [
            &["500", "5e2", "500.0", "5E+2", "0.5e3", "50000e-2", "500.000"][..],
            &["0", "-0", "0.0", "0e9", "-0.00e-7"],
            &["0.1", "1e-1", "0.10", "100e-3"],
            &["-12.5", "-125e-1", "-0.125e2"],
            &["1e400", "10e399", "1e+400"],
        ] {
            for (one, other) in row.iter().flat_map(|one| row.iter().map(move |other| (one, other))) {
                assert_eq!(compare(one, other), Some(Ordering::Equal), "{one} {other}");
            }
        }
    }

    #[test]
    fn numbers_doubles_cannot_tell_apart_are_told_apart() {
        let rows = [
            ("-1e400", "-12.5"),
            ("-12.5", "-12.4999999999999999999999"),
            ("-1", "-0.5"),
            ("-0.5", "0"),
            ("0", "1e-400"),
            ("1e-400", "0.1"),
            ("0.1", "0.10000000000000000000000001"),
            ("9007199254740992", "9007199254740993"),
            ("999999999999999999", "1000000000000000000"),
            ("18446744073709551615", "18446744073709551616"),
            ("1e400", "2e400"),
        ];
        for (less, more) in rows {
            assert_eq!(compare(less, more), Some(Ordering::Less), "{less} {more}");
            assert_eq!(compare(more, less), Some(Ordering::Greater), "{more} {less}");
        }
    }

    #[test]
    fn what_is_no_number_compares_with_none() {
        for text in
            ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "1 ", "1_0", "NaN", "--1", "1.5.5", "1e1e1"]
        {
            assert!(Number::parse(text).is_none() && compare(text, "1").is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_compare_as_their_values(
            (a, b) in (-99_999..99_999_i64, -99_999..99_999_i64), (e, f) in (-6..6_i32, -6..6_i32), (y, z) in (0..3_usize, 0..3_usize),
        ) {
            // With zeros at the end and the point moved back, and scaled to whole numbers to compare.
            let written = |n: i64, e: i32, zeros: usize| format!("{n}{}e{}", "0".repeat(zeros), e - zeros as i32);
            let value = |n: i64, e: i32| i128::from(n) * 10_i128.pow((e + 6) as u32);
            prop_assert_eq!(compare(&written(a, e, y), &written(b, f, z)), Some(value(a, e).cmp(&value(b, f))));
            let (a, b) = (format!("{a}.{y}"), format!("{b}.{z}"));
            prop_assert_eq!(compare(&a, &b), a.parse::<f64>().unwrap().partial_cmp(&b.parse::<f64>().unwrap()));
        }
    }
}
