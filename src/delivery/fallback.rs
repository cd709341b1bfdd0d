//! Another sink that takes what a sink cannot, once that has been out of reach for long.
//!
//! The batch stays where it is: its lane, its order, its ledger. Only the attempt is made at the other sink, under that
//! one's breaker. So a copy is counted once, as delivered by the sink it was for, and
//! [`SinkLedger::fallback`](crate::ledger::SinkLedger::fallback) says how many of these another took.

use super::circuit::Circuit;
use crate::sinks::Sink;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A sink as others can use it.
#[derive(Clone)]
pub struct Outlet {
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// What its senders know of it.
    pub circuit: Arc<Circuit>,
}

/// All sinks in force, by name. A reload puts others in their place.
#[derive(Default)]
pub struct Outlets(ArcSwap<HashMap<String, Outlet>>);

impl Outlets {
    /// The sink of this name.
    pub fn get(&self, name: &str) -> Option<Outlet> {
        self.0.load().get(name).cloned()
    }

    /// From now on it is these.
    pub fn set(&self, all: HashMap<String, Outlet>) {
        self.0.store(Arc::new(all));
    }
}

/// Where a sink's batches go when its breaker has been open for long.
#[derive(Clone)]
pub struct Fallback {
    /// The other sink's name.
    pub name: String,
    /// How long the breaker must have been open.
    pub after: Duration,
    /// Where it is found.
    pub outlets: Arc<Outlets>,
}

impl Fallback {
    /// How long it still takes until it is this one's turn, if the breaker has not been closed for `open_for`.
    pub fn due_in(&self, open_for: Option<Duration>) -> Option<Duration> {
        open_for.map(|open| self.after.saturating_sub(open))
    }
}
