//! Files to tables: CSV (RFC 4180) and JSON.

use super::table::{Shape, Table};
use crate::entry::Kind;
use crate::steps::parse::rows::is_number;
use serde_json::{Map, Value};

/// The table that a CSV file holds: its first record names the columns.
///
/// Errors: in words, with the line.
pub fn csv(bytes: &[u8], shape: &Shape) -> Result<Table, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    let mut records = Records { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let (_, names) = records.next().transpose()?.ok_or("an empty file: the first line names the columns")?;
    let place = |name: &str| {
        names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| format!("there is no column `{name}`; there are {}", names.join(", ")))
    };
    let key = place(&shape.key)?;
    let columns = shape.columns.iter().map(|name| place(name)).collect::<Result<Vec<_>, _>>()?;
    let mut table = Table::new(shape.by, columns.len());
    for record in records {
        let (line, cells) = record?;
        if cells.len() != names.len() {
            return Err(format!(
                "line {line}: {} cells, where there are {} columns",
                cells.len(),
                names.len()
            ));
        }
        let row = columns.iter().map(|column| {
            let bytes = cells[*column].as_bytes();
            let kind = if is_number(bytes) { Kind::Number } else { Kind::Plain };
            (!bytes.is_empty()).then_some((kind, bytes))
        });
        table.add(&cells[key], row).map_err(|wrong| format!("line {line}: {wrong}"))?;
    }
    Ok(table)
}

/// The records of a CSV file, each with the line it begins in; empty lines are none.
struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<(usize, Vec<String>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n")) {
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.rest.is_empty() {
            return None;
        }
        let (begun, mut cells) = (self.line, Vec::new());
        loop {
            match self.cell() {
                Ok(cell) => cells.push(cell),
                Err(wrong) => {
                    self.rest = "";
                    return Some(Err(format!("line {begun}: {wrong}")));
                }
            }
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => return Some(Ok((begun, cells))),
            }
        }
    }
}

impl Records<'_> {
    /// The next cell; behind it stands a comma or the end of the record.
    fn cell(&mut self) -> Result<String, &'static str> {
        let Some(mut inside) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            let (cell, rest) = self.rest.split_at(end);
            self.rest = rest;
            let cell = if rest.starts_with(',') { cell } else { cell.strip_suffix('\r').unwrap_or(cell) };
            return if cell.contains('"') {
                Err("a quote within a cell without quotes")
            } else {
                Ok(cell.into())
            };
        };
        let mut cell = String::new();
        loop {
            let (part, rest) = inside.split_once('"').ok_or("a quote that is never closed")?;
            cell.push_str(part);
            self.line += part.matches('\n').count();
            match rest.strip_prefix('"') {
                Some(rest) => {
                    cell.push('"');
                    inside = rest;
                }
                None => {
                    let rest = rest.strip_prefix('\r').filter(|rest| rest.starts_with('\n')).unwrap_or(rest);
                    self.rest = rest;
                    let ends = rest.is_empty() || rest.starts_with([',', '\n']);
                    return if ends { Ok(cell) } else { Err("text behind a cell in quotes") };
                }
            }
        }
    }
}

/// The table that a JSON file holds: a list of objects.
///
/// Errors: in words, with the number of the object.
pub fn json(bytes: &[u8], shape: &Shape) -> Result<Table, String> {
    let objects: Vec<Map<String, Value>> =
        serde_json::from_slice(bytes).map_err(|error| format!("not a list of objects: {error}"))?;
    let mut table = Table::new(shape.by, shape.columns.len());
    for (at, object) in objects.iter().enumerate() {
        let wrong = |what: String| format!("object {}: {what}", at + 1);
        let key = match object.get(&shape.key) {
            Some(Value::String(text)) => text.clone(),
            Some(other @ (Value::Number(_) | Value::Bool(_))) => other.to_string(),
            _ => return Err(wrong(format!("it has no `{}`", shape.key))),
        };
        let cells: Vec<Option<(Kind, String)>> =
            shape.columns.iter().map(|column| object.get(column).and_then(cell)).collect();
        let row = cells.iter().map(|cell| cell.as_ref().map(|(kind, text)| (*kind, text.as_bytes())));
        table.add(&key, row).map_err(wrong)?;
    }
    Ok(table)
}

fn cell(value: &Value) -> Option<(Kind, String)> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => (Kind::Plain, text.clone()),
        Value::Number(number) => (Kind::Number, number.to_string()),
        Value::Bool(truth) => (Kind::Bool, truth.to_string()),
        other => (Kind::Json, other.to_string()),
    })
}
