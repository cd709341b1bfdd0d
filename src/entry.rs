//! One log message inside a block: its row of the index, and its fields.

/// The row of a block's index that describes one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When it was said, in nanoseconds since 1970-01-01 UTC.
    pub time: i64,
    /// Where its text begins in the block's text.
    pub offset: u32,
    /// How many bytes of text it has.
    pub len: u32,
    /// Where its fields begin in the block's field table.
    pub fields_first: u32,
    /// How many fields it has.
    pub fields_n: u16,
    /// How many unused rows stand behind its fields, so that a later step can add one without moving them.
    pub fields_spare: u8,
    /// A set of `Entry::CUT` and its kin.
    pub flags: u8,
}

impl Entry {
    /// The entry was longer than its source allows; the text is its beginning.
    pub const CUT: u8 = 1;
    /// `time` was said by the entry itself, not given by us.
    pub const OWN_TIME: u8 = 2;
    /// The text holds a newline of its sender's, in a framing where that ends nothing (a datagram, a counted message):
    /// `raw` writes it as `\n`, so that one entry stays one line. Sources of lines need not look and never set it, nor
    /// do those that put lines together on purpose.
    pub const NEWLINES: u8 = 4;

    /// An entry of `len` bytes at `offset`, with no time and no fields yet.
    pub fn at(offset: u32, len: u32) -> Self {
        Entry { offset, len, ..Entry::default() }
    }

    /// The flag that a message with this text has where a newline ends nothing: [`Entry::NEWLINES`] or none.
    pub fn newlines(text: &[u8]) -> u8 {
        if memchr::memchr(b'\n', text).is_some() { Entry::NEWLINES } else { 0 }
    }
}

/// Which bytes a [`Slice`] points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Space {
    /// The block's text, as it was received.
    Text = 0,
    /// The block's arena: what steps made.
    Arena = 1,
    /// The pipeline's constants: names and values from the config.
    Constant = 2,
}

/// What a field's value is, and so how its bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Text as it stands.
    Plain = 0,
    /// The inside of a JSON string that has at least one escape, not yet resolved.
    Escaped = 1,
    /// A JSON number, as it was written.
    Number = 2,
    /// `true` or `false`.
    Bool = 3,
    /// `null`.
    Null = 4,
    /// A JSON object or array, as it was written.
    Json = 5,
}

/// A piece of one of a block's spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which bytes.
    pub space: Space,
    /// Where in them.
    pub offset: u32,
    /// How many.
    pub len: u32,
}

impl Slice {
    /// Whether all of it stands in `other`.
    pub fn is_piece_of(&self, other: &Slice) -> bool {
        self.space == other.space
            && self.offset >= other.offset
            && self.offset + self.len <= other.offset + other.len
    }
}

/// One named value of an entry. The key's text is never escaped except when `key_escaped` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    key_offset: u32,
    value_offset: u32,
    value_len: u32,
    key_len: u16,
    key_space: Space,
    // The value's space in the low two bits, its kind in the next three, `key_escaped` in the one above.
    packed: u8,
}

impl Field {
    /// Longest key, in bytes; parsers refuse longer ones.
    pub const KEY_MAX: usize = 1024;

    /// A field named by the bytes of `key` with the value `value`, read as `kind`.
    pub fn new(key: Slice, value: Slice, kind: Kind) -> Self {
        debug_assert!(key.len as usize <= Field::KEY_MAX);
        Field {
            key_offset: key.offset,
            value_offset: value.offset,
            value_len: value.len,
            key_len: key.len as u16,
            key_space: key.space,
            packed: value.space as u8 | (kind as u8) << 2,
        }
    }

    /// The same field with its key marked as having JSON escapes.
    pub fn with_escaped_key(mut self) -> Self {
        self.packed |= 1 << 5;
        self
    }

    /// The same value under the plain name `key`.
    pub fn with_key(self, key: Slice) -> Self {
        Field::new(key, self.value(), self.kind())
    }

    /// The same name with the value `value`, read as `kind`.
    pub fn with_value(self, value: Slice, kind: Kind) -> Self {
        let field = Field::new(self.key(), value, kind);
        if self.key_escaped() { field.with_escaped_key() } else { field }
    }

    /// The bytes of its name.
    pub fn key(&self) -> Slice {
        Slice { space: self.key_space, offset: self.key_offset, len: u32::from(self.key_len) }
    }

    /// Whether the name has JSON escapes.
    pub fn key_escaped(&self) -> bool {
        self.packed & 1 << 5 != 0
    }

    /// Whether it is called `name`, escapes resolved; `bytes` gives the bytes of a slice.
    ///
    /// Most names differ in length already: the row tells, their bytes need not be fetched.
    // By all means: as a call it costs more than all it does.
    #[inline(always)]
    pub fn is_named<'a>(&self, name: &[u8], bytes: impl FnOnce(Slice) -> &'a [u8]) -> bool {
        if self.key_escaped() {
            return reads_as(bytes(self.key()), name);
        }
        usize::from(self.key_len) == name.len() && same_name(bytes(self.key()), name)
    }

    /// Whether its name is written as that of `other`, and neither has escapes; `bytes` gives the bytes of a slice.
    #[inline]
    pub fn is_written_as<'a>(&self, other: &Field, bytes: impl Fn(Slice) -> &'a [u8]) -> bool {
        self.key_len == other.key_len
            && !self.key_escaped()
            && same_name(bytes(self.key()), bytes(other.key()))
    }

    /// The bytes of its value.
    pub fn value(&self) -> Slice {
        let space = match self.packed & 3 {
            0 => Space::Text,
            1 => Space::Arena,
            _ => Space::Constant,
        };
        Slice { space, offset: self.value_offset, len: self.value_len }
    }

    /// How the value is to be read.
    pub fn kind(&self) -> Kind {
        match self.packed >> 2 & 7 {
            0 => Kind::Plain,
            1 => Kind::Escaped,
            2 => Kind::Number,
            3 => Kind::Bool,
            4 => Kind::Null,
            _ => Kind::Json,
        }
    }
}

/// Whether two names are equal. Nearly all have a few letters: comparing words takes less than calling for it.
#[inline(always)]
fn same_name(one: &[u8], other: &[u8]) -> bool {
    /// The first and the last `N` bytes, which may overlap.
    fn ends<const N: usize>(name: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
        (name.first_chunk(), name.last_chunk())
    }
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        8..=16 => ends::<8>(one) == ends(other),
        4..8 => ends::<4>(one) == ends(other),
        2..4 => ends::<2>(one) == ends(other),
        _ => one == other,
    }
}

/// The inside of a JSON string with its escapes resolved (RFC 8259 section 7), or `None` if one is malformed.
///
/// A lone surrogate becomes U+FFFD, as there is no such character.
pub fn unescape(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    unescape_into(raw, &mut out).then_some(out)
}

/// As [`unescape`], behind what `out` holds; false if an escape is malformed, and then part of it is there.
pub fn unescape_into(raw: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let Some((letter, used)) = escape(rest) else {
            return false;
        };
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[used..];
    }
    out.extend_from_slice(rest);
    true
}

/// How many of the eight bytes stand before the first backslash: all of them if there is none.
///
/// A mark too many can only stand above a backslash, because the subtraction borrows upwards: the lowest mark is exact
/// (H. S. Warren, Hacker's Delight, 6-1).
#[inline]
pub fn before_escape(word: &[u8; 8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let other = u64::from_le_bytes(*word) ^ (ONES * b'\\' as u64);
    let marks = other.wrapping_sub(ONES) & !other & (ONES << 7);
    marks.trailing_zeros() as usize / 8
}

/// Whether the inside of a JSON string reads `plain` once its escapes are resolved, as [`unescape`] does.
pub fn reads_as(mut raw: &[u8], mut plain: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'\\', raw) {
        let Some(rest) = plain.strip_prefix(&raw[..at]) else {
            return false;
        };
        raw = &raw[at..];
        let Some((letter, used)) = escape(raw) else {
            return false;
        };
        let Some(rest) = rest.strip_prefix(letter.encode_utf8(&mut [0; 4]).as_bytes()) else {
            return false;
        };
        (raw, plain) = (&raw[used..], rest);
    }
    raw == plain
}

/// The character that the escape at the start of `raw` stands for, and how long it is written.
fn escape(raw: &[u8]) -> Option<(char, usize)> {
    let letter = match raw.get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'u' => return unicode_escape(raw),
        other @ (b'"' | b'\\' | b'/') => char::from(*other),
        _ => return None,
    };
    Some((letter, 2))
}

/// The character that `\uXXXX` (or a pair of surrogates) at the start of `raw` stands for, and how long it is written.
pub fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    fn unit(raw: &[u8]) -> Option<u32> {
        let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | (*digit as char).to_digit(16)?))
    }
    let first = unit(raw)?;
    if let 0xD800..=0xDBFF = first
        && let Some(second @ 0xDC00..=0xDFFF) = raw.get(6..).and_then(unit)
    {
        let joined = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return Some((char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER), 12));
    }
    Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_index_is_24_bytes_and_a_field_16() {
        assert_eq!(size_of::<Entry>(), 24);
        assert_eq!(size_of::<Field>(), 16);
    }

    #[test]
    fn the_first_backslash_of_eight_bytes_is_found_whatever_stands_around_it() {
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..20_000 {
            let near = [b'[', b'\\', b']', 0x5d, 0xdc, 0, 0xff];
            let word: [u8; 8] =
                std::array::from_fn(
                    |_| if round % 2 == 0 { near[random.usize(0..7)] } else { random.u8(..) },
                );
            let naive = word.iter().position(|byte| *byte == b'\\').unwrap_or(8);
            assert_eq!(before_escape(&word), naive, "{word:?}");
        }
    }

    #[test]
    fn escapes_resolve_as_serde_json_resolves_them() {
        for inside in [r"plain", r"a\nb\t\\\/\u", r#"q\"q"#, r"\u00e9\ud83d\ude00", r"\u12", r"x\q", r"\"] {
            let ours = unescape(inside.as_bytes());
            let theirs: Option<String> = serde_json::from_str(&format!("\"{inside}\"")).ok();
            assert_eq!(ours, theirs.map(String::into_bytes), "{inside}");
        }
        assert_eq!(unescape(br"\ud800x").as_deref(), Some("\u{fffd}x".as_bytes()));
    }
}
