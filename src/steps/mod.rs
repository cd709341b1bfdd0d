//! What pipelines are made of.

pub mod discard;
pub mod parse;
pub mod set;
