//! Page-aligned memory, pools that hand out whole objects again and again, and the budgets that bound them.
//!
//! An object leaves a [`Pool`] as the only handle to it ([`Owned`]), is filled, becomes countable ([`Shared`]) and goes
//! home when the last handle is dropped, with its allocations. Free objects are kept last-in-first-out: the warmest is
//! used next and the rest of the pool stays untouched.
//!
//! Not here: what a block is (see `block`).

use crate::thread::{WaitList, Wake};
use parking_lot::Mutex;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicUsize, fence};

/// The alignment of every buffer: one page, as the kernel copies fastest into it.
pub const PAGE: usize = 4096;

/// A zeroed, page-aligned buffer of fixed size.
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// A buffer of at least `len` bytes, rounded up to whole pages.
    pub fn new(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(PAGE);
        let layout = Self::layout(len);
        // SAFETY: the layout's size is at least one page, so not zero.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Pages { start, len },
            None => handle_alloc_error(layout),
        }
    }

    fn layout(len: usize) -> Layout {
        match Layout::from_size_align(len, PAGE) {
            Ok(layout) => layout,
            Err(_) => panic!("a buffer of {len} bytes does not fit the address space"),
        }
    }
}

impl Deref for Pages {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `len` bytes that `new` allocated zeroed and that live until `drop`; `&self` keeps
        // writers out, as writing takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `new` allocated these pages with this very layout, and nobody else frees them.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len)) }
    }
}

// SAFETY: the pages belong to this value alone, like a `Box<[u8]>`, which may cross and be shared between threads.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

/// What can go home to a pool: `reset` makes it as good as new and keeps its allocations.
pub trait Recycle: Send + Sync {
    /// Forgets what it held; large allocations beyond its ordinary size are given back here.
    fn reset(&mut self);
}

struct Slot<T> {
    /// How many [`Shared`] handles there are; one while it is [`Owned`] or free.
    refs: AtomicUsize,
    /// The pool to return to; empty while the slot is in its free list, so that the pool does not hold itself.
    home: Option<Arc<Home<T>>>,
    value: T,
}

struct Home<T> {
    free: Mutex<Vec<Box<Slot<T>>>>,
    made: AtomicUsize,
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
        Pool(Arc::new(Home { free: Mutex::new(Vec::new()), made: AtomicUsize::new(0) }))
    }
}

impl<T: Recycle> Pool<T> {
    /// The object that came home last, or a new one from `make`.
    pub fn get(&self, make: impl FnOnce() -> T) -> Owned<T> {
        let free = self.0.free.lock().pop();
        let mut slot = free.unwrap_or_else(|| {
            // Relaxed: read for display only.
            self.0.made.fetch_add(1, Relaxed);
            Box::new(Slot { refs: AtomicUsize::new(1), home: None, value: make() })
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
    if let Some(home) = slot.home.take() {
        home.free.lock().push(slot);
    }
}

/// The only handle to an object of a pool.
pub struct Owned<T: Recycle>(NonNull<Slot<T>>);

impl<T: Recycle> Owned<T> {
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
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cup {
        held: Vec<u32>,
    }
    impl Recycle for Cup {
        fn reset(&mut self) {
            self.held.clear();
        }
    }

    #[test]
    fn pages_are_aligned_zeroed_and_whole() {
        let mut pages = Pages::new(5000);
        assert_eq!((pages.len(), pages.as_ptr() as usize % PAGE), (8192, 0));
        assert!(pages.iter().all(|byte| *byte == 0));
        pages[8191] = 7;
        assert_eq!(pages[8191], 7);
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
}
