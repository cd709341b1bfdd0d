//! Batches for the tests of sinks, made as sources, workers and lanes make them.

use crate::ack::{Ack, Return, Status};
use crate::batch::{Batch, Part};
use crate::block::Block;
use crate::entry::{Entry, Field, Kind};
use crate::labels::{Labels, SourceId, Stream};
use crate::ledger::SinkLedger;
use crate::pool::{Pool, Shared};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::sync::Arc;

/// A stream called `origin` of the source `source`.
pub fn stream(source: &str, origin: &str, labels: &[(&str, &str)]) -> Arc<Stream> {
    let labels = Labels::new(labels.iter().copied());
    Arc::new(Stream::new(SourceId(0), source.into(), "test", origin, labels))
}

/// A block of `stream` whose entries are `lines`, each followed by a newline, stamped with 0.
pub fn block_of<T: AsRef<[u8]>>(stream: &Arc<Stream>, lines: &[T]) -> Block {
    let size = lines.iter().map(|line| line.as_ref().len() + 1).sum::<usize>();
    let mut block = Block::new(size.max(1));
    fill(&mut block, stream, lines);
    finish(&mut block);
    block
}

fn fill<T: AsRef<[u8]>>(block: &mut Block, stream: &Arc<Stream>, lines: &[T]) {
    block.begin_run(stream);
    for line in lines {
        let line = line.as_ref();
        let at = block.append(line).unwrap();
        block.append(b"\n").unwrap();
        block.push(Entry::at(at, line.len() as u32));
    }
}

fn finish(block: &mut Block) {
    block.stamp(0);
    block.reset_side();
    block.open_selections(0, 1);
}

/// Gives the entry `index` one field of each kind, and one whose key is escaped.
pub fn add_fields(block: &mut Block, index: usize) {
    let rows: [(&[u8], &[u8], Kind); 6] = [
        (b"plain", b"a\"b", Kind::Plain),
        (b"escaped", br#"tab\tq\""#, Kind::Escaped),
        (b"number", b"-1.5e3", Kind::Number),
        (b"bool", b"true", Kind::Bool),
        (b"null", b"null", Kind::Null),
        (b"json", b"{\"a\": [1,\n\t{\"b\":\"c\"}]}".as_slice(), Kind::Json),
    ];
    for (key, value, kind) in rows {
        add_field(block, index, key, value, kind);
    }
    let (key, value) = (block.store(br#"esc\"key"#).unwrap(), block.store(b"v").unwrap());
    block.set_field(index, Field::new(key, value, Kind::Plain).with_escaped_key()).unwrap();
}

/// Gives the entry `index` a field.
pub fn add_field(block: &mut Block, index: usize, key: &[u8], value: &[u8], kind: Kind) {
    let (key, value) = (block.store(key).unwrap(), block.store(value).unwrap());
    block.set_field(index, Field::new(key, value, kind)).unwrap();
}

/// Hears what became of blocks.
#[derive(Default)]
pub struct Heard(pub Mutex<Vec<(u64, Status)>>);

impl Return for Heard {
    fn settled(&self, number: u64, status: Status) {
        self.0.lock().push((number, status));
    }
}

/// Builds a batch part by part.
pub struct Builder {
    batch: Batch,
    pool: Pool<Block>,
    heard: Arc<Heard>,
    blocks: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            batch: Batch::new(Arc::new(CachePadded::new(SinkLedger::default()))),
            pool: Pool::default(),
            heard: Arc::default(),
            blocks: 0,
        }
    }
}

impl Builder {
    /// Adds a block of `lines` of one stream.
    pub fn lines<T: AsRef<[u8]>>(self, stream: &Arc<Stream>, lines: &[T]) -> Self {
        self.block(block_of(stream, lines))
    }

    /// Adds all wanted entries of `block`.
    pub fn block(mut self, block: Block) -> Self {
        let mut owned = self.pool.get(|| Block::new(1));
        *owned = block;
        self.push(owned.share());
        self
    }

    fn push(&mut self, block: Shared<Block>) {
        let whole = Arc::new(Ack::new(self.blocks, self.heard.clone())).whole();
        self.blocks += 1;
        for run in block.runs() {
            let mut part = Part {
                block: block.clone(),
                range: run.first..run.end,
                row: 0,
                entries: 0,
                bytes: 0,
                pin: 0,
            };
            part.entries = part.places().count() as u32;
            part.bytes = part.iter().map(|entry| u64::from(entry.entry().len)).sum();
            if part.entries > 0 {
                let hold = whole.more(part.entries);
                self.batch.push(part, hold);
            }
        }
        whole.settle(Status::Delivered);
    }

    /// The batch, and who hears what becomes of it.
    pub fn build(self) -> (Batch, Arc<Heard>) {
        (self.batch, self.heard)
    }
}

/// A batch of `lines` of one stream.
pub fn batch_of<T: AsRef<[u8]>>(stream: &Arc<Stream>, lines: &[T]) -> Batch {
    Builder::default().lines(stream, lines).build().0
}
