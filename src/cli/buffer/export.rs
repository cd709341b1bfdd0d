//! `ringmain buffer export`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;

use super::{Progress, WhichArgs, read};
use crate::block::{Block, Blocks};
use crate::buffer::{Content, PAYLOAD_MAX};
use crate::cli::{exit, fail};
use crate::labels::SourceId;
use crate::payload::Decoder;
use crate::pool::Owned;
use crate::sinks::format::{Encoder, Format};
use crate::sources::config::SourceKind;

/// Which ones, and how much of them.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Also what was delivered and not removed yet
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: WhichArgs,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, ExitCode> {
    let buffers = args.which.open()?;
    let mut out = Lines::new();
    let mut sound = true;
    for (name, dir) in &buffers.all {
        let closed = read(name, dir)?;
        let failed =
            |error: io::Error| fail(exit::NOT_STARTED, &format!("buffer {name}: {}: {error}", dir.display()));
        let report = closed.report().map_err(failed)?;
        if report.content == Content::Letters as u8 {
            if args.which.name.is_some() {
                return Err(fail(exit::USAGE, "dead letters are exported with `ringmain dlq export`"));
            }
            continue;
        }
        let total = report.segments.iter().map(|segment| segment.bytes).sum();
        let mut progress = Progress::new(&format!("buffer {name}"), total);
        let verdict = closed.verify(
            |_, payload, done| if done && !args.all { Ok(()) } else { out.write(payload) },
            |bytes| progress.add(bytes),
        );
        let verdict = match verdict {
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::from(exit::CLEAN));
            }
            other => other.map_err(failed)?,
        };
        if !verdict.is_sound() {
            sound = false;
            let _ = writeln!(io::stderr(), "warning: buffer {name}: {} entries are lost", verdict.lost());
        }
    }
    if let Err(error) = out.out.flush()
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(fail(exit::NOT_STARTED, &format!("cannot write to stdout: {error}")));
    }
    if out.unread > 0 {
        sound = false;
        let _ =
            writeln!(io::stderr(), "warning: {} records are of a form this program cannot read", out.unread);
    }
    Ok(ExitCode::from(if sound { exit::CLEAN } else { exit::UNDELIVERED }))
}

/// Writes the entries of payloads as lines.
struct Lines {
    decoder: Decoder,
    encoder: Encoder,
    blocks: Blocks,
    read: Vec<Owned<Block>>,
    line: Vec<u8>,
    out: BufWriter<io::Stdout>,
    /// Records that are not as they are written.
    unread: u64,
}

impl Lines {
    fn new() -> Lines {
        Lines {
            decoder: Decoder::new(SourceId(0), SourceKind::TYPES),
            encoder: Encoder::new(Format::Json),
            blocks: Blocks::new(PAYLOAD_MAX),
            read: Vec::new(),
            line: Vec::new(),
            out: BufWriter::new(io::stdout()),
            unread: 0,
        }
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        self.read.clear();
        if let Err(why) = self.decoder.decode(payload, &self.blocks, &mut self.read) {
            self.unread += 1;
            let _ = writeln!(io::stderr(), "warning: a record cannot be read: {why}");
            return Ok(());
        }
        for block in &self.read {
            for run in block.runs() {
                self.line.clear();
                let places = run.first as usize..run.end as usize;
                self.encoder.encode(block, &run.stream, places, &mut self.line);
                self.out.write_all(&self.line)?;
            }
        }
        Ok(())
    }
}
