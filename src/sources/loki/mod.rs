//! The `loki` source: what Promtail, Grafana Alloy, Fluent Bit and their like push to Loki, taken in its place.
//!
//! `POST /loki/api/v1/push` in protobuf and JSON. A Loki stream becomes a stream of ours: its labels are the stream's, so
//! order in it is kept; an entry's structured metadata becomes fields it has before any step.
//! Not here: bytes and connections (see `net::http`), and how bodies are written (see `body`).

pub mod config;
pub mod service;
pub mod streams;
pub mod tenant;
