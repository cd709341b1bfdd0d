//! From the marks of an entry's words to its fields: one walk that validates every byte.
//!
//! The walk stands in front of each structural character itself; only the inside of strings is skipped, by taking the
//! next unescaped quote from the marks. Each entry starts with fresh marks, so a broken line cannot reach the next.
//!
//! Grammar: RFC 8259. Accepted is what `serde_json` reads into a `Value`, with these differences: only objects, the
//! limits below, and numbers of any size (they stay as written, `1e999` is one).

use crate::entry::{Field, Kind, Slice, Space, before_escape};
use crate::simd::{Marks, Scan, WORD};

/// Deepest nesting, counting the outermost object.
pub const DEPTH_MAX: u32 = 64;
/// Most fields of one entry. Only the outermost object's members are fields.
pub const FIELDS_PER_ENTRY_MAX: usize = 1000;
/// Most values in one member of the outermost object, or in one value read by itself, at all levels together.
pub const VALUES_MAX: u32 = 100_000;

/// Why an entry is not read. The text of it is what the operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Valid or not, it does not begin with `{`.
    NotAnObject,
    /// It breaks the grammar.
    Syntax,
    /// It is not UTF-8.
    Encoding,
    /// It nests deeper than [`DEPTH_MAX`].
    Depth,
    /// It has more fields than [`FIELDS_PER_ENTRY_MAX`].
    Fields,
    /// It has more values inside of it than [`VALUES_MAX`].
    Values,
    /// A key is longer than [`Field::KEY_MAX`].
    Key,
    /// The block's field table is full.
    NoRoom,
}

/// The unescaped quotes of one entry, one after the other, and what lies between them.
pub(super) struct Cursor<'a, S> {
    scan: S,
    /// The block's text from the entry on: whole words can be read beyond the entry's end, where there is more.
    text: &'a [u8],
    /// The entry alone.
    entry: &'a [u8],
    /// Where the word in hand begins.
    base: usize,
    /// Its unescaped quotes not yet taken.
    quotes: u64,
    /// Its backslashes and control characters, but for those before the last quote taken.
    special: u64,
    /// Those of earlier words since the last quote taken.
    special_before: u64,
    /// 1 if the word in hand ends in a backslash that escapes the next word's first byte.
    escape_out: u64,
    /// Whether any byte seen was above 0x7f.
    pub(super) high: u64,
}

impl<'a, S: Scan> Cursor<'a, S> {
    #[inline(always)]
    pub(super) fn new(scan: S, text: &'a [u8], len: usize) -> Self {
        let mut cursor = Cursor {
            scan,
            text,
            entry: &text[..len],
            base: 0,
            quotes: 0,
            special: 0,
            special_before: 0,
            escape_out: 0,
            high: 0,
        };
        cursor.mark();
        cursor
    }

    /// The byte at `at`, or 0, which the grammar allows nowhere, behind the end.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.entry.get(at).copied().unwrap_or(0)
    }

    /// The first place from `at` on that is not whitespace.
    #[inline(always)]
    fn blank(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Takes the marks of the word at `base`.
    #[inline(always)]
    fn mark(&mut self) {
        let Marks { quote, backslash, control, high } = match self.text[self.base..].first_chunk() {
            Some(word) => self.scan.marks(word),
            None => {
                let rest = &self.text[self.base..];
                let mut word = [b' '; WORD];
                word[..rest.len()].copy_from_slice(rest);
                self.scan.marks(&word)
            }
        };
        let left = self.entry.len() - self.base;
        let ours = if left < WORD { (1 << left) - 1 } else { u64::MAX };
        let mut quotes = quote & ours;
        if backslash | self.escape_out != 0 {
            quotes &= !self.escaped(backslash);
        }
        self.quotes = quotes;
        self.special = (backslash | control) & ours;
        self.high |= high & ours;
    }

    /// Which bytes of the word are escaped, given its backslashes: every second of a run, and what follows an odd run.
    ///
    /// The subtraction lets each run of backslashes borrow through its odd or even places (simdjson,
    /// `json_escape_scanner`): no loop over the runs.
    #[inline(always)]
    fn escaped(&mut self, backslash: u64) -> u64 {
        const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let may_escape = backslash & !self.escape_out;
        let codes = ((may_escape << 1) | ODD).wrapping_sub(may_escape) ^ ODD;
        let escaped = codes ^ (backslash | self.escape_out);
        self.escape_out = (codes & backslash) >> 63;
        escaped
    }

    /// Takes the next quote.
    #[inline(always)]
    fn quote(&mut self) -> Option<usize> {
        while self.quotes == 0 {
            if self.base + WORD >= self.entry.len() {
                return None;
            }
            self.base += WORD;
            self.special_before |= self.special;
            self.mark();
        }
        let at = self.base + self.quotes.trailing_zeros() as usize;
        self.quotes &= self.quotes - 1;
        Some(at)
    }

    /// Reads the string whose opening quote stands at `at`: where its closing quote stands, and whether it has escapes.
    #[inline(always)]
    pub(super) fn string(&mut self, at: usize) -> Result<(usize, bool), Fault> {
        // All quotes before `at` are taken, and no backslash stands outside a string: the walk would have refused it.
        let open = self.quote();
        debug_assert_eq!(open, Some(at));
        self.special_before = 0;
        self.special &= u64::MAX << (at % WORD);
        let close = self.quote().ok_or(Fault::Syntax)?;
        let before = (1 << (close % WORD)) - 1;
        if (self.special_before | self.special & before) == 0 {
            return Ok((close, false));
        }
        check_escapes(&self.entry[at + 1..close])?;
        Ok((close, true))
    }

    /// Reads the number at `at`: where it ends.
    #[inline(always)]
    fn number(&self, mut at: usize) -> Result<usize, Fault> {
        if self.byte(at) == b'-' {
            at += 1;
        }
        at = if self.byte(at) == b'0' { at + 1 } else { self.digits(at)? };
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if self.byte(at) | 0x20 == b'e' {
            at += 1;
            if matches!(self.byte(at), b'+' | b'-') {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Ok(at)
    }

    /// Reads one or more digits.
    #[inline(always)]
    fn digits(&self, start: usize) -> Result<usize, Fault> {
        let mut at = start;
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if at == start { Err(Fault::Syntax) } else { Ok(at) }
    }

    /// Reads `true`, `false` or `null`: where it ends.
    #[inline(always)]
    fn word(&self, at: usize, word: &[u8]) -> Result<usize, Fault> {
        let end = at + word.len();
        if self.entry.get(at..end) == Some(word) { Ok(end) } else { Err(Fault::Syntax) }
    }

    /// Reads the number or word at `at`.
    #[inline(always)]
    pub(super) fn scalar(&self, at: usize) -> Result<(usize, Kind), Fault> {
        Ok(match self.byte(at) {
            b'-' | b'0'..=b'9' => (self.number(at)?, Kind::Number),
            b't' => (self.word(at, b"true")?, Kind::Bool),
            b'f' => (self.word(at, b"false")?, Kind::Bool),
            b'n' => (self.word(at, b"null")?, Kind::Null),
            _ => return Err(Fault::Syntax),
        })
    }

    /// Reads the key at `at` and its colon: where its quote closes, whether it has escapes, where its value begins.
    #[inline(always)]
    fn key(&mut self, at: usize) -> Result<(usize, bool, usize), Fault> {
        if self.byte(at) != b'"' {
            return Err(Fault::Syntax);
        }
        let (close, escapes) = self.string(at)?;
        let colon = self.blank(close + 1);
        if self.byte(colon) != b':' {
            return Err(Fault::Syntax);
        }
        Ok((close, escapes, self.blank(colon + 1)))
    }

    /// Reads the object or array at `at`, which stands `outside` levels deep: where it ends.
    ///
    /// No recursion: what each level is, is one bit of a word, which is why [`DEPTH_MAX`] is 64.
    #[inline(always)]
    pub(super) fn container(&mut self, mut at: usize, outside: u32) -> Result<usize, Fault> {
        let (mut objects, mut depth, mut values) = (1_u64, outside, 0);
        loop {
            values += 1;
            if values > VALUES_MAX {
                return Err(Fault::Values);
            }
            // At a bracket that opens, or at the first byte of another value.
            let first = self.byte(at);
            let mut closed = match first {
                b'{' | b'[' => {
                    if depth == DEPTH_MAX {
                        return Err(Fault::Depth);
                    }
                    depth += 1;
                    objects = objects << 1 | u64::from(first == b'{');
                    at = self.blank(at + 1);
                    // `{` and `[` both close two above themselves.
                    self.byte(at) == first + 2
                }
                b'"' => {
                    let (close, _) = self.string(at)?;
                    at = self.blank(close + 1);
                    false
                }
                _ => {
                    let (end, _) = self.scalar(at)?;
                    at = self.blank(end);
                    false
                }
            };
            let opened = matches!(first, b'{' | b'[');
            if !opened || closed {
                // Behind a value, or at a bracket that closes an empty one.
                loop {
                    let bracket = if objects & 1 == 1 { b'}' } else { b']' };
                    if !closed && self.byte(at) == b',' {
                        at = self.blank(at + 1);
                        break;
                    }
                    if self.byte(at) != bracket {
                        return Err(Fault::Syntax);
                    }
                    (depth, objects, closed) = (depth - 1, objects >> 1, false);
                    if depth == outside {
                        return Ok(at + 1);
                    }
                    at = self.blank(at + 1);
                }
            }
            if objects & 1 == 1 {
                (_, _, at) = self.key(at)?;
            }
        }
    }
}

/// Reads the first `len` bytes of `text` as an object, and puts its members behind `fields`, none of them on a fault.
///
/// `origin` is where `text` stands in its block; `rows_max` is how long `fields` may become. Bytes behind `len` are
/// read but change nothing.
#[inline(always)]
pub fn object<S: Scan>(
    scan: S,
    text: &[u8],
    len: usize,
    origin: (Space, u32),
    rows_max: usize,
    fields: &mut Vec<Field>,
) -> Result<(), Fault> {
    let first = fields.len();
    let read = members(scan, text, len, origin, rows_max, fields);
    if read.is_err() {
        fields.truncate(first);
    }
    read
}

#[inline(always)]
fn members<S: Scan>(
    scan: S,
    text: &[u8],
    len: usize,
    origin: (Space, u32),
    rows_max: usize,
    fields: &mut Vec<Field>,
) -> Result<(), Fault> {
    let mut cursor = Cursor::new(scan, text, len);
    let slice = |from: usize, to: usize| Slice {
        space: origin.0,
        offset: origin.1 + from as u32,
        len: (to - from) as u32,
    };
    let rows_first = fields.len();
    let mut at = cursor.blank(0);
    if cursor.byte(at) != b'{' {
        return Err(Fault::NotAnObject);
    }
    at = cursor.blank(at + 1);
    if cursor.byte(at) != b'}' {
        loop {
            let (key_close, key_escapes, value) = cursor.key(at)?;
            if key_close - at - 1 > Field::KEY_MAX {
                return Err(Fault::Key);
            }
            let key = slice(at + 1, key_close);
            let (span, kind) = match cursor.byte(value) {
                b'"' => {
                    let (close, escapes) = cursor.string(value)?;
                    at = close + 1;
                    (slice(value + 1, close), if escapes { Kind::Escaped } else { Kind::Plain })
                }
                b'{' | b'[' => {
                    at = cursor.container(value, 1)?;
                    (slice(value, at), Kind::Json)
                }
                _ => {
                    let (end, kind) = cursor.scalar(value)?;
                    at = end;
                    (slice(value, end), kind)
                }
            };
            if fields.len() >= rows_max {
                return Err(Fault::NoRoom);
            }
            if fields.len() - rows_first == FIELDS_PER_ENTRY_MAX {
                return Err(Fault::Fields);
            }
            let field = Field::new(key, span, kind);
            fields.push(if key_escapes { field.with_escaped_key() } else { field });
            at = cursor.blank(at);
            match cursor.byte(at) {
                b',' => at = cursor.blank(at + 1),
                b'}' => break,
                _ => return Err(Fault::Syntax),
            }
        }
    }
    if cursor.blank(at + 1) != len {
        return Err(Fault::Syntax);
    }
    // Outside strings the walk has allowed ASCII only, so words it has not come to need no look.
    if cursor.high != 0 && std::str::from_utf8(&text[..len]).is_err() {
        return Err(Fault::Encoding);
    }
    Ok(())
}

/// Checks the inside of a string that has a backslash or a control character (RFC 8259 section 7). Surrogates must come
/// in pairs, as what they stand for is to be written as UTF-8.
#[cold]
pub(super) fn check_escapes(mut inside: &[u8]) -> Result<(), Fault> {
    if inside.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < 0x20 {
        return Err(Fault::Syntax);
    }
    while !inside.is_empty() {
        let plain = match inside.first_chunk::<8>() {
            Some(word) => before_escape(word),
            None => inside.iter().position(|byte| *byte == b'\\').unwrap_or(inside.len()),
        };
        inside = &inside[plain..];
        if inside.first() != Some(&b'\\') {
            continue;
        }
        let used = match inside.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match code_unit(inside).ok_or(Fault::Syntax)? {
                0xDC00..=0xDFFF => return Err(Fault::Syntax),
                0xD800..=0xDBFF => match code_unit(&inside[6..]) {
                    Some(0xDC00..=0xDFFF) => 12,
                    _ => return Err(Fault::Syntax),
                },
                _ => 6,
            },
            _ => return Err(Fault::Syntax),
        };
        inside = &inside[used..];
    }
    Ok(())
}

/// The value of the `\uXXXX` that `escape` begins with.
fn code_unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
}
