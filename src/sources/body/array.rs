//! A JSON array, each of whose items is an entry.

use super::ndjson::text;
use super::{Cursor, Found, Item, Metadata, Place, Refused, Why};
use crate::steps::parse::json::{Fault, Values, blank};

/// A place in a body that is one array.
///
/// An object becomes an entry as it is written, a string with what it says. An item that is something else is refused;
/// one that is no JSON takes the rest with it, as nobody knows where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    values: Values,
    item_max: usize,
    at: usize,
    item: u64,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Open,
    /// An item, or the end of an empty array.
    First,
    /// A comma, or the end.
    Comma,
    Nothing,
}

impl Array {
    /// The beginning of a body whose items have at most `item_max` bytes.
    pub fn new(values: Values, item_max: usize) -> Self {
        Array { values, item_max, at: 0, item: 0, next: Next::Open }
    }

    fn item<'b>(&mut self, body: &'b [u8]) -> Found<'b> {
        self.item += 1;
        let start = self.at;
        let value = match self.values.read(body, start) {
            Ok(value) => value,
            Err(fault) => return self.stop(Why::Json(fault)),
        };
        (self.at, self.next) = (value.end, Next::Comma);
        let text = match value.end - start > self.item_max {
            true => Err(Why::Long(self.item_max)),
            false => text(body, start..value.end, value.kind),
        };
        match text {
            Ok(text) => Found::Entry(Item { text, time: None, metadata: Metadata::default() }),
            Err(why) => Found::Refused(Refused::new(Place::Item(self.item), why)),
        }
    }

    fn stop<'b>(&mut self, why: Why) -> Found<'b> {
        self.next = Next::Nothing;
        let place = if self.item == 0 { Place::Body } else { Place::Item(self.item) };
        Found::Refused(Refused::rest(place, why))
    }

    fn end<'b>(&mut self, body: &[u8]) -> Option<Found<'b>> {
        self.next = Next::Nothing;
        (blank(body, self.at + 1).0 < body.len()).then(|| {
            let why = Why::Says("there is more behind the JSON array");
            Found::Refused(Refused { entries: 0, ..Refused::rest(Place::Body, why) })
        })
    }
}

impl Cursor for Array {
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        let byte;
        (self.at, byte) = blank(body, self.at);
        match (self.next, byte) {
            (Next::Nothing, _) => None,
            (Next::Open, b'[') => {
                (self.at, self.next) = (self.at + 1, Next::First);
                self.next(body)
            }
            (Next::Open, _) => Some(self.stop(Why::Says("not a JSON array"))),
            (Next::First | Next::Comma, b']') => self.end(body),
            (Next::First, _) => Some(self.item(body)),
            (Next::Comma, b',') => {
                self.at = blank(body, self.at + 1).0;
                Some(self.item(body))
            }
            (Next::Comma, _) => {
                self.item += 1;
                Some(self.stop(Why::Json(Fault::Syntax)))
            }
        }
    }
}

/// A place in a body that is one value: one entry, as an item of an array would be.
#[derive(Clone, Copy, Debug)]
pub struct One {
    values: Values,
    item_max: usize,
    done: bool,
}

impl One {
    /// The beginning of a body of at most `item_max` bytes.
    pub fn new(values: Values, item_max: usize) -> Self {
        One { values, item_max, done: false }
    }

    /// Whether `body` is one value over several lines, and not one a line.
    pub fn is_all_of(body: &[u8]) -> bool {
        let start = blank(body, 0).0;
        let end = Values::default().read(body, start).map(|value| value.end);
        end.is_ok_and(|end| blank(body, end).0 == body.len() && body[start..end].contains(&b'\n'))
    }
}

impl Cursor for One {
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let start = blank(body, 0).0;
        let value = self.values.read(body, start).map_err(Why::Json);
        let found = value.and_then(|value| match value.end - start > self.item_max {
            true => Err(Why::Long(self.item_max)),
            false => text(body, start..value.end, value.kind),
        });
        Some(match found {
            Ok(text) => Found::Entry(Item { text, time: None, metadata: Metadata::default() }),
            Err(why) => Found::Refused(Refused::new(Place::Body, why)),
        })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::Reader;
    use super::super::testing::{Taken, take};
    use super::One;

    #[test]
    fn items_are_taken_and_what_is_none_is_named() {
        let body = br#" [ {"a":[1,{"b":2}]} ,"t\"x", 5,{"long":"xxxxxxxxxxxxxxxxxxxxxx"}, {} ] "#;
        let Taken { texts, refused, .. } = take(Reader::array(24), body);
        assert_eq!(texts, [r#"{"a":[1,{"b":2}]}"#, "t\"x", "{}"]);
        assert_eq!(refused, ["item 3: neither a JSON object nor a string", "item 4: more than 24 bytes"]);
    }

    #[test]
    fn an_object_over_several_lines_is_one_entry() {
        let body = b"\n{\n \"a\": 1\n}\n";
        assert!(One::is_all_of(body));
        assert_eq!(take(Reader::one(99), body).texts, ["{\n \"a\": 1\n}"]);
        assert_eq!(take(Reader::one(5), body).refused, ["body: more than 5 bytes"]);
        for lines in ["", "{}", "{}\n{}", "{\n}\n{\n}", "{\n"] {
            assert!(!One::is_all_of(lines.as_bytes()), "{lines}");
        }
    }

    #[test]
    fn where_the_array_breaks_the_rest_is_given_up_and_what_came_before_is_not() {
        let lost = "; nothing behind it was read";
        for (body, texts, told) in [
            ("[]", 0, ""),
            ("", 0, "body: not a JSON array"),
            ("{}", 0, "body: not a JSON array"),
            ("[", 0, "item 1: malformed JSON"),
            ("[{}", 1, "item 2: malformed JSON"),
            ("[{},]", 1, "item 2: malformed JSON"),
            ("[{}{}]", 1, "item 2: malformed JSON"),
            ("[{},{\"a\"}]", 1, "item 2: malformed JSON"),
            ("[{}]]", 1, "body: there is more behind the JSON array"),
        ] {
            let taken = take(Reader::array(99), body.as_bytes());
            assert_eq!(taken.texts.len(), texts, "{body}");
            let told = if told.is_empty() { Vec::new() } else { vec![format!("{told}{lost}")] };
            assert_eq!(taken.refused, told, "{body}");
        }
    }

    #[test]
    fn nesting_is_bounded_whatever_it_is_made_of() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep =
                |levels: usize| format!("[{{\"a\":{}1{}}}]", open.repeat(levels), close.repeat(levels));
            assert_eq!(take(Reader::array(1 << 20), deep(63).as_bytes()).texts.len(), 1);
            let refused = take(Reader::array(1 << 20), deep(64).as_bytes()).refused;
            assert_eq!(refused, ["item 1: JSON nested deeper than 64 levels; nothing behind it was read"]);
            // The stack does not grow with it.
            assert_eq!(take(Reader::array(1 << 20), deep(1 << 20).as_bytes()).refused.len(), 1);
        }
    }
}
