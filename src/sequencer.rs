//! Puts a domain's blocks back into ticket order.
//!
//! Workers finish blocks in any order. Each deposits what it has under the block's ticket and goes on; whoever then
//! finds the next ticket ready and the baton free drains, one ticket after the other, and nobody else ever waits for
//! it. First deposit wins: a second one for the same ticket (a worker that was disowned and came back) is handed back,
//! so a ticket is drained once. What is drained, and what happens there, is the caller's.
//!
//! One thing can make a depositor wait: a ticket further ahead than the window has places. The holder of the next
//! ticket is always inside the window, so the one everybody waits for never waits.
//!
//! A lock per place rather than a slot protocol of its own: it is taken three times per block by threads that hardly
//! ever meet there, and its hand-over is what orders a deposit against the look after the baton is put down.

use crate::ring::sync::Ordering::{Acquire, Relaxed, Release};
use crate::ring::sync::{AtomicBool, AtomicU64, Mutex};
use crate::ring::wait::{Sleeper, Waiters};
use crossbeam_utils::CachePadded;

/// Puts items back into the order of their tickets: 0, 1, 2 and so on without gaps.
pub struct Sequencer<T> {
    /// The lowest ticket that is not drained. Written by the holder of the baton, under the lock of the place of the
    /// ticket it passes, so a depositor who has that lock never takes a passed ticket for an open one.
    next: CachePadded<AtomicU64>,
    /// Held by the one thread that drains.
    baton: CachePadded<AtomicBool>,
    /// Ticket `t` is deposited in place `t % window`. Only tickets from `next` to `next + window - 1` are let in, so a
    /// place that is filled holds the one ticket of the window it can hold.
    places: Box<[Mutex<Option<T>>]>,
    closed: AtomicBool,
    room: Waiters,
}

/// What became of a deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Deposit<T> {
    /// It will be drained in its turn: call [`Sequencer::drain`].
    Accepted,
    /// The ticket has been deposited before, or even drained: this one is not needed.
    Late(T),
    /// The ticket is beyond the window: [`Sequencer::wait_room`], then again.
    Early(T),
}

impl<T> Sequencer<T> {
    /// Expects ticket 0 next and lets in `window` tickets from there, at least one.
    pub fn new(window: usize) -> Self {
        Self {
            next: CachePadded::new(AtomicU64::new(0)),
            baton: CachePadded::new(AtomicBool::new(false)),
            places: (0..window.max(1)).map(|_| Mutex::new(None)).collect(),
            closed: AtomicBool::new(false),
            room: Waiters::new(0),
        }
    }

    /// Leaves `item` to be drained when its ticket's turn comes, and returns at once. Follow it with
    /// [`Sequencer::drain`], or get a thread that may drain to do so.
    pub fn deposit(&self, ticket: u64, item: T) -> Deposit<T> {
        let mut place = self.place(ticket).lock();
        // Relaxed: if this ticket has been drained, that was done under this lock and is seen. Read too small,
        // `next` can only make us early, and then `wait_room` looks again.
        let next = self.next.load(Relaxed);
        if ticket < next || ticket < next + self.window() && place.is_some() {
            return Deposit::Late(item);
        }
        if ticket >= next + self.window() {
            return Deposit::Early(item);
        }
        *place = Some(item);
        Deposit::Accepted
    }

    /// Whether a deposit under `ticket` would be let in now. Once true it stays true.
    pub fn has_room(&self, ticket: u64) -> bool {
        // Relaxed: it can only be read too small, and then we are told when it grows.
        ticket < self.next.load(Relaxed) + self.window()
    }

    /// Sleeps until there is room for `ticket`; at once for the next one to be drained. False: the sequencer was closed
    /// first. A thread with a deposit behind it calls [`Sequencer::drain`] before it sleeps here.
    pub fn wait_room(&self, ticket: u64, sleeper: &mut Sleeper) -> bool {
        let look = || match self.has_room(ticket) {
            true => Some(true),
            // Relaxed: nothing is read on the strength of it; `close` wakes us after writing it.
            false => self.closed.load(Relaxed).then_some(false),
        };
        look().unwrap_or_else(|| self.room.wait_until(sleeper, look))
    }

    /// Feeds what is ready to `f`, in ticket order, unless another thread is at it: then that one will see every
    /// deposit made before this call. True: at least one item was fed.
    ///
    /// If `f` panics the item in its hands counts as drained and the baton is put down; whoever catches the panic
    /// calls again, because deposits made meanwhile relied on this thread.
    pub fn drain(&self, mut f: impl FnMut(u64, T)) -> bool {
        let mut fed = false;
        // The look at the end belongs to whoever puts the baton down: a deposit made after the last look above it found
        // the baton taken and its depositor gone. Either that depositor had the place's lock before `is_ready`
        // takes it, and is seen here; or after, and then the lock's hand-over shows it the baton put down.
        while self.is_ready() {
            let Some(_baton) = Baton::pick_up(&self.baton) else { break };
            while let Some((ticket, item)) = self.take_next() {
                fed = true;
                f(ticket, item);
            }
        }
        fed
    }

    /// The lowest ticket that has not been drained (nor is being drained now).
    pub fn next_ticket(&self) -> u64 {
        // Relaxed: for display, and for a watchdog that looks again.
        self.next.load(Relaxed)
    }

    /// How many items wait to be drained: read for display only.
    pub fn waiting(&self) -> usize {
        self.places.iter().filter(|place| place.lock().is_some()).count()
    }

    /// Sends home everybody who waits for room, now and from now on. Deposits inside the window and drains go on.
    pub fn close(&self) {
        // Relaxed: ordered before the look of a sleeper by the fences of `Waiters`.
        self.closed.store(true, Relaxed);
        self.room.wake_all();
    }

    fn window(&self) -> u64 {
        self.places.len() as u64
    }

    fn place(&self, ticket: u64) -> &Mutex<Option<T>> {
        &self.places[(ticket % self.window()) as usize]
    }

    /// Whether the next ticket's item is there.
    fn is_ready(&self) -> bool {
        // Relaxed: if it is read too small, another thread has held the baton since, and the last look is that one's.
        self.place(self.next.load(Relaxed)).lock().is_some()
    }

    /// Takes the next item, if it is there, and passes its ticket. Only for the holder of the baton.
    fn take_next(&self) -> Option<(u64, T)> {
        // Relaxed: only holders of the baton write it, and picking the baton up has shown us the last one's.
        let ticket = self.next.load(Relaxed);
        let item = {
            let mut place = self.place(ticket).lock();
            let item = place.take()?;
            // Under the lock, and before the item is worked on: from here a second deposit of this ticket is late, also
            // if `f` panics over the first. Relaxed: published by the lock to depositors, by the baton to drainers,
            // by the fences of `Waiters` to those who wait for room.
            self.next.store(ticket + 1, Relaxed);
            item
        };
        self.room.wake_all();
        Some((ticket, item))
    }
}

/// The right to drain; put down when it goes out of scope, by a panic too.
struct Baton<'a>(&'a AtomicBool);

impl<'a> Baton<'a> {
    /// None: somebody has it.
    fn pick_up(baton: &'a AtomicBool) -> Option<Self> {
        // Acquire pairs with the Release in `drop`: one drain sees all the one before did, `next` included. Relaxed on
        // failure: we read nothing of what the holder does.
        match baton.compare_exchange(false, true, Acquire, Relaxed) {
            Ok(_) => Some(Self(baton)),
            Err(_) => None,
        }
    }
}

impl Drop for Baton<'_> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `pick_up`.
        self.0.store(false, Release);
    }
}

#[cfg(test)]
mod tests;
