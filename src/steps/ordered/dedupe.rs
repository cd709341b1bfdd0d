//! Takes out what was there a moment ago, and counts it: `dedupe`.
//!
//! The first entry of a key opens its window; its equals are taken out until the window closes, which is a fixed time
//! later however many there were. All windows are equally long, so they close in the order in which they opened.
//!
//! When a window closes in which something was taken out, the last of that is given once more, with the count: by a source of
//! its own, which asks for it ([`Dedupe::closed`]). To have it by then, the second of equal entries is kept whole. Where
//! there is no room for that, equal entries pass: nothing is taken out that is not counted.

use super::config::{DedupeConfig, Emit};
use super::keyed::Keyed;
use super::{Key, Notes, Ordered, OrderedView, is_set, set};
use crate::block::{Block, Remembered};
use crate::clock::SteadyNanos;
use crate::expr::ExprError;
use crate::steps::StepError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// The source that gives what was counted, as it is called in the ledger.
pub const SOURCE: &str = "repeats";
/// The field that says how many equals of an entry were taken out.
pub const COUNT: &str = "repeated";
/// Most windows that are over and are closed on the way, per entry: more come in than can be opened.
const CLOSED_PER_ENTRY: usize = 2;
/// Most memory of entries that were given is kept for others.
const SPARE_MAX: usize = 1000;

/// The step.
pub struct Dedupe {
    key: Key,
    /// In nanoseconds.
    window: i64,
    max_keys: usize,
    max_bytes: usize,
    emits: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The window that closes next is first.
    windows: Keyed<Window>,
    /// What closed windows have to say.
    closed: VecDeque<Repeat>,
    /// Bytes of all entries that are kept, in windows and closed.
    bytes: usize,
    spare: Vec<Remembered>,
    /// The latest block's time: blocks of different sources may come out of the order in which they were shipped.
    now: SteadyNanos,
    evicted: u64,
    lost_counts: u64,
}

#[derive(Default)]
struct Window {
    opened: SteadyNanos,
    count: u64,
    kept: Option<Remembered>,
}

/// What a closed window has to say.
#[derive(Debug)]
pub struct Repeat {
    /// The entry.
    pub entry: Remembered,
    /// How many equals of it were taken out.
    pub count: u64,
}

impl Dedupe {
    /// The most memory that one of this config takes, in bytes.
    pub fn memory(config: &DedupeConfig) -> usize {
        let kept = if config.emit == Emit::Count { config.max_bytes } else { 0 };
        Keyed::<Window>::memory(config.max_keys) + kept
    }

    /// As the config says.
    ///
    /// Errors: the place of the name that is none, and what is wrong with it.
    pub fn new(config: &DedupeConfig) -> Result<Self, (usize, ExprError)> {
        let DedupeConfig { fields, window, max_keys, emit, max_bytes } = config;
        Ok(Dedupe {
            key: if fields.is_empty() { Key::of_message() } else { Key::of(fields)? },
            window: i64::try_from(window.as_nanos()).unwrap_or(i64::MAX).min(i64::MAX / 4),
            max_keys: *max_keys,
            max_bytes: *max_bytes,
            emits: *emit == Emit::Count,
            state: Mutex::default(),
        })
    }

    /// Closes windows that are over at `now`, or all (`None`), and moves up to `most` of what closed ones have to say to
    /// `to`. False: there may be more.
    pub fn closed(&self, now: Option<SteadyNanos>, most: usize, to: &mut Vec<Repeat>) -> bool {
        let mut state = self.state.lock();
        for _ in 0..most {
            if !self.close_first(&mut state, now) {
                break;
            }
        }
        let ready = most.min(state.closed.len());
        for repeat in state.closed.drain(..ready).collect::<Vec<_>>() {
            state.bytes -= repeat.entry.size();
            to.push(repeat);
        }
        state.closed.is_empty() && !self.is_over(&state, now)
    }

    /// Gives back the memory of an entry that was given.
    pub fn give_back(&self, entry: Remembered) {
        let mut state = self.state.lock();
        if state.spare.len() < SPARE_MAX {
            state.spare.push(entry);
        }
    }

    /// Puts back what could not be given now.
    pub fn put_back(&self, repeat: Repeat) {
        let mut state = self.state.lock();
        state.bytes += repeat.entry.size();
        state.closed.push_front(repeat);
    }

    /// What it had to say of an entry cannot be told.
    pub fn count_lost(&self) {
        self.state.lock().lost_counts += 1;
    }

    /// Whether the window that closes next is over.
    fn is_over(&self, state: &State, now: Option<SteadyNanos>) -> bool {
        let over = |window: &Window| now.is_none_or(|now| now - window.opened >= self.window);
        state.windows.first().is_some_and(over)
    }

    /// Closes the window that closes next, if it is over.
    fn close_first(&self, state: &mut State, now: Option<SteadyNanos>) -> bool {
        let over = self.is_over(state, now);
        if over && let Some(window) = state.windows.take_first() {
            self.tell(state, window);
        }
        over
    }

    /// Has the window say what it has to.
    fn tell(&self, state: &mut State, window: Window) {
        let Window { count, kept, .. } = window;
        if let Some(entry) = kept {
            // There are never more of them than of windows: whoever gives them is slower than they come.
            if state.closed.len() >= self.max_keys {
                state.lost_counts += 1;
                state.bytes -= entry.size();
                return;
            }
            state.closed.push_back(Repeat { entry, count });
        }
    }

    /// Whether the entry is to be taken out.
    fn is_repeated(&self, state: &mut State, block: &Block, index: usize, key: u128) -> bool {
        let now = state.now;
        for _ in 0..CLOSED_PER_ENTRY {
            if !self.close_first(state, Some(now)) {
                break;
            }
        }
        let known = state.windows.get(key).filter(|window| now - window.opened < self.window);
        if let Some(window) = known {
            if window.count > 0 || !self.emits {
                window.count += 1;
                return true;
            }
            let size = Remembered::size_of(block, index);
            if state.bytes + size > self.max_bytes {
                state.evicted += 1;
                return false;
            }
            let entry = Remembered::of(block, index, state.spare.pop());
            state.bytes += entry.size();
            if let Some(window) = state.windows.get(key) {
                (window.count, window.kept) = (1, Some(entry));
            }
            return true;
        }
        if let Some(over) = state.windows.touch(key) {
            // Over, and not yet closed.
            let over = std::mem::replace(over, Window { opened: now, ..Window::default() });
            self.tell(state, over);
            return false;
        }
        if state.windows.len() >= self.max_keys
            && let Some(window) = state.windows.take_first()
        {
            state.evicted += 1;
            self.tell(state, window);
        }
        state.windows.add(key, Window { opened: now, ..Window::default() });
        false
    }
}

impl Ordered for Dedupe {
    fn verb(&self) -> &'static str {
        "dedupe"
    }

    fn note(&self, block: &Block, index: usize) -> Result<u128, StepError> {
        Ok(self.key.number(block, index))
    }

    fn decide(&self, block: &Block, notes: Notes<'_>, now: SteadyNanos, out: &mut [u64]) {
        let mut state = self.state.lock();
        state.now = state.now.max(now);
        for (index, key) in notes.iter() {
            if !is_set(out, index) && self.is_repeated(&mut state, block, index, key) {
                set(out, index);
            }
        }
    }

    fn forget(&self) {
        let mut state = self.state.lock();
        while self.close_first(&mut state, None) {}
    }

    fn view(&self) -> OrderedView {
        let state = self.state.lock();
        OrderedView {
            keys: state.windows.len() as u64,
            evicted: state.evicted,
            lost_counts: state.lost_counts,
        }
    }

    fn as_dedupe(self: Arc<Self>) -> Option<Arc<Dedupe>> {
        self.emits.then_some(self)
    }
}
