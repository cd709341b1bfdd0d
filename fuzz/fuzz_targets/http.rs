//! Any bytes, in any pieces: the same requests, bodies and refusals, and the machine answers each exactly once, in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::http::head::HEAD_MAX;
use ringmain::http::{Connection, Event, Response, Status};
use std::time::Instant;

/// Longest body; short, so that the limit is met often.
const BODY_MAX: u64 = 40;

fuzz_target!(|data: &[u8]| {
    let Some((pieces, stream)) = data.split_first_chunk::<4>() else { return };
    let whole = read(stream, &[stream.len().max(1)]);
    let cut = read(stream, &pieces.map(|len| usize::from(len).max(1)));
    assert_eq!(whole.found, cut.found, "what is found does not depend on the cuts");
    assert_eq!(whole.out, cut.out, "nor does what is answered");
});

struct Read {
    found: Vec<String>,
    out: Vec<u8>,
}

/// What a connection gives and answers whose bytes come in pieces of the given lengths, over and over.
fn read(stream: &[u8], pieces: &[usize]) -> Read {
    let mut machine = Connection::new(BODY_MAX, Instant::now());
    let mut all = Read { found: Vec::new(), out: Vec::new() };
    let (mut rest, mut body, mut next, mut last) = (stream, Vec::new(), 0, false);
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        rest = later;
        let input = [machine.carry(), now].concat();
        let mut at = 0;
        loop {
            let (used, event) = machine.step(&input[at..]);
            at += used;
            match event {
                Event::More => break,
                Event::Full => unreachable!("each request is answered at once"),
                Event::Request(number, head) => {
                    assert_eq!(number, next, "requests are counted");
                    assert!(!last, "nothing is a request behind the last one");
                    next += 1;
                    last = !head.keep;
                    all.found.push(format!("{:?} {} {:?}", head.method, head.path(), head.framing));
                    machine.go_on(number);
                }
                Event::Body(piece) => {
                    assert!(!piece.is_empty());
                    body.extend_from_slice(piece);
                    assert!(body.len() as u64 <= BODY_MAX, "a body has its limit");
                }
                Event::End(number) => {
                    all.found.push(format!("end {}", body.escape_ascii()));
                    machine.answer(
                        number,
                        Response::text(Status::OK, String::from_utf8_lossy(&body).into_owned()),
                    );
                    body.clear();
                }
                Event::Refused(number, refusal) => {
                    assert!(!last || number + 1 == next, "nothing is refused behind the last request");
                    last = true;
                    body.clear();
                    all.found.push(format!("{} {}", refusal.status.code(), refusal.why));
                    machine.answer(number, Response::text(refusal.status, refusal.why));
                    assert!(!machine.wants_input(), "behind a refusal nothing is read");
                }
            }
        }
        machine.keep(&input[at..]);
        assert!(machine.carry().len() <= HEAD_MAX, "{} bytes kept", machine.carry().len());
        assert!(machine.write(&mut all.out).is_ok_and(|all| all));
        if rest.is_empty() {
            break;
        }
    }
    all
}
