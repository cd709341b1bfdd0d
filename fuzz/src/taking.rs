//! Takes what a reader finds in a body into blocks, as a source does, and reads it back.

use ringmain::block::Block;
use ringmain::entry::{Entry, unescape};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::pool::Recycle;
use ringmain::sources::body::{EntryOut, Full, Item, LabelText, Reader, Refused, Why, put, room};
use std::sync::Arc;

/// Longest text that is not cut.
pub const TEXT_MAX: usize = 1 << 20;

/// An entry, read back from its block.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub labels: Vec<(String, String)>,
    pub time: Option<i64>,
    pub text: Vec<u8>,
    pub fields: Vec<(String, String)>,
}

/// What became of a body.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub taken: Vec<Taken>,
    pub refused: Vec<Refused>,
}

struct Out {
    outcome: Outcome,
    labels: Vec<(String, String)>,
    block: Block,
    stream: Arc<Stream>,
    /// Refuse the entry once before it is taken.
    shy: bool,
    refusing: bool,
}

impl EntryOut for Out {
    fn stream(&mut self, labels: LabelText<'_>) -> Result<(), Why> {
        self.labels = labels.read(64)?;
        Ok(())
    }

    fn entry(&mut self, item: &Item<'_>) -> Result<(), Full> {
        self.refusing = self.shy && !self.refusing;
        if self.refusing {
            return Err(Full);
        }
        let mut large;
        let block = if room(item, TEXT_MAX) > self.block.capacity() {
            large = Block::new(room(item, TEXT_MAX));
            &mut large
        } else {
            self.block.reset();
            &mut self.block
        };
        put(block, &self.stream, item, TEXT_MAX).expect("an empty block has room");
        block.reset_side();
        let view = block.view(0);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("checked");
        let fields = view.fields().map(|field| {
            let key = if field.key_escaped() {
                unescape(field.key()).expect("checked")
            } else {
                field.key().to_vec()
            };
            (text(&key), text(&field.text()))
        });
        let taken = Taken {
            labels: self.labels.clone(),
            time: (view.entry().flags & Entry::OWN_TIME != 0).then(|| view.time()),
            text: view.text().to_vec(),
            fields: fields.collect(),
        };
        self.outcome.taken.push(taken);
        Ok(())
    }

    fn refused(&mut self, refused: Refused) {
        assert!(!refused.to_string().contains(|c: char| c.is_control()));
        self.outcome.refused.push(refused);
    }
}

/// All of `body`; the same whether the reader is put aside at every entry or never.
pub fn take(reader: Reader, body: &[u8]) -> Outcome {
    let once = |mut reader: Reader, shy| {
        let stream = Arc::new(Stream::new(SourceId(0), "s".into(), "fuzz", "o", Labels::default()));
        let block = Block::new(64 << 10);
        let mut out =
            Out { outcome: Outcome::default(), labels: Vec::new(), block, stream, shy, refusing: false };
        while !reader.pour(body, &mut out) {
            assert!(shy);
        }
        out.outcome
    };
    let outcome = once(reader, false);
    assert_eq!(outcome, once(reader, true));
    outcome
}
