//! Any bytes as a packed body: memory stays within the limits, nothing panics, and what was packed by the libraries'
//! own encoders comes out as it went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::sources::body::inflate::{Encoding, InflateLimits, Inflater, RATIO_FREE};

const ALL: [Encoding; 5] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy];

// The first byte says which encoding, and how small the limits are.
fuzz_target!(|data: &[u8]| {
    let Some((first, wire)) = data.split_first() else { return };
    let encoding = ALL[usize::from(first & 15) % ALL.len()];
    let limits = match first >> 4 {
        0..8 => InflateLimits::default(),
        small => InflateLimits { wire: 1 << 16, inflated: 1 << small, ratio: usize::from(small) },
    };
    let mut inflater = Inflater::new(limits);
    let mut out = Vec::new();
    let cap = limits.inflated.min(wire.len().saturating_mul(limits.ratio).max(RATIO_FREE));
    match inflater.inflate(encoding, wire, &mut out) {
        Ok(()) => assert!(out.len() <= cap && wire.len() <= limits.wire),
        Err(error) => assert!(matches!(error.status(), 400 | 413), "{error}"),
    }
    assert!(out.capacity() <= cap + 1, "{} bytes of {cap}", out.capacity());
    // After whatever that was, the same inflater is as good as new.
    let zlib = b"\x78\x9c\x4b\xcb\xcf\x4f\x4a\x2c\x02\x00\x08\xab\x02\x7a";
    for (encoding, wire) in [(Encoding::Deflate, &zlib[..]), (Encoding::Snappy, b"\x06\x14foobar")] {
        let again = inflater.inflate(encoding, wire, &mut out);
        assert_eq!(again.is_ok() && out == b"foobar", limits.inflated >= 6 && limits.wire >= wire.len());
    }
});
