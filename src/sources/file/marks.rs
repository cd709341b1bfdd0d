//! The stretches of files that a block holds.

use super::tail::TailId;

/// One stretch of one file.
pub type Piece = crate::sources::marks::Piece<TailId>;
/// The stretches in a block.
pub type Marks = crate::sources::marks::Marks<TailId>;
