//! Counts what the Loki sink allocates while it sorts and writes one push after another.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![allow(unsafe_code, reason = "a global allocator cannot be written without; it only counts and passes on")]

use crossbeam_utils::CachePadded;
use ringmain::ack::{Ack, Return, Status};
use ringmain::batch::{Batch, Part};
use ringmain::block::Block;
use ringmain::entry::{Entry, Field, Kind};
use ringmain::labels::{Labels, SourceId, Stream};
use ringmain::ledger::SinkLedger;
use ringmain::pool::Pool;
use ringmain::sinks::loki::{Sorter, Tables, Writer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

struct Counting;
static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: as the caller promised to us.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised to us.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: as the caller promised to us.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nobody;

impl Return for Nobody {
    fn settled(&self, _: u64, _: Status) {}
}

const BLOCKS: usize = 10;
const ENTRIES: usize = 400;

/// Entries of two streams, each with a level, a trace with an escape, and text.
fn batch(pool: &Pool<Block>) -> Batch {
    let mut batch = Batch::new(Arc::new(CachePadded::new(SinkLedger::default())));
    for number in 0..BLOCKS {
        let labels = Labels::new([("app", "shop"), ("env", "prod")]);
        let origin = format!("/var/log/{}.log", number % 2);
        let stream = Arc::new(Stream::new(SourceId(0), "in".into(), "file", origin, labels));
        let mut block = pool.get(|| Block::new(256 << 10));
        block.begin_run(&stream);
        for n in 0..ENTRIES {
            let text = format!("line {n} of {number} \u{e9} and some more");
            let at = block.append(text.as_bytes()).expect("room");
            block.push(Entry::at(at, text.len() as u32));
        }
        block.stamp(1_795_428_000_000_000_000);
        block.reset_side();
        for n in 0..ENTRIES {
            for (key, value, kind) in
                [("level", ["info", "warn"][n % 2], Kind::Plain), ("trace", "a\\tb", Kind::Escaped)]
            {
                let key = block.store(key.as_bytes()).expect("room");
                let value = block.store(value.as_bytes()).expect("room");
                block.set_field(n, Field::new(key, value, kind)).expect("room");
            }
        }
        block.open_selections(0, 1);
        let (entries, bytes) = (ENTRIES as u32, block.text().len() as u64);
        let part = Part { block: block.share(), range: 0..entries, row: 0, entries, bytes, pin: 0 };
        let whole = Arc::new(Ack::new(0, Arc::new(Nobody))).whole();
        batch.push(part, whole.more(entries));
        whole.settle(Status::Delivered);
    }
    batch
}

#[test]
fn a_push_is_written_without_an_allocation_per_entry() {
    let pool = Pool::default();
    let batch = batch(&pool);
    for encoding in ["protobuf", "json"] {
        for format in ["raw", "json", "logfmt"] {
            let config = format!(
                r#"{{ "url": "http://loki", "encoding": "{encoding}", "format": "{format}", "structured_metadata": "all",
                     "labels": {{ "app": "{{labels.app}}", "level": "{{fields.level}}" }} }}"#
            );
            let config = serde_json::from_str(&config).expect("a config");
            let (sorter, mut tables) = (Sorter::new(&config).expect("a sorter"), Tables::default());
            let mut writer = Writer::new(&config).expect("a writer");
            let mut push = || {
                let before = CALLS.load(Relaxed);
                let groups = sorter.sort(&batch, &mut tables, Instant::now());
                for spans in groups.requests() {
                    writer.write(&batch, groups, spans).expect("written");
                }
                writer.shrink();
                CALLS.load(Relaxed) - before
            };
            // Warm: tables and buffers have grown.
            push();
            let calls = push();
            println!("{encoding}, {format}: {calls} allocations for {} entries", BLOCKS * ENTRIES);
            // A compressor's tables, the sorting of spans; nothing that grows with the entries.
            assert!(calls < 50, "{encoding}, {format}: {calls} allocations");
        }
    }
    batch.settle(0);
}
