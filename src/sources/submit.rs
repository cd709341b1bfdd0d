//! Entries handed in by the program this is a library of.
//!
//! They are written into the open block by the thread that submits them, under one short lock; a thread of the engine
//! ships what waits longer than the pace, and tells those who wait for room when there is some. Once [`Submitter::submit`]
//! has said yes the entry is in the block, and everything in blocks is shipped before the engine ends.
//! Not here: what becomes of shipped blocks (see `inlet`).

use super::ending::Ending;
use super::inlet::InletSpec;
use super::net::filler::Filler;
use crate::entry::Entry;
use crate::labels::{Labels, SourceId, Stream};
use crate::thread::{Doing, Row, Wake};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Most label sets remembered at once; beyond that the memory of them begins anew, at the cost of a few allocations.
const STREAMS_MAX: usize = 4096;
/// The label that carries [`LogEntry::source_type`].
const SOURCE_TYPE: &str = "source_type";

/// The keys of the source of what is submitted: those of every source are all.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct SubmitSourceConfig {}

/// One log message, to be submitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was said; absent: when it is taken in.
    pub timestamp: Option<SystemTime>,
    /// What was said.
    pub message: String,
    /// What kind of thing said it, such as `api`; goes with the entry as the label `source_type`, unless it has one.
    pub source_type: Option<Arc<str>>,
    /// What else is known of it. Sets are cheap to clone: make one per origin, not one per entry.
    pub labels: Labels,
}

impl LogEntry {
    /// An entry of this message, without labels.
    pub fn new(message: impl Into<String>) -> Self {
        LogEntry { message: message.into(), ..LogEntry::default() }
    }

    /// The same with one more label, or another value for it.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels = Labels::new(self.labels.iter().chain([(name, value)]));
        self
    }
}

/// An entry that was not taken, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// The entry, as it was given.
    pub entry: LogEntry,
    /// Why.
    pub why: Refusal,
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no room now, and waiting was not asked for.
    #[error("there is no room now")]
    Full,
    /// More came lately than a rate limit allows, and waiting was not asked for.
    #[error("the rate limit is reached")]
    TooFast,
    /// The dispatcher takes nothing in any more.
    #[error("the dispatcher is stopping")]
    Stopping,
    /// The message is longer than any block.
    #[error("the message has {len} bytes, more than the {max} there is room for")]
    TooLong {
        /// Bytes it has.
        len: usize,
        /// Bytes it may have.
        max: usize,
    },
}

impl Refusal {
    /// Whether the entry may be taken later.
    fn passes(self) -> bool {
        matches!(self, Refusal::Full | Refusal::TooFast)
    }
}

/// Where a program hands its entries in. Clones share one open block; threads that submit a lot do better with one
/// each (see `Dispatcher::submitter`).
#[derive(Clone)]
pub struct Submitter(Arc<Door>);

struct Door {
    state: Mutex<State>,
    /// Somebody waits for room here, under `state`.
    room: Condvar,
    bell: Arc<Bell>,
    max: usize,
}

struct State {
    filler: Filler,
    streams: Streams,
    stopping: bool,
}

/// The streams of the label sets seen so far.
struct Streams {
    source: SourceId,
    name: Arc<str>,
    labels: Labels,
    last: Option<(Key, Arc<Stream>)>,
    known: HashMap<Key, Arc<Stream>>,
}

type Key = (Option<Arc<str>>, Labels);

impl Submitter {
    /// Takes the entry. Under the strategy `block` it waits for room; under the others something gives way, counted. Where a
    /// rate limit paces it waits for that, whatever the strategy.
    ///
    /// Errors: the dispatcher is stopping, or the entry is too long; it comes back then.
    pub fn submit(&self, entry: LogEntry) -> Result<(), Refused> {
        let mut state = self.0.state.lock();
        loop {
            match self.0.put(&mut state, &entry) {
                Ok(()) => return Ok(()),
                Err(why) if why.passes() => self.0.room.wait(&mut state),
                Err(why) => return Err(Refused { entry, why }),
            }
        }
    }

    /// Takes the entry if it need not wait for that.
    ///
    /// Errors: as [`Submitter::submit`], or there is no room, or it comes faster than it may.
    pub fn try_submit(&self, entry: LogEntry) -> Result<(), Refused> {
        match self.0.put(&mut self.0.state.lock(), &entry) {
            Ok(()) => Ok(()),
            Err(why) => Err(Refused { entry, why }),
        }
    }

    /// Takes the entries in their order, waiting for room between them where it has to.
    ///
    /// Errors: as [`Submitter::submit`]; what was not taken comes back, the entry it stopped at first.
    pub fn submit_batch(
        &self,
        entries: impl IntoIterator<Item = LogEntry>,
    ) -> Result<(), (Refusal, Vec<LogEntry>)> {
        let mut entries = entries.into_iter();
        let mut state = self.0.state.lock();
        while let Some(entry) = entries.next() {
            loop {
                match self.0.put(&mut state, &entry) {
                    Ok(()) => break,
                    Err(why) if why.passes() => self.0.room.wait(&mut state),
                    Err(why) => return Err((why, std::iter::once(entry).chain(entries).collect())),
                }
            }
        }
        Ok(())
    }
}

impl Door {
    fn put(&self, state: &mut State, entry: &LogEntry) -> Result<(), Refusal> {
        let len = entry.message.len();
        if state.stopping {
            return Err(Refusal::Stopping);
        }
        if len > self.max {
            return Err(Refusal::TooLong { len, max: self.max });
        }
        let State { filler, streams, .. } = state;
        let stream = streams.of(entry);
        if filler.room_left(len + 1).is_none() {
            if !filler.may_read() {
                return Err(no_room(filler));
            }
            // Someone has to ship it if no more comes.
            self.bell.wake();
            if filler.room(len + 1, Instant::now()).is_none() {
                return Err(no_room(filler));
            }
        }
        let Some(block) = filler.room_left(len + 1) else { return Err(Refusal::Full) };
        block.begin_run(stream);
        let Some(offset) = block.append(entry.message.as_bytes()) else { return Err(Refusal::Full) };
        block.append(b"\n");
        let flags = Entry::newlines(entry.message.as_bytes());
        let row = Entry { flags, ..Entry::at(offset, len as u32) };
        block.push(match entry.timestamp {
            Some(said) => Entry { time: nanos(said), flags: flags | Entry::OWN_TIME, ..row },
            None => row,
        });
        Ok(())
    }
}

/// Why there is no room.
fn no_room(filler: &Filler) -> Refusal {
    if filler.is_paced() { Refusal::TooFast } else { Refusal::Full }
}

/// Nanoseconds since 1970; what does not fit is the nearest that does.
fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

impl Streams {
    fn of(&mut self, entry: &LogEntry) -> &Arc<Stream> {
        let is = |(kind, labels): &Key| *labels == entry.labels && *kind == entry.source_type;
        // Entries of one origin mostly follow each other.
        if !self.last.as_ref().is_some_and(|(key, _)| is(key)) {
            let key = (entry.source_type.clone(), entry.labels.clone());
            let stream = match self.known.get(&key) {
                Some(stream) => Arc::clone(stream),
                None => self.add(key.clone()),
            };
            self.last = Some((key, stream));
        }
        match &self.last {
            Some((_, stream)) => stream,
            None => unreachable!("it was put there above"),
        }
    }

    fn add(&mut self, key: Key) -> Arc<Stream> {
        if self.known.len() >= STREAMS_MAX {
            self.known.clear();
        }
        let kind = key.0.as_deref().map(|kind| (SOURCE_TYPE, kind));
        // The later of two wins: the entry's own over its type, and both over the source's.
        let labels = Labels::new(self.labels.iter().chain(kind).chain(key.1.iter()));
        let mut origin = String::new();
        for (name, value) in labels.iter() {
            origin.extend([name, "=", value, ","]);
        }
        let stream = Stream::new(self.source, Arc::clone(&self.name), "submit", origin, labels);
        let stream = Arc::new(stream);
        self.known.insert(key, Arc::clone(&stream));
        stream
    }
}

/// Wakes the thread that looks after the open block.
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock() = true;
        self.heard.notify_one();
    }
}

/// The thread that ships what waits, and hears what became of it.
pub struct Shipper {
    door: Arc<Door>,
    ending: Arc<Ending>,
}

impl Shipper {
    /// A source for the domain of `spec` whose entries have at least `labels`; entries go in at its [`Submitter`].
    pub fn new(spec: InletSpec, ending: Arc<Ending>, source: SourceId, labels: Labels) -> Self {
        let bell = Arc::new(Bell { rung: Mutex::new(false), heard: Condvar::new() });
        ending.join(Arc::clone(&bell) as Arc<dyn Wake>);
        let name = Arc::clone(&spec.source.name);
        let streams = Streams { source, name, labels, last: None, known: HashMap::new() };
        let max = spec.largest_block() - 1;
        let filler = Filler::new(spec, Arc::clone(&bell) as Arc<dyn Wake>);
        let state = Mutex::new(State { filler, streams, stopping: false });
        Shipper { door: Arc::new(Door { state, room: Condvar::new(), bell, max }), ending }
    }

    /// Where entries go in.
    pub fn submitter(&self) -> Submitter {
        Submitter(Arc::clone(&self.door))
    }

    /// Ships until told to stop; then stays until all is settled or it is told to leave.
    pub fn run(self, row: &Row) {
        let mut shipped = false;
        loop {
            row.set(Doing::Working);
            let mut state = self.door.state.lock();
            state.filler.woken();
            state.stopping = self.ending.is_stopping();
            self.door.room.notify_all();
            let mut due = state.filler.keep_pace(Instant::now());
            if state.stopping && !shipped && state.filler.ship(Instant::now()) {
                shipped = true;
                self.ending.shipped_all();
            }
            if self.ending.is_leaving() {
                return self.leave(state, shipped);
            }
            if shipped {
                if state.filler.is_idle() {
                    return;
                }
                due = None;
            }
            row.set(if state.filler.is_stuck() { Doing::Blocked } else { Doing::Idle });
            drop(state);
            self.sleep(due);
        }
    }

    fn sleep(&self, due: Option<Instant>) {
        let mut rung = self.door.bell.rung.lock();
        while !*rung {
            match due {
                None => self.door.bell.heard.wait(&mut rung),
                Some(due) if self.door.bell.heard.wait_until(&mut rung, due).timed_out() => break,
                Some(_) => {}
            }
        }
        *rung = false;
    }

    fn leave(&self, mut state: MutexGuard<'_, State>, shipped: bool) {
        state.stopping = true;
        let lost = state.filler.abandon(0);
        if lost > 0 {
            let name = state.filler.source_name();
            tracing::error!("source {name}: {lost} entries lost: the time to deliver them is over");
        }
        if !shipped {
            self.ending.shipped_all();
        }
        self.door.room.notify_all();
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::inlet::Strategy;
    use super::*;
    use crate::sources::net::tests::House;
    use crate::thread::Threads;
    use std::time::Duration;

    /// A house whose ring holds `entries`, and a running source in front of it.
    fn start(entries: usize, strategy: Strategy) -> (House, Submitter) {
        let house = House::new(entries, 4);
        let spec = InletSpec { strategy, ..house.spec() };
        let labels = Labels::new([("host", "a"), ("level", "info")]);
        let shipper = Shipper::new(spec, Arc::clone(&house.ending), SourceId(0), labels);
        let submitter = shipper.submitter();
        Threads::default().spawn("submit", &[], move |row| shipper.run(row)).unwrap();
        (house, submitter)
    }

    fn take_until(house: &mut House, count: usize) {
        let patience = Instant::now() + Duration::from_secs(20);
        while house.count() < count {
            assert!(Instant::now() < patience, "waited in vain, {} came", house.count());
            house.empty();
            std::thread::yield_now();
        }
    }

    #[test]
    fn entries_come_out_in_order_with_their_labels_time_and_source_type() {
        let (mut house, submitter) = start(1000, Strategy::Block);
        let api = LogEntry { source_type: Some("api".into()), ..LogEntry::new("2") };
        let said = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        submitter.submit(LogEntry::new("1").label("level", "warn")).unwrap();
        submitter.submit(LogEntry { timestamp: Some(said), ..api.clone() }).unwrap();
        submitter.submit_batch([LogEntry::new("3").label("level", "warn"), LogEntry::new("4")]).unwrap();
        take_until(&mut house, 4);
        let came: Vec<_> = house.came.iter().map(|(origin, texts)| (&origin[..], texts.join(" "))).collect();
        assert_eq!(
            came,
            [
                ("host=a,level=info,", "4".into()),
                ("host=a,level=info,source_type=api,", "2".into()),
                ("host=a,level=warn,", "1 3".into()),
            ]
        );
        assert_eq!(nanos(said), 1_700_000_000_123_456_789);
        assert_eq!(nanos(UNIX_EPOCH - Duration::from_nanos(5)), -5);
    }

    #[test]
    fn without_room_an_entry_comes_back_or_waits_and_with_room_again_it_goes() {
        let (mut house, submitter) = start(8, Strategy::Block);
        let mut taken = 0;
        let refused = loop {
            match submitter.try_submit(LogEntry::new(format!("{taken}"))) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
            assert!(taken < 100, "the ring holds 8, and a block 4");
        };
        assert_eq!((refused.why, refused.entry.message), (Refusal::Full, format!("{taken}")));
        let waits = submitter.clone();
        let waiting = std::thread::spawn(move || waits.submit(LogEntry::new("waited")));
        take_until(&mut house, taken + 1);
        waiting.join().unwrap().unwrap();
        assert_eq!(house.ledger.row.received.get(), taken as u64 + 1);
        let texts = house.came.values().next().unwrap();
        assert_eq!(texts.last().unwrap(), "waited");
    }

    #[test]
    fn what_was_taken_before_the_end_is_shipped_and_later_entries_come_back() {
        let (mut house, submitter) = start(1000, Strategy::Block);
        submitter.submit(LogEntry::new("last")).unwrap();
        house.ending.stop();
        take_until(&mut house, 1);
        assert!(house.ending.wait_shipped(Instant::now() + Duration::from_secs(20)));
        let refused = submitter.submit(LogEntry::new("late")).unwrap_err();
        assert_eq!((refused.why, &refused.entry.message[..]), (Refusal::Stopping, "late"));
        let (why, rest) = submitter.submit_batch([LogEntry::new("x"), LogEntry::new("y")]).unwrap_err();
        assert_eq!((why, rest.len()), (Refusal::Stopping, 2));
    }

    #[test]
    fn a_strategy_that_drops_never_refuses_and_counts() {
        let (mut house, submitter) = start(8, Strategy::DropNewest);
        (0..100).for_each(|number| submitter.try_submit(LogEntry::new(format!("{number}"))).unwrap());
        house.ending.stop();
        assert!(house.ending.wait_shipped(Instant::now() + Duration::from_secs(20)));
        house.empty();
        let row = &house.ledger.row;
        assert_eq!((row.received.get(), row.dropped.total()), (100, 100 - house.count() as u64));
        assert!((4..=8).contains(&house.count()), "{}", house.count());
    }

    #[test]
    fn a_message_longer_than_any_block_comes_back() {
        let (_house, submitter) = start(8, Strategy::Block);
        let refused = submitter.submit(LogEntry::new("x".repeat(2 << 20))).unwrap_err();
        assert!(matches!(refused.why, Refusal::TooLong { len, max } if len == 2 << 20 && max < len));
    }
}
