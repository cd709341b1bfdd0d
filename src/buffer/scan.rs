//! Finds the records of one segment, whatever its bytes are.
//!
//! A scanner walks from record to record. Where there is none it looks at every eighth byte behind for the next one that
//! is valid with the segment's salt, and says which range was passed over. Its memory is one payload and one window.

use super::record::{ALIGN, Claim, HEAD, Kind};
use super::segment::HEADER;
use super::{PAYLOAD_MAX, RecordHead};
use crate::storage_io::StorageFile;
use std::io;

/// Bytes looked at together when the next record is searched for.
const WINDOW: usize = 64 << 10;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record with entries, whose payload was read, and its checksum.
    Record(RecordHead, u32),
    /// The seal, whose payload was read: nothing behind it belongs to the segment.
    Seal(RecordHead),
    /// No record from here to there; at the end there is one, or the limit.
    Bad(u64, u64),
    /// Nothing more up to the limit.
    End,
}

/// Walks through a segment.
pub struct Scanner {
    file: Box<dyn StorageFile>,
    salt: u64,
    at: u64,
}

impl Scanner {
    /// Begins behind the header.
    pub fn new(file: Box<dyn StorageFile>, salt: u64) -> Scanner {
        Scanner { file, salt, at: HEADER as u64 }
    }

    /// Where it stands: behind what it gave last.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The file.
    pub fn file(&self) -> &dyn StorageFile {
        &*self.file
    }

    /// What stands here, no byte at or behind `limit` looked at. A payload replaces what `payload` held.
    ///
    /// Errors: the file cannot be read here; it stays where it is.
    pub fn step(&mut self, limit: u64, payload: &mut Vec<u8>) -> io::Result<Step> {
        if self.at >= limit {
            return Ok(Step::End);
        }
        if let Some(claim) = self.record_at(self.at, limit, payload)? {
            self.at += claim.size();
            return Ok(match claim.kind {
                Kind::Data => Step::Record(claim.head, claim.crc()),
                Kind::Seal => Step::Seal(claim.head),
            });
        }
        let from = self.at;
        self.at = self.search(from + ALIGN, limit, payload, false)?;
        Ok(Step::Bad(from, self.at))
    }

    /// Takes what stands here for damaged, unread, and so whatever cannot be read on the way to the next record.
    pub fn pass_unreadable(&mut self, limit: u64, payload: &mut Vec<u8>) -> io::Result<Step> {
        let from = self.at;
        self.at = self.search(from + ALIGN, limit, payload, true)?;
        Ok(Step::Bad(from, self.at))
    }

    /// The record at a place, if a valid one stands there, with its payload.
    fn record_at(&self, at: u64, limit: u64, payload: &mut Vec<u8>) -> io::Result<Option<Claim>> {
        let mut head = [0; HEAD];
        if limit - at < HEAD as u64 || self.file.read_at(&mut head, at)? < HEAD {
            return Ok(None);
        }
        let Some(claim) = Claim::read(&head, self.salt) else { return Ok(None) };
        // Before anything is reserved for it. The padding may be cut off: it says nothing.
        let len = claim.head.len as usize;
        if len > PAYLOAD_MAX || limit - at - (HEAD as u64) < len as u64 {
            return Ok(None);
        }
        payload.resize(len, 0);
        let read = self.file.read_at(payload, at + HEAD as u64)?;
        Ok((read == len && claim.holds(&head, payload, self.salt)).then_some(claim))
    }

    /// The first place at or behind `at` where a valid record stands, or the limit. With `force`, what cannot be read has
    /// no records.
    fn search(&self, mut at: u64, limit: u64, payload: &mut Vec<u8>, force: bool) -> io::Result<u64> {
        let mut window = vec![0; WINDOW + HEAD];
        while at < limit {
            let want = window.len().min((limit - at) as usize);
            let read = match self.file.read_at(&mut window[..want], at) {
                Err(_) if force => 0,
                read => read?,
            };
            let places = read.saturating_sub(HEAD - 1).min(WINDOW);
            for place in (0..places).step_by(ALIGN as usize) {
                let head = window[place..].first_chunk();
                if head.is_none_or(|head| Claim::read(head, self.salt).is_none()) {
                    continue;
                }
                let here = at + place as u64;
                match self.record_at(here, limit, payload) {
                    Ok(Some(_)) => return Ok(here),
                    Err(error) if !force => return Err(error),
                    _ => {}
                }
            }
            at += WINDOW as u64;
        }
        Ok(limit)
    }
}
