//! Payloads, there and back.

use super::*;
use crate::batch::Part;
use crate::block::{Block, Blocks, ENTRIES_MAX, ORDINARY};
use crate::entry::{Entry, Field, Kind, Slice, Space};
use crate::labels::{SourceId, Stream};
use crate::pool::{Pool, Shared};
use crate::sinks::testing::{add_field, add_fields, block_of, stream};
use proptest::prelude::*;
use std::sync::Arc;

const LIMIT: usize = 1 << 20;

/// All that is to be the same on the other side.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    stream: String,
    time: i64,
    flags: u8,
    text: Vec<u8>,
    fields: Vec<(Vec<u8>, bool, Kind, Vec<u8>)>,
}

fn said(block: &Block, place: usize) -> Said {
    let (view, stream) = (block.view(place), block.stream_of(place));
    let fields = view
        .fields()
        .map(|field| (field.key().to_vec(), field.key_escaped(), field.kind(), field.raw().to_vec()));
    Said {
        stream: format!(
            "{} {} {} {:?} {}",
            stream.source_name, stream.source_type, stream.origin, stream.labels, stream.bucket
        ),
        time: view.time(),
        flags: view.entry().flags,
        text: view.text().to_vec(),
        fields: fields.collect(),
    }
}

fn share(block: Block) -> Shared<Block> {
    let mut owned = Pool::default().get(|| Block::new(1));
    *owned = block;
    owned.share()
}

/// The parts of what row 0 selects, one per run.
fn parts(block: &Shared<Block>) -> Vec<Part> {
    let runs = block.runs().iter().map(|run| {
        let mut part =
            Part { block: block.clone(), range: run.first..run.end, row: 0, entries: 0, bytes: 0, pin: 0 };
        part.entries = part.places().count() as u32;
        part
    });
    runs.filter(|part| part.entries > 0).collect()
}

fn decoder() -> Decoder {
    Decoder::new(SourceId(9), &["test", "file"])
}

fn blocks() -> Blocks {
    Blocks::new(LIMIT)
}

fn read(payload: &[u8]) -> Result<Vec<Said>, Malformed> {
    let mut out = Vec::new();
    let entries = decoder().decode(payload, &blocks(), &mut out)?;
    let said: Vec<_> = out.iter().flat_map(|block| all(block)).collect();
    assert_eq!(said.len(), entries as usize);
    Ok(said)
}

fn all(block: &Block) -> Vec<Said> {
    let selected = crate::block::selected(block.selection(0), 0..block.entries().len());
    selected.map(|place| said(block, place)).collect()
}

/// Through as many payloads of `limit` bytes as it takes, each checked on its own.
fn through(shared: &[Shared<Block>], limit: usize) -> Vec<Said> {
    let (mut encoder, mut out) = (Encoder::new(limit), Vec::new());
    let mut flush = |encoder: &mut Encoder| {
        assert!(encoder.payload().len() <= limit, "{} bytes", encoder.payload().len());
        let said = read(encoder.payload()).unwrap();
        assert_eq!(said.len(), encoder.entries() as usize);
        out.extend(said);
        encoder.clear();
    };
    for part in shared.iter().flat_map(parts) {
        let mut skip = 0;
        loop {
            match encoder.add(&part, skip) {
                Added::All => break,
                Added::Full(added) => {
                    skip += added;
                    assert!(encoder.entries() > 0, "an empty payload is not full");
                    flush(&mut encoder);
                }
                Added::TooLarge(added) => skip += added + 1,
            }
        }
    }
    flush(&mut encoder);
    out
}

#[test]
fn everything_a_block_can_hold_comes_back() {
    let app = stream("app", "/var/log/a", &[("host", "a"), ("env", "prod")]);
    let mut block = block_of(&app, &["one", "{\"k\":1}", "secret", "two\nlines", "", "gone", "last"]);
    add_fields(&mut block, 1);
    let own = |offset, len| Slice { space: Space::Text, offset, len };
    block.set_field(1, Field::new(own(6, 1), own(8, 1), Kind::Number)).unwrap();
    // Names a piece of the text that was received.
    block.set_field(2, Field::new(own(12, 3), own(15, 3), Kind::Plain)).unwrap();
    block.replace_text(2, b"*** and longer than it was").unwrap();
    for (place, flags) in [(0, Entry::CUT), (3, Entry::NEWLINES), (4, Entry::OWN_TIME)] {
        block.parts().entries[place].flags |= flags;
    }
    block.parts().entries[4].time = -5;
    block.discard(5);
    let expected = all(&block);
    assert_eq!(expected.len(), 6);
    assert_eq!(expected[1].fields.len(), 8);
    let shared = share(block);
    assert_eq!(through(&[shared], LIMIT), expected);
}

#[test]
fn lines_as_they_were_read_are_copied_in_one_piece_and_fill_blocks_again() {
    let app = stream("app", "a", &[]);
    let line = "x".repeat(99);
    let blocks: Vec<_> = (0..5).map(|_| share(block_of(&app, &vec![&line; 655]))).collect();
    let mut encoder = Encoder::new(LIMIT);
    for block in &blocks {
        assert_eq!(encoder.add(&parts(block)[0], 0), Added::All);
    }
    // Rows, text and the newlines between, five heads, one description.
    let description = 1 + 12 + "app".len() + "test".len() + "a".len() + 1;
    assert_eq!(encoder.payload().len(), HEAD + description + 5 * (CHUNK_HEAD + 655 * (ROW + 100)));
    let mut out = Vec::new();
    decoder().decode(encoder.payload(), &Blocks::new(LIMIT), &mut out).unwrap();
    assert_eq!(out.len(), 5);
    assert!(out.iter().all(|block| block.capacity() == ORDINARY && block.runs().len() == 1));
    assert!(out.iter().all(|block| block.entries().len() == 655));
}

#[test]
fn streams_that_come_again_are_the_same_and_small_chunks_share_a_block() {
    let (a, b) = (stream("app", "a", &[("x", "1")]), stream("app", "b", &[]));
    let shared: Vec<_> = [&a, &b, &a, &b].map(|one| share(block_of(one, &["l1", "l2"]))).into();
    let mut encoder = Encoder::new(LIMIT);
    for part in shared.iter().flat_map(parts) {
        encoder.add(&part, 0);
    }
    let (mut decoder, mut out) = (decoder(), Vec::new());
    for _ in 0..2 {
        assert_eq!(decoder.decode(encoder.payload(), &blocks(), &mut out), Ok(8));
    }
    let [first, second] = &out[..] else { panic!("{} blocks", out.len()) };
    assert_eq!(first.runs().len(), 4);
    assert!(Arc::ptr_eq(&first.runs()[0].stream, &first.runs()[2].stream));
    assert!(Arc::ptr_eq(&first.runs()[1].stream, &second.runs()[3].stream), "also with the next payload");
    assert_eq!((first.runs()[0].stream.source, first.runs()[0].stream.bucket), (SourceId(9), a.bucket));
    assert_eq!(first.runs()[0].stream.source_type, "test");
}

#[test]
fn an_entry_that_no_payload_can_hold_is_named_and_the_others_go_on() {
    let app = stream("app", "a", &[]);
    let large = "L".repeat(3000);
    let block = share(block_of(&app, &["one", &large, "two"]));
    let mut encoder = Encoder::new(1000);
    assert_eq!(encoder.add(&parts(&block)[0], 0), Added::TooLarge(1));
    assert_eq!(encoder.add(&parts(&block)[0], 2), Added::All);
    let texts: Vec<_> = read(encoder.payload()).unwrap().into_iter().map(|said| said.text).collect();
    assert_eq!(texts, [b"one", b"two"]);
    assert_eq!(encoder.add_entry(block.view(0)), Added::All);
    assert_eq!(encoder.entries(), 3);
    assert_eq!(encoder.add_entry(block.view(1)), Added::TooLarge(0));
}

#[test]
fn an_entry_that_is_given_again_says_so_also_after_the_disk() {
    let again = crate::labels::Again { retries: 3, first_failed_ms: 1_700_000_000_000 };
    let once = stream("app", "a", &[("x", "1")]);
    let other = Stream::new(SourceId(0), "app".into(), "file", "a", once.labels.clone()).given_again(again);
    let mut encoder = Encoder::new(LIMIT);
    encoder.add(&parts(&share(block_of(&once, &["one"])))[0], 0);
    encoder.add(&parts(&share(block_of(&Arc::new(other), &["two"])))[0], 0);
    let mut blocks = Vec::new();
    let mut decoder = Decoder::new(SourceId(7), &["file"]);
    decoder.decode(encoder.payload(), &Blocks::new(LIMIT), &mut blocks).unwrap();
    let said: Vec<_> = blocks.iter().flat_map(|block| block.runs()).map(|run| run.stream.again).collect();
    assert_eq!(said, [None, Some(again)]);
}

#[test]
fn a_type_of_source_that_is_gone_is_unknown() {
    let other = Arc::new(Stream::new(SourceId(0), "s".into(), "gone", "o", Default::default()));
    let mut encoder = Encoder::new(LIMIT);
    encoder.add(&parts(&share(block_of(&other, &["x"])))[0], 0);
    assert!(read(encoder.payload()).unwrap()[0].stream.starts_with("s unknown o"));
}

#[test]
fn a_newer_version_is_told_from_bytes_that_are_none() {
    assert_eq!(read(&[2, 0, 0, 0]).unwrap_err(), Malformed::Version(2));
    assert_eq!(read(&[]).unwrap_err().to_string(), "it is cut off");
    let mut encoder = Encoder::new(LIMIT);
    let app = stream("app", "a", &[("x", "1")]);
    let mut block = block_of(&app, &["one", "two"]);
    add_field(&mut block, 0, b"k", b"v", Kind::Plain);
    encoder.add(&parts(&share(block))[0], 0);
    let whole = encoder.payload().to_vec();
    for cut in 1..whole.len() {
        assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let mut out = vec![blocks().get(10)];
    assert!(decoder().decode(&whole[..whole.len() - 1], &blocks(), &mut out).is_err());
    assert_eq!(out.len(), 1, "what was read of it is gone again");
}

#[derive(Clone, Debug)]
struct Line {
    text: Vec<u8>,
    /// Bytes in front of it that are no entry's.
    gap: usize,
    time: i64,
    flags: u8,
    fields: Vec<(Place, Place, u8, bool)>,
    replaced: Option<Vec<u8>>,
    discarded: bool,
    next_stream: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Own(u8, u8),
    Arena(Vec<u8>),
    Constant(u8),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (any::<u8>(), any::<u8>()).prop_map(|(at, len)| Place::Own(at, len)),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Place::Arena),
        (0..90u8).prop_map(Place::Constant),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let fields = prop::collection::vec((place(), place(), 0..6u8, any::<bool>()), 0..4);
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    (
        bytes,
        prop_oneof![8 => Just(1), 2 => 0..3usize, 1 => 200..400usize],
        any::<i64>(),
        0..8u8,
        prop_oneof![fields, Just(Vec::new())],
        prop::option::weighted(0.1, prop::collection::vec(any::<u8>(), 0..300)),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(text, gap, time, flags, fields, replaced, discarded, next_stream)| Line {
            text,
            gap,
            time,
            flags,
            fields,
            replaced,
            discarded,
            next_stream,
        })
}

fn built(lines: &[Line]) -> Block {
    const KINDS: [Kind; 6] = [Kind::Plain, Kind::Escaped, Kind::Number, Kind::Bool, Kind::Null, Kind::Json];
    let mut block = Block::new(lines.iter().map(|line| line.text.len() + line.gap).sum());
    let mut number = 0;
    block.begin_run(&stream("app", "0", &[]));
    for line in lines {
        if line.next_stream {
            number += 1;
            block.begin_run(&stream("app", &number.to_string(), &[("n", "1")]));
        }
        block.append(&vec![b'-'; line.gap]).unwrap();
        let at = block.append(&line.text).unwrap();
        block.push(Entry { time: line.time, flags: line.flags, ..Entry::at(at, line.text.len() as u32) });
    }
    block.reset_side();
    block.open_selections(0, 1);
    block.set_constants(&(0..100u8).collect());
    for (at, line) in lines.iter().enumerate() {
        let own = block.entries()[at];
        for (key, value, kind, escaped) in &line.fields {
            let mut slice = |place: &Place| match place {
                Place::Own(from, len) => {
                    let from = u32::from(*from).min(own.len);
                    let len = u32::from(*len).min(own.len - from);
                    Slice { space: Space::Text, offset: own.offset + from, len }
                }
                Place::Arena(bytes) => block.store(bytes).unwrap(),
                Place::Constant(at) => Slice { space: Space::Constant, offset: (*at).into(), len: 10 },
            };
            let field = Field::new(slice(key), slice(value), KINDS[usize::from(*kind)]);
            let field = if *escaped { field.with_escaped_key() } else { field };
            block.set_field(at, field).unwrap();
        }
        if let Some(text) = &line.replaced {
            block.replace_text(at, text).unwrap();
        }
        if line.discarded {
            block.discard(at);
        }
    }
    block
}

proptest! {
    #[test]
    fn any_block_comes_back_through_payloads_of_any_size(
        lines in prop::collection::vec(prop::collection::vec(line(), 1..40), 1..4),
        limit in prop_oneof![Just(LIMIT), 2000..6000usize],
    ) {
        let shared: Vec<_> = lines.iter().map(|lines| share(built(lines))).collect();
        let expected: Vec<_> = shared.iter().flat_map(|block| all(block)).collect();
        prop_assert_eq!(through(&shared, limit), expected);
    }

    #[test]
    fn no_bytes_make_it_panic_or_take_much_memory(
        lines in prop::collection::vec(line(), 1..20),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut encoder = Encoder::new(LIMIT);
        for part in parts(&share(built(&lines))) {
            encoder.add(&part, 0);
        }
        let mut bytes = encoder.payload().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(&bytes);
    }
}

#[test]
fn a_chunk_never_has_more_entries_or_text_than_a_block() {
    let app = stream("app", "a", &[]);
    let mut block = block_of(&app, &vec!["0123456789012345"; ENTRIES_MAX]);
    block.discard(7);
    let expected = all(&block);
    assert_eq!(through(&[share(block)], LIMIT), expected);
    // A text that a step made longer than any class of its own block.
    let mut block = block_of(&app, &["a", "b", "c"]);
    block.replace_text(1, &vec![b'r'; 300 << 10]).unwrap();
    let expected = all(&block);
    assert_eq!(through(&[share(block)], LIMIT), expected);
}
