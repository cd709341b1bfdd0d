//! Wakes sources when their time has come.
//!
//! Who may not go on for its rate is told when it may, and asks for that here. One thread waits for the nearest of these
//! times; it is there only if the config has a limit.

use crate::thread::{Doing, Row, Wake};
use parking_lot::{Condvar, Mutex};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Instant;

/// Who is to be woken, and when.
#[derive(Default)]
pub struct Pacer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    wakers: BTreeMap<u64, Arc<dyn Wake>>,
    next: u64,
    closed: bool,
}

impl Pacer {
    /// Wakes `waker` at `at`, once.
    pub fn wake_at(&self, at: Instant, waker: &Arc<dyn Wake>) {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        let nearest = state.due.peek().is_none_or(|Reverse((first, _))| at < *first);
        state.due.push(Reverse((at, number)));
        state.wakers.insert(number, Arc::clone(waker));
        drop(state);
        if nearest {
            self.changed.notify_one();
        }
    }

    /// Wakes all whose time has come by `now`. Says when the next one's will have.
    pub fn ring(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while let Some(Reverse((at, number))) = state.due.peek().copied() {
            if at > now {
                break;
            }
            state.due.pop();
            due.extend(state.wakers.remove(&number));
        }
        let next = state.due.peek().map(|Reverse((at, _))| *at);
        drop(state);
        due.iter().for_each(|waker| waker.wake());
        next
    }

    /// The thread's loop, until [`Pacer::close`].
    pub fn run(&self, row: &Row) {
        loop {
            row.set(Doing::Working);
            let next = self.ring(Instant::now());
            row.set(Doing::Idle);
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            // Something nearer may have come in between.
            let first = state.due.peek().map(|Reverse((at, _))| *at);
            match first {
                Some(at) if Some(at) != next && at <= Instant::now() => {}
                Some(at) => drop(self.changed.wait_until(&mut state, at)),
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// Ends the loop.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Heard(Mutex<u32>);

    impl Wake for Heard {
        fn wake(&self) {
            *self.0.lock() += 1;
        }
    }

    #[test]
    fn each_is_woken_once_and_not_before_its_time() {
        let (pacer, t0) = (Pacer::default(), Instant::now());
        let all: Vec<_> = (0..3).map(|_| Arc::new(Heard(Mutex::new(0)))).collect();
        for (seconds, one) in [(3, &all[0]), (1, &all[1]), (2, &all[2])] {
            let waker = Arc::clone(one) as Arc<dyn Wake>;
            pacer.wake_at(t0 + Duration::from_secs(seconds), &waker);
        }
        let heard = || all.iter().map(|one| *one.0.lock()).collect::<Vec<_>>();
        assert_eq!((pacer.ring(t0), heard()), (Some(t0 + Duration::from_secs(1)), vec![0, 0, 0]));
        assert_eq!(pacer.ring(t0 + Duration::from_secs(2)), Some(t0 + Duration::from_secs(3)));
        assert_eq!(heard(), [0, 1, 1]);
        assert_eq!((pacer.ring(t0 + Duration::from_secs(9)), heard()), (None, vec![1, 1, 1]));
    }
}
