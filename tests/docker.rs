//! The docker source against an engine that is played: what a real one does not do when asked to.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use support::engine::{Container, Engine, Message, T0};
use support::*;

struct Rig {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = Engine::start(&dir.path().join("engine.sock"));
        Rig { dir, engine }
    }

    fn config(&self, more: &str) -> String {
        format!(
            "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
             sources: {{ in: {{ type: docker, socket: \"unix://{}\", labels: {{ job: app }}, rescan: 300ms, {more} }} }}\n\
             sinks: {{ out: {{ type: file, path: out/all.json, format: json }} }}\n",
            self.engine.socket.display()
        )
    }

    fn start(&self, more: &str) -> Instance {
        Instance::start(self.dir.path(), &self.config(more))
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out/all.json")
    }

    /// What came, by container and stream, in order.
    fn came(&self) -> BTreeMap<(String, String), Vec<String>> {
        let mut came: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for entry in entries(&self.out()) {
            let label = |name: &str| entry["labels"][name].as_str().unwrap_or_default().to_owned();
            assert_eq!(label("job"), "app");
            let text = entry["message"].as_str().expect("a message").to_owned();
            came.entry((label("container_name"), label("stream"))).or_default().push(text);
        }
        came
    }
}

fn entries(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn container(id: &str) -> Container {
    Container {
        id: id.into(),
        name: format!("name-{id}"),
        image: "shop/web:1".into(),
        ..Container::default()
    }
}

fn line(n: usize) -> String {
    format!("line {n}{}", " and more".repeat(n % 7))
}

/// Says so many lines, several at the same time, every third to its errors.
fn say(engine: &Engine, id: &str, range: std::ops::Range<usize>) {
    for n in range {
        let time = T0 + (n / 4) as i64 * 1_000_000;
        engine.message(id, Message { err: n % 3 == 0, time, text: line(n), ends: true });
    }
}

/// The lines of `said` that went to the errors, or did not.
fn said(range: std::ops::Range<usize>, err: bool) -> Vec<String> {
    range.filter(|n| (n % 3 == 0) == err).map(line).collect()
}

fn key(id: &str, err: bool) -> (String, String) {
    (format!("name-{id}"), if err { "stderr" } else { "stdout" }.into())
}

/// How many lines came twice; all came, in order but for those.
fn twice(came: &[String], wanted: &[String]) -> usize {
    let mut seen = std::collections::HashSet::new();
    let first: Vec<&String> = came.iter().filter(|line| seen.insert(*line)).collect();
    assert_eq!(first, wanted.iter().collect::<Vec<_>>());
    came.len() - wanted.len()
}

#[test]
fn a_log_that_breaks_off_anywhere_is_read_on_where_it_broke_off() {
    let rig = Rig::new();
    rig.engine.add(container("ab1"));
    say(&rig.engine, "ab1", 0..300);
    // Within a frame's header, its time, its text; and then further and further on.
    rig.engine.faults(|faults| faults.cuts = [3, 12, 50, 2000, 2041, 5555, 9000, 12_345].into());
    let mut instance = rig.start("");
    say(&rig.engine, "ab1", 300..400);
    let stats = instance.wait_delivered("out", 400);
    assert_ledger(&stats);
    let came = rig.came();
    for err in [false, true] {
        assert_eq!(came[&key("ab1", err)], said(0..400, err));
    }
    assert!(rig.engine.asked() > 8, "it was asked for anew");
    let first = &entries(&rig.out())[0];
    assert_eq!(first["time"], "2026-11-28T04:15:46.000000000Z", "{first}");
    let labels = [("container_id", "ab1"), ("image", "shop/web:1"), ("container_name", "name-ab1")];
    labels.iter().for_each(|(name, value)| assert_eq!(first["labels"][name], *value));
    // Lines of one time and one stream have times of their own, so that no store takes them for one.
    let times: std::collections::HashSet<String> = entries(&rig.out())
        .iter()
        .map(|entry| format!("{}{}", entry["labels"]["stream"], entry["time"]))
        .collect();
    assert_eq!(times.len(), 400);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn killed_and_restarted_while_containers_start_end_and_go_on() {
    for whole_seconds in [false, true] {
        let rig = Rig::new();
        rig.engine.faults(|faults| faults.whole_seconds = whole_seconds);
        for id in ["a", "b", "c"] {
            rig.engine.add(container(id));
            say(&rig.engine, id, 0..50);
        }
        let mut instance = rig.start("");
        instance.wait_delivered("out", 150);
        instance.kill();
        // While nobody listens one goes on, one ends, one ends and starts again, one comes and ends.
        say(&rig.engine, "a", 50..80);
        say(&rig.engine, "b", 50..80);
        rig.engine.set_running("b", false);
        rig.engine.set_running("c", false);
        say(&rig.engine, "c", 50..80);
        rig.engine.set_running("c", true);
        rig.engine.add_ended(container("d"));
        say(&rig.engine, "d", 0..80);
        let mut instance = rig.start("");
        for id in ["a", "c"] {
            say(&rig.engine, id, 80..120);
        }
        instance.wait_stats("all lines", |_| rig.came().values().map(Vec::len).sum::<usize>() >= 400);
        let stats = instance.wait_stats("rest", at_rest);
        assert_ledger(&stats);
        assert_eq!(instance.terminate(), 0);
        let came = rig.came();
        let mut doubled = 0;
        for (id, count) in [("a", 120), ("b", 80), ("c", 120), ("d", 80)] {
            for err in [false, true] {
                doubled += twice(&came[&key(id, err)], &said(0..count, err));
            }
        }
        // The kill may come before the last 20 ms are noted: at most what was there then.
        assert!(doubled <= 150, "{doubled} twice");
    }
}

#[test]
fn an_engine_that_goes_away_and_comes_back_costs_no_line_and_is_told_of() {
    let rig = Rig::new();
    rig.engine.add(container("a"));
    say(&rig.engine, "a", 0..40);
    let mut instance = rig.start("");
    instance.wait_delivered("out", 40);
    rig.engine.stop();
    instance.wait_log("the engine cannot be asked");
    instance.wait_stats("trouble", |stats| {
        row(stats, "sources", "in")["unwell"].as_str().is_some_and(|why| why.contains("engine.sock"))
    });
    let health = instance.get("/health").1;
    assert!(health.contains("the engine cannot be asked"), "{health}");
    say(&rig.engine, "a", 40..90);
    rig.engine.go_on();
    instance.wait_log("the engine answers again");
    say(&rig.engine, "a", 90..100);
    instance.wait_delivered("out", 100);
    instance.wait_stats("well", |stats| row(stats, "sources", "in")["unwell"].is_null());
    let came = rig.came();
    for err in [false, true] {
        assert_eq!(came[&key("a", err)], said(0..100, err));
    }
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn a_container_with_a_terminal_has_whole_lines_without_carriage_returns() {
    let rig = Rig::new();
    rig.engine.add(Container { tty: true, ..container("a") });
    let long = "x".repeat(16 << 10);
    rig.engine.say("a", T0, "one");
    for (text, ends) in [(&long[..], false), (&long, false), ("tail", true)] {
        rig.engine.message("a", Message { err: false, time: T0 + 5, text: text.into(), ends });
    }
    rig.engine.say("a", T0 + 9, "two");
    let mut instance = rig.start("");
    instance.wait_delivered("out", 3);
    let whole = long.repeat(2) + "tail";
    assert_eq!(rig.came()[&key("a", false)], ["one", &whole, "two"]);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn pieces_of_a_line_are_one_entry_and_what_is_never_ended_goes_out_when_the_container_ends() {
    let rig = Rig::new();
    rig.engine.add(container("a"));
    let piece = |err, n: i64, text: &str, ends| {
        rig.engine.message("a", Message { err, time: T0 + n, text: text.into(), ends });
    };
    piece(false, 1, "first half, ", false);
    piece(true, 2, "an error between", true);
    piece(false, 1, "second half", true);
    piece(false, 4, "no end", false);
    let mut instance = rig.start("");
    instance.wait_delivered("out", 2);
    rig.engine.set_running("a", false);
    instance.wait_delivered("out", 3);
    // From now on the engine, too, says that the line has ended.
    rig.engine.with("a", |container| {
        container.log.iter_mut().for_each(|message| message.ends |= message.time > T0 + 3)
    });
    let came = rig.came();
    assert_eq!(came[&key("a", false)], ["first half, second half", "no end"]);
    assert_eq!(came[&key("a", true)], ["an error between"]);
    assert_eq!(instance.terminate(), 0);
    // All of it is remembered as read.
    let mut instance = rig.start("");
    rig.engine.set_running("a", true);
    rig.engine.say("a", T0 + 9, "more");
    instance.wait_stats("the line", |_| rig.came()[&key("a", false)].len() > 2);
    assert_eq!(rig.came()[&key("a", false)], ["first half, second half", "no end", "more"]);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn a_log_that_cannot_be_read_is_told_once_with_its_reason_and_hinders_no_other() {
    let rig = Rig::new();
    let refused = Some((501, "configured logging driver does not support reading".to_owned()));
    rig.engine.add(Container { refused, ..container("mute") });
    rig.engine.add(container("a"));
    say(&rig.engine, "a", 0..10);
    let mut instance = rig.start("");
    instance.wait_delivered("out", 10);
    let why = "the log of container name-mute cannot be read";
    instance.wait_log(why);
    let stats = instance.wait_stats("told", |stats| !row(stats, "sources", "in")["unwell"].is_null());
    let source = row(&stats, "sources", "in");
    assert_eq!(number(source, "containers_total"), 2);
    let first = &source["containers"][0];
    assert_eq!((&first["name"], &first["id"]), (&"name-mute".into(), &"mute".into()));
    assert!(first["trouble"].as_str().is_some_and(|why| why.contains("does not support reading")), "{first}");
    let health = instance.get("/health").1;
    assert!(health.contains("does not support reading") && health.contains("degraded"), "{health}");
    // It is asked about again and again, and not told of again.
    rig.engine.set_running("mute", true);
    say(&rig.engine, "a", 10..20);
    instance.wait_delivered("out", 20);
    assert_eq!(instance.log().matches(why).count(), 1);
    rig.engine.remove("mute");
    instance.wait_stats("gone", |stats| {
        let source = row(stats, "sources", "in");
        source["unwell"].is_null() && number(source, "containers_total") == 1
    });
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn containers_are_found_though_no_event_tells_of_them() {
    let rig = Rig::new();
    rig.engine.faults(|faults| faults.no_events = true);
    let mut instance = rig.start("");
    rig.engine.add(container("a"));
    say(&rig.engine, "a", 0..10);
    instance.wait_delivered("out", 10);
    rig.engine.set_running("a", false);
    instance
        .wait_stats("it rests", |stats| row(stats, "sources", "in")["containers"][0]["state"] == "resting");
    rig.engine.set_running("a", true);
    say(&rig.engine, "a", 10..20);
    instance.wait_delivered("out", 20);
    rig.engine.remove("a");
    instance.wait_stats("it is gone", |stats| number(row(stats, "sources", "in"), "containers_total") == 0);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn lists_that_fail_or_never_come_are_tried_again() {
    let rig = Rig::new();
    rig.engine.add(container("a"));
    say(&rig.engine, "a", 0..10);
    rig.engine.faults(|faults| faults.list_status = Some((2, 500)));
    let mut instance = rig.start("timeout: 300ms");
    instance.wait_log("the engine is ill");
    instance.wait_delivered("out", 10);
    rig.engine.faults(|faults| faults.list_silent = true);
    instance.wait_log("did not list its containers within 300ms");
    // What is followed goes on.
    say(&rig.engine, "a", 10..20);
    instance.wait_delivered("out", 20);
    rig.engine.faults(|faults| faults.list_silent = false);
    rig.engine.add(container("b"));
    say(&rig.engine, "b", 0..10);
    instance.wait_delivered("out", 30);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn thousands_of_containers_are_read_over_a_few_connections() {
    let rig = Rig::new();
    for n in 0..3000 {
        let id = format!("c{n}");
        rig.engine.add_ended(container(&id));
        rig.engine.say(&id, T0, &format!("said by {id}"));
    }
    let mut instance = rig.start("connections: 7");
    let stats = instance.wait_delivered("out", 3000);
    assert_ledger(&stats);
    let came = rig.came();
    assert_eq!(came.len(), 3000);
    assert!(came.iter().all(|((name, _), lines)| lines == &[format!("said by {}", &name["name-".len()..])]));
    assert!(rig.engine.logs_max() <= 8, "{} at once", rig.engine.logs_max());
    let shown = row(&stats, "sources", "in")["containers"].as_array().map(Vec::len);
    assert_eq!(shown, Some(100));
    assert_eq!(instance.terminate(), 0);
}
