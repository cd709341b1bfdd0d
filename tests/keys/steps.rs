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
    ("sources.file.multiline.preset", "tests/keys/steps.rs:lines_are_joined_as_each_source_was_told"),
    ("sources.file.multiline.max_lines", "tests/keys/steps.rs:lines_are_joined_as_each_source_was_told"),
    ("sources.file.multiline.max_bytes", "tests/keys/steps.rs:lines_are_joined_as_each_source_was_told"),
    ("sources.file.multiline.timeout", "tests/keys/steps.rs:an_open_event_is_waited_for_as_long_as_asked"),
    ("sources.stdin.multiline.start", "tests/keys/steps.rs:lines_of_the_standard_input_are_joined_as_asked"),
    (
        "sources.stdin.multiline.max_lines",
        "tests/keys/steps.rs:lines_of_the_standard_input_are_joined_as_asked",
    ),
    (
        "sources.stdin.multiline.max_bytes",
        "tests/keys/steps.rs:lines_of_the_standard_input_are_joined_as_asked",
    ),
    ("sources.stdin.multiline.timeout", "tests/keys/steps.rs:an_open_event_is_waited_for_as_long_as_asked"),
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

/// The texts that the sink `out.json`, or one like it, wrote.
fn messages(path: &Path) -> Vec<String> {
    let out = fs::read_to_string(path).unwrap_or_default();
    let message = |line| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        entry["message"].as_str().expect("a text").to_owned()
    };
    out.lines().map(message).collect()
}

#[test]
fn lines_are_joined_as_each_source_was_told() {
    let dir = dir();
    let text = "10:00 ERROR x\njava.lang.Error: y\n\tat z;\n10:01 INFO x\n  more and more\n";
    write(&dir.path().join("logs/a.log"), text);
    let rules = [
        ("none", ""),
        ("preset", "preset: java"),
        ("other", "preset: python"),
        ("start", "start: '^10:01'"),
        ("more", "continue: '^\\s'"),
        ("end", "end: ';$'"),
        ("lines", "start: '^1', max_lines: 2"),
        ("bytes", "start: '^1', max_bytes: 64"),
        ("longer", "start: '^no', max_bytes: 64"),
    ];
    let source_of = |(name, rule): (&str, &str)| {
        let multiline = if rule.is_empty() { String::new() } else { format!(", multiline: {{ {rule} }}") };
        format!("  {name}: {{ type: file, include: ['logs/*']{multiline} }}\n")
    };
    let sources: String = rules.map(source_of).concat();
    let sinks = "sinks: { out: { type: file, path: 'out/{source}', format: json }, raw: { type: file, path: 'raw/{source}' } }";
    let mut instance = Instance::start(dir.path(), &config(&format!("sources:\n{sources}{sinks}\n")));
    let of = |name: &str| messages(&dir.path().join("out").join(name));
    let entries = [5, 2, 3, 2, 3, 2, 3, 2, 2];
    let stats = instance.wait_stats("all is through", |stats| {
        rules.iter().zip(entries).all(|((name, _), wanted)| source(stats, name, "received") >= wanted)
            && at_rest(stats)
    });
    assert_ledger(&stats);
    let (first, second) = ("10:00 ERROR x\njava.lang.Error: y\n\tat z;", "10:01 INFO x\n  more and more");
    assert_eq!(of("none").len(), 5);
    assert_eq!(of("preset"), [first, second]);
    assert_eq!(
        of("other"),
        ["10:00 ERROR x", "java.lang.Error: y\n\tat z;", "10:01 INFO x\n  more and more"]
    );
    assert_eq!(of("start"), [first, second]);
    assert_eq!(of("more"), ["10:00 ERROR x", "java.lang.Error: y\n\tat z;", second]);
    assert_eq!(of("end"), [first, second]);
    assert_eq!(of("lines"), ["10:00 ERROR x\njava.lang.Error: y", "\tat z;", second]);
    assert_eq!(of("bytes"), [first, second]);
    assert_eq!(of("longer"), [&format!("{first}\n10:01 INFO x"), "  more and more"]);
    for (name, _) in rules {
        let raw = fs::read_to_string(dir.path().join("raw").join(name)).expect("written");
        assert_eq!(raw, text, "{name}: raw writes the lines as they were");
    }
}

#[test]
fn lines_of_the_standard_input_are_joined_as_asked() {
    let long = "x".repeat(60);
    let input = format!("a 1\n b\n c\na 2\n {long}\n");
    for (rule, wanted) in [
        ("start: '^a'", vec!["a 1\n b\n c".to_owned(), format!("a 2\n {long}")]),
        ("start: '1$'", vec![format!("a 1\n b\n c\na 2\n {long}")]),
        ("start: '^a', max_lines: 2", vec!["a 1\n b".into(), " c".into(), format!("a 2\n {long}")]),
        ("start: '^a', max_bytes: 64", vec!["a 1\n b\n c".into(), "a 2".into(), format!(" {long}")]),
    ] {
        let dir = dir();
        let rest = format!(
            "sources: {{ in: {{ type: stdin, multiline: {{ {rule} }} }} }}\n\
             sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n"
        );
        let (mut instance, writer) = with_input(dir.path(), &rest, &input);
        drop(writer.join());
        instance.wait_delivered("out", wanted.len() as u64);
        assert_eq!(messages(&dir.path().join("out.json")), wanted, "{rule}");
    }
}

#[test]
fn an_open_event_is_waited_for_as_long_as_asked() {
    let dir = dir();
    write(&dir.path().join("logs/a.log"), "a\n b\n");
    let source_of = |name: &str, kind: &str, timeout: &str| {
        format!("  {name}: {{ {kind}, multiline: {{ start: '^a', timeout: {timeout} }} }}\n")
    };
    let (file, stdin) = ("type: file, include: ['logs/*']", "type: stdin");
    for (timeout, wanted) in [("100ms", 1), ("1h", 0)] {
        let rest = format!(
            "sources:\n{}{}{}sinks: {{ out: {{ type: file, path: 'out-{timeout}/{{source}}' }} }}\n",
            source_of("short", file, "100ms"),
            source_of("file", file, timeout),
            source_of("in", stdin, timeout),
        );
        let (mut instance, _writer) = with_input(dir.path(), &rest, "a\n b\n");
        let stats = instance.wait_stats("the short wait is over", |stats| {
            source(stats, "short", "received") == 1
                && (wanted == 0 || source(stats, "in", "received") == 1)
                && (wanted == 0 || source(stats, "file", "received") == 1)
        });
        assert_eq!((source(&stats, "file", "received"), source(&stats, "in", "received")), (wanted, wanted));
        fs::remove_dir_all(dir.path().join("state")).expect("each begins anew");
    }
}
