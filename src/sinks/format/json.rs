//! One JSON object (RFC 8259) per line, always with the same six members.

use super::escape::{self, Json};
use super::timestamp::Timestamps;
use crate::block::{EntryView, FieldView};
use crate::entry::Kind;
use crate::labels::Stream;

/// What entries of `stream` have between the digits of their time and their message.
pub(super) fn write_head(stream: &Stream, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"source\":");
    write_string(stream.source_name.as_bytes(), out);
    out.extend_from_slice(b",\"origin\":");
    write_string(stream.origin.as_bytes(), out);
    out.extend_from_slice(b",\"labels\":{");
    for (at, (name, value)) in stream.labels.iter().enumerate() {
        separate(at, out);
        write_string(name.as_bytes(), out);
        out.push(b':');
        write_string(value.as_bytes(), out);
    }
    out.extend_from_slice(b"},\"message\":\"");
}

/// Appends `entry`, whose stream has this `head`. A field that is named twice is written twice: the last one counts.
pub(super) fn write(entry: EntryView<'_>, times: &mut Timestamps, head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(times.write(entry.time()));
    out.extend_from_slice(head);
    escape::write::<Json>(entry.text(), out);
    out.extend_from_slice(b"\",\"fields\":{");
    for (at, field) in entry.fields().enumerate() {
        separate(at, out);
        write_field(field, out);
    }
    out.extend_from_slice(b"}}\n");
}

fn write_field(field: FieldView<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    match field.key_escaped() {
        true => escape::write_escaped(field.key(), out),
        false => escape::write::<Json>(field.key(), out),
    }
    out.extend_from_slice(b"\":");
    match field.kind() {
        Kind::Plain => write_string(field.raw(), out),
        Kind::Escaped => {
            out.push(b'"');
            escape::write_escaped(field.raw(), out);
            out.push(b'"');
        }
        Kind::Number | Kind::Bool | Kind::Null => out.extend_from_slice(field.raw()),
        Kind::Json => escape::write_value(field.raw(), out),
    }
}

fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape::write::<Json>(bytes, out);
    out.push(b'"');
}

fn separate(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use crate::block::Block;
    use crate::sinks::format::{Encoder, Format};
    use crate::sinks::testing::{add_fields, block_of, stream};
    use serde_json::json;

    fn encoded(block: &Block) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(Format::Json), Vec::new());
        for place in 0..block.entries().len() {
            encoder.encode(block, block.stream_of(place), place..place + 1, &mut out);
        }
        out
    }

    #[test]
    fn an_entry_is_an_object_with_everything_known_of_it() {
        let stream = stream("app", "/var/log/a \"b\".log", &[("job", "x\ty"), ("env", "prod")]);
        let mut block = block_of(&stream, &[b"hello \"\xffworld\"\n".as_slice(), b""]);
        block.stamp(1_767_323_045_000_000_000);
        add_fields(&mut block, 0);
        let out = encoded(&block);
        let lines: Vec<serde_json::Value> = out
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let labels = json!({ "job": "x\ty", "env": "prod" });
        let fields = json!({
            "plain": "a\"b", "escaped": "tab\tq\"", "number": -1.5e3, "bool": true, "null": null,
            "json": { "a": [1, { "b": "c" }] }, "esc\"key": "v"
        });
        let origin = "/var/log/a \"b\".log";
        assert_eq!(
            lines[0],
            json!({ "time": "2026-01-02T03:04:05.000000000Z", "source": "app", "origin": origin, "labels": labels,
                "message": "hello \"\u{fffd}world\"\n", "fields": fields })
        );
        assert_eq!(
            lines[1],
            json!({ "time": "2026-01-02T03:04:05.000000001Z", "source": "app", "origin": origin, "labels": labels,
                "message": "", "fields": {} })
        );
    }

    #[test]
    fn each_stream_keeps_its_own_head() {
        let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
        let (first, second) = (block_of(&a, &[b"x"]), block_of(&b, &[b"y"]));
        let (mut encoder, mut out) = (Encoder::new(Format::Json), Vec::new());
        for (block, stream) in [(&first, &a), (&second, &b), (&first, &a)] {
            encoder.encode(block, stream, 0..1, &mut out);
        }
        let out = String::from_utf8(out).unwrap();
        let sources: Vec<_> = out.lines().map(|line| line.split('"').nth(7).unwrap()).collect();
        assert_eq!(sources, ["a", "b", "a"]);
    }
}
