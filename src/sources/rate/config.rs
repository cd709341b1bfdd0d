//! How fast entries may come: `rate_limit` of the dispatcher and of each source.

use super::bucket::Rate;
use crate::units;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// A limit on the rate at which entries are admitted.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitConfig {
    /// `false`: as if it were not written.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Entries a second, in the long run.
    #[serde(with = "units::count")]
    pub entries_per_second: usize,
    /// Entries at once after a rest; absent: those of a second.
    #[serde(
        default,
        deserialize_with = "units::optional_count::deserialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub burst: Option<usize>,
    /// What becomes of what comes faster.
    #[serde(default)]
    pub mode: RateMode,
    /// `labels.NAME`: the limit is for each value of this label on its own.
    #[serde(default, deserialize_with = "label", skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Most values of the label with a limit of their own; the others share one.
    #[serde(default = "max_keys", with = "units::count")]
    pub max_keys: usize,
}

/// What becomes of entries that come faster than they may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateMode {
    /// They wait outside: sources read more slowly.
    #[default]
    Pace,
    /// They are dropped, and counted.
    Drop,
}

impl RateLimitConfig {
    /// What the bucket is told.
    pub fn rate(&self) -> Rate {
        Rate {
            per_second: self.entries_per_second as f64,
            burst: self.burst.unwrap_or(self.entries_per_second) as u64,
        }
    }

    /// The name of the label whose values are limited on their own.
    pub fn label(&self) -> Option<&str> {
        self.per.as_deref().and_then(|per| per.strip_prefix("labels."))
    }
}

fn yes() -> bool {
    true
}

fn max_keys() -> usize {
    1000
}

fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let per = String::deserialize(deserializer)?;
    match per.strip_prefix("labels.") {
        Some(name) if !name.is_empty() => Ok(Some(per)),
        _ => Err(D::Error::custom("expected a label such as `labels.tenant`")),
    }
}
