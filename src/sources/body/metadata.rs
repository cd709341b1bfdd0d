//! Names and values beside an entry's text, as its body writes them.

use super::loki_proto;
use crate::entry::{Field, Kind};
use crate::steps::parse::json::blank;

/// The pairs of one entry, found and checked by the reader that found the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'b> {
    /// How many pairs.
    pub pairs: usize,
    /// Bytes of all names and values, as written.
    pub bytes: usize,
    source: Source<'b>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source<'b> {
    #[default]
    None,
    /// A JSON object.
    Json(&'b [u8]),
    /// The protobuf message of the entry.
    Proto(&'b [u8]),
}

/// One pair: the name and whether it has JSON escapes, the value and how to read it.
pub type Pair<'b> = ((&'b [u8], bool), &'b [u8], Kind);

impl<'b> Metadata<'b> {
    /// Most pairs one entry may have (Loki's own default).
    pub const PAIRS_MAX: usize = 128;
    /// Most bytes of names and values of one entry (Loki's own default).
    pub const BYTES_MAX: usize = 64 << 10;

    /// The pairs of a valid JSON object.
    pub fn json(object: &'b [u8]) -> Result<Self, &'static str> {
        Self { source: Source::Json(object), ..Self::default() }.checked()
    }

    /// The pairs of an entry's valid protobuf message.
    pub fn proto(entry: &'b [u8]) -> Result<Self, &'static str> {
        Self { source: Source::Proto(entry), ..Self::default() }.checked()
    }

    fn checked(mut self) -> Result<Self, &'static str> {
        let (mut pairs, mut bytes) = (0, 0);
        self.each(|((name, _), value, kind)| {
            pairs += 1;
            bytes += name.len() + value.len();
            match kind {
                _ if name.is_empty() => Err("structured metadata with an empty name"),
                _ if name.len() > Field::KEY_MAX => {
                    Err("structured metadata with a name of more than 1024 bytes")
                }
                Kind::Plain | Kind::Escaped => Ok(()),
                _ => Err("structured metadata whose value is not a string"),
            }
        })?;
        (self.pairs, self.bytes) = (pairs, bytes);
        match () {
            () if pairs > Self::PAIRS_MAX => Err("more than 128 pairs of structured metadata"),
            () if bytes > Self::BYTES_MAX => Err("more than 65536 bytes of structured metadata"),
            () => Ok(self),
        }
    }

    /// Gives each pair to `take`, until it has enough.
    pub fn each<E>(&self, mut take: impl FnMut(Pair<'b>) -> Result<(), E>) -> Result<(), E> {
        match self.source {
            Source::None => Ok(()),
            Source::Json(object) => members(object, take),
            Source::Proto(entry) => {
                loki_proto::pairs(entry, |name, value| take(((name, false), value, Kind::Plain)))
            }
        }
    }
}

/// Gives each member of a valid object to `take`. A value that is no string is [`Kind::Json`], and the last given.
pub(super) fn members<'b, E>(
    object: &'b [u8],
    mut take: impl FnMut(Pair<'b>) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = blank(object, 1).0;
    while object.get(at) == Some(&b'"') {
        let (name, name_escaped, end) = string(object, at);
        let value = blank(object, blank(object, end).0 + 1).0;
        if object.get(value) != Some(&b'"') {
            return take(((name, name_escaped), &[], Kind::Json));
        }
        let (text, escaped, end) = string(object, value);
        take(((name, name_escaped), text, if escaped { Kind::Escaped } else { Kind::Plain }))?;
        // Behind a comma, or at the end.
        at = blank(object, blank(object, end).0 + 1).0;
    }
    Ok(())
}

/// The inside of the string that begins at `at` of valid JSON, whether it has escapes, and where it ends.
fn string(json: &[u8], at: usize) -> (&[u8], bool, usize) {
    let (mut end, mut escaped) = (at + 1, false);
    while let Some(more) = memchr::memchr2(b'"', b'\\', json.get(end..).unwrap_or_default()) {
        end += more;
        if json[end] == b'"' {
            return (&json[at + 1..end], escaped, end + 1);
        }
        (end, escaped) = (end + 2, true);
    }
    (&[], escaped, json.len())
}
