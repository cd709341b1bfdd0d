//! `timestamp`: a field becomes the entry's time.
//!
//! The time is read by the first format that fits. One that lies too far from the entry's arrival is treated as
//! `on_out_of_range` says; then the field always stays, so what was said is not lost. Otherwise the field stays, goes or
//! gets another name, as `keep_original` says.

pub mod config;

use crate::block::{Block, Parts, selected};
use crate::entry::{Entry, Field, Slice};
use crate::steps::constants::Constants;
use crate::steps::parse::input::Input;
use crate::steps::set::SetError;
use crate::steps::{Failures, Step, StepError, Verdict};
use crate::time::Clock;
use crate::time::format::TimeFormat;
use config::{KeepOriginal, OutOfRange, TimestampConfig};
use jiff::tz::TimeZone;
use std::ops::Range;
use std::time::Duration;

/// Makes a field the entry's time.
pub struct Timestamp {
    field: Box<str>,
    input: Input,
    formats: Vec<TimeFormat>,
    zone: TimeZone,
    /// Nanoseconds a time may be before its arrival, and after it.
    past: i64,
    future: i64,
    beyond: OutOfRange,
    original: Original,
}

enum Original {
    Stays,
    Goes,
    Becomes(Slice),
}

impl Timestamp {
    /// The step as `config` says it; a new name goes to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(config: &TimestampConfig, constants: &mut Constants) -> Result<Self, SetError> {
        let nanos = |limit: Option<Duration>| {
            limit.map_or(i64::MAX, |limit| limit.as_nanos().try_into().unwrap_or(i64::MAX))
        };
        Ok(Timestamp {
            field: config.field.as_str().into(),
            input: Input::named(Some(&config.field)),
            formats: config.formats.clone(),
            zone: config.timezone.zone.clone(),
            past: nanos(config.max_past),
            future: nanos(config.max_future),
            beyond: config.on_out_of_range,
            original: match &config.keep_original {
                KeepOriginal::Yes => Original::Stays,
                KeepOriginal::No => Original::Goes,
                KeepOriginal::As(name) => {
                    Original::Becomes(constants.intern(name.as_bytes()).ok_or(SetError::TooLarge)?)
                }
            },
        })
    }

    fn set(&self, parts: &mut Parts<'_>, index: usize, clock: &Clock, now: i64) -> Result<(), StepError> {
        let at = self.input.find(parts, index)?;
        let text = parts.bytes(at);
        let said = self.formats.iter().find_map(|format| format.read(text, clock));
        let said = said.ok_or(StepError::Malformed("a time in none of the formats"))?;
        let within = now.saturating_sub(self.past)..=now.saturating_add(self.future);
        let is_beyond = !within.contains(&said);
        let time = match self.beyond {
            OutOfRange::Keep => Some(said),
            _ if !is_beyond => Some(said),
            OutOfRange::Clamp => Some(said.clamp(*within.start(), *within.end())),
            OutOfRange::Now => None,
        };
        let entry = &mut parts.entries[index];
        if let Some(time) = time {
            (entry.time, entry.flags) = (time, entry.flags | Entry::OWN_TIME);
        }
        match self.original {
            Original::Goes if !is_beyond => self.take_away(parts, index),
            Original::Becomes(name) => self.rename(parts, index, name),
            Original::Goes | Original::Stays => {}
        }
        Ok(())
    }

    /// The row of the field that was read.
    fn row(&self, parts: &Parts<'_>, index: usize) -> Option<usize> {
        let field = parts.field(index, self.field.as_bytes())?;
        let entry = &parts.entries[index];
        let rows = entry.fields_first as usize..entry.fields_first as usize + usize::from(entry.fields_n);
        rows.rev().find(|row| parts.fields[*row] == field)
    }

    fn rename(&self, parts: &mut Parts<'_>, index: usize, name: Slice) {
        if let Some(row) = self.row(parts, index) {
            let field = parts.fields[row];
            parts.fields[row] = Field::new(name, field.value(), field.kind());
        }
    }

    fn take_away(&self, parts: &mut Parts<'_>, index: usize) {
        if let Some(row) = self.row(parts, index) {
            let entry = &mut parts.entries[index];
            let end = entry.fields_first as usize + usize::from(entry.fields_n);
            parts.fields.copy_within(row + 1..end, row);
            entry.fields_n -= 1;
            entry.fields_spare = entry.fields_spare.saturating_add(1);
        }
    }
}

impl Step for Timestamp {
    fn name(&self) -> &'static str {
        "timestamp"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let mut failures = Failures::default();
        self.run(block, index..index + 1, &mut failures);
        failures.last().map_or(Ok(Verdict::Keep), Err)
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        // The block's time is that of its arrival: no clock is asked for an entry.
        let now = block.time();
        let clock = Clock::new(self.zone.clone(), now);
        let mut parts = block.parts();
        for word in range.start / 64..range.end.div_ceil(64) {
            let (bits, from) = ([parts.live[word]], word * 64);
            let span = range.start.max(from) - from..range.end.min(from + 64) - from;
            for at in selected(&bits, span) {
                if let Err(error) = self.set(&mut parts, from + at, &clock, now) {
                    failures.note(parts.live, from + at, error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::parse::json::ParseJson;
    use crate::steps::parse::rows::tests::{block_of, shown};

    const NOW: i64 = 1_795_428_000_000_000_000;
    const DAY: i64 = 86_400_000_000_000;

    fn run(config: &str, lines: &[&str]) -> (Block, usize) {
        let config: TimestampConfig = serde_yaml::from_str(config).unwrap();
        let mut constants = Constants::default();
        let step = Timestamp::new(&config, &mut constants).unwrap();
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let mut block = block_of(&lines, constants);
        block.stamp(NOW);
        let all = 0..lines.len();
        ParseJson::default().run_alone(&mut block, all.clone());
        let errors = step.run_alone(&mut block, all);
        (block, errors)
    }

    fn time_of(block: &Block, index: usize) -> i64 {
        let entry = &block.entries()[index];
        let own = entry.flags & Entry::OWN_TIME != 0;
        assert_eq!(own, entry.time != NOW + index as i64);
        entry.time
    }

    #[test]
    fn a_field_becomes_the_time_by_the_first_format_that_fits() {
        let lines = [
            r#"{"t":"2026-11-22T10:00:00Z"}"#,
            r#"{"t":1795341600}"#,
            r#"{"t":"no"}"#,
            r#"{"u":1}"#,
            r#"{"t":"22\/Nov\/2026:10:00:00 +0000"}"#,
        ];
        let (block, errors) = run("{ field: t, formats: [rfc3339, unix, clf] }", &lines);
        assert_eq!(errors, 2);
        assert_eq!([0, 1, 4].map(|index| time_of(&block, index)), [NOW - DAY; 3]);
        assert_eq!(
            [2, 3].map(|index| time_of(&block, index)),
            [NOW + 2, NOW + 3],
            "others keep their arrival"
        );
        assert_eq!(shown(&block, 0), ["t=2026-11-22T10:00:00Z:Plain"], "the original stays");
    }

    #[test]
    fn a_time_out_of_range_is_kept_clamped_or_replaced_as_asked() {
        let lines = [
            r#"{"t":"2026-11-16T10:00:00Z"}"#,
            r#"{"t":"2026-11-23T09:00:00Z"}"#,
            r#"{"t":"2026-11-23T12:00:00Z"}"#,
        ];
        for (what, first, last) in [
            ("keep", NOW - 7 * DAY, NOW + DAY / 12),
            ("clamp", NOW - DAY, NOW + DAY / 24),
            ("now", NOW, NOW + 2),
        ] {
            let config = format!(
                "{{ field: t, max_past: 1d, max_future: 1h, on_out_of_range: {what}, keep_original: false }}"
            );
            let (block, errors) = run(&config, &lines);
            assert_eq!(errors, 0);
            assert_eq!((time_of(&block, 0), time_of(&block, 2)), (first, last), "{what}");
            assert_eq!(time_of(&block, 1), NOW - DAY / 24);
            assert_eq!(
                [0, 1, 2].map(|index| shown(&block, index).len()),
                [1, 0, 1],
                "what was not believed stays"
            );
        }
        let (block, _) = run("{ field: t, max_past: 1d }", &lines);
        assert_eq!(
            (time_of(&block, 0), time_of(&block, 2)),
            (NOW, NOW + DAY / 12),
            "by default, and only where limited"
        );
    }

    #[test]
    fn the_original_goes_or_gets_another_name_and_its_neighbours_stay() {
        let lines = [r#"{"a":1,"t":"2026-11-22T10:00:00Z","b":2}"#, r#"{"a":1,"t":"x","b":2}"#];
        let (block, _) = run("{ field: t, keep_original: false }", &lines);
        assert_eq!(shown(&block, 0), ["a=1:Number", "b=2:Number"]);
        assert_eq!(shown(&block, 1), ["a=1:Number", "t=x:Plain", "b=2:Number"], "what is no time stays");
        let (block, _) = run("{ field: t, keep_original: said_at }", &lines);
        assert_eq!(shown(&block, 0), ["a=1:Number", "said_at=2026-11-22T10:00:00Z:Plain", "b=2:Number"]);
    }
}
