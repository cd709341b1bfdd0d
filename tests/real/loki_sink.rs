//! What the Loki sink pushes, read by protobuf, snappy, gzip and JSON decoders that are not ours.

#[path = "../support/destination.rs"]
mod destination;

use super::part::finish;
use super::support::{Instance, assert_ledger};
use destination::{Act, Destination, status};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FILES: usize = 4;
const LINES: usize = 5_000;
const LEVELS: [&str; 3] = ["info", "warn", "err\"or\\\n"];

#[test]
fn every_entry_pushed_as_protobuf_is_read_once_whole_and_in_order() {
    pushed("protobuf");
}

#[test]
fn every_entry_pushed_as_json_is_read_once_whole_and_in_order() {
    pushed("json");
}

fn pushed(encoding: &str) {
    let (there, dir) = (Destination::start(), tempfile::tempdir().expect("a directory"));
    // Refusals before anything was taken: the batches are sent again, and nothing is there twice.
    there.script([status(204), status(429), Act::ResetBefore, status(503)]);
    fs::create_dir(dir.path().join("logs")).expect("created");
    for file in 0..FILES {
        let text: String = (0..LINES).map(|n| line(file, n) + "\n").collect();
        fs::write(dir.path().join(format!("logs/{file}.log")), text).expect("written");
    }
    let config = format!(
        r#"
data_dir: state
admin: {{ listen: "127.0.0.1:0" }}
sources: {{ logs: {{ type: file, include: ["logs/*.log"], pipeline: read, labels: {{ site: north }} }} }}
pipelines: {{ read: [ {{ parse: json }} ] }}
sinks:
  out:
    type: loki
    url: "{}"
    encoding: {encoding}
    labels: {{ site: "{{labels.site}}", file: "{{fields.file}}", level: "{{fields.level}}" }}
    structured_metadata: [trace, note]
    retry: {{ backoff: 10ms, backoff_max: 50ms }}
"#,
        there.url()
    );
    let mut instance = Instance::start(dir.path(), &config);
    let stats = instance.wait_delivered("out", (FILES * LINES) as u64);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);

    let requests = there.requests();
    // What was answered with 429 and 503 was not taken.
    let taken = requests.iter().enumerate().filter(|(at, _)| ![1, 2].contains(at));
    let mut paths = Vec::new();
    for (at, request) in taken {
        let path = dir.path().join(format!("push-{at:05}"));
        fs::write(&path, &request.body).expect("written");
        paths.push(path);
    }
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/loki_read.py"));
    let read = finish(Command::new("parts-python").arg(script).arg(encoding).args(&paths));
    let read = String::from_utf8(read.stdout).expect("text");

    // By Loki stream, as only there is an order.
    let mut streams: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in read.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        streams.entry(entry["labels"].to_string()).or_default().push(entry);
    }
    assert_eq!(streams.len(), FILES * LEVELS.len());
    for entries in streams.values() {
        let labels = &entries[0]["labels"];
        assert_eq!((labels["site"].as_str(), labels.as_object().expect("a map").len()), (Some("north"), 3));
        let file: usize = labels["file"].as_str().expect("text").parse().expect("a number");
        let level = LEVELS.iter().position(|level| labels["level"] == **level).expect("one of ours");
        let expected: Vec<usize> = (0..LINES).filter(|n| n % LEVELS.len() == level).collect();
        assert_eq!(entries.len(), expected.len(), "{labels}");
        let mut last = i64::MIN;
        for (entry, n) in entries.iter().zip(expected) {
            assert_eq!(entry["line"], line(file, n), "{labels}, line {n}");
            let time = entry["time"].as_i64().expect("nanoseconds");
            assert!(time > last, "{labels}, line {n}: {time} after {last}");
            last = time;
            let metadata = entry["metadata"].as_object().expect("a map");
            assert_eq!(metadata["trace"], format!("{file}-{n}"));
            assert_eq!(metadata.get("note"), (n % 5 == 0).then(|| Value::from("a \"b\"\té😀")).as_ref());
            assert_eq!(metadata.len(), if n % 5 == 0 { 2 } else { 1 });
        }
    }
}

/// A line of JSON, with what is hard to write: quotes, escapes, characters beyond ASCII.
fn line(file: usize, n: usize) -> String {
    let mut fields = serde_json::json!({
        "file": file, "level": LEVELS[n % LEVELS.len()], "trace": format!("{file}-{n}"), "pad": "x".repeat(n % 300)
    });
    if n % 5 == 0 {
        fields["note"] = "a \"b\"\té😀".into();
    }
    fields.to_string()
}
