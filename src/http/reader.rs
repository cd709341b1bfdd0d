//! Where requests and their bodies begin and end in the bytes of a connection.
//!
//! The reader keeps none of them: what it could not use is shown to it again with more behind it, and that is never
//! more than a head or the line before a chunk. The same bytes give the same requests however they are cut.

use super::head::{Framing, Head};
use super::{Refusal, Status};
use memchr::memchr;

/// Longest line that tells the size of a chunk, with its extensions, in bytes.
pub const CHUNK_LINE_MAX: usize = 256;
/// Most bytes of chunk extensions in one body: nobody needs any, and each byte of a body could bring hundreds.
pub const EXTENSIONS_MAX: usize = 4 << 10;
/// Most bytes of header fields behind a chunked body. They are thrown away.
pub const TRAILERS_MAX: usize = 4 << 10;
/// Empty lines passed over before a head (RFC 9112, 2.2).
const EMPTY_LINES_MAX: u8 = 4;
/// A head is looked at as it comes up to here: what speaks another protocol is told so at once.
const LOOK_FIRST: usize = 64;
/// Then by whole lines, and in a long line in steps of this many bytes.
const LOOK_STEP: usize = 512;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing further: show the rest again, with more behind it.
    More,
    /// A request begins; its body follows, if it has one, and then its end.
    Head(Box<Head>),
    /// The next piece of the body.
    Body(&'a [u8]),
    /// The request is complete.
    End,
    /// What comes here is no request, and nothing behind it can be trusted.
    Bad(Refusal),
}

/// Reads the requests of one connection.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// Longest body, in bytes.
    body_max: u64,
    /// Empty lines before this head.
    empty_lines: u8,
    /// How much of the head has been looked at.
    looked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// A body with so many bytes to come.
    Length(u64),
    Chunked(Chunked, Part),
    Failed,
}

/// A chunked body so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chunked {
    body: u64,
    extensions: usize,
    trailers: usize,
}

/// Which part of a chunked body comes next (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

impl Reader {
    /// A reader at the start of a connection. Bodies longer than `body_max` bytes are refused.
    pub fn new(body_max: u64) -> Self {
        Reader { state: State::Head, body_max, empty_lines: 0, looked: 0 }
    }

    /// A reader at the start of a body, of a message whose head was read elsewhere. What it finds behind the end is
    /// not to be asked for.
    pub fn of_body(framing: Framing, body_max: u64) -> Self {
        let state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked { body: 0, extensions: 0, trailers: 0 }, Part::Size),
        };
        Reader { state, ..Reader::new(body_max) }
    }

    /// Bodies longer than `body_max` bytes are refused from now on.
    pub fn set_body_max(&mut self, body_max: u64) {
        self.body_max = body_max;
    }

    /// Whether it is between two requests.
    pub fn is_between(&self) -> bool {
        self.state == State::Head
    }

    /// How many bytes of the body are still to come, if that is known.
    pub fn body_left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Head => Some(0),
            State::Chunked(..) | State::Failed => None,
        }
    }

    /// Finds the next thing in `input` and says how many bytes are done with.
    pub fn read<'a>(&mut self, input: &'a [u8]) -> (usize, Found<'a>) {
        let (used, found) = match self.state {
            State::Head => self.head(input),
            State::Length(0) => {
                self.state = State::Head;
                (0, Found::End)
            }
            State::Length(left) => {
                let piece = piece(input, left);
                self.state = State::Length(left - piece.len() as u64);
                body(piece)
            }
            State::Chunked(so_far, part) => self.chunked(so_far, part, input),
            State::Failed => (input.len(), Found::More),
        };
        if let Found::Bad(_) = found {
            self.state = State::Failed;
        }
        (used, found)
    }

    fn head<'a>(&mut self, input: &'a [u8]) -> (usize, Found<'a>) {
        let mut at = 0;
        loop {
            let empty = match &input[at..] {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                [] | [b'\r'] => return (at, Found::More),
                _ => break,
            };
            at += empty;
            self.empty_lines += 1;
            if self.empty_lines > EMPTY_LINES_MAX {
                return (at, Found::Bad(Refusal::bad("a request begins with its method")));
            }
        }
        let head = &input[at..];
        let look = worth_a_look(head, self.looked);
        if look <= self.looked {
            return (at, Found::More);
        }
        match Head::parse(&head[..look]) {
            Err(refusal) => (at, Found::Bad(refusal)),
            Ok(None) => {
                self.looked = look;
                (at, Found::More)
            }
            Ok(Some((head, len))) => {
                (self.looked, self.empty_lines) = (0, 0);
                self.state = match head.framing {
                    Framing::Length(length) if length > self.body_max => {
                        return (at, Found::Bad(TOO_LARGE));
                    }
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => {
                        State::Chunked(Chunked { body: 0, extensions: 0, trailers: 0 }, Part::Size)
                    }
                };
                (at + len, Found::Head(Box::new(head)))
            }
        }
    }

    fn chunked<'a>(&mut self, mut so_far: Chunked, part: Part, input: &'a [u8]) -> (usize, Found<'a>) {
        let mut part = part;
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let step = match part {
                Part::Data(left) if left > 0 => {
                    let piece = piece(rest, left);
                    self.state = State::Chunked(so_far, Part::Data(left - piece.len() as u64));
                    let (used, found) = body(piece);
                    return (at + used, found);
                }
                Part::Data(_) => Ok(Some((0, Part::DataEnd))),
                Part::DataEnd => match rest {
                    [b'\r', b'\n', ..] => Ok(Some((2, Part::Size))),
                    [] | [b'\r'] => Ok(None),
                    _ => Err(Refusal::bad("a chunk is longer than it says")),
                },
                Part::Size => so_far.size_line(rest, self.body_max),
                Part::Trailers => match so_far.trailer(rest) {
                    Ok(Some((used, true))) => {
                        self.state = State::Head;
                        return (at + used, Found::End);
                    }
                    Ok(Some((used, false))) => Ok(Some((used, Part::Trailers))),
                    Ok(None) => Ok(None),
                    Err(refusal) => Err(refusal),
                },
            };
            match step {
                Ok(Some((used, next))) => (at, part) = (at + used, next),
                Ok(None) => {
                    self.state = State::Chunked(so_far, part);
                    return (at, Found::More);
                }
                Err(refusal) => return (at, Found::Bad(refusal)),
            }
        }
    }
}

const TOO_LARGE: Refusal =
    Refusal { status: Status::CONTENT_TOO_LARGE, why: "the body is longer than is accepted here" };

impl Chunked {
    /// The line before a chunk: its size in hexadecimal digits, and perhaps extensions.
    fn size_line(&mut self, rest: &[u8], body_max: u64) -> Result<Option<(usize, Part)>, Refusal> {
        let Some((line, used)) = line(rest, CHUNK_LINE_MAX, "the line before a chunk has at most 256 bytes")?
        else {
            return Ok(None);
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = &line[digits..];
        // Blanks before an extension are bad manners that RFC 9112, 7.1.1 allows for.
        let well_formed = digits > 0 && matches!(extension.trim_ascii_start(), [] | [b';', ..]);
        if !well_formed || extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Refusal::bad("the line before a chunk tells its size in hexadecimal digits"));
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS_MAX {
            return Err(Refusal::bad("the extensions of a body's chunks have at most 4 KiB"));
        }
        let digit = |size: u64, byte: &u8| {
            let digit = u64::from((*byte as char).to_digit(16)?);
            size.checked_mul(16)?.checked_add(digit)
        };
        let size = line[..digits].iter().try_fold(0, digit).ok_or(TOO_LARGE)?;
        if size == 0 {
            return Ok(Some((used, Part::Trailers)));
        }
        self.body = self.body.checked_add(size).filter(|sum| *sum <= body_max).ok_or(TOO_LARGE)?;
        Ok(Some((used, Part::Data(size))))
    }

    /// A line behind the last chunk; true if it is the empty one that ends the body.
    fn trailer(&mut self, rest: &[u8]) -> Result<Option<(usize, bool)>, Refusal> {
        let max = TRAILERS_MAX - self.trailers;
        let Some((line, used)) = line(rest, max, "the fields behind a chunked body have at most 4 KiB")?
        else {
            return Ok(None);
        };
        self.trailers += used;
        if line.contains(&b'\r') {
            return Err(BARE_CR);
        }
        Ok(Some((used, line.is_empty())))
    }
}

const BARE_CR: Refusal = Refusal::bad("lines between chunks end with CR and LF");

/// The line at the start of `rest` without its CR LF, and how many bytes it takes with it, within `max`.
fn line<'a>(rest: &'a [u8], max: usize, why: &'static str) -> Result<Option<(&'a [u8], usize)>, Refusal> {
    let Some(end) = memchr(b'\n', &rest[..rest.len().min(max)]) else {
        return if rest.len() < max { Ok(None) } else { Err(Refusal::bad(why)) };
    };
    // A bare LF is taken for a line's end by some and not by others.
    let line = rest[..end].strip_suffix(b"\r").ok_or(BARE_CR)?;
    Ok(Some((line, end + 1)))
}

/// How much of the beginning of a head to look at, `looked` of which were before: one that comes byte by byte would be
/// read anew for each of them. It follows from the bytes alone, so that what is found does not depend on their cuts.
fn worth_a_look(head: &[u8], looked: usize) -> usize {
    let line = memchr::memrchr(b'\n', &head[looked.min(head.len())..]).map_or(0, |at| looked + at + 1);
    line.max(head.len() / LOOK_STEP * LOOK_STEP).max(head.len().min(LOOK_FIRST))
}

fn piece(input: &[u8], left: u64) -> &[u8] {
    &input[..usize::try_from(left).unwrap_or(usize::MAX).min(input.len())]
}

fn body(piece: &[u8]) -> (usize, Found<'_>) {
    if piece.is_empty() { (0, Found::More) } else { (piece.len(), Found::Body(piece)) }
}

#[cfg(test)]
mod tests;
