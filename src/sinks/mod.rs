//! The ways out.

pub mod blackhole;
pub mod config;
pub mod console;
pub mod file;
pub mod format;
