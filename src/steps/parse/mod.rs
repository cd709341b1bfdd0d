//! Steps that read structure out of text.

pub mod json;
pub mod syslog;
