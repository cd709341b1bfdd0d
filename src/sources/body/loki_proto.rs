//! A push to Loki as its clients send it: `logproto.PushRequest` in protobuf.
//!
//! Of the messages only what a push carries is read, whatever the order of their fields; other fields are passed over
//! (<https://github.com/grafana/loki/blob/main/pkg/push/push.proto>,
//! <https://protobuf.dev/programming-guides/encoding/>):
//! `PushRequest { repeated Stream streams = 1 }`, `Stream { string labels = 1; repeated Entry entries = 2 }`,
//! `Entry { Timestamp timestamp = 1; string line = 2; repeated Pair structuredMetadata = 3 }`,
//! `Timestamp { int64 seconds = 1; int32 nanos = 2 }`, `Pair { string name = 1; string value = 2 }`.

use super::{Cursor, Found, Item, LabelText, Metadata, Place, Refused, Text, Why};

/// A place in a push.
#[derive(Clone, Copy, Debug, Default)]
pub struct LokiProto {
    at: usize,
    /// How many streams were begun.
    streams: u64,
    /// How many entries of this stream were begun.
    entries: u64,
    /// The rest of the stream it is in; empty between streams.
    stream: (usize, usize),
}

/// The bytes are no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

const BROKEN: Why = Why::Says("malformed protobuf");

/// A field of a message, where it matters: a number, or the span of bytes.
enum Field {
    Number(u32, u64),
    Bytes(u32, usize, usize),
    Other,
}

/// Reads the field at `at` of a message that ends at `end`: it, and where the next one begins.
fn field(body: &[u8], at: usize, end: usize) -> Result<(Field, usize), Broken> {
    let (tag, at) = varint(body, at, end)?;
    let number = u32::try_from(tag >> 3).map_err(|_| Broken)?;
    if number == 0 {
        return Err(Broken);
    }
    let fixed = |len: usize| if end - at >= len { Ok((Field::Other, at + len)) } else { Err(Broken) };
    match tag & 7 {
        0 => {
            let (value, at) = varint(body, at, end)?;
            Ok((Field::Number(number, value), at))
        }
        1 => fixed(8),
        2 => {
            let (len, at) = varint(body, at, end)?;
            let len = usize::try_from(len).ok().filter(|len| *len <= end - at).ok_or(Broken)?;
            Ok((Field::Bytes(number, at, at + len), at + len))
        }
        5 => fixed(4),
        // Groups: nobody has sent them since 2008.
        _ => Err(Broken),
    }
}

/// Reads the number at `at` of a message that ends at `end`: it, and what follows it.
#[inline]
fn varint(body: &[u8], at: usize, end: usize) -> Result<(u64, usize), Broken> {
    let bytes = &body[at..end];
    match bytes.first() {
        Some(byte) if *byte < 0x80 => return Ok((u64::from(*byte), at + 1)),
        _ => {}
    }
    let mut value = 0;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        let seven = u64::from(byte & 0x7f);
        // Of the tenth byte one bit has room.
        if place == 9 && seven > 1 {
            return Err(Broken);
        }
        value |= seven << (7 * place);
        if *byte < 0x80 {
            return Ok((value, at + place + 1));
        }
    }
    Err(Broken)
}

/// Gives each pair of structured metadata of a valid entry's message to `take`.
pub(super) fn pairs<'b, E>(
    entry: &'b [u8],
    mut take: impl FnMut(&'b [u8], &'b [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = 0;
    while at < entry.len() {
        let Ok((found, next)) = field(entry, at, entry.len()) else { return Ok(()) };
        if let Field::Bytes(3, start, end) = found
            && let Ok((name, value)) = pair(entry, start, end)
        {
            take(name, value)?;
        }
        at = next;
    }
    Ok(())
}

fn pair(body: &[u8], mut at: usize, end: usize) -> Result<(&[u8], &[u8]), Broken> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    while at < end {
        let found;
        (found, at) = field(body, at, end)?;
        match found {
            Field::Bytes(1, start, end) => name = &body[start..end],
            Field::Bytes(2, start, end) => value = &body[start..end],
            Field::Number(1 | 2, _) => return Err(Broken),
            _ => {}
        }
    }
    Ok((name, value))
}

/// A time in the making: a message that comes in pieces is joined.
#[derive(Clone, Copy, Default)]
struct Time {
    seconds: i64,
    nanos: i32,
}

impl Time {
    /// Reads a `Timestamp`, or a piece of one.
    fn read(&mut self, body: &[u8], mut at: usize, end: usize) -> Result<(), Broken> {
        while at < end {
            let found;
            (found, at) = field(body, at, end)?;
            match found {
                Field::Number(1, value) => self.seconds = value as i64,
                Field::Number(2, value) => self.nanos = value as i32,
                Field::Bytes(1 | 2, ..) => return Err(Broken),
                _ => {}
            }
        }
        Ok(())
    }

    /// Nanoseconds since 1970-01-01 UTC.
    fn nanos(self) -> Result<i64, Why> {
        let time =
            self.seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(self.nanos.into()));
        time.filter(|_| (0..1_000_000_000).contains(&self.nanos)).ok_or(Why::Says("a timestamp out of range"))
    }
}

/// Reads an `Entry`.
fn entry(body: &[u8], start: usize, end: usize) -> Result<Item<'_>, Why> {
    let (mut at, mut time, mut line, mut metadata) = (start, None, &[][..], false);
    while at < end {
        let found;
        (found, at) = field(body, at, end).map_err(|Broken| BROKEN)?;
        match found {
            Field::Bytes(1, start, end) => {
                let time = time.get_or_insert(Time::default());
                time.read(body, start, end).map_err(|Broken| BROKEN)?;
            }
            Field::Bytes(2, start, end) => line = &body[start..end],
            Field::Bytes(3, start, end) => {
                let (name, value) = pair(body, start, end).map_err(|Broken| BROKEN)?;
                if std::str::from_utf8(name).is_err() || std::str::from_utf8(value).is_err() {
                    return Err(Why::Says("structured metadata that is not UTF-8"));
                }
                metadata = true;
            }
            Field::Number(1..=3, _) => return Err(BROKEN),
            _ => {}
        }
    }
    let time = time.map(Time::nanos).transpose()?;
    let metadata = match metadata {
        true => Metadata::proto(&body[start..end]).map_err(Why::Says)?,
        false => Metadata::default(),
    };
    Ok(Item { text: Text::Plain(line), time, metadata })
}

/// Where the labels of a `Stream` stand, after a look at all its fields.
fn labels(body: &[u8], mut at: usize, end: usize) -> Result<&[u8], Broken> {
    let mut labels: &[u8] = &[];
    while at < end {
        let found;
        (found, at) = field(body, at, end)?;
        match found {
            Field::Bytes(1, start, end) => labels = &body[start..end],
            Field::Number(1 | 2, _) => return Err(Broken),
            _ => {}
        }
    }
    Ok(labels)
}

impl LokiProto {
    fn stop<'b>(&mut self, body: &[u8], place: Place) -> Option<Found<'b>> {
        self.at = body.len();
        self.stream = (0, 0);
        Some(Found::Refused(Refused::rest(place, BROKEN)))
    }

    /// The next stream, from between two.
    fn begin<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        while self.at < body.len() {
            let Ok((found, next)) = field(body, self.at, body.len()) else {
                return self.stop(body, Place::Body);
            };
            self.at = next;
            match found {
                Field::Bytes(1, start, end) => {
                    (self.streams, self.entries) = (self.streams + 1, 0);
                    let Ok(labels) = labels(body, start, end) else {
                        return Some(Found::Refused(Refused::new(Place::Stream(self.streams), BROKEN)));
                    };
                    self.stream = (start, end);
                    return Some(Found::Stream(LabelText::Written(labels)));
                }
                Field::Number(1, _) => return self.stop(body, Place::Body),
                _ => {}
            }
        }
        None
    }
}

impl Cursor for LokiProto {
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        while self.stream.0 < self.stream.1 {
            let place = Place::Stream(self.streams);
            let Ok((found, next)) = field(body, self.stream.0, self.stream.1) else {
                // The look for its labels has been over all of it.
                return self.stop(body, place);
            };
            self.stream.0 = next;
            if let Field::Bytes(2, start, end) = found {
                self.entries += 1;
                let place = Place::Entry { stream: self.streams, entry: self.entries };
                return Some(match entry(body, start, end) {
                    Ok(item) => Found::Entry(item),
                    Err(why) => Found::Refused(Refused::new(place, why)),
                });
            }
        }
        self.begin(body)
    }

    fn pass_over(&mut self, body: &[u8], why: Why) -> Refused {
        let (mut at, end) = std::mem::take(&mut self.stream);
        let mut entries = 0;
        while at < end {
            let Ok((found, next)) = field(body, at, end) else { break };
            entries += u64::from(matches!(found, Field::Bytes(2, ..)));
            at = next;
        }
        Refused { entries, ..Refused::new(Place::Stream(self.streams), why) }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
