//! `ringmain stats`: what a running one says of itself, as tables.
//!
//! The tables follow the shape of the JSON and know no names: an object of objects, or a list of objects, is a table
//! with a row for each; anything else is a list of names and values.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::{exit, fail, print};

/// Whom to ask and how to print.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Where the admin server listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8401")]
    admin: SocketAddr,
    /// Prints the JSON as it came
    #[arg(long)]
    json: bool,
}

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Asks and prints.
pub fn run(args: &StatsArgs) -> ExitCode {
    let url = format!("http://{}/stats", args.admin);
    let answer = match fetch(&url) {
        Ok(answer) => answer,
        Err(message) => return fail(exit::NOT_STARTED, &message),
    };
    if args.json {
        return print(&format!("{}\n", answer.trim_end()));
    }
    match serde_json::from_str(&answer) {
        Ok(value) => print(&tables(&value)),
        Err(error) => fail(exit::NOT_STARTED, &format!("{url} did not answer with JSON: {error}")),
    }
}

fn fetch(url: &str) -> Result<String, String> {
    // No proxy: the server is on this host or close by, whatever http_proxy says for the rest of the world.
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(TIMEOUT)).build();
    let agent = ureq::Agent::new_with_config(config);
    let answer = agent
        .get(url)
        .call()
        .and_then(|mut response| response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string());
    answer.map_err(|error| match error {
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on {url}: is ringmain running, with `admin` there?")
        }
        ureq::Error::ConnectionFailed => {
            format!("nothing listens on {url}: is ringmain running, with `admin` there?")
        }
        other => format!("{url}: {other}"),
    })
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
        .filter(|(_, value)| rows(value).is_none() && !value.is_object())
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
fn rows(value: &Value) -> Option<Vec<(String, &Map<String, Value>)>> {
    let rows: Option<Vec<_>> = match value {
        Value::Object(object) => {
            object.iter().map(|(name, row)| Some((name.clone(), row.as_object()?))).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, row)| Some((index.to_string(), row.as_object()?))).collect()
        }
        _ => None,
    };
    rows.filter(|rows| !rows.is_empty())
}

fn table(rows: &[(String, &Map<String, Value>)], out: &mut String) {
    let mut names: Vec<&str> = Vec::new();
    for (_, row) in rows {
        for name in row.keys() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let head = std::iter::once(String::new()).chain(names.iter().map(|name| (*name).to_owned())).collect();
    let mut lines: Vec<Vec<String>> = vec![head];
    for (row_name, row) in rows {
        let cells = names.iter().map(|name| row.get(*name).map_or(String::new(), said));
        lines.push(std::iter::once(row_name.clone()).chain(cells).collect());
    }
    columns(&lines, out);
}

/// Lines of cells: the first column to the left, the others to the right, as figures are read.
fn columns(lines: &[Vec<String>], out: &mut String) {
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

/// A value in a cell, without anything that steers a terminal.
fn said(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.3}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    };
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn objects_of_objects_are_tables_and_the_rest_is_a_list() {
        let value = serde_json::json!({
            "state": "running",
            "uptime_seconds": 12.5,
            "sources": { "app": { "received": 10, "lag": 0 }, "syslog": { "received": 5, "dropped": { "full": 1 } } },
            "ledger": { "balanced": true, "inner": { "total": 15 } },
            "threads": [ { "name": "worker-0" }, { "name": "send-archive" } ],
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
          dropped  lag  received
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
        assert!(line("0").ends_with("worker-0") && line("syslog").contains(r#"{"full":1}"#));
    }

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        assert!(!tables(&serde_json::json!({"a": "\u{1b}[2J"})).contains('\u{1b}'));
    }

    #[test]
    fn stats_are_fetched_over_http_and_a_closed_port_is_said_clearly() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/stats", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"a\":1}")
                .unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        assert_eq!(fetch(&url), Ok("{\"a\":1}".into()));
        assert!(server.join().unwrap().starts_with("GET /stats HTTP/1.1\r\n"));
        assert!(fetch(&url).unwrap_err().contains("nothing listens on"));
    }
}
