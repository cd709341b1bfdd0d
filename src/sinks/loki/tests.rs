//! The sink against a destination that does as it is told, its pushes read by prost and serde.

use super::*;
use crate::block::Block;
use crate::entry::Kind;
use crate::sinks::client::destination::{Act, Destination, Request, says, status};
use crate::sinks::client::outside;
use crate::sinks::testing::{Builder, add_field, add_fields, batch_of, block_of, stream};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use std::io::Read;

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<PushStream>,
}

#[derive(Clone, PartialEq, Message)]
struct PushStream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<PushEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct PushEntry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    structured_metadata: Vec<Pair>,
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

/// Time in nanoseconds, line, metadata.
type Row = (i64, String, Vec<(String, String)>);
/// Labels, rows.
type Pushed = Vec<(String, Vec<Row>)>;

fn config(keys: &Value) -> LokiSinkConfig {
    let mut config = json!({ "url": "http://h" });
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn sink(there: &Destination, mut keys: Value) -> LokiSink {
    keys["url"] = there.url().into();
    LokiSink::new("out", config(&keys), 1).unwrap()
}

/// What a push says; also that it is written as prost would write it.
fn read(body: &[u8]) -> Pushed {
    let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    let push = PushRequest::decode(&*plain).unwrap();
    assert!(push.encode_to_vec() == plain, "not as prost writes it");
    let pair = |pair: Pair| (pair.name, pair.value);
    let row = |entry: PushEntry| {
        let time = entry.timestamp.unwrap();
        assert!((0..1_000_000_000).contains(&time.nanos));
        let time = time.seconds * 1_000_000_000 + i64::from(time.nanos);
        (time, entry.line, entry.structured_metadata.into_iter().map(pair).collect())
    };
    push.streams
        .into_iter()
        .map(|stream| (stream.labels, stream.entries.into_iter().map(row).collect()))
        .collect()
}

/// The same of JSON packed by gzip; labels as Loki would write them.
fn read_json(body: &[u8]) -> Pushed {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    let push: Value = serde_json::from_slice(&plain).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let row = |row: &Value| {
        let pairs = row.get(2).and_then(Value::as_object).into_iter().flatten();
        let pairs = pairs.map(|(name, value)| (name.clone(), text(value))).collect();
        (text(&row[0]).parse().unwrap(), text(&row[1]), pairs)
    };
    let stream = |stream: &Value| {
        let labels = stream["stream"].as_object().unwrap();
        let mut selector = Vec::new();
        labels::write_selector(
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())),
            &mut selector,
        );
        (String::from_utf8(selector).unwrap(), stream["values"].as_array().unwrap().iter().map(row).collect())
    };
    push["streams"].as_array().unwrap().iter().map(stream).collect()
}

fn written(keys: &Value, batch: &Batch) -> Pushed {
    let config = config(keys);
    let (sorter, mut tables) = (Sorter::new(&config).unwrap(), Tables::default());
    let groups = sorter.sort(batch, &mut tables, Instant::now());
    let mut writer = Writer::new(&config).unwrap();
    let mut all = Vec::new();
    for spans in groups.requests() {
        let body = writer.write(batch, groups, spans).unwrap().0;
        all.extend(if config.encoding == Encoding::Json { read_json(body) } else { read(body) });
    }
    all
}

fn lines(pushed: &Pushed) -> Vec<(&str, Vec<&str>)> {
    pushed
        .iter()
        .map(|(labels, rows)| (labels.as_str(), rows.iter().map(|row| row.1.as_str()).collect()))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn entries_stand_under_their_labels_in_order_with_their_times() {
    let (a, b) = (stream("app", "a", &[("job", "x")]), stream("app", "b", &[("job", "y")]));
    let same = stream("app", "other file", &[("job", "x")]);
    let mut first = block_of(&a, &["a1", "", "a\u{e9}3"]);
    first.stamp(1_767_323_045_999_999_999);
    let (batch, _) = Builder::default()
        .block(first)
        .lines(&b, &["b1"])
        .lines(&same, &[&b"a4 \xff"[..]])
        .lines(&a, &[vec![b'x'; 40_000]])
        .build();
    for encoding in ["protobuf", "json"] {
        let pushed = written(&json!({ "encoding": encoding }), &batch);
        let long = "x".repeat(40_000);
        let expected = [
            (r#"{job="x", source="app"}"#, vec!["a1", "", "a\u{e9}3", "a4 \u{fffd}", long.as_str()]),
            (r#"{job="y", source="app"}"#, vec!["b1"]),
        ];
        assert_eq!(lines(&pushed), expected, "{encoding}");
        let times: Vec<i64> = pushed[0].1.iter().map(|row| row.0).collect();
        assert_eq!(
            times[..3],
            [1_767_323_045_999_999_999, 1_767_323_046_000_000_000, 1_767_323_046_000_000_001]
        );
    }
}

#[test]
fn labels_beyond_the_budget_and_chosen_fields_are_structured_metadata() {
    let one = stream("app", "o", &[("a", "1"), ("b", "2"), ("c", "3")]);
    let mut block = block_of(&one, &["x", "y"]);
    add_fields(&mut block, 0);
    add_field(&mut block, 0, b"1st-key", b"v", Kind::Plain);
    let (batch, _) = Builder::default().block(block).build();
    for encoding in ["protobuf", "json"] {
        let keys = json!({ "encoding": encoding, "max_labels": 2, "structured_metadata": "all" });
        let pushed = written(&keys, &batch);
        assert_eq!(pushed[0].0, r#"{a="1", source="app"}"#);
        let shared = [("b", "2"), ("c", "3")];
        let own = [
            ("plain", "a\"b"),
            ("escaped", "tab\tq\""),
            ("number", "-1.5e3"),
            ("bool", "true"),
            ("json", "{\"a\": [1,\n\t{\"b\":\"c\"}]}"),
            ("esc_key", "v"),
            ("_1st_key", "v"),
        ];
        let sorted = |mut pairs: Vec<(String, String)>| {
            pairs.sort();
            pairs
        };
        assert_eq!(
            sorted(pushed[0].1[0].2.clone()),
            sorted(pairs(&[&shared[..], &own].concat())),
            "{encoding}"
        );
        assert_eq!(pushed[0].1[1].2, pairs(&shared));
        let keys = json!({ "encoding": encoding, "structured_metadata": ["number", "none"] });
        assert_eq!(written(&keys, &batch)[0].1[0].2, pairs(&[("number", "-1.5e3")]));
    }
}

#[test]
fn structured_metadata_stays_within_what_loki_takes() {
    let mut block = block_of(&stream("app", "o", &[]), &["x", "y"]);
    for n in 0..200 {
        add_field(&mut block, 0, format!("k{n}").as_bytes(), b"v", Kind::Plain);
        add_field(&mut block, 1, format!("k{n}").as_bytes(), &[b'v'; 1000], Kind::Plain);
    }
    let (batch, _) = Builder::default().block(block).build();
    let pushed = written(&json!({ "structured_metadata": "all" }), &batch);
    assert_eq!(pushed[0].1[0].2.len(), PAIRS_MAX);
    let bytes: usize = pushed[0].1[1].2.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= PAIRS_BYTES_MAX && bytes > PAIRS_BYTES_MAX - 1100, "{bytes}");
}

#[test]
fn a_line_is_the_text_or_all_that_is_known() {
    let batch = batch_of(&stream("app", "o", &[]), &["a \"b\"\nc"]);
    let line = |format: &str| written(&json!({ "format": format }), &batch)[0].1[0].1.clone();
    assert_eq!(line("raw"), "a \"b\"\nc");
    assert_eq!(serde_json::from_str::<Value>(&line("json")).unwrap()["message"], "a \"b\"\nc");
    assert!(line("logfmt").ends_with(r#"source=app origin=o msg="a \"b\"\nc""#));
}

#[test]
fn labels_of_fields_part_entries_and_keep_their_order() {
    let one = stream("app", "o", &[]);
    let mut block = block_of(&one, &["1", "2", "3", "4", "5"]);
    for (place, level) in ["info", "error", "info", "e\"r\n"].into_iter().enumerate() {
        add_field(&mut block, place, b"level", level.as_bytes(), Kind::Plain);
    }
    let (batch, _) = Builder::default().block(block).build();
    let pushed = written(&json!({ "labels": { "app": "{source}", "level": "{fields.level}" } }), &batch);
    let expected = [
        (r#"{app="app", level="info"}"#, vec!["1", "3"]),
        (r#"{app="app", level="error"}"#, vec!["2"]),
        (r#"{app="app", level="e\"r\n"}"#, vec!["4"]),
        (r#"{app="app"}"#, vec!["5"]),
    ];
    assert_eq!(lines(&pushed), expected);
}

#[test]
fn label_sets_beyond_max_streams_share_one_stream_and_keep_their_labels_beside_them() {
    let one = stream("app", "o", &[]);
    let mut block = block_of(&one, &["1", "2", "3", "4", "5"]);
    for (place, user) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        add_field(&mut block, place, b"user", user.as_bytes(), Kind::Plain);
    }
    let (batch, _) = Builder::default().block(block).build();
    for encoding in ["protobuf", "json"] {
        let keys = json!({ "encoding": encoding, "labels": { "user": "{fields.user}" }, "max_streams": 2 });
        let pushed = written(&keys, &batch);
        let expected = [
            (r#"{user="a"}"#, vec!["1", "4"]),
            (r#"{user="b"}"#, vec!["2"]),
            (r#"{__overflow__="true"}"#, vec!["3", "5"]),
        ];
        assert_eq!(lines(&pushed), expected);
        let beside: Vec<_> = pushed[2].1.iter().map(|row| row.2.clone()).collect();
        assert_eq!(beside, [pairs(&[("user", "c")]), pairs(&[("user", "d")])]);
    }
}

/// A batch of two tenants, `red` and `blue`, and one that Loki would not have.
fn tenants() -> Batch {
    let of = |tenant: &str, origin: &str| stream("s", origin, &[("t", tenant)]);
    let builder = Builder::default().lines(&of("red", "1"), &["r1", "r2"]).lines(&of("blue", "2"), &["b1"]);
    builder.lines(&of("../red", "3"), &["x"]).lines(&of("red", "1"), &["r3"]).build().0
}

fn tenant_rows(requests: &[Request]) -> Vec<(Option<String>, Vec<String>)> {
    let texts = |request: &Request| {
        read(&request.body).into_iter().flat_map(|(_, rows)| rows).map(|row| row.1).collect()
    };
    requests
        .iter()
        .map(|request| (request.header("x-scope-orgid").map(String::from), texts(request)))
        .collect()
}

#[test]
fn each_tenant_has_its_request_and_what_was_taken_is_not_sent_again() {
    let there = Destination::start();
    let sink = sink(&there, json!({ "tenant": "{labels.t}", "labels": { "a": "b" } }));
    there.script([status(204), status(429)]);
    let batch = tenants();
    assert!(matches!(sink.send(&batch), Err(SendError::Retry { .. })));
    sink.send(&batch).unwrap();
    let refused = batch.progress().refused().to_vec();
    assert!(refused.len() == 1 && refused[0].place == 3, "{refused:?}");
    assert!(refused[0].said.why.contains("tenant"), "{refused:?}");
    let row = |tenant: &str, texts: &[&str]| {
        (Some(tenant.to_string()), texts.iter().map(ToString::to_string).collect())
    };
    let expected: Vec<(_, Vec<String>)> =
        vec![row("red", &["r1", "r2", "r3"]), row("blue", &["b1"]), row("blue", &["b1"])];
    assert_eq!(tenant_rows(&there.requests()), expected);
    let request = &there.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/loki/api/v1/push"));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(request.header("content-encoding"), None);
}

#[test]
fn json_says_that_it_is_json() {
    let there = Destination::start();
    let sink = sink(&there, json!({ "encoding": "json", "tenant": "one" }));
    sink.send(&batch_of(&stream("s", "o", &[]), &["1"])).unwrap();
    let request = &there.requests()[0];
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert_eq!(request.header("x-scope-orgid"), Some("one"));
    assert_eq!(lines(&read_json(&request.body)), [(r#"{source="s"}"#, vec!["1"])]);
}

/// Entries at the given seconds.
fn at_seconds(stream: &std::sync::Arc<crate::labels::Stream>, seconds: &[i64]) -> Block {
    let mut block = block_of(stream, &vec!["line"; seconds.len()]);
    for (entry, second) in block.parts().entries.iter_mut().zip(seconds) {
        entry.time = second * 1_000_000_000;
    }
    block
}

#[test]
fn what_loki_refuses_is_counted_and_what_it_took_is_not_sent_again() {
    let there = Destination::start();
    let sink = sink(&there, json!({}));
    let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
    let batch =
        || Builder::default().block(at_seconds(&a, &[50, 10, 20, 40])).block(at_seconds(&b, &[10])).build().0;
    for (text, expected) in [
        ("user 'fake', total ignored: 2 out of 4 for stream: {source=\"a\"}", &[1, 2][..]),
        ("user 'fake', total ignored: 9 out of 9 for stream: {source=\"b\"}", &[4]),
        (
            "entry for stream '{source=\"a\"}' has timestamp too old: 1970-01-01T00:00:10Z, oldest acceptable timestamp is: 1970-01-01T00:00:30Z",
            &[1, 2],
        ),
        ("entry for stream '{source=\"a\"}' has timestamp too new: 1970-01-01T00:00:40Z", &[0, 3]),
        (
            "Max entry size '3' bytes exceeded for stream '{source=\"b\"}' while adding an entry with length '4' bytes",
            &[4],
        ),
        ("total ignored: 1 out of 4 for stream: {source=\"nobody\"}", &[]),
    ] {
        there.script([says(400, text)]);
        let batch = batch();
        sink.send(&batch).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let progress = batch.progress();
        assert!(progress.refused().iter().all(|one| one.said.status == Some(400)), "{text}");
        let refused: Vec<_> = progress.refused().iter().map(|one| one.place).collect();
        assert_eq!(refused, expected, "{text}");
    }
    assert_eq!(there.requests().len(), 6, "one each");
    there.script([says(400, "error at least one label pair is required per stream")]);
    assert!(matches!(sink.send(&batch()), Err(SendError::Reject(said)) if said.why.contains("label pair")));
    there.script([says(400, "stream '{}' includes structured metadata, but this feature is disallowed.")]);
    assert!(matches!(sink.send(&batch()), Err(SendError::Denied(_))));
}

#[test]
fn every_other_answer_leads_to_what_the_manual_says() {
    let there = Destination::start();
    let sink = sink(&there, json!({ "timeout": "5s" }));
    let batch = batch_of(&stream("s", "o", &[]), &["1", "2"]);
    let send = |act: Act| {
        there.script([act]);
        sink.send(&batch)
    };
    assert!(send(status(204)).is_ok() && send(status(200)).is_ok() && send(Act::Drip(200)).is_ok());
    for act in [
        status(429),
        status(502),
        status(503),
        Act::ResetBefore,
        Act::ResetAfter,
        Act::Half,
        Act::ManyHeaders,
    ] {
        let said = format!("{act:?}");
        assert!(matches!(send(act), Err(SendError::Retry { .. })), "{said}");
    }
    for denied in [301, 401, 403, 404] {
        assert!(matches!(send(status(denied)), Err(SendError::Denied(_))), "{denied}");
    }
    assert!(matches!(send(status(413)), Err(SendError::Reject(_))));
    assert!(matches!(send(status(500)), Err(SendError::Failed { .. })));
}

#[test]
fn a_key_is_checked_when_it_is_read() {
    let read = |keys: Value| {
        let mut config = json!({ "url": "http://h" });
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        serde_json::from_value::<LokiSinkConfig>(config).map_err(|error| error.to_string())
    };
    for (keys, says) in [
        (json!({ "labels": { "a-b": "x" } }), "letters, digits"),
        (json!({ "labels": { "__a": "x" } }), "begin with `__`"),
        (json!({ "labels": {} }), "1 to 64"),
        (json!({ "max_labels": 0 }), "1 to 64"),
        (json!({ "structured_metadata": "some" }), "`all` or a list"),
        (json!({ "structured_metadata": [""] }), "none of them empty"),
        (json!({ "encoding": "xml" }), "protobuf"),
    ] {
        let error = read(keys.clone()).unwrap_err();
        assert!(error.contains(says), "{keys}: {error}");
    }
    assert_eq!(
        read(json!({ "structured_metadata": "all" })).unwrap().structured_metadata,
        config::Fields::All
    );
}

#[test]
fn a_loki_that_says_nothing_is_left_after_the_time_it_was_given() {
    outside::timeouts_are_those_of_the_config(&made);
}

#[test]
fn who_we_are_whom_we_trust_and_the_way_are_those_of_the_config() {
    outside::tls_auth_and_proxy_are_those_of_the_config(&made);
}

fn made(keys: Value) -> Box<dyn Sink> {
    Box::new(LokiSink::new("out", config(&keys), 1).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_batch_is_read_back_entry_by_entry(
        blocks in proptest::collection::vec(
            (0..4_usize, proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), 0..3_u8), 1..30), 0..i64::MAX / 2),
            1..12,
        ),
        encoding in prop_oneof![Just("protobuf"), Just("json")],
    ) {
        let streams: Vec<_> = (0..4).map(|n| stream("s", &format!("{n}"), &[("n", &format!("{}", n / 2))])).collect();
        let (mut builder, mut expected) = (Builder::default(), HashMap::<String, Vec<(i64, String)>>::new());
        for (which, entries, time) in &blocks {
            let texts: Vec<_> = entries.iter().map(|(text, _)| text).collect();
            let mut block = block_of(&streams[*which], &texts);
            block.stamp(*time);
            for (place, (text, level)) in entries.iter().enumerate() {
                add_field(&mut block, place, b"level", level.to_string().as_bytes(), Kind::Number);
                let labels = format!("{{level=\"{level}\", n=\"{}\"}}", which / 2);
                let row = (block.entries()[place].time, String::from_utf8_lossy(text).into_owned());
                expected.entry(labels).or_default().push(row);
            }
            builder = builder.block(block);
        }
        let (batch, _) = builder.build();
        let keys = json!({ "encoding": encoding, "labels": { "level": "{fields.level}", "n": "{labels.n}" } });
        let pushed: HashMap<_, _> = written(&keys, &batch)
            .into_iter()
            .map(|(labels, rows)| (labels, rows.into_iter().map(|row| (row.0, row.1)).collect::<Vec<_>>()))
            .collect();
        prop_assert_eq!(pushed, expected);
    }
}
