//! The configuration file: read, checked, joined.

pub mod env;
pub mod report;
pub mod tree;
