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
    (
        "pipelines.redact.on_error",
        "tests/keys/steps.rs:what_is_too_long_once_it_is_redacted_is_treated_as_asked",
    ),
    // Values, and the steps that look at one entry.
    (
        "pipelines.set.fields",
        "tests/keys/steps.rs:values_are_worked_out_and_what_cannot_be_is_treated_as_asked",
    ),
    (
        "pipelines.set.on_error",
        "tests/keys/steps.rs:values_are_worked_out_and_what_cannot_be_is_treated_as_asked",
    ),
    ("pipelines.route", "tests/keys/steps.rs:sinks_get_the_entries_of_their_routes"),
    ("pipelines.sample", "tests/keys/steps.rs:a_share_goes_through_by_key_and_but_for_exceptions"),
    ("pipelines.sample.rate", "tests/keys/steps.rs:a_share_goes_through_by_key_and_but_for_exceptions"),
    ("pipelines.sample.key", "tests/keys/steps.rs:a_share_goes_through_by_key_and_but_for_exceptions"),
    ("pipelines.sample.except", "tests/keys/steps.rs:a_share_goes_through_by_key_and_but_for_exceptions"),
    ("pipelines.sample.weight", "tests/keys/steps.rs:a_share_goes_through_by_key_and_but_for_exceptions"),
    ("pipelines.sample.on_error", "tests/keys/steps.rs:a_share_goes_through_by_key_and_but_for_exceptions"),
    ("pipelines.validate", "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked"),
    ("pipelines.validate.on_error", "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked"),
    (
        "pipelines.validate.fields.required",
        "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked",
    ),
    ("pipelines.validate.fields.type", "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked"),
    ("pipelines.validate.fields.min", "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked"),
    ("pipelines.validate.fields.max", "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked"),
    (
        "pipelines.validate.fields.values",
        "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked",
    ),
    (
        "pipelines.validate.fields.pattern",
        "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked",
    ),
    (
        "pipelines.validate.fields.min_length",
        "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked",
    ),
    (
        "pipelines.validate.fields.max_length",
        "tests/keys/steps.rs:entries_that_break_a_rule_are_treated_as_asked",
    ),
    ("pipelines.enrich", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.host", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.table", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.key", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.column", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.match", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.fields", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    ("pipelines.enrich.on_error", "tests/keys/steps.rs:entries_get_what_the_host_and_a_table_say"),
    // Parsers and multi-line framing.
    ("pipelines.parse.pattern", "tests/keys/steps.rs:each_format_makes_its_fields"),
    ("pipelines.parse.timezone", "tests/keys/steps.rs:times_without_a_zone_are_of_the_zone_of_the_step"),
    ("pipelines.timestamp", "tests/keys/steps.rs:times_out_of_range_are_treated_as_asked"),
    (
        "pipelines.timestamp.field",
        "tests/keys/steps.rs:a_field_in_one_of_the_formats_is_the_time_that_sinks_write",
    ),
    (
        "pipelines.timestamp.formats",
        "tests/keys/steps.rs:a_field_in_one_of_the_formats_is_the_time_that_sinks_write",
    ),
    ("pipelines.timestamp.timezone", "tests/keys/steps.rs:times_without_a_zone_are_of_the_zone_of_the_step"),
    ("pipelines.timestamp.max_past", "tests/keys/steps.rs:times_out_of_range_are_treated_as_asked"),
    ("pipelines.timestamp.max_future", "tests/keys/steps.rs:times_out_of_range_are_treated_as_asked"),
    ("pipelines.timestamp.on_out_of_range", "tests/keys/steps.rs:times_out_of_range_are_treated_as_asked"),
    (
        "pipelines.timestamp.keep_original",
        "tests/keys/steps.rs:a_field_in_one_of_the_formats_is_the_time_that_sinks_write",
    ),
    (
        "pipelines.timestamp.on_error",
        "tests/keys/steps.rs:a_field_in_one_of_the_formats_is_the_time_that_sinks_write",
    ),
    ("sources.file.multiline.preset", "tests/keys/steps.rs:lines_are_joined_as_each_source_was_told"),
    ("sources.file.multiline.max_lines", "tests/keys/steps.rs:lines_are_joined_as_each_source_was_told"),
    ("sources.file.multiline.max_bytes", "tests/keys/steps.rs:lines_are_joined_as_each_source_was_told"),
    ("sources.file.multiline.timeout", "tests/keys/steps.rs:an_open_event_is_waited_for_as_long_as_asked"),
    ("sources.socket.multiline.preset", "tests/keys/steps.rs:lines_of_a_connection_are_joined_as_asked"),
    ("sources.socket.multiline.max_lines", "tests/keys/steps.rs:lines_of_a_connection_are_joined_as_asked"),
    ("sources.socket.multiline.max_bytes", "tests/keys/steps.rs:lines_of_a_connection_are_joined_as_asked"),
    ("sources.socket.multiline.timeout", "tests/keys/steps.rs:lines_of_a_connection_are_joined_as_asked"),
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
fn values_are_worked_out_and_what_cannot_be_is_treated_as_asked() {
    let input = "{\"a\":3,\"host\":\"Web\"}\n{\"a\":\"x\",\"host\":\"Db\"}\n";
    let fields = "a: '= a / 2', key: '= lower(host) + \":\" + source', plain: '{a}'";
    for (set, left) in [
        (format!("{{ {fields} }}"), 2),
        (format!("{{ fields: {{ {fields} }}, on_error: pass }}"), 2),
        (format!("{{ fields: {{ {fields} }}, on_error: discard }}"), 1),
        (format!("{{ fields: {{ {fields} }}, on_error: dead_letter }}"), 1),
    ] {
        let (out, stats) = through(&format!("[ {{ parse: json }}, {{ set: {set} }} ]"), input);
        assert_eq!((out.len(), source(&stats, "in", "step_errors")), (left, 1), "{set}");
        let first = &out[0]["fields"];
        assert_eq!(
            (&first["a"], &first["key"], &first["plain"]),
            (&1.5.into(), &"web:in".into(), &"{a}".into())
        );
        if left == 2 {
            assert_eq!((&out[1]["fields"]["a"], &out[1]["fields"]["key"]), (&"x".into(), &"db:in".into()));
        }
    }
}

#[test]
fn sinks_get_the_entries_of_their_routes() {
    let dir = dir();
    let rest = "sources: { in: { type: stdin, pipeline: p } }\n\
        pipelines: { p: [ { parse: json }, { route: { bad: 'n > 5', odd: 'n % 2 == 1', else: rest } } ] }\n\
        sinks:\n  bad: { type: file, path: bad.log, when: 'route == \"bad\"' }\n  \
        odd: { type: file, path: odd.log, when: 'route == \"odd\"' }\n  \
        rest: { type: file, path: rest.log, when: 'route == \"rest\"' }\n";
    let mut instance = Instance::start(dir.path(), &config(rest));
    let input: String = (0..8).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    instance.stdin().write_all(input.as_bytes()).expect("it reads");
    let stats = instance
        .wait_stats("all went through", |stats| source(stats, "in", "received") == 8 && at_rest(stats));
    assert_ledger(&stats);
    let lines = |name: &str| lines_of(&dir.path().join(name)).concat();
    assert_eq!(lines("bad.log"), "{\"n\":6}{\"n\":7}");
    assert_eq!(lines("odd.log"), "{\"n\":1}{\"n\":3}{\"n\":5}");
    assert_eq!(lines("rest.log"), "{\"n\":0}{\"n\":2}{\"n\":4}");
}

#[test]
fn a_share_goes_through_by_key_and_but_for_exceptions() {
    let input: String = (0..1000)
        .map(|n| format!("{{\"n\":{n},\"u\":\"u{}\",\"bad\":{}}}\n", n % 100, n % 10 == 0))
        .collect();
    let numbers = |out: &[Value]| -> Vec<u64> {
        out.iter().filter_map(|entry| entry["fields"]["n"].as_u64()).collect()
    };
    let sample = |options: &str| through(&format!("[ {{ parse: json }}, {{ sample: {options} }} ]"), &input);
    assert_eq!(sample("1").0.len(), 1000);
    let (out, stats) = sample("{ rate: 0.2 }");
    assert!((100..320).contains(&out.len()), "{}", out.len());
    assert_eq!(source(&stats, "in", "filtered"), 1000 - out.len() as u64);
    let by_key = numbers(&sample("{ rate: 0.2, key: u }").0);
    assert!((20..450).contains(&by_key.len()), "{}", by_key.len());
    assert!(
        by_key.iter().all(|n| (0..10).all(|round| by_key.contains(&(n % 100 + 100 * round)))),
        "users go whole"
    );
    assert_eq!(numbers(&sample("{ rate: 0.2, key: u }").0), by_key, "and the same ones, run after run");
    let (out, _) = sample("{ rate: 0.2, key: u, except: 'bad == true', weight: w }");
    let kept = numbers(&out);
    assert!((0..1000).step_by(10).all(|n| kept.contains(&n)));
    for entry in &out {
        let weight = if entry["fields"]["bad"] == true { 1 } else { 5 };
        assert_eq!(entry["fields"]["w"], weight, "{entry}");
    }
    let (out, stats) = sample("{ rate: 0.2, key: 'number(u)', on_error: discard }");
    assert_eq!((out.len(), source(&stats, "in", "step_errors")), (0, 1000));
    assert_eq!(sample("{ rate: 0.2, key: 'number(u)', on_error: pass }").0.len(), 1000);
}

#[test]
fn entries_that_break_a_rule_are_treated_as_asked() {
    let good = "{\"s\":200,\"l\":\"info\",\"u\":\"ann\"}\n";
    let validate = |rules: &str, bad: &str| {
        let step = format!("{{ validate: {{ fields: {{ {rules} }}, on_error: discard }} }}");
        let (out, stats) = through(&format!("[ {{ parse: json }}, {step} ]"), &format!("{good}{bad}\n"));
        assert_eq!((out.len(), source(&stats, "in", "step_errors")), (1, 1), "{rules}");
        assert_eq!(out[0]["fields"]["s"], 200, "{rules}");
    };
    validate("s: { required: true }", "{\"l\":\"info\"}");
    validate("s: { type: integer }", "{\"s\":\"200\"}");
    validate("s: { min: 100 }", "{\"s\":99.5}");
    validate("s: { max: 599 }", "{\"s\":600}");
    validate("l: { values: [info, 'warn'] }", "{\"l\":\"INFO\"}");
    validate("u: { pattern: '^[a-z]+$' }", "{\"u\":\"Ann\"}");
    validate("u: { min_length: 3 }", "{\"u\":\"ab\"}");
    validate("u: { max_length: 3 }", "{\"u\":\"anna\"}");
    let bad = "{\"s\":1}\n";
    for (options, left, letters) in [("", 0, 1), (", on_error: pass", 1, 0), (", on_error: discard", 0, 0)] {
        let step = format!("{{ validate: {{ fields: {{ s: {{ min: 100 }} }}{options} }} }}");
        let (out, stats) = through(&format!("[ {{ parse: json }}, {step} ]"), bad);
        assert_eq!((out.len(), stats["dlq"]["letters"].as_u64()), (left, Some(letters)), "{stats}");
        let why = row(&stats, "sources", "in")["steps"].to_string();
        assert!(why.contains("`s` is below its `min` (100)"), "{why}");
    }
}

#[test]
fn entries_get_what_the_host_and_a_table_say() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux");
    let (out, _) = through("[ { enrich: { host: { node: hostname, cpu: arch } } } ]", "x\n");
    assert_eq!(out[0]["fields"], serde_json::json!({ "node": host.trim(), "cpu": std::env::consts::ARCH }));

    let tables = dir();
    let (csv, nets) = (tables.path().join("t.csv"), tables.path().join("n.json"));
    write(&csv, "name,alias,team\nshop,s,web\nbank,b,money\n");
    write(&nets, r#"[{"net":"10.0.0.0/8","site":1},{"net":"10.1.0.0/16","site":2}]"#);
    let teams = |options: &str| {
        let step = format!("{{ enrich: {{ table: {}, {options} }} }}", csv.display());
        let (out, stats) =
            through(&format!("[ {{ parse: json }}, {step} ]"), "{\"k\":\"shop\",\"j\":\"b\"}\n{}\n");
        let of = |at: usize, name: &str| out.get(at).map(|entry| entry["fields"][name].clone());
        assert_eq!(source(&stats, "in", "step_errors"), 1, "{options}");
        (of(0, "t"), of(0, "a"), out.len())
    };
    let text = |text: &str| Some(Value::from(text));
    assert_eq!(teams("key: k, column: name, fields: { t: team }"), (text("web"), Some(Value::Null), 2));
    assert_eq!(
        teams("key: j, column: alias, fields: { a: team }, on_error: pass"),
        (Some(Value::Null), text("money"), 2)
    );
    assert_eq!(
        teams("key: j, column: alias, fields: { t: name }, on_error: discard"),
        (text("bank"), Some(Value::Null), 1)
    );
    for (how, expected) in [("cidr", Value::from(2)), ("exact", Value::Null)] {
        let options = format!("key: ip, column: net, match: {how}, fields: {{ site: site }}");
        let step = format!("{{ enrich: {{ table: {}, {options} }} }}", nets.display());
        let (out, _) = through(&format!("[ {{ parse: json }}, {step} ]"), "{\"ip\":\"10.1.2.3\"}\n");
        assert_eq!(out[0]["fields"]["site"], expected, "{how}");
    }
}

#[test]
fn a_table_that_changes_is_taken_up_and_a_bad_one_is_not() {
    let dir = dir();
    let table = dir.path().join("t.csv");
    write(&table, "name,team\nshop,old\n");
    let rest = "sources: { in: { type: stdin, pipeline: p } }\n\
        pipelines: { p: [ { parse: json }, { enrich: { table: t.csv, key: k, column: name, fields: { t: team } } } ] }\n\
        sinks: { out: { type: file, path: out.json, format: json } }\n";
    let mut instance = Instance::start(dir.path(), &config(rest));
    let (mut stdin, mut sent) = (instance.stdin(), 0);
    let mut team = |instance: &mut Instance| {
        stdin.write_all(b"{\"k\":\"shop\"}\n").expect("it reads");
        sent += 1;
        let all = |stats: &Value| source(stats, "in", "received") == sent && at_rest(stats);
        assert_ledger(&instance.wait_stats("it went through", all));
        let last = lines_of(&dir.path().join("out.json")).pop().expect("a line");
        serde_json::from_str::<Value>(&last).expect("JSON")["fields"]["t"].clone()
    };
    let replace = |text: &str| {
        write(&dir.path().join("new"), text);
        fs::rename(dir.path().join("new"), &table).expect("renamed");
    };
    assert_eq!(team(&mut instance), "old");
    replace("name,team\nshop\n");
    instance.wait_log("the 1 rows read before stay in use");
    assert_eq!(team(&mut instance), "old");
    replace("name,team\nshop,new\nx,y\n");
    instance.wait_log("changed; it has 2 rows now");
    assert_eq!(team(&mut instance), "new");
    assert!(instance.log().contains("line 2: 1 cells, where there are 2 columns"), "{}", instance.log());
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
fn what_is_too_long_once_it_is_redacted_is_treated_as_asked() {
    // 20,000 addresses, each replaced by a thousand bytes: more than a block has room for.
    let (long, hidden) = ("a@b.org ".repeat(20_000), "x".repeat(1000));
    for (on_error, left) in [("discard", 1), ("pass", 2)] {
        let steps =
            format!("[ {{ redact: {{ patterns: [email], replacement: {hidden}, on_error: {on_error} }} }} ]");
        let (out, stats) = through(&steps, &format!("{long}\nshort\n"));
        let step = &row(&stats, "sources", "in")["steps"][0];
        assert_eq!((out.len(), number(step, "errors")), (left, 1), "{on_error}");
        assert_eq!(out[left - 1]["message"], "short");
    }
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
fn lines_of_a_connection_are_joined_as_asked() {
    let long = "x".repeat(70);
    let sent = format!("panic: a\r\n\tb\r\n\r\n\tc\r\n\r\n\r\nnext\n {long}\n");
    let first = "panic: a\r\n\tb\r\n\r\n\tc\r\n\r\n";
    let next = format!("next\n {long}");
    for (options, wanted) in [
        ("preset: go, timeout: 50ms", vec![first, &next]),
        ("preset: go, timeout: 1h", vec![first]),
        ("preset: go, max_lines: 2, timeout: 50ms", vec!["panic: a\r\n\tb", "\r\n\tc", &next]),
        ("preset: go, max_bytes: 64, timeout: 50ms", vec![first, "next", &next[5..]]),
        ("preset: java, timeout: 50ms", vec!["panic: a\r\n\tb", "\r\n\tc", &next]),
    ] {
        let dir = dir();
        let rest = format!(
            "sources: {{ in: {{ type: socket, listen: ['tcp://127.0.0.1:0'], multiline: {{ {options} }} }} }}\n\
             sinks: {{ out: {{ type: file, path: out.json, format: json }} }}\n"
        );
        let mut instance = Instance::start(dir.path(), &config(&rest));
        let to = instance.address("source in", "tcp://");
        let mut connection = TcpStream::connect(to).expect("it listens");
        connection.write_all(sent.as_bytes()).expect("it reads");
        instance.wait_delivered("out", wanted.len() as u64);
        assert_eq!(messages(&dir.path().join("out.json")), wanted, "{options}");
    }
    // Only lines can be joined.
    let dir = dir();
    let rest = "sources: { in: { type: socket, listen: ['tcp://127.0.0.1:0'], framing: nul, multiline: { preset: go } } }\n\
                sinks: { out: { type: blackhole } }\n";
    write(&dir.path().join("config.yaml"), &config(rest));
    let (code, _, error) = run(dir.path(), &["-c", "config.yaml"]);
    assert!(code != 0 && error.contains("needs `framing: newline`"), "{code}: {error}");
}

#[test]
fn an_open_event_is_waited_for_as_long_as_asked() {
    let dir = dir();
    write(&dir.path().join("logs/a.log"), "a\n b\n");
    let source_of = |name: &str, kind: &str, timeout: &str| {
        format!("  {name}: {{ {kind}, multiline: {{ start: '^a', timeout: {timeout} }} }}\n")
    };
    let (file, stdin) = ("type: file, include: ['logs/*']", "type: stdin");
    // Where nothing is written it is a second: the others have outlasted that when the short wait is over.
    for (timeout, short, wanted) in [("100ms", "100ms", 1), ("1h", "1500ms", 0)] {
        let rest = format!(
            "sources:\n{}{}{}sinks: {{ out: {{ type: file, path: 'out-{timeout}/{{source}}' }} }}\n",
            source_of("short", file, short),
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

#[test]
fn each_format_makes_its_fields() {
    let access = r#"192.0.2.1 - - [23/Nov/2026:10:00:00 +0100] "GET /a HTTP/1.1" 404 12 "-" "curl/8""#;
    let error = r#"2026/11/23 10:00:00 [error] 1#2: *3 no such file, client: 192.0.2.1, server: a"#;
    let regex = r"{ format: regex, pattern: '^(?<level>\w+) took (?<ms>[0-9]+)' }";
    for (format, line, wanted, time) in [
        (
            "logfmt",
            "level=warn n=5 done msg=\"a \\\"b\\\"\"",
            r#"{"level":"warn","n":5,"done":true,"msg":"a \"b\""}"#,
            "",
        ),
        (
            "nginx",
            access,
            r#"{"remote_addr":"192.0.2.1","time_local":"23/Nov/2026:10:00:00 +0100","method":"GET","path":"/a","protocol":"HTTP/1.1","status":404,"body_bytes_sent":12,"http_user_agent":"curl/8"}"#,
            "2026-11-23T09:00:00",
        ),
        (
            "{ format: nginx_error, timezone: utc }",
            error,
            r#"{"level":"error","pid":1,"tid":2,"connection":3,"message":"no such file","client":"192.0.2.1","server":"a"}"#,
            "2026-11-23T10:00:00",
        ),
        (regex, "WARN took 12 ms", r#"{"level":"WARN","ms":12}"#, ""),
        ("{ format: regex, pattern: 'took (?<t>.*)' }", "WARN took 12 ms", r#"{"t":"12 ms"}"#, ""),
        (
            "{ format: syslog, timezone: utc }",
            "<13>1 2026-11-23T10:00:00Z h a - - - hello",
            r#"{"facility":"user","severity":"notice","host":"h","app":"a","message":"hello"}"#,
            "2026-11-23T10:00:00",
        ),
    ] {
        let (out, stats) = through(&format!("[ {{ parse: {format} }} ]"), &format!("{line}\n"));
        let wanted: Value = serde_json::from_str(wanted).expect("JSON");
        assert_eq!(source(&stats, "in", "step_errors"), 0, "{format}");
        let mut fields = out[0]["fields"].clone();
        if let (Some(fields), Some(message)) = (fields.as_object_mut(), wanted.get("message")) {
            // JSON output tells it as the entry's message.
            fields.entry("message").or_insert_with(|| out[0]["message"].clone());
            assert_eq!(fields["message"], *message, "{format}");
        }
        assert_eq!(fields, wanted, "{format}");
        assert!(out[0]["time"].as_str().expect("a time").starts_with(time), "{format}: {}", out[0]["time"]);
    }
    // Numbers compare as such.
    let (out, _) = through(
        "[ { parse: nginx }, { keep: 'status >= 400' } ]",
        &format!("{access}\n{}\n", access.replace("404", "200")),
    );
    assert_eq!(out.len(), 1);
    assert_eq!(out[0]["fields"]["status"], 404);
}

#[test]
fn times_without_a_zone_are_of_the_zone_of_the_step() {
    let time = |steps: &str, line: &str| {
        through(steps, line).0[0]["time"].as_str().expect("a time")[..16].to_owned()
    };
    for (zone, wanted) in [("utc", "2026-11-23T10:00"), ("Asia/Kolkata", "2026-11-23T04:30")] {
        let parse = format!("[ {{ parse: {{ format: nginx_error, timezone: {zone} }} }} ]");
        assert_eq!(time(&parse, "2026/11/23 10:00:00 [error] 1#2: m\n"), wanted);
        let field = format!(
            "[ {{ parse: json }}, {{ timestamp: {{ field: t, formats: [iso8601], timezone: {zone} }} }} ]"
        );
        assert_eq!(time(&field, "{\"t\":\"2026-11-23 10:00:00,5\"}\n"), wanted);
    }
}

#[test]
fn a_field_in_one_of_the_formats_is_the_time_that_sinks_write() {
    let input = "{\"t\":1700000000,\"u\":\"14.11.2023 22:13:21\"}\n{\"t\":\"2023-11-14T22:13:20Z\"}\n";
    let run = |options: &str| {
        let (out, stats) =
            through(&format!("[ {{ parse: json }}, {{ timestamp: {{ {options} }} }} ]"), input);
        let of = |entry: &Value| {
            let time = entry["time"].as_str().expect("a time");
            (time.starts_with("2023-11-14T22:13:2").then(|| time[18..19].to_owned()), entry["fields"].clone())
        };
        (out.iter().map(of).collect::<Vec<_>>(), source(&stats, "in", "step_errors"))
    };
    let second = |second: &str| Some(second.to_owned());
    let times = |found: &(Vec<(Option<String>, Value)>, u64)| {
        found.0.iter().map(|(time, _)| time.clone()).collect::<Vec<_>>()
    };
    let found = run("field: t");
    assert_eq!((times(&found), found.1), (vec![None, second("0")], 1), "rfc3339 alone");
    let found = run("field: t, formats: [rfc3339, unix]");
    assert_eq!((times(&found), found.1), (vec![second("0"), second("0")], 0));
    assert_eq!(found.0[0].1["t"], 1_700_000_000, "the original stays");
    let found = run("field: u, formats: ['%d.%m.%Y %H:%M:%S'], timezone: utc, on_error: discard");
    assert_eq!(times(&found), [second("1")], "the other has no such field");
    let found = run("field: t, formats: [rfc3339, unix], keep_original: false");
    assert_eq!((&found.0[1].1["t"], &found.0[0].1["t"]), (&Value::Null, &Value::Null));
    let found = run("field: t, formats: [rfc3339, unix], keep_original: said");
    assert_eq!((&found.0[0].1["said"], &found.0[0].1["t"]), (&1_700_000_000.into(), &Value::Null));
}

#[test]
fn times_out_of_range_are_treated_as_asked() {
    let year = |options: &str, line: &str| {
        let steps = format!("[ {{ parse: json }}, {{ timestamp: {{ field: t, {options} }} }} ]");
        through(&steps, line).0[0]["time"].as_str().expect("a time")[..4].to_owned()
    };
    let now = jiff::Timestamp::now();
    let year_of = |time: jiff::Timestamp| time.to_string()[..4].to_owned();
    let hours = |hours: i64| jiff::SignedDuration::from_hours(hours);
    let (old, new) = ("{\"t\":\"2001-01-01T00:00:00Z\"}\n", "{\"t\":\"2201-01-01T00:00:00Z\"}\n");
    assert_eq!((year("max_past: off", old), year("max_future: off", new)), ("2001".into(), "2201".into()));
    assert_eq!(year("max_past: 24000h", old), year_of(now), "now, unless asked otherwise");
    assert_eq!(year("max_future: 24000h", new), year_of(now));
    assert_eq!((year("max_future: 1h", old), year("max_past: 1h", new)), ("2001".into(), "2201".into()));
    assert_eq!(year("max_past: 24000h, on_out_of_range: keep", old), "2001");
    assert_eq!(year("max_past: 24000h, on_out_of_range: clamp", old), year_of(now - hours(24_000)));
    assert_eq!(year("max_future: 24000h, on_out_of_range: clamp", new), year_of(now + hours(24_000)));
}
