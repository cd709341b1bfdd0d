//! How a time may be written.

use crate::time::{Clock, clf, iso8601, rfc3164, rfc3339, unix};
use jiff::Timestamp;
use jiff::civil;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One way of writing a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-23T10:00:00.123Z` (RFC 3339).
    Rfc3339,
    /// That, and its looser kin: see [`iso8601`].
    Iso8601,
    /// Seconds since 1970, perhaps with a fraction.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// Nanoseconds since 1970.
    UnixNs,
    /// `Mon, 23 Nov 2026 10:00:00 +0000` (RFC 2822, RFC 9110).
    Rfc2822,
    /// `Nov 23 10:00:00` (RFC 3164).
    Rfc3164,
    /// `23/Nov/2026:10:00:00 +0000`, as web servers write it.
    Clf,
    /// As strptime(3) reads it.
    Pattern(Box<str>),
}

/// The words of the config.
const WORDS: [(&str, TimeFormat); 9] = [
    ("rfc3339", TimeFormat::Rfc3339),
    ("iso8601", TimeFormat::Iso8601),
    ("unix", TimeFormat::Unix),
    ("unix_ms", TimeFormat::UnixMs),
    ("unix_us", TimeFormat::UnixUs),
    ("unix_ns", TimeFormat::UnixNs),
    ("rfc2822", TimeFormat::Rfc2822),
    ("rfc3164", TimeFormat::Rfc3164),
    ("clf", TimeFormat::Clf),
];

impl TimeFormat {
    /// The format that `text` names, or the pattern it is.
    ///
    /// Errors: neither, or a pattern by which no time can be read.
    pub fn compile(text: &str) -> Result<TimeFormat, String> {
        if let Some((_, format)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(format.clone());
        }
        if !text.contains('%') {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            return Err(format!(
                "expected one of {}, or a pattern such as `%Y-%m-%d %H:%M:%S`",
                words.join(", ")
            ));
        }
        // What can be written and read back says enough of a time, and has nothing in it that only one of them knows.
        let sample = civil::date(2026, 11, 23).at(10, 30, 15, 0).to_zoned(TimeZone::UTC);
        let sample = sample.map_err(|error| error.to_string())?;
        let written = strtime::format(text, &sample).map_err(|error| format!("not a pattern: {error}"))?;
        let read = BrokenDownTime::parse(text, &written)
            .map_err(|error| format!("times cannot be read by this pattern: {error}"))?;
        let now = sample.timestamp().as_nanosecond() as i64;
        match time_of(&read, &Clock::new(TimeZone::UTC, now)) {
            Some(_) => Ok(TimeFormat::Pattern(text.into())),
            None => Err("the pattern does not say which day".into()),
        }
    }

    /// As it is written in the config.
    pub fn text(&self) -> &str {
        match self {
            TimeFormat::Pattern(pattern) => pattern,
            format => WORDS.iter().find(|(_, known)| known == format).map_or("", |(word, _)| word),
        }
    }

    /// The time that is the whole of `text`, in nanoseconds since 1970; `clock` knows what it leaves out.
    #[inline]
    pub fn read(&self, text: &[u8], clock: &Clock) -> Option<i64> {
        match self {
            TimeFormat::Rfc3339 => rfc3339(text),
            TimeFormat::Iso8601 => iso8601(text, clock),
            TimeFormat::Unix => unix(text, 1_000_000_000),
            TimeFormat::UnixMs => unix(text, 1_000_000),
            TimeFormat::UnixUs => unix(text, 1_000),
            TimeFormat::UnixNs => unix(text, 1),
            TimeFormat::Rfc2822 => {
                const PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();
                nanos(PARSER.parse_timestamp(text).ok()?)
            }
            TimeFormat::Rfc3164 => {
                rfc3164(text, clock).filter(|(_, len)| *len == text.len()).map(|(time, _)| time)
            }
            TimeFormat::Clf => clf(text),
            TimeFormat::Pattern(pattern) => time_of(&BrokenDownTime::parse(&**pattern, text).ok()?, clock),
        }
    }
}

fn time_of(read: &BrokenDownTime, clock: &Clock) -> Option<i64> {
    if read.offset().is_some() || read.timestamp().is_some() {
        return nanos(read.to_timestamp().ok()?);
    }
    if read.iana_time_zone().is_some() {
        return nanos(read.to_zoned().ok()?.timestamp());
    }
    match read.to_date() {
        Ok(date) => clock.at(date.to_datetime(read.to_time().ok()?)),
        // Only the year may be missing.
        Err(_) => clock.at_without_year(read.month()?, read.day()?, read.to_time().ok()?),
    }
}

/// `None` before 1677 and after 2262, which 64 bits of nanoseconds cannot tell.
fn nanos(time: Timestamp) -> Option<i64> {
    time.as_nanosecond().try_into().ok()
}

impl Serialize for TimeFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for TimeFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TimeFormat::compile(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock() -> Clock {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Clock::new(zone, 1_795_428_000_000_000_000)
    }

    fn read(format: &str, text: &str) -> Option<String> {
        let time = TimeFormat::compile(format).unwrap().read(text.as_bytes(), &clock())?;
        Some(Timestamp::from_nanosecond(time.into()).unwrap().to_string())
    }

    #[test]
    fn every_format_reads_what_it_is_called_after() {
        for (format, text, expected) in [
            ("rfc3339", "2026-11-23T10:00:00.5+01:00", "2026-11-23T09:00:00.5Z"),
            ("iso8601", "2026-11-23 10:00:00,5", "2026-11-23T09:00:00.5Z"),
            ("unix", "1795428000.25", "2026-11-23T10:00:00.25Z"),
            ("unix_ms", "1795428000250", "2026-11-23T10:00:00.25Z"),
            ("unix_us", "1795428000250000", "2026-11-23T10:00:00.25Z"),
            ("unix_ns", "1795428000250000000", "2026-11-23T10:00:00.25Z"),
            ("rfc2822", "Mon, 23 Nov 2026 10:00:00 +0100", "2026-11-23T09:00:00Z"),
            ("rfc2822", "Mon, 23 Nov 2026 10:00:00 GMT", "2026-11-23T10:00:00Z"),
            ("rfc3164", "Nov 23 10:00:00", "2026-11-23T09:00:00Z"),
            ("clf", "23/Nov/2026:10:00:00 +0100", "2026-11-23T09:00:00Z"),
            ("%Y/%m/%d %H:%M:%S%.f", "2026/11/23 10:00:00.25", "2026-11-23T09:00:00.25Z"),
            ("%d.%m.%Y %I:%M %p", "23.11.2026 10:00 PM", "2026-11-23T21:00:00Z"),
            ("%Y-%m-%dT%H:%M:%S%z", "2026-11-23T10:00:00-0500", "2026-11-23T15:00:00Z"),
            ("%b %d %H:%M:%S", "Nov 23 10:00:00", "2026-11-23T09:00:00Z"),
            ("%b %d %H:%M:%S", "Dec 23 10:00:00", "2025-12-23T09:00:00Z"),
            ("%Y-%m-%d", "2026-11-23", "2026-11-22T23:00:00Z"),
            ("%s", "1795428000", "2026-11-23T10:00:00Z"),
            ("%Y-%j", "2026-327", "2026-11-22T23:00:00Z"),
        ] {
            assert_eq!(read(format, text).as_deref(), Some(expected), "{format} {text}");
            assert_eq!(read(format, &format!("{text}!")), None, "{format} reads the whole");
            assert_eq!(read(format, ""), None, "{format}");
        }
    }

    #[test]
    fn a_pattern_by_which_no_time_can_be_read_is_refused_when_the_config_is() {
        for (text, expected) in [
            ("rfc1234", "expected one of rfc3339, iso8601, unix"),
            ("%H:%M:%S", "does not say which day"),
            ("%Y-%m-%d %E", "not a pattern"),
            ("%Y-%m-%d %Z", "cannot be read"),
        ] {
            let error = TimeFormat::compile(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_another_writes_in_each_format_is_read_back(second in -2_000_000_000..4_000_000_000_i64) {
            let time = Timestamp::from_second(second).unwrap();
            let zoned = time.to_zoned(TimeZone::fixed(jiff::tz::Offset::constant(5)));
            let rfc2822 = rfc2822::DateTimePrinter::new().zoned_to_string(&zoned).unwrap();
            for (format, text) in [
                ("rfc3339", time.to_string()),
                ("iso8601", zoned.strftime("%Y-%m-%d %H:%M:%S%z").to_string()),
                ("unix", second.to_string()),
                ("rfc2822", rfc2822),
                ("clf", zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()),
                ("%A %d %B %Y %T %:z", zoned.strftime("%A %d %B %Y %T %:z").to_string()),
            ] {
                prop_assert_eq!(read(format, &text), Some(time.to_string()), "{} {}", format, text);
            }
        }

        #[test]
        fn any_text_is_read_or_not_but_never_breaks_anything(text in prop::collection::vec(any::<u8>(), 0..40)) {
            for (_, format) in WORDS {
                format.read(&text, &clock());
            }
            TimeFormat::Pattern("%Y-%m-%d %H:%M:%S%.f %z".into()).read(&text, &clock());
        }
    }
}
