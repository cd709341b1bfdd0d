//! That what cases name is there.

use super::Checker;
use crate::config::read::Written;
use crate::config::report::did_you_mean;

impl Checker<'_> {
    pub(super) fn cases(&mut self, written: &Written) {
        let root = self.root;
        let names = |shelf: &str| -> Vec<&str> {
            root.get(shelf)
                .map_or(&[][..], |shelf| shelf.entries())
                .iter()
                .map(|(key, _)| key.name.as_str())
                .collect()
        };
        let (sources, pipelines, sinks) = (names("sources"), names("pipelines"), names("sinks"));
        for (name, case) in &written.tests {
            match (&case.source, &case.pipeline) {
                (Some(source), None) => {
                    self.is_there(&["tests", name, "source"], ("source", source), &sources)
                }
                (None, Some(pipeline)) => {
                    self.is_there(&["tests", name, "pipeline"], ("pipeline", pipeline), &pipelines);
                }
                (Some(_), Some(_)) => {
                    let message = format!("test `{name}` has both a `source` and a `pipeline`");
                    self.problem(
                        &["tests", name, "pipeline"],
                        message,
                        "the source has its own: leave one out",
                    );
                }
                (None, None) => {
                    let message = format!("test `{name}` has neither a `source` nor a `pipeline`");
                    self.problem(&["tests", name], message, "say what its lines go through");
                }
            }
            for (at, expected) in case.expect.iter().enumerate() {
                let at = at.to_string();
                let path = |key: &'static str| {
                    let in_list = vec!["tests", name, "expect", &at, key];
                    if root.find(&in_list).is_some() { in_list } else { vec!["tests", name, "expect", key] }
                };
                for sink in expected.sinks.iter().flatten() {
                    self.is_there(&path("sinks"), ("sink", sink), &sinks);
                }
                if let Some(time) = &expected.time
                    && time.parse::<jiff::Timestamp>().is_err()
                {
                    let message = format!("`{time}` in test `{name}` is no time");
                    self.problem(&path("time"), message, "expected RFC 3339, as in 2026-01-31T12:00:00Z");
                }
            }
        }
    }

    fn is_there(&mut self, path: &[&str], (what, wanted): (&str, &str), known: &[&str]) {
        if known.contains(&wanted) {
            return;
        }
        let hint = did_you_mean(wanted, known.iter().copied());
        let label = hint.map(|hint| format!("did you mean `{hint}`?")).unwrap_or_default();
        let there = if known.is_empty() { "none".into() } else { known.join(", ") };
        let message = format!("there is no {what} `{wanted}` for test `{}`", path[1]);
        self.problem(path, message, label).notes.push(format!("there are: {there}"));
    }
}
