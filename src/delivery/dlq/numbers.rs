//! What `/stats`, `/metrics` and `/health` say of the dead letters.

use crate::delivery::letters::LetterReason;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a letter was dropped at a limit that is said in `/health`.
pub const ALARM: Duration = Duration::from_secs(3600);
/// Most pairs of sink and reason that are counted apart.
const TALLIES_MAX: usize = 512;

/// Why a letter was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Limit {
    /// There would have been more than `max_size`.
    MaxSize = 0,
    /// They would have taken more than `max_bytes` of disk.
    MaxBytes = 1,
    /// Their `retention_period` was over.
    Retention = 2,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 3] = [Limit::MaxSize, Limit::MaxBytes, Limit::Retention];

    /// The key of the config.
    pub fn name(self) -> &'static str {
        ["max_size", "max_bytes", "retention_period"][self as usize]
    }
}

/// Letters of one sink and one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// There are now.
    pub letters: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Came since the start.
    pub kept: u64,
    /// Went at a limit since the start, by [`Limit`].
    pub dropped: [u64; Limit::ALL.len()],
    /// Were given again by themselves.
    pub retried: u64,
    /// Were given again by hand.
    pub replayed: u64,
    /// Were given again, either way, and taken: they are letters no more.
    pub settled: u64,
    /// Were removed by hand.
    pub purged: u64,
}

/// All numbers.
#[derive(Debug, Default)]
pub struct Numbers {
    tallies: BTreeMap<(Arc<str>, LetterReason), Tally>,
    alarm: Option<(Instant, Limit, u64)>,
    /// Why letters cannot be kept now.
    pub trouble: Option<String>,
    /// When the oldest letter became one.
    pub oldest_ms: Option<u64>,
}

impl Numbers {
    /// The tally of this sink and reason.
    pub fn of(&mut self, sink: &Arc<str>, reason: LetterReason) -> &mut Tally {
        let key = (Arc::clone(sink), reason);
        let key = if self.tallies.len() < TALLIES_MAX || self.tallies.contains_key(&key) {
            key
        } else {
            (super::index::OTHERS.into(), reason)
        };
        self.tallies.entry(key).or_default()
    }

    /// One was dropped at a limit.
    pub fn dropped(&mut self, sink: &Arc<str>, reason: LetterReason, limit: Limit, now: Instant) {
        self.of(sink, reason).dropped[limit as usize] += 1;
        // Whose time is over goes as it was told to.
        if limit != Limit::Retention {
            let before = self.alarm.map_or(0, |(_, _, count)| count);
            self.alarm = Some((now, limit, before + 1));
        }
    }

    /// Everything counted, by sink and reason.
    pub fn tallies(&self) -> impl Iterator<Item = (&str, LetterReason, &Tally)> {
        self.tallies.iter().map(|((sink, reason), tally)| (&**sink, *reason, tally))
    }

    /// What was dropped at a limit not long before `now`, in words.
    pub fn alarm(&self, now: Instant) -> Option<String> {
        let (since, limit, count) =
            self.alarm.filter(|(at, ..)| now.saturating_duration_since(*at) < ALARM)?;
        let minutes = now.saturating_duration_since(since).as_secs() / 60;
        Some(format!(
            "{count} dead letters were dropped since the start, the last {minutes} min ago at `dlq.{}`",
            limit.name()
        ))
    }
}

/// The dead letters at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LettersStats {
    /// How many there are.
    pub letters: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of their files.
    pub disk_bytes: u64,
    /// Age of the oldest, in milliseconds.
    pub oldest_ms: u64,
    /// Records that could not be read any more.
    pub lost: u64,
    /// What was dropped at a limit lately, in words.
    pub alarm: Option<String>,
    /// Why letters cannot be kept now.
    pub trouble: Option<String>,
    /// By sink (empty: a step) and reason.
    pub by_reason: Vec<TallyStats>,
    /// What is given again by hand now, or was last.
    pub replay: Option<ReplayStats>,
}

/// Letters of one sink and one reason.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TallyStats {
    /// The sink that refused them; empty: a step.
    pub sink: String,
    /// Why.
    pub reason: &'static str,
    /// There are now.
    pub letters: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Came since the start.
    pub kept: u64,
    /// Went at a limit since the start.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Were given again by themselves.
    pub retried: u64,
    /// Were given again by hand.
    pub replayed: u64,
    /// Were given again and taken.
    pub settled: u64,
    /// Were removed by hand.
    pub purged: u64,
}

impl TallyStats {
    /// What the tally says.
    pub fn of(sink: &str, reason: LetterReason, tally: &Tally) -> Self {
        TallyStats {
            sink: sink.into(),
            reason: reason.name(),
            letters: tally.letters,
            bytes: tally.bytes,
            kept: tally.kept,
            dropped: Limit::ALL
                .into_iter()
                .map(|limit| (limit.name(), tally.dropped[limit as usize]))
                .collect(),
            retried: tally.retried,
            replayed: tally.replayed,
            settled: tally.settled,
            purged: tally.purged,
        }
    }
}

/// A replay by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayStats {
    /// Its number, from 1 since the start.
    pub id: u64,
    /// Whether it is over.
    pub done: bool,
    /// Letters that are meant.
    pub letters: u64,
    /// Given again so far.
    pub given: u64,
    /// Taken: letters no more.
    pub delivered: u64,
    /// Taken out by a step or not wanted by any sink, as the pipeline says: letters no more.
    pub filtered: u64,
    /// Refused once more: letters again.
    pub refused: u64,
    /// Could not be given, or nobody can say whether they were taken: they stay.
    pub kept: u64,
    /// Why the last of these could not.
    pub why: Option<String>,
}
