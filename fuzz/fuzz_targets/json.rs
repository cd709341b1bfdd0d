//! Any lines: each is accepted, refused and read as `serde_json` does it, by every way of marking words, whatever its
//! neighbours are. What we refuse beyond that, and accept beyond that, is written in `steps::parse::json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::block::EntryView;
use ringmain::block::{Block, ENTRIES_MAX};
use ringmain::entry::{Entry, Kind, unescape};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::steps::Step;
use ringmain::steps::parse::json::ParseJson;
use serde_json::{Map, Value};
use std::sync::Arc;

// A line ends at 0x1e, so that newlines can be whitespace inside of one; between entries stands what the first byte
// says: nothing, or a newline.
fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let mut block = Block::new(rest.len().max(1) * 2);
    let stream = Stream::new(SourceId(0), "s".into(), "fuzz", "o", Labels::default());
    block.begin_run(&Arc::new(stream));
    let lines: Vec<&[u8]> = rest.split(|byte| *byte == 0x1e).take(ENTRIES_MAX).collect();
    for line in &lines {
        let offset = block.append(line).expect("room");
        block.push(Entry::at(offset, line.len() as u32));
        if first & 1 == 1 {
            block.append(b"\n").expect("room");
        }
    }
    for step in ParseJson::all() {
        block.reset_side();
        let refused = step.run_alone(&mut block, 0..lines.len());
        let mut refused_alone = 0;
        for (at, line) in lines.iter().enumerate() {
            // Once more it would read the field of this name.
            if block.view(at).fields().any(|field| text(field.key(), field.key_escaped()) == "message") {
                judge(line, None, block.view(at));
                continue;
            }
            let fields: Vec<_> = block.fields_of(at).to_vec();
            let alone = step.apply(&mut block, at).map_err(|error| error.to_string());
            refused_alone += usize::from(alone.is_err());
            // Parsing again puts the same rows behind those of the first time.
            assert_eq!(&block.fields_of(at)[..fields.len()], &fields[..]);
            judge(line, alone.err().as_deref(), block.view(at));
        }
        assert_eq!(refused, refused_alone);
    }
});

fn judge(line: &[u8], refused: Option<&str>, view: EntryView<'_>) {
    match (refused, serde_json::from_slice::<Value>(line)) {
        (None, Ok(Value::Object(theirs))) => assert_eq!(read_back(view), theirs),
        (None, Err(error)) => assert!(error.to_string().contains("out of range"), "accepted, but {error}"),
        (None, Ok(other)) => panic!("accepted, but it is {other}"),
        (Some(fault), Ok(Value::Object(_))) => {
            let limits = ["64 levels", "1000 members", "1024 bytes", "100000 values"];
            assert!(limits.iter().any(|limit| fault.contains(limit)), "refused: {fault}");
        }
        (Some(_), _) => assert_eq!(view.fields().count(), 0),
    }
}

fn text(raw: &[u8], escaped: bool) -> String {
    assert_eq!(escaped, raw.contains(&b'\\'));
    let bytes = if escaped { unescape(raw).expect("checked escapes") } else { raw.to_vec() };
    String::from_utf8(bytes).expect("checked UTF-8")
}

/// The fields as `serde_json` values, the last of equal keys.
fn read_back(view: EntryView<'_>) -> Map<String, Value> {
    let pairs = view.fields().map(|field| {
        let value = match field.kind() {
            Kind::Plain => Value::String(text(field.raw(), false)),
            Kind::Escaped => Value::String(text(field.raw(), true)),
            kind => {
                let value: Value = serde_json::from_slice(field.raw()).expect("checked JSON");
                let expected = match value {
                    Value::Null => Kind::Null,
                    Value::Bool(_) => Kind::Bool,
                    Value::Number(_) => Kind::Number,
                    Value::Array(_) | Value::Object(_) => Kind::Json,
                    Value::String(_) => Kind::Plain,
                };
                assert_eq!(kind, expected);
                value
            }
        };
        (text(field.key(), field.key_escaped()), value)
    });
    pairs.collect()
}
