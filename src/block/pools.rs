//! Where blocks come from and go back to, by size.

use super::{Block, CLASSES};
use crate::pool::{Owned, PAGE, Pool};
use std::sync::Arc;

/// The pools of all classes, shared by everyone who needs blocks. Cheap to clone.
#[derive(Clone)]
pub struct Blocks(Arc<[(usize, Pool<Block>)]>);

impl Blocks {
    /// Pools of the ordinary classes and, if `largest` is more than those hold, one for blocks of that many bytes.
    pub fn new(largest: usize) -> Self {
        let sizes = CLASSES.into_iter().chain(Some(largest).filter(|size| *size > CLASSES[2]));
        Blocks(sizes.map(|size| (size.next_multiple_of(PAGE), Pool::default())).collect())
    }

    /// The smallest class with room for `text` bytes, or the largest there is.
    pub fn class(&self, text: usize) -> usize {
        let class = self.0.iter().find(|(size, _)| *size >= text).or(self.0.last());
        class.map_or(0, |(size, _)| *size)
    }

    /// An empty block of the smallest class with room for `text` bytes.
    pub fn get(&self, text: usize) -> Owned<Block> {
        let class = self.class(text);
        let pool = self.0.iter().find(|(size, _)| *size == class).map(|(_, pool)| pool);
        let Some(pool) = pool else { unreachable!("class() names a class that exists") };
        pool.get(|| Block::new(class))
    }

    /// Per class: text bytes, blocks made, blocks free.
    pub fn census(&self) -> Vec<(usize, usize, usize)> {
        let row = |(size, pool): &(usize, Pool<Block>)| {
            let (made, free) = pool.census();
            (*size, made, free)
        };
        self.0.iter().map(row).collect()
    }

    /// Gives the memory of free blocks back to the system, but for a few of each class.
    pub fn trim(&self) {
        for (size, pool) in self.0.iter() {
            pool.trim((1 << 20) / size);
        }
    }

    /// Moves a part-filled block into the smallest class that holds it, so that a few lines do not pin 64 KiB.
    pub fn fit(&self, mut block: Owned<Block>) -> Owned<Block> {
        if self.class(block.text_len) >= block.capacity() {
            return block;
        }
        let mut small = self.get(block.text_len);
        let whole = small.append(block.text());
        debug_assert!(whole.is_some(), "the class was chosen to hold it");
        small.entries.extend_from_slice(&block.entries);
        small.runs.extend_from_slice(&block.runs);
        small.streams_bytes = block.streams_bytes;
        small.time = block.time;
        small.take_given(&mut block);
        small
    }
}
