//! `ringmain buffer repair`.

use std::fmt::Write;
use std::process::ExitCode;

use super::{Progress, WhichArgs, cannot, range, read};
use crate::buffer::repair::repair;
use crate::cli::{exit, fail, print};
use crate::storage_io::Disk;

pub(super) fn run(args: &WhichArgs) -> Result<ExitCode, ExitCode> {
    let buffers = args.open()?;
    let mut out = String::new();
    for (name, dir) in &buffers.all {
        let report = read(name, dir)?.report().map_err(|error| {
            fail(exit::NOT_STARTED, &format!("buffer {name}: {}: {error}", dir.display()))
        })?;
        let total = report.segments.iter().map(|segment| segment.bytes).sum();
        let mut progress = Progress::new(&format!("buffer {name}"), total);
        let done = repair(&Disk, dir, report.content, |bytes| progress.add(bytes));
        let done = done.map_err(|error| cannot(name, &error))?;
        // Writing to a string does not fail.
        if done.found.is_sound() && done.found.torn == 0 {
            let _ = writeln!(out, "{name}: sound, nothing was changed");
            continue;
        }
        let _ = writeln!(
            out,
            "{name}: repaired: {} records with {} entries kept, {} entries lost; {} segments written anew, {} removed, {} \
             bytes copied to {}",
            done.found.records,
            done.found.entries,
            done.found.lost(),
            done.rewritten,
            done.removed,
            done.quarantined_bytes,
            dir.join(crate::buffer::QUARANTINE).display(),
        );
        for gap in &done.found.gaps {
            let _ = writeln!(out, "  missing: {}", range(gap));
        }
        if done.unexplained > 0 {
            let _ = writeln!(out, "  the next start will count {} of them as lost", done.unexplained);
        }
    }
    Ok(print(&out))
}
