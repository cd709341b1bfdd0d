//! Sleeping until somebody else has changed something, without losing the change.
//!
//! [`Waiters`] stands beside a lock-free structure and knows nothing about it. Whoever waits brings a question
//! (`ready`); whoever changes the answer says [`Waiters::wake_one`] afterwards, which costs a fence and a load while
//! nobody sleeps. The protocol is the old one: *register, fence, look again, park* on one side, *publish, fence, look
//! for sleepers* on the other. One of the two fences comes second, and that side sees what the other has written.
//!
//! Sleepers are woken newest first: their caches are warm, and workers there is no use for stay asleep.
//! No yielding here: a yield on busy cores measured 1,400 CPU ns per entry against 9 us for a whole park and wake-up
//! that an idle machine pays once. Not here: who is woken for what (see [`super::Ring::pop_wait`]).

use super::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use super::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, fence, spin_loop};
use std::sync::Arc;

/// The longest useful spin, in `pause` instructions: past this a park is cheaper than what the core could have done.
pub const SPINS_MAX: u32 = 64;

/// The threads that sleep until something they wait for may have happened.
pub struct Waiters {
    /// How many stand in `stack`. Written under its lock only; read without it, after a `SeqCst` fence, by wakers.
    asleep: AtomicUsize,
    /// Registered sleepers, newest last. Whoever takes one out owes it exactly one [`Parker::unpark`].
    stack: Mutex<Vec<Arc<Parker>>>,
    /// Somebody asked for a look without an item. Set by [`Waiters::nudge`], cleared by the one who answers.
    nudged: AtomicBool,
    /// `pause` instructions before a sleeper registers.
    spins: u32,
}

impl Waiters {
    /// Nobody waits yet. `spins`: how many `pause` instructions a waiter spends before it sleeps, at most
    /// [`SPINS_MAX`]. Anything but 0 only where threads are fewer than cores: else it takes the core from the one
    /// it waits for.
    pub fn new(spins: u32) -> Self {
        Self {
            asleep: AtomicUsize::new(0),
            stack: Mutex::new(Vec::new()),
            nudged: AtomicBool::new(false),
            spins: spins.min(SPINS_MAX),
        }
    }

    /// Asks `ready` until it has an answer, and sleeps in between. Call it after having asked once in vain: it starts
    /// with getting ready to sleep. Every change that can turn the answer must be followed by a wake-up from
    /// whoever made it.
    pub fn wait_until<R>(&self, sleeper: &mut Sleeper, mut ready: impl FnMut() -> Option<R>) -> R {
        for _ in 0..self.spins {
            spin_loop();
            if let Some(answer) = ready() {
                return answer;
            }
        }
        loop {
            self.register(sleeper);
            // Pairs with the fence in `wake_one`/`wake_all`. Without it the registration could still be under way
            // when `ready` reads the old state, while the waker, having written the new one, reads `asleep` as 0:
            // both go on, and the sleeper is never woken. Loom finds it within a second (`tests/loom.rs`).
            fence(SeqCst);
            if let Some(answer) = ready() {
                self.unregister(sleeper);
                return answer;
            }
            sleeper.0.park();
            if let Some(answer) = ready() {
                return answer;
            }
        }
    }

    /// Wakes the newest sleeper, if there is one. Call it after publishing what somebody may wait for.
    pub fn wake_one(&self) {
        if self.anyone_asleep() {
            self.wake_newest();
        }
    }

    /// Wakes everybody who sleeps now. Call it after publishing what all of them must see.
    pub fn wake_all(&self) {
        if self.anyone_asleep() {
            let mut stack = self.stack.lock();
            self.asleep.store(0, Relaxed);
            stack.drain(..).for_each(|parker| parker.unpark());
        }
    }

    /// Wakes the sleeper of this bell and no other, if it sleeps here. Call it after publishing what it is to see: whoever
    /// is about to sleep has a last look after that.
    pub fn wake_this(&self, bell: &Bell) {
        let found = {
            // The lock is all the order there is: who registered before is found, and who registers later has its last
            // look after this, and sees what we had written.
            let mut stack = self.stack.lock();
            let at = stack.iter().rposition(|parker| Arc::ptr_eq(parker, &bell.0));
            let found = at.map(|at| stack.remove(at));
            // Relaxed: as in `register`.
            self.asleep.store(stack.len(), Relaxed);
            found
        };
        if let Some(parker) = found {
            parker.unpark();
        }
    }

    /// Whether a wake-up could reach anybody, seen after everything the caller has published.
    pub(crate) fn anyone_asleep(&self) -> bool {
        // Pairs with the fence in `wait_until`: if this load misses a registration, that sleeper's second look comes
        // after this fence and sees what we have published before it.
        fence(SeqCst);
        self.asleep.load(Relaxed) != 0
    }

    /// Asks one waiter, now or at its next wait, to look up from what it waits for. Never lost; several nudges
    /// before the first answer count as one.
    pub fn nudge(&self) {
        // Release pairs with the Acquire in `take_nudge`: whoever answers sees what was written before the nudge. A
        // swap and not a store, so that an answer to the second nudge also sees what came before the first.
        self.nudged.swap(true, Release);
        self.wake_one();
    }

    /// Answers a nudge: true for exactly one caller after one or more of them.
    pub fn take_nudge(&self) -> bool {
        // The plain load keeps the line shared while there is none. Acquire pairs with the Release in `nudge`.
        self.nudged.load(Relaxed) && self.nudged.swap(false, Acquire)
    }

    /// Whether a nudge waits for its answer.
    pub(super) fn is_nudged(&self) -> bool {
        // Relaxed: only decides whether to wake one more; the answer itself is `take_nudge`.
        self.nudged.load(Relaxed)
    }

    fn register(&self, sleeper: &Sleeper) {
        let mut stack = self.stack.lock();
        stack.push(Arc::clone(&sleeper.0));
        // Relaxed: ordered by the caller's fence against wakers, and by the lock against other writers.
        self.asleep.store(stack.len(), Relaxed);
    }

    fn unregister(&self, sleeper: &Sleeper) {
        let mut stack = self.stack.lock();
        match stack.iter().rposition(|parker| Arc::ptr_eq(parker, &sleeper.0)) {
            Some(at) => {
                stack.remove(at);
                // Relaxed: as in `register`; a waker that still reads the higher count finds the stack shorter.
                self.asleep.store(stack.len(), Relaxed);
            }
            None => {
                // A waker has taken us out and its unpark is on the way. It is taken here, so that a later
                // park cannot return for it while we stand registered.
                drop(stack);
                sleeper.0.park();
            }
        }
    }

    #[cold]
    fn wake_newest(&self) {
        let newest = {
            let mut stack = self.stack.lock();
            let newest = stack.pop();
            // Relaxed: as in `register`.
            self.asleep.store(stack.len(), Relaxed);
            newest
        };
        // Outside the lock: the wake-up is a system call, and others may want to register meanwhile.
        if let Some(parker) = newest {
            parker.unpark();
        }
    }
}

/// What a thread sleeps on. A thread needs one, however many things it waits for in turn; `&mut` wherever it is used
/// keeps two threads from sharing it.
#[derive(Default)]
pub struct Sleeper(Arc<Parker>);

impl Sleeper {
    /// A place to sleep for one thread.
    pub fn new() -> Self {
        Self::default()
    }

    /// What wakes the thread that sleeps on this, among all that sleep at one place.
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.0))
    }
}

/// One sleeper, for those who want to wake just that one: see [`Waiters::wake_this`].
#[derive(Clone)]
pub struct Bell(Arc<Parker>);

/// A wake-up that may come before the sleep. A lock and a condition variable: the cost is the system call either way,
/// and loom can run it.
struct Parker {
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Default for Parker {
    fn default() -> Self {
        Self { woken: Mutex::new(false), bell: Condvar::new() }
    }
}

impl Parker {
    /// Sleeps until the one `unpark` that is owed, and uses it up.
    fn park(&self) {
        let mut woken = self.woken.lock();
        while !*woken {
            woken = self.bell.wait(woken);
        }
        *woken = false;
    }

    fn unpark(&self) {
        *self.woken.lock() = true;
        self.bell.notify_one();
    }
}
