//! Named groups of a regular expression to fields.
//!
//! The expression is searched for in the text; anchor it with `^` where it begins there, which is also faster. Groups
//! that took no part in the match are no fields. What a group found is a number if it is written like one.

use super::rows::{Parser, Rows};
use crate::entry::{Field, Slice};
use crate::steps::StepError;
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

/// Most bytes a compiled expression may take.
const COMPILED_MAX: usize = 4 << 20;

/// Compiles an expression for [`Captures`].
///
/// Errors: what is wrong with it, or that it has no named groups.
pub fn compile(text: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(text).size_limit(COMPILED_MAX).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("it takes more than {COMPILED_MAX} bytes when compiled"),
        other => {
            other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })?;
    match regex.capture_names().flatten().map(str::len).max() {
        None => Err("it has no named groups such as `(?<status>[0-9]+)`, which become fields".into()),
        Some(len) if len > Field::KEY_MAX => Err("the name of a group has more than 1024 bytes".into()),
        Some(_) => Ok(regex),
    }
}

/// Reads what the groups of an expression find.
pub struct Captures {
    regex: Regex,
    /// The groups that have names.
    groups: Vec<(usize, Slice)>,
}

impl Captures {
    /// A parser by `regex`; the names of its groups go to `constants`.
    ///
    /// Errors: the constants are full.
    pub fn new(regex: Regex, constants: &mut Constants) -> Result<Self, SetError> {
        let named = regex.capture_names().enumerate().filter_map(|(group, name)| Some((group, name?)));
        let groups = named
            .map(|(group, name)| Ok((group, constants.intern(name.as_bytes()).ok_or(SetError::TooLarge)?)))
            .collect::<Result<_, _>>()?;
        Ok(Captures { regex, groups })
    }
}

impl Parser for Captures {
    /// Made once per block, so that an entry allocates nothing.
    type Scratch = CaptureLocations;

    fn scratch(&self, _now: i64) -> CaptureLocations {
        self.regex.capture_locations()
    }

    #[inline]
    fn read(&self, text: &[u8], rows: &mut Rows<'_>, found: &mut CaptureLocations) -> Result<(), StepError> {
        if self.regex.captures_read(found, text).is_none() {
            return Err(StepError::Malformed("the expression does not match"));
        }
        for (group, name) in &self.groups {
            if let Some((start, end)) = found.get(*group) {
                rows.push_text(*name, text, start, end)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Step;
    use crate::steps::parse::input::Input;
    use crate::steps::parse::rows::Parse;
    use crate::steps::parse::rows::tests::{block_of, shown};

    #[test]
    fn named_groups_that_matched_become_fields() {
        let regex = compile(r"^(?<level>\w+) (\d+) (?<ms>[\d.]+)ms(?: user=(?<user>(?-u:\S+)))?").unwrap();
        let mut constants = Constants::default();
        let step = Parse::new(Captures::new(regex, &mut constants).unwrap(), Input::Message);
        let lines: [&[u8]; 4] =
            [b"INFO 1 2.5ms user=al", b"WARN 2 007ms", b"no", b"INFO 1 2ms user=\xff\xfe"];
        let mut block = block_of(&lines, constants);
        assert_eq!(step.run_alone(&mut block, 0..4), 1);
        assert_eq!(shown(&block, 0), ["level=INFO:Plain", "ms=2.5:Number", "user=al:Plain"]);
        assert_eq!(shown(&block, 1), ["level=WARN:Plain", "ms=007:Plain"]);
        assert!(shown(&block, 2).is_empty());
        assert_eq!(block.view(3).fields().last().unwrap().raw(), b"\xff\xfe", "bytes need not be UTF-8");
    }

    #[test]
    fn an_expression_that_cannot_give_fields_is_refused() {
        assert!(compile("(a)").unwrap_err().contains("no named groups"));
        assert_eq!(compile("(?<a>").unwrap_err(), "unclosed group");
        assert!(compile(r"(?<a>\w{1000}{1000})").unwrap_err().contains("bytes when compiled"));
    }
}
