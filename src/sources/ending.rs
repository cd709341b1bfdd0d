//! How sources end: told to stop they ship what they hold; then they wait for what is on its way, until they are told
//! not to.

use crate::thread::{Flag, Latch, Wake};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// The one ending that all sources share with the engine.
#[derive(Default)]
pub struct Ending {
    stop: Flag,
    leave: Flag,
    /// Sources that may still ship something.
    shipping: Latch,
    wakers: Mutex<Vec<Arc<dyn Wake>>>,
}

impl Ending {
    /// A source is about to start: it will be woken by `waker`, and must call [`Ending::shipped_all`] once.
    pub fn join(&self, waker: Arc<dyn Wake>) {
        self.shipping.enter();
        self.wakers.lock().push(waker);
    }

    /// Asks all sources to stop taking in, and to ship what they hold.
    pub fn stop(&self) {
        self.stop.raise();
        self.wake_all();
    }

    /// Whether to stop taking in.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_raised()
    }

    /// Said by a source, once, when it will not ship anything any more.
    pub fn shipped_all(&self) {
        self.shipping.leave();
    }

    /// Waits until every source has shipped all, or the deadline passes: then it says false.
    pub fn wait_shipped(&self, deadline: Instant) -> bool {
        self.shipping.wait(deadline)
    }

    /// Asks all sources to leave now, though blocks of theirs may be unsettled.
    pub fn leave(&self) {
        self.leave.raise();
        self.wake_all();
    }

    /// Whether to leave without waiting for what is on its way.
    pub fn is_leaving(&self) -> bool {
        self.leave.is_raised()
    }

    fn wake_all(&self) {
        for waker in self.wakers.lock().iter() {
            waker.wake();
        }
    }
}
