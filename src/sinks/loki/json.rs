//! A push as JSON: `{"streams":[{"stream":{...},"values":[["NANOSECONDS","line",{...}],...]},...]}`.

use super::push::Shape;
use crate::sinks::format::write_json_text;
use std::io::Write;

/// Writes pushes as JSON.
#[derive(Default)]
pub(super) struct Json;

impl Shape for Json {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"streams\":[");
    }

    fn open_stream<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
        if out.last() == Some(&b'}') {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"stream\":{");
        for (at, (name, value)) in labels.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.pair(name.as_bytes(), value.as_bytes(), out);
            // The pair's own comma.
            out.pop();
        }
        out.extend_from_slice(b"},\"values\":[");
    }

    fn pair(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        out.push(b'"');
        write_json_text(name, out);
        out.extend_from_slice(b"\":\"");
        write_json_text(value, out);
        out.extend_from_slice(b"\",");
    }

    fn entry(&mut self, time: i64, line: &[u8], shared: &[u8], own: &[u8], out: &mut Vec<u8>) {
        if out.last() == Some(&b']') {
            out.push(b',');
        }
        out.extend_from_slice(b"[\"");
        // Writing to a vector cannot fail.
        let _ = write!(out, "{time}");
        out.extend_from_slice(b"\",\"");
        write_json_text(line, out);
        out.push(b'"');
        if !(shared.is_empty() && own.is_empty()) {
            out.extend_from_slice(b",{");
            out.extend_from_slice(shared);
            out.extend_from_slice(own);
            out.pop();
            out.push(b'}');
        }
        out.push(b']');
    }

    fn close_stream(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}");
    }
}
