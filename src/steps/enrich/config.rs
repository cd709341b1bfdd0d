//! `enrich` as written in a pipeline.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

use super::Fact;
use crate::steps::OnError;
use crate::units::Pairs;

/// `enrich`: from facts about the host, or from a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnrichConfig {
    /// Facts about this host, each with the field it becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Pairs<Fact>>,
    /// The file of a table: JSON if its name ends so, else CSV (RFC 4180) with the names of columns in its first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<PathBuf>,
    /// An expression: what is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The column it is looked up in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// How it is looked up.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub by: Option<Match>,
    /// The fields that are set, each with the column it is taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Pairs<String>>,
    /// What becomes of entries that the table has no row for.
    pub on_error: OnError,
}

/// How a row is looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// The column is what the key reads as.
    #[default]
    Exact,
    /// The column holds networks, and the key is an address in one of them; the smallest counts.
    Cidr,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Keys {
    host: Option<Pairs<Fact>>,
    table: Option<PathBuf>,
    key: Option<String>,
    column: Option<String>,
    #[serde(rename = "match")]
    by: Option<Match>,
    fields: Option<Pairs<String>>,
    on_error: OnError,
}

impl<'de> Deserialize<'de> for EnrichConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Keys { host, table, key, column, by, fields, on_error } = Keys::deserialize(deserializer)?;
        let wrong = match (&host, &table) {
            (None, None) => Some("expected `host` or `table`: where fields come from"),
            (Some(_), Some(_)) => Some("`host` and `table` are two steps: make two of it"),
            (Some(_), None) if key.is_some() || column.is_some() || by.is_some() || fields.is_some() => {
                Some("`key`, `column`, `match` and `fields` belong to `table`")
            }
            (None, Some(_)) if key.is_none() => Some("a `table` needs a `key`: what is looked up"),
            (None, Some(_)) if column.is_none() => Some("a `table` needs a `column`: where it is looked up"),
            (None, Some(_)) if fields.as_ref().is_none_or(|fields| fields.0.is_empty()) => {
                Some("a `table` needs `fields`: which columns become which fields")
            }
            _ => None,
        };
        match wrong {
            Some(wrong) => Err(D::Error::custom(wrong)),
            None => Ok(EnrichConfig { host, table, key, column, by, fields, on_error }),
        }
    }
}
