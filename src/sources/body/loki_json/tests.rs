//! Pushes in JSON against what `serde_json` makes of them, and pushes by nobody.

use super::super::Reader;
use super::super::testing::{Taken, take};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What is to be taken of a push of the right shape.
fn expected(push: &Value) -> Taken {
    let mut taken = Taken::default();
    for stream in push["streams"].as_array().unwrap() {
        let object = stream["stream"].as_object().unwrap();
        let labels: Vec<_> =
            object.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_string())).collect();
        for entry in stream["values"].as_array().unwrap() {
            taken.texts.push(entry[1].as_str().unwrap().to_string());
            taken.times.push(entry[0].as_str().unwrap().parse().ok());
            let pairs = entry.get(2).and_then(Value::as_object);
            let pairs = pairs.into_iter().flatten();
            let pairs = pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_string()));
            taken.with.push((labels.clone(), pairs.collect()));
        }
    }
    taken
}

fn push() -> impl Strategy<Value = Value> {
    let pairs = prop::collection::btree_map("[a-z\u{e9}\"\n]{1,4}", any::<String>(), 0..3);
    let entry =
        (any::<i64>(), any::<String>(), prop::option::of(pairs)).prop_map(
            |(time, line, pairs)| match pairs {
                Some(pairs) => json!([time.to_string(), line, pairs]),
                None => json!([time.to_string(), line]),
            },
        );
    let labels = prop::collection::btree_map("[a-z_][a-z0-9_]{0,3}", any::<String>(), 0..3);
    // serde_json writes members in the order of their names: with another one's name labels stand before or behind.
    let stream = (labels, prop::collection::vec(entry, 0..5), any::<(bool, bool)>()).prop_map(
        |(labels, values, (odd, more))| {
            let mut stream = json!({"stream": labels, "values": values});
            if odd {
                stream["a"] = json!({"stream": [1, {"x": "]}"}]});
            }
            if more {
                stream["z"] = json!("values");
            }
            stream
        },
    );
    prop::collection::vec(stream, 0..4).prop_map(|streams| json!({"streams": streams, "x": [[]], "a": null}))
}

/// The same push with the values of each stream before its labels.
fn turned(push: &Value) -> String {
    let streams = push["streams"].as_array().unwrap().iter();
    let streams = streams
        .map(|stream| format!("{{\"values\" : {} ,\n\"stream\":{}}}", stream["values"], stream["stream"]));
    format!(" {{ \"streams\" :\t[ {} ] }}\r\n", streams.collect::<Vec<_>>().join(" , "))
}

proptest! {
    #[test]
    fn a_push_is_read_as_serde_json_reads_it(push in push()) {
        let expected = expected(&push);
        prop_assert_eq!(&take(Reader::loki_json(), push.to_string().as_bytes()), &expected);
        prop_assert_eq!(&take(Reader::loki_json(), format!("{push:#}").as_bytes()), &expected);
        prop_assert_eq!(&take(Reader::loki_json(), turned(&push).as_bytes()), &expected);
    }

    #[test]
    fn a_damaged_push_is_refused_where_serde_json_refuses_it(push in push(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut text = push.to_string().into_bytes();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        let taken = take(Reader::loki_json(), &text);
        if serde_json::from_slice::<Value>(&text).is_err() {
            prop_assert!(!taken.refused.is_empty(), "{}", String::from_utf8_lossy(&text));
        } else if taken.refused.is_empty() {
            prop_assert!(taken.texts.len() <= expected(&push).texts.len());
        }
    }

    #[test]
    fn no_text_is_too_odd(text in "[{}\\[\\]\":,strea1mvlu\\\\ ]{0,40}") {
        take(Reader::loki_json(), text.as_bytes());
    }
}

#[test]
fn entries_that_are_none_are_named_and_the_others_taken() {
    let body = br#"{"streams": [
        {"stream": {"app": "x"}, "values": [
            ["1", "one"], ["x", "bad time"], [2, "number"], ["3"], ["4", 4], ["5", "meta", {"a": 1}],
            ["6", "list", []], ["7", "four", {}, 4], "no list", ["99999999999999999999", "late"], ["-8", "early"],
            ["", ""], ["1.5", ""], [1e3, ""], ["9", "last", {"k": "v"}] ]},
        7,
        {"values": [["1", "whose?"], ["2", "whose?"]]},
        {"stream": {"app": 1}, "values": [["1", "a"], ["2", "b"], ["3", "c"]]},
        {"stream": {"0": "x"}, "values": []},
        {"values": [["1", "a"]], "stream": {"0": "x"}},
        {"stream": {"only": "labels"}},
        {"stream": {"app": "y"}, "values": [["10", "end"]]} ]}"#;
    let taken = take(Reader::loki_json(), body);
    assert_eq!(taken.texts, ["one", "number", "early", "last", "end"]);
    assert_eq!(taken.times, [Some(1), Some(2), Some(-8), Some(9), Some(10)]);
    assert_eq!(taken.with[3].1, [("k".to_string(), "v".to_string())]);
    let short = "an entry is not [\"nanoseconds\", \"line\"] or [..., {metadata}]";
    let time = "a timestamp that is not nanoseconds since 1970, as a string of digits";
    let expected = [
        (2, time),
        (4, short),
        (5, "a line that is not a string"),
        (6, "structured metadata whose value is not a string"),
        (7, "structured metadata that is not an object"),
        (8, short),
        (9, short),
        (10, "a timestamp out of range"),
        (12, time),
        (13, time),
        (14, time),
    ];
    let mut told: Vec<_> = expected.map(|(entry, says)| format!("stream 1, entry {entry}: {says}")).into();
    told.extend(
        [
            "stream 2: a stream is not an object",
            "stream 3: the stream has no `stream` (2 entries)",
            "stream 4: a label whose value is not a string (3 entries)",
            "stream 5: a label name that is not [a-zA-Z_:][a-zA-Z0-9_:]*",
            "stream 6: a label name that is not [a-zA-Z_:][a-zA-Z0-9_:]*",
        ]
        .map(String::from),
    );
    assert_eq!(taken.refused, told);
}

#[test]
fn where_a_push_is_no_json_the_rest_is_given_up() {
    let begun = r#"{"streams":[{"stream":{"a":"b"},"values":[["1","x"]"#;
    for (rest, says) in [
        ("", "stream 1, entry 1: malformed JSON"),
        (",", "stream 1, entry 2: malformed JSON"),
        (",]}]}", "stream 1, entry 2: malformed JSON"),
        (",[\"2\",\"\\x\"]]}]}", "stream 1, entry 2: malformed JSON"),
        ("]", "stream 1: malformed JSON"),
        ("],\"stream\":{}}]}", "stream 1: `stream` stands there twice"),
        ("],\"values\":[]}]}", "stream 1: `values` stands there twice"),
        ("]}],\"streams\":[]}", "stream 1: `streams` stands there twice"),
        ("]}]}x", "stream 1: there is more behind the JSON object"),
        ("]}", "stream 1: malformed JSON"),
        ("]}]", "stream 1: malformed JSON"),
    ] {
        let taken = take(Reader::loki_json(), format!("{begun}{rest}").as_bytes());
        assert_eq!(taken.texts, ["x"], "{rest}");
        assert_eq!(taken.refused, [format!("{says}; nothing behind it was read")], "{rest}");
    }
    for (body, says) in [
        ("", "body: not a JSON object"),
        ("[]", "body: not a JSON object"),
        ("{}", "body: the push has no `streams`"),
        ("{\"streams\":{}}", "body: `streams` is not an array"),
        ("{\"streams\":[{\"values\":1}]}", "stream 1: `values` is not an array"),
        ("{\"streams\":[{\"stream\":[]}]}", "stream 1: `stream` is not an object"),
        ("{\"streams\"", "body: malformed JSON"),
        ("{streams:[]}", "body: malformed JSON"),
    ] {
        let taken = take(Reader::loki_json(), body.as_bytes());
        assert_eq!(taken.refused, [format!("{says}; nothing behind it was read")], "{body}");
    }
    assert_eq!(take(Reader::loki_json(), b"{\"streams\":[]}"), Taken::default());
}

#[test]
fn nesting_is_bounded_and_costs_no_stack() {
    let body = |levels: usize| {
        format!(
            "{{\"streams\":[{{\"stream\":{{}},\"values\":[[\"1\",{}1{}]]}}]}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert_eq!(take(Reader::loki_json(), body(60).as_bytes()).refused.len(), 1);
    for levels in [65, 1 << 20] {
        let refused = take(Reader::loki_json(), body(levels).as_bytes()).refused;
        assert_eq!(
            refused,
            ["stream 1, entry 1: JSON nested deeper than 64 levels; nothing behind it was read"]
        );
    }
}
