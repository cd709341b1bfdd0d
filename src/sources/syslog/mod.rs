//! Syslog over TCP and UDP, RFC 3164 and RFC 5424.

pub mod config;
pub mod octet;
pub mod source;
