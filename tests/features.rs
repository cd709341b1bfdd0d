//! What a user configures, seen from outside: steps, conditions, formats, isolation, looking in, `send` and `check`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use support::*;

fn config(rest: &str) -> String {
    format!("data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n{rest}")
}

fn read_lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).expect("it can be read").lines().map(String::from).collect()
}

#[test]
fn json_is_parsed_filtered_set_and_written_with_its_fields() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = config(
        r#"
sources: { in: { type: stdin, pipeline: app, labels: { job: web } } }
pipelines:
  app:
    - parse: json
    - discard: 'level == "debug" or (labels.job == "web" and status == 204)'
    - set: { env: prod, weight: 7 }
sinks:
  json:  { type: file, path: out/all.json, format: json }
  raw:   { type: file, path: out/errors.log, format: raw, when: 'level == "error" and not (user == "bot")' }
  none:  { type: blackhole, when: 'labels.job == "other"' }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let lines = [
        r#"{"level":"info","user":"ann","status":200,"nested":{"a":[1,2]},"text":"say \"hi\"\n"}"#,
        r#"{"level":"debug","user":"ann"}"#,
        r#"{"level":"error","user":"bot","status":500}"#,
        r#"{"level":"error","user":"eve","status":500.5,"ok":true,"none":null}"#,
        r#"{"level":"info","status":204}"#,
        r#"{"level":"error", broken"#,
    ];
    instance.stdin().write_all((lines.join("\n") + "\n").as_bytes()).expect("it reads");
    let stats = instance.wait_delivered("json", 4);
    assert_ledger(&stats);
    let source = row(&stats, "sources", "in");
    assert_eq!(
        (number(source, "received"), number(source, "filtered"), number(source, "step_errors")),
        (6, 2, 1)
    );
    assert_eq!(number(row(&stats, "sinks", "none"), "copies"), 0);
    assert_eq!(read_lines(&dir.path().join("out/errors.log")), [lines[3]]);
    let out: Vec<Value> = read_lines(&dir.path().join("out/all.json"))
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let first: Value = serde_json::from_str(lines[0]).expect("sent as JSON");
    for (key, value) in first.as_object().expect("an object") {
        assert_eq!(&out[0]["fields"][key], value);
    }
    assert_eq!((&out[0]["fields"]["env"], &out[0]["fields"]["weight"]), (&"prod".into(), &7.into()));
    assert_eq!((&out[0]["message"], &out[0]["labels"]["job"]), (&lines[0].into(), &"web".into()));
    assert_eq!(out[2]["fields"]["none"], Value::Null);
    assert_eq!(
        (&out[3]["message"], &out[3]["fields"]["env"]),
        (&lines[5].into(), &"prod".into()),
        "broken JSON goes on"
    );
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn a_dead_sink_beside_a_live_one_starves_nobody_while_its_selection_is_small() {
    let dir = tempfile::tempdir().expect("a directory");
    // The console of this child is a pipe that nobody reads; one line in a thousand is for it.
    let text = config(
        r#"
quotas: { max_memory: 96MiB }
sources: { in: { type: stdin, pipeline: p } }
pipelines: { p: [ { parse: json } ] }
sinks:
  dead: { type: console, format: raw, when: 'rare == true' }
  live: { type: file, path: out/all.log }
"#,
    );
    let mut instance = Instance::start(dir.path(), &text);
    let mut stdin = instance.stdin();
    const LINES: u64 = 400_000;
    let writer = std::thread::spawn(move || {
        let fill = "x".repeat(180);
        for thousand in 0..LINES / 1000 {
            let text: String = (0..1000)
                .map(|n| {
                    format!("{{\"rare\":{},\"n\":{},\"fill\":\"{fill}\"}}\n", n == 500, thousand * 1000 + n)
                })
                .collect();
            stdin.write_all(text.as_bytes()).expect("it reads on");
        }
        stdin
    });
    // 80 MiB went through to the live sink, though one entry of each block waits at the dead one.
    let stats = instance.wait_stats("the live sink has all of it", |stats| {
        number(row(stats, "sinks", "live"), "delivered") == LINES
    });
    let dead = row(&stats, "sinks", "dead");
    assert!(number(dead, "in_flight") > 0 && number(dead, "copies") == LINES / 1000, "{dead:#}");
    assert!(number(dead, "pinned_bytes") < 2 << 20, "{} bytes pinned", number(dead, "pinned_bytes"));
    assert!(stats["process"]["resident_bytes"].as_u64().is_some_and(|bytes| bytes < 64 << 20), "{stats:#}");
    drop(writer.join().expect("no panic"));
    let lines = read_lines(&dir.path().join("out/all.log"));
    assert!(lines.iter().enumerate().all(|(n, line)| line.contains(&format!("\"n\":{n},"))), "in order");
    // Someone reads at last.
    let mut stdout = instance.stdout();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("text");
        text.lines().count() as u64
    });
    let stats = instance.wait_delivered("dead", LINES / 1000);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    assert_eq!(reader.join().expect("no panic"), LINES / 1000);
}

#[test]
fn a_sink_that_never_answers_leaves_the_positions_where_they_were() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("logs")).expect("created");
    let all: String = (0..5_000).map(|n| line("s", n, 100) + "\n").collect();
    fs::write(dir.path().join("logs/a.log"), all).expect("written");
    let source = "sources: { logs: { type: file, include: [\"logs/*.log\"] } }\n";
    let dead = config(&format!("{source}sinks: {{ out: {{ type: console, format: raw }} }}\n"));
    let mut instance = Instance::start(dir.path(), &dead);
    // Everything is read and waits at a console nobody reads: two checkpoints and more pass.
    instance.wait_stats("all is read", |stats| number(row(stats, "sources", "logs"), "received") == 5_000);
    instance.wait_stats("two seconds passed", |stats| {
        stats["uptime_seconds"].as_f64().is_some_and(|up| up > 2.5)
    });
    instance.kill();
    let live = config(&format!("{source}sinks: {{ out: {{ type: file, path: out/all.log }} }}\n"));
    let mut instance = Instance::start(dir.path(), &live);
    instance.wait_stats("read again", |stats| {
        let row = row(stats, "sources", "logs");
        number(row, "received") > 4_000 && number(row, "lag_bytes") == 0 && at_rest(stats)
    });
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    let delivered = recount.lines();
    // What went into the pipe was delivered as far as anyone can tell; all the rest comes again, in order.
    let numbers = &recount.streams["s"];
    assert_eq!(numbers.last(), Some(&4_999));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "in order, without gaps");
    assert!(delivered > 4_000, "only {delivered} of 5000 lines came again");
}

#[test]
fn syslog_of_both_kinds_arrives_with_its_fields_and_is_seen_in_stats_and_metrics() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = config(
        "sources: { net: { type: syslog, timezone: utc, listen: [\"tcp://127.0.0.1:0\", \"udp://127.0.0.1:0\"] } }\n\
         sinks: { out: { type: file, path: \"out/{source}.json\", format: json } }\n",
    );
    let mut instance = Instance::start(dir.path(), &text);
    let (tcp, udp) = (instance.address("source net", "tcp://"), instance.address("source net", "udp://"));
    let modern = "<165>1 2026-03-01T10:20:30.123456+02:00 web-1 shop 4711 ORDER [a@1 x=\"1\" y=\"q\\\"r\"] caf\u{e9} \u{1b}[31m";
    let old = "<34>Mar  1 08:20:31 mymachine su[123]: 'su root' failed";
    let mut connection = TcpStream::connect(tcp).expect("connected");
    let frames = format!("{} {modern}{old}\n", modern.len());
    connection.write_all(frames.as_bytes()).expect("it reads");
    drop(connection);
    instance.wait_delivered("out", 2);
    let (code, said, _) =
        run(dir.path(), &["send", "--to", &format!("udp://{udp}"), "--count", "3", "over udp"]);
    assert_eq!(code, 0, "{said}");
    let stats = instance.wait_delivered("out", 5);
    assert_ledger(&stats);
    let out: Vec<Value> = read_lines(&dir.path().join("out/net.json"))
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let field = |at: usize, name: &str| out[at]["fields"][name].as_str().unwrap_or("(none)").to_string();
    let names = ["facility", "severity", "host", "app", "procid", "msgid", "a@1.x", "a@1.y", "message"];
    let expected =
        ["local4", "notice", "web-1", "shop", "4711", "ORDER", "1", "q\"r", "caf\u{e9} \u{1b}[31m"];
    assert_eq!(names.map(|name| field(0, name)), expected);
    assert_eq!(
        (&out[0]["message"], &out[0]["time"]),
        (&modern.into(), &"2026-03-01T08:20:30.123456000Z".into())
    );
    assert_eq!(
        (field(1, "app"), field(1, "procid"), field(1, "host")),
        ("su".into(), "123".into(), "mymachine".into())
    );
    assert!(
        out[1]["time"].as_str().is_some_and(|time| time.ends_with("-03-01T08:20:31.000000000Z")),
        "{}",
        out[1]
    );
    assert!(
        out[2..]
            .iter()
            .all(|entry| entry["fields"]["message"].as_str().is_some_and(|m| m.contains("over udp")))
    );

    let (status, metrics) = instance.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "dispatcher_entries_received_total 5",
        "dispatcher_entries_processed_total 5",
        "dispatcher_source_received_total{source=\"net\"} 5",
        "dispatcher_sink_delivered_total{sink=\"out\"} 5",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} in\n{metrics}");
    }
    for name in
        ["dispatcher_processing_duration_seconds_count", "dispatcher_queue_wait_duration_seconds_count"]
    {
        let counted =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<u64>().ok());
        assert!(counted.is_some_and(|count| count > 0), "{name} moved\n{metrics}");
    }
    assert_eq!(
        (instance.get("/health").0, instance.get("/ready").0, instance.get("/nothing").0),
        (200, 200, 404)
    );
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn check_prints_the_plan_with_defaults_and_who_can_stop_whom() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = config(
        "dispatcher: { queue_size: 5000 }\n\
         sources: { a: { type: stdin }, b: { type: file, include: [\"x/*.log\"], strategy: drop_newest } }\n\
         sinks: { out: { type: blackhole }, some: { type: console, when: 'source == \"b\"' } }\n",
    );
    fs::write(dir.path().join("config.yaml"), text).expect("written");
    let (code, plan, error) = run(dir.path(), &["check", "-c", "config.yaml"]);
    assert_eq!(code, 0, "{error}");
    for words in
        ["queue_size", "5000", "(set)", "(default)", "drain_timeout", "30s", "drop_newest", "out", "some"]
    {
        assert!(plan.contains(words), "{words:?} in\n{plan}");
    }
    assert!(!dir.path().join("state").exists(), "check changes nothing");
}

#[test]
fn check_refuses_tables_that_are_missing_or_wrong_all_of_them_by_name_and_says_what_would_be_right() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = config(
        "sources: { a: { type: stdin, pipeline: p } }\n\
         pipelines:\n  \
         p: [ { parse: json }, { enrich: { table: t.csv, key: k, column: name, fields: { t: team } } } ]\n  \
         q: [ { enrich: { table: gone.json, key: k, column: name, fields: { t: team } } } ]\n\
         sinks: { out: { type: blackhole } }\n",
    );
    fs::write(dir.path().join("config.yaml"), text).expect("written");
    fs::write(dir.path().join("t.csv"), "name,owner\nshop,x\n").expect("written");
    let (code, plan, error) = run(dir.path(), &["check", "-c", "config.yaml"]);
    assert_eq!((code, &*plan), (2, ""), "{error}");
    let here = dir.path().canonicalize().expect("it is there");
    let expected = format!(
        "error: step 2 of pipeline `p`: enrich: table t.csv: there is no column `team`; there are name, owner\n\
         step 1 of pipeline `q`: enrich: table gone.json: No such file or directory (os error 2); \
         a relative path counts from {}\n",
        here.display()
    );
    assert_eq!(error, expected);
    fs::write(dir.path().join("t.csv"), "name,team\nshop,x\n").expect("written");
    fs::write(dir.path().join("gone.json"), r#"[{"name":"a","team":"b"}]"#).expect("written");
    let (code, plan, error) = run(dir.path(), &["check", "-c", "config.yaml"]);
    assert_eq!((code, &*error), (0, ""), "{plan}");
}

#[test]
fn under_drop_newest_a_dead_sink_costs_entries_and_every_one_is_counted() {
    for strategy in ["drop_newest", "drop_oldest"] {
        let dir = tempfile::tempdir().expect("a directory");
        let text = config(&format!(
            "quotas: {{ max_memory: 50MiB }}\n\
             sources: {{ in: {{ type: stdin, strategy: {strategy} }} }}\n\
             sinks: {{ dead: {{ type: console, format: raw }} }}\n"
        ));
        let mut instance = Instance::start(dir.path(), &text);
        let mut stdin = instance.stdin();
        const LINES: u64 = 200_000;
        let all: String = (0..LINES).map(|n| line("s", n, 300) + "\n").collect();
        stdin.write_all(all.as_bytes()).expect("it never stops reading");
        drop(stdin);
        let stats = instance.wait_stats("all came in", |stats| {
            let source = row(stats, "sources", "in");
            number(source, "received") == LINES && number(source, "in_transit") == 0
        });
        let dropped = |row: &Value| row["dropped"][strategy].as_u64().unwrap_or(0);
        let lost = dropped(row(&stats, "sources", "in")) + dropped(row(&stats, "sinks", "dead"));
        assert!(lost > 0, "{stats:#}");
        let mut stdout = instance.stdout();
        let reader = std::thread::spawn(move || {
            let (mut text, mut recount) = (String::new(), Recount::default());
            stdout.read_to_string(&mut text).expect("text");
            recount.add(&text);
            recount
        });
        let stats = instance.wait_stats("what was kept came out", at_rest);
        assert_ledger(&stats);
        let lost = dropped(row(&stats, "sources", "in")) + dropped(row(&stats, "sinks", "dead"));
        assert_eq!(instance.terminate(), 0);
        let recount = reader.join().expect("no panic");
        assert_eq!(
            recount.lines() + lost,
            LINES,
            "{strategy}: what came out and what was counted as dropped"
        );
        let numbers = &recount.streams["s"];
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{strategy}: in order");
        match strategy {
            "drop_oldest" => assert_eq!(numbers.last(), Some(&(LINES - 1)), "the newest is kept"),
            _ => assert_eq!(numbers.first(), Some(&0), "the oldest is kept"),
        }
    }
}

#[test]
fn a_sink_that_writes_beside_what_is_read_is_not_read_itself_and_opens_anew_on_sighup() {
    let dir = tempfile::tempdir().expect("a directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("created");
    fs::write(logs.join("app.log"), "one\n").expect("written");
    let text = config(
        "sources: { logs: { type: file, include: [\"logs/*.log\"], rescan: 100ms } }\n\
         sinks: { out: { type: file, path: \"logs/all-{source}.log\" } }\n",
    );
    let mut instance = Instance::start(dir.path(), &text);
    instance.wait_delivered("out", 1);
    fs::rename(logs.join("all-logs.log"), dir.path().join("moved")).expect("renamed");
    instance.signal("HUP");
    instance.wait_log("SIGHUP");
    fs::write(logs.join("late.log"), "two\n").expect("written");
    let stats = instance.wait_delivered("out", 2);
    assert_eq!(instance.terminate(), 0);
    assert_eq!(number(row(&stats, "sources", "logs"), "received"), 2, "only what others wrote");
    assert_eq!(read_lines(&dir.path().join("moved")), ["one"]);
    assert_eq!(read_lines(&logs.join("all-logs.log")), ["two"]);
}
