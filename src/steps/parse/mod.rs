//! Steps that read structure out of text.

pub mod config;
pub mod input;
pub mod json;
pub mod syslog;
