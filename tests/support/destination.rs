//! An HTTP server that does as it is told, for the tests of sinks: answers, waits, drips, hangs up.
//!
//! It knows nothing of the code it tests. What it is not told to do, it answers with 204.

#![allow(dead_code, missing_docs, reason = "each test uses a part of it, and its names say the rest")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longest anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Status, further headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// An answer whose body follows byte by byte, without end.
    Drip(u16),
    /// An answer whose head follows byte by byte, without end.
    DripHead,
    /// An answer with more headers than anyone needs.
    ManyHeaders,
    /// Breaks the connection before the body was read: nothing was taken.
    ResetBefore,
    /// Breaks the connection when the request was taken.
    ResetAfter,
    /// Takes the request and hangs up in the middle of the answer.
    Half,
    /// An answer with a body of 10 GiB, as much of it as anyone reads.
    Huge(u16),
    /// Takes the request and says nothing.
    Silence,
}

/// An answer without headers.
pub fn status(status: u16) -> Act {
    Act::Answer(status, Vec::new(), Vec::new())
}

/// An answer that says something.
pub fn says(status: u16, body: &str) -> Act {
    Act::Answer(status, Vec::new(), body.into())
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The number of the connection it came by.
    pub connection: usize,
}

impl Request {
    /// The value of a header; twice the same is a failure.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }
}

/// Says by a request what is done with it.
type Judge = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    /// What is done when the script is at its end.
    then: Option<Act>,
    /// Who says what is done by what came, then.
    judge: Option<Judge>,
    requests: Vec<Request>,
    connections: usize,
}

struct Inner {
    state: Mutex<State>,
    came: Condvar,
    ended: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A server on a port of the loopback address; ends when dropped.
pub struct Destination {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Destination {
    pub fn start() -> Self {
        Destination::serve(None)
    }

    pub fn with_tls(config: rustls::ServerConfig) -> Self {
        Destination::serve(Some(Arc::new(config)))
    }

    fn serve(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            came: Condvar::new(),
            ended: AtomicBool::new(false),
            tls,
        });
        let served = Arc::clone(&inner);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if served.ended.load(Ordering::SeqCst) {
                    return;
                }
                let served = Arc::clone(&served);
                thread::spawn(move || served.connection(connection));
            }
        });
        Destination { address, inner }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self) -> String {
        let scheme = if self.inner.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Adds to what is done with the next requests.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.inner.state.lock().unwrap().script.extend(acts);
    }

    /// What is done with all requests after the script.
    pub fn always(&self, act: Act) {
        self.inner.state.lock().unwrap().then = Some(act);
    }

    /// What is done with all requests after the script, by what they bring.
    pub fn judge(&self, judge: impl Fn(&Request) -> Act + Send + Sync + 'static) {
        self.inner.state.lock().unwrap().judge = Some(Arc::new(judge));
    }

    /// What was taken so far.
    pub fn requests(&self) -> Vec<Request> {
        self.inner.state.lock().unwrap().requests.clone()
    }

    /// Waits until `done` holds of what was taken.
    pub fn wait(&self, what: &str, done: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.inner.state.lock().unwrap();
        while !done(&state.requests) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not so after {PATIENCE:?}: {:?}", state.requests.len());
            state = self.inner.came.wait_timeout(state, left).unwrap().0;
        }
        state.requests.clone()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    fn connection(&self, tcp: TcpStream) {
        tcp.set_read_timeout(Some(PATIENCE)).expect("set");
        tcp.set_nodelay(true).expect("set");
        let number = {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            state.connections
        };
        let second = tcp.try_clone().expect("cloned");
        match &self.tls {
            None => self.requests(BufReader::new(tcp), &second, number),
            Some(config) => {
                let server = rustls::ServerConnection::new(Arc::clone(config)).expect("a connection");
                self.requests(BufReader::new(rustls::StreamOwned::new(server, tcp)), &second, number);
            }
        }
    }

    fn requests<S: Read + Write>(&self, mut stream: BufReader<S>, tcp: &TcpStream, number: usize) {
        while let Some((mut request, length)) = head(&mut stream, number) {
            let (act, judge) = {
                let mut state = self.state.lock().unwrap();
                let next = state.script.pop_front();
                let judge = if next.is_none() { state.judge.clone() } else { None };
                (next.or_else(|| state.then.clone()).unwrap_or_else(|| status(204)), judge)
            };
            if matches!(act, Act::ResetBefore) {
                return reset(tcp);
            }
            request.body.resize(length, 0);
            if stream.read_exact(&mut request.body).is_err() {
                return;
            }
            let act = judge.map_or(act, |judge| judge(&request));
            self.state.lock().unwrap().requests.push(request);
            self.came.notify_all();
            if !answer(stream.get_mut(), tcp, &act) {
                return;
            }
        }
    }
}

fn head(stream: &mut impl BufRead, connection: usize) -> Option<(Request, usize)> {
    let line = |stream: &mut dyn BufRead| {
        let mut line = String::new();
        (stream.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_string())
    };
    let first = line(stream)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let header = line(stream)?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let request = Request { method, target, headers, body: Vec::new(), connection };
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    Some((request, length))
}

/// False if the connection is over.
fn answer(stream: &mut impl Write, tcp: &TcpStream, act: &Act) -> bool {
    let mut write = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush()).is_ok();
    let ten_gib = 10_u64 << 30;
    match act {
        Act::Answer(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} Said\r\n");
            headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
            if *status != 204 {
                head += &format!("Content-Length: {}\r\n", body.len());
            }
            head += "\r\n";
            write(&[head.as_bytes(), body].concat())
        }
        Act::Drip(status) => {
            write(format!("HTTP/1.1 {status} Said\r\nContent-Length: {ten_gib}\r\n\r\n").as_bytes())
                && drip(&mut write)
        }
        Act::DripHead => write(b"HTTP/1.1 200 OK\r\nX-Drip: ") && drip(&mut write),
        Act::ManyHeaders => {
            let head = "X-Header: 0123456789\r\n".repeat(10_000);
            write(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes())
        }
        Act::ResetBefore | Act::ResetAfter => {
            reset(tcp);
            false
        }
        Act::Half => {
            write(b"HTTP/1.1 20");
            false
        }
        Act::Huge(status) => {
            let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {ten_gib}\r\n\r\n");
            let mut open = write(head.as_bytes());
            let (chunk, mut sent) = (vec![b'x'; 1 << 20], 0);
            while open && sent < ten_gib {
                open = write(&chunk);
                sent += chunk.len() as u64;
            }
            false
        }
        Act::Silence => {
            // Until the other side leaves.
            let mut tcp = tcp;
            while tcp.read(&mut [0; 1024]).is_ok_and(|len| len > 0) {}
            false
        }
    }
}

fn drip(write: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && write(b"x") {
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Closes with a reset instead of an end.
fn reset(tcp: &TcpStream) {
    socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)).expect("set");
    let _ = tcp.shutdown(std::net::Shutdown::Both);
}
