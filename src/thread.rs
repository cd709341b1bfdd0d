//! Named, pinned threads and the table of what each one does.

use crate::cpu_limit::CpuLimit;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Someone who may be asleep and can be told to look again.
pub trait Wake: Send + Sync {
    /// Wakes the sleeper, or keeps it from falling asleep. Never blocks.
    fn wake(&self);
}

/// Wakes one thread that sleeps for a time.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock() = true;
        self.heard.notify_one();
    }
}

impl Bell {
    /// Sleeps until it is rung, or was since the last time, or it is `until`.
    pub fn sleep(&self, until: Instant) {
        let mut rung = self.rung.lock();
        while !*rung && !self.heard.wait_until(&mut rung, until).timed_out() {}
        *rung = false;
    }
}

/// Those who were refused something and want to hear when there is more of it.
#[derive(Default)]
pub struct WaitList {
    /// Someone was refused since the last call.
    wanted: AtomicBool,
    waiters: Mutex<Vec<Arc<dyn Wake>>>,
}

impl WaitList {
    /// Puts `waiter` on the list, for good.
    pub fn join(&self, waiter: Arc<dyn Wake>) {
        self.waiters.lock().push(waiter);
    }

    /// Takes `waiter` off the list; one that joined several times stays there for the others.
    pub fn leave(&self, waiter: &Arc<dyn Wake>) {
        let mut waiters = self.waiters.lock();
        let is_it = |other: &Arc<dyn Wake>| std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(waiter));
        if let Some(at) = waiters.iter().position(is_it) {
            waiters.swap_remove(at);
        }
    }

    /// Says that someone was refused. Look once more afterwards: what came back before this call wakes nobody.
    pub fn want(&self) {
        // SeqCst pairs with the load in `call`: either the giver sees the wish, or the second look sees what it gave.
        self.wanted.store(true, SeqCst);
        std::sync::atomic::fence(SeqCst);
    }

    /// Says that there is more, after giving it: wakes everyone if anyone was refused since the last call.
    pub fn call(&self) {
        // SeqCst pairs with the fence in `want`.
        std::sync::atomic::fence(SeqCst);
        if self.wanted.load(SeqCst) && self.wanted.swap(false, AcqRel) {
            for waiter in self.waiters.lock().iter() {
                waiter.wake();
            }
        }
    }
}

/// Counts those who are still at it, and lets someone wait until nobody is.
#[derive(Default)]
pub struct Latch {
    left: Mutex<usize>,
    empty: Condvar,
}

impl Latch {
    /// One more.
    pub fn enter(&self) {
        *self.left.lock() += 1;
    }

    /// One less.
    pub fn leave(&self) {
        *self.left.lock() -= 1;
        self.empty.notify_all();
    }

    /// Waits until nobody is left; false if the deadline passes first.
    pub fn wait(&self, deadline: Instant) -> bool {
        let mut left = self.left.lock();
        while *left > 0 {
            if self.empty.wait_until(&mut left, deadline).timed_out() {
                return *left == 0;
            }
        }
        true
    }
}

/// Leaves its latch when it is dropped, also by a panic.
pub struct Inside(Arc<Latch>);

impl Inside {
    /// Enters the latch.
    pub fn new(latch: &Arc<Latch>) -> Self {
        latch.enter();
        Inside(Arc::clone(latch))
    }

    /// `body`, inside of the latch until it has ended and all it holds is let go of: who waits for the latch may want to have
    /// that to himself, such as the lock of the data directory.
    pub fn until_the_end_of(
        latch: &Arc<Latch>,
        body: impl FnOnce(&Row) + Send + 'static,
    ) -> impl FnOnce(&Row) + Send + 'static {
        let inside = Inside::new(latch);
        move |row| {
            let _inside = inside;
            body(row);
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What a thread is doing right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// Getting ready.
    Starting = 0,
    /// Asleep until there is something to do.
    Idle = 1,
    /// Moving or working on entries.
    Working = 2,
    /// One attempt at a sink is under way.
    Sending = 3,
    /// Between two attempts at a sink.
    BackingOff = 4,
    /// Could go on, but someone further down is full.
    Blocked = 5,
    /// Has left its loop.
    Ended = 6,
    /// Could go on, but the process has used the CPU it may (`quotas.cpu_limit`).
    Resting = 7,
}

impl Doing {
    /// The word for it in `/stats`.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 8] =
            ["starting", "idle", "working", "sending", "backing off", "blocked", "ended", "rests: cpu_limit"];
        NAMES[self as usize]
    }

    fn from_code(code: u8) -> Doing {
        use Doing::*;
        [Starting, Idle, Working, Sending, BackingOff, Blocked, Ended, Resting][usize::from(code).min(7)]
    }
}

/// One thread's row in the table.
pub struct Row {
    /// Its name, as the system shows it (at most 15 bytes of it).
    pub name: String,
    /// The cores it was asked onto; empty means anywhere.
    pub cores: Vec<usize>,
    tid: AtomicI32,
    doing: AtomicU8,
    turns: AtomicU32,
    /// When it last began to do something else, in milliseconds of [`coarse_millis`].
    since: AtomicU64,
    /// In milliseconds.
    patience: AtomicU32,
    cpu: Arc<CpuLimit>,
}

impl Row {
    /// Says how long one thing that the thread does may take before somebody should look at it; less than 49 days.
    pub fn set_patience(&self, patience: Duration) {
        // Relaxed: read for display only.
        self.patience.store(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX), Relaxed);
    }

    /// What [`Row::set_patience`] said last, if it said anything.
    pub fn patience(&self) -> Option<Duration> {
        let millis = self.patience.load(Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis.into()))
    }

    /// Rests if the process has used the CPU it may. For threads whose work can wait, before each piece of it and with
    /// nothing in their hands that others wait for; not while they are told to end.
    pub fn keep_to_cpu(&self) {
        if self.cpu.is_on() {
            self.cpu.wait(|| self.set(Doing::Resting));
        }
    }

    /// Says what the thread does from now on.
    pub fn set(&self, doing: Doing) {
        // Relaxed, load and store apart: only the thread itself writes it.
        self.turns.store(self.turns.load(Relaxed).wrapping_add(1), Relaxed);
        // Once per change, not per entry: whoever works on block after block says so and does not change.
        if self.doing.load(Relaxed) != doing as u8 {
            self.since.store(coarse_millis(), Relaxed);
        }
        // Relaxed: read for display only.
        self.doing.store(doing as u8, Relaxed);
    }

    /// For how long it has been doing that, to a few milliseconds.
    pub fn since(&self) -> Duration {
        Duration::from_millis(coarse_millis().saturating_sub(self.since.load(Relaxed)))
    }

    /// What it was last said to do.
    pub fn doing(&self) -> Doing {
        Doing::from_code(self.doing.load(Relaxed))
    }

    /// How often it said what it does: whoever is at something new has said so since.
    pub fn turns(&self) -> u32 {
        self.turns.load(Relaxed)
    }

    /// Its id in the system, zero before it runs.
    pub fn tid(&self) -> i32 {
        self.tid.load(Relaxed)
    }
}

/// A clock that is a few milliseconds late and costs as much as a read of memory (`CLOCK_MONOTONIC_COARSE`).
fn coarse_millis() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// All threads of the process that the engine started, and the only way to start one.
#[derive(Clone, Default)]
pub struct Threads(Arc<Table>);

struct Table {
    rows: Mutex<Vec<Arc<Row>>>,
    cpu: Arc<CpuLimit>,
    /// Most that may run at once.
    most: AtomicUsize,
    /// Most that ever did.
    peak: AtomicUsize,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            rows: Mutex::default(),
            cpu: Arc::default(),
            most: AtomicUsize::new(usize::MAX),
            peak: AtomicUsize::new(0),
        }
    }
}

impl Threads {
    /// Starts a thread called `name` on `cores` (anywhere if empty).
    ///
    /// Errors: the system has no more threads to give, or as many run as may.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: impl Into<String>,
        cores: &[usize],
        body: impl FnOnce(&Row) -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let name = name.into();
        // Held until it runs: of two that are started at once only one may be the last.
        let mut rows = self.0.rows.lock();
        let run = rows.iter().filter(|row| row.doing() != Doing::Ended).count();
        // Relaxed: the lock orders both.
        let most = self.0.most.load(Relaxed);
        if run >= most {
            let why = format!("`quotas.max_threads` leaves none for {name}: {run} run already");
            return Err(io::Error::other(why));
        }
        let row = Arc::new(Row {
            name,
            cores: cores.to_vec(),
            tid: AtomicI32::new(0),
            doing: AtomicU8::new(Doing::Starting as u8),
            turns: AtomicU32::new(0),
            since: AtomicU64::new(coarse_millis()),
            patience: AtomicU32::new(0),
            cpu: Arc::clone(&self.0.cpu),
        });
        let mine = Arc::clone(&row);
        let handle = Builder::new().name(row.name.clone()).spawn(move || {
            pin(&mine);
            mine.tid.store(rustix::thread::gettid().as_raw_nonzero().get(), Relaxed);
            let result = body(&mine);
            mine.set(Doing::Ended);
            result
        })?;
        rows.push(row);
        self.0.peak.fetch_max(run + 1, Relaxed);
        Ok(handle)
    }

    /// Forgets the rows of threads that have left their loop.
    pub fn forget_ended(&self) {
        self.0.rows.lock().retain(|row| row.doing() != Doing::Ended);
    }

    /// The rows of all threads, in the order they were started.
    pub fn rows(&self) -> Vec<Arc<Row>> {
        self.0.rows.lock().clone()
    }

    /// No more than `most` run at once from now on; those that run go on.
    pub fn set_most(&self, most: usize) {
        self.0.most.store(most, Relaxed);
    }

    /// How much CPU they may use, with all else in the process.
    pub fn cpu_limit(&self) -> &CpuLimit {
        &self.0.cpu
    }

    /// The most that ever ran at once.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Relaxed)
    }
}

/// Binds the calling thread to its row's cores: one by `core_affinity`, several by a mask.
fn pin(row: &Row) {
    let done = match row.cores[..] {
        [] => true,
        [id] => core_affinity::set_for_current(core_affinity::CoreId { id }),
        _ => {
            let mut set = rustix::thread::CpuSet::new();
            row.cores.iter().for_each(|core| set.set(*core));
            rustix::thread::sched_setaffinity(None, &set).is_ok()
        }
    };
    if !done {
        tracing::warn!("thread {} runs anywhere: it could not be bound to cores {:?}", row.name, row.cores);
    }
}

/// A flag that everyone can look at and anyone can raise, once.
#[derive(Clone, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    /// Raises it.
    pub fn raise(&self) {
        // Release pairs with the Acquire in `is_raised`: what was decided before is seen after.
        self.0.store(true, Release);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.load(Acquire)
    }
}
