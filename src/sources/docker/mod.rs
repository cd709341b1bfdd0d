//! What containers say, asked of their engine over its API socket (Docker, podman), on a thread of its own.
//!
//! The engine lists its containers and tells by events when one starts or ends; both only say where to look. The log of
//! each is asked for with the engine's times, followed while the container runs, and looked through once more when it
//! has ended. What it promises:
//!
//! - every line that the engine still has goes out, in order within a container, once; after a crash or a failure at
//!   most a window of them again;
//! - a position (the time and checksums of the last lines, see `place`) moves only over what is settled;
//! - nothing waits for the engine without a deadline, and what the engine sends is bounded in all its parts.
//!
//! It cannot see what the engine has thrown away (a log rotated, a container removed) before it was read.
//! Not here: the engine's files (see `file` with a `format`).

pub mod config;
mod container;
mod discover;
mod exchange;
pub mod list;
mod place;
mod read;
mod reader;
mod report;
mod select;
mod settle;

pub use report::{ContainerRow, Containers, ROWS_MAX};

use crate::checkpoint::Checkpoint;
use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::sources::ending::Ending;
use crate::sources::file::ReadFrom;
use crate::sources::inlet::InletSpec;
use crate::sources::multiline::Rules;
use crate::sources::net::filler::Filler;
use crate::sources::net::incoming::HEADROOM;
use crate::sources::waker::PollWaker;
use crate::thread::{Doing, Row, Wake};
use mio::{Events, Poll, Token};
use parking_lot::Mutex;
use reader::{Next, Reader};
use select::Picker;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the source is told.
pub struct DockerSettings {
    /// The source's number.
    pub source: SourceId,
    /// Its name in the config.
    pub name: Arc<str>,
    /// The engine's socket.
    pub socket: PathBuf,
    /// Where to begin.
    pub read_from: ReadFrom,
    /// Longest line in bytes; longer ones are cut and marked.
    pub max_line: usize,
    /// Most bytes of open lines and events of all containers; a long line that does not fit goes out cut.
    pub partial_memory: usize,
    /// Which lines are one event, unless each is.
    pub multiline: Option<Arc<Rules>>,
    /// How often everything is listed.
    pub rescan: Duration,
    /// How long the engine may take to answer.
    pub timeout: Duration,
    /// Most logs open at once.
    pub connections: usize,
    /// How many of these may be open now.
    pub open: Allowance,
    /// Labels of every entry.
    pub labels: Labels,
}

impl DockerSettings {
    /// How many logs may be open now.
    fn most_open(&self) -> usize {
        self.connections.min(self.open.get()).max(1)
    }
}

const WAKER: Token = Token(usize::MAX);

/// A docker source, ready to run on a thread of its own.
pub struct DockerReader {
    poll: Poll,
    waker: Arc<PollWaker>,
    reader: Reader,
}

impl DockerReader {
    /// A source with these settings, behind the door that `spec` describes. From here on `ending` counts it.
    ///
    /// Errors: a glob cannot be understood, the longest line or event fits no block, or the system has no poll to give.
    /// An engine that is not there is none: it is tried again.
    pub fn new(
        config: &config::DockerSourceConfig,
        settings: DockerSettings,
        spec: InletSpec,
        ending: Arc<Ending>,
        checkpoint: Arc<Checkpoint>,
    ) -> io::Result<DockerReader> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
        let picker = Picker::new(config).map_err(invalid)?;
        let largest = spec.largest_block();
        let rules = settings.multiline.as_ref();
        let longest = rules.map_or(settings.max_line, |rules| rules.max_bytes.max(settings.max_line));
        if longest.saturating_add(HEADROOM) > largest {
            return Err(invalid(format!("entries of {longest} bytes do not fit blocks of {largest}")));
        }
        let poll = Poll::new()?;
        let waker = PollWaker::new(poll.registry(), WAKER)?;
        let filler = Filler::new(spec, Arc::clone(&waker) as Arc<dyn Wake>);
        let registry = poll.registry().try_clone()?;
        let reader = Reader::new(settings, picker, filler, registry, Arc::clone(&ending), checkpoint);
        ending.join(Arc::clone(&waker) as Arc<dyn Wake>);
        Ok(DockerReader { poll, waker, reader })
    }

    /// What it shows of its containers, kept up to date while it runs.
    pub fn containers(&self) -> Arc<Mutex<Containers>> {
        self.reader.shown()
    }

    /// Reads until the ending says stop, and everything on its way is settled.
    pub fn run(mut self, row: &Row) {
        let mut events = Events::with_capacity(1024);
        let mut woken = true;
        loop {
            if !self.reader.ending.is_stopping() {
                row.keep_to_cpu();
            }
            row.set(Doing::Working);
            match self.reader.turn(Instant::now(), woken) {
                Next::Again => woken = self.wait(Some(Instant::now()), &mut events),
                Next::Done => return,
                Next::Sleep { until, blocked } => {
                    row.set(if blocked { Doing::Blocked } else { Doing::Idle });
                    woken = self.wait(until, &mut events);
                }
            }
        }
    }

    /// Sleeps until there is something to do, at most `until` then; whether the thread was woken.
    fn wait(&mut self, until: Option<Instant>, events: &mut Events) -> bool {
        // A wake-up since the last look is as good as an event.
        let mut woken = !self.waker.may_sleep();
        let timeout = match woken {
            true => Some(Duration::ZERO),
            false => until.map(|until| until.saturating_duration_since(Instant::now())),
        };
        let polled = self.poll.poll(events, timeout);
        self.waker.awake();
        if let Err(error) = polled {
            // An interruption: the next turn looks at what there is.
            tracing::debug!("the sleep of a docker source was interrupted: {error}");
            return woken;
        }
        for event in &*events {
            match event.token() {
                WAKER => woken = true,
                token => self.reader.notice(token),
            }
        }
        woken
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
