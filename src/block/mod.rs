//! The unit that crosses threads: text of one source, an index of its entries in runs that name their stream, and the
//! side state that steps make of them.
//!
//! The text never changes once it is framed, and all that steps make (fields, arena, filter bits, selections) can be
//! reset, so a pipeline that panicked can be tried again on the same block. What replaces an entry's text is side state
//! too.
//!
//! Not here: who may forget the block's origin (see `ack`), where buffers come from (see `pool`).

mod bits;
mod copy;
mod cut;
mod given;
mod keep;
mod notes;
mod pools;
mod refused;
mod remembered;
mod texts;
mod view;

pub use bits::{count_selected, selected};
pub use cut::Cut;
pub use pools::Blocks;
pub use refused::Refusal;
pub use remembered::Remembered;
pub use texts::Spaces;
pub use view::{EntryView, FieldView};

use crate::entry::{Entry, Field, Slice, Space};
use crate::labels::Stream;
use crate::pool::{Charge, Pages, Recycle};
use bits::fill;
use given::Given;
use notes::Noted;
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

/// Text, index and side state of up to [`ENTRIES_MAX`] entries of one source.
pub struct Block {
    pages: Pages,
    text_len: usize,
    entries: Vec<Entry>,
    runs: Vec<Run>,
    /// Bytes of the streams that runs were begun with.
    streams_bytes: usize,
    fields: Vec<Field>,
    arena: Vec<u8>,
    /// What came with the entries, and outlasts [`Block::reset_side`].
    given: Given,
    /// Where each entry's text is, once a step replaced that of any; else empty.
    texts: Vec<Slice>,
    /// What steps gave up.
    refused: Vec<Refusal>,
    /// What ordered steps noted, by their place among those.
    noted: Vec<Noted>,
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
    /// What the config says: see [`Space::Constant`].
    pub constants: &'a [u8],
    /// Where each entry's text is, if any was replaced: see [`Parts::text_of`].
    texts: &'a mut Vec<Slice>,
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
            streams_bytes: 0,
            fields: Vec::new(),
            arena: Vec::new(),
            given: Given::default(),
            texts: Vec::new(),
            refused: Vec::new(),
            noted: Vec::new(),
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

    /// Whether a run of `stream` may be begun, if those who send choose how many streams there are: labels shall not be
    /// much more than text. The first may always.
    pub fn has_room_for_run(&self, stream: &Arc<Stream>) -> bool {
        let same = |last: &Run| Arc::ptr_eq(&last.stream, stream);
        self.runs.last().is_none_or(same) || self.streams_bytes + stream.bytes as usize <= self.pages.len()
    }

    /// Begins a run: entries pushed from here on belong to `stream`. A run without entries vanishes again.
    pub fn begin_run(&mut self, stream: &Arc<Stream>) {
        let at = self.entries.len() as u32;
        if self.runs.last().is_none_or(|last| !Arc::ptr_eq(&last.stream, stream)) {
            self.streams_bytes += stream.bytes as usize;
        }
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
        self.given.truncate(keep);
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

    /// Forgets everything steps made: all entries wanted, no fields but those they came with.
    pub fn reset_side(&mut self) {
        self.fields.clear();
        self.texts.clear();
        self.refused.clear();
        self.clear_notes();
        for entry in &mut self.entries {
            (entry.fields_first, entry.fields_n, entry.fields_spare) = (0, 0, 0);
        }
        self.restore_given();
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
            constants: self.constants.as_deref().unwrap_or_default(),
            texts: &mut self.texts,
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
        let (rows, spaces) = (self.fields[range.clone()].iter(), self.spaces());
        match rows.rev().position(|known| known.is_written_as(&field, |slice| spaces.bytes(slice))) {
            Some(behind) => self.fields[range.end - 1 - behind] = field,
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

    /// Selects in `row` those of the 64 entries from `word * 64` on whose bits are set.
    pub fn select_word(&mut self, row: usize, word: usize, bits: u64) {
        let at = row * self.words() + word;
        self.bits[at] |= bits;
    }

    // --- reading: by everyone who shares it

    /// The text as it was received; what an entry says now tells [`Block::text_of`].
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
    #[inline]
    pub fn bytes(&self, slice: Slice) -> &[u8] {
        self.spaces().bytes(slice)
    }

    /// What its slices point into: for loops, which then need not ask for it over and over.
    #[inline]
    pub fn spaces(&self) -> Spaces<'_> {
        let constants = self.constants.as_deref().unwrap_or_default();
        Spaces { text: self.text(), arena: &self.arena, constants }
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
            + self.texts.capacity() * size_of::<Slice>()
            + self.notes_footprint()
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

impl Recycle for Block {
    fn footprint(&self) -> usize {
        Block::footprint(self)
    }

    fn reset(&mut self) {
        self.text_len = 0;
        self.entries.clear();
        self.runs.clear();
        self.streams_bytes = 0;
        self.fields.clear();
        self.arena.clear();
        self.given.clear();
        self.texts.clear();
        self.refused.clear();
        self.clear_notes();
        self.bits.clear();
        self.cuts.clear();
        self.constants = None;
        self.charge = None;
        // Side state far above the ordinary goes back to the allocator, so that one odd block does not pin it for ever.
        self.fields.shrink_to(self.pages.len() / size_of::<Field>());
        self.arena.shrink_to(self.pages.len());
    }
}

#[cfg(test)]
mod tests;
