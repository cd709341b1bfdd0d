//! From steps as they are written in a config to steps that can run.

use super::StartError;
use crate::expr::Expr;
use crate::steps::config::{ParseFormat, SetValue, StepConfig};
use crate::steps::pipeline::StepSpec;
use crate::steps::set::ConstValue;

/// The condition written at `place`.
pub(super) fn compile(text: &str, place: &str) -> Result<Expr, StartError> {
    Expr::compile(text).map_err(|error| StartError::Config(format!("{place}: {}", error.message)))
}

/// The step, ready to be compiled with the others of its pipeline.
pub(super) fn step_spec(step: &StepConfig, place: &str) -> Result<StepSpec, StartError> {
    Ok(match step {
        StepConfig::Parse(ParseFormat::Json) => StepSpec::ParseJson,
        StepConfig::Discard(condition) => StepSpec::Discard(compile(condition, place)?),
        StepConfig::Set(fields) => {
            let constant = |(name, value): &(String, SetValue)| (name.clone(), constant(value));
            StepSpec::Set(fields.0.iter().map(constant).collect())
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
