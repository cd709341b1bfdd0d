//! Oracles: what the fuzz targets hold the real thing against. Slow, obviously right, and without a line in common
//! with what they judge; they know no type of it either, so the unit tests include the same files. Only `taking` uses
//! the real thing: it takes entries as a source does, for several targets.

pub mod oracle_body;
pub mod oracle_expr;
pub mod oracle_frames;
pub mod oracle_framing;
pub mod oracle_logfmt;
pub mod oracle_multiline;
pub mod oracle_nginx;
pub mod oracle_push;
pub mod oracle_segment;
pub mod oracle_syslog;
pub mod oracle_value;
pub mod taking;
