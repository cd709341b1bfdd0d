//! `ringmain positions`: how far the files of an instance that does not run were read, and how to change that.

use super::stats::{columns, printable};
use super::{exit, fail, print};
use crate::checkpoint::{Checkpoint, Position, Row, stored};
use crate::config::{Config, keys::GeneralConfig};
use crate::sources::file::{Place, find, moved};
use crate::storage_io::{Disk, StorageIo};
use clap::{Args, Subcommand};
use globset::{GlobBuilder, GlobMatcher};
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// What to do with them.
#[derive(Debug, Subcommand)]
pub enum PositionsCommand {
    /// Shows how far each file was read
    List(ListArgs),
    /// Has files read again from their beginning, from another place, or only from their end on
    Reset(ResetArgs),
}

/// Which positions, and where they are.
#[derive(Debug, Args)]
struct Which {
    /// The data directory
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The config file, which says where that is; without either: ./data
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only those of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those of files whose paths match; `*` does not cross a slash, `**` does
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    path: Option<GlobMatcher>,
}

/// What to show.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// As JSON: a list of objects
    #[arg(long)]
    json: bool,
}

/// What to change.
#[derive(Debug, Args)]
pub struct ResetArgs {
    #[command(flatten)]
    which: Which,
    /// Where to: beginning, end, or the number of a byte; from within a line, its rest is skipped
    #[arg(long, value_name = "PLACE", value_parser = place)]
    to: Place,
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    Ok(glob.map_err(|error| format!("not a glob: {}", error.kind()))?.compile_matcher())
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "beginning" => Ok(Place::Beginning),
        "end" => Ok(Place::End),
        _ => text
            .parse()
            .map(Place::Offset)
            .map_err(|_| "neither `beginning` nor `end` nor a number of bytes".into()),
    }
}

impl Which {
    fn data_dir(&self) -> Result<PathBuf, ExitCode> {
        match (&self.data_dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(path)) => {
                Config::load(path).map(|config| config.data_dir).map_err(|report| super::refuse(&report))
            }
            (None, None) => Ok(GeneralConfig::default().data_dir),
        }
    }

    fn takes(&self, row: &Row) -> bool {
        self.source.as_ref().is_none_or(|source| **source == *row.source)
            && self.path.as_ref().is_none_or(|glob| glob.is_match(&row.position.path))
    }
}

/// Does it.
pub fn run(command: &PositionsCommand) -> ExitCode {
    let done = match command {
        PositionsCommand::List(args) => list(args),
        PositionsCommand::Reset(args) => reset(args),
    };
    done.unwrap_or_else(|code| code)
}

/// The lock of the directory: nobody runs there as long as it is held.
fn lock(dir: &Path) -> Result<Box<dyn Send + Sync>, ExitCode> {
    let shown = dir.display();
    if !dir.is_dir() {
        let says = format!("{shown} is no directory: name the data directory by --data-dir or --config");
        return Err(fail(exit::NOT_STARTED, &says));
    }
    Disk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => {
            let says = format!(
                "a ringmain is using {shown}: stop it first; `ringmain stats` shows its files meanwhile"
            );
            fail(exit::NOT_STARTED, &says)
        }
        _ => fail(exit::NOT_STARTED, &format!("{shown}: {error}")),
    })
}

/// The positions that are meant. What cannot be used is said.
fn rows(which: &Which, dir: &Path) -> Vec<Row> {
    let found = stored(&Disk, dir);
    for (path, why) in &found.unusable {
        eprintln!("warning: {} cannot be used: {why}", path.display());
    }
    found.rows.into_iter().filter(|row| which.takes(row)).collect()
}

fn list(args: &ListArgs) -> Result<ExitCode, ExitCode> {
    let dir = args.which.data_dir()?;
    let _lock = lock(&dir)?;
    let rows: Vec<Shown> = rows(&args.which, &dir).iter().map(Shown::of).collect();
    if args.json {
        let all: Vec<_> = rows.iter().map(Shown::json).collect();
        return Ok(print(&format!("{:#}\n", json!(all))));
    }
    let head = ["path", "source", "identity", "offset", "size", "behind", "last seen"].map(String::from);
    let lines: Vec<_> = std::iter::once(head.to_vec()).chain(rows.iter().map(Shown::cells)).collect();
    let mut out = String::new();
    columns(&lines, &mut out);
    Ok(print(&out))
}

/// One position and its file.
struct Shown {
    source: Arc<str>,
    position: Position,
    /// Where the file is, and how long.
    file: Option<(PathBuf, u64)>,
}

impl Shown {
    fn of(row: &Row) -> Shown {
        let file = find(&row.position).map(|(path, meta)| (path, meta.len()));
        Shown { source: Arc::clone(&row.source), position: row.position.clone(), file }
    }

    fn identity(&self) -> String {
        let at = &self.position;
        format!("{:x}:{}:{:08x}/{}", at.dev, at.inode, at.head_crc, at.head_len)
    }

    fn size(&self) -> Option<u64> {
        self.file.as_ref().map(|(_, size)| *size)
    }

    fn behind(&self) -> Option<u64> {
        self.size().map(|size| size.saturating_sub(self.position.offset))
    }

    fn last_seen(&self) -> String {
        let at = jiff::Timestamp::from_nanosecond(self.position.last_seen.into());
        at.map_or_else(|_| "-".into(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    /// Where the file is now, if that is not its path.
    fn now_at(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| &**path).filter(|path| *path != &*self.position.path)
    }

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
        let mut path = self.position.path.display().to_string();
        match (self.now_at(), &self.file) {
            (Some(now), _) => path.push_str(&format!(" (now {})", now.display())),
            (None, None) => path.push_str(" (not there)"),
            _ => {}
        }
        let offset = self.position.offset.to_string();
        let (size, behind) = (number(self.size()), number(self.behind()));
        let cells = [path, self.source.to_string(), self.identity(), offset, size, behind, self.last_seen()];
        cells.map(|cell| printable(&cell)).to_vec()
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "source": *self.source,
            "path": self.position.path.to_string_lossy(),
            "now_at": self.now_at().map(Path::to_string_lossy),
            "there": self.file.is_some(),
            "device": self.position.dev,
            "inode": self.position.inode,
            "fingerprint": format!("{:08x}", self.position.head_crc),
            "fingerprint_bytes": self.position.head_len,
            "offset": self.position.offset,
            "size": self.size(),
            "behind": self.behind(),
            "last_seen": self.last_seen(),
        })
    }
}

fn reset(args: &ResetArgs) -> Result<ExitCode, ExitCode> {
    let dir = args.which.data_dir()?;
    let _lock = lock(&dir)?;
    let rows = rows(&args.which, &dir);
    if rows.is_empty() {
        let says = "no position matches: `ringmain positions list` shows them";
        return Err(fail(exit::USAGE, says));
    }
    let failed = |error: std::io::Error| fail(exit::NOT_STARTED, &format!("nothing was changed: {error}"));
    let checkpoint = Checkpoint::open(Arc::new(Disk), &dir).map_err(failed)?;
    let (mut out, mut refused) = (String::new(), 0);
    for row in &rows {
        let (path, from) = (printable(&row.position.path.display().to_string()), row.position.offset);
        match moved(&row.position, args.to) {
            Ok(position) => {
                let to = position.offset;
                let key = checkpoint.loaded(&row.source).into_iter().find(|(_, at)| *at == row.position);
                key.into_iter().for_each(|(key, _)| checkpoint.set(key, position.clone()));
                out.push_str(&format!("{}: {path}: from byte {from} to {to}\n", row.source));
            }
            Err(why) => {
                refused += 1;
                eprintln!("warning: {}: {path}: stays at byte {from}: {why}", row.source);
            }
        }
    }
    // Nothing runs that a position could rely on.
    checkpoint.flush_durable(&mut || Ok(())).map_err(failed)?;
    checkpoint.flush_fast().map_err(failed)?;
    let code = print(&out);
    if refused > 0 {
        return Err(fail(
            exit::NOT_STARTED,
            &format!("{refused} of {} positions stay as they were", rows.len()),
        ));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_words_or_bytes() {
        assert_eq!(place("beginning"), Ok(Place::Beginning));
        assert_eq!(place("end"), Ok(Place::End));
        assert_eq!(place("4096"), Ok(Place::Offset(4096)));
        for wrong in ["", "-1", "middle", "4KiB"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
