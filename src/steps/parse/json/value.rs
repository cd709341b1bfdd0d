//! One JSON value in the midst of other bytes: where it ends and what it is, by the same walk that reads entries.

use super::walk::{Cursor, Fault};
use crate::entry::Kind;
use crate::simd::{Isa, Scan, Task};

/// Reads single values: for bodies that hold many of them.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    isa: Isa,
}

/// A value that was found and is valid, within the limits of `walk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Where it ends; of a string that is behind its quote.
    pub end: usize,
    /// What it is. A string is [`Kind::Escaped`] if it has escapes, an object or array is [`Kind::Json`].
    pub kind: Kind,
}

impl Default for Values {
    fn default() -> Self {
        Values { isa: Isa::detect() }
    }
}

impl Values {
    /// Values by each way of marking words that this processor has, the best first: for tests that compare them.
    pub fn all() -> Vec<Self> {
        Isa::all().into_iter().map(|isa| Values { isa }).collect()
    }

    /// Reads the value that begins at `at` of `text`. What stands behind it is not looked at.
    ///
    /// Errors: there is none, or it is beyond the limits; what follows it is then unknown.
    pub fn read(&self, text: &[u8], at: usize) -> Result<Value, Fault> {
        let value = self.isa.run(One { text: text.get(at..).unwrap_or_default() })?;
        Ok(Value { end: at + value.end, ..value })
    }
}

/// The first place from `at` on that is not whitespace, and the byte there; 0 behind the end.
#[inline]
pub fn blank(text: &[u8], mut at: usize) -> (usize, u8) {
    loop {
        match text.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r') => at += 1,
            Some(byte) => return (at, *byte),
            None => return (at, 0),
        }
    }
}

struct One<'a> {
    text: &'a [u8],
}

impl Task for One<'_> {
    type Out = Result<Value, Fault>;

    #[inline(always)]
    fn go<S: Scan>(self, scan: S) -> Result<Value, Fault> {
        let mut cursor = Cursor::new(scan, self.text, self.text.len());
        let value = match cursor.byte(0) {
            b'"' => {
                let (close, escapes) = cursor.string(0)?;
                Value { end: close + 1, kind: if escapes { Kind::Escaped } else { Kind::Plain } }
            }
            b'{' | b'[' => Value { end: cursor.container(0, 0)?, kind: Kind::Json },
            _ => {
                let (end, kind) = cursor.scalar(0)?;
                Value { end, kind }
            }
        };
        // The last word may reach beyond the value: then this looks once more often than it must.
        if cursor.high != 0 && std::str::from_utf8(&self.text[..value.end]).is_err() {
            return Err(Fault::Encoding);
        }
        Ok(value)
    }
}
