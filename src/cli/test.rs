//! `ringmain test`: runs the cases of a config, and shows what came out otherwise than expected.

use super::{ConfigArgs, exit, fail, load, print, refuse};
use crate::clock::{steady_nanos, unix_nanos};
use crate::config::Config;
use crate::config::cases::{Expected, TestConfig};
use crate::engine::trial::{Fate, Trial, Tried};
use clap::Args;
use serde_json::Value;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;

/// Which cases.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only the case of this name
    name: Option<String>,
}

/// Runs them and says how they went: exit code 0 if all came out as expected, 1 if not.
pub fn run(args: &TestArgs) -> ExitCode {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(report) => return refuse(&report),
    };
    let wanted = |case: &&(String, TestConfig)| args.name.as_ref().is_none_or(|name| *name == case.0);
    let cases: Vec<_> = config.tests.iter().filter(wanted).collect();
    if cases.is_empty() {
        let known: Vec<&str> = config.tests.iter().map(|(name, _)| name.as_str()).collect();
        return fail(
            exit::USAGE,
            &match &args.name {
                Some(name) => format!("there is no test `{name}`; there are: {}", known.join(", ")),
                None => "the config has no `tests`".into(),
            },
        );
    }
    let (mut said, mut failed) = (String::new(), 0);
    for (name, case) in &cases {
        let wrong = match differences(&config, case) {
            Ok(wrong) => wrong,
            Err(error) => vec![error],
        };
        let _ = writeln!(said, "{} {name}", if wrong.is_empty() { "ok    " } else { "FAILED" });
        for line in &wrong {
            let _ = writeln!(said, "       {line}");
        }
        failed += usize::from(!wrong.is_empty());
    }
    let _ = writeln!(said, "{} passed, {failed} failed", cases.len() - failed);
    let printed = print(&said);
    if failed > 0 { ExitCode::from(exit::UNDELIVERED) } else { printed }
}

/// What came out otherwise than the case says.
fn differences(config: &Config, case: &TestConfig) -> Result<Vec<String>, String> {
    let trial = match (&case.source, &case.pipeline) {
        (Some(source), _) => Trial::of_source(config, source),
        // The config was checked: one of them is there.
        (None, pipeline) => Trial::of_pipeline(config, pipeline.as_deref().unwrap_or_default()),
    };
    let mut trial = trial.map_err(|error| error.to_string())?;
    trial.with_labels(&case.labels.0);
    let entries = trial.entries_of(case.input.0.as_bytes()).map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    if entries.len() != case.expect.len() {
        wrong.push(format!("expected {} entries, found {} in the input:", case.expect.len(), entries.len()));
        wrong.extend(entries.iter().map(|(text, _)| format!("  {:?}", String::from_utf8_lossy(text))));
    }
    let now = steady_nanos(Instant::now());
    for (at, ((text, cut), expected)) in entries.iter().zip(&case.expect).enumerate() {
        let tried = trial.run(text, *cut, (unix_nanos(), now));
        let differ = compare(expected, &tried);
        if !differ.is_empty() {
            wrong.push(format!("entry {}: {:?}", at + 1, String::from_utf8_lossy(text)));
            wrong.extend(differ.into_iter().map(|line| format!("  {line}")));
            for step in tried.steps.iter().filter(|step| step.error.is_some()) {
                let error = step.error.as_deref().unwrap_or_default();
                wrong.push(format!("  (step {} ({}): {error})", step.number, step.verb));
            }
        }
    }
    Ok(wrong)
}

/// What of one entry is otherwise than expected, a line each.
fn compare(expected: &Expected, tried: &Tried) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut differs = |what: &str, expected: String, found: String| {
        if expected != found {
            wrong.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let after = &tried.after;
    let is_out = tried.fate != Fate::Kept;
    if let Some(discarded) = expected.discarded {
        let by = tried.steps.last().filter(|_| is_out);
        let by = by.map_or(String::new(), |step| format!(" (by step {}, {})", step.number, step.verb));
        if discarded != is_out {
            differs("discarded", discarded.to_string(), format!("{is_out}{by}"));
        }
    } else if is_out && *expected != Expected::default() {
        let by =
            tried.steps.last().map_or(String::new(), |step| format!("step {}, {}", step.number, step.verb));
        differs("discarded", "false".into(), format!("true (by {by})"));
    }
    if let Some(message) = &expected.message {
        differs("message", format!("{message:?}"), format!("{:?}", after.message));
    }
    if let Some(time) = &expected.time {
        let wanted = time.parse::<jiff::Timestamp>().ok().map(|time| time.as_nanosecond() as i64);
        if wanted != Some(after.time) {
            let found = after.json["time"].as_str().unwrap_or_default();
            differs("time", time.clone(), found.to_owned());
        }
    }
    for (name, value) in &expected.fields.0 {
        let found = &after.json["fields"][name.as_str()];
        if !is_equal(value, found) {
            let found = after.json["fields"].get(name).map_or("none".into(), Value::to_string);
            differs(&format!("fields.{name}"), value.to_string(), found);
        }
    }
    for name in &expected.without {
        if let Some(found) = after.json["fields"].get(name) {
            differs(&format!("fields.{name}"), "none".into(), found.to_string());
        }
    }
    for (name, value) in &expected.labels.0 {
        let found =
            after.json["labels"][name.as_str()].as_str().map_or("none".into(), |text| format!("{text:?}"));
        differs(&format!("labels.{name}"), format!("{value:?}"), found);
    }
    if let Some(sinks) = &expected.sinks {
        let mut takes: Vec<&str> =
            tried.sinks.iter().filter(|sink| sink.takes).map(|sink| sink.name.as_str()).collect();
        let mut sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
        takes.sort_unstable();
        sinks.sort_unstable();
        differs("sinks", format!("[{}]", sinks.join(", ")), format!("[{}]", takes.join(", ")));
    }
    wrong
}

/// Whether a field has the value: numbers by value, as `1` and `1.0` are one.
fn is_equal(expected: &Value, found: &Value) -> bool {
    match (expected.as_f64(), found.as_f64()) {
        (Some(expected), Some(found)) => expected == found,
        _ => expected == found,
    }
}
