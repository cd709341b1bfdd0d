//! What the source shows of itself: its containers, and what ails it.

use super::container::{Container, Phase};
use super::discover::Discovery;
use super::reader::Number;
use crate::ledger::SourceLedger;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is brought up to date, at most.
const EVERY: Duration = Duration::from_millis(250);
/// Most containers shown.
pub const ROWS_MAX: usize = 100;

/// One container, as `/stats` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ContainerRow {
    /// Its name.
    pub name: String,
    /// What the engine calls it.
    pub id: String,
    /// The image it was made of.
    pub image: String,
    /// What is done about its log: `following`, `reading`, `waiting`, `resting`.
    pub state: &'static str,
    /// Why its log cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What a docker source shows.
#[derive(Clone, Debug, Default)]
pub struct Containers {
    /// Those that cannot be read first.
    pub rows: Vec<ContainerRow>,
    /// How many there are.
    pub total: usize,
    /// Why the source does not take in all it should.
    pub trouble: Option<String>,
}

/// Keeps it up to date.
#[derive(Default)]
pub(super) struct Report {
    pub(super) shown: Arc<Mutex<Containers>>,
    at: Option<Instant>,
    pending: bool,
    streams: u64,
    lag_millis: u64,
}

impl Report {
    pub(super) fn update(
        &mut self,
        now: Instant,
        containers: &BTreeMap<Number, Box<Container>>,
        discovery: &Discovery,
        short: usize,
    ) -> &Self {
        self.pending = self.at.is_some_and(|at| now < at + EVERY);
        if self.pending {
            return self;
        }
        self.at = Some(now);
        let oldest = containers.values().filter_map(|one| one.progress.oldest()).min();
        self.lag_millis = oldest.map_or(0, |at| now.duration_since(at).as_millis() as u64);
        self.streams = containers.values().filter(|one| one.is_open()).count() as u64;
        let refused: Vec<&Container> =
            containers.values().map(|one| &**one).filter(|one| one.trouble.is_some()).collect();
        let others = containers.values().map(|one| &**one).filter(|one| one.trouble.is_none());
        let rows = refused.iter().copied().chain(others).take(ROWS_MAX).map(row).collect();
        let trouble = match (discovery.trouble(), refused.first()) {
            (Some(why), _) => Some(format!("the engine cannot be asked: {why}")),
            (None, Some(one)) => {
                let (name, why) = (one.name(), one.trouble.as_deref().unwrap_or_default());
                let more = match refused.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                Some(format!("the log of container {name} cannot be read{more}: {why}"))
            }
            (None, None) => {
                (short > 0).then(|| format!("all `connections` are in use, containers that wait: {short}"))
            }
        };
        *self.shown.lock() = Containers { rows, total: containers.len(), trouble };
        self
    }

    pub(super) fn gauges(&self, ledger: &SourceLedger) {
        ledger.streams.set(self.streams);
        ledger.lag_millis.set(self.lag_millis);
    }

    /// When it wants to be called again, if what was changed lately is not shown yet.
    pub(super) fn due(&self) -> Option<Instant> {
        self.at.filter(|_| self.pending).map(|at| at + EVERY)
    }
}

fn row(container: &Container) -> ContainerRow {
    ContainerRow {
        name: container.name().to_owned(),
        id: container.listed.id.clone(),
        image: super::select::bounded(&container.listed.image).to_owned(),
        state: match container.phase {
            Phase::Following(_) => "following",
            Phase::Looking(_) => "reading",
            Phase::Due(_) | Phase::Asked | Phase::Waiting => "waiting",
            Phase::Resting => "resting",
        },
        trouble: container.trouble.clone(),
    }
}
