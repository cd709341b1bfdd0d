//! `rename` and `remove`: fields under other names, or gone.

use crate::block::Block;
use crate::entry::{Field, Slice};
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::steps::{Step, StepError, Verdict};

/// Gives fields other names, all at once: `{ a: b, b: a }` swaps two.
///
/// A field that has the new name already gives way. What an entry does not have is not renamed, and that is no error.
#[derive(Clone, Debug)]
pub struct Rename {
    names: Vec<(Box<str>, Box<str>, Slice)>,
}

impl Rename {
    /// Most names in one step: those found in an entry are noted in one word.
    pub const NAMES_MAX: usize = 64;

    /// Renames by these pairs of old and new name, of which the first [`Rename::NAMES_MAX`] count; the new ones are put
    /// into `constants`.
    ///
    /// Errors: a name is too long, or the constants are full.
    pub fn new(names: &[(String, String)], constants: &mut Constants) -> Result<Self, SetError> {
        let mut pair = |(old, new): &(String, String)| {
            if new.len() > Field::KEY_MAX {
                return Err(SetError::KeyTooLong(new.clone()));
            }
            let key = constants.intern(new.as_bytes()).ok_or(SetError::TooLarge)?;
            Ok((old.as_str().into(), new.as_str().into(), key))
        };
        Ok(Rename { names: names.iter().take(Rename::NAMES_MAX).map(&mut pair).collect::<Result<_, _>>()? })
    }
}

impl Step for Rename {
    fn name(&self) -> &'static str {
        "rename"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let mut parts = block.parts();
        let mut found = 0_u64;
        for (at, (old, ..)) in self.names.iter().enumerate() {
            found |= u64::from(parts.field(index, old.as_bytes()).is_some()) << at;
        }
        if found != 0 {
            parts.rewrite_fields(index, |spaces, field| {
                let mut names = self.names.iter().enumerate();
                if let Some((_, (.., key))) =
                    names.find(|(_, (old, ..))| spaces.is_named(&field, old.as_bytes()))
                {
                    return Some(field.with_key(*key));
                }
                let mut names = self.names.iter().enumerate();
                let gives_way = names
                    .any(|(at, (_, new, _))| found >> at & 1 == 1 && spaces.is_named(&field, new.as_bytes()));
                (!gives_way).then_some(field)
            });
        }
        Ok(Verdict::Keep)
    }
}

/// Takes fields away.
#[derive(Clone, Debug)]
pub struct Remove {
    names: Vec<Box<str>>,
}

impl Remove {
    /// Takes the fields of these names away.
    pub fn new(names: &[String]) -> Self {
        Remove { names: names.iter().map(|name| name.as_str().into()).collect() }
    }
}

impl Step for Remove {
    fn name(&self) -> &'static str {
        "remove"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let mut parts = block.parts();
        if parts.entries[index].fields_n > 0 {
            parts.rewrite_fields(index, |spaces, field| {
                (!self.names.iter().any(|name| spaces.is_named(&field, name.as_bytes()))).then_some(field)
            });
        }
        Ok(Verdict::Keep)
    }
}
