//! What belongs to the lock of the letters: both ends of their buffer, and what is known of each.

use super::GONE_MAX;
use crate::buffer::{Buffer, NewRecord, Reader, Writer};
use crate::delivery::dlq::index::{Index, Row};
use crate::delivery::dlq::letter::DeadLetter;
use crate::delivery::dlq::pieces::{self, Came, Gatherer};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Everything that changes.
pub(super) struct Inner {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) index: Index,
    /// The first record that the reader has not given yet.
    pub(super) read_to: u64,
    /// From here on it belongs to letters that are being written: not yet known, and not to be taken for done.
    pub(super) hold: Option<u64>,
    /// Letters, or pieces of some, that are gone and not yet said to be so on disk.
    pub(super) gone: Vec<u64>,
    /// When the wall clock was last looked at, by both clocks.
    pub(super) looked: (Instant, u64),
    /// The wall clock jumped, and not all that seems to be over since has been removed.
    pub(super) jumped: bool,
    pub(super) retained_at: Instant,
    pub(super) spare: Vec<u8>,
}

impl Inner {
    /// Reads everything there is.
    pub(super) fn load(&mut self, shared: &Buffer) -> io::Result<()> {
        let mut gatherer = Gatherer::default();
        let mut payload = std::mem::take(&mut self.spare);
        let mut done = Vec::new();
        while let Some(head) = self.reader.next(&mut payload)? {
            self.read_to = head.seq + u64::from(head.entries);
            match gatherer.take(head.seq, &payload) {
                Ok(Came::Letter { number, records, bytes }) => match DeadLetter::decode(&bytes) {
                    Ok(letter) => {
                        self.index.add(number, records, bytes.len(), &letter);
                        continue;
                    }
                    Err(error) => {
                        tracing::error!("dead letters: number {number} cannot be read: {error}");
                        done.extend(number..number + u64::from(records));
                    }
                },
                Ok(Came::Gone(numbers)) => {
                    for number in numbers {
                        if let Some(row) = self.index.remove(number) {
                            done.extend(number..number + u64::from(row.records));
                        }
                        done.push(number);
                    }
                    done.push(head.seq);
                }
                // Done, unless it becomes a letter.
                Ok(Came::Nothing) => {}
                Err(error) => {
                    tracing::error!("dead letters: record {} cannot be read: {error}", head.seq);
                    done.push(head.seq);
                }
            }
            if !gatherer.is_open() {
                continue;
            }
            done.push(head.seq);
        }
        self.spare = payload;
        done.retain(|record| !self.index.holds(*record));
        done.into_iter().for_each(|record| shared.complete(record));
        Ok(())
    }

    /// Makes what was appended durable, with what is gone. After an error all of it is still to be written, and is at
    /// the next call.
    pub(super) fn sync(&mut self, now_ms: u64) -> io::Result<()> {
        if !self.gone.is_empty() {
            let numbers = std::mem::take(&mut self.gone);
            for chunk in numbers.chunks(GONE_MAX) {
                let record = NewRecord { payload: &pieces::gone(chunk), entries: 1, time_ms: now_ms };
                if self.writer.append(record).is_err() {
                    self.gone.extend_from_slice(chunk);
                }
            }
        }
        self.writer.sync().map(drop)
    }

    /// Lets the reader pass what was written: only what it has given can be done. What is no letter is done at once.
    pub(super) fn catch_up(&mut self, shared: &Buffer) {
        let mut payload = std::mem::take(&mut self.spare);
        loop {
            let is_held = |seq| self.hold.is_some_and(|hold| seq >= hold);
            match self.reader.peek() {
                Ok(Some(head)) if is_held(head.seq) => break,
                _ => {}
            }
            match self.reader.next(&mut payload) {
                Ok(Some(head)) => {
                    self.read_to = head.seq + u64::from(head.entries);
                    if !self.index.holds(head.seq) {
                        shared.complete(head.seq);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!("dead letters: cannot be read now, trying again: {error}");
                    break;
                }
            }
        }
        self.spare = payload;
    }

    /// Takes a letter out, and frees its records.
    pub(super) fn take_out(&mut self, number: u64, shared: &Buffer) -> Option<(Arc<str>, Row)> {
        let row = self.index.remove(number)?;
        for record in number..number + u64::from(row.records) {
            // What the reader has not given yet is freed when it does.
            if record < self.read_to {
                shared.complete(record);
            }
        }
        Some((self.index.sink(&row), row))
    }

    /// None of what was appended counts: whoever brought it will bring it again.
    pub(super) fn take_back(&mut self, written: &[u64], error: io::Error) -> io::Error {
        self.gone.extend_from_slice(written);
        self.hold = None;
        error
    }
}
