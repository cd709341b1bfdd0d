//! Waking a thread that sleeps in `mio::Poll`, at most one system call per sleep.

use crate::thread::Wake;
use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

/// The waker of one poll loop. Wakes that come while the loop is awake cost one store.
pub struct PollWaker {
    waker: Waker,
    /// Something happened since the loop last looked.
    pending: AtomicBool,
    /// The loop is asleep, or about to be.
    asleep: AtomicBool,
}

impl PollWaker {
    /// A waker for the loop behind `registry`, which sees `token` when it was woken.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        let waker = Waker::new(registry, token)?;
        Ok(Arc::new(PollWaker { waker, pending: AtomicBool::new(false), asleep: AtomicBool::new(false) }))
    }

    /// Called by the loop before it polls: true if it may sleep, false if something happened in the meantime and it
    /// should poll without waiting.
    pub fn may_sleep(&self) -> bool {
        // SeqCst pairs with `wake`: of the two stores (asleep here, pending there) one comes first, and the other side
        // sees it: either we see `pending`, or the waker sees `asleep`.
        self.asleep.store(true, SeqCst);
        if self.pending.swap(false, SeqCst) {
            self.asleep.store(false, SeqCst);
            return false;
        }
        true
    }

    /// Called by the loop after it polled.
    pub fn awake(&self) {
        self.asleep.store(false, SeqCst);
        // What was pending is about to be looked at.
        self.pending.store(false, SeqCst);
    }
}

impl Wake for PollWaker {
    fn wake(&self) {
        // SeqCst pairs with `may_sleep`.
        self.pending.store(true, SeqCst);
        if self.asleep.swap(false, SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!("a thread could not be woken: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn a_wake_before_sleep_is_not_slept_through_and_one_after_it_ends_the_sleep() -> io::Result<()> {
        let mut poll = Poll::new()?;
        let waker = PollWaker::new(poll.registry(), Token(9))?;
        waker.wake();
        assert!(!waker.may_sleep());
        assert!(waker.may_sleep());
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            let mut events = Events::with_capacity(4);
            poll.poll(&mut events, None)?;
            assert_eq!(events.iter().next().map(|event| event.token()), Some(Token(9)));
            Ok(())
        })
    }
}
