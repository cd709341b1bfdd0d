//! The end where records come out.

use super::{RecordHead, Skipped};
use std::io;

/// Gives records in order, each once. One thread has it.
pub struct Reader {}

impl Reader {
    /// The next durable record: its payload is put in the place of what `into` held. None: there is none now.
    ///
    /// Damaged records are passed over, copied aside and counted. Errors: the disk cannot read; call again, about once a
    /// second. What it cannot read several times in a row counts as damaged.
    pub fn next(&mut self, into: &mut Vec<u8>) -> io::Result<Option<RecordHead>> {
        into.clear();
        Ok(None)
    }

    /// The head of the record that [`Reader::next`] would give, which stays the next.
    pub fn peek(&mut self) -> io::Result<Option<RecordHead>> {
        Ok(None)
    }

    /// Passes over the oldest unread records, whole ones, until their payloads are at least `bytes` together. They are
    /// done, and stay so after the next [`Buffer::persist`](super::Buffer::persist).
    pub fn skip_oldest(&mut self, bytes: u64) -> io::Result<Skipped> {
        let _ = bytes;
        Ok(Skipped::default())
    }

    /// Passes over what is unread of the oldest segment with anything unread: the least that must go to make room.
    /// [`Buffer::persist`](super::Buffer::persist) then removes it, unless records before it are handed out from the same
    /// segment.
    pub fn skip_segment(&mut self) -> io::Result<Skipped> {
        Ok(Skipped::default())
    }
}
