//! The languages that values are written in: expressions, templates, patterns.

use crate::expr::placeholders::Pattern;
use crate::expr::{Expr, ExprError, ValueExpr};
use crate::sinks::template::{Template, TemplateError};
use std::ops::Range;

/// Reads some text of the file for its own language; the error is the bytes it is about and what is wrong there.
pub type TextCheck = fn(&str) -> Result<(), (Range<usize>, String)>;

/// The languages inside of values.
#[derive(Debug, Clone, Copy)]
pub struct TextChecks {
    /// Expressions: `when`, `discard`.
    pub expression: TextCheck,
    /// Expressions that give a value, behind their `=`: `set`.
    pub value: TextCheck,
    /// The same without: `key`.
    pub bare_value: TextCheck,
    /// Templates: the `path` of a file sink.
    pub template: TextCheck,
    /// Patterns: headers and labels of sinks.
    pub pattern: TextCheck,
}

impl Default for TextChecks {
    fn default() -> Self {
        TextChecks {
            expression: |text| Expr::compile(text).map(drop).map_err(|error| in_expression(error, 0)),
            value: |text| {
                let text = text.get(1..).unwrap_or_default();
                ValueExpr::compile(text).map(drop).map_err(|error| in_expression(error, 1))
            },
            bare_value: |text| ValueExpr::compile(text).map(drop).map_err(|error| in_expression(error, 0)),
            template: |text| Template::compile(text).map(drop).map_err(in_template),
            pattern: |text| Pattern::compile(text).map(drop).map_err(in_template),
        }
    }
}

/// What is wrong in an expression that stands behind `skipped` bytes.
fn in_expression(error: ExprError, skipped: usize) -> (Range<usize>, String) {
    let start = skipped + error.start;
    (start..start + error.len, error.message)
}

fn in_template(error: TemplateError) -> (Range<usize>, String) {
    (error.start..error.start + error.len, error.message)
}
