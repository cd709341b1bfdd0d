//! The ways out.
//!
//! A sink makes one attempt and tells the truth about it; patience lives once, in `delivery`.

use crate::batch::Batch;
pub use crate::batch::Said;
use crate::thread::Flag;
use std::io;
use std::time::Duration;

pub mod blackhole;
pub mod client;
pub mod config;
pub mod console;
pub mod custom;
pub mod file;
pub mod format;
pub mod http;
pub mod loki;
pub mod patience;
pub mod template;
#[cfg(test)]
pub mod testing;

/// A destination of entries. Shared by its sender threads.
pub trait Sink: Send + Sync {
    /// The sink's type, as in the config.
    fn kind(&self) -> &'static str;

    /// Gets ready, before the first batch.
    ///
    /// Errors: it cannot work; the dispatcher does not start then.
    fn start(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes one attempt at the whole batch and returns when it is taken or refused. May block, with a deadline.
    ///
    /// What it noted as refused in [`Batch::progress`] stays refused, also when it returns `Ok`.
    fn send(&self, batch: &Batch) -> Result<(), SendError>;

    /// Makes durable whatever it took and has not yet synced: a checkpoint that relies on it is written afterwards.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Opens its destination anew (SIGHUP: someone moved its files away).
    fn reopen(&self) {}

    /// Whether [`Sink::upkeep`] has anything to do.
    fn has_upkeep(&self) -> bool {
        false
    }

    /// Work beside the deliveries that may take long: called about once a second by a thread that has nothing else to
    /// do. Returns early when `stop` is raised.
    fn upkeep(&self, stop: &Flag) {
        let _ = stop;
    }

    /// Whether it is well, as far as it knows itself; failed attempts are known without it.
    ///
    /// Errors: why it is not, in words.
    fn is_healthy(&self) -> Result<(), String> {
        Ok(())
    }

    /// Told after the last batch: nothing more will come.
    fn stop(&self) {}
}

/// How an attempt failed: each kind is answered in a way of its own (`docs/delivery.md`).
///
/// A sink that makes several requests of one batch notes in [`Batch::progress`] what was settled before one of them
/// failed: every kind but `Partial` is about the rest, and the next attempt is made at no more than that.
#[derive(Debug)]
pub enum SendError {
    /// The destination is unwell or cannot be reached: the batch is kept and tried for ever, not before `after` if it
    /// said so.
    Retry {
        /// What happened, in words for the operator.
        why: String,
        /// How long the destination asked to be left alone.
        after: Option<Duration>,
    },
    /// The destination is there and could not work on this batch; it may be an accident, or the batch's fault. Tried
    /// again `max_retries` times, then in parts.
    Failed {
        /// What it said.
        said: Said,
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
    /// The destination is well and does not want us: wrong credentials, a wrong path. The batch is kept and tried again
    /// slowly, with an alarm: someone has to change something, here or there.
    Denied(Said),
    /// The destination understood and refused what it was given as a whole: trying the same again cannot help, its parts
    /// are tried.
    Reject(Said),
    /// The destination took the batch but for some entries, by their place in it, each with its reason.
    Partial(Vec<(usize, Said)>),
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        SendError::Retry { why: error.to_string(), after: None }
    }
}
