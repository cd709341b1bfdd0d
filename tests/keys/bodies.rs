//! What is taken out of HTTP bodies: the `loki` source.

use super::support::http::{Answer, Client, post};
use super::*;
use prost::Message;
use serde_json::json;

/// Each key, and the test that shows it. Those it shares with `http` are passed on:
/// `src/sources/loki/config.rs:every_key_of_the_server_is_passed_on`.
pub const SHOWN: &[(&str, &str)] = &[
    ("sources.loki.type", "tests/keys/bodies.rs:a_push_is_labelled_with_its_tenant_as_asked"),
    ("sources.loki.listen", "tests/keys/bodies.rs:a_push_is_labelled_with_its_tenant_as_asked"),
    ("sources.loki.tenant_label", "tests/keys/bodies.rs:a_push_is_labelled_with_its_tenant_as_asked"),
    ("sources.loki.max_entry", "tests/keys/bodies.rs:metadata_is_there_for_steps_and_a_long_line_is_cut"),
];

const PUSH: &str = "/loki/api/v1/push";
const JSON: &str = "Content-Type: application/json\r\n";

fn url(instance: &mut Instance, source: &str) -> String {
    instance.address(&format!("source {source} "), "http://")
}

fn json_push(address: &str, fields: &str, push: &Value) -> Answer {
    post(address, PUSH, &format!("{JSON}{fields}"), push.to_string())
}

fn out(dir: &Path, source: &str) -> Vec<Value> {
    lines_of(&dir.join("out").join(source))
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_push_is_labelled_with_its_tenant_as_asked() {
    let dir = dir();
    let text = config(
        r#"
sources:
  usual: { type: loki, listen: ["tcp://127.0.0.1:0"], labels: { site: north } }
  other: { type: loki, listen: ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"], tenant_label: org }
  none:  { type: loki, listen: ["tcp://127.0.0.1:0"], tenant_label: "" }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let push = json!({"streams": [{"stream": {"app": "x", "site": "mine"}, "values": [["1700000000000000001", "one"]]}]});
    for source in ["usual", "other", "none"] {
        let address = url(&mut instance, source);
        let answer = json_push(&address, "X-Scope-OrgID: team-a\r\n", &push);
        assert_eq!((answer.status, &*answer.body), (204, ""), "{source}");
        let refused = json_push(&address, "X-Scope-OrgID: ../a\r\n", &push);
        assert!(refused.status == 400 && refused.body.contains("X-Scope-OrgID must be"), "{refused:?}");
    }
    let usual = url(&mut instance, "usual");
    assert_eq!(post(&usual, "/", JSON, push.to_string()).status, 404);
    let mut client = Client::connect(&usual);
    client.send(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().map(|answer| (answer.status, answer.body)), Some((200, "ready\n".into())));
    let stats = instance.wait_delivered("out", 3);
    assert_ledger(&stats);
    assert_eq!(row(&stats, "sources", "other")["listening"].as_array().map(Vec::len), Some(2));
    for (source, labels) in [
        ("usual", json!({"app": "x", "site": "north", "tenant": "team-a"})),
        ("other", json!({"app": "x", "site": "mine", "org": "team-a"})),
        ("none", json!({"app": "x", "site": "mine"})),
    ] {
        let entry = &out(dir.path(), source)[0];
        assert_eq!((&entry["labels"], &entry["message"]), (&labels, &json!("one")), "{source}");
        assert_eq!(entry["time"], "2023-11-14T22:13:20.000000001Z");
    }
}

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn proto_push(address: &str, labels: &str, entries: &[(&str, &str)]) -> Answer {
    let entry = |(line, trace): &(&str, &str)| Entry {
        line: line.to_string(),
        metadata: vec![Pair { name: "trace".into(), value: trace.to_string() }],
    };
    let stream = Stream { labels: labels.into(), entries: entries.iter().map(entry).collect() };
    let body = Push { streams: vec![stream] }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&body).expect("it fits");
    post(address, PUSH, "Content-Type: application/x-protobuf\r\n", body)
}

#[test]
fn metadata_is_there_for_steps_and_a_long_line_is_cut() {
    let dir = dir();
    let text = config(
        r#"
sources: { in: { type: loki, listen: ["tcp://127.0.0.1:0"], max_entry: 1KiB, pipeline: p } }
pipelines: { p: [ { discard: 'trace == "drop"' }, { set: { seen: true } } ] }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let address = url(&mut instance, "in");
    let long = "x".repeat(1025);
    let entries = [("one", "keep"), ("two", "drop"), (&*long, "keep")];
    assert_eq!(proto_push(&address, "{app=\"x\"}", &entries).status, 204);
    let stats = instance.wait_delivered("out", 2);
    assert_ledger(&stats);
    assert_eq!(source(&stats, "in", "filtered"), 1);
    let out = out(dir.path(), "in");
    assert_eq!(
        (&out[0]["message"], &out[0]["fields"]),
        (&json!("one"), &json!({"trace": "keep", "seen": true}))
    );
    assert_eq!(out[1]["message"].as_str().map(str::len), Some(1024));
}

#[test]
fn what_is_wrong_with_a_push_is_told_and_the_rest_of_it_is_taken() {
    let dir = dir();
    let text = config(
        r#"
sources: { in: { type: loki, listen: ["tcp://127.0.0.1:0"] } }
sinks: { out: { type: file, path: "out/{source}", format: json } }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let address = url(&mut instance, "in");
    let push = json!({"streams": [
        {"stream": {"0": "x"}, "values": [["1", "a"], ["2", "b"]]},
        {"stream": {"app": "x"}, "values": [["1", "good"], ["soon", "bad"]]},
    ]});
    let answer = json_push(&address, "", &push);
    let says = "1 entries taken, 3 not:\n\
        stream 1: a label name that is not [a-zA-Z_:][a-zA-Z0-9_:]* (2 entries)\n\
        stream 2, entry 2: a timestamp that is not nanoseconds since 1970, as a string of digits\n";
    assert_eq!((answer.status, &*answer.body), (400, says));
    let wrong = proto_push(&address, "app=x", &[("one", "")]);
    assert!(wrong.status == 400 && wrong.body.contains("labels are not written as"), "{wrong:?}");
    let bomb = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], b"x"].concat();
    let answer = post(&address, PUSH, "", bomb);
    assert!(answer.status == 413 && answer.body.contains("200 times"), "{answer:?}");
    assert_eq!(post(&address, PUSH, "", "not snappy at all").status, 400);
    let stats = instance.wait_delivered("out", 1);
    assert_ledger(&stats);
    assert_eq!(source(&stats, "in", "received"), 1);
    assert_eq!(out(dir.path(), "in")[0]["message"], "good");
}
