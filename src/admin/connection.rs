//! One connection: requests in, answers out, one after the other, within limits of time and memory.
//!
//! It never waits: it does what can be done now and says when it has to be asked again. Time is an argument.

use super::http::{HEAD_MAX, Head, Method, Request, Response, parse};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Longest a request's head may take from its first byte, and the first byte on a new connection.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// Longest an answer may take to be taken.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Longest a connection may rest between two requests; scrapes usually come every 15 to 60 s.
pub const REST_TIME: Duration = Duration::from_secs(90);
/// Longest we listen to what a client still sends after our last answer, so that it can read that answer: closing with
/// unread bytes resets the connection.
pub const LAST_TIME: Duration = Duration::from_secs(1);

/// Most moves at one go, so that a client that pipelines for ever does not keep others out.
const MOVES_MAX: usize = 64;

/// What a connection moves bytes through.
pub trait Stream: Read + Write {
    /// Tells the other side that nothing more will come.
    fn end(&self) -> io::Result<()>;
}

impl Stream for mio::net::TcpStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

/// When to come back to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// When it can be read or written again, or its deadline has passed.
    Wait,
    /// As soon as the others had their turn.
    Again,
    /// Never.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For a request.
    Reading,
    /// An answer; then another request may come.
    Answering { keep: bool },
    /// Everything is said; what still comes is thrown away.
    Ending,
}

/// Whether a move got somewhere.
enum Move {
    On,
    Wait,
    Close,
}

/// A connection.
pub struct Connection<S> {
    stream: S,
    state: State,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
    since: Instant,
    deadline: Instant,
}

impl<S: Stream> Connection<S> {
    /// A connection that was accepted at `now`.
    pub fn new(stream: S, now: Instant) -> Self {
        let (inbox, outbox, deadline) = (Vec::new(), Vec::new(), now + HEAD_TIME);
        Connection { stream, state: State::Reading, inbox, outbox, sent: 0, since: now, deadline }
    }

    /// When it was accepted.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When its patience ends; from then on it may be closed.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Does what can be done now; `answer` says what to answer.
    pub fn drive(&mut self, now: Instant, answer: &mut dyn FnMut(&Request) -> Response) -> Next {
        if now >= self.deadline {
            return Next::Close;
        }
        for _ in 0..MOVES_MAX {
            let moved = match self.state {
                State::Reading => self.read(now, answer),
                State::Answering { keep } => self.write(now, keep),
                State::Ending => self.throw_away(),
            };
            match moved {
                Move::On => {}
                Move::Wait => return Next::Wait,
                Move::Close => return Next::Close,
            }
        }
        Next::Again
    }

    fn read(&mut self, now: Instant, answer: &mut dyn FnMut(&Request) -> Response) -> Move {
        match parse(&self.inbox) {
            Head::Partial => self.receive(now),
            Head::Whole(request, len) => {
                self.inbox.drain(..len);
                // A request with a body is never whole, so the next one begins here.
                let keep = request.keep;
                self.say(answer(&request).encode(request.method, keep), keep, now)
            }
            Head::Bad(code) => {
                let response = Response::text(code, format!("{}\n", code.line()));
                self.say(response.encode(Method::Get, false), false, now)
            }
        }
    }

    fn receive(&mut self, now: Instant) -> Move {
        let mut chunk = [0; 4096];
        let room = chunk.len().min(HEAD_MAX - self.inbox.len());
        match self.stream.read(&mut chunk[..room]) {
            Ok(0) => Move::Close,
            Ok(len) => {
                if self.inbox.is_empty() {
                    self.deadline = now + HEAD_TIME;
                }
                self.inbox.extend_from_slice(&chunk[..len]);
                Move::On
            }
            Err(error) => failed(&error),
        }
    }

    fn say(&mut self, bytes: Vec<u8>, keep: bool, now: Instant) -> Move {
        (self.outbox, self.sent) = (bytes, 0);
        self.state = State::Answering { keep };
        self.deadline = now + ANSWER_TIME;
        Move::On
    }

    fn write(&mut self, now: Instant, keep: bool) -> Move {
        match self.stream.write(&self.outbox[self.sent..]) {
            Ok(0) => return Move::Close,
            Ok(len) => self.sent += len,
            Err(error) => return failed(&error),
        }
        if self.sent == self.outbox.len() {
            self.outbox = Vec::new();
            if !keep {
                return self.end(now);
            }
            self.state = State::Reading;
            self.deadline = now + if self.inbox.is_empty() { REST_TIME } else { HEAD_TIME };
        }
        Move::On
    }

    fn end(&mut self, now: Instant) -> Move {
        if self.stream.end().is_err() {
            return Move::Close;
        }
        self.state = State::Ending;
        self.deadline = now + LAST_TIME;
        Move::On
    }

    fn throw_away(&mut self) -> Move {
        match self.stream.read(&mut [0; 4096]) {
            Ok(0) => Move::Close,
            Ok(_) => Move::On,
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &io::Error) -> Move {
    match error.kind() {
        ErrorKind::WouldBlock => Move::Wait,
        ErrorKind::Interrupted => Move::On,
        _ => Move::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::Code;
    use super::*;
    use std::cell::Cell;

    /// A client that has sent `input` so far and takes `takes` bytes before it stalls.
    #[derive(Default)]
    struct Client {
        input: Vec<u8>,
        gone: bool,
        takes: usize,
        got: Vec<u8>,
        ended: Cell<bool>,
    }

    impl Read for Client {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.input.is_empty() && !self.gone {
                return Err(ErrorKind::WouldBlock.into());
            }
            let len = out.len().min(self.input.len());
            out[..len].copy_from_slice(&self.input[..len]);
            self.input.drain(..len);
            Ok(len)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.takes == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let len = bytes.len().min(self.takes);
            self.takes -= len;
            self.got.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Client {
        fn end(&self) -> io::Result<()> {
            self.ended.set(true);
            Ok(())
        }
    }

    fn echo(request: &Request) -> Response {
        Response::text(Code::Ok, &*request.path)
    }

    fn request(path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
    }

    fn connected(input: &[u8], takes: usize) -> (Connection<Client>, Instant) {
        let t0 = Instant::now();
        (Connection::new(Client { input: input.to_vec(), takes, ..Client::default() }, t0), t0)
    }

    fn bodies(connection: &Connection<Client>) -> usize {
        String::from_utf8_lossy(&connection.stream.got).matches("HTTP/1.1 200 OK").count()
    }

    #[test]
    fn pipelined_requests_are_answered_in_order_and_others_get_their_turn() {
        let (mut connection, t0) = connected(&request("/a").repeat(100), usize::MAX);
        assert_eq!(connection.drive(t0, &mut echo), Next::Again);
        let first = bodies(&connection);
        assert!((1..100).contains(&first));
        while connection.drive(t0, &mut echo) == Next::Again {}
        assert_eq!(bodies(&connection), 100);
        assert!(connection.inbox.len() <= HEAD_MAX);
    }

    #[test]
    fn a_client_that_does_not_read_gets_no_second_answer_made() {
        let (mut connection, t0) = connected(&request("/a").repeat(3), 10);
        let mut made = 0;
        let mut count = |request: &Request| {
            made += 1;
            echo(request)
        };
        assert_eq!(connection.drive(t0, &mut count), Next::Wait);
        assert_eq!(connection.drive(t0 + Duration::from_secs(9), &mut count), Next::Wait);
        assert_eq!(connection.drive(t0 + ANSWER_TIME, &mut count), Next::Close);
        assert_eq!(made, 1);
    }

    #[test]
    fn a_head_that_trickles_in_has_ten_seconds_in_all() {
        let (mut connection, t0) = connected(b"", usize::MAX);
        for (second, byte) in (0..HEAD_TIME.as_secs()).zip(request("/a")) {
            connection.stream.input.push(byte);
            assert_eq!(connection.drive(t0 + Duration::from_secs(second), &mut echo), Next::Wait);
        }
        assert_eq!(connection.drive(t0 + HEAD_TIME, &mut echo), Next::Close);
    }

    #[test]
    fn between_requests_a_connection_may_rest_longer_than_within_one() {
        let (mut connection, t0) = connected(&request("/a"), usize::MAX);
        assert_eq!(connection.drive(t0, &mut echo), Next::Wait);
        assert_eq!(connection.deadline(), t0 + REST_TIME);
        let t1 = t0 + Duration::from_secs(60);
        connection.stream.input.extend(b"GET");
        assert_eq!(connection.drive(t1, &mut echo), Next::Wait);
        assert_eq!(connection.deadline(), t1 + HEAD_TIME);
        connection.stream.gone = true;
        assert_eq!(connection.drive(t1, &mut echo), Next::Close);
    }

    #[test]
    fn after_a_bad_request_the_answer_is_sent_and_the_rest_thrown_away() {
        let (mut connection, t0) =
            connected(&[b"\x16\x03 ".to_vec(), vec![b'x'; 100_000]].concat(), usize::MAX);
        assert_eq!(connection.drive(t0, &mut echo), Next::Wait);
        assert!(connection.stream.got.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(connection.stream.ended.get() && connection.stream.input.is_empty());
        assert_eq!(connection.drive(t0 + LAST_TIME, &mut echo), Next::Close);
    }

    #[test]
    fn an_asked_for_close_comes_after_the_answer() {
        let (mut connection, t0) = connected(b"GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n", usize::MAX);
        assert_eq!(connection.drive(t0, &mut echo), Next::Wait);
        assert_eq!(bodies(&connection), 1);
        assert!(connection.stream.ended.get());
    }
}
