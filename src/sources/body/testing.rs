//! What tests of readers share.

use super::{EntryOut, Full, Item, LabelText, Reader, Refused, Why, put, room};
use crate::block::Block;
use crate::entry::unescape;
use crate::labels::{Labels, SourceId, Stream};
use std::sync::Arc;

/// What a reader gave, in words.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    pub texts: Vec<String>,
    pub times: Vec<Option<i64>>,
    /// Per entry: its labels and metadata.
    pub with: Vec<(Vec<(String, String)>, Vec<(String, String)>)>,
    pub refused: Vec<String>,
}

struct Out {
    taken: Taken,
    labels: Vec<(String, String)>,
    block: Block,
    stream: Arc<Stream>,
    /// Every other time there is no room.
    full: bool,
    shy: bool,
}

impl EntryOut for Out {
    fn stream(&mut self, labels: LabelText<'_>) -> Result<(), Why> {
        self.labels = labels.read(9)?;
        Ok(())
    }

    fn entry(&mut self, item: &Item<'_>) -> Result<(), Full> {
        self.full = self.shy && !self.full;
        if self.full {
            return Err(Full);
        }
        self.block = Block::new(room(item, 1 << 20).max(64 << 10));
        put(&mut self.block, &self.stream, item, 1 << 20)?;
        self.block.reset_side();
        let view = self.block.view(0);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = |field: &crate::block::FieldView<'_>| match field.key_escaped() {
            true => text(&unescape(field.key()).unwrap()),
            false => text(field.key()),
        };
        self.taken.texts.push(text(view.text()));
        self.taken.times.push(item.time);
        let pairs = view.fields().map(|field| (name(&field), text(&field.text()))).collect();
        self.taken.with.push((self.labels.clone(), pairs));
        Ok(())
    }

    fn refused(&mut self, refused: Refused) {
        self.taken.refused.push(refused.to_string());
    }
}

/// All that `reader` finds in `body`; the same whether it is put aside in between or not.
pub(crate) fn take(reader: Reader, body: &[u8]) -> Taken {
    let once = |mut reader: Reader, shy| {
        let stream = Arc::new(Stream::new(SourceId(0), "s".into(), "test", "o", Labels::default()));
        let taken = Taken::default();
        let mut out = Out { taken, labels: Vec::new(), block: Block::new(1), stream, full: false, shy };
        while !reader.pour(body, &mut out) {
            assert!(shy);
        }
        out.taken
    };
    let taken = once(reader, true);
    assert_eq!(taken, once(reader, false));
    taken
}
