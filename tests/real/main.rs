//! The binary together with the programs it meets in the field.
//!
//! Plain `cargo test` leaves this out, as it needs nothing but a toolchain. With the programs on the `PATH`
//! (`.ci/parts DIR` gets them into `DIR/bin`): `cargo test --test real`. A missing program is a failure.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod containers;
mod curl;
mod loggen;
mod logrotate;
mod logs;
mod loki_push;
mod loki_sink;
mod part;
mod promtool;
mod rsyslog;
#[path = "../support/mod.rs"]
mod support;
mod syslog_ng;
