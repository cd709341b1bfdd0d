//! Syslog over TCP and UDP, RFC 3164 and RFC 5424.

pub mod octet;
pub mod parse;
mod rfc3164;
mod rfc5424;
pub mod time;
