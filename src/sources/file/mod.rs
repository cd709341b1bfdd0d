//! Files found by globs, followed as they grow, rotate and vanish.

pub mod config;
pub mod cursor;
pub mod identity;
pub mod progress;
