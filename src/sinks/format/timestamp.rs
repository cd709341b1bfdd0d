//! Times as RFC 3339 writes them, in UTC with nine digits of a second.

/// Bytes in one time.
const LEN: usize = 30;
const SECOND: i64 = 1_000_000_000;

/// Writes times; those of one second share all but their fraction.
pub(super) struct Timestamps {
    /// The second that `text` shows.
    second: i64,
    text: [u8; LEN],
}

impl Timestamps {
    pub(super) fn new() -> Self {
        Timestamps { second: 0, text: *b"1970-01-01T00:00:00.000000000Z" }
    }

    /// The time `nanos` since 1970-01-01 UTC.
    pub(super) fn write(&mut self, nanos: i64) -> &[u8; LEN] {
        let (second, fraction) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
        if second != self.second {
            self.turn(second);
        }
        let (high, low) = (fraction as u32 / 10_000, fraction as u32 % 10_000);
        self.text[20] = b'0' + (high / 10_000) as u8;
        self.put(21, high / 100 % 100);
        self.put(23, high % 100);
        self.put(25, low / 100);
        self.put(27, low % 100);
        &self.text
    }

    /// Shows another second.
    fn turn(&mut self, second: i64) {
        self.second = second;
        let (days, second) = (second.div_euclid(86_400), second.rem_euclid(86_400) as u32);
        let (year, month, day) = civil(days);
        self.put(0, year / 100);
        self.put(2, year % 100);
        self.put(5, month);
        self.put(8, day);
        self.put(11, second / 3600);
        self.put(14, second / 60 % 60);
        self.put(17, second % 60);
    }

    fn put(&mut self, at: usize, pair: u32) {
        self.text[at..at + 2].copy_from_slice(&[b'0' + (pair / 10) as u8, b'0' + (pair % 10) as u8]);
    }
}

/// Year, month and day of the day `days` after 1970-01-01, in the Gregorian calendar. Only for the years 0 to 9999,
/// which hold every time that fits 64 bits of nanoseconds (1677 to 2262).
///
/// The method of Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`: years begin in
/// March, so that the leap day is the last of its year.
pub(in crate::sinks) fn civil(days: i64) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oracle(nanos: i64) -> String {
        let time = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap();
        format!("{time:.9}")
    }

    fn ours(times: &mut Timestamps, nanos: i64) -> String {
        String::from_utf8(times.write(nanos).to_vec()).unwrap()
    }

    #[test]
    fn the_edges_are_written_as_jiff_writes_them() {
        let day = 86_400 * SECOND;
        let mut times = Timestamps::new();
        let mut edges = vec![i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 951_782_400 * SECOND];
        for around in [0, SECOND, day, 59 * day, 1_709_164_800 * SECOND, 1_767_225_600 * SECOND, -day] {
            edges.extend([around - 1, around, around + 1]);
        }
        for nanos in edges {
            assert_eq!(ours(&mut times, nanos), oracle(nanos));
            assert_eq!(ours(&mut Timestamps::new(), nanos), oracle(nanos));
        }
    }

    #[test]
    fn every_day_of_six_centuries_has_its_date() {
        for days in -106_751..106_751_i64 {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            let (year, month, day) = civil(days);
            assert_eq!((year as i16, month as i8, day as i8), (date.year(), date.month(), date.day()));
        }
    }

    proptest! {
        #[test]
        fn any_walk_through_time_is_written_as_jiff_writes_it(first: i64, steps: Vec<i32>) {
            let (mut times, mut nanos) = (Timestamps::new(), first);
            for step in steps {
                prop_assert_eq!(ours(&mut times, nanos), oracle(nanos));
                nanos = nanos.saturating_add(i64::from(step) * 7);
            }
        }
    }
}
