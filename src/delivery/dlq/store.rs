//! The letters of a running instance: kept, removed, and thrown away at their limits.

mod inner;
mod limits;

use super::config::DlqConfig;
use super::filter::Filter;
use super::index::{Index, Row};
use super::letter::DeadLetter;
use super::numbers::{LettersStats, Limit, Numbers, TallyStats};
use super::pieces;
use crate::buffer::{AppendError, Buffer, BufferSpec, Content, Full, NewRecord, OpenError, Opened};
use crate::delivery::letters::{DeadLetters, Letter, LetterReason};
use crate::storage_io::StorageIo;
use inner::Inner;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the lane, and of the source, that belong to the dead letters themselves. No sink or source of a config may
/// have it.
pub const NAME: &str = "dlq";
/// How often letters are looked through for those whose time is over, when none comes; more often if that is shorter.
pub const RETENTION_PASS: Duration = Duration::from_secs(60);
/// A wall clock that moved by so much more or less than time went by is not believed at once.
const JUMP: Duration = Duration::from_secs(3600);
/// Bytes of a segment, at most: letters are few, and go by the segment.
const SEGMENT_MAX: u64 = 4 << 20;
/// Most numbers in one record of letters that are gone.
const GONE_MAX: usize = 4096;

/// The dead letters below a data directory.
pub fn dir_of(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// The buffer for letters of this config.
fn spec(dir: PathBuf, config: &DlqConfig) -> BufferSpec {
    let usual = BufferSpec::new(dir, config.max_bytes as u64);
    BufferSpec { content: Content::Letters, segment_size: usual.segment_size.min(SEGMENT_MAX), ..usual }
}

/// How a letter came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was given again and taken, or is another letter now.
    Settled,
    /// Somebody removed it.
    Purged,
}

/// The letters.
pub struct Store {
    inner: Mutex<Inner>,
    shared: Arc<Buffer>,
    numbers: Mutex<Numbers>,
    config: DlqConfig,
    dir: PathBuf,
}

impl Store {
    /// Opens the letters in `dir`, and looks through all of them.
    ///
    /// Errors: see [`Buffer::open`].
    pub fn open(
        io: Arc<dyn StorageIo>,
        dir: PathBuf,
        config: DlqConfig,
        now: Instant,
        now_ms: u64,
    ) -> Result<Self, OpenError> {
        let Opened { writer, reader, shared, .. } = Buffer::open(io, spec(dir.clone(), &config), now_ms)?;
        let mut inner = Inner {
            writer,
            reader,
            index: Index::default(),
            read_to: 0,
            hold: None,
            gone: Vec::new(),
            looked: (now, now_ms),
            jumped: false,
            retained_at: now,
            spare: Vec::new(),
        };
        let failed = |error| OpenError::Io(dir.clone(), error);
        inner.load(&shared).map_err(failed)?;
        let mut numbers = Numbers::default();
        // One row from the beginning, so that rates have where to start from.
        numbers.of(&"".into(), LetterReason::StepFailed);
        for (_, row) in inner.index.iter() {
            let tally = numbers.of(&inner.index.sink(row), row.reason);
            (tally.letters, tally.bytes) = (tally.letters + 1, tally.bytes + u64::from(row.bytes));
        }
        let store = Store { inner: Mutex::new(inner), shared, numbers: Mutex::new(numbers), config, dir };
        let mut inner = store.inner.lock();
        store.limit_size(&mut inner, now);
        store.note_oldest(&inner);
        drop(inner);
        Ok(store)
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the config says.
    pub fn config(&self) -> &DlqConfig {
        &self.config
    }

    /// As [`DeadLetters::keep`], at this time.
    pub fn keep_at(&self, letters: &[Letter<'_>], now: Instant, now_ms: u64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        self.retain(&mut inner, now, now_ms);
        let kept = self.write(&mut inner, letters, now, now_ms);
        self.numbers.lock().trouble = kept.as_ref().err().map(|error| format!("letters wait: {error}"));
        self.limit_size(&mut inner, now);
        self.note_oldest(&inner);
        kept
    }

    fn write(&self, inner: &mut Inner, letters: &[Letter<'_>], now: Instant, now_ms: u64) -> io::Result<()> {
        if inner.writer.pending() > 0 {
            // Left from an attempt that failed: nothing is put on top of it while it does.
            inner.sync(now_ms)?;
            inner.catch_up(&self.shared);
        }
        let mut new = Vec::with_capacity(letters.len());
        let mut written = Vec::new();
        let most = inner.writer.payload_max();
        for letter in letters {
            let mut letter = DeadLetter::of(letter, now_ms);
            // What a step gave up came by the lane of that, which is no sink.
            if letter.sink == NAME {
                letter.sink.clear();
            }
            letter.next_try_ms = self.next_try(&letter, now_ms);
            let mut bytes = Vec::new();
            letter.encode(&mut bytes);
            if bytes.len() > self.config.max_bytes / 4 {
                tracing::error!("dead letters: one of {} bytes is dropped: too large", bytes.len());
                let (mut numbers, sink) = (self.numbers.lock(), letter.sink.as_str().into());
                numbers.of(&sink, letter.reason).kept += 1;
                numbers.dropped(&sink, letter.reason, Limit::MaxBytes, now);
                continue;
            }
            let first = written.len();
            let appended = pieces::cut(&bytes, most, |piece| {
                written.push(self.append(inner, piece, now, now_ms)?);
                inner.hold = written.first().copied();
                Ok(())
            });
            if let Err(error) = appended {
                return Err(inner.take_back(&written, error));
            }
            new.push((written[first], (written.len() - first) as u32, bytes.len(), letter));
        }
        if let Err(error) = inner.sync(now_ms) {
            return Err(inner.take_back(&written, error));
        }
        inner.hold = None;
        let mut numbers = self.numbers.lock();
        for (number, records, bytes, letter) in new {
            inner.index.add(number, records, bytes, &letter);
            let tally = numbers.of(&letter.sink.as_str().into(), letter.reason);
            tally.kept += 1;
            (tally.letters, tally.bytes) = (tally.letters + 1, tally.bytes + bytes as u64);
        }
        drop(numbers);
        inner.catch_up(&self.shared);
        Ok(())
    }

    fn next_try(&self, letter: &DeadLetter, now_ms: u64) -> u64 {
        let DlqConfig { auto_retry, max_auto_retries, retry_interval, .. } = self.config;
        let again = auto_retry && letter.reason.may_pass() && (letter.retries as usize) < max_auto_retries;
        if again { now_ms + retry_interval.as_millis() as u64 } else { 0 }
    }

    /// Appends a record; where the letters' own limit is in the way, the oldest of them go.
    fn append(&self, inner: &mut Inner, payload: &[u8], now: Instant, now_ms: u64) -> io::Result<u64> {
        let mut tried = 0;
        loop {
            match inner.writer.append(NewRecord { payload, entries: 1, time_ms: now_ms }) {
                Ok(number) => return Ok(number),
                Err(AppendError::Full(Full::MaxSize)) if tried < 3 => {
                    tried += 1;
                    self.make_room(inner, now, now_ms)?;
                }
                Err(AppendError::Full(Full::MaxSize)) => {
                    return Err(io::Error::new(ErrorKind::StorageFull, "`dlq.max_bytes` is reached"));
                }
                Err(AppendError::Full(Full::Disk)) => {
                    return Err(io::Error::new(ErrorKind::StorageFull, "the disk is full"));
                }
                Err(AppendError::Io(error)) => return Err(error),
                Err(AppendError::Refused) => {
                    return Err(io::Error::new(ErrorKind::InvalidInput, "a record of a size that cannot be"));
                }
            }
        }
    }

    /// What is due about once a second: those whose time is over go, and what is done leaves the disk.
    pub fn maintain(&self, now: Instant, now_ms: u64) {
        let mut inner = self.inner.lock();
        if now.saturating_duration_since(inner.retained_at) >= self.pass() {
            self.retain(&mut inner, now, now_ms);
        }
        if !inner.gone.is_empty() {
            // What cannot be said now is said later.
            let said = self.say_gone(&mut inner, now, now_ms);
            if let Err(error) = said {
                tracing::warn!("dead letters: what is gone is not yet so on disk: {error}");
            }
        }
        inner.catch_up(&self.shared);
        self.note_oldest(&inner);
        drop(inner);
        if let Err(error) = self.shared.persist() {
            tracing::warn!("dead letters: their state is not written, trying again: {error}");
        }
    }

    /// Removes letters for good; when this returns that is on disk. Gives how many were there.
    ///
    /// Errors: it is not on disk yet. They are gone for this process all the same, and said to be so later.
    pub fn remove(&self, numbers: &[u64], end: End, now: Instant, now_ms: u64) -> io::Result<usize> {
        let mut inner = self.inner.lock();
        let mut removed = 0;
        for number in numbers {
            let Some((sink, row)) = inner.take_out(*number, &self.shared) else { continue };
            removed += 1;
            inner.gone.push(*number);
            let mut numbers = self.numbers.lock();
            let tally = numbers.of(&sink, row.reason);
            forget(tally, &row);
            match end {
                End::Settled => tally.settled += 1,
                End::Purged => tally.purged += 1,
            }
        }
        self.note_oldest(&inner);
        if removed > 0 {
            self.say_gone(&mut inner, now, now_ms)?;
        }
        Ok(removed)
    }

    /// Removes those that are meant. Gives how many.
    ///
    /// Errors: as [`Store::remove`].
    pub fn purge(&self, filter: &Filter, now: Instant, now_ms: u64) -> io::Result<usize> {
        let meant = self.inner.lock().index.select(filter);
        self.remove(&meant, End::Purged, now, now_ms)
    }

    fn note_oldest(&self, inner: &Inner) {
        let oldest = inner.index.iter().next();
        self.numbers.lock().oldest_ms = oldest.map(|(_, row)| row.dead_ms);
    }

    fn say_gone(&self, inner: &mut Inner, now: Instant, now_ms: u64) -> io::Result<()> {
        let gone = std::mem::take(&mut inner.gone);
        for (at, numbers) in gone.chunks(GONE_MAX).enumerate() {
            if let Err(error) = self.append(inner, &pieces::gone(numbers), now, now_ms) {
                inner.gone.extend_from_slice(&gone[at * GONE_MAX..]);
                return Err(error);
            }
        }
        inner.sync(now_ms)?;
        inner.catch_up(&self.shared);
        Ok(())
    }

    /// The numbers of those that are meant, the oldest first.
    pub fn select(&self, filter: &Filter) -> Vec<u64> {
        self.inner.lock().index.select(filter)
    }

    /// Those whose time to be tried again has come, by sink, at most `most` of each.
    pub fn due(&self, now_ms: u64, most: usize) -> HashMap<Arc<str>, Vec<u64>> {
        self.inner.lock().index.due(now_ms, most)
    }

    /// Says that a letter is given again now, by itself or by hand. What is known of it, unless it is gone or out already.
    pub fn take(&self, number: u64, by_itself: bool) -> Option<Row> {
        let mut inner = self.inner.lock();
        let row = inner.index.get_mut(number).filter(|row| !row.out)?;
        row.out = true;
        let row = *row;
        let sink = inner.index.sink(&row);
        let mut numbers = self.numbers.lock();
        let tally = numbers.of(&sink, row.reason);
        if by_itself {
            tally.retried += 1;
        } else {
            tally.replayed += 1;
        }
        Some(row)
    }

    /// Says that a letter that was given again stays one. If it is tried by itself, then not before the next interval.
    pub fn put_back(&self, number: u64, now_ms: u64) {
        if let Some(row) = self.inner.lock().index.get_mut(number) {
            row.out = false;
            if row.next_try_ms > 0 {
                row.next_try_ms = now_ms + self.config.retry_interval.as_millis() as u64;
            }
        }
    }

    /// All numbers.
    pub fn stats(&self, now: Instant, now_ms: u64) -> LettersStats {
        let view = self.shared.view();
        let numbers = self.numbers.lock();
        let by_reason: Vec<_> =
            numbers.tallies().map(|(sink, reason, tally)| TallyStats::of(sink, reason, tally)).collect();
        LettersStats {
            letters: by_reason.iter().map(|row| row.letters).sum(),
            bytes: by_reason.iter().map(|row| row.bytes).sum(),
            disk_bytes: view.bytes,
            oldest_ms: numbers.oldest_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest)),
            lost: view.lost_entries,
            alarm: numbers.alarm(now),
            trouble: numbers.trouble.clone().or(view.degraded),
            by_reason,
            replay: None,
        }
    }
}

fn forget(tally: &mut super::numbers::Tally, row: &Row) {
    tally.letters = tally.letters.saturating_sub(1);
    tally.bytes = tally.bytes.saturating_sub(row.bytes.into());
}

impl DeadLetters for Store {
    fn keep(&self, letters: &[Letter<'_>]) -> io::Result<()> {
        self.keep_at(letters, Instant::now(), unix_millis())
    }
}

/// The wall clock now, in milliseconds since 1970-01-01 UTC.
pub fn unix_millis() -> u64 {
    (crate::clock::unix_nanos() / 1_000_000).unsigned_abs()
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;
