//! What was delivered just before a kill does not come again; after a power cut it does.

use super::*;
use crate::storage_io::Disk;

const FILE: &str = "state.fast";

fn spec_in(dir: &Path) -> BufferSpec {
    BufferSpec { dir: dir.into(), ..spec() }
}

fn open_in(dir: &Path) -> Opened {
    Buffer::open(Arc::new(Disk), spec_in(dir), 5_000).unwrap()
}

/// Ten records, of which those at `done` are noted as done, when the process dies.
fn killed(dir: &Path, done: &[usize]) -> Vec<u32> {
    let mut opened = open_in(dir);
    append_all(&mut opened, 0..10);
    opened.writer.sync().unwrap();
    let records = drain(&mut opened);
    let mut noted = Vec::new();
    for place in done {
        noted.push(records[*place].1);
        opened.shared.note(&mut noted);
    }
    assert_eq!(noted.len(), done.len(), "they are handed out still");
    ids(&records)
}

#[test]
fn what_was_noted_does_not_come_again_after_a_kill() {
    for done in [&[0, 1, 2, 3][..], &[3, 1, 0, 2], &[0, 1, 5, 6], &[9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
        let dir = tempfile::tempdir().unwrap();
        let all = killed(dir.path(), done);
        let expected: Vec<u32> =
            (0..10).filter(|place| !done.contains(place)).map(|place| all[place]).collect();
        let mut opened = open_in(dir.path());
        let left: u32 = expected.iter().map(|id| entries(*id)).sum();
        assert_eq!(opened.found.entries, u64::from(left), "{done:?}");
        assert_eq!(ids(&drain(&mut opened)), expected, "{done:?}");
    }
}

#[test]
fn after_a_power_cut_a_torn_write_or_in_another_buffer_it_means_nothing() {
    for at in [520, 40, 30, 600] {
        let dir = tempfile::tempdir().unwrap();
        let all = killed(dir.path(), &[0, 1, 2]);
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        match bytes.get_mut(at) {
            // The boot id, and sums that are right.
            Some(byte) => *byte ^= 1,
            None => bytes.truncate(100),
        }
        if at == 520 {
            let end = bytes.len() - 4;
            let crc = crc32c::crc32c(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&crc);
        }
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(ids(&drain(&mut open_in(dir.path()))), all, "byte {at}");
    }
}

#[test]
fn an_older_note_takes_nothing_back_that_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open_in(dir.path());
    append_all(&mut opened, 0..10);
    opened.writer.sync().unwrap();
    let records = drain(&mut opened);
    let mut noted = vec![records[0].1];
    opened.shared.note(&mut noted);
    records[..5].iter().for_each(|(_, seq)| opened.shared.complete(*seq));
    opened.shared.persist().unwrap();
    drop(opened);
    let mut opened = open_in(dir.path());
    assert_eq!(ids(&drain(&mut opened)), ids(&records[5..]));
    // What is completed leaves the list of what is noted.
    opened.shared.note(&mut noted);
    assert!(noted.is_empty());
}
