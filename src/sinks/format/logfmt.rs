//! One line of `name=value` words for programs: `time= source= origin= LABEL=... msg= FIELD=...`.
//!
//! A value with a space or a sign of this format stands in quotes, escaped as in JSON; in names they become `_`.

use super::escape::{self, Json};
use super::timestamp::Timestamps;
use crate::block::{EntryView, FieldView};
use crate::entry::Kind;
use crate::labels::Stream;

/// What entries of `stream` have between the digits of their time and their message.
pub(super) fn write_head(stream: &Stream, out: &mut Vec<u8>) {
    out.extend_from_slice(b" source=");
    write_value(stream.source_name.as_bytes(), out);
    out.extend_from_slice(b" origin=");
    write_value(stream.origin.as_bytes(), out);
    for (name, value) in stream.labels.iter() {
        out.push(b' ');
        write_name(name.as_bytes(), out);
        out.push(b'=');
        write_value(value.as_bytes(), out);
    }
    out.extend_from_slice(b" msg=");
}

/// Appends `entry`, whose stream has this `head`.
pub(super) fn write(entry: EntryView<'_>, times: &mut Timestamps, head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"time=");
    out.extend_from_slice(times.write(entry.time()));
    out.extend_from_slice(head);
    write_value(entry.text(), out);
    for field in entry.fields() {
        out.push(b' ');
        write_field(field, out);
    }
    out.push(b'\n');
}

fn write_field(field: FieldView<'_>, out: &mut Vec<u8>) {
    write_name(field.key(), out);
    out.push(b'=');
    match field.kind() {
        Kind::Plain | Kind::Json => write_value(field.raw(), out),
        Kind::Escaped => {
            out.push(b'"');
            escape::write_escaped(field.raw(), out);
            out.push(b'"');
        }
        Kind::Number | Kind::Bool | Kind::Null => out.extend_from_slice(field.raw()),
    }
}

fn write_name(name: &[u8], out: &mut Vec<u8>) {
    let letter = |byte: &u8| match byte {
        0..=b' ' | b'=' | b'"' | b'\\' | 0x7f.. => b'_',
        byte => *byte,
    };
    out.extend(name.iter().map(letter));
    if name.is_empty() {
        out.push(b'_');
    }
}

fn write_value(value: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| (b'!'..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\' | b'=');
    if !value.is_empty() && value.iter().all(is_plain) {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    escape::write::<Json>(value, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use crate::sinks::format::{Encoder, Format};
    use crate::sinks::testing::{add_fields, block_of, stream};

    #[test]
    fn an_entry_is_words_that_can_be_told_apart() {
        let stream = stream("app", "/var/log/my app.log", &[("env", "prod"), ("job", "")]);
        let mut block = block_of(&stream, &[b"bad\n \"line\" \xff".as_slice(), b"plain"]);
        block.stamp(1_767_323_045_123_456_789);
        add_fields(&mut block, 1);
        let mut out = Vec::new();
        Encoder::new(Format::Logfmt).encode(&block, &stream, 0..2, &mut out);
        let head = r#"source=app origin="/var/log/my app.log" env=prod job="""#;
        let fields = r#"plain="a\"b" escaped="tab\tq\"" number=-1.5e3 bool=true null=null"#;
        let json = r#"json="{\"a\": [1,\n\t{\"b\":\"c\"}]}""#;
        let expected = [
            format!("time=2026-01-02T03:04:05.123456789Z {head} msg=\"bad\\n \\\"line\\\" \u{fffd}\""),
            format!("time=2026-01-02T03:04:05.123456790Z {head} msg=plain {fields} {json} esc__key=v"),
        ];
        assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), expected);
    }
}
