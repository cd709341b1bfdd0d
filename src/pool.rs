//! Page-aligned memory, pools that hand out whole objects again and again, and the budgets that bound them.
//!
//! An object leaves a [`Pool`] as the only handle to it ([`Owned`]), is filled, becomes countable ([`Shared`]) and goes
//! home when the last handle is dropped, with its allocations. Free objects are kept last-in-first-out: the warmest is
//! used next and the rest of the pool stays untouched.
//!
//! Not here: what a block is (see `block`).

mod budget;
mod pages;

pub use budget::{Allowance, Budget, Charge};
pub use pages::{PAGE, Pages};

use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicUsize, fence};

/// What can go home to a pool: `reset` makes it as good as new and keeps its allocations.
pub trait Recycle: Send + Sync {
    /// Forgets what it held; large allocations beyond its ordinary size are given back here.
    fn reset(&mut self);

    /// Bytes of memory it takes.
    fn footprint(&self) -> usize;
}

/// The memory of all objects of some pools, free ones too. Those in use are bounded by those who use them; free ones only
/// take what is left.
pub struct Stock {
    bytes: AtomicUsize,
    limit: AtomicUsize,
}

impl Default for Stock {
    fn default() -> Self {
        Stock { bytes: AtomicUsize::new(0), limit: AtomicUsize::new(usize::MAX) }
    }
}

impl Stock {
    /// Bytes of all objects, as they were last counted.
    pub fn bytes(&self) -> usize {
        // Relaxed: read for display, and for a decision that a moment later is as good.
        self.bytes.load(Relaxed)
    }

    /// Beyond this no object is kept for later.
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Sets another limit.
    pub fn set_limit(&self, limit: usize) {
        // Relaxed: as in `bytes`.
        self.limit.store(limit, Relaxed);
    }

    /// Whether there is more than the limit, were there `more` bytes.
    pub fn is_over(&self, more: usize) -> bool {
        self.bytes().saturating_add(more) > self.limit()
    }

    fn recount(&self, before: usize, now: usize) {
        // Relaxed: a sum that guards no other memory.
        if now >= before {
            self.bytes.fetch_add(now - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - now, Relaxed);
        }
    }
}

struct Slot<T> {
    /// How many [`Shared`] handles there are; one while it is [`Owned`] or free.
    refs: AtomicUsize,
    /// What the stock counts it as.
    counted: usize,
    /// The pool to return to; empty while the slot is in its free list, so that the pool does not hold itself.
    home: Option<Arc<Home<T>>>,
    value: T,
}

struct Home<T> {
    free: Mutex<Vec<Box<Slot<T>>>>,
    made: AtomicUsize,
    stock: Arc<Stock>,
}

/// A free list of objects that come back by themselves. Cheap to clone; all clones are one pool.
pub struct Pool<T: Recycle>(Arc<Home<T>>);

impl<T: Recycle> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Pool(Arc::clone(&self.0))
    }
}

impl<T: Recycle> Default for Pool<T> {
    fn default() -> Self {
        Pool::of(Arc::default())
    }
}

impl<T: Recycle> Pool<T> {
    /// A pool whose objects count in `stock`.
    pub fn of(stock: Arc<Stock>) -> Self {
        Pool(Arc::new(Home { free: Mutex::new(Vec::new()), made: AtomicUsize::new(0), stock }))
    }

    /// The object that came home last, or a new one from `make`.
    pub fn get(&self, make: impl FnOnce() -> T) -> Owned<T> {
        let free = self.0.free.lock().pop();
        let mut slot = free.unwrap_or_else(|| {
            // Relaxed: read for display only.
            self.0.made.fetch_add(1, Relaxed);
            let value = make();
            let counted = value.footprint();
            self.0.stock.recount(0, counted);
            Box::new(Slot { refs: AtomicUsize::new(1), counted, home: None, value })
        });
        slot.home = Some(Arc::clone(&self.0));
        Owned(NonNull::from(Box::leak(slot)))
    }

    /// How many objects exist, and how many of them are free.
    pub fn census(&self) -> (usize, usize) {
        (self.0.made.load(Relaxed), self.0.free.lock().len())
    }

    /// Frees all but `keep` of the free objects.
    pub fn trim(&self, keep: usize) {
        let extra = {
            let mut free = self.0.free.lock();
            let keep = keep.min(free.len());
            // The cold end of the list goes: what came home first.
            let count = free.len() - keep;
            free.drain(..count).collect::<Vec<_>>()
        };
        self.0.made.fetch_sub(extra.len(), Relaxed);
        extra.iter().for_each(|slot| self.0.stock.recount(slot.counted, 0));
    }
}

/// Returns `slot` to its pool. The caller holds the last handle.
///
/// # Safety
/// `slot` came from `Box::leak` in [`Pool::get`] and no other handle to it exists any more.
unsafe fn go_home<T: Recycle>(slot: NonNull<Slot<T>>) {
    // SAFETY: by the contract above this is the leaked box, owned by nobody else.
    let mut slot = unsafe { Box::from_raw(slot.as_ptr()) };
    slot.value.reset();
    slot.refs = AtomicUsize::new(1);
    let Some(home) = slot.home.take() else { return };
    let counted = slot.value.footprint();
    home.stock.recount(slot.counted, counted);
    slot.counted = counted;
    if home.stock.is_over(0) {
        home.stock.recount(counted, 0);
        // Relaxed: read for display only.
        home.made.fetch_sub(1, Relaxed);
        return;
    }
    home.free.lock().push(slot);
}

/// The only handle to an object of a pool.
pub struct Owned<T: Recycle>(NonNull<Slot<T>>);

impl<T: Recycle> Owned<T> {
    /// Counts anew what the object takes, after it may have grown; gives that, in bytes.
    pub fn recount(&mut self) -> usize {
        // SAFETY: this is the only handle, and it is borrowed mutably.
        let slot = unsafe { self.0.as_mut() };
        let counted = slot.value.footprint();
        if let Some(home) = &slot.home {
            home.stock.recount(slot.counted, counted);
        }
        slot.counted = counted;
        counted
    }

    /// Gives up the right to change the object, so that it can be shared.
    pub fn share(self) -> Shared<T> {
        let shared = Shared(self.0);
        std::mem::forget(self);
        shared
    }
}

impl<T: Recycle> Deref for Owned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the slot lives until the last handle drops; this is the only one.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T: Recycle> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only handle, and it is borrowed mutably.
        unsafe { &mut self.0.as_mut().value }
    }
}

impl<T: Recycle> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: an `Owned` is the only handle, and it ends here.
        unsafe { go_home(self.0) }
    }
}

// SAFETY: an `Owned<T>` is a unique handle like `Box<T>`; `T: Send + Sync` by `Recycle`.
unsafe impl<T: Recycle> Send for Owned<T> {}
// SAFETY: as above; `&Owned<T>` gives only `&T`.
unsafe impl<T: Recycle> Sync for Owned<T> {}

/// One of several handles to an object of a pool, which nobody may change any more.
pub struct Shared<T: Recycle>(NonNull<Slot<T>>);

impl<T: Recycle> Shared<T> {
    /// Whether both are handles to the same object.
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Recycle> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // SAFETY: the slot lives at least as long as `self`.
        // Relaxed: a new handle is made from a live one, whose owner already sees the object.
        unsafe { self.0.as_ref().refs.fetch_add(1, Relaxed) };
        Shared(self.0)
    }
}

impl<T: Recycle> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the slot lives until the last handle drops, and no `&mut` exists while handles are shared.
        unsafe { &self.0.as_ref().value }
    }
}

impl<T: Recycle> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the slot is alive, as this handle still counts.
        let refs = unsafe { &self.0.as_ref().refs };
        // Release pairs with the Acquire fence below: what every other holder read is finished before the reset.
        if refs.fetch_sub(1, Release) == 1 {
            fence(Acquire);
            // SAFETY: the count fell to zero, so this was the last handle.
            unsafe { go_home(self.0) }
        }
    }
}

// SAFETY: like `Arc<T>`: `T: Send + Sync` by `Recycle`, the count is atomic.
unsafe impl<T: Recycle> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Recycle> Sync for Shared<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::Wake;
    use std::sync::atomic::Ordering::SeqCst;

    struct Cup {
        held: Vec<u32>,
    }
    impl Recycle for Cup {
        fn reset(&mut self) {
            self.held.clear();
        }
        fn footprint(&self) -> usize {
            self.held.capacity() * size_of::<u32>()
        }
    }

    #[test]
    fn the_object_that_came_home_last_goes_out_first() {
        let pool = Pool::default();
        let (mut a, b) = (pool.get(|| Cup { held: vec![1] }), pool.get(|| Cup { held: vec![2] }));
        a.held.reserve(1000);
        drop(b);
        drop(a);
        let again = pool.get(|| Cup { held: vec![3] });
        assert!(again.held.is_empty() && again.held.capacity() >= 1000);
        assert_eq!(pool.census(), (2, 1));
        pool.trim(0);
        assert_eq!(pool.census(), (1, 0));
    }

    #[test]
    fn a_shared_object_goes_home_once_whoever_drops_last() {
        let pool = Pool::default();
        for _ in 0..1000 {
            let shared = pool.get(|| Cup { held: vec![] }).share();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    let handle = shared.clone();
                    scope.spawn(move || assert!(handle.held.is_empty()));
                }
                drop(shared);
            });
            assert_eq!(pool.census(), (1, 1));
        }
    }

    #[test]
    fn a_budget_never_passes_its_limit_and_wakes_the_refused() {
        struct Bell(AtomicUsize);
        impl Wake for Bell {
            fn wake(&self) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let (budget, bell) = (Budget::new(100), Arc::new(Bell(AtomicUsize::new(0))));
        budget.wake_when_free(bell.clone());
        let first = budget.charge(60).unwrap();
        assert!(budget.charge(41).is_none());
        assert_eq!(budget.used(), 60);
        drop(first);
        assert_eq!(bell.0.load(SeqCst), 1);
        assert_eq!(budget.charge(100).map(|charge| charge.bytes()), Some(100));
        assert_eq!(bell.0.load(SeqCst), 1, "nobody waited this time");
    }

    #[test]
    fn free_objects_only_take_what_those_in_use_leave() {
        let stock = Arc::<Stock>::default();
        stock.set_limit(100);
        let pool = Pool::of(Arc::clone(&stock));
        let cup = |count| pool.get(|| Cup { held: Vec::with_capacity(count) });
        let (first, second, mut third) = (cup(10), cup(10), cup(1));
        assert_eq!(stock.bytes(), 84);
        third.held.reserve_exact(20);
        assert_eq!((third.recount(), stock.bytes()), (80, 160));
        // Over the limit nothing is kept; what is within it then is.
        drop(first);
        drop(third);
        assert_eq!((pool.census(), stock.bytes()), ((1, 0), 40));
        drop(second);
        assert_eq!((pool.census(), stock.bytes()), ((1, 1), 40));
        pool.trim(0);
        assert_eq!((pool.census(), stock.bytes()), ((0, 0), 0));
    }

    #[test]
    fn a_charge_follows_what_it_stands_for_also_over_the_limit() {
        let budget = Budget::new(100);
        let mut charge = budget.charge(40).unwrap();
        charge.set(150);
        assert_eq!((charge.bytes(), budget.used()), (150, 150));
        assert!(budget.charge(1).is_none());
        charge.set(10);
        assert_eq!((charge.bytes(), budget.used()), (10, 10));
    }
}
