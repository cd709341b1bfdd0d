//! The dead letters' desk: one thread that gives letters again, by itself or because somebody asked, and throws away what
//! is over.
//!
//! It is a source like others: what it gives goes through the ring in blocks of one entry, has its row in the ledger
//! (`dlq`), and a letter goes only when its block is settled. Letters that are refused once more are letters anew, on
//! disk before the old one goes.

pub mod ask;
mod door;
mod job;
mod lane;

pub use lane::{has_steps, wants_letters};

use super::inside::SourceView;
use super::live::{Core, Live};
use crate::config::Config;
use crate::delivery::dlq::edit::Edits;
use crate::delivery::dlq::filter::Filter;
use crate::delivery::dlq::numbers::{LettersStats, ReplayStats};
use crate::delivery::dlq::read::Pages;
use crate::delivery::dlq::store::{NAME, Store, unix_millis};
use crate::labels::SourceId;
use crate::ledger::{Named, SourceLedger};
use crate::sources::ending::Ending;
use crate::sources::inlet::Gate;
use crate::storage_io::Disk;
use crate::thread::{Bell, Doing, Latch, Row, Wake};
use job::Job;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How often it looks for what is over or due.
const PACE: Duration = Duration::from_secs(1);
/// Most letters of one sink that are tried again by themselves in [`PACE`], and are under way at a time: so much more than
/// it has to take anyway, and no more.
pub const RETRIES_AT_ONCE: usize = 50;
/// Most letters that a replay may have under way.
pub const AT_ONCE_MAX: usize = 1000;

/// What somebody wants to be given again.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// Which letters.
    filter: Filter,
    /// What to change of each: `KEY=VALUE`.
    set: Vec<String>,
    /// The pipeline they go through, instead of straight to the sink that refused them.
    pipeline: Option<String>,
    /// How many may be under way; 1 if absent. As many may be delivered twice if the process is killed.
    at_once: Option<usize>,
}

/// A replay that is to begin.
struct Order {
    id: u64,
    filter: Filter,
    edits: Edits,
    pipeline: Option<String>,
    at_once: usize,
}

/// Why a replay cannot begin.
pub enum Refused {
    /// The wish is wrong.
    Wrong(String),
    /// Not now.
    Busy(String),
}

/// The desk.
pub struct Desk {
    /// The letters.
    pub store: Arc<Store>,
    /// Closed by the lanes that a pipeline may lead to.
    pub gate: Arc<Gate>,
    /// How it ends.
    pub ending: Arc<Ending>,
    /// Left by its thread.
    pub done: Arc<Latch>,
    bell: Arc<Bell>,
    order: Mutex<Option<Order>>,
    replay: Mutex<Option<ReplayStats>>,
    core: OnceLock<Weak<Core>>,
}

impl Desk {
    /// A desk for the letters of `store`.
    pub fn new(store: Arc<Store>) -> Self {
        let (bell, ending) = (Arc::new(Bell::default()), Arc::new(Ending::default()));
        ending.join(Arc::clone(&bell) as Arc<dyn Wake>);
        Desk {
            store,
            gate: Arc::default(),
            ending,
            done: Arc::default(),
            bell,
            order: Mutex::default(),
            replay: Mutex::default(),
            core: OnceLock::new(),
        }
    }

    /// All numbers of the letters.
    pub fn stats(&self, now: Instant) -> LettersStats {
        LettersStats { replay: self.replay.lock().clone(), ..self.store.stats(now, unix_millis()) }
    }

    /// Begins a replay; gives its number.
    ///
    /// Errors: the wish is wrong, or another one is under way.
    pub fn ask(&self, wish: Wish) -> Result<u64, Refused> {
        let edits = Edits::parse(wish.set.iter().map(String::as_str)).map_err(Refused::Wrong)?;
        let at_once = wish.at_once.unwrap_or(1);
        if !(1..=AT_ONCE_MAX).contains(&at_once) {
            return Err(Refused::Wrong(format!("`at_once` is {at_once}: expected 1 to {AT_ONCE_MAX}")));
        }
        let core = self.core.get().and_then(Weak::upgrade);
        let core = core.ok_or_else(|| Refused::Busy("it is starting or stopping".into()))?;
        if let Some(name) = &wish.pipeline {
            let config: Arc<Config> = Arc::clone(&core.live.lock().config);
            if config.pipeline(name).is_none() {
                let names: Vec<_> = config.pipelines.iter().map(|one| one.name.as_str()).collect();
                let there = if names.is_empty() { "none".into() } else { names.join(", ") };
                return Err(Refused::Wrong(format!("there is no pipeline `{name}`; there are: {there}")));
            }
        }
        if self.ending.is_stopping() {
            return Err(Refused::Busy("it is stopping".into()));
        }
        let mut replay = self.replay.lock();
        let last = replay.as_ref().map_or(0, |last| last.id);
        if replay.as_ref().is_some_and(|last| !last.done) {
            return Err(Refused::Busy(format!("replay {last} is under way: try again when it is done")));
        }
        let id = last + 1;
        let Wish { filter, pipeline, .. } = wish;
        let letters = self.store.select(&filter).len() as u64;
        *replay = Some(ReplayStats { id, letters, ..ReplayStats::default() });
        *self.order.lock() = Some(Order { id, filter, edits, pipeline, at_once });
        drop(replay);
        self.bell.wake();
        Ok(id)
    }

    /// The last thing said to it: what is done leaves the disk.
    pub fn close(&self) {
        self.store.maintain(Instant::now(), unix_millis());
    }

    /// The loop of its thread.
    pub fn run(&self, core: &Arc<Core>, row: &Row) {
        // Set once, here.
        let _ = self.core.set(Arc::downgrade(core));
        let mut pages = Pages::new(Arc::new(Disk), self.store.dir().to_owned());
        let mut by_hand: Option<Job> = None;
        let mut by_itself: HashMap<Arc<str>, Job> = HashMap::new();
        let (mut due_at, mut shipped) = (Instant::now(), false);
        loop {
            row.set(Doing::Working);
            let stopping = self.ending.is_stopping();
            let now = Instant::now();
            if let Some(order) = self.order.lock().take() {
                let numbers = self.store.select(&order.filter);
                by_hand = Some(Job::by_hand(order, numbers));
            }
            if now >= due_at {
                due_at = now + PACE;
                self.store.maintain(now, unix_millis());
                if !stopping && self.store.config().auto_retry {
                    self.begin_retries(&mut by_itself);
                }
            }
            for job in by_hand.iter_mut().chain(by_itself.values_mut()) {
                job.hear(&self.store);
                if !stopping {
                    job.give(core, self, &mut pages);
                }
                if let Some(stats) = job.replay() {
                    *self.replay.lock() = Some(stats);
                }
            }
            let over = |job: &mut Job| {
                let over = job.is_over(stopping);
                if over {
                    job.leave(core);
                }
                over
            };
            if let Some(job) = by_hand.as_mut().filter(|job| job.is_over(stopping)) {
                let stats = job.end(&self.store);
                tracing::info!(
                    "dead letters: replay {} is over: {} of {} delivered, {} refused again, {} kept",
                    stats.id,
                    stats.delivered,
                    stats.letters,
                    stats.refused,
                    stats.kept
                );
                *self.replay.lock() = Some(stats);
                job.leave(core);
                by_hand = None;
            }
            by_itself.retain(|_, job| !over(job));
            if stopping && !shipped {
                shipped = true;
                self.ending.shipped_all();
            }
            if shipped && (self.ending.is_leaving() || (by_hand.is_none() && by_itself.is_empty())) {
                return;
            }
            row.set(Doing::Idle);
            self.bell.sleep(due_at);
        }
    }

    /// A job for each sink that has letters whose time to be tried again has come, and no job yet.
    fn begin_retries(&self, jobs: &mut HashMap<Arc<str>, Job>) {
        for (sink, numbers) in self.store.due(unix_millis(), RETRIES_AT_ONCE) {
            jobs.entry(sink).or_insert_with(|| Job::by_itself(numbers));
        }
    }
}

impl Core {
    /// The ledger's row of what the desk gives, made when it first gives something.
    fn letters_row(&self, live: &mut Live, desk: &Desk) -> (Named<SourceLedger>, SourceId) {
        let at = live.ledger.sources.iter().position(|row| *row.name == *NAME);
        let at = at.unwrap_or_else(|| {
            let mut ledger = crate::ledger::Ledger::clone(&live.ledger);
            ledger.sources.push(Named::new(NAME, NAME));
            live.ledger = Arc::new(ledger);
            let mut view = super::inside::View::clone(&self.house.view.load());
            view.ledger = Arc::clone(&live.ledger);
            let what = "gives dead letters again".into();
            view.sources.push(SourceView { what, ..SourceView::new(&desk.gate) });
            self.house.view.store(Arc::new(view));
            live.ledger.sources.len() - 1
        });
        (live.ledger.sources[at].clone(), SourceId(at as u16))
    }
}
