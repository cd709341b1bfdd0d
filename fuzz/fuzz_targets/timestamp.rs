//! Any text, at any time, in any zone of a fixed offset: each format reads it or not, and what is read as RFC 3339, as a
//! count or by a pattern is what jiff, or arithmetic, makes of it.
#![no_main]

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use libfuzzer_sys::fuzz_target;
use ringmain::time::Clock;
use ringmain::time::format::TimeFormat;
use std::sync::LazyLock;

static FORMATS: LazyLock<Vec<TimeFormat>> = LazyLock::new(|| {
    let words = ["rfc3339", "iso8601", "unix", "unix_ms", "unix_us", "unix_ns", "rfc2822", "rfc3164", "clf"];
    let patterns = ["%Y-%m-%d %H:%M:%S%.f", "%d/%b/%Y:%H:%M:%S %z", "%b %d %H:%M:%S", "%s"];
    words.iter().chain(&patterns).map(|text| TimeFormat::compile(text).expect("a format")).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((now, rest)) = data.split_first_chunk::<8>() else { return };
    let Some((offset, text)) = rest.split_first_chunk::<4>() else { return };
    let Ok(zone) = Offset::from_seconds(i32::from_le_bytes(*offset) % 93_600) else { return };
    let clock = Clock::new(TimeZone::fixed(zone), i64::from_le_bytes(*now));
    for format in FORMATS.iter() {
        let Some(time) = format.read(text, &clock) else { continue };
        // The comments of RFC 2822 may hold anything.
        let Ok(text) = std::str::from_utf8(text) else { continue };
        match format {
            // Whole and fraction by themselves, as an integer each.
            TimeFormat::UnixNs if !text.contains('.') => assert_eq!(text.parse(), Ok(time)),
            TimeFormat::UnixMs if !text.contains('.') => {
                assert_eq!(text.parse::<i128>().map(|count| count * 1_000_000), Ok(i128::from(time)));
            }
            TimeFormat::Rfc3339 => {
                let theirs: Timestamp = text.parse().expect("jiff reads RFC 3339");
                assert_eq!(theirs.as_nanosecond(), i128::from(time));
                assert_eq!(TimeFormat::Iso8601.read(text.as_bytes(), &clock), Some(time));
            }
            // The same form by hand and by strptime; a pattern's `%b` and numbers are read more loosely.
            TimeFormat::Clf => {
                let pattern = TimeFormat::Pattern("%d/%b/%Y:%H:%M:%S %z".into());
                assert_eq!(pattern.read(text.as_bytes(), &clock), Some(time));
            }
            _ => {}
        }
    }
});
