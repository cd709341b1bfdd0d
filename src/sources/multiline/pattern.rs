//! A pattern that is asked of every line: a regular expression, with a table in front of it.
//!
//! Most patterns begin with `^` and a few classes or characters (`^\s`, `^\d{4}-\d\d-\d\d`). For each of these first
//! places a table says which bytes can stand there, so that most lines are judged without the expression, and many
//! patterns need it for no line at all.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Most bytes a compiled pattern may take.
const COMPILED_MAX: usize = 1 << 20;
/// Most places judged by tables.
const PLACES_MAX: usize = 32;

/// What a byte at one place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    /// No match.
    No,
    /// It fits: on to the next place.
    Fits,
    /// Only the expression knows: the byte begins a character beyond ASCII.
    Ask,
}

type Place = [Say; 256];

/// A regular expression over bytes; `^` and `$` are the ends of the line.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// What the first bytes may be, if the pattern is bound to the line's beginning.
    places: Box<[Place]>,
    /// Whether all that fits the places matches; otherwise the expression decides.
    enough: bool,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// Errors: what is wrong with it, in the words of the `regex` crate, or that it is too large.
    pub fn compile(text: &str) -> Result<Pattern, String> {
        let regex = RegexBuilder::new(text).size_limit(COMPILED_MAX).build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("it takes more than {COMPILED_MAX} bytes when compiled")
            }
            other => reason(&other.to_string()),
        })?;
        let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(text);
        let mut prefix = Prefix { places: Vec::new(), enough: false };
        if let Ok(hir) = parsed {
            prefix.learn(&hir);
        }
        Ok(Pattern { regex, places: prefix.places.into(), enough: prefix.enough })
    }

    /// Whether it matches anywhere in `line`.
    #[inline]
    pub fn is_match(&self, line: &[u8]) -> bool {
        for (at, place) in self.places.iter().enumerate() {
            match line.get(at).map(|byte| place[usize::from(*byte)]) {
                None | Some(Say::No) => return false,
                Some(Say::Fits) => {}
                Some(Say::Ask) => return self.regex.is_match(line),
            }
        }
        self.enough || self.regex.is_match(line)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}

/// The last line of a syntax error says what is wrong; those before it draw the pattern.
fn reason(error: &str) -> String {
    error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

struct Prefix {
    places: Vec<Place>,
    enough: bool,
}

impl Prefix {
    fn learn(&mut self, hir: &Hir) {
        let mut parts = Vec::new();
        flatten(hir, &mut parts);
        let Some((first, parts)) = parts.split_first() else { return };
        if !matches!(first.kind(), HirKind::Look(Look::Start)) {
            return;
        }
        for (at, part) in parts.iter().enumerate() {
            if !self.add(part) {
                // What may go on as it likes is enough as it is, if nothing has to come behind it.
                self.enough = at + 1 == parts.len() && self.may_stop(part);
                return;
            }
        }
        self.enough = true;
    }

    /// Adds the places of `part`; false if it has no fixed length, or not all of it could be added.
    fn add(&mut self, part: &Hir) -> bool {
        match part.kind() {
            HirKind::Empty => true,
            HirKind::Capture(group) => self.add(&group.sub),
            HirKind::Concat(parts) => parts.iter().all(|part| self.add(part)),
            HirKind::Literal(text) => text.0.iter().all(|byte| {
                let mut place = [Say::No; 256];
                place[usize::from(*byte)] = Say::Fits;
                self.push(place)
            }),
            HirKind::Class(class) => self.push(place_of(class)),
            HirKind::Repetition(repeat) => {
                let min = (0..repeat.min).all(|_| self.add(&repeat.sub));
                min && repeat.max == Some(repeat.min)
            }
            HirKind::Look(_) | HirKind::Alternation(_) => false,
        }
    }

    /// Whether `part`, whose least is in the places, matches whatever follows that.
    fn may_stop(&self, part: &Hir) -> bool {
        // A full table may lack a part of the least.
        match part.kind() {
            HirKind::Repetition(repeat) => {
                let simple = matches!(repeat.sub.kind(), HirKind::Class(_) | HirKind::Literal(_));
                simple && self.places.len() < PLACES_MAX
            }
            _ => false,
        }
    }

    fn push(&mut self, place: Place) -> bool {
        if self.places.len() == PLACES_MAX {
            return false;
        }
        self.places.push(place);
        true
    }
}

/// The parts that follow each other, groups opened.
fn flatten<'a>(hir: &'a Hir, parts: &mut Vec<&'a Hir>) {
    match hir.kind() {
        HirKind::Concat(inner) => inner.iter().for_each(|part| flatten(part, parts)),
        HirKind::Capture(group) => flatten(&group.sub, parts),
        _ => parts.push(hir),
    }
}

fn place_of(class: &Class) -> Place {
    let mut place = [Say::No; 256];
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                place[usize::from(range.start())..=usize::from(range.end())].fill(Say::Fits);
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let (start, end) = (range.start() as usize, range.end() as usize);
                if start < 0x80 {
                    place[start..=end.min(0x7f)].fill(Say::Fits);
                }
                if end >= 0x80 {
                    place[0x80..].fill(Say::Ask);
                }
            }
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATTERNS: [&str; 24] = [
        r"^\s",
        r"^\s+at ",
        r"^[ \t]+",
        r"^\d{4}-\d{2}-\d{2}",
        r"^(\d{4})-(\d\d)",
        r"^\[?\d",
        r"^(?:a|b)c",
        r"^a|^b",
        r"a",
        r"^",
        r"^$",
        r"^\s*$",
        r";$",
        r"[^\\]$",
        r"^é",
        r"^(?i)k+",
        r"^.",
        r"^.{2,3}x",
        r"^(?-u:[\x80-\xff])",
        r"^a{0,2}b",
        r"^(?:ab)+",
        r"^\bfoo",
        r"^x{40}",
        r"^x{40,}",
    ];

    #[test]
    fn what_the_tables_can_say_needs_no_expression() {
        for (text, places, enough) in [
            (r"^\s", 1, true),
            (r"^[ \t]+", 1, true),
            (r"^\d{4}-\d{2}-\d{2}", 10, true),
            (r"^\s+at ", 1, false),
            (r"^(?:ab)+", 2, true),
            (r"^", 0, true),
            (r"^$", 0, false),
            ("a", 0, false),
            ("^x{40,}", PLACES_MAX, false),
        ] {
            let pattern = Pattern::compile(text).unwrap();
            assert_eq!((pattern.places.len(), pattern.enough), (places, enough), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_is_wrong_is_told_why() {
        assert_eq!(Pattern::compile("(a").unwrap_err(), "unclosed group");
        assert!(Pattern::compile(r"\w{1000}{1000}").unwrap_err().contains("bytes when compiled"));
    }

    proptest! {
        #[test]
        fn a_pattern_says_what_its_expression_says(
            line in prop_oneof![
                "[ \t0-9a-cxkK;é\u{2003}٣\u{212a}\\\\-]{0,6}".prop_map(String::into_bytes),
                "[0-9]{3,5}-[0-9]{1,3}-?[0-9 ]{0,4}".prop_map(String::into_bytes),
                "[ab]{0,6}c?|x{38,42}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..4),
            ],
        ) {
            for text in PATTERNS {
                let pattern = Pattern::compile(text).unwrap();
                prop_assert_eq!(pattern.is_match(&line), pattern.regex.is_match(&line), "{} of {:?}", text, line);
            }
        }
    }
}
