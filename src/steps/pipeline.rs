//! A list of steps, made ready to run.

use crate::block::{Block, count_selected};
use crate::clock::SteadyNanos;
use crate::expr::{Expr, ValueExpr};
use crate::steps::ahead::{Ahead, Aside};
use crate::steps::constants::Constants;
use crate::steps::counts::{StepCounts, StepTally, StepView};
use crate::steps::discard::Discard;
use crate::steps::edit::Rename;
use crate::steps::enrich::{Enrich, TableFile};
use crate::steps::ordered::{self, Decided, Noting, Ordered};
use crate::steps::parse::input::Input;
use crate::steps::parse::json::ParseJson;
use crate::steps::parse::logfmt::Logfmt;
use crate::steps::parse::nginx::Nginx;
use crate::steps::parse::nginx_error::NginxError;
use crate::steps::parse::regex::Captures;
use crate::steps::parse::rows::Parse;
use crate::steps::parse::syslog::Syslog;
use crate::steps::route::Route;
use crate::steps::sample::Sample;
use crate::steps::sample::config::SampleConfig;
use crate::steps::set::{Given, Set, SetError};
use crate::steps::timestamp::Timestamp;
use crate::steps::timestamp::config::TimestampConfig;
use crate::steps::{Failures, OnError, Step, StepError};
use jiff::tz::TimeZone;
use smallvec::{SmallVec, smallvec};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Most steps in one pipeline.
pub const STEPS_MAX: usize = 64;

/// One step as the config says it.
pub enum StepSpec {
    /// `parse` as JSON.
    ParseJson(Input),
    /// `parse` as logfmt.
    ParseLogfmt(Input),
    /// `parse` as an access log of a web server.
    ParseNginx(Input),
    /// `parse` as the error log of nginx, with times of this zone.
    ParseNginxError(Input, TimeZone),
    /// `parse` by an expression with named groups.
    ParseRegex(Input, regex::bytes::Regex),
    /// `parse` as syslog, with which every `syslog` source begins; times of RFC 3164 are of this zone.
    ParseSyslog(Input, TimeZone),
    /// A field becomes the entry's time.
    Timestamp(TimestampConfig),
    /// `discard` by a condition.
    Discard(Expr),
    /// `keep` by a condition: the opposite.
    Keep(Expr),
    /// `set` these fields.
    Set(Vec<(String, Given)>),
    /// `sample` as this config says, with its key and its exceptions compiled.
    Sample(SampleConfig, Option<ValueExpr>, Option<Expr>),
    /// `enrich` from this table, by this key, these fields.
    Enrich(Arc<TableFile>, ValueExpr, Vec<String>),
    /// `route` by these names and conditions, and the name of the rest.
    Route(Vec<(String, Expr)>, Option<String>),
    /// `rename` by these pairs of old and new name.
    Rename(Vec<(String, String)>),
    /// One that decides in order; what it remembers may be shared with other pipelines.
    Ordered(Arc<dyn Ordered>),
    /// A step made elsewhere, or one that needs no constants.
    Custom(Box<dyn Step>),
}

/// A step with what becomes of entries it cannot work on.
pub struct Planned {
    spec: StepSpec,
    on_error: OnError,
    /// The source begins with it by itself; it has no place in the config's list.
    by_itself: bool,
}

impl StepSpec {
    /// The step with this `on_error`.
    pub fn on_error(self, on_error: OnError) -> Planned {
        Planned { spec: self, on_error, by_itself: false }
    }

    /// The step as one that a source begins with by itself: not counted among those of the config.
    pub fn by_itself(self) -> Planned {
        Planned { by_itself: true, ..self.on_error(OnError::Pass) }
    }
}

impl From<StepSpec> for Planned {
    fn from(spec: StepSpec) -> Self {
        spec.on_error(OnError::Pass)
    }
}

/// The steps of one pipeline, in order, with the constants they share.
pub struct Pipeline {
    steps: Vec<Placed>,
    /// Those of the steps that decide in order, each with its place among all.
    ordered: Vec<(usize, Arc<dyn Ordered>)>,
    constants: Arc<[u8]>,
}

/// Is shown the block behind each step, by the step's place.
pub type Watch<'a> = &'a mut dyn FnMut(usize, &Block);

struct Placed {
    step: Box<dyn Step>,
    on_error: OnError,
    /// Its place in the config's list, from 1.
    number: usize,
    counts: StepCounts,
    /// What the step behind lets through, if that spares this one work.
    ahead: Option<Ahead>,
}

impl Placed {
    /// Has the block keep what was wrong with each entry that is to be a dead letter.
    #[cold]
    fn refuse(&self, block: &mut Block, refused: &[(usize, StepError)]) {
        let mut last: Option<(StepError, Arc<str>)> = None;
        for (index, error) in refused {
            let why = match &last {
                // Most fail alike.
                Some((same, why)) if same == error => Arc::clone(why),
                _ => {
                    let what = self.step.explain(*error);
                    format!("step {} ({}): {what}", self.number, self.step.name()).into()
                }
            };
            block.refuse(*index, false, Arc::clone(&why));
            last = Some((*error, why));
        }
    }
}

/// What a panic said.
fn last_words(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    match text.or_else(|| panic.downcast_ref::<&str>().copied()) {
        Some(text) => format!("a step panicked: {text}").into(),
        None => "a step panicked".into(),
    }
}

/// A tally per step; more steps than these cost an allocation per block.
type Tallies = SmallVec<[StepTally; 16]>;

/// What became of a block's entries, beyond the bits and fields in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How often a step could not work on an entry.
    pub errors: usize,
    /// The entries on which a step panicked; their bits are cleared, so no lane gets them.
    pub panicked: Vec<usize>,
}

impl Pipeline {
    /// Makes the steps, and has each leave room for the fields that those behind it add.
    pub fn compile<S: Into<Planned>>(specs: Vec<S>) -> Result<Self, SetError> {
        let mut constants = Constants::default();
        let mut ordered: Vec<(usize, Arc<dyn Ordered>)> = Vec::new();
        let (mut number, mut at) = (0, 0);
        let mut place = |Planned { spec, on_error, by_itself }: Planned| -> Result<Placed, SetError> {
            if let StepSpec::Ordered(step) = &spec {
                ordered.push((at, Arc::clone(step)));
            }
            let step = make(spec, &mut constants, ordered.len().saturating_sub(1))?;
            at += 1;
            number += usize::from(!by_itself);
            Ok(Placed { step, on_error, number, counts: StepCounts::default(), ahead: None })
        };
        let specs: Vec<Planned> = specs.into_iter().map(Into::into).collect();
        let ahead: Vec<_> = specs.windows(2).map(|pair| look_ahead(&pair[0], &pair[1])).collect();
        let mut steps = specs.into_iter().map(&mut place).collect::<Result<Vec<_>, _>>()?;
        steps.iter_mut().zip(ahead).for_each(|(placed, ahead)| placed.ahead = ahead);
        let mut added = 0;
        for Placed { step, .. } in steps.iter_mut().rev() {
            step.leave_room(added);
            added += step.adds_fields();
        }
        steps.iter_mut().for_each(|placed| placed.step.told_constants(&constants));
        Ok(Pipeline { steps, ordered, constants: constants.finish() })
    }

    /// Whether it has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it has steps that decide in order.
    pub fn has_ordered(&self) -> bool {
        !self.ordered.is_empty()
    }

    /// Has the ordered steps decide over a block that was run, when its turn has come; `now` is when it was shipped. Nothing
    /// is taken out of the block yet.
    pub fn decide(&self, block: &Block, now: SteadyNanos) -> Decided {
        let steps = self.ordered.iter().map(|(_, step)| step);
        ordered::decide(steps, block, now, |slot, taken, took| {
            let nanos = took.as_nanos() as u64;
            let tally = StepTally { discarded: taken, nanos, ..StepTally::default() };
            self.steps[self.ordered[slot].0].counts.add(&tally);
        })
    }

    /// Has the ordered steps forget what they know, so that what was there before counts as new.
    pub fn forget_order(&self) {
        self.ordered.iter().for_each(|(_, step)| step.forget());
    }

    /// What each step did so far, in their order.
    pub fn views(&self) -> impl Iterator<Item = StepView> {
        self.steps.iter().map(|placed| placed.counts.view(placed.number, &*placed.step))
    }

    /// Runs all steps over the wanted entries in `range`, one step after the other; gives how many errors there were.
    fn run(
        &self,
        block: &mut Block,
        range: Range<usize>,
        tallies: &mut Tallies,
        mut watch: Option<Watch>,
    ) -> usize {
        block.set_constants(&self.constants);
        let mut errors = 0;
        let mut wanted = count_selected(block.selection(0), range.clone());
        let mut begun = Instant::now();
        for (at, (placed, tally)) in self.steps.iter().zip(tallies).enumerate() {
            if wanted == 0 {
                break;
            }
            let mut failures = Failures::new(placed.on_error);
            let aside = match &placed.ahead {
                // Who looks on is to see everything.
                Some(ahead) if watch.is_none() => ahead.set_aside(block, range.clone()),
                _ => Aside::default(),
            };
            placed.step.run(block, range.clone(), &mut failures);
            aside.put_back(block);
            let (left, ended) = (count_selected(block.selection(0), range.clone()), Instant::now());
            tally.add(wanted, left, &failures, ended - begun);
            errors += failures.count();
            if !failures.refused().is_empty() {
                placed.refuse(block, failures.refused());
            }
            (wanted, begun) = (left, ended);
            if let Some(watch) = &mut watch {
                watch(at, block);
            }
        }
        errors
    }

    /// Runs all steps over the whole block, from a fresh side state, and survives their panics.
    ///
    /// After a panic the block is done again entry by entry, so that only those that panic by themselves are lost to
    /// it: they are taken out and named.
    pub fn run_guarded(&self, block: &mut Block) -> Outcome {
        self.run_all(block, None)
    }

    /// The same, with somebody who looks at the block behind every step. After a panic nobody looks.
    pub fn run_watched(&self, block: &mut Block, watch: Watch) -> Outcome {
        self.run_all(block, Some(watch))
    }

    fn run_all(&self, block: &mut Block, watch: Option<Watch>) -> Outcome {
        block.reset_side();
        if self.is_empty() {
            return Outcome::default();
        }
        let all = 0..block.entries().len();
        let mut tallies: Tallies = smallvec![StepTally::default(); self.steps.len()];
        // AssertUnwindSafe: what a panic leaves behind in the block is its side state, and that is reset below.
        let whole = catch_unwind(AssertUnwindSafe(|| self.run(block, all.clone(), &mut tallies, watch)));
        let outcome = match whole {
            Ok(errors) => Outcome { errors, panicked: Vec::new() },
            Err(_) => {
                tallies.fill(StepTally::default());
                self.run_one_by_one(block, all, &mut tallies)
            }
        };
        for (placed, tally) in self.steps.iter().zip(&tallies) {
            placed.counts.add(tally);
        }
        outcome
    }

    fn run_one_by_one(&self, block: &mut Block, all: Range<usize>, tallies: &mut Tallies) -> Outcome {
        block.reset_side();
        let mut outcome = Outcome::default();
        for index in all {
            // AssertUnwindSafe: the entry is taken out, and the rows of others are not touched by work on it.
            match catch_unwind(AssertUnwindSafe(|| self.run(block, index..index + 1, tallies, None))) {
                Ok(errors) => outcome.errors += errors,
                Err(panic) => {
                    block.refuse(index, true, last_words(&*panic));
                    outcome.panicked.push(index);
                }
            }
        }
        outcome
    }
}

/// What `keep` right behind `parse: json` lets through. Not where what cannot be parsed is kept as a dead letter: then
/// everything has to be parsed to know.
fn look_ahead(parse: &Planned, keep: &Planned) -> Option<Ahead> {
    match (&parse.spec, &keep.spec) {
        (StepSpec::ParseJson(Input::Message), StepSpec::Keep(condition))
            if parse.on_error != OnError::DeadLetter =>
        {
            Ahead::of(condition)
        }
        _ => None,
    }
}

/// The step; `slot` is its number among the ordered ones, if it is one.
fn make(spec: StepSpec, constants: &mut Constants, slot: usize) -> Result<Box<dyn Step>, SetError> {
    Ok(match spec {
        StepSpec::ParseJson(input) => Box::new(ParseJson::of(input)),
        StepSpec::ParseLogfmt(input) => Box::new(Parse::new(Logfmt::new(constants)?, input)),
        StepSpec::ParseNginx(input) => Box::new(Parse::new(Nginx::new(constants)?, input)),
        StepSpec::ParseNginxError(input, zone) => {
            Box::new(Parse::new(NginxError::new(zone, constants)?, input))
        }
        StepSpec::ParseRegex(input, regex) => Box::new(Parse::new(Captures::new(regex, constants)?, input)),
        StepSpec::ParseSyslog(input, zone) => Box::new(Parse::new(Syslog::new(zone, constants)?, input)),
        StepSpec::Timestamp(config) => Box::new(Timestamp::new(&config, constants)?),
        StepSpec::Discard(condition) => Box::new(Discard::new(condition)),
        StepSpec::Keep(condition) => Box::new(Discard::unless(condition)),
        StepSpec::Set(fields) => Box::new(Set::new(fields, constants)?),
        StepSpec::Sample(config, key, except) => {
            Box::new(Sample::new(config.rate, key, except, config.weight.as_deref(), constants)?)
        }
        StepSpec::Enrich(table, key, names) => Box::new(Enrich::new(table, key, &names, constants)?),
        StepSpec::Route(routes, rest) => Box::new(Route::new(routes, rest.as_deref(), constants)?),
        StepSpec::Rename(names) => Box::new(Rename::new(&names, constants)?),
        StepSpec::Ordered(ordered) => Box::new(Noting { slot, ordered }),
        StepSpec::Custom(step) => step,
    })
}
