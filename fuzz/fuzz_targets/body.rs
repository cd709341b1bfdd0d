//! Any bytes as a body of lines, JSON lines, a JSON array or a push to Loki in JSON: what is taken, refused and said is
//! what `serde_json` makes of it, but for the limits the refusal names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::sources::body::{Place, Reader, Refused};
use ringmain_fuzz::oracle_body::{loki, value};
use ringmain_fuzz::taking::{Outcome, TEXT_MAX, take};
use serde_json::Value;
use std::collections::BTreeMap;

/// What we refuse and `serde_json` does not.
const LIMITS: [&str; 3] = ["64 levels", "100000 values", "bytes"];

// The first byte says what it is read as.
fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    match first % 4 {
        0 => lines(body),
        1 => ndjson(body),
        2 => array(body),
        _ => push(body),
    }
});

fn lines(body: &[u8]) {
    let Outcome { taken, refused } = take(Reader::lines(), body);
    let mut again: Vec<u8> = taken.iter().flat_map(|entry| [&entry.text[..], b"\n"].concat()).collect();
    if !body.is_empty() && !body.ends_with(b"\n") {
        again.pop();
    }
    assert!(again == body && refused.is_empty());
}

fn is_limit(refused: &Refused) -> bool {
    let says = refused.why.to_string();
    LIMITS.iter().any(|limit| says.contains(limit))
}

/// Whether `text` is the entry that a value becomes.
fn is_entry(value: &Value, text: &[u8]) -> bool {
    match value {
        Value::Object(_) => serde_json::from_slice::<Value>(text).is_ok_and(|read| read == *value),
        Value::String(said) => said.as_bytes() == text,
        _ => false,
    }
}

fn ndjson(body: &[u8]) {
    let Outcome { taken, refused } = take(Reader::ndjson(TEXT_MAX), body);
    let (mut taken, mut refused) = (taken.into_iter(), refused.into_iter().peekable());
    for (line, at) in body.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match (refused.next_if(|refused| refused.place == Place::Line(at)), value(line)) {
            (Some(refused), read) => {
                let entry = matches!(read, Ok(Value::Object(_) | Value::String(_)));
                assert!(!entry || is_limit(&refused), "{refused}");
            }
            (None, read) => {
                let text = taken.next().expect("taken or refused").text;
                match read {
                    Ok(value) => assert!(is_entry(&value, &text), "{value}"),
                    Err(out_of_range) => assert!(out_of_range && text == line),
                }
            }
        }
    }
    assert!(taken.next().is_none() && refused.next().is_none());
}

fn array(body: &[u8]) {
    let Outcome { taken, refused } = take(Reader::array(TEXT_MAX), body);
    let whole = refused.iter().all(|refused| !refused.rest);
    match value(body) {
        Ok(Value::Array(items)) => {
            let (mut taken, mut refused) = (taken.iter(), refused.iter().peekable());
            for (item, at) in items.iter().zip(1..) {
                match refused.next_if(|refused| refused.place == Place::Item(at)) {
                    Some(refused) if refused.rest => return assert!(is_limit(refused), "{refused}"),
                    Some(refused) => assert!(is_limit(refused) || !(item.is_object() || item.is_string())),
                    None => assert!(is_entry(item, &taken.next().expect("taken or refused").text)),
                }
            }
            assert!(taken.next().is_none() && refused.next().is_none());
        }
        Ok(_) => assert!(taken.is_empty() && !whole),
        Err(out_of_range) => assert!(!whole || out_of_range),
    }
}

fn push(body: &[u8]) {
    let Outcome { taken, refused } = take(Reader::loki_json(), body);
    let read = value(body);
    if let (true, Err(out_of_range)) = (refused.is_empty(), &read) {
        assert!(out_of_range, "not JSON, and taken");
    }
    let Some(pushed) = read.ok().as_ref().and_then(loki) else { return };
    if let Some(refused) = refused.first() {
        // Names with escapes, names twice, names that are none: more than there is in a push.
        let more = ["label", "metadata", "twice", "stream", "timestamp"];
        let says = refused.why.to_string();
        assert!(is_limit(refused) || more.iter().any(|more| says.contains(more)), "{refused}");
        return;
    }
    // With an escaped name, `serde_json` may know a second member of the same name.
    if body.contains(&b'\\') && taken.len() != pushed.len() {
        return;
    }
    assert_eq!(taken.len(), pushed.len());
    for (taken, pushed) in taken.iter().zip(&pushed) {
        assert_eq!((taken.time, &taken.text[..]), (Some(pushed.time), pushed.text.as_bytes()));
        let metadata: BTreeMap<_, _> = taken.fields.iter().cloned().collect();
        let labels: BTreeMap<_, _> = taken.labels.iter().cloned().collect();
        assert!(body.contains(&b'\\') || (metadata == pushed.metadata && labels == pushed.labels));
    }
}
