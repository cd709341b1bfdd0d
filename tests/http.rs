//! HTTP intake from outside: order, promises, limits, and clients that mean harm.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::http::{Client, post, request};
use support::*;

fn start(dir: &Path, source: &str, sink: &str) -> (Instance, String) {
    let text = format!(
        "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\nquotas: {{ max_memory: 80MiB }}\n\
         sources: {{ web: {{ type: http, listen: [\"tcp://127.0.0.1:0\"]{source} }} }}\n\
         sinks: {{ out: {{ {sink} }} }}\n"
    );
    let mut instance = Instance::start(dir, &text);
    let url = instance.address("source web ", "http://");
    (instance, url)
}

const FILE: &str = "type: file, path: out/all.log";
/// Nothing is delivered until the standard output is read, but for what a pipe holds.
const CONSOLE: &str = "type: console, format: raw";

fn web(stats: &Value, key: &str) -> u64 {
    number(row(stats, "sources", "web"), key)
}

/// Requests answered with `status`.
fn answered(stats: &Value, status: &str) -> u64 {
    row(stats, "sources", "web")["requests"][status].as_u64().unwrap_or(0)
}

fn lines(stream: &str, range: std::ops::Range<u64>) -> String {
    range.map(|number| line(stream, number, 100) + "\n").collect()
}

#[test]
fn pipelined_requests_on_connections_that_stay_open_arrive_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), ", decoders: 2", FILE);
    let threads: Vec<_> = (0..4)
        .map(|client: u64| {
            let url = url.clone();
            std::thread::spawn(move || {
                let (mut connection, mut waiting) = (Client::connect(&url), VecDeque::new());
                let stream = format!("c{client}");
                for n in 0..100 {
                    let body = lines(&stream, n * 7..(n + 1) * 7);
                    // Every third one in chunks, cut anywhere.
                    match n % 3 {
                        0 => connection.send(chunked(&body, n as usize + 1)),
                        _ => connection.post("/", "", body),
                    }
                    waiting.push_back(n);
                    if waiting.len() == 6 {
                        let answer = connection.answer().expect("an answer");
                        assert_eq!(
                            (answer.status, answer.body.as_str()),
                            (200, "{\"taken\":7,\"refused\":0}\n")
                        );
                        waiting.pop_front();
                    }
                }
                for _ in waiting {
                    assert_eq!(connection.answer().expect("an answer").status, 200);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it got its answers"));
    // Delivered is what was promised: nothing needs to be waited for.
    let stats = instance.stats();
    assert_ledger(&stats);
    assert_eq!((web(&stats, "received"), answered(&stats, "200")), (4 * 700, 400));
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    (0..4).for_each(|client| recount.assert_exact(&format!("c{client}"), 700));
    assert!(recount.foreign.is_empty());
}

#[test]
fn requests_their_bytes_and_what_was_refused_of_them_are_counted_in_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), ", paths: { \"/json\": ndjson }", FILE);
    let mut client = Client::connect(&url);
    let body = "{\"a\":1}\n{\"a\":\n{\"a\":2}\n";
    client.post("/json", "", body);
    assert_eq!(client.answer().expect("an answer").status, 207);
    client.post("/nowhere", "", "");
    assert_eq!(client.answer().expect("an answer").status, 404);
    let (_, metrics) = instance.get("/metrics");
    for line in [
        "dispatcher_source_requests_total{source=\"web\",status=\"207\"} 1".to_string(),
        "dispatcher_source_requests_total{source=\"web\",status=\"404\"} 1".into(),
        format!("dispatcher_source_request_bytes_total{{source=\"web\"}} {}", body.len()),
        "dispatcher_source_refused_entries_total{source=\"web\"} 1".into(),
        "dispatcher_source_received_total{source=\"web\"} 2".into(),
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in\n{metrics}");
    }
}

fn chunked(body: &str, size: usize) -> Vec<u8> {
    let mut bytes = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0;last\r\nX-Sum: 1\r\n\r\n");
    bytes
}

#[test]
fn a_client_that_waits_for_the_word_sends_its_body_only_when_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let (_instance, url) = start(dir.path(), "", FILE);
    let mut client = Client::connect(&url);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.answer().expect("a word").status, 100);
    client.send("hello");
    assert_eq!(client.answer().expect("an answer").status, 200);
    client.send("POST /no HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.answer().expect("an answer instead").status, 404);
    client.assert_closed();
}

#[test]
fn what_two_readers_could_understand_differently_is_refused_and_nothing_behind_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), "", FILE);
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}");
    let smuggled = post("Content-Length: 8\r\n", "smuggled");
    let many = "A: b\r\n".repeat(101);
    let long = format!("A: {}\r\n", "b".repeat(17 << 10));
    for (bytes, status) in [
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400),
        (post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"), 400),
        (post("Content-Length: -5\r\n", "hello"), 400),
        (post("Content-Length: 5x\r\n", "hello"), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), 413),
        (post("Content-Length: 99999999999\r\n", ""), 413),
        (post("A : b\r\n", ""), 400),
        (post(" folded\r\n", ""), 400),
        (post("Host: y\r\n", ""), 400),
        (post(&many, ""), 431),
        (post(&long, ""), 431),
        (format!("POST /{} HTTP/1.1\r\n", "x".repeat(9 << 10)), 414),
        ("POST / HTTP/1.1\r\n\r\n".into(), 400),
        ("POST / HTTP/3.0\r\nHost: x\r\n\r\n".into(), 505),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".into(), 400),
        (post("Expect: something\r\n", ""), 417),
    ] {
        let mut client = Client::connect(&url);
        client.send(bytes.clone() + &smuggled);
        let answer = client.answer().unwrap_or_else(|| panic!("no answer to {bytes:.60?}"));
        assert_eq!(
            (answer.status, answer.field("connection")),
            (status, Some("close")),
            "{bytes:.60?} {answer:?}"
        );
        assert!(!answer.body.trim().is_empty());
        client.assert_closed();
    }
    let stats = instance.stats();
    assert_eq!(web(&stats, "received"), 0);
    assert_eq!(post_ok(&url), 200, "and all others are served");
}

fn post_ok(url: &str) -> u16 {
    post(url, "/", "", "fine").status
}

#[test]
fn while_sinks_are_behind_new_requests_are_told_to_come_later_and_admitted_ones_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), ", ack_timeout: 60s", CONSOLE);
    // Until the queue, or the sink's share of memory, is full: whoever is admitted waits for its answer.
    let (mut admitted, mut sent) = (Vec::new(), 0);
    let refused = loop {
        let mut client = Client::connect(&url);
        client.post("/", "", lines("s", sent..sent + 3000));
        if client.is_silent_for(Duration::from_millis(300)) {
            admitted.push(client);
            sent += 3000;
            assert!(admitted.len() < 2000, "there is always room");
        } else {
            break client.answer().expect("an answer");
        }
    };
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(!admitted.is_empty());
    let mut out = instance.stdout();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).expect("it is read");
        text
    });
    for client in &mut admitted {
        assert_eq!(client.answer().expect("an answer").status, 200, "a kept promise");
    }
    let stats = instance.wait_delivered("out", sent);
    assert_ledger(&stats);
    assert!(answered(&stats, "503") >= 1);
    assert_eq!(post_ok(&url), 200);
    assert_eq!(instance.terminate(), 0);
    let mut recount = Recount::default();
    recount.add(&reader.join().expect("text"));
    // The connections took turns: all came, each once.
    assert_eq!(recount.lost_and_twice("s", sent), (0, 0));
}

#[test]
fn clients_killed_in_the_middle_leave_a_ledger_that_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), "", FILE);
    let mut whole = 0;
    for n in 0..60_u64 {
        let bytes = request("/", "", lines(&format!("k{n}"), 0..20).as_bytes());
        let mut client = Client::connect(&url);
        let cut = match n % 3 {
            // All of it came: it is taken, whoever waits for the answer.
            0 => bytes.len(),
            1 => bytes.len() - 1 - n as usize,
            _ => 10,
        };
        client.send(&bytes[..cut]);
        if cut == bytes.len() {
            whole += 20;
            client.stream.shutdown(std::net::Shutdown::Write).expect("half closed");
            drop(client.answer());
        } else if n % 2 == 0 {
            // A reset instead of an end.
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).expect("an option");
        }
    }
    let stats =
        instance.wait_stats("all clients are gone", |stats| web(stats, "streams") == 0 && at_rest(stats));
    assert_ledger(&stats);
    assert_eq!((web(&stats, "received"), answered(&stats, "200")), (whole, whole / 20));
    assert_eq!(instance.terminate(), 0);
    assert_eq!(Recount::of(&dir.path().join("out")).lines(), whole);
}

#[test]
fn two_thousand_slow_clients_take_nothing_from_fifty_good_ones() {
    const SLOW: usize = 2000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).expect("the soft limit may rise");
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), ", max_connections_per_address: 4096, max_body: 10MiB", FILE);
    let before = resident(&mut instance);
    let mut slow: Vec<TcpStream> = (0..SLOW)
        .map(|n| {
            let mut stream = TcpStream::connect(&url).expect("it listens");
            if n % 2 == 0 {
                // Half of them are slow with a body, and claim that it will be large.
                stream
                    .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
                    .expect("it reads");
            }
            stream
        })
        .collect();
    instance.wait_stats("all are in", |stats| web(stats, "streams") >= SLOW as u64);
    let (stop, stopped) = channel::<()>();
    let dripping = std::thread::spawn(move || {
        // One byte a second each, until the good ones are done. Those that were thrown out do not matter.
        loop {
            slow.iter_mut().for_each(|stream| drop(stream.write(b"P")));
            if stopped.recv_timeout(Duration::from_secs(1)) != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                return;
            }
        }
    });
    let good: Vec<_> = (0..50)
        .map(|client| {
            let url = url.clone();
            std::thread::spawn(move || {
                let mut connection = Client::connect(&url);
                for n in 0..20 {
                    let body = lines(&format!("g{client}"), n * 10..(n + 1) * 10);
                    assert_eq!(connection.ask("/", "", body).status, 200, "client {client}, request {n}");
                }
            })
        })
        .collect();
    let errors = good.into_iter().filter_map(|thread| thread.join().err()).count();
    assert_eq!(errors, 0);
    let rise = resident(&mut instance).saturating_sub(before);
    assert!(rise < 64 << 20, "{rise} bytes more");
    drop(stop);
    dripping.join().expect("it drips");
    let stats = instance.wait_delivered("out", 50 * 200);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    (0..50).for_each(|client| recount.assert_exact(&format!("g{client}"), 200));
}

fn resident(instance: &mut Instance) -> u64 {
    instance.stats()["process"]["resident_bytes"].as_u64().expect("a number")
}

#[test]
fn a_bomb_and_a_tower_of_brackets_are_refused_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), "", FILE);
    assert_eq!(post_ok(&url), 200);
    let before = resident(&mut instance);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    (0..80).for_each(|_| gzip.write_all(&zeros).expect("to memory"));
    let bomb = gzip.finish().expect("to memory");
    assert!(bomb.len() < 100 << 10);
    for _ in 0..5 {
        let answer = post(&url, "/", "Content-Encoding: gzip\r\n", &bomb);
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    let json = "Content-Type: application/json\r\n";
    let deep = format!("[{}1{}]", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(post(&url, "/", json, &deep).status, 400);
    let deep = format!("{}1{}\n{{\"fine\":1}}\n", "{\"a\":".repeat(100), "}".repeat(100));
    let answer = post(&url, "/", "Content-Type: application/x-ndjson\r\n", &deep);
    assert_eq!(answer.status, 207, "{answer:?}");
    assert!(answer.body.contains("line 1: "), "{answer:?}");
    let rise = resident(&mut instance).saturating_sub(before);
    assert!(rise < 64 << 20, "{rise} bytes more");
    let stats = instance.wait_delivered("out", 2);
    assert_ledger(&stats);
}

/// The most memory the process ever had, in bytes (proc(5): `VmHWM`).
fn peak(instance: &Instance) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", instance.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn a_bomb_of_ten_kibibytes_never_takes_more_memory_than_bodies_may() {
    const CAP: u64 = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), ", max_inflated: 4MiB", FILE);
    // One body as large as may be, so that what is measured after it is only what bombs cost.
    let lines = lines("s", 0..40_000);
    assert!(lines.len() as u64 <= CAP && lines.len() as u64 > CAP - (1 << 19));
    assert_eq!(post(&url, "/", "", &lines).status, 200);
    instance.wait_delivered("out", 40_000);
    let before = peak(&instance);
    let zeros = vec![b'0'; 8 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).expect("to memory");
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    deflate.write_all(&zeros).expect("to memory");
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    (0..16).for_each(|_| zstd.write_all(&zeros).expect("to memory"));
    let zstd = zstd.finish().expect("to memory");
    for (name, bomb) in [
        ("gzip", gzip.finish().expect("to memory")),
        ("deflate", deflate.finish().expect("to memory")),
        ("zstd", zstd),
    ] {
        assert!(bomb.len() <= 10 << 10, "{name}: {} bytes", bomb.len());
        for _ in 0..8 {
            let answer = post(&url, "/", &format!("Content-Encoding: {name}\r\n"), &bomb);
            assert_eq!(answer.status, 413, "{name}: {answer:?}");
        }
    }
    let rise = peak(&instance) - before;
    assert!(rise <= CAP, "{rise} bytes more at the peak");
    assert_eq!(instance.terminate(), 0);
}

#[test]
fn a_source_told_to_stop_answers_what_it_has_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), "", FILE);
    let mut idle = Client::connect(&url);
    assert_eq!(idle.ask("/", "", "x").status, 200);
    let mut coming = Client::connect(&url);
    let body = lines("s", 0..1000);
    let bytes = request("/", "", body.as_bytes());
    coming.send(&bytes[..bytes.len() / 2]);
    instance.wait_stats("half of it came", |stats| web(stats, "request_bytes") > 1);
    instance.signal("TERM");
    instance.wait_log("ending");
    coming.send(&bytes[bytes.len() / 2..]);
    let answer = coming.answer().expect("an answer");
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    idle.assert_closed();
    assert_eq!(instance.wait().code(), Some(0));
    let text = fs::read_to_string(dir.path().join("out/all.log")).expect("text");
    assert_eq!(text.lines().count(), 1001);
}

#[test]
fn entries_come_over_tls_and_unix_sockets_as_well() {
    use support::tls::{self, Authority, VALID};
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    authority.sign("server", VALID).write(dir.path(), "server");
    let text = format!(
        "data_dir: state\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
         sources:\n  web:\n    type: http\n    listen: [\"tls://127.0.0.1:0\", \"unix://web.sock\"]\n    \
         tls: {{ cert: server.pem, key: server.key }}\nsinks: {{ out: {{ {FILE} }} }}\n"
    );
    let mut instance = Instance::start(dir.path(), &text);
    let url = instance.address("source web ", "https://");
    let mut secure = tls::connect(&tls::client(&authority, None), &*url).expect("a session");
    for n in 0..3 {
        secure
            .write_all(&request("/", "", lines("tls", n * 1000..(n + 1) * 1000).as_bytes()))
            .expect("it reads");
        let mut answer = [0; 12];
        secure.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}\n") {
            let mut byte = [0];
            secure.read_exact(&mut byte).expect("the rest of it");
            rest.push(byte[0]);
        }
    }
    let mut local = std::os::unix::net::UnixStream::connect(dir.path().join("web.sock")).expect("it listens");
    local
        .write_all(&request("/", "Connection: close\r\n", lines("unix", 0..10).as_bytes()))
        .expect("it reads");
    let mut answer = String::new();
    local.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"taken\":10"), "{answer}");
    drop(secure);
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    recount.assert_exact("tls", 3000);
    recount.assert_exact("unix", 10);
}

#[test]
fn clients_that_come_and_go_get_only_their_own_answers() {
    // Clients that come and go while others stay: places are used again, and answers find only whom they are for.
    let dir = tempfile::tempdir().unwrap();
    let (mut instance, url) = start(dir.path(), ", decoders: 2", FILE);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                let mut hasty = Client::connect(&url);
                hasty.post("/", "", "hasty\n");
                // Gone before the answer.
            }
        });
        let steady: Vec<_> = (0..4)
            .map(|client| {
                let url = &url;
                scope.spawn(move || {
                    for n in 0..50 {
                        let mut connection = Client::connect(url);
                        let body = lines(&format!("r{client}"), n * 5..(n + 1) * 5);
                        let answer = connection.ask("/", "", body);
                        assert_eq!((answer.status, &*answer.body), (200, "{\"taken\":5,\"refused\":0}\n"));
                    }
                })
            })
            .collect();
        let failed = steady.into_iter().filter_map(|thread| thread.join().err()).count();
        done.store(true, Relaxed);
        assert_eq!(failed, 0);
    });
    let stats = instance.wait_stats("rest", |stats| web(stats, "streams") == 0 && at_rest(stats));
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.path().join("out"));
    for client in 0..4 {
        assert_eq!(recount.lost_and_twice(&format!("r{client}"), 250), (0, 0));
    }
    assert!(recount.foreign.iter().all(|line| line == "hasty"));
}
