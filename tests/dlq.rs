//! Dead letters: what is refused is kept, shown, given again, thrown away at limits, and survives whatever happens.
//!
//! The destination is a server of ours that answers as it is told; everything is recounted from what it took.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

#[path = "support/destination.rs"]
mod destination;

use destination::{Destination, Request, status};
use ringmain::block::Block;
use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::sinks::config::{FileSinkConfig, Format, SinkKind};
use ringmain::sources::submit::LogEntry;
use ringmain::steps::{Step, StepError, Verdict};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use support::http::Client;
use support::*;

/// A config that sends the standard input to a server, with keys of `dispatcher.dlq`.
fn config(there: &Destination, dlq: &str, rest: &str) -> String {
    format!(
        "data_dir: state\nadmin: {{ listen: '127.0.0.1:0', token: t0ken }}\ndispatcher: {{ batch_timeout: 50ms, \
         retry_backoff: 10ms, retry_backoff_max: 20ms, max_retries: 1, dlq: {{ {dlq} }} }}\n\
         sinks: {{ out: {{ type: http, url: '{}', body: lines }} }}\n{rest}",
        there.url()
    )
}

const PLAIN: &str = "sources: { in: { type: stdin } }\n";

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A server that refuses what contains `bad` while the flag is up.
fn strict(answer: u16) -> (Destination, Arc<AtomicBool>) {
    let (there, is_strict) = (Destination::start(), Arc::new(AtomicBool::new(true)));
    let flag = Arc::clone(&is_strict);
    there.judge(move |request| {
        let bad = flag.load(SeqCst) && String::from_utf8_lossy(&request.body).contains("bad");
        status(if bad { answer } else { 204 })
    });
    (there, is_strict)
}

fn start(dir: &Path, config: &str, input: &str) -> Instance {
    let mut instance = Instance::start(dir, config);
    let mut stdin = instance.stdin();
    stdin.write_all(input.as_bytes()).expect("it reads");
    instance
}

fn letters(stats: &Value) -> u64 {
    stats["dlq"]["letters"].as_u64().expect("letters are counted")
}

fn wait_letters(instance: &mut Instance, count: u64) -> Value {
    instance.wait_stats(&format!("{count} letters"), |stats| letters(stats) == count && at_rest(stats))
}

/// The one row of `/dlq` for a reason.
fn tally(stats: &Value, reason: &str) -> Value {
    let rows = stats["dlq"]["by_reason"].as_array().expect("rows");
    rows.iter()
        .find(|row| row["reason"] == reason)
        .unwrap_or_else(|| panic!("no {reason}: {stats:#}"))
        .clone()
}

/// `ringmain dlq ...` for the instance: exit code, stdout, stderr.
fn dlq(dir: &Path, instance: &mut Instance, args: &[&str]) -> (i32, String, String) {
    let admin = instance.address("admin: http", "http://");
    let all = [&["dlq"], args, &["--admin", &admin, "--token", "t0ken"]].concat();
    run(dir, &all)
}

fn listed(dir: &Path, args: &[&str]) -> Vec<Value> {
    let all = [&["dlq", "list", "--json", "--data-dir", "state"], args].concat();
    let (code, out, errors) = run(dir, &all);
    assert_eq!((code, &*errors), (0, ""), "{out}");
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The value of a series on `/metrics`.
fn metric(instance: &mut Instance, series: &str) -> f64 {
    let page = instance.get("/metrics").1;
    let line =
        page.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series}\n{page}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// The series of `dispatcher_dlq_NAME` for what `out` refused.
fn series(name: &str, rest: &str) -> String {
    format!("dispatcher_dlq_{name}{{sink=\"out\",reason=\"{rest}}}")
}

fn messages(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["message"].as_str().expect("a text")).collect()
}

/// The lines of all requests that were answered with 204 by a server that refuses `bad` with `strict`.
fn lines_of(requests: &[Request]) -> Vec<String> {
    let text = |request: &Request| String::from_utf8_lossy(&request.body).into_owned();
    requests.iter().flat_map(|request| text(request).lines().map(String::from).collect::<Vec<_>>()).collect()
}

#[test]
fn what_is_refused_is_kept_shown_and_given_again_as_it_was_or_changed() {
    let (dir, (there, is_strict)) = (dir(), strict(400));
    let config = config(&there, "retry_interval: 1h", PLAIN);
    let mut instance = start(dir.path(), &config, "good 1\nbad 1\nbad 2\ngood 2\nbad 3\n");
    let stats = wait_letters(&mut instance, 3);
    assert_ledger(&stats);
    let out = row(&stats, "sinks", "out");
    assert_eq!((number(out, "delivered"), number(out, "dead_lettered")), (2, 3));
    let rejected = tally(&stats, "rejected");
    assert_eq!((&rejected["sink"], &rejected["kept"]), (&"out".into(), &3.into()));

    assert_eq!(metric(&mut instance, &series("letters", "rejected\"")), 3.0);
    assert!(metric(&mut instance, &series("bytes", "rejected\"")) > 100.0);
    assert!(metric(&mut instance, "dispatcher_dlq_disk_bytes") > 1e6);
    assert!(metric(&mut instance, "dispatcher_dlq_oldest_seconds") > 0.0);

    let all = listed(dir.path(), &[]);
    assert_eq!(messages(&all), ["bad 1", "bad 2", "bad 3"], "while it runs");
    let letter = &all[0]["dead_letter"];
    assert_eq!(
        (&letter["status"], &letter["source"], &letter["sink"]),
        (&400.into(), &"in".into(), &"out".into())
    );
    assert!(letter["why"].as_str().unwrap().contains("400") && letter["dead_at"].is_string());
    assert_eq!(listed(dir.path(), &["--reason", "panic"]).len(), 0);
    assert_eq!(listed(dir.path(), &["--sink", "out", "--since", "1h", "--limit", "2"]).len(), 2);
    assert_eq!(listed(dir.path(), &["--until", "1h"]).len(), 0);
    let (code, table, _) = run(dir.path(), &["dlq", "list", "--data-dir", "state"]);
    assert!(code == 0 && table.contains("rejected 400") && table.contains("bad 2"), "{table}");
    let id = letter["id"].to_string();
    let (code, shown, _) = run(dir.path(), &["dlq", "show", &id, "--data-dir", "state"]);
    assert!(code == 0 && shown.contains("bad 1") && !shown.contains("bad 2"), "{shown}");
    assert_eq!(run(dir.path(), &["dlq", "show", "999", "--data-dir", "state"]).0, 2);

    // Refused once more: it is a letter again, and knows that.
    let (code, out, errors) = dlq(dir.path(), &mut instance, &["replay", "--limit", "1"]);
    assert_eq!(code, 1, "{out}{errors}");
    assert!(out.contains("1 of 1 given again: 0 delivered, 1 refused again"), "{out}");
    let all = listed(dir.path(), &[]);
    assert_eq!(messages(&all), ["bad 2", "bad 3", "bad 1"]);
    let again = &all[2]["dead_letter"];
    assert_eq!((&again["retries"], &again["first_failed"]), (&1.into(), &letter["first_failed"]));

    is_strict.store(false, SeqCst);
    let before = there.requests().len();
    let (code, out, errors) =
        dlq(dir.path(), &mut instance, &["replay", "--limit", "1", "--reason", "rejected"]);
    assert_eq!(code, 0, "{out}{errors}");
    assert_eq!(lines_of(&there.requests()[before..]), ["bad 2"]);
    let change = ["replay", "--set", "message=mended", "--set", "labels.env=test", "--json"];
    let (code, out, errors) = dlq(dir.path(), &mut instance, &change);
    assert_eq!(code, 0, "{out}{errors}");
    let replay: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&replay["letters"], &replay["delivered"], &replay["done"]),
        (&2.into(), &2.into(), &true.into())
    );
    assert_eq!(lines_of(&there.requests()[before..]), ["bad 2", "mended", "mended"]);

    let stats = wait_letters(&mut instance, 0);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sources", "dlq"), "received"), 4);
    for name in ["kept", "replayed", "settled"] {
        assert_eq!(metric(&mut instance, &series(&format!("{name}_total"), "rejected\"")), 4.0, "{name}");
    }
    let rejected = tally(&stats, "rejected");
    assert_eq!(
        (&rejected["kept"], &rejected["replayed"], &rejected["settled"]),
        (&4.into(), &4.into(), &4.into())
    );
    assert_eq!(instance.terminate(), 0);
    let mut instance = start(dir.path(), &config, "");
    assert_eq!(letters(&instance.stats()), 0);
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn letters_are_there_after_a_kill_and_what_is_exported_can_be_taken_in_again() {
    let (dir, (there, _)) = (dir(), strict(422));
    let mut instance = start(dir.path(), &config(&there, "", PLAIN), "bad 1\nbad \"2\"\n");
    wait_letters(&mut instance, 2);
    instance.kill();
    let (code, exported, errors) = run(dir.path(), &["dlq", "export", "--data-dir", "state"]);
    assert_eq!((code, &*errors, exported.lines().count()), (0, "", 2));
    let other = self::dir();
    let config = "data_dir: state\nadmin: { listen: '127.0.0.1:0' }\n\
                  sources: { web: { type: http, listen: ['tcp://127.0.0.1:0'], pipeline: p } }\n\
                  pipelines: { p: [ { parse: json } ] }\n\
                  sinks: { out: { type: file, path: out/all.log, when: 'message == \"bad 1\"' } }\n";
    let mut taking = Instance::start(other.path(), config);
    let address = taking.address("source web", "http://");
    let answer = support::http::post(&address, "/", "Content-Type: application/x-ndjson\r\n", &exported);
    assert_eq!(answer.status, 200, "{}", answer.body);
    taking.wait_delivered("out", 1);
    assert_eq!(number(row(&taking.stats(), "sources", "web"), "received"), 2);
    let mut instance = start(dir.path(), &self::config(&there, "", PLAIN), "");
    assert_eq!(letters(&instance.stats()), 2);
}

#[test]
fn at_max_size_the_oldest_go_exactly_counted_and_health_says_so() {
    for (dlq, kept) in [("max_size: 4", 4), ("max_size: 100", 10)] {
        let (dir, (there, _)) = (dir(), strict(400));
        let input: String = (0..10).map(|n| format!("bad {n}\n")).collect();
        let mut instance = start(dir.path(), &config(&there, dlq, PLAIN), &input);
        let stats = instance.wait_stats("all refused", |stats| {
            number(row(stats, "sinks", "out"), "dead_lettered") == 10 && at_rest(stats)
        });
        assert_ledger(&stats);
        assert_eq!(letters(&stats), kept, "{dlq}");
        assert_eq!(tally(&stats, "rejected")["dropped"]["max_size"], 10 - kept);
        let dropped = series("dropped_total", "rejected\",limit=\"max_size\"");
        assert_eq!(metric(&mut instance, &dropped), (10 - kept) as f64);
        assert_eq!(metric(&mut instance, "dispatcher_dlq_alarm") > 0.0, kept < 10);
        let health = instance.get("/health").1;
        assert_eq!(health.contains("dead letters were dropped"), kept < 10, "{health}");
        // On disk what goes at a limit is gone within a second.
        let deadline = Instant::now() + PATIENCE;
        let texts = loop {
            let texts = listed(dir.path(), &[]);
            if texts.len() as u64 == kept {
                break texts;
            }
            assert!(Instant::now() < deadline, "{} are listed", texts.len());
        };
        assert_eq!(texts.last().unwrap()["message"], "bad 9", "the oldest went");
    }
}

#[test]
fn beyond_max_bytes_the_oldest_go_and_the_rest_stays_within_them() {
    // 60 letters of 200 KB; 9 MiB is the least there may be.
    for (dlq, all_stay) in [("max_bytes: 9MiB", false), ("max_bytes: 64MiB", true)] {
        let (dir, (there, _)) = (dir(), strict(400));
        let one_by_one =
            config(&there, dlq, PLAIN).replace("body: lines", "body: lines, batch: { max_entries: 1 }");
        let input: String = (0..60).map(|n| format!("bad {n} {}\n", "x".repeat(200_000))).collect();
        let mut instance = start(dir.path(), &one_by_one, &input);
        let stats = instance.wait_stats("all refused", |stats| {
            number(row(stats, "sinks", "out"), "dead_lettered") == 60 && at_rest(stats)
        });
        assert_ledger(&stats);
        let dropped = tally(&stats, "rejected")["dropped"]["max_bytes"].as_u64().expect("a number");
        assert_eq!((letters(&stats) + dropped, dropped == 0), (60, all_stay), "{dlq}");
        let on_disk = stats["dlq"]["disk_bytes"].as_u64().expect("a number");
        assert_eq!(on_disk > 9 << 20, all_stay, "{dlq}: {on_disk}");
        let texts = listed(dir.path(), &[]);
        assert!(
            texts.last().unwrap()["message"].as_str().expect("text").starts_with("bad 59 "),
            "the oldest go"
        );
    }
}

#[test]
fn letters_whose_time_is_over_go_by_themselves_and_others_stay() {
    for (dlq, left) in [("retention_period: 1s", 0), ("retention_period: 1h", 1)] {
        let (dir, (there, _)) = (dir(), strict(400));
        let mut instance = start(dir.path(), &config(&there, dlq, PLAIN), "bad\n");
        instance.wait_stats("refused", |stats| number(row(stats, "sinks", "out"), "dead_lettered") == 1);
        if left == 0 {
            let stats = wait_letters(&mut instance, 0);
            assert_eq!(tally(&stats, "rejected")["dropped"]["retention_period"], 1);
        } else {
            assert_eq!(letters(&instance.stats()), left);
        }
    }
}

#[test]
fn without_a_queue_for_them_refused_entries_are_dropped_and_counted() {
    let (dir, (there, _)) = (dir(), strict(400));
    let rest = "sources: { in: { type: stdin, pipeline: p } }\n\
                pipelines: { p: [ { parse: { format: json, on_error: dead_letter } } ] }\n";
    let input = "{\"a\":\"good\"}\n{\"a\":\"bad\"}\nno json\n";
    let mut instance = start(dir.path(), &config(&there, "enabled: false", rest), input);
    let stats = instance
        .wait_stats("all in", |stats| number(row(stats, "sources", "in"), "received") == 3 && at_rest(stats));
    assert_ledger(&stats);
    assert_eq!(row(&stats, "sinks", "out")["dropped"]["rejected"], 1);
    assert_eq!(row(&stats, "sources", "in")["dropped"]["rejected"], 1);
    assert!(stats["dlq"].is_null() && instance.get("/dlq").0 == 404);
    assert!(!dir.path().join("state/dlq").exists());
    let (code, _, errors) = dlq(dir.path(), &mut instance, &["replay"]);
    assert!(code == 2 && errors.contains("dlq.enabled"), "{errors}");
}

#[test]
fn what_a_step_cannot_work_on_is_kept_and_given_again_through_a_pipeline() {
    let (dir, (there, _)) = (dir(), strict(400));
    let rest = "sources: { in: { type: stdin, pipeline: p } }\n\
                pipelines:\n  p: [ { parse: { format: json, on_error: dead_letter } } ]\n  q: [ { set: { mended: true } } ]\n";
    let mut instance = start(dir.path(), &config(&there, "", rest), "{\"a\":1}\nno json\n{\"a\":2}\nnone\n");
    let stats = wait_letters(&mut instance, 2);
    assert_ledger(&stats);
    assert_eq!(number(row(&stats, "sinks", "dlq"), "dead_lettered"), 2);
    assert_eq!(number(row(&stats, "sinks", "out"), "delivered"), 2);
    let (source, step) = (row(&stats, "sources", "in"), &row(&stats, "sources", "in")["steps"][0]);
    assert_eq!((number(source, "routed"), number(source, "filtered")), (4, 0));
    assert_eq!((number(source, "step_errors"), &step["errors"]), (2, &2.into()));
    let all = listed(dir.path(), &["--reason", "step_failed", "--sink", ""]);
    assert_eq!(messages(&all), ["no json", "none"]);
    assert!(all[0]["dead_letter"]["why"].as_str().unwrap().starts_with("step 1 (parse): "), "{all:#?}");

    let (code, _, errors) = dlq(dir.path(), &mut instance, &["replay", "--limit", "1"]);
    assert!(code == 1 && errors.contains("name a pipeline"), "{errors}");
    let (code, _, errors) = dlq(dir.path(), &mut instance, &["replay", "--pipeline", "r"]);
    assert!(code == 2 && errors.contains("there are: p, q"), "{errors}");
    // Through the same one it fails the same way, and stays a letter; mended, it passes.
    let (code, out, _) = dlq(dir.path(), &mut instance, &["replay", "--limit", "1", "--pipeline", "p"]);
    assert!(code == 1 && out.contains("1 refused again"), "{out}");
    let mend = ["replay", "--pipeline", "p", "--set", "message={\"a\":3}", "--limit", "1"];
    let (code, out, errors) = dlq(dir.path(), &mut instance, &mend);
    assert_eq!(code, 0, "{out}{errors}");
    let (code, out, errors) = dlq(dir.path(), &mut instance, &["replay", "--pipeline", "q"]);
    assert_eq!(code, 0, "{out}{errors}");
    let stats = wait_letters(&mut instance, 0);
    assert_ledger(&stats);
    let took = lines_of(&there.requests());
    assert_eq!(took.len(), 4, "{took:?}");
    assert!(took.contains(&"{\"a\":3}".to_string()) && took.contains(&"no json".to_string()), "{took:?}");
}

#[test]
fn killed_in_the_middle_of_a_replay_nothing_is_lost_and_one_comes_twice_at_most() {
    const COUNT: u64 = 60;
    for kill_after in [1_usize, 13, 31] {
        let (dir, (there, is_strict)) = (dir(), strict(400));
        let input: String = (0..COUNT).map(|n| line("bad", n, 40) + "\n").collect();
        let config = config(&there, "", PLAIN);
        let mut instance = start(dir.path(), &config, &input);
        wait_letters(&mut instance, COUNT);
        let before = there.requests().len();
        is_strict.store(false, SeqCst);
        let (code, _, errors) = dlq(dir.path(), &mut instance, &["replay", "--no-wait"]);
        assert_eq!(code, 0, "{errors}");
        there.wait("some are given again", |requests| requests.len() >= before + kill_after);
        instance.kill();
        let mut instance = start(dir.path(), &config, "");
        let left = letters(&instance.stats());
        // All but the last one that was asked for are gone: one is under way at a time.
        assert!(COUNT - left + 1 >= kill_after as u64, "{left} of {COUNT} are left after {kill_after}");
        let (code, out, errors) = dlq(dir.path(), &mut instance, &["replay", "--at-once", "50"]);
        assert_eq!(code, 0, "{out}{errors}");
        assert_ledger(&wait_letters(&mut instance, 0));
        let mut recount = Recount::default();
        recount.add(&(lines_of(&there.requests()[before..]).join("\n") + "\n"));
        let (lost, twice) = recount.lost_and_twice("bad", COUNT);
        assert_eq!(lost, 0);
        assert!(twice <= 1, "{twice} came twice, killed after {kill_after}");
    }
}

#[test]
fn what_may_pass_is_tried_again_by_itself_as_often_as_it_was_told() {
    // The destination recovers after it has failed everything so often; 2 requests make a letter, each retry 2 more.
    for (dlq, recovers) in [
        ("retry_interval: 1s, max_auto_retries: 2", true),
        ("retry_interval: 1s, max_auto_retries: 1", false),
        ("retry_interval: 1s, auto_retry: false", false),
        ("retry_interval: 1h", false),
    ] {
        let (dir, there) = (dir(), Destination::start());
        let failures = Arc::new(AtomicUsize::new(4));
        let left = Arc::clone(&failures);
        there.judge(move |_| {
            let failed = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            status(if failed { 500 } else { 204 })
        });
        let mut instance = start(dir.path(), &config(&there, dlq, PLAIN), "once\n");
        if recovers {
            let stats = instance.wait_stats("delivered after all", |stats| {
                number(row(stats, "sinks", "out"), "delivered") == 1 && letters(stats) == 0 && at_rest(stats)
            });
            assert_ledger(&stats);
            let spent = tally(&stats, "retries_spent");
            assert_eq!(metric(&mut instance, &series("retried_total", "retries_spent\"")), 2.0);
            assert_eq!(
                (&spent["kept"], &spent["retried"], &spent["settled"]),
                (&2.into(), &2.into(), &2.into())
            );
            continue;
        }
        let kept = if dlq.ends_with(": 1") { 2 } else { 1 };
        let stats = instance.wait_stats("it gives up", |stats| {
            letters(stats) == 1 && at_rest(stats) && tally(stats, "retries_spent")["kept"] == kept
        });
        assert_ledger(&stats);
        assert_eq!(number(row(&stats, "sinks", "out"), "delivered"), 0, "{dlq}");
        let next = &listed(dir.path(), &[])[0]["dead_letter"]["next_try"];
        assert_eq!(next.is_null(), !dlq.ends_with("1h"), "{dlq}: {next}");
    }
}

#[test]
fn who_changes_something_shows_the_token_and_says_what() {
    let (dir, (there, _)) = (dir(), strict(400));
    let mut instance = start(dir.path(), &config(&there, "", PLAIN), "bad\n");
    wait_letters(&mut instance, 1);
    let address = instance.address("admin: http", "http://");
    let post = |path: &str, fields: &str, body: &str| {
        let answer = Client::connect(&address).ask_as("localhost", path, fields, body);
        (answer.status, answer.body)
    };
    let token = "Authorization: Bearer t0ken\r\n";
    assert_eq!(post("/dlq/replay", "", "{}").0, 401);
    assert_eq!(post("/dlq/purge", "", "{}").0, 401);
    for (path, body, says) in [
        ("/dlq/replay", "{\"filter\":{\"reason\":\"none\"}}", "there are: rejected"),
        ("/dlq/replay", "{\"filters\":{}}", "unknown field"),
        ("/dlq/replay", "{\"set\":[\"x\"]}", "KEY=VALUE"),
        ("/dlq/replay", "{\"at_once\":0}", "expected 1 to 1000"),
        ("/dlq/purge", "", "means all of them"),
    ] {
        let (status, said) = post(path, token, body);
        assert!(status == 400 && said.contains(says), "{path} {body}: {status} {said}");
    }
    assert_eq!(letters(&instance.stats()), 1);
    assert_eq!(post("/dlq/purge", token, "{}"), (200, "{\"purged\":1}\n".into()));
    assert_eq!(letters(&wait_letters(&mut instance, 0)), 0);
}

#[test]
fn purge_leaves_the_files_of_a_running_instance_alone_and_asks_it_if_told_to() {
    let (dir, (there, _)) = (dir(), strict(400));
    let mut instance = start(dir.path(), &config(&there, "", PLAIN), "bad 1\nbad 2\nbad 3\n");
    wait_letters(&mut instance, 3);
    let purge = |args: &[&str]| run(dir.path(), &[&["dlq", "purge", "--data-dir", "state"], args].concat());
    assert_eq!(purge(&[]).0, 2, "it wants to know which");
    let (code, _, errors) = purge(&["--all"]);
    assert!(code == 3 && errors.contains("a ringmain is using state"), "{errors}");
    let (code, out, errors) = dlq(dir.path(), &mut instance, &["purge", "--running", "--limit", "1"]);
    assert_eq!((code, &*out), (0, "1 dead letters removed\n"), "{errors}");
    assert_eq!(metric(&mut instance, &series("purged_total", "rejected\"")), 1.0);
    assert_eq!(instance.terminate(), 0);
    assert_eq!(purge(&["--source", "other"]).1, "0 dead letters removed\n");
    assert_eq!(purge(&["--limit", "1", "--json"]).1, "{\"purged\":1}\n");
    assert_eq!(messages(&listed(dir.path(), &[])), ["bad 3"]);
    let (code, _, errors) = run(dir.path(), &["dlq", "list", "--data-dir", "nowhere"]);
    assert!(code == 3 && errors.contains("--data-dir"), "{errors}");
}

#[test]
fn the_files_can_be_read_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, (there, _)) = (dir(), strict(400));
    let mut instance = start(dir.path(), &config(&there, "", PLAIN), "bad\n");
    wait_letters(&mut instance, 1);
    let all = files(&dir.path().join("state/dlq"));
    assert!(!all.is_empty());
    for path in all {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn a_damaged_letter_costs_itself_and_is_counted() {
    let (dir, (there, _)) = (dir(), strict(400));
    let config = config(&there, "", PLAIN);
    let mut instance = start(dir.path(), &config, "bad 1\nbad 2\nbad 3\n");
    wait_letters(&mut instance, 3);
    assert_eq!(instance.terminate(), 0);
    let all = files(&dir.path().join("state/dlq"));
    let is_segment =
        |path: &&std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("seg-");
    let segment = all.iter().find(is_segment).expect("a segment");
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.windows(5).position(|text| text == b"bad 2").expect("it is in there as it is");
    bytes[at] ^= 1;
    fs::write(segment, bytes).unwrap();
    let (code, out, errors) = run(dir.path(), &["dlq", "list", "--data-dir", "state"]);
    assert!(
        code == 0 && out.contains("bad 3") && errors.contains("1 records cannot be read"),
        "{out}{errors}"
    );
    let mut instance = start(dir.path(), &config, "");
    assert_eq!(letters(&instance.stats()), 2);
    assert_eq!(metric(&mut instance, "dispatcher_dlq_lost_total"), 1.0);
    assert!(out.contains("bad 1") && !out.contains("bad 2"), "{out}");
}

/// Panics on a marker.
struct Picky;

impl Step for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
        assert!(!block.view(index).text().starts_with(b"poison"), "cannot stand this");
        Ok(Verdict::Keep)
    }
}

#[test]
fn an_entry_on_which_a_step_panics_is_a_letter_and_all_others_arrive() {
    let dir = dir();
    let config = ConfigBuilder::new().data_dir(dir.path().join("state")).build().unwrap();
    let path = dir.path().join("out.log");
    let file = FileSinkConfig { format: Format::Raw, ..FileSinkConfig::at(path.to_str().unwrap()) };
    let mut dispatcher = Dispatcher::new(config);
    dispatcher.add_sink("out", SinkKind::File(file)).add_step(Arc::new(Picky));
    dispatcher.start().unwrap();
    for n in 0..1000 {
        let text = if n % 250 == 7 { format!("poison {n}") } else { format!("fine {n}") };
        dispatcher.submit(LogEntry::new(text)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let snapshot = loop {
        let snapshot = dispatcher.snapshot();
        let done: u64 = snapshot.sinks.iter().map(|sink| sink.delivered + sink.dead_lettered).sum();
        if done == 1000 {
            break snapshot;
        }
        assert!(Instant::now() < deadline, "{:#?}", snapshot.sinks);
        std::thread::yield_now();
    };
    assert_eq!(snapshot.ledger.broken, None);
    assert_eq!(snapshot.dlq.as_ref().map(|dlq| dlq.letters), Some(4));
    dispatcher.stop(Duration::from_secs(20)).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 996);
    let all = listed(dir.path(), &["--reason", "panic"]);
    assert_eq!(messages(&all), ["poison 7", "poison 257", "poison 507", "poison 757"]);
    assert_eq!(all[0]["dead_letter"]["why"], "a step panicked: cannot stand this");
}
