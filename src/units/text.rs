//! Durations and sizes as text, both ways.

use std::time::Duration;

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
