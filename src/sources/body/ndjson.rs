//! JSON values, one a line (<https://github.com/ndjson/ndjson-spec>): a line that is none costs nobody else anything.

use super::{Cursor, Found, Item, Metadata, Place, Refused, Text, Why};
use crate::entry::Kind;
use crate::steps::parse::json::{Fault, Values, blank};

/// What neither an object nor a string is told.
pub(super) const NO_ENTRY: Why = Why::Says("neither a JSON object nor a string");

/// A place in a body of JSON lines.
///
/// An object becomes an entry as it is written, a string with what it says. Blank lines are counted and passed over.
#[derive(Clone, Copy, Debug)]
pub struct Ndjson {
    values: Values,
    item_max: usize,
    at: usize,
    line: u64,
}

impl Ndjson {
    /// The beginning of a body whose lines have at most `item_max` bytes.
    pub fn new(values: Values, item_max: usize) -> Self {
        Ndjson { values, item_max, at: 0, line: 0 }
    }
}

impl Cursor for Ndjson {
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        loop {
            let rest = body.get(self.at..).filter(|rest| !rest.is_empty())?;
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.at += len + 1;
            self.line += 1;
            let line = rest[..len].trim_ascii();
            if !line.is_empty() {
                let refused = |why| Refused::new(Place::Line(self.line), why);
                return Some(match entry(self.values, line, self.item_max) {
                    Ok(text) => Found::Entry(Item { text, time: None, metadata: Metadata::default() }),
                    Err(why) => Found::Refused(refused(why)),
                });
            }
        }
    }
}

fn entry(values: Values, line: &[u8], item_max: usize) -> Result<Text<'_>, Why> {
    if line.len() > item_max {
        return Err(Why::Long(item_max));
    }
    let value = values.read(line, 0).map_err(Why::Json)?;
    if blank(line, value.end).0 < line.len() {
        return Err(Why::Json(Fault::Syntax));
    }
    text(line, 0..value.end, value.kind)
}

/// The value at `span` of `body` as an entry's text.
pub(super) fn text(body: &[u8], span: std::ops::Range<usize>, kind: Kind) -> Result<Text<'_>, Why> {
    match (body[span.start], kind) {
        (b'{', _) => Ok(Text::Plain(&body[span])),
        (_, Kind::Plain | Kind::Escaped) => Ok(Text::inside(body, span, kind)),
        _ => Err(NO_ENTRY),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::Reader;
    use super::super::testing::{Taken, take};
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn good_lines_are_taken_and_bad_ones_named() {
        let body = b" {\"a\": 1} \r\n\n\"text\\n\\u00e9\"\nnope\n[1]\n{\"a\":1}}\n{\"long\":\"xxxxxxxxxxxxxxxxxxx\"}\n{}";
        let Taken { texts, refused, .. } = take(Reader::ndjson(24), body);
        assert_eq!(texts, ["{\"a\": 1}", "text\n\u{e9}", "{}"]);
        assert_eq!(
            refused,
            [
                "line 4: malformed JSON",
                "line 5: neither a JSON object nor a string",
                "line 6: malformed JSON",
                "line 7: more than 24 bytes"
            ]
        );
        assert_eq!(take(Reader::ndjson(9), b"").texts.len(), 0);
    }

    proptest! {
        #[test]
        fn lines_are_taken_as_serde_json_takes_them(lines in prop::collection::vec(line(), 0..20)) {
            let body = lines.join("\n");
            let (mut texts, mut bad) = (Vec::new(), Vec::new());
            for (at, line) in body.split('\n').enumerate() {
                match serde_json::from_str::<Value>(line) {
                    _ if line.trim_ascii().is_empty() => {}
                    Ok(Value::Object(_)) => texts.push(line.trim_ascii().to_string()),
                    Ok(Value::String(text)) => texts.push(text),
                    _ => bad.push(format!("line {}", at + 1)),
                }
            }
            let taken = take(Reader::ndjson(1 << 20), body.as_bytes());
            prop_assert_eq!(taken.texts, texts);
            let places: Vec<_> = taken.refused.iter().map(|told| told.split(':').next().unwrap_or("")).collect();
            prop_assert_eq!(places, bad);
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let json = any::<Vec<(String, f64)>>().prop_map(|pairs| {
            Value::Object(pairs.into_iter().map(|(key, value)| (key, value.into())).collect()).to_string()
        });
        prop_oneof![
            json,
            any::<String>().prop_map(|text| Value::String(text).to_string()),
            "[ \\[\\]{}\",:0-9a\\\\]{0,12}",
            Just(String::new()),
        ]
    }
}
