//! Which entries of a batch go into which request, and there into which place.
//!
//! Entries are told apart by a *key*: bytes made of their stream or of themselves. What is the same for a whole stream
//! is made once per stream; a key that an entry makes costs no allocation but the first time in a batch.

use crate::batch::{Batch, Part, Progress};
use crate::block::EntryView;
use crate::labels::{BUCKETS, Stream};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

/// What keys depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: there is but one.
    Batch,
    /// The stream.
    Stream,
    /// The entry.
    Entry,
}

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the batch's requests.
    pub request: u32,
    /// Which part of it: groups with one section keep the order of their entries among each other.
    pub section: u32,
}

/// Makes keys, and says where their groups go.
pub trait Keys {
    /// What keys depend on.
    fn scope(&self) -> Scope;

    /// Appends the key; without `entry` where the scope is wider. Errors: why the entries cannot be sent at all.
    fn write(&self, stream: &Stream, entry: Option<EntryView<'_>>, out: &mut Vec<u8>) -> Result<(), String>;

    /// Where the group with this key goes, told once per batch; groups are numbered from 0.
    fn place(&mut self, group: u32, key: &[u8]) -> Place;

    /// Before each batch.
    fn begin(&mut self) {}
}

/// Neighbouring entries of one part that go to one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where they go.
    pub place: Place,
    /// Their group.
    pub group: u32,
    /// Which of the batch's parts they are of.
    pub part: u32,
    /// The span of its block's index; of it, the selected entries.
    pub places: Range<u32>,
    /// Their places in the batch.
    pub entries: Range<u32>,
}

impl Span {
    /// Its entries' places in the block of `part`.
    pub fn places<'a>(&self, part: &'a Part) -> impl Iterator<Item = usize> + use<'a> {
        crate::block::selected(
            part.block.selection(part.row.into()),
            self.places.start as usize..self.places.end as usize,
        )
    }
}

/// Sorts batches by key. Keeps its tables from one batch to the next, and the key last made for a stream.
pub struct Groups {
    spans: Vec<Span>,
    table: Table,
    places: Vec<Place>,
    /// By a stream's bucket.
    memo: Vec<Option<Memo>>,
    scratch: Vec<u8>,
}

/// The key last made for a stream.
struct Memo {
    /// Held, so that no other stream can take its address.
    stream: Arc<Stream>,
    key: Result<Vec<u8>, String>,
}

impl Default for Groups {
    fn default() -> Self {
        let memo = std::iter::repeat_with(|| None).take(BUCKETS).collect();
        Groups { spans: Vec::new(), table: Table::default(), places: Vec::new(), memo, scratch: Vec::new() }
    }
}

impl Groups {
    /// Sorts what is not settled of `batch`. What cannot be sent is refused.
    pub fn sort(&mut self, batch: &Batch, keys: &mut impl Keys, progress: &mut Progress) {
        self.spans.clear();
        self.table.clear();
        self.places.clear();
        keys.begin();
        let mut first = 0;
        for (at, part) in (0..).zip(batch.parts()) {
            match keys.scope() {
                Scope::Entry => self.sort_entries(at, part, first, keys, progress),
                _ => self.sort_part(at, part, first, keys, progress),
            }
            first += part.entries;
        }
        if !self.spans.is_sorted_by_key(|span| span.place) {
            // Stable: what goes to one place keeps its order.
            self.spans.sort_by_key(|span| span.place);
        }
    }

    /// The requests of the batch sorted last, each as its spans in order.
    pub fn requests(&self) -> impl Iterator<Item = &[Span]> {
        self.spans.chunk_by(|one, other| one.place.request == other.place.request)
    }

    /// The key of a group.
    pub fn key(&self, group: u32) -> &[u8] {
        self.table.key(group)
    }

    fn sort_part(&mut self, at: u32, part: &Part, first: u32, keys: &mut impl Keys, progress: &mut Progress) {
        let group = match self.group_of_stream(part.stream(), keys) {
            Ok(group) => group,
            Err(why) => {
                (first..first + part.entries).for_each(|entry| progress.refuse(entry as usize, why.as_str()));
                return;
            }
        };
        let place = self.places[group as usize];
        if progress.is_empty() {
            let entries = first..first + part.entries;
            self.spans.push(Span { place, group, part: at, places: part.range.clone(), entries });
            return;
        }
        for (entry, index) in (first..).zip(part.places()) {
            if !progress.is_settled(entry as usize) {
                self.push(place, group, at, index as u32, entry);
            }
        }
    }

    fn sort_entries(
        &mut self,
        at: u32,
        part: &Part,
        first: u32,
        keys: &mut impl Keys,
        progress: &mut Progress,
    ) {
        let stream = part.stream();
        let mut last: Option<u32> = None;
        for (entry, index) in (first..).zip(part.places()) {
            if progress.is_settled(entry as usize) {
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            match keys.write(stream, Some(part.block.view(index)), &mut scratch) {
                Err(why) => progress.refuse(entry as usize, why),
                Ok(()) => {
                    // Neighbours are mostly alike: a comparison is cheaper than a hash.
                    let known = last.filter(|group| self.table.key(*group) == scratch);
                    let group = known.unwrap_or_else(|| self.group(&scratch, keys));
                    last = Some(group);
                    self.push(self.places[group as usize], group, at, index as u32, entry);
                }
            }
            self.scratch = scratch;
        }
    }

    /// Adds one entry to the last span, or begins one.
    fn push(&mut self, place: Place, group: u32, part: u32, index: u32, entry: u32) {
        match self.spans.last_mut() {
            Some(last) if last.group == group && last.part == part && last.entries.end == entry => {
                last.places.end = index + 1;
                last.entries.end += 1;
            }
            _ => self.spans.push(Span {
                place,
                group,
                part,
                places: index..index + 1,
                entries: entry..entry + 1,
            }),
        }
    }

    fn group_of_stream(&mut self, stream: &Arc<Stream>, keys: &mut impl Keys) -> Result<u32, String> {
        let bucket = if keys.scope() == Scope::Batch { 0 } else { usize::from(stream.bucket) };
        let known = self.memo[bucket]
            .take()
            .filter(|memo| keys.scope() == Scope::Batch || Arc::ptr_eq(&memo.stream, stream));
        let memo = known.unwrap_or_else(|| {
            let mut key = Vec::new();
            let written = keys.write(stream, None, &mut key);
            Memo { stream: Arc::clone(stream), key: written.map(|()| key) }
        });
        let group = match &memo.key {
            Ok(key) => Ok(self.group(key, keys)),
            Err(why) => Err(why.clone()),
        };
        self.memo[bucket] = Some(memo);
        group
    }

    fn group(&mut self, key: &[u8], keys: &mut impl Keys) -> u32 {
        let (group, fresh) = self.table.number(key);
        if fresh {
            self.places.push(keys.place(group, key));
        }
        group
    }
}

/// Byte strings, numbered as they come.
#[derive(Default)]
struct Table {
    /// Keyed at random: entries choose the bytes.
    hasher: RandomState,
    numbers: HashMap<u64, u32>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Table {
    fn clear(&mut self) {
        self.numbers.clear();
        self.bytes.clear();
        self.ends.clear();
    }

    fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let begin = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[begin..self.ends[number]]
    }

    /// The number of `key`, and whether it is new.
    fn number(&mut self, key: &[u8]) -> (u32, bool) {
        let mut hash = self.hasher.hash_one(key);
        while let Some(number) = self.numbers.get(&hash) {
            if self.key(*number) == key {
                return (*number, false);
            }
            // Another key's: the next place.
            hash = hash.wrapping_add(1);
        }
        let number = self.ends.len() as u32;
        self.numbers.insert(hash, number);
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        (number, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;
    use crate::sinks::testing::{Builder, add_field, block_of, stream};

    /// Keys are origins or the field `k`; `bad` cannot be sent.
    struct Names(Scope);

    impl Keys for Names {
        fn scope(&self) -> Scope {
            self.0
        }

        fn write(
            &self,
            stream: &Stream,
            entry: Option<EntryView<'_>>,
            out: &mut Vec<u8>,
        ) -> Result<(), String> {
            match entry.and_then(|entry| entry.field(b"k")) {
                Some(field) if field.raw() == b"bad" => return Err("it is bad".into()),
                Some(field) => out.extend_from_slice(field.raw()),
                None if self.0 == Scope::Stream => out.extend_from_slice(stream.origin.as_bytes()),
                None => {}
            }
            Ok(())
        }

        fn place(&mut self, group: u32, _: &[u8]) -> Place {
            Place { request: group, section: 0 }
        }
    }

    fn sorted(groups: &mut Groups, batch: &Batch, keys: &mut Names) -> Vec<(String, String, Vec<u32>)> {
        groups.sort(batch, keys, &mut batch.progress());
        let row = |spans: &[Span]| {
            let of = |span: &Span| {
                let part = &batch.parts()[span.part as usize];
                span.places(part)
                    .map(|place| String::from_utf8(part.block.view(place).text().into()).unwrap())
                    .collect()
            };
            let texts: Vec<Vec<String>> = spans.iter().map(of).collect();
            let entries = spans.iter().flat_map(|span| span.entries.clone()).collect();
            let key = String::from_utf8(groups.key(spans[0].group).into()).unwrap();
            (key, texts.concat().join(" "), entries)
        };
        groups.requests().map(row).collect()
    }

    fn rows(rows: &[(&str, &str, &[u32])]) -> Vec<(String, String, Vec<u32>)> {
        rows.iter().map(|(key, texts, entries)| ((*key).into(), (*texts).into(), entries.to_vec())).collect()
    }

    #[test]
    fn each_request_has_its_entries_in_order_and_what_is_settled_is_left_out() {
        let (a, b) = (stream("s", "a", &[]), stream("s", "b", &[]));
        let mut holed = block_of(&a, &["a3", "a4", "a5"]);
        holed.discard(1);
        let (batch, _) = Builder::default()
            .lines(&a, &["a1", "a2"])
            .lines(&b, &["b1"])
            .block(holed)
            .lines(&b, &["b2"])
            .build();
        let (mut groups, mut keys) = (Groups::default(), Names(Scope::Stream));
        let whole = rows(&[("a", "a1 a2 a3 a5", &[0, 1, 3, 4]), ("b", "b1 b2", &[2, 5])]);
        assert_eq!(sorted(&mut groups, &batch, &mut keys), whole);
        assert_eq!(sorted(&mut groups, &batch, &mut keys), whole);
        let all = rows(&[("", "a1 a2 b1 a3 a5 b2", &[0, 1, 2, 3, 4, 5])]);
        assert_eq!(sorted(&mut Groups::default(), &batch, &mut Names(Scope::Batch)), all);
        batch.progress().take(1..4);
        let left = rows(&[("a", "a1 a5", &[0, 4]), ("b", "b2", &[5])]);
        assert_eq!(sorted(&mut groups, &batch, &mut keys), left);
        batch.progress().take(0..6);
        assert_eq!(sorted(&mut groups, &batch, &mut keys), []);
    }

    #[test]
    fn an_entry_goes_where_its_field_says_or_is_refused() {
        let a = stream("s", "a", &[]);
        let mut block = block_of(&a, &["1", "2", "3", "4", "5"]);
        for (place, value) in ["x", "x", "y", "bad", "x"].into_iter().enumerate() {
            add_field(&mut block, place, b"k", value.as_bytes(), Kind::Plain);
        }
        let (batch, _) = Builder::default().block(block).build();
        let (mut groups, mut keys) = (Groups::default(), Names(Scope::Entry));
        let expected = rows(&[("x", "1 2 5", &[0, 1, 4]), ("y", "3", &[2])]);
        assert_eq!(sorted(&mut groups, &batch, &mut keys), expected);
        let progress = batch.progress();
        let refused: Vec<_> = progress.refused().iter().map(|one| (one.place, &*one.said.why)).collect();
        assert_eq!(refused, [(3, "it is bad")]);
    }
}
