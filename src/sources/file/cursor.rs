//! Where reading stands in one file, and the one loop that turns its bytes into entries.
//!
//! Every read begins at the first incomplete line, so nothing is carried over from block to block: the piece of a line
//! at a block's end is read again with the next one (with 64 KiB blocks and lines of 250 bytes 0.2 % more bytes).

use super::identity::{Before, Head};
use super::messages::{Format, SharedScratch};
use crate::block::Block;
use crate::checkpoint::{Edge, HEAD_MAX};
use crate::entry::Entry;
use crate::labels::Stream;
use crate::sources::multiline::{Open, Rules};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// From this many bytes on, an incomplete line is not read again from its beginning each time it grows: only its new
/// bytes are searched for the end.
const SCAN_ON: u64 = 4 << 10;
/// How much of a file's beginning tells whether it is text.
const SNIFF: usize = 1024;

/// Where reading stands.
#[derive(Clone, Default)]
pub struct Cursor {
    /// The first byte that did not become part of an entry: the beginning of the first incomplete line.
    pub read: u64,
    /// What stands before it.
    pub edge: Edge,
    /// How the file begins.
    pub head: Head,
    /// The bytes before `read`.
    pub before: Before,
    /// How many bytes from `read` on are known to hold no line's end, or no event's.
    pub partial: u64,
    /// Of several lines: the event they begin with.
    pub open: Open,
    /// There is one in a file of messages, and nothing behind it.
    pub event: bool,
}

/// What one block may hold.
pub struct Limits {
    /// Most entries.
    pub entries: usize,
    /// Longest line in bytes; a block of the largest class holds one more.
    pub line: usize,
    /// Which lines are one event, unless each is. A block of the largest class holds more than the longest, too.
    pub rules: Option<Arc<Rules>>,
    /// What the lines are.
    pub format: Format,
    /// Memory to read files of messages into.
    pub scratch: SharedScratch,
}

impl Limits {
    /// The longest entry.
    pub(super) fn longest(&self) -> usize {
        self.rules.as_ref().map_or(self.line, |rules| rules.max_bytes.max(self.line))
    }
}

/// What of the incomplete end of a file goes out as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flush {
    /// Nothing.
    #[default]
    None,
    /// The complete lines of an event that could go on.
    Open,
    /// All of it.
    All,
}

/// How [`Cursor::fill`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// There may be more to read, and room for it.
    More,
    /// The block is full: ship it, come again.
    Full,
    /// The next line needs a block with at least this many bytes.
    Wider(usize),
    /// The file has no more complete line.
    End,
    /// It is no text.
    Binary,
}

/// What [`Cursor::fill`] did.
#[derive(Debug)]
pub struct Filled {
    /// Entries added.
    pub entries: usize,
    /// Those among them that were cut.
    pub cut: usize,
    /// What to do next.
    pub then: Then,
}

impl Cursor {
    /// At `offset` of `file`, with this edge.
    pub fn at(file: &File, offset: u64, edge: Edge) -> io::Result<Cursor> {
        let (head, before) = (Head::read(file, offset)?, Before::read(file, offset)?);
        Ok(Cursor { read: offset, edge, head, before, ..Cursor::default() })
    }

    /// At the beginning of `file`, whose first bytes are looked at now: it may be cut before it is read.
    pub fn at_start(file: &File) -> io::Result<Cursor> {
        Ok(Cursor { head: Head::read(file, u64::MAX)?, ..Cursor::default() })
    }

    /// At the end of `file`, which is `size` bytes long. If it ends within a line, the rest of that line is skipped.
    pub fn at_end(file: &File, size: u64) -> io::Result<Cursor> {
        let mut cursor = Cursor::at(file, size, Edge::Line)?;
        if cursor.before.bytes().last().is_some_and(|last| *last != b'\n') {
            cursor.edge = Edge::Skipping;
        }
        Ok(cursor)
    }

    /// Goes back to an earlier place.
    pub fn rewind(&mut self, file: &File, offset: u64, edge: Edge) -> io::Result<()> {
        self.before = Before::read(file, offset)?;
        (self.read, self.edge, self.partial) = (offset, edge, 0);
        (self.open, self.event) = (Open::default(), false);
        Ok(())
    }

    /// Whether the file is still as it was read: what stands before the cursor, and its beginning where that is known
    /// beyond the cursor. If not, it was rewritten. One small read, rarely two.
    pub fn holds(&mut self, file: &File, size: u64) -> io::Result<bool> {
        if size < self.read + self.partial {
            (self.partial, self.open, self.event) = (0, Open::default(), false);
        }
        let begins =
            u64::from(self.head.len) <= self.read || Head::read(file, self.head.len.into())? == self.head;
        Ok(begins && size >= self.read && Before::read(file, self.read)?.bytes() == self.before.bytes())
    }

    /// Learns as much of how the file begins as it now has, though none of it was read. Whether that was more than
    /// before is the result.
    pub fn look_ahead(&mut self, file: &File) -> io::Result<bool> {
        let before = self.head.len;
        if usize::from(before) < HEAD_MAX {
            self.head = Head::read(file, u64::MAX)?;
        }
        Ok(self.head.len > before)
    }

    /// Reads on into the spare room of `block`, whose entries become those of the first of `streams`; of the second in files
    /// of messages what containers said to their standard error. The file was `size` bytes long
    /// a moment ago. What is incomplete at its end is left, but for what `flush` says.
    pub fn fill(
        &mut self,
        file: &File,
        size: u64,
        block: &mut Block,
        streams: &[Arc<Stream>; 2],
        limits: &Limits,
        flush: Flush,
    ) -> io::Result<Filled> {
        let stream = &streams[0];
        let room = limits.entries.saturating_sub(block.entries().len());
        let (base, want) = (block.text().len(), block.spare().len());
        let nothing = |then| Ok(Filled { entries: 0, cut: 0, then });
        if room == 0 || want == 0 {
            return nothing(Then::Full);
        }
        if self.edge == Edge::Skipping {
            return nothing(self.skip(file, size, block.spare())?);
        }
        if limits.format != Format::Plain {
            return self.fill_messages(file, size, block, streams, limits, flush);
        }
        if self.partial >= SCAN_ON && flush == Flush::None {
            let scanned = match &limits.rules {
                None => self.scan_on(file, size, block, limits)?,
                Some(rules) => self.scan_events(file, size, block, limits, rules)?,
            };
            if let Some(then) = scanned {
                return nothing(then);
            }
        }
        let n = read_at(file, block.spare(), self.read)?;
        let end = n < want && self.read + n as u64 >= size;
        let bytes = &block.spare()[..n];
        if self.read == 0 && looks_binary(bytes) {
            return nothing(Then::Binary);
        }
        if self.edge == Edge::Partial && bytes.first() == Some(&b'\n') {
            // It ends the piece that has gone out already.
            self.advance(b"\n", Edge::Line);
            return nothing(Then::More);
        }
        block.grow(n);
        let mut lines = Lines { block, stream, base, begin: 0, line: 0, entries: 0, open: Open::default() };
        let over = match &limits.rules {
            None => lines.push_all(n, room, limits.line),
            Some(rules) => lines.push_events(n, room, limits.line, rules, end.then_some(flush)),
        };
        let whole = flush == Flush::All;
        let longest = limits.longest();
        Ok(self.finish(lines, n, over, Ending { room, want, end, whole, line: limits.line, longest }))
    }

    /// Decides what becomes of the bytes behind the last complete line or event.
    fn finish(&mut self, mut lines: Lines<'_>, n: usize, over: Option<usize>, at: Ending) -> Filled {
        let (begin, rest) = (lines.begin, n - lines.begin);
        let full = lines.entries == at.room;
        let mut cut = 0;
        let (taken, edge, then) = if let Some(newline) = over {
            cut = 1;
            (newline + 1, Edge::Line, Then::More)
        } else if full {
            (begin, Edge::Line, Then::Full)
        } else if n - lines.line > at.line {
            cut = 1;
            (begin + at.line, Edge::Skipping, Then::More)
        } else if n == at.want {
            // A block without any line in it is too small for this one; if others have begun it, the next may do.
            let none = begin == 0 && lines.base == 0;
            (begin, Edge::Line, if none { Then::Wider((n + 1).min(at.longest + 1)) } else { Then::Full })
        } else if !at.end {
            (begin, Edge::Line, Then::More)
        } else if at.whole && rest > 0 {
            (n, Edge::Partial, Then::End)
        } else {
            (begin, Edge::Line, Then::End)
        };
        // The bytes are noted as they are in the file, before the block's end is made tidy.
        let edge = if taken == 0 { self.edge } else { edge };
        self.advance(&lines.block.text()[lines.base..lines.base + taken], edge);
        match (cut, edge) {
            (1, _) => lines.push_last(at.line, Entry::CUT),
            (_, Edge::Partial) if taken > begin => lines.push_last(rest, 0),
            _ => lines.block.shrink(lines.base + begin),
        }
        if then == Then::End {
            (self.partial, self.open) = ((n - taken) as u64, lines.open);
        }
        Filled { entries: lines.entries, cut, then }
    }

    /// Searches what came behind a long incomplete line for its end, without reading its beginning again. `None` if the
    /// line is complete, or long enough to be cut, and fits the block.
    fn scan_on(
        &mut self,
        file: &File,
        size: u64,
        block: &mut Block,
        limits: &Limits,
    ) -> io::Result<Option<Then>> {
        let room = block.spare().len();
        let at = self.read + self.partial;
        let n = read_at(file, block.spare(), at)?;
        let found = memchr::memchr(b'\n', &block.spare()[..n]);
        let len = self.partial as usize + found.unwrap_or(n);
        if found.is_none() && len <= limits.line {
            self.partial += n as u64;
            return Ok(Some(if n < room && at + n as u64 >= size { Then::End } else { Then::More }));
        }
        let need = len.min(limits.line) + 1;
        Ok((need > room).then(|| if block.text().is_empty() { Then::Wider(need) } else { Then::Full }))
    }

    /// Passes over the rest of a line that was cut.
    fn skip(&mut self, file: &File, size: u64, scratch: &mut [u8]) -> io::Result<Then> {
        let n = read_at(file, scratch, self.read)?;
        let end = n < scratch.len() && self.read + n as u64 >= size;
        match memchr::memchr(b'\n', &scratch[..n]) {
            Some(at) => self.advance(&scratch[..=at], Edge::Line),
            None => self.advance(&scratch[..n], Edge::Skipping),
        }
        if self.edge == Edge::Skipping && n > 0 && scratch[..n].iter().all(|byte| *byte == 0) {
            self.skip_hole(file, size)?;
        }
        Ok(if end && self.edge == Edge::Skipping { Then::End } else { Then::More })
    }

    /// Passes over a hole: it may be larger than anybody can read, and has no line's end in it.
    fn skip_hole(&mut self, file: &File, size: u64) -> io::Result<()> {
        let data = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(self.read)) {
            Ok(data) => data.min(size),
            Err(rustix::io::Errno::NXIO) => size,
            // The file system knows no holes: it is read like anything else.
            Err(_) => return Ok(()),
        };
        if data > self.read {
            (self.head, self.before) = (Head::read(file, data)?, Before::read(file, data)?);
            self.read = data;
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, bytes: &[u8], edge: Edge) {
        // After going back the head may reach further than the cursor.
        let known = u64::from(self.head.len).checked_sub(self.read);
        if let Some(new) = known.and_then(|known| bytes.get(known as usize..)) {
            self.head.grow(new);
        }
        self.before.push(bytes);
        self.read += bytes.len() as u64;
        (self.edge, self.partial, self.open, self.event) = (edge, 0, Open::default(), false);
    }

    /// Whether what is incomplete is an event that may go on, and no incomplete line.
    pub fn has_event(&self) -> bool {
        self.open.bytes() > 0 || self.event
    }
}

/// What [`Cursor::finish`] has to know of the read.
struct Ending {
    room: usize,
    want: usize,
    end: bool,
    whole: bool,
    line: usize,
    longest: usize,
}

/// The bytes just read, becoming lines of a block.
pub(super) struct Lines<'a> {
    pub(super) block: &'a mut Block,
    pub(super) stream: &'a Arc<Stream>,
    /// Where in the block's text they begin.
    pub(super) base: usize,
    /// Where in them the first incomplete line or event begins.
    pub(super) begin: usize,
    /// Where in them the first incomplete line begins.
    pub(super) line: usize,
    pub(super) entries: usize,
    /// The event at `begin`, where events have several lines.
    pub(super) open: Open,
}

impl Lines<'_> {
    /// Makes entries of the complete lines among the `n` bytes, at most `room`. Stops at the first that is longer than
    /// `max`: where its newline stands is the result.
    fn push_all(&mut self, n: usize, room: usize, max: usize) -> Option<usize> {
        // Positions first, entries after: the text is borrowed while it is searched. On the stack, a few at a time.
        let mut ends = [0_u32; 512];
        let mut from = 0;
        loop {
            let text = &self.block.text()[self.base + from..self.base + n];
            let most = ends.len().min(room - self.entries);
            let mut count = 0;
            for (place, at) in ends[..most].iter_mut().zip(memchr::memchr_iter(b'\n', text)) {
                *place = (from + at) as u32;
                count += 1;
            }
            if count > 0 {
                self.block.begin_run(self.stream);
            }
            for end in &ends[..count] {
                let (end, len) = (*end as usize, *end as usize - self.begin);
                if len > max {
                    return Some(end);
                }
                self.block.push(Entry::at((self.base + self.begin) as u32, len as u32));
                (self.begin, self.line) = (end + 1, end + 1);
                self.entries += 1;
            }
            from = self.begin;
            if count < most || most == 0 {
                return None;
            }
        }
    }

    /// Makes a last entry of the `len` bytes behind the complete lines, and ends its text with a newline of our own, so
    /// that a block's entries stay whole lines that follow each other.
    fn push_last(&mut self, len: usize, flags: u8) {
        let at = self.base + self.begin;
        self.block.shrink(at + len);
        let ended = self.block.append(b"\n");
        debug_assert!(ended.is_some(), "there was a byte behind it, or room for one");
        self.block.begin_run(self.stream);
        self.block.push(Entry { flags, ..Entry::at(at as u32, len as u32) });
        self.entries += 1;
    }
}

pub(super) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Whether a file that begins like this is no text: a NUL among the first bytes, or the mark of a compressed file.
pub fn looks_binary(bytes: &[u8]) -> bool {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z'];
    const LZ4: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
    let marked = [GZIP, ZSTD, XZ, LZ4, b"BZh9", b"PK\x03\x04"].iter().any(|mark| bytes.starts_with(mark));
    marked || memchr::memchr(0, &bytes[..bytes.len().min(SNIFF)]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{Labels, SourceId};
    use crate::sources::multiline::pattern::Pattern;
    use crate::sources::multiline::{Rule, oracle};
    use std::io::Write;

    struct Rig {
        rules: Option<Arc<Rules>>,
        _dir: tempfile::TempDir,
        out: File,
        file: File,
        stream: Arc<Stream>,
        cursor: Cursor,
        capacity: usize,
        max: usize,
        entries: usize,
    }

    fn rig(max: usize) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (out, file) = (File::create(&path).unwrap(), File::open(&path).unwrap());
        let stream = Arc::new(Stream::new(SourceId(0), "s".into(), "file", "log", Labels::default()));
        Rig {
            rules: None,
            _dir: dir,
            out,
            file,
            stream,
            cursor: Cursor::default(),
            capacity: 4096,
            max,
            entries: 4096,
        }
    }

    impl Rig {
        fn write(&mut self, text: impl AsRef<[u8]>) {
            self.out.write_all(text.as_ref()).unwrap();
        }

        /// Everything there is to read, as entries and their flags; checks that blocks are made of whole lines.
        fn read(&mut self, whole: bool) -> Vec<(String, u8)> {
            self.read_flushing(if whole { Flush::All } else { Flush::None })
        }

        fn read_flushing(&mut self, flush: Flush) -> Vec<(String, u8)> {
            let mut got = Vec::new();
            let mut capacity = self.capacity;
            loop {
                let mut block = Block::new(capacity);
                let limits = Limits {
                    entries: self.entries,
                    line: self.max,
                    rules: self.rules.clone(),
                    format: Format::Plain,
                    scratch: SharedScratch::default(),
                };
                let streams = [Arc::clone(&self.stream), Arc::clone(&self.stream)];
                let then = loop {
                    let size = self.file.metadata().unwrap().len();
                    let done = self.cursor.fill(&self.file, size, &mut block, &streams, &limits, flush);
                    match done.unwrap().then {
                        Then::More => {}
                        then => break then,
                    }
                };
                let mut next = 0;
                for (entry, row) in block.entries().iter().enumerate() {
                    assert_eq!(row.offset as usize, next);
                    next += row.len as usize + 1;
                    assert_eq!(block.text()[next - 1], b'\n');
                    got.push((String::from_utf8(block.view(entry).text().to_vec()).unwrap(), row.flags));
                }
                assert_eq!(block.text().len(), next);
                assert!(block.runs().iter().all(|run| run.end > run.first));
                let again = Cursor::at(&self.file, self.cursor.read, Edge::Line).unwrap();
                assert_eq!(self.cursor.before.bytes(), again.before.bytes());
                assert_eq!(self.cursor.head, again.head);
                match then {
                    Then::End => return got,
                    Then::Wider(bytes) => capacity = bytes,
                    Then::Full => capacity = self.capacity,
                    other => panic!("{other:?}"),
                }
            }
        }

        fn lines(&mut self) -> Vec<String> {
            self.read(false).into_iter().map(|(line, _)| line).collect()
        }
    }

    #[test]
    fn lines_come_out_as_they_were_written_whatever_the_blocks_cut() {
        let mut rig = rig(8000);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut all = Vec::new();
        for round in 0..60 {
            rig.entries = rng.usize(1..40);
            let some: Vec<String> = (0..rng.usize(0..50))
                .map(|n| format!("{round}-{n} {}", "x".repeat(rng.usize(0..[3, 300, 7000][round % 3]))))
                .collect();
            some.iter().for_each(|line| rig.write(format!("{line}\n")));
            assert_eq!(rig.lines(), some);
            all.extend(some);
        }
        rig.cursor = Cursor::default();
        assert_eq!(rig.lines(), all);
    }

    #[test]
    fn a_line_is_whole_only_with_its_end_and_growing_byte_by_byte_it_is_not_read_over_and_over() {
        let mut rig = rig(20_000);
        rig.write("one\ntw");
        assert_eq!(rig.lines(), ["one"]);
        assert_eq!((rig.cursor.read, rig.cursor.partial), (4, 2));
        rig.write("o");
        assert!(rig.lines().is_empty());
        let long = "y".repeat(9000);
        for byte in long.as_bytes().chunks(50) {
            rig.write(byte);
            assert!(rig.lines().is_empty());
        }
        assert_eq!(rig.cursor.partial, 9003);
        rig.write("\n\r\n\nend\n");
        assert_eq!(rig.lines(), [&format!("two{long}"), "\r", "", "end"]);
    }

    #[test]
    fn an_over_long_line_is_cut_once_however_it_arrives() {
        for pieces in [vec![250], vec![50, 200], vec![100, 1, 149], vec![5000, 9000]] {
            let mut rig = rig(100);
            rig.write("before\n");
            let mut got = Vec::new();
            for piece in &pieces {
                rig.write("z".repeat(*piece));
                got.extend(rig.read(false));
            }
            rig.write("\nafter\n");
            got.extend(rig.read(false));
            let cut = "z".repeat(100);
            let want: [(String, u8); 3] = [("before".into(), 0), (cut, Entry::CUT), ("after".into(), 0)];
            assert_eq!(got, want, "{pieces:?}");
        }
        let mut rig = rig(100);
        rig.write(format!("{}\n{}\n", "a".repeat(100), "b".repeat(101)));
        let flags: Vec<_> = rig.read(false).iter().map(|(line, flags)| (line.len(), *flags)).collect();
        assert_eq!(flags, [(100, 0), (100, Entry::CUT)]);
    }

    #[test]
    fn a_piece_sent_out_for_itself_makes_no_empty_line_when_its_end_comes() {
        let mut rig = rig(1000);
        rig.write("whole\npie");
        assert_eq!(rig.read(true), [("whole".to_string(), 0), ("pie".to_string(), 0)]);
        assert_eq!((rig.cursor.edge, rig.cursor.read), (Edge::Partial, 9));
        rig.write("\nnext\n\n");
        assert_eq!(rig.lines(), ["next", ""]);
        rig.write("pie");
        assert_eq!(rig.read(true).len(), 1);
        rig.write("ce\n");
        assert_eq!(rig.lines(), ["ce"]);
    }

    /// A rig for events that begin with a capital letter.
    fn events_rig(max_line: usize, max_lines: usize, max_bytes: usize) -> Rig {
        let rule = Rule::Start(Pattern::compile("^[A-Z]").unwrap());
        let timeout = std::time::Duration::from_secs(1);
        Rig { rules: Some(Arc::new(Rules { rule, max_lines, max_bytes, timeout })), ..rig(max_line) }
    }

    #[test]
    fn an_event_is_read_whole_however_it_arrives_and_wherever_blocks_end() {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..60 {
            let (max_line, max_lines, max_bytes) =
                (random.usize(100..9000), random.usize(1..60), random.usize(60..9000));
            let mut rig = events_rig(max_line, max_lines, max_bytes);
            (rig.capacity, rig.entries) = (random.usize(70..3000), random.usize(1..20));
            let mut text = String::new();
            for line in 0..80 {
                let first = if random.u8(0..6) == 0 { 'A' } else { ' ' };
                let len = if random.u8(0..10) == 0 { random.usize(0..9500) } else { random.usize(0..80) };
                text += &format!("{first}{line}{}\n", "x".repeat(len));
            }
            let mut got = Vec::new();
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (now, later) =
                    rest.split_at(random.usize(1..=rest.len().min(if round % 2 == 0 { 40 } else { 6000 })));
                rig.write(now);
                rest = later;
                got.extend(rig.read(false));
            }
            got.extend(rig.read(true));
            let limits = oracle::Limits { line: max_line, lines: max_lines, bytes: max_bytes };
            let wanted = oracle::events(
                text.as_bytes(),
                &limits,
                |line| !matches!(line, [b'A'..=b'Z', ..]),
                |_| false,
            );
            let got: Vec<_> =
                got.into_iter().map(|(event, flags)| (event.into_bytes(), flags & Entry::CUT != 0)).collect();
            assert_eq!(got.len(), wanted.len(), "round {round}");
            assert_eq!(got, wanted, "round {round}");
        }
    }

    #[test]
    fn the_position_stands_before_an_open_event_until_it_is_whole() {
        let mut rig = events_rig(1000, 100, 1000);
        rig.write("One\n more\nTwo\n m");
        assert_eq!(rig.lines(), ["One\n more"]);
        assert_eq!((rig.cursor.read, rig.cursor.partial, rig.cursor.open.bytes()), (10, 6, 4));
        // A crash here begins again at the event, and finds it whole.
        rig.cursor = Cursor::at(&rig.file, rig.cursor.read, Edge::Line).unwrap();
        rig.write("ore\n");
        assert_eq!(rig.lines(), [""; 0]);
        assert_eq!(rig.read_flushing(Flush::Open), [("Two\n more".to_owned(), 0)]);
        assert_eq!((rig.cursor.edge, rig.cursor.partial), (Edge::Line, 0));
        rig.write(" late\nThree\n he");
        assert_eq!(rig.lines(), [" late"]);
        assert_eq!(rig.read_flushing(Flush::Open), [("Three".to_owned(), 0)]);
        assert_eq!(rig.read(true), [(" he".to_owned(), 0)]);
        assert_eq!(rig.cursor.edge, Edge::Partial);
        rig.write("re\nFour\nFi");
        assert_eq!(rig.lines(), ["re"]);
        assert_eq!(rig.read(true), [("Four".to_owned(), 0), ("Fi".to_owned(), 0)]);
    }

    #[test]
    fn a_long_event_is_not_read_again_for_every_line_it_grows_by() {
        let mut rig = events_rig(1000, 10_000, 100_000);
        rig.write(format!("One\n{}", " more\n".repeat(1000)));
        assert_eq!(rig.lines(), [""; 0]);
        let mut block = Block::new(rig.capacity);
        let (format, scratch) = (Format::Plain, SharedScratch::default());
        let limits = Limits { entries: 10, line: 1000, rules: rig.rules.clone(), format, scratch };
        let streams = [Arc::clone(&rig.stream), Arc::clone(&rig.stream)];
        for more in [" mo", "re\n more\n", "\n"] {
            rig.write(more);
            let size = rig.file.metadata().unwrap().len();
            block.spare().fill(b'#');
            rig.cursor.fill(&rig.file, size, &mut block, &streams, &limits, Flush::None).unwrap();
            let touched = block.spare().iter().filter(|byte| **byte != b'#').count();
            assert!(touched < 20, "{touched} bytes were read");
        }
        rig.write("Two\n");
        assert_eq!(rig.lines(), [format!("One\n{} more\n more\n", " more\n".repeat(1000))]);
    }

    #[test]
    fn from_the_end_means_from_the_next_whole_line() {
        for (text, want) in [("old\nol", vec!["new"]), ("old\n", vec!["d", "new"]), ("", vec!["d", "new"])] {
            let mut rig = rig(1000);
            rig.write(text);
            rig.cursor = Cursor::at_end(&rig.file, text.len() as u64).unwrap();
            rig.write("d\nnew\n");
            assert_eq!(rig.lines(), want);
        }
    }

    #[test]
    fn what_is_no_text_is_told_by_its_first_kilobyte() {
        for (bytes, binary) in [
            (&b"\x1f\x8b\x08"[..], true),
            (b"text \0 text", true),
            (b"text \xff\xfe text", false),
            (b"", false),
            (&[[b'a'; 1024].as_slice(), &[0]].concat(), false),
        ] {
            assert_eq!(looks_binary(bytes), binary);
        }
    }
}
