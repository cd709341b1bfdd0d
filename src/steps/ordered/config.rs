//! The keys of the ordered steps.

use super::Ordered;
use super::dedupe::Dedupe;
use super::throttle::Throttle;
use crate::expr::ExprError;
use crate::units;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Takes out what was there a moment ago.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DedupeConfig {
    /// What entries must have in common to be equal; absent: message, labels and source.
    #[serde(default, deserialize_with = "names", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// How long after the first its equals are taken out.
    #[serde(default = "window", with = "units::positive_duration")]
    pub window: Duration,
    /// Most different entries that are known at a time; beyond it the window of the oldest closes early.
    #[serde(default = "dedupe_keys", with = "units::count")]
    pub max_keys: usize,
    /// What becomes of the number of those that were taken out.
    #[serde(default)]
    pub emit: Emit,
    /// Most memory for entries that are to be given with their counts.
    #[serde(default = "max_bytes", with = "units::size")]
    pub max_bytes: usize,
}

/// What becomes of the number of entries that were taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// When the window closes the entry is given once more, with their number in its field `repeated`.
    #[default]
    Count,
    /// Nobody is told.
    Nothing,
}

/// Takes out what is more than so many in a time.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Entries that differ in this are counted apart; absent: all together.
    #[serde(default, deserialize_with = "names", skip_serializing_if = "Vec::is_empty")]
    pub per: Vec<String>,
    /// How many entries may pass in each `every`.
    #[serde(with = "units::count")]
    pub rate: usize,
    /// The time that `rate` is for.
    #[serde(default = "second", with = "units::positive_duration")]
    pub every: Duration,
    /// How many may pass at once after a pause; absent: as many as `rate`.
    #[serde(default, deserialize_with = "units::optional_count::deserialize")]
    pub burst: Option<usize>,
    /// Most keys that are known at a time; beyond it the one that was seen longest ago is forgotten.
    #[serde(default = "throttle_keys", with = "units::count")]
    pub max_keys: usize,
}

fn window() -> Duration {
    Duration::from_secs(5)
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn dedupe_keys() -> usize {
    10_000
}

fn throttle_keys() -> usize {
    10_000
}

fn max_bytes() -> usize {
    8 << 20
}

/// One name, or a list of them.
pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct NameOrNames;
    impl<'de> Visitor<'de> for NameOrNames {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a name such as labels.app, or a list of names")
        }
        fn visit_str<E: Error>(self, name: &str) -> Result<Vec<String>, E> {
            Ok(vec![name.into()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<String>, A::Error> {
            let names: Vec<String> = Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
            if names.is_empty() {
                return Err(A::Error::custom("expected at least one name"));
            }
            Ok(names)
        }
    }
    deserializer.deserialize_any(NameOrNames)
}

impl DedupeConfig {
    /// The step.
    ///
    /// Errors: the place of the name that is none, and what is wrong with it.
    pub fn make(&self) -> Result<Arc<dyn Ordered>, (usize, ExprError)> {
        Ok(Arc::new(Dedupe::new(self)?))
    }
}

impl ThrottleConfig {
    /// The step.
    ///
    /// Errors: the place of the name that is none, and what is wrong with it.
    pub fn make(&self) -> Result<Arc<dyn Ordered>, (usize, ExprError)> {
        Ok(Arc::new(Throttle::new(self)?))
    }
}
