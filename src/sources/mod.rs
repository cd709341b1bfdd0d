//! The ways in.
//!
//! A source turns bytes into blocks and gives them to its [`inlet::Inlet`]; it hears back through it what became of
//! them. It never waits for the ring: when it cannot go on it stops reading, or does what its strategy says.

pub mod assigned;
pub mod body;
pub mod config;
pub mod containers;
pub mod docker;
pub mod ending;
pub mod file;
pub mod framing;
pub mod hallway;
pub mod http;
pub mod inlet;
pub mod loki;
pub mod marks;
pub mod multiline;
pub mod net;
pub mod progress;
pub mod rate;
pub mod socket;
pub mod stdin;
pub mod submit;
pub mod syslog;
pub mod waker;
