//! Steps, conditions and multi-line framing.

use super::*;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    // Editing steps and what is common to all.
    ("pipelines.keep", "tests/keys/steps.rs:keep_takes_out_what_discard_would_leave"),
    ("pipelines.parse.format", "tests/keys/steps.rs:what_cannot_be_parsed_passes_or_is_discarded_as_asked"),
    ("pipelines.parse.field", "tests/keys/steps.rs:parse_reads_the_field_it_was_given"),
    ("pipelines.parse.on_error", "tests/keys/steps.rs:what_cannot_be_parsed_passes_or_is_discarded_as_asked"),
    ("pipelines.rename", "tests/keys/steps.rs:fields_are_renamed_and_removed"),
    ("pipelines.remove", "tests/keys/steps.rs:fields_are_renamed_and_removed"),
    ("pipelines.redact", "tests/keys/steps.rs:what_is_redacted_is_gone_from_every_format_of_every_sink"),
    ("pipelines.redact.patterns", "tests/keys/steps.rs:redact_looks_for_what_and_where_it_was_told"),
    ("pipelines.redact.regex", "tests/keys/steps.rs:redact_looks_for_what_and_where_it_was_told"),
    ("pipelines.redact.fields", "tests/keys/steps.rs:redact_looks_for_what_and_where_it_was_told"),
    ("pipelines.redact.replacement", "tests/keys/steps.rs:redact_looks_for_what_and_where_it_was_told"),
    // How a block comes to be full of what steps made cannot be seen from outside.
    (
        "pipelines.redact.on_error",
        "src/steps/redact/tests.rs:an_entry_whose_redacted_text_has_no_room_is_taken_out_unless_told_otherwise",
    ),
    // Parsers and multi-line framing.
];

/// Sends `input` through `steps` (a list in YAML) to a JSON file; gives what came out, and the statistics at rest.
fn through(steps: &str, input: &str) -> (Vec<Value>, Value) {
    let dir = dir();
    let rest = format!(
        "sources: {{ in: {{ type: stdin, pipeline: p }} }}\npipelines: {{ p: {steps} }}\n\
         sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n"
    );
    let mut instance = Instance::start(dir.path(), &config(&rest));
    instance.stdin().write_all(input.as_bytes()).expect("it reads");
    let lines = input.lines().count() as u64;
    let stats = instance
        .wait_stats("all went through", |stats| source(stats, "in", "received") == lines && at_rest(stats));
    assert_ledger(&stats);
    let out = fs::read_to_string(dir.path().join("out.json")).unwrap_or_default();
    (out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(), stats)
}

// --- editing steps and what is common to all

#[test]
fn keep_takes_out_what_discard_would_leave() {
    let input = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n";
    for (verb, left) in [("keep", vec![2]), ("discard", vec![1, 3])] {
        let (out, stats) = through(&format!("[ {{ parse: json }}, {{ {verb}: 'n == 2' }} ]"), input);
        let numbers: Vec<i64> = out.iter().filter_map(|entry| entry["fields"]["n"].as_i64()).collect();
        assert_eq!(numbers, left, "{verb}");
        assert_eq!(source(&stats, "in", "filtered"), 3 - left.len() as u64);
    }
}

#[test]
fn what_cannot_be_parsed_passes_or_is_discarded_as_asked() {
    let input = "{\"n\":1}\nno json\n";
    for (options, left) in [("json", 2), ("{ format: json }", 2), ("{ format: json, on_error: discard }", 1)]
    {
        let (out, stats) = through(&format!("[ {{ parse: {options} }} ]"), input);
        assert_eq!(out.len(), left, "{options}");
        assert_eq!(source(&stats, "in", "filtered"), 2 - left as u64, "{options}");
        assert_eq!(source(&stats, "in", "step_errors"), 1, "{options}");
        assert_eq!(out[0]["fields"]["n"], 1, "{options}");
    }
}

#[test]
fn parse_reads_the_field_it_was_given() {
    let input = "{\"inner\":\"{\\\"a\\\":1}\",\"message\":\"{\\\"b\\\":2}\"}\n";
    let fields =
        |step: &str| through(&format!("[ {{ parse: json }}, {step} ]"), input).0[0]["fields"].clone();
    let (inner, message) = (fields("{ parse: { format: json, field: inner } }"), fields("{ parse: json }"));
    assert_eq!((&inner["a"], &inner["b"]), (&1.into(), &Value::Null));
    assert_eq!((&message["a"], &message["b"]), (&Value::Null, &2.into()));
}

#[test]
fn fields_are_renamed_and_removed() {
    let input = "{\"a\":1,\"b\":2,\"c\":3}\n";
    let fields =
        |step: &str| through(&format!("[ {{ parse: json }}, {step} ]"), input).0[0]["fields"].clone();
    assert_eq!(fields("{ rename: { a: x, b: c } }"), serde_json::json!({ "x": 1, "c": 2 }));
    assert_eq!(fields("{ remove: [a, c] }"), serde_json::json!({ "b": 2 }));
}

#[test]
fn what_is_redacted_is_gone_from_every_format_of_every_sink() {
    let dir = dir();
    let sinks: String = ["raw", "text", "json"]
        .map(|format| format!("  {format}: {{ type: file, path: out/{format}, format: {format} }}\n"))
        .concat();
    let rest = format!(
        "sources: {{ in: {{ type: stdin, pipeline: p }} }}\n\
         pipelines: {{ p: [ {{ parse: json }}, {{ redact: [email, secret] }} ] }}\nsinks:\n{sinks}  \
         few: {{ type: file, path: out/few, when: 'contains(message, \"ann\")' }}\n"
    );
    let mut instance = Instance::start(dir.path(), &config(&rest));
    let lines = ["{\"user\":\"ann\\u0040example.org\",\"n\":1}", "ann@example.org password=hunter2", "plain"];
    instance.stdin().write_all((lines.join("\n") + "\n").as_bytes()).expect("it reads");
    let stats = instance.wait_delivered("json", 3);
    assert_ledger(&stats);
    assert_eq!(sink(&stats, "few", "copies"), 0, "a condition behind it sees what was put there");
    for format in ["raw", "text", "json"] {
        let out = fs::read_to_string(dir.path().join("out").join(format)).expect(format);
        assert!(out.contains("[redacted]") && out.contains("plain"), "{out}");
        assert!(!out.contains("ann") && !out.contains("hunter2"), "{format}: {out}");
    }
    let raw = fs::read_to_string(dir.path().join("out/raw")).expect("it is there");
    assert_eq!(raw, "{\"user\":\"[redacted]\",\"n\":1}\n[redacted] password=[redacted]\nplain\n");
}

#[test]
fn redact_looks_for_what_and_where_it_was_told() {
    let input = "{\"a\":\"x1 a@b.org 10.0.0.1\",\"b\":\"x1 a@b.org\"}\n";
    let redacted = |options: &str| {
        let (out, _) = through(&format!("[ {{ parse: json }}, {{ redact: {options} }} ]"), input);
        let fields = &out[0]["fields"];
        [&fields["a"], &fields["b"], &out[0]["message"]].map(|value| value.as_str().expect("text").to_owned())
    };
    let [a, b, message] = redacted("{ patterns: [email] }");
    assert_eq!((&*a, &*b), ("x1 [redacted] 10.0.0.1", "x1 [redacted]"));
    assert!(message.contains("[redacted] 10.0.0.1"), "{message}");
    assert_eq!(redacted("{ patterns: [ipv4] }")[0], "x1 a@b.org [redacted]");
    assert_eq!(redacted("{ regex: ['x(\\d)'] }")[1], "x[redacted] a@b.org");
    let [a, b, message] = redacted("{ patterns: [email], fields: [b], replacement: '<{name}>' }");
    assert_eq!((&*a, &*b), ("x1 a@b.org 10.0.0.1", "x1 <email>"));
    assert!(message.contains("a@b.org"), "{message}");
}

#[test]
fn what_each_step_did_is_seen_in_stats_and_metrics() {
    let dir = dir();
    let rest = "sources: { in: { type: stdin, pipeline: p } }\n\
                pipelines: { p: [ { parse: { format: json, on_error: discard } }, { keep: 'n > 1' } ] }\n\
                sinks: { out: { type: blackhole } }\n";
    let mut instance = Instance::start(dir.path(), &config(rest));
    instance.stdin().write_all(b"{\"n\":1}\nno json\n{\"n\":2}\n").expect("it reads");
    let stats = instance.wait_delivered("out", 1);
    let steps = row(&stats, "sources", "in")["steps"].as_array().expect("steps").clone();
    let numbers = |at: usize| ["step", "entries", "errors", "discarded"].map(|key| number(&steps[at], key));
    assert_eq!((numbers(0), numbers(1)), ([1, 3, 1, 1], [2, 2, 0, 1]));
    assert_eq!(steps[0]["last_error"], "not a JSON object");
    assert!(
        steps.iter().all(|step| step["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0)),
        "{steps:#?}"
    );
    let (_, metrics) = instance.get("/metrics");
    for sample in [
        "dispatcher_step_entries_total{source=\"in\",step=\"1\",verb=\"parse\"} 3",
        "dispatcher_step_errors_total{source=\"in\",step=\"1\",verb=\"parse\"} 1",
        "dispatcher_step_discarded_total{source=\"in\",step=\"2\",verb=\"keep\"} 1",
        "dispatcher_step_busy_seconds{source=\"in\",step=\"2\",verb=\"keep\"} ",
    ] {
        assert!(metrics.contains(sample), "{sample} in\n{metrics}");
    }
}

// --- parsers and multi-line framing
