//! What does a JSON line cost on its way from a file into Loki, and how far is that from the least it could cost?
//!
//! `loki/file_json_to_loki`: the whole engine on default settings, `parse: json`, labels of two fields, protobuf and
//! snappy, to a server in this process that takes everything at once. Bound: the same lines found, parsed by the same
//! parser, written as the same protobuf and packed by snappy in a plain loop on one thread; nothing handed on, nothing
//! sent. `loki/encode`: only batch to body, against copying the text and packing it.
//!
//! CPU time against CPU time; the server's own is not counted. `cargo bench --bench loki`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "pipeline/clock.rs"]
mod clock;
#[path = "pipeline/data.rs"]
#[allow(dead_code, reason = "the other benches' data too")]
mod data;

use crossbeam_utils::CachePadded;
use data::Data;
use memchr::memchr_iter;
use ringmain::ack::{Ack, Return, Status};
use ringmain::batch::{Batch, Part};
use ringmain::block::{Block, ORDINARY};
use ringmain::config::Config;
use ringmain::engine::Engine;
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::ledger::SinkLedger;
use ringmain::pool::Pool;
use ringmain::sinks::loki::config::LokiSinkConfig;
use ringmain::sinks::loki::{Sorter, Tables, Writer};
use ringmain::steps::Step;
use ringmain::steps::parse::json::ParseJson;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of lines where somebody measures, and where not.
const BYTES: u64 = 256 << 20;
const BYTES_TRIED: u64 = 4 << 20;
const ROUNDS: usize = 7;
/// Bytes of text in one push.
const PUSH: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

const KEYS: &str = r#"labels: { app: "{fields.service}", level: "{fields.level}" }"#;

fn main() {
    let measured = std::env::args().any(|arg| arg == "--bench");
    let (bytes, rounds) = if measured { (BYTES, ROUNDS) } else { (BYTES_TRIED, 1) };
    let data = Data::lines(bytes);
    let dir = data.write();
    let server = Server::start();
    let (mut bound, mut engine, mut wall) = (Vec::new(), Vec::new(), Vec::new());
    let (mut copied, mut encoded) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // In turn, because a neighbour's load then falls on all alike.
        bound.push(plain_loop(dir.path()));
        let (cpu, took) = through_engine(&data, dir.path(), &server);
        engine.push(cpu);
        wall.push(took);
        let (copy, encode) = encode_only();
        copied.push(copy);
        encoded.push(encode);
    }
    println!(
        "{:<34} {:>9} {:>9}  {} lines of {} bytes",
        "",
        "best",
        "median",
        data.lines,
        data.bytes / data.lines
    );
    let bound = row("bound, CPU ns per line", &mut bound, data.lines);
    let cost = row("loki/file_json_to_loki", &mut engine, data.lines);
    let wall = row("    wall", &mut wall, data.lines);
    println!("    {:.2} of the bound; {:.2} M lines/s", bound / cost, 1e3 / wall);
    let copied = row("copy and snappy", &mut copied, ENCODED as u64);
    let encoded = row("loki/encode", &mut encoded, ENCODED as u64);
    println!("    {:.2} of the bound", copied / encoded);
}

/// Prints times per line and gives the best.
fn row(name: &str, times: &mut [Duration], lines: u64) -> f64 {
    times.sort();
    let per_line = |time: Duration| time.as_nanos() as f64 / lines as f64;
    let (best, median) = (per_line(times[0]), per_line(times[times.len() / 2]));
    println!("{name:<34} {best:>9.1} {median:>9.1}");
    best
}

/// Takes every request at once; counts the CPU time it needs for that.
struct Server {
    url: String,
    cpu: Arc<AtomicU64>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let cpu = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&cpu);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || serve(stream, &counted));
            }
        });
        Server { url, cpu }
    }

    fn used(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::SeqCst))
    }
}

fn serve(stream: TcpStream, counted: &AtomicU64) {
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone().expect("cloned"));
    let (mut stream, mut line, mut used) = (stream, String::new(), Duration::ZERO);
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.trim_end().to_ascii_lowercase();
            match lower.strip_prefix("content-length:") {
                Some(value) => length = value.trim().parse().expect("a length"),
                None if lower.is_empty() => break,
                None => {}
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).expect("a body");
        // Before the answer: who waits for it then finds it counted.
        let now = clock::thread();
        counted.fetch_add((now - used).as_nanos() as u64, Ordering::SeqCst);
        used = now;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("answered");
    }
}

/// CPU time of the engine's threads, and how long it took.
fn through_engine(data: &Data, dir: &Path, server: &Server) -> (Duration, Duration) {
    std::fs::remove_dir_all(dir.join("state")).ok();
    let config = format!(
        "data_dir: {dir}/state\nadmin: {{ listen: off }}\n\
         sources: {{ in: {{ type: file, include: [\"{dir}/in/*.log\"], pipeline: tidy }} }}\n\
         pipelines: {{ tidy: [ {{ parse: json }} ] }}\n\
         sinks: {{ out: {{ type: loki, url: \"{}\", {KEYS} }} }}\n",
        server.url,
        dir = dir.display()
    );
    let config = Config::parse("bench", &config, &|_| None).unwrap_or_else(|report| panic!("{report}"));
    server.cpu.store(0, Ordering::SeqCst);
    let (cpu, wall) = (clock::process(), Instant::now());
    let engine = Engine::start(config).unwrap_or_else(|error| panic!("{error}"));
    let waiting = clock::thread();
    while engine.ledger().sinks[0].row.delivered.get() < data.lines {
        assert!(wall.elapsed() < PATIENCE, "never through: {:?}", engine.ledger());
        std::thread::sleep(Duration::from_millis(2));
    }
    let (wall, waited) = (wall.elapsed(), clock::thread() - waiting);
    let ended = engine.stop(Instant::now() + PATIENCE);
    assert_eq!((ended.undelivered, ended.dropped), (0, 0));
    (clock::process() - cpu - waited - server.used(), wall)
}

/// The same stages in a plain loop.
fn plain_loop(dir: &Path) -> Duration {
    let mut file = std::fs::File::open(dir.join("in/data.log")).expect("the data");
    let parser = ParseJson::default();
    let stream = stream();
    let (mut push, mut snappy, mut packed) =
        (Vec::with_capacity(2 * PUSH), snap::raw::Encoder::new(), Vec::new());
    let (mut buffer, mut held, mut time) = (vec![0_u8; ORDINARY], 0, 1_795_428_000_000_000_000_i64);
    let start = clock::thread();
    let mut pool = Block::new(ORDINARY);
    loop {
        let n = file.read(&mut buffer[held..]).expect("read");
        if n == 0 {
            break;
        }
        let whole = memchr::memrchr(b'\n', &buffer[..held + n]).map_or(0, |at| at + 1);
        ringmain::pool::Recycle::reset(&mut pool);
        pool.begin_run(&stream);
        pool.append(&buffer[..whole]).expect("room");
        let mut begin = 0;
        for at in memchr_iter(b'\n', &buffer[..whole]) {
            pool.push(Entry::at(begin, at as u32 - begin));
            begin = at as u32 + 1;
        }
        pool.reset_side();
        let all = 0..pool.entries().len();
        assert_eq!(parser.run_alone(&mut pool, all.clone()), 0);
        for at in all {
            let entry = pool.view(at);
            black_box((entry.field(b"service").map(|f| f.raw()), entry.field(b"level").map(|f| f.raw())));
            time += 1;
            write_entry(time, entry.text(), &mut push);
            if push.len() >= PUSH {
                pack(&mut snappy, &mut push, &mut packed);
            }
        }
        buffer.copy_within(whole..held + n, 0);
        held = held + n - whole;
    }
    pack(&mut snappy, &mut push, &mut packed);
    clock::thread() - start
}

fn pack(snappy: &mut snap::raw::Encoder, push: &mut Vec<u8>, packed: &mut Vec<u8>) {
    packed.resize(snap::raw::max_compress_len(push.len()), 0);
    black_box(snappy.compress(push, packed).expect("packed"));
    push.clear();
}

/// An entry of a push: tags, lengths, a timestamp, the line.
fn write_entry(time: i64, line: &[u8], out: &mut Vec<u8>) {
    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out.push(0x12);
    varint(line.len() as u64 + 17, out);
    out.extend_from_slice(&[0x0a, 12, 0x08]);
    varint((time / 1_000_000_000) as u64, out);
    out.push(0x10);
    varint((time % 1_000_000_000) as u64, out);
    out.push(0x12);
    varint(line.len() as u64, out);
    out.extend_from_slice(line);
}

fn stream() -> Arc<Stream> {
    let labels = Labels::new([("app", "shop")]);
    Arc::new(Stream::new(SourceId(0), "in".into(), "file", "/var/log/shop.log", labels))
}

/// Lines of a batch that is encoded again and again.
const ENCODED: usize = 4000;
const LINE: &str = r#"{"ts":"2026-11-23T12:00:00.000Z","level":"info","service":"checkout","host":"web-01.eu-west","method":"GET","path":"/api/v1/orders/12345","status":200,"duration_ms":12.25,"trace_id":"0123456789abcdef","msg":"request finished by the upstream after a"#;

struct Nobody;

impl Return for Nobody {
    fn settled(&self, _: u64, _: Status) {}
}

/// The time to copy and pack the text of a batch, and to make its push.
fn encode_only() -> (Duration, Duration) {
    const PASSES: u32 = 20;
    let pool: Pool<Block> = Pool::default();
    let mut batch = Batch::new(Arc::new(CachePadded::new(SinkLedger::default())));
    let (stream, mut left) = (stream(), ENCODED);
    while left > 0 {
        let mut block = pool.get(|| Block::new(ORDINARY));
        block.begin_run(&stream);
        while left > 0 {
            let text = format!("{LINE} {left:05}\"}}\n");
            let Some(at) = block.append(text.as_bytes()) else { break };
            block.push(Entry::at(at, text.len() as u32 - 1));
            left -= 1;
        }
        block.stamp(1_795_428_000_000_000_000 - left as i64 * 1000);
        block.reset_side();
        block.open_selections(0, 1);
        let (entries, bytes) =
            (block.entries().len() as u32, block.entries().iter().map(|e| u64::from(e.len)).sum());
        let part = Part { block: block.share(), range: 0..entries, row: 0, entries, bytes, pin: 0 };
        let whole = Arc::new(Ack::new(0, Arc::new(Nobody))).whole();
        batch.push(part, whole.more(entries));
        whole.settle(Status::Delivered);
    }
    let config: LokiSinkConfig = serde_json::from_str(r#"{"url":"http://loki"}"#).expect("a config");
    let (sorter, mut tables) = (Sorter::new(&config).expect("a sorter"), Tables::default());
    let mut writer = Writer::new(&config).expect("a writer");
    let (mut copy, mut snappy, mut packed) = (Vec::new(), snap::raw::Encoder::new(), Vec::new());
    let start = clock::thread();
    for _ in 0..PASSES {
        batch.iter().for_each(|entry| copy.extend_from_slice(entry.text()));
        pack(&mut snappy, &mut copy, &mut packed);
    }
    let copied = (clock::thread() - start) / PASSES;
    let start = clock::thread();
    for _ in 0..PASSES {
        let groups = sorter.sort(&batch, &mut tables, Instant::now());
        for spans in groups.requests() {
            black_box(writer.write(&batch, groups, spans).expect("written"));
        }
    }
    let encoded = (clock::thread() - start) / PASSES;
    batch.settle(0);
    (copied, encoded)
}
