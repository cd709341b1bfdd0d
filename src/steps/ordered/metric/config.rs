//! The keys of the `metric` step.

use super::Metric;
use crate::expr::{ExprError, Name};
use crate::steps::OnError;
use crate::steps::ordered::Ordered;
use crate::units::{self, Pairs};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::fmt;
use std::sync::Arc;

/// Most labels of one metric.
pub const LABELS_MAX: usize = 16;
/// Most buckets of one histogram.
pub const BUCKETS_MAX: usize = 64;
/// Names of ours, and of what every process has, begin with one of these.
pub const OURS: [&str; 2] = ["dispatcher_", "process_"];

/// Makes a number of entries, to be scraped.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// What it is called on `/metrics`.
    #[serde(deserialize_with = "metric_name")]
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MetricKind,
    /// What it says of itself there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What to take the number of; a counter without it counts entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Label names, and what to take their values of.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub labels: Pairs<String>,
    /// The upper bounds of a histogram's buckets, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<f64>>,
    /// Most label sets; entries with further ones count in one whose values are all `__overflow__`.
    #[serde(default = "max_series", with = "units::count")]
    pub max_series: usize,
    /// What becomes of entries that do not have the value, or one that is no number.
    #[serde(default)]
    pub on_error: OnError,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// It only grows: by one for each entry, or by the entry's value.
    Counter,
    /// The value of the last entry.
    Gauge,
    /// How many entries had values up to each of some bounds.
    Histogram,
}

impl MetricKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

fn max_series() -> usize {
    1000
}

fn is_empty(labels: &Pairs<String>) -> bool {
    labels.0.is_empty()
}

fn metric_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if !is_name(&name) {
        return Err(D::Error::custom(format!(
            "`{name}` cannot be the name of a metric: expected letters, digits and `_`, not a digit first"
        )));
    }
    match OURS.iter().find(|ours| name.starts_with(**ours)) {
        Some(ours) => {
            Err(D::Error::custom(format!("metrics whose names begin with `{ours}` are Ringmain's own")))
        }
        None => Ok(name),
    }
}

/// Whether Prometheus takes it as the name of a metric or a label. (Colons are for rules.)
fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What does not fit together in a metric's keys.
#[derive(Debug, PartialEq)]
pub struct Misfit {
    /// The key it is about; and the label, if it is one of those.
    pub key: (&'static str, Option<String>),
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

impl MetricConfig {
    /// The names under which it stands on `/metrics`.
    pub fn series_names(&self) -> Vec<String> {
        match self.kind {
            MetricKind::Counter | MetricKind::Gauge => vec![self.name.clone()],
            MetricKind::Histogram => {
                let ends = ["", "_bucket", "_sum", "_count"];
                ends.iter().map(|end| format!("{}{end}", self.name)).collect()
            }
        }
    }

    /// What of its keys does not fit together.
    pub fn misfit(&self) -> Option<Misfit> {
        let misfit = |key: &'static str, label: Option<&str>, message: String, expected: &str| {
            Some(Misfit { key: (key, label.map(str::to_owned)), message, expected: expected.into() })
        };
        let kind = self.kind.name();
        if self.value.is_none() && self.kind != MetricKind::Counter {
            return misfit("type", None, format!("a {kind} needs a `value`"), "name a field: `value: FIELD`");
        }
        match (&self.buckets, self.kind) {
            (None, MetricKind::Histogram) => {
                return misfit(
                    "type",
                    None,
                    "a histogram needs `buckets`".into(),
                    "such as `buckets: [0.1, 1, 10]`",
                );
            }
            (Some(_), MetricKind::Counter | MetricKind::Gauge) => {
                return misfit(
                    "buckets",
                    None,
                    format!("a {kind} has no `buckets`"),
                    "they are for `type: histogram`",
                );
            }
            (Some(bounds), MetricKind::Histogram) => {
                let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
                if bounds.is_empty()
                    || bounds.len() > BUCKETS_MAX
                    || !rising
                    || !bounds.iter().all(|at| at.is_finite())
                {
                    let expected =
                        format!("expected 1 to {BUCKETS_MAX} numbers, each larger than the one before");
                    return misfit("buckets", None, "these cannot be buckets".into(), &expected);
                }
            }
            (None, _) => {}
        }
        if self.labels.0.len() > LABELS_MAX {
            return misfit(
                "labels",
                None,
                format!("{} labels", self.labels.0.len()),
                &format!("the most is {LABELS_MAX}"),
            );
        }
        let wrong = |name: &&String| {
            !is_name(name) || name.starts_with("__") || (*name == "le" && self.kind == MetricKind::Histogram)
        };
        if let Some(name) = self.labels.0.iter().map(|(name, _)| name).find(wrong) {
            let expected =
                "expected letters, digits and `_`, not a digit or `__` first; `le` is the histogram's own";
            return misfit("labels", Some(name), format!("`{name}` cannot be the name of a label"), expected);
        }
        None
    }

    /// The step.
    ///
    /// Errors: what names something there that is no name of a field or label, and what is wrong with it.
    pub fn make(&self) -> Result<Arc<dyn Ordered>, (usize, ExprError)> {
        Ok(Arc::new(Metric::new(self)?))
    }

    /// What is named in it: the value, then the labels' values.
    pub fn named(&self) -> Vec<&String> {
        self.value.iter().chain(self.labels.0.iter().map(|(_, value)| value)).collect()
    }

    pub(super) fn names(&self) -> Result<(Option<Name>, Vec<Name>), (usize, ExprError)> {
        let compile = |(at, text): (usize, &String)| Name::compile(text).map_err(|error| (at, error));
        let value = self.value.as_ref().map(|value| compile((0, value))).transpose()?;
        let first = usize::from(value.is_some());
        let labels = self.labels.0.iter().enumerate().map(|(at, (_, name))| compile((first + at, name)));
        Ok((value, labels.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}
