//! Makes everything ready that another config needs: opened, bound, started, and waiting.

use super::StartError;
use super::build::{claims, lanes, manner, plan};
use super::changes::{Change, Changes};
use super::descriptors::{self, key};
use super::inside::{SinkView, SourceView};
use super::letters::wants_letters;
use super::live::{Leaving, LiveSink, LiveSource, Running, Ways};
use super::overlap;
use super::quotas::fit_threads;
use super::reload::Stage;
use super::sinks::{describe_sink, open_sink};
use super::sources::longest_entry;
use super::upkeep::Upkeep;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::delivery::Sender;
use crate::delivery::circuit::Circuit;
use crate::delivery::patience::Patience;
use crate::delivery::retry::Retry;
use crate::labels::SourceId;
use crate::lane::batcher::Batcher;
use crate::lane::{FIRST_CREW, Lane, LaneSpec, Manner, Quota};
use crate::ledger::Named;
use crate::sinks::Sink;
use crate::sinks::config::{Jitter, RetryConfig};
use crate::sources::config::SourceKind;
use crate::sources::inlet::Assigned;
use crate::sources::submit::Submitter;
use crate::thread::Inside;
use crate::worker::Plan;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one attempt at a sink may take at least before somebody should look at it.
const ATTEMPT_MAX: Duration = Duration::from_secs(120);

impl Stage<'_> {
    pub(super) fn make_ready(&mut self, changes: &Changes) -> Result<(), StartError> {
        let quota = self.share_memory()?;
        let (core, config) = (self.core, self.config);
        fit_threads(config, changes)?;
        core.descriptors.prepare(&descriptors::Plan::of(config).map_err(StartError::Config)?);
        core.house.quotas.set_most_threads(&core.house.threads, config);
        for sink in config.enabled_sinks() {
            self.make_sink(sink, quota, changes)?;
        }
        self.make_letters(quota)?;
        let lanes: Vec<_> = self.sinks.iter().map(|sink| Arc::clone(sink.entrance())).collect();
        let letters = self.letters.as_ref().map(|letters| Arc::clone(&letters.lane));
        let sinks: Vec<&SinkConfig> = config.enabled_sinks().collect();
        // Readers last: from their first look on they are known to have run.
        let order = |source: &&SourceConfig| matches!(source.kind, SourceKind::File(_));
        let (files, others): (Vec<_>, Vec<_>) = config.sources.iter().partition(order);
        for source in others.into_iter().chain(files) {
            let plan = match self.kept_plan(source, changes) {
                Some(plan) => plan,
                None => Arc::new(plan(config, source, &sinks, &lanes, letters.as_ref(), &core.ordered)?),
            };
            self.make_source(source, plan)?;
        }
        self.make_repeats(&sinks, &lanes)?;
        let place =
            |source: &LiveSource| config.sources.iter().position(|one| one.name == source.config.name);
        self.sources.sort_by_key(place);
        let gone = |sink: &&LiveSink| !self.sinks.iter().any(|kept| Arc::ptr_eq(&kept.lane, &sink.lane));
        let removed: Vec<LiveSink> = self.live.sinks.iter().filter(gone).cloned().collect();
        let names = |source: &&LiveSource| !config.sources.iter().any(|one| one.name == source.config.name);
        for source in self.live.sources.iter().filter(names) {
            self.leaving.extend(Leaving::of(source, &self.live.config));
        }
        let drain = config.dispatcher.drain_timeout;
        for sink in &removed {
            let (core, sink) = (Arc::clone(core), sink.clone());
            let name = format!("end-{}", sink.config.name);
            self.spawn_helper(name, move || core.see_off_sink(&sink, drain))?;
        }
        for at in 0..self.leaving.len() {
            let Leaving { source, running, .. } = &self.leaving[at];
            let (core, source, running) = (Arc::clone(core), source.name.clone(), running.clone());
            let name = format!("end-{source}");
            self.spawn_helper(name, move || core.see_off_source(&source, &running, drain))?;
        }
        if self.ways_differ() {
            self.plan_leaving(&sinks, &lanes, letters.as_ref())?;
        }
        for opened in &mut self.opened {
            let done = &opened.done;
            opened.runners.drain(..).try_for_each(|runner| core.spawn_source(runner, done, &self.go))?;
        }
        core.run_pacer(self.live, config)?;
        core.run_intake(self.live, config)
    }

    /// Sources that are leaving must not keep lanes busy that are going: they go their own way to the new ones.
    fn plan_leaving(
        &mut self,
        sinks: &[&SinkConfig],
        lanes: &[Arc<Lane>],
        letters: Option<&Arc<Lane>>,
    ) -> Result<(), StartError> {
        for leaving in self.live.leaving.iter().chain(&self.leaving) {
            for id in &leaving.running.domains {
                if let Some(domain) = self.core.house.domains.get(*id) {
                    let Leaving { config, source, .. } = leaving;
                    let plan = plan(config, source, sinks, lanes, letters, &self.core.ordered)?;
                    self.plans.push((domain, plan));
                }
            }
        }
        Ok(())
    }

    /// What each lane may hold on to.
    fn share_memory(&mut self) -> Result<Quota, StartError> {
        let largest = self.core.house.pools.blocks.class(usize::MAX);
        let too_long = |source: &&SourceConfig| longest_entry(source) > largest;
        if let Some(source) = self.config.sources.iter().find(too_long) {
            return Err(StartError::Config(format!(
                "source {}: entries of {} bytes do not fit the blocks of {largest} bytes that were made at the start: \
                 longer ones take a restart",
                source.name,
                longest_entry(source)
            )));
        }
        let going = |sink: &&LiveSink| !self.config.enabled_sinks().any(|one| one.name == sink.config.name);
        let going = self.live.sinks.iter().filter(going).chain(&self.live.retiring);
        let going: usize = going.map(LiveSink::shares).sum();
        let letters = wants_letters(self.core, self.config) || self.live.letters.is_some();
        let lanes = lanes(self.config) + usize::from(letters) + going;
        let shares = claims(self.config, lanes, largest).share_out().map_err(StartError::Config)?;
        let share = shares.lane.high + shares.transit;
        let now = Instant::now();
        let held = self.live.lanes().map(|sink| (&sink.config.name, sink.lane.view(now).pinned));
        if let Some((name, pinned)) = held.into_iter().find(|(_, pinned)| *pinned > share) {
            return Err(StartError::Config(format!(
                "sink {name} holds {} MiB that are not delivered, more than the {} MiB it would have of \
                 `quotas.max_memory` then",
                pinned >> 20,
                share >> 20
            )));
        }
        Ok(shares.lane)
    }

    fn make_sink(&mut self, sink: &SinkConfig, quota: Quota, changes: &Changes) -> Result<(), StartError> {
        if self.live.retiring.iter().any(|old| old.config.name == sink.name) {
            return Err(StartError::Config(format!(
                "sink {}: one of this name was removed a moment ago and still delivers what it has: try again when it \
                 is done",
                sink.name
            )));
        }
        let old = self.live.sinks.iter().find(|old| old.config.name == sink.name).cloned();
        let what = describe_sink(sink);
        let Some(old) = old else {
            let row = self.sink_row(sink);
            let opened = self.open_sink(sink)?;
            let disk = match self.config.has_buffer(sink) {
                true => Some(self.open_disk(row, sink, quota)?),
                false => None,
            };
            let lane = match &disk {
                Some(disk) => Arc::clone(&disk.lane.back),
                None => self.new_lane(row, sink, quota),
            };
            self.lanes.push(Arc::clone(&lane));
            let circuit = self.circuit(row, sink);
            let made = LiveSink {
                config: sink.clone(),
                row,
                circuit,
                lane,
                sink: opened,
                crew: FIRST_CREW,
                senders: Arc::default(),
                upkeep: None,
                disk,
            };
            self.view_sink(row, made.view(what));
            return self.man(made, None);
        };
        let row = self.sink_row(sink);
        let only_when = SinkConfig { when: sink.when.clone(), ..old.config.clone() } == *sink;
        if changes.of("sink", &sink.name) == Some(&Change::Unchanged) || only_when {
            self.view_sink(row, old.view(what));
            self.sinks.push(LiveSink { config: sink.clone(), ..old });
            return Ok(());
        }
        let same_sink =
            SinkConfig { when: sink.when.clone(), lane: sink.lane.clone(), ..old.config.clone() } == *sink;
        let opened = if same_sink { Arc::clone(&old.sink) } else { self.open_sink(sink)? };
        let crew = old.lane.enlist();
        self.crews.push((Arc::clone(&old.lane), crew, manner(sink), !same_sink));
        let (upkeep, before) =
            if same_sink { (old.upkeep.clone(), None) } else { (None, old.upkeep.clone()) };
        // A sink that is another now is judged anew.
        let circuit = self.circuit(row, sink);
        let (config, senders) = (sink.clone(), Arc::default());
        let next = LiveSink { config, sink: opened, circuit, crew, senders, upkeep, ..old };
        self.view_sink(row, next.view(what));
        self.man(next, before)
    }

    fn open_sink(&mut self, sink: &SinkConfig) -> Result<Arc<dyn Sink>, StartError> {
        let opened = open_sink(sink, self.core.descriptors.allowance(&key(false, &sink.name)))?;
        self.opened_sinks.push(Arc::clone(&opened));
        Ok(opened)
    }

    pub(super) fn circuit(&self, row: usize, sink: &SinkConfig) -> Arc<Circuit> {
        let row = Arc::clone(&self.ledger.sinks[row].row);
        Arc::new(Circuit::new(sink.lane.circuit_breaker, row))
    }

    pub(super) fn sink_row(&mut self, sink: &SinkConfig) -> usize {
        let rows = &mut self.ledger.sinks;
        match rows.iter().position(|row| *row.name == *sink.name) {
            Some(at) => {
                rows[at].kind = sink.kind.name();
                at
            }
            None => {
                rows.push(Named::new(&sink.name, sink.kind.name()));
                rows.len() - 1
            }
        }
    }

    pub(super) fn view_sink(&mut self, row: usize, view: SinkView) {
        match self.view.sinks.get_mut(row) {
            Some(place) => *place = view,
            None => self.view.sinks.push(view),
        }
    }

    pub(super) fn new_lane(&self, row: usize, sink: &SinkConfig, quota: Quota) -> Arc<Lane> {
        let Manner { ordered, limits, flow, in_flight } = manner(sink);
        Arc::new(Lane::new(LaneSpec {
            sink: self.ledger.sinks[row].clone(),
            quota,
            ordered,
            gates: Vec::new(),
            blocks: self.core.house.pools.blocks.clone(),
            batcher: Batcher::new(limits, flow).with_in_flight(in_flight),
        }))
    }

    /// Starts the sink's senders, which wait until they are in charge, and its upkeep after the one `before`.
    pub(super) fn man(&mut self, mut sink: LiveSink, before: Option<Arc<Upkeep>>) -> Result<(), StartError> {
        let cores = &self.config.decided.cores.senders;
        for number in 0..sink.config.lane.concurrency.most() {
            let sender = Sender {
                lane: Arc::clone(&sink.lane),
                crew: sink.crew,
                sink: Arc::clone(&sink.sink),
                circuit: Arc::clone(&sink.circuit),
                patience: patience(&sink.config),
                fallback: self.core.fallback(&sink.config),
                letters: self.core.keeps(),
                attempt_max: ATTEMPT_MAX.max(2 * sink.config.kind.timeout()),
                telemetry: self.core.house.telemetry.sink(&sink.config.name),
                taps: Arc::clone(&self.core.house.taps),
            };
            let name = format!("send-{}-{number}", sink.config.name);
            let body = Inside::until_the_end_of(&sink.senders, move |row| sender.run(row));
            let spawned = self.core.house.threads.spawn(name, cores, body);
            spawned.map_err(thread_refused)?;
        }
        if sink.upkeep.is_none() {
            let (threads, name) = (&self.core.house.threads, &sink.config.name);
            let upkeep = Upkeep::start(threads, name, &sink.sink, &self.go, before);
            sink.upkeep = upkeep.map_err(thread_refused)?.map(Arc::new);
        }
        self.sinks.push(sink);
        Ok(())
    }

    /// Whether entries find other sinks, or under other conditions, than before.
    fn ways_differ(&self) -> bool {
        let ways = |config: &Config| {
            let when = |sink: &SinkConfig| (sink.name.clone(), sink.when.clone());
            config.enabled_sinks().map(when).collect::<Vec<_>>()
        };
        ways(&self.live.config) != ways(self.config)
    }

    /// The plan of a source for which nothing changes.
    fn kept_plan(&self, source: &SourceConfig, changes: &Changes) -> Option<Arc<Plan>> {
        let old = self.live.sources.iter().find(|old| old.config.name == source.name)?;
        let pipeline = |config: &Config| {
            let name = source.pipeline.as_ref()?;
            config.pipeline(name).map(|pipeline| pipeline.steps.clone())
        };
        let same = changes.of("source", &source.name) == Some(&Change::Unchanged)
            && pipeline(&self.live.config) == pipeline(self.config)
            && !self.ways_differ();
        same.then(|| Arc::clone(&old.plan))
    }

    fn make_source(&mut self, source: &SourceConfig, plan: Arc<Plan>) -> Result<(), StartError> {
        let old = self.live.sources.iter().find(|old| old.config.name == source.name);
        let row = self.ledger.sources.iter().position(|row| *row.name == *source.name);
        let row = row.unwrap_or_else(|| {
            self.ledger.sources.push(Named::new(&source.name, source.kind.name()));
            self.ledger.sources.len() - 1
        });
        self.ledger.sources[row].kind = source.kind.name();
        let id = SourceId(u16::try_from(row).map_err(|_| {
            StartError::Config("there were 65536 sources since the start: more take a restart".into())
        })?);
        let gate = old.map(|old| Arc::clone(&old.gate)).unwrap_or_default();
        let pool = self.core.house.pools.of(self.config, source);
        let assigned = old.map(|old| Arc::clone(&old.assigned));
        let assigned = assigned.unwrap_or_else(|| Assigned::to(&pool.hallway));
        let rate = old.map(|old| Arc::clone(&old.rate)).unwrap_or_default();
        let ways = Ways { plan, gate, assigned, limits: self.core.limits(&rate) };
        let runs = old.map(|old| (old.running.clone(), old.submitter.clone()));
        let predecessor = old.and_then(|old| Leaving::of(old, &self.live.config));
        let stays = match old {
            Some(old) => self.goes_on(old, source) || self.prepare_source(source, id, &ways)?,
            None => false,
        };
        let waits = || {
            let namesake = |leaving: &Leaving| leaving.source.name == source.name;
            predecessor.is_some() || self.live.leaving.iter().any(namesake)
        };
        let (running, submitter) = match runs {
            Some(runs) if stays => runs,
            _ if waits() => {
                let what = "waits until what it took in before is delivered".into();
                self.leaving.extend(predecessor);
                self.view_source(row, SourceView { what, ..SourceView::new(&ways.gate) });
                (None, None)
            }
            _ => self.open_source(source, id, &ways)?,
        };
        let Ways { plan, gate, assigned, .. } = ways;
        self.sources.push(LiveSource {
            config: source.clone(),
            id,
            gate,
            rate,
            assigned,
            plan,
            running,
            submitter,
        });
        Ok(())
    }

    /// Whether the source, which is another now, can go on without ending first; then it is ready to.
    fn prepare_source(
        &mut self,
        source: &SourceConfig,
        id: SourceId,
        ways: &Ways,
    ) -> Result<bool, StartError> {
        let row = usize::from(id.0);
        let old = self.live.sources.iter().find(|old| old.config.name == source.name);
        let same_type = old.is_some_and(|old| old.config.kind.name() == source.kind.name());
        let running = old.and_then(|old| old.running.as_ref()).filter(|running| !running.seats.is_empty());
        let Some(seats) = running.filter(|_| same_type).map(|running| running.seats.clone()) else {
            return Ok(false);
        };
        let wanted = ways.wanted(self.config, source, id, &self.ledger.sources[row]);
        let Some(view) = self.core.prepare_source(&mut self.live.intake, wanted, &seats)? else {
            return Ok(false);
        };
        self.prepared.push(seats.start);
        self.view_source(row, view);
        Ok(true)
    }

    fn open_source(
        &mut self,
        source: &SourceConfig,
        id: SourceId,
        ways: &Ways,
    ) -> Result<(Option<Running>, Option<Submitter>), StartError> {
        let row = usize::from(id.0);
        let wanted = ways.wanted(self.config, source, id, &self.ledger.sources[row]);
        let (opened, came) = self.core.open_source(&mut self.live.intake, wanted);
        let (view, running) = (opened.view.clone(), Running::of(&opened));
        let submitter = opened.submitter.clone();
        // Kept in any case: what is open is to be taken back if this or anything after it fails.
        self.opened.push(opened);
        came?;
        self.view_source(row, view);
        Ok((Some(running), submitter))
    }

    /// Whether the source's producers can stay as they are.
    fn goes_on(&self, old: &LiveSource, new: &SourceConfig) -> bool {
        let (pipeline, rate_limit) = (new.pipeline.clone(), new.rate_limit.clone());
        SourceConfig { pipeline, rate_limit, ..old.config.clone() } == *new && !self.would_read_ours(new)
    }

    /// Whether a file sink that is new may write where this source reads.
    fn would_read_ours(&self, new: &SourceConfig) -> bool {
        let SourceKind::File(file) = &new.kind else { return false };
        let (before, now) = (overlap::written(&self.live.config), overlap::written(self.config));
        let new = |path: &&String| !before.contains(path);
        now.iter().filter(new).any(|path| file.include.iter().any(|glob| overlap::may_meet(glob, path)))
    }

    fn view_source(&mut self, row: usize, view: SourceView) {
        match self.view.sources.get_mut(row) {
            Some(place) => *place = view,
            None => {
                // Rows are made one after the other, and each is viewed before the next is made.
                self.view.sources.push(view);
            }
        }
    }

    fn spawn_helper(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let go = Arc::clone(&self.go);
        let body = Inside::until_the_end_of(&self.core.helpers, move |_| {
            if go.wait() {
                body();
            }
        });
        self.core.house.threads.spawn(name, &[], body).map(drop).map_err(thread_refused)
    }
}

pub(super) fn thread_refused(error: std::io::Error) -> StartError {
    StartError::start("cannot start a thread", error)
}

fn patience(sink: &SinkConfig) -> Patience {
    let RetryConfig { backoff, backoff_max, multiplier, jitter, max_retries, auth_grace } = sink.lane.retry;
    let retry = Retry { backoff, backoff_max, multiplier, jitter: jitter == Jitter::Full };
    Patience { retry, max_retries, auth_grace }
}
