//! The ways in.

pub mod config;
pub mod file;
pub mod framing;
pub mod inlet;
pub mod net;
pub mod stdin;
pub mod syslog;
