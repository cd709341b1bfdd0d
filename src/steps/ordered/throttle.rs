//! Takes out what is more than so many in a time: `throttle`.
//!
//! Per key it remembers one number, the moment at which all that was let through would have been due had it come evenly
//! (the "generic cell rate algorithm" of ATM, ITU-T I.371): an entry passes if that moment is not further ahead than the
//! burst. Between two moments with nothing due at most `burst` entries pass, and in any time `t` at most
//! `burst + t * rate / every`.

use super::config::ThrottleConfig;
use super::keyed::Keyed;
use super::{Key, Notes, Ordered, OrderedView, is_set, set};
use crate::block::Block;
use crate::clock::SteadyNanos;
use crate::expr::ExprError;
use crate::steps::StepError;
use parking_lot::Mutex;

/// The step.
pub struct Throttle {
    key: Key,
    /// Between two entries that come evenly, in nanoseconds.
    interval: i64,
    /// How far ahead the moment may be that an entry still passes, in nanoseconds.
    ahead: i64,
    max_keys: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the next entry of the key would be due. The key seen longest ago is first.
    due: Keyed<SteadyNanos>,
    /// The latest block's time: blocks of different sources may come out of the order in which they were shipped.
    now: SteadyNanos,
    evicted: u64,
}

impl Throttle {
    /// The most memory that one of this config takes, in bytes.
    pub fn memory(config: &ThrottleConfig) -> usize {
        Keyed::<SteadyNanos>::memory(config.max_keys)
    }

    /// As the config says.
    ///
    /// Errors: the place of the name that is none, and what is wrong with it.
    pub fn new(config: &ThrottleConfig) -> Result<Self, (usize, ExprError)> {
        let interval = (config.every.as_nanos() / config.rate as u128).clamp(1, i64::MAX as u128 / 4) as i64;
        let burst = config.burst.unwrap_or(config.rate) as i64;
        Ok(Throttle {
            key: Key::of(&config.per)?,
            interval,
            ahead: interval.saturating_mul(burst - 1).min(i64::MAX / 4),
            max_keys: config.max_keys,
            state: Mutex::default(),
        })
    }
}

impl State {
    /// Whether an entry of this key passes now.
    fn passes(&mut self, key: u128, throttle: &Throttle) -> bool {
        let now = self.now;
        match self.due.touch(key) {
            Some(due) if *due - now > throttle.ahead => false,
            Some(due) => {
                *due = (*due).max(now) + throttle.interval;
                true
            }
            None => {
                if self.due.len() >= throttle.max_keys {
                    let forgotten = self.due.take_first();
                    // One that is not ahead is as good as unknown.
                    self.evicted += u64::from(forgotten.is_some_and(|due| due > now));
                }
                self.due.add(key, now + throttle.interval);
                true
            }
        }
    }
}

impl Ordered for Throttle {
    fn verb(&self) -> &'static str {
        "throttle"
    }

    fn note(&self, block: &Block, index: usize) -> Result<u128, StepError> {
        Ok(self.key.number(block, index))
    }

    fn decide(&self, _: &Block, notes: Notes<'_>, now: SteadyNanos, out: &mut [u64]) {
        let mut state = self.state.lock();
        state.now = state.now.max(now);
        for (index, key) in notes.iter() {
            if !is_set(out, index) && !state.passes(key, self) {
                set(out, index);
            }
        }
    }

    fn drops(&self) -> bool {
        true
    }

    fn view(&self) -> OrderedView {
        let state = self.state.lock();
        OrderedView { keys: state.due.len() as u64, evicted: state.evicted, lost_counts: 0 }
    }
}
