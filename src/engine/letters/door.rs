//! A way for letters back into the house: to one sink, or through one pipeline.

use super::Desk;
use crate::config::SourceConfig;
use crate::delivery::dlq::again;
use crate::delivery::dlq::letter::KeptEntry;
use crate::delivery::dlq::store::NAME;
use crate::engine::build;
use crate::engine::live::Core;
use crate::labels::{Again, SourceId};
use crate::lane::Lane;
use crate::route::Routes;
use crate::sources::config::SourceKind;
use crate::sources::inlet::{Assigned, DomainId, Inlet, InletSpec, Strategy};
use crate::sources::rate::Limits;
use crate::sources::submit::SubmitSourceConfig;
use crate::steps::pipeline::Pipeline;
use crate::thread::Wake;
use crate::worker::{Domain, Plan};
use std::sync::Arc;
use std::time::Instant;

/// Where letters go.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// Straight to this sink.
    Sink(&'a str),
    /// Through this pipeline, and then wherever it leads.
    Pipeline(&'a str),
}

/// An open way.
pub struct Door {
    /// What was shipped comes back with the letter's number.
    pub inlet: Inlet<u64>,
    domain: DomainId,
    source: SourceId,
    /// The one lane it leads to, if it is one.
    lane: Option<Arc<Lane>>,
}

/// Why an entry was not shipped.
pub enum Stopped {
    /// There is no room now.
    Full,
    /// It cannot be, in words.
    Never(String),
}

impl Door {
    /// Opens a way.
    ///
    /// Errors: there is no such sink or pipeline, in words.
    pub fn open(core: &Core, desk: &Desk, way: Way<'_>) -> Result<Door, String> {
        let mut live = core.live.lock();
        if live.ending {
            return Err("it is stopping".into());
        }
        let pools = &core.house.pools;
        let (plan, lane, pool) = match way {
            Way::Sink(name) => {
                let sink = live.sinks.iter().find(|sink| sink.config.name == name);
                let sink = sink.ok_or_else(|| format!("there is no sink `{name}` now"))?;
                let lane = Arc::clone(sink.entrance());
                let pipeline = Pipeline::compile(Vec::<crate::steps::pipeline::StepSpec>::new());
                let pipeline = pipeline.map_err(|error| error.to_string())?;
                (
                    Plan::new(pipeline, Routes::new(vec![None]), vec![Arc::clone(&lane)]),
                    Some(lane),
                    pools.general(),
                )
            }
            Way::Pipeline(name) => {
                let config = Arc::clone(&live.config);
                if config.pipeline(name).is_none() {
                    return Err(format!("there is no pipeline `{name}` now"));
                }
                let source = SourceConfig {
                    name: NAME.into(),
                    pipeline: Some(name.into()),
                    labels: Default::default(),
                    strategy: Strategy::Block,
                    rate_limit: None,
                    kind: SourceKind::Submit(SubmitSourceConfig {}),
                };
                let sinks: Vec<_> = config.enabled_sinks().collect();
                let lanes: Vec<_> = live.sinks.iter().map(|sink| Arc::clone(sink.entrance())).collect();
                let letters = live.letters.as_ref().map(|letters| &letters.lane);
                let plan = build::plan(&config, &source, &sinks, &lanes, letters, &core.ordered);
                (plan.map_err(|error| error.to_string())?, None, pools.of(&config, &source))
            }
        };
        let (named, source) = core.letters_row(&mut live, desk);
        let domain = Domain::new(named.clone(), build::window(&live.config), Arc::new(plan));
        let drained = Arc::clone(&domain.drained);
        let domain = core.house.domains.add(domain);
        let spec = InletSpec {
            domain,
            source: named,
            strategy: Strategy::Block,
            // One full lane does not keep letters from another.
            gate: if lane.is_some() { Arc::default() } else { Arc::clone(&desk.gate) },
            assigned: Assigned::to(&pool.hallway),
            drained,
            // They were admitted once.
            limits: Limits::default(),
        };
        let inlet = Inlet::new(spec, Arc::clone(&desk.bell) as Arc<dyn Wake>);
        Ok(Door { inlet, domain, source, lane })
    }

    /// Ships the entry of the letter `number`.
    ///
    /// Errors: there is no room now (then the desk is woken, or looks again soon), or there never will be.
    pub fn ship(&mut self, number: u64, entry: &KeptEntry, again: Again) -> Result<(), Stopped> {
        let is_full = |lane: &Arc<Lane>| lane.view(Instant::now()).gates_closed;
        if self.lane.as_ref().is_some_and(is_full) || !self.inlet.may_read() {
            return Err(Stopped::Full);
        }
        let mut block = self.inlet.open(again::room_for(entry)).ok_or(Stopped::Full)?;
        again::put(entry, again, self.source, SourceKind::TYPES, &mut block).map_err(Stopped::Never)?;
        self.inlet.ship(block, number).map_err(|_| Stopped::Full)
    }

    /// Closes it; everything that was shipped is settled, or nobody waits for it.
    pub fn close(self, core: &Core) {
        let Door { inlet, domain, .. } = self;
        if inlet.is_idle() {
            // For one thread at a time: whoever changes what runs holds this.
            let _live = core.live.lock();
            core.house.domains.remove(domain);
        }
    }
}
