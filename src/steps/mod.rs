//! What pipelines are made of.

pub mod config;
pub mod discard;
pub mod parse;
pub mod set;
