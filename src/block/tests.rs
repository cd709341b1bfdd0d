//! Blocks, their bits, fields and pools.

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
fn of_each_run_the_first_entries_are_kept_with_what_came_with_them() {
    let mut block = Block::new(4096);
    for (origin, count) in [("a", 3), ("b", 2), ("c", 4)] {
        let stream =
            Arc::new(Stream::new(SourceId(0), "s".into(), "test", origin, crate::labels::Labels::default()));
        block.begin_run(&stream);
        for n in 0..count {
            let text = format!("{origin}{n}");
            let at = block.append(text.as_bytes()).unwrap();
            block.push(Entry::at(at, text.len() as u32));
            if n != 1 {
                block.give((b"k", false), text.as_bytes(), crate::entry::Kind::Plain);
            }
        }
    }
    block.keep_of_runs(&[2, 0, 3]);
    block.reset_side();
    let shown: Vec<(String, String, Vec<String>)> = (0..block.entries().len())
        .map(|at| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let fields = block.fields_of(at).iter().map(|field| text(block.bytes(field.value()))).collect();
            (block.stream_of(at).origin.to_string(), text(block.view(at).text()), fields)
        })
        .collect();
    let entry = |origin: &str, text: &str, given: bool| {
        let fields = if given { vec![text.to_string()] } else { Vec::new() };
        (origin.to_string(), text.to_string(), fields)
    };
    let expected =
        [("a", "a0", true), ("a", "a1", false), ("c", "c0", true), ("c", "c1", false), ("c", "c2", true)];
    assert_eq!(shown, expected.map(|(origin, text, given)| entry(origin, text, given)));
    let runs: Vec<_> = block.runs().iter().map(|run| (run.first, run.end)).collect();
    assert_eq!(runs, [(0, 2), (2, 5)]);
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

#[test]
fn what_came_with_an_entry_outlasts_resets_cuts_and_moves_and_what_steps_made_does_not() {
    let blocks = Blocks::new(0);
    let mut block = blocks.get(ORDINARY);
    block.begin_run(&stream("a"));
    for (at, given) in [&[][..], &[("trace", "1"), ("pod", "x")], &[], &[("trace", "2")], &[("gone", "3")]]
        .into_iter()
        .enumerate()
    {
        let offset = block.append(format!("line {at}").as_bytes()).unwrap();
        block.push(Entry::at(offset, 6));
        for (key, value) in given {
            assert!(block.has_room_to_give(1, key.len() + value.len()));
            block.give((key.as_bytes(), false), value.as_bytes(), Kind::Plain);
        }
    }
    block.truncate(4);
    let mut block = blocks.fit(block);
    assert_eq!(block.capacity(), 4096);
    let read = |block: &Block| -> Vec<String> {
        let of = |at| {
            let pairs = block.view(at).fields().map(|field| {
                format!("{}={}", String::from_utf8_lossy(field.key()), String::from_utf8_lossy(field.raw()))
            });
            pairs.collect::<Vec<_>>().join(",")
        };
        (0..block.entries().len()).map(of).collect()
    };
    for _ in 0..3 {
        block.reset_side();
        assert_eq!(read(&block), ["", "trace=1,pod=x", "", "trace=2"]);
        let (key, value) = (block.store(b"trace").unwrap(), block.store(b"other").unwrap());
        for at in 0..4 {
            block.set_field(at, Field::new(key, value, Kind::Plain)).unwrap();
        }
        assert_eq!(read(&block), ["trace=other", "trace=other,pod=x", "trace=other", "trace=other"]);
    }
    let mut copy = Block::new(4096);
    copy.begin_run(&stream("a"));
    block.reset_side();
    assert!((0..4).all(|at| copy.copy_entry(&block, at)));
    assert_eq!(read(&copy), read(&block), "also into a lane's own buffer");
    Recycle::reset(&mut *block);
    block.begin_run(&stream("b"));
    block.push(Entry::at(0, 0));
    block.reset_side();
    assert_eq!(read(&block), [""]);
}

#[test]
fn given_fields_have_bounds_of_their_own() {
    let mut block = Block::new(4096);
    block.begin_run(&stream("a"));
    block.push(Entry::at(0, 0));
    assert!(block.has_room_to_give(1, 4096) && !block.has_room_to_give(1, 4097));
    block.give((b"k", false), &[b'v'; 4000], Kind::Plain);
    assert!(block.has_room_to_give(1, 95) && !block.has_room_to_give(1, 96));
    assert!(!block.has_room_to_give(FIELDS_MAX, 0));
}

#[test]
fn a_text_that_was_replaced_is_what_everyone_reads_and_a_reset_brings_the_old_one_back() {
    let mut block = filled(&["one", "secret", "three"]);
    let text = |offset, len| Slice { space: Space::Text, offset, len };
    block.set_field(1, Field::new(text(3, 3), text(6, 3), Kind::Plain)).unwrap();
    assert!(!block.has_replaced());
    block.replace_text(1, b"***").unwrap();
    let said = |block: &Block| (0..3).map(|at| block.view(at).text().to_vec()).collect::<Vec<_>>();
    assert_eq!(said(&block), [&b"one"[..], b"***", b"three"]);
    assert!(block.is_replaced(1) && !block.is_replaced(0) && !block.is_replaced(2));
    assert_eq!((block.text_of(1).len, block.parts().text_of(1).space), (3, Space::Arena));
    block.add_cuts(0, 0);
    assert_eq!(block.cuts()[0].bytes, 3 + 3 + 5);

    let mut copy = Block::new(4096);
    copy.begin_run(&stream("a"));
    assert!(copy.copy_entry(&block, 1) && copy.copy_entry(&block, 2));
    assert_eq!((copy.view(0).text(), copy.view(1).text()), (&b"***"[..], &b"three"[..]));
    assert_eq!(copy.view(0).field(b"sec").unwrap().raw(), b"ret");
    assert!(!copy.text().windows(6).any(|window| window == b"secret"), "what was replaced stays behind");

    block.reset_side();
    assert_eq!(said(&block), [&b"one"[..], b"secret", b"three"]);
}

#[test]
fn the_message_is_the_field_of_that_name_or_else_the_text() {
    let mut block = filled(&["one"]);
    assert_eq!(block.view(0).message(), &b"one"[..]);
    let (key, value) = (block.store(b"message").unwrap(), block.store(br"a\tb").unwrap());
    block.set_field(0, Field::new(key, value, Kind::Escaped)).unwrap();
    assert_eq!(block.view(0).message(), &b"a\tb"[..]);
}
