//! Redaction inside of JSON as it was written, so that it stays JSON.

use super::{Redact, Scratch};
use crate::entry::unescape_into;
use crate::expr::path::{skip, string, trim};

impl Redact {
    /// Appends `raw`, which should be one JSON value, with what was found replaced: in strings, which stay strings, and in
    /// numbers, which become strings. Members whose names hide them become strings too. Tells whether anything was found;
    /// `None`, and `out` as it was, if it is no JSON or nothing that is walked like it.
    pub(super) fn rewrite_json(&self, raw: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<bool> {
        let begun = out.len();
        let found = self.walk(raw, scratch, out);
        if found.is_none() {
            out.truncate(begun);
        }
        found
    }

    fn walk(&self, raw: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<bool> {
        let (mut rest, mut found) = (raw, false);
        // Set behind a name that hides its value.
        let mut hide = None;
        while let Some(byte) = rest.first() {
            let used = match byte {
                b'"' => {
                    let inside = string(&rest[1..])?;
                    let used = inside.len() + 2;
                    if let Some(pattern) = hide.take() {
                        found |= self.put_replacement(pattern, out);
                    } else if trim(&rest[used..]).first() == Some(&b':') {
                        hide = self.hiding(inside);
                        found |= self.rewrite_string(inside, scratch, out)?;
                    } else {
                        found |= self.rewrite_string(inside, scratch, out)?;
                    }
                    used
                }
                b'{' | b'[' if hide.is_some() => {
                    let used = skip(rest)?;
                    found |= self.put_replacement(hide.take()?, out);
                    used
                }
                b'-' | b'0'..=b'9' => {
                    let used = skip(rest)?;
                    if let Some(pattern) = hide.take() {
                        found |= self.put_replacement(pattern, out);
                    } else {
                        found |= self.rewrite_number(&rest[..used], scratch, out);
                    }
                    used
                }
                // Nobody hides `null`, `true` or `false`.
                b't' | b'f' | b'n' => {
                    hide = None;
                    let used = skip(rest)?;
                    out.extend_from_slice(&rest[..used]);
                    used
                }
                b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    out.push(*byte);
                    1
                }
                _ => return None,
            };
            rest = &rest[used..];
        }
        Some(found)
    }

    fn put_replacement(&self, pattern: usize, out: &mut Vec<u8>) -> bool {
        out.push(b'"');
        escape_into(&self.replacements[pattern], out);
        out.push(b'"');
        true
    }

    fn rewrite_string(&self, inside: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<bool> {
        let mut plain = std::mem::take(&mut scratch.plain);
        plain.clear();
        let readable = unescape_into(inside, &mut plain);
        let mut changed = std::mem::take(&mut scratch.changed);
        changed.clear();
        let found = readable && self.rewrite_plain(&plain, scratch, &mut changed);
        out.push(b'"');
        if found {
            escape_into(&changed, out);
        } else {
            out.extend_from_slice(inside);
        }
        out.push(b'"');
        (scratch.plain, scratch.changed) = (plain, changed);
        readable.then_some(found)
    }

    fn rewrite_number(&self, number: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
        out.push(b'"');
        if self.rewrite_plain(number, scratch, out) {
            out.push(b'"');
            return true;
        }
        out.pop();
        out.extend_from_slice(number);
        false
    }
}

/// Appends `text` as it stands inside of a JSON string (RFC 8259 section 7).
fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..0x20 => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(*byte),
        }
    }
}
