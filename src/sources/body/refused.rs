//! What of a body is not taken, where that stands, and why: to be told to whoever sent it.

use crate::steps::parse::json::Fault;
use std::fmt;

/// Something of a body that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub why: Why,
    /// How many entries that is, as far as is known.
    pub entries: u64,
    /// Whether nothing behind it was read.
    pub rest: bool,
}

/// A place in a body. Everything is counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The body as such.
    Body,
    /// A line.
    Line(u64),
    /// An item of an array.
    Item(u64),
    /// A Loki stream.
    Stream(u64),
    /// An entry of a Loki stream.
    Entry {
        /// The stream.
        stream: u64,
        /// The entry in it.
        entry: u64,
    },
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is no JSON, or beyond the limits of it.
    Json(Fault),
    /// It has more bytes than are taken.
    Long(usize),
    /// What the words say.
    Says(&'static str),
}

impl Refused {
    /// One entry that is not taken.
    pub fn new(place: Place, why: Why) -> Self {
        Refused { place, why, entries: 1, rest: false }
    }

    /// What makes the rest of the body unreadable, too.
    pub fn rest(place: Place, why: Why) -> Self {
        Refused { place, why, entries: 1, rest: true }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Body => out.write_str("body"),
            Place::Line(line) => write!(out, "line {line}"),
            Place::Item(item) => write!(out, "item {item}"),
            Place::Stream(stream) => write!(out, "stream {stream}"),
            Place::Entry { stream, entry } => write!(out, "stream {stream}, entry {entry}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Json(fault) => out.write_str(fault.says()),
            Why::Long(limit) => write!(out, "more than {limit} bytes"),
            Why::Says(words) => out.write_str(words),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.why)?;
        if self.entries > 1 {
            write!(out, " ({} entries)", self.entries)?;
        }
        if self.rest {
            out.write_str("; nothing behind it was read")?;
        }
        Ok(())
    }
}

/// All that was refused of one body: a count, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    first: Vec<Refused>,
    count: u64,
    entries: u64,
}

impl Refusals {
    /// How many are told one by one.
    pub const TOLD_MAX: usize = 20;

    /// One more.
    pub fn add(&mut self, refused: Refused) {
        self.count += 1;
        self.entries += refused.entries;
        if self.first.len() < Refusals::TOLD_MAX {
            self.first.push(refused);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many entries were refused, as far as is known.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The first of them.
    pub fn first(&self) -> &[Refused] {
        &self.first
    }
}

/// A line for each of the first, and one for the others.
impl fmt::Display for Refusals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refused in &self.first {
            writeln!(out, "{refused}")?;
        }
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => writeln!(out, "and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusals_are_told_and_the_others_counted() {
        let mut refusals = Refusals::default();
        assert_eq!((refusals.is_empty(), refusals.to_string()), (true, String::new()));
        refusals.add(Refused::new(Place::Line(3), Why::Json(Fault::Syntax)));
        refusals.add(Refused { entries: 7, ..Refused::new(Place::Stream(1), Why::Says("no labels")) });
        refusals.add(Refused::rest(Place::Entry { stream: 2, entry: 4 }, Why::Long(9)));
        assert_eq!(
            refusals.to_string(),
            "line 3: malformed JSON\nstream 1: no labels (7 entries)\n\
             stream 2, entry 4: more than 9 bytes; nothing behind it was read\n"
        );
        (0..100).for_each(|item| refusals.add(Refused::new(Place::Item(item), Why::Long(1))));
        assert!(refusals.to_string().ends_with("item 16: more than 1 bytes\nand 83 more\n"));
        assert_eq!((refusals.entries(), refusals.first().len()), (109, 20));
    }
}
