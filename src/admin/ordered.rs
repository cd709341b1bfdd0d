//! The rows of `/stats` about ordered steps.

use crate::steps::ordered::OrderedView;
use serde::Serialize;

/// What an ordered step remembers; sources with the same pipeline share it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OrderedStats {
    /// The pipeline.
    pub pipeline: String,
    /// The step's place in it, from 1.
    pub step: usize,
    /// Its verb, such as `dedupe`.
    pub verb: &'static str,
    /// Keys it knows.
    pub keys: u64,
    /// Keys it forgot before their time, as there was no room.
    pub evicted: u64,
    /// Counts of what it took out that could not be told.
    pub lost_counts: u64,
}

impl OrderedStats {
    /// What the step at `step` of `pipeline` says.
    pub fn of(pipeline: &str, step: usize, verb: &'static str, view: OrderedView) -> Self {
        let OrderedView { keys, evicted, lost_counts } = view;
        OrderedStats { pipeline: pipeline.into(), step, verb, keys, evicted, lost_counts }
    }
}
