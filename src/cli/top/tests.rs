//! Whole frames, as they are read.

use super::Watch;
use super::frame::{Scene, Size, frame};
use super::sample::{Health, Look, Stats};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn thread(name: &str, tid: i32, doing: &str, cpu: f64) -> Value {
    json!({ "name": name, "tid": tid, "doing": doing, "core": tid % 2, "cpu_seconds": cpu })
}

/// An instance that has run for `seconds` at a steady pace.
fn stats(seconds: u64) -> Value {
    let n = seconds;
    let request = |ms: f64| json!({ "latency_ms": ms, "entries": 500, "came": "took" });
    json!({
        "version": "0.1.0", "phase": "running", "uptime_seconds": n as f64,
        "process": { "pid": 7, "start_time_seconds": 1e9, "cpu_seconds": 1.25 * n as f64, "resident_bytes": 120 << 20 },
        "quotas": [
            { "name": "memory", "limit": 256 << 20, "used": 120 << 20, "peak": 130 << 20 },
            { "name": "cpu", "limit": 1.5, "used": 1.2, "peak": 1.4 },
            { "name": "fds", "limit": null, "used": 30, "peak": 31 },
        ],
        "cpu_limit_rest_seconds": 0.7 * n as f64,
        "ring": { "entries": 1200, "utilization": 0.12, "congested": false },
        "ledger": { "received": 30_000 * n, "delivered": 29_500 * n, "dropped": 0 },
        "workers": { "active": 1, "idle": 1 },
        "dlq": { "letters": 12 },
        "sources": [
            { "name": "app", "type": "file", "received": 10_000 * n, "received_bytes": 2_500_000 * n, "gate_open": false,
              "streams": 3, "lag_bytes": 1_200_000_000, "lag_ms": 240_000,
              "steps": [
                  { "step": 1, "verb": "parse", "entries": 10_000 * n, "seconds": 0.031 * n as f64, "errors": 20 * n },
                  { "step": 2, "verb": "discard", "entries": 10_000 * n, "seconds": 0.0004 * n as f64, "discarded": 500 * n },
              ] },
            { "name": "net", "type": "syslog", "received": 20_000 * n, "received_bytes": 5_000_000 * n, "gate_open": true,
              "streams": 41, "paced": n },
            { "name": "quiet", "type": "stdin", "received": 1, "received_bytes": 5, "gate_open": true },
        ],
        "sinks": [
            { "name": "archive", "type": "file", "delivered": 20_000 * n, "delivered_bytes": 5_000_000 * n, "batches": 5 * n,
              "batches_out": 1, "state": "ok", "breaker": { "state": "closed" }, "lane": { "entries": 120, "oldest_ms": 40,
              "batches_out_limit": 1 }, "history": [request(3.0)] },
            { "name": "loki", "type": "loki", "delivered": 9_500 * n, "delivered_bytes": 2_400_000 * n, "batches": 19 * n,
              "batches_out": 2, "state": "retrying", "attempt": 3, "last_error": "503 busy\u{1b}[2J", "breaker": { "state": "closed" },
              "lane": { "entries": 45_000, "oldest_ms": 12_000, "batches_out_limit": 4, "gate_closed": true },
              "buffer": { "entries": 1_200_000, "bytes": 340_000_000 },
              "history": (1..=32).map(|ms| request(f64::from(ms))).collect::<Vec<_>>() },
        ],
        "threads": [
            thread("worker-0", 10, "working", 0.6 * n as f64), thread("worker-1", 11, "rests: cpu_limit", 0.3 * n as f64),
            thread("reader-app", 12, "blocked", 0.01 * n as f64), thread("send-loki-0", 13, "backing off", 0.05 * n as f64),
            thread("intake", 14, "idle", 0.2 * n as f64), thread("keeper", 15, "idle", 0.0),
        ],
    })
}

fn look(stats: &Value) -> Look {
    let health = json!({ "status": "degraded", "components": [
        { "name": "source app", "status": "degraded", "reason": "it does not read: a sink it leads to is full" },
        { "name": "ring", "status": "ok" },
    ] });
    Look { stats: Stats::deserialize_from(stats), health: serde_json::from_value::<Health>(health).unwrap() }
}

impl Stats {
    fn deserialize_from(value: &Value) -> Stats {
        serde_json::from_value(value.clone()).unwrap()
    }
}

fn drawn(scene: &Scene<'_>, width: usize, height: Option<usize>) -> String {
    let lines = frame(scene, Size { width, height });
    lines.iter().map(|line| line.text().trim_end().to_owned() + "\n").collect()
}

fn scene<'a>(before: Option<&'a Look>, now: &'a Look) -> Scene<'a> {
    Scene { address: "127.0.0.1:8401", before, now, restarts: 0, away: None }
}

/// Every line of it, without what is blank at its end.
fn assert_frame(drawn: &str, expected: &[&str]) {
    let lines: Vec<&str> = drawn.lines().collect();
    assert!(lines == expected, "{drawn}");
}

#[test]
fn a_frame_of_80_by_24_has_all_that_moves_and_what_waits() {
    let (before, now) = (look(&stats(7200)), look(&stats(7202)));
    let expected = [
        "ringmain 0.1.0 at 127.0.0.1:8401, up 2h00m, degraded",
        "source app: it does not read: a sink it leads to is full",
        "in 30.0k/s, 7.5 MB/s   out 29.5k/s, 7.4 MB/s   dead letters 12",
        "cpu 1.25 of 1.5 cores   resting 0.7 threads   rss 120 of 256 MiB",
        "workers 0.90 of 2 busy   ring 12% full",
        "",
        "SOURCE  type     in/s     bytes  streams        behind",
        "net     syslog  20.0k  5.0 MB/s       41             -  paced: its rate limit",
        "app     file    10.0k  2.5 MB/s        3  1.2 GB 4m00s  stopped: a sink is full",
        "quiet   stdin       0     0 B/s        -             -  reads",
        "",
        "SINK     out/s  sends    waiting       on disk    p50    p99",
        "archive  20.0k    1/1   120 40ms             -  3.0ms  3.0ms  ok",
        "loki      9500    2/4  45.0k 12s  1.20M 340 MB   16ms   32ms  attempt 3: 503 bus",
        "",
        "STEP            in/s  takes out/s  busy     each",
        "app/1 parse    10.0k            0  3.1%  3100 ns  cannot work on 20/s",
        "app/2 discard  10.0k          500    0%    40 ns",
        "",
        "THREAD          does        core    cpu                  does        core    cpu",
        "worker-0        working        0    60%  send-loki-0     backing off    1   5.0%",
        "worker-1        rests (cpu)    1    30%  reader-app      blocked        0   1.0%",
        "intake          idle           0    20%  keeper          idle           1     0%",
    ];
    assert_frame(&drawn(&scene(Some(&before), &now), 80, Some(24)), &expected);
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_frame_higher() {
    let (before, now) = (look(&stats(7200)), look(&stats(7202)));
    for width in 1..220 {
        for height in [1, 2, 5, 12, 24, 50] {
            let lines = frame(&scene(Some(&before), &now), Size { width, height: Some(height) });
            assert!(lines.len() <= height, "{width}x{height}");
            let widest = lines.iter().map(|line| line.text().chars().count()).max();
            assert!(widest <= Some(width), "{width}x{height}: {widest:?}");
        }
    }
    // Where there is room nothing is left out, and an error is read to its end.
    let wide = drawn(&scene(Some(&before), &now), 200, Some(50));
    assert!(
        wide.contains("type  out/s     bytes  batch  sends") && wide.contains("attempt 3: 503 busy"),
        "{wide}"
    );
}

#[test]
fn with_little_room_each_table_has_some_and_says_how_many_there_are() {
    let (mut before, mut now) = (stats(7200), stats(7202));
    for stats in [&mut before, &mut now] {
        for (key, count) in [("sources", 12), ("sinks", 9), ("threads", 30)] {
            let rows = stats[key].as_array_mut().unwrap();
            for n in 0..count {
                let mut row = rows[1].clone();
                (row["name"], row["tid"]) = (format!("more-{n}").into(), (100 + n).into());
                rows.push(row);
            }
        }
        // Nobody takes it, and nothing moves.
        let dead = json!({ "name": "dead", "type": "http", "breaker": { "state": "open", "open_ms": 75_000 },
                           "last_error": "connection refused" });
        stats["sinks"].as_array_mut().unwrap().push(dead);
    }
    let (before, now) = (look(&before), look(&now));
    let text = drawn(&scene(Some(&before), &now), 80, Some(24));
    assert_eq!(text.lines().count(), 24, "{text}");
    for head in ["SOURCE 5/15", "SINK 4/12", "STEP ", "THREAD 8/36"] {
        assert!(text.lines().any(|line| line.starts_with(head)), "{head} in\n{text}");
    }
    let first = text.lines().skip_while(|line| !line.starts_with("SINK")).nth(1).unwrap();
    assert!(first.starts_with("dead ") && first.contains("breaker open 1m"), "{text}");
}

#[test]
fn one_look_alone_or_of_another_run_has_no_rates_and_none_is_below_zero() {
    let now = look(&stats(3));
    let alone = drawn(&scene(None, &now), 80, Some(24));
    assert!(
        alone.contains("\nin -   out -   dead letters 12\n") && alone.contains("\ncpu - of 1.5 cores   rss"),
        "{alone}"
    );
    let mut other = stats(7200);
    other["process"]["pid"] = 8.into();
    assert_eq!(drawn(&scene(Some(&look(&other)), &now), 80, Some(24)), alone);
    // The same number may be given again; and a library may begin anew in the same process.
    for (key, value) in
        [("process", json!({ "pid": 7, "start_time_seconds": 1e9 + 9.0 })), ("uptime_seconds", json!(3.5))]
    {
        let mut other = stats(2);
        other[key] = value;
        assert_eq!(drawn(&scene(Some(&look(&other)), &now), 80, Some(24)), alone, "{key}");
    }
    // A sink that a reload has brought, and one whose numbers went back.
    let (mut before, mut after) = (stats(7200), stats(7202));
    before["sinks"].as_array_mut().unwrap().remove(0);
    after["sinks"][1]["delivered"] = 5.into();
    let (before, after) = (look(&before), look(&after));
    let text = drawn(&scene(Some(&before), &after), 80, None);
    let rate = |sink: &str| {
        let line = text.lines().find(|line| line.starts_with(sink)).unwrap();
        line.split_whitespace().find(|word| *word != sink && *word != "file").unwrap().to_owned()
    };
    assert_eq!((rate("archive"), rate("loki")), ("-".into(), "0".into()), "{text}");
}

#[test]
fn an_instance_that_goes_away_and_comes_back_is_watched_on() {
    let (t0, second) = (Instant::now(), Duration::from_secs(1));
    let size = Size { width: 80, height: Some(24) };
    let first = |watch: &Watch, after: u32| {
        let lines = watch.frame(size, t0 + second * after);
        [lines[0].text(), lines[1].text()].map(|line| line.trim_end().to_owned())
    };
    let mut watch = Watch::new("127.0.0.1:8401".into(), look(&stats(7200)));
    watch.came(Ok(look(&stats(7201))), t0);
    for after in [1, 2, 12] {
        watch.came(Err("nothing listens there".into()), t0 + second * after);
    }
    let gone = [
        "ringmain 0.1.0 at 127.0.0.1:8401, up 2h00m, gone for 11s",
        "asked again and again: nothing listens there",
    ];
    assert_eq!(first(&watch, 12), gone);
    let mut anew = stats(2);
    (anew["process"]["pid"], anew["phase"]) = (9.into(), "starting".into());
    watch.came(Ok(look(&anew)), t0 + second * 13);
    assert_eq!(first(&watch, 13)[0], "ringmain 0.1.0 at 127.0.0.1:8401, up 2.0s (began anew once), starting");
    (anew["uptime_seconds"], anew["phase"]) = (3.0.into(), "running".into());
    watch.came(Ok(look(&anew)), t0 + second * 14);
    assert_eq!(first(&watch, 14)[0], "ringmain 0.1.0 at 127.0.0.1:8401, up 3.0s (began anew once), degraded");
}

#[test]
fn an_older_instance_and_one_that_says_strange_things_can_be_watched() {
    let old = look(&json!({ "version": "0.0.1", "uptime_seconds": 5, "new": { "key": [1] } }));
    assert!(drawn(&scene(None, &old), 80, Some(24)).starts_with("ringmain 0.0.1 at 127.0.0.1:8401, up 5.0s"));
}
