//! Who is on the intake thread: sources come, change and go while it runs.
//!
//! Whoever is not the intake's thread asks it by an order, a function it runs between two turns. What an order adds may
//! wait until it is told to begin, so that several things can be made ready and then begun together, or taken back.

use super::listen::Listen;
use super::{Intake, Member, Next, Turn};
use crate::sources::ending::Ending;
use crate::sources::waker::PollWaker;
use crate::thread::{Inside, Latch, Wake};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Whom members that are added belong to.
#[derive(Clone)]
pub struct Host {
    /// How they are told to end.
    pub ending: Arc<Ending>,
    /// Left by each of them when it has ended.
    pub done: Option<Arc<Latch>>,
    /// They have no turns before they are told to begin.
    pub waits: bool,
}

/// A member on the thread.
pub(super) struct Seat {
    pub(super) number: usize,
    pub(super) member: Box<dyn Member>,
    ending: Arc<Ending>,
    waits: bool,
    stopping: Option<Instant>,
    /// Its ending has been told that nothing more will be shipped.
    told: bool,
    _inside: Option<Inside>,
}

impl Seat {
    pub(super) fn new(number: usize, member: Box<dyn Member>, host: &Host) -> Self {
        let inside = host.done.as_ref().map(Inside::new);
        let (ending, waits) = (Arc::clone(&host.ending), host.waits);
        Seat { number, member, ending, waits, stopping: None, told: false, _inside: inside }
    }

    pub(super) fn turn(&mut self, now: Instant, woken: bool) -> Next {
        if self.waits {
            return Next::Told;
        }
        if self.stopping.is_none() && self.ending.is_stopping() {
            self.stopping = Some(now);
        }
        let next = self.member.turn(&Turn { now, woken, stopping: self.stopping });
        if self.stopping.is_some() && self.member.has_shipped() {
            self.tell_shipped();
        }
        next
    }

    fn tell_shipped(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.ending.shipped_all();
        }
    }

    /// Whether there is nothing left to do, or no time left to do it.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.ending.is_leaving() {
            self.member.leave();
            self.tell_shipped();
            return true;
        }
        self.told && self.member.is_idle()
    }
}

type Order = Box<dyn FnOnce(&mut Intake) + Send>;

/// What the thread is asked to do.
pub(super) struct Orders {
    sender: Sender<Order>,
    receiver: Receiver<Order>,
}

impl Default for Orders {
    fn default() -> Self {
        let (sender, receiver) = unbounded();
        Orders { sender, receiver }
    }
}

/// Gives orders to an intake from other threads.
#[derive(Clone)]
pub struct IntakeControl {
    sender: Sender<Order>,
    waker: Arc<PollWaker>,
}

impl IntakeControl {
    /// Has the intake's thread run `order`, and gives what came of it; `None` if that thread is no more. Not to be called
    /// before it runs.
    pub fn call<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Intake) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = bounded(1);
        self.tell(move |intake| {
            // Nobody who asked goes away before the answer.
            let _ = answer.send(order(intake));
        });
        answered.recv().ok()
    }

    /// Has the intake's thread run `order` when it comes to it.
    pub fn tell(&self, order: impl FnOnce(&mut Intake) + Send + 'static) {
        // An intake that is no more does nothing, and has nothing left to be told about.
        if self.sender.send(Box::new(order)).is_ok() {
            self.waker.wake();
        }
    }

    /// No more members will come: the thread ends when the last one has.
    pub fn close(&self) {
        self.tell(|intake| intake.stays = false);
    }
}

impl Intake {
    /// Lets it go on without members until it is closed by what is given.
    pub fn stay(&mut self) -> IntakeControl {
        self.stays = true;
        IntakeControl { sender: self.orders.sender.clone(), waker: Arc::clone(&self.waker) }
    }

    /// What is added from now on belongs to `host`. Gives the number of the member that is added next.
    pub fn host(&mut self, host: Host) -> usize {
        self.host = host;
        self.next
    }

    /// The members with these numbers begin.
    pub fn begin(&mut self, numbers: std::ops::Range<usize>) {
        for seat in self.seats.iter_mut().filter(|seat| numbers.contains(&seat.number)) {
            seat.waits = false;
        }
        self.woken = true;
    }

    /// Takes members back that never began.
    pub fn retract(&mut self, numbers: std::ops::Range<usize>) {
        self.seats.retain(|seat| !(seat.waits && numbers.contains(&seat.number)));
    }

    /// Has the member make ready what it is to go on under; says where it will listen then. `None`: it cannot.
    pub fn prepare(&mut self, number: usize, change: Box<dyn Any + Send>) -> Option<io::Result<Vec<Listen>>> {
        self.seats.iter_mut().find(|seat| seat.number == number)?.member.prepare(change)
    }

    /// Has the member take up what it made ready, or drop it.
    pub fn decide(&mut self, number: usize, go: bool) {
        self.woken = true;
        self.seats.iter_mut().filter(|seat| seat.number == number).for_each(|seat| seat.member.decide(go));
    }

    /// The number the next member will have.
    pub fn next_number(&self) -> usize {
        self.next
    }

    pub(super) fn obey(&mut self) {
        while let Ok(order) = self.orders.receiver.try_recv() {
            order(self);
        }
    }
}
