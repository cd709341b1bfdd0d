//! Bodies as they were sent to bodies as they were meant, within limits that hold while inflating.
//!
//! What a body claims about itself is compared with the limits before memory is taken for it, and what it makes
//! grows towards the limit and never past it: a bomb costs what an honest body of the same size may cost.
//!
//! Formats: gzip (RFC 1952), zlib and deflate (RFC 1950, 1951), zstd (RFC 8878), snappy
//! (<https://github.com/google/snappy>, `format_description.txt` and `framing_format.txt`).
//! Not here: how a body's bytes arrive, and what they say.

use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, Read};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// How far a body may inflate before its ratio counts.
pub const RATIO_FREE: usize = 1 << 20;
/// Largest window of zstd, as a power of two: 8 MiB, what every decoder has to support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;
/// A copy of 64 bytes takes snappy 3: beyond this no block can inflate.
const SNAPPY_RATIO_MAX: usize = 64 / 3 + 1;
/// What framed snappy begins with. No block does: read as one it copies from before its beginning.
const SNAPPY_FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// How a body is packed: one `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// Any number of gzip members.
    Gzip,
    /// zlib as the RFC has it, or bare deflate as some send it.
    Deflate,
    /// Any number of zstd frames.
    Zstd,
    /// One block, or the framing format.
    Snappy,
}

impl Encoding {
    /// What the `Content-Encoding` header says; no header: nothing is packed.
    ///
    /// Errors: it names something else, or several, one around the other.
    pub fn named(header: Option<&[u8]>) -> Result<Self, InflateError> {
        let Some(name) = header.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) else {
            return Ok(Encoding::Identity);
        };
        let all = [
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
            ("zstd", Encoding::Zstd),
            ("snappy", Encoding::Snappy),
            ("x-snappy-framed", Encoding::Snappy),
        ];
        if let Some((_, encoding)) = all.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            return Ok(*encoding);
        }
        if name.contains(&b',') {
            return Err(InflateError::Nested);
        }
        const SHOWN: usize = 40;
        let shown = name[..name.len().min(SHOWN)].escape_ascii().to_string();
        Err(InflateError::Unknown(shown))
    }
}

/// What a body may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateLimits {
    /// Most bytes of it as it was sent.
    pub wire: usize,
    /// Most bytes of it inflated.
    pub inflated: usize,
    /// How many times larger than sent it may be, beyond its first [`RATIO_FREE`] bytes.
    pub ratio: usize,
}

impl Default for InflateLimits {
    fn default() -> Self {
        InflateLimits { wire: 10 << 20, inflated: 64 << 20, ratio: 200 }
    }
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It is too large as it was sent.
    #[error("the body has {len} bytes; at most {limit} are taken")]
    Wire {
        /// Its size.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It is too large inflated.
    #[error("the body inflates to more than {0} bytes, the most that is taken")]
    Inflated(usize),
    /// It inflates too much for its size.
    #[error("the body inflates to more than {0} times what was sent, the most that is taken")]
    Ratio(usize),
    /// It wants more memory to be inflated than there is for it.
    #[error("the body wants a zstd window of more than 8 MiB (2^23 bytes), the most that is taken")]
    Window,
    /// It is not what it is said to be.
    #[error("the body is no valid {0}: {1}")]
    Malformed(&'static str, &'static str),
    /// It is packed in a way we do not know.
    #[error("content encoding `{0}` is not known; known are identity, gzip, deflate, zstd, snappy")]
    Unknown(String),
    /// It is packed several times over.
    #[error("the body has more than one content encoding; only one is taken")]
    Nested,
}

impl InflateError {
    /// The HTTP status to answer it with.
    pub fn status(&self) -> u16 {
        match self {
            Self::Wire { .. } | Self::Inflated(_) | Self::Ratio(_) | Self::Window => 413,
            Self::Malformed(..) => 400,
            Self::Unknown(_) | Self::Nested => 415,
        }
    }
}

/// Inflates bodies one after the other, and keeps what that takes.
pub struct Inflater {
    limits: InflateLimits,
    deflate: Option<Decompress>,
    zstd: Option<Decoder<'static>>,
    snappy: snap::raw::Decoder,
}

/// The bytes a body has made, and how many they may become.
struct Growing<'a> {
    out: &'a mut Vec<u8>,
    cap: usize,
    over: InflateError,
}

impl Growing<'_> {
    /// Makes room for more. One byte beyond the cap has room: it shows that there is more than may be.
    fn grow(&mut self) -> Result<(), InflateError> {
        const STEP: usize = 64 << 10;
        let len = self.out.len();
        if len > self.cap {
            return Err(self.over.clone());
        }
        if len == self.out.capacity() {
            self.out.reserve_exact(len.max(STEP).min(self.cap + 1 - len));
        }
        Ok(())
    }

    /// Takes all that `from` gives.
    fn read(
        &mut self,
        mut from: impl Read,
        says: impl Fn(io::Error) -> InflateError,
    ) -> Result<(), InflateError> {
        loop {
            self.grow()?;
            let room = self.out.capacity() - self.out.len();
            // No more than there is room for, so the vector does not grow by itself.
            let read = from.by_ref().take(room as u64).read_to_end(self.out).map_err(&says)?;
            if read < room {
                return self.grow();
            }
        }
    }
}

impl Inflater {
    /// An inflater that keeps to `limits`.
    pub fn new(limits: InflateLimits) -> Self {
        Inflater { limits, deflate: None, zstd: None, snappy: snap::raw::Decoder::new() }
    }

    /// The body that was sent as `wire`.
    pub fn body(&mut self, encoding: Encoding, wire: Vec<u8>) -> Result<Vec<u8>, InflateError> {
        if encoding == Encoding::Identity {
            self.check(&wire)?;
            return Ok(wire);
        }
        let mut out = Vec::new();
        self.inflate(encoding, &wire, &mut out)?;
        Ok(out)
    }

    /// Makes `out` the body that was sent as `wire`; after an error it holds the beginning of it.
    ///
    /// A body without bytes is empty, whatever its encoding.
    pub fn inflate(
        &mut self,
        encoding: Encoding,
        wire: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        out.clear();
        self.check(wire)?;
        if wire.is_empty() {
            return Ok(());
        }
        let by_ratio = wire.len().saturating_mul(self.limits.ratio).max(RATIO_FREE);
        let (cap, over) = match self.limits.inflated {
            limit if limit <= by_ratio => (limit, InflateError::Inflated(limit)),
            _ => (by_ratio, InflateError::Ratio(self.limits.ratio)),
        };
        let mut growing = Growing { out, cap, over };
        match encoding {
            Encoding::Identity => {
                growing.read(wire, |_| InflateError::Malformed("body", "it cannot be read"))
            }
            Encoding::Gzip => growing.read(flate2::bufread::MultiGzDecoder::new(wire), |error| {
                InflateError::Malformed("gzip", said(&error))
            }),
            Encoding::Deflate => self.deflate(wire, growing),
            Encoding::Zstd => self.zstd(wire, growing),
            Encoding::Snappy if wire.starts_with(SNAPPY_FRAMED) => growing
                .read(snap::read::FrameDecoder::new(wire), |error| {
                    InflateError::Malformed("framed snappy", said(&error))
                }),
            Encoding::Snappy => self.snappy(wire, growing),
        }
    }

    fn check(&self, wire: &[u8]) -> Result<(), InflateError> {
        let (len, limit) = (wire.len(), self.limits.wire);
        if len > limit { Err(InflateError::Wire { len, limit }) } else { Ok(()) }
    }

    fn deflate(&mut self, wire: &[u8], mut growing: Growing<'_>) -> Result<(), InflateError> {
        const BAD: fn(&'static str) -> InflateError = |what| InflateError::Malformed("deflate", what);
        // RFC 1950, 2.2: the method is 8, and the first two bytes are a multiple of 31. A bare deflate stream begins
        // with an 8 only if its first block is a stored one behind padding that is not zero: nobody writes that.
        let is_zlib = match *wire {
            [first, second, ..] => first & 15 == 8 && u16::from_be_bytes([first, second]) % 31 == 0,
            _ => false,
        };
        let deflate = self.deflate.get_or_insert_with(|| Decompress::new(is_zlib));
        deflate.reset(is_zlib);
        loop {
            growing.grow()?;
            let (taken, made) = (deflate.total_in() as usize, growing.out.len());
            let status = deflate.decompress_vec(&wire[taken..], growing.out, FlushDecompress::None);
            let now = deflate.total_in() as usize;
            match status.map_err(|_| BAD("it is corrupt"))? {
                Status::StreamEnd if now < wire.len() => return Err(BAD("more bytes follow its end")),
                Status::StreamEnd => return growing.grow(),
                _ if growing.out.len() == growing.out.capacity() => {}
                _ if now == wire.len() => return Err(BAD("it is cut short")),
                _ if (now, growing.out.len()) == (taken, made) => return Err(BAD("it is corrupt")),
                _ => {}
            }
        }
    }

    fn zstd(&mut self, wire: &[u8], mut growing: Growing<'_>) -> Result<(), InflateError> {
        const BAD: fn(&'static str) -> InflateError = |what| InflateError::Malformed("zstd", what);
        let decoder = match &mut self.zstd {
            Some(decoder) => {
                decoder.reinit().map_err(|_| BAD("it cannot be begun"))?;
                decoder
            }
            none => {
                let mut fresh = Decoder::new().map_err(|_| BAD("there is no memory for it"))?;
                let window = fresh.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG));
                window.map_err(|_| BAD("its window cannot be limited"))?;
                none.insert(fresh)
            }
        };
        let mut taken = 0;
        loop {
            growing.grow()?;
            let made = growing.out.len();
            let mut input = InBuffer::around(&wire[taken..]);
            let mut output = OutBuffer::around_pos(growing.out, made);
            let hint = decoder.run(&mut input, &mut output).map_err(|error| {
                let window = error.to_string().contains("too much memory");
                if window { InflateError::Window } else { BAD("it is corrupt") }
            })?;
            let (before, full) = (taken, growing.out.len() == growing.out.capacity());
            taken += input.pos();
            match (taken == wire.len(), hint) {
                // A frame has ended, and all it made has been given out.
                (true, 0) => return growing.grow(),
                _ if full => {}
                (true, _) => return Err(BAD("it is cut short")),
                _ if taken == before && growing.out.len() == made => return Err(BAD("it is corrupt")),
                _ => {}
            }
        }
    }

    fn snappy(&mut self, wire: &[u8], growing: Growing<'_>) -> Result<(), InflateError> {
        const BAD: fn(&'static str) -> InflateError = |what| InflateError::Malformed("snappy", what);
        let claimed = snap::raw::decompress_len(wire).map_err(|_| BAD("its length is malformed"))?;
        if claimed > growing.cap {
            return Err(growing.over);
        }
        if claimed > wire.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(BAD("its length is more than its bytes can make"));
        }
        growing.out.reserve_exact(claimed);
        growing.out.resize(claimed, 0);
        let made = self.snappy.decompress(wire, growing.out).map_err(|_| BAD("it is corrupt"))?;
        if made == claimed { Ok(()) } else { Err(BAD("it is shorter than it says")) }
    }
}

fn said(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut short",
        _ => "it is corrupt",
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
