//! From the config in force to another one: everything new is made ready first, then all of it takes its place at once.
//!
//! What can fail is done before anything changes: addresses are bound, destinations opened, threads started that only
//! wait. If any of it fails all of that is taken back and what ran before never noticed. The start is the same with
//! nothing before it.

use super::StartError;
use super::changes::Changes;
use super::disks::Counting;
use super::go::Go;
use super::inside::View;
use super::live::{Core, Leaving, Live, LiveSink, LiveSource};
use super::repeats::Repeats;
use super::sources::Opened;
use crate::config::{Config, Report};
use crate::lane::{Crew, Lane, Manner};
use crate::ledger::Ledger;
use crate::sinks::Sink;
use crate::sinks::config::SinkKind;
use crate::sources::config::SourceKind;
use crate::sources::inlet::DomainId;
use crate::worker::{Domain, Plan};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a sink that was removed and comes back may take to deliver what it has, before it is begun anew.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a reload did not happen. Everything is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The config is wrong.
    #[error("{0}")]
    Config(Box<Report>),
    /// These keys cannot change while the engine runs.
    #[error("these take a restart: {}", .0.join(", "))]
    TakesARestart(Vec<String>),
    /// The config is right but cannot be had here and now.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The engine is ending.
    #[error("it is stopping")]
    Stopping,
}

/// Everything another config needs, made ready.
pub(super) struct Stage<'a> {
    pub core: &'a Arc<Core>,
    pub live: &'a mut Live,
    pub config: &'a Arc<Config>,
    pub go: Arc<Go>,
    pub view: View,
    pub ledger: Ledger,
    pub sinks: Vec<LiveSink>,
    /// The lane for what steps give up.
    pub letters: Option<LiveSink>,
    /// The source of what `dedupe` counted.
    pub repeats: Option<Repeats>,
    /// Its domain, if it is new.
    pub made_repeats: Option<DomainId>,
    /// Lanes that get another crew, each with how it goes about things then and whether its sink is another.
    pub crews: Vec<(Arc<Lane>, Crew, Manner, bool)>,
    /// Lanes that are new.
    pub lanes: Vec<Arc<Lane>>,
    /// Sinks that are new.
    pub opened_sinks: Vec<Arc<dyn Sink>>,
    pub sources: Vec<LiveSource>,
    pub opened: Vec<Opened>,
    /// Members of the intake that are ready to go on under other settings.
    pub prepared: Vec<usize>,
    /// What ran for a source that is removed or replaced.
    pub leaving: Vec<Leaving>,
    /// What the blocks of sources that are leaving go through from now on.
    pub plans: Vec<(Arc<Domain>, Plan)>,
    /// What was found on disk, to be counted.
    pub found: Vec<Counting>,
    pub committed: bool,
}

impl Core {
    /// What `config` would change.
    pub fn changes(&self, config: &Config) -> Changes {
        let live = self.live.lock();
        let mut config = config.clone();
        keep_given(&live.config, &mut config);
        Changes::between(&live.config, &config)
    }

    /// Makes `config` the one in force, all of it or nothing.
    pub fn apply(self: &Arc<Self>, mut config: Config) -> Result<Changes, ReloadError> {
        let mut live = self.live.lock();
        let patience = Instant::now() + PATIENCE;
        let comes_back = |live: &Live| {
            let named = |old: &LiveSink| config.enabled_sinks().any(|sink| sink.name == old.config.name);
            live.retiring.iter().any(named)
        };
        while comes_back(&live) && !self.ended.wait_until(&mut live, patience).timed_out() {}
        let live = &mut *live;
        if live.ending {
            return Err(ReloadError::Stopping);
        }
        keep_given(&live.config, &mut config);
        let changes = Changes::between(&live.config, &config);
        if !changes.takes_a_restart.is_empty() {
            return Err(ReloadError::TakesARestart(changes.takes_a_restart));
        }
        // What `auto` came to at the start stays: it may come to something else on this host by now.
        let max_memory = config.quotas.max_memory.set().copied();
        config.decided = live.config.decided.again(&config.dispatcher);
        config.decided.max_memory = max_memory.unwrap_or(config.decided.max_memory);
        let config = Arc::new(config);
        if changes.is_empty() {
            return Ok(changes);
        }
        let view = View::clone(&self.house.view.load());
        let ledger = Ledger::clone(&live.ledger);
        let mut stage = Stage {
            core: self,
            live,
            config: &config,
            go: Arc::default(),
            view,
            ledger,
            sinks: Vec::new(),
            letters: None,
            repeats: None,
            made_repeats: None,
            crews: Vec::new(),
            lanes: Vec::new(),
            opened_sinks: Vec::new(),
            sources: Vec::new(),
            opened: Vec::new(),
            prepared: Vec::new(),
            leaving: Vec::new(),
            plans: Vec::new(),
            found: Vec::new(),
            committed: false,
        };
        stage.make_ready(&changes)?;
        stage.commit();
        Ok(changes)
    }
}

/// What the program brought itself stays, unless the config has something of that name.
fn keep_given(old: &Config, new: &mut Config) {
    for source in old.sources.iter().filter(|source| matches!(source.kind, SourceKind::Submit(_))) {
        if !new.sources.iter().any(|other| other.name == source.name) {
            new.sources.push(source.clone());
        }
    }
    for sink in old.sinks.iter().filter(|sink| matches!(sink.kind, SinkKind::Custom(_))) {
        if !new.sinks.iter().any(|other| other.name == sink.name) {
            new.sinks.push(sink.clone());
        }
    }
}
