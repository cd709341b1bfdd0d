//! What entries are told apart by, as a number of 128 bits.
//!
//! Two hashes of 64 bits with seeds that nobody outside knows. Equal keys have equal numbers; that an entry has by chance the
//! number of one of a hundred thousand others, happens once in 10^33 entries. So the number stands for the key, and nothing
//! else of it is kept.

use crate::block::Block;
use crate::entry::Kind;
use crate::expr::{ExprError, Name};
use rapidhash::quality::RapidHasher;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// What entries are told apart by.
#[derive(Clone, Debug)]
pub struct Key {
    names: Vec<Name>,
    /// All labels of the stream and the source's name, too.
    labels: bool,
}

impl Key {
    /// By what they have under these names.
    ///
    /// Errors: the place of the name that is none, and what is wrong with it.
    pub fn of(names: &[String]) -> Result<Self, (usize, ExprError)> {
        let name = |(at, name): (usize, &String)| Name::compile(name).map_err(|error| (at, error));
        Ok(Key { names: names.iter().enumerate().map(name).collect::<Result<_, _>>()?, labels: false })
    }

    /// By message, labels and source.
    pub fn of_message() -> Self {
        let names = vec!["message".to_owned()];
        Key { labels: true, ..Key::of(&names).unwrap_or(Key { names: Vec::new(), labels: true }) }
    }

    /// The number of the entry `index`.
    pub fn number(&self, block: &Block, index: usize) -> u128 {
        let mut hash = Hash::new();
        for name in &self.names {
            if !name.see(block, index, |kind, text| hash.add(class(kind), text)) {
                hash.add(0, b"");
            }
        }
        if self.labels {
            let stream = block.stream_of(index);
            hash.add(4, stream.source_name.as_bytes());
            for (name, value) in stream.labels.iter() {
                hash.add(5, name.as_bytes());
                hash.add(6, value.as_bytes());
            }
        }
        hash.finish()
    }
}

/// Text is equal however it was written; nothing else equals text.
fn class(kind: Kind) -> u8 {
    match kind {
        Kind::Plain | Kind::Escaped => 1,
        Kind::Number => 2,
        Kind::Bool | Kind::Null | Kind::Json => 3,
    }
}

/// Puts pieces together to such a number.
pub(super) struct Hash(RapidHasher<'static>, RapidHasher<'static>);

impl Hash {
    pub fn new() -> Self {
        static SEEDS: OnceLock<[u64; 2]> = OnceLock::new();
        // Two draws of the seeds that the standard library gives its maps.
        let seeds = SEEDS.get_or_init(|| [1, 2].map(|draw: u64| RandomState::new().hash_one(draw)));
        Hash(RapidHasher::new(seeds[0]), RapidHasher::new(seeds[1]))
    }

    /// Adds a piece, told apart from its neighbours by its length.
    pub fn add(&mut self, class: u8, text: &[u8]) {
        let head = (text.len() as u64) << 8 | u64::from(class);
        self.0.write_u64(head);
        self.0.write(text);
        self.1.write_u64(head);
        self.1.write(text);
    }

    pub fn finish(&self) -> u128 {
        u128::from(self.0.finish()) << 64 | u128::from(self.1.finish())
    }
}
