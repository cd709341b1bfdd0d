//! What the dead letters are told: `dispatcher.dlq`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::buffer::BufferSpec;
use crate::units;

/// Whether refused entries are kept, how many, for how long, and how often those are tried again that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DlqConfig {
    /// `false`: refused entries are dropped, counted.
    pub enabled: bool,
    /// Most letters; the oldest go first.
    #[serde(with = "units::count")]
    pub max_size: usize,
    /// Most bytes on disk; the oldest letters go first.
    #[serde(with = "units::size")]
    pub max_bytes: usize,
    /// How long a letter is kept.
    #[serde(with = "units::positive_duration")]
    pub retention_period: Duration,
    /// Whether letters that may pass (`retries_spent`, `denied`) are tried again by themselves.
    pub auto_retry: bool,
    /// How long after it became one a letter is tried again.
    #[serde(with = "units::positive_duration")]
    pub retry_interval: Duration,
    /// How often a letter is tried again by itself.
    #[serde(with = "units::count")]
    pub max_auto_retries: usize,
}

impl DlqConfig {
    /// The least `max_bytes`, in bytes: what a buffer of the largest records takes.
    pub const MAX_BYTES_MIN: usize = (BufferSpec::MAX_SIZE_LEAST as usize).next_multiple_of(1 << 20);
}

impl Default for DlqConfig {
    fn default() -> Self {
        DlqConfig {
            enabled: true,
            max_size: 100_000,
            max_bytes: 1 << 30,
            retention_period: Duration::from_secs(7 * 24 * 3600),
            auto_retry: true,
            retry_interval: Duration::from_secs(300),
            max_auto_retries: 5,
        }
    }
}
