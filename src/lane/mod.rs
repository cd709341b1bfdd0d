//! Everything in front of one sink: queue, batcher, senders.

pub mod batcher;
pub mod config;
