//! What stands in steps beyond their keys: conditions, patterns, limits.

use super::{Checker, TextChecks};
use crate::config::read::Written;
use crate::expr;
use crate::steps::config::StepConfig;
use crate::steps::edit::Rename;
use crate::steps::pipeline::STEPS_MAX;

impl Checker<'_> {
    pub(super) fn steps(&mut self, written: &Written, languages: &TextChecks) {
        for (name, steps) in &written.pipelines {
            if steps.len() > STEPS_MAX {
                let message = format!("pipeline `{name}` has {} steps; the most is {STEPS_MAX}", steps.len());
                self.problem(&["pipelines", name], message, "make two pipelines of it");
            }
            for (index, step) in steps.iter().enumerate() {
                self.step(&["pipelines", name, &index.to_string()], step, languages);
            }
        }
    }

    /// That those are names of what entries have.
    pub(super) fn subjects(&mut self, step: &[&str; 3], (verb, key): (&str, &str), names: &[String]) {
        let [shelf, name, index] = *step;
        for (at, text) in names.iter().enumerate() {
            let (at, alone) = (at.to_string(), [shelf, name, index, verb, key]);
            let in_list = [shelf, name, index, verb, key, &at];
            let path = if self.root.find(&in_list).is_some() { &in_list[..] } else { &alone[..] };
            self.text(path, text, |text| {
                let named = expr::Name::compile(text).map(drop);
                named.map_err(|error| (error.start..error.start + error.len, error.message))
            });
        }
    }

    /// The step at `path`.
    fn step(&mut self, path: &[&str; 3], step: &StepConfig, languages: &TextChecks) {
        let [shelf, name, index] = *path;
        match step {
            StepConfig::Discard(condition) => {
                self.text(&[shelf, name, index, "discard"], condition, languages.expression);
            }
            StepConfig::Keep(condition) => {
                self.text(&[shelf, name, index, "keep"], condition, languages.expression);
            }
            StepConfig::Redact(redact) => {
                for (at, text) in redact.regex.iter().enumerate() {
                    let path = [shelf, name, index, "redact", "regex", &at.to_string()];
                    self.text(&path, text, |text| {
                        expr::pattern(text).map(drop).map_err(|error| (0..text.len(), error))
                    });
                }
            }
            StepConfig::Rename(names) if names.0.len() > Rename::NAMES_MAX => {
                let message = format!(
                    "`rename` in pipeline `{name}` has {} names; the most is {}",
                    names.0.len(),
                    Rename::NAMES_MAX
                );
                self.problem(&[shelf, name, index, "rename"], message, "make two steps of it");
            }
            StepConfig::Dedupe(dedupe) => self.subjects(path, ("dedupe", "fields"), &dedupe.fields),
            StepConfig::Throttle(throttle) => self.subjects(path, ("throttle", "per"), &throttle.per),
            StepConfig::Metric(metric) => self.metric(path, metric),
            StepConfig::Parse(_)
            | StepConfig::Timestamp(_)
            | StepConfig::Set(_)
            | StepConfig::Rename(_)
            | StepConfig::Remove(_)
            | StepConfig::Custom(_) => {}
        }
    }
}
