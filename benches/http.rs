//! What do entries cost that come over HTTP, from a socket to a blackhole: as NDJSON, and as pushes to Loki?
//!
//! The bound receives the same requests over the same loopback in a thread for each connection, reads them by the same
//! readers, and copies each entry once. CPU time of the whole process against CPU time of the whole process; that of the
//! clients, which `write` ready-made requests and `read` the answers, is taken off both.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[path = "pipeline/clock.rs"]
mod clock;
#[allow(dead_code, reason = "it can be decoded as well")]
mod push;

use ringmain::config::Config;
use ringmain::engine::Engine;
use ringmain::sources::body::inflate::{Encoding, InflateLimits, Inflater};
use ringmain::sources::body::{EntryOut, Full, Item, LabelText, Reader, Refused, Text, Why};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;
const REQUESTS: usize = 200;
/// Entries of a request, of about 250 bytes each.
const ENTRIES: usize = 1000;
const ROUNDS: usize = 9;
const MAX: usize = 256 << 10;

fn lines() -> Vec<String> {
    let entry = |n: usize| {
        format!(
            "{{\"time\":\"2026-11-23T09:00:{:02}Z\",\"level\":\"info\",\"service\":\"web-api\",\"request\":\"{n:08x}\",\
             \"path\":\"/api/v1/items/{n}\",\"status\":200,\"took_ms\":{},\"message\":\"upstream cache was warm and \
             everything else as it should be on a quiet morning\"}}",
            n % 60,
            n % 97
        )
    };
    (0..ENTRIES).map(entry).collect()
}

/// Copies texts, as a block would.
#[derive(Default)]
struct Copies {
    text: Vec<u8>,
    entries: usize,
}

impl EntryOut for Copies {
    fn stream(&mut self, _: LabelText<'_>) -> Result<(), Why> {
        Ok(())
    }

    fn entry(&mut self, item: &Item<'_>) -> Result<(), Full> {
        if self.text.len() > 64 << 10 {
            self.text.clear();
        }
        let (Text::Plain(text) | Text::Escaped(text)) = item.text;
        self.text.extend_from_slice(text);
        self.entries += 1;
        Ok(())
    }

    fn refused(&mut self, _: Refused) {}
}

/// One kind of intake.
struct Kind {
    name: &'static str,
    /// The keys of the source, but for where it listens.
    source: &'static str,
    head: Vec<u8>,
    body: Vec<u8>,
    answer: &'static [u8],
    /// Packed by snappy, protobuf of Loki; NDJSON otherwise.
    is_push: bool,
}

impl Kind {
    fn ndjson() -> Kind {
        let body = lines().join("\n") + "\n";
        let head = "POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\n";
        Kind {
            name: "http/ndjson_4_clients",
            source: "type: http",
            head: format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes(),
            body: body.into_bytes(),
            answer: b"HTTP/1.1 200 ",
            is_push: false,
        }
    }

    fn push() -> Kind {
        let push = push::push(&lines(), |n| 1_795_428_000_000_000_000 + n as u64 * 1_000_003);
        let body = push::packed(&push);
        let head =
            "POST /loki/api/v1/push HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-protobuf\r\n";
        Kind {
            name: "loki/push_4_clients",
            source: "type: loki",
            head: format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes(),
            body,
            answer: b"HTTP/1.1 204 ",
            is_push: true,
        }
    }

    /// CPU time of the client.
    fn send(&self, address: SocketAddr) -> Duration {
        let request = [&self.head[..], &self.body].concat();
        let mut stream = TcpStream::connect(address).expect("it listens");
        let mut answer = [0; 1024];
        for _ in 0..REQUESTS {
            stream.write_all(&request).expect("it reads");
            let len = stream.read(&mut answer).expect("an answer");
            assert!(answer[..len].starts_with(self.answer), "{}", answer[..len].escape_ascii());
        }
        clock::thread()
    }

    /// CPU time of all but the clients, and how long it took.
    fn through(&self, address: SocketAddr) -> (Duration, Duration) {
        let (begun, wall) = (clock::process(), Instant::now());
        let clients: Duration = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| self.send(address))).collect();
            clients.into_iter().map(|client| client.join().expect("it sent")).sum()
        });
        (clock::process() - begun - clients, wall.elapsed())
    }

    /// The least that answers requests: a thread for each connection.
    fn bound(&self) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::scope(|scope| {
                    for _ in 0..CLIENTS {
                        let (stream, _) = listener.accept().expect("a client");
                        scope.spawn(move || self.serve(stream));
                    }
                });
            });
            self.through(address).0
        })
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut request, mut plain) = (vec![0; self.head.len() + self.body.len()], Vec::new());
        let (mut copies, mut inflater) = (Copies::default(), Inflater::new(InflateLimits::default()));
        let answer = [self.answer, b"ok\r\nContent-Length: 0\r\n\r\n"].concat();
        for n in 1..=REQUESTS {
            stream.read_exact(&mut request).expect("a request");
            let body = &request[self.head.len()..];
            let done = if self.is_push {
                inflater.inflate(Encoding::Snappy, body, &mut plain).expect("it is whole");
                Reader::loki_proto().pour(&plain, &mut copies)
            } else {
                Reader::ndjson(MAX).pour(body, &mut copies)
            };
            assert!(done && copies.entries == n * ENTRIES);
            stream.write_all(&answer).expect("it listens");
        }
    }

    fn measure(&self) {
        let dir = tempfile::tempdir().expect("a directory");
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let text = format!(
            "data_dir: {}\nadmin: {{ listen: off }}\nsources: {{ in: {{ {}, listen: [\"tcp://{free}\"] }} }}\n\
             sinks: {{ none: {{ type: blackhole }} }}\n",
            dir.path().display(),
            self.source
        );
        let engine =
            Engine::start(Config::parse("bench", &text, &|_| None).expect("a config")).expect("it starts");
        let (mut bound, mut cpu, mut wall) = (Vec::new(), Vec::new(), Vec::new());
        // In turn, because a neighbour's load then falls on both alike.
        for _ in 0..ROUNDS {
            bound.push(self.bound());
            let (spent, took) = self.through(free);
            cpu.push(spent);
            wall.push(took);
        }
        engine.stop(Instant::now() + Duration::from_secs(10));
        let entries = (CLIENTS * REQUESTS * ENTRIES) as f64;
        let bytes = self.body.len() as f64 / ENTRIES as f64;
        let [bound, cpu, wall] = [bound, cpu, wall].map(|mut times| {
            times.sort();
            [times[0], times[ROUNDS / 2]].map(|time| time.as_nanos() as f64 / entries)
        });
        println!("{:<24} best, median; {bytes:.0} bytes an entry as sent", self.name);
        println!("    bound, CPU ns per entry {:6.0} {:6.0}", bound[0], bound[1]);
        println!("    CPU ns per entry        {:6.0} {:6.0}", cpu[0], cpu[1]);
        println!("    of the bound            {:6.2} {:6.2}", bound[0] / cpu[0], bound[1] / cpu[1]);
        println!("    M entries/s wall        {:6.2} {:6.2}", 1e3 / wall[0], 1e3 / wall[1]);
    }
}

fn main() {
    Kind::ndjson().measure();
    Kind::push().measure();
}
