//! What is done with the files: `list`, `show`, `export`, `purge`.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{FilterArgs, PlaceArgs};
use crate::cli::ask::{self, AdminArgs, Asked};
use crate::cli::{exit, fail, print};
use crate::delivery::dlq::config::DlqConfig;
use crate::delivery::dlq::filter::Filter;
use crate::delivery::dlq::letter::DeadLetter;
use crate::delivery::dlq::read::look;
use crate::delivery::dlq::show::{HEAD, json as as_json, row};
use crate::delivery::dlq::store::{Store, dir_of, unix_millis};
use crate::storage_io::{Disk, StorageIo};

/// `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Prints JSON, a line each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Their ids, as `list` prints them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
    /// Prints JSON, a line each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// `purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// All of them
    #[arg(long)]
    all: bool,
    /// Has the running instance do it, instead of changing the files
    #[arg(long)]
    running: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

type Done = Result<ExitCode, ExitCode>;

pub(super) fn list(args: &ListArgs) -> Done {
    let filter = args.filter.filter()?;
    if args.json {
        return each(&args.place, &filter, &mut |out, id, letter| writeln!(out, "{}", as_json(id, &letter)));
    }
    let mut rows = vec![HEAD.map(String::from)];
    each(&args.place, &filter, &mut |_, id, letter| {
        rows.push(row(id, &letter));
        Ok(())
    })?;
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    Ok(print(&out))
}

pub(super) fn show(args: &ShowArgs) -> Done {
    let mut missing = args.ids.clone();
    each(&args.place, &Filter::default(), &mut |out, id, letter| {
        if !args.ids.contains(&id) {
            return Ok(());
        }
        missing.retain(|other| *other != id);
        let letter = as_json(id, &letter);
        if args.json { writeln!(out, "{letter}") } else { write_whole(out, &letter) }
    })?;
    match missing.first() {
        None => Ok(ExitCode::from(exit::CLEAN)),
        Some(id) => {
            Err(fail(exit::USAGE, &format!("there is no dead letter {id}; `ringmain dlq list` shows all")))
        }
    }
}

/// A letter for people: a line for each thing that is known.
fn write_whole(out: &mut dyn Write, letter: &Value) -> io::Result<()> {
    let said = |value: &Value| match value {
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    for (name, value) in letter["dead_letter"].as_object().into_iter().flatten() {
        writeln!(out, "{name:13} {}", said(value))?;
    }
    for (name, value) in letter.as_object().into_iter().flatten().filter(|(name, _)| *name != "dead_letter") {
        writeln!(out, "{name:13} {}", said(value))?;
    }
    writeln!(out)
}

pub(super) fn export(args: &ExportArgs) -> Done {
    let filter = args.filter.filter()?;
    each(&args.place, &filter, &mut |out, id, letter| writeln!(out, "{}", as_json(id, &letter)))
}

type Show<'a> = dyn FnMut(&mut dyn Write, u64, DeadLetter) -> io::Result<()> + 'a;

/// Shows each letter that is meant.
fn each(place: &PlaceArgs, filter: &Filter, show: &mut Show<'_>) -> Done {
    let dir = dir_of(&place.data_dir()?);
    if !dir.is_dir() {
        return Err(none(&dir));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    // Whoever has seen enough (`| head`) is no failure, but the end.
    let mut write = |id, letter| match show(&mut out, id, letter) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        shown => shown.map(|()| true),
    };
    let seen = look(&Disk, &dir, filter, &mut write);
    let seen = seen.map_err(|error| fail(exit::NOT_STARTED, &format!("{}: {error}", dir.display())))?;
    if let Err(error) = out.flush()
        && error.kind() != ErrorKind::BrokenPipe
    {
        return Err(fail(exit::NOT_STARTED, &format!("cannot write to stdout: {error}")));
    }
    if seen.damaged > 0 {
        eprintln!("warning: {} records cannot be read", seen.damaged);
    }
    Ok(ExitCode::from(exit::CLEAN))
}

fn none(dir: &Path) -> ExitCode {
    let says =
        format!("there are no dead letters in {}: name their data directory by --data-dir", dir.display());
    fail(exit::NOT_STARTED, &says)
}

pub(super) fn purge(args: &PurgeArgs) -> Done {
    if args.filter.is_empty() != args.all {
        let says =
            if args.all { "--all and a filter do not go together" } else { "which? name a filter, or --all" };
        return Err(fail(exit::USAGE, says));
    }
    let filter = args.filter.filter()?;
    let purged =
        if args.running { purge_running(&args.admin, &filter)? } else { purge_files(args, &filter)? };
    Ok(print(&match args.json {
        true => format!("{}\n", json!({ "purged": purged })),
        false => format!("{purged} dead letters removed\n"),
    }))
}

fn purge_files(args: &PurgeArgs, filter: &Filter) -> Result<u64, ExitCode> {
    let data_dir = args.place.data_dir()?;
    let dir = dir_of(&data_dir);
    if !dir.is_dir() {
        return Err(none(&dir));
    }
    // The engine's own lock: it has it as long as it runs.
    let _lock = Disk.lock(&data_dir.join("lock")).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => {
            let says = format!(
                "a ringmain is using {}: stop it, or have it do this with --running",
                data_dir.display()
            );
            fail(exit::NOT_STARTED, &says)
        }
        _ => fail(exit::NOT_STARTED, &format!("{}: {error}", data_dir.display())),
    })?;
    // As they are: nothing goes for another reason than this wish.
    let config = DlqConfig {
        max_size: usize::MAX,
        max_bytes: usize::MAX / 2,
        retention_period: std::time::Duration::from_secs(u64::from(u32::MAX)),
        ..DlqConfig::default()
    };
    let store = Store::open(Arc::new(Disk), dir, config, Instant::now(), unix_millis());
    let store = store.map_err(|error| fail(exit::NOT_STARTED, &error.to_string()))?;
    let purged = store.purge(filter, Instant::now(), unix_millis());
    let purged = purged.map_err(|error| fail(exit::NOT_STARTED, &format!("not removed: {error}")))?;
    store.maintain(Instant::now(), unix_millis());
    Ok(purged as u64)
}

fn purge_running(admin: &AdminArgs, filter: &Filter) -> Result<u64, ExitCode> {
    let body = serde_json::to_string(filter).unwrap_or_default();
    match ask::post_body(admin, "/dlq/purge", &body) {
        Asked::Answered(answer) => {
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            Ok(answer["purged"].as_u64().unwrap_or(0))
        }
        Asked::Refused(why) => Err(fail(exit::USAGE, &why)),
        Asked::Failed(why) => Err(fail(exit::NOT_STARTED, &why)),
    }
}
