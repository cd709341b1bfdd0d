//! `ringmain buffer verify`.

use std::fmt::Write;
use std::process::ExitCode;

use super::{Progress, WhichArgs, range, read};
use crate::buffer::check::Verdict;
use crate::cli::{exit, fail, print};

pub(super) fn run(args: &WhichArgs) -> Result<ExitCode, ExitCode> {
    let buffers = args.open()?;
    let (mut out, mut sound) = (String::new(), true);
    for (name, dir) in &buffers.all {
        let closed = read(name, dir)?;
        let failed = |error: std::io::Error| {
            fail(exit::NOT_STARTED, &format!("buffer {name}: {}: {error}", dir.display()))
        };
        let total = closed.report().map_err(failed)?.segments.iter().map(|segment| segment.bytes).sum();
        let mut progress = Progress::new(&format!("buffer {name}"), total);
        let verdict = closed.verify(|_, _, _| Ok(()), |bytes| progress.add(bytes)).map_err(failed)?;
        sound &= verdict.is_sound();
        say(name, &verdict, &mut out);
    }
    print(&out);
    Ok(ExitCode::from(if sound { exit::CLEAN } else { exit::UNDELIVERED }))
}

/// What is wrong, a line each.
pub(super) fn say(name: &str, verdict: &Verdict, out: &mut String) {
    let Verdict { records, entries, damaged, gaps, wrong, torn } = verdict;
    let word = if verdict.is_sound() { "sound" } else { "damaged" };
    // Writing to a string does not fail.
    let _ = writeln!(out, "{name}: {word}: {records} records with {entries} entries are valid");
    if *torn > 0 {
        let _ = writeln!(
            out,
            "  {torn} bytes behind the last record were being written; the next start cuts them off"
        );
    }
    for (path, from, to) in damaged {
        let _ = writeln!(out, "  {}: bytes {from} to {to} are damaged", path.display());
    }
    for gap in gaps {
        let _ = writeln!(out, "  missing: {}", range(gap));
    }
    for wrong in wrong {
        let _ = writeln!(out, "  {wrong}");
    }
    if !verdict.is_sound() {
        let _ =
            writeln!(out, "  {} entries are lost; `ringmain buffer repair` keeps the others", verdict.lost());
    }
}
