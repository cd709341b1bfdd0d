//! A client of HTTP that does what it is told, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection to a server.
pub struct Client {
    pub stream: TcpStream,
    /// What was read beyond the last answer.
    rest: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let same = |line: &&str| line.split(':').next().is_some_and(|known| known.eq_ignore_ascii_case(name));
        Some(self.head.lines().skip(1).find(same)?.split_once(':')?.1.trim())
    }
}

impl Client {
    /// Connects to `address`, which may be a whole URL.
    pub fn connect(address: &str) -> Client {
        let address = address.trim_start_matches("http://").split('/').next().expect("an address");
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Client { stream, rest: Vec::new() }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("it reads");
    }

    /// Sends a `POST`; `fields` end with CR LF each.
    pub fn post(&mut self, path: &str, fields: &str, body: impl AsRef<[u8]>) {
        self.send(request(path, fields, body.as_ref()));
    }

    /// Reads the next answer; `None` when the server has closed instead.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.take(end + 4);
            }
            if !self.more() {
                return None;
            }
        };
        let head = String::from_utf8(head).expect("text");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: String::new() };
        if status >= 200 && status != 204 {
            let len: usize =
                answer.field("content-length").and_then(|len| len.parse().ok()).expect("a length");
            while self.rest.len() < len {
                assert!(self.more(), "half an answer: {answer:?}");
            }
            answer.body = String::from_utf8(self.take(len)).expect("text");
        }
        Some(answer)
    }

    /// Sends a `POST` and reads its answer.
    pub fn ask(&mut self, path: &str, fields: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post(path, fields, body);
        self.answer().expect("an answer")
    }

    /// The same, asking for a server called `host`.
    pub fn ask_as(&mut self, host: &str, path: &str, fields: &str, body: impl AsRef<[u8]>) -> Answer {
        let request = request(path, fields, body.as_ref());
        let text = String::from_utf8(request).expect("text");
        self.send(text.replacen("Host: test", &format!("Host: {host}"), 1));
        self.answer().expect("an answer")
    }

    /// Asserts that the server closes without another word.
    pub fn assert_closed(&mut self) {
        assert!(self.answer().is_none(), "still answering");
    }

    /// Whether there is anything to read within `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a timeout");
        let silent = matches!(self.stream.peek(&mut [0]), Err(error)
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.stream.set_read_timeout(Some(super::PATIENCE)).expect("a timeout");
        silent
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.rest.split_off(len);
        std::mem::replace(&mut self.rest, rest)
    }

    fn more(&mut self) -> bool {
        let mut room = [0; 16 << 10];
        match self.stream.read(&mut room) {
            Ok(len) => {
                self.rest.extend_from_slice(&room[..len]);
                len > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// A `POST` as bytes.
pub fn request(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// One request on a connection of its own.
pub fn post(address: &str, path: &str, fields: &str, body: impl AsRef<[u8]>) -> Answer {
    Client::connect(address).ask(path, fields, body)
}
