//! One request to the engine and its answer, over a connection of its own that is never waited for.

use crate::http::answer::{Answer, Part};
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// Most bytes taken by one read.
pub const READ_MAX: usize = 16 << 10;

/// What an exchange has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// Nothing, until its socket is ready again.
    Wait,
    /// The answer's status.
    Status(u16),
    /// There is something in [`Exchange::body`].
    Body,
    /// The answer is complete.
    End,
}

/// A request under way.
pub struct Exchange {
    socket: UnixStream,
    request: Vec<u8>,
    sent: usize,
    answer: Answer,
    input: Vec<u8>,
    /// How much of the input is done with.
    at: usize,
    body: Range<usize>,
    /// Reads may give something.
    readable: bool,
    closed: bool,
    /// When something last came.
    pub heard: Instant,
}

impl Exchange {
    /// Asks the engine behind `socket` for `target`; the poll tells of it as `token`.
    ///
    /// Errors: nobody listens there, or we may not; or it cannot take more connections now (`WouldBlock`).
    pub fn begin(
        socket: &Path,
        target: &str,
        body_max: u64,
        (registry, token): (&Registry, Token),
        now: Instant,
    ) -> io::Result<Exchange> {
        let mut socket = UnixStream::connect(socket)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let version = env!("CARGO_PKG_VERSION");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ringmain/{version}\r\nAccept: */*\r\n\r\n"
        );
        Ok(Exchange {
            socket,
            request: request.into_bytes(),
            sent: 0,
            answer: Answer::new(body_max),
            input: Vec::new(),
            at: 0,
            body: 0..0,
            readable: true,
            closed: false,
            heard: now,
        })
    }

    /// The poll told of its socket.
    pub fn notice(&mut self) {
        self.readable = true;
    }

    /// What the last [`Got::Body`] is about; what is left of it is told again.
    pub fn body(&self) -> &[u8] {
        &self.input[self.body.clone()]
    }

    /// The first `n` bytes of the body are done with.
    pub fn consume(&mut self, n: usize) {
        self.body.start += n;
    }

    /// Goes on as far as it can without waiting, to the next thing to tell.
    ///
    /// Errors: the connection broke, or what came is no answer; why.
    pub fn next(&mut self, now: Instant) -> Result<Got, String> {
        if !self.body.is_empty() {
            return Ok(Got::Body);
        }
        self.send().map_err(|error| format!("the request cannot be sent: {error}"))?;
        loop {
            let (used, part) = self.answer.read(&self.input[self.at..]);
            let end = self.at + used;
            self.at = end;
            match part {
                Part::Body(bytes) => {
                    self.body = end - bytes.len()..end;
                    return Ok(Got::Body);
                }
                Part::Head(status) => return Ok(Got::Status(status)),
                Part::End => return Ok(Got::End),
                Part::Bad(why) => return Err(why.to_owned()),
                Part::More if used > 0 => continue,
                Part::More => {}
            }
            if self.closed {
                let whole = self.answer.may_close();
                return whole
                    .then_some(Got::End)
                    .ok_or_else(|| "the connection ended within the answer".into());
            }
            if !self.readable || !self.read(now)? {
                return Ok(Got::Wait);
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.request.len() {
            match self.socket.write(&self.request[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once. False: there is nothing to read now.
    fn read(&mut self, now: Instant) -> Result<bool, String> {
        self.input.drain(..self.at);
        let kept = self.input.len();
        (self.at, self.body) = (0, 0..0);
        self.input.resize(kept + READ_MAX, 0);
        let read = loop {
            match self.socket.read(&mut self.input[kept..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.input.truncate(kept + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => {
                self.closed = true;
                Ok(true)
            }
            Ok(_) => {
                self.heard = now;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                if kept == 0 {
                    // Thousands of quiet connections need no buffers.
                    self.input = Vec::new();
                }
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.closed = true;
                Ok(true)
            }
            Err(error) => Err(format!("the answer cannot be read: {error}")),
        }
    }
}
