//! How many Loki streams a sink keeps alive: a label with a value per request would make one for each.
//!
//! A stream that was not written to for [`IDLE`] counts no longer. Past the limit, entries of streams that are not yet
//! known go to one stream for all, with their labels beside them.

use super::labels::{Key, Labelling};
use crate::block::EntryView;
use crate::labels::Stream;
use crate::sinks::client::{Keys, Place, Scope};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// How long a stream counts after its last entry: as long as Loki keeps its chunk open.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// How often at most idle ones are looked for, once the limit is reached.
const SWEEP: Duration = Duration::from_secs(60);
/// The label of the stream for all.
pub(super) const OVERFLOW: (&str, &str) = ("__overflow__", "true");
/// The section of the stream for all.
pub(super) const OVERFLOW_SECTION: u32 = u32::MAX;

/// The streams of one sink, by a hash of their tenant and labels.
pub(super) struct Streams {
    max: usize,
    /// Keyed at random: entries choose the labels.
    hasher: RandomState,
    used: Mutex<Used>,
}

struct Used {
    last: HashMap<u64, Instant>,
    swept: Option<Instant>,
}

impl Streams {
    pub(super) fn new(max: usize) -> Self {
        let used = Used { last: HashMap::new(), swept: None };
        Streams { max, hasher: RandomState::new(), used: Mutex::new(used) }
    }

    /// Whether the stream is among those that may be written to.
    fn admit(&self, key: &[u8], now: Instant) -> bool {
        let hash = self.hasher.hash_one(key);
        let mut used = self.used.lock();
        if let Some(last) = used.last.get_mut(&hash) {
            *last = now;
            return true;
        }
        if used.last.len() >= self.max && used.swept.is_none_or(|swept| now >= swept + SWEEP) {
            used.swept = Some(now);
            used.last.retain(|_, last| now < *last + IDLE);
        }
        let room = used.last.len() < self.max;
        if room {
            used.last.insert(hash, now);
        }
        room
    }

    /// How many are alive.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.used.lock().last.len()
    }
}

/// Sorts entries by tenant and labels.
pub(super) struct ByLabels<'a> {
    labelling: &'a Labelling,
    streams: &'a Streams,
    now: Instant,
    tenants: &'a mut HashMap<Vec<u8>, u32>,
}

impl<'a> ByLabels<'a> {
    pub(super) fn new(
        labelling: &'a Labelling,
        streams: &'a Streams,
        tenants: &'a mut HashMap<Vec<u8>, u32>,
        now: Instant,
    ) -> Self {
        ByLabels { labelling, streams, now, tenants }
    }
}

impl Keys for ByLabels<'_> {
    fn scope(&self) -> Scope {
        self.labelling.scope()
    }

    fn write(&self, stream: &Stream, entry: Option<EntryView<'_>>, out: &mut Vec<u8>) -> Result<(), String> {
        self.labelling.write(stream, entry, out)
    }

    fn place(&mut self, group: u32, key: &[u8]) -> Place {
        let tenant = Key::read(key).tenant;
        let request = match self.tenants.get(tenant) {
            Some(request) => *request,
            None => {
                let next = self.tenants.len() as u32;
                self.tenants.insert(tenant.to_vec(), next);
                next
            }
        };
        let section = if self.streams.admit(key, self.now) { group } else { OVERFLOW_SECTION };
        Place { request, section }
    }

    fn begin(&mut self) {
        self.tenants.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_bounded_and_the_idle_make_room() {
        let (streams, t0) = (Streams::new(2), Instant::now());
        let minutes = |n: u64| t0 + Duration::from_secs(60 * n);
        assert!(streams.admit(b"a", t0) && streams.admit(b"b", t0) && !streams.admit(b"c", t0));
        assert!(streams.admit(b"a", minutes(20)), "known ones stay");
        assert!(!streams.admit(b"c", minutes(29)));
        assert!(!streams.admit(b"c", minutes(30) - Duration::from_secs(1)), "swept a minute ago");
        assert!(streams.admit(b"c", minutes(30)), "b is idle");
        assert!(!streams.admit(b"b", minutes(30)) && streams.admit(b"a", minutes(30)));
    }

    #[test]
    fn a_million_label_sets_take_no_more_room_than_the_limit() {
        let (streams, t0) = (Streams::new(10_000), Instant::now());
        let admitted = (0..1_000_000_u32).filter(|n| streams.admit(&n.to_le_bytes(), t0)).count();
        assert_eq!((admitted, streams.len()), (10_000, 10_000));
    }
}
