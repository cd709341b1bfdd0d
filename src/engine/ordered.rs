//! The ordered steps of all pipelines, which outlive a reload that does not change them.
//!
//! A step is known again by its pipeline, by what is written of it, and by how many like it stand before it there. What it
//! remembers goes with it; a changed step begins anew.

use super::StartError;
use crate::admin::custom::MetricStats;
use crate::admin::ordered::OrderedStats;
use crate::config::Config;
use crate::steps::config::StepConfig;
use crate::steps::ordered::Ordered;
use crate::steps::ordered::dedupe::Dedupe;
use crate::steps::pipeline::{Planned, StepSpec};
use parking_lot::Mutex;
use std::sync::Arc;

/// All ordered steps there are.
#[derive(Default)]
pub(super) struct OrderedSteps {
    rows: Mutex<Vec<Row>>,
    /// Steps of no pipeline any more that have counts to tell: as long as anything may come to them.
    retired: Mutex<Vec<Arc<dyn Ordered>>>,
}

struct Row {
    pipeline: String,
    config: StepConfig,
    /// How many steps of the same config stand before it.
    nth: usize,
    /// Its place in the pipeline, from 1.
    place: usize,
    step: Arc<dyn Ordered>,
}

impl Row {
    fn is(&self, pipeline: &str, steps: &[StepConfig], at: usize) -> bool {
        self.pipeline == pipeline && self.config == steps[at] && self.nth == nth(steps, at)
    }
}

/// How many steps before the one at `at` are the same.
fn nth(steps: &[StepConfig], at: usize) -> usize {
    steps[..at].iter().filter(|step| **step == steps[at]).count()
}

impl OrderedSteps {
    /// The step at `at` of the pipeline, if it is an ordered one: the one there is, or a new one.
    pub fn planned(
        &self,
        pipeline: &str,
        steps: &[StepConfig],
        at: usize,
    ) -> Option<Result<Planned, StartError>> {
        let mut rows = self.rows.lock();
        let on_error = steps[at].ordered_on_error();
        if let Some(row) = rows.iter().find(|row| row.is(pipeline, steps, at)) {
            return Some(Ok(StepSpec::Ordered(Arc::clone(&row.step)).on_error(on_error)));
        }
        let step = match steps[at].ordered()? {
            Ok(step) => step,
            Err((_, error)) => {
                return Some(Err(StartError::Config(format!("pipeline {pipeline}: {}", error.message))));
            }
        };
        rows.push(Row {
            pipeline: pipeline.into(),
            config: steps[at].clone(),
            nth: nth(steps, at),
            place: at + 1,
            step: Arc::clone(&step),
        });
        Some(Ok(StepSpec::Ordered(step).on_error(on_error)))
    }

    /// Forgets those that `config` does not have; to `retire` them, they are kept until they have told all their counts.
    pub fn retain(&self, config: &Config, retire: bool) {
        let mut rows = self.rows.lock();
        for row in std::mem::take(&mut *rows) {
            let pipeline = config.pipeline(&row.pipeline);
            let steps = pipeline.map_or(&[][..], |pipeline| &pipeline.steps);
            match (0..steps.len()).find(|at| row.is(&row.pipeline, steps, *at)) {
                Some(at) => rows.push(Row { place: at + 1, ..row }),
                // As long as a plan has it, something may come to it.
                None if retire && row.config.emits() => self.retired.lock().push(row.step),
                None => {}
            }
        }
    }

    /// Those that count what they took out; with each whether nothing can come to it any more.
    pub fn dedupes(&self) -> Vec<(Arc<Dedupe>, bool)> {
        let mut all = Vec::new();
        for row in self.rows.lock().iter() {
            all.extend(Arc::clone(&row.step).as_dedupe().map(|dedupe| (dedupe, false)));
        }
        for step in self.retired.lock().iter() {
            // Nobody but this list has it: blocks that were begun with it are all decided.
            let is_over = Arc::strong_count(step) == 1;
            all.extend(Arc::clone(step).as_dedupe().map(|dedupe| (dedupe, is_over)));
        }
        all
    }

    /// Forgets one that is over and has told everything.
    pub fn forget(&self, over: &Arc<Dedupe>) {
        let is_it = |step: &Arc<dyn Ordered>| std::ptr::addr_eq(Arc::as_ptr(step), Arc::as_ptr(over));
        self.retired.lock().retain(|step| !is_it(step));
    }

    /// What each of them remembers.
    pub fn stats(&self) -> Vec<OrderedStats> {
        let rows = self.rows.lock();
        // Metrics show what they count themselves.
        let others = rows.iter().filter(|row| row.step.as_metric().is_none());
        let stats = |row: &Row| OrderedStats::of(&row.pipeline, row.place, row.step.verb(), row.step.view());
        others.map(stats).collect()
    }
}

impl OrderedSteps {
    /// What the metrics among them count.
    pub fn metrics(&self) -> Vec<MetricStats> {
        let rows = self.rows.lock();
        let numbers = |row: &Row| {
            let metric = row.step.as_metric()?;
            Some(MetricStats::of(&row.pipeline, row.place, metric.numbers()))
        };
        rows.iter().filter_map(numbers).collect()
    }
}

/// Whether any pipeline that is used counts what it takes out.
pub(super) fn wants_repeats(config: &Config) -> bool {
    let used = config.sources.iter().filter_map(|source| config.pipeline(source.pipeline.as_deref()?));
    used.flat_map(|pipeline| &pipeline.steps).any(StepConfig::emits)
}
