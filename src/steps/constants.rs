//! The bytes that steps bring from the config: names and values that are the same for every entry.

use crate::entry::{Slice, Space};
use std::collections::HashMap;
use std::sync::Arc;

/// Collects the constants of one pipeline in one buffer; its slices are of [`Space::Constant`].
#[derive(Debug, Default)]
pub struct Constants {
    bytes: Vec<u8>,
    known: HashMap<Box<[u8]>, Slice>,
}

impl Constants {
    /// Most bytes of constants one pipeline may have.
    pub const LEN_MAX: usize = 1 << 20;

    /// The place of `bytes`, put in if they are not there yet; `None` if they do not fit.
    pub fn intern(&mut self, bytes: &[u8]) -> Option<Slice> {
        if let Some(known) = self.known.get(bytes) {
            return Some(*known);
        }
        let offset = self.bytes.len();
        if offset + bytes.len() > Constants::LEN_MAX {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        let slice = Slice { space: Space::Constant, offset: offset as u32, len: bytes.len() as u32 };
        self.known.insert(bytes.into(), slice);
        Some(slice)
    }

    /// Each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Slice)> {
        self.known.iter().map(|(bytes, slice)| (&**bytes, *slice))
    }

    /// All of them, for [`crate::block::Block::set_constants`].
    pub fn finish(self) -> Arc<[u8]> {
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_kept_once_and_too_many_are_refused() {
        let mut constants = Constants::default();
        let (a, b, again) = (constants.intern(b"ab"), constants.intern(b"c"), constants.intern(b"ab"));
        assert_eq!((a, a.map(|slice| slice.offset), b.map(|slice| slice.offset)), (again, Some(0), Some(2)));
        assert_eq!(constants.intern(&vec![0; Constants::LEN_MAX]), None);
        assert_eq!(&*constants.finish(), b"abc");
    }
}
