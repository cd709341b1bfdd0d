//! Numbers in a few letters.

/// A number of something, in at most five letters.
pub fn count(number: f64) -> String {
    let (number, unit) = match number {
        n if n < 9_999.5 => (n, ""),
        n if n < 999_500.0 => (n / 1e3, "k"),
        n if n < 999_500_000.0 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    let decimals = match number {
        n if n == 0.0 || n >= 99.95 => 0,
        _ if unit.is_empty() && number.fract() == 0.0 => 0,
        n if n >= 9.995 => 1,
        _ if unit.is_empty() => 1,
        _ => 2,
    };
    format!("{number:.decimals$}{unit}")
}

/// Bytes that move or lie on a disk, in powers of 1000, as disks and networks are sold.
pub fn bytes(bytes: f64) -> String {
    let (number, unit) = match bytes {
        n if n < 999.5 => return format!("{n:.0} B"),
        n if n < 999_500.0 => (n / 1e3, "KB"),
        n if n < 999_500_000.0 => (n / 1e6, "MB"),
        n if n < 999_500_000_000.0 => (n / 1e9, "GB"),
        n => (n / 1e12, "TB"),
    };
    let decimals = usize::from(number < 99.95);
    format!("{number:.decimals$} {unit}")
}

/// How long, to two units.
pub fn time(seconds: f64) -> String {
    let whole = seconds as u64;
    match seconds {
        s if s < 0.000_95 => format!("{:.0}us", s * 1e6),
        s if s < 0.0095 => format!("{:.1}ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0}ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1}s"),
        s if s < 60.0 => format!("{s:.0}s"),
        s if s < 3600.0 => format!("{}m{:02}s", whole / 60, whole % 60),
        s if s < 86_400.0 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A share of one, as a percentage.
pub fn percent(share: f64) -> String {
    let decimals = usize::from((0.0005..0.0995).contains(&share));
    format!("{:.decimals$}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_short_whatever_they_are() {
        let counts =
            [0.0, 0.4, 12.0, 12.34, 1234.4, 9999.4, 12_340.0, 123_456.0, 999_499.0, 1_234_567.0, 2.5e9];
        assert_eq!(
            counts.map(count),
            ["0", "0.4", "12", "12.3", "1234", "9999", "12.3k", "123k", "999k", "1.23M", "2.50G"]
        );
        let sizes = [0.0, 999.0, 1000.0, 99_950.0, 12_345_678.0, 3.2e9, 4e12];
        assert_eq!(sizes.map(bytes), ["0 B", "999 B", "1.0 KB", "100 KB", "12.3 MB", "3.2 GB", "4.0 TB"]);
        let times = [0.0001, 0.0021, 0.012, 0.9, 3.21, 42.0, 125.0, 7500.0, 100_000.0];
        assert_eq!(
            times.map(time),
            ["100us", "2.1ms", "12ms", "900ms", "3.2s", "42s", "2m05s", "2h05m", "1d03h"]
        );
        assert_eq!(
            [0.0, 0.0004, 0.004, 0.123, 1.0, 2.5].map(percent),
            ["0%", "0%", "0.4%", "12%", "100%", "250%"]
        );
        for n in 0..2000 {
            let number = 1.02_f64.powi(n / 2) - 1.0;
            if number < 9.9e11 {
                assert!(count(number).len() <= 6 && bytes(number).len() <= 7, "{number}");
            }
        }
    }
}
