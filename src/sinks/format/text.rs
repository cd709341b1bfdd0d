//! One line for people: `TIME SOURCE ORIGIN {NAME=VALUE,...} MESSAGE KEY=VALUE ...`.
//!
//! Words with a space or a sign of this format in them stand in quotes. The message is bare: to be read, not parsed.

use super::escape::{self, Bare, Quoted};
use super::timestamp::Timestamps;
use crate::block::{EntryView, FieldView};
use crate::entry::Kind;
use crate::labels::Stream;

/// What entries of `stream` have between their time and their message.
pub(super) fn write_head(stream: &Stream, out: &mut Vec<u8>) {
    out.push(b' ');
    write_word(stream.source_name.as_bytes(), out);
    out.push(b' ');
    write_word(stream.origin.as_bytes(), out);
    out.extend_from_slice(b" {");
    for (at, (name, value)) in stream.labels.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_word(name.as_bytes(), out);
        out.push(b'=');
        write_word(value.as_bytes(), out);
    }
    out.extend_from_slice(b"} ");
}

/// Appends `entry`, whose stream has this `head`.
pub(super) fn write(entry: EntryView<'_>, times: &mut Timestamps, head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(times.write(entry.time()));
    out.extend_from_slice(head);
    escape::write::<Bare>(entry.text(), out);
    for field in entry.fields() {
        out.push(b' ');
        write_field(field, out);
    }
    out.push(b'\n');
}

fn write_field(field: FieldView<'_>, out: &mut Vec<u8>) {
    match field.key_escaped() {
        true => write_escaped(field.key(), out),
        false => write_word(field.key(), out),
    }
    out.push(b'=');
    match field.kind() {
        Kind::Plain => write_word(field.raw(), out),
        Kind::Escaped => write_escaped(field.raw(), out),
        Kind::Number | Kind::Bool | Kind::Null => out.extend_from_slice(field.raw()),
        Kind::Json => escape::write_value(field.raw(), out),
    }
}

fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape::write_escaped(bytes, out);
    out.push(b'"');
}

/// A word as it is, or in quotes where it could be taken for something else.
fn write_word(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain =
        |byte: &u8| *byte > b' ' && !matches!(byte, b'"' | b'\\' | b'=' | b',' | b'{' | b'}' | 0x7f);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        // What is beyond ASCII may still be a control character or no UTF-8.
        return escape::write::<Bare>(bytes, out);
    }
    out.push(b'"');
    escape::write::<Quoted>(bytes, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use crate::sinks::format::{Encoder, Format};
    use crate::sinks::testing::{add_fields, block_of, stream};

    #[test]
    fn a_line_says_everything_known_and_nothing_to_the_terminal() {
        let stream = stream("app", "/var/log/my app.log", &[("env", "prod"), ("job", "")]);
        let mut block = block_of(&stream, &[b"bad\n\x1b]0;title\x07 \"line\"".as_slice(), b"plain"]);
        block.stamp(1_767_323_045_123_456_789);
        add_fields(&mut block, 1);
        let mut out = Vec::new();
        Encoder::new(Format::Text).encode(&block, &stream, 0..2, &mut out);
        let head = r#"app "/var/log/my app.log" {env=prod,job=""}"#;
        let fields = r#"plain="a\"b" escaped="tab\tq\"" number=-1.5e3 bool=true null=null"#;
        let expected = [
            format!(r#"2026-01-02T03:04:05.123456789Z {head} bad\n\x1b]0;title\x07 "line""#),
            format!(
                r#"2026-01-02T03:04:05.123456790Z {head} plain {fields} json={{"a": [1,  {{"b":"c"}}]}} "esc\"key"=v"#
            ),
        ];
        assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), expected);
    }
}
