//! Entries written to standard output.
//!
//! A batch is written at once. What was written of one before an attempt failed cannot be taken back: the next attempt
//! goes on behind it if it brings the same bytes, and on a new line if not.

use super::format::{Encoder, Format};
use super::{SendError, Sink};
use crate::batch::Batch;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;

/// How long an attempt waits for a reader that does not read, where the output is not one that waits by itself.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// What the buffer may keep from one batch to the next, in bytes.
const BUFFER_MAX: usize = 1 << 20;

/// Writes entries to standard output.
pub struct Console {
    state: Mutex<State>,
    unwell: Mutex<Option<String>>,
}

struct State {
    encoder: Encoder,
    buffer: Vec<u8>,
    begun: Option<Begun>,
}

/// What an attempt that failed had written.
#[derive(Clone, Copy)]
struct Begun {
    len: usize,
    /// CRC32C of the bytes.
    sum: u32,
}

impl Console {
    /// A console that shows entries as `format`.
    pub fn new(format: Format) -> Self {
        let state = State { encoder: Encoder::new(format), buffer: Vec::new(), begun: None };
        Console { state: Mutex::new(state), unwell: Mutex::new(None) }
    }

    fn send_to(&self, batch: &Batch, write: impl FnMut(&[u8]) -> io::Result<usize>) -> Result<(), SendError> {
        let result = self.state.lock().write(batch, write).map_err(explain);
        *self.unwell.lock() = result.as_ref().err().cloned();
        result.map_err(|why| SendError::Retry { why, after: None })
    }
}

impl Sink for Console {
    fn kind(&self) -> &'static str {
        "console"
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let stdout = io::stdout().lock();
        // Past the library's own writer, which takes a closed standard output for a written one.
        self.send_to(batch, |bytes| write_patiently(&stdout, bytes))
    }

    fn is_healthy(&self) -> Result<(), String> {
        self.unwell.lock().clone().map_or(Ok(()), Err)
    }
}

impl State {
    fn write(&mut self, batch: &Batch, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_MAX);
        for part in batch.parts() {
            self.encoder.encode(&part.block, part.stream(), part.places(), &mut self.buffer);
        }
        let mut done = self.resume(&mut write)?;
        while done < self.buffer.len() {
            let result = match write(&self.buffer[done..]) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            match result {
                Ok(len) => done += len,
                Err(error) => {
                    let sum = crc32c::crc32c(&self.buffer[..done]);
                    self.begun = (done > 0).then_some(Begun { len: done, sum });
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// How much of the buffer stands there already. What was begun and is another batch's gets its newline.
    fn resume(&mut self, write: &mut impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
        let Some(Begun { len, sum }) = self.begun else { return Ok(0) };
        let same = self.buffer.get(..len).is_some_and(|begun| crc32c::crc32c(begun) == sum);
        if !same {
            write(b"\n")?;
        }
        self.begun = None;
        Ok(if same { len } else { 0 })
    }
}

fn write_patiently(out: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(out, bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::new(out, PollFlags::OUT)];
                match rustix::event::poll(&mut ready, Some(&PATIENCE)) {
                    Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            other => return Ok(other?),
        }
    }
}

fn explain(error: io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PIPE) => "standard output: nobody reads it any more".to_owned(),
        Some(Errno::BADF) => "standard output: closed".to_owned(),
        _ => format!("standard output: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing::{Builder, batch_of, stream};

    /// A writer into `shown` that takes `room` bytes and then breaks.
    fn broken_after(room: usize, shown: &mut Vec<u8>) -> impl FnMut(&[u8]) -> io::Result<usize> {
        let mut room = room;
        move |bytes| {
            let len = bytes.len().min(room);
            if len == 0 {
                return Err(Errno::PIPE.into());
            }
            room -= len;
            shown.extend_from_slice(&bytes[..len]);
            Ok(len)
        }
    }

    #[test]
    fn a_batch_is_shown_by_one_write() {
        let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
        let (batch, _) = Builder::default().lines(&a, &["1", "2"]).lines(&b, &["3"]).build();
        let mut writes = Vec::new();
        let write = |bytes: &[u8]| {
            writes.push(bytes.to_vec());
            Ok(bytes.len())
        };
        assert!(Console::new(Format::Raw).send_to(&batch, write).is_ok());
        assert_eq!(writes, [b"1\n2\n3\n"]);
    }

    #[test]
    fn an_attempt_goes_on_where_the_last_one_broke() {
        let batch = batch_of(&stream("a", "1", &[]), &["one", "two"]);
        for room in 0..8 {
            let (console, mut shown) = (Console::new(Format::Raw), Vec::new());
            let result = console.send_to(&batch, broken_after(room, &mut shown));
            assert!(matches!(result, Err(SendError::Retry { .. })));
            assert_eq!(console.is_healthy().unwrap_err(), "standard output: nobody reads it any more");
            assert!(console.send_to(&batch, broken_after(100, &mut shown)).is_ok());
            assert_eq!(
                (shown.as_slice(), console.is_healthy()),
                (&b"one\ntwo\n"[..], Ok(())),
                "broken after {room}"
            );
        }
    }

    #[test]
    fn another_batch_begins_on_a_new_line() {
        let a = stream("a", "1", &[]);
        let (console, mut shown) = (Console::new(Format::Raw), Vec::new());
        let first = console.send_to(&batch_of(&a, &["one"]), broken_after(2, &mut shown));
        assert!(first.is_err());
        assert!(console.send_to(&batch_of(&a, &["two"]), broken_after(100, &mut shown)).is_ok());
        assert_eq!(shown, b"on\ntwo\n");
    }

    #[test]
    fn a_closed_pipe_is_told_as_such() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let batch = batch_of(&stream("a", "1", &[]), &["one"]);
        let result = Console::new(Format::Json).send_to(&batch, |bytes| write_patiently(&writer, bytes));
        assert!(matches!(result, Err(SendError::Retry { why, .. }) if why.contains("nobody reads")));
    }
}
