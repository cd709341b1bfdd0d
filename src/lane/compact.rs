//! The lane's own buffer for small selections, so that a few entries do not pin the blocks they came in.

use crate::block::{Block, Blocks, Cut, ORDINARY};
use crate::labels::SourceId;
use crate::pool::{Owned, Shared};
use std::sync::{Arc, OnceLock};

/// Where a waiting item's text is.
pub enum Text {
    /// In a block nobody changes any more.
    Sealed(Shared<Block>),
    /// In a compaction buffer that may still be open; it is sealed at the latest when the item leaves.
    Compact(Arc<Buffer>),
}

/// A compaction buffer as its items know it.
pub struct Buffer {
    source: SourceId,
    sealed: OnceLock<Shared<Block>>,
}

impl Text {
    /// The source all its entries are of.
    pub fn source(&self) -> Option<SourceId> {
        match self {
            Text::Sealed(block) => block.runs().first().map(|run| run.stream.source),
            Text::Compact(buffer) => Some(buffer.source),
        }
    }

    /// A further handle to it as sealed text, or `None` while it is open.
    pub fn sealed(&self) -> Option<Text> {
        match self {
            Text::Sealed(block) => Some(Text::Sealed(block.clone())),
            Text::Compact(buffer) => buffer.sealed.get().cloned().map(Text::Sealed),
        }
    }
}

/// The open buffer of a lane, if it has one.
pub struct Compactor {
    blocks: Blocks,
    open: Option<Open>,
}

struct Open {
    block: Owned<Block>,
    buffer: Arc<Buffer>,
    /// What it was counted as when it was opened.
    footprint: usize,
}

impl Compactor {
    /// One without a buffer.
    pub fn new(blocks: Blocks) -> Self {
        Compactor { blocks, open: None }
    }

    /// Copies the selected entries of `cut` to the open buffer, opening another when they do not fit or are of another
    /// source. Gives where they are now, or `None` if they do not fit an empty one.
    pub fn copy(&mut self, block: &Block, cut: &Cut, pinned: &mut usize) -> Option<(Text, Cut)> {
        let stream = block.stream_of(cut.range.start as usize);
        for _ in 0..2 {
            if self.open.as_ref().is_some_and(|open| open.buffer.source != stream.source) {
                self.seal(pinned);
            }
            let open = self.open.get_or_insert_with(|| Open::new(&self.blocks, stream.source, pinned));
            let before = (open.block.entries().len(), open.block.text().len());
            open.block.begin_run(stream);
            let span = cut.range.start as usize..cut.range.end as usize;
            let mut places = crate::block::selected(block.selection(cut.row.into()), span);
            if places.all(|place| open.block.copy_entry(block, place)) {
                open.block.pin(0, 1);
                let range = before.0 as u32..open.block.entries().len() as u32;
                let cut = Cut { lane: 0, row: 0, range, entries: cut.entries, bytes: cut.bytes };
                return Some((Text::Compact(Arc::clone(&open.buffer)), cut));
            }
            open.block.truncate(before.0);
            open.block.shrink(before.1);
            self.seal(pinned);
        }
        None
    }

    /// Seals the open buffer if it is the one `text` is in.
    pub fn seal_if_open(&mut self, text: &Text, pinned: &mut usize) {
        if let Text::Compact(buffer) = text
            && buffer.sealed.get().is_none()
        {
            self.seal(pinned);
        }
    }

    /// The block that `text` is in, sealed.
    pub fn block_of(&mut self, text: Text, pinned: &mut usize) -> Shared<Block> {
        self.seal_if_open(&text, pinned);
        match text.sealed() {
            Some(Text::Sealed(block)) => block,
            _ => unreachable!("a buffer that is not sealed is the open one, and that was just sealed"),
        }
    }

    fn seal(&mut self, pinned: &mut usize) {
        let Some(Open { mut block, buffer, footprint }) = self.open.take() else { return };
        block.want_all();
        let block = block.share();
        *pinned = *pinned - footprint + block.footprint();
        // The pin of the open buffer itself goes; if it was the last one, so does the block.
        if block.unpin(0) {
            *pinned -= block.footprint();
        }
        let first = buffer.sealed.set(block).is_ok();
        debug_assert!(first, "a buffer is sealed once");
    }
}

impl Open {
    fn new(blocks: &Blocks, source: SourceId, pinned: &mut usize) -> Self {
        let mut block = blocks.get(ORDINARY);
        block.open_selections(0, 1);
        block.pin(0, 1);
        let footprint = block.footprint();
        *pinned += footprint;
        Open { block, buffer: Arc::new(Buffer { source, sealed: OnceLock::new() }), footprint }
    }
}
