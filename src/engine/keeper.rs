//! The keeper: checkpoints, how many workers there are, metric upkeep, rates, idle memory, new certificates. Sleeps until
//! one of them is due.

use super::inside::House;
use super::live::Core;
use super::notify::Notify;
use crate::admin::Inside;
use crate::admin::health::Status;
use crate::checkpoint::Checkpoint;
use crate::lane::disk::DiskLane;
use crate::sinks::Sink;
use crate::thread::{Doing, Flag, Latch, Row, Wake};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How often changed positions go to the fast tier: this bounds what is delivered twice after a crash.
const FAST: Duration = Duration::from_millis(20);
/// How often the durable tier is written, if anything changed; also the pace of everything else.
const DURABLE: Duration = Duration::from_secs(1);
/// How often the service manager hears how it is.
const STATUS: Duration = Duration::from_secs(5);
/// How often memory of free blocks goes back to the system.
const TRIM: Duration = Duration::from_secs(10);
/// How often the files of certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(5);

/// The keeper's equipment.
pub struct Keeper {
    checkpoint: Arc<Checkpoint>,
    sinks: Mutex<Vec<Kept>>,
    /// Buffers in which what is delivered is to be forgotten.
    disks: Mutex<Vec<Arc<DiskLane>>>,
    /// One of them needs room.
    hurried: AtomicBool,
    house: Arc<House>,
    stop: Flag,
    /// A sync failed: what positions rely on may be gone, so neither tier may move past it.
    unsafe_since_sync: AtomicBool,
    /// The service manager, if one wants to hear from us.
    notify: OnceLock<Arc<Notify>>,
    nap: Mutex<bool>,
    woken: Condvar,
    /// Whose memory is watched.
    core: OnceLock<Weak<Core>>,
}

/// A sink whose writing positions rely on.
#[derive(Clone)]
struct Kept {
    sink: Arc<dyn Sink>,
    /// Its senders. When all have left, one more sync is all it needs.
    senders: Arc<Latch>,
    /// No further senders will come.
    last: bool,
}

impl Keeper {
    /// A keeper without sinks.
    pub(super) fn new(checkpoint: Arc<Checkpoint>, house: Arc<House>) -> Self {
        Keeper {
            checkpoint,
            sinks: Mutex::default(),
            disks: Mutex::default(),
            hurried: AtomicBool::new(false),
            house,
            stop: Flag::default(),
            unsafe_since_sync: AtomicBool::new(false),
            notify: OnceLock::new(),
            nap: Mutex::new(false),
            woken: Condvar::new(),
            core: OnceLock::new(),
        }
    }

    /// Has the memory of the process watched from now on.
    pub(super) fn watch(&self, core: &Arc<Core>) {
        // A second one is not asked for.
        let _ = self.core.set(Arc::downgrade(core));
    }

    /// Positions rely on this sink from now on, and `senders` are those who use it.
    pub(super) fn keep(&self, sink: &Arc<dyn Sink>, senders: &Arc<Latch>) {
        let (sink, senders) = (Arc::clone(sink), Arc::clone(senders));
        self.sinks.lock().push(Kept { sink, senders, last: false });
    }

    /// The senders in this latch are the last of their sink: it is let go when what they wrote is safe.
    pub(super) fn let_go(&self, senders: &Arc<Latch>) {
        for kept in self.sinks.lock().iter_mut().filter(|kept| Arc::ptr_eq(&kept.senders, senders)) {
            kept.last = true;
        }
    }

    /// Forgets what is delivered in this buffer, and makes its records safe, from now on.
    pub(super) fn keep_disk(&self, disk: &Arc<DiskLane>) {
        let mut disks = self.disks.lock();
        if !disks.iter().any(|other| Arc::ptr_eq(other, disk)) {
            disks.push(Arc::clone(disk));
        }
    }

    /// The buffer has ended.
    pub(super) fn let_go_disk(&self, disk: &Arc<DiskLane>) {
        self.disks.lock().retain(|other| !Arc::ptr_eq(other, disk));
    }

    /// What wakes it to make room in buffers.
    pub(super) fn hurry(self: &Arc<Self>) -> Arc<dyn Wake> {
        Arc::new(Hurry(Arc::downgrade(self)))
    }

    /// Nothing will be delivered any more: every sink is told so.
    pub(super) fn let_go_all(&self) {
        let mut sinks = std::mem::take(&mut *self.sinks.lock());
        sinks.dedup_by(|a, b| same(&a.sink, &b.sink));
        sinks.iter().for_each(|kept| kept.sink.stop());
    }

    /// Keeps until it is stopped; writes the last checkpoint then.
    pub fn run(&self, row: &Row) {
        let mut durable_at = Instant::now() + DURABLE;
        let (mut sign_at, mut status_at) = (Instant::now(), Instant::now());
        let mut trim_at = Instant::now() + TRIM;
        let mut certificates_at = Instant::now() + CERTIFICATES;
        let mut pools_at = Instant::now();
        while !self.stop.is_raised() {
            row.set(Doing::Idle);
            let has_news = || self.disks.lock().iter().any(|disk| disk.has_news());
            let until = if (self.checkpoint.is_dirty() || has_news()) && !self.unsafe_since_sync.load(Relaxed)
            {
                (Instant::now() + FAST).min(durable_at)
            } else {
                durable_at
            };
            let until = self.sign_due(sign_at).map_or(until, |sign| until.min(sign));
            self.sleep(until.min(pools_at));
            row.set(Doing::Working);
            // Relaxed: only this thread writes and reads it.
            if !self.unsafe_since_sync.load(Relaxed) {
                complain("the fast checkpoint", self.checkpoint.flush_fast().map(drop));
                let disks = self.disks.lock().clone();
                disks.iter().for_each(|disk| complain("what a buffer delivered", disk.note_delivered()));
            }
            let now = Instant::now();
            // First: what follows may have to wait for a disk.
            if now >= pools_at {
                pools_at = self.house.pools.look(now);
            }
            if let Some(core) = self.core.get().and_then(Weak::upgrade) {
                core.watch_memory(now);
            }
            // Relaxed: a wake-up comes with it.
            let hurried = self.hurried.swap(false, Relaxed);
            if now >= durable_at {
                durable_at = now + DURABLE;
                self.write_checkpoint();
                self.house.tick(now);
            } else if hurried {
                self.write_checkpoint();
            }
            if self.sign_due(sign_at).is_some_and(|due| now >= due) {
                sign_at = now + self.give_sign();
            }
            if now >= status_at {
                status_at = now + STATUS;
                if let Some(notify) = self.notify.get() {
                    notify.status(&self.house.status());
                }
            }
            if now >= trim_at {
                trim_at = now + TRIM;
                self.house.pools.blocks.trim();
            }
            if now >= certificates_at {
                certificates_at = now + CERTIFICATES;
                crate::tls::refresh_certificates();
                crate::steps::enrich::refresh_tables();
            }
        }
        self.write_checkpoint();
    }

    /// The service manager hears how it is from now on, and that it is alive.
    pub(super) fn tell(&self, notify: Arc<Notify>) {
        // A second one is not asked for.
        let _ = self.notify.set(notify);
        self.wake();
    }

    /// When a sign of life is due, if any is wanted.
    fn sign_due(&self, at: Instant) -> Option<Instant> {
        self.notify.get().and_then(|notify| notify.watchdog()).map(|_| at)
    }

    /// Gives a sign of life, unless there is none: then whoever waits for it starts us anew. Says when the next is due.
    fn give_sign(&self) -> Duration {
        let Some((notify, every)) = self.notify.get().and_then(|one| Some((one, one.watchdog()?))) else {
            return DURABLE;
        };
        match self.house.health().status {
            Status::Failing => tracing::error!("no sign of life to the service manager: health is failing"),
            Status::Ok | Status::Degraded => notify.alive(),
        }
        every
    }

    /// Sleeps until `until`, or until there is a position to write.
    fn sleep(&self, until: Instant) {
        let mut woken = self.nap.lock();
        while !*woken && !self.woken.wait_until(&mut woken, until).timed_out() {}
        *woken = false;
    }

    fn wake(&self) {
        *self.nap.lock() = true;
        self.woken.notify_one();
    }

    fn write_checkpoint(&self) {
        let mut ended = Vec::new();
        let disks = self.disks.lock().clone();
        // Taken before the sinks are synced: what is delivered after that is not safe yet.
        let done: Vec<_> = disks.iter().map(|disk| disk.take_done()).collect();
        let mut sync = || -> io::Result<()> {
            let sinks = self.sinks.lock().clone();
            // Looked at before its last sync: what is written after that look is synced the next time.
            ended =
                sinks.iter().filter(|kept| kept.last && kept.senders.wait(Instant::now())).cloned().collect();
            let synced = sinks.iter().try_for_each(|kept| kept.sink.sync());
            let synced = synced.and_then(|()| disks.iter().try_for_each(|disk| disk.buffer.flush()));
            // Relaxed: see `run`.
            self.unsafe_since_sync.store(synced.is_err(), Relaxed);
            synced
        };
        match self.checkpoint.flush_durable(&mut sync) {
            // Sources without positions rely on what their sinks wrote just as much.
            Ok(false) => complain("what sinks took", sync()),
            result => complain("the checkpoint", result.map(drop)),
        }
        for (disk, done) in disks.iter().zip(done) {
            // Relaxed: see `run`.
            match self.unsafe_since_sync.load(Relaxed) {
                true => disk.keep(done),
                false => complain("what was delivered from a buffer", disk.forget(&done)),
            }
        }
        // Relaxed: see `run`.
        if !self.unsafe_since_sync.load(Relaxed) {
            let is_over = |kept: &Kept| ended.iter().any(|over| Arc::ptr_eq(&over.senders, &kept.senders));
            let mut sinks = self.sinks.lock();
            sinks.retain(|kept| !is_over(kept));
            let is_used = |sink: &Kept| sinks.iter().any(|kept| same(&kept.sink, &sink.sink));
            let unused: Vec<_> = ended.iter().filter(|sink| !is_used(sink)).cloned().collect();
            drop(sinks);
            unused.iter().for_each(|kept| kept.sink.stop());
        }
    }

    /// What wakes it.
    pub fn alarm(self: &Arc<Self>) -> Arc<dyn Wake> {
        Arc::new(Alarm(Arc::downgrade(self)))
    }

    /// Ends it, with a last checkpoint.
    pub fn stop(&self) {
        self.stop.raise();
        self.wake();
    }
}

/// Wakes the keeper as long as there is one: it holds what calls this, so that may not hold it.
struct Alarm(Weak<Keeper>);

impl Wake for Alarm {
    fn wake(&self) {
        if let Some(keeper) = self.0.upgrade() {
            keeper.wake();
        }
    }
}

/// Wakes the keeper to make room.
struct Hurry(Weak<Keeper>);

impl Wake for Hurry {
    fn wake(&self) {
        if let Some(keeper) = self.0.upgrade() {
            // Relaxed: the wake-up behind it orders it.
            keeper.hurried.store(true, Relaxed);
            keeper.wake();
        }
    }
}

fn same(one: &Arc<dyn Sink>, other: &Arc<dyn Sink>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// Positions that cannot be written are kept and tried again: late, not lost.
fn complain(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!("{what} could not be made safe, trying again: {error}");
    }
}
