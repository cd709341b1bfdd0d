//! Syslog messages to fields and times.

pub mod parse;
mod rfc3164;
mod rfc5424;
pub mod time;
