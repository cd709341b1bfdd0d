//! One request's entries, grouped by Loki stream, in either encoding.

use super::config::{Encoding, LokiSinkConfig};
use super::json::Json;
use super::labels::Key;
use super::line::{Liner, Metadata, Taken};
use super::protobuf::Protobuf;
use super::streams::{OVERFLOW, OVERFLOW_SECTION};
use crate::batch::Batch;
use crate::sinks::client::{Compression, Groups, Level, Packer, Span};
use std::io;
use std::iter::once;

/// How a push is written: calls come in the order they stand here.
pub(super) trait Shape {
    fn open(&mut self, out: &mut Vec<u8>);
    fn open_stream<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>);
    /// A pair of structured metadata, to be given to [`Shape::entry`] later.
    fn pair(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>);
    /// An entry, with the pairs it shares with its group and its own.
    fn entry(&mut self, time: i64, line: &[u8], shared: &[u8], own: &[u8], out: &mut Vec<u8>);
    fn close_stream(&mut self, out: &mut Vec<u8>);
    fn close(&mut self, out: &mut Vec<u8>);
}

/// Writes pushes into buffers that it keeps.
pub struct Writer {
    encoding: Encoding,
    protobuf: Protobuf,
    json: Json,
    parts: Parts,
    body: Vec<u8>,
    snappy: snap::raw::Encoder,
    gzip: Packer,
    packed: Vec<u8>,
}

/// What both encodings need.
struct Parts {
    liner: Liner,
    metadata: Metadata,
    shared: Vec<u8>,
    own: Vec<u8>,
}

/// Most bytes a buffer keeps from one push to the next.
const BUFFER_MAX: usize = 8 << 20;

impl Writer {
    /// A writer for a sink with these keys.
    pub fn new(config: &LokiSinkConfig) -> io::Result<Self> {
        Ok(Writer {
            encoding: config.encoding,
            protobuf: Protobuf::default(),
            json: Json,
            parts: Parts {
                liner: Liner::new(config.format),
                metadata: Metadata::new(config.structured_metadata.clone()),
                shared: Vec::new(),
                own: Vec::new(),
            },
            body: Vec::new(),
            snappy: snap::raw::Encoder::new(),
            gzip: Packer::new(Compression::Gzip, Some(Level::default()))?,
            packed: Vec::new(),
        })
    }

    /// Writes the entries of `spans`, a request of `groups`; gives the body, and what it was before it was packed.
    pub fn write(&mut self, batch: &Batch, groups: &Groups, spans: &[Span]) -> io::Result<(&[u8], &[u8])> {
        self.body.clear();
        self.parts.metadata.left_out = 0;
        match self.encoding {
            Encoding::Protobuf => {
                write(&mut self.protobuf, &mut self.parts, batch, groups, spans, &mut self.body);
                let room = snap::raw::max_compress_len(self.body.len());
                if self.packed.len() < room {
                    // Stays so long: filling it anew for every push would cost a pass over it.
                    self.packed.resize(room, 0);
                }
                let len = self.snappy.compress(&self.body, &mut self.packed).map_err(io::Error::other)?;
                Ok((&self.packed[..len], &self.body))
            }
            Encoding::Json => {
                write(&mut self.json, &mut self.parts, batch, groups, spans, &mut self.body);
                Ok((self.gzip.pack(&self.body, &mut self.packed)?, &self.body))
            }
        }
    }

    /// How many pairs of structured metadata were left out of the last push, as their entries had too many.
    pub fn left_out(&self) -> u64 {
        self.parts.metadata.left_out
    }

    /// Gives the memory of an odd push back.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.body, &mut self.packed] {
            buffer.truncate(BUFFER_MAX);
            buffer.shrink_to(BUFFER_MAX);
        }
    }
}

fn write<S: Shape>(
    shape: &mut S,
    parts: &mut Parts,
    batch: &Batch,
    groups: &Groups,
    spans: &[Span],
    out: &mut Vec<u8>,
) {
    shape.open(out);
    for section in spans.chunk_by(|one, other| one.place.section == other.place.section) {
        let Some(first) = section.first() else { continue };
        let overflow = first.place.section == OVERFLOW_SECTION;
        match overflow {
            true => shape.open_stream(once(OVERFLOW), out),
            false => shape.open_stream(Key::read(groups.key(first.group)).labels(), out),
        }
        let mut group = None;
        let mut taken = Taken::default();
        for span in section {
            if group != Some(span.group) {
                group = Some(span.group);
                let key = Key::read(groups.key(span.group));
                taken = match overflow {
                    true => share(shape, parts, key.all()),
                    false => share(shape, parts, key.extra()),
                };
            }
            write_span(shape, parts, batch, span, taken, out);
        }
        shape.close_stream(out);
    }
    shape.close(out);
}

/// Writes what all entries of a group share; gives how much it is.
fn share<'a, S: Shape>(
    shape: &mut S,
    parts: &mut Parts,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Taken {
    let mut taken = Taken::default();
    parts.shared.clear();
    for (name, value) in pairs {
        match taken.add(name.len() + value.len()) {
            true => shape.pair(name.as_bytes(), value.as_bytes(), &mut parts.shared),
            false => parts.metadata.left_out += 1,
        }
    }
    taken
}

fn write_span<S: Shape>(
    shape: &mut S,
    parts: &mut Parts,
    batch: &Batch,
    span: &Span,
    taken: Taken,
    out: &mut Vec<u8>,
) {
    let part = &batch.parts()[span.part as usize];
    let Parts { liner, metadata, shared, own } = parts;
    own.clear();
    for place in span.places(part) {
        let entry = part.block.view(place);
        if !metadata.is_off() {
            own.clear();
            metadata.write(entry, taken, |name, value| shape.pair(name, value, own));
        }
        shape.entry(entry.time(), liner.line(part, place), shared, own, out);
    }
}
