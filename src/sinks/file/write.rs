//! Putting entries into one file with as few calls and copies as possible.

use super::disk::Disk;
use super::group::Span;
use crate::batch::Batch;
use crate::sinks::format::{Encoder, Format, RawSpan, raw_spans};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};

/// Text that stands together in its block and is at least this long is written from there; less is copied.
const WHOLE_MIN: usize = 4 << 10;
/// What was copied is written once it is this much.
const COPIED_MAX: usize = 256 << 10;
/// Most pieces in one call.
const PIECES_MAX: usize = 64;
/// How many entries are encoded between two looks at the buffer.
const ENTRIES_STEP: usize = 64;

/// Encodes and writes; kept from one batch to the next for its buffers.
pub(super) struct Writer {
    encoder: Encoder,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Writer { encoder: Encoder::new(format), buffer: Vec::new() }
    }

    /// Appends the entries of `spans` to `file`. Adds to `written` what reached the file, also when it fails.
    pub(super) fn write(
        &mut self,
        disk: &dyn Disk,
        file: &File,
        batch: &Batch,
        spans: &[Span],
        written: &mut u64,
    ) -> io::Result<()> {
        self.buffer.clear();
        // One entry can be far larger than what is usual.
        self.buffer.shrink_to(4 * COPIED_MAX);
        let mut out = Pieces { disk, file, written, buffer: &mut self.buffer, list: Vec::new(), noted: 0 };
        for span in spans {
            let part = &batch.parts()[span.part];
            let mut places = span.places(part).peekable();
            match self.encoder.format() {
                Format::Raw => {
                    for piece in raw_spans(&part.block, places) {
                        out.add_raw(piece);
                        out.write_if_full()?;
                    }
                }
                Format::Text | Format::Json | Format::Logfmt => {
                    while places.peek().is_some() {
                        let some = places.by_ref().take(ENTRIES_STEP);
                        self.encoder.encode(&part.block, part.stream(), some, out.buffer);
                        out.write_if_full()?;
                    }
                }
            }
        }
        out.write_all()
    }
}

/// Bytes on their way to a file: some in the buffer, some where they always were, in order.
struct Pieces<'a, 'b> {
    disk: &'b dyn Disk,
    file: &'b File,
    written: &'b mut u64,
    buffer: &'b mut Vec<u8>,
    list: Vec<Piece<'a>>,
    /// How much of the buffer the list names.
    noted: usize,
}

enum Piece<'a> {
    /// This many bytes of the buffer, behind those of the piece before.
    Copied(usize),
    Whole(&'a [u8]),
}

impl<'a> Pieces<'a, '_> {
    fn add_raw(&mut self, span: RawSpan<'a>) {
        if span.bytes.len() < WHOLE_MIN || span.escape {
            return span.copy_to(self.buffer);
        }
        self.note_copied();
        self.list.push(Piece::Whole(span.bytes));
        if !span.ended {
            self.buffer.push(b'\n');
        }
    }

    fn note_copied(&mut self) {
        if self.buffer.len() > self.noted {
            self.list.push(Piece::Copied(self.buffer.len() - self.noted));
            self.noted = self.buffer.len();
        }
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        // Up to two pieces more can be noted before the next look.
        if self.buffer.len() < COPIED_MAX && self.list.len() < PIECES_MAX - 2 {
            return Ok(());
        }
        self.write_all()
    }

    fn write_all(&mut self) -> io::Result<()> {
        self.note_copied();
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut copied = self.buffer.as_slice();
        for (slice, piece) in slices.iter_mut().zip(&self.list) {
            *slice = IoSlice::new(match piece {
                Piece::Whole(bytes) => bytes,
                Piece::Copied(len) => {
                    let (bytes, behind) = copied.split_at(*len);
                    copied = behind;
                    bytes
                }
            });
        }
        let mut left = &mut slices[..self.list.len()];
        while !left.is_empty() {
            match self.disk.write(self.file, left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    *self.written += len as u64;
                    IoSlice::advance_slices(&mut left, len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.list.clear();
        self.buffer.clear();
        self.noted = 0;
        Ok(())
    }
}
