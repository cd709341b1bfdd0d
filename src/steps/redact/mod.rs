//! Hides what must not go on: addresses, card numbers, secrets, whatever a pattern finds.
//!
//! Received text never changes: a text in which something was found is replaced as a whole ([`crate::block::Parts`]),
//! and so every sink, format and later step sees only what was put in its place. Fields likewise get values of their own.
//! An entry in which nothing is found is not touched. What looks like JSON is treated as JSON, so that escapes hide
//! nothing and what was JSON stays JSON.

pub mod config;
mod json;
pub mod patterns;
#[cfg(test)]
mod tests;
mod trace;

use crate::block::{ARENA_MAX, Block, Parts};
use crate::entry::{Field, Kind, Slice, Space, unescape_into};
use crate::expr;
use crate::steps::constants::Constants;
use crate::steps::{Step, StepError, Verdict};
use config::RedactConfig;
use patterns::BuiltIn;
use regex::bytes::Regex;
use std::cell::RefCell;

/// Replaces what its patterns find in entries' texts and fields.
#[derive(Debug)]
pub struct Redact {
    finders: Vec<Finder>,
    /// What each finder puts there instead.
    replacements: Vec<Box<[u8]>>,
    /// The fields to look at; `None`: all of them.
    fields: Option<Vec<Box<str>>>,
    /// Whether to look at the text.
    text: bool,
    /// Of the names and values from the config those in which something may be found; `None`: not known, any of them.
    suspects: Option<Vec<Slice>>,
}

#[derive(Debug)]
enum Finder {
    BuiltIn(BuiltIn),
    /// Replaces the first group where there is one.
    Regex(Regex),
}

/// Memory that is used again from entry to entry.
#[derive(Default)]
struct Scratch {
    /// Where something was found: from, to, by which finder.
    hits: Vec<(usize, usize, usize)>,
    plain: Vec<u8>,
    changed: Vec<u8>,
    out: Vec<u8>,
}

/// Longest text for which that memory is kept.
const SCRATCH_KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Redact {
    /// A step that redacts as `config` says.
    ///
    /// Errors: a regular expression is none, in words.
    pub fn new(config: &RedactConfig) -> Result<Self, String> {
        let built_in = config.patterns.iter().map(|pattern| Ok((Finder::BuiltIn(*pattern), pattern.name())));
        let own = config.regex.iter().map(|text| {
            expr::pattern(text)
                .map(|regex| (Finder::Regex(regex), "regex"))
                .map_err(|error| format!("`{text}`: {error}"))
        });
        let finders = built_in.chain(own).collect::<Result<Vec<_>, String>>()?;
        let replacement =
            |(_, name): &(Finder, &str)| config.replacement.replace("{name}", name).into_bytes().into();
        Ok(Redact {
            replacements: finders.iter().map(replacement).collect(),
            finders: finders.into_iter().map(|(finder, _)| finder).collect(),
            text: config.fields.as_ref().is_none_or(|fields| fields.iter().any(|field| field == "message")),
            suspects: None,
            fields: config.fields.as_ref().map(|all| all.iter().map(|name| name.as_str().into()).collect()),
        })
    }

    fn redact(&self, parts: &mut Parts<'_>, index: usize, scratch: &mut Scratch) -> Result<(), StepError> {
        let text = parts.text_of(index);
        // Fields that were parsed are pieces of the text: where there is nothing in that, they need no look of their own.
        let may = self.may_find(parts.bytes(text));
        let may_be_in = |slice: Slice| match slice.is_piece_of(&text) {
            true => may,
            false => slice.space != Space::Constant || self.is_suspect(slice),
        };
        if self.text
            && may
            && let Some((slice, _)) = self.rewrite(parts, text, None, scratch)?
        {
            parts.replace_text(index, slice);
        }
        let entry = parts.entries[index];
        for row in entry.fields_first as usize..entry.fields_first as usize + usize::from(entry.fields_n) {
            let field = parts.fields[row];
            if !may_be_in(field.key()) && !may_be_in(field.value()) {
                continue;
            }
            let looked_at = self.fields.as_ref().is_none_or(|names| {
                names.iter().any(|name| parts.spaces().is_named(&field, name.as_bytes()))
            });
            if looked_at && let Some((slice, kind)) = self.redact_field(parts, field, scratch)? {
                parts.fields[row] = field.with_value(slice, kind);
            }
        }
        Ok(())
    }

    /// Whether anything may be found in `raw` or a piece of it, and it has to be looked through. Behind escapes anything may
    /// be hidden, and own patterns may find anything.
    fn may_find(&self, raw: &[u8]) -> bool {
        memchr::memchr(b'\\', raw).is_some()
            || self.finders.iter().any(|finder| match finder {
                Finder::BuiltIn(pattern) => pattern.may_be_in(raw),
                Finder::Regex(_) => true,
            })
    }

    /// Whether anything may be found in a name or value from the config.
    fn is_suspect(&self, slice: Slice) -> bool {
        self.suspects.as_ref().is_none_or(|suspects| suspects.iter().any(|one| slice.is_piece_of(one)))
    }

    fn redact_field(
        &self,
        parts: &mut Parts<'_>,
        field: Field,
        scratch: &mut Scratch,
    ) -> Result<Option<(Slice, Kind)>, StepError> {
        if matches!(field.kind(), Kind::Bool | Kind::Null) {
            return Ok(None);
        }
        // A name with escapes in it is not one of those that hide; its value is still looked through.
        if let Some(pattern) = self.hiding(parts.bytes(field.key())) {
            return Ok(Some((store(parts, &self.replacements[pattern])?, Kind::Plain)));
        }
        self.rewrite(parts, field.value(), Some(field.kind()), scratch)
    }

    /// Where the redacted form of `slice` is and how to read it; `None` if nothing was found in it. Of a text, the kind
    /// is not known.
    fn rewrite(
        &self,
        parts: &mut Parts<'_>,
        slice: Slice,
        kind: Option<Kind>,
        scratch: &mut Scratch,
    ) -> Result<Option<(Slice, Kind)>, StepError> {
        let mut out = std::mem::take(&mut scratch.out);
        out.clear();
        let raw = parts.bytes(slice);
        let as_json = match kind {
            Some(kind) => kind == Kind::Json,
            None => matches!(raw.trim_ascii_start().first(), Some(b'{' | b'[')),
        };
        let in_json = if as_json { self.rewrite_json(raw, scratch, &mut out) } else { None };
        let (found, kind) = match (in_json, kind) {
            (Some(found), Some(_)) => (found, Kind::Json),
            (Some(found), None) => (self.rewrite_across(raw, found, scratch, &mut out), Kind::Json),
            (None, Some(Kind::Escaped)) => {
                let mut plain = std::mem::take(&mut scratch.plain);
                plain.clear();
                let found = unescape_into(raw, &mut plain) && self.rewrite_plain(&plain, scratch, &mut out);
                scratch.plain = plain;
                (found, Kind::Plain)
            }
            (None, _) => (self.rewrite_plain(raw, scratch, &mut out), Kind::Plain),
        };
        let stored = if found { Some((store(parts, &out)?, kind)) } else { None };
        scratch.out = out;
        Ok(stored)
    }

    /// Patterns of one's own may be meant for the text as it is written, quotes and all: `out` is the redacted form of
    /// `raw` if anything was `found`.
    fn rewrite_across(&self, raw: &[u8], found: bool, scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
        let own = |finder: &Finder| matches!(finder, Finder::Regex(_));
        let mut changed = std::mem::take(&mut scratch.changed);
        changed.clear();
        let across = self.replace(if found { out } else { raw }, own, scratch, &mut changed);
        if across {
            std::mem::swap(out, &mut changed);
        }
        scratch.changed = changed;
        found || across
    }

    /// Appends `text` with what was found replaced, and tells whether anything was; if not, nothing is appended.
    fn rewrite_plain(&self, text: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
        self.replace(text, |_| true, scratch, out)
    }

    /// The same with only those finders that `asked` names.
    fn replace(
        &self,
        text: &[u8],
        asked: fn(&Finder) -> bool,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> bool {
        let hits = &mut scratch.hits;
        hits.clear();
        for (at, finder) in self.finders.iter().enumerate().filter(|(_, finder)| asked(finder)) {
            finder.find(text, &mut |found| hits.push((found.start, found.end, at)));
        }
        if hits.is_empty() {
            return false;
        }
        // What several find is replaced once: by the first, or the longest of those that begin together.
        hits.sort_unstable_by_key(|(start, end, at)| (*start, std::cmp::Reverse(*end), *at));
        let mut done = 0;
        for (start, end, at) in hits.iter() {
            if *start >= done {
                out.extend_from_slice(&text[done..*start]);
                out.extend_from_slice(&self.replacements[*at]);
            }
            done = done.max(*end);
        }
        out.extend_from_slice(&text[done..]);
        true
    }

    /// The finder that hides whatever a field of this name holds.
    fn hiding(&self, name: &[u8]) -> Option<usize> {
        self.finders
            .iter()
            .position(|finder| matches!(finder, Finder::BuiltIn(pattern) if pattern.hides_field(name)))
    }
}

impl Finder {
    fn find(&self, text: &[u8], found: &mut dyn FnMut(std::ops::Range<usize>)) {
        match self {
            Finder::BuiltIn(pattern) => pattern.find(text, found),
            Finder::Regex(regex) if regex.captures_len() == 1 => {
                regex.find_iter(text).filter(|hit| !hit.is_empty()).for_each(|hit| found(hit.range()));
            }
            Finder::Regex(regex) => {
                // Groups cost an allocation each time, so only for texts that have a match.
                for groups in regex.captures_iter(text) {
                    if let Some(hit) = groups.get(1).filter(|hit| !hit.is_empty()) {
                        found(hit.range());
                    }
                }
            }
        }
    }
}

/// Copies `bytes` to the arena.
fn store(parts: &mut Parts<'_>, bytes: &[u8]) -> Result<Slice, StepError> {
    let at = parts.arena.len();
    if at + bytes.len() > ARENA_MAX {
        return Err(StepError::NoRoom);
    }
    parts.arena.extend_from_slice(bytes);
    Ok(Slice { space: Space::Arena, offset: at as u32, len: bytes.len() as u32 })
}

impl Step for Redact {
    fn name(&self) -> &'static str {
        "redact"
    }

    fn told_constants(&mut self, constants: &Constants) {
        let suspects = constants.iter().filter(|(bytes, _)| self.may_find(bytes));
        self.suspects = Some(suspects.map(|(_, slice)| slice).collect());
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        SCRATCH.with_borrow_mut(|scratch| {
            let result = self.redact(&mut block.parts(), index, scratch);
            if scratch.out.capacity() + scratch.plain.capacity() > SCRATCH_KEPT {
                *scratch = Scratch::default();
            }
            result.map(|()| Verdict::Keep)
        })
    }
}
