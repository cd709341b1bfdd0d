//! Rate limits: how many entries of a source, of a label's value, or of all sources together are admitted in a second.
//!
//! There is one place of admission, the [`inlet`](super::inlet), and two limits that hold there: that of all sources and
//! that of its own. They are asked once per block, per label value once per run: never per entry. `pace` makes a source
//! wait, which then stops reading as it does when there is no room; `drop` cuts what comes to what it may be, exactly.
//! Not here: arithmetic (see [`bucket`]), and who wakes a source that waits (see [`pacer`]).

pub mod bucket;
pub mod config;
pub mod pacer;

use crate::block::Block;
use crate::labels::Labels;
use bucket::Bucket;
use config::{RateLimitConfig, RateMode};
use pacer::Pacer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How often values that were not seen lately are looked for, when there are too many.
const SWEEP: Duration = Duration::from_secs(1);
/// Longest a source sleeps because of its rate: another config may give it a higher one meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// A source that waits goes on when it may take what comes in so many parts of a second, not for every entry.
const PARTS: f64 = 100.0;

/// One limit, shared by everyone it holds for.
#[derive(Debug, Default)]
pub struct RateLimit {
    /// Whether there is one. Relaxed: whoever sees it late is late with the whole change.
    on: AtomicBool,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    config: RateLimitConfig,
    /// That of everything, or of the values that have none of their own.
    shared: Bucket,
    keys: HashMap<Box<str>, Bucket>,
    swept: Instant,
}

/// What one block came to at one limit.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// So many entries of each run may go on.
    Keep(Vec<u32>),
    /// None of it, until then.
    Wait(Instant),
}

impl RateLimit {
    /// Another limit from now on, or none. What was saved up stays, as far as it is allowed.
    pub fn set(&self, config: Option<&RateLimitConfig>, now: Instant) {
        let mut state = self.state.lock();
        let config = config.filter(|config| config.enabled);
        self.on.store(config.is_some(), Relaxed);
        *state = config.map(|config| match state.take() {
            Some(old) if old.config.per == config.per => {
                let mut next = State { config: config.clone(), ..old };
                let rate = next.config.rate();
                next.shared.set_rate(rate, now);
                next.keys.values_mut().for_each(|bucket| bucket.set_rate(rate, now));
                next
            }
            _ => State {
                config: config.clone(),
                shared: Bucket::new(config.rate(), now),
                keys: HashMap::new(),
                swept: now,
            },
        });
    }

    /// How many values of the label have a limit of their own now.
    pub fn keys(&self) -> usize {
        if !self.on.load(Relaxed) {
            return 0;
        }
        self.state.lock().as_ref().map_or(0, |state| state.keys.len())
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> Option<T> {
        if !self.on.load(Relaxed) {
            return None;
        }
        self.state.lock().as_mut().map(what)
    }

    /// Most entries for a block that is begun now; nothing where nobody has to wait.
    fn allowance(&self, now: Instant) -> Option<u64> {
        self.with(|state| match (state.config.mode, state.config.label()) {
            (RateMode::Drop, _) => None,
            (RateMode::Pace, Some(_)) => Some(state.config.rate().burst),
            (RateMode::Pace, None) => Some(state.shared.tokens(now).max(1)),
        })?
    }

    /// When the source may read; nothing if now. `labels`: of what would come, if that is known.
    fn wait(&self, labels: Option<&Labels>, now: Instant) -> Option<Instant> {
        self.with(|state| {
            let rate = state.config.rate();
            let worth = ((rate.per_second / PARTS) as u64).clamp(1, rate.burst);
            let bucket = match (state.config.mode, state.config.per.is_some(), labels) {
                (RateMode::Drop, ..) | (RateMode::Pace, true, None) => return None,
                (RateMode::Pace, false, _) => &mut state.shared,
                (RateMode::Pace, true, Some(labels)) => state.bucket(labels, now),
            };
            (bucket.tokens(now) == 0).then(|| bucket.when(worth, now))
        })?
    }

    /// What of the block may go on; that is taken.
    fn take(&self, block: &Block, now: Instant) -> Option<Came> {
        self.with(|state| {
            let runs = block.runs();
            let mut kept = Vec::with_capacity(runs.len());
            if state.config.label().is_none() {
                let all = block.entries().len() as u64;
                let mut left = match state.config.mode {
                    RateMode::Drop => state.shared.take_up_to(all, now),
                    RateMode::Pace if state.shared.take(all, now) => all,
                    RateMode::Pace => return Came::Wait(state.shared.when(all, now)),
                };
                kept.extend(runs.iter().map(|run| {
                    let some = left.min((run.end - run.first).into());
                    left -= some;
                    some as u32
                }));
                return Came::Keep(kept);
            }
            for run in runs {
                let count = u64::from(run.end - run.first);
                let mode = state.config.mode;
                let bucket = state.bucket(&run.stream.labels, now);
                match mode {
                    RateMode::Drop => kept.push(bucket.take_up_to(count, now) as u32),
                    RateMode::Pace if bucket.take(count, now) => kept.push(count as u32),
                    RateMode::Pace => {
                        let at = bucket.when(count, now);
                        state.give_back(block, &kept, now);
                        return Came::Wait(at);
                    }
                }
            }
            Came::Keep(kept)
        })
    }

    /// Gives back what was taken for all entries of the block.
    fn give_back(&self, block: &Block, now: Instant) {
        self.with(|state| state.give_back(block, &sizes(block), now));
    }
}

fn sizes(block: &Block) -> Vec<u32> {
    block.runs().iter().map(|run| run.end - run.first).collect()
}

/// Drops what is beyond `kept`, and gives back what was `taken` for it.
fn cut(block: &mut Block, kept: &[u32], taken: &[&RateLimit], now: Instant) {
    let dropped: Vec<u32> = sizes(block).iter().zip(kept).map(|(all, kept)| all - kept).collect();
    if dropped.iter().any(|count| *count > 0) {
        for limit in taken {
            limit.with(|state| state.give_back(block, &dropped, now));
        }
        block.keep_of_runs(kept);
    }
}

impl State {
    /// The bucket of these labels.
    fn bucket(&mut self, labels: &Labels, now: Instant) -> &mut Bucket {
        let value = self.config.label().and_then(|name| labels.get(name)).unwrap_or("");
        if !self.keys.contains_key(value) {
            if self.keys.len() >= self.config.max_keys && now >= self.swept + SWEEP {
                self.swept = now;
                self.keys.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.keys.len() < self.config.max_keys {
                let fresh = Bucket::new(self.config.rate(), now);
                return self.keys.entry(value.into()).or_insert(fresh);
            }
        }
        match self.keys.get_mut(value) {
            Some(bucket) => bucket,
            None => &mut self.shared,
        }
    }

    fn give_back(&mut self, block: &Block, kept: &[u32], now: Instant) {
        if self.config.label().is_none() {
            return self.shared.give_back(kept.iter().map(|count| u64::from(*count)).sum());
        }
        for (run, count) in block.runs().iter().zip(kept) {
            self.bucket(&run.stream.labels, now).give_back((*count).into());
        }
    }
}

/// The limits of one source, and who wakes it. Without any it costs a look at two flags per block.
#[derive(Clone, Default)]
pub struct Limits {
    /// That of all sources together.
    pub all: Arc<RateLimit>,
    /// The source's own.
    pub own: Arc<RateLimit>,
    /// Who wakes it when it has waited.
    pub pacer: Arc<Pacer>,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It goes on, without so many entries, which were dropped.
    Go {
        /// How many were dropped.
        dropped: usize,
    },
    /// It waits until then, whole.
    Wait(Instant),
}

impl Limits {
    fn both(&self) -> [&RateLimit; 2] {
        [&self.all, &self.own]
    }

    /// Whether there is any.
    pub fn is_on(&self) -> bool {
        self.both().iter().any(|limit| limit.on.load(Relaxed))
    }

    /// Most entries for a block that is begun now, `most` at most.
    pub fn allowance(&self, most: usize, now: Instant) -> usize {
        let allowed = self.both().into_iter().filter_map(|limit| limit.allowance(now));
        allowed.min().map_or(most, |allowed| most.min(allowed as usize)).max(1)
    }

    /// When the source may read on; nothing if now. `labels` are those of what would come, where that is known before.
    pub fn wait(&self, labels: Option<&Labels>, now: Instant) -> Option<Instant> {
        self.both().into_iter().filter_map(|limit| limit.wait(labels, now)).max()
    }

    /// When to look again for one that may go on at `at`.
    pub fn look_at(at: Instant, now: Instant) -> Instant {
        at.min(now + LOOK)
    }

    /// Asks for the block. What goes on was taken; if it cannot go on for another reason, [`Limits::give_back`] it.
    pub fn admit(&self, block: &mut Block, now: Instant) -> Admission {
        let before = block.entries().len();
        // Both that make it wait come before any that drops: what waits must be whole.
        let paces = |limit: &&RateLimit| limit.with(|state| state.config.mode == RateMode::Pace);
        let (pace, drop): (Vec<&RateLimit>, Vec<&RateLimit>) = self
            .both()
            .into_iter()
            .filter(|limit| limit.on.load(Relaxed))
            .partition(|limit| paces(limit) == Some(true));
        for (at, limit) in pace.iter().enumerate() {
            if let Some(Came::Wait(until)) = limit.take(block, now) {
                pace[..at].iter().for_each(|limit| limit.give_back(block, now));
                return Admission::Wait(until);
            }
        }
        let mut taken = pace;
        for limit in drop {
            // A reload may have made it one that paces since: then it waits for the next block.
            if let Some(Came::Keep(kept)) = limit.take(block, now) {
                cut(block, &kept, &taken, now);
                taken.push(limit);
            }
        }
        Admission::Go { dropped: before - block.entries().len() }
    }

    /// Gives back what was taken for all entries of the block.
    pub fn give_back(&self, block: &Block, now: Instant) {
        self.both().into_iter().for_each(|limit| limit.give_back(block, now));
    }
}

#[cfg(test)]
mod tests;
