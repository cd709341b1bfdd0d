//! What does it cost to find entries in request bodies and copy them into blocks? CPU time of one thread; the bound is a
//! plain loop over the same bytes in the same process that does only what cannot be left out. Only ratios travel well.
//!
//! `cargo bench --bench bodies [-- PART_OF_A_NAME]`

// Its bodies and blocks are its own.
#![allow(clippy::expect_used)]

// Its measurements for criterion are the other benches'.
#[allow(dead_code)]
mod cpu;
mod push;

use prost::Message;
use ringmain::block::{Block, ENTRIES_MAX};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::pool::Recycle;
use ringmain::sources::body::inflate::{Encoding, InflateLimits, Inflater};
use ringmain::sources::body::{EntryOut, Full, Item, LabelText, Reader, Refused, Why, put};
use std::hint::black_box;
use std::sync::Arc;

const LINES: usize = 2000;
const TEXT_MAX: usize = 256 << 10;

/// Fills one block over and over, as a source fills many.
struct Out {
    block: Block,
    stream: Arc<Stream>,
    entries: u64,
}

impl Out {
    fn new() -> Self {
        let stream = Stream::new(SourceId(0), "s".into(), "bench", "o", Labels::default());
        Out { block: Block::new(64 << 10), stream: Arc::new(stream), entries: 0 }
    }

    /// Everything `reader` finds in `body`.
    fn all(&mut self, mut reader: Reader, body: &[u8]) -> u64 {
        self.entries = 0;
        while !reader.pour(body, self) {
            black_box(self.block.text());
            self.block.reset();
        }
        self.entries
    }
}

impl EntryOut for Out {
    fn stream(&mut self, labels: LabelText<'_>) -> Result<(), Why> {
        black_box(labels.bytes());
        Ok(())
    }

    fn entry(&mut self, item: &Item<'_>) -> Result<(), Full> {
        if self.block.entries().len() == ENTRIES_MAX {
            return Err(Full);
        }
        put(&mut self.block, &self.stream, item, TEXT_MAX)?;
        self.entries += 1;
        Ok(())
    }

    fn refused(&mut self, refused: Refused) {
        panic!("{refused}");
    }
}

/// A line of about 250 bytes, as JSON.
fn object(n: usize) -> String {
    let msg = "x".repeat(120 + n % 40);
    format!(
        r#"{{"ts":"2026-01-01T00:00:{:02}.{n:06}Z","level":"info","status":{},"path":"/api/v1/items/{n}","msg":"{msg}"}}"#,
        n % 60,
        200 + n % 300,
    )
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let objects: Vec<String> = (0..LINES).map(object).collect();
    if "bodies/ndjson_250b".contains(&wanted) {
        ndjson(&objects);
    }
    if "bodies/array_250b".contains(&wanted) {
        let body = format!("[{}]", objects.join(","));
        values("bodies/array_250b", Reader::array(TEXT_MAX), body.as_bytes());
    }
    if "bodies/loki_json_250b".contains(&wanted) {
        let values_of =
            |(n, line): (usize, &String)| format!("[\"{}\",{}]", time(n), serde_json::json!(line));
        let entries: Vec<_> = objects.iter().enumerate().map(values_of).collect();
        let body = format!(r#"{{"streams":[{{"stream":{{"app":"x"}},"values":[{}]}}]}}"#, entries.join(","));
        values("bodies/loki_json_250b", Reader::loki_json(), body.as_bytes());
    }
    if "bodies/loki_push_250b".contains(&wanted) {
        loki_push(&objects);
    }
}

fn time(n: usize) -> u64 {
    1_700_000_000_000_000_000 + n as u64 * 1_000_003
}

/// Copies the lines of `body` into a block: what nobody can leave out.
fn copy_lines(block: &mut Block, body: &[u8]) -> u64 {
    let mut entries = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        while block.append(line).is_none() {
            black_box(block.text());
            block.reset();
        }
        entries += 1;
    }
    entries
}

fn ndjson(objects: &[String]) {
    let body = objects.join("\n") + "\n";
    let work = cpu::Work { lines: LINES as u64, bytes: body.len() as u64 };
    let (mut out, mut block) = (Out::new(), Block::new(64 << 10));
    let mut bound = || {
        let mut entries = 0;
        for at in memchr::memchr_iter(b'\n', body.as_bytes()) {
            entries += 1;
            black_box(at);
        }
        black_box(copy_lines(&mut block, body.as_bytes()));
        entries
    };
    let mut ours = || out.all(Reader::ndjson(TEXT_MAX), body.as_bytes());
    let mut serde = || {
        body.lines()
            .map(|line| black_box(serde_json::from_str::<serde_json::Value>(line)).is_ok())
            .filter(|ok| *ok)
            .count() as u64
    };
    cpu::compare(
        work,
        &mut [
            ("bodies/ndjson_250b bound: split, copy", &mut bound),
            ("bodies/ndjson_250b", &mut ours),
            ("bodies/ndjson_250b serde_json Value", &mut serde),
        ],
    );
}

/// A body that is one JSON value; the bound copies it.
fn values(name: &str, reader: Reader, body: &[u8]) {
    let work = cpu::Work { lines: LINES as u64, bytes: body.len() as u64 };
    let (mut out, mut copy) = (Out::new(), Vec::with_capacity(body.len()));
    let mut bound = || {
        copy.clear();
        copy.extend_from_slice(body);
        black_box(&copy).len() as u64
    };
    let mut ours = || out.all(reader, body);
    let mut serde = || u64::from(black_box(serde_json::from_slice::<serde_json::Value>(body)).is_ok());
    let names = [format!("{name} bound: copy"), name.to_string(), format!("{name} serde_json Value")];
    cpu::compare(work, &mut [(&names[0], &mut bound), (&names[1], &mut ours), (&names[2], &mut serde)]);
}

/// From the bytes on the wire to blocks; the bound inflates and copies.
fn loki_push(objects: &[String]) {
    let push = push::push(objects, time);
    let wire = push::packed(&push);
    let work = cpu::Work { lines: LINES as u64, bytes: push.len() as u64 };
    let mut inflater = Inflater::new(InflateLimits::default());
    let (mut body, mut plain) = (Vec::new(), Vec::new());
    let (mut out, mut also, mut block) = (Out::new(), Out::new(), Block::new(64 << 10));
    let mut bound = || {
        plain.resize(push.len(), 0);
        snap::raw::Decoder::new().decompress(&wire, &mut plain).expect("it is whole");
        plain.chunks(250).for_each(|piece| {
            if block.append(piece).is_none() {
                block.reset();
            }
        });
        LINES as u64
    };
    let mut ours = || {
        inflater.inflate(Encoding::Snappy, &wire, &mut body).expect("it is whole");
        out.all(Reader::loki_proto(), &body)
    };
    let mut decode = || also.all(Reader::loki_proto(), &push);
    let mut prost = || push::Push::decode(&push[..]).expect("it is whole").streams[0].entries.len() as u64;
    cpu::compare(
        work,
        &mut [
            ("bodies/loki_push_250b bound: snappy, copy", &mut bound),
            ("bodies/loki_push_250b snappy and protobuf", &mut ours),
            ("bodies/loki_push_250b protobuf alone", &mut decode),
            ("bodies/loki_push_250b prost alone", &mut prost),
        ],
    );
}
