//! Files found by globs, followed as they grow, rotate and vanish.
//!
//! One thread reads all files of a source, in turns. What it promises:
//!
//! - every line written to a matched file goes out, in order within the file, through renaming (several times, also
//!   while we are down), truncation, deletion and restart, as long as its bytes can be read somewhere under the file's
//!   name or a rotated form of it (`NAME.*`, `NAME-*`);
//! - a position moves only over what is settled; after a crash or a failure at most `reader`'s window per file is
//!   read again;
//! - nothing but text is read, nothing but regular files is opened, and never what we write ourselves.
//!
//! It cannot see what is cut off (`copytruncate`) between its last look and the cut, unless the copy lies beside the
//! file under a rotated name. Rotated files that were compressed before they were read are read on (gzip, zstd).
//!
//! Not here: what is stored of a position and when (see `checkpoint`).

pub mod config;
pub mod cursor;
mod cut;
mod discover;
mod elsewhere;
mod events;
mod finish;
mod follow;
mod identity;
mod marks;
mod messages;
mod origin;
mod positions;
mod progress;
mod read;
mod reader;
mod report;
mod resume;
mod rotated;
mod rotation;
mod settle;
mod tail;
mod unpack;
mod watch;

pub use elsewhere::{Place, find, moved};
pub use messages::Format;
pub use report::{FileRow, ROWS_MAX};

use crate::checkpoint::Checkpoint;
use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::sources::ending::Ending;
use crate::sources::inlet::{Inlet, InletSpec};
use crate::sources::multiline::Rules;
use crate::sources::waker::PollWaker;
use crate::thread::{Doing, Row, Wake};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use parking_lot::Mutex;
use reader::{Next, Reader};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a file that was never read begins to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// At its first byte.
    #[default]
    Beginning,
    /// At its end, or at the end of the line it ends within. Only files that are there when the source runs for the
    /// very first time: whatever comes later is read from its beginning, and so is everything when the checkpoint was
    /// lost.
    End,
}

/// What a file source is told.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The source's number.
    pub source: SourceId,
    /// Globs of paths; `*` does not cross a slash, `**` does.
    pub include: Vec<String>,
    /// Globs of paths that are not read after all; without a slash, of file names.
    pub exclude: Vec<String>,
    /// Where to begin.
    pub read_from: ReadFrom,
    /// Longest line in bytes; longer ones are cut and marked.
    pub max_line: usize,
    /// How long the last line may go without its end, and without growing, before it goes out as it is.
    pub partial_timeout: Duration,
    /// How often everything is looked at, whether or not the system told of changes.
    pub rescan: Duration,
    /// How long a renamed or deleted file is still read, as its writer may hold it open.
    pub rotate_wait: Duration,
    /// Files not written to for longer than this, and never read before, are read from their end.
    pub ignore_older: Option<Duration>,
    /// Most files open at once. Others wait, or rest and are opened again when they grow.
    pub open_files: usize,
    /// What the lines are.
    pub format: Format,
    /// How many of these may be open now.
    pub open: Allowance,
    /// Which lines are one event, unless each is.
    pub multiline: Option<Arc<Rules>>,
    /// Where files without a name may be made, to unpack into.
    pub scratch: PathBuf,
    /// Files and directories we write to ourselves.
    pub never_read: Vec<PathBuf>,
    /// Globs of real paths we write to: a sink whose files stand among others'.
    pub never_match: Vec<String>,
    /// Labels of every entry.
    pub labels: Labels,
}

const NEWS: Token = Token(0);
const WAKE: Token = Token(1);

/// A file source, ready to run on a thread of its own.
pub struct FileReader {
    poll: Poll,
    waker: Arc<PollWaker>,
    reader: Reader,
    /// Whether the poll hears of news from the file system.
    listening: bool,
}

impl FileReader {
    /// A source with these settings, behind the door that `spec` describes. From here on `ending` counts it.
    ///
    /// Errors: a glob cannot be understood, or the system has no poll to give.
    pub fn new(
        settings: FileSettings,
        spec: InletSpec,
        ending: Arc<Ending>,
        checkpoint: Arc<Checkpoint>,
    ) -> io::Result<FileReader> {
        let poll = Poll::new()?;
        let waker = PollWaker::new(poll.registry(), WAKE)?;
        let largest = spec.largest_block();
        let inlet = Inlet::new(spec, Arc::clone(&waker) as Arc<dyn Wake>);
        let mut reader = Reader::new(settings, inlet, largest, Arc::clone(&ending), checkpoint)?;
        // Before anyone is told that we are ready: a file renamed between that and a later first look would never be seen.
        reader.scan_if_due(Instant::now());
        ending.join(Arc::clone(&waker) as Arc<dyn Wake>);
        Ok(FileReader { poll, waker, reader, listening: false })
    }

    /// The list of its files, kept up to date while it runs: those furthest behind, at most [`ROWS_MAX`].
    pub fn files(&self) -> Arc<Mutex<Vec<FileRow>>> {
        Arc::clone(&self.reader.report.files)
    }

    /// Reads until the ending says stop, and everything on its way is settled.
    pub fn run(mut self, row: &Row) {
        let mut events = Events::with_capacity(4);
        loop {
            if !self.reader.ending.is_stopping() {
                row.keep_to_cpu();
            }
            row.set(Doing::Working);
            match self.reader.turn(Instant::now()) {
                Next::Again => {}
                Next::Done => return,
                Next::Sleep { until, listen, blocked } => {
                    row.set(if blocked { Doing::Blocked } else { Doing::Idle });
                    self.listen(listen);
                    self.sleep(until, &mut events);
                }
            }
        }
    }

    /// While a part-filled block waits for its few milliseconds, notices would only wake us for nothing: a file written
    /// line by line gives one per line.
    fn listen(&mut self, listen: bool) {
        let Some(fd) = self.reader.news_fd().filter(|_| self.listening != listen) else { return };
        let (registry, mut source) = (self.poll.registry(), SourceFd(&fd));
        let changed = match listen {
            true => registry.register(&mut source, NEWS, Interest::READABLE),
            false => registry.deregister(&mut source),
        };
        match changed {
            Ok(()) => self.listening = listen,
            Err(error) => tracing::warn!("files are only looked at every rescan: {error}"),
        }
    }

    fn sleep(&mut self, until: Option<Instant>, events: &mut Events) {
        if self.waker.may_sleep() {
            let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            // An error is an interruption: the next turn looks at everything anyway.
            if let Err(error) = self.poll.poll(events, timeout) {
                tracing::debug!("a reader's sleep was interrupted: {error}");
            }
        }
        self.waker.awake();
    }
}

#[cfg(test)]
mod tests;
