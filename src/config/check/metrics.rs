//! That metrics made by steps can be told apart, and from ours.

use super::Checker;
use crate::config::read::Written;
use crate::expr::Name;
use crate::steps::config::{MetricConfig, StepConfig};
use std::collections::HashMap;

impl Checker<'_> {
    /// The keys of one `metric` at `path`.
    pub(super) fn metric(&mut self, path: &[&str; 3], metric: &MetricConfig) {
        let [shelf, name, index] = *path;
        if let Some(misfit) = metric.misfit() {
            let (key, label) = &misfit.key;
            let mut at = vec![shelf, name, index, "metric", key];
            at.extend(label.as_deref());
            self.problem(&at, misfit.message, misfit.expected);
        }
        let named = |text: &str| {
            let named = Name::compile(text).map(drop);
            named.map_err(|error| (error.start..error.start + error.len, error.message))
        };
        if let Some(value) = &metric.value {
            self.text(&[shelf, name, index, "metric", "value"], value, named);
        }
        for (label, value) in &metric.labels.0 {
            self.text(&[shelf, name, index, "metric", "labels", label], value, named);
        }
    }

    /// That no two of them stand under one name on `/metrics`.
    pub(super) fn metrics(&mut self, written: &Written) {
        let mut taken: HashMap<String, String> = HashMap::new();
        for (pipeline, _, steps) in &written.pipelines {
            for (at, step) in steps.iter().enumerate() {
                let StepConfig::Metric(metric) = step else { continue };
                for name in metric.series_names() {
                    let here = format!("step {} of pipeline `{pipeline}`", at + 1);
                    let Some(other) = taken.insert(name.clone(), here) else { continue };
                    let message = format!("there are two metrics `{name}`");
                    let place = ["pipelines", pipeline, &at.to_string(), "metric", "name"];
                    self.problem(&place, message, format!("{other} has it already"));
                }
            }
        }
    }
}
