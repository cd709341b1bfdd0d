//! The keeper: checkpoints, metric upkeep, rates, idle memory, new certificates. Sleeps until one of them is due.

use super::Parts;
use super::inside::House;
use crate::checkpoint::Checkpoint;
use crate::sinks::Sink;
use crate::thread::{Doing, Flag, Row};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How often changed positions go to the fast tier: this bounds what is delivered twice after a crash.
const FAST: Duration = Duration::from_millis(20);
/// How often the durable tier is written, if anything changed; also the pace of everything else.
const DURABLE: Duration = Duration::from_secs(1);
/// How often memory of free blocks goes back to the system.
const TRIM: Duration = Duration::from_secs(10);
/// How often the files of certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(5);

/// The keeper's equipment.
pub struct Keeper {
    checkpoint: Arc<Checkpoint>,
    sinks: Vec<Arc<dyn Sink>>,
    house: Arc<House>,
    stop: Flag,
    /// A sync failed: what positions rely on may be gone, so neither tier may move past it.
    unsafe_since_sync: AtomicBool,
    nap: Mutex<bool>,
    woken: Condvar,
}

impl Keeper {
    /// The keeper of the house made of `parts`.
    pub(super) fn new(parts: &Parts) -> Self {
        Keeper {
            checkpoint: Arc::clone(&parts.checkpoint),
            sinks: parts.sinks.clone(),
            house: Arc::clone(&parts.house),
            stop: Flag::default(),
            unsafe_since_sync: AtomicBool::new(false),
            nap: Mutex::new(false),
            woken: Condvar::new(),
        }
    }

    /// Keeps until it is stopped; writes the last checkpoint then.
    pub fn run(&self, row: &Row) {
        let mut durable_at = Instant::now() + DURABLE;
        let mut trim_at = Instant::now() + TRIM;
        let mut certificates_at = Instant::now() + CERTIFICATES;
        while !self.stop.is_raised() {
            row.set(Doing::Idle);
            let until = if self.checkpoint.is_dirty() && !self.unsafe_since_sync.load(Relaxed) {
                (Instant::now() + FAST).min(durable_at)
            } else {
                durable_at
            };
            self.sleep(until);
            row.set(Doing::Working);
            // Relaxed: only this thread writes and reads it.
            if !self.unsafe_since_sync.load(Relaxed) {
                complain("the fast checkpoint", self.checkpoint.flush_fast().map(drop));
            }
            let now = Instant::now();
            if now >= durable_at {
                durable_at = now + DURABLE;
                self.write_checkpoint();
                self.house.tick(now);
            }
            if now >= trim_at {
                trim_at = now + TRIM;
                self.house.hallway.blocks.trim();
            }
            if now >= certificates_at {
                certificates_at = now + CERTIFICATES;
                crate::tls::refresh_certificates();
            }
        }
        self.write_checkpoint();
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
        let mut sync = || -> io::Result<()> {
            let synced = self.sinks.iter().try_for_each(|sink| sink.sync());
            // Relaxed: see `run`.
            self.unsafe_since_sync.store(synced.is_err(), Relaxed);
            synced
        };
        match self.checkpoint.flush_durable(&mut sync) {
            // Sources without positions rely on what their sinks wrote just as much.
            Ok(false) => complain("what sinks took", sync()),
            result => complain("the checkpoint", result.map(drop)),
        }
    }

    /// Ends it, with a last checkpoint.
    pub fn stop(&self) {
        self.stop.raise();
        self.wake();
    }
}

impl crate::thread::Wake for Keeper {
    fn wake(&self) {
        Keeper::wake(self);
    }
}

/// Positions that cannot be written are kept and tried again: late, not lost.
fn complain(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!("{what} could not be made safe, trying again: {error}");
    }
}
