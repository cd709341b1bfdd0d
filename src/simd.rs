//! Work on many bytes at once, by the widest instructions there are; and which bytes of a 64-byte word mean something
//! to JSON, in one pass over the text.
//!
//! A [`Scan`] is a token: to hold one is the proof that this processor has its instructions, so that marking a word
//! needs no check. [`Isa::detect`] asks the processor once; [`Isa::run`] compiles a whole task once per token, so that
//! the marks stay in registers.
//!
//! Not here: what escapes what, and where a string ends (the walk knows).
//!
//! Source of the classification: Langdale, Lemire, *Parsing gigabytes of JSON per second*, section 3.1. Unlike there,
//! brackets, colons and commas are not marked: the walk stands in front of each of them anyway. AVX-512BW, which marks
//! a word in four comparisons, was tried and lost to AVX2 (101 to 93 ns a line of 250 bytes): the marks are not what
//! the walk waits for.

/// Bytes in a word.
pub const WORD: usize = 64;

/// What a word holds, a bit per byte, the first byte lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// `"`, escaped or not.
    pub quote: u64,
    /// `\`.
    pub backslash: u64,
    /// Below 0x20.
    pub control: u64,
    /// Above 0x7f: part of a character of several bytes, or of none.
    pub high: u64,
}

/// A way of marking words.
pub trait Scan: Copy {
    /// Marks the bytes of `word`.
    fn marks(self, word: &[u8; WORD]) -> Marks;
}

/// Work that is compiled once per instruction set.
///
/// `go` and all it calls in its inner loops must be `#[inline(always)]`: only what is inlined gets the instructions.
pub trait Task {
    /// What the work gives.
    type Out;
    /// Does it.
    fn go<S: Scan>(self, scan: S) -> Self::Out;
}

/// The instruction sets that have their own [`Scan`].
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// 32 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// 8 bytes at once, on any processor.
    Portable(Portable),
}

impl Isa {
    /// The best of them that this processor has.
    pub fn detect() -> Self {
        Isa::all()[0]
    }

    /// All that this processor has, the best first.
    pub fn all() -> Vec<Self> {
        [
            #[cfg(target_arch = "x86_64")]
            x86::Avx2::detect().map(Isa::Avx2),
            Some(Isa::Portable(Portable)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            Isa::Portable(_) => "portable",
        }
    }

    /// Does `task` with these instructions.
    pub fn run<T: Task>(self, task: T) -> T::Out {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(scan) => x86::with_avx2(scan, task),
            Isa::Portable(scan) => task.go(scan),
        }
    }
}

/// Marks 8 bytes at a time in ordinary registers.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const TOP: u64 = 0x8080_8080_8080_8080;

/// The top bit of each byte of `bytes` that equals `byte`. Adding to seven bits only, no carry leaves its byte.
#[inline(always)]
fn equal(bytes: u64, byte: u8) -> u64 {
    let differing = bytes ^ u64::from_ne_bytes([byte; 8]);
    !(((differing & LOW) + LOW) | differing) & TOP
}

/// The top bits of the eight bytes, gathered in the low eight bits.
#[inline(always)]
fn gather(tops: u64) -> u64 {
    (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

impl Scan for Portable {
    #[inline(always)]
    fn marks(self, word: &[u8; WORD]) -> Marks {
        let mut marks = Marks { quote: 0, backslash: 0, control: 0, high: 0 };
        let (groups, _) = word.as_chunks::<8>();
        for (place, group) in groups.iter().enumerate() {
            let bytes = u64::from_le_bytes(*group);
            let at = place * 8;
            marks.quote |= gather(equal(bytes, b'"')) << at;
            marks.backslash |= gather(equal(bytes, b'\\')) << at;
            // 0x20 and above reaches the top bit when 0x60 is added to the low seven.
            let from_space = (bytes & LOW) + 0x6060_6060_6060_6060;
            marks.control |= gather(!(from_space | bytes) & TOP) << at;
            marks.high |= gather(bytes & TOP) << at;
        }
        marks
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Marks, Scan, Task, WORD};
    use std::arch::x86_64::*;

    /// Proof that AVX2 and the bit instructions that came with it are there.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(());

    impl Avx2 {
        pub fn detect() -> Option<Self> {
            let there = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt");
            there.then_some(Avx2(()))
        }
    }

    impl Scan for Avx2 {
        #[inline(always)]
        fn marks(self, word: &[u8; WORD]) -> Marks {
            // SAFETY: an `Avx2` is made only by `Avx2::detect`, after it found all that `marks_avx2` is compiled for.
            unsafe { marks_avx2(word) }
        }
    }

    pub fn with_avx2<T: Task>(scan: Avx2, task: T) -> T::Out {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
        fn inside<T: Task>(scan: Avx2, task: T) -> T::Out {
            task.go(scan)
        }
        // SAFETY: an `Avx2` is made only by `Avx2::detect`, after it found all four features.
        unsafe { inside(scan, task) }
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn marks_avx2(word: &[u8; WORD]) -> Marks {
        let at: *const __m256i = word.as_ptr().cast();
        // SAFETY: `word` is 64 readable bytes, so both halves are; `loadu` asks for no alignment.
        let (low, high) = unsafe { (_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))) };
        let both = |low, high| {
            u64::from(_mm256_movemask_epi8(low) as u32) | (_mm256_movemask_epi8(high) as u64) << 32
        };
        let equal = |byte: u8| {
            let byte = _mm256_set1_epi8(byte as i8);
            both(_mm256_cmpeq_epi8(low, byte), _mm256_cmpeq_epi8(high, byte))
        };
        let below_space = {
            let last = _mm256_set1_epi8(0x1f);
            // The larger of a byte and 0x1f is 0x1f: the byte is no larger. There is no unsigned comparison.
            let below = |bytes| _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, last), last);
            both(below(low), below(high))
        };
        Marks { quote: equal(b'"'), backslash: equal(b'\\'), control: below_space, high: both(low, high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct MarkOne<'a>(&'a [u8; WORD]);

    impl Task for MarkOne<'_> {
        type Out = Marks;
        #[inline(always)]
        fn go<S: Scan>(self, scan: S) -> Marks {
            scan.marks(self.0)
        }
    }

    fn naive(word: &[u8; WORD]) -> Marks {
        let bits = |test: fn(u8) -> bool| {
            word.iter().enumerate().fold(0, |bits, (at, byte)| bits | u64::from(test(*byte)) << at)
        };
        Marks {
            quote: bits(|byte| byte == b'"'),
            backslash: bits(|byte| byte == b'\\'),
            control: bits(|byte| byte < 0x20),
            high: bits(|byte| byte > 0x7f),
        }
    }

    #[test]
    fn every_instruction_set_marks_every_byte_at_every_place_as_a_plain_loop_does() {
        for isa in Isa::all() {
            for byte in 0..=255 {
                for at in 0..WORD {
                    let mut word = [b'x'; WORD];
                    word[at] = byte;
                    assert_eq!(isa.run(MarkOne(&word)), naive(&word), "{isa:?} {byte:#x} at {at}");
                }
            }
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..2000 {
                let mut word = [0; WORD];
                word.fill_with(|| random.u8(..));
                assert_eq!(isa.run(MarkOne(&word)), naive(&word), "{isa:?}");
            }
        }
    }
}
