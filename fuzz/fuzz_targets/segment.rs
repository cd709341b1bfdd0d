//! A directory with one segment of anything: it opens, gives exactly the records a slow reader finds, counts what is missing
//! between them, and can be written to afterwards. And with anything as state and as segment: it never panics.
#![no_main]
use libfuzzer_sys::fuzz_target;
use ringmain::buffer::{Buffer, BufferSpec, NewRecord, segment, state};
use ringmain::storage_io::Disk;
use ringmain_fuzz::oracle_segment::{SALT, built, header, records};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// In memory if there is such a place.
fn dir() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let shared = PathBuf::from("/dev/shm");
        let root = if shared.is_dir() { shared } else { std::env::temp_dir() };
        root.join(format!("ringmain-fuzz-segment-{}", std::process::id()))
    })
}

fn spec() -> BufferSpec {
    BufferSpec { segment_size: 64 << 10, ..BufferSpec::new(dir().clone(), 1 << 20) }
}

/// What the engine gives: numbers, entries, payloads; and what it counts as lost.
fn given(files: &[(String, &[u8])]) -> Option<(Vec<(u64, u32, Vec<u8>)>, u64)> {
    let _ = std::fs::remove_dir_all(dir());
    std::fs::create_dir_all(dir()).expect("a directory can be made");
    for (name, bytes) in files {
        std::fs::write(dir().join(name), bytes).expect("a file can be written");
    }
    let mut opened = Buffer::open(Arc::new(Disk), spec(), 0).ok()?;
    let (mut all, mut payload) = (Vec::new(), Vec::new());
    while let Some(head) = opened.reader.next(&mut payload).expect("it can be read") {
        all.push((head.seq, head.entries, payload.clone()));
        opened.shared.complete(head.seq);
    }
    let lost = opened.shared.view().lost_entries;
    let entries: u64 = all.iter().map(|(_, entries, _)| u64::from(*entries)).sum();
    assert_eq!(opened.found.entries, entries + lost, "found is what comes and what is lost");
    if let Ok(seq) = opened.writer.append(NewRecord { payload: b"after", entries: 1, time_ms: 0 }) {
        opened.writer.sync().expect("it can be written");
        let head = opened.reader.next(&mut payload).expect("it can be read").expect("it is there");
        assert_eq!((head.seq, payload.as_slice()), (seq, &b"after"[..]));
    }
    opened.shared.persist().expect("it can be written");
    Some((all, lost))
}

fuzz_target!(|bytes: &[u8]| {
    let body = built(bytes);
    let file = [&header()[..], &body].concat();
    let (expected, lost) = records(&file, SALT);
    let name = segment::name(1);
    assert_eq!(given(&[(name.clone(), &file)]), Some((expected, lost)));

    // Anything, with right checksums where there is room for some.
    let mut any = bytes.to_vec();
    if let Some(head) = any.first_chunk_mut() {
        segment::seal(head);
    }
    let mut slots = bytes.to_vec();
    for at in [0, state::SLOT] {
        if let Some(slot) = slots.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            state::seal(slot);
        }
    }
    given(&[(name, &any), (segment::name(2), &file), (state::NAME.to_owned(), &slots)]);
});
