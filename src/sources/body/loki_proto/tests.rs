//! Pushes by another encoder, and pushes by nobody.

use super::super::Reader;
use super::super::testing::{Taken, take};
use super::*;
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
    /// A field of a later version.
    #[prost(string, tag = "9")]
    later: String,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "2")]
    line: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
    #[prost(fixed64, tag = "7")]
    later: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is to be taken of a push that prost understands.
fn expected(push: &Push) -> Taken {
    let mut taken = Taken::default();
    for (at, stream) in push.streams.iter().enumerate() {
        let labels = LabelText::Written(stream.labels.as_bytes()).read(9);
        let Ok(labels) = labels else {
            let refused = Refused {
                entries: stream.entries.len() as u64,
                ..Refused::new(Place::Stream(at as u64 + 1), labels.unwrap_err())
            };
            taken.refused.push(refused.to_string());
            continue;
        };
        for (n, entry) in stream.entries.iter().enumerate() {
            let time = entry.timestamp.as_ref().map(|time| {
                (0..1_000_000_000).contains(&time.nanos).then_some(())?;
                time.seconds.checked_mul(1_000_000_000)?.checked_add(time.nanos.into())
            });
            let place = Place::Entry { stream: at as u64 + 1, entry: n as u64 + 1 };
            if time == Some(None) {
                taken.refused.push(format!("{place}: a timestamp out of range"));
            } else if entry.metadata.iter().any(|pair| pair.name.is_empty()) {
                taken.refused.push(format!("{place}: structured metadata with an empty name"));
            } else {
                taken.texts.push(text(&entry.line));
                taken.times.push(time.flatten());
                let pairs =
                    entry.metadata.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
                taken.with.push((labels.clone(), pairs));
            }
        }
    }
    taken
}

fn push() -> impl Strategy<Value = Push> {
    let time = prop_oneof![
        (0_i64..4_000_000_000, 0..1_000_000_000_i32)
            .prop_map(|(seconds, nanos)| Some(Timestamp { seconds, nanos })),
        any::<(i64, i32)>().prop_map(|(seconds, nanos)| Some(Timestamp { seconds, nanos })),
        Just(None),
    ];
    let pair = ("[a-z]{0,3}", any::<String>()).prop_map(|(name, value)| Pair { name, value });
    let entry = (time, any::<Vec<u8>>(), prop::collection::vec(pair, 0..3), any::<u64>())
        .prop_map(|(timestamp, line, metadata, later)| Entry { timestamp, line, metadata, later });
    let labels = prop_oneof![
        Just("{app=\"x\"}".to_string()),
        Just("{a=\"1\", b=\"\\n\"}".to_string()),
        any::<String>()
    ];
    let stream = (labels, prop::collection::vec(entry, 0..5), any::<u64>())
        .prop_map(|(labels, entries, hash)| Stream { labels, entries, hash });
    (prop::collection::vec(stream, 0..4), any::<String>())
        .prop_map(|(streams, later)| Push { streams, later })
}

proptest! {
    #[test]
    fn a_push_is_read_as_prost_reads_it(push in push()) {
        prop_assert_eq!(take(Reader::loki_proto(), &push.encode_to_vec()), expected(&push));
    }

    #[test]
    fn what_prost_takes_of_damaged_pushes_is_what_we_take(push in push(), at: prop::sample::Index, byte: u8) {
        let mut wire = push.encode_to_vec();
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let taken = take(Reader::loki_proto(), &wire);
        // Where prost finds a whole push without groups, so do we; where it does not, ours may be a part of it.
        if let Ok(theirs) = Push::decode(&wire[..]) {
            let broken = taken.refused.iter().any(|told| told.contains("malformed protobuf"));
            if !broken && theirs.streams.iter().all(|stream| stream.entries.iter().all(|entry| entry.line.len() < 1 << 16)) {
                prop_assert_eq!(taken.texts.len(), expected(&theirs).texts.len());
            }
        }
    }

    #[test]
    fn no_bytes_are_too_odd(wire: Vec<u8>) {
        take(Reader::loki_proto(), &wire);
    }
}

#[test]
fn fields_stand_in_any_order_and_strange_ones_are_passed_over() {
    let entry = Entry {
        line: b"x".to_vec(),
        timestamp: Some(Timestamp { seconds: 1, nanos: 2 }),
        ..Entry::default()
    };
    let stream = Stream { entries: vec![entry], ..Stream::default() }.encode_to_vec();
    let labels = Stream { labels: "{a=\"b\"}".into(), ..Stream::default() }.encode_to_vec();
    // Entries first, then labels; in between fields of every wire type: 8 a number, 9 fixed64, 10 bytes, 11 fixed32.
    let strange = b"\x40\x96\x01\x49........\x52\x03abc\x5d....";
    let stream = [&stream[..], strange, &labels].concat();
    let mut push = strange.to_vec();
    push.extend([0x0a, stream.len() as u8]);
    push.extend(stream);
    let taken = take(Reader::loki_proto(), &push);
    assert_eq!((taken.texts, taken.times), (vec!["x".to_string()], vec![Some(1_000_000_002)]));
    assert_eq!(taken.with[0].0, [("a".to_string(), "b".to_string())]);
}

#[test]
fn numbers_and_lengths_beyond_their_message_are_refused() {
    for (wire, says) in [
        (&b"\x0a"[..], "body: malformed protobuf; nothing behind it was read"),
        (b"\x0a\x05abc", "body: malformed"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "body: malformed"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "body: malformed"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "body: malformed"),
        (b"\x02\x00", "body: malformed"),
        (b"\x0b\x0c", "body: malformed"),
        (b"\x08\x01", "body: malformed"),
        (b"\x0a\x02\x0a\x09", "stream 1: malformed protobuf"),
        (b"\x0a\x02\x12\x09", "stream 1: malformed protobuf"),
        (b"\x0a\x08\x0a\x02{}\x12\x02\x12\x09", "stream 1, entry 1: malformed protobuf"),
        (b"\x0a\x0a\x0a\x02{}\x12\x04\x1a\x02\x0a\x09", "stream 1, entry 1: malformed protobuf"),
    ] {
        let taken = take(Reader::loki_proto(), wire);
        assert!(taken.refused[0].starts_with(says), "{wire:?}: {taken:?}");
        assert_eq!((taken.texts.len(), taken.refused.len()), (0, 1));
    }
    assert_eq!(take(Reader::loki_proto(), b""), Taken::default(), "an empty push is a push");
}

#[test]
fn metadata_is_bounded() {
    let of = |pairs: Vec<Pair>| {
        let entry = Entry { metadata: pairs, line: b"x".to_vec(), ..Entry::default() };
        let stream = Stream { labels: "{}".into(), entries: vec![entry], hash: 0 };
        take(Reader::loki_proto(), &Push { streams: vec![stream], later: String::new() }.encode_to_vec())
    };
    let pair = |name: usize, value: usize| Pair { name: "n".repeat(name), value: "v".repeat(value) };
    assert_eq!(of(vec![pair(1, 1); 128]).texts.len(), 1);
    assert_eq!(of(vec![pair(1024, 64 * 1024 - 1024)]).texts.len(), 1);
    for (pairs, says) in [
        (vec![pair(1, 1); 129], "more than 128 pairs"),
        (vec![pair(1025, 1)], "name of more than 1024 bytes"),
        (vec![pair(1024, 64 * 1024 - 1023)], "more than 65536 bytes"),
        (vec![pair(0, 1)], "empty name"),
    ] {
        let taken = of(pairs);
        assert!(taken.refused[0].contains(says), "{says}: {taken:?}");
    }
}
