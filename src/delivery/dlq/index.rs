//! What is known of every letter without reading it, and the numbers that follow from it.

use super::filter::{Facts, Filter};
use super::letter::DeadLetter;
use crate::delivery::letters::LetterReason;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Most names of sinks, and of sources, that are told apart; those beyond are called [`OTHERS`].
pub const NAMES_MAX: usize = 1024;
/// What all further names are called.
pub const OTHERS: &str = "(others)";

/// One letter.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// How many records it has.
    pub records: u32,
    /// Bytes of its payloads.
    pub bytes: u32,
    /// How often it was given again.
    pub retries: u32,
    /// When it became one, in milliseconds since 1970-01-01 UTC.
    pub dead_ms: u64,
    /// When it is tried again by itself; 0: never.
    pub next_try_ms: u64,
    /// Why it is one.
    pub reason: LetterReason,
    /// It is given again now.
    pub out: bool,
    sink: u16,
    source: u16,
}

/// All letters, by number.
#[derive(Default)]
pub struct Index {
    rows: BTreeMap<u64, Row>,
    bytes: u64,
    names: Names,
}

#[derive(Default)]
struct Names {
    all: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u16>,
}

impl Names {
    fn of(&mut self, name: &str) -> u16 {
        let name =
            if self.by_name.contains_key(name) || self.all.len() < 2 * NAMES_MAX { name } else { OTHERS };
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let (name, at): (Arc<str>, _) = (name.into(), self.all.len() as u16);
        self.all.push(Arc::clone(&name));
        self.by_name.insert(name, at);
        at
    }
}

impl Index {
    /// Adds a letter that has `records` records with `bytes` of payload.
    pub fn add(&mut self, number: u64, records: u32, bytes: usize, letter: &DeadLetter) {
        let row = Row {
            records,
            bytes: bytes as u32,
            retries: letter.retries,
            dead_ms: letter.dead_ms,
            next_try_ms: letter.next_try_ms,
            reason: letter.reason,
            out: false,
            sink: self.names.of(&letter.sink),
            source: self.names.of(&letter.entry.source),
        };
        self.bytes += u64::from(row.bytes);
        self.rows.insert(number, row);
    }

    /// Takes a letter out.
    pub fn remove(&mut self, number: u64) -> Option<Row> {
        let row = self.rows.remove(&number)?;
        self.bytes -= u64::from(row.bytes);
        Some(row)
    }

    /// The letter of this number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Row> {
        self.rows.get_mut(&number)
    }

    /// Whether the record of this number belongs to a letter that is here.
    pub fn holds(&self, record: u64) -> bool {
        let before = self.rows.range(..=record).next_back();
        before.is_some_and(|(number, row)| record < number + u64::from(row.records))
    }

    /// All letters, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Row)> {
        self.rows.iter().map(|(number, row)| (*number, row))
    }

    /// The oldest that is not given again now.
    pub fn oldest(&self) -> Option<(u64, Row)> {
        self.rows.iter().find(|(_, row)| !row.out).map(|(number, row)| (*number, *row))
    }

    /// The sink of the row.
    pub fn sink(&self, row: &Row) -> Arc<str> {
        Arc::clone(&self.names.all[usize::from(row.sink)])
    }

    /// What is known of the row.
    pub fn facts(&self, row: &Row) -> Facts<'_> {
        Facts {
            sink: &self.names.all[usize::from(row.sink)],
            source: &self.names.all[usize::from(row.source)],
            reason: row.reason,
            dead_ms: row.dead_ms,
        }
    }

    /// The numbers of those that are meant, the oldest first; what is given again now is left out.
    pub fn select(&self, filter: &Filter) -> Vec<u64> {
        let meant = |(_, row): &(u64, &Row)| !row.out && filter.takes(self.facts(row));
        let all = self.iter().filter(meant).map(|(number, _)| number);
        all.take(filter.limit.unwrap_or(usize::MAX)).collect()
    }

    /// Those whose time to be tried again has come, by sink, at most `most` of each.
    pub fn due(&self, now_ms: u64, most: usize) -> HashMap<Arc<str>, Vec<u64>> {
        let mut due: HashMap<Arc<str>, Vec<u64>> = HashMap::new();
        let is_due = |row: &Row| !row.out && row.next_try_ms > 0 && row.next_try_ms <= now_ms;
        for (number, row) in self.iter().filter(|(_, row)| is_due(row)) {
            let of_sink = due.entry(self.sink(row)).or_default();
            if of_sink.len() < most {
                of_sink.push(number);
            }
        }
        due
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many letters there are.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of their payloads.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
