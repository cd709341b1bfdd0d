//! Plain lines: one entry each, of any bytes, as every source of lines reads them.

use super::{Cursor, Found, Item, Metadata, Text};

/// A place in a body of lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    at: usize,
}

impl Cursor for Lines {
    fn next<'b>(&mut self, body: &'b [u8]) -> Option<Found<'b>> {
        let rest = body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at += len + 1;
        Some(Found::Entry(Item {
            text: Text::Plain(&rest[..len]),
            time: None,
            metadata: Metadata::default(),
        }))
    }
}
