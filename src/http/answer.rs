//! An answer as a client reads it: its head, and where its body ends, in the bytes of one connection.
//!
//! For answers that go on for as long as the server has something to say. The reader keeps none of the bytes: what it
//! could not use is shown to it again with more behind it. The same bytes give the same answer however they are cut.
//! Not here: sockets, time, and more than one answer per connection.

use super::head::{Framing, HEAD_MAX, HEADERS_MAX};
use super::reader::{Found, Reader};
use httparse::{Header, Response};
use std::mem::MaybeUninit;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Nothing further: show the rest again, with more behind it.
    More,
    /// The head: the answer's status code.
    Head(u16),
    /// The next piece of the body.
    Body(&'a [u8]),
    /// The answer is complete.
    End,
    /// What comes here cannot be understood, and nothing behind it.
    Bad(&'static str),
}

#[derive(Debug)]
enum State {
    Head,
    Framed(Reader),
    /// The body lasts as long as the connection (RFC 9112, 6.3).
    UntilClose,
    Ended,
}

/// Reads the answer to one request.
#[derive(Debug)]
pub struct Answer {
    state: State,
    body_max: u64,
}

impl Answer {
    /// A reader of an answer whose body may have `body_max` bytes.
    pub fn new(body_max: u64) -> Self {
        Answer { state: State::Head, body_max }
    }

    /// Finds the next thing in `input` and says how many bytes are done with.
    pub fn read<'a>(&mut self, input: &'a [u8]) -> (usize, Part<'a>) {
        match &mut self.state {
            State::Head => self.head(input),
            State::UntilClose if input.is_empty() => (0, Part::More),
            State::UntilClose => match self.body_max.checked_sub(input.len() as u64) {
                Some(left) => {
                    self.body_max = left;
                    (input.len(), Part::Body(input))
                }
                None => (0, Part::Bad(TOO_LONG)),
            },
            State::Framed(reader) => {
                let (used, found) = reader.read(input);
                let part = match found {
                    Found::More => Part::More,
                    Found::Body(bytes) => Part::Body(bytes),
                    Found::End => {
                        self.state = State::Ended;
                        Part::End
                    }
                    Found::Bad(refusal) => Part::Bad(refusal.why),
                    Found::Head(_) => Part::Bad("a second head"),
                };
                (used, part)
            }
            State::Ended => (input.len(), Part::More),
        }
    }

    /// Whether the end of the connection is the end of the answer, and not a cut.
    pub fn may_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Ended)
    }

    fn head<'a>(&mut self, input: &'a [u8]) -> (usize, Part<'a>) {
        let seen = &input[..input.len().min(HEAD_MAX)];
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, seen, &mut fields) {
            Ok(httparse::Status::Partial) if seen.len() < HEAD_MAX => (0, Part::More),
            Ok(httparse::Status::Partial) => (0, Part::Bad("the head of the answer is longer than 16 KiB")),
            Err(_) => (0, Part::Bad("this is not an HTTP answer")),
            Ok(httparse::Status::Complete(len)) => {
                let code = response.code.unwrap_or_default();
                if code == 100 {
                    // Nobody asked for a word before the answer, but it is allowed.
                    return (len, Part::More);
                }
                match framing(code, response.headers) {
                    Ok(Some(Framing::Length(length))) if length > self.body_max => (0, Part::Bad(TOO_LONG)),
                    Ok(Some(framing)) => {
                        self.state = State::Framed(Reader::of_body(framing, self.body_max));
                        (len, Part::Head(code))
                    }
                    Ok(None) => {
                        self.state = State::UntilClose;
                        (len, Part::Head(code))
                    }
                    Err(why) => (0, Part::Bad(why)),
                }
            }
        }
    }
}

const TOO_LONG: &str = "the answer is longer than is accepted here";

/// Where the body ends (RFC 9112, 6.3); `None`: with the connection.
fn framing(code: u16, fields: &[Header<'_>]) -> Result<Option<Framing>, &'static str> {
    let values = |name: &'static str| {
        fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    if code == 204 || code == 304 {
        return Ok(Some(Framing::Length(0)));
    }
    if let Some(coding) = values("transfer-encoding").next() {
        return match coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            true => Ok(Some(Framing::Chunked)),
            false => Err("the only transfer coding understood is `chunked`"),
        };
    }
    let Some(length) = values("content-length").next() else { return Ok(None) };
    let length = std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok());
    length.map(|length| Some(Framing::Length(length))).ok_or("`Content-Length` is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code, the body, whether it ended, and what was wrong, of an answer that comes in pieces of `size` bytes.
    fn read(bytes: &[u8], size: usize) -> (u16, Vec<u8>, bool, Option<&'static str>) {
        let (mut answer, mut kept) = (Answer::new(100), Vec::new());
        let (mut code, mut body) = (0, Vec::new());
        for piece in bytes.chunks(size) {
            kept.extend_from_slice(piece);
            loop {
                let (used, part) = answer.read(&kept);
                match part {
                    Part::More => {
                        kept.drain(..used);
                        break;
                    }
                    Part::Head(told) => code = told,
                    Part::Body(bytes) => body.extend_from_slice(bytes),
                    Part::End => return (code, body, true, None),
                    Part::Bad(why) => return (code, body, false, Some(why)),
                }
                kept.drain(..used);
            }
        }
        let ended = answer.may_close();
        (code, body, ended, None)
    }

    #[test]
    fn bodies_end_by_length_by_the_last_chunk_or_with_the_connection() {
        let answers: [(&[u8], (u16, &[u8], bool)); 6] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello", true)),
            (
                b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
                (500, b"hello", true),
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nl",
                (200, b"hell", false),
            ),
            (b"HTTP/1.0 200 OK\r\n\r\nhello", (200, b"hello", true)),
            (b"HTTP/1.1 204 No\r\n\r\n", (204, b"", true)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", (200, b"hel", false)),
        ];
        for (bytes, (code, body, ended)) in answers {
            for size in [1, 2, 7, 1000] {
                let shown = String::from_utf8_lossy(bytes);
                assert_eq!(read(bytes, size), (code, body.to_vec(), ended, None), "{shown} by {size}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_why_and_too_much_is_refused() {
        let long = [&b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"[..], &[b'x'; 101]].concat();
        let open = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 101]].concat();
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; HEAD_MAX]].concat();
        for (bytes, says) in [
            (&b"SSH-2.0-OpenSSH\r\n\r\n"[..], "not an HTTP answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no number"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer coding"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "hexadecimal"),
            (&long, "longer"),
            (&open, "longer"),
            (&endless, "16 KiB"),
        ] {
            for size in [1, 3, 20_000] {
                let why = read(bytes, size).3.unwrap_or("nothing");
                assert!(why.contains(says), "{why}");
            }
        }
    }
}
