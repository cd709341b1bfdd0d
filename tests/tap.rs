//! `ringmain tap` shows live entries where it was told to look, and nothing else; the way itself loses nothing to it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use support::*;

fn tap(address: &str, args: &[&str]) -> Child {
    Command::new(binary())
        .args(["tap", "--admin", address])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

#[test]
fn entries_are_seen_at_their_source_behind_a_step_and_before_their_sink() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(
        dir.path(),
        "data_dir: state\nadmin: { listen: \"127.0.0.1:0\" }\nsources: { in: { type: stdin, pipeline: work } }\n\
         pipelines: { work: [ { parse: json }, { discard: 'level == \"debug\"' }, { set: { env: prod } } ] }\n\
         sinks: { out: { type: file, path: out.log }, other: { type: blackhole } }\n",
    );
    let address = instance.address("admin: http", "http://");
    let points = ["source:in", "step:work/1", "step:work/2", "sink:out"];
    let mut taps: Vec<Child> =
        points.map(|point| tap(&address, &[point, "--json", "--count", "4", "--rate", "1000"])).into();
    // Only what one filter lets through, of everything that goes by.
    taps.push(tap(&address, &["step:work/3", "--json", "--count", "2", "--where", "n == 7"]));
    let readers: Vec<_> = taps
        .iter_mut()
        .map(|tap| {
            let out = BufReader::new(tap.stdout.take().expect("piped"));
            std::thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>())
        })
        .collect();
    let mut input = instance.stdin();
    let mut sent = 0;
    // A tap sees what comes after it was opened: lines are written until all have seen enough.
    while readers.iter().any(|reader| !reader.is_finished()) {
        for level in ["debug", "info"] {
            writeln!(input, "{{\"level\":\"{level}\",\"n\":{}}}", sent % 10).expect("it reads");
            sent += 1;
        }
        input.flush().expect("it reads");
        instance.wait_stats("all taken in", |stats| number(row(stats, "sources", "in"), "received") == sent);
    }
    let seen: Vec<Vec<Value>> = readers
        .into_iter()
        .map(|reader| {
            let lines = reader.join().expect("it ends");
            lines.iter().map(|line| serde_json::from_str(line).expect("an entry")).collect()
        })
        .collect();
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 4, 2]);
    let debug =
        |entries: &[Value]| entries.iter().any(|entry| entry["message"].as_str().unwrap().contains("debug"));
    assert!(seen[0].iter().all(|entry| entry["fields"] == serde_json::json!({})), "not parsed at the source");
    assert!(seen[1].iter().all(|entry| entry["fields"]["n"].is_number()), "parsed behind the first step");
    assert_eq!(
        [debug(&seen[0]), debug(&seen[1]), debug(&seen[2]), debug(&seen[3])],
        [true, true, false, false]
    );
    assert!(seen[2].iter().all(|entry| entry["fields"]["env"].is_null()));
    assert!(seen[3].iter().all(|entry| entry["fields"]["env"] == "prod"));
    assert!(seen[4].iter().all(|entry| entry["fields"]["n"] == 7));
    for mut tap in taps {
        assert!(tap.wait().expect("it ends").success());
    }
    drop(input);
    let stats = instance.wait_delivered("out", sent / 2);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn a_tap_where_nothing_is_says_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = Instance::start(
        dir.path(),
        "data_dir: state\nadmin: { listen: \"127.0.0.1:0\" }\nsources: { in: { type: stdin } }\n\
         sinks: { out: { type: blackhole } }\n",
    );
    let address = instance.address("admin: http", "http://");
    let output = tap(&address, &["sink:nowhere"]).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("there is no `sink:nowhere`; there are: source:in, sink:out"), "{said}");
    let output = tap(&address, &["sink:out", "--where", "level ="]).wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stderr).contains("at byte"));
}
