//! `ringmain buffer inspect`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{WhichArgs, read};
use crate::buffer::check::{Report, SegmentReport};
use crate::cli::{exit, fail, print};

/// Which ones, and how.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: WhichArgs,
}

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode, ExitCode> {
    let buffers = args.which.open()?;
    let mut reports = Vec::new();
    for (name, dir) in &buffers.all {
        let report = read(name, dir)?.report();
        let report = report.map_err(|error| {
            fail(exit::NOT_STARTED, &format!("buffer {name}: {}: {error}", dir.display()))
        })?;
        reports.push((name.as_str(), report));
    }
    if args.json {
        let all: serde_json::Map<String, Value> =
            reports.iter().map(|(name, report)| ((*name).to_owned(), as_json(report))).collect();
        return Ok(print(&format!("{:#}\n", json!({ "buffers": all }))));
    }
    if reports.is_empty() {
        return Ok(print("no buffers\n"));
    }
    Ok(print(&reports.iter().map(|(name, report)| as_text(name, report)).collect::<Vec<_>>().join("\n")))
}

fn content(report: &Report) -> &'static str {
    match report.content {
        1 => "entries",
        2 => "letters",
        _ => "unknown",
    }
}

fn file(segment: &SegmentReport) -> String {
    segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn as_json(report: &Report) -> Value {
    let segment = |segment: &SegmentReport| {
        json!({
            "file": file(segment),
            "id": segment.id,
            "bytes": segment.bytes,
            "capacity": segment.capacity,
            "created_ms": segment.created_ms,
            "header_sound": segment.header_is_sound,
            "first_seq": segment.first_seq,
            "entries": segment.entries,
        })
    };
    json!({
        "content": content(report),
        "entries": report.entries,
        "committed_seq": report.committed,
        "next_seq": report.next,
        "bytes": report.segments.iter().map(|segment| segment.bytes).sum::<u64>(),
        "state_sound": report.state_is_sound,
        "quarantined_bytes": report.quarantined_bytes,
        "segments": report.segments.iter().map(segment).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

fn as_text(name: &str, report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{name}: {} {} not done (numbers {} to {}), {} bytes in {} segments{}",
        report.entries,
        content(report),
        report.committed,
        report.next,
        report.segments.iter().map(|segment| segment.bytes).sum::<u64>(),
        report.segments.len(),
        if report.state_is_sound { "" } else { ", the state is missing or damaged" },
    );
    if report.quarantined_bytes > 0 {
        let _ = writeln!(out, "  {} bytes in quarantine", report.quarantined_bytes);
    }
    for segment in &report.segments {
        let first = segment.first_seq.map_or("-".into(), |seq| seq.to_string());
        let _ = writeln!(
            out,
            "  {}  {:>10} of {:>10} bytes  first {first:>10}  entries {:>8}{}",
            file(segment),
            segment.bytes,
            segment.capacity,
            segment.entries,
            if segment.header_is_sound { "" } else { "  header damaged" },
        );
    }
    for note in &report.notes {
        let _ = writeln!(out, "  {note}");
    }
    out.chars().map(|char| if char.is_control() && char != '\n' { '\u{fffd}' } else { char }).collect()
}
