//! Reading payloads.

use super::{AGAIN, AGAIN_LEN, BESIDE, CHUNK, CHUNK_HEAD, FIELD, IN_TEXT, ROW, STREAM, STREAMS_MAX, VERSION};
use crate::block::{ARENA_MAX, Block, Blocks, ENTRIES_MAX, FIELDS_MAX, ORDINARY};
use crate::entry::{Entry, Field, Kind, Slice, Space};
use crate::labels::{Again, LABELS_MAX, Labels, SourceId, Stream};
use crate::pool::Owned;
use std::collections::HashMap;
use std::sync::Arc;

/// Most streams that are remembered from one payload to the next.
const REMEMBERED: usize = 4096;
/// Most bytes of their descriptions.
const REMEMBERED_BYTES: usize = 4 << 20;
/// All flags an entry can have.
const FLAGS: u8 = Entry::CUT | Entry::OWN_TIME | Entry::NEWLINES;

/// Why bytes are no payload, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A newer program wrote it.
    #[error("it is of version {0}, and only {VERSION} can be read")]
    Version(u8),
    /// It is not as any program writes it.
    #[error("{0}")]
    Bytes(&'static str),
}

/// Reads payloads into blocks; streams that come again and again are the same ones.
pub struct Decoder {
    source: SourceId,
    /// The types of source there are.
    types: &'static [&'static str],
    known: HashMap<Box<[u8]>, Arc<Stream>>,
    known_bytes: usize,
    /// The streams of this payload, by number.
    streams: Vec<Arc<Stream>>,
    /// The fields of one chunk.
    fields: Vec<Field>,
}

impl Decoder {
    /// For payloads whose entries count as of `source` in this process. A source whose type is not among `types` is of the
    /// type `unknown`.
    pub fn new(source: SourceId, types: &'static [&'static str]) -> Self {
        Decoder {
            source,
            types,
            known: HashMap::new(),
            known_bytes: 0,
            streams: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Reads `payload`, and puts its entries in order into blocks behind those in `out`; gives how many they are.
    /// `blocks` must have a class as large as payloads can be.
    ///
    /// All entries are wanted, for one lane. Errors: the payload is not as it is written; then `out` is as it was.
    pub fn decode(
        &mut self,
        payload: &[u8],
        blocks: &Blocks,
        out: &mut Vec<Owned<Block>>,
    ) -> Result<u32, Malformed> {
        let before = out.len();
        let read = self.read(payload, blocks, out);
        self.streams.clear();
        match read {
            Ok(_) => out[before..].iter_mut().for_each(|block| {
                block.want_all();
                block.open_selections(0, 1);
            }),
            Err(_) => out.truncate(before),
        }
        read
    }

    fn read(
        &mut self,
        payload: &[u8],
        blocks: &Blocks,
        out: &mut Vec<Owned<Block>>,
    ) -> Result<u32, Malformed> {
        let mut rest = Bytes(payload);
        match rest.u8()? {
            VERSION => {}
            other => return Err(Malformed::Version(other)),
        }
        ensure(rest.take(3)? == [0; 3], "what is reserved is not zero")?;
        let (entries, mut found) = (rest.u32()?, 0);
        // A block that was begun for another payload is not ours.
        let mut open: Option<Owned<Block>> = None;
        let mut described = false;
        while let Some(kind) = rest.0.first() {
            match *kind {
                STREAM | AGAIN if !described => {
                    self.stream(&mut rest)?;
                    described = true;
                }
                CHUNK => {
                    let left = rest.0.len();
                    let chunk = Chunk::read(&mut rest)?;
                    let stream = self.streams.get(usize::from(chunk.stream));
                    let stream = stream.ok_or(Malformed::Bytes("a chunk is of no stream"))?;
                    let last = usize::from(chunk.stream) + 1 == self.streams.len();
                    ensure(!described || last, "a stream is described and not used")?;
                    described = false;
                    found += chunk.entries as u64;
                    if !open.as_ref().is_some_and(|block| chunk.fits(block)) {
                        out.extend(open.take());
                    }
                    let block =
                        open.get_or_insert_with(|| blocks.get(left.min(ORDINARY).max(chunk.text.len())));
                    ensure(chunk.fits(block), "a chunk is larger than any block")?;
                    chunk.put(block, stream, &mut self.fields)?;
                }
                _ => return Err(Malformed::Bytes("an item is of no known kind")),
            }
        }
        out.extend(open);
        ensure(!described, "a stream is described and not used")?;
        ensure(found == u64::from(entries), "it has not as many entries as it says")?;
        Ok(entries)
    }

    /// Reads the description of a stream and gives it the next number.
    fn stream(&mut self, rest: &mut Bytes<'_>) -> Result<(), Malformed> {
        ensure(self.streams.len() < STREAMS_MAX, "it has too many streams")?;
        let whole = rest.0;
        let is_again = rest.u8()? == AGAIN;
        let (name, kind, origin) = (rest.text()?, rest.text()?, rest.text()?);
        let count = usize::from(rest.u8()?);
        ensure(count <= LABELS_MAX, "a stream has too many labels")?;
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, value) = (rest.text()?, rest.text()?);
            ensure(pairs.last().is_none_or(|(last, _)| *last < name), "labels are not in order")?;
            pairs.push((name, value));
        }
        let again = if is_again { Some(again(rest.take(AGAIN_LEN)?)) } else { None };
        let described = &whole[..whole.len() - rest.0.len()];
        if let Some(stream) = self.known.get(described) {
            self.streams.push(Arc::clone(stream));
            return Ok(());
        }
        let kind = self.types.iter().find(|known| **known == kind).copied().unwrap_or("unknown");
        let stream = Stream::new(self.source, name.into(), kind, origin, Labels::new(pairs));
        let stream = Arc::new(match again {
            Some(again) => stream.given_again(again),
            None => stream,
        });
        if self.known.len() == REMEMBERED || self.known_bytes + described.len() > REMEMBERED_BYTES {
            self.known.clear();
            self.known_bytes = 0;
        }
        self.known_bytes += described.len();
        self.known.insert(described.into(), Arc::clone(&stream));
        self.streams.push(stream);
        Ok(())
    }
}

/// What [`AGAIN_LEN`] bytes say.
fn again(bytes: &[u8]) -> Again {
    let (retries, first) = bytes.split_at(4);
    Again {
        retries: retries.try_into().map_or(0, u32::from_le_bytes),
        first_failed_ms: first.try_into().map_or(0, u64::from_le_bytes),
    }
}

/// The parts of a chunk.
struct Chunk<'a> {
    stream: u16,
    entries: usize,
    rows: &'a [u8],
    fields: &'a [u8],
    beside: &'a [u8],
    text: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn read(rest: &mut Bytes<'a>) -> Result<Self, Malformed> {
        let mut head = Bytes(rest.take(CHUNK_HEAD)?);
        head.u8()?;
        ensure(head.u8()? == 0, "what is reserved is not zero")?;
        let stream = head.u16()?;
        let [entries, fields, beside, text] =
            [head.u32()?, head.u32()?, head.u32()?, head.u32()?].map(|number| number as usize);
        ensure((1..=ENTRIES_MAX).contains(&entries), "a chunk has no entries, or too many")?;
        ensure(fields <= FIELDS_MAX && beside <= ARENA_MAX, "a chunk has too many fields")?;
        let (rows, fields) = (rest.take(entries * ROW)?, rest.take(fields * FIELD)?);
        Ok(Chunk { stream, entries, rows, fields, beside: rest.take(beside)?, text: rest.take(text)? })
    }

    fn fits(&self, block: &Block) -> bool {
        let (fields, arena) = block.side();
        block.capacity() - block.text().len() >= self.text.len()
            && block.entries().len() + self.entries <= ENTRIES_MAX
            && fields + self.fields.len() / FIELD <= FIELDS_MAX
            && arena + self.beside.len() <= ARENA_MAX
    }

    /// Puts the entries behind those of `block`, in which they fit.
    fn put(&self, block: &mut Block, stream: &Arc<Stream>, moved: &mut Vec<Field>) -> Result<(), Malformed> {
        let Some(base) = block.append(self.text) else {
            return Err(Malformed::Bytes("a chunk is larger than any block"));
        };
        block.begin_run(stream);
        let (fields, arena) = block.side();
        let mut at = 0;
        let mut own = self.fields.chunks_exact(FIELD);
        moved.clear();
        for (place, row) in self.rows.chunks_exact(ROW).enumerate() {
            let mut row = Bytes(row);
            let (time, len) = (row.u64()? as i64, row.u32()? as usize);
            let (fields_n, flags, gap) = (row.u16()?, row.u8()?, usize::from(row.u8()?));
            ensure(place > 0 || gap == 0, "there is something before the first entry")?;
            ensure(flags & !FLAGS == 0, "an entry has a flag that is not known")?;
            let start = at + gap;
            at = start + len;
            // A newline stands behind each, so that sinks can write several at once.
            ensure(at < self.text.len(), "an entry reaches beyond the text")?;
            block.push(Entry {
                time,
                offset: base + start as u32,
                len: len as u32,
                fields_first: (fields + moved.len()) as u32,
                fields_n,
                fields_spare: 0,
                flags,
            });
            for _ in 0..fields_n {
                let bytes = own.next().ok_or(Malformed::Bytes("an entry has more fields than there are"))?;
                moved.push(self.field(bytes, (start, at), (base, arena as u32))?);
            }
        }
        ensure(own.next().is_none(), "there are more fields than entries have")?;
        ensure(
            at + 1 == self.text.len() && self.text[at] == b'\n',
            "the text does not end behind the last entry",
        )?;
        block.add_side(moved, self.beside);
        Ok(())
    }

    /// A field of the entry whose text stands at `entry` in the chunk's, for a block that had so many bytes of text and
    /// arena.
    fn field(
        &self,
        bytes: &[u8],
        entry: (usize, usize),
        (text, arena): (u32, u32),
    ) -> Result<Field, Malformed> {
        let mut bytes = Bytes(bytes);
        let (key_at, value_at, value_len) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
        let (key_len, key_space, packed) = (bytes.u16()?, bytes.u8()?, bytes.u8()?);
        ensure(usize::from(key_len) <= Field::KEY_MAX, "the name of a field is too long")?;
        let slice = |space: u8, at: u32, len: u32| -> Result<Slice, Malformed> {
            let (first, end, base, space) = match space {
                IN_TEXT => (entry.0, entry.1, text, Space::Text),
                BESIDE => (0, self.beside.len(), arena, Space::Arena),
                _ => return Err(Malformed::Bytes("a field is nowhere")),
            };
            let stands = at as usize >= first && at as usize + len as usize <= end;
            ensure(stands, "a field reaches beyond its entry")?;
            Ok(Slice { space, offset: base + at, len })
        };
        let kind = match packed >> 2 & 7 {
            0 => Kind::Plain,
            1 => Kind::Escaped,
            2 => Kind::Number,
            3 => Kind::Bool,
            4 => Kind::Null,
            5 => Kind::Json,
            _ => return Err(Malformed::Bytes("a field is of no known kind")),
        };
        ensure(packed >> 6 == 0, "what is reserved is not zero")?;
        let key = slice(key_space, key_at, key_len.into())?;
        let field = Field::new(key, slice(packed & 3, value_at, value_len)?, kind);
        Ok(if packed & 1 << 5 != 0 { field.with_escaped_key() } else { field })
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed::Bytes(otherwise)) }
}

/// Bytes, read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Bytes("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Bytes("it is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u32()? as usize;
        std::str::from_utf8(self.take(len)?).map_err(|_| Malformed::Bytes("a name is no text"))
    }
}
