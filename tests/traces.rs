//! Stack traces from files: one entry each, whole, whenever the reader is killed.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use support::*;

const KILLS: u64 = 8;

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { app: { type: file, include: ["logs/*.log"], multiline: { preset: java, timeout: 1h } } }
sinks:
  json: { type: file, path: "out/app.json", format: json }
  raw:  { type: file, path: "raw/app.log" }
"#;

/// What the application writes for its request `number`: a line, or a line with a trace of two exceptions.
fn event(number: u64) -> String {
    if number.is_multiple_of(3) {
        return format!("2026-11-23 10:00:00,000 INFO  [main] app.Main - request {number} done\n");
    }
    let frames: String =
        (0..number % 40).map(|at| format!("\tat com.acme.Service.call(Service.java:{at})\n")).collect();
    format!(
        "2026-11-23 10:00:00,000 ERROR [main] app.Main - request {number} failed\n\
         java.io.IOException: cannot read\n{frames}Caused by: java.lang.IllegalStateException: closed\n\
         \tat com.acme.Stream.read(Stream.java:7)\n\t... 12 more\n"
    )
}

/// The events that came out, by number, with how often.
fn came(path: &Path) -> BTreeMap<u64, u64> {
    let text = fs::read_to_string(path).expect("written");
    let mut times = BTreeMap::new();
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).expect("a whole entry");
        let message = entry["message"].as_str().expect("a text");
        let (_, rest) = message.split_once("request ").unwrap_or_else(|| panic!("torn: {message:?}"));
        let number = rest.split([' ', '\n']).next().and_then(|number| number.parse().ok()).expect("a number");
        assert_eq!(format!("{message}\n"), event(number), "an event is whole and alone");
        *times.entry(number).or_default() += 1;
    }
    times
}

#[test]
fn java_traces_stay_whole_though_the_reader_is_killed_in_the_middle_of_them() {
    let seed = std::env::var("RINGMAIN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    let open =
        || OpenOptions::new().create(true).append(true).open(dir.path().join("logs/a.log")).expect("a log");
    let (mut log, mut number, mut rest) = (open(), 0, String::new());
    for _ in 0..KILLS {
        let mut instance = Instance::start(dir.path(), CONFIG);
        let before = number;
        for _ in 0..300 {
            rest += &event(number);
            number += 1;
        }
        // What is behind the cut, mostly in the middle of an event, comes after the next start.
        let cut = random.usize(rest.len() - 3000..rest.len());
        log.write_all(&rest.as_bytes()[..cut]).expect("appended");
        rest = rest.split_off(cut);
        instance.wait_stats("most of it is read", |stats| {
            number_of(stats, "received") >= (number - before).saturating_sub(100).min(150)
        });
        instance.kill();
    }
    log.write_all(rest.as_bytes()).expect("appended");
    // Ends the last event.
    log.write_all(event(number * 3).as_bytes()).expect("appended");
    let mut instance = Instance::start(dir.path(), CONFIG);
    let last = event(number * 3).len() as u64;
    instance.wait_stats("caught up but for the last, which may go on", |stats| {
        at_rest(stats) && number_of(stats, "lag_bytes") == last
    });
    assert_eq!(instance.terminate(), 0);
    let times = came(&dir.path().join("out/app.json"));
    let missing: Vec<u64> = (0..number).filter(|number| !times.contains_key(number)).collect();
    assert!(missing.is_empty(), "seed {seed}: lost {missing:?}");
    let twice: u64 = times.values().map(|times| times - 1).sum();
    println!("{number} events, {twice} twice after {KILLS} kills");
    let raw = fs::read_to_string(dir.path().join("raw/app.log")).expect("written");
    assert!(raw.ends_with(&event(number - 1)), "raw writes the lines as they were");
}

fn number_of(stats: &Value, key: &str) -> u64 {
    number(row(stats, "sources", "app"), key)
}

#[test]
fn an_access_log_comes_out_as_json_with_numbers_and_its_own_times() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    let line = |n: u32| {
        format!(
            "192.0.2.{} - user{n} [23/Nov/2026:10:{:02}:{:02} +0100] \"GET /items/{n}?q=1 HTTP/1.1\" {} {} \"-\" \"curl/8\"\n",
            n % 250,
            n / 60 % 60,
            n % 60,
            200 + n % 4 * 100,
            n * 7
        )
    };
    let text: String = (0..2000).map(line).collect();
    fs::write(dir.path().join("logs/access.log"), text + "not an access log\n").expect("written");
    let config = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { web: { type: file, include: ["logs/*.log"], pipeline: access } }
pipelines: { access: [ { parse: { format: nginx, on_error: discard } } ] }
sinks:
  all:    { type: file, path: "out/all.json", format: json }
  errors: { type: file, path: "out/errors.json", format: json, when: 'status >= 500' }
"#;
    let mut instance = Instance::start(dir.path(), config);
    let stats = instance.wait_delivered("all", 2000);
    assert_eq!(number(row(&stats, "sources", "web"), "step_errors"), 1);
    assert_eq!(number(row(&stats, "sources", "web"), "filtered"), 1);
    assert_eq!(instance.terminate(), 0);
    let read = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(dir.path().join("out").join(name)).expect("written");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let all = read("all.json");
    for (entry, n) in all.iter().zip(0_u32..) {
        let fields = &entry["fields"];
        assert_eq!(
            (&fields["status"], &fields["body_bytes_sent"]),
            (&(200 + n % 4 * 100).into(), &(n * 7).into())
        );
        assert_eq!(fields["path"], format!("/items/{n}?q=1"));
        let time = format!("2026-11-23T09:{:02}:{:02}", n / 60 % 60, n % 60);
        assert!(entry["time"].as_str().is_some_and(|said| said.starts_with(&time)), "{entry}");
    }
    assert_eq!((all.len(), read("errors.json").len()), (2000, 500));
}
