//! Which entries of a batch go to which file.

use super::beneath;
use super::places::{OVERFLOW, Places};
use super::rotate::Rotated;
use crate::batch::{Batch, Part};
use crate::clock::UnixNanos;
use crate::labels::{BUCKETS, Stream};
use crate::sinks::template::Template;
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

/// Neighbouring entries of one part that go to one file: its selected entries in `places`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Which of the batch's files.
    file: u32,
    /// Which of the batch's parts.
    pub part: usize,
    /// The span of its block's index.
    pub places: Range<u32>,
}

impl Span {
    /// Its entries' places in the block of `part`.
    pub(super) fn places<'a>(&self, part: &'a Part) -> impl Iterator<Item = usize> + use<'a> {
        crate::block::selected(
            part.block.selection(part.row.into()),
            self.places.start as usize..self.places.end as usize,
        )
    }
}

/// Sorts batches by file. Keeps its tables from one batch to the next, and the path last made for a stream.
pub(super) struct Grouper {
    template: Template,
    spans: Vec<Span>,
    paths: Vec<Arc<str>>,
    by_path: HashMap<Arc<str>, u32>,
    /// By a stream's bucket.
    memo: Vec<Option<Memo>>,
    places: Places,
    /// When the batch being sorted is written.
    now: UnixNanos,
    overflow: Arc<str>,
    scratch: String,
}

/// The path last made for a stream.
#[derive(Clone)]
struct Memo {
    /// Held, so that no other stream can take its address.
    stream: Arc<Stream>,
    window: Range<UnixNanos>,
    path: Arc<str>,
}

impl Grouper {
    /// A grouper by `template`, for at most `files_max` files within an hour.
    pub(super) fn new(template: Template, files_max: usize) -> Self {
        Grouper {
            places: Places::new(files_max),
            now: 0,
            overflow: OVERFLOW.into(),
            template,
            spans: Vec::new(),
            paths: Vec::new(),
            by_path: HashMap::new(),
            memo: vec![None; BUCKETS],
            scratch: String::new(),
        }
    }

    /// Sorts `batch`, which is written at `now`.
    pub(super) fn sort(&mut self, batch: &Batch, now: UnixNanos) {
        self.now = now;
        self.spans.clear();
        self.paths.clear();
        self.by_path.clear();
        for (at, part) in batch.parts().iter().enumerate() {
            match self.template.is_per_entry() {
                true => self.sort_by_entry(at, part),
                false => self.sort_by_time(at, part),
            }
        }
        if self.paths.len() > 1 {
            // Stable: a file's spans keep their order.
            self.spans.sort_by_key(|span| span.file);
        }
    }

    /// The files of the batch sorted last, each with its spans in order.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Arc<str>, &[Span])> {
        self.spans.chunk_by(|one, other| one.file == other.file).filter_map(|spans| {
            let first = spans.first()?;
            Some((self.paths.get(first.file as usize)?, spans))
        })
    }

    fn sort_by_time(&mut self, at: usize, part: &Part) {
        let (entries, stream) = (part.block.entries(), part.stream());
        let mut window = i64::MIN..i64::MIN;
        for place in part.places() {
            let time = entries[place].time;
            if window.contains(&time) {
                continue;
            }
            window = self.template.window(time);
            let file = self.file_of_stream(stream, &window, time);
            self.begin(file, at, place, part.range.end);
            if self.template.window(time) == (i64::MIN..i64::MAX) {
                // Time does not matter: the first entry answers for all.
                return;
            }
        }
    }

    fn sort_by_entry(&mut self, at: usize, part: &Part) {
        let (block, stream) = (&part.block, part.stream());
        let mut known = None;
        for place in part.places() {
            let entry = block.view(place);
            self.scratch.clear();
            self.template.render(stream, entry.time(), Some(entry), &mut self.scratch);
            let file = self.file(None);
            if known != Some(file) {
                known = Some(file);
                self.begin(file, at, place, part.range.end);
            }
        }
    }

    /// Ends the span before and begins one at `place`, up to the part's end for now.
    fn begin(&mut self, file: u32, part: usize, place: usize, end: u32) {
        if let Some(last) = self.spans.last_mut()
            && last.part == part
        {
            last.places.end = place as u32;
        }
        self.spans.push(Span { file, part, places: place as u32..end });
    }

    fn file_of_stream(&mut self, stream: &Arc<Stream>, window: &Range<UnixNanos>, time: UnixNanos) -> u32 {
        let memo = self.memo[usize::from(stream.bucket)].as_ref();
        if let Some(known) = memo.filter(|memo| Arc::ptr_eq(&memo.stream, stream) && memo.window == *window) {
            let path = Arc::clone(&known.path);
            return self.file(Some(path));
        }
        self.scratch.clear();
        self.template.render(stream, time, None, &mut self.scratch);
        let file = self.file(None);
        let path = Arc::clone(&self.paths[file as usize]);
        if path == self.overflow {
            // Only until there is a place.
            return file;
        }
        self.memo[usize::from(stream.bucket)] =
            Some(Memo { stream: Arc::clone(stream), window: window.clone(), path });
        file
    }

    /// The number of the file at `path`, or at the path in `scratch`.
    fn file(&mut self, path: Option<Arc<str>>) -> u32 {
        if let Some(file) = self.by_path.get(path.as_deref().unwrap_or(&self.scratch)) {
            return *file;
        }
        let path = path.unwrap_or_else(|| self.named());
        let known = self.by_path.get(&path).copied();
        known.unwrap_or_else(|| {
            if self.places.admit(&path, self.now) {
                return self.add(&path);
            }
            let overflow = Arc::clone(&self.overflow);
            let file = self.by_path.get(&overflow).copied().unwrap_or_else(|| self.add(&overflow));
            self.by_path.insert(path, file);
            file
        })
    }

    /// The path in `scratch`, changed if it looks like one of those that the sink makes of others: nobody is to slip in
    /// a file that counts as another's.
    fn named(&mut self) -> Arc<str> {
        let name = beneath::name(&self.scratch);
        if self.template.fixed_path().is_none() && (Rotated::parse(name).is_some() || name.ends_with(".torn"))
        {
            let sum = crc32c::crc32c(name.as_bytes());
            // Writing to a string cannot fail.
            let _ = write!(self.scratch, "-{sum:08x}");
        }
        self.scratch.as_str().into()
    }

    fn add(&mut self, path: &Arc<str>) -> u32 {
        let file = self.paths.len() as u32;
        self.paths.push(Arc::clone(path));
        self.by_path.insert(Arc::clone(path), file);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;
    use crate::sinks::testing::{Builder, add_field, block_of, stream};

    const DAY: i64 = 86_400_000_000_000;

    /// Each file's path with the texts that go to it.
    fn grouped(grouper: &mut Grouper, batch: &Batch) -> Vec<(String, String)> {
        grouper.sort(batch, 0);
        let text = |span: &Span| {
            let part = &batch.parts()[span.part];
            let words = span.places(part).map(|place| String::from_utf8_lossy(part.block.view(place).text()));
            words.collect::<Vec<_>>().join(" ")
        };
        let row = |(path, spans): (&Arc<str>, &[Span])| {
            (path.to_string(), spans.iter().map(text).collect::<Vec<_>>().join("|"))
        };
        grouper.files().map(row).collect()
    }

    fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect()
    }

    #[test]
    fn each_file_gets_its_entries_in_order() {
        let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
        let mut holed = block_of(&a, &["a3", "a4", "a5"]);
        holed.discard(1);
        let (batch, _) = Builder::default()
            .lines(&a, &["a1", "a2"])
            .lines(&b, &["b1"])
            .block(holed)
            .lines(&b, &["b2"])
            .build();
        let mut grouper = Grouper::new(Template::compile("x/{source}").unwrap(), 100);
        for _ in 0..2 {
            assert_eq!(grouped(&mut grouper, &batch), rows(&[("a", "a1 a2|a3 a5"), ("b", "b1|b2")]));
        }
        let mut one = Grouper::new(Template::compile("x/all").unwrap(), 100);
        assert_eq!(grouped(&mut one, &batch), rows(&[("all", "a1 a2|b1|a3 a5|b2")]));
    }

    #[test]
    fn midnight_parts_a_block_wherever_it_falls() {
        let a = stream("a", "1", &[]);
        let mut block = block_of(&a, &["1", "2", "3", "4"]);
        block.stamp(DAY - 2);
        let mut back = block_of(&a, &["5", "6", "7"]);
        for (entry, time) in back.parts().entries.iter_mut().zip([DAY, 0, DAY]) {
            entry.time = time;
        }
        back.discard(0);
        let (batch, _) = Builder::default().block(block).block(back).build();
        let mut grouper = Grouper::new(Template::compile("x/{date}").unwrap(), 100);
        let expected = rows(&[("1970-01-01", "1 2|6"), ("1970-01-02", "3 4|7")]);
        assert_eq!(grouped(&mut grouper, &batch), expected);
    }

    #[test]
    fn a_field_sends_each_entry_its_own_way() {
        let a = stream("a", "1", &[]);
        let mut block = block_of(&a, &["1", "2", "3", "4"]);
        for (place, user) in ["x", "x", "y", "x"].into_iter().enumerate() {
            add_field(&mut block, place, b"user", user.as_bytes(), Kind::Plain);
        }
        let (batch, _) = Builder::default().block(block).build();
        let mut grouper = Grouper::new(Template::compile("x/{fields.user}").unwrap(), 100);
        assert_eq!(grouped(&mut grouper, &batch), rows(&[("x", "1 2|4"), ("y", "3")]));
    }

    #[test]
    fn what_finds_no_place_shares_a_file() {
        let a = stream("a", "1", &[]);
        let mut block = block_of(&a, &["1", "2", "3", "4", "5"]);
        for (place, user) in ["x", "y", "z", "x", "evil"].into_iter().enumerate() {
            add_field(&mut block, place, b"user", user.as_bytes(), Kind::Plain);
        }
        let (batch, _) = Builder::default().block(block).build();
        let mut grouper = Grouper::new(Template::compile("x/{fields.user}").unwrap(), 2);
        for _ in 0..2 {
            let expected = rows(&[("x", "1|4"), ("y", "2"), (OVERFLOW, "3|5")]);
            assert_eq!(grouped(&mut grouper, &batch), expected);
        }
    }

    #[test]
    fn no_value_makes_a_file_that_looks_rotated_or_torn() {
        for value in
            ["app-20261123T140000", "app-20261123T140000.1.gz", "app-20261123T140000.zst.tmp", "app.torn"]
        {
            let (batch, _) = Builder::default().lines(&stream(value, "1", &[]), &["1"]).build();
            let mut grouper = Grouper::new(Template::compile("x/{source}").unwrap(), 2);
            let [(path, _)] = &grouped(&mut grouper, &batch)[..] else { panic!() };
            assert_eq!(*path, format!("{value}-{:08x}", crc32c::crc32c(value.as_bytes())));
            assert!(Rotated::parse(path).is_none());
        }
    }
}
