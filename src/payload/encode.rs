//! Writing payloads.

use super::{
    AGAIN, AGAIN_LEN, BESIDE, CHUNK, CHUNK_HEAD, FIELD, HEAD, IN_TEXT, ROW, STREAM, STREAMS_MAX, VERSION,
};
use crate::batch::Part;
use crate::block::{ARENA_MAX, Block, ENTRIES_MAX, EntryView, FIELDS_MAX, ORDINARY};
use crate::entry::{Entry, Field, Slice, Space};
use crate::labels::Stream;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Places of the table of names from the config that were written before.
const KNOWN: usize = 64;

/// What came of adding entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// All of them are in.
    All,
    /// So many of them are in; the payload has no room for the next one.
    Full(u32),
    /// So many of them are in; the next one would not even fit a payload of its own.
    TooLarge(u32),
}

/// Makes one payload after the other in the same memory.
pub struct Encoder {
    out: Vec<u8>,
    limit: usize,
    entries: u32,
    /// The streams of this payload, by address. They are kept until it is cleared, so that an address stays theirs.
    numbers: HashMap<usize, u16>,
    streams: Vec<Arc<Stream>>,
    known: Known,
}

impl Encoder {
    /// For payloads of `limit` bytes at most.
    pub fn new(limit: usize) -> Self {
        let mut encoder = Encoder {
            out: Vec::new(),
            limit,
            entries: 0,
            numbers: HashMap::new(),
            streams: Vec::new(),
            known: Known::default(),
        };
        encoder.clear();
        encoder
    }

    /// Begins the next payload.
    pub fn clear(&mut self) {
        self.out.clear();
        self.out.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
        self.entries = 0;
        self.numbers.clear();
        self.streams.clear();
    }

    /// How many entries are in it.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The payload as it is now, to be kept if it has any entries.
    pub fn payload(&self) -> &[u8] {
        &self.out
    }

    /// Adds the selected entries of `part` but for the first `skip`, as far as they fit.
    pub fn add(&mut self, part: &Part, skip: u32) -> Added {
        let block = &*part.block;
        let span = part.range.start as usize..part.range.end as usize;
        if skip == 0 && part.is_whole() && self.add_span(block, part.stream(), span) {
            return Added::All;
        }
        self.add_each(block, part.stream(), part.places().skip(skip as usize))
    }

    /// Adds one entry; what is added must be all or nothing, so `All` means it is in.
    pub fn add_entry(&mut self, entry: EntryView<'_>) -> Added {
        let (block, place) = entry.place();
        self.add_each(block, block.stream_of(place), std::iter::once(place))
    }

    /// Adds all entries of `span`, with their text in one piece as it stands in the block; false if it does not, or if
    /// they do not fit.
    fn add_span(&mut self, block: &Block, stream: &Arc<Stream>, span: Range<usize>) -> bool {
        let entries = &block.entries()[span.clone()];
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return true };
        let Some(sizes) = Sizes::of_span(block, span.clone()) else { return false };
        let text = first.offset as usize..(last.offset + last.len) as usize;
        let size = CHUNK_HEAD + entries.len() * ROW + sizes.beside_text() + text.len() + 1;
        if !sizes.fit_a_block() || size > self.room_with(stream) {
            return false;
        }
        let head = self.begin_chunk(stream, entries.len(), sizes.fields);
        let mut end = first.offset;
        self.rows(
            entries.len(),
            entries.iter().map(|entry| {
                let gap = (entry.offset - end) as u8;
                end = entry.offset + entry.len;
                (entry, entry.len, gap)
            }),
        );
        let start = first.offset;
        let beside = self.fields(sizes.fields, block, span.map(|place| (place, start)));
        self.out.extend_from_slice(&block.text()[text.clone()]);
        self.out.push(b'\n');
        self.end_chunk(head, entries.len(), beside, text.len() + 1);
        true
    }

    /// Adds the entries at `places` one by one, in chunks that fit a block each.
    fn add_each(
        &mut self,
        block: &Block,
        stream: &Arc<Stream>,
        mut places: impl Iterator<Item = usize> + Clone,
    ) -> Added {
        let mut added = 0;
        loop {
            let room = self.room_with(stream).saturating_sub(CHUNK_HEAD);
            let (mut chunk, mut count, mut refused) = (Sizes::default(), 0, None);
            for place in places.clone() {
                let one = Sizes::of(block, place);
                let sum = chunk.plus(&one);
                let size = (count + 1) * ROW + sum.beside_text() + sum.text;
                let large = count == ENTRIES_MAX || sum.text > ORDINARY || !sum.fit_a_block();
                if size > room || (large && count > 0) {
                    refused = Some(ROW + one.beside_text() + one.text);
                    break;
                }
                (chunk, count) = (sum, count + 1);
            }
            if count > 0 {
                self.chunk_of_each(block, stream, places.clone().take(count), count, &chunk);
                added += count as u32;
                places.nth(count - 1);
            }
            match refused {
                None => return Added::All,
                // It is looked at again, as the first of a chunk.
                Some(_) if count > 0 => {}
                Some(size) if HEAD + described(stream) + CHUNK_HEAD + size > self.limit => {
                    return Added::TooLarge(added);
                }
                Some(_) => return Added::Full(added),
            }
        }
    }

    fn chunk_of_each(
        &mut self,
        block: &Block,
        stream: &Arc<Stream>,
        places: impl Iterator<Item = usize> + Clone,
        count: usize,
        sizes: &Sizes,
    ) {
        let head = self.begin_chunk(stream, count, sizes.fields);
        let mut gap = 0;
        self.rows(
            count,
            places.clone().map(|place| {
                let row = (&block.entries()[place], block.text_of(place).len, gap);
                gap = 1;
                row
            }),
        );
        let mut at = 0;
        let moved = places.clone().map(|place| {
            let start = block.entries()[place].offset.wrapping_sub(at);
            at += block.text_of(place).len + 1;
            (place, start)
        });
        let beside = self.fields(sizes.fields, block, moved);
        for place in places {
            self.out.extend_from_slice(block.bytes(block.text_of(place)));
            self.out.push(b'\n');
        }
        self.end_chunk(head, count, beside, sizes.text);
    }

    /// Bytes left for a chunk of the stream, once it is described.
    fn room_with(&self, stream: &Arc<Stream>) -> usize {
        let describe = match self.numbers.contains_key(&address(stream)) {
            true => 0,
            false if self.streams.len() == STREAMS_MAX => return 0,
            false => described(stream),
        };
        self.limit.saturating_sub(self.out.len() + describe)
    }

    /// The stream's number; describes it if it is new.
    fn number(&mut self, stream: &Arc<Stream>) -> u16 {
        if let Some(number) = self.numbers.get(&address(stream)) {
            return *number;
        }
        let number = self.streams.len() as u16;
        self.numbers.insert(address(stream), number);
        self.streams.push(Arc::clone(stream));
        self.out.push(if stream.again.is_some() { AGAIN } else { STREAM });
        self.text(&stream.source_name);
        self.text(stream.source_type);
        self.text(&stream.origin);
        self.out.push(stream.labels.len() as u8);
        for (name, value) in stream.labels.iter() {
            self.text(name);
            self.text(value);
        }
        if let Some(again) = stream.again {
            self.out.extend_from_slice(&again.retries.to_le_bytes());
            self.out.extend_from_slice(&again.first_failed_ms.to_le_bytes());
        }
        number
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Begins a chunk of entries of `stream`; gives where its head is.
    fn begin_chunk(&mut self, stream: &Arc<Stream>, entries: usize, fields: usize) -> usize {
        let number = self.number(stream);
        let head = self.out.len();
        self.out.extend_from_slice(&[CHUNK, 0]);
        self.out.extend_from_slice(&number.to_le_bytes());
        self.out.extend_from_slice(&(entries as u32).to_le_bytes());
        self.out.extend_from_slice(&(fields as u32).to_le_bytes());
        // How many bytes there are beside and in the text is known at the end.
        self.out.extend_from_slice(&[0; 8]);
        head
    }

    /// Writes `count` rows: the entry, the length of its text, and the bytes between the one before and it.
    fn rows<'a>(&mut self, count: usize, rows: impl Iterator<Item = (&'a Entry, u32, u8)>) {
        let at = self.out.len();
        self.out.resize(at + count * ROW, 0);
        for (out, (entry, len, gap)) in self.out[at..].chunks_exact_mut(ROW).zip(rows) {
            out[..8].copy_from_slice(&entry.time.to_le_bytes());
            out[8..12].copy_from_slice(&len.to_le_bytes());
            out[12..14].copy_from_slice(&entry.fields_n.to_le_bytes());
            out[14] = entry.flags;
            out[15] = gap;
        }
    }

    /// Writes the `count` fields of the entries at `places`, and the bytes they have beside the text; gives how many those
    /// are. With each place comes what makes an offset in the block's text one in the chunk's, when it is taken off.
    fn fields(&mut self, count: usize, block: &Block, places: impl Iterator<Item = (usize, u32)>) -> usize {
        if count == 0 {
            return 0;
        }
        self.known.forget();
        let mut row = self.out.len();
        self.out.resize(row + count * FIELD, 0);
        let beside = self.out.len();
        for (place, start) in places {
            for field in block.fields_of(place) {
                let [key, value] = [field.key(), field.value()].map(|slice| {
                    if is_own(block, place, slice) {
                        return (slice.offset.wrapping_sub(start), IN_TEXT);
                    }
                    let at = (self.out.len() - beside) as u32;
                    if slice.space == Space::Constant {
                        let known = self.known.find_or_note(slice, at);
                        if known != at {
                            return (known, BESIDE);
                        }
                    }
                    self.out.extend_from_slice(block.bytes(slice));
                    (at, BESIDE)
                });
                write_field(&mut self.out[row..row + FIELD], field, key, value);
                row += FIELD;
            }
        }
        self.out.len() - beside
    }

    /// Ends the chunk that begins at `head`.
    fn end_chunk(&mut self, head: usize, entries: usize, beside: usize, text: usize) {
        let at = head + CHUNK_HEAD - 8;
        self.out[at..at + 4].copy_from_slice(&(beside as u32).to_le_bytes());
        self.out[at + 4..at + 8].copy_from_slice(&(text as u32).to_le_bytes());
        self.entries += entries as u32;
        self.out[4..HEAD].copy_from_slice(&self.entries.to_le_bytes());
    }
}

fn write_field(out: &mut [u8], field: &Field, key: (u32, u8), value: (u32, u8)) {
    out[..4].copy_from_slice(&key.0.to_le_bytes());
    out[4..8].copy_from_slice(&value.0.to_le_bytes());
    out[8..12].copy_from_slice(&field.value().len.to_le_bytes());
    out[12..14].copy_from_slice(&(field.key().len as u16).to_le_bytes());
    out[14] = key.1;
    out[15] = value.1 | (field.kind() as u8) << 2 | u8::from(field.key_escaped()) << 5;
}

/// Whether the slice is a piece of the text that the entry still has.
fn is_own(block: &Block, place: usize, slice: Slice) -> bool {
    let entry = &block.entries()[place];
    slice.space == Space::Text
        && slice.offset >= entry.offset
        && slice.offset + slice.len <= entry.offset + entry.len
        && !block.is_replaced(place)
}

fn address(stream: &Arc<Stream>) -> usize {
    Arc::as_ptr(stream) as usize
}

/// How many bytes it takes to describe the stream.
fn described(stream: &Stream) -> usize {
    let names = stream.source_name.len() + stream.source_type.len();
    // Its own count has all bytes of its origin and labels.
    let again = if stream.again.is_some() { AGAIN_LEN } else { 0 };
    1 + 3 * 4 + names + stream.bytes as usize + 1 + stream.labels.len() * 8 + again
}

/// What entries take beside their rows.
#[derive(Clone, Copy, Default)]
struct Sizes {
    fields: usize,
    /// Bytes of keys and values that are no piece of the text, at most: names from the config are written once.
    beside: usize,
    /// Bytes of text, each with what ends it.
    text: usize,
}

impl Sizes {
    fn of(block: &Block, place: usize) -> Self {
        let fields = block.fields_of(place);
        let slices = fields.iter().flat_map(|field| [field.key(), field.value()]);
        let beside = slices.filter(|slice| !is_own(block, place, *slice)).map(|slice| slice.len as usize);
        Sizes { fields: fields.len(), beside: beside.sum(), text: block.text_of(place).len as usize + 1 }
    }

    /// Of entries whose text stands in one piece, short things between them; `None` if it does not.
    fn of_span(block: &Block, span: Range<usize>) -> Option<Self> {
        let entries = &block.entries()[span.clone()];
        let mut end = entries.first()?.offset;
        let whole = entries.iter().all(|entry| {
            let gap = entry.offset.wrapping_sub(end);
            end = entry.offset + entry.len;
            gap <= u8::MAX.into()
        });
        if !whole || block.has_replaced() {
            return None;
        }
        if !block.has_fields() {
            return Some(Sizes::default());
        }
        Some(span.fold(Sizes::default(), |sum, place| sum.plus(&Sizes::of(block, place))))
    }

    fn plus(&self, other: &Sizes) -> Self {
        Sizes {
            fields: self.fields + other.fields,
            beside: self.beside + other.beside,
            text: self.text + other.text,
        }
    }

    fn beside_text(&self) -> usize {
        self.fields * FIELD + self.beside
    }

    fn fit_a_block(&self) -> bool {
        self.fields <= FIELDS_MAX && self.beside <= ARENA_MAX
    }
}

/// Where names of the config stand beside the text of a chunk: most entries of a block have the same ones.
struct Known {
    slots: [Option<(u32, u32, u32)>; KNOWN],
}

impl Known {
    fn forget(&mut self) {
        self.slots.fill(None);
    }

    /// Where the bytes of `slice` were put; if that is not known, they will be at `at`.
    fn find_or_note(&mut self, slice: Slice, at: u32) -> u32 {
        let slot = &mut self.slots[(slice.offset ^ slice.len) as usize % KNOWN];
        match *slot {
            Some((offset, len, known)) if (offset, len) == (slice.offset, slice.len) => known,
            _ => {
                *slot = Some((slice.offset, slice.len, at));
                at
            }
        }
    }
}

impl Default for Known {
    fn default() -> Self {
        Known { slots: [None; KNOWN] }
    }
}
