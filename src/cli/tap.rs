//! `ringmain tap`: live entries of a running one, at any point of their way.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::ask::{self, AdminArgs, Asked};
use super::{exit, fail};
use crate::tap::Point;

/// Where to look, and what at.
#[derive(Debug, Args)]
pub struct TapArgs {
    /// source:NAME, step:PIPELINE/1 (behind the first step), or sink:NAME
    #[arg(value_name = "POINT", value_parser = |text: &str| Point::parse(text))]
    point: Point,
    /// Shows only entries for which this condition holds, in the language of `when`
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Most entries per second; what is beyond is counted, not shown
    #[arg(long, value_name = "ENTRIES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=crate::tap::RATE_MAX))]
    rate: u64,
    /// Ends after so many entries
    #[arg(long, value_name = "ENTRIES")]
    count: Option<u64>,
    /// Ends after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// One JSON object per line, with all that is known of the entry
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    crate::units::parse_duration(text).ok_or("expected a duration such as 500ms, 10s or 5m")
}

/// How often what was seen is fetched.
const PACE: Duration = Duration::from_millis(200);

/// Shows entries until there were enough, or it is interrupted.
pub fn run(args: &TapArgs) -> ExitCode {
    let begun = Instant::now();
    let id = format!("{:016x}", fastrand::u64(..));
    let mut query = format!("id={id}&at={}&rate={}", encoded(&args.point.to_string()), args.rate);
    if let Some(condition) = &args.condition {
        query.push_str(&format!("&where={}", encoded(condition)));
    }
    let mut shown = 0;
    loop {
        let asked = ask::get(&args.admin, &format!("/tap?{query}"));
        let answer = match asked {
            Asked::Answered(answer) => answer,
            Asked::Refused(why) => return fail(exit::USAGE, &why),
            Asked::Failed(why) => return fail(exit::NOT_STARTED, &why),
        };
        match show(&answer, args, &mut shown, &mut io::stdout().lock(), &mut io::stderr().lock()) {
            Ok(true) => {}
            // Enough, or nobody reads any more.
            Ok(false) | Err(_) => return ExitCode::from(exit::CLEAN),
        }
        if args.duration.is_some_and(|duration| begun.elapsed() >= duration) {
            return ExitCode::from(exit::CLEAN);
        }
        std::thread::sleep(PACE);
    }
}

/// Shows what came; false once it was enough.
fn show(
    answer: &str,
    args: &TapArgs,
    shown: &mut u64,
    out: &mut impl Write,
    aside: &mut impl Write,
) -> io::Result<bool> {
    for line in answer.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        if let Some(skipped) = entry.pointer("/tap/skipped").and_then(Value::as_u64) {
            if skipped > 0 {
                writeln!(aside, "... {skipped} more entries went by unseen (--rate {})", args.rate)?;
            }
            continue;
        }
        match args.json {
            true => writeln!(out, "{line}")?,
            false => writeln!(out, "{}", readable(&entry))?,
        }
        *shown += 1;
        if args.count.is_some_and(|count| *shown >= count) {
            return Ok(false);
        }
    }
    out.flush()?;
    Ok(true)
}

/// An entry in one line for people: its time, where it came from, what it says, and what is known of it.
fn readable(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("");
    let mut line = format!("{} {} {}", text("time"), text("source"), escaped(text("message")));
    for part in ["labels", "fields"] {
        for (name, value) in entry[part].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), String::from);
            line.push_str(&format!("  {}={}", escaped(name), escaped(&value)));
        }
    }
    line
}

/// What an entry says must not speak to the terminal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => out.extend(letter.escape_default()),
            false => out.push(letter),
        }
    }
    out
}

/// Percent-encoded for a query (RFC 3986): everything but unreserved characters.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tap: TapArgs,
    }

    fn args(line: &str) -> Result<TapArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("tap").chain(line.split(' '))).map(|line| line.tap)
    }

    const ANSWER: &str = concat!(
        r#"{"time":"2026-01-01T00:00:00Z","source":"app","origin":"a","labels":{"job":"x"},"message":"a\u001bb","fields":{"n":1}}"#,
        "\n",
        r#"{"time":"2026-01-01T00:00:01Z","source":"app","origin":"a","labels":{},"message":"c","fields":{}}"#,
        "\n",
        r#"{"tap":{"shown":2,"skipped":7}}"#,
        "\n"
    );

    #[test]
    fn entries_are_shown_for_people_or_as_they_came_and_what_was_skipped_is_said_aside() {
        let shown = |line: &str| {
            let (mut out, mut aside, mut count) = (Vec::new(), Vec::new(), 0);
            let more = show(ANSWER, &args(line).unwrap(), &mut count, &mut out, &mut aside).unwrap();
            (String::from_utf8(out).unwrap(), String::from_utf8(aside).unwrap(), more)
        };
        let (out, aside, more) = shown("sink:out");
        assert_eq!(out, "2026-01-01T00:00:00Z app a\\u{1b}b  job=x  n=1\n2026-01-01T00:00:01Z app c\n");
        assert!(aside.contains("7 more entries") && more);
        let (out, _, more) = shown("sink:out --json --count 1");
        assert_eq!((out.as_str(), more), (ANSWER.split_inclusive('\n').next().unwrap(), false));
    }

    #[test]
    fn wrong_points_and_rates_are_refused_before_anyone_is_asked() {
        assert!(args("sink:out --rate 0").is_err() && args("nowhere").is_err() && args("step:x").is_err());
        assert!(args("step:x/1 --duration 2s --rate 5").is_ok());
        assert_eq!(encoded("a == 'b c'"), "a%20%3D%3D%20%27b%20c%27");
    }
}
