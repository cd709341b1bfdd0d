//! Every encoding against the libraries' own encoders, the limits to the byte, and bombs.

use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use std::io::Write;

const GENEROUS: InflateLimits = InflateLimits { wire: usize::MAX, inflated: 64 << 20, ratio: usize::MAX };

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = snap::write::FrameEncoder::new(Vec::new());
    out.write_all(bytes).unwrap();
    out.into_inner().unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;
const ALL: [(Encoding, Pack); 7] = [
    (Encoding::Identity, <[u8]>::to_vec),
    (Encoding::Gzip, gzip),
    (Encoding::Deflate, zlib),
    (Encoding::Deflate, deflate),
    (Encoding::Zstd, zstd),
    (Encoding::Snappy, snappy),
    (Encoding::Snappy, framed),
];

/// The body, and how much memory it was given.
fn inflate(limits: InflateLimits, encoding: Encoding, wire: &[u8]) -> (Result<Vec<u8>, InflateError>, usize) {
    let mut out = Vec::new();
    let result = Inflater::new(limits).inflate(encoding, wire, &mut out);
    let capacity = out.capacity();
    (result.map(|()| out), capacity)
}

#[test]
fn content_encodings_are_known_by_their_names() {
    let named = |name: &str| Encoding::named(Some(name.as_bytes()));
    assert_eq!(Encoding::named(None), Ok(Encoding::Identity));
    assert_eq!(
        (named(""), named(" GZIP "), named("x-gzip")),
        (Ok(Encoding::Identity), Ok(Encoding::Gzip), Ok(Encoding::Gzip))
    );
    assert_eq!(
        (named("deflate"), named("zstd"), named("Snappy")),
        (Ok(Encoding::Deflate), Ok(Encoding::Zstd), Ok(Encoding::Snappy))
    );
    for (name, says) in [
        ("br", "`br` is not known; known are identity, gzip"),
        ("gzip, gzip", "more than one"),
        ("a\nb", "`a\\nb`"),
    ] {
        let error = named(name).unwrap_err();
        assert!(error.status() == 415 && error.to_string().contains(says), "{error}");
    }
}

#[test]
fn several_members_and_frames_are_one_body() {
    let (one, two): (&[u8], &[u8]) = (b"one ", b"two");
    for (encoding, pack) in
        [(Encoding::Gzip, gzip as Pack), (Encoding::Zstd, zstd), (Encoding::Snappy, framed)]
    {
        let wire = [pack(one), pack(b""), pack(two)].concat();
        assert_eq!(inflate(GENEROUS, encoding, &wire).0, Ok(b"one two".to_vec()), "{encoding:?}");
    }
    // A body is one block, and one stream.
    for (encoding, pack) in
        [(Encoding::Deflate, zlib as Pack), (Encoding::Deflate, deflate), (Encoding::Snappy, snappy)]
    {
        let wire = [pack(one), pack(two)].concat();
        assert_eq!(inflate(GENEROUS, encoding, &wire).0.unwrap_err().status(), 400, "{encoding:?}");
    }
}

#[test]
fn limits_hold_to_the_byte_and_the_error_names_the_one_that_was_met() {
    let body: Vec<u8> =
        (0..300_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()).collect();
    for (encoding, pack) in ALL {
        let wire = pack(&body);
        let at = |limits| inflate(limits, encoding, &wire);
        let exact = InflateLimits { wire: wire.len(), inflated: body.len(), ..GENEROUS };
        assert_eq!(at(exact).0.as_ref(), Ok(&body), "{encoding:?}");
        let (less, memory) = at(InflateLimits { inflated: body.len() - 1, ..exact });
        assert_eq!(less, Err(InflateError::Inflated(body.len() - 1)), "{encoding:?}");
        assert!(memory <= body.len(), "{encoding:?} took {memory} bytes");
        let error = at(InflateLimits { wire: wire.len() - 1, ..exact }).0.unwrap_err();
        assert_eq!(error, InflateError::Wire { len: wire.len(), limit: wire.len() - 1 });
        assert!(error.status() == 413 && error.to_string().contains(&format!("at most {}", wire.len() - 1)));
    }
}

#[test]
fn a_bomb_takes_no_more_memory_than_its_limit_whatever_it_is_packed_with() {
    let zeros = vec![0; 40 << 20];
    let limits = InflateLimits::default();
    for (encoding, pack) in ALL.into_iter().skip(1) {
        let mut wire = pack(&zeros);
        // 10 KiB of it: cut short, but long before that it is too much.
        wire.truncate(10 << 10);
        let (result, memory) = inflate(limits, encoding, &wire);
        let error = result.unwrap_err();
        assert!(memory <= (10 << 10) * limits.ratio + 1, "{encoding:?} took {memory} bytes");
        match encoding {
            // Snappy cannot make so much of so little, and its own claim is more than may be.
            Encoding::Snappy if !wire.starts_with(SNAPPY_FRAMED) => {
                assert_eq!((error.status(), memory), (413, 0))
            }
            Encoding::Snappy => assert_eq!(error.status(), 400),
            _ => assert_eq!(error, InflateError::Ratio(200), "{encoding:?}"),
        }
    }
    // The first mebibyte has no ratio: a short body of one letter is no bomb.
    let spaces = vec![b' '; RATIO_FREE];
    assert_eq!(inflate(limits, Encoding::Gzip, &gzip(&spaces)).0, Ok(spaces));
    let more = vec![b' '; RATIO_FREE + 1];
    assert_eq!(inflate(limits, Encoding::Gzip, &gzip(&more)).0, Err(InflateError::Ratio(200)));
    // Packed twice: what comes out is packed, and not looked into.
    let twice = gzip(&gzip(&zeros));
    assert!(inflate(limits, Encoding::Gzip, &twice).0.unwrap().len() < 100 << 10);
}

#[test]
fn many_members_without_content_end() {
    let empty = gzip(b"");
    let wire = empty.repeat((10 << 20) / empty.len());
    assert_eq!(inflate(InflateLimits::default(), Encoding::Gzip, &wire).0, Ok(Vec::new()));
    let empty = zstd(b"");
    let wire = empty.repeat((1 << 20) / empty.len());
    assert_eq!(inflate(InflateLimits::default(), Encoding::Zstd, &wire).0, Ok(Vec::new()));
}

#[test]
fn a_snappy_length_is_not_believed() {
    // A varint of 2^32-1, of more than 32 bits, and one that does not end.
    for (claim, status) in
        [(&b"\xff\xff\xff\xff\x0f\x00"[..], 413), (b"\xff\xff\xff\xff\x7f", 400), (b"\xff\xff", 400)]
    {
        let (result, memory) = inflate(InflateLimits::default(), Encoding::Snappy, claim);
        assert_eq!((result.unwrap_err().status(), memory), (status, 0));
    }
    // Under the limit, but ten bytes cannot make a mebibyte.
    let (result, memory) = inflate(InflateLimits::default(), Encoding::Snappy, b"\x80\x80\x40abcdefg");
    assert_eq!((result.unwrap_err().status(), memory), (400, 0));
}

#[test]
fn a_zstd_window_of_more_than_8_mib_is_refused_before_it_is_made() {
    let frame = |log: u32| {
        let mut out = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        out.set_parameter(zstd::zstd_safe::CParameter::WindowLog(log)).unwrap();
        out.write_all(b"body").unwrap();
        out.flush().unwrap();
        out.write_all(b"!").unwrap();
        out.finish().unwrap()
    };
    assert_eq!(inflate(GENEROUS, Encoding::Zstd, &frame(23)).0, Ok(b"body!".to_vec()));
    let error = inflate(GENEROUS, Encoding::Zstd, &frame(24)).0.unwrap_err();
    assert_eq!((error.status(), error), (413, InflateError::Window));
}

#[test]
fn an_inflater_is_as_good_as_new_after_an_error() {
    let mut inflater = Inflater::new(GENEROUS);
    for (encoding, pack) in ALL.into_iter().skip(1) {
        let wire = pack(b"hello hello hello hello");
        for cut in 1..wire.len() {
            let _ = inflater.body(encoding, wire[..cut].to_vec());
            assert_eq!(
                inflater.body(encoding, wire.clone()),
                Ok(b"hello hello hello hello".to_vec()),
                "{encoding:?}"
            );
        }
        assert_eq!(inflater.body(encoding, Vec::new()), Ok(Vec::new()));
    }
}

#[test]
fn what_is_cut_short_is_refused_and_never_taken_for_whole() {
    for (encoding, pack) in ALL.into_iter().skip(1) {
        let wire = pack(b"hello hello hello hello, world");
        for cut in 1..wire.len() {
            let result = inflate(GENEROUS, encoding, &wire[..cut]).0;
            // The first chunk of a framed body only says what it is.
            let empty = wire.starts_with(SNAPPY_FRAMED) && cut == SNAPPY_FRAMED.len();
            assert_eq!(
                result.clone().map_err(|error| error.status()),
                if empty { Ok(Vec::new()) } else { Err(400) },
                "{encoding:?} cut at {cut}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_packed_comes_out(body in body()) {
        for (encoding, pack) in ALL {
            let wire = pack(&body);
            prop_assert_eq!(Inflater::new(GENEROUS).body(encoding, wire), Ok(body.clone()), "{:?}", encoding);
        }
    }

    #[test]
    fn no_bytes_are_too_odd(body in body(), at: prop::sample::Index, byte: u8, which in 0..7_usize) {
        let (encoding, pack) = ALL[which];
        let mut wire = pack(&body);
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let limits = InflateLimits { inflated: 1 << 20, ..GENEROUS };
        let (result, memory) = inflate(limits, encoding, &wire);
        prop_assert!(memory <= (1 << 20) + 1);
        if let Err(error) = result {
            prop_assert!(matches!(error.status(), 400 | 413));
        }
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        (prop::collection::vec(any::<u8>(), 1..9), 0..20_000_usize).prop_map(|(piece, len)| piece
            .into_iter()
            .cycle()
            .take(len)
            .collect()),
    ]
}
