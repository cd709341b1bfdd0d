//! Steps as written in a pipeline: each is a map of one key, the verb.

use serde::{Deserialize, Serialize};

use super::OnError;
use super::custom::CustomStep;
pub use super::enrich::config::EnrichConfig;
use super::ordered::Ordered;
use super::ordered::config::Emit;
pub use super::ordered::config::{DedupeConfig, ThrottleConfig};
use super::ordered::dedupe::Dedupe;
use super::ordered::metric::Metric;
pub use super::ordered::metric::config::MetricConfig;
use super::ordered::throttle::Throttle;
pub use super::parse::config::{ParseConfig, ParseFormat};
pub use super::redact::config::RedactConfig;
pub use super::sample::config::SampleConfig;
pub use super::set::config::{SetConfig, SetValue};
pub use super::timestamp::config::TimestampConfig;
pub use super::validate::config::ValidateConfig;
use crate::expr::ExprError;
use crate::units::Pairs;
use std::sync::Arc;

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepConfig {
    /// Reads the message and makes fields of what it finds.
    Parse(ParseConfig),
    /// Takes entries out for which the expression holds; they count as filtered.
    Discard(String),
    /// Takes all others out.
    Keep(String),
    /// Makes a field the entry's time.
    Timestamp(TimestampConfig),
    /// Sets fields to constants or to what expressions give, over whatever the entry had under that name.
    Set(SetConfig),
    /// Gives fields other names: old to new.
    Rename(Pairs<String>),
    /// Takes fields away.
    Remove(Vec<String>),
    /// Replaces what patterns find in texts and fields.
    Redact(RedactConfig),
    /// Finds the entries that are not what they should be.
    Validate(ValidateConfig),
    /// Lets a share of the entries through.
    Sample(SampleConfig),
    /// Adds fields from elsewhere.
    Enrich(EnrichConfig),
    /// Names the way an entry is to take: names with conditions, and `else` with the name of the rest.
    Route(Pairs<String>),
    /// Takes out what was there a moment ago, and counts it.
    Dedupe(DedupeConfig),
    /// Takes out what is more than so many in a time.
    Throttle(ThrottleConfig),
    /// Makes a number of entries, to be scraped.
    Metric(MetricConfig),
    /// What a program that uses the library brought along; no config file can name it.
    #[serde(skip_deserializing)]
    Custom(CustomStep),
}

impl StepConfig {
    /// The step, if it is an ordered one.
    ///
    /// Errors: the place of the name in it that is none, and what is wrong with that.
    pub fn ordered(&self) -> Option<Result<Arc<dyn Ordered>, (usize, ExprError)>> {
        match self {
            StepConfig::Dedupe(dedupe) => Some(dedupe.make()),
            StepConfig::Throttle(throttle) => Some(throttle.make()),
            StepConfig::Metric(metric) => Some(metric.make()),
            _ => None,
        }
    }

    /// The most memory that what it remembers takes, in bytes. Tables of `enrich` are not in it: how large their files are
    /// is not in the config.
    pub fn memory(&self) -> usize {
        match self {
            StepConfig::Dedupe(dedupe) => Dedupe::memory(dedupe),
            StepConfig::Throttle(throttle) => Throttle::memory(throttle),
            StepConfig::Metric(metric) => Metric::memory(metric),
            _ => 0,
        }
    }

    /// What becomes of entries that an ordered step cannot work on.
    pub fn ordered_on_error(&self) -> OnError {
        match self {
            StepConfig::Metric(metric) => metric.on_error,
            _ => OnError::Pass,
        }
    }

    /// Whether it makes entries, of what it took out.
    pub fn emits(&self) -> bool {
        matches!(self, StepConfig::Dedupe(dedupe) if dedupe.emit == Emit::Count)
    }
}
