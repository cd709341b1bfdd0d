//! Timestamps as they are written, to nanoseconds since 1970.
//!
//! By hand, as they are read for every entry: RFC 3339 and its looser kin of ISO 8601, the Common Log Format of web
//! servers, and the `Nov 23 10:00:00` of RFC 3164. What a form leaves out, the zone or the year, is added by a [`Clock`],
//! prepared once per block so that an entry costs only arithmetic.

use std::ops::Range;

use jiff::{Timestamp, civil, tz::TimeZone};

pub mod format;
pub mod zone;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Fills in what a timestamp leaves out: the year from the current time, the offset from the source's time zone.
///
/// The year is the latest that puts the stamp no more than a day ahead of now. That is the nearest one for anything
/// that may still be under way (a January stamp received on the last of December is from a clock ahead of ours, a
/// December one received in January was on its way), and never puts an entry into the future.
///
/// The offset that holds now is used for every stamp between the last and the next change of the zone's offset; stamps
/// elsewhere are looked up each (in the hour a zone repeats, the first is meant; in the one it skips, the offset
/// before it holds).
#[derive(Debug, Clone)]
pub struct Clock {
    zone: TimeZone,
    /// Now, in seconds of the zone's local time since 1970-01-01 00:00 local.
    now_local: i64,
    year: i64,
    /// Seconds east of UTC.
    offset: i64,
    /// When `offset` holds, in seconds since 1970, UTC.
    holds: Range<i64>,
    /// The local times it is the offset of, by the rule above.
    holds_local: Range<i64>,
}

impl Clock {
    /// A clock that stands at `now_ns` (nanoseconds since 1970, UTC) in `zone`.
    pub fn new(zone: TimeZone, now_ns: i64) -> Self {
        // Empty ranges: `set` fills them.
        let mut clock = Self { zone, now_local: 0, year: 1970, offset: 0, holds: 0..0, holds_local: 0..0 };
        clock.set(now_ns);
        clock
    }

    /// Moves the clock; to be called once per block. Asks the zone only when its offset may have changed.
    pub fn set(&mut self, now_ns: i64) {
        let now = now_ns.div_euclid(NANOS_PER_SECOND);
        if !self.holds.contains(&now) {
            self.learn_offset(now);
        }
        self.now_local = now + self.offset;
        self.year = year_of_day(self.now_local.div_euclid(SECONDS_PER_DAY));
    }

    fn learn_offset(&mut self, now: i64) {
        // Every i64 of nanoseconds is a valid `Timestamp`, so the fallbacks are never taken.
        let at = |second| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        let offset_at = |second| i64::from(self.zone.to_offset(at(second)).seconds());
        let offset = offset_at(now);
        // `preceding` looks before its argument; a change this very second has happened.
        let last = self.zone.preceding(at(now + 1)).next().map(|change| change.timestamp().as_second());
        let next = self.zone.following(at(now)).next().map(|change| change.timestamp().as_second());
        self.offset = offset;
        self.holds = last.unwrap_or(i64::MIN)..next.unwrap_or(i64::MAX);
        // What the clocks showed twice, or skipped, belongs to the offset before the change: at the beginning that
        // leaves the later of two local times, at the end this very offset.
        let first_local = last.map_or(i64::MIN, |last| last + offset.max(offset_at(last - 1)));
        self.holds_local = first_local..next.map_or(i64::MAX, |next| next + offset);
    }

    /// The time at which the zone's clocks show `local`, in nanoseconds since 1970.
    fn resolve(&self, local: Local) -> Option<i64> {
        let seconds = if self.holds_local.contains(&local.seconds) {
            local.seconds - self.offset
        } else {
            self.resolve_slowly(local.seconds)?
        };
        to_nanos(seconds, local.nanos)
    }

    #[cold]
    fn resolve_slowly(&self, seconds: i64) -> Option<i64> {
        let civil = civil::DateTime::new(1970, 1, 1, 0, 0, 0, 0).ok()?;
        let civil = civil.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()?;
        Some(self.zone.to_ambiguous_timestamp(civil).compatible().ok()?.as_second())
    }

    /// When the zone's clocks show `local`.
    pub fn at(&self, local: civil::DateTime) -> Option<i64> {
        let day = day_number(local.year().into(), local.month() as u8, local.day() as u8)?;
        let seconds = day * SECONDS_PER_DAY + second_of(local.time());
        self.resolve(Local { seconds, nanos: local.subsec_nanosecond().into() })
    }

    /// When the zone's clocks show `time` on this day of the year, in the year the rule above gives.
    pub fn at_without_year(&self, month: i8, day: i8, time: civil::Time) -> Option<i64> {
        let seconds = self.in_nearest_year(month as u8, day as u8, second_of(time))?;
        self.resolve(Local { seconds, nanos: time.subsec_nanosecond().into() })
    }

    /// The local time of a stamp without a year, in the year the rule above gives.
    fn in_nearest_year(&self, month: u8, day: u8, second_of_day: i64) -> Option<i64> {
        let latest = self.now_local + SECONDS_PER_DAY;
        // The next year can only be meant in the last hours of this one.
        let first = if month == 1 { self.year + 1 } else { self.year };
        // The 29th of February may be eight years back (1896 and 1904, or a sender's clock that is wrong).
        (first - 9..=first).rev().find_map(|year| {
            let seconds = day_number(year, month, day)? * SECONDS_PER_DAY + second_of_day;
            (seconds <= latest).then_some(seconds)
        })
    }
}

fn second_of(time: civil::Time) -> i64 {
    i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
}

/// A time as a clock on the wall shows it.
#[derive(Clone, Copy)]
struct Local {
    /// Since 1970-01-01 00:00 of the same clock.
    seconds: i64,
    nanos: i64,
}

/// An RFC 3339 timestamp that is the whole of `text`, as nanoseconds since 1970.
///
/// `T` and `Z` may be lower case; a fraction may have any number of digits, of which nine count. `None` for anything
/// else, for a value out of range (a leap second too, which RFC 5424, section 6.2.3.1, forbids) and for a time
/// that 64 bits of nanoseconds cannot tell (before 1677, after 2262).
#[inline]
pub fn rfc3339(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<11>()?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't'] = date else { return None };
    let year = i64::from(two(y1, y2)?) * 100 + i64::from(two(y3, y4)?);
    let day = day_number(year, two(m1, m2)?, two(d1, d2)?)?;
    let (second_of_day, rest) = time_of_day(rest)?;
    let (nanos, rest) = fraction(rest)?;
    let offset = match *rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => offset(sign, [h1, h2], [m1, m2])?,
        _ => return None,
    };
    to_nanos(day * SECONDS_PER_DAY + second_of_day - offset, nanos)
}

/// As [`rfc3339`], and what is written instead of it: a blank for the `T`, a comma before the fraction, an offset of
/// `+hhmm` or `+hh`, a blank before the offset, or no offset; then the time is local by `clock`.
#[inline]
pub fn iso8601(text: &[u8], clock: &Clock) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<11>()?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' '] = date else { return None };
    let year = i64::from(two(y1, y2)?) * 100 + i64::from(two(y3, y4)?);
    let day = day_number(year, two(m1, m2)?, two(d1, d2)?)?;
    let (second_of_day, rest) = time_of_day(rest)?;
    let (nanos, rest) = match rest {
        [b',', digits @ ..] => fraction_digits(digits)?,
        _ => fraction(rest)?,
    };
    let seconds = day * SECONDS_PER_DAY + second_of_day;
    let offset = match *rest.strip_prefix(b" ").unwrap_or(rest) {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            offset(sign, [h1, h2], [m1, m2])?
        }
        [sign @ (b'+' | b'-'), h1, h2] => offset(sign, [h1, h2], *b"00")?,
        [] if rest.is_empty() => return clock.resolve(Local { seconds, nanos }),
        _ => return None,
    };
    to_nanos(seconds - offset, nanos)
}

/// A time of the Common Log Format that is the whole of `text`: `10/Oct/2000:13:55:36 -0700`.
#[inline]
pub fn clf(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<12>()?;
    let &[d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':'] = date else { return None };
    let year = i64::from(two(y1, y2)?) * 100 + i64::from(two(y3, y4)?);
    let day = day_number(year, month_number([m1, m2, m3])?, two(d1, d2)?)?;
    let (second_of_day, rest) = time_of_day(rest)?;
    let [b' ', sign @ (b'+' | b'-'), h1, h2, m1, m2] = *rest else { return None };
    let offset = offset(sign, [h1, h2], [m1, m2])?;
    to_nanos(day * SECONDS_PER_DAY + second_of_day - offset, 0)
}

/// A local time that is the whole of `text`, as nginx writes it in its error log: `2026/11/23 10:00:00`.
#[inline]
pub fn slashed(text: &[u8], clock: &Clock) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<11>()?;
    let &[y1, y2, y3, y4, b'/', m1, m2, b'/', d1, d2, b' '] = date else { return None };
    let year = i64::from(two(y1, y2)?) * 100 + i64::from(two(y3, y4)?);
    let day = day_number(year, two(m1, m2)?, two(d1, d2)?)?;
    let (second_of_day, []) = time_of_day(rest)? else { return None };
    clock.resolve(Local { seconds: day * SECONDS_PER_DAY + second_of_day, nanos: 0 })
}

/// A count of `unit`s since 1970 that is the whole of `text`, perhaps with a fraction; `unit` is in nanoseconds.
#[inline]
pub fn unix(text: &[u8], unit: i64) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Twenty digits are beyond what nanoseconds can tell.
    if whole == 0 || whole > 20 {
        return None;
    }
    let count = digits[..whole].iter().fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    let (nanos, rest) = fraction(&digits[whole..])?;
    if !rest.is_empty() {
        return None;
    }
    // The fraction is in billionths of the unit.
    let nanos =
        count * i128::from(unit) + i128::from(nanos) * i128::from(unit) / i128::from(NANOS_PER_SECOND);
    i64::try_from(if negative { -nanos } else { nanos }).ok()
}

/// An offset in seconds.
#[inline]
fn offset(sign: u8, hours: [u8; 2], minutes: [u8; 2]) -> Option<i64> {
    let (hours, minutes) = (two(hours[0], hours[1])?, two(minutes[0], minutes[1])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
    Some(if sign == b'-' { -seconds } else { seconds })
}

/// An RFC 3164 timestamp at the start of `text`: its time and its length in bytes.
///
/// `Mmm dd hh:mm:ss`, where the day may be padded with a blank, a zero or not at all. Also understood: a fraction
/// behind the seconds, and a year of four digits before the time (`Nov 23 2026 10:00:00`) or behind it. `None` when
/// it is something else, or names a day or a time that does not exist.
#[inline]
pub fn rfc3164(text: &[u8], clock: &Clock) -> Option<(i64, usize)> {
    let (&[m1, m2, m3, b' '], rest) = text.split_first_chunk::<4>()? else { return None };
    let month = month_number([m1, m2, m3])?;
    let (day, rest) = match rest {
        [b' ', d, b' ', rest @ ..] | [d, b' ', rest @ ..] => (two(b'0', *d)?, rest),
        [d1, d2, b' ', rest @ ..] => (two(*d1, *d2)?, rest),
        _ => return None,
    };
    let (leading_year, rest) = match year(rest) {
        Some((year, [b' ', rest @ ..])) => (Some(year), rest),
        _ => (None, rest),
    };
    let (second_of_day, rest) = time_of_day(rest)?;
    let (nanos, rest) = fraction(rest)?;
    let (year, rest) = match rest {
        [b' ', behind @ ..] if leading_year.is_none() => match year(behind) {
            Some((year, rest)) if rest.starts_with(b" ") => (Some(year), rest),
            _ => (None, rest),
        },
        _ => (leading_year, rest),
    };
    let seconds = match year {
        Some(year) => day_number(year, month, day)? * SECONDS_PER_DAY + second_of_day,
        None => clock.in_nearest_year(month, day, second_of_day)?,
    };
    Some((clock.resolve(Local { seconds, nanos })?, text.len() - rest.len()))
}

/// A year of four digits that a log may be from. Not every four digits: hosts have such names.
#[inline]
fn year(text: &[u8]) -> Option<(i64, &[u8])> {
    let (&[y1, y2, y3, y4], rest) = text.split_first_chunk::<4>()?;
    let year = i64::from(two(y1, y2)?) * 100 + i64::from(two(y3, y4)?);
    (1970..2200).contains(&year).then_some((year, rest))
}

/// `hh:mm:ss` at the start of `text`, in seconds, and what follows.
#[inline]
fn time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (&[h1, h2, b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk::<8>()? else { return None };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second), rest))
}

/// A `.` and digits at the start of `text`, in nanoseconds, and what follows; zero if there is no `.`.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    fraction_digits(rest)
}

/// One or more digits at the start of `text`, as a fraction of a second in nanoseconds, and what follows.
#[inline]
fn fraction_digits(rest: &[u8]) -> Option<(i64, &[u8])> {
    let (mut nanos, mut unit, mut digits) = (0, NANOS_PER_SECOND, 0);
    while let Some(digit) = rest.get(digits).map(|b| b.wrapping_sub(b'0')).filter(|&d| d < 10) {
        unit /= 10;
        nanos += i64::from(digit) * unit;
        digits += 1;
    }
    (digits > 0).then_some((nanos, &rest[digits..]))
}

/// Two decimal digits.
#[inline]
fn two(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| tens * 10 + ones)
}

/// `Jan` to `Dec`, as 1 to 12.
#[inline]
fn month_number(name: [u8; 3]) -> Option<u8> {
    Some(match &name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// Days since 1970-01-01 of a day of the Gregorian calendar; `None` if it does not exist. Years 0 to 9999.
#[inline]
fn day_number(year: i64, month: u8, day: u8) -> Option<i64> {
    /// Days before each month of a year that is not a leap year, and the length of the month.
    #[rustfmt::skip]
    const MONTHS: [(u16, u8); 12] = [
        (0, 31), (31, 28), (59, 31), (90, 30), (120, 31), (151, 30),
        (181, 31), (212, 31), (243, 30), (273, 31), (304, 30), (334, 31),
    ];
    let (before, length) = *MONTHS.get(usize::from(month.wrapping_sub(1)))?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if day == 0 || day > length + u8::from(leap && month == 2) {
        return None;
    }
    // The leap days of all years that are over, with this one's once February is.
    let over = if month > 2 { year } else { year - 1 };
    let leap_days = over.div_euclid(4) - over.div_euclid(100) + over.div_euclid(400);
    // 719,528 is what the rest of this sum comes to on 1970-01-01.
    Some(year * 365 + leap_days + i64::from(before) + i64::from(day) - 719_528)
}

/// The year a day since 1970-01-01 is in.
fn year_of_day(days: i64) -> i64 {
    // At most one off, since 365.2425 days are the exact mean of the 400-year cycle.
    let guess = 1970 + (days * 400).div_euclid(146_097);
    let begins = |year| day_number(year, 1, 1).unwrap_or(0);
    if begins(guess + 1) <= days {
        guess + 1
    } else if begins(guess) > days {
        guess - 1
    } else {
        guess
    }
}

#[inline]
fn to_nanos(seconds: i64, nanos: i64) -> Option<i64> {
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ns(rfc3339: &str) -> i64 {
        rfc3339.parse::<Timestamp>().unwrap().as_nanosecond() as i64
    }

    #[test]
    fn rfc_3339_is_read_to_the_nanosecond() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1985-04-12T23:20:50.52Z",
            "1985-04-12T19:20:50.52-04:00",
            "1937-01-01T12:00:27.87+00:20",
            "2026-11-23T10:00:00.123456789+23:59",
            "2000-02-29T00:00:00-00:00",
            "1969-12-31T23:59:59.999999999Z",
            "1677-09-21T00:12:44Z",
            "2262-04-11T23:47:16.854775807Z",
        ] {
            assert_eq!(rfc3339(text.as_bytes()), Some(ns(text)), "{text}");
        }
        assert_eq!(
            rfc3339(b"2026-11-23t10:00:00.1234567891234567z"),
            Some(ns("2026-11-23T10:00:00.123456789Z"))
        );
    }

    #[test]
    fn what_is_not_rfc_3339_or_does_not_exist_is_none() {
        for text in [
            "",
            "-",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-11-23 10:00:00Z",
            "2026-11-23T10:00:00.Z",
            "2026-11-23T10:00Z",
            "2026-11-23T10:00:00Z ",
            "2026-00-23T10:00:00Z",
            "2026-13-23T10:00:00Z",
            "2026-11-00T10:00:00Z",
            "2026-11-31T10:00:00Z",
            "1900-02-29T10:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T23:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-11-23T10:00:00+24:00",
            "2026-11-23T10:00:00+99:00",
            "2026-11-23T10:00:00-99:00",
            "2026-11-23T10:00:00+00:60",
            "2026-11-23T10:00:00+0100",
            "2026-11-23T10:00:00+1:00",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "1677-09-21T00:12:43Z",
            "2262-04-11T23:47:16.854775808Z",
            "2262-04-12T00:00:00Z",
            "-026-11-23T10:00:00Z",
            "2026-11-23T1\0:00:00Z",
            "2026-1:-23T10:00:00Z",
        ] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_kin_of_rfc_3339_is_read_too_and_local_where_it_has_no_offset() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let clock = Clock::new(zone, ns("2026-11-23T10:00:00Z"));
        for (text, expected) in [
            ("2026-11-23 10:00:00,123", "2026-11-23T09:00:00.123Z"),
            ("2026-07-23T10:00:00.5", "2026-07-23T08:00:00.5Z"),
            ("2026-11-23 10:00:00 +0530", "2026-11-23T04:30:00Z"),
            ("2026-11-23T10:00:00-07", "2026-11-23T17:00:00Z"),
            ("2026-11-23 10:00:00Z", "2026-11-23T10:00:00Z"),
            ("2026-11-23T10:00:00.25+01:00", "2026-11-23T09:00:00.25Z"),
        ] {
            assert_eq!(iso8601(text.as_bytes(), &clock), Some(ns(expected)), "{text}");
        }
        for text in [
            "2026-11-23",
            "2026-11-23 10:00",
            "2026-11-23 10:00:00 ",
            "2026-11-23 10:00:00,",
            "2026-11-23 10:00:00 UTC",
        ] {
            assert_eq!(iso8601(text.as_bytes(), &clock), None, "{text}");
        }
        assert_eq!(slashed(b"2026/11/23 10:00:00", &clock), Some(ns("2026-11-23T09:00:00Z")));
        assert_eq!(slashed(b"2026/11/23 10:00:00.1", &clock), None);
        assert_eq!(clf(b"10/Oct/2000:13:55:36 -0700"), Some(ns("2000-10-10T20:55:36Z")));
        for text in
            [&b"10/Oct/2000:13:55:36"[..], b"10/oct/2000:13:55:36 +0000", b"31/Feb/2000:13:55:36 +0000", b""]
        {
            assert_eq!(clf(text), None);
        }
    }

    #[test]
    fn counts_since_1970_may_have_a_sign_and_a_fraction_but_nothing_else() {
        let second = NANOS_PER_SECOND;
        for (text, unit, expected) in [
            ("0", second, Some(0)),
            ("1795428000", second, Some(1_795_428_000_000_000_000)),
            ("1795428000.123456789", second, Some(1_795_428_000_123_456_789)),
            ("-1.5", second, Some(-1_500_000_000)),
            ("1795428000123", 1_000_000, Some(1_795_428_000_123_000_000)),
            ("1795428000123.25", 1_000_000, Some(1_795_428_000_123_250_000)),
            ("1795428000123456", 1_000, Some(1_795_428_000_123_456_000)),
            ("9223372036854775807", 1, Some(i64::MAX)),
            ("9223372036854775808", 1, None),
            ("-9223372036854775808", 1, Some(i64::MIN)),
            ("9223372037", second, None),
            ("99999999999999999999", second, None),
            ("999999999999999999999", 1, None),
        ] {
            assert_eq!(unix(text.as_bytes(), unit), expected, "{text}");
        }
        for text in ["", "-", "+1", "1.", ".5", "1e9", " 1", "1 ", "0x1", "1.5.5"] {
            assert_eq!(unix(text.as_bytes(), second), None, "{text}");
        }
    }

    #[test]
    fn the_year_is_the_latest_that_is_not_a_day_ahead() {
        for (now, stamp, expected) in [
            ("2026-11-23T10:00:00Z", "Nov 23 10:00:00", "2026-11-23T10:00:00Z"),
            ("2026-11-23T10:00:00Z", "Nov 24 10:00:00", "2026-11-24T10:00:00Z"),
            ("2026-11-23T10:00:00Z", "Nov 24 10:00:01", "2025-11-24T10:00:01Z"),
            ("2026-11-23T10:00:00Z", "Jan  1 00:00:00", "2026-01-01T00:00:00Z"),
            ("2026-12-31T23:59:00Z", "Jan  1 00:00:10", "2027-01-01T00:00:10Z"),
            ("2026-12-30T23:59:00Z", "Jan  1 00:00:10", "2026-01-01T00:00:10Z"),
            ("2027-01-01T00:01:00Z", "Dec 31 23:59:59", "2026-12-31T23:59:59Z"),
            ("2026-03-01T00:01:00Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z"),
            ("2028-02-28T13:00:00Z", "Feb 29 12:00:00", "2028-02-29T12:00:00Z"),
            ("2104-01-01T00:01:00Z", "Feb 29 12:00:00", "2096-02-29T12:00:00Z"),
        ] {
            let clock = Clock::new(TimeZone::UTC, ns(now));
            assert_eq!(rfc3164(stamp.as_bytes(), &clock), Some((ns(expected), 15)), "{stamp} received {now}");
        }
    }

    #[test]
    fn a_stamp_from_before_a_change_of_the_offset_gets_the_offset_of_its_own_day() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let clock = Clock::new(zone, ns("2026-11-23T10:00:00Z"));
        for (stamp, expected) in [
            ("Nov 23 11:00:00", "2026-11-23T10:00:00Z"),
            ("Jul 23 11:00:00", "2026-07-23T09:00:00Z"),
            ("Oct 25 01:59:59", "2026-10-24T23:59:59Z"),
            // Twice in that night: the first is meant.
            ("Oct 25 02:30:00", "2026-10-25T00:30:00Z"),
            ("Oct 25 03:00:00", "2026-10-25T02:00:00Z"),
            // Not at all in that one: read on, as if the clock had not been moved.
            ("Mar 29 02:30:00", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(rfc3164(stamp.as_bytes(), &clock), Some((ns(expected), 15)), "{stamp}");
        }
    }

    #[test]
    fn every_day_of_nine_centuries_has_its_number() {
        let mut day = civil::date(1600, 1, 1);
        let mut number = -135_140;
        while day.year() < 2500 {
            let found = day_number(day.year().into(), day.month() as u8, day.day() as u8);
            assert_eq!((found, year_of_day(number)), (Some(number), day.year().into()), "{day}");
            (day, number) = (day.tomorrow().unwrap(), number + 1);
        }
        assert_eq!(day_number(0, 1, 1), Some(-719_528));
        assert_eq!(day_number(0, 2, 29), Some(-719_469));
        assert_eq!(day_number(2023, 2, 29), None);
    }

    fn zone() -> impl Strategy<Value = TimeZone> {
        prop::sample::select(vec![
            "UTC0",
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "EST5EDT,M3.2.0,M11.1.0",
            "LHST-10:30LHDT-11,M10.1.0,M4.1.0",
            "IST-1GMT0,M10.5.0,M3.5.0/1",
            "NZST-12NZDT,M9.5.0,M4.1.0/3",
            "XYZ9:59:59",
        ])
        .prop_map(|posix| TimeZone::posix(posix).unwrap())
    }

    proptest! {
        #[test]
        fn a_clock_resolves_a_local_time_as_its_zone_does(
            zone in zone(),
            now in 1_600_000_000..2_000_000_000i64,
            later in 0..200 * SECONDS_PER_DAY,
            stamp in 1_600_000_000..2_000_000_000i64,
        ) {
            let mut clock = Clock::new(zone.clone(), now * NANOS_PER_SECOND);
            clock.set((now + later) * NANOS_PER_SECOND);
            let fresh = Clock::new(zone.clone(), (now + later) * NANOS_PER_SECOND);
            for seconds in [stamp, now, now + later, clock.holds_local.start, clock.holds_local.end - 1, clock.holds_local.end] {
                let Ok(at) = Timestamp::from_second(seconds) else { continue };
                let local = TimeZone::UTC.to_datetime(at);
                let expected = zone.to_ambiguous_timestamp(local).compatible().unwrap().as_nanosecond() as i64;
                prop_assert_eq!(clock.resolve(Local { seconds, nanos: 0 }), Some(expected));
            }
            prop_assert_eq!(format!("{clock:?}"), format!("{fresh:?}"));
        }

        #[test]
        fn a_timestamp_written_by_another_is_read_back(ns: i64) {
            let text = Timestamp::from_nanosecond(ns.into()).unwrap().to_string();
            prop_assert_eq!(rfc3339(text.as_bytes()), Some(ns));
        }
    }
}
