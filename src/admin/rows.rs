//! The rows of a snapshot: one per way in and one per way out.

use super::history::RequestStats;
use crate::buffer::BufferView;
use crate::delivery::breaker::BreakerState;
use crate::delivery::circuit::CircuitView;
use crate::ledger::{Dropped, HttpLedger, Named, Reason, SinkLedger, SourceLedger};
use crate::sources::docker::{ContainerRow, Containers};
use crate::steps::counts::StepView;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most files shown per source; [`SourceStats::files_total`] says how many there are.
pub const FILES_SHOWN: usize = 100;

/// Dropped entries by reason.
pub type DroppedStats = BTreeMap<&'static str, u64>;

fn dropped(dropped: &Dropped) -> DroppedStats {
    Reason::ALL.into_iter().map(|reason| (reason.name(), dropped.get(reason))).collect()
}

fn answered(http: &HttpLedger) -> BTreeMap<u16, u64> {
    http.answered
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| (status.code(), count))
        .collect()
}

/// One way in.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SourceStats {
    /// Its name in the config.
    pub name: String,
    /// Its type, such as `file`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Entries admitted.
    pub received: u64,
    /// Bytes of their text.
    pub received_bytes: u64,
    /// Entries a step took out.
    pub filtered: u64,
    /// Entries dropped before they had a lane, by reason.
    pub dropped: DroppedStats,
    /// Entries that went to at least one lane.
    pub routed: u64,
    /// Entries that no sink wanted.
    pub unrouted: u64,
    /// Entries between admission and lane.
    pub in_transit: u64,
    /// Copies beyond the first that routed entries made.
    pub fan_out_extra: u64,
    /// Entries that left the pipeline, filtered ones too.
    pub processed: u64,
    /// Entries a step could not work on; they went on as they were.
    pub step_errors: u64,
    /// Entries cut at the longest line or message.
    pub cut: u64,
    /// Blocks given again after a failure.
    pub replayed_blocks: u64,
    /// What the kernel threw away before we saw it (UDP); not in `received`.
    pub kernel_drops: u64,
    /// Bytes known to be waiting outside.
    pub lag_bytes: u64,
    /// Age of the oldest of them in milliseconds.
    pub lag_ms: u64,
    /// By how much `lag_bytes` grew in the last half minute.
    pub lag_growth_bytes: u64,
    /// Streams open: files, connections.
    pub streams: u64,
    /// Files that left their path while they were followed: renamed or deleted.
    pub files_rotated: u64,
    /// Files that were cut or written anew in place.
    pub files_truncated: u64,
    /// Files that could not be read to their end.
    pub files_vanished: u64,
    /// Connections refused at a limit.
    pub refused_connections: u64,
    /// Connections closed as they could not be understood.
    pub broken_connections: u64,
    /// Times it found no room and had to stop or drop.
    pub blocked: u64,
    /// Times it had to wait for its rate.
    pub paced: u64,
    /// Label values with a rate limit of their own.
    pub rate_limit_keys: u64,
    /// A reload took it out of the config; its numbers stay, so that the sums hold.
    pub removed: bool,
    /// The steps its entries go through, in order.
    pub steps: Vec<StepStats>,
    /// Requests answered, by status; only those that were.
    pub requests: BTreeMap<u16, u64>,
    /// Bytes of requests' bodies, as they were sent.
    pub request_bytes: u64,
    /// Entries of requests that were refused, each told to its sender; not in `received`.
    pub refused_entries: u64,
    /// Its lanes let it read.
    pub gate_open: bool,
    /// Where it listens.
    pub listening: Vec<String>,
    /// Files it follows, at most [`FILES_SHOWN`] of them.
    pub files: Vec<FileStats>,
    /// How many files it follows.
    pub files_total: usize,
    /// Containers it reads, some of them; those first that cannot be read.
    pub containers: Vec<ContainerRow>,
    /// How many containers it reads.
    pub containers_total: usize,
    /// Why it does not take in all it should.
    pub unwell: Option<String>,
}

impl SourceStats {
    /// What the row says.
    pub fn of(named: &Named<SourceLedger>) -> Self {
        let row = &named.row;
        SourceStats {
            name: named.name.to_string(),
            kind: named.kind,
            // Before the rest: what left it meanwhile is counted there already.
            in_transit: row.in_transit.get(),
            received: row.received.get(),
            received_bytes: row.received_bytes.get(),
            filtered: row.filtered.get(),
            dropped: dropped(&row.dropped),
            routed: row.routed.get(),
            unrouted: row.unrouted.get(),
            fan_out_extra: row.fan_out_extra.get(),
            processed: row.processed.get(),
            step_errors: row.step_errors.get(),
            cut: row.cut.get(),
            replayed_blocks: row.replayed_blocks.get(),
            kernel_drops: row.kernel_drops.get(),
            lag_bytes: row.lag_bytes.get(),
            lag_ms: row.lag_millis.get(),
            streams: row.streams.get(),
            files_rotated: row.files_rotated.get(),
            files_truncated: row.files_truncated.get(),
            files_vanished: row.files_vanished.get(),
            refused_connections: row.refused_connections.get(),
            broken_connections: row.broken_connections.get(),
            blocked: row.blocked.get(),
            paced: row.paced.get(),
            rate_limit_keys: row.rate_limit_keys.get(),
            requests: answered(&row.http),
            request_bytes: row.http.body_bytes.get(),
            refused_entries: row.http.refused_entries.get(),
            gate_open: true,
            ..SourceStats::default()
        }
    }

    /// Shows the first [`FILES_SHOWN`] of `files`, and how many there are.
    pub fn show_files(&mut self, files: impl IntoIterator<Item = FileStats>) {
        let mut files = files.into_iter();
        self.files = files.by_ref().take(FILES_SHOWN).collect();
        self.files_total = self.files.len() + files.count();
    }

    /// Takes what a source shows of its containers.
    pub fn show_containers(&mut self, shown: &Containers) {
        (self.containers, self.containers_total) = (shown.rows.clone(), shown.total);
        self.unwell = shown.trouble.clone();
    }
}

/// One step, as the entries of one source went through it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StepStats {
    /// Its place in the pipeline, from 1; 0 for the one a source begins with by itself.
    pub step: usize,
    /// Its verb, such as `parse`.
    pub verb: &'static str,
    /// Entries that came to it.
    pub entries: u64,
    /// Entries it could not work on.
    pub errors: u64,
    /// Entries it took out.
    pub discarded: u64,
    /// The time it took in all.
    pub seconds: f64,
    /// Why it failed last.
    pub last_error: Option<String>,
}

impl StepStats {
    /// What the step says.
    pub fn of(view: StepView) -> Self {
        StepStats {
            step: view.number,
            verb: view.verb,
            entries: view.entries,
            errors: view.errors,
            discarded: view.discarded,
            seconds: view.time.as_secs_f64(),
            last_error: view.last_error,
        }
    }
}

/// One file that is followed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FileStats {
    /// Its path.
    pub path: String,
    /// How far its entries are safe, in bytes.
    pub safe_to: u64,
    /// Its length, in bytes.
    pub len: u64,
}

/// One way out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SinkStats {
    /// Its name in the config.
    pub name: String,
    /// Its type, such as `console`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Copies that came to the lane.
    pub copies: u64,
    /// Copies the sink took.
    pub delivered: u64,
    /// Bytes of their text.
    pub delivered_bytes: u64,
    /// Copies on disk in the sink's buffer, and not on their way from there.
    pub persisted: u64,
    /// Copies that were put there.
    pub stored: u64,
    /// Copies among the dead letters.
    pub dead_lettered: u64,
    /// Copies dropped, by reason.
    pub dropped: DroppedStats,
    /// Copies in the lane or being sent.
    pub in_flight: u64,
    /// Bytes of memory the lane holds on to.
    pub pinned_bytes: u64,
    /// Attempts beyond a batch's first.
    pub retries: u64,
    /// Batches settled.
    pub batches: u64,
    /// Batches being sent.
    pub batches_out: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Requests that looked for what was wrong with a batch.
    pub bisect_requests: u64,
    /// Of the delivered copies those that the sink's fallback took.
    pub fallback: u64,
    /// Its breaker.
    pub breaker: BreakerStats,
    /// How long it has not let us in, in milliseconds.
    pub denied_ms: u64,
    /// Since when, in seconds since 1970-01-01 UTC; 0: it lets us in.
    pub denied_since: u64,
    /// A reload took it out of the config; what its lane held is delivered, or dropped when its time is over.
    pub removed: bool,
    /// Copies that went where all go whose own file or Loki stream would have been one too many.
    pub overflowed: u64,
    /// Entries that may have been written twice, as a failed attempt could not be undone.
    pub duplicated: u64,
    /// What is in front of it.
    pub lane: LaneStats,
    /// Its buffer on disk, if it has one.
    pub buffer: Option<BufferStats>,
    /// How it takes what it is given.
    pub state: SinkState,
    /// The attempt under way at its oldest unsettled batch: 1 is the first; 0 when nothing is being sent.
    pub attempt: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// What the sink says of itself, if that is not good.
    pub unwell: Option<String>,
    /// The last requests, the oldest first.
    pub history: Vec<RequestStats>,
}

impl SinkStats {
    /// What the row says.
    pub fn of(named: &Named<SinkLedger>) -> Self {
        let row = &named.row;
        SinkStats {
            name: named.name.to_string(),
            kind: named.kind,
            // As `in_transit` of a source.
            in_flight: row.in_flight.get(),
            copies: row.copies.get(),
            delivered: row.delivered.get(),
            delivered_bytes: row.delivered_bytes.get(),
            persisted: row.persisted.get(),
            stored: row.stored.get(),
            dead_lettered: row.dead_lettered.get(),
            dropped: dropped(&row.dropped),
            pinned_bytes: row.pinned_bytes.get(),
            retries: row.retries.get(),
            batches: row.batches.get(),
            batches_out: row.batches_out.get(),
            errors: row.errors.get(),
            bisect_requests: row.bisect_requests.get(),
            fallback: row.fallback.get(),
            breaker: BreakerStats {
                changes: BreakerState::ALL
                    .map(|to| (to.name(), row.breaker_changes[to as usize].get()))
                    .into(),
                ..BreakerStats::default()
            },
            denied_since: row.denied_since.get(),
            overflowed: row.overflowed.get(),
            duplicated: row.duplicated.get(),
            ..SinkStats::default()
        }
    }
}

impl SinkStats {
    /// Shows what its senders know of it.
    pub fn show_circuit(&mut self, view: CircuitView) {
        let millis = |time: Option<Duration>| time.map_or(0, |time| time.as_millis() as u64);
        self.breaker.state = view.state.name();
        self.breaker.open_ms = millis(view.open_for);
        self.denied_ms = millis(view.denied_for);
    }
}

/// A sink's breaker.
#[derive(Debug, Clone, Serialize)]
pub struct BreakerStats {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// How long it has not been closed, in milliseconds.
    pub open_ms: u64,
    /// How often it became what, by that.
    pub changes: BTreeMap<&'static str, u64>,
}

impl Default for BreakerStats {
    fn default() -> Self {
        let changes = BreakerState::ALL.map(|to| (to.name(), 0)).into();
        BreakerStats { state: BreakerState::default().name(), open_ms: 0, changes }
    }
}

/// How a sink takes what it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    /// The last attempt went well, or there was none.
    #[default]
    Ok,
    /// The last attempt failed; the batch is kept and tried again.
    Retrying,
}

/// What is in front of a sink.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LaneStats {
    /// Copies that wait for a sender.
    pub entries: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// How long the oldest of them has waited, in milliseconds.
    pub oldest_ms: u64,
    /// It is full: the sources that can reach it do not read.
    pub gate_closed: bool,
    /// Entries the next batch should have.
    pub batch_want: u64,
    /// How many batches may be out at once.
    pub batches_out_limit: u64,
    /// How long the last request took, in milliseconds.
    pub last_latency_ms: f64,
}

impl LaneStats {
    /// Adds what waits before a disk to what waits behind it.
    pub fn add_before(&mut self, before: &LaneStats) {
        self.entries += before.entries;
        self.bytes += before.bytes;
        self.oldest_ms = self.oldest_ms.max(before.oldest_ms);
        // The gate behind a disk only stops who reads that.
        self.gate_closed = before.gate_closed;
    }
}

/// A sink's buffer on disk.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BufferStats {
    /// Bytes of its segments on disk.
    pub bytes: u64,
    /// Entries in it that are not delivered, or were a moment ago.
    pub entries: u64,
    /// How long the oldest of them has been there, in milliseconds.
    pub oldest_ms: u64,
    /// Files it consists of.
    pub segments: u64,
    /// Entries that could not be read, since the start.
    pub lost_entries: u64,
    /// Bytes of damaged ranges that are kept aside.
    pub quarantined_bytes: u64,
    /// Entries go to disk now; else there is room in memory (`spill`).
    pub in_use: bool,
    /// Why it cannot make entries safe at present.
    pub degraded: Option<String>,
}

impl BufferStats {
    /// What the buffer says.
    pub fn of(view: BufferView, in_use: bool) -> Self {
        let now = (crate::clock::unix_nanos() / 1_000_000).max(0) as u64;
        BufferStats {
            bytes: view.bytes,
            entries: view.entries,
            oldest_ms: view.oldest_ms.map_or(0, |since| now.saturating_sub(since)),
            segments: view.segments as u64,
            lost_entries: view.lost_entries,
            quarantined_bytes: view.quarantined_bytes,
            in_use,
            degraded: view.degraded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_thousands_of_files_some_are_shown_and_all_are_counted() {
        let mut source = SourceStats::default();
        source.show_files((0..5000).map(|n| FileStats { path: n.to_string(), ..Default::default() }));
        assert_eq!((source.files.len(), source.files_total), (FILES_SHOWN, 5000));
        source.show_files([]);
        assert_eq!((source.files.len(), source.files_total), (0, 0));
    }
}
