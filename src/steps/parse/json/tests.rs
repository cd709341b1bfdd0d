use super::*;
use crate::block::{EntryView, FieldView};
use crate::entry::{Entry, unescape};
use crate::labels::{Labels, SourceId, Stream};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A block of `lines`, each followed by `between`.
fn block_of(lines: &[&[u8]], between: &[u8]) -> Block {
    let size: usize = lines.iter().map(|line| line.len() + between.len()).sum();
    let mut block = Block::new(size.max(1));
    let stream = Stream::new(SourceId(0), "s".into(), "test", "o", Labels::default());
    block.begin_run(&Arc::new(stream));
    for line in lines {
        let offset = block.append(line).unwrap();
        block.push(Entry::at(offset, line.len() as u32));
        block.append(between).unwrap();
    }
    block.reset_side();
    block
}

/// The entry's fields as `serde_json` values, the last of equal keys.
fn read_back(view: EntryView<'_>) -> Map<String, Value> {
    let text = |raw: &[u8], escaped| match escaped {
        true => String::from_utf8(unescape(raw).unwrap()).unwrap(),
        false => std::str::from_utf8(raw).unwrap().to_owned(),
    };
    let pairs = view.fields().map(|field| {
        let value = match field.kind() {
            Kind::Plain | Kind::Escaped => Value::String(text(field.raw(), field.kind() == Kind::Escaped)),
            _ => serde_json::from_slice(field.raw()).unwrap(),
        };
        let kind = match &value {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Number(_) => Kind::Number,
            Value::String(_) => field.kind(),
            Value::Array(_) | Value::Object(_) => Kind::Json,
        };
        assert_eq!(field.kind(), kind);
        assert_eq!(field.kind() == Kind::Escaped, kind == Kind::Escaped && field.raw().contains(&b'\\'));
        assert_eq!(field.key_escaped(), field.key().contains(&b'\\'));
        (text(field.key(), field.key_escaped()), value)
    });
    pairs.collect()
}

/// Whether a refusal of ours is one of the documented limits, which `serde_json` does not have.
fn is_limit(fault: &StepError) -> bool {
    let text = fault.to_string();
    ["64 levels", "1000 members", "1024 bytes", "100000 values"].iter().any(|limit| text.contains(limit))
}

/// Compares what each instruction set makes of `line` with what `serde_json` does.
fn compare(line: &[u8]) {
    let mut block = block_of(&[line], b"\n");
    for step in ParseJson::all() {
        block.reset_side();
        let ours = step.apply(&mut block, 0);
        let shown = String::from_utf8_lossy(&line[..line.len().min(300)]);
        match (ours, serde_json::from_slice::<Value>(line)) {
            (Ok(_), Ok(Value::Object(theirs))) => assert_eq!(read_back(block.view(0)), theirs, "{shown}"),
            (Ok(_), Err(error)) => assert!(error.to_string().contains("out of range"), "{error}: {shown}"),
            (Ok(_), Ok(other)) => panic!("{other} is no object: {shown}"),
            (Err(fault), Ok(Value::Object(_))) => assert!(is_limit(&fault), "{fault}: {shown}"),
            (Err(_), _) => assert!(block.view(0).fields().next().is_none(), "{shown}"),
        }
    }
}

/// The fields of each of `lines`, read together, by each instruction set in turn; `None` for a refused one.
fn read_together(lines: &[&[u8]], between: &[u8]) -> Vec<Vec<Option<Map<String, Value>>>> {
    let mut block = block_of(lines, between);
    let read = |step: ParseJson| {
        block.reset_side();
        let errors = step.run_alone(&mut block, 0..lines.len());
        let one = |at| {
            let good = serde_json::from_slice::<Value>(lines[at]).is_ok_and(|value| value.is_object());
            good.then(|| read_back(block.view(at)))
        };
        let all: Vec<_> = (0..lines.len()).map(one).collect();
        assert_eq!(errors, all.iter().filter(|fields| fields.is_none()).count());
        all
    };
    ParseJson::all().into_iter().map(read).collect()
}

const SAMPLE: &str = r#" {"time":"2025-09-14T12:00:00.123Z", "level" : "info","msg":"say \"hi\" \\ \u00e9\ud83d\ude00",
 "n":-12.5e+3,"zero":0,"ok":true,"no":false,"nil":null,"list":[1,[],{},"a]\"",[true,{"x":[null]}]],
 "deep":{"a":{"b":{"c":"}"}},"e":{}}, "k\u0065y":"","ünï":"日本語","level":"warn"}	"#;

#[test]
fn a_sample_is_read_as_serde_json_reads_it_and_so_is_every_prefix_of_it() {
    for cut in 0..=SAMPLE.len() {
        compare(&SAMPLE.as_bytes()[..cut]);
    }
}

#[test]
fn every_single_changed_byte_of_a_sample_is_judged_as_serde_json_judges_it() {
    for at in 0..SAMPLE.len() {
        for byte in
            [0, 1, b' ', b'"', b'\\', b'{', b'}', b'[', b']', b':', b',', b'0', b'e', b'-', 0x7f, 0x80, 0xff]
        {
            let mut line = SAMPLE.as_bytes().to_vec();
            line[at] = byte;
            compare(&line);
        }
    }
}

#[test]
fn nasty_lines_are_judged_as_serde_json_judges_them() {
    let values = [
        "0",
        "-0",
        "00",
        "01",
        "-",
        "-01",
        "+1",
        "1.",
        ".5",
        "0.5",
        "1.e1",
        "1e",
        "1e+",
        "1e-",
        "1e5",
        "1E+05",
        "0e0",
        "1e999",
        "-1e-999",
        "123456789012345678901234567890",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1 2",
        "true",
        "True",
        "tru",
        "truee",
        "falsey",
        "nul",
        "null",
        "nulll",
        "'a'",
        "\"",
        "\"a",
        "a\"",
        "\"\"",
        "\"\"\"",
        "\"a\"b",
        "\"\\\"",
        "\"\\\\\"",
        "\"\\\\\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\udc00\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ud83d\\n\"",
        "\"\\U0041\"",
        "\"\t\"",
        "\"\n\"",
        "\"\x00\"",
        "\"\x1f\"",
        "\"\x7f\"",
        "\"\u{2028}\"",
        "\\\"a\"",
        "\"a\"\\",
        "[",
        "]",
        "[]",
        "[ ]",
        "[,]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "[1:2]",
        "[[]",
        "[]]",
        "[}",
        "{]",
        "{}",
        "{ }",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{:1}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\"::1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1}}",
        "[{\"a\":[1]}]",
        "[\"]\",\"}\"]",
        "{\"a\":{\"b\":[{}]}}",
        "[{\"a\":1},{\"b\":2}]",
        "[\\]",
        "[\"\\]",
        "/*c*/1",
        "1//c",
        "",
        " ",
        "[\u{a0}1]",
        "[1\t,\r2\n]",
        "\u{feff}1",
        "[\"\\ud800\"]",
        "[\"\t\"]",
        "{\"\\x\":1}",
        "{\"\t\":1}",
        "[01]",
        "[-]",
        "[tru]",
    ];
    for value in values {
        for line in [
            value.to_owned(),
            format!("{{\"a\":{value}}}"),
            format!("{{\"a\":1,\"b\":{value},\"c\":\"d\"}}"),
            format!("{{{value}:1}}"),
            format!("{{\"a\":1}}{value}"),
            format!("{value}{{\"a\":1}}"),
            format!("{{\"a\":[{value},{{\"b\":{value}}}]}}"),
        ] {
            compare(line.as_bytes());
        }
    }
    let encodings: [&[u8]; 8] = [
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xe2\x82",
        b"\xf4\x90\x80\x80",
        b"\xc3\xa9",
        b"\x80",
        b"\xf0\x9f\x98\x80",
    ];
    for bytes in encodings {
        for place in
            ["{\"a\":\"X\"}", "{\"X\":1}", "{\"a\":[\"X\"]}", "{\"a\":X}", "{X}", "{\"a\":1}X", "X{}"]
        {
            let (before, after) = place.split_once('X').unwrap();
            compare(&[before.as_bytes(), bytes, after.as_bytes()].concat());
        }
    }
}

#[test]
fn strings_of_every_length_end_where_they_end_at_every_word_boundary() {
    for len in 0..=200 {
        for tail in ["", "\\\\", "\\\"", "\\", "\t", "é"] {
            compare(format!("{{\"k\":\"{}{tail}\",\"n\":[\"{tail}\"]}}", "x".repeat(len)).as_bytes());
            compare(format!("{{\"{}{tail}\":\"v\"}}", "x".repeat(len)).as_bytes());
        }
    }
}

#[test]
fn runs_of_backslashes_of_every_length_may_cross_every_word_boundary() {
    for before in (0..70).chain(120..135) {
        for run in 0..=70 {
            compare(format!("{{\"{}{}\":\"q\"}}", "x".repeat(before), "\\".repeat(run)).as_bytes());
        }
    }
    for run in (0..10).chain(60..70).chain(120..135) {
        compare(format!("{{\"a\":\"{}\",\"b\":\"{}n\"}}", "\\".repeat(run), "\\".repeat(run)).as_bytes());
    }
}

#[test]
fn a_broken_line_does_not_reach_the_next() {
    let good: &[u8] = br#"{"a":"b","c":[1,"\"x"]}"#;
    let broken: [&[u8]; 10] = [
        b"{\"a\":\"open",
        b"{\"a\":\"b\\",
        b"\\",
        b"\"",
        b"{\"a\":[[[{",
        b"",
        b"not json",
        b"{\"a\":\"\xff\"}",
        &[b'\\'; 64],
        &[b'"'; 63],
    ];
    for between in [&b"\n"[..], b""] {
        for bad in broken {
            let [best, others @ ..] = &read_together(&[good, bad, good, bad, bad, good], between)[..] else {
                panic!("there is always the portable way")
            };
            let expected = serde_json::from_slice::<Value>(good).unwrap().as_object().cloned();
            assert_eq!(best, &[expected.clone(), None, expected.clone(), None, None, expected]);
            assert!(others.iter().all(|other| other == best));
        }
    }
}

#[test]
fn limits_are_kept_exactly() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let wide = |count: usize| {
        let members: Vec<_> = (0..count).map(|at| format!("\"k{at}\":{at}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let named = |len: usize| format!("{{\"{}\":1}}", "k".repeat(len));
    let (depth, fields, key) = (DEPTH_MAX as usize, FIELDS_PER_ENTRY_MAX, Field::KEY_MAX);
    let pairs = [
        (nested(depth), nested(depth + 1), "64 levels"),
        (objects(depth), objects(depth + 1), "64 levels"),
        (wide(fields), wide(fields + 1), "1000 members"),
        (named(key), named(key + 1), "1024 bytes"),
    ];
    for (fits, too_much, named) in pairs {
        let mut block = block_of(&[fits.as_bytes(), too_much.as_bytes()], b"\n");
        let step = ParseJson::default();
        assert!(step.apply(&mut block, 0).is_ok(), "{named}");
        let fault = step.apply(&mut block, 1).unwrap_err().to_string();
        assert!(fault.contains(named), "{fault}");
        assert_eq!(block.view(1).fields().count(), 0);
        compare(fits.as_bytes());
    }
}

#[test]
fn a_hundred_thousand_brackets_are_refused_without_a_deep_stack() {
    for line in ["[".repeat(100_000), format!("{{\"a\":{}", "[".repeat(100_000)), "{\"a\":".repeat(20_000)] {
        compare(line.as_bytes());
    }
}

#[test]
fn a_full_field_table_refuses_the_entry_and_keeps_the_others() {
    let line = format!("{{{}}}", (0..1000).map(|at| format!("\"{at}\":1")).collect::<Vec<_>>().join(","));
    let mut block = block_of(&[line.as_bytes(); 70], b"\n");
    let mut step = ParseJson::default();
    step.leave_room(100);
    assert_eq!(step.run_alone(&mut block, 0..70), 70 - FIELDS_MAX / 1100);
    let counts: Vec<_> = (0..70).map(|at| block.view(at).fields().count()).collect();
    assert_eq!(counts.iter().filter(|count| **count == 1000).count(), FIELDS_MAX / 1100);
    assert_eq!(counts.iter().filter(|count| **count == 0).count(), 70 - FIELDS_MAX / 1100);
}

#[test]
fn rows_left_free_are_used_by_the_next_step_and_earlier_fields_stay() {
    let mut block = block_of(&[br#"{"a":1}"#, br#"{"b":2}"#], b"\n");
    let mut step = ParseJson::default();
    step.leave_room(2);
    let name = |len| Slice { space: Space::Text, offset: 2, len };
    block.set_field(0, Field::new(name(0), name(1), Kind::Plain)).unwrap();
    assert_eq!(step.run_alone(&mut block, 0..2), 0);
    let first = block.entries()[0].fields_first;
    block.set_field(0, Field::new(name(3), name(1), Kind::Plain)).unwrap();
    let keys: Vec<_> = block.view(0).fields().map(|field| field.key().to_vec()).collect();
    assert_eq!(keys, [&b""[..], b"a", b"a\":"]);
    assert_eq!(block.entries()[0].fields_first, first);
    assert_eq!(block.view(1).field(b"b").unwrap().raw(), b"2");
}

#[test]
fn discarded_entries_are_not_parsed() {
    let mut block = block_of(&[b"{}x", br#"{"a":1}"#, b"{}x"], b"\n");
    block.discard(0);
    assert_eq!(ParseJson::default().run_alone(&mut block, 0..3), 1);
    assert_eq!(ParseJson::default().run_alone(&mut block, 0..2), 0);
}

/// JSON-like text: valid pieces in any order, mostly wrong as a whole.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\\", "\\\"", "\\\\", "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\n",
            " ", "\t", "\n", "true", "false", "null", "0", "-1", "1.5", "e9", "\"a\"", "\"b\":", "\"c\":1,", "é", "xxxxxxxx",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~\\\\\"]{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-c\\\\\"é]{0,3}", inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// An object, whole or cut short.
fn good_or_cut() -> impl Strategy<Value = Vec<u8>> {
    (json(), 0..200_usize).prop_map(|(value, cut)| {
        let mut line = format!("{{\"a\":{value},\"b\":{value}}}").into_bytes();
        line.truncate(if cut < 100 { line.len() } else { cut - 100 });
        line
    })
}

proptest! {
    #[test]
    fn soup_is_judged_as_serde_json_judges_it(soup in soup()) {
        compare(&soup);
        compare(&[b"{\"k\":\"v\",", &soup[..], b"}"].concat());
        compare(&[b"{\"k\":[", &soup[..], b"]}"].concat());
        compare(&[b"{\"k\":\"", &soup[..], b"\"}"].concat());
    }

    #[test]
    fn objects_are_read_as_serde_json_reads_them(members in prop::collection::vec((any::<String>(), json()), 0..12)) {
        let object = Value::Object(members.into_iter().collect());
        compare(object.to_string().as_bytes());
        compare(serde_json::to_string_pretty(&object).unwrap().as_bytes());
    }

    #[test]
    fn damaged_objects_are_judged_as_serde_json_judges_them(
        value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut line = format!("{{\"a\":{value},\"b\":{value}}}").into_bytes();
        let at = at.index(line.len());
        if cut { line.remove(at); } else { line[at] = byte; }
        compare(&line);
    }

    #[test]
    fn lines_read_together_are_read_as_lines_alone(
        lines in prop::collection::vec(prop_oneof![soup(), good_or_cut()], 1..12), newline in any::<bool>(),
    ) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let rows = |block: &Block, at| {
            let row = |field: FieldView| (field.key().to_vec(), field.raw().to_vec(), field.kind());
            block.view(at).fields().map(row).collect::<Vec<_>>()
        };
        let mut together = block_of(&lines, if newline { b"\n" } else { b"" });
        for step in ParseJson::all() {
            together.reset_side();
            let errors = step.run_alone(&mut together, 0..lines.len());
            let mut errors_alone = 0;
            for (at, line) in lines.iter().enumerate() {
                let mut alone = block_of(&[line], b"");
                errors_alone += usize::from(step.apply(&mut alone, 0).is_err());
                prop_assert_eq!(rows(&together, at), rows(&alone, 0));
            }
            prop_assert_eq!(errors, errors_alone);
        }
    }
}

#[test]
fn single_values_end_where_serde_json_says() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let many = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
    let cases = [
        r#"{"a":[1,2,{"b":null}]} , x"#,
        r#""plain" x"#,
        r#""e\"sc" x"#,
        "[]x",
        "{}",
        "-1.5e3,",
        "true]",
        "nul",
        "",
        "]",
        r#""open"#,
        r#"{"a":1"#,
        "\"\u{e9}\"",
        r#""\ud800""#,
        "[1,]",
        &deep(64),
        &deep(65),
        &many(100_000),
        &many(100_001),
    ];
    for isa in Values::all() {
        for case in cases {
            for lead in ["", "\"before\", "] {
                let text = format!("{lead}{case}");
                let ours = isa.read(text.as_bytes(), lead.len());
                let mut theirs = serde_json::Deserializer::from_str(case).into_iter::<serde_json::Value>();
                match (&ours, theirs.next()) {
                    (Ok(value), Some(Ok(_))) => {
                        assert_eq!(value.end, lead.len() + theirs.byte_offset(), "{case}")
                    }
                    (Err(Fault::Depth), _) => assert_eq!(case, deep(65)),
                    (Err(Fault::Values), _) => assert_eq!(case, many(100_001)),
                    // It wants to see what follows a number or word.
                    (Ok(value), _) => {
                        assert!(case.starts_with("-1") || case.starts_with("true"), "{case} {value:?}")
                    }
                    (Err(_), other) => assert!(!matches!(other, Some(Ok(_))), "{case:?}: {ours:?} {other:?}"),
                }
            }
        }
    }
    assert_eq!(Values::default().read(b"\"\xff\"", 0), Err(Fault::Encoding));
    assert_eq!(Values::default().read(b"1", 5), Err(Fault::Syntax));
}
