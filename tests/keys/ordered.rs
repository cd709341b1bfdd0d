//! Steps that see entries in their order: what each of their keys changes, from outside.

use super::*;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    ("pipelines.dedupe", "tests/keys/ordered.rs:entries_are_equal_by_the_fields_they_are_told_apart_by"),
    ("pipelines.throttle", "tests/keys/ordered.rs:a_throttle_lets_pass_what_it_was_told_to"),
    (
        "pipelines.dedupe.fields",
        "tests/keys/ordered.rs:entries_are_equal_by_the_fields_they_are_told_apart_by",
    ),
    ("pipelines.dedupe.window", "tests/keys/ordered.rs:equals_pass_again_once_the_window_is_over"),
    ("pipelines.dedupe.max_keys", "tests/keys/ordered.rs:a_key_too_many_makes_room_by_the_oldest"),
    ("pipelines.dedupe.emit", "tests/keys/ordered.rs:what_was_taken_out_is_told_or_not_as_asked"),
    (
        "pipelines.dedupe.max_bytes",
        "tests/keys/ordered.rs:equals_pass_where_there_is_no_memory_to_count_them",
    ),
    ("pipelines.throttle.per", "tests/keys/ordered.rs:a_throttle_lets_pass_what_it_was_told_to"),
    ("pipelines.throttle.rate", "tests/keys/ordered.rs:a_throttle_lets_pass_what_it_was_told_to"),
    ("pipelines.throttle.burst", "tests/keys/ordered.rs:a_throttle_lets_pass_what_it_was_told_to"),
    ("pipelines.throttle.every", "tests/keys/ordered.rs:equals_pass_again_once_the_window_is_over"),
    ("pipelines.throttle.max_keys", "tests/keys/ordered.rs:a_key_too_many_makes_room_by_the_oldest"),
    ("pipelines.metric", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.name", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.type", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.help", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.value", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.labels", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.buckets", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    ("pipelines.metric.max_series", "tests/keys/ordered.rs:entries_are_counted_as_each_metric_was_told"),
    (
        "pipelines.metric.on_error",
        "tests/keys/ordered.rs:an_entry_that_cannot_be_counted_passes_or_goes_as_asked",
    ),
];

/// Sends each of `inputs` through `steps` once the one before is through; gives what came out, what `repeats` gave with its
/// counts, and the statistics before the end.
fn in_turn(steps: &str, inputs: &[&str]) -> (Vec<Value>, Vec<Value>, Value) {
    let dir = dir();
    let rest = format!(
        "sources: {{ in: {{ type: stdin, pipeline: p }} }}\npipelines: {{ p: {steps} }}\n\
         sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n"
    );
    let mut instance = Instance::start(dir.path(), &config(&rest));
    let (mut input, mut lines) = (instance.stdin(), 0);
    let mut stats = Value::Null;
    for text in inputs {
        input.write_all(text.as_bytes()).expect("it reads");
        lines += text.lines().count() as u64;
        stats = instance.wait_stats("all went through", |stats| {
            source(stats, "in", "received") == lines && at_rest(stats)
        });
    }
    assert_ledger(&stats);
    // Windows that are open are told of at the end.
    drop(input);
    assert_eq!(instance.terminate(), 0);
    let out = fs::read_to_string(dir.path().join("out.json")).unwrap_or_default();
    let all = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let (repeats, out) = all.partition(|entry| entry["fields"]["repeated"].is_u64());
    (out, repeats, stats)
}

fn messages(entries: &[Value]) -> String {
    entries.iter().filter_map(|entry| entry["message"].as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn entries_are_equal_by_the_fields_they_are_told_apart_by() {
    let input = "{\"a\":1,\"b\":1}\n{\"a\":1,\"b\":2}\n{\"a\":1,\"b\":1}\n";
    for (options, left) in [("{ fields: a }", 1), ("{ fields: [a, b] }", 2), ("{}", 2)] {
        let (out, repeats, stats) =
            in_turn(&format!("[ {{ parse: json }}, {{ dedupe: {options} }} ]"), &[input]);
        assert_eq!((out.len(), repeats.len()), (left, 1), "{options}");
        assert_eq!(source(&stats, "in", "filtered"), 3 - left as u64);
    }
}

#[test]
fn equals_pass_again_once_the_window_is_over() {
    for (window, left) in [("1h", "a"), ("1ns", "a a")] {
        let (out, ..) =
            in_turn(&format!("[ {{ dedupe: {{ window: {window}, emit: nothing }} }} ]"), &["a\n", "a\n"]);
        assert_eq!(messages(&out), left);
    }
    for (every, left) in [("1h", 1), ("1ns", 2)] {
        let (out, _, stats) =
            in_turn(&format!("[ {{ throttle: {{ rate: 1, every: {every} }} }} ]"), &["a\n", "a\n"]);
        assert_eq!(out.len(), left);
        assert_eq!(row(&stats, "sources", "in")["dropped"]["throttle"], 2 - left as u64);
    }
}

#[test]
fn a_key_too_many_makes_room_by_the_oldest() {
    for (max_keys, left, evicted) in [(1, "a b a", 2), (2, "a b", 0)] {
        for step in [
            format!("{{ dedupe: {{ window: 1h, max_keys: {max_keys}, emit: nothing }} }}"),
            format!("{{ throttle: {{ rate: 1, every: 1h, per: message, max_keys: {max_keys} }} }}"),
        ] {
            let (out, _, stats) = in_turn(&format!("[ {step} ]"), &["a\nb\na\n"]);
            assert_eq!(messages(&out), left, "{step}");
            let row = &stats["ordered"][0];
            assert_eq!((&row["pipeline"], &row["step"]), (&"p".into(), &1.into()), "{row}");
            assert_eq!((&row["keys"], &row["evicted"]), (&max_keys.into(), &evicted.into()), "{row}");
        }
    }
}

#[test]
fn what_was_taken_out_is_told_or_not_as_asked() {
    let steps = |emit: &str| format!("[ {{ parse: json }}, {{ dedupe: {{ window: 1h, emit: {emit} }} }} ]");
    let input = "{\"message\":\"b\",\"n\":\"\\u0041\"}\n";
    let (out, repeats, _) = in_turn(&steps("nothing"), &[input, input, input]);
    assert_eq!((out.len(), repeats.len()), (1, 0));
    let (out, repeats, stats) = in_turn(&steps("count"), &[input, input, input]);
    assert_eq!((out.len(), repeats.len()), (1, 1));
    // It says all that the entries said, and how many they were.
    assert_eq!(repeats[0]["fields"], serde_json::json!({ "message": "b", "n": "A", "repeated": 2 }));
    let without_time =
        |entry: &Value| (entry["message"].clone(), entry["source"].clone(), entry["labels"].clone());
    assert_eq!(without_time(&repeats[0]), without_time(&out[0]));
    assert_eq!(source(&stats, "in", "filtered"), 2);
}

#[test]
fn equals_pass_where_there_is_no_memory_to_count_them() {
    for (max_bytes, left) in [("1B", 3), ("1MiB", 1)] {
        let step = format!("[ {{ dedupe: {{ window: 1h, max_bytes: {max_bytes} }} }} ]");
        let (out, ..) = in_turn(&step, &["a\na\na\n"]);
        assert_eq!(out.len(), left, "{max_bytes}");
    }
}

#[test]
fn a_throttle_lets_pass_what_it_was_told_to() {
    let input = "{\"k\":\"a\"}\n{\"k\":\"a\"}\n{\"k\":\"a\"}\n{\"k\":\"b\"}\n{\"k\":\"b\"}\n";
    for (options, left) in [
        ("{ rate: 2, every: 1h }", 2),
        ("{ rate: 3, every: 1h }", 3),
        ("{ rate: 2, every: 1h, burst: 1 }", 1),
        ("{ rate: 2, every: 1h, burst: 4 }", 4),
        ("{ rate: 1, every: 1h, per: k }", 2),
        ("{ rate: 2, every: 1h, per: [k, source] }", 4),
    ] {
        let (out, _, stats) = in_turn(&format!("[ {{ parse: json }}, {{ throttle: {options} }} ]"), &[input]);
        assert_eq!(out.len(), left, "{options}");
        let dropped = &row(&stats, "sources", "in")["dropped"];
        assert_eq!(dropped["throttle"], 5 - left as u64, "{options}");
    }
}

#[test]
fn what_an_ordered_step_remembers_outlives_a_reload_that_does_not_change_it() {
    let dir = dir();
    let config = |steps: &str| {
        config(&format!(
            "sources: {{ in: {{ type: stdin, pipeline: p }} }}\npipelines: {{ p: {steps} }}\n\
             sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n"
        ))
    };
    let dedupe = "{ dedupe: { window: 1h, max_keys: 2 } }";
    let mut instance = Instance::start(dir.path(), &config(&format!("[ {dedupe} ]")));
    let (mut input, mut lines) = (instance.stdin(), 0);
    let mut send = |instance: &mut Instance, text: &str| {
        input.write_all(text.as_bytes()).expect("it reads");
        lines += text.lines().count() as u64;
        let all = |stats: &Value| source(stats, "in", "received") == lines && at_rest(stats);
        instance.wait_stats("all went through", all)
    };
    let reload = |instance: &mut Instance, steps: &str, words: &str| {
        fs::write(dir.path().join("config.yaml"), config(steps)).expect("written");
        instance.signal("HUP");
        instance.wait_log(words);
    };
    let stats = send(&mut instance, "a\nb\nc\na\nc\n");
    assert_eq!(source(&stats, "in", "filtered"), 1, "{stats:#}");
    // Another step in front of it; it is the same.
    reload(&mut instance, &format!("[ {{ discard: 'message == \"x\"' }}, {dedupe} ]"), "step 2");
    let stats = send(&mut instance, "a\nc\nx\n");
    assert_eq!(source(&stats, "in", "filtered"), 4);
    let place = &stats["ordered"][0]["step"];
    assert_eq!((place, &row(&stats, "sources", "in")["steps"][1]["discarded"]), (&2.into(), &2.into()));
    let (_, metrics) = instance.get("/metrics");
    let of = "{pipeline=\"p\",step=\"2\",verb=\"dedupe\"}";
    for line in [format!("dispatcher_ordered_keys{of} 2"), format!("dispatcher_ordered_evicted_total{of} 2")]
    {
        assert!(metrics.lines().any(|said| said == line), "{line} in\n{metrics}");
    }
    // One that is gone tells its counts at once, though its window is open for an hour.
    reload(&mut instance, "[]", "none");
    let stats = instance.wait_stats("its counts are given", |stats| {
        stats["sources"]
            .as_array()
            .is_some_and(|rows| rows.iter().any(|row| row["name"] == "repeats" && number(row, "routed") == 2))
            && at_rest(stats)
    });
    assert_ledger(&stats);
    assert!(stats["ordered"].as_array().is_some_and(Vec::is_empty));
    let stats = send(&mut instance, "a\na\n");
    assert_eq!(source(&stats, "in", "filtered"), 4);
    assert_eq!(instance.terminate(), 0);
    let out = fs::read_to_string(dir.path().join("out.json")).expect("it is there");
    let told = |message: &str| {
        let entries = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut counts = entries.filter(|entry| entry["message"] == message);
        counts.find_map(|entry| entry["fields"]["repeated"].as_u64())
    };
    assert_eq!([told("a"), told("b"), told("c")], [Some(1), None, Some(2)]);
}

/// Sends three entries through `steps`; gives what `/metrics` says of metrics that begin with `web`, and the statistics.
fn counted(steps: &str) -> (Vec<String>, Value) {
    let dir = dir();
    let rest = format!(
        "sources: {{ in: {{ type: stdin, pipeline: p }} }}\npipelines: {{ p: [ {{ parse: json }}, {steps} ] }}\n\
         sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n"
    );
    let mut instance = Instance::start(dir.path(), &config(&rest));
    let input = "{\"n\":1,\"l\":\"a\"}\n{\"n\":20,\"l\":\"b\"}\n{\"n\":3,\"l\":\"a\"}\n{\"l\":\"c\"}\n";
    instance.stdin().write_all(input.as_bytes()).expect("it reads");
    let stats = instance
        .wait_stats("all went through", |stats| source(stats, "in", "received") == 4 && at_rest(stats));
    assert_ledger(&stats);
    let (_, page) = instance.get("/metrics");
    (page.lines().filter(|line| line.contains("web")).map(str::to_owned).collect(), stats)
}

#[test]
fn entries_are_counted_as_each_metric_was_told() {
    for (options, lines) in [
        ("name: web_total, type: counter", &["# TYPE web_total counter", "web_total 4"][..]),
        ("name: web_sum, type: counter, value: n", &["# TYPE web_sum counter", "web_sum 24"]),
        (
            "name: web_last, type: gauge, value: n, help: Of the last.",
            &["# HELP web_last Of the last.", "# TYPE web_last gauge", "web_last 3"],
        ),
        (
            "name: web_total, type: counter, labels: { level: l, from: source }",
            &[
                "# TYPE web_total counter",
                "web_total{level=\"a\",from=\"in\"} 2",
                "web_total{level=\"b\",from=\"in\"} 1",
                "web_total{level=\"c\",from=\"in\"} 1",
            ],
        ),
        (
            "name: web_total, type: counter, labels: { level: l }, max_series: 1",
            &["# TYPE web_total counter", "web_total{level=\"a\"} 2", "web_total{level=\"__overflow__\"} 2"],
        ),
        (
            "name: web, type: histogram, value: n, buckets: [1, 10]",
            &[
                "# TYPE web histogram",
                "web_bucket{le=\"1\"} 1",
                "web_bucket{le=\"10\"} 2",
                "web_bucket{le=\"+Inf\"} 3",
                "web_sum 24",
                "web_count 3",
            ],
        ),
    ] {
        let (said, stats) = counted(&format!("{{ metric: {{ {options} }} }}"));
        assert_eq!(said, lines, "{options}");
        let metric = &stats["metrics"][0];
        assert_eq!((&metric["pipeline"], &metric["step"]), (&"p".into(), &2.into()), "{metric}");
        let counts =
            metric["series"].as_array().expect("series").iter().map(|series| number(series, "count"));
        assert_eq!(counts.sum::<u64>(), if options.contains("value") { 3 } else { 4 }, "{metric}");
    }
}

#[test]
fn an_entry_that_cannot_be_counted_passes_or_goes_as_asked() {
    for (on_error, filtered) in [("pass", 0), ("discard", 1)] {
        let options = format!("name: web, type: gauge, value: n, on_error: {on_error}");
        let (_, stats) = counted(&format!("{{ metric: {{ {options} }} }}"));
        assert_eq!(source(&stats, "in", "filtered"), filtered, "{on_error}");
        let step = &row(&stats, "sources", "in")["steps"][1];
        assert_eq!((&step["verb"], number(step, "errors")), (&"metric".into(), 1));
    }
}

#[test]
fn a_counter_goes_on_after_a_reload_that_does_not_change_it() {
    let dir = dir();
    let config = |steps: &str| {
        config(&format!(
            "sources: {{ in: {{ type: stdin, pipeline: p }} }}\npipelines: {{ p: {steps} }}\n\
             sinks: {{ out: {{ type: blackhole }} }}\n"
        ))
    };
    let metric = "{ metric: { name: web_total, type: counter } }";
    let mut instance = Instance::start(dir.path(), &config(&format!("[ {metric} ]")));
    let (mut input, mut lines) = (instance.stdin(), 0);
    let mut total = |instance: &mut Instance, name: &str| {
        input.write_all(b"a\n").expect("it reads");
        lines += 1;
        let all = |stats: &Value| source(stats, "in", "received") == lines && at_rest(stats);
        instance.wait_stats("all went through", all);
        let page = instance.get("/metrics").1;
        let line =
            page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.unwrap_or_default()
    };
    assert_eq!(total(&mut instance, "web_total"), "1");
    for (steps, words, name, expected) in [
        (format!("[ {{ set: {{ a: 1 }} }}, {metric} ]"), "step 2", "web_total", "2"),
        (format!("[ {metric} ]").replace("web_total", "web_other"), "step 1", "web_other", "1"),
        (format!("[ {metric} ]"), "web_other", "web_total", "1"),
    ] {
        fs::write(dir.path().join("config.yaml"), config(&steps)).expect("written");
        instance.signal("HUP");
        instance.wait_log(words);
        instance.wait_stats("it is in force", |stats| stats["metrics"][0]["name"] == name);
        assert_eq!(total(&mut instance, name), expected, "{steps}");
    }
}

#[test]
fn an_entry_that_is_taken_out_is_no_dead_letter_of_a_step_behind() {
    let steps = "[ { parse: json }, { dedupe: { fields: a, emit: nothing } }, \
                 { timestamp: { field: ts, on_error: dead_letter } } ]";
    // None of them has a time: the first of the equal ones is a dead letter, and the others are equals.
    let (out, _, stats) = in_turn(steps, &["{\"a\":1}\n{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}\n"]);
    assert_eq!(out.len(), 0);
    assert_eq!((source(&stats, "in", "filtered"), source(&stats, "in", "routed")), (3, 2));
    assert_eq!(sink(&stats, "dlq", "dead_lettered"), 2);
}
