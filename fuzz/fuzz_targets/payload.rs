//! Payloads of records, fed with anything: no panic, bounded memory, and what is read is written and read again the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use ringmain::block::{Block, Blocks};
use ringmain::entry::Kind;
use ringmain::labels::SourceId;
use ringmain::payload::{Added, Decoder, Encoder};
use ringmain::pool::Owned;

/// Most bytes of a payload.
const LIMIT: usize = 1 << 20;
const TYPES: &[&str] = &["file", "test"];

/// All that an entry says.
type Said = (String, i64, u8, Vec<u8>, Vec<(Vec<u8>, bool, Kind, Vec<u8>)>);

fn said(blocks: &[Owned<Block>]) -> Vec<Said> {
    let views = blocks.iter().flat_map(|block| (0..block.entries().len()).map(|at| block.view(at)));
    let one = |view: ringmain::block::EntryView<'_>| {
        let stream = view.stream();
        let fields = view
            .fields()
            .map(|field| (field.key().to_vec(), field.key_escaped(), field.kind(), field.raw().to_vec()));
        let stream =
            format!("{} {} {} {:?}", stream.source_name, stream.source_type, stream.origin, stream.labels);
        (stream, view.time(), view.entry().flags, view.text().to_vec(), fields.collect())
    };
    views.map(one).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(LIMIT)];
    let (blocks, mut decoder) = (Blocks::new(LIMIT), Decoder::new(SourceId(0), TYPES));
    let mut out = Vec::new();
    let Ok(entries) = decoder.decode(bytes, &blocks, &mut out) else {
        assert!(out.is_empty());
        return;
    };
    // What a block holds beside its text is no more than what was read.
    let held: usize = out.iter().map(|block| block.footprint()).sum();
    assert!(held <= 64 * bytes.len() + (1 << 20), "{held} bytes for {}", bytes.len());
    let first = said(&out);
    assert_eq!(first.len(), entries as usize);

    let (mut encoder, mut reread) = (Encoder::new(LIMIT), Vec::new());
    let mut flush = |encoder: &mut Encoder| {
        decoder.decode(encoder.payload(), &blocks, &mut reread).expect("what was written can be read");
        encoder.clear();
    };
    for view in out.iter().flat_map(|block| (0..block.entries().len()).map(|at| block.view(at))) {
        match encoder.add_entry(view) {
            Added::All => {}
            Added::Full(_) => {
                flush(&mut encoder);
                assert_eq!(encoder.add_entry(view), Added::All);
            }
            // Names that fields shared are counted for each of them.
            Added::TooLarge(_) => return,
        }
    }
    flush(&mut encoder);
    assert_eq!(said(&reread), first);
});
