//! Bounds on what several holders have together, and what is taken of them.

use crate::thread::{WaitList, Wake};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// A bound in bytes on what several holders may have together; those who were refused are woken when room returns.
pub struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
    refused: WaitList,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Budget {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            refused: WaitList::default(),
        })
    }

    /// Who is to be woken when bytes come back after a refusal.
    pub fn wake_when_free(&self, waker: Arc<dyn Wake>) {
        self.refused.join(waker);
    }

    /// Who is not to be woken any more.
    pub fn forget(&self, waker: &Arc<dyn Wake>) {
        self.refused.leave(waker);
    }

    /// Takes `bytes`, or refuses and remembers to wake. The charge gives them back when it is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.charge_within(bytes, self.limit())
    }

    /// Takes `bytes` if no more than `limit` are taken then, or refuses and remembers to wake.
    pub fn charge_within(self: &Arc<Self>, bytes: usize, limit: usize) -> Option<Charge> {
        let charge = || Charge { budget: Arc::clone(self), bytes };
        if self.try_take(bytes, limit) {
            return Some(charge());
        }
        self.refused.want();
        self.try_take(bytes, limit).then(charge)
    }

    /// Takes `bytes` that are in use already, be it over the limit: others wait until there is room again.
    pub fn charge_anyway(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, SeqCst);
        Charge { budget: Arc::clone(self), bytes }
    }

    fn try_take(&self, bytes: usize, limit: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        // SeqCst: ordered with the flag of `refused`; the count itself guards no other memory.
        self.used.fetch_update(SeqCst, SeqCst, fits).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        self.refused.call();
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The bound.
    pub fn limit(&self) -> usize {
        // Relaxed: a bound that is a moment late is as good.
        self.limit.load(Relaxed)
    }

    /// Sets another bound. What is taken beyond a lower one stays so until it comes back.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
        self.refused.call();
    }
}

/// Bytes taken from a [`Budget`], given back on drop.
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// How many bytes it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Joins another charge on the same budget to this one.
    pub fn join(&mut self, mut other: Charge) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget), "each charge goes back to its own budget");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all but `bytes` of it.
    pub fn shrink(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.give(self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    /// Makes it stand for `bytes`, which are in use already, be it over the limit: others wait until there is room again.
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, SeqCst);
            self.bytes = bytes;
        }
        self.shrink(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// How many of something one holder may have; another number may be set at any time. Clones are one allowance.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<AtomicUsize>);

impl Default for Allowance {
    fn default() -> Self {
        Allowance(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl Allowance {
    /// How many there may be now.
    pub fn get(&self) -> usize {
        // Relaxed: a bound that is a moment late is as good.
        self.0.load(Relaxed)
    }

    /// Sets how many there may be.
    pub fn set(&self, count: usize) {
        self.0.store(count, Relaxed);
    }
}
