//! `ringmain explain`: what each step of a pipeline makes of lines on standard input.

use super::{ConfigArgs, exit, fail, load, print, refuse};
use crate::clock::{steady_nanos, unix_nanos};
use crate::config::Config;
use crate::engine::StartError;
use crate::engine::trial::{Fate, Seen, StepTried, Trial, Tried};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::io::Read;
use std::process::ExitCode;
use std::time::Instant;

/// Most bytes read from standard input.
const INPUT_MAX: u64 = 16 << 20;

/// Which pipeline.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The source whose lines these are: its framing, labels and pipeline count
    #[arg(long, conflicts_with = "pipeline")]
    source: Option<String>,
    /// The pipeline they go through
    #[arg(long)]
    pipeline: Option<String>,
    /// One JSON object per entry, for programs
    #[arg(long)]
    json: bool,
}

/// Reads lines and tells of each what became of it.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(report) => return refuse(&report),
    };
    let trial = match trial(&config, args) {
        Ok(trial) => trial,
        Err(error) => return fail(exit::USAGE, &error.to_string()),
    };
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().lock().take(INPUT_MAX + 1).read_to_end(&mut input) {
        return fail(exit::NOT_STARTED, &format!("cannot read standard input: {error}"));
    }
    if input.len() as u64 > INPUT_MAX {
        return fail(exit::USAGE, "standard input has more than 16 MiB: a few lines are enough");
    }
    let entries = match trial.entries_of(&input) {
        Ok(entries) => entries,
        Err(error) => return fail(exit::USAGE, &error.to_string()),
    };
    let mut said = String::new();
    for (at, (text, cut)) in entries.iter().enumerate() {
        let mut tried = trial.run(text, *cut, (unix_nanos(), steady_nanos(Instant::now())));
        trial.time(text, &mut tried);
        match args.json {
            true => said.push_str(&format!("{}\n", as_json(&tried))),
            false => tell(&mut said, at + 1, &tried),
        }
    }
    print(&said)
}

/// The pipeline that was named, or the only one there is.
fn trial(config: &Config, args: &ExplainArgs) -> Result<Trial, StartError> {
    match (&args.source, &args.pipeline) {
        (Some(source), _) => Trial::of_source(config, source),
        (None, Some(pipeline)) => Trial::of_pipeline(config, pipeline),
        (None, None) => match &config.sources[..] {
            [only] => Trial::of_source(config, &only.name),
            all => {
                let names: Vec<&str> = all.iter().map(|source| source.name.as_str()).collect();
                Err(StartError::Config(format!("say which: `--source` with one of {}", names.join(", "))))
            }
        },
    }
}

/// What one step changed of an entry: name, what it was, what it is.
fn changes(before: &Seen, after: &Seen) -> Vec<(String, Option<Value>, Option<Value>)> {
    let mut changes = Vec::new();
    for (key, part) in [("fields", "fields."), ("labels", "labels.")] {
        let none = Map::new();
        let of = |seen: &'_ Seen| seen.json[key].as_object().cloned().unwrap_or_else(|| none.clone());
        let (old, new) = (of(before), of(after));
        let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
        let differ = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
        let change =
            |name: &String| (format!("{part}{name}"), old.get(name).cloned(), new.get(name).cloned());
        changes.extend(gone.chain(differ).map(|(name, _)| change(name)));
    }
    for (key, name) in [("message", "text"), ("time", "time")] {
        let (old, new) = (&before.json[key], &after.json[key]);
        if old != new {
            changes.push((name.into(), Some(old.clone()), Some(new.clone())));
        }
    }
    changes
}

/// Each step with what was there before it.
fn with_before(tried: &Tried) -> impl Iterator<Item = (&Seen, &StepTried)> {
    let mut before = &tried.before;
    tried.steps.iter().map(move |step| {
        let was = before;
        before = step.after.as_ref().unwrap_or(before);
        (was, step)
    })
}

/// What became of the entry, if the step took it out.
fn out_by(tried: &Tried, step: &StepTried) -> Option<&'static str> {
    step.after.is_none().then_some(match tried.fate {
        Fate::Throttled => "dropped (throttle)",
        Fate::DeadLetter => "dead letter",
        Fate::Filtered | Fate::Kept => "discarded",
    })
}

fn tell(said: &mut String, number: usize, tried: &Tried) {
    let _ = writeln!(said, "entry {number}: {}", tried.before.json["message"]);
    for (before, step) in with_before(tried) {
        let took = step.took.as_nanos();
        let _ = write!(said, "  {:>2}. {:<10} {took:>8} ns  ", step.number, step.verb);
        let changes = step.after.as_ref().map(|after| changes(before, after)).unwrap_or_default();
        let mut words: Vec<String> = Vec::new();
        words.extend(step.error.as_ref().map(|error| {
            let fate = if step.after.is_some() { "; passes" } else { "" };
            format!("error: {error}{fate}")
        }));
        words.extend(out_by(tried, step).map(str::to_owned));
        words.extend(changes.into_iter().map(|change| match change {
            (name, None, Some(new)) => format!("+ {name} = {new}"),
            (name, Some(old), None) => format!("- {name} (was {old})"),
            (name, old, new) => {
                format!("~ {name} = {} (was {})", new.unwrap_or_default(), old.unwrap_or_default())
            }
        }));
        if words.is_empty() {
            words.push("nothing changed".into());
        }
        said.push_str(&words.join(&format!("\n{:30}", "")));
        said.push('\n');
    }
    if tried.fate == Fate::Kept {
        for sink in &tried.sinks {
            let why = match (&sink.when, sink.takes) {
                (None, _) => "takes it".to_owned(),
                (Some(when), true) => format!("takes it: {when}"),
                (Some(when), false) => format!("no: {when}"),
            };
            let _ = writeln!(said, "  sink {}: {why}", sink.name);
        }
    }
}

fn as_json(tried: &Tried) -> Value {
    let steps = with_before(tried).map(|(before, step)| {
        let changes = step.after.as_ref().map(|after| changes(before, after)).unwrap_or_default();
        let changes: Vec<Value> = changes
            .into_iter()
            .map(|(name, was, is)| json!({ "name": name, "was": was, "is": is }))
            .collect();
        json!({
            "step": step.number, "verb": step.verb, "changes": changes, "error": step.error,
            "taken_out": out_by(tried, step), "nanoseconds": step.took.as_nanos() as u64,
        })
    });
    let sinks =
        tried.sinks.iter().map(|sink| json!({ "name": sink.name, "when": sink.when, "takes": sink.takes }));
    json!({
        "before": tried.before.json, "steps": steps.collect::<Vec<_>>(), "after": tried.after.json,
        "kept": tried.fate == Fate::Kept, "sinks": sinks.collect::<Vec<_>>(),
    })
}
