//! The unit that crosses threads: text of one source, an index of its entries in runs that name their stream, and the
//! side state that steps make of them.
//!
//! The text never changes once it is framed, and all that steps make (fields, arena, filter bits, selections) can be
//! reset, so a pipeline that panicked can be tried again on the same block.
//!
//! Not here: who may forget the block's origin (see `ack`), where buffers come from (see `pool`).

use crate::entry::{Entry, EntryView, Field, Slice, Space};
use crate::labels::Stream;
use crate::pool::{Charge, Owned, Pages, Pool, Recycle};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// The text sizes of the ordinary classes, in bytes.
pub const CLASSES: [usize; 3] = [4 << 10, 64 << 10, 256 << 10];
/// The class that sources fill when they read at full speed: it stays in the L2 cache, larger ones do not.
pub const ORDINARY: usize = CLASSES[1];
/// Most entries in one block.
pub const ENTRIES_MAX: usize = 4096;
/// Most fields in one block; the row that would not fit is refused to the step that wanted it.
pub const FIELDS_MAX: usize = 64 << 10;
/// Most bytes of arena in one block, likewise.
pub const ARENA_MAX: usize = 16 << 20;

/// Entries that follow each other in a block and belong to one stream.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose they are.
    pub stream: Arc<Stream>,
    /// The first of them.
    pub first: u32,
    /// One past the last.
    pub end: u32,
}

/// What one lane gets of one run: filled in by the worker that knows, read by the lane.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The lane's place in the plan.
    pub lane: u16,
    /// Which row of the bits selects.
    pub row: u16,
    /// The span of the index, within one run.
    pub range: Range<u32>,
    /// How many of it are selected.
    pub entries: u32,
    /// Bytes of their text.
    pub bytes: u64,
}

/// Text, index and side state of up to [`ENTRIES_MAX`] entries of one source.
pub struct Block {
    pages: Pages,
    text_len: usize,
    entries: Vec<Entry>,
    runs: Vec<Run>,
    fields: Vec<Field>,
    arena: Vec<u8>,
    constants: Option<Arc<[u8]>>,
    /// A bit per entry: still wanted. Then a row of bits per conditional lane.
    bits: Vec<u64>,
    /// How many parts of this block each lane still holds, by the lane's place in the plan.
    pins: Vec<AtomicU32>,
    cuts: Vec<Cut>,
    time: i64,
    charge: Option<Charge>,
}

/// A field or its bytes do not fit the block any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What steps work on, borrowed apart so that text can be read while fields are written.
pub struct Parts<'a> {
    /// The block's text.
    pub text: &'a [u8],
    /// The index.
    pub entries: &'a mut [Entry],
    /// The field table; an entry's rows stand together. Keep below [`FIELDS_MAX`].
    pub fields: &'a mut Vec<Field>,
    /// What steps made. Keep below [`ARENA_MAX`].
    pub arena: &'a mut Vec<u8>,
    /// A bit per entry: still wanted.
    pub live: &'a mut [u64],
}

impl Block {
    /// An empty block with room for `text` bytes.
    pub fn new(text: usize) -> Self {
        Block {
            pages: Pages::new(text),
            text_len: 0,
            entries: Vec::with_capacity((text / 128).min(ENTRIES_MAX)),
            runs: Vec::new(),
            fields: Vec::new(),
            arena: Vec::new(),
            constants: None,
            bits: Vec::new(),
            pins: Vec::new(),
            cuts: Vec::new(),
            time: 0,
            charge: None,
        }
    }

    // --- filling: by the source

    /// How many bytes of text it can hold.
    pub fn capacity(&self) -> usize {
        self.pages.len()
    }

    /// The bytes behind the text, to read into; then say how many became text: [`Block::grow`].
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.pages[self.text_len..]
    }

    /// Makes the next `len` bytes of the spare room text.
    pub fn grow(&mut self, len: usize) {
        assert!(len <= self.pages.len() - self.text_len, "text grows within its buffer");
        self.text_len += len;
    }

    /// Cuts the text back to its first `len` bytes; entries must not reach beyond them.
    pub fn shrink(&mut self, len: usize) {
        assert!(len <= self.text_len, "text shrinks within itself");
        debug_assert!(self.entries.iter().all(|entry| (entry.offset + entry.len) as usize <= len));
        self.text_len = len;
    }

    /// Copies `bytes` behind the text and gives their offset, or `None` if they do not fit.
    pub fn append(&mut self, bytes: &[u8]) -> Option<u32> {
        let at = self.text_len;
        self.pages.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        self.text_len += bytes.len();
        Some(at as u32)
    }

    /// Begins a run: entries pushed from here on belong to `stream`. A run without entries vanishes again.
    pub fn begin_run(&mut self, stream: &Arc<Stream>) {
        let at = self.entries.len() as u32;
        match self.runs.last_mut() {
            Some(last) if Arc::ptr_eq(&last.stream, stream) => {}
            Some(last) if last.first == at => last.stream = Arc::clone(stream),
            _ => self.runs.push(Run { stream: Arc::clone(stream), first: at, end: at }),
        }
    }

    /// Adds an entry to the current run.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!((entry.offset + entry.len) as usize <= self.text_len, "an entry lies within the text");
        self.entries.push(entry);
        if let Some(run) = self.runs.last_mut() {
            run.end += 1;
        }
    }

    /// Gives up all but the first `keep` entries.
    pub fn truncate(&mut self, keep: usize) {
        self.entries.truncate(keep);
        self.runs.retain(|run| (run.first as usize) < keep);
        if let Some(run) = self.runs.last_mut() {
            run.end = keep as u32;
        }
    }

    /// Stamps the block: entries without a time of their own get `time` plus their place in nanoseconds, so that no two
    /// of a stream are equal (a store that drops equal time and text keeps both).
    pub fn stamp(&mut self, time: i64) {
        self.time = time;
        for (place, entry) in self.entries.iter_mut().enumerate() {
            if entry.flags & Entry::OWN_TIME == 0 {
                entry.time = time + place as i64;
            }
        }
    }

    /// What the block's transit through ring and workers is charged to; dropped when it reaches its lanes.
    pub fn set_charge(&mut self, charge: Charge) {
        self.charge = Some(charge);
    }

    /// Takes the transit charge out, to be given back.
    pub fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }

    // --- working: by the one worker that holds it

    /// Forgets everything steps made: all entries wanted, no fields.
    pub fn reset_side(&mut self) {
        self.fields.clear();
        self.arena.clear();
        for entry in &mut self.entries {
            (entry.fields_first, entry.fields_n, entry.fields_spare) = (0, 0, 0);
        }
        self.bits.clear();
        self.bits.resize(self.words(), 0);
        fill(&mut self.bits, self.entries.len());
    }

    /// Marks every entry wanted and keeps its fields: for a block whose entries were copied from others.
    pub fn want_all(&mut self) {
        self.bits.clear();
        self.bits.resize(self.words(), 0);
        fill(&mut self.bits, self.entries.len());
    }

    /// The bytes behind [`Space::Constant`]: the pipeline's.
    pub fn set_constants(&mut self, constants: &Arc<[u8]>) {
        self.constants = Some(Arc::clone(constants));
    }

    /// Text, index and side state, to work on.
    pub fn parts(&mut self) -> Parts<'_> {
        let words = self.words();
        Parts {
            text: &self.pages[..self.text_len],
            entries: &mut self.entries,
            fields: &mut self.fields,
            arena: &mut self.arena,
            live: &mut self.bits[..words],
        }
    }

    /// Takes the entry out: no lane gets it.
    pub fn discard(&mut self, index: usize) {
        self.bits[index / 64] &= !(1 << (index % 64));
    }

    /// Adds a field behind the entry's others, or sets the value of the last one with the same key bytes.
    pub fn set_field(&mut self, index: usize, field: Field) -> Result<(), NoRoom> {
        let range = self.field_rows(index);
        let key = self.bytes(field.key());
        let same = range.clone().rev().find(|row| {
            let known = &self.fields[*row];
            !known.key_escaped() && self.bytes(known.key()) == key
        });
        match same {
            Some(row) => self.fields[row] = field,
            None => self.add_field(index, range, field)?,
        }
        Ok(())
    }

    fn add_field(&mut self, index: usize, rows: Range<usize>, field: Field) -> Result<(), NoRoom> {
        let entry = &mut self.entries[index];
        if entry.fields_spare > 0 {
            entry.fields_spare -= 1;
            self.fields[rows.end] = field;
        } else if self.fields.len() + rows.len() + 1 > FIELDS_MAX || entry.fields_n == u16::MAX {
            return Err(NoRoom);
        } else {
            if rows.end != self.fields.len() || rows.is_empty() {
                // Others' rows stand behind ours: move to the end of the table.
                entry.fields_first = self.fields.len() as u32;
                self.fields.extend_from_within(rows);
            }
            self.fields.push(field);
        }
        self.entries[index].fields_n += 1;
        Ok(())
    }

    /// Copies `bytes` to the arena.
    pub fn store(&mut self, bytes: &[u8]) -> Result<Slice, NoRoom> {
        let at = self.arena.len();
        if at + bytes.len() > ARENA_MAX {
            return Err(NoRoom);
        }
        self.arena.extend_from_slice(bytes);
        Ok(Slice { space: Space::Arena, offset: at as u32, len: bytes.len() as u32 })
    }

    /// Opens `count` further rows of bits, all zero, and as many pins as there are lanes.
    pub fn open_selections(&mut self, count: usize, lanes: usize) {
        self.bits.resize(self.words() * (1 + count), 0);
        self.pins.clear();
        self.pins.resize_with(lanes, AtomicU32::default);
    }

    /// Row `row` of the bits: 0 is *wanted*, the others are conditional lanes' selections.
    pub fn selection(&self, row: usize) -> &[u64] {
        &self.bits[row * self.words()..][..self.words()]
    }

    /// Notes that the lane at `lane` of the plan gets what `row` selects: one cut per run that has any of it.
    pub fn add_cuts(&mut self, lane: u16, row: u16) {
        for run in &self.runs {
            let range = run.first..run.end;
            let span = range.start as usize..range.end as usize;
            let bits = &self.bits[usize::from(row) * self.words()..][..self.words()];
            let entries = count_selected(bits, span.clone());
            if entries == 0 {
                continue;
            }
            let bytes = if entries == span.len() {
                let last = &self.entries[span.end - 1];
                u64::from(last.offset + last.len - self.entries[span.start].offset)
            } else {
                selected(bits, span).map(|place| u64::from(self.entries[place].len)).sum()
            };
            self.cuts.push(Cut { lane, row, range, entries: entries as u32, bytes });
        }
    }

    /// What each lane gets, in the order of the plan's lanes.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Copies an entry of another block behind the own ones, with its text, time, flags and fields. False if it does
    /// not fit; then nothing was copied.
    pub fn copy_entry(&mut self, from: &Block, index: usize) -> bool {
        let entry = from.entries[index];
        let text = &from.text()[entry.offset as usize..][..entry.len as usize];
        let fields = from.fields_of(index);
        let side = fields.iter().flat_map(|field| [field.key(), field.value()]);
        let arena: usize =
            side.filter(|slice| slice.space != Space::Text).map(|slice| slice.len as usize).sum();
        let room = self.pages.len() - self.text_len > text.len()
            && self.entries.len() < ENTRIES_MAX
            && self.fields.len() + fields.len() <= FIELDS_MAX
            && self.arena.len() + arena <= self.pages.len();
        if !room {
            return false;
        }
        let offset = self.text_len as u32;
        self.pages[self.text_len..][..text.len()].copy_from_slice(text);
        // A newline behind each keeps lines whole for sinks that write spans.
        self.pages[self.text_len + text.len()] = b'\n';
        self.text_len += text.len() + 1;
        let fields_first = self.fields.len() as u32;
        for field in fields {
            let mut moved = |slice: Slice| match slice.space {
                Space::Text => Slice { offset: slice.offset - entry.offset + offset, ..slice },
                Space::Arena | Space::Constant => {
                    let at = self.arena.len() as u32;
                    self.arena.extend_from_slice(from.bytes(slice));
                    Slice { space: Space::Arena, offset: at, len: slice.len }
                }
            };
            let copy = Field::new(moved(field.key()), moved(field.value()), field.kind());
            self.fields.push(if field.key_escaped() { copy.with_escaped_key() } else { copy });
        }
        self.push(Entry { offset, fields_first, fields_spare: 0, ..entry });
        true
    }

    /// Selects the entry in `row`.
    pub fn select(&mut self, row: usize, index: usize) {
        let at = row * self.words() + index / 64;
        self.bits[at] |= 1 << (index % 64);
    }

    // --- reading: by everyone who shares it

    /// The text.
    pub fn text(&self) -> &[u8] {
        &self.pages[..self.text_len]
    }

    /// The index.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The runs, in order, without gaps.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The time it was stamped with, in nanoseconds since 1970-01-01 UTC.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// The stream of the entry `index`.
    pub fn stream_of(&self, index: usize) -> &Arc<Stream> {
        let run = self.runs.partition_point(|run| run.end as usize <= index);
        &self.runs[run].stream
    }

    /// The fields of the entry `index`.
    pub fn fields_of(&self, index: usize) -> &[Field] {
        &self.fields[self.field_rows(index)]
    }

    fn field_rows(&self, index: usize) -> Range<usize> {
        let entry = &self.entries[index];
        entry.fields_first as usize..entry.fields_first as usize + usize::from(entry.fields_n)
    }

    /// The bytes that `slice` names.
    pub fn bytes(&self, slice: Slice) -> &[u8] {
        let space: &[u8] = match slice.space {
            Space::Text => self.text(),
            Space::Arena => &self.arena,
            Space::Constant => self.constants.as_deref().unwrap_or_default(),
        };
        &space[slice.offset as usize..][..slice.len as usize]
    }

    /// The entry `index`, to be read.
    pub fn view(&self, index: usize) -> EntryView<'_> {
        EntryView::new(self, index)
    }

    /// Bytes of memory the block holds on to.
    pub fn footprint(&self) -> usize {
        self.pages.len()
            + self.entries.capacity() * size_of::<Entry>()
            + self.fields.capacity() * size_of::<Field>()
            + self.arena.capacity()
    }

    /// Notes that the lane at `lane` of the plan holds `parts` more parts of it; gives how many it held before.
    pub fn pin(&self, lane: usize, parts: u32) -> u32 {
        // Relaxed: the lane's lock orders it before any `unpin` of the same lane.
        self.pins[lane].fetch_add(parts, Relaxed)
    }

    /// Notes that the lane has let go of one part; true when that was its last.
    pub fn unpin(&self, lane: usize) -> bool {
        // AcqRel: the last one must see that all the others are done with the block.
        self.pins[lane].fetch_sub(1, AcqRel) == 1
    }

    fn words(&self) -> usize {
        self.entries.len().div_ceil(64)
    }
}

/// Sets the first `count` bits.
fn fill(bits: &mut [u64], count: usize) {
    for (word, bits) in bits.iter_mut().enumerate() {
        let here = count.saturating_sub(word * 64).min(64);
        *bits = if here == 64 { u64::MAX } else { (1 << here) - 1 };
    }
}

/// The places in `range` whose bit is set, in order.
pub fn selected(bits: &[u64], range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
    let words = range.start / 64..range.end.div_ceil(64);
    words.flat_map(move |word| {
        let mut left = bits[word];
        if word == range.start / 64 {
            left &= u64::MAX << (range.start % 64);
        }
        if word == range.end / 64 {
            left &= (1 << (range.end % 64)) - 1;
        }
        std::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize;
            (left != 0).then(|| {
                left &= left - 1;
                word * 64 + at
            })
        })
    })
}

/// How many places in `range` have their bit set.
pub fn count_selected(bits: &[u64], range: Range<usize>) -> usize {
    let (start, end) = (range.start, range.end);
    (start / 64..end.div_ceil(64))
        .map(|word| {
            let mut left = bits[word];
            if word == start / 64 {
                left &= u64::MAX << (start % 64);
            }
            if word == end / 64 {
                left &= (1 << (end % 64)) - 1;
            }
            left.count_ones() as usize
        })
        .sum()
}

impl Recycle for Block {
    fn reset(&mut self) {
        self.text_len = 0;
        self.entries.clear();
        self.runs.clear();
        self.fields.clear();
        self.arena.clear();
        self.bits.clear();
        self.cuts.clear();
        self.constants = None;
        self.charge = None;
        // Side state far above the ordinary goes back to the allocator, so that one odd block does not pin it for ever.
        self.fields.shrink_to(self.pages.len() / size_of::<Field>());
        self.arena.shrink_to(self.pages.len());
    }
}

/// The pools of all classes, shared by everyone who needs blocks. Cheap to clone.
#[derive(Clone)]
pub struct Blocks(Arc<[(usize, Pool<Block>)]>);

impl Blocks {
    /// Pools of the ordinary classes and, if `largest` is more than those hold, one for blocks of that many bytes.
    pub fn new(largest: usize) -> Self {
        let sizes = CLASSES.into_iter().chain(Some(largest).filter(|size| *size > CLASSES[2]));
        Blocks(sizes.map(|size| (size.next_multiple_of(crate::pool::PAGE), Pool::default())).collect())
    }

    /// The smallest class with room for `text` bytes, or the largest there is.
    pub fn class(&self, text: usize) -> usize {
        let class = self.0.iter().find(|(size, _)| *size >= text).or(self.0.last());
        class.map_or(0, |(size, _)| *size)
    }

    /// An empty block of the smallest class with room for `text` bytes.
    pub fn get(&self, text: usize) -> Owned<Block> {
        let class = self.class(text);
        let pool = self.0.iter().find(|(size, _)| *size == class).map(|(_, pool)| pool);
        let Some(pool) = pool else { unreachable!("class() names a class that exists") };
        pool.get(|| Block::new(class))
    }

    /// Per class: text bytes, blocks made, blocks free.
    pub fn census(&self) -> Vec<(usize, usize, usize)> {
        let row = |(size, pool): &(usize, Pool<Block>)| {
            let (made, free) = pool.census();
            (*size, made, free)
        };
        self.0.iter().map(row).collect()
    }

    /// Gives the memory of free blocks back to the system, but for a few of each class.
    pub fn trim(&self) {
        for (size, pool) in self.0.iter() {
            pool.trim((1 << 20) / size);
        }
    }

    /// Moves a part-filled block into the smallest class that holds it, so that a few lines do not pin 64 KiB.
    pub fn fit(&self, block: Owned<Block>) -> Owned<Block> {
        if self.class(block.text_len) >= block.capacity() {
            return block;
        }
        let mut small = self.get(block.text_len);
        let whole = small.append(block.text());
        debug_assert!(whole.is_some(), "the class was chosen to hold it");
        small.entries.extend_from_slice(&block.entries);
        small.runs.extend_from_slice(&block.runs);
        small.time = block.time;
        small
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;
    use crate::labels::{Labels, SourceId};

    fn stream(origin: &str) -> Arc<Stream> {
        Arc::new(Stream::new(SourceId(0), "s".into(), "test", origin, Labels::default()))
    }

    fn filled(lines: &[&str]) -> Block {
        let mut block = Block::new(4096);
        block.begin_run(&stream("a"));
        for line in lines {
            let offset = block.append(line.as_bytes()).unwrap();
            block.push(Entry::at(offset, line.len() as u32));
        }
        block.reset_side();
        block
    }

    #[test]
    fn runs_follow_their_streams_and_empty_ones_vanish() {
        let mut block = Block::new(10);
        let (a, b) = (stream("a"), stream("b"));
        block.begin_run(&a);
        block.begin_run(&b);
        block.push(Entry::at(0, 0));
        block.begin_run(&b);
        block.push(Entry::at(0, 0));
        block.begin_run(&a);
        block.push(Entry::at(0, 0));
        let rows: Vec<_> = block.runs().iter().map(|run| (&*run.stream.origin, run.first, run.end)).collect();
        assert_eq!(rows, [("b", 0, 2), ("a", 2, 3)]);
        assert_eq!((&*block.stream_of(1).origin, &*block.stream_of(2).origin), ("b", "a"));
        block.truncate(1);
        assert_eq!(block.runs().len(), 1);
    }

    #[test]
    fn bits_select_exactly_what_a_naive_walk_selects() {
        for (start, end) in [(0, 0), (0, 64), (0, 200), (63, 65), (64, 128), (1, 199), (130, 131)] {
            let bits = [0xF0F0_1234_5678_9ABC_u64, u64::MAX, 0, 1 << 63 | 5];
            let naive: Vec<_> = (start..end).filter(|at| bits[at / 64] >> (at % 64) & 1 == 1).collect();
            assert_eq!(selected(&bits, start..end).collect::<Vec<_>>(), naive);
            assert_eq!(count_selected(&bits, start..end), naive.len());
        }
    }

    #[test]
    fn a_field_can_be_added_wherever_the_entry_s_rows_stand() {
        let mut block = filled(&["one", "two"]);
        let text = |offset, len| Slice { space: Space::Text, offset, len };
        block.set_field(0, Field::new(text(0, 1), text(0, 3), Kind::Plain)).unwrap();
        block.set_field(1, Field::new(text(3, 1), text(3, 3), Kind::Plain)).unwrap();
        block.set_field(0, Field::new(text(1, 1), text(0, 3), Kind::Plain)).unwrap();
        let made = block.store(b"made").unwrap();
        block.set_field(0, Field::new(text(0, 1), made, Kind::Plain)).unwrap();
        let names = |at| block.view(at).fields().map(|field| field.key().to_vec()).collect::<Vec<_>>();
        assert_eq!(names(0), [b"o".to_vec(), b"n".to_vec()]);
        assert_eq!(names(1), [b"t".to_vec()]);
        assert_eq!(block.view(0).field(b"o").unwrap().raw(), b"made");
    }

    #[test]
    fn a_small_rest_moves_to_a_small_block_with_its_runs_and_times() {
        let blocks = Blocks::new(0);
        let mut block = blocks.get(ORDINARY);
        block.begin_run(&stream("a"));
        let at = block.append(b"hello").unwrap();
        block.push(Entry::at(at, 5));
        block.stamp(99);
        let small = blocks.fit(block);
        assert_eq!((small.capacity(), small.text(), small.time()), (4096, &b"hello"[..], 99));
        assert_eq!((small.entries()[0].time, small.runs().len()), (99, 1));
        assert_eq!(blocks.census()[1], (ORDINARY, 1, 1));
    }
}
