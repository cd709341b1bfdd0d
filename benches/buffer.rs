//! What does a buffer on disk cost beside a plain file?
//!
//! `append` writes groups of 1 MiB and syncs each, as the buffer does and as a bare loop of `append` and `fdatasync` does;
//! `read` reads 256 MiB back through the engine, checksums and all, and through a plain read. The files are in the target
//! directory, so that it is a disk that is measured. Both ways take turns in one process: only the ratio says something.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![allow(missing_docs)] // criterion's macros write public items without any

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmain::buffer::{Buffer, BufferSpec, NewRecord, Opened};
use ringmain::storage_io::Disk;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

const GROUP: usize = 1 << 20;
const BACKLOG: usize = 256;

fn place(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-buffer").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn open(dir: PathBuf) -> Opened {
    Buffer::open(Arc::new(Disk), BufferSpec::new(dir, 2 << 30), 0).unwrap()
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31) >> 3) as u8).collect()
}

fn append(opened: &mut Opened, payload: &[u8]) {
    opened.writer.append(NewRecord { payload, entries: 4000, time_ms: 1 }).unwrap();
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("buffer/append_1mib");
    group.throughput(Throughput::Bytes(GROUP as u64)).sample_size(20);
    for records in [1, 16] {
        let mut opened = open(place("append"));
        let (part, mut out) = (payload(GROUP / records), Vec::new());
        group.bench_function(format!("engine_{records}_records"), |bencher| {
            bencher.iter(|| {
                (0..records).for_each(|_| append(&mut opened, &part));
                opened.writer.sync().unwrap();
                // It must not become full.
                while let Some(head) = opened.reader.next(&mut out).unwrap() {
                    opened.shared.complete(head.seq);
                }
                if opened.shared.view().segments > 4 {
                    opened.shared.persist().unwrap();
                }
            });
        });
    }
    let (bytes, dir) = (payload(GROUP), place("raw"));
    let mut file = File::create(dir.join("raw")).unwrap();
    let mut written = 0;
    group.bench_function("append_and_fdatasync", |bencher| {
        bencher.iter(|| {
            // As large as a segment, or the file system would not do the same work.
            if written == 16 {
                file = File::create(dir.join("raw")).unwrap();
                written = 0;
            }
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            written += 1;
        });
    });
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("buffer/read_256mib");
    group.throughput(Throughput::Bytes((BACKLOG * GROUP) as u64)).sample_size(10);
    let dir = place("read");
    let mut opened = open(dir.clone());
    let bytes = payload(GROUP);
    for _ in 0..BACKLOG {
        append(&mut opened, &bytes);
        opened.writer.sync().unwrap();
    }
    drop(opened);
    group.bench_function("engine", |bencher| {
        bencher.iter(|| {
            let (mut opened, mut out, mut sum) = (open(dir.clone()), Vec::new(), 0);
            while let Some(head) = opened.reader.next(&mut out).unwrap() {
                sum += black_box(&out).len();
                black_box(head);
            }
            assert_eq!(sum, BACKLOG * GROUP);
        });
    });
    group.bench_function("plain_read", |bencher| {
        bencher.iter(|| {
            let (mut out, mut sum) = (vec![0; GROUP], 0);
            for path in std::fs::read_dir(&dir).unwrap() {
                let Ok(mut file) = File::open(path.unwrap().path()) else { continue };
                while let Ok(len @ 1..) = file.read(&mut out) {
                    sum += black_box(&out[..len]).len();
                }
            }
            assert!(sum >= BACKLOG * GROUP);
        });
    });
    group.finish();
    let _ = std::fs::remove_dir_all(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-buffer"));
}

criterion_group!(benches, appends, reads);
criterion_main!(benches);
