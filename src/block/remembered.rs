//! One entry kept apart from its block, which goes its way meanwhile: to be given again later, with something to add.

use super::Block;
use crate::entry::{Entry, Kind};
use crate::labels::Stream;
use std::sync::Arc;

/// An entry as it was behind its pipeline: its stream, text and fields.
#[derive(Debug)]
pub struct Remembered {
    stream: Arc<Stream>,
    flags: u8,
    text: usize,
    rows: Vec<Row>,
    /// The text, then keys and values in turn.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    key: u32,
    key_escaped: bool,
    value: u32,
    kind: Kind,
}

impl Remembered {
    /// The entry `index` of `block`; in the memory of `spare`, which is not needed any more.
    pub fn of(block: &Block, index: usize, spare: Option<Remembered>) -> Remembered {
        let stream = Arc::clone(block.stream_of(index));
        let (rows, bytes) = spare.map(|spare| (spare.rows, spare.bytes)).unwrap_or_default();
        let mut kept = Remembered { stream, flags: 0, text: 0, rows, bytes };
        kept.rows.clear();
        kept.bytes.clear();
        kept.flags = block.entries()[index].flags & !Entry::OWN_TIME;
        kept.bytes.extend_from_slice(block.bytes(block.text_of(index)));
        kept.text = kept.bytes.len();
        for field in block.fields_of(index) {
            let (key, value) = (block.bytes(field.key()), block.bytes(field.value()));
            kept.rows.push(Row {
                key: key.len() as u32,
                key_escaped: field.key_escaped(),
                value: value.len() as u32,
                kind: field.kind(),
            });
            kept.bytes.extend_from_slice(key);
            kept.bytes.extend_from_slice(value);
        }
        kept
    }

    /// How many bytes of memory the entry `index` of `block` would take, about.
    pub fn size_of(block: &Block, index: usize) -> usize {
        let fields = block.fields_of(index);
        let side = |field: &crate::entry::Field| (field.key().len + field.value().len) as usize;
        size_of::<Remembered>()
            + block.text_of(index).len as usize
            + fields.iter().map(side).sum::<usize>()
            + size_of_val(fields)
    }

    /// How many bytes of memory it takes, about.
    pub fn size(&self) -> usize {
        size_of::<Remembered>() + self.bytes.capacity() + self.rows.capacity() * size_of::<Row>()
    }

    /// How many bytes of text a block needs for it alone, fields and all.
    pub fn room(&self) -> usize {
        // What came with entries may have as many bytes as the text.
        self.bytes.len() + 1 + Self::EXTRA_MAX
    }

    /// Longest name and value that [`Remembered::put`] adds, together.
    pub const EXTRA_MAX: usize = 128;

    /// Puts it behind the entries of `block`, with one more number among its fields. False if there is no room.
    pub fn put(&self, block: &mut Block, (name, number): (&str, u64)) -> bool {
        let (mut digits, number) = (itoa::Buffer::new(), number);
        let number = digits.format(number);
        let side = self.bytes.len() - self.text + name.len() + number.len();
        let spare = block.capacity() - block.text().len();
        if spare <= self.text
            || block.entries().len() >= super::ENTRIES_MAX
            || !block.has_room_to_give(self.rows.len() + 1, side)
        {
            return false;
        }
        let (text, mut rest) = self.bytes.split_at(self.text);
        block.begin_run(&self.stream);
        // A newline behind each keeps lines whole for sinks that write spans.
        let Some(offset) = block.append(text) else { return false };
        let _ = block.append(b"\n");
        block.push(Entry { flags: self.flags, ..Entry::at(offset, self.text as u32) });
        let mut next = |len: u32| {
            let (piece, behind) = rest.split_at(len as usize);
            rest = behind;
            piece
        };
        for row in &self.rows {
            let key = next(row.key);
            // The one that is added counts; there shall not be two of its name.
            let value = next(row.value);
            if key != name.as_bytes() {
                block.give((key, row.key_escaped), value, row.kind);
            }
        }
        block.give((name.as_bytes(), false), number.as_bytes(), Kind::Number);
        true
    }
}
