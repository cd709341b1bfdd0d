//! The loop of one file source: hear, look, read, ship, and what comes back.
//!
//! One turn does whatever can be done without waiting and says how long nothing more will happen by itself. Time is an
//! argument, so that tests need no clock.

use super::FileSettings;
use super::cursor::{Flush, Limits};
use super::discover::{self, Globs, Listing, NeverRead};
use super::finish::{is_out_of_files, open_max};
use super::identity::{Age, FileId};
use super::marks::Marks;
use super::messages::SharedScratch;
use super::positions::Positions;
use super::report::Report;
use super::tail::{Place, Tail, TailId, Tails};
use super::watch::{News, Watch};
use crate::block::{Block, ENTRIES_MAX};
use crate::checkpoint::{Checkpoint, Start};
use crate::pool::Owned;
use crate::sources::ending::Ending;
use crate::sources::inlet::Inlet;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes of one file in a turn: with thousands of them, none waits long for the others.
pub(super) const FILE_TURN: u64 = 256 << 10;
/// Most files in a turn: in between, settlements and news are heard.
pub(super) const FILES_TURN: usize = 64;
/// Most bytes of one file that may be on their way: what is read again, at worst, after a failure or a crash.
pub(super) const WINDOW: u64 = 4 << 20;
/// How long a part-filled block may wait for company.
pub(super) const PACE: Duration = Duration::from_millis(5);
/// Less room than this in a block is not worth a read.
pub(super) const ROOM_MIN: usize = 512;
/// How long a file rests before what failed of it is read again.
pub(super) const REPLAY_PAUSE: Duration = Duration::from_millis(100);
/// One part of this many is spent on looking everywhere.
const SCAN_SHARE: u32 = 10;
/// How often a renamed, deleted or cut file is looked at: its name may lie where nothing is watched.
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

/// How one attempt at one file, or at all, ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// No room further down.
    Blocked,
    /// Its turn is over, there is more.
    More,
    /// It has as much on its way as it may have, or cannot be read now.
    Parked,
    /// Read to its end.
    Drained,
    /// Nothing in it, as before; but there is news of it since it, or the last copy of it, was this old.
    Empty(Age),
    /// What stood before the cursor is not there any more.
    Rewritten,
    /// It is no text.
    Binary,
    /// Another file, or none, is at its path.
    Moved,
    /// It is shorter than it was a moment ago: cut since. What the cut left is seen at the next look.
    Shrunk,
}

/// The block being filled.
pub(super) struct Filling {
    pub(super) block: Owned<Block>,
    pub(super) marks: Marks,
}

/// All of one source's files.
pub struct Reader {
    pub(super) settings: FileSettings,
    pub(super) name: Arc<str>,
    pub(super) globs: Globs,
    pub(super) never: NeverRead,
    pub(super) watch: Watch,
    /// Asked while much else is borrowed.
    pub(super) listing: RefCell<Listing>,
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
    pub(super) short: VecDeque<(PathBuf, FileId)>,
    pub(super) short_ids: HashSet<FileId>,
    pub(super) room_again: bool,
    /// No file could be closed to make room when it was last tried, and nothing has happened since.
    pub(super) nothing_rests: bool,
    pub(super) open_count: usize,
    /// Most files open at once; less than was asked for while the system gives no more.
    pub(super) open_max: usize,
    /// Files that are no text or our own, by the scan that saw them last.
    pub(super) skipped: HashMap<FileId, u64>,
    /// Files that cannot be read, likewise.
    pub(super) refused: HashMap<PathBuf, u64>,
    /// Files of this run that were read to their end and forgotten, newest last: a rotation may still rename them.
    pub(super) finished: VecDeque<FileId>,
    pub(super) scans: u64,
    /// There are files the checkpoint has not written down.
    pub(super) unnoted: bool,
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
    pub(super) told: bool,
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
            rules: settings.multiline.clone(),
            format: settings.format,
            scratch: SharedScratch::default(),
        };
        let open_max = open_max(settings.open_files, &settings.open);
        Ok(Reader {
            globs: Globs::new(&settings.include, &settings.exclude)?,
            never: NeverRead::new(settings.never_read.clone(), &settings.never_match)?,
            start: checkpoint.start(&name),
            positions: Positions::new(checkpoint.loaded(&name)),
            watch: Watch::new(),
            listing: RefCell::default(),
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
            short_ids: HashSet::new(),
            room_again: false,
            nothing_rests: false,
            open_count: 0,
            open_max,
            skipped: HashMap::new(),
            refused: HashMap::new(),
            finished: VecDeque::new(),
            scans: 0,
            unnoted: false,
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
        self.scan_if_due(now);
        self.open_short(now);
        self.keep_to_limit();
        self.ring_timers(now);
        self.note_new_files();
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

    /// Looks at everything, if it is time to; always the first time.
    pub(super) fn scan_if_due(&mut self, now: Instant) {
        if self.next_scan.is_none_or(|at| at <= now) {
            let begun = Instant::now();
            self.scan(now);
            // With tens of thousands of files looking takes long: most of the time is for reading.
            self.next_scan = Some(now + self.settings.rescan.max(SCAN_SHARE * begun.elapsed()));
        }
    }

    /// New files are written down before anything of them is handed on. Killed after that, and renamed to what no glob wants
    /// while we are down, they would be files nobody knows.
    fn note_new_files(&mut self) {
        if std::mem::take(&mut self.unnoted) {
            // The keeper tries again, and complains.
            let _ = self.checkpoint.flush_fast();
        }
    }

    // --- what comes in

    pub(super) fn hear(&mut self, now: Instant) {
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

    pub(super) fn ring_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let Some(tail) = self.tails.get_mut(id).filter(|tail| tail.timer == Some(at)) else { continue };
            tail.timer = None;
            tail.paused = tail.paused.filter(|until| *until > now);
            if tail.partial.is_some_and(|partial| partial.until <= now) {
                // What is complete goes first: the rest of the last line has a patience of its own.
                let flush = if tail.cursor.has_event() { Flush::Open } else { Flush::All };
                tail.flush = tail.flush.max(flush);
            }
            let away = matches!(tail.place, Place::Away(_)) && tail.file.is_some();
            let later =
                [tail.paused, tail.partial.map(|partial| partial.until), away.then(|| now + AWAY_LOOK)];
            self.make_ready(id);
            if let Some(at) = later.into_iter().flatten().filter(|at| *at > now).min() {
                self.set_timer(id, at);
            }
        }
    }
}

impl Reader {
    /// Opens the tail's file again where it was. If that cannot be: why not.
    pub(super) fn reopen(&mut self, tail: &mut Tail) -> io::Result<Option<Did>> {
        if tail.place != Place::Here {
            return Ok(Some(Did::Parked));
        }
        if !self.make_room() {
            self.add_short(&tail.path, tail.id);
            return Ok(Some(Did::Parked));
        }
        let opened = match discover::open(&tail.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Did::Moved)),
            Err(error) if is_out_of_files(&error) => {
                self.out_of_files(&error);
                self.add_short(&tail.path, tail.id);
                return Ok(Some(Did::Parked));
            }
            other => other?,
        };
        if FileId::of(&opened.meta) != tail.id {
            return Ok(Some(Did::Moved));
        }
        tail.set_file(opened.file)?;
        self.open_count += 1;
        Ok(None)
    }
}

/// Notes that the tail's position is to be told.
pub(super) fn mark_dirty(dirty: &mut Vec<TailId>, id: TailId, tail: &mut Tail) {
    if !std::mem::replace(&mut tail.dirty, true) {
        dirty.push(id);
    }
}
