//! The engine on a simulated disk: against a model, under faults, and with bytes broken on purpose.

mod damage;
mod model;
mod plain;

use super::*;
use crate::storage_io::sim::Sim;
use std::path::Path;

const DIR: &str = "/data/buffer";

/// Tiny segments: what hides behind large ones shows.
fn spec() -> BufferSpec {
    BufferSpec {
        dir: DIR.into(),
        max_size: 8 * 1024,
        segment_size: 1024,
        fsync: Fsync::Group,
        content: Content::Entries,
        quarantine_max: 1 << 20,
    }
}

fn open(sim: &Sim, spec: &BufferSpec) -> Opened {
    Buffer::open(Arc::new(sim.clone()), spec.clone(), 5_000).unwrap()
}

/// The payload that stands for `id`: its length and its bytes follow from it.
fn payload(id: u32) -> Vec<u8> {
    let len = (id as usize * 37) % 150;
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|at| (at as u32 ^ id) as u8));
    bytes
}

/// How many entries stand for `id`.
fn entries(id: u32) -> u32 {
    id % 5 + 1
}

fn append(opened: &mut Opened, id: u32) -> Result<Seq, AppendError> {
    let payload = payload(id);
    opened.writer.append(NewRecord {
        payload: &payload,
        entries: entries(id),
        time_ms: 1_000 + u64::from(id),
    })
}

fn append_all(opened: &mut Opened, ids: std::ops::Range<u32>) {
    for id in ids {
        append(opened, id).unwrap();
    }
}

/// The id of a record, which must be whole.
fn id_of(head: &RecordHead, bytes: &[u8]) -> u32 {
    let id = u32::from_le_bytes(*bytes.first_chunk().unwrap());
    assert!(bytes == payload(id) && head.entries == entries(id), "record {id} is not as it was written");
    assert_eq!((head.time_ms, head.len as usize), (1_000 + u64::from(id), bytes.len()));
    id
}

/// Everything there is to read: ids and numbers.
fn drain(opened: &mut Opened) -> Vec<(u32, Seq)> {
    let (mut all, mut bytes) = (Vec::new(), Vec::new());
    while let Some(head) = opened.reader.next(&mut bytes).unwrap() {
        all.push((id_of(&head, &bytes), head.seq));
    }
    all
}

fn ids(records: &[(u32, Seq)]) -> Vec<u32> {
    records.iter().map(|(id, _)| *id).collect()
}

/// The segments on disk, oldest first.
fn segments(sim: &Sim) -> Vec<PathBuf> {
    let files = sim.files(Path::new(DIR));
    files.into_iter().filter(|path| path.to_string_lossy().contains("seg-")).collect()
}
