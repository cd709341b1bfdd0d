//! What makes room: the oldest letters go at the limits of the config.

use super::inner::Inner;
use super::{JUMP, RETENTION_PASS, Store, forget, spec};
use crate::delivery::dlq::numbers::Limit;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

impl Store {
    /// Drops as many of the oldest letters as a segment may hold, so that the oldest segment can go.
    pub(super) fn make_room(&self, inner: &mut Inner, now: Instant, now_ms: u64) -> io::Result<()> {
        inner.sync(now_ms)?;
        inner.catch_up(&self.shared);
        let segment = self.segment();
        let (mut freed, mut dropped) = (0, 0);
        while freed < segment
            && let Some((number, row)) = inner.index.oldest()
        {
            self.drop_at(inner, number, Limit::MaxBytes, now);
            (freed, dropped) = (freed + u64::from(row.bytes), dropped + 1);
        }
        if dropped > 0 {
            tracing::error!("dead letters: the {dropped} oldest dropped at `dlq.max_bytes`");
        }
        self.shared.persist()
    }

    /// Drops the oldest beyond `max_size`.
    pub(super) fn limit_size(&self, inner: &mut Inner, now: Instant) {
        let mut dropped = 0;
        while inner.index.len() > self.config.max_size
            && let Some((number, _)) = inner.index.oldest()
        {
            self.drop_at(inner, number, Limit::MaxSize, now);
            dropped += 1;
        }
        if dropped > 0 {
            tracing::error!("dead letters: the {dropped} oldest dropped at `dlq.max_size`");
        }
    }

    /// Drops those whose time is over; after a jump of the clock no more than a segment holds, each [`RETENTION_PASS`].
    pub(super) fn retain(&self, inner: &mut Inner, now: Instant, now_ms: u64) {
        let (then, then_ms) = std::mem::replace(&mut inner.looked, (now, now_ms));
        let went = now.saturating_duration_since(then).as_millis() as u64;
        if now_ms.abs_diff(then_ms.saturating_add(went)) > JUMP.as_millis() as u64 && !inner.jumped {
            tracing::warn!("dead letters: the clock jumped; what is old by it goes slowly");
            inner.jumped = true;
            inner.retained_at = now;
        } else if inner.jumped && now.saturating_duration_since(inner.retained_at) < self.pass() {
            return;
        }
        let most = match inner.jumped {
            true => self.segment(),
            false => u64::MAX,
        };
        inner.retained_at = now;
        let period = self.config.retention_period.as_millis() as u64;
        let (mut freed, mut dropped) = (0, 0);
        loop {
            let over = inner.index.oldest().filter(|(_, row)| row.dead_ms.saturating_add(period) <= now_ms);
            let Some((number, row)) = over else {
                inner.jumped = false;
                break;
            };
            if freed >= most {
                break;
            }
            self.drop_at(inner, number, Limit::Retention, now);
            (freed, dropped) = (freed + u64::from(row.bytes), dropped + 1);
        }
        if dropped > 0 {
            tracing::warn!("dead letters: {dropped} dropped, their `dlq.retention_period` is over");
        }
    }

    /// Bytes that one segment holds.
    fn segment(&self) -> u64 {
        spec(PathBuf::new(), &self.config).segment_size
    }

    /// How often letters are looked through when none comes.
    pub(super) fn pass(&self) -> Duration {
        RETENTION_PASS.min(self.config.retention_period)
    }

    pub(super) fn drop_at(&self, inner: &mut Inner, number: u64, limit: Limit, now: Instant) {
        let Some((sink, row)) = inner.take_out(number, &self.shared) else { return };
        if inner.index.iter().next().is_some_and(|(first, _)| first < number) {
            // One before it is given again now: the buffer cannot say by itself that this one is gone.
            inner.gone.push(number);
        }
        let mut numbers = self.numbers.lock();
        numbers.dropped(&sink, row.reason, limit, now);
        forget(numbers.of(&sink, row.reason), &row);
    }
}
