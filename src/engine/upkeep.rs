//! The thread beside a sink that tends what the sink has written: compresses, removes.

use crate::sinks::Sink;
use crate::thread::{Doing, Flag, Inside, Latch, Threads};
use std::io;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How often a sink is asked whether there is something to do.
const PACE: Duration = Duration::from_secs(1);
/// How long one look at a sink's files may take before somebody should look at it: it may compress many.
const UPKEEP_MAX: Duration = Duration::from_secs(4 * 3600);
/// How far behind all others the system is to run it: nobody waits for what it does.
const NICE: i32 = 10;

/// A sink's upkeep, under way.
pub(super) struct Upkeep {
    stop: Flag,
    thread: Thread,
    done: Arc<Latch>,
}

impl Upkeep {
    /// Starts a thread for the sink called `name`, if it has anything to keep up.
    ///
    /// Errors: the system has no more threads to give.
    pub(super) fn start(threads: &Threads, name: &str, sink: &Arc<dyn Sink>) -> io::Result<Option<Self>> {
        if !sink.has_upkeep() {
            return Ok(None);
        }
        let (stop, done) = (Flag::default(), Arc::new(Latch::default()));
        let (stopped, inside, sink) = (stop.clone(), Inside::new(&done), Arc::clone(sink));
        let handle = threads.spawn(format!("keep-{name}"), &[], move |row| {
            let _inside = inside;
            row.set_patience(UPKEEP_MAX);
            // Where it is not allowed, it competes like the others.
            let _ = rustix::process::nice(NICE);
            while !stopped.is_raised() {
                row.set(Doing::Working);
                sink.upkeep(&stopped);
                row.set(Doing::Idle);
                std::thread::park_timeout(PACE);
            }
        })?;
        Ok(Some(Upkeep { stop, thread: handle.thread().clone(), done }))
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        self.stop.raise();
        self.thread.unpark();
    }

    /// Waits until it has ended, after [`Upkeep::stop`]; false if the deadline passes first.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        self.done.wait(deadline)
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}
