//! What the pipelines are given.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

use crate::clock;

/// Different lines there are; the data repeats them.
const DISTINCT: u64 = 4000;
/// Bytes of a line, its newline included.
const LINE: usize = 250;

/// A megabyte or so of lines or frames, and how often it is repeated.
#[derive(Clone)]
pub struct Data {
    chunk: Arc<[u8]>,
    repeats: u64,
    /// Lines or messages in all.
    pub lines: u64,
    /// Bytes in all, newlines or octet counts included.
    pub bytes: u64,
    /// Lines with level `debug`.
    pub debug: u64,
}

impl Data {
    /// About `bytes` of flat JSON lines with ten members, one in ten with level `debug`.
    pub fn lines(bytes: u64) -> Data {
        Data::new((0..DISTINCT).flat_map(json_line).collect(), bytes, DISTINCT / 10)
    }

    /// About `bytes` of RFC 5424 messages behind octet counts (RFC 6587).
    pub fn frames(bytes: u64) -> Data {
        Data::new((0..DISTINCT).flat_map(frame).collect(), bytes, 0)
    }

    fn new(chunk: Vec<u8>, bytes: u64, debug: u64) -> Data {
        let repeats = bytes.div_ceil(chunk.len() as u64);
        Data {
            lines: repeats * DISTINCT,
            bytes: repeats * chunk.len() as u64,
            debug: repeats * debug,
            chunk: chunk.into(),
            repeats,
        }
    }

    /// One part in `parts` of the data.
    pub fn share(&self, parts: u64) -> Data {
        let parts = parts.min(self.repeats);
        let (lines, bytes, debug) = (self.lines / parts, self.bytes / parts, self.debug / parts);
        Data { chunk: Arc::clone(&self.chunk), repeats: self.repeats / parts, lines, bytes, debug }
    }

    /// A directory that has the data in `in/data.log`. It is removed with what else is in it at the end.
    pub fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("in")).expect("created");
        let mut file = File::create(dir.path().join("in/data.log")).expect("a file");
        (0..self.repeats).for_each(|_| file.write_all(&self.chunk).expect("written"));
        // Otherwise writing it back would go on into the first rounds.
        file.sync_all().expect("synced");
        dir
    }

    /// Sends all of it to `to` from a thread of its own, which gives the CPU time it took.
    pub fn send(&self, to: SocketAddr) -> JoinHandle<Duration> {
        let data = self.clone();
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(to).expect("it listens");
            (0..data.repeats).for_each(|_| stream.write_all(&data.chunk).expect("it reads"));
            drop(stream);
            clock::thread()
        })
    }
}

fn json_line(n: u64) -> Vec<u8> {
    let level = if n % 10 == 3 { "debug" } else { ["info", "warn", "error"][n as usize % 3] };
    let (ms, user) = (n * 37 % 1000, n * 7919 % 100_000);
    let head = format!(
        r#"{{"ts":"2026-11-23T12:{:02}:{:02}.{ms:03}Z","level":"{level}","service":"checkout","host":"web-{:02}.eu-west","method":"GET","path":"/api/v1/orders/{user:05}","status":{},"duration_ms":{ms}.25,"trace_id":"{:016x}","msg":""#,
        n / 60 % 60,
        n % 60,
        n % 32,
        200 + n % 5 * 75,
        (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    );
    let mut line = head.into_bytes();
    let words = b"request finished by the upstream after a retry ";
    line.extend(words.iter().cycle().take(LINE - 3 - line.len()));
    line.extend_from_slice(b"\"}\n");
    assert_eq!(line.len(), LINE);
    line
}

fn frame(n: u64) -> Vec<u8> {
    let message = format!(
        "<165>1 2026-11-23T09:{:02}:{:02}.{:06}Z web-{}.example.com nginx {} ID47 \
         [request@32473 method=\"GET\" status=\"200\" id=\"{n:08x}\"] GET /api/v1/items/{n} from 192.0.2.{} took {} ms, \
         upstream cache was warm",
        n % 60,
        n * 7 % 60,
        n * 7919 % 1_000_000,
        n % 9,
        1000 + n * 31 % 30_000,
        n % 255,
        n % 97,
    );
    format!("{} {message}", message.len()).into_bytes()
}
