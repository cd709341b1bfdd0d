//! The table of docs/backpressure.md, cell by cell, from outside: a sink that nobody reads, and more than it can hold.
//!
//! What the queue to the workers does at its marks is shown beside its code, in `src/sources/inlet/tests.rs`: no worker can be
//! stopped from outside.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::thread::JoinHandle;
use support::http::Client;
use support::*;

/// So many lines of a thousand bytes are more than a lane holds of the least budget there is, with all in transit.
const MUCH: u64 = 24_000;
const LEN: usize = 999;

fn config(source: &str, strategy: &str) -> String {
    // A buffer on disk has a lane before it and one behind.
    let memory = if strategy == "spill" { "60MiB" } else { "40MiB" };
    format!(
        "data_dir: state\nadmin: {{ listen: '127.0.0.1:0' }}\nquotas: {{ max_memory: {memory} }}\n\
         dispatcher: {{ drain_timeout: 60s }}\n\
         sources: {{ in: {{ {source}, strategy: {strategy} }} }}\n\
         sinks: {{ out: {{ type: console, format: raw, buffer: {{ max_size: 256MiB }} }} }}\n"
    )
}

fn source<'a>(stats: &'a Value, key: &str) -> &'a Value {
    &row(stats, "sources", "in")[key]
}

fn sink<'a>(stats: &'a Value, key: &str) -> &'a Value {
    &row(stats, "sinks", "out")[key]
}

fn dropped(stats: &Value, reason: &str) -> u64 {
    let of = |all: &Value| all[reason].as_u64().expect("a count");
    of(source(stats, "dropped")) + of(sink(stats, "dropped"))
}

/// Reads all that the sink writes from now on, until it ends.
fn reader(instance: &mut Instance) -> JoinHandle<Recount> {
    let mut out = instance.stdout();
    std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).expect("text");
        let mut recount = Recount::default();
        recount.add(&text);
        recount
    })
}

/// What came is what was sent, without what was dropped; in order, and the end of it that the strategy keeps.
fn settles(mut instance: Instance, strategy: &str, streams: &[&str], sent: u64) {
    let reading = reader(&mut instance);
    let stats = instance.wait_stats("everything is settled", |stats| {
        at_rest(stats) && source(stats, "received").as_u64() == Some(sent)
    });
    assert_ledger(&stats);
    let lost = dropped(&stats, "drop_oldest") + dropped(&stats, "drop_newest");
    let all: u64 = ["sources", "sinks"]
        .iter()
        .flat_map(|table| stats[*table].as_array().expect("rows"))
        .flat_map(|row| row["dropped"].as_object().expect("reasons").values().filter_map(Value::as_u64))
        .sum();
    assert_eq!(lost, all, "for no other reason");
    assert_eq!(lost > 0, strategy.starts_with("drop"), "{strategy}: {lost} lost");
    if strategy.starts_with("drop") {
        assert!(dropped(&stats, strategy) > 0, "{strategy}");
    }
    assert_eq!(instance.terminate(), 0);
    let recount = reading.join().expect("no panic");
    assert_eq!(recount.lines() + lost, sent, "{strategy}: what was counted is what is missing");
    let each = sent / streams.len() as u64;
    for stream in streams {
        let numbers = recount.streams.get(*stream).cloned().unwrap_or_default();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{strategy}: {stream} in order, each once");
        match strategy {
            // Of several streams one may have come when the others had taken the room.
            "drop_newest" | "drop_oldest" if streams.len() > 1 => {}
            "drop_newest" => assert_eq!(numbers.first(), Some(&0), "what came first is kept"),
            "drop_oldest" => assert_eq!(numbers.last(), Some(&(each - 1)), "what came last is kept"),
            _ => assert_eq!(numbers.len() as u64, each),
        }
    }
}

/// Waits until the sink is full, or all came in though it is.
fn fills(instance: &mut Instance, strategy: &str, sent: u64) -> Value {
    let waits = strategy == "block";
    let stats = instance.wait_stats("the sink is full, or everything was taken in", |stats| match waits {
        true => {
            sink(stats, "lane")["gate_closed"] == true
                && source(stats, "in_transit") == 0
                && source(stats, "blocked").as_u64() > Some(0)
        }
        false => source(stats, "received").as_u64() == Some(sent) && source(stats, "in_transit") == 0,
    });
    if waits {
        assert_eq!(source(&stats, "gate_open"), false);
        assert!(source(&stats, "received").as_u64() < Some(sent), "{strategy}: it stopped reading");
    }
    if strategy == "spill" {
        assert_eq!(
            (&sink(&stats, "buffer")["in_use"], source(&stats, "gate_open")),
            (&true.into(), &true.into())
        );
    }
    stats
}

const STRATEGIES: [&str; 4] = ["block", "spill", "drop_oldest", "drop_newest"];

#[test]
fn files_are_left_alone_or_read_on_as_the_strategy_says() {
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().expect("a directory");
        // Of a single file no more than a window is under way, whatever the lane could hold.
        let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
        fs::create_dir(dir.path().join("logs")).expect("created");
        for name in &names {
            write(dir.path(), name, MUCH / 8);
        }
        let config = config("type: file, include: ['logs/*']", strategy);
        let mut instance = Instance::start(dir.path(), &config);
        fills(&mut instance, strategy, MUCH);
        let streams: Vec<&str> = names.iter().map(String::as_str).collect();
        settles(instance, strategy, &streams, MUCH);
    }
}

fn write(dir: &Path, stream: &str, lines: u64) {
    let text: String = (0..lines).map(|n| line(stream, n, LEN) + "\n").collect();
    fs::write(dir.join("logs").join(stream), text).expect("written");
}

#[test]
fn senders_over_tcp_wait_or_are_read_on_as_the_strategy_says() {
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().expect("a directory");
        let listen = "type: socket, listen: ['tcp://127.0.0.1:0'], framing: newline";
        let mut instance = Instance::start(dir.path(), &config(listen, strategy));
        let mut connection = TcpStream::connect(instance.address("source in", "tcp://")).expect("connected");
        let sender = std::thread::spawn(move || {
            for n in 0..MUCH {
                connection.write_all((line("a", n, LEN) + "\n").as_bytes()).expect("it reads");
            }
        });
        fills(&mut instance, strategy, MUCH);
        settles(instance, strategy, &["a"], MUCH);
        sender.join().expect("no panic");
    }
}

#[test]
fn requests_are_told_to_come_later_or_taken_as_the_strategy_says() {
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().expect("a directory");
        let listen = "type: http, listen: ['tcp://127.0.0.1:0'], ack: accepted";
        let mut instance = Instance::start(dir.path(), &config(listen, strategy));
        let mut client = Client::connect(&instance.address("source in", "http://"));
        let (mut sent, mut told) = (0, None);
        while sent < MUCH && told.is_none() {
            // Not more than a block holds: of a larger request one part may be in when there is no room for the next.
            let body: String = (sent..sent + 50).map(|n| line("a", n, LEN) + "\n").collect();
            client.post("/", "", body);
            let answer = client.answer().expect("an answer");
            match answer.status {
                200 => sent += 50,
                503 if strategy.starts_with("drop") => sent += 50,
                _ => told = Some((answer.status, answer.field("retry-after").map(String::from))),
            }
        }
        let later = (strategy == "block").then(|| (503, Some("1".to_string())));
        assert_eq!(told, later, "{strategy}");
        if strategy != "block" {
            fills(&mut instance, strategy, sent);
        }
        settles(instance, strategy, &["a"], sent);
    }
}

#[test]
fn datagrams_are_left_to_the_kernel_or_dropped_by_us_as_the_strategy_says() {
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().expect("a directory");
        let listen = "type: socket, listen: ['udp://127.0.0.1:0'], receive_buffer: 256KiB";
        let mut instance = Instance::start(dir.path(), &config(listen, strategy));
        let to = instance.address("source in", "udp://");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let counted = |stats: &Value| {
            source(stats, "received").as_u64().expect("a count")
                + source(stats, "kernel_drops").as_u64().expect("a count")
        };
        let mut sent = 0;
        let stopped = |stats: &Value| strategy == "block" && source(stats, "gate_open") == false;
        // As many as fit the kernel's buffer at a time, each accounted for before the next: it drops only what we leave there.
        let mut is_full = false;
        while sent < MUCH && !is_full {
            for _ in 0..50 {
                socket.send_to(line("a", sent, LEN).as_bytes(), &to).expect("sent");
                sent += 1;
            }
            let stats = instance
                .wait_stats("they are accounted for", |stats| counted(stats) == sent || stopped(stats));
            is_full = stopped(&stats);
        }
        if strategy == "block" {
            // More than the kernel's buffer holds: what it drops it says, once we read again.
            for _ in 0..3000 {
                socket.send_to(line("a", sent, LEN).as_bytes(), &to).expect("sent");
                sent += 1;
            }
        }
        let reading = reader(&mut instance);
        let stats = instance.wait_stats("everything is accounted for", |stats| {
            if counted(stats) < sent {
                // What was dropped is told with the next one.
                let _ = socket.send_to(b"stream=b n=0 ", &to);
            }
            at_rest(stats) && counted(stats) >= sent
        });
        assert_ledger(&stats);
        let kernel = source(&stats, "kernel_drops").as_u64().expect("a count");
        let lost = dropped(&stats, "drop_oldest") + dropped(&stats, "drop_newest");
        assert_eq!(kernel > 0, strategy == "block", "{strategy}: {kernel} dropped by the kernel");
        assert_eq!(lost > 0, strategy.starts_with("drop"), "{strategy}: {lost} dropped by us");
        let received = source(&stats, "received").as_u64().expect("a count");
        assert_eq!(instance.terminate(), 0);
        let recount = reading.join().expect("no panic");
        assert!(recount.lines() + lost >= received, "{strategy}: {} came, {lost} lost", recount.lines());
    }
}
