//! `enrich`: fields from elsewhere: facts about this host, or a row of a table.
//!
//! A table is a file, read whole and kept in memory; it is read again when it changes ([`refresh_tables`]). A block sees
//! one state of it from its first entry to its last.

pub mod config;
mod facts;
mod read;
mod table;

use crate::block::{Block, selected};
use crate::entry::{Field, Slice};
use crate::expr::{Fault, ValueExpr};
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::steps::{Failures, Step, StepError, Verdict};
pub use facts::Fact;
use std::ops::Range;
use std::sync::Arc;
pub use table::{Shape, Table, TableFile, refresh_tables};

/// Adds what a table says about an entry.
#[derive(Debug)]
pub struct Enrich {
    table: Arc<TableFile>,
    key: ValueExpr,
    /// The names of the fields, in the order of the table's cells.
    names: Vec<Slice>,
}

impl Enrich {
    /// Looks up what `key` gives in `table`, and sets the fields called `names` to what its columns say.
    ///
    /// Errors: the constants are full, or a name is too long.
    pub fn new(
        table: Arc<TableFile>,
        key: ValueExpr,
        names: &[String],
        constants: &mut Constants,
    ) -> Result<Self, SetError> {
        let mut key_of = |name: &String| {
            if name.len() > Field::KEY_MAX {
                return Err(SetError::KeyTooLong(name.clone()));
            }
            constants.intern(name.as_bytes()).ok_or(SetError::TooLarge)
        };
        let names = names.iter().map(&mut key_of).collect::<Result<_, _>>()?;
        Ok(Enrich { table, key, names })
    }

    fn look_up(&self, block: &mut Block, index: usize, table: &Table) -> Result<(), StepError> {
        let row = self.key.find(block, index, |_, bytes| table.find(bytes));
        let Some(Some(row)) = row.map_err(|Fault(what)| StepError::Malformed(what))? else {
            return Err(StepError::Malformed("the table has no such row"));
        };
        for (name, (kind, bytes)) in self.names.iter().zip(table.cells(row)) {
            let Some(kind) = kind else { continue };
            let value = block.store(bytes)?;
            block.set_field(index, Field::new(*name, value, kind))?;
        }
        Ok(())
    }
}

impl Step for Enrich {
    fn name(&self) -> &'static str {
        "enrich"
    }

    fn adds_fields(&self) -> usize {
        self.names.len()
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        self.look_up(block, index, &self.table.now()).map(|()| Verdict::Keep)
    }

    fn run(&self, block: &mut Block, range: Range<usize>, failures: &mut Failures) {
        let table = self.table.now();
        for word in range.start / 64..range.end.div_ceil(64) {
            let (bits, from) = ([block.selection(0)[word]], word * 64);
            let span = range.start.max(from) - from..range.end.min(from + 64) - from;
            for at in selected(&bits, span) {
                if let Err(error) = self.look_up(block, from + at, &table) {
                    failures.note(block.parts().live, from + at, error);
                }
            }
        }
    }
}
