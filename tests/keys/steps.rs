//! Steps, conditions and multi-line framing.

use super::*;

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    // Editing steps and what is common to all.
    ("pipelines.keep", "tests/keys/steps.rs:keep_takes_out_what_discard_would_leave"),
    ("pipelines.parse.format", "tests/keys/steps.rs:what_cannot_be_parsed_passes_or_is_discarded_as_asked"),
    ("pipelines.parse.field", "tests/keys/steps.rs:parse_reads_the_field_it_was_given"),
    ("pipelines.parse.on_error", "tests/keys/steps.rs:what_cannot_be_parsed_passes_or_is_discarded_as_asked"),
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

// --- parsers and multi-line framing
