//! Patience: attempts at one batch until it is settled.

pub mod retry;
