//! `ringmain buffer`: looks at the buffers on disk of a stopped instance, checks them, reads them out, repairs them.

mod export;
mod inspect;
mod repair;
mod verify;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::{exit, fail};
use crate::buffer::check::Closed;
use crate::buffer::{OpenError, segment, state};
use crate::config::Config;
use crate::storage_io::{Disk, StorageIo};

/// How often progress is said.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// What to do with buffers.
#[derive(Debug, Args)]
pub struct BufferArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints what is there, per buffer and segment
    Inspect(inspect::InspectArgs),
    /// Reads every record and says what is damaged: exit code 1 if anything is
    Verify(WhichArgs),
    /// Writes the entries as NDJSON, those that were not delivered unless --all is said
    Export(export::ExportArgs),
    /// Makes damaged buffers sound: damaged bytes are copied aside, valid records kept
    Repair(WhichArgs),
}

/// Which buffers.
#[derive(Debug, Args)]
struct WhichArgs {
    /// Only this one: the name of a sink, or `dlq` for the dead letters
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The data directory of an instance that does not run
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The config file, which says where that is; without either: ./data
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The buffers of an instance that does not run, and cannot be started meanwhile.
struct Buffers {
    /// Name as it is said, and directory.
    all: Vec<(String, PathBuf)>,
    _lock: Box<dyn Send + Sync>,
}

/// Does it.
pub fn run(args: &BufferArgs) -> ExitCode {
    let done = match &args.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Export(args) => export::run(args),
        Command::Repair(args) => repair::run(args),
    };
    done.unwrap_or_else(|code| code)
}

impl WhichArgs {
    fn data_dir(&self) -> Result<PathBuf, ExitCode> {
        match (&self.data_dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(path)) => {
                Config::load(path).map(|config| config.data_dir).map_err(|report| super::refuse(&report))
            }
            (None, None) => Ok(crate::config::keys::GeneralConfig::default().data_dir),
        }
    }

    /// Takes the instance's lock and finds the buffers.
    fn open(&self) -> Result<Buffers, ExitCode> {
        let data_dir = self.data_dir()?;
        let shown = data_dir.display();
        if !data_dir.is_dir() {
            return Err(fail(exit::NOT_STARTED, &format!("data_dir {shown}: there is no such directory")));
        }
        let lock = Disk.lock(&data_dir.join("lock")).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => fail(
                exit::NOT_STARTED,
                &format!("data_dir {shown}: a ringmain is running with it; stop it first, or ask it with `ringmain stats`"),
            ),
            _ => fail(exit::NOT_STARTED, &format!("data_dir {shown}: cannot take its lock: {error}")),
        })?;
        let mut all = buffers(&data_dir);
        if let Some(name) = &self.name {
            let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
            all.retain(|(is, _)| is == name);
            if all.is_empty() {
                let known = if names.is_empty() { "none".into() } else { names.join(", ") };
                return Err(fail(
                    exit::USAGE,
                    &format!("no buffer \"{name}\" in {shown}\nthere are: {known}"),
                ));
            }
        }
        Ok(Buffers { all, _lock: lock })
    }
}

/// The directories that hold segments or a state: one per sink, and the dead letters.
fn buffers(data_dir: &Path) -> Vec<(String, PathBuf)> {
    let mut all: Vec<(String, PathBuf)> = std::fs::read_dir(data_dir.join("buffer"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|dir| Some((dir.file_name().into_string().ok()?, dir.path())))
        .chain([("dlq".to_owned(), data_dir.join("dlq"))])
        .filter(|(_, dir)| is_buffer(dir))
        .collect();
    all.sort();
    all
}

fn is_buffer(dir: &Path) -> bool {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.file_name());
    names
        .into_iter()
        .any(|name| name.to_str().is_some_and(|name| name == state::NAME || segment::id_of(name).is_some()))
}

/// Reads the heads of a buffer.
fn read<'a>(name: &str, dir: &Path) -> Result<Closed<'a>, ExitCode> {
    Closed::read(&Disk, dir).map_err(|error| cannot(name, &error))
}

fn cannot(name: &str, error: &OpenError) -> ExitCode {
    fail(exit::NOT_STARTED, &format!("buffer {name}: {error}"))
}

/// Says on standard error how far long work is, if somebody looks at it there or it takes long.
struct Progress {
    what: String,
    total: u64,
    done: u64,
    said: Instant,
}

impl Progress {
    fn new(what: &str, total: u64) -> Progress {
        Progress { what: what.to_owned(), total, done: 0, said: Instant::now() }
    }

    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.said.elapsed() >= SAID_EVERY {
            self.said = Instant::now();
            let mut stderr = std::io::stderr();
            let end = if stderr.is_terminal() { '\r' } else { '\n' };
            let (done, total) = (self.done >> 20, self.total >> 20);
            let _ = write!(stderr, "{}: {done} of {total} MiB read{end}", self.what);
        }
    }
}

/// A range of numbers in words.
fn range(range: &std::ops::Range<u64>) -> String {
    match range.end - range.start {
        1 => format!("entry {}", range.start),
        count => format!("{count} entries from {} on", range.start),
    }
}
