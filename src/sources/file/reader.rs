//! The loop of one file source: hear, look, read, ship, and what comes back.
//!
//! One turn does whatever can be done without waiting and says how long nothing more will happen by itself. Time is an
//! argument, so that tests need no clock.

use super::FileSettings;
use super::cursor::{Limits, Then};
use super::discover::{self, Globs, NeverRead};
use super::identity::FileId;
use super::marks::{Marks, Piece};
use super::positions::Positions;
use super::progress::Progress;
use super::report::Report;
use super::tail::{Place, Tail, TailId, Tails, written};
use super::watch::{News, Watch};
use crate::ack::Status;
use crate::block::{Block, ENTRIES_MAX, ORDINARY};
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

/// Most bytes of one file in a turn: with thousands of them, none waits long for the others.
const FILE_TURN: u64 = 256 << 10;
/// Most files in a turn: in between, settlements and news are heard.
const FILES_TURN: usize = 64;
/// Most bytes of one file that may be on their way: what is read again, at worst, after a failure or a crash.
pub(super) const WINDOW: u64 = 4 << 20;
/// How long a part-filled block may wait for company.
const PACE: Duration = Duration::from_millis(5);
/// Less room than this in a block is not worth a read.
const ROOM_MIN: usize = 512;
/// How long a file rests before what failed of it is read again.
const REPLAY_PAUSE: Duration = Duration::from_millis(100);
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

/// How one attempt at one file, or at all, ended.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    /// No room further down.
    Blocked,
    /// Its turn is over, there is more.
    More,
    /// It has as much on its way as it may have, or cannot be read now.
    Parked,
    /// Read to its end.
    Drained,
    /// What stood before the cursor is not there any more.
    Rewritten,
    /// It is no text.
    Binary,
    /// Another file, or none, is at its path.
    Moved,
}

/// The block being filled.
struct Filling {
    block: Owned<Block>,
    marks: Marks,
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
    ending: Arc<Ending>,
    inlet: Inlet<Marks>,
    limits: Limits,

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

    ready: VecDeque<TailId>,
    /// Who was written to, as heard or seen in this turn.
    pub(super) heard: Vec<TailId>,
    timers: BinaryHeap<Reverse<(Instant, TailId)>>,
    dirty: Vec<TailId>,
    filling: Option<Filling>,
    unpushed: Option<(Owned<Block>, Marks)>,
    last_ship: Option<Instant>,
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
            never: NeverRead::new(settings.never_read.clone(), &settings.never_match)?,
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

    // --- reading

    fn read(&mut self, now: Instant) -> Did {
        if !self.push_waiting(now) {
            return Did::Blocked;
        }
        for _ in 0..FILES_TURN {
            let Some(id) = self.ready.pop_front() else { break };
            if !self.inlet.may_read() {
                self.ready.push_front(id);
                return Did::Blocked;
            }
            match self.read_file(id, now) {
                Did::Blocked => {
                    self.ready.push_front(id);
                    return Did::Blocked;
                }
                Did::More => self.ready.push_back(id),
                _ => {}
            }
        }
        if !self.ready.is_empty() {
            return Did::More;
        }
        // An empty block would pin memory while nothing happens.
        self.filling.take_if(|filling| filling.marks.pieces().is_empty());
        Did::Drained
    }

    /// Looks at files that have news and could not be read in this turn: one that is cut twice before it can be read must
    /// be seen in between, while its bytes are still in a copy.
    fn peek(&mut self, now: Instant) {
        let mut heard = std::mem::take(&mut self.heard);
        for id in heard.drain(..) {
            let Some(tail) = self.tails.get_mut(id).filter(|tail| tail.used != self.turns) else { continue };
            let Some(file) = &tail.file else { continue };
            let mut learnt = false;
            let holds = file.metadata().and_then(|meta| {
                let holds = tail.cursor.holds(file, meta.len())?;
                if holds {
                    (tail.size, tail.written) = (meta.len(), written(&meta));
                    learnt = tail.cursor.look_ahead(file)?;
                }
                Ok(holds)
            });
            if learnt {
                mark_dirty(&mut self.dirty, id, tail);
            }
            // An error is told when the file is read.
            if let Ok(false) = holds {
                self.rewritten(id, now);
            }
        }
        self.heard = heard;
    }

    /// One file's turn. Unless it is `Blocked` or `More` the file has left the queue.
    fn read_file(&mut self, id: TailId, now: Instant) -> Did {
        let Some(mut tail) = self.tails.take(id) else { return Did::Parked };
        if tail.waits {
            // It was queued before it was known what comes before it.
            tail.queued = false;
            self.tails.put(id, tail);
            return Did::Parked;
        }
        tail.used = self.turns;
        let did = self.read_tail(id, &mut tail, now).unwrap_or_else(|error| {
            if !std::mem::replace(&mut tail.failed, true) {
                let (name, path) = (&self.name, tail.path.display());
                tracing::warn!(
                    "source {name}: {path} cannot be read on, tried again at each rescan: {error}"
                );
            }
            tail.seen = None;
            Did::Parked
        });
        tail.queued = matches!(did, Did::Blocked | Did::More);
        let path = Arc::clone(&tail.path);
        self.tails.put(id, tail);
        match did {
            Did::Drained => self.drained(id, now),
            Did::Rewritten => self.rewritten(id, now),
            Did::Binary => self.skip_binary(id),
            Did::Moved => self.look_at(&path, now),
            _ => {}
        }
        did
    }

    fn read_tail(&mut self, id: TailId, tail: &mut Tail, now: Instant) -> io::Result<Did> {
        if tail.file.is_none()
            && let Some(did) = self.reopen(tail)?
        {
            return Ok(did);
        }
        let Some(file) = tail.file.take() else { return Ok(Did::Parked) };
        let did = self.read_open(id, tail, &file, now);
        tail.file = Some(file);
        did
    }

    fn read_open(
        &mut self,
        id: TailId,
        tail: &mut Tail,
        file: &std::fs::File,
        now: Instant,
    ) -> io::Result<Did> {
        let meta = file.metadata()?;
        if !tail.whole && !tail.has_news(&meta) {
            return Ok(Did::Drained);
        }
        // Cheap enough to ask each time (one read of 256 bytes per turn and file): a file that was cut and has grown
        // past the cursor again looks like one that has just grown.
        if !tail.cursor.holds(file, meta.len())? {
            return Ok(Did::Rewritten);
        }
        tail.note(&meta);
        // It has grown since it was to go out as it is: it may be complete now.
        tail.whole &= tail.size == tail.cursor.read + tail.cursor.partial;
        if tail.size > tail.cursor.read {
            tail.unread_since.get_or_insert(now);
        }
        let begin = tail.cursor.read;
        let did = loop {
            if tail.cursor.read - begin >= FILE_TURN {
                break Did::More;
            }
            tail.parked = tail.cursor.read - tail.progress.safe().offset >= WINDOW;
            if tail.parked && !tail.progress.is_settled() {
                break Did::Parked;
            }
            if !self.open_block(tail.need, now) {
                break Did::Blocked;
            }
            match self.fill(id, tail, file, now)? {
                Then::More => {}
                Then::Full if self.ship(now) => {}
                Then::Full => break Did::Blocked,
                Then::Wider(need) => tail.need = need,
                Then::Binary => break Did::Binary,
                Then::End => {
                    tail.seen = meta.modified().ok().map(|time| (tail.size, time));
                    break Did::Drained;
                }
            }
        };
        tail.failed = false;
        Ok(did)
    }

    /// One read into the open block.
    fn fill(&mut self, id: TailId, tail: &mut Tail, file: &std::fs::File, now: Instant) -> io::Result<Then> {
        let Some(filling) = &mut self.filling else { return Ok(Then::Full) };
        let (before, head) = (tail.cursor.read, tail.cursor.head.len);
        let filled =
            tail.cursor.fill(file, tail.size, &mut filling.block, &tail.stream, &self.limits, tail.whole)?;
        if tail.cursor.read == before {
            return Ok(filled.then);
        }
        (tail.need, tail.whole) = (0, false);
        if tail.cursor.head.len != head {
            // How it begins is worth remembering before anything of it is safe: a copy is known by that.
            mark_dirty(&mut self.dirty, id, tail);
        }
        let point = tail.point();
        let last = filling.marks.pieces().last();
        if filled.entries == 0 {
            tail.progress.pass(point, now);
            mark_dirty(&mut self.dirty, id, tail);
        } else if last.is_some_and(|last| last.tail == id && last.generation == tail.generation) {
            tail.progress.extend(point);
        } else {
            let number = tail.progress.add(point, now);
            filling.marks.push(Piece { tail: id, generation: tail.generation, number });
        }
        self.inlet.ledger().cut.add(filled.cut as u64);
        Ok(filled.then)
    }

    /// Makes sure that a block with room for `need` bytes is open.
    fn open_block(&mut self, need: usize, now: Instant) -> bool {
        if let Some(filling) = &mut self.filling {
            let empty = filling.marks.pieces().is_empty();
            let fits = filling.block.capacity() >= need && filling.block.spare().len() >= ROOM_MIN;
            if fits {
                return true;
            }
            if empty {
                self.filling = None;
            } else if !self.ship(now) {
                return false;
            }
        }
        let block = self.inlet.open(need.max(ORDINARY));
        self.filling = block.map(|block| Filling { block, marks: Marks::None });
        self.filling.is_some()
    }

    /// Sends the open block on its way, if there is anything in it. False if it has to wait.
    fn ship(&mut self, now: Instant) -> bool {
        let Some(Filling { block, marks }) = self.filling.take() else { return true };
        if marks.pieces().is_empty() {
            return true;
        }
        self.unpushed = Some((block, marks));
        self.push_waiting(now)
    }

    /// Tries once more to send what could not be sent. False if it still has to wait.
    fn push_waiting(&mut self, now: Instant) -> bool {
        let Some((block, marks)) = self.unpushed.take() else { return true };
        match self.inlet.ship(block, marks) {
            Ok(()) => self.last_ship = Some(now),
            Err(back) => self.unpushed = Some(back),
        }
        self.unpushed.is_none()
    }

    // --- what comes back

    fn settle(&mut self, now: Instant) {
        while let Some((marks, status)) = self.inlet.settled() {
            let mut current = false;
            for piece in marks.pieces() {
                let Some(mut tail) = self.tails.take(piece.tail) else { continue };
                if tail.generation == piece.generation {
                    current = true;
                    self.settle_piece(*piece, &mut tail, status, now);
                }
                self.tails.put(piece.tail, tail);
                self.after_settling(piece.tail, now);
            }
            if current && status == Status::Failed {
                self.inlet.ledger().replayed_blocks.add(1);
            }
        }
    }

    fn settle_piece(&mut self, piece: Piece, tail: &mut Tail, status: Status, now: Instant) {
        let replay = status == Status::Failed && tail.place != Place::Lost;
        if replay && !self.ending.is_stopping() {
            return self.replay(piece.tail, tail, now);
        }
        if replay {
            // Nothing more will be read: the safe place stays before it, for the next start.
            return;
        }
        if status == Status::Failed {
            let (name, path, end) = (&self.name, tail.path.display(), tail.progress.safe().offset);
            tracing::error!(
                "source {name}: {path}: entries after byte {end} are lost: they failed, and the file is gone"
            );
        }
        if tail.progress.settle(piece.number) {
            mark_dirty(&mut self.dirty, piece.tail, tail);
        }
    }

    /// Reads the file again from its safe place, after a pause.
    fn replay(&mut self, id: TailId, tail: &mut Tail, now: Instant) {
        let safe = tail.progress.safe();
        tail.generation = tail.generation.wrapping_add(1);
        tail.progress = Progress::new(safe);
        (tail.seen, tail.partial, tail.parked) = (None, None, true);
        tail.paused = Some(now + REPLAY_PAUSE);
        if let Some(file) = &tail.file
            && let Err(error) = tail.cursor.rewind(file, safe.offset, safe.edge)
        {
            tracing::warn!("source {}: {} cannot be read again: {error}", self.name, tail.path.display());
        }
        tail.timer = tail.timer.filter(|at| *at <= now + REPLAY_PAUSE);
        if tail.timer.is_none() {
            tail.timer = tail.paused;
            self.timers.push(Reverse((now + REPLAY_PAUSE, id)));
        }
    }

    fn after_settling(&mut self, id: TailId, now: Instant) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let (parked, settled, place) = (tail.parked, tail.progress.is_settled(), tail.place);
        if parked && tail.cursor.read - tail.progress.safe().offset < WINDOW {
            self.make_ready(id);
        }
        if settled {
            self.room_again = true;
            match place {
                Place::Here => {}
                Place::Away(_) => self.finish(id, now),
                Place::Lost => drop(self.remove(id)),
            }
        }
    }

    /// Tells the checkpoint every position that moved.
    fn tell_checkpoint(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let now = unix_nanos();
        for id in self.dirty.drain(..) {
            let Some(tail) = self.tails.get_mut(id) else { continue };
            tail.dirty = false;
            // The position of a lost file was forgotten; told again, it would look newer than its successor's.
            if tail.place != Place::Lost {
                self.checkpoint.set(tail.key, tail.position(now));
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

impl Reader {
    /// Opens the tail's file again where it was. If that cannot be: why not.
    fn reopen(&mut self, tail: &mut Tail) -> io::Result<Option<Did>> {
        if tail.place != Place::Here {
            return Ok(Some(Did::Parked));
        }
        if !self.make_room() {
            self.short.push_back(tail.path.to_path_buf());
            return Ok(Some(Did::Parked));
        }
        let opened = match discover::open(&tail.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Did::Moved)),
            other => other?,
        };
        if FileId::of(&opened.meta) != tail.id {
            return Ok(Some(Did::Moved));
        }
        tail.file = Some(opened.file);
        self.open_count += 1;
        Ok(None)
    }
}

/// Notes that the tail's position is to be told.
fn mark_dirty(dirty: &mut Vec<TailId>, id: TailId, tail: &mut Tail) {
    if !std::mem::replace(&mut tail.dirty, true) {
        dirty.push(id);
    }
}
