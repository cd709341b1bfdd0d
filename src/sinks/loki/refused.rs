//! Which entries of a request a refusal means.

use super::answer::{Refusal, Which};
use super::labels::{Key, write_selector};
use super::streams::{OVERFLOW, OVERFLOW_SECTION};
use crate::batch::{Batch, Said};
use crate::sinks::client::{Groups, Span};
use std::collections::BTreeSet;
use std::iter::once;

const NANOS: i64 = 1_000_000_000;
/// The status of every answer that refuses single entries.
const STATUS: u16 = 400;

/// The refused entries, by their place in the batch. Where Loki says only how many, the oldest: entries that came too
/// late are what it refuses so. Of a stream that is not in the request, nothing.
pub(super) fn entries(
    refusals: &[Refusal<'_>],
    batch: &Batch,
    groups: &Groups,
    spans: &[Span],
) -> Vec<(usize, Said)> {
    let mut refused = BTreeSet::new();
    let mut whys = Vec::new();
    let mut selector = Vec::new();
    for section in spans.chunk_by(|one, other| one.place.section == other.place.section) {
        let Some(first) = section.first() else { continue };
        selector.clear();
        match first.place.section {
            OVERFLOW_SECTION => write_selector(once(OVERFLOW), &mut selector),
            _ => write_selector(Key::read(groups.key(first.group)).labels(), &mut selector),
        }
        for refusal in refusals.iter().filter(|refusal| refusal.stream.as_bytes() == selector) {
            let fresh = |entry: &Told| refused.insert(entry.place);
            let chosen: Vec<usize> =
                choose(refusal.which, told(batch, section)).filter(fresh).map(|entry| entry.place).collect();
            whys.extend(
                chosen.into_iter().map(|place| (place, Said::with_status(why(refusal.which), STATUS))),
            );
        }
    }
    whys
}

/// What is known of an entry.
struct Told {
    place: usize,
    time: i64,
    len: u64,
}

fn told(batch: &Batch, section: &[Span]) -> Vec<Told> {
    let of = |span: &Span| {
        let part = &batch.parts()[span.part as usize];
        let first = span.entries.start as usize;
        let row = move |(place, at): (usize, usize)| {
            let entry = part.block.view(at);
            Told { place, time: entry.time(), len: entry.text().len() as u64 }
        };
        (first..).zip(span.places(part)).map(row).collect::<Vec<_>>()
    };
    section.iter().flat_map(of).collect()
}

fn choose(which: Which, mut all: Vec<Told>) -> impl Iterator<Item = Told> {
    match which {
        Which::All => {}
        Which::Some(count) => {
            all.sort_by_key(|entry| entry.time);
            all.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        }
        // Loki cuts the fraction off what it says: within that second, better told than silent.
        Which::Before(second) => all.retain(|entry| entry.time.div_euclid(NANOS) <= second),
        Which::From(second) => all.retain(|entry| entry.time.div_euclid(NANOS) >= second),
        Which::Longer(len) => all.retain(|entry| entry.len > len),
    }
    all.into_iter()
}

fn why(which: Which) -> &'static str {
    match which {
        Which::Some(_) => "Loki ignored some entries of its stream: too old, or out of order",
        Which::Before(_) => "Loki refused it as too old",
        Which::From(_) => "Loki refused it as too far in the future",
        Which::Longer(_) => "Loki refused its line as too long",
        Which::All => "Loki refused the labels of its stream",
    }
}
