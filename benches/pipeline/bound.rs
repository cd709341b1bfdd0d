//! The least a pipeline's work can cost: the same stages in a plain loop on one thread, with nothing kept, nothing
//! handed on, nothing made durable.

use crate::clock;
use crate::data::Data;
use jiff::tz::TimeZone;
use memchr::{memchr_iter, memchr2_iter, memmem};
use ringmain::sources::syslog::octet::OctetFramer;
use ringmain::steps::parse::syslog::parse::{Clock, parse};
use serde_json::{Value, json};
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Bytes of one read.
const READ: usize = 64 << 10;
/// Bytes collected for one write where lines are not written as they were read.
const WRITE: usize = 256 << 10;
const PAGE: usize = 4096;
/// What stands before and behind the message where entries are written as JSON, in as many bytes as the sink writes.
const HEAD: &[u8] = br#"{"time":"2026-11-23T12:00:00.000000000Z","source":"in","origin":"/tmp/.tmp123456/in/data.log","labels":{},"message":""#;
const MIDDLE: &[u8] = br#"","fields":{"#;
const TAIL: &[u8] = b",\"env\":\"prod\"}}\n";

/// Finds the lines.
pub fn scan_lines(data: &Data, out: &Path) -> Duration {
    measured(|| each_text(data, out, |text, ends| _ = black_box((text, ends))))
}

/// Finds the lines and writes them.
pub fn copy_lines(data: &Data, out: &Path) -> Duration {
    let mut file = created(out);
    measured(|| {
        each_text(data, out, |text, ends| {
            black_box(ends);
            file.write_all(text).expect("written");
        })
    })
}

/// Leaves out the debug lines by searching each for them, and writes the others as they are.
pub fn json_to_raw(data: &Data, out: &Path) -> Duration {
    without_debug(data, out, |line, kept| kept.extend_from_slice(line))
}

/// Leaves out the debug lines, and writes the others the way the sink writes JSON: the line as the message, with its
/// quotes escaped, and its members once more.
pub fn json_to_json(data: &Data, out: &Path) -> Duration {
    without_debug(data, out, |line, kept| {
        kept.extend_from_slice(HEAD);
        let line = &line[..line.len() - 1];
        let mut from = 0;
        for at in memchr2_iter(b'"', b'\\', line) {
            kept.extend_from_slice(&line[from..at]);
            kept.push(b'\\');
            from = at;
        }
        kept.extend_from_slice(&line[from..]);
        kept.extend_from_slice(MIDDLE);
        kept.extend_from_slice(&line[1..line.len() - 1]);
        kept.extend_from_slice(TAIL);
    })
}

fn without_debug(data: &Data, out: &Path, write: impl Fn(&[u8], &mut Vec<u8>)) -> Duration {
    let debug = memmem::Finder::new(br#""level":"debug""#);
    filtered(data, out, |line, kept| {
        if debug.find(line).is_none() {
            write(line, kept);
        }
    })
}

/// Reads every line into a value, leaves out the debug ones, sets `env`, and writes the others as they were.
pub fn serde_to_raw(data: &Data, out: &Path) -> Duration {
    filtered(data, out, |line, kept| {
        if black_box(without_debug_by_value(line)).is_some() {
            kept.extend_from_slice(line);
        }
    })
}

/// Reads every line into a value, leaves out the debug ones, sets `env`, and writes an object like that of the sink.
pub fn serde_to_json(data: &Data, out: &Path) -> Duration {
    filtered(data, out, |line, kept| {
        if let Some(fields) = without_debug_by_value(line) {
            let message = std::str::from_utf8(&line[..line.len() - 1]).expect("text");
            let entry = json!({ "time": "2026-11-23T12:00:00.000000000Z", "source": "in",
                "origin": "/tmp/.tmp123456/in/data.log", "labels": {}, "message": message, "fields": fields });
            serde_json::to_writer(&mut *kept, &entry).expect("written");
            kept.push(b'\n');
        }
    })
}

fn without_debug_by_value(line: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(line).expect("a valid line");
    let is_debug = value["level"] == "debug";
    value["env"] = "prod".into();
    (!is_debug).then_some(value)
}

/// Receives the messages, reads each, and writes it with a newline. The sender is another thread.
pub fn receive_lines(data: &Data, out: &Path) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let sender = data.send(listener.local_addr().expect("bound"));
    let (mut stream, _) = listener.accept().expect("the sender connects");
    let mut file = created(out);
    let (mut framer, clock) =
        (OctetFramer::new(64 << 10), Clock::new(TimeZone::UTC, 1_795_428_000_000_000_000));
    let mut memory = aligned(READ + PAGE);
    let buffer = &mut memory.bytes()[..READ];
    let (mut held, mut kept, mut lines) = (0, Vec::with_capacity(WRITE + READ), 0);
    let took = measured(|| {
        loop {
            let n = stream.read(&mut buffer[held..]).expect("read");
            if n == 0 {
                break;
            }
            let text = &buffer[..held + n];
            let done = framer.feed(text, |frame| {
                let message = frame.of(text);
                black_box(parse(message, &clock));
                kept.extend_from_slice(message);
                kept.push(b'\n');
                lines += 1;
            });
            let (done, end) = (done.expect("good frames"), text.len());
            buffer.copy_within(done..end, 0);
            held = end - done;
            if kept.len() >= WRITE {
                file.write_all(&kept).expect("written");
                kept.clear();
            }
        }
        file.write_all(&kept).expect("written");
    });
    assert_eq!(lines, data.lines);
    sender.join().expect("the sender ended well");
    took
}

fn measured(work: impl FnOnce()) -> Duration {
    let start = clock::thread();
    work();
    clock::thread() - start
}

/// A new file: one that was there gives its pages back first.
fn created(path: &Path) -> File {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => File::create(path).expect("created"),
    }
}

/// Hands every line, newline included, to `take`, and writes what that appended.
fn filtered(data: &Data, out: &Path, take: impl Fn(&[u8], &mut Vec<u8>)) -> Duration {
    let mut file = created(out);
    let mut kept = Vec::with_capacity(WRITE + 4 * READ);
    measured(|| {
        each_text(data, out, |text, ends| {
            let mut begin = 0;
            for end in ends {
                take(&text[begin..*end as usize + 1], &mut kept);
                begin = *end as usize + 1;
            }
            if kept.len() >= WRITE {
                file.write_all(&kept).expect("written");
                kept.clear();
            }
        });
        file.write_all(&kept).expect("written");
    })
}

/// Reads the file beside `out`, and gives the complete lines of each read, and where their newlines stand, to `take`.
fn each_text(data: &Data, out: &Path, mut take: impl FnMut(&[u8], &[u32])) {
    let input = out.with_file_name("in").join("data.log");
    let file = File::open(input).expect("the data");
    let mut memory = aligned(READ);
    let buffer = memory.bytes();
    let mut ends = vec![0_u32; READ];
    let (mut offset, mut lines) = (0, 0);
    while offset < data.bytes {
        let n = file.read_at(buffer, offset).expect("read");
        let mut count = 0;
        for at in memchr_iter(b'\n', &buffer[..n]) {
            ends[count] = at as u32;
            count += 1;
        }
        let whole = ends[count - 1] as usize + 1;
        take(&buffer[..whole], &ends[..count]);
        offset += whole as u64;
        lines += count as u64;
    }
    assert!(lines >= data.lines);
}

struct Aligned {
    memory: Vec<u8>,
    from: usize,
    len: usize,
}

impl Aligned {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.from..self.from + self.len]
    }
}

/// Memory at a page's beginning, like that of a block: the kernel copies into other places at a fifth of the speed on
/// some processors.
fn aligned(len: usize) -> Aligned {
    let memory = vec![0_u8; len + PAGE];
    let from = memory.as_ptr().align_offset(PAGE);
    Aligned { memory, from, len }
}
