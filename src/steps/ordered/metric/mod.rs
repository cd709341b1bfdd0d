//! Makes numbers of entries, to be scraped: `metric`.
//!
//! The worker finds out which series an entry counts in and with which value; that is the note. It is added when the block's
//! turn comes, so that what an ordered step before it took out does not count, and the last entry's gauge is the
//! last one's. Series are looked up in a table that is replaced when there is a new one: looking never waits.

pub mod config;
#[cfg(test)]
mod tests;

use super::key::Hash;
use super::keyed::AsIs;
use super::{Notes, Ordered, OrderedView, Place, is_set};
use crate::block::Block;
use crate::clock::SteadyNanos;
use crate::expr::{ExprError, Name};
use crate::steps::{Failures, StepError};
use arc_swap::ArcSwap;
use config::{MetricConfig, MetricKind};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// The value of every label of the series that counts what has no series of its own.
pub const OVERFLOW: &str = "__overflow__";
/// Longest value of a label, in bytes; a longer one is cut.
pub const VALUE_MAX: usize = 256;

/// Which entry counts in which series.
#[derive(Clone, Default)]
struct Table {
    /// By the hash of the labels' values.
    series: HashMap<u128, u32, BuildHasherDefault<AsIs>>,
    /// The one for all others, once there are as many as there may be.
    overflow: Option<u32>,
}

impl Table {
    fn find(&self, key: u128) -> Option<u32> {
        self.series.get(&key).copied().or(self.overflow)
    }
}

/// The step.
pub struct Metric {
    config: MetricConfig,
    value: Option<Name>,
    labels: Vec<Name>,
    table: ArcSwap<Table>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the numbers in the table; the overflow, if there is one, is the last.
    series: Vec<Series>,
}

/// One label set and its numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The labels' values, in the order of the config.
    pub labels: Vec<Box<str>>,
    /// How many entries counted.
    pub count: u64,
    /// The sum of their values; a gauge's last value.
    pub value: f64,
    /// How many had values up to each bound, and not up to the one before.
    pub buckets: Vec<u64>,
}

/// A metric at one moment.
#[derive(Clone, Debug)]
pub struct MetricView {
    /// What it is called, and what it is.
    pub config: MetricConfig,
    /// All label sets that counted anything.
    pub series: Vec<Series>,
    /// How many entries counted in the overflow series.
    pub overflowed: u64,
}

impl Metric {
    /// The most memory that one of this config takes, in bytes: label values as long as they may be.
    pub fn memory(config: &MetricConfig) -> usize {
        let labels = config.labels.0.len() * (VALUE_MAX + size_of::<Box<str>>());
        let buckets = config.buckets.as_ref().map_or(0, Vec::len) * size_of::<u64>();
        // Tables that grow by doubling may be half empty; that of the hashes is there twice while it is replaced.
        let places = 2 * size_of::<Series>() + 4 * size_of::<(u128, u32)>();
        (config.max_series + 1) * (places + labels + buckets)
    }

    /// As the config says.
    ///
    /// Errors: what names something that is no name of a field or label, and what is wrong with it.
    pub fn new(config: &MetricConfig) -> Result<Self, (usize, ExprError)> {
        let (value, labels) = config.names()?;
        let (table, state) = (ArcSwap::default(), Mutex::default());
        Ok(Metric { config: config.clone(), value, labels, table, state })
    }

    /// All its numbers now.
    pub fn numbers(&self) -> MetricView {
        let state = self.state.lock();
        // One that was made for an entry that was taken out since has counted nothing.
        let series = state.series.iter().filter(|series| series.count > 0).cloned().collect();
        let overflow = self.table.load().overflow.and_then(|at| state.series.get(at as usize));
        let overflowed = overflow.map_or(0, |series| series.count);
        MetricView { config: self.config.clone(), series, overflowed }
    }

    /// The number to count the entry with.
    fn value_of(&self, block: &Block, index: usize) -> Result<f64, StepError> {
        let Some(name) = &self.value else { return Ok(1.0) };
        let mut value = None;
        let there = name.see(block, index, |_, text| {
            value = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok());
        });
        let value = value.filter(|value: &f64| value.is_finite());
        match (there, value) {
            (false, _) => Err(StepError::Malformed("the value to count is not there")),
            (true, Some(value)) if value < 0.0 && self.config.kind == MetricKind::Counter => {
                Err(StepError::Malformed("a counter cannot count a value below zero"))
            }
            (true, Some(value)) => Ok(value),
            (true, None) => Err(StepError::Malformed("the value to count is no number")),
        }
    }

    /// The hash of the values of the entry's labels.
    fn key_of(&self, block: &Block, index: usize) -> u128 {
        let mut hash = Hash::new();
        for name in &self.labels {
            if !name.see(block, index, |_, text| hash.add(1, &text[..text.len().min(VALUE_MAX)])) {
                // As good as empty, to Prometheus.
                hash.add(1, b"");
            }
        }
        hash.finish()
    }

    /// Makes a series for the entry, which has none, if there may be one more.
    #[cold]
    fn add_series(&self, block: &Block, index: usize, key: u128) -> u32 {
        let mut state = self.state.lock();
        let mut table = Table::clone(&self.table.load());
        if let Some(series) = table.find(key) {
            // Somebody else made it meanwhile.
            return series;
        }
        let is_full = table.series.len() >= self.config.max_series;
        let text = |name: &Name| {
            let mut value = if is_full { OVERFLOW.to_owned() } else { String::new() };
            if !is_full {
                name.see(block, index, |_, text| {
                    value = String::from_utf8_lossy(&text[..text.len().min(VALUE_MAX)]).into_owned();
                });
            }
            value.into_boxed_str()
        };
        let labels = self.labels.iter().map(text).collect();
        let buckets = vec![0; self.config.buckets.as_ref().map_or(0, |bounds| bounds.len() + 1)];
        let number = state.series.len() as u32;
        state.series.push(Series { labels, buckets, ..Series::default() });
        match is_full {
            true => table.overflow = Some(number),
            false => drop(table.series.insert(key, number)),
        }
        self.table.store(Arc::new(table));
        number
    }

    fn note_with(&self, table: &mut Arc<Table>, block: &Block, index: usize) -> Result<u128, StepError> {
        let value = self.value_of(block, index)?;
        let key = self.key_of(block, index);
        let series = table.find(key).unwrap_or_else(|| {
            let number = self.add_series(block, index, key);
            *table = self.table.load_full();
            number
        });
        Ok(u128::from(series) << 64 | u128::from(value.to_bits()))
    }

    /// Counts an entry of this value in a series.
    fn count(&self, series: &mut Series, value: f64) {
        series.count += 1;
        match self.config.kind {
            MetricKind::Gauge => series.value = value,
            MetricKind::Counter => series.value += value,
            MetricKind::Histogram => {
                series.value += value;
                let bounds = self.config.buckets.as_deref().unwrap_or_default();
                if let Some(count) = series.buckets.get_mut(bounds.partition_point(|bound| *bound < value)) {
                    *count += 1;
                }
            }
        }
    }
}

impl Ordered for Metric {
    fn verb(&self) -> &'static str {
        "metric"
    }

    fn note(&self, block: &Block, index: usize) -> Result<u128, StepError> {
        self.note_with(&mut self.table.load_full(), block, index)
    }

    fn note_all(&self, place: Place<'_>, failures: &mut Failures) {
        let mut table = self.table.load_full();
        place.note(failures, |block, index| self.note_with(&mut table, block, index));
    }

    fn decide(&self, _: &Block, notes: Notes<'_>, _: SteadyNanos, out: &mut [u64]) {
        let mut state = self.state.lock();
        for (index, note) in notes.iter() {
            if !is_set(out, index)
                && let Some(series) = state.series.get_mut((note >> 64) as usize)
            {
                self.count(series, f64::from_bits(note as u64));
            }
        }
    }

    fn view(&self) -> OrderedView {
        let keys = self.state.lock().series.len() as u64;
        OrderedView { keys, evicted: 0, lost_counts: 0 }
    }

    fn as_metric(&self) -> Option<&Metric> {
        Some(self)
    }
}
