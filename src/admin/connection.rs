//! One connection of the admin server: the machine of [`crate::http`] over a socket.
//!
//! It never waits: it does what can be done now and says when it has to be asked again. Time is an argument.

use crate::http::{self, Event, Head, Overdue, Patience, Refusal, Response, Status};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Longest body of a request, in bytes: nothing here takes more.
pub const BODY_MAX: usize = 64 << 10;
/// Scrapes usually come every 15 to 60 s.
pub const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    body_rate: 1 << 10,
    body_grace: Duration::from_secs(10),
    idle: Duration::from_secs(90),
    answer: Duration::from_secs(10),
    last: Duration::from_secs(1),
};

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

/// Who answers.
pub trait Answers {
    /// Whether the request may bring its body.
    ///
    /// Errors: the answer to one that may not.
    fn admit(&self, head: &Head) -> Result<(), Response>;

    /// The answer to a request that was admitted and has come whole.
    fn answer(&self, head: &Head, body: &[u8]) -> Response;
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

/// Whether a move got somewhere.
enum Move {
    On,
    Wait,
    Close,
}

/// A connection.
pub struct Connection<S> {
    stream: S,
    machine: http::Connection,
    /// The request that is coming, and what there is of its body.
    coming: Option<(Box<Head>, Vec<u8>)>,
    since: Instant,
    /// Everything is said; what still comes is thrown away.
    ended: bool,
}

impl<S: Stream> Connection<S> {
    /// A connection that was accepted at `now`.
    pub fn new(stream: S, now: Instant) -> Self {
        let machine = http::Connection::new(BODY_MAX as u64, now);
        Connection { stream, machine, coming: None, since: now, ended: false }
    }

    /// When it was accepted.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When its patience ends; from then on it is to be driven, and may be closed.
    pub fn deadline(&self) -> Option<Instant> {
        self.machine.deadline(&PATIENCE)
    }

    /// Does what can be done now; `answers` says what to answer.
    pub fn drive(&mut self, now: Instant, answers: &dyn Answers) -> Next {
        let next = match self.machine.overdue(now, &PATIENCE) {
            Some(Overdue::Idle | Overdue::Answer | Overdue::Last) => return Next::Close,
            Some(Overdue::Head | Overdue::Body) => {
                let number = self.machine.refuse();
                let says = "the request took too long to arrive\n";
                self.machine.answer(number, Response::text(Status::REQUEST_TIMEOUT, says));
                self.converse(answers)
            }
            None => self.converse(answers),
        };
        self.machine.mark(now);
        next
    }

    fn converse(&mut self, answers: &dyn Answers) -> Next {
        for _ in 0..MOVES_MAX {
            let moved = match self.machine.has_output() {
                // A client that does not read its answers gets no further ones made.
                true => self.write(),
                false if self.machine.is_done() && !self.ended => self.end(),
                false => self.read(answers),
            };
            match moved {
                Move::On => {}
                Move::Wait => return Next::Wait,
                Move::Close => return Next::Close,
            }
        }
        Next::Again
    }

    fn write(&mut self) -> Move {
        match self.machine.write(&mut self.stream) {
            Ok(true) => Move::On,
            Ok(false) => Move::Wait,
            Err(_) => Move::Close,
        }
    }

    fn end(&mut self) -> Move {
        self.ended = true;
        if self.stream.end().is_ok() { Move::On } else { Move::Close }
    }

    /// Takes what was kept as far as the next answer, or reads more.
    fn read(&mut self, answers: &dyn Answers) -> Move {
        if self.take(&[], answers) {
            return Move::On;
        }
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Move::Close,
            Ok(len) => {
                self.take(&chunk[..len], answers);
                Move::On
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Move::Wait,
                ErrorKind::Interrupted => Move::On,
                _ => Move::Close,
            },
        }
    }

    /// Takes what was kept and `more` behind it, up to the next answer. True if there is one.
    fn take(&mut self, more: &[u8], answers: &dyn Answers) -> bool {
        let input = [self.machine.carry(), more].concat();
        let mut at = 0;
        while !self.machine.has_output() {
            let (used, event) = self.machine.step(&input[at..]);
            at += used;
            match event {
                Event::More | Event::Full => break,
                Event::Request(number, head) => match answers.admit(&head) {
                    Ok(()) => {
                        self.coming = Some((head, Vec::new()));
                        self.machine.go_on(number);
                    }
                    Err(response) => self.machine.answer(number, response),
                },
                Event::Body(piece) => {
                    if let Some((_, body)) = &mut self.coming {
                        body.extend_from_slice(piece);
                    }
                }
                Event::End(number) => {
                    if let Some((head, body)) = self.coming.take() {
                        self.machine.answer(number, answers.answer(&head, &body));
                    }
                }
                Event::Refused(number, Refusal { status, why }) => {
                    self.coming = None;
                    self.machine.answer(number, Response::text(status, format!("{why}\n")));
                }
            }
        }
        self.machine.keep(&input[at..]);
        self.machine.has_output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HEAD_MAX;
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

    /// Answers with the path and the body, and counts.
    #[derive(Default)]
    struct Echo(Cell<usize>);

    impl Answers for Echo {
        fn admit(&self, head: &Head) -> Result<(), Response> {
            match head.path() {
                "/no" => Err(Response::text(Status::FORBIDDEN, "no")),
                _ => Ok(()),
            }
        }

        fn answer(&self, head: &Head, body: &[u8]) -> Response {
            self.0.set(self.0.get() + 1);
            Response::text(Status::OK, format!("{} {}", head.path(), String::from_utf8_lossy(body)))
        }
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
        assert_eq!(connection.drive(t0, &Echo::default()), Next::Again);
        let first = bodies(&connection);
        assert!((1..100).contains(&first));
        while connection.drive(t0, &Echo::default()) == Next::Again {}
        assert_eq!(bodies(&connection), 100);
        assert!(connection.machine.carry().len() <= HEAD_MAX);
    }

    #[test]
    fn a_client_that_does_not_read_gets_no_second_answer_made() {
        let (mut connection, t0) = connected(&request("/a").repeat(3), 10);
        let count = Echo::default();
        assert_eq!(connection.drive(t0, &count), Next::Wait);
        assert_eq!(connection.drive(t0 + Duration::from_secs(9), &count), Next::Wait);
        assert_eq!(connection.drive(t0 + PATIENCE.answer, &count), Next::Close);
        assert_eq!(count.0.get(), 1);
    }

    #[test]
    fn a_head_that_trickles_in_has_ten_seconds_in_all() {
        let (mut connection, t0) = connected(b"", usize::MAX);
        for (second, byte) in (0..PATIENCE.head.as_secs()).zip(request("/a")) {
            connection.stream.input.push(byte);
            assert_eq!(connection.drive(t0 + Duration::from_secs(second), &Echo::default()), Next::Wait);
        }
        assert_eq!(connection.drive(t0 + PATIENCE.head, &Echo::default()), Next::Wait);
        assert!(connection.stream.got.starts_with(b"HTTP/1.1 408 ") && connection.stream.ended.get());
    }

    #[test]
    fn between_requests_a_connection_may_rest_longer_than_within_one() {
        let (mut connection, t0) = connected(&request("/a"), usize::MAX);
        assert_eq!(connection.drive(t0, &Echo::default()), Next::Wait);
        assert_eq!(connection.deadline(), Some(t0 + PATIENCE.idle));
        let t1 = t0 + Duration::from_secs(60);
        connection.stream.input.extend(b"GET");
        assert_eq!(connection.drive(t1, &Echo::default()), Next::Wait);
        assert_eq!(connection.deadline(), Some(t1 + PATIENCE.head));
        connection.stream.gone = true;
        assert_eq!(connection.drive(t1, &Echo::default()), Next::Close);
    }

    #[test]
    fn after_a_bad_request_the_answer_is_sent_and_the_rest_thrown_away() {
        let (mut connection, t0) =
            connected(&[b"\x16\x03 ".to_vec(), vec![b'x'; 100_000]].concat(), usize::MAX);
        assert_eq!(connection.drive(t0, &Echo::default()), Next::Wait);
        assert!(connection.stream.got.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(connection.stream.ended.get() && connection.stream.input.is_empty());
        assert_eq!(connection.drive(t0 + PATIENCE.last, &Echo::default()), Next::Close);
    }

    #[test]
    fn an_asked_for_close_comes_after_the_answer() {
        let (mut connection, t0) = connected(b"GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n", usize::MAX);
        assert_eq!(connection.drive(t0, &Echo::default()), Next::Wait);
        assert_eq!(bodies(&connection), 1);
        assert!(connection.stream.ended.get());
    }

    #[test]
    fn a_request_brings_its_body_if_it_may_and_not_too_much_of_it() {
        let post = |path: &str, body: &str| {
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let all = post("/a", "one") + &post("/no", "two") + &post("/b", "three");
        let (mut connection, t0) = connected(all.as_bytes(), usize::MAX);
        assert_eq!(connection.drive(t0, &Echo::default()), Next::Wait);
        let got = String::from_utf8(connection.stream.got.clone()).unwrap();
        let (one, no, three) = (got.find("/a one"), got.find("\r\n\r\nno"), got.find("/b three"));
        assert!(one.is_some() && one < no && no < three, "{got}");
        let large = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", BODY_MAX + 1);
        let (mut connection, t0) = connected(large.as_bytes(), usize::MAX);
        assert_eq!(connection.drive(t0, &Echo::default()), Next::Wait);
        assert!(connection.stream.got.starts_with(b"HTTP/1.1 413 ") && connection.stream.ended.get());
    }
}
