//! A push to Loki in JSON: `{"streams": [{"stream": {"name": "value"}, "values": [["ns", "line", {"k": "v"}], ...]}]}`
//! (<https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>).
//!
//! Members may stand in any order, others are passed over. Names are known as they are usually written, without escapes.
//! An entry that is JSON but no entry is refused alone; where it is no JSON, the rest is given up.

use super::{Cursor, Found, Item, LabelText, Metadata, Place, Refused, Text, Why};
use crate::entry::Kind;
use crate::steps::parse::json::{Fault, Values, blank};

/// A place in a push.
#[derive(Clone, Copy, Debug)]
pub struct LokiJson {
    values: Values,
    at: usize,
    next: Next,
    /// How many streams were begun.
    streams: u64,
    /// How many entries of this stream were begun.
    entries: u64,
    /// Where this stream's labels stand.
    labels: Option<(usize, usize)>,
    /// Where this stream's entries begin, once that is known.
    begins: Option<usize>,
    /// Where to go on behind this stream's entries, if they stood before its labels.
    behind: Option<usize>,
    /// The list of streams was there.
    listed: bool,
}

/// What stands at the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The body.
    Body,
    /// A member of the outermost object, or its end; whether it is the first.
    Member(bool),
    /// A stream, or the end of their list; whether it is the first.
    Stream(bool),
    /// A member of a stream, or its end; whether it is the first.
    Inside(bool),
    /// An entry, or the end of their list; whether it is the first.
    Entry(bool),
    /// Nothing more.
    Nothing,
}

const SYNTAX: Why = Why::Json(Fault::Syntax);

impl LokiJson {
    /// The beginning of a body.
    pub fn new(values: Values) -> Self {
        LokiJson {
            values,
            at: 0,
            next: Next::Body,
            streams: 0,
            entries: 0,
            labels: None,
            begins: None,
            behind: None,
            listed: false,
        }
    }

    fn place(&self) -> Place {
        match self.next {
            Next::Entry(_) => Place::Entry { stream: self.streams, entry: self.entries.max(1) },
            Next::Inside(_) => Place::Stream(self.streams),
            _ if self.streams > 0 => Place::Stream(self.streams),
            _ => Place::Body,
        }
    }

    fn stop<'b>(&mut self, why: Why) -> Option<Found<'b>> {
        let place = self.place();
        self.next = Next::Nothing;
        Some(Found::Refused(Refused::rest(place, why)))
    }

    /// Goes on to the next of a list or object: true if there is one, false at its end, where `close` stands.
    fn more(&mut self, body: &[u8], first: bool, close: u8) -> Result<bool, Why> {
        let (at, byte) = blank(body, self.at);
        if byte == close {
            self.at = at + 1;
            return Ok(false);
        }
        if first {
            self.at = at;
            return Ok(true);
        }
        self.at = blank(body, at + 1).0;
        if byte == b',' { Ok(true) } else { Err(SYNTAX) }
    }

    /// Reads a member's name and goes to its value.
    fn name<'b>(&mut self, body: &'b [u8]) -> Result<&'b [u8], Why> {
        let value = self.values.read(body, self.at).map_err(Why::Json)?;
        let (colon, byte) = blank(body, value.end);
        if !matches!(value.kind, Kind::Plain | Kind::Escaped) || byte != b':' {
            return Err(SYNTAX);
        }
        let name = &body[self.at + 1..value.end - 1];
        self.at = blank(body, colon + 1).0;
        Ok(name)
    }

    fn skip(&mut self, body: &[u8]) -> Result<(), Why> {
        self.at = self.values.read(body, self.at).map_err(Why::Json)?.end;
        Ok(())
    }

    /// Goes to the first of the list that should stand here.
    fn open(&mut self, body: &[u8], what: &'static str) -> Result<(), Why> {
        if body.get(self.at) != Some(&b'[') {
            return Err(Why::Says(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes over the entries from here to the end of their list, and says how many they were.
    fn skip_entries(&mut self, body: &[u8], mut first: bool) -> Result<u64, Why> {
        let mut entries = 0;
        while self.more(body, first, b']')? {
            self.skip(body)?;
            (first, entries) = (false, entries + 1);
        }
        Ok(entries)
    }

    /// One move. `None`: nothing was found by it yet.
    fn step<'b>(&mut self, body: &'b [u8]) -> Result<Option<Found<'b>>, Why> {
        match self.next {
            Next::Body => {
                let (at, byte) = blank(body, 0);
                if byte != b'{' {
                    return Err(Why::Says("not a JSON object"));
                }
                (self.at, self.next) = (at + 1, Next::Member(true));
            }
            Next::Member(first) => {
                if !self.more(body, first, b'}')? {
                    self.next = Next::Nothing;
                    if blank(body, self.at).0 < body.len() {
                        return Err(Why::Says("there is more behind the JSON object"));
                    }
                    if !self.listed {
                        return Err(Why::Says("the push has no `streams`"));
                    }
                } else if self.name(body)? == b"streams" {
                    if self.listed {
                        return Err(Why::Says("`streams` stands there twice"));
                    }
                    self.open(body, "`streams` is not an array")?;
                    (self.next, self.listed) = (Next::Stream(true), true);
                } else {
                    self.skip(body)?;
                    self.next = Next::Member(false);
                }
            }
            Next::Stream(first) => {
                if !self.more(body, first, b']')? {
                    self.next = Next::Member(false);
                    return Ok(None);
                }
                (self.streams, self.entries) = (self.streams + 1, 0);
                (self.labels, self.begins, self.behind) = (None, None, None);
                if body.get(self.at) != Some(&b'{') {
                    self.skip(body)?;
                    self.next = Next::Stream(false);
                    let why = Why::Says("a stream is not an object");
                    return Ok(Some(Found::Refused(Refused::new(Place::Stream(self.streams), why))));
                }
                (self.at, self.next) = (self.at + 1, Next::Inside(true));
            }
            Next::Inside(first) => return self.inside(body, first),
            Next::Entry(first) => {
                if self.more(body, first, b']')? {
                    self.entries += 1;
                    self.next = Next::Entry(false);
                    return self.entry(body).map(Some);
                }
                self.next = match self.behind.take() {
                    Some(behind) => {
                        self.at = behind;
                        Next::Stream(false)
                    }
                    None => Next::Inside(false),
                };
            }
            Next::Nothing => {}
        }
        Ok(None)
    }

    /// A member of a stream, or its end.
    fn inside<'b>(&mut self, body: &'b [u8], first: bool) -> Result<Option<Found<'b>>, Why> {
        self.next = Next::Inside(false);
        if !self.more(body, first, b'}')? {
            return self.end_of_stream(body);
        }
        match self.name(body)? {
            b"stream" if self.labels.is_some() => return Err(Why::Says("`stream` stands there twice")),
            b"values" if self.begins.is_some() => return Err(Why::Says("`values` stands there twice")),
            b"stream" => {
                let start = self.at;
                self.skip(body)?;
                if body[start] != b'{' {
                    return Err(Why::Says("`stream` is not an object"));
                }
                self.labels = Some((start, self.at));
            }
            b"values" => {
                self.open(body, "`values` is not an array")?;
                self.begins = Some(self.at);
                match self.labels {
                    Some((start, end)) => {
                        self.next = Next::Entry(true);
                        return Ok(Some(Found::Stream(LabelText::Json(&body[start..end]))));
                    }
                    // They have to wait until it is known whose they are.
                    None => {
                        self.entries = self.skip_entries(body, true)?;
                    }
                }
            }
            _ => self.skip(body)?,
        }
        Ok(None)
    }

    /// Behind a stream: its entries, if they stood before its labels.
    fn end_of_stream<'b>(&mut self, body: &'b [u8]) -> Result<Option<Found<'b>>, Why> {
        self.next = Next::Stream(false);
        match (self.labels, self.begins) {
            (None, _) => {
                let why = Why::Says("the stream has no `stream`");
                let refused = Refused::new(Place::Stream(self.streams), why);
                Ok(Some(Found::Refused(Refused { entries: self.entries, ..refused })))
            }
            // The entries were passed over: back to them.
            (Some((start, end)), Some(begins)) if start > begins => {
                self.behind = Some(self.at);
                (self.at, self.entries, self.next) = (begins, 0, Next::Entry(true));
                Ok(Some(Found::Stream(LabelText::Json(&body[start..end]))))
            }
            _ => Ok(None),
        }
    }

    /// The entry that begins here. If it is none, it is read as just any value.
    fn entry<'b>(&mut self, body: &'b [u8]) -> Result<Found<'b>, Why> {
        let start = self.at;
        match self.try_entry(body) {
            Ok(item) => Ok(Found::Entry(item)),
            Err(why) => {
                self.at = start;
                self.skip(body)?;
                let place = Place::Entry { stream: self.streams, entry: self.entries };
                Ok(Found::Refused(Refused::new(place, why)))
            }
        }
    }

    fn try_entry<'b>(&mut self, body: &'b [u8]) -> Result<Item<'b>, Why> {
        const SHORT: Why = Why::Says("an entry is not [\"nanoseconds\", \"line\"] or [..., {metadata}]");
        if body.get(self.at) != Some(&b'[') {
            return Err(SHORT);
        }
        let (time, at) = time(body, blank(body, self.at + 1).0)?;
        let (at, byte) = blank(body, at);
        if byte != b',' {
            return Err(SHORT);
        }
        let line = blank(body, at + 1).0;
        let value = self.values.read(body, line).map_err(Why::Json)?;
        if !matches!(value.kind, Kind::Plain | Kind::Escaped) {
            return Err(Why::Says("a line that is not a string"));
        }
        let text = Text::inside(body, line..value.end, value.kind);
        let (mut at, mut byte) = blank(body, value.end);
        let mut metadata = Metadata::default();
        if byte == b',' {
            let start = blank(body, at + 1).0;
            let value = self.values.read(body, start).map_err(Why::Json)?;
            if body[start] != b'{' {
                return Err(Why::Says("structured metadata that is not an object"));
            }
            metadata = Metadata::json(&body[start..value.end]).map_err(Why::Says)?;
            (at, byte) = blank(body, value.end);
        }
        if byte != b']' {
            return Err(SHORT);
        }
        self.at = at + 1;
        Ok(Item { text, time: Some(time), metadata })
    }
}

/// Reads nanoseconds since 1970-01-01 UTC, a string of digits or a number, at `at`: them, and what follows.
fn time(body: &[u8], at: usize) -> Result<(i64, usize), Why> {
    const BAD: Why = Why::Says("a timestamp that is not nanoseconds since 1970, as a string of digits");
    let quoted = body.get(at) == Some(&b'"');
    let start = at + usize::from(quoted);
    let minus = body.get(start) == Some(&b'-');
    let (mut end, mut value) = (start + usize::from(minus), 0_i64);
    while let Some(digit) = body.get(end).filter(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        let more = value
            .checked_mul(10)
            .and_then(|ten| if minus { ten.checked_sub(digit) } else { ten.checked_add(digit) });
        value = more.ok_or(Why::Says("a timestamp out of range"))?;
        end += 1;
    }
    let digits = end > start + usize::from(minus);
    let zero_first =
        body.get(start + usize::from(minus)) == Some(&b'0') && end > start + usize::from(minus) + 1;
    match (quoted, body.get(end)) {
        _ if !digits => Err(BAD),
        // No number in JSON.
        (false, _) if zero_first => Err(BAD),
        (true, Some(b'"')) => Ok((value, end + 1)),
        (false, Some(b',' | b' ' | b'\t' | b'\r' | b'\n' | b']')) => Ok((value, end)),
        _ => Err(BAD),
    }
}

impl Cursor for LokiJson {
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        while self.next != Next::Nothing {
            match self.step(body) {
                Ok(None) => {}
                Ok(found) => return found,
                Err(why) => return self.stop(why),
            }
        }
        None
    }

    fn pass_over(&mut self, body: &[u8], why: Why) -> Refused {
        let refused = Refused::new(Place::Stream(self.streams), why);
        match self.skip_entries(body, true) {
            Ok(entries) => {
                self.next = match self.behind.take() {
                    Some(behind) => {
                        self.at = behind;
                        Next::Stream(false)
                    }
                    None => Next::Inside(false),
                };
                Refused { entries, ..refused }
            }
            Err(_) => {
                self.next = Next::Nothing;
                Refused { rest: true, ..refused }
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
