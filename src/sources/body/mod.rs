//! What stands inside of request bodies: entries, found one by one.
//!
//! A body is [inflated](inflate) whole, within its limits; then a [`Reader`] walks over it and finds entries as spans of
//! its bytes: nothing is built, copied or allocated per entry. A reader is a place in the body, no more: it can be put
//! aside at any entry while there is no room further down, and go on later.
//!
//! What is wrong with one entry is said of that entry, and the others are taken all the same. Only where the bytes no
//! longer say where the next one begins does a reader give up the rest.
//! Not here: HTTP, and whose entries they become.

pub mod array;
pub mod inflate;
pub mod labels;
pub mod lines;
pub mod loki_json;
pub mod loki_proto;
pub mod metadata;
pub mod ndjson;
pub mod put;
pub mod refused;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod testing;

use crate::entry::Kind;
use crate::steps::parse::json::Values;
pub use labels::LabelText;
pub use metadata::Metadata;
pub use put::{fits, put, room};
pub use refused::{Place, Refusals, Refused, Why};

/// An entry, as spans of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'b> {
    /// What it says.
    pub text: Text<'b>,
    /// When it was said, in nanoseconds since 1970-01-01 UTC, if the body tells.
    pub time: Option<i64>,
    /// What else the body tells of it.
    pub metadata: Metadata<'b>,
}

/// An entry's text, as its body writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'b> {
    /// As it stands.
    Plain(&'b [u8]),
    /// The inside of a valid JSON string with escapes.
    Escaped(&'b [u8]),
}

impl<'b> Text<'b> {
    /// The string of `body` between the quotes at both ends of `span`, which was read as `kind`.
    fn inside(body: &'b [u8], span: std::ops::Range<usize>, kind: Kind) -> Self {
        let inside = &body[span.start + 1..span.end - 1];
        if kind == Kind::Escaped { Text::Escaped(inside) } else { Text::Plain(inside) }
    }

    /// How many bytes it has as written: no fewer than it will have.
    pub fn written_len(self) -> usize {
        match self {
            Text::Plain(bytes) | Text::Escaped(bytes) => bytes.len(),
        }
    }
}

/// What a reader comes upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'b> {
    /// The entries from here on belong to the stream with these labels.
    Stream(LabelText<'b>),
    /// An entry.
    Entry(Item<'b>),
    /// Something that is not taken, and why.
    Refused(Refused),
}

/// A place in a body. Always given the same body.
pub trait Cursor: Copy {
    /// The next thing in `body`, or `None` at its end.
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>>;

    /// Passes over the stream it has just found, which is not taken because of `why`, and says what that was.
    fn pass_over(&mut self, _body: &[u8], why: Why) -> Refused {
        Refused::new(Place::Body, why)
    }
}

/// Whoever takes the entries of a body.
pub trait EntryOut {
    /// Entries from here on belong to the stream with these labels.
    ///
    /// Errors: it cannot be; its entries are passed over.
    fn stream(&mut self, labels: LabelText<'_>) -> Result<(), Why>;

    /// Takes an entry.
    ///
    /// Errors: there is no room; nothing of it was taken, and it comes again.
    fn entry(&mut self, item: &Item<'_>) -> Result<(), Full>;

    /// Something of the body is not taken.
    fn refused(&mut self, refused: Refused);
}

/// There is no room now for what was to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How the entries of a body are written.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// A line each.
    Lines(lines::Lines),
    /// A JSON value a line.
    Ndjson(ndjson::Ndjson),
    /// The items of a JSON array.
    Array(array::Array),
    /// One JSON value.
    One(array::One),
    /// A push to Loki, in JSON.
    LokiJson(loki_json::LokiJson),
    /// A push to Loki, in protobuf.
    LokiProto(loki_proto::LokiProto),
}

impl Reader {
    /// A line each, of any bytes.
    pub fn lines() -> Self {
        Reader::Lines(lines::Lines::default())
    }

    /// A JSON value a line, of at most `item_max` bytes.
    pub fn ndjson(item_max: usize) -> Self {
        Reader::Ndjson(ndjson::Ndjson::new(Values::default(), item_max))
    }

    /// The items of a JSON array, each of at most `item_max` bytes.
    pub fn array(item_max: usize) -> Self {
        Reader::Array(array::Array::new(Values::default(), item_max))
    }

    /// One JSON value, of at most `item_max` bytes.
    pub fn one(item_max: usize) -> Self {
        Reader::One(array::One::new(Values::default(), item_max))
    }

    /// A push to Loki, in JSON.
    pub fn loki_json() -> Self {
        Reader::LokiJson(loki_json::LokiJson::new(Values::default()))
    }

    /// A push to Loki, in protobuf.
    pub fn loki_proto() -> Self {
        Reader::LokiProto(loki_proto::LokiProto::default())
    }

    /// Gives what is in `body` to `out`, from where it stopped before. True when that was all; false when `out` is full
    /// and should be given the rest later.
    pub fn pour(&mut self, body: &[u8], out: &mut impl EntryOut) -> bool {
        match self {
            Reader::Lines(lines) => pour(lines, body, out),
            Reader::Ndjson(ndjson) => pour(ndjson, body, out),
            Reader::Array(array) => pour(array, body, out),
            Reader::One(one) => pour(one, body, out),
            Reader::LokiJson(push) => pour(push, body, out),
            Reader::LokiProto(push) => pour(push, body, out),
        }
    }
}

fn pour(cursor: &mut impl Cursor, body: &[u8], out: &mut impl EntryOut) -> bool {
    loop {
        let before = *cursor;
        match cursor.next(body) {
            Some(Found::Entry(item)) => {
                if out.entry(&item).is_err() {
                    *cursor = before;
                    return false;
                }
            }
            Some(Found::Stream(labels)) => {
                if let Err(why) = out.stream(labels) {
                    out.refused(cursor.pass_over(body, why));
                }
            }
            Some(Found::Refused(refused)) => out.refused(refused),
            None => return true,
        }
    }
}
