//! That a sink's fallback is another sink, which takes entries, and does not lead back.

use super::Checker;
use crate::config::read::Written;
use crate::config::report::did_you_mean;

impl Checker<'_> {
    pub(super) fn fallbacks(&mut self, written: &Written) {
        let sinks = || written.sinks.iter().map(|(name, keys, _)| (name.as_str(), keys));
        let next = |name: &str| sinks().find(|(other, _)| *other == name)?.1.fallback.as_deref();
        for (name, keys) in sinks() {
            let Some(other) = keys.fallback.as_deref() else {
                if keys.fallback_after.is_some() {
                    let message =
                        format!("`fallback_after` has no effect without `fallback`, in sink `{name}`");
                    self.problem(&["sinks", name, "fallback_after"], message, "needs `fallback` beside it");
                }
                continue;
            };
            let path = ["sinks", name, "fallback"];
            let target = sinks().find(|(known, _)| *known == other);
            let Some((_, target)) = target else {
                // One that could not be read is there all the same.
                if self.root.find(&["sinks", other]).is_none() {
                    let known: Vec<&str> =
                        sinks().map(|(known, _)| known).filter(|known| *known != name).collect();
                    let label = did_you_mean(other, known.iter().copied());
                    let label = label.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
                    let message = format!("there is no sink `{other}` for the `fallback` of sink `{name}`");
                    let note = format!("other sinks: {}", known.join(", "));
                    self.problem(&path, message, label).notes.push(note);
                }
                continue;
            };
            if other == name {
                let message = format!("sink `{name}` is its own `fallback`");
                self.problem(&path, message, "expected another sink");
            } else if !target.enabled {
                let message = format!("the `fallback` of sink `{name}` is not enabled");
                self.problem(&path, message, format!("`{other}` has `enabled: false`"));
            } else if leads_back(name, next) {
                let message = format!("the `fallback` of sink `{name}` leads back to it");
                self.problem(&path, message, "follow it from sink to sink");
            }
            let general = written.general.as_ref().map(|general| general.dispatcher.circuit_breaker);
            if general.is_some_and(|general| !general.with(&keys.circuit_breaker).enabled) {
                let message =
                    format!("`fallback` of sink `{name}` has no effect: its `circuit_breaker` is off");
                self.problem(&path, message, "a sink without a breaker is never out of reach");
            }
        }
    }
}

/// Whether one comes to `name` again on its way from fallback to fallback.
fn leads_back<'a>(name: &str, next: impl Fn(&str) -> Option<&'a str>) -> bool {
    let mut seen = Vec::new();
    let mut at = next(name);
    while let Some(other) = at {
        if other == name {
            return true;
        }
        if seen.contains(&other) {
            return false;
        }
        seen.push(other);
        at = next(other);
    }
    false
}
