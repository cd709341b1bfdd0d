use super::*;
use crate::http::head::HEAD_MAX;
use proptest::prelude::*;

const BODY_MAX: u64 = 100;

/// What a connection gives whose bytes arrive in pieces, without the cuts within bodies.
fn read(stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let (mut reader, mut found, mut body) = (Reader::new(BODY_MAX), Vec::new(), Vec::new());
    let (mut carry, mut from) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&stream.len()]) {
        carry.extend_from_slice(&stream[from..cut]);
        from = cut;
        let mut at = 0;
        loop {
            let (used, event) = reader.read(&carry[at..]);
            at += used;
            match event {
                Found::More => break,
                Found::Head(head) => found.push(format!("{:?} {}", head.method, head.path())),
                Found::Body(piece) => body.extend_from_slice(piece),
                Found::End => {
                    found.push(format!("end {}", String::from_utf8_lossy(&std::mem::take(&mut body))))
                }
                Found::Bad(refusal) => found.push(format!("{} {}", refusal.status.code(), refusal.why)),
            }
        }
        carry.drain(..at);
        assert!(carry.len() < HEAD_MAX);
    }
    found
}

fn whole(stream: impl AsRef<[u8]>) -> Vec<String> {
    read(stream.as_ref(), &[])
}

fn chunked(body: &str) -> Vec<String> {
    let mut found = whole(format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    assert_eq!(found.remove(0), "Post /");
    found
}

#[test]
fn requests_that_follow_each_other_are_told_apart() {
    let stream = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n\
                  POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                  GET /d HTTP/1.0\r\n\r\n";
    assert_eq!(
        whole(stream),
        ["Post /a", "end abc", "Get /b", "end ", "Post /c", "end abc", "Get /d", "end "]
    );
}

#[test]
fn chunks_are_joined_and_what_stands_around_them_is_passed_over() {
    assert_eq!(chunked("0\r\n\r\n"), ["end "]);
    assert_eq!(chunked("3;a=b;c=\"d\"\r\nabc\r\n00A ; x\r\n0123456789\r\n0\r\n\r\n"), ["end abc0123456789"]);
    assert_eq!(chunked("1\r\n\r\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\n"), ["end \r"]);
}

#[test]
fn a_chunk_that_can_be_understood_in_two_ways_is_refused() {
    let long = format!("1;{}\r\na\r\n", "e".repeat(CHUNK_LINE_MAX));
    let many = format!("1;{}\r\na\r\n", "e".repeat(200)).repeat(30);
    for bad in [
        "\r\n",
        ";a\r\n",
        "-1\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        "3 abc\r\n",
        "g\r\n",
        "3\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3;\u{0}\r\nabc\r\n",
        "3;a\rb\r\nabc\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA: \rb\r\n\r\n",
        &long,
        &many,
    ] {
        let found = chunked(bad);
        assert!(found.last().unwrap().starts_with("400 "), "{bad:?}: {found:?}");
    }
    let trailers = format!("0\r\n{}\r\n\r\n", "A: b\r\n".repeat(1000));
    assert!(chunked(&trailers)[0].starts_with("400 the fields behind"));
}

#[test]
fn a_body_longer_than_accepted_is_refused_as_soon_as_it_says_so() {
    for size in ["65", "ffffffffffffffff", "fffffffffffffffffffffffff"] {
        assert!(chunked(&format!("{size}\r\n"))[0].starts_with("413 "), "{size}");
    }
    assert_eq!(chunked("64\r\n"), [""; 0], "100 bytes fit");
    assert!(chunked("63\r\n")[..].is_empty());
    let two = format!("60\r\n{}\r\n5\r\n", "a".repeat(0x60));
    assert!(chunked(&two)[0].starts_with("413 "));
    let length = |length: u64| {
        whole(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")).remove(0)
    };
    assert_eq!(length(100), "Post /");
    assert!(length(101).starts_with("413 "));
}

#[test]
fn behind_an_error_nothing_is_a_request() {
    let found = whole("GET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(found, ["400 a request has exactly one `Host` header"]);
    assert_eq!(whole("\r\n".repeat(5))[0], "400 a request begins with its method");
}

#[test]
fn the_place_of_a_cut_never_matters() {
    let streams: [&[u8]; 5] = [
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\n\nGET /b HTTP/1.1\nHost: x\n\nGARBAGE\r\r",
        b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nA: b\r\n\r\nGET /d HTTP/1.0\r\n\r\n",
        b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        b"\r\nGET / HTTX",
        b"GET / HTTP/1.1\rX",
    ];
    for stream in streams {
        let expected = whole(stream);
        for cut in 0..=stream.len() {
            assert_eq!(read(stream, &[cut]), expected, "cut at {cut}");
        }
        assert_eq!(read(stream, &(0..stream.len()).collect::<Vec<_>>()), expected);
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop_oneof![
        Just("Host: x\r\n"),
        Just("Content-Length: 4\r\n"),
        Just("Content-Length: 5\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Connection: close\r\n"),
        Just("Expect: 100-continue\r\n"),
        Just("X: \r\n y\r\n"),
    ];
    let head = prop::collection::vec(fields, 0..4)
        .prop_map(|fields| format!("POST /p HTTP/1.1\r\nHost: x\r\n{}\r\n", fields.concat()).into_bytes());
    prop_oneof![
        4 => head,
        2 => Just(b"4\r\nabcd\r\n".to_vec()),
        2 => Just(b"0\r\n\r\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(vec![b'a'; 9000]),
        1 => prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), any::<u8>()], 0..20),
    ]
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same_requests(
        parts in prop::collection::vec(part(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = parts.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(read(&stream, &cuts), whole(&stream));
    }
}
