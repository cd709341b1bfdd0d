//! The `multiline` key of a source.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::pattern::Pattern;
use super::preset::Preset;
use super::{Rule, Rules};
use crate::units;

/// Which lines are one event: one of `start`, `continue`, `end` and `preset`, and the event's limits.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MultilineConfig {
    /// Lines that match this begin an event; all others belong to the one before.
    #[serde(default, deserialize_with = "pattern", skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Lines that match this belong to the event before; all others begin one.
    #[serde(default, deserialize_with = "pattern", skip_serializing_if = "Option::is_none")]
    pub r#continue: Option<String>,
    /// Lines that match this end their event.
    #[serde(default, deserialize_with = "pattern", skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Ready-made: the stack traces of a language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Most lines of an event; what follows begins another.
    #[serde(default = "max_lines", with = "units::count")]
    pub max_lines: usize,
    /// Most bytes of an event; the line that would not fit begins another. Absent: the source's `max_line`.
    #[serde(default, deserialize_with = "max_bytes", skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
    /// How long an event waits for its next line.
    #[serde(default = "timeout", with = "units::positive_duration")]
    pub timeout: Duration,
}

impl MultilineConfig {
    /// The longest event or line, in bytes, of a source with this `max_line`.
    pub fn longest(&self, max_line: usize) -> usize {
        self.max_bytes.map_or(max_line, |bytes| bytes.max(max_line))
    }

    /// The rules, of a source with this `max_line`.
    ///
    /// Errors: a pattern that cannot be compiled, or not one rule (a config that was read has neither).
    pub fn rules(&self, max_line: usize) -> Result<Rules, String> {
        let compile = Pattern::compile;
        let rule = match (&self.start, &self.r#continue, &self.end, self.preset) {
            (Some(start), None, None, None) => Rule::Start(compile(start)?),
            (None, Some(more), None, None) => Rule::Continue(compile(more)?),
            (None, None, Some(end), None) => Rule::End(compile(end)?),
            (None, None, None, Some(preset)) => Rule::Preset(preset),
            _ => return Err(ONE_RULE.into()),
        };
        let max_bytes = self.max_bytes.unwrap_or(max_line);
        Ok(Rules { rule, max_lines: self.max_lines, max_bytes, timeout: self.timeout })
    }
}

const ONE_RULE: &str = "expected one of `start`, `continue`, `end` and `preset`";

/// Reads the key of a source.
///
/// Errors: none or several of the rules.
pub fn multiline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MultilineConfig>, D::Error> {
    let config = MultilineConfig::deserialize(deserializer)?;
    let rules =
        [config.start.is_some(), config.r#continue.is_some(), config.end.is_some(), config.preset.is_some()];
    match rules.iter().filter(|given| **given).count() {
        1 => Ok(Some(config)),
        _ => Err(D::Error::custom(ONE_RULE)),
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match Pattern::compile(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(D::Error::custom(format_args!("not a regular expression: {error}"))),
    }
}

fn max_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    units::line_size::deserialize(deserializer).map(Some)
}

fn max_lines() -> usize {
    500
}

fn timeout() -> Duration {
    Duration::from_secs(1)
}
