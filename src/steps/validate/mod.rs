//! `validate`: finds the entries that are not what they should be.
//!
//! Each rule is a condition of the language, so that a field is read, compared and matched here as everywhere.

pub mod config;

use crate::block::Block;
use crate::expr::{Expr, ExprError, Name};
use crate::steps::{Step, StepError, Verdict};
use config::{FieldRules, ValidateConfig};

/// Fails on entries that break one of its rules; the first that is broken is named.
#[derive(Clone, Debug)]
pub struct Validate {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// What it is about, as written.
    field: Box<str>,
    /// What is wrong where the condition does not hold.
    broken: Broken,
    /// The value of its key, as written.
    asked: Box<str>,
    holds: Expr,
}

/// How a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Missing,
    Type,
    Min,
    Max,
    MinLength,
    MaxLength,
    Values,
    Pattern,
}

impl Broken {
    fn words(self) -> &'static str {
        match self {
            Broken::Missing => "is missing",
            Broken::Type => "is of another type",
            Broken::Min => "is below its `min`",
            Broken::Max => "is above its `max`",
            Broken::MinLength => "is shorter than its `min_length`",
            Broken::MaxLength => "is longer than its `max_length`",
            Broken::Values => "is none of its `values`",
            Broken::Pattern => "does not match its `pattern`",
        }
    }
}

impl Validate {
    /// A step with these rules.
    ///
    /// Errors: the field it is about, and what is wrong with its name or its pattern.
    pub fn new(config: &ValidateConfig) -> Result<Self, (String, ExprError)> {
        let mut rules = Vec::new();
        for (field, asked) in &config.fields.0 {
            rules.extend(rules_of(field, asked).map_err(|error| (field.clone(), error))?);
        }
        Ok(Validate { rules })
    }
}

/// The rules of one field: first whether it is there, then what it is.
fn rules_of(field: &str, asked: &FieldRules) -> Result<Vec<Rule>, ExprError> {
    Name::compile(field)?;
    let exists = format!("exists {field}");
    // Every entry has these, and the language refuses to ask.
    let always = matches!(field, "message" | "source");
    let mut rules = Vec::new();
    if !always {
        let is_there = Expr::compile(&exists)?;
        if asked.required {
            rules.push(Rule {
                field: field.into(),
                broken: Broken::Missing,
                asked: "".into(),
                holds: is_there,
            });
        }
    }
    let mut rule = |broken, said: String, condition: String| {
        let holds = Expr::compile(&if always { condition } else { format!("not {exists} or {condition}") })?;
        rules.push(Rule { field: field.into(), broken, asked: said.into(), holds });
        Ok(())
    };
    if let Some(of) = asked.of {
        rule(Broken::Type, format!("not {}", of.word()), of.condition(field))?;
    }
    if let Some(min) = &asked.min {
        rule(Broken::Min, min.to_string(), format!("{field} >= {min}"))?;
    }
    if let Some(max) = &asked.max {
        rule(Broken::Max, max.to_string(), format!("{field} <= {max}"))?;
    }
    if let Some(min) = asked.min_length {
        rule(Broken::MinLength, min.to_string(), format!("length({field}) >= {min}"))?;
    }
    if let Some(max) = asked.max_length {
        rule(Broken::MaxLength, max.to_string(), format!("length({field}) <= {max}"))?;
    }
    if let Some(values) = &asked.values {
        let literals: Vec<String> = values.iter().map(config::literal).collect();
        let list = literals.join(", ");
        rule(Broken::Values, list.clone(), format!("{field} in [{list}]"))?;
    }
    if let Some(pattern) = &asked.pattern {
        rule(Broken::Pattern, pattern.clone(), format!("{field} =~ {}", config::quoted(pattern)))?;
    }
    Ok(rules)
}

impl Step for Validate {
    fn name(&self) -> &'static str {
        "validate"
    }

    fn explain(&self, error: StepError) -> String {
        let StepError::Part(part, what) = error else { return error.to_string() };
        match self.rules.get(usize::from(part)) {
            Some(Rule { field, asked, .. }) if asked.is_empty() => format!("`{field}` {what}"),
            Some(Rule { field, asked, .. }) => format!("`{field}` {what} ({asked:.100})"),
            None => what.into(),
        }
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        match self.rules.iter().enumerate().find(|(_, rule)| !rule.holds.matches(block, index)) {
            Some((at, rule)) => Err(StepError::Part(at as u16, rule.broken.words())),
            None => Ok(Verdict::Keep),
        }
    }
}
