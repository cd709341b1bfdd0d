//! The `http` source: entries in the bodies of requests, as NDJSON, JSON or lines.

pub mod config;
pub mod service;
