//! From steps as they are written in a config to steps that can run.

use super::StartError;
use crate::expr::Expr;
use crate::steps::config::{ParseConfig, ParseFormat, SetValue, StepConfig};
use crate::steps::edit::Remove;
use crate::steps::parse::input::Input;
use crate::steps::parse::regex;
use crate::steps::pipeline::{Planned, StepSpec};
use crate::steps::redact::Redact;
use crate::steps::set::ConstValue;

/// The condition written at `place`.
pub(super) fn compile(text: &str, place: &str) -> Result<Expr, StartError> {
    Expr::compile(text).map_err(|error| StartError::Config(format!("{place}: {}", error.message)))
}

/// The step, ready to be compiled with the others of its pipeline.
pub(super) fn planned(step: &StepConfig, place: &str) -> Result<Planned, StartError> {
    Ok(match step {
        StepConfig::Parse(parse) => parse_spec(parse, place)?.on_error(parse.on_error),
        StepConfig::Discard(condition) => StepSpec::Discard(compile(condition, place)?).into(),
        StepConfig::Keep(condition) => StepSpec::Keep(compile(condition, place)?).into(),
        StepConfig::Timestamp(timestamp) => {
            StepSpec::Timestamp(timestamp.clone()).on_error(timestamp.on_error)
        }
        StepConfig::Set(fields) => {
            let constant = |(name, value): &(String, SetValue)| (name.clone(), constant(value));
            StepSpec::Set(fields.0.iter().map(constant).collect()).into()
        }
        StepConfig::Rename(names) => StepSpec::Rename(names.0.clone()).into(),
        StepConfig::Remove(names) => StepSpec::Custom(Box::new(Remove::new(names))).into(),
        StepConfig::Redact(redact) => {
            let step = Redact::new(redact)
                .map_err(|error| StartError::Config(format!("{place}: redact: {error}")))?;
            StepSpec::Custom(Box::new(step)).on_error(redact.on_error)
        }
        // Made by whoever knows which of them there are: see `ordered`.
        StepConfig::Dedupe(_) | StepConfig::Throttle(_) | StepConfig::Metric(_) => {
            return Err(StartError::Config(format!("{place}: an ordered step stands in a named pipeline")));
        }
        StepConfig::Custom(step) => StepSpec::Custom(Box::new(step.clone())).into(),
    })
}

fn parse_spec(parse: &ParseConfig, place: &str) -> Result<StepSpec, StartError> {
    let input = Input::named(parse.field.as_deref());
    let zone = || parse.timezone.clone().unwrap_or_default().zone;
    Ok(match parse.format {
        ParseFormat::Json => StepSpec::ParseJson(input),
        ParseFormat::Logfmt => StepSpec::ParseLogfmt(input),
        ParseFormat::Nginx => StepSpec::ParseNginx(input),
        ParseFormat::NginxError => StepSpec::ParseNginxError(input, zone()),
        ParseFormat::Syslog => StepSpec::ParseSyslog(input, zone()),
        ParseFormat::Regex => {
            // The config refuses what cannot be compiled.
            let regex = regex::compile(parse.pattern.as_deref().unwrap_or_default());
            StepSpec::ParseRegex(
                input,
                regex.map_err(|error| StartError::Config(format!("{place}: parse: pattern: {error}")))?,
            )
        }
    })
}

fn constant(value: &SetValue) -> ConstValue {
    match value {
        SetValue::Text(text) => ConstValue::Text(text.clone()),
        SetValue::Integer(number) => ConstValue::Number((*number).into()),
        // The config refuses numbers JSON cannot write.
        SetValue::Float(number) => {
            serde_json::Number::from_f64(*number).map_or(ConstValue::Null, ConstValue::Number)
        }
        SetValue::Bool(value) => ConstValue::Bool(*value),
    }
}
