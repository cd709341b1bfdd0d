//! `route`: names the way an entry is to take, for `when` of sinks.

use crate::block::Block;
use crate::entry::{Field, Kind, Slice};
use crate::expr::Expr;
use crate::steps::constants::Constants;
use crate::steps::set::SetError;
use crate::steps::{Step, StepError, Verdict};

/// The field that holds the name of the route.
pub const FIELD: &str = "route";
/// The word for entries of which no condition holds.
pub const ELSE: &str = "else";

/// Sets the field `route` to the name of the first route whose condition holds.
///
/// An entry of which none holds gets the name behind `else`; without one it stays as it is.
#[derive(Clone, Debug)]
pub struct Route {
    routes: Vec<(Expr, Field)>,
    otherwise: Option<Field>,
}

impl Route {
    /// Most names in one step: the conditions are asked one after the other.
    pub const NAMES_MAX: usize = 64;

    /// Names by these conditions, asked in this order.
    ///
    /// Errors: the constants are full.
    pub fn new(
        routes: Vec<(String, Expr)>,
        otherwise: Option<&str>,
        constants: &mut Constants,
    ) -> Result<Self, SetError> {
        let key = constants.intern(FIELD.as_bytes()).ok_or(SetError::TooLarge)?;
        let mut named = |name: &str| {
            let value: Slice = constants.intern(name.as_bytes()).ok_or(SetError::TooLarge)?;
            Ok(Field::new(key, value, Kind::Plain))
        };
        let otherwise = otherwise.map(&mut named).transpose()?;
        let route = |(name, condition): (String, Expr)| Ok((condition, named(&name)?));
        Ok(Route { routes: routes.into_iter().map(route).collect::<Result<_, _>>()?, otherwise })
    }
}

impl Step for Route {
    fn name(&self) -> &'static str {
        "route"
    }

    fn adds_fields(&self) -> usize {
        1
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        let found = self.routes.iter().find(|(condition, _)| condition.matches(block, index));
        if let Some(field) = found.map(|(_, field)| *field).or(self.otherwise) {
            block.set_field(index, field)?;
        }
        Ok(Verdict::Keep)
    }
}
