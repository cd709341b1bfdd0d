//! From steps as they are written in a config to steps that can run.

use super::StartError;
use crate::config::Config;
use crate::expr::{Expr, ValueExpr};
use crate::steps::config::{EnrichConfig, ParseConfig, ParseFormat, SetValue, StepConfig};
use crate::steps::edit::Remove;
use crate::steps::enrich::{Shape, TableFile};
use crate::steps::parse::input::Input;
use crate::steps::parse::regex;
use crate::steps::pipeline::{Planned, StepSpec};
use crate::steps::redact::Redact;
use crate::steps::route::ELSE;
use crate::steps::set::{ConstValue, Given};
use crate::steps::validate::Validate;
use std::sync::Arc;

/// The condition written at `place`.
pub(super) fn compile(text: &str, place: &str) -> Result<Expr, StartError> {
    Expr::compile(text).map_err(|error| StartError::Config(format!("{place}: {}", error.message)))
}

/// What the step at `at` of a pipeline is called where something is said about it.
pub(super) fn place_of(pipeline: &str, at: usize) -> String {
    format!("step {} of pipeline `{pipeline}`", at + 1)
}

/// Whether the tables of all `enrich` steps can be read, in pipelines that no source has as well.
///
/// Errors: all that cannot, and what is wrong.
pub fn tables(config: &Config) -> Result<(), StartError> {
    let mut wrong = Vec::new();
    for pipeline in &config.pipelines {
        for (at, step) in pipeline.steps.iter().enumerate() {
            if let StepConfig::Enrich(enrich) = step
                && enrich.table.is_some()
                && let Err(error) = table(enrich, &place_of(&pipeline.name, at))
            {
                wrong.push(error.to_string());
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(StartError::Config(wrong.join("\n"))) }
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
        StepConfig::Set(set) => {
            let field = |(name, value): &(String, SetValue)| Ok((name.clone(), given(value, place)?));
            let fields: Vec<_> = set.fields.0.iter().map(field).collect::<Result<_, StartError>>()?;
            StepSpec::Set(fields).on_error(set.on_error)
        }
        StepConfig::Rename(names) => StepSpec::Rename(names.0.clone()).into(),
        StepConfig::Remove(names) => StepSpec::Custom(Box::new(Remove::new(names))).into(),
        StepConfig::Redact(redact) => {
            let step = Redact::new(redact)
                .map_err(|error| StartError::Config(format!("{place}: redact: {error}")))?;
            StepSpec::Custom(Box::new(step)).on_error(redact.on_error)
        }
        StepConfig::Validate(validate) => {
            let step = Validate::new(validate).map_err(|(field, error)| {
                StartError::Config(format!("{place}: validate: {field}: {}", error.message))
            })?;
            StepSpec::Custom(Box::new(step)).on_error(validate.on_error)
        }
        StepConfig::Sample(sample) => {
            let key = sample.key.as_deref().map(|text| value(text, place, "sample")).transpose()?;
            let except = sample.except.as_deref().map(|text| compile(text, place)).transpose()?;
            StepSpec::Sample(sample.clone(), key, except).on_error(sample.on_error)
        }
        StepConfig::Enrich(enrich) => return enriched(enrich, place),
        StepConfig::Route(routes) => {
            let (rest, routes): (Vec<_>, Vec<_>) =
                routes.0.iter().cloned().partition(|(name, _)| name == ELSE);
            let route = |(name, text): (String, String)| Ok((name, compile(&text, place)?));
            let routes = routes.into_iter().map(route).collect::<Result<Vec<_>, StartError>>()?;
            StepSpec::Route(routes, rest.into_iter().next().map(|(_, name)| name)).into()
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

/// The expression written at `place`, in a step with this verb.
fn value(text: &str, place: &str, verb: &str) -> Result<ValueExpr, StartError> {
    ValueExpr::compile(text)
        .map_err(|error| StartError::Config(format!("{place}: {verb}: {}", error.message)))
}

fn enriched(enrich: &EnrichConfig, place: &str) -> Result<Planned, StartError> {
    if let Some(facts) = &enrich.host {
        let mut fields = Vec::new();
        for (field, fact) in &facts.0 {
            match fact.find() {
                Some(text) => fields.push((field.clone(), ConstValue::Text(text).into())),
                None => tracing::warn!(
                    "{place}: enrich: this host does not say its {fact:?}; `{field}` is not set"
                ),
            }
        }
        return Ok(StepSpec::Set(fields).into());
    }
    // The config refuses a table without these.
    let key = value(enrich.key.as_deref().unwrap_or_default(), place, "enrich")?;
    let names = enrich.fields.iter().flat_map(|fields| &fields.0).map(|(name, _)| name.clone()).collect();
    Ok(StepSpec::Enrich(table(enrich, place)?, key, names).on_error(enrich.on_error))
}

/// The table of the step at `place`.
fn table(enrich: &EnrichConfig, place: &str) -> Result<Arc<TableFile>, StartError> {
    let path = enrich.table.clone().unwrap_or_default();
    let columns =
        enrich.fields.iter().flat_map(|fields| &fields.0).map(|(_, column)| column.clone()).collect();
    let (by, key) = (enrich.by.unwrap_or_default(), enrich.column.clone().unwrap_or_default());
    let table = TableFile::load(path.clone(), Shape { by, key, columns }, place.to_owned());
    table.map_err(|error| {
        // Whoever checks a config elsewhere than where it will run has to know which file was meant.
        let from = match std::env::current_dir() {
            Ok(dir) if path.is_relative() && !path.exists() => {
                format!("; a relative path counts from {}", dir.display())
            }
            _ => String::new(),
        };
        StartError::Config(format!("{place}: enrich: table {}: {error}{from}", path.display()))
    })
}

/// What a field is set to.
fn given(value: &SetValue, place: &str) -> Result<Given, StartError> {
    match value.expression() {
        Some(text) => {
            let made = ValueExpr::compile(text);
            made.map(Given::Made)
                .map_err(|error| StartError::Config(format!("{place}: set: {}", error.message)))
        }
        None => Ok(Given::Constant(constant(value))),
    }
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
