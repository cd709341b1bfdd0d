//! Conditions over entries: `when`, `discard`.
/// E
pub struct Expr;
/// E
pub struct ExprError { /// m
 pub message: String }
/// c
pub fn compile(_t: &str) -> Result<Expr, ExprError> { Ok(Expr) }
