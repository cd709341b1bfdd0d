//! Cases in the config, as `ringmain test` runs them, and `ringmain explain` beside it: both run what runs.

use super::*;
use std::process::{Command, Stdio};

/// Each key, and the test that shows it.
pub const SHOWN: &[(&str, &str)] = &[
    ("tests.source", "tests/keys/cases.rs:lines_are_those_of_the_source_or_pipeline_that_is_named"),
    ("tests.pipeline", "tests/keys/cases.rs:lines_are_those_of_the_source_or_pipeline_that_is_named"),
    ("tests.labels", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.input", "tests/keys/cases.rs:lines_are_those_of_the_source_or_pipeline_that_is_named"),
    ("tests.expect", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.discarded", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.message", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.fields", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.without", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.labels", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.time", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
    ("tests.expect.sinks", "tests/keys/cases.rs:what_comes_out_otherwise_is_shown"),
];

const HOUSE: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:1" }
sources:
  app:
    type: syslog
    listen: ["tcp://127.0.0.1:1"]
    pipeline: tidy
    labels: { app: shop }
  trace: { type: file, include: ["/none/*.log"], pipeline: tidy, multiline: { start: '^[{]' } }
pipelines:
  tidy:
    - parse: { format: json, on_error: discard }
    - timestamp: { field: ts, keep_original: false }
    - discard: 'level == "debug"'
    - dedupe: { fields: [message] }
    - rename: { lvl: level }
sinks:
  all: { type: file, path: "./out/{source}.log" }
  errors: { type: blackhole, when: 'level == "error"' }
  shop: { type: blackhole, when: 'labels.app == "shop"' }
"#;

/// Runs `ringmain test` over one case of the house.
fn case(case: &str) -> (i32, String) {
    let dir = dir();
    write(&dir.path().join("config.yaml"), &format!("{HOUSE}tests:\n  one: {case}\n"));
    let (code, out, error) = run(dir.path(), &["test", "-c", "config.yaml"]);
    assert!(!dir.path().join("state").exists(), "nothing is opened, so nothing is made");
    (code, out + &error)
}

#[test]
fn what_comes_out_otherwise_is_shown() {
    let input = r#"'{"message":"m","lvl":"error","n":1,"ts":"2026-01-31T12:00:00Z"}'"#;
    for (expect, wrong) in [
        ("discarded: false", None),
        ("discarded: true", Some("discarded: expected true, found false")),
        ("message: m", None),
        ("message: x", Some("message: expected \"x\", found \"m\"")),
        ("fields: { level: error, n: 1.0 }", None),
        ("fields: { level: info }", Some("fields.level: expected \"info\", found \"error\"")),
        ("fields: { n: \"1\" }", Some("fields.n: expected \"1\", found 1")),
        ("fields: { x: 1 }", Some("fields.x: expected 1, found none")),
        ("without: [lvl, ts]", None),
        ("without: [n]", Some("fields.n: expected none, found 1")),
        ("labels: { app: web }", None),
        ("labels: { app: shop }", Some("labels.app: expected \"shop\", found \"web\"")),
        ("time: 2026-01-31T13:00:00+01:00", None),
        (
            "time: 2026-01-31T13:00:00Z",
            Some("time: expected 2026-01-31T13:00:00Z, found 2026-01-31T12:00:00"),
        ),
        ("sinks: [errors, all]", None),
        ("sinks: [all]", Some("sinks: expected [all], found [all, errors]")),
    ] {
        let (code, said) = case(&format!(
            "{{ pipeline: tidy, labels: {{ app: web }}, input: {input}, expect: {{ {expect} }} }}"
        ));
        match wrong {
            None => assert_eq!((code, said.contains("1 passed, 0 failed")), (0, true), "{expect}: {said}"),
            Some(wrong) => {
                assert_eq!(code, 1, "{expect}: {said}");
                assert!(said.contains("FAILED one") && said.contains(wrong), "{wrong} in {said}");
            }
        }
    }
    // Why a step failed is told, and which took it out.
    let (code, said) = case("{ pipeline: tidy, input: 'no json', expect: { message: 'no json' } }");
    assert_eq!(code, 1);
    assert!(said.contains("true (by step 1, parse)") && said.contains("(step 1 (parse): "), "{said}");
}

#[test]
fn lines_are_those_of_the_source_or_pipeline_that_is_named() {
    // The header of syslog is read by the source itself, and its labels are there.
    let line = r#"'<11>1 2026-01-31T12:00:00Z h a - - - {"message":"m","level":"error"}'"#;
    let passes = |text: &str| {
        let (code, said) = case(text);
        assert_eq!(code, 0, "{text}: {said}");
    };
    passes(&format!(
        "{{ source: app, input: {line}, expect: {{ fields: {{ level: error }}, labels: {{ app: shop }}, sinks: [all, errors, \
         shop] }} }}"
    ));
    // Lines are joined as the source joins them; one expectation for each entry.
    passes(
        "{ source: trace, input: ['{\"message\":', '\"a\"}', '{\"message\":\"b\"}'], expect: [ { message: a }, { message: b } ] }",
    );
    let (code, said) = case("{ pipeline: tidy, input: ['a', 'b'], expect: { discarded: true } }");
    assert_eq!(code, 1);
    assert!(said.contains("expected 1 entries, found 2 in the input"), "{said}");
    // Ordered steps see them in turn.
    let twice = r#"['{"message":"m"}', '{"message":"m"}']"#;
    passes(&format!(
        "{{ pipeline: tidy, input: {twice}, expect: [ {{ discarded: false }}, {{ discarded: true }} ] }}"
    ));
}

#[test]
fn one_case_can_be_run_alone_and_wrong_ones_are_refused() {
    let dir = dir();
    let two = "tests:\n  good: { pipeline: tidy, input: '{}', expect: {} }\n  bad: { pipeline: tidy, input: '{}', expect: { discarded: true } }\n";
    write(&dir.path().join("config.yaml"), &format!("{HOUSE}{two}"));
    let tests = |args: &[&str]| run(dir.path(), &[&["test", "-c", "config.yaml"], args].concat());
    assert_eq!((tests(&[]).0, tests(&["good"]).0, tests(&["bad"]).0, tests(&["none"]).0), (1, 0, 1, 2));
    assert!(tests(&[]).1.contains("ok     good\nFAILED bad\n"), "{}", tests(&[]).1);
    for (wrong, words) in [
        ("{ input: a, expect: {} }", "neither a `source` nor a `pipeline`"),
        ("{ source: app, pipeline: tidy, input: a, expect: {} }", "both a `source` and a `pipeline`"),
        ("{ source: ap, input: a, expect: {} }", "did you mean `app`?"),
        ("{ pipeline: tidy, input: a, expect: { sinks: [al] } }", "did you mean `all`?"),
        ("{ pipeline: tidy, input: a, expect: { time: now } }", "expected RFC 3339"),
        ("{ pipeline: tidy, input: a, expect: { mesage: x } }", "did you mean `message`?"),
        ("{ pipeline: tidy, expect: {} }", "`input` is missing"),
    ] {
        write(&dir.path().join("config.yaml"), &format!("{HOUSE}tests: {{ one: {wrong} }}\n"));
        let (code, _, said) = run(dir.path(), &["check", "-c", "config.yaml"]);
        assert_eq!(code, 2, "{wrong}");
        assert!(said.contains(words), "{words} in {said}");
    }
}

#[test]
fn explain_tells_what_each_step_did_and_who_takes_it() {
    let dir = dir();
    write(&dir.path().join("config.yaml"), HOUSE);
    let explain = |args: &[&str], input: &str| {
        let mut child = Command::new(binary())
            .args(["explain", "-c", "config.yaml"])
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let input = "{\"message\":\"m\",\"lvl\":\"error\"}\nno\n{\"message\":\"m\"}\n";
    let (code, said, error) = explain(&["--pipeline", "tidy", "--json"], input);
    assert_eq!(code, Some(0), "{error}");
    let entries: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let verbs = |entry: &Value| -> Vec<String> {
        let steps = entry["steps"].as_array().expect("steps");
        steps.iter().map(|step| step["verb"].as_str().expect("a verb").to_owned()).collect()
    };
    assert_eq!(entries.len(), 3, "{said}");
    assert_eq!(verbs(&entries[0]), ["parse", "timestamp", "discard", "dedupe", "rename"]);
    let [parse, timestamp, .., rename] = &entries[0]["steps"].as_array().expect("steps")[..] else {
        panic!()
    };
    assert_eq!(parse["changes"][0], serde_json::json!({ "name": "fields.lvl", "was": null, "is": "error" }));
    assert!(number(parse, "nanoseconds") > 0);
    assert!(timestamp["error"].is_string(), "it has no `ts`, and goes on: {timestamp}");
    assert_eq!(rename["changes"].as_array().map(Vec::len), Some(2));
    let takes: Vec<bool> = entries[0]["sinks"]
        .as_array()
        .expect("sinks")
        .iter()
        .filter_map(|sink| sink["takes"].as_bool())
        .collect();
    assert_eq!(takes, [true, true, false]);
    assert_eq!((verbs(&entries[1]), &entries[1]["kept"]), (vec!["parse".to_owned()], &false.into()));
    assert!(
        entries[1]["steps"][0]["error"].is_string() && entries[1]["steps"][0]["taken_out"] == "discarded"
    );
    assert_eq!(entries[2]["steps"][3]["taken_out"], "discarded", "the equal of the first");
    let (_, said, _) = explain(&["--pipeline", "tidy"], input);
    for words in
        ["entry 1: ", "+ fields.lvl = \"error\"", "sink errors: takes it: level", "sink shop: no: labels.app"]
    {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    let (code, _, error) = explain(&[], "");
    assert_eq!(code, Some(2));
    assert!(error.contains("app, trace"), "{error}");
    assert!(!dir.path().join("state").exists(), "nothing is opened, so nothing is made");
}
