//! What the source shows of itself: how far behind it is, and a list of its files.

use super::tail::{Place, Tail, Tails};
use crate::ledger::SourceLedger;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the gauges are brought up to date, at most.
const GAUGES_EVERY: Duration = Duration::from_millis(250);
/// How often the list is.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// Most rows in the list.
pub const ROWS_MAX: usize = 100;

/// One file, as `/stats` shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FileRow {
    /// Where it is, or was last.
    pub path: PathBuf,
    /// Everything before this byte is safe.
    pub offset: u64,
    /// How long it was when last looked at.
    pub size: u64,
}

/// The source's gauges and list.
#[derive(Default)]
pub struct Report {
    /// Those furthest behind first.
    pub files: Arc<Mutex<Vec<FileRow>>>,
    gauges_at: Option<Instant>,
    list_at: Option<Instant>,
    behind: bool,
}

impl Report {
    /// Brings gauges and list up to date, if it is time.
    pub fn update(&mut self, now: Instant, tails: &Tails, ledger: &SourceLedger) {
        if self.gauges_at.is_none_or(|at| at + GAUGES_EVERY <= now) {
            self.gauges_at = Some(now);
            self.gauges(now, tails, ledger);
        }
        if self.list_at.is_none_or(|at| at + LIST_EVERY <= now) {
            self.list_at = Some(now);
            self.list(tails);
        }
    }

    /// When it wants to be called again: not at all while nothing waits.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.behind.then(|| self.gauges_at.map_or(now, |at| at + LIST_EVERY))
    }

    fn gauges(&mut self, now: Instant, tails: &Tails, ledger: &SourceLedger) {
        let (mut bytes, mut oldest, mut streams) = (0, now, 0);
        for (_, tail) in tails.iter() {
            bytes += tail.lag();
            streams += u64::from(tail.place != Place::Lost);
            oldest =
                [tail.progress.oldest(), tail.unread_since].into_iter().flatten().fold(oldest, Instant::min);
        }
        ledger.lag_bytes.set(bytes);
        ledger.lag_millis.set(now.duration_since(oldest).as_millis() as u64);
        ledger.streams.set(streams);
        self.behind = bytes > 0;
    }

    fn list(&self, tails: &Tails) {
        let mut all: Vec<&Tail> = tails.iter().map(|(_, tail)| tail).collect();
        if all.len() > ROWS_MAX {
            all.select_nth_unstable_by_key(ROWS_MAX, |tail| std::cmp::Reverse(tail.lag()));
            all.truncate(ROWS_MAX);
        }
        all.sort_by(|a, b| b.lag().cmp(&a.lag()).then_with(|| a.path.cmp(&b.path)));
        let row = |tail: &&Tail| FileRow {
            path: tail.path.to_path_buf(),
            offset: tail.progress.safe().offset,
            size: tail.size,
        };
        *self.files.lock() = all.iter().map(row).collect();
    }
}
