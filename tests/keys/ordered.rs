//! Steps that see entries in their order: what each of their keys changes, from outside.

use super::*;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
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
