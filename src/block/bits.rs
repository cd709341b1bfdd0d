//! Rows of bits over a block's entries.

use std::ops::Range;

/// Sets the first `count` bits.
pub(super) fn fill(bits: &mut [u64], count: usize) {
    for (word, bits) in bits.iter_mut().enumerate() {
        let here = count.saturating_sub(word * 64).min(64);
        *bits = if here == 64 { u64::MAX } else { (1 << here) - 1 };
    }
}

/// The places in `range` whose bit is set, in order.
pub fn selected(bits: &[u64], range: Range<usize>) -> impl Iterator<Item = usize> + Clone + '_ {
    let words = range.start / 64..range.end.div_ceil(64);
    words.flat_map(move |word| {
        let mut left = bits[word];
        if word == range.start / 64 {
            left &= u64::MAX << (range.start % 64);
        }
        if word == range.end / 64 {
            left &= (1 << (range.end % 64)) - 1;
        }
        std::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize;
            (left != 0).then(|| {
                left &= left - 1;
                word * 64 + at
            })
        })
    })
}

/// How many places in `range` have their bit set.
pub fn count_selected(bits: &[u64], range: Range<usize>) -> usize {
    let (start, end) = (range.start, range.end);
    (start / 64..end.div_ceil(64))
        .map(|word| {
            let mut left = bits[word];
            if word == start / 64 {
                left &= u64::MAX << (start % 64);
            }
            if word == end / 64 {
                left &= (1 << (end % 64)) - 1;
            }
            left.count_ones() as usize
        })
        .sum()
}
