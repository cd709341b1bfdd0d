//! The end where records go in.

use super::{AppendError, NewRecord, Seq};
use std::io;

/// Takes records. One thread has it.
pub struct Writer {
    durable: Seq,
}

impl Writer {
    /// Takes a record and gives its number. It is in memory, at most a segment of it, until [`Writer::sync`] returns or
    /// a segment is full; call that after about 1 MiB.
    pub fn append(&mut self, record: NewRecord<'_>) -> Result<Seq, AppendError> {
        let _ = record;
        Err(AppendError::Refused)
    }

    /// Makes everything that was appended durable (with [`Fsync::None`](super::Fsync::None): writes it) and gives the
    /// number behind it: every entry below is safe.
    ///
    /// A file whose sync failed is given up for good, and what was not durable is written to a new segment from memory.
    /// Errors: that failed too, or there is no room. Nothing is forgotten: call again, about once a second. Meanwhile
    /// [`BufferView::degraded`](super::BufferView::degraded) says why.
    pub fn sync(&mut self) -> io::Result<Seq> {
        Ok(self.durable)
    }

    /// Every entry below this number is safe.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Bytes of payload that were appended and are not safe yet.
    pub fn pending(&self) -> usize {
        0
    }

    /// Most bytes of a payload: 1 MiB, less with smaller segments.
    pub fn payload_max(&self) -> usize {
        super::PAYLOAD_MAX
    }
}
