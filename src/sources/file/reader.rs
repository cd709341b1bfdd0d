//! The loop of one file source: what a turn does, and when the next one is due.
//!
//! One turn does whatever can be done without waiting and says how long nothing more will happen by itself. Time is an
//! argument, so that tests need no clock.
//!
//! Not here: reading itself (see `reading`), and which file is which (see `follow`).

use super::FileSettings;
use super::cursor::Limits;
use super::discover::{Globs, NeverRead};
use super::identity::FileId;
use super::marks::Marks;
use super::positions::Positions;
use super::reading::{Did, Filling};
use super::report::Report;
use super::tail::{Place, TailId, Tails};
use super::watch::{News, Watch};
use crate::block::{Block, ENTRIES_MAX};
use crate::checkpoint::{Checkpoint, Start};
use crate::clock::unix_nanos;
use crate::pool::Owned;
use crate::sources::ending::Ending;
use crate::sources::inlet::Inlet;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes of one file that may be on their way: what is read again, at worst, after a failure or a crash.
pub(super) const WINDOW: u64 = 4 << 20;
/// How long a part-filled block may wait for company.
const PACE: Duration = Duration::from_millis(5);
/// How often a renamed or deleted file is looked at: its name may lie where nothing is watched.
pub(super) const AWAY_LOOK: Duration = Duration::from_millis(250);

/// What a turn ends with.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to do at once.
    Again,
    /// Nothing to do until woken or until then; without `listen` news from the file system can wait as well.
    Sleep { until: Option<Instant>, listen: bool, blocked: bool },
    /// The source has ended.
    Done,
}

/// All of one source's files.
pub struct Reader {
    pub(super) settings: FileSettings,
    pub(super) name: Arc<str>,
    pub(super) globs: Globs,
    pub(super) never: NeverRead,
    pub(super) watch: Watch,
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) start: Start,
    pub(super) ending: Arc<Ending>,
    pub(super) inlet: Inlet<Marks>,
    pub(super) limits: Limits,

    pub(super) tails: Tails,
    pub(super) by_inode: HashMap<FileId, TailId>,
    /// Who is at a path now.
    pub(super) by_path: HashMap<Arc<Path>, TailId>,
    /// Who came last to a path: whoever comes next waits for it.
    pub(super) origins: HashMap<Arc<Path>, TailId>,
    pub(super) positions: Positions,
    /// Files that wait for others to be closed.
    pub(super) short: VecDeque<PathBuf>,
    pub(super) room_again: bool,
    pub(super) open_count: usize,
    /// Files that are no text or our own, by the scan that saw them last.
    pub(super) skipped: HashMap<FileId, u64>,
    /// Files that cannot be read, likewise.
    pub(super) refused: HashMap<PathBuf, u64>,
    /// Files of this run that were read to their end and forgotten, newest last: a rotation may still rename them.
    pub(super) finished: VecDeque<FileId>,
    pub(super) scans: u64,
    /// The first scan of this run is under way.
    pub(super) is_first_scan: bool,
    pub(super) next_scan: Option<Instant>,

    pub(super) ready: VecDeque<TailId>,
    /// Who was written to, as heard or seen in this turn.
    pub(super) heard: Vec<TailId>,
    pub(super) timers: BinaryHeap<Reverse<(Instant, TailId)>>,
    pub(super) dirty: Vec<TailId>,
    pub(super) filling: Option<Filling>,
    pub(super) unpushed: Option<(Owned<Block>, Marks)>,
    pub(super) last_ship: Option<Instant>,
    pub(super) turns: u64,
    told: bool,
    pub(super) report: Report,
}

impl Reader {
    pub(super) fn new(
        settings: FileSettings,
        inlet: Inlet<Marks>,
        largest: usize,
        ending: Arc<Ending>,
        checkpoint: Arc<Checkpoint>,
    ) -> io::Result<Reader> {
        let name = Arc::clone(inlet.source_name());
        let limits = Limits {
            entries: inlet.block_entries().clamp(1, ENTRIES_MAX),
            // A line that is cut needs one byte more.
            line: settings.max_line.clamp(1, largest.max(2) - 1),
        };
        Ok(Reader {
            globs: Globs::new(&settings.include, &settings.exclude)?,
            never: NeverRead::new(settings.never_read.clone()),
            start: checkpoint.start(&name),
            positions: Positions::new(checkpoint.loaded(&name)),
            watch: Watch::new(),
            settings,
            name,
            checkpoint,
            ending,
            inlet,
            limits,
            tails: Tails::default(),
            by_inode: HashMap::new(),
            by_path: HashMap::new(),
            origins: HashMap::new(),
            short: VecDeque::new(),
            room_again: false,
            open_count: 0,
            skipped: HashMap::new(),
            refused: HashMap::new(),
            finished: VecDeque::new(),
            scans: 0,
            is_first_scan: false,
            next_scan: None,
            ready: VecDeque::new(),
            heard: Vec::new(),
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            filling: None,
            unpushed: None,
            last_ship: None,
            turns: 0,
            told: false,
            report: Report::default(),
        })
    }

    /// What tells of news from the file system, if anything does.
    pub fn news_fd(&self) -> Option<RawFd> {
        self.watch.fd()
    }

    /// Does what can be done at `now` without waiting.
    pub fn turn(&mut self, now: Instant) -> Next {
        self.turns += 1;
        self.settle(now);
        if self.ending.is_stopping() {
            return self.wind_down(now);
        }
        self.hear(now);
        if self.next_scan.is_none_or(|at| at <= now) {
            self.next_scan = Some(now + self.settings.rescan);
            self.scan(now);
        }
        self.open_short(now);
        self.ring_timers(now);
        let mut did = self.read(now);
        self.peek(now);
        let due = self.last_ship.map(|at| at + PACE).filter(|due| *due > now);
        if did != Did::More && due.is_none() && !self.ship(now) {
            did = Did::Blocked;
        }
        self.tell_checkpoint();
        self.report.update(now, &self.tails, self.inlet.ledger());
        if did == Did::More {
            return Next::Again;
        }
        let pace = due.filter(|_| self.filling.is_some());
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let until = [pace, timer, self.next_scan, self.report.due(now)].into_iter().flatten().min();
        Next::Sleep { until, listen: pace.is_none(), blocked: did == Did::Blocked }
    }

    // --- what comes in

    fn hear(&mut self, now: Instant) {
        let (mut written, mut others) = (std::mem::take(&mut self.heard), Vec::new());
        let (by_path, globs, next_scan) = (&self.by_path, &self.globs, &mut self.next_scan);
        self.watch.read(&mut |path, news| match (news, by_path.get(path)) {
            (News::Everything, _) => *next_scan = None,
            (News::Written, Some(id)) => written.push(*id),
            (_, known) if known.is_some() || globs.wants(path) => others.push(path.to_path_buf()),
            _ => {}
        });
        written.iter().for_each(|id| self.make_ready(*id));
        self.heard = written;
        others.dedup();
        others.iter().for_each(|path| self.look_at(path, now));
    }

    /// Puts the file in the queue of those to be read, if it can be read at all now.
    pub(super) fn make_ready(&mut self, id: TailId) {
        if let Some(tail) = self.tails.get_mut(id)
            && !tail.queued
            && !tail.waits
            && tail.paused.is_none()
            && tail.place != Place::Lost
        {
            tail.queued = true;
            self.ready.push_back(id);
        }
    }

    pub(super) fn set_timer(&mut self, id: TailId, at: Instant) {
        if let Some(tail) = self.tails.get_mut(id)
            && tail.timer.is_none_or(|timer| at < timer)
        {
            tail.timer = Some(at);
            self.timers.push(Reverse((at, id)));
        }
    }

    fn ring_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let Some(tail) = self.tails.get_mut(id).filter(|tail| tail.timer == Some(at)) else { continue };
            tail.timer = None;
            tail.paused = tail.paused.filter(|until| *until > now);
            tail.whole |= tail.partial.is_some_and(|(_, until)| until <= now);
            let away = matches!(tail.place, Place::Away(_)) && tail.file.is_some();
            let later = [tail.paused, tail.partial.map(|(_, until)| until), away.then(|| now + AWAY_LOOK)];
            self.make_ready(id);
            if let Some(at) = later.into_iter().flatten().filter(|at| *at > now).min() {
                self.set_timer(id, at);
            }
        }
    }

    // --- the end

    /// Ships what was read, waits for what is on its way, and says good-bye.
    fn wind_down(&mut self, now: Instant) -> Next {
        let leaving = self.ending.is_leaving();
        if !self.told {
            let shipped = self.push_waiting(now) && self.ship(now);
            if shipped || leaving {
                // What could not be shipped was never admitted: its position stands before it.
                (self.filling, self.unpushed, self.told) = (None, None, true);
                self.ending.shipped_all();
            }
        }
        self.tell_checkpoint();
        let settled = self.told && self.inlet.is_idle();
        if !leaving && !settled {
            self.report.update(now, &self.tails, self.inlet.ledger());
            return Next::Sleep { until: None, listen: false, blocked: !self.told };
        }
        let seen = unix_nanos();
        for (_, tail) in self.tails.iter().filter(|(_, tail)| tail.place != Place::Lost) {
            self.checkpoint.set(tail.key, tail.position(seen));
        }
        self.inlet.ledger().streams.set(0);
        Next::Done
    }
}
