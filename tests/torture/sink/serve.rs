//! One connection: reads requests, writes down what is taken, answers as it is told.

use super::fault::Act;
use super::{Inner, Note, loki};
use crate::entry::{self, Found, Kind};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest body that is read.
const BODY_MAX: usize = 64 << 20;

pub fn connection(inner: &Inner, mut tcp: TcpStream) {
    tcp.set_nodelay(true).expect("set");
    let Ok(second) = tcp.try_clone() else { return };
    let mut reader = BufReader::with_capacity(64 << 10, second);
    while let Some((target, length)) = head(&mut reader) {
        let at = Instant::now();
        let act = inner.timeline.lock().unwrap().next(at);
        if act == Act::ResetBefore {
            note(inner, at, 0, false, false, 0);
            return reset(&tcp);
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if !request(inner, &mut tcp, &target, &body, (&act, at)) {
            return;
        }
    }
}

/// Target and length of the next request.
fn head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
    let target = line.split(' ').nth(1)?.to_string();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok().filter(|length| *length <= BODY_MAX)?;
        }
    }
    Some((target, length))
}

/// False if the connection is over.
fn request(
    inner: &Inner,
    tcp: &mut TcpStream,
    target: &str,
    body: &[u8],
    (act, at): (&Act, Instant),
) -> bool {
    // `/eN/..` of the N-th start.
    let epoch = target.strip_prefix("/e").and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(0);
    let pushed = target.ends_with("/push").then(|| loki::lines(body)).flatten();
    let records: Vec<&[u8]> = match &pushed {
        Some(streams) => streams.iter().flat_map(|(_, lines)| lines).map(|line| line.as_bytes()).collect(),
        None => body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect(),
    };
    let look = || -> Vec<(Found, &[u8])> {
        records.iter().map(|record| (entry::read(inner.run, record), *record)).collect()
    };
    if *act == Act::Take {
        // All of it is here, so it is taken; what it is can be looked at when the answer is on its way.
        let place = inner.receipts.place();
        let open = tcp.write_all(b"HTTP/1.1 204 Taken\r\n\r\n").is_ok();
        inner.receipts.take_at(place, epoch, &look());
        note(inner, at, records.len(), true, open, 204);
        return open;
    }
    let found = look();
    let poison = |found: &Found| matches!(found, Found::Whole(id) if id.kind == Kind::Poison);
    let poisoned = found.iter().filter(|(found, _)| poison(found)).count();
    let refused = match act {
        Act::Refuse(status, _) => Some(*status),
        Act::RefusePoison(status) if poisoned > 0 => Some(*status),
        Act::Silence => Some(0),
        _ => None,
    };
    match (refused, act) {
        (Some(_), _) => {}
        (None, Act::SkipPoison) => {
            let good: Vec<_> = found.iter().filter(|(found, _)| !poison(found)).copied().collect();
            inner.receipts.take(epoch, &good);
        }
        (None, _) => inner.receipts.take(epoch, &found),
    }
    let taken = refused.is_none();
    let mut say = |text: &str| tcp.write_all(text.as_bytes()).is_ok();
    let (status, open) = match act {
        Act::RefusePoison(_) if taken => (204, say("HTTP/1.1 204 Taken\r\n\r\n")),
        Act::Slow(wait) => {
            pause(inner, *wait);
            (204, say("HTTP/1.1 204 Taken\r\n\r\n"))
        }
        Act::Refuse(status, after) => {
            let after = after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
            (*status, say(&format!("HTTP/1.1 {status} Said\r\n{after}Content-Length: 2\r\n\r\nno")))
        }
        Act::RefusePoison(status) => {
            (*status, say(&format!("HTTP/1.1 {status} Said\r\nContent-Length: 10\r\n\r\nbad record")))
        }
        Act::SkipPoison if poisoned == 0 => (204, say("HTTP/1.1 204 Taken\r\n\r\n")),
        Act::SkipPoison => {
            let text = ignored(pushed.as_deref().unwrap_or_default(), inner.run);
            (400, say(&format!("HTTP/1.1 400 Bad\r\nContent-Length: {}\r\n\r\n{text}", text.len())))
        }
        Act::Drip(apart) => {
            let mut open = say("HTTP/1.1 200 OK\r\nX-Drip: ");
            while open && !inner.ended.load(SeqCst) {
                pause(inner, *apart);
                open = say("x");
            }
            note(inner, at, found.len(), taken, false, 0);
            return false;
        }
        Act::Half => {
            say("HTTP/1.1 20");
            note(inner, at, found.len(), taken, false, 0);
            return false;
        }
        Act::ResetAfter => {
            note(inner, at, found.len(), taken, false, 0);
            reset(tcp);
            return false;
        }
        Act::Silence => {
            note(inner, at, found.len(), taken, false, 0);
            // Until the other side leaves.
            while tcp.read(&mut [0; 1024]).is_ok_and(|len| len > 0) {}
            return false;
        }
        Act::Take | Act::ResetBefore => return false,
    };
    note(inner, at, found.len(), taken, open, status);
    open
}

/// What Loki says of entries it did not take.
fn ignored(streams: &[(String, Vec<String>)], run: u32) -> String {
    let bad = |line: &&String| matches!(entry::read(run, line.as_bytes()), Found::Whole(id) if id.kind == Kind::Poison);
    let mut text = String::new();
    for (labels, lines) in streams {
        let count = lines.iter().filter(bad).count();
        if count > 0 {
            text += &format!(
                "entry with timestamp 2020-01-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind', \
                 user 'fake', total ignored: {count} out of {} for stream: {labels}\n",
                lines.len()
            );
        }
    }
    text
}

fn note(inner: &Inner, at: Instant, entries: usize, taken: bool, answered: bool, status: u16) {
    let note = Note { at, entries, taken, answered, status };
    inner.notes.lock().unwrap().push(note);
}

/// Waits, but not for one that has ended.
fn pause(inner: &Inner, wait: Duration) {
    let until = Instant::now() + wait;
    while Instant::now() < until && !inner.ended.load(SeqCst) {
        sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
    }
}

/// When the last handle is closed, the other side sees a reset instead of an end.
fn reset(tcp: &TcpStream) {
    socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)).expect("set");
}
