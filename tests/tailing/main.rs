//! The file source from outside, case by case: what loggers, rotation programs and hostile users do to files. Each case
//! counts what came out: lines lost 0, twice 0, torn 0, or the bound that is promised.
//!
//! A few rounds by themselves; `RINGMAIN_ROUNDS=50` for many.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod content;
mod hostile;
mod identity;
mod rig;
mod rotated;
#[path = "../support/mod.rs"]
mod support;
