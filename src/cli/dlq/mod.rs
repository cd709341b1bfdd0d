//! `ringmain dlq`: looks at the dead letters, and gives them again or away.
//!
//! `list`, `show` and `export` read the files, also while an instance runs. `purge` changes them itself if nobody else has
//! them, and `replay` is done by the running instance.

mod files;
mod replay;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::{exit, fail};
use crate::config::Config;
use crate::delivery::dlq::filter::{Filter, reason_named, time_named};
use crate::delivery::dlq::store::unix_millis;

/// What to do with dead letters.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// Lists them, a line each
    List(files::ListArgs),
    /// Shows everything about some of them
    Show(files::ShowArgs),
    /// Writes them as NDJSON, a line each, that an http source can take in
    Export(files::ExportArgs),
    /// Removes some of them for good
    Purge(files::PurgeArgs),
    /// Has the running instance give some of them again
    Replay(replay::ReplayArgs),
}

/// Where they are.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// The data directory
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The config file, which says where that is; without either: ./data
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl PlaceArgs {
    /// The data directory.
    fn data_dir(&self) -> Result<PathBuf, ExitCode> {
        match (&self.data_dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(path)) => {
                Config::load(path).map(|config| config.data_dir).map_err(|report| super::refuse(&report))
            }
            (None, None) => Ok(crate::config::keys::GeneralConfig::default().data_dir),
        }
    }
}

/// Which of them.
#[derive(Debug, Default, Args)]
struct FilterArgs {
    /// Refused by this sink; "" for those that a step refused
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// For this reason: rejected, retries_spent, denied, step_failed, panic, too_large
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Dead since then: 2026-01-31T12:00:00Z, or how long ago as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Dead before then, likewise
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

impl FilterArgs {
    fn filter(&self) -> Result<Filter, ExitCode> {
        let now_ms = unix_millis();
        let time = |text: &Option<String>| text.as_ref().map(|text| time_named(text, now_ms)).transpose();
        let reason = self.reason.as_deref().map(reason_named).transpose();
        let read = || -> Result<Filter, String> {
            Ok(Filter {
                sink: self.sink.clone(),
                source: self.source.clone(),
                reason: reason?,
                since_ms: time(&self.since)?,
                until_ms: time(&self.until)?,
                limit: self.limit,
            })
        };
        read().map_err(|why| fail(exit::USAGE, &why))
    }

    fn is_empty(&self) -> bool {
        let FilterArgs { sink, source, reason, since, until, limit } = self;
        sink.is_none()
            && source.is_none()
            && reason.is_none()
            && since.is_none()
            && until.is_none()
            && limit.is_none()
    }
}

/// Does it.
pub fn run(args: &DlqArgs) -> ExitCode {
    let done = match &args.command {
        DlqCommand::List(args) => files::list(args),
        DlqCommand::Show(args) => files::show(args),
        DlqCommand::Export(args) => files::export(args),
        DlqCommand::Purge(args) => files::purge(args),
        DlqCommand::Replay(args) => replay::run(args),
    };
    done.unwrap_or_else(|code| code)
}
