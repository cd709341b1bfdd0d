//! Whole pipelines, driven from outside: numbered lines in, a recount of what came out, the ledger exact.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use support::*;

/// Appends numbered lines to a file that is renamed and begun anew now and then.
struct Rotating<'a> {
    dir: &'a Path,
    stream: String,
    file: File,
    next: u64,
    generation: u32,
}

impl<'a> Rotating<'a> {
    fn new(dir: &'a Path, number: usize) -> Self {
        let stream = format!("f{number}");
        let file = Self::open(dir, &stream);
        Rotating { dir, stream, file, next: 0, generation: 0 }
    }

    fn open(dir: &Path, stream: &str) -> File {
        let path = dir.join(format!("{stream}.log"));
        OpenOptions::new().create(true).append(true).open(path).expect("a log file")
    }

    fn write(&mut self, lines: u64) {
        let text: String = (self.next..self.next + lines)
            .map(|n| line(&self.stream, n, 80 + n as usize % 90) + "\n")
            .collect();
        self.file.write_all(text.as_bytes()).expect("it can be appended to");
        self.next += lines;
    }

    fn rotate(&mut self) {
        let current = self.dir.join(format!("{}.log", self.stream));
        self.generation += 1;
        fs::rename(&current, self.dir.join(format!("{}.log.{}", self.stream, self.generation)))
            .expect("renamed");
        // A late line still goes to the old file, as loggers do until they are told.
        self.write(1);
        self.file = Self::open(self.dir, &self.stream);
    }
}

/// Sends numbered lines as RFC 6587 octet-counted RFC 5424 messages.
fn send_tcp(stream: &mut TcpStream, name: &str, range: std::ops::Range<u64>) {
    let mut frames = Vec::new();
    for number in range {
        let message = format!("<14>1 - host app - - - {}", line(name, number, 150));
        frames.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
    }
    stream.write_all(&frames).expect("the listener reads");
}

const EVERYTHING: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
dispatcher: { worker_count: 8, drain_timeout: 30s }
sources:
  files:  { type: file, include: ["logs/*.log"], rotate_wait: 1s }
  tcp:    { type: syslog, listen: ["tcp://127.0.0.1:0"] }
  udp:    { type: syslog, listen: ["udp://127.0.0.1:0"] }
sinks:
  all:   { type: file, path: "out/all/{source}.log" }
  other: { type: file, path: "out/other/{source}.log", when: 'source == "files"' }
"#;

#[test]
fn eight_rotated_files_tcp_and_udp_with_8_workers_and_a_restart_lose_double_and_disorder_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).expect("created");
    let mut writers: Vec<_> = (0..8).map(|number| Rotating::new(&logs, number)).collect();
    // What earlier parts of the test have read, by source.
    let (mut files_before, mut tcp_before, mut udp_before) = (0, 0, 0);
    let (mut tcp_sent, mut udp_sent) = (0, 0);
    for part in 0..2 {
        let mut instance = Instance::start(dir.path(), EVERYTHING);
        let tcp = instance.address("source tcp", "tcp://");
        let udp = instance.address("source udp", "udp://");
        let mut connections: Vec<_> = (0..3).map(|_| TcpStream::connect(&tcp).expect("connected")).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for round in 0..6 {
            for (number, writer) in writers.iter_mut().enumerate() {
                writer.write(500 + 37 * number as u64);
                if round % 2 == number % 2 {
                    writer.rotate();
                }
            }
            for (number, connection) in connections.iter_mut().enumerate() {
                let round = round as u64;
                send_tcp(connection, &format!("t{part}{number}"), round * 700..(round + 1) * 700);
                tcp_sent += 700;
            }
            // Paced by what came in: UDP has no other way to say that it is full.
            for _ in 0..200 {
                let text = format!("<14>1 - host app - - - {}", line("u", udp_sent, 120));
                socket.send_to(text.as_bytes(), &udp).expect("sent");
                udp_sent += 1;
            }
            instance.wait_stats("the datagrams of this round came in", |stats| {
                number(row(stats, "sources", "udp"), "received") >= udp_sent - udp_before
            });
        }
        drop(connections);
        let written: u64 = writers.iter().map(|writer| writer.next).sum();
        let (files, tcp, udp) = (written - files_before, tcp_sent - tcp_before, udp_sent - udp_before);
        let stats = instance.wait_stats("everything is through", |stats| {
            let received = |name| number(row(stats, "sources", name), "received");
            at_rest(stats) && (received("files"), received("tcp"), received("udp")) == (files, tcp, udp)
        });
        assert_ledger(&stats);
        assert_eq!(number(row(&stats, "sinks", "all"), "delivered"), files + tcp + udp);
        assert_eq!(number(row(&stats, "sinks", "other"), "delivered"), files);
        assert_eq!(instance.terminate(), 0);
        (files_before, tcp_before, udp_before) = (written, tcp_sent, udp_sent);
        // Written and rotated while nobody looks: found at the next start.
        for writer in writers.iter_mut().filter(|_| part == 0) {
            writer.write(100);
            writer.rotate();
            writer.write(100);
        }
    }
    let all = Recount::of(&dir.path().join("out/all"));
    let other = Recount::of(&dir.path().join("out/other"));
    for writer in &writers {
        all.assert_exact(&writer.stream, writer.next);
        other.assert_exact(&writer.stream, writer.next);
    }
    for stream in (0..2).flat_map(|part| (0..3).map(move |number| format!("t{part}{number}"))) {
        all.assert_exact(&stream, 6 * 700);
    }
    all.assert_exact("u", udp_sent);
    assert_eq!((all.foreign.len(), other.foreign.len()), (0, 0));
}
