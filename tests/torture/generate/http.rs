//! Clients that post NDJSON. Only what was answered with 2xx has to arrive; what was not is never sent again, so that
//! whatever comes twice was doubled by the product.

use super::{Generators, Plan};
use crate::entry::{Sizes, Stream};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Longest an answer is waited for: longer than the product itself waits.
const ANSWER: Duration = Duration::from_secs(40);

/// What the clients were answered, in all.
#[derive(Default)]
pub struct Answers {
    pub taken: AtomicU64,
    pub busy: AtomicU64,
    pub other: AtomicU64,
    pub broken: AtomicU64,
}

/// Starts `count` clients of the address. Every connection is a stream of its own.
pub fn start(plan: &Plan, to: SocketAddr, count: u32, into: &mut Generators) -> Arc<Answers> {
    let (answers, streams) = (Arc::new(Answers::default()), Arc::new(AtomicU32::new(0)));
    for _ in 0..count {
        let (plan, answers, streams) = (plan.clone(), Arc::clone(&answers), Arc::clone(&streams));
        let mut client: Option<Client> = None;
        into.start(plan.rate, move |due| {
            if client.is_none() {
                client = TcpStream::connect_timeout(&to, Duration::from_millis(200))
                    .ok()
                    .map(|tcp| Client::new(tcp, Stream { way: 'h', number: streams.fetch_add(1, SeqCst) }));
            }
            let Some(open) = &mut client else { return 0 };
            match open.post(&plan, due) {
                Ok(200..300) => _ = answers.taken.fetch_add(1, SeqCst),
                Ok(503) => _ = answers.busy.fetch_add(1, SeqCst),
                Ok(_) => _ = answers.other.fetch_add(1, SeqCst),
                Err(_) => {
                    answers.broken.fetch_add(1, SeqCst);
                    client = None;
                }
            }
            due
        });
    }
    answers
}

struct Client {
    tcp: TcpStream,
    stream: Stream,
    next: u64,
}

impl Client {
    fn new(tcp: TcpStream, stream: Stream) -> Client {
        tcp.set_nodelay(true).expect("set");
        tcp.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        Client { tcp, stream, next: 0 }
    }

    /// Sends `due` entries in a request and gives the status of its answer.
    fn post(&mut self, plan: &Plan, due: u64) -> std::io::Result<u16> {
        let numbers = self.next..self.next + due;
        let body = plan.text(self.stream, numbers.clone(), Sizes::Mixed, "{\"message\":\"", "\"}\n");
        self.next += due;
        plan.obligations.sent(self.stream, numbers.clone(), body.len());
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.tcp.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let status = self.answer()?;
        if (200..300).contains(&status) && status != 207 {
            plan.obligations.oblige(self.stream, numbers);
        }
        Ok(status)
    }

    fn answer(&mut self) -> std::io::Result<u16> {
        let (mut bytes, mut buffer, deadline) = (Vec::new(), [0; 4096], Instant::now() + ANSWER);
        loop {
            if let Some(status) = whole(&bytes) {
                return Ok(status);
            }
            match self.tcp.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => bytes.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The status of an answer that is there to its end.
fn whole(bytes: &[u8]) -> Option<u16> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    (bytes.len() >= end + length.unwrap_or(0)).then_some(status)
}
