//! Bodies made smaller: `gzip` (RFC 1952) and `zstd` (RFC 8878).

use flate2::write::GzEncoder;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::{self, Write};

/// How bodies are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// As most destinations take it.
    Gzip,
    /// Smaller and cheaper, where the destination knows it.
    Zstd,
}

/// How hard to try, from 1, the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Level(u8);

impl Level {
    const MAX: u8 = 19;
    const GZIP_MAX: u8 = 9;
}

impl Default for Level {
    fn default() -> Self {
        // Logs are repetitive: the next levels cost twice as much for a few per cent.
        Level(1)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer) {
            Ok(level @ 1..=Level::MAX) => Ok(Level(level)),
            _ => Err(D::Error::custom("a level from 1, the fastest, to 9 for gzip or 19 for zstd")),
        }
    }
}

impl Compression {
    /// The value of `Content-Encoding`, if there is one.
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// What does not fit together: what is wrong, what would be right.
    pub fn problem(self, level: Option<Level>) -> Option<(&'static str, &'static str)> {
        match (self, level?) {
            (Compression::None, _) => Some((
                "`compression_level` has no effect without `compression`",
                "needs `compression: gzip` or `zstd`",
            )),
            (Compression::Gzip, Level(level)) if level > Level::GZIP_MAX => {
                Some(("gzip has no such level", "expected a level from 1 to 9"))
            }
            _ => None,
        }
    }
}

/// Packs one body after another.
pub enum Packer {
    /// Leaves them as they are.
    None,
    /// Makes gzip members.
    Gzip(flate2::Compression),
    /// Makes zstd frames.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    /// A packer; its tables are made once.
    pub fn new(compression: Compression, level: Option<Level>) -> io::Result<Self> {
        let Level(level) = level.unwrap_or_default();
        Ok(match compression {
            Compression::None => Packer::None,
            Compression::Gzip => Packer::Gzip(flate2::Compression::new(level.into())),
            Compression::Zstd => Packer::Zstd(zstd::bulk::Compressor::new(level.into())?),
        })
    }

    /// `body` packed: itself, or what was made of it in `out`.
    pub fn pack<'a>(&mut self, body: &'a [u8], out: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        out.clear();
        match self {
            Packer::None => return Ok(body),
            Packer::Gzip(level) => {
                let mut encoder = GzEncoder::new(&mut *out, *level);
                encoder.write_all(body)?;
                encoder.finish()?;
            }
            Packer::Zstd(compressor) => {
                out.reserve(zstd::zstd_safe::compress_bound(body.len()));
                compressor.compress_to_buffer(body, out)?;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_packed_unpacks_to_what_it_was() {
        let (body, mut out) = (b"some log line\n".repeat(1000), Vec::new());
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut packer = Packer::new(compression, None).unwrap();
            for _ in 0..2 {
                let packed = packer.pack(&body, &mut out).unwrap();
                let mut unpacked = Vec::new();
                match compression {
                    Compression::None => unpacked.extend_from_slice(packed),
                    Compression::Gzip => {
                        flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
                    }
                    Compression::Zstd => unpacked = zstd::decode_all(packed).unwrap(),
                }
                assert!(unpacked == body && (compression == Compression::None || packed.len() < 1000));
            }
        }
    }

    #[test]
    fn levels_must_fit_what_they_are_levels_of() {
        let level = |text: &str| serde_json::from_str::<Level>(text).ok();
        assert_eq!([level("0"), level("20"), level("-1"), level("\"a\"")], [None; 4]);
        assert!(
            Compression::Gzip.problem(level("10")).is_some()
                && Compression::Zstd.problem(level("10")).is_none()
        );
        assert!(Compression::None.problem(level("1")).is_some() && Compression::None.problem(None).is_none());
    }
}
