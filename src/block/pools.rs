//! Where blocks come from and go back to, by size.

use super::{Block, CLASSES};
use crate::pool::{Owned, PAGE, Pool, Stock};
use std::sync::Arc;

/// The pools of all classes, shared by everyone who needs blocks. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    pools: Arc<[(usize, Pool<Block>)]>,
    stock: Arc<Stock>,
}

impl Blocks {
    /// Pools of the ordinary classes and, if `largest` is more than those hold, one for blocks of that many bytes.
    pub fn new(largest: usize) -> Self {
        Blocks::of(largest, Arc::default())
    }

    /// Pools of their own, whose blocks count together with these.
    pub fn beside(&self, largest: usize) -> Self {
        Blocks::of(largest, Arc::clone(&self.stock))
    }

    fn of(largest: usize, stock: Arc<Stock>) -> Self {
        let sizes = CLASSES.into_iter().chain(Some(largest).filter(|size| *size > CLASSES[2]));
        let pool = |size: usize| (size.next_multiple_of(PAGE), Pool::of(Arc::clone(&stock)));
        Blocks { pools: sizes.map(pool).collect(), stock }
    }

    /// The memory of all these blocks, and its limit.
    pub fn stock(&self) -> &Stock {
        &self.stock
    }

    /// The smallest class with room for `text` bytes, or the largest there is.
    pub fn class(&self, text: usize) -> usize {
        let class = self.pools.iter().find(|(size, _)| *size >= text).or(self.pools.last());
        class.map_or(0, |(size, _)| *size)
    }

    /// An empty block of the smallest class with room for `text` bytes.
    pub fn get(&self, text: usize) -> Owned<Block> {
        let class = self.class(text);
        let pool = self.pools.iter().find(|(size, _)| *size == class).map(|(_, pool)| pool);
        let Some(pool) = pool else { unreachable!("class() names a class that exists") };
        pool.get(|| {
            // Those of other sizes that nobody uses make room for it.
            if self.stock.is_over(class) {
                self.pools.iter().for_each(|(_, pool)| pool.trim(0));
            }
            Block::new(class)
        })
    }

    /// Per class: text bytes, blocks made, blocks free.
    pub fn census(&self) -> Vec<(usize, usize, usize)> {
        let row = |(size, pool): &(usize, Pool<Block>)| {
            let (made, free) = pool.census();
            (*size, made, free)
        };
        self.pools.iter().map(row).collect()
    }

    /// Gives the memory of free blocks back to the system, but for a few of each class.
    pub fn trim(&self) {
        for (size, pool) in self.pools.iter() {
            pool.trim((1 << 20) / size);
        }
    }

    /// Gives the memory of all free blocks back.
    pub fn trim_all(&self) {
        self.pools.iter().for_each(|(_, pool)| pool.trim(0));
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
