//! The last requests to a sink, as `/stats` shows them.

use crate::lane::history::Request;
use serde::Serialize;
use std::time::Instant;

/// A request to a sink.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestStats {
    /// How long ago it ended, in milliseconds.
    pub ago_ms: u64,
    /// Entries it carried.
    pub entries: u64,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// `took`, `partly`, `unwell`, `failed`, `denied`, `refused`, `panicked`.
    pub came: &'static str,
}

impl RequestStats {
    /// What is remembered of it at `now`.
    pub fn of(request: &Request, now: Instant) -> Self {
        RequestStats {
            ago_ms: now.saturating_duration_since(request.at).as_millis() as u64,
            entries: request.entries as u64,
            latency_ms: request.latency.as_secs_f64() * 1e3,
            came: request.came.name(),
        }
    }
}
