//! Label sets and the streams that carry them.

use std::sync::Arc;

/// Most labels one set may hold; more is refused when the set is built.
pub const LABELS_MAX: usize = 64;
/// How many buckets streams are hashed to; a lane keeps order per bucket.
pub const BUCKETS: usize = 256;

/// A sorted, immutable set of name-value pairs, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// A set of the given pairs, sorted by name; of two pairs with one name the later wins.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut list: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            match list.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(at) => list[at].1 = value,
                Err(at) => list.insert(at, (name, value)),
            }
        }
        Labels(list.into())
    }

    /// The value of the label `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many labels the set has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What one source is called, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u16);

/// An ordered origin of entries: one file, one connection, one UDP socket, standard input.
///
/// Order is kept per stream all the way to the sinks. Shared by reference; made once per origin, never per entry.
#[derive(Debug)]
pub struct Stream {
    /// The source it belongs to.
    pub source: SourceId,
    /// That source's name in the config.
    pub source_name: Arc<str>,
    /// That source's type, such as `file`.
    pub source_type: &'static str,
    /// What the stream itself is called: a path, a peer's address.
    pub origin: Box<str>,
    /// The labels all its entries have.
    pub labels: Labels,
    /// The bucket it is hashed to, below [`BUCKETS`].
    pub bucket: u8,
    /// Bytes of its origin and labels.
    pub bytes: u32,
    /// Its entry was a dead letter and is given again; such a stream is of that one entry alone.
    pub again: Option<Again>,
}

/// What a dead letter that is given again takes along, in case it becomes one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// How often it was given again, this time included.
    pub retries: u32,
    /// When the first attempt at it failed, in milliseconds since 1970-01-01 UTC.
    pub first_failed_ms: u64,
}

impl Stream {
    /// A stream of `source`; its bucket follows from source and origin alone, so it is the same after a restart.
    pub fn new(
        source: SourceId,
        source_name: Arc<str>,
        source_type: &'static str,
        origin: impl Into<Box<str>>,
        labels: Labels,
    ) -> Self {
        let origin = origin.into();
        let bucket = crc32c::crc32c_append(crc32c::crc32c(source_name.as_bytes()), origin.as_bytes()) as u8;
        let pairs: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = (origin.len() + pairs) as u32;
        Stream { source, source_name, source_type, origin, labels, bucket, bytes, again: None }
    }

    /// The same for an entry that is given again.
    pub fn given_again(self, again: Again) -> Self {
        Stream { again: Some(again), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_the_later_pair_wins() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("c"), None);
    }
}
