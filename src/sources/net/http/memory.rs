//! The memory of bodies that are being received.
//!
//! Nobody is promised memory by announcing a large body, and nobody who was admitted is refused for want of it: when
//! most of it is taken, new requests are refused at their heads; when what is open to all is taken, those under way wait
//! unread, except for one, which has a whole body's worth set aside for it. It ends, whatever the others do, and then
//! another has it.

use crate::pool::{Budget, Charge};
use crate::thread::Wake;
use std::sync::Arc;

/// The memory of one source's bodies.
pub struct BodyMemory {
    budget: Arc<Budget>,
    /// How much of it is open to all.
    open: usize,
    /// The connection that may have the rest.
    favoured: Option<u64>,
}

impl BodyMemory {
    /// Memory of `limit` bytes in all, for bodies of at most `body_max`; `waker` wakes the intake when some returns.
    pub fn new(limit: usize, body_max: usize, waker: Arc<dyn Wake>) -> Self {
        let budget = Budget::new(limit);
        budget.wake_when_free(waker);
        BodyMemory { budget, open: limit.saturating_sub(body_max), favoured: None }
    }

    /// Other bounds, for what is taken from now on.
    pub fn set_limits(&mut self, limit: usize, body_max: usize) {
        self.open = limit.saturating_sub(body_max);
        self.budget.set_limit(limit);
    }

    /// Whether a further request may begin.
    pub fn is_open(&self) -> bool {
        self.budget.used() < self.open / 4 * 3
    }

    /// Takes `bytes` for the body of the connection `id`. `None`: it has to wait; the intake is woken when it can be
    /// tried again, or [`BodyMemory::leave`] says so.
    pub fn take(&mut self, id: u64, bytes: usize) -> Option<Charge> {
        if self.favoured == Some(id) {
            return self.budget.charge(bytes);
        }
        self.budget.charge_within(bytes, self.open).or_else(|| {
            if self.favoured.is_some() {
                return None;
            }
            self.favoured = Some(id);
            self.budget.charge(bytes)
        })
    }

    /// Takes `bytes` that are here already, whatever the limit says.
    pub fn take_anyway(&self, bytes: usize) -> Charge {
        self.budget.charge_anyway(bytes)
    }

    /// The connection `id` receives no body any more. True if others that wait should try again.
    pub fn leave(&mut self, id: u64) -> bool {
        self.favoured.take_if(|favoured| *favoured == id).is_some()
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.budget.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;
    impl Wake for Nobody {
        fn wake(&self) {}
    }

    fn memory(limit: usize, body_max: usize) -> BodyMemory {
        BodyMemory::new(limit, body_max, Arc::new(Nobody))
    }

    #[test]
    fn of_all_that_wait_for_memory_one_can_always_finish() {
        let mut memory = memory(100, 40);
        let first = memory.take(1, 50).unwrap();
        assert!(memory.is_open() == (50 < 45));
        // What is left of the open part does not do for the next: it is the favoured one, up to a whole body.
        let second = memory.take(2, 20).unwrap();
        assert!(memory.take(3, 20).is_none() && memory.take(1, 20).is_none());
        let more = memory.take(2, 20).unwrap();
        assert!(memory.take(3, 10).is_none());
        assert!(!memory.leave(3) && memory.leave(2));
        // The next one waits for the favoured one's memory to return, if it must.
        assert!(memory.take(3, 40).is_none());
        drop((second, more));
        assert!(memory.take(3, 40).is_some());
        drop(first);
    }

    #[test]
    fn new_requests_are_refused_while_most_is_taken_and_admitted_again() {
        let mut memory = memory(140, 40);
        assert!(memory.is_open());
        let charge = memory.take(1, 75).unwrap();
        assert!(!memory.is_open());
        drop(charge);
        assert!(memory.is_open());
        let _over = memory.take_anyway(200);
        assert_eq!((memory.used(), memory.is_open()), (200, false));
    }
}
