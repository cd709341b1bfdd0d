//! The keys that say how long a sink is borne with, when it is left alone, and who takes its place.

use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a sink says of its own about retries.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryKeys {
    /// The wait after the first failure.
    #[serde(with = "units::optional_duration")]
    pub backoff: Option<Duration>,
    /// The longest wait.
    #[serde(with = "units::optional_duration")]
    pub backoff_max: Option<Duration>,
    /// How much longer each wait is than the one before.
    #[serde(deserialize_with = "units::optional_growth")]
    pub multiplier: Option<f64>,
    /// Whether the wait is spread at random.
    pub jitter: Option<Jitter>,
    /// Further attempts after answers about the batch itself.
    #[serde(deserialize_with = "units::optional_retries")]
    pub max_retries: Option<Option<u32>>,
    /// How long the sink may keep us out before its entries are dead letters.
    #[serde(with = "units::optional_duration")]
    pub auth_grace: Option<Duration>,
}

/// How long a sink is borne with, all keys resolved: from the sink, from `dispatcher`, or by default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RetryConfig {
    /// The wait after the first failure.
    #[serde(with = "units::duration")]
    pub backoff: Duration,
    /// The longest wait, never under `backoff`.
    #[serde(with = "units::duration")]
    pub backoff_max: Duration,
    /// How much longer each wait is than the one before, at least 1.
    pub multiplier: f64,
    /// Whether the wait is spread at random.
    pub jitter: Jitter,
    /// Further attempts after answers about the batch itself; `None`: without end.
    #[serde(with = "units::retries")]
    pub max_retries: Option<u32>,
    /// How long the sink may keep us out before its entries are dead letters.
    #[serde(with = "units::duration")]
    pub auth_grace: Duration,
}

impl RetryConfig {
    /// The same, but for what a sink says itself.
    pub fn with(self, own: &RetryKeys) -> Self {
        RetryConfig {
            backoff: own.backoff.unwrap_or(self.backoff),
            backoff_max: own.backoff_max.unwrap_or(self.backoff_max),
            multiplier: own.multiplier.unwrap_or(self.multiplier),
            jitter: own.jitter.unwrap_or(self.jitter),
            max_retries: own.max_retries.unwrap_or(self.max_retries),
            auth_grace: own.auth_grace.unwrap_or(self.auth_grace),
        }
    }
}

/// Whether a wait is spread at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Anywhere between nothing and the full wait, so that many clients do not come back at once.
    Full,
    /// Exactly the wait.
    None,
}

/// When a sink is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// `false`: never.
    pub enabled: bool,
    /// Failures in a row after which it is left alone.
    #[serde(with = "units::count")]
    pub failure_threshold: usize,
    /// Successes after which it is used as before.
    #[serde(with = "units::count")]
    pub success_threshold: usize,
    /// How long it is left alone before it is tried.
    #[serde(with = "units::positive_duration")]
    pub timeout: Duration,
    /// Most attempts at once while it is tried.
    #[serde(with = "units::count")]
    pub half_open_max_calls: usize,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        BreakerConfig {
            enabled: true,
            failure_threshold: 5,
            success_threshold: 3,
            timeout: Duration::from_secs(30),
            half_open_max_calls: 1,
        }
    }
}

impl BreakerConfig {
    /// The same, but for what a sink says itself.
    pub fn with(self, own: &BreakerKeys) -> Self {
        BreakerConfig {
            enabled: own.enabled.unwrap_or(self.enabled),
            failure_threshold: own.failure_threshold.unwrap_or(self.failure_threshold),
            success_threshold: own.success_threshold.unwrap_or(self.success_threshold),
            timeout: own.timeout.unwrap_or(self.timeout),
            half_open_max_calls: own.half_open_max_calls.unwrap_or(self.half_open_max_calls),
        }
    }
}

/// What a sink says of its own about when it is left alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerKeys {
    /// `false`: never.
    pub enabled: Option<bool>,
    /// Failures in a row after which it is left alone.
    #[serde(with = "units::optional_count")]
    pub failure_threshold: Option<usize>,
    /// Successes after which it is used as before.
    #[serde(with = "units::optional_count")]
    pub success_threshold: Option<usize>,
    /// How long it is left alone before it is tried.
    #[serde(with = "units::optional_duration")]
    pub timeout: Option<Duration>,
    /// Most attempts at once while it is tried.
    #[serde(with = "units::optional_count")]
    pub half_open_max_calls: Option<usize>,
}

/// How long a sink must have been out of reach for its fallback to take over, where it does not say.
pub const FALLBACK_AFTER: Duration = Duration::from_secs(60);
