//! When a file is rotated, and what it is called afterwards.
//!
//! `app.log` becomes `app.log-20261123T140000`, by the UTC time of its rotation, in the same directory: one rename, and
//! no other name moves. What is rotated within the same second gets `.1`, `.2`, ... behind that. Compressing adds `.gz` or
//! `.zst`; while it is under way there is a `.tmp` behind it. The names of a file that is rotated sort by age.
//!
//! Not here: doing it (see `handles`), and what becomes of rotated files (see `keep`).

use crate::clock::UnixNanos;
use crate::sinks::format::civil;
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Bytes of `-20261123T140000`.
const STAMP_LEN: usize = 16;
/// What may stand behind the name of a file that is compressed and not finished.
const TEMP: &str = ".tmp";
/// Most files of one name that are rotated within a second.
pub(super) const NUMBER_MAX: u32 = 9999;

/// When files are rotated, and which rotated ones are kept. All keys are off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotateConfig {
    /// A file is rotated before a batch that would make it larger than this. Only what one batch brings for one file
    /// is never spread over two, so a file can be larger if a batch is.
    #[serde(with = "units::size_or_off")]
    pub max_size: Option<usize>,
    /// A file is rotated when a period of this length ends. Periods are counted from midnight UTC; those of whole weeks
    /// from Monday.
    #[serde(with = "units::duration_or_off")]
    pub every: Option<Duration>,
    /// How many rotated files of one name are kept; the oldest go first.
    #[serde(with = "units::count_or_off")]
    pub keep: Option<usize>,
    /// Rotated files go when their rotation is longer ago than this.
    #[serde(with = "units::duration_or_off")]
    pub max_age: Option<Duration>,
    /// How rotated files are compressed.
    pub compress: Compress,
}

/// How rotated files are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compress {
    /// Not at all.
    #[default]
    None,
    /// As gzip does it (RFC 1952), at its usual level.
    Gzip,
    /// As Zstandard (RFC 8878), at its usual level: smaller and several times faster.
    Zstd,
}

impl Compress {
    /// What it puts behind a name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Compress::None => "",
            Compress::Gzip => ".gz",
            Compress::Zstd => ".zst",
        }
    }
}

impl RotateConfig {
    /// Whether a file of `len` bytes that was last written at `written` is to be rotated before `more` bytes are added
    /// to it at `now`.
    pub(super) fn is_due(&self, len: u64, more: u64, written: UnixNanos, now: UnixNanos) -> bool {
        // What is empty says nothing, whatever its age.
        let too_large = self.max_size.is_some_and(|max| len + more > max as u64);
        len > 0 && (too_large || self.is_over(written, now))
    }

    /// Whether the period in which a file was `written` is over.
    pub(super) fn is_over(&self, written: UnixNanos, now: UnixNanos) -> bool {
        self.period(written) < self.period(now)
    }

    /// The period that `time` lies in, or 0 if there are none.
    pub(super) fn period(&self, time: UnixNanos) -> i64 {
        let Some(every) = self.every else { return 0 };
        let every = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX).max(1);
        // The epoch was a Thursday: three days behind a Monday.
        let offset = if every % (7 * DAY) == 0 { 3 * DAY } else { 0 };
        time.saturating_add(offset).div_euclid(every)
    }

    /// Whether anything is ever to be done to rotated files.
    pub(super) fn tends_rotated(&self) -> bool {
        self.keep.is_some() || self.max_age.is_some() || self.compress != Compress::None
    }
}

/// What a file that is rotated at `now` is called; `number` tells several of the same second apart.
pub(super) fn rotated_name(live: &str, now: UnixNanos, number: u32) -> String {
    let (day, second) = (now.div_euclid(DAY), now.rem_euclid(DAY) / SECOND);
    let (year, month, date) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let number = if number == 0 { String::new() } else { format!(".{number}") };
    format!("{live}-{year:04}{month:02}{date:02}T{hour:02}{minute:02}{second:02}{number}")
}

/// A name that rotation gave, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotated<'a> {
    /// What it was called before.
    pub live: &'a str,
    /// When it was rotated, to the second.
    pub at: UnixNanos,
    /// Which of those of the same second.
    pub number: u32,
    pub compress: Compress,
    /// Whether it is not finished.
    pub temp: bool,
}

impl<'a> Rotated<'a> {
    /// Takes `name` apart, or `None` if rotation gives no such names.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        // Nearly all names end in something else: seen at the first glance.
        if !name.ends_with(|end: char| end.is_ascii_digit() || end == 'z' || end == 't' || end == 'p') {
            return None;
        }
        let (rest, temp) = name.strip_suffix(TEMP).map_or((name, false), |rest| (rest, true));
        let packed = [Compress::Gzip, Compress::Zstd]
            .into_iter()
            .find_map(|compress| Some((rest.strip_suffix(compress.suffix())?, compress)));
        let (rest, compress) = packed.unwrap_or((rest, Compress::None));
        if temp && compress == Compress::None {
            return None;
        }
        let (rest, number) = match rest.rsplit_once('.') {
            Some((rest, digits)) if is_number(digits) && ends_in_stamp(rest) => (rest, digits.parse().ok()?),
            _ => (rest, 0),
        };
        let (live, stamp) = rest.split_at_checked(rest.len().checked_sub(STAMP_LEN)?)?;
        if live.is_empty() {
            return None;
        }
        Some(Rotated { live, at: parse_stamp(stamp)?, number, compress, temp })
    }
}

fn is_number(digits: &str) -> bool {
    digits.len() <= 4 && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn ends_in_stamp(name: &str) -> bool {
    let at = name.len().checked_sub(STAMP_LEN);
    at.and_then(|at| name.get(at..)).is_some_and(|stamp| parse_stamp(stamp).is_some())
}

/// The time that `-20261123T140000` says.
fn parse_stamp(stamp: &str) -> Option<UnixNanos> {
    let (date, time) = stamp.strip_prefix('-')?.split_once('T')?;
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let time = jiff::civil::DateTime::strptime("-%Y%m%dT%H%M%S", stamp).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    time.as_second().checked_mul(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: UnixNanos = 1_795_442_400 * SECOND;

    #[test]
    fn a_rotated_file_has_the_time_of_its_rotation_behind_its_name() {
        assert_eq!(rotated_name("a.log", AT, 0), "a.log-20261123T140000");
        assert_eq!(rotated_name("a.log", AT + SECOND - 1, 12), "a.log-20261123T140000.12");
        let parsed = |name| {
            Rotated::parse(name).map(|name| (name.live, name.number, name.compress.suffix(), name.temp))
        };
        for (name, expected) in [
            ("a.log-20261123T140000", Some(("a.log", 0, "", false))),
            ("a.log-20261123T140000.12", Some(("a.log", 12, "", false))),
            ("a.log-20261123T140000.zst", Some(("a.log", 0, ".zst", false))),
            ("a.log-20261123T140000.3.gz", Some(("a.log", 3, ".gz", false))),
            ("a.log-20261123T140000.3.gz.tmp", Some(("a.log", 3, ".gz", true))),
            ("a-20261122T140000-20261123T140000", Some(("a-20261122T140000", 0, "", false))),
            ("a.log-20261123T140000.tmp", None),
            ("a.log-20261123T140000.0", None),
            ("a.log-20261123T140000.10000", None),
            ("a.log-20261123T240000", None),
            ("a.log-20261323T140000", None),
            ("a.log-2026112é140000", None),
            ("a.log-20261123", None),
            ("-20261123T140000", None),
            ("é-20261123T140000.gz", Some(("é", 0, ".gz", false))),
            ("a.log.1", None),
            ("a.log.gz", None),
            ("a.log", None),
            ("", None),
        ] {
            assert_eq!(parsed(name), expected, "{name}");
        }
        assert_eq!(Rotated::parse("x-20261123T140000.7.gz").unwrap().at, AT);
    }

    #[test]
    fn a_file_is_due_when_it_would_be_too_large_or_its_period_is_over() {
        let size = RotateConfig { max_size: Some(100), ..RotateConfig::default() };
        assert!(!size.is_due(90, 10, 0, AT) && size.is_due(90, 11, 0, AT) && !size.is_due(0, 500, 0, AT));
        let hourly = RotateConfig { every: Some(Duration::from_secs(3600)), ..RotateConfig::default() };
        assert!(!hourly.is_due(1, 1, AT, AT + 3599 * SECOND) && hourly.is_due(1, 1, AT, AT + 3600 * SECOND));
        assert!(hourly.is_due(1, 1, AT - 1, AT) && !hourly.is_due(0, 1, AT - 1, AT));
        assert!(!hourly.is_due(1, 1, AT, AT - 5 * DAY), "a clock set back rotates nothing");
    }

    #[test]
    fn periods_begin_at_midnight_and_weeks_on_monday() {
        let first_of = |days: u64, time: UnixNanos| {
            let config =
                RotateConfig { every: Some(Duration::from_secs(days * 86_400)), ..RotateConfig::default() };
            (0..30 * DAY).step_by(DAY as usize).map(|back| time - back).find(|start| {
                config.period(*start) == config.period(time) && config.period(start - 1) < config.period(time)
            })
        };
        let midnight = AT - 14 * 3600 * SECOND;
        assert_eq!(first_of(1, midnight), Some(midnight));
        // 2026-11-23 is a Monday.
        assert_eq!(first_of(7, midnight), Some(midnight));
        assert_eq!(first_of(7, midnight + 6 * DAY), Some(midnight));
    }

    proptest! {
        #[test]
        fn names_of_rotation_are_read_back_and_sort_by_age(
            live in "[a-z.-]{1,10}", one in 0..4_000_000_000_i64, other in 0..4_000_000_000_i64, number in 0..9_u32,
        ) {
            let name = rotated_name(&live, one * SECOND, number);
            let read = Rotated::parse(&name).unwrap();
            prop_assert_eq!((read.live, read.at, read.number), (live.as_str(), one * SECOND, number));
            let second = rotated_name(&live, other * SECOND, number);
            prop_assert_eq!(name.cmp(&second), one.cmp(&other));
        }

        #[test]
        fn no_name_is_too_strange(name in "\\PC{0,20}(-[0-9]{8}T[0-9]{6})?(\\.[0-9]{0,5})?(\\.gz)?(\\.tmp)?") {
            if let Some(read) = Rotated::parse(&name) {
                let whole = rotated_name(read.live, read.at, read.number)
                    + read.compress.suffix() + if read.temp { TEMP } else { "" };
                prop_assert_eq!(whole, name);
            }
        }
    }
}
