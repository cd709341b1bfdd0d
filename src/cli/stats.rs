//! `ringmain stats`: what a running one says of itself, as tables.
//!
//! The tables follow the shape of the JSON and know no names: an object of objects, or a list of objects, is a table
//! with a row for each; anything else is a list of names and values.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::ask::{self, AdminArgs, Asked};
use super::{exit, fail, print};

/// Whom to ask and how to print.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Prints the JSON as it came
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks and prints.
pub fn run(args: &StatsArgs) -> ExitCode {
    let answer = match ask::get(&args.admin, "/stats") {
        Asked::Answered(answer) => answer,
        Asked::Refused(why) | Asked::Failed(why) => return fail(exit::NOT_STARTED, &why),
    };
    if args.json {
        return print(&format!("{}\n", answer.trim_end()));
    }
    match serde_json::from_str(&answer) {
        Ok(value) => print(&tables(&value)),
        Err(error) => {
            fail(exit::NOT_STARTED, &format!("{}/stats did not answer with JSON: {error}", args.admin.admin))
        }
    }
}

/// The whole answer as text.
fn tables(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(object) => section("", object, &mut out),
        other => out.push_str(&format!("{}\n", said(other))),
    }
    out
}

fn section(title: &str, object: &Map<String, Value>, out: &mut String) {
    let simple: Vec<Vec<String>> = object
        .iter()
        .filter(|(_, value)| rows(value).is_none() && !value.is_object() && !is_empty(value))
        .map(|(name, value)| vec![name.clone(), said(value)])
        .collect();
    if !simple.is_empty() {
        heading(title, out);
        columns(&simple, out);
    }
    for (name, value) in object {
        let title = if title.is_empty() { name.clone() } else { format!("{title}.{name}") };
        match (rows(value), value) {
            (Some(rows), _) => {
                heading(&title, out);
                table(&rows, out);
            }
            (None, Value::Object(inner)) if !inner.is_empty() => section(&title, inner, out),
            _ => {}
        }
    }
}

fn heading(title: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    if !title.is_empty() {
        out.push_str(&format!("{title}\n"));
    }
}

/// The rows of a table: names with objects, if the value is that and nothing else.
fn rows<'a>(value: &'a Value) -> Option<Vec<(String, &'a Map<String, Value>)>> {
    let rows: Option<Vec<_>> = match value {
        Value::Object(object) => {
            object.iter().map(|(name, row)| Some((name.clone(), row.as_object()?))).collect()
        }
        Value::Array(items) => {
            let name = |(index, row): (usize, &Map<String, Value>)| {
                row.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned)
            };
            let row = |(index, row): (usize, &'a Value)| {
                let row = row.as_object()?;
                Some((name((index, row)), row))
            };
            items.iter().enumerate().map(row).collect()
        }
        _ => None,
    };
    rows.filter(|rows| !rows.is_empty())
}

/// Columns that say nothing of any row are left out: a table is to be read, and `--json` has all.
fn table(rows: &[(String, &Map<String, Value>)], out: &mut String) {
    let mut names: Vec<&str> = Vec::new();
    for (title, row) in rows {
        for (name, value) in *row {
            let is_title = name == "name" && value.as_str() == Some(title);
            if !is_title && !is_nothing(value) && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    let head = std::iter::once(String::new()).chain(names.iter().map(|name| (*name).to_owned())).collect();
    let mut lines: Vec<Vec<String>> = vec![head];
    for (row_name, row) in rows {
        let cells = names.iter().map(|name| row.get(*name).map_or(String::new(), said));
        lines.push(std::iter::once(row_name.clone()).chain(cells).collect());
    }
    columns(&lines, out);
}

/// Lines of cells: the first column to the left, the others to the right, as figures are read.
pub(super) fn columns(lines: &[Vec<String>], out: &mut String) {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines {
        let mut text = String::from(" ");
        for (column, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, after) = if column == 0 { ("", pad.as_str()) } else { (pad.as_str(), "") };
            text.push_str(&format!(" {before}{cell}{after} "));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}

/// Whether it is a list without anything in it: with something in it, it would be a table further down.
fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// Whether the value is what there is when nothing has happened.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.values().all(is_nothing),
    }
}

/// A value in a cell, without anything that steers a terminal. Of an object what is not nothing, of a list of objects how many.
fn said(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".into(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) if items.iter().all(Value::is_object) => items.len().to_string(),
        Value::Array(items) => items.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(_) if is_nothing(value) => "-".into(),
        Value::Object(object) => {
            let some = object.iter().filter(|(_, value)| !is_nothing(value));
            some.map(|(name, value)| format!("{name} {}", said(value))).collect::<Vec<_>>().join(", ")
        }
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.3}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    };
    printable(&text)
}

/// The text without anything that steers a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_objects_are_tables_and_the_rest_is_a_list() {
        let value = serde_json::json!({
            "state": "running",
            "uptime_seconds": 12.5,
            "sources": { "app": { "received": 10, "lag": 0 }, "syslog": { "received": 5, "dropped": { "full": 1, "none": 0, "late": 2 } } },
            "ledger": { "balanced": true, "inner": { "total": 15 } },
            "threads": [ { "name": "worker-0", "tid": 7 }, { "name": "send-archive", "tid": 8 } ],
            "empty": {},
        });
        let expected = "  \
  state           running
  uptime_seconds   12.500

ledger
  balanced  true

ledger.inner
  total  15

sources
          dropped  received
";
        let text = tables(&value);
        // The order of names is that of the JSON reader; what matters is that every value stands under its name.
        for part in [
            "state           running",
            "uptime_seconds   12.500",
            "ledger\n  balanced  true",
            "ledger.inner\n  total  15",
        ] {
            assert!(text.contains(part), "{part} in\n{text}\n{expected}");
        }
        let line =
            |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned();
        let head = text.lines().find(|line| line.contains("received")).unwrap();
        let end = head.find("received").unwrap() + "received".len();
        assert!(line("app")[..end].ends_with("10") && line("syslog")[..end].ends_with('5'), "{text}");
        assert!(line("worker-0").ends_with("7") && line("syslog").contains("full 1, late 2"), "{text}");
        assert!(!text.contains("lag") && !text.contains("empty"), "what says nothing is left out: {text}");
        let files =
            serde_json::json!({ "sources": [{ "name": "a", "files": [{}, {}], "listening": ["x", "y"] }] });
        let text = tables(&files);
        assert!(text.lines().any(|line| line.split_whitespace().eq(["a", "2", "x,", "y"])), "{text}");
    }

    #[test]
    fn lists_without_anything_in_them_are_left_out_wherever_they_stand() {
        let value = serde_json::json!({
            "metrics": [], "ordered": [], "phase": "running", "config": null,
            "sources": [ { "name": "a", "received": 1 } ],
            "ledger": { "broken": [], "failed": 0 },
            "dlq": { "by_reason": [], "inner": {} },
        });
        let text = tables(&value);
        assert!(text.starts_with("  config        -\n  phase   running\n\n"), "{text}");
        for nothing in ["metrics", "ordered", "broken", "dlq", "by_reason"] {
            assert!(!text.contains(nothing), "{nothing} in\n{text}");
        }
        assert!(text.contains("ledger\n  failed  0\n") && text.contains("sources\n"), "{text}");
    }

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        assert!(!tables(&serde_json::json!({"a": "\u{1b}[2J"})).contains('\u{1b}'));
    }
}
