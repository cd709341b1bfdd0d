//! The thread that reads: gives the back lane what is on disk, as far ahead as that has room.

use super::{AGAIN, DiskLane};
use crate::ack::{Ack, Return, Status};
use crate::block::{Block, Blocks};
use crate::buffer::{PAYLOAD_MAX, Reader, RecordHead, Seq};
use crate::labels::SourceId;
use crate::ledger::Reason;
use crate::payload::{Decoder, Malformed};
use crate::pool::Owned;
use crate::thread::{Doing, Row};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long it sleeps when nobody has anything to tell.
const LOOK: Duration = Duration::from_secs(60);

/// The equipment of the thread that reads.
pub struct Fetcher {
    disk: Arc<DiskLane>,
    reader: Reader,
    decoder: Decoder,
    blocks: Blocks,
    payload: Vec<u8>,
    decoded: Vec<Owned<Block>>,
    /// Everything below was read, passed over or lost.
    read: Seq,
    /// How many entries of the buffer are counted as lost.
    lost: u64,
}

/// What the reader is to do.
enum Todo {
    Read,
    MakeRoom,
    End,
}

impl Fetcher {
    /// Reads what `disk` has by `reader`. In this process its entries are of `source`; `types` are the types of source
    /// there are. Its blocks count together with `blocks`.
    pub fn new(
        disk: Arc<DiskLane>,
        reader: Reader,
        source: SourceId,
        types: &'static [&'static str],
        blocks: &Blocks,
    ) -> Self {
        Fetcher {
            disk,
            reader,
            decoder: Decoder::new(source, types),
            blocks: blocks.beside(PAYLOAD_MAX),
            payload: Vec::new(),
            decoded: Vec::new(),
            read: 0,
            lost: 0,
        }
    }

    /// Reads until it is told to end.
    pub fn run(mut self, row: &Row) {
        loop {
            match self.next_todo(row) {
                Todo::Read => self.fetch(row),
                Todo::MakeRoom => self.make_room(),
                Todo::End => break,
            }
        }
        self.disk.back.close();
    }

    /// Waits until there is something to do.
    fn next_todo(&mut self, row: &Row) -> Todo {
        loop {
            self.disk.pass_by(self.read);
            // Asked before the signals are held: whoever opens it rings.
            let open = self.disk.gate.is_open() && self.disk.ahead.load(Relaxed) <= self.disk.ahead_max;
            let mut signals = self.disk.signals.lock();
            if signals.leave {
                return Todo::End;
            }
            if signals.needs_room {
                signals.needs_room = false;
                return Todo::MakeRoom;
            }
            let all_read = self.read >= signals.safe;
            if !all_read && open {
                row.set(Doing::Working);
                return Todo::Read;
            }
            if all_read && signals.finish && signals.written {
                return Todo::End;
            }
            if !signals.rung {
                if all_read {
                    // What a backlog took is not needed for what comes now and then.
                    self.blocks.trim();
                }
                row.set(if all_read { Doing::Idle } else { Doing::Blocked });
                self.disk.wait(&mut signals, LOOK);
            }
            signals.rung = false;
        }
    }

    /// Reads one record and gives it to the back lane.
    fn fetch(&mut self, row: &Row) {
        let next = self.reader.next(&mut self.payload);
        self.count_lost();
        match next {
            Ok(Some(head)) => {
                self.read = head.seq + u64::from(head.entries);
                self.give(head);
            }
            // What is durable and does not come was lost or passed over.
            Ok(None) => self.read = self.disk.signals.lock().safe,
            Err(error) => {
                tracing::error!(
                    "sink {}: its buffer cannot be read, trying again: {error}",
                    self.disk.name()
                );
                row.set(Doing::BackingOff);
                let mut signals = self.disk.signals.lock();
                if !signals.leave {
                    self.disk.wait(&mut signals, AGAIN);
                }
            }
        }
    }

    fn give(&mut self, head: RecordHead) {
        let decoded = self.decoder.decode(&self.payload, &self.blocks, &mut self.decoded);
        let right = decoded.and_then(|entries| {
            let same = entries == head.entries;
            same.then_some(()).ok_or(Malformed::Bytes("it has not as many entries as its record says"))
        });
        if let Err(error) = right {
            self.decoded.clear();
            tracing::error!(
                "sink {}: {} entries in its buffer cannot be understood, dropped: {error}",
                self.disk.name(),
                head.entries
            );
            self.disk.count_lost(head.entries.into());
            return self.disk.settled(head.seq, Status::Dropped);
        }
        let bytes = u64::from(head.len);
        self.disk.ahead.fetch_add(bytes, Relaxed);
        let back = Arc::new(Record { disk: Arc::clone(&self.disk), bytes });
        let whole = Arc::new(Ack::new(head.seq, back)).whole();
        let now = Instant::now();
        for mut block in self.decoded.drain(..) {
            block.add_cuts(0, 0);
            self.disk.back.push_read(&block.share(), &whole, now);
        }
        whole.settle(Status::Delivered);
    }

    /// Drops the oldest that nobody has in hand.
    fn make_room(&mut self) {
        let before = self.disk.view().segments;
        let made = loop {
            match self.skip() {
                Ok(_) if self.disk.view().segments < before => break true,
                // What is left of a segment goes, and of the next one as well if somebody has a part of the first.
                Ok(entries) if entries > 0 => {}
                Ok(_) => break false,
                Err(error) => {
                    tracing::error!("sink {}: no room can be made in its buffer: {error}", self.disk.name());
                    break false;
                }
            }
        };
        self.disk.signals.lock().room = Some(made);
        self.disk.ring();
    }

    fn skip(&mut self) -> std::io::Result<u64> {
        let skipped = self.reader.skip_segment();
        self.count_lost();
        let entries = skipped?.entries;
        self.disk.sink.row.persisted.sub(entries);
        self.disk.sink.row.dropped.add(Reason::DropOldest, entries);
        self.disk.buffer.persist()?;
        Ok(entries)
    }

    fn count_lost(&mut self) {
        let lost = self.disk.view().lost_entries;
        if lost > self.lost {
            let more = lost - self.lost;
            tracing::error!("sink {}: {more} entries in its buffer are damaged and lost", self.disk.name());
            self.disk.count_lost(more);
            self.lost = lost;
        }
    }
}

/// A record on its way to the sink.
struct Record {
    disk: Arc<DiskLane>,
    bytes: u64,
}

impl Return for Record {
    fn settled(&self, number: u64, status: Status) {
        // Relaxed: the bell orders it before the reader looks again.
        let before = self.disk.ahead.fetch_sub(self.bytes, Relaxed);
        self.disk.settled(number, status);
        if before > self.disk.ahead_max {
            self.disk.ring();
        }
    }
}
