//! Pushes shaped like Promtail's and Fluent Bit's, by an encoder that is not ours.

use super::part::finish;
use super::support::{Instance, assert_ledger, files, number, row};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { pushes: { type: loki, listen: ["tcp://127.0.0.1:0"], labels: { site: north } } }
sinks: { out: { type: file, path: out/all.log, format: json } }
"#;

const STREAMS: u64 = 5;
const BATCHES: u64 = 20;
const LINES: u64 = 100;

#[test]
fn every_entry_that_promtail_pushes_arrives_once_whole_and_in_order() {
    arrive("promtail", Some("team-a"));
}

#[test]
fn every_entry_that_fluent_bit_pushes_arrives_once_whole_and_in_order() {
    arrive("fluent_bit", None);
}

/// What is compared: labels, time, line and metadata of an entry.
type Entry = (BTreeMap<String, String>, String, String, BTreeMap<String, String>);

fn arrive(shape: &str, tenant: Option<&str>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut instance = Instance::start(dir.path(), CONFIG);
    let address = instance.address("source pushes", "http://");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/loki_push.py");
    let sent = finish(
        Command::new("parts-python")
            .args([script, shape, &format!("http://{address}/loki/api/v1/push")])
            .args([STREAMS, BATCHES, LINES].map(|count| count.to_string()))
            .args(tenant),
    );
    let all = STREAMS * BATCHES * LINES;
    let stats = instance.wait_delivered("out", all);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "pushes"), "received"), all);
    assert_eq!(instance.terminate(), 0);

    let sent = String::from_utf8(sent.stdout).expect("text");
    let sent: Vec<Entry> = sent.lines().map(|line| told(line, tenant)).collect();
    let out: String =
        files(&dir.path().join("out")).iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    let came: Vec<Entry> = out.lines().map(read).collect();
    assert_eq!((sent.len() as u64, came.len() as u64), (all, all));
    // By stream, as only there is an order; within it the same entries, one after the other.
    let by_stream = |entries: Vec<Entry>| {
        let mut streams: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        entries
            .into_iter()
            .for_each(|entry| streams.entry(entry.0["filename"].clone()).or_default().push(entry));
        streams
    };
    let (sent, came) = (by_stream(sent), by_stream(came));
    assert_eq!(sent.len() as u64, STREAMS);
    for (stream, sent) in &sent {
        for (at, (sent, came)) in sent.iter().zip(&came[stream]).enumerate() {
            assert_eq!(came, sent, "{stream}, entry {at}");
        }
        assert_eq!(sent.len(), came[stream].len());
    }
}

/// An entry as the client says that it sent it, with the labels that are added on the way.
fn told(line: &str, tenant: Option<&str>) -> Entry {
    let entry: Value = serde_json::from_str(line).expect("the client writes JSON");
    let mut labels = strings(&entry["labels"]);
    labels.insert("site".into(), "north".into());
    labels.extend(tenant.map(|tenant| ("tenant".into(), tenant.into())));
    let line = entry["line"].as_str().expect("a line").to_owned();
    (labels, nanos(entry["time"].as_i64().expect("nanoseconds")), line, strings(&entry["metadata"]))
}

/// An entry as it came out.
fn read(line: &str) -> Entry {
    let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| entry[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
    (strings(&entry["labels"]), text("time"), text("message"), strings(&entry["fields"]))
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().expect("a string").to_owned())).collect()
}

/// As the file sink writes times: RFC 3339 with nanoseconds, UTC.
fn nanos(nanos: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanos.into()).expect("in range");
    format!("{time:.9}")
}
