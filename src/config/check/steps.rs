//! What stands in steps beyond their keys: conditions, patterns, limits.

use super::{Checker, TextChecks};
use crate::config::read::Written;
use crate::config::tree::Body;
use crate::expr;
use crate::steps::config::{SetValue, StepConfig, ValidateConfig};
use crate::steps::edit::Rename;
use crate::steps::pipeline::STEPS_MAX;
use crate::steps::route::{ELSE, Route};
use crate::steps::validate::Validate;

impl Checker<'_> {
    pub(super) fn steps(&mut self, written: &Written, languages: &TextChecks) {
        for (name, _, steps) in &written.pipelines {
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

    /// The rules of `validate` in the step at `path`: a name or a pattern may be wrong.
    fn validate(&mut self, path: &[&str; 3], validate: &ValidateConfig) {
        let [shelf, name, index] = *path;
        if let Err((field, error)) = Validate::new(validate) {
            let path = [shelf, name, index, "validate", "fields", &field];
            let message =
                format!("cannot read the rules of `{field}` in step {} of pipeline `{name}`", one_up(index));
            self.problem(&path, message, error.message);
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
            StepConfig::Validate(validate) => self.validate(path, validate),
            StepConfig::Sample(sample) => {
                if let Some(key) = &sample.key {
                    self.text(&[shelf, name, index, "sample", "key"], key, languages.bare_value);
                }
                if let Some(except) = &sample.except {
                    self.text(&[shelf, name, index, "sample", "except"], except, languages.expression);
                }
            }
            StepConfig::Enrich(enrich) => {
                if let Some(key) = &enrich.key {
                    self.text(&[shelf, name, index, "enrich", "key"], key, languages.bare_value);
                }
            }
            StepConfig::Route(routes) if routes.0.len() > Route::NAMES_MAX => {
                let (many, most) = (routes.0.len(), Route::NAMES_MAX);
                let message = format!("`route` in pipeline `{name}` has {many} names; the most is {most}");
                self.problem(&[shelf, name, index, "route"], message, "make two steps of it");
            }
            StepConfig::Route(routes) => {
                for (route, condition) in routes.0.iter().filter(|(route, _)| route != ELSE) {
                    self.text(&[shelf, name, index, "route", route], condition, languages.expression);
                }
            }
            StepConfig::Set(set) => {
                let long = self.root.find(&[shelf, name, index, "set", "fields"]);
                let long = long.is_some_and(|fields| matches!(fields.body, Body::Map(_)));
                for (field, value) in &set.fields.0 {
                    if let SetValue::Text(text) = value
                        && value.expression().is_some()
                    {
                        let path = [shelf, name, index, "set", "fields", field];
                        let short = [shelf, name, index, "set", field];
                        self.text(if long { &path } else { &short }, text, languages.value);
                    }
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
            | StepConfig::Rename(_)
            | StepConfig::Remove(_)
            | StepConfig::Custom(_) => {}
        }
    }
}

/// The number people give to the step at this place of the list.
fn one_up(index: &str) -> usize {
    index.parse::<usize>().map_or(0, |index| index + 1)
}
