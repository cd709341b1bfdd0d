//! What does NDJSON over HTTP cost, from a socket to a blackhole? The bound is the same bytes, read by the same JSON
//! scanner in a plain loop and copied once.
//!
//! CPU time of the whole process against CPU time of the loop. The clients are in the process too: what they cost, a
//! `write` of a ready-made request and a `read` of its answer, is part of the figure.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

#[allow(dead_code, reason = "it tells a thread's time as well")]
#[path = "pipeline/clock.rs"]
mod clock;

use clock::process as cpu;
use ringmain::config::Config;
use ringmain::engine::Engine;
use ringmain::sources::body::{EntryOut, Full, Item, LabelText, Reader, Refused, Text, Why};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;
const REQUESTS: usize = 200;
/// Entries of a request, of about 250 bytes each.
const ENTRIES: usize = 1000;
const ROUNDS: usize = 5;

fn body() -> String {
    let entry = |n: usize| {
        format!(
            "{{\"time\":\"2026-11-23T09:00:{:02}Z\",\"level\":\"info\",\"service\":\"web-api\",\"request\":\"{n:08x}\",\
             \"path\":\"/api/v1/items/{n}\",\"status\":200,\"took_ms\":{},\"message\":\"upstream cache was warm and \
             everything else as it should be on a quiet morning\"}}\n",
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
    entries: u64,
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

fn bound(body: &[u8]) -> Duration {
    let (begun, mut copies) = (cpu(), Copies::default());
    for _ in 0..CLIENTS * REQUESTS {
        assert!(Reader::ndjson(256 << 10).pour(body, &mut copies));
    }
    assert_eq!(copies.entries as usize, CLIENTS * REQUESTS * ENTRIES);
    cpu() - begun
}

fn client(address: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let mut answer = [0; 1024];
    for _ in 0..REQUESTS {
        stream.write_all(request).expect("it reads");
        let len = stream.read(&mut answer).expect("an answer");
        assert!(answer[..len].starts_with(b"HTTP/1.1 200 "), "{}", answer[..len].escape_ascii());
    }
}

/// CPU and wall time of all requests.
fn through_the_house(address: SocketAddr, request: &[u8]) -> (Duration, Duration) {
    let (begun, wall) = (cpu(), Instant::now());
    std::thread::scope(|scope| {
        (0..CLIENTS).for_each(|_| drop(scope.spawn(|| client(address, request))));
    });
    (cpu() - begun, wall.elapsed())
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let text = format!(
        "data_dir: {}\nadmin: {{ listen: off }}\nsources: {{ web: {{ type: http, listen: [\"tcp://{free}\"] }} }}\n\
         sinks: {{ none: {{ type: blackhole }} }}\n",
        dir.path().display()
    );
    let engine =
        Engine::start(Config::parse("bench", &text, &|_| None).expect("a config")).expect("it starts");
    let body = body();
    let head = "POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let entries = (CLIENTS * REQUESTS * ENTRIES) as f64;
    let (mut best_bound, mut best, mut best_wall) = (Duration::MAX, Duration::MAX, Duration::MAX);
    // In turn, because a neighbour's load then falls on both alike.
    for _ in 0..ROUNDS {
        best_bound = best_bound.min(bound(body.as_bytes()));
        let (cpu, wall) = through_the_house(free, request.as_bytes());
        (best, best_wall) = (best.min(cpu), best_wall.min(wall));
    }
    engine.stop(Instant::now() + Duration::from_secs(10));
    let nanos = |time: Duration| time.as_nanos() as f64 / entries;
    println!(
        "http/bound            {:6.0} ns CPU per entry of {} bytes",
        nanos(best_bound),
        body.len() / ENTRIES
    );
    println!(
        "http/ndjson_4_clients {:6.0} ns CPU per entry, {:.2} of the bound; {:.2} M entries/s, {:.0} MB/s",
        nanos(best),
        best_bound.as_secs_f64() / best.as_secs_f64(),
        entries / best_wall.as_secs_f64() / 1e6,
        (CLIENTS * REQUESTS * body.len()) as f64 / best_wall.as_secs_f64() / 1e6,
    );
}
