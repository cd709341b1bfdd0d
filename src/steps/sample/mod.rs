//! `sample`: lets a share of the entries through.

pub mod config;

use crate::block::Block;
use crate::entry::{Field, Kind};
use crate::expr::{Expr, Fault, ValueExpr, fnv64};
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::steps::{Step, StepError, Verdict};

/// Lets one of so many entries through; the others count as filtered.
///
/// With a key, what it comes to decides: entries with equal keys go the same way, whatever worker, block, run or host
/// they are on. Without, and for entries that have no key, the entry's place decides, so that a block that is done again
/// is done alike.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Keys whose hash is below go through.
    below: u64,
    key: Option<ValueExpr>,
    /// What always goes through.
    except: Option<Expr>,
    /// The field that says for how many an entry stands: of those that were chosen, and of the others.
    weight: Option<(Field, Field)>,
    /// Makes two steps choose apart from each other where no key decides.
    salt: u64,
}

impl Sample {
    /// A step that lets the share `rate` through, above 0 and at most 1; `weight` names the field that tells one over it.
    ///
    /// Errors: the constants are full, or the name is too long.
    pub fn new(
        rate: f64,
        key: Option<ValueExpr>,
        except: Option<Expr>,
        weight: Option<&str>,
        constants: &mut Constants,
    ) -> Result<Self, SetError> {
        let mut field = |name: &str| {
            if name.len() > Field::KEY_MAX {
                return Err(SetError::KeyTooLong(name.to_owned()));
            }
            let each = 1.0 / rate;
            // A whole one is written as such.
            let each =
                if each.fract() == 0.0 && each < 1e15 { format!("{each:.0}") } else { format!("{each:?}") };
            let mut intern = |text: &str| constants.intern(text.as_bytes()).ok_or(SetError::TooLarge);
            let (key, each, one) = (intern(name)?, intern(&each)?, intern("1")?);
            Ok((Field::new(key, each, Kind::Number), Field::new(key, one, Kind::Number)))
        };
        let weight = weight.map(&mut field).transpose()?;
        // Saturates at the largest, which lets everything through but one key in 2^64.
        let below = (rate * 2_f64.powi(64)) as u64;
        Ok(Sample { below, key, except, weight, salt: fastrand::u64(..) })
    }

    fn hash(&self, block: &Block, index: usize) -> Result<u64, Fault> {
        let of_key = match &self.key {
            Some(key) => key.find(block, index, |_, bytes| mixed(fnv64(bytes)))?,
            None => None,
        };
        let place = || mixed(self.salt ^ (block.time() as u64).wrapping_add(mixed(index as u64 + 1)));
        Ok(of_key.unwrap_or_else(place))
    }
}

/// Every bit of the result depends on every bit of `hash` (the last step of SplitMix64).
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

impl Step for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn explain(&self, error: StepError) -> String {
        match error {
            StepError::Malformed(what) => format!("`key`: {what}"),
            other => other.to_string(),
        }
    }

    fn adds_fields(&self) -> usize {
        usize::from(self.weight.is_some())
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let excepted = self.except.as_ref().is_some_and(|except| except.matches(block, index));
        if !excepted
            && self.hash(block, index).map_err(|Fault(what)| StepError::Malformed(what))? >= self.below
        {
            return Ok(Verdict::Discard);
        }
        if let Some((chosen, whole)) = self.weight {
            block.set_field(index, if excepted { whole } else { chosen })?;
        }
        Ok(Verdict::Keep)
    }
}
