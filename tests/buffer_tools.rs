//! `ringmain buffer` on the buffers of an instance that does not run.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod support;

use ringmain::block::Block;
use ringmain::buffer::{Buffer, BufferSpec, NewRecord};
use ringmain::entry::Entry;
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::payload::Encoder;
use ringmain::storage_io::{Disk, StorageIo};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use support::binary;

/// A payload of the entries `first` to `first + 9`.
fn payload(first: u32) -> Vec<u8> {
    let labels = Labels::new([("env", "prod")]);
    let stream = Arc::new(Stream::new(SourceId(0), "app".into(), "file", "/var/log/app.log", labels));
    let (mut block, mut encoder) = (Block::new(4096), Encoder::new(1 << 20));
    block.begin_run(&stream);
    for number in first..first + 10 {
        let line = format!("entry {number}");
        let at = block.append(line.as_bytes()).unwrap();
        block.append(b"\n").unwrap();
        block.push(Entry::at(at, line.len() as u32));
    }
    block.stamp(1_700_000_000_000_000_000);
    for index in 0..10 {
        let _ = encoder.add_entry(block.view(index));
    }
    assert_eq!(encoder.entries(), 10);
    encoder.payload().to_vec()
}

/// A data directory with a buffer `archive` of 300 entries in some segments, the first 10 of which are done.
fn data_dir() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("buffer/archive");
    let spec = BufferSpec { segment_size: 4096, ..BufferSpec::new(dir.clone(), 1 << 20) };
    let mut opened = Buffer::open(Arc::new(Disk), spec, 0).unwrap();
    for first in (0..300).step_by(10) {
        let payload = payload(first);
        let record = NewRecord { payload: &payload, entries: 10, time_ms: 1_700_000_000_000 };
        opened.writer.append(record).unwrap();
        opened.writer.sync().unwrap();
    }
    let head = opened.reader.next(&mut Vec::new()).unwrap().unwrap();
    opened.shared.complete(head.seq);
    opened.shared.persist().unwrap();
    (root, dir)
}

fn run(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("buffer").args(args).arg("--data-dir").arg(root);
    command.output().expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The messages of an export.
fn messages(output: &Output) -> Vec<String> {
    let line =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
    out(output).lines().map(line).collect()
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("entry {number}")).collect()
}

#[test]
fn a_sound_buffer_is_shown_checked_and_read_out() {
    let (root, dir) = data_dir();
    let shown = run(root.path(), &["inspect"]);
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    assert!(out(&shown).starts_with("archive: 290 entries not done (numbers 10 to 300)"), "{}", out(&shown));
    let json: Value = serde_json::from_slice(&run(root.path(), &["inspect", "--json"]).stdout).unwrap();
    let archive = &json["buffers"]["archive"];
    assert_eq!((&archive["entries"], &archive["content"]), (&290.into(), &"entries".into()));
    let segments = archive["segments"].as_array().unwrap();
    assert!(segments.len() > 3);
    assert_eq!(segments.iter().map(|segment| segment["entries"].as_u64().unwrap()).sum::<u64>(), 300);
    for segment in segments {
        let file = dir.join(segment["file"].as_str().unwrap());
        assert_eq!(segment["bytes"], file.metadata().unwrap().len());
        assert!(out(&shown).contains(segment["file"].as_str().unwrap()));
    }
    let verified = run(root.path(), &["verify"]);
    assert_eq!(verified.status.code(), Some(0));
    assert_eq!(out(&verified), "archive: sound: 30 records with 300 entries are valid\n");
    let exported = run(root.path(), &["export", "archive"]);
    assert_eq!((exported.status.code(), messages(&exported)), (Some(0), numbered(10..300)));
    let first: Value = serde_json::from_str(out(&exported).lines().next().unwrap()).unwrap();
    assert_eq!((&first["source"], &first["labels"]["env"]), (&"app".into(), &"prod".into()));
    assert_eq!(messages(&run(root.path(), &["export", "--all"])), numbered(0..300));
    let repaired = run(root.path(), &["repair"]);
    assert_eq!(out(&repaired), "archive: sound, nothing was changed\n");
}

#[test]
fn damage_is_named_and_repaired_and_the_next_start_is_clean() {
    let (root, dir) = data_dir();
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.to_string_lossy().contains("seg-"));
    segments.sort();
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&segments[1], bytes).unwrap();
    let verified = run(root.path(), &["verify", "archive"]);
    let said = out(&verified);
    assert_eq!(verified.status.code(), Some(1), "{said}");
    for words in ["archive: damaged: 29 records", "are damaged", "missing: 10 entries from", "repair"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(said.contains(segments[1].to_str().unwrap()), "{said}");
    let exported = run(root.path(), &["export"]);
    assert_eq!((exported.status.code(), messages(&exported).len()), (Some(1), 280));
    assert!(err(&exported).contains("10 entries are lost"), "{}", err(&exported));
    let repaired = run(root.path(), &["repair"]);
    assert_eq!(repaired.status.code(), Some(0), "{}", err(&repaired));
    assert!(
        out(&repaired).contains("29 records with 290 entries kept, 10 entries lost"),
        "{}",
        out(&repaired)
    );
    assert_eq!(std::fs::read_dir(dir.join("quarantine")).unwrap().count(), 1);
    assert_eq!(run(root.path(), &["verify"]).status.code(), Some(0));
    let mut opened = Buffer::open(Arc::new(Disk), BufferSpec::new(dir, 64 << 20), 0).unwrap();
    assert!(opened.found.notes.is_empty(), "{:?}", opened.found.notes);
    while let Some(head) = opened.reader.next(&mut Vec::new()).unwrap() {
        opened.shared.complete(head.seq);
    }
    assert_eq!((opened.found.entries, opened.shared.view().lost_entries), (280, 0));
}

#[test]
fn a_running_instance_is_not_interfered_with_and_wrong_names_are_told() {
    let (root, _) = data_dir();
    let held = Disk.lock(&root.path().join("lock")).unwrap();
    for command in ["inspect", "verify", "export", "repair"] {
        let refused = run(root.path(), &[command]);
        assert_eq!(refused.status.code(), Some(3));
        assert!(err(&refused).contains("is running with it"), "{}", err(&refused));
    }
    drop(held);
    let unknown = run(root.path(), &["verify", "arhcive"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("there are: archive"), "{}", err(&unknown));
    let nowhere = run(&root.path().join("nowhere"), &["inspect"]);
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(err(&nowhere).contains("no such directory"), "{}", err(&nowhere));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(out(&run(empty.path(), &["inspect"])), "no buffers\n");
}
