//! The ways out.

pub mod blackhole;
pub mod console;
pub mod file;
pub mod format;
