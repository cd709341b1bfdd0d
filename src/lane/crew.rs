//! Who may take batches of a lane: one crew of senders at a time, and how the next one takes over.
//!
//! A reload may give a lane another sink. Its queue, its order and its numbers stay; a new crew of senders with the new
//! sink takes over. What the old crew is sending now it finishes, one attempt; what it would have to try again goes back
//! to the lane whole, and is the first thing the new crew takes. The new crew begins when nothing is in the old one's
//! hands any more, so that two sinks never work at one destination at a time.

use super::batcher::{BatchLimits, Batcher, FlowControl, InFlightLimits};
use super::{Lane, Quota, Role, Taken};
use crate::ledger::Reason;
use crate::sources::inlet::Gate;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of a crew; a lane begins with [`FIRST_CREW`] in charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crew(pub(super) u64);

/// The crew a lane begins with.
pub const FIRST_CREW: Crew = Crew(1);

/// Which crew is in charge, and what others still hold.
#[derive(Debug)]
pub(super) struct Duty {
    pub(super) in_charge: Crew,
    /// Every crew up to here that is not in charge is to go home.
    pub(super) home_up_to: Crew,
    enlisted: Crew,
    /// Batches in the hands of crews that are not in charge any more.
    pub(super) old_hands: usize,
}

impl Duty {
    pub(super) fn new() -> Self {
        Duty { in_charge: FIRST_CREW, home_up_to: FIRST_CREW, enlisted: FIRST_CREW, old_hands: 0 }
    }

    /// Whether the crew is to go home.
    pub(super) fn is_over(&self, crew: Crew) -> bool {
        crew != self.in_charge && crew <= self.home_up_to
    }

    /// Whether the crew may take batches now.
    pub(super) fn is_on(&self, crew: Crew) -> bool {
        crew == self.in_charge && self.old_hands == 0
    }
}

/// How a wait between two attempts ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The time is over: try again.
    Over,
    /// Another crew is in charge now: give the batch back.
    Relieved,
    /// The lane is to be left.
    Leave,
}

/// What of a lane can be changed while it runs, except for its gates and its memory.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whether order is kept per stream.
    pub ordered: bool,
    /// The bounds of its batches.
    pub limits: BatchLimits,
    /// How they adapt.
    pub flow: FlowControl,
    /// How many may be out.
    pub in_flight: InFlightLimits,
}

impl Lane {
    /// The number for a further crew, which waits until [`Lane::relieve`] puts it in charge or [`Lane::dismiss`] sends it
    /// home.
    pub fn enlist(&self) -> Crew {
        let duty = &mut self.state.lock().duty;
        duty.enlisted = Crew(duty.enlisted.0 + 1);
        duty.enlisted
    }

    /// Puts `crew` in charge; the one before gives back what it cannot finish, and goes home.
    pub fn relieve(&self, crew: Crew) {
        let mut state = self.state.lock();
        // Those who hold a batch and were relieved before are among them.
        state.duty.old_hands = state.batches_out;
        state.duty.home_up_to = Crew(crew.0 - 1);
        state.duty.in_charge = crew;
        drop(state);
        self.wake_all();
    }

    /// Sends a crew home that never was in charge.
    pub fn dismiss(&self, crew: Crew) {
        self.state.lock().duty.home_up_to = crew;
        self.wake_all();
    }

    /// Gives back a batch whole, with its place in the order: whoever is in charge takes it first.
    pub fn give_back(&self, taken: Taken) {
        let mut state = self.state.lock();
        self.put_down(&mut state, &taken);
        state.returned.push_back(taken);
        drop(state);
        self.ready.notify_all();
    }

    /// Ends what a sender holds when the lane is to be left: kept for its source, or dropped and counted if the sink is
    /// gone for good.
    pub fn leave_behind(&self, taken: Taken) {
        let mut state = self.state.lock();
        self.put_down(&mut state, &taken);
        if !state.forsaken {
            if let Role::Back(source) = self.role {
                self.is_on_disk(taken.batch.entries_of(source));
            }
            drop(state);
            return taken.batch.abandon();
        }
        self.release(&mut state, &taken.batch, taken.buckets);
        drop(state);
        taken.batch.give_up(Reason::Removed);
    }

    /// Waits before the next attempt.
    pub fn pause(&self, wait: Duration, crew: Crew) -> Pause {
        let until = Instant::now() + wait;
        let mut state = self.state.lock();
        loop {
            if state.leaving {
                return Pause::Leave;
            }
            if state.duty.is_over(crew) {
                return Pause::Relieved;
            }
            if self.pause.wait_until(&mut state, until).timed_out() {
                return if state.leaving { Pause::Leave } else { Pause::Over };
            }
        }
    }

    /// The sink is gone for good and its time is over: what waits is dropped and counted, and senders end. Gives how many
    /// copies that were; what is being sent at this moment is counted by whoever sends it.
    pub fn forsake(&self) -> u64 {
        let mut state = self.state.lock();
        (state.closed, state.leaving, state.forsaken) = (true, true, true);
        let mut dropped = state.drop_all();
        self.sink.row.in_flight.sub(dropped);
        self.sink.row.dropped.add(Reason::Removed, dropped);
        let returned = std::mem::take(&mut state.returned);
        for Taken { batch, buckets, .. } in returned {
            dropped += batch.len() as u64;
            self.release(&mut state, &batch, buckets);
            batch.give_up(Reason::Removed);
        }
        self.watch_quota(&mut state);
        drop(state);
        self.wake_all();
        dropped
    }

    /// Another share of memory.
    pub fn set_quota(&self, quota: Quota) {
        let mut state = self.state.lock();
        state.quota = quota;
        self.watch_quota(&mut state);
    }

    /// Other sources can reach the lane: those it keeps from reading now are exactly these.
    pub fn set_gates(&self, gates: Vec<Arc<Gate>>) {
        let mut state = self.state.lock();
        if state.gates_closed {
            let is_in =
                |gate: &Arc<Gate>, all: &[Arc<Gate>]| all.iter().any(|other| Arc::ptr_eq(gate, other));
            gates.iter().filter(|gate| !is_in(gate, &state.gates)).for_each(|gate| gate.close());
            state.gates.iter().filter(|gate| !is_in(gate, &gates)).for_each(|gate| gate.open());
        }
        state.gates = gates;
    }

    /// Other bounds for its batches. `fresh`: what was learned of the sink so far does not hold for the next one.
    pub fn set_manner(&self, manner: Manner, fresh: bool) {
        let mut state = self.state.lock();
        state.ordered = manner.ordered;
        match fresh {
            true => state.batcher = Batcher::new(manner.limits, manner.flow).with_in_flight(manner.in_flight),
            false => {
                state.batcher.set_limits(manner.limits, manner.flow);
                state.batcher.set_in_flight(manner.in_flight);
            }
        }
        drop(state);
        self.ready.notify_all();
    }

    /// A sender has put its batch down.
    pub(super) fn put_down(&self, state: &mut super::State, taken: &Taken) {
        state.batches_out -= 1;
        self.show_out(state);
        if taken.crew != state.duty.in_charge {
            state.duty.old_hands -= 1;
            if state.duty.old_hands == 0 {
                self.relief.notify_all();
            }
        }
    }

    /// Wakes every sender, whatever it waits for.
    pub(super) fn wake_all(&self) {
        self.ready.notify_all();
        self.pause.notify_all();
        self.relief.notify_all();
    }
}
