//! From steps as they are written in a config to steps that can run.

use super::StartError;
use crate::expr::Expr;
use crate::steps::config::{ParseConfig, ParseFormat, SetValue, StepConfig};
use crate::steps::parse::input::Input;
use crate::steps::pipeline::{Planned, StepSpec};
use crate::steps::set::ConstValue;

/// The condition written at `place`.
pub(super) fn compile(text: &str, place: &str) -> Result<Expr, StartError> {
    Expr::compile(text).map_err(|error| StartError::Config(format!("{place}: {}", error.message)))
}

/// The step, ready to be compiled with the others of its pipeline.
pub(super) fn planned(step: &StepConfig, place: &str) -> Result<Planned, StartError> {
    Ok(match step {
        StepConfig::Parse(parse) => parse_spec(parse).on_error(parse.on_error),
        StepConfig::Discard(condition) => StepSpec::Discard(compile(condition, place)?).into(),
        StepConfig::Keep(condition) => StepSpec::Keep(compile(condition, place)?).into(),
        StepConfig::Set(fields) => {
            let constant = |(name, value): &(String, SetValue)| (name.clone(), constant(value));
            StepSpec::Set(fields.0.iter().map(constant).collect()).into()
        }
        StepConfig::Custom(step) => StepSpec::Custom(Box::new(step.clone())).into(),
    })
}

fn parse_spec(parse: &ParseConfig) -> StepSpec {
    let input = Input::named(parse.field.as_deref());
    match parse.format {
        ParseFormat::Json => StepSpec::ParseJson(input),
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
