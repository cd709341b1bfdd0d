//! What a file of containers' messages says does not depend on how it grows, how large blocks are, or how often reading
//! begins anew from a position: each stream's lines are those of the whole file read at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain::block::Block;
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::sources::file::Format;
use ringmain::sources::file::cursor::{Cursor, Flush, Limits, Then};
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::sync::Arc;

/// More than any input is long: where a line is cut does depend on how it is read.
const LINE: usize = 16 << 10;

/// A line of one of the two streams: its time, if it has one of its own, and its text.
type Line = (Option<i64>, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    // What the lines are; how large a block is; lengths of the pieces in which the file grows; the file.
    let Some((&[format, room, ref pieces @ ..], bytes)) = data.split_first_chunk::<6>() else { return };
    // What makes a file binary does so if it is there when reading begins.
    const MARKS: [u8; 6] = [0x04, 0x1f, 0x28, 0xfd, b'B', b'P'];
    if bytes.len() >= LINE || bytes.contains(&0) || bytes.first().is_some_and(|first| MARKS.contains(first)) {
        return;
    }
    let format = [Format::DockerJson, Format::Cri, Format::Auto][usize::from(format) % 3];
    let whole = read(bytes, format, 4 * LINE, &mut [bytes.len().max(1)].into_iter().cycle());
    let mut pieces = pieces.iter().map(|piece| usize::from(*piece).max(1)).cycle();
    let grown = read(bytes, format, 2 * LINE + 64 * usize::from(room), &mut pieces);
    assert_eq!(whole, grown);
});

fn read(
    bytes: &[u8],
    format: Format,
    capacity: usize,
    pieces: &mut dyn Iterator<Item = usize>,
) -> [Vec<Line>; 2] {
    let mut file = file();
    file.set_len(0).expect("emptied");
    file.rewind().expect("at its start");
    let stream = |name: &str| {
        Arc::new(Stream::new(SourceId(0), "s".into(), "file", name, Labels::new([("stream", name)])))
    };
    let streams = [stream("stdout"), stream("stderr")];
    let limits = Limits { entries: 64, line: LINE, rules: None, format, scratch: Default::default() };
    let (mut said, mut cursor, mut rest) = ([Vec::new(), Vec::new()], Cursor::default(), bytes);
    while let Some(piece) = pieces.next().filter(|_| !rest.is_empty()) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        file.write_all(now).expect("written");
        rest = later;
        take(&file, &mut cursor, &streams, &limits, capacity, Flush::None, &mut said);
    }
    take(&file, &mut cursor, &streams, &limits, capacity, Flush::All, &mut said);
    said
}

/// Takes all there is to read; after each block it begins anew from its position, as after a crash.
fn take(
    file: &File,
    cursor: &mut Cursor,
    streams: &[Arc<Stream>; 2],
    limits: &Limits,
    capacity: usize,
    flush: Flush,
    said: &mut [Vec<Line>; 2],
) {
    let (mut room, mut idle) = (capacity, 0);
    loop {
        let mut block = Block::new(room);
        let then = loop {
            let (size, stood) = (file.metadata().expect("its size").len(), cursor.read);
            let done = cursor.fill(file, size, &mut block, streams, limits, flush).expect("it can be read");
            idle = if cursor.read == stood { idle + 1 } else { 0 };
            assert!(idle < 20, "it goes round and round at {stood}");
            if done.then != Then::More {
                break done.then;
            }
        };
        for (at, row) in block.entries().iter().enumerate() {
            let view = block.view(at);
            let time = (row.flags & Entry::OWN_TIME != 0).then_some(row.time);
            said[usize::from(&*view.stream().origin == "stderr")].push((time, view.text().to_vec()));
        }
        match then {
            Then::End => return,
            Then::Wider(bytes) => room = bytes,
            Then::Full => room = capacity,
            other => panic!("{other:?}"),
        }
        *cursor = Cursor::at(file, cursor.read, cursor.edge).expect("a position");
    }
}

/// A file without a name, the same for every input.
fn file() -> File {
    thread_local! {
        static FILE: RefCell<Option<File>> = const { RefCell::new(None) };
    }
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| {
            let path = std::env::temp_dir().join(format!("ringmain-fuzz-messages-{}", std::process::id()));
            let file =
                OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a file");
            std::fs::remove_file(path).expect("its name is gone");
            file
        });
        file.try_clone().expect("another handle")
    })
}
