//! Entries sent through a pipeline by hand, to see what each step makes of them: nothing is opened, nothing delivered.
//!
//! It is the pipeline that runs, with the routes that route: only what stands before (the framing of a source) and behind
//! (the lanes) is left out. Each entry is a block of its own, one after the other, so that what steps count tells of
//! that entry, and ordered steps see all of them in turn.

use super::StartError;
use super::build::{routes, steps_of};
use super::ordered::OrderedSteps;
use super::sources::framing_of;
use crate::block::{Block, EntryView};
use crate::clock::{SteadyNanos, UnixNanos};
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::entry::Entry;
use crate::labels::{Labels, SourceId, Stream};
use crate::route::{Routes, Routing};
use crate::sinks::format::{Encoder, Format};
use crate::sources::config::SourceKind;
use crate::sources::inlet::Strategy;
use crate::sources::submit::SubmitSourceConfig;
use crate::steps::counts::StepView;
use crate::steps::pipeline::Pipeline;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The source that entries seem to come from which go through a pipeline by its name.
pub const SOURCE: &str = "test";
/// How often a pipeline is run over an entry to know the time of its steps.
const REPETITIONS: u32 = 200;

/// A pipeline to try, with the sinks behind it.
pub struct Trial {
    source: SourceConfig,
    pipeline: Pipeline,
    routes: Routes,
    /// Names and conditions of the sinks, as the routes number them.
    sinks: Vec<(String, Option<String>)>,
    stream: Arc<Stream>,
    longest: usize,
}

/// What became of one entry.
#[derive(Debug)]
pub struct Tried {
    /// As it came.
    pub before: Seen,
    /// What each step did, up to the one that took it out.
    pub steps: Vec<StepTried>,
    /// How it left the last of them.
    pub after: Seen,
    /// What became of it then.
    pub fate: Fate,
    /// The sinks in their order, and whether each takes it.
    pub sinks: Vec<SinkTried>,
}

/// An entry at one point of its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// As the format `json` writes it.
    pub json: Value,
    /// The message, as in conditions.
    pub message: String,
    /// Its time.
    pub time: UnixNanos,
}

/// What one step did.
#[derive(Debug)]
pub struct StepTried {
    /// Its place in the pipeline, from 1; 0 for the one a source begins with by itself.
    pub number: usize,
    /// Its verb.
    pub verb: &'static str,
    /// The entry behind it, if it stayed.
    pub after: Option<Seen>,
    /// Why it could not work on it.
    pub error: Option<String>,
    /// The time it took, a mean of many runs.
    pub took: Duration,
}

/// What became of an entry behind its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes to sinks, if any wants it.
    Kept,
    /// A step took it out.
    Filtered,
    /// A `throttle` took it out.
    Throttled,
    /// It became a dead letter, or would if there were any.
    DeadLetter,
}

/// A sink, and whether it takes the entry.
#[derive(Debug)]
pub struct SinkTried {
    /// Its name.
    pub name: String,
    /// Its condition.
    pub when: Option<String>,
    /// Whether it takes it.
    pub takes: bool,
}

impl Trial {
    /// What the entries of the source called `name` go through.
    ///
    /// Errors: there is no such source, or its pipeline cannot be made.
    pub fn of_source(config: &Config, name: &str) -> Result<Self, StartError> {
        let source = config.sources.iter().find(|source| source.name == name);
        let known =
            || config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
        let source = source.ok_or_else(|| {
            StartError::Config(format!("there is no source `{name}`; there are: {}", known()))
        })?;
        Trial::of(config, source.clone())
    }

    /// The pipeline called `name`, as if a source used it.
    ///
    /// Errors: there is no such pipeline, or it cannot be made.
    pub fn of_pipeline(config: &Config, name: &str) -> Result<Self, StartError> {
        if config.pipeline(name).is_none() {
            let known: Vec<&str> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(StartError::Config(format!("there is no pipeline `{name}`; there are: {known}")));
        }
        let source = SourceConfig {
            name: SOURCE.into(),
            pipeline: Some(name.into()),
            labels: Default::default(),
            strategy: Strategy::Block,
            rate_limit: None,
            kind: SourceKind::Submit(SubmitSourceConfig {}),
        };
        Trial::of(config, source)
    }

    fn of(config: &Config, source: SourceConfig) -> Result<Self, StartError> {
        let sinks: Vec<&SinkConfig> = config.enabled_sinks().collect();
        let (steps, _) = steps_of(config, &source, &OrderedSteps::default())?;
        let pipeline = Pipeline::compile(steps).map_err(|error| StartError::Config(error.to_string()))?;
        let routes = routes(&sinks)?;
        let sinks = sinks.iter().map(|sink| (sink.name.clone(), sink.when.clone())).collect();
        let longest = super::sources::longest_entry(&source);
        let stream = Arc::new(stream_of(&source, &[]));
        Ok(Trial { source, pipeline, routes, sinks, stream, longest })
    }

    /// Entries have these labels, too.
    pub fn with_labels(&mut self, labels: &[(String, String)]) {
        self.stream = Arc::new(stream_of(&self.source, labels));
    }

    /// The entries that the source would find in `input`, each with whether it was cut.
    ///
    /// Errors: its rules for several lines cannot be read.
    pub fn entries_of(&self, input: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, StartError> {
        framing_of(&self.source, input)
    }

    /// Sends one entry through, taken in at `time`, which is `now` on the clock that ordered steps go by.
    pub fn run(&self, text: &[u8], cut: bool, (time, now): (UnixNanos, SteadyNanos)) -> Tried {
        let mut block = Block::new((text.len() + 1).max(self.longest.min(4096)));
        block.begin_run(&self.stream);
        let offset = block.append(text).unwrap_or(0);
        let mut entry = Entry::at(offset, text.len() as u32);
        entry.flags |= if cut { Entry::CUT } else { 0 };
        block.push(entry);
        block.stamp(time);
        block.reset_side();
        let before = seen(&block);
        let counts = self.views();
        let mut seen_behind: Vec<Option<Seen>> = Vec::new();
        let outcome = self.pipeline.run_watched(&mut block, &mut |_, block| {
            let is_wanted = block.selection(0)[0] & 1 == 1;
            seen_behind.push(is_wanted.then(|| seen(block)));
        });
        let decided = self.pipeline.decide(&block, now);
        let refused = !block.refused().is_empty();
        let taken = decided.taken > 0;
        if taken {
            block.take_out(&decided.out);
        }
        let panicked =
            (!outcome.panicked.is_empty()).then(|| block.refused().first().map(|one| one.why.to_string()));
        let steps = self.steps(counts, seen_behind, panicked.flatten());
        let fate = match () {
            () if decided.throttled > 0 => Fate::Throttled,
            () if taken => Fate::Filtered,
            () if refused => Fate::DeadLetter,
            () if block.selection(0)[0] & 1 == 0 => Fate::Filtered,
            () => Fate::Kept,
        };
        let after = steps.iter().rev().find_map(|step| step.after.clone()).unwrap_or_else(|| before.clone());
        let sinks = self.routed(&mut block);
        Tried { before, steps, after, fate, sinks }
    }

    fn views(&self) -> Vec<StepView> {
        self.pipeline.views().collect()
    }

    /// What each step did, by what it counted since, up to the one that took the entry out.
    fn steps(&self, before: Vec<StepView>, seen: Vec<Option<Seen>>, panic: Option<String>) -> Vec<StepTried> {
        let mut steps = Vec::new();
        let mut seen = seen.into_iter();
        for (before, now) in before.into_iter().zip(self.views()) {
            if now.entries == before.entries && panic.is_none() {
                break;
            }
            // An ordered one takes it out later than it is seen.
            let is_out = now.discarded > before.discarded;
            let after = seen.next().flatten().filter(|_| !is_out);
            let error = (now.errors > before.errors).then_some(now.last_error).flatten();
            let stays = after.is_some();
            let (number, verb) = (now.number, now.verb);
            steps.push(StepTried { number, verb, after, error, took: Duration::ZERO });
            if !stays {
                break;
            }
        }
        if let (Some(panic), Some(last)) = (panic, steps.last_mut()) {
            last.error = Some(panic);
        }
        steps
    }

    fn routed(&self, block: &mut Block) -> Vec<SinkTried> {
        let mut routing = Routing::default();
        self.routes.route(block, &mut routing);
        let takes = |at: usize| routing.lanes.iter().any(|choice| choice.lane == at);
        let sinks = self.sinks.iter().enumerate();
        sinks
            .map(|(at, (name, when))| SinkTried { name: name.clone(), when: when.clone(), takes: takes(at) })
            .collect()
    }

    /// Measures how long each step takes for an entry, by many runs, and writes that down in `tried`.
    ///
    /// The decisions of ordered steps are left out: each run would change what they remember.
    pub fn time(&self, text: &[u8], tried: &mut Tried) {
        let mut block = Block::new(text.len() + 1);
        block.begin_run(&self.stream);
        let offset = block.append(text).unwrap_or(0);
        block.push(Entry::at(offset, text.len() as u32));
        let before = self.views();
        for _ in 0..REPETITIONS {
            self.pipeline.run_guarded(&mut block);
        }
        for ((before, now), step) in before.into_iter().zip(self.views()).zip(&mut tried.steps) {
            let runs = (now.entries - before.entries).max(1);
            step.took = (now.time - before.time) / u32::try_from(runs).unwrap_or(u32::MAX);
        }
    }
}

fn stream_of(source: &SourceConfig, labels: &[(String, String)]) -> Stream {
    let own = source.labels.0.iter().chain(labels);
    let labels = Labels::new(own.map(|(name, value)| (name.as_str(), value.as_str())));
    Stream::new(SourceId(0), source.name.as_str().into(), source.kind.name(), "standard input", labels)
}

/// The one entry of `block` as it is now.
fn seen(block: &Block) -> Seen {
    let (mut encoder, mut line) = (Encoder::new(Format::Json), Vec::new());
    encoder.encode(block, block.stream_of(0), 0..1, &mut line);
    let view: EntryView = block.view(0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Seen {
        // What it writes is JSON: its own tests say so.
        json: serde_json::from_slice(&line).unwrap_or_else(|_| Value::String(text(&line))),
        message: text(&view.message()),
        time: view.time(),
    }
}
