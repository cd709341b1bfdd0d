//! What became of every entry, per source and per sink, so that nothing is lost silently.
//!
//! Per source: `received = filtered + dropped_before_routing + routed + unrouted + in_transit`. Per sink:
//! `copies = delivered + persisted + dead_lettered + dropped + in_flight`. In all: `copies = routed + fan_out_extra`.
//! The two gauges (`in_transit`, `in_flight`) are counted on their own, never derived, so that the sums can be checked.
//!
//! One addition per block and number: nothing here is touched per entry.

use crate::http::Status;
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A number that only its ledger changes. Relaxed throughout: read for display, and exact once the engine is at rest.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Relaxed);
        }
    }

    /// Takes `n` away: for gauges.
    pub fn sub(&self, n: u64) {
        if n > 0 {
            self.0.fetch_sub(n, Relaxed);
        }
    }

    /// Puts `n` in its place: for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Why an entry, or a copy of it, was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Strategy `drop_newest`: it came when there was no room.
    DropNewest = 0,
    /// Strategy `drop_oldest`: it waited when something newer needed the room.
    DropOldest = 1,
    /// A step panicked on it twice.
    Panic = 2,
    /// The sink refused it, and there are no dead letters to keep it.
    Rejected = 3,
    /// It was lost on the way and its source cannot give it again.
    Failed = 4,
    /// Its sink was taken out of the config, and could not be given it in time.
    Removed = 5,
    /// It is larger than a record of the sink's buffer can be, and there are no dead letters to keep it.
    TooLarge = 6,
    /// It was damaged on disk.
    Corrupt = 7,
    /// A `throttle` step took it out.
    Throttle = 8,
    /// It came faster than a rate limit allows.
    RateLimit = 9,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 10] = [
        Reason::DropNewest,
        Reason::DropOldest,
        Reason::Panic,
        Reason::Rejected,
        Reason::Failed,
        Reason::Removed,
        Reason::TooLarge,
        Reason::Corrupt,
        Reason::Throttle,
        Reason::RateLimit,
    ];

    /// The reason's word in metrics, `/stats` and logs.
    pub fn name(self) -> &'static str {
        [
            "drop_newest",
            "drop_oldest",
            "panic",
            "rejected",
            "failed",
            "removed",
            "too_large",
            "corrupt",
            "throttle",
            "rate_limit",
        ][self as usize]
    }
}

/// Dropped entries by reason.
#[derive(Debug, Default)]
pub struct Dropped([Count; Reason::ALL.len()]);

impl Dropped {
    /// Counts `n` more for `reason`.
    pub fn add(&self, reason: Reason, n: u64) {
        self.0[reason as usize].add(n);
    }

    /// How many for `reason`.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].get()
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }
}

/// The statuses that sources of requests answer with.
pub const HTTP_STATUSES: [Status; 18] = [
    Status::OK,
    Status::NO_CONTENT,
    Status::MULTI_STATUS,
    Status::BAD_REQUEST,
    Status::UNAUTHORIZED,
    Status::NOT_FOUND,
    Status::METHOD_NOT_ALLOWED,
    Status::REQUEST_TIMEOUT,
    Status::CONTENT_TOO_LARGE,
    Status::URI_TOO_LONG,
    Status::UNSUPPORTED_MEDIA_TYPE,
    Status::EXPECTATION_FAILED,
    Status::UNPROCESSABLE,
    Status::TOO_MANY_REQUESTS,
    Status::HEAD_TOO_LARGE,
    Status::INTERNAL,
    Status::UNAVAILABLE,
    Status::VERSION_NOT_SUPPORTED,
];

/// Answers by status.
#[derive(Debug, Default)]
pub struct Answered([Count; HTTP_STATUSES.len()]);

impl Answered {
    /// Counts one more; with a status that is not listed, as one of ours that went wrong.
    pub fn add(&self, status: Status) {
        let at = |status| HTTP_STATUSES.iter().position(|known| *known == status);
        if let Some(at) = at(status).or_else(|| at(Status::INTERNAL)) {
            self.0[at].add(1);
        }
    }

    /// How many of each.
    pub fn iter(&self) -> impl Iterator<Item = (Status, u64)> {
        HTTP_STATUSES.into_iter().zip(self.0.iter().map(Count::get))
    }
}

/// What a source of requests counts beside its entries.
#[derive(Debug, Default)]
pub struct HttpLedger {
    /// Requests answered.
    pub answered: Answered,
    /// Bytes of bodies, as they were sent.
    pub body_bytes: Count,
    /// Entries that were refused, each told to its sender; they are not among the received.
    pub refused_entries: Count,
}

/// One source's row.
#[derive(Debug, Default)]
pub struct SourceLedger {
    /// Entries admitted.
    pub received: Count,
    /// Bytes of their text.
    pub received_bytes: Count,
    /// Entries a step took out.
    pub filtered: Count,
    /// Entries dropped before they had a lane.
    pub dropped: Dropped,
    /// Entries that went to at least one lane.
    pub routed: Count,
    /// Entries that no sink wanted.
    pub unrouted: Count,
    /// Entries between admission and lane (gauge).
    pub in_transit: Count,
    /// Copies beyond the first that routed entries made.
    pub fan_out_extra: Count,
    /// Entries that left the pipeline, filtered ones too.
    pub processed: Count,
    /// Entries a step could not work on; they went on as they were.
    pub step_errors: Count,
    /// Entries cut at the source's longest line or message.
    pub cut: Count,
    /// Blocks given again after a failure.
    pub replayed_blocks: Count,
    /// Beside the ledger: what the kernel threw away before we saw it (UDP).
    pub kernel_drops: Count,
    /// Bytes known to be waiting at the source (gauge; files).
    pub lag_bytes: Count,
    /// Age of the oldest waiting byte in milliseconds (gauge; files).
    pub lag_millis: Count,
    /// Streams open now (gauge): files, connections.
    pub streams: Count,
    /// Files that left their path while they were followed: renamed or deleted.
    pub files_rotated: Count,
    /// Files that were cut or written anew in place.
    pub files_truncated: Count,
    /// Files that could not be read to their end: gone, cut or damaged before.
    pub files_vanished: Count,
    /// Connections refused at a limit.
    pub refused_connections: Count,
    /// Connections closed as they could not be understood: what came was no message or no TLS, or the handshake failed
    /// or took too long.
    pub broken_connections: Count,
    /// Times the source found no room and had to stop or drop.
    pub blocked: Count,
    /// Times it had to wait for its rate.
    pub paced: Count,
    /// Label values with a rate limit of their own (gauge).
    pub rate_limit_keys: Count,
    /// Its requests, if that is how its entries come.
    pub http: HttpLedger,
}

/// One sink's row, in copies of entries.
#[derive(Debug, Default)]
pub struct SinkLedger {
    /// Copies that came to the lane.
    pub copies: Count,
    /// Copies the sink took.
    pub delivered: Count,
    /// Bytes of their text.
    pub delivered_bytes: Count,
    /// Copies on disk in the sink's buffer, and not on their way from there (gauge).
    pub persisted: Count,
    /// Copies that were put there.
    pub stored: Count,
    /// Copies among the dead letters.
    pub dead_lettered: Count,
    /// Copies dropped.
    pub dropped: Dropped,
    /// Copies in the lane or being sent (gauge).
    pub in_flight: Count,
    /// Bytes of memory the lane holds on to (gauge).
    pub pinned_bytes: Count,
    /// Attempts beyond a batch's first.
    pub retries: Count,
    /// Batches handed to the sink and settled.
    pub batches: Count,
    /// Batches being sent now (gauge).
    pub batches_out: Count,
    /// Attempts that failed.
    pub errors: Count,
    /// Requests that looked for what was wrong with a batch.
    pub bisect_requests: Count,
    /// Of the delivered copies those that the sink's fallback took.
    pub fallback: Count,
    /// How often its breaker became what it is now, by what it became: closed, open, half open.
    pub breaker_changes: [Count; 3],
    /// Since when the sink has not let us in, in seconds since 1970-01-01 UTC (gauge); 0: it does.
    pub denied_since: Count,
    /// Copies that went where all go whose own file or Loki stream would have been one too many.
    pub overflowed: Count,
    /// Entries that may have been written twice, as a failed attempt could not be undone.
    pub duplicated: Count,
}

/// A row with the name it has in the config.
#[derive(Debug)]
pub struct Named<T> {
    /// The component's name in the config.
    pub name: Arc<str>,
    /// The component's type, such as `file`.
    pub kind: &'static str,
    /// Its numbers.
    pub row: Arc<CachePadded<T>>,
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Named { name: Arc::clone(&self.name), kind: self.kind, row: Arc::clone(&self.row) }
    }
}

impl<T: Default> Named<T> {
    /// An empty row.
    pub fn new(name: &str, kind: &'static str) -> Self {
        Named { name: name.into(), kind, row: Arc::default() }
    }
}

/// All rows.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// One row per source, by `SourceId`.
    pub sources: Vec<Named<SourceLedger>>,
    /// One row per enabled sink, in the order of the config.
    pub sinks: Vec<Named<SinkLedger>>,
}

impl Ledger {
    /// The first equation that does not hold, in words. Only meaningful at rest: while blocks move, a number may be
    /// ahead of its partner for a moment.
    pub fn imbalance(&self) -> Option<String> {
        for Named { name, row, .. } in &self.sources {
            let out = row.filtered.get() + row.dropped.total() + row.routed.get() + row.unrouted.get();
            let (received, in_transit) = (row.received.get(), row.in_transit.get());
            if received != out + in_transit {
                return Some(format!(
                    "source {name}: {received} received, {out} accounted for, {in_transit} in transit"
                ));
            }
        }
        for Named { name, row, .. } in &self.sinks {
            let kept = row.delivered.get() + row.persisted.get() + row.dead_lettered.get();
            let (copies, in_flight, dropped) = (row.copies.get(), row.in_flight.get(), row.dropped.total());
            if copies != kept + dropped + in_flight {
                return Some(format!(
                    "sink {name}: {copies} copies, {kept} kept, {dropped} dropped, {in_flight} in flight"
                ));
            }
        }
        let copies: u64 = self.sinks.iter().map(|sink| sink.row.copies.get()).sum();
        let routed: u64 = self.sources.iter().map(|s| s.row.routed.get() + s.row.fan_out_extra.get()).sum();
        (copies != routed)
            .then(|| format!("{copies} copies in all lanes, {routed} routed with their extra copies"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_vanished_is_named() {
        let ledger =
            Ledger { sources: vec![Named::new("app", "file")], sinks: vec![Named::new("out", "console")] };
        let (source, sink) = (&ledger.sources[0].row, &ledger.sinks[0].row);
        source.received.add(3);
        source.in_transit.add(1);
        source.filtered.add(1);
        assert!(ledger.imbalance().is_some_and(|text| text.contains("source app: 3 received")));
        source.routed.add(1);
        assert!(ledger.imbalance().is_some_and(|text| text.contains("0 copies in all lanes, 1 routed")));
        sink.copies.add(1);
        assert!(ledger.imbalance().is_some_and(|text| text.contains("sink out")));
        sink.dropped.add(Reason::Rejected, 1);
        assert_eq!(ledger.imbalance(), None);
    }
}
