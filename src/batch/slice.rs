//! A look at some entries of a batch, to be sent on their own: the same text, other bounds.

use super::{Batch, Part};
use crate::batch::progress::Progress;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;

/// Some entries of a batch, as a batch that a sink can be given. It answers for nothing: what becomes of it is noted in
/// the batch it is of, by [`Slice::note_in`].
pub struct Slice {
    batch: Batch,
    /// Where each of its entries stands in the batch it is of.
    places: Vec<u32>,
}

impl Slice {
    /// What to give to a sink.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Notes in `whole`, which this is a slice of, what was settled of it.
    pub fn note_in(&self, whole: &Batch) {
        let (own, mut all) = (std::mem::take(&mut *self.batch.progress()), whole.progress());
        let place = |own: usize| self.places.get(own).map(|place| *place as usize);
        // What is refused first: taking it later changes nothing.
        for mut refused in own.refused().iter().cloned() {
            if let Some(at) = place(refused.place) {
                refused.place = at;
                all.note(refused);
            }
        }
        for (at, place) in self.places.iter().enumerate().filter(|(at, _)| own.is_settled(*at)) {
            debug_assert!(at < self.places.len());
            all.take(*place as usize..*place as usize + 1);
        }
    }
}

impl Batch {
    /// Those of its entries in `range` that no attempt has settled. Text is not copied, only where it stands.
    pub fn slice(&self, range: Range<usize>) -> Slice {
        let progress = self.progress();
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        let mut first = 0;
        for part in &self.parts {
            let span = first..first + part.entries as usize;
            first = span.end;
            if span.end <= range.start || range.end <= span.start {
                continue;
            }
            if progress.is_empty() && range.start <= span.start && span.end <= range.end {
                parts.push(part.clone());
                places.extend(span.map(|place| place as u32));
                continue;
            }
            let mut open: Option<Part> = None;
            for (place, at) in span.zip(part.places()) {
                if !range.contains(&place) || progress.is_settled(place) {
                    parts.extend(open.take());
                    continue;
                }
                let len = u64::from(part.block.text_of(at).len);
                let at = at as u32;
                let piece =
                    open.get_or_insert_with(|| Part { range: at..at, entries: 0, bytes: 0, ..part.clone() });
                (piece.range.end, piece.entries, piece.bytes) =
                    (at + 1, piece.entries + 1, piece.bytes + len);
                places.push(place as u32);
            }
            parts.extend(open);
        }
        let batch = Batch {
            entries: places.len(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            parts,
            holds: Vec::new(),
            ledger: Arc::clone(&self.ledger),
            progress: Mutex::new(Progress::default()),
            answers: false,
        };
        Slice { batch, places }
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::Batch;
    use crate::sinks::testing::{Builder, block_of, stream};

    fn texts(batch: &Batch) -> String {
        let texts = batch.iter().map(|entry| String::from_utf8_lossy(entry.text()).into_owned());
        texts.collect::<Vec<_>>().join(" ")
    }

    fn seven() -> Batch {
        let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
        let mut holed = block_of(&a, &["a2", "a3", "a4", "a5"]);
        holed.discard(1);
        Builder::default().lines(&a, &["a0", "a1"]).block(holed).lines(&b, &["b0", "b1"]).build().0
    }

    #[test]
    fn every_range_gives_its_entries_and_no_others() {
        let batch = seven();
        let all = ["a0", "a1", "a2", "a4", "a5", "b0", "b1"];
        for from in 0..=7 {
            for to in from..=7 {
                let slice = batch.slice(from..to);
                assert_eq!(texts(slice.batch()), all[from..to].join(" "), "{from}..{to}");
                assert_eq!(slice.batch().len(), to - from);
                assert_eq!(slice.batch().bytes(), 2 * (to - from) as u64);
            }
        }
        drop(batch.slice(0..7));
        assert_eq!(batch.ledger().in_flight.get(), 0, "a slice that is dropped loses nothing");
    }

    #[test]
    fn what_is_settled_is_left_out_and_what_becomes_of_the_rest_is_noted_at_its_place() {
        let batch = seven();
        batch.progress().take(3..4);
        batch.progress().refuse(0, "bad");
        let slice = batch.slice(0..6);
        assert_eq!(texts(slice.batch()), "a1 a2 a5 b0");
        slice.batch().progress().refuse(2, "worse");
        slice.batch().progress().take(0..3);
        slice.note_in(&batch);
        let progress = batch.progress();
        let settled: Vec<_> = (0..7).filter(|place| progress.is_settled(*place)).collect();
        assert_eq!(settled, [0, 1, 2, 3, 4]);
        let refused: Vec<_> = progress.refused().iter().map(|one| (one.place, &*one.said.why)).collect();
        assert_eq!(refused, [(0, "bad"), (4, "worse")]);
    }
}
