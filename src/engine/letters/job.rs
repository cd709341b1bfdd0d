//! Letters that are given again: which, how many at a time, and what became of them.

use super::door::{Door, Stopped, Way};
use super::{Desk, Order, RETRIES_AT_ONCE};
use crate::ack::Status;
use crate::delivery::dlq::edit::Edits;
use crate::delivery::dlq::letter::DeadLetter;
use crate::delivery::dlq::numbers::ReplayStats;
use crate::delivery::dlq::read::Pages;
use crate::delivery::dlq::store::{End, Store, unix_millis};
use crate::engine::live::Core;
use crate::labels::Again;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

/// One replay, or one turn of what is tried again by itself.
pub struct Job {
    numbers: VecDeque<u64>,
    edits: Edits,
    pipeline: Option<String>,
    at_once: usize,
    by_itself: bool,
    /// A letter that found no room yet.
    waiting: Option<(u64, DeadLetter)>,
    out: HashSet<u64>,
    /// By the name of the sink, or of the pipeline.
    doors: HashMap<String, Door>,
    stats: ReplayStats,
}

impl Job {
    /// A replay of these letters.
    pub(super) fn by_hand(order: Order, numbers: Vec<u64>) -> Self {
        let Order { id, edits, pipeline, at_once, .. } = order;
        let stats = ReplayStats { id, letters: numbers.len() as u64, ..ReplayStats::default() };
        Job { edits, pipeline, at_once, stats, by_itself: false, ..Job::by_itself(numbers) }
    }

    /// These letters of one sink, tried again by themselves.
    pub(super) fn by_itself(numbers: Vec<u64>) -> Self {
        Job {
            numbers: numbers.into(),
            edits: Edits::default(),
            pipeline: None,
            at_once: RETRIES_AT_ONCE,
            by_itself: true,
            waiting: None,
            out: HashSet::new(),
            doors: HashMap::new(),
            stats: ReplayStats::default(),
        }
    }

    /// Hears what became of letters that were given.
    pub(super) fn hear(&mut self, store: &Store) {
        let mut settled = Vec::new();
        for door in self.doors.values_mut() {
            while let Some((number, status)) = door.inlet.settled() {
                self.out.remove(&number);
                match status {
                    Status::Delivered | Status::Persisted => {
                        self.stats.delivered += 1;
                        settled.push(number);
                    }
                    // It is another letter now, and that is on disk.
                    Status::DeadLettered => {
                        self.stats.refused += 1;
                        settled.push(number);
                    }
                    Status::Dropped | Status::Failed => {
                        store.put_back(number, unix_millis());
                        self.stats.kept += 1;
                        self.stats.why = Some("it was lost on its way, and is still here".into());
                    }
                }
            }
        }
        if settled.is_empty() {
            return;
        }
        if let Err(error) = store.remove(&settled, End::Settled, Instant::now(), unix_millis()) {
            tracing::warn!(
                "dead letters: {} were given again and are not yet gone from disk, trying again: {error}",
                settled.len()
            );
        }
    }

    /// Gives as many as may be under way.
    pub(super) fn give(&mut self, core: &Core, desk: &Desk, pages: &mut Pages) {
        while self.out.len() < self.at_once {
            let Some((number, letter)) = self.waiting.take().or_else(|| self.next(desk, pages)) else {
                return;
            };
            if let Err(stopped) = self.ship(core, desk, number, &letter) {
                match stopped {
                    Stopped::Full => {
                        self.waiting = Some((number, letter));
                        return;
                    }
                    Stopped::Never(why) => self.keep(&desk.store, number, why),
                }
            }
        }
    }

    /// The next letter, changed as was asked for.
    fn next(&mut self, desk: &Desk, pages: &mut Pages) -> Option<(u64, DeadLetter)> {
        while let Some(number) = self.numbers.pop_front() {
            // Dropped at a limit since, or given again by itself.
            let Some(row) = desk.store.take(number, self.by_itself) else { continue };
            let read = match pages.letter(number, row.records) {
                Ok(Some(mut letter)) => {
                    letter.retries = row.retries;
                    let changed = match self.pipeline {
                        Some(_) => self.edits.apply_as_received(&mut letter.entry),
                        None => self.edits.apply(&mut letter.entry),
                    };
                    changed.map(|()| letter)
                }
                Ok(None) => Err("its record is damaged".into()),
                Err(error) => Err(format!("it cannot be read: {error}")),
            };
            match read {
                Ok(letter) => return Some((number, letter)),
                Err(why) => self.keep(&desk.store, number, why),
            }
        }
        None
    }

    fn ship(&mut self, core: &Core, desk: &Desk, number: u64, letter: &DeadLetter) -> Result<(), Stopped> {
        let name = self.pipeline.as_ref().unwrap_or(&letter.sink);
        if name.is_empty() {
            return Err(Stopped::Never("a step refused it, no sink: name a pipeline for it".into()));
        }
        if !self.doors.contains_key(name) {
            let way = if self.pipeline.is_some() { Way::Pipeline(name) } else { Way::Sink(name) };
            let door = Door::open(core, desk, way).map_err(Stopped::Never)?;
            self.doors.insert(name.clone(), door);
        }
        let Some(door) = self.doors.get_mut(name) else { return Err(Stopped::Full) };
        let again = Again { retries: letter.retries + 1, first_failed_ms: letter.first_failed_ms };
        door.ship(number, &letter.entry, again)?;
        self.out.insert(number);
        self.stats.given += 1;
        Ok(())
    }

    fn keep(&mut self, store: &Store, number: u64, why: String) {
        store.put_back(number, unix_millis());
        self.stats.kept += 1;
        self.stats.why = Some(why);
    }

    /// How it goes, if somebody asked for it.
    pub(super) fn replay(&self) -> Option<ReplayStats> {
        (!self.by_itself).then(|| self.stats.clone())
    }

    /// Whether nothing is left to do. `stopping`: nothing more is given.
    pub(super) fn is_over(&self, stopping: bool) -> bool {
        self.out.is_empty() && (stopping || (self.numbers.is_empty() && self.waiting.is_none()))
    }

    /// What it came to.
    pub(super) fn end(&mut self, store: &Store) -> ReplayStats {
        if let Some((number, _)) = self.waiting.take() {
            self.keep(store, number, "it was stopped".into());
        }
        self.stats.done = true;
        self.stats.clone()
    }

    /// Closes its doors.
    pub(super) fn leave(&mut self, core: &Core) {
        self.doors.drain().for_each(|(_, door)| door.close(core));
    }
}
