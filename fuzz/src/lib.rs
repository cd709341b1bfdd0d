//! Oracles: what the fuzz targets hold the real thing against. Slow, obviously right, and without a line in common
//! with what they judge; they know no type of it either, so the unit tests include the same files.

pub mod oracle_expr;
pub mod oracle_framing;
pub mod oracle_syslog;
