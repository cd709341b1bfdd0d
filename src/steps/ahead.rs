//! Looking ahead: what the step behind `parse: json` is sure to take out need not be parsed.
//!
//! `keep: 'level == "error"'` holds only for entries in whose text `error` stands, or an escape that may spell it. One
//! search through the text of the whole block finds those; the others go by `parse` as they are, and `keep`, to which
//! they have no `level`, takes them out as it would have. What does not even look like an object is parsed all the same,
//! so that it counts as an error of `parse`.

use crate::block::{Block, selected};
use crate::expr::Expr;
use memchr::memmem::Finder;
use smallvec::SmallVec;
use std::ops::Range;

/// Most texts that are searched for.
const NEEDLES_MAX: usize = 8;
/// Words of bits that need no allocation: those of a block of the most entries.
const WORDS: usize = crate::block::ENTRIES_MAX / 64;

/// What an entry must have in its text for the step behind to let it through: one of these.
#[derive(Clone, Debug)]
pub struct Ahead {
    needles: Vec<Finder<'static>>,
}

/// The entries of a block that were set aside, by bits.
#[derive(Default)]
pub struct Aside {
    first: usize,
    bits: SmallVec<[u64; WORDS]>,
}

impl Ahead {
    /// What `keep` asks of the text; `None` if it may let through what has nothing in particular in it.
    pub fn of(keep: &Expr) -> Option<Ahead> {
        let needles = keep.needles_in_fields().filter(|needles| needles.len() <= NEEDLES_MAX)?;
        Some(Ahead { needles: needles.into_iter().map(|needle| Finder::new(needle).into_owned()).collect() })
    }

    /// Takes the wanted entries of `range` that the step behind is sure to take out from among the wanted ones, until
    /// they are [put back](Aside::put_back).
    pub fn set_aside(&self, block: &mut Block, range: Range<usize>) -> Aside {
        // What is searched is the text; where entries have fields already, or another text, that says nothing.
        if block.has_fields() || block.has_replaced() || range.is_empty() {
            return Aside::default();
        }
        let words = range.start / 64..range.end.div_ceil(64);
        let mut maybe: SmallVec<[u64; WORDS]> = SmallVec::from_elem(0, words.len());
        for needle in &self.needles {
            mark(block, range.clone(), words.start, &mut maybe, |text| needle.find(text));
        }
        mark(block, range.clone(), words.start, &mut maybe, |text| memchr::memchr(b'\\', text));
        let mut aside = Aside { first: words.start, bits: maybe };
        for (at, bits) in aside.bits.iter_mut().enumerate() {
            let word = words.start + at;
            let here = range.start.max(word * 64) - word * 64..range.end.min(word * 64 + 64) - word * 64;
            let within = if here.len() == 64 { u64::MAX } else { ((1 << here.len()) - 1) << here.start };
            let surely = block.selection(0)[word] & within & !*bits;
            *bits = 0;
            for place in selected(&[surely], 0..64) {
                let entry = block.entries()[word * 64 + place];
                let text = &block.text()[entry.offset as usize..][..entry.len as usize];
                *bits |= u64::from(looks_like_an_object(text)) << place;
            }
            block.parts().live[word] &= !*bits;
        }
        aside
    }
}

impl Aside {
    /// Makes them wanted again.
    pub fn put_back(self, block: &mut Block) {
        let live = block.parts().live;
        for (live, bits) in live[self.first..].iter_mut().zip(self.bits) {
            *live |= bits;
        }
    }
}

/// Sets the bits of the entries in whose text `find` finds something.
fn mark(
    block: &Block,
    range: Range<usize>,
    first_word: usize,
    bits: &mut [u64],
    find: impl Fn(&[u8]) -> Option<usize>,
) {
    let (text, entries) = (block.text(), block.entries());
    let last = &entries[range.end - 1];
    let (mut index, end) = (range.start, (last.offset + last.len) as usize);
    let mut from = entries[index].offset as usize;
    while let Some(found) = find(&text[from..end]) {
        let place = from + found;
        // Entries stand in the text in their order.
        while (entries[index].offset + entries[index].len) as usize <= place {
            index += 1;
        }
        if entries[index].offset as usize <= place {
            bits[index / 64 - first_word] |= 1 << (index % 64);
            index += 1;
        }
        if index == range.end {
            return;
        }
        // Nothing more need be found in this one, and nothing lies between two.
        from = entries[index].offset as usize;
    }
}

fn looks_like_an_object(text: &[u8]) -> bool {
    let text = if text.starts_with(b"{") && text.ends_with(b"}") { return true } else { text.trim_ascii() };
    text.starts_with(b"{") && text.ends_with(b"}")
}
