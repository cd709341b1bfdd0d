//! A config in words: what `check` prints.

use std::fmt::Write;

use serde::Serialize;
use serde_yaml::Value;

use super::keys::GeneralConfig;
use super::{Config, SinkConfig, SourceConfig};
use crate::buffer::config::WhenFull;
use crate::sinks::config::SinkKind;
use crate::sources::config::{SourceKind, Strategy};

use crate::steps::config::StepConfig;
use crate::units::{Pairs, format_size};

/// The whole plan: every key with its value and where that comes from, the threads, and who can stop whom.
pub fn plan(config: &Config) -> String {
    let mut out = format!("{}: this is what would run\n", config.name);
    general(config, &mut out);
    config.sources.iter().for_each(|each| source(config, each, &mut out));
    pipelines(config, &mut out);
    config.sinks.iter().for_each(|each| sink(config, each, &mut out));
    threads(config, &mut out);
    stops(config, &mut out);
    out
}

/// One line: a key, its value, where that comes from.
fn line(out: &mut String, key: &str, value: &str, origin: &str) {
    let _ = writeln!(out, "  {key:<42} {value:<28} ({origin})");
}

fn general(config: &Config, out: &mut String) {
    out.push_str("\ngeneral\n");
    let all = GeneralConfig {
        data_dir: config.data_dir.clone(),
        admin: config.admin.clone(),
        dispatcher: config.dispatcher.clone(),
        quotas: config.quotas.clone(),
        affinity: config.affinity.clone(),
    };
    let decided = &config.decided;
    let auto = |key: &str| match key {
        "dispatcher.worker_count" => Some(decided.workers.to_string()),
        "dispatcher.worker_pool.min_workers" => Some(decided.pools[0].min.to_string()),
        "dispatcher.worker_pool.max_workers" => Some(decided.pools[0].max.to_string()),
        "quotas.max_memory" => Some(format_size(decided.max_memory as u64)),
        "affinity.intake" => Some(cores(&decided.cores.intake)),
        "affinity.readers" => Some(cores(&decided.cores.readers)),
        "affinity.workers" => Some(cores(&decided.cores.workers)),
        "affinity.senders" => Some(cores(&decided.cores.senders)),
        _ => None,
    };
    for (key, value) in flat(&all) {
        match auto(&key) {
            Some(decision) if value == "auto" => line(out, &key, &decision, "auto"),
            _ => line(out, &key, &value, origin(config, &key)),
        }
    }
    if config.dispatcher.rate_limit.is_none() {
        line(out, "dispatcher.rate_limit", "none", "default");
    }
}

fn source(config: &Config, source: &SourceConfig, out: &mut String) {
    let prefix = format!("sources.{}", source.name);
    let _ = writeln!(out, "\nsource {}", source.name);
    line(out, "type", source.kind.name(), "set");
    let pipeline = source.pipeline.as_deref().unwrap_or("none");
    line(out, "pipeline", pipeline, origin(config, &format!("{prefix}.pipeline")));
    labels(config, &prefix, &source.labels, out);
    let from = inherited(config, &format!("{prefix}.strategy"), "dispatcher.backpressure.strategy");
    line(out, "strategy", strategy(source.strategy), from);
    match &source.rate_limit {
        None => line(out, "rate_limit", "none", origin(config, &format!("{prefix}.rate_limit"))),
        Some(limit) => flat(limit).iter().for_each(|(key, value)| {
            let key = format!("rate_limit.{key}");
            line(out, &key, value, origin(config, &format!("{prefix}.{key}")));
        }),
    }
    let own = match &source.kind {
        SourceKind::File(file) => flat(file),
        SourceKind::Docker(docker) => flat(docker),
        SourceKind::Syslog(syslog) => flat(syslog),
        SourceKind::Http(http) => flat(http),
        SourceKind::Loki(loki) => flat(loki),
        SourceKind::Socket(socket) => flat(socket),
        SourceKind::Stdin(stdin) => flat(stdin),
        SourceKind::Submit(submit) => flat(submit),
    };
    for (key, value) in own {
        line(out, &key, &value, origin(config, &format!("{prefix}.{key}")));
    }
}

fn labels(config: &Config, prefix: &str, labels: &Pairs<String>, out: &mut String) {
    if labels.0.is_empty() {
        line(out, "labels", "none", origin(config, &format!("{prefix}.labels")));
    }
    for (name, value) in &labels.0 {
        line(out, &format!("labels.{name}"), value, "set");
    }
}

fn pipelines(config: &Config, out: &mut String) {
    for pipeline in &config.pipelines {
        let users = config.sources.iter().filter(|source| source.pipeline.as_ref() == Some(&pipeline.name));
        let users: Vec<&str> = users.map(|source| source.name.as_str()).collect();
        let used = if users.is_empty() { "no source: it does nothing".into() } else { users.join(", ") };
        let pool = pipeline.workers.pool_among(&config.decided.pools).unwrap_or(0);
        let pool = &config.decided.pools[pool].name;
        let _ = writeln!(out, "\npipeline {} (used by {used}; workers of pool {pool})", pipeline.name);
        if pipeline.steps.is_empty() {
            out.push_str("  no steps\n");
        }
        for (index, step) in pipeline.steps.iter().enumerate() {
            let said = match step {
                StepConfig::Parse(parse) => format!("parse: {}", text(parse)),
                StepConfig::Discard(expression) => format!("discard: {expression}"),
                StepConfig::Keep(expression) => format!("keep: {expression}"),
                StepConfig::Timestamp(timestamp) => format!("timestamp: {}", text(timestamp)),
                StepConfig::Set(constants) => format!("set: {}", text(constants)),
                StepConfig::Rename(names) => format!("rename: {}", text(names)),
                StepConfig::Remove(names) => format!("remove: {}", text(names)),
                StepConfig::Redact(redact) => format!("redact: {}", text(redact)),
                StepConfig::Dedupe(dedupe) => format!("dedupe: {}", text(dedupe)),
                StepConfig::Throttle(throttle) => format!("throttle: {}", text(throttle)),
                StepConfig::Metric(metric) => format!("metric: {}", text(metric)),
                StepConfig::Validate(validate) => format!("validate: {}", text(validate)),
                StepConfig::Sample(sample) => format!("sample: {}", text(sample)),
                StepConfig::Enrich(enrich) => format!("enrich: {}", text(enrich)),
                StepConfig::Route(routes) => format!("route: {}", text(routes)),
                StepConfig::Custom(step) => format!("{}: of the program", text(step)),
            };
            let _ = writeln!(out, "  {}. {said}", index + 1);
        }
    }
}

fn sink(config: &Config, sink: &SinkConfig, out: &mut String) {
    let prefix = format!("sinks.{}", sink.name);
    let _ = writeln!(out, "\nsink {}", sink.name);
    line(out, "type", sink.kind.name(), "set");
    line(out, "enabled", &sink.enabled.to_string(), origin(config, &format!("{prefix}.enabled")));
    let when = sink.when.as_deref().unwrap_or("none: every entry");
    line(out, "when", when, origin(config, &format!("{prefix}.when")));
    let own = match &sink.kind {
        SinkKind::File(file) => flat(file),
        SinkKind::Loki(loki) => flat(loki),
        SinkKind::Http(http) => flat(http),
        SinkKind::Console(console) => flat(console),
        SinkKind::Blackhole(blackhole) => flat(blackhole),
        SinkKind::Custom(custom) => flat(custom),
    };
    for (key, value) in own.into_iter().chain(flat(&sink.lane)) {
        let path = format!("{prefix}.{key}");
        let from = match key.split_once('.') {
            Some(("retry", own @ ("max_retries" | "auth_grace"))) => {
                inherited(config, &path, &format!("dispatcher.{own}"))
            }
            Some(("retry", own)) => inherited(config, &path, &format!("dispatcher.retry_{own}")),
            Some(("circuit_breaker", _)) => inherited(config, &path, &format!("dispatcher.{key}")),
            _ => origin(config, &path),
        };
        line(out, &key, &value, from);
    }
}

fn threads(config: &Config, out: &mut String) {
    let planned = super::threads::planned(config);
    let _ = writeln!(out, "\nthreads and cores ({} at most)", super::threads::count(&planned));
    for one in &planned {
        let _ = writeln!(out, "  {:<42} {:<28} cores {}", one.kind, one.count, cores(&one.cores));
    }
}

fn stops(config: &Config, out: &mut String) {
    out.push_str("\nwho can stop whom\n");
    let of = |wanted: fn(&SourceConfig) -> bool| -> Vec<&str> {
        config.sources.iter().filter(|source| wanted(source)).map(|source| source.name.as_str()).collect()
    };
    let blocking = of(|source| source.strategy.waits());
    for sink in config.enabled_sinks() {
        let buffer = &sink.lane.buffer;
        let on_disk = buffer.is_on_disk() || config.spills();
        let size = format_size(buffer.max_size as u64);
        if on_disk && buffer.when_full != WhenFull::Block {
            let _ = writeln!(
                out,
                "  sink {} stops no source: what does not fit its {size} on disk is lost, counted ({})",
                sink.name,
                buffer.when_full.name()
            );
            continue;
        }
        if on_disk && !blocking.is_empty() {
            let first = if buffer.is_on_disk() { "" } else { "memory and " };
            let _ = writeln!(
                out,
                "  sink {}, when {first}its {size} on disk are full, stops: {}",
                sink.name,
                blocking.join(", ")
            );
            continue;
        }
        let _ = match (blocking.is_empty(), &sink.when) {
            (true, _) => writeln!(out, "  sink {} stops no source", sink.name),
            (false, None) => writeln!(out, "  sink {}, when full, stops: {}", sink.name, blocking.join(", ")),
            (false, Some(when)) => {
                writeln!(
                    out,
                    "  sink {}, when full, stops those of whose entries some match `{when}`: {}",
                    sink.name,
                    blocking.join(", ")
                )
            }
        };
    }
    for source in config.sources.iter().filter(|source| !source.strategy.waits()) {
        let loses = match source.strategy {
            Strategy::DropNewest => "its newest entries",
            _ => "the oldest of its own queued entries",
        };
        let _ = writeln!(out, "  source {} is never stopped: it loses {loses}, counted", source.name);
    }
    if !config.dispatcher.backpressure.enabled {
        out.push_str(
            "  backpressure is off: there are no watermarks, a queue stops its sources when it is full\n",
        );
    }
}

fn origin(config: &Config, path: &str) -> &'static str {
    if config.written.contains(path) { "set" } else { "default" }
}

fn inherited(config: &Config, path: &str, general: &str) -> &'static str {
    match (config.written.contains(path), config.written.contains(general)) {
        (true, _) => "set",
        (false, true) => "from dispatcher",
        (false, false) => "default",
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Block => "block",
        Strategy::DropOldest => "drop_oldest",
        Strategy::DropNewest => "drop_newest",
        Strategy::Spill => "spill",
    }
}

fn cores(ids: &[usize]) -> String {
    if ids.is_empty() { "any".into() } else { format!("{ids:?}") }
}

fn text<T: Serialize>(value: &T) -> String {
    serde_yaml::to_value(value).map_or_else(|error| error.to_string(), |value| said(&value))
}

/// Every key of a struct with its value, in order, the keys of inner structs joined with `.`.
pub(crate) fn flat<T: Serialize>(value: &T) -> Vec<(String, String)> {
    fn collect(value: &Value, before: &str, all: &mut Vec<(String, String)>) {
        let Value::Mapping(entries) = value else {
            all.push((before.into(), said(value)));
            return;
        };
        for (key, value) in entries {
            let key = key.as_str().unwrap_or_default();
            let path = if before.is_empty() { key.into() } else { format!("{before}.{key}") };
            collect(value, &path, all);
        }
    }
    let mut all = Vec::new();
    match serde_yaml::to_value(value) {
        Ok(value) => collect(&value, "", &mut all),
        Err(error) => all.push(("error".into(), error.to_string())),
    }
    all
}

fn said(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(said).collect::<Vec<_>>().join(", ")),
        Value::Mapping(entries) => {
            let pairs = entries.iter().map(|(key, value)| format!("{}: {}", said(key), said(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Tagged(tagged) => said(&tagged.value),
    }
}
