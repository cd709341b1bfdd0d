//! A letter as an entry again: in a block, with everything it had.

use super::letter::{KeptEntry, KeptField};
use crate::block::Block;
use crate::entry::Entry;
use crate::labels::{Again, SourceId, Stream};
use std::sync::Arc;

/// The type of what the program itself hands in; no config names it.
const SUBMIT: &str = "submit";
/// The type of a source whose own is not known to this program.
const UNKNOWN: &str = "unknown";

/// Bytes of text a block must have room for to take the entry.
pub fn room_for(entry: &KeptEntry) -> usize {
    // What an entry came with may take as much as its text.
    (entry.text().len() + 1).max(bytes_of(&entry.fields))
}

fn bytes_of(fields: &[KeptField]) -> usize {
    fields.iter().map(|field| field.key.len() + field.value.len()).sum()
}

/// Puts the entry into an empty block as one of the source `id`, under the name, labels and time it had. `types` are the
/// types of source that there are.
///
/// Errors: the block has no room for it, in words.
pub fn put(
    entry: &KeptEntry,
    again: Again,
    id: SourceId,
    types: &[&'static str],
    block: &mut Block,
) -> Result<(), String> {
    let known = types.iter().chain(&[SUBMIT]).find(|known| **known == entry.source_type);
    let stream = Stream::new(
        id,
        Arc::clone(&entry.source),
        known.copied().unwrap_or(UNKNOWN),
        entry.origin.as_str(),
        entry.labels.clone(),
    );
    block.begin_run(&Arc::new(stream.given_again(again)));
    let text = entry.text();
    if block.capacity() <= text.len() || !block.has_room_to_give(entry.fields.len(), bytes_of(&entry.fields))
    {
        return Err(format!("it has {} bytes, more than blocks of this config have", room_for(entry)));
    }
    let offset = block.append(text).unwrap_or_default();
    block.append(b"\n");
    // Its time is its own now: a store that knows the entry already is to see that it is the same.
    let flags = entry.flags | Entry::OWN_TIME;
    block.push(Entry { time: entry.time, flags, ..Entry::at(offset, text.len() as u32) });
    for field in &entry.fields {
        block.give((&field.key, field.key_escaped), &field.value, field.kind);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::full;
    use super::*;

    #[test]
    fn an_entry_is_given_again_as_it_was_kept() {
        let kept = full().entry;
        let again = Again { retries: 2, first_failed_ms: 5 };
        let mut block = Block::new(room_for(&kept));
        put(&kept, again, SourceId(9), &["file"], &mut block).unwrap();
        block.stamp(1);
        block.reset_side();
        let view = block.view(0);
        assert_eq!((view.stream().source, view.stream().again), (SourceId(9), Some(again)));
        let same = KeptEntry::of(view);
        let as_processed = KeptEntry { received: b"pin=****".to_vec(), replaced: None, ..kept.clone() };
        assert_eq!(same, as_processed);
        assert_eq!(
            view.stream().bucket,
            Stream::new(SourceId(1), kept.source, "file", kept.origin, kept.labels).bucket
        );
    }

    #[test]
    fn an_entry_that_fits_no_block_is_refused() {
        let mut kept = full().entry;
        kept.replaced = Some(vec![b'x'; 10_000]);
        let mut block = Block::new(4096);
        let again = Again { retries: 1, first_failed_ms: 5 };
        assert!(put(&kept, again, SourceId(9), &[], &mut block).unwrap_err().contains("10001 bytes"));
    }
}
