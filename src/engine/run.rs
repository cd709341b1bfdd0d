//! The main thread of the binary: start, say what is there, wait for signals, end, say what became of everything.

use super::notify::Notify;
use super::{Ended, Engine, StartError};
use crate::config::Config;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the end may take beyond the time to deliver.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What the process says by ending.
pub mod exit {
    /// Ended as it was told to, everything delivered.
    pub const CLEAN: u8 = 0;
    /// Ended with entries that were not delivered.
    pub const UNDELIVERED: u8 = 1;
    /// A wrong config or wrong usage.
    pub const USAGE: u8 = 2;
    /// Could not start: a port, a directory, the lock.
    pub const NOT_STARTED: u8 = 3;
    /// A second signal ended it at once.
    pub const SECOND_SIGNAL: u8 = 130;
}

/// Runs the engine until it is told to end, and gives the process' exit code. SIGHUP reads the config at `path` again.
pub fn run(config: Config, path: Option<&Path>) -> ExitCode {
    crate::logs::init(tracing::Level::INFO);
    crate::sys::raise_open_files();
    crate::sys::keep_memory_together();
    let mut signals = match Signals::new([SIGTERM, SIGINT, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => return refuse(&StartError::start("cannot listen for signals", error)),
    };
    let engine = match Engine::start(config) {
        Ok(engine) => engine,
        Err(error) => return refuse(&error),
    };
    if let Some(path) = path {
        engine.reload_on_request(path);
    }
    for line in engine.describe() {
        tracing::info!("{line}");
    }
    tracing::info!("ready; end it with SIGTERM or Ctrl-C");
    let notify = Notify::from_env().map(Arc::new);
    if let Some(notify) = &notify {
        notify.ready();
        engine.tell(notify);
    }
    let mut reloads = 0;
    for signal in signals.forever() {
        if signal == SIGHUP {
            reloads += 1;
            notify.iter().for_each(|notify| notify.reloading());
            hang_up(&engine, path, reloads);
            notify.iter().for_each(|notify| notify.ready());
        } else {
            break;
        }
    }
    let drain = engine.config().dispatcher.drain_timeout;
    notify.iter().for_each(|notify| notify.stopping(drain + STOP_GRACE));
    tracing::info!(
        "ending: no more is taken in, {drain:?} to deliver what is here; once more to end at once"
    );
    // The rest of the signals are this thread's, so that a second one is not held up by anything the end waits for.
    std::thread::spawn(move || {
        if signals.forever().any(|signal| signal != SIGHUP) {
            std::process::exit(exit::SECOND_SIGNAL.into());
        }
    });
    let begun = Instant::now();
    let ended = engine.stop(begun + drain);
    say(ended, begun.elapsed());
    crate::logs::flush();
    ExitCode::from(if ended.undelivered == 0 { exit::CLEAN } else { exit::UNDELIVERED })
}

/// SIGHUP: output files may have been moved away, and the config may say something else.
fn hang_up(engine: &Engine, path: Option<&Path>, number: u64) {
    tracing::info!("SIGHUP: opening output files anew");
    engine.reopen();
    let Some(path) = path else { return };
    // Each reload is a cause of its own: none of its lines is held back because one before said the same.
    match engine.reload_from(path) {
        Ok(changes) if changes.is_empty() => tracing::info!("reload {number}: nothing changed"),
        Ok(changes) => {
            changes.to_string().lines().for_each(|line| tracing::info!("reload {number}: {line}"));
            tracing::info!("reload {number}: in force");
        }
        Err(error) => {
            for (at, line) in error.to_string().lines().enumerate() {
                tracing::error!(cause = %format!("reload {number}, line {at}"), "reload {number}: {line}");
            }
            tracing::error!(cause = %format!("reload {number}"), "reload {number}: refused, everything stays as it was");
        }
    }
}

fn say(ended: Ended, took: Duration) {
    let Ended { received, delivered, kept, dropped, undelivered, all_ended } = ended;
    let kept = if kept > 0 { format!(", {kept} kept on disk") } else { String::new() };
    let line = format!(
        "ended after {took:.1?}: {received} entries received, {delivered} copies delivered, {dropped} dropped, \
         {undelivered} not delivered{kept}"
    );
    match undelivered {
        0 => tracing::info!("{line}"),
        _ => tracing::warn!("{line}; files give theirs again at the next start"),
    }
    if !all_ended {
        tracing::warn!("some threads did not end in time");
    }
}

fn refuse(error: &StartError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(match error {
        StartError::Config(_) => exit::USAGE,
        StartError::Start(_) => exit::NOT_STARTED,
    })
}
