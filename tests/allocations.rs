//! Counts what the whole engine allocates while blocks flow from a file to a blackhole.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![allow(unsafe_code, reason = "a global allocator cannot be written without; it only counts and passes on")]

use ringmain::config::Config;
use ringmain::engine::Engine;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

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
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: as the caller promised to us.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: as the caller promised to us.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LINE: usize = 250;
const LINES: u64 = 200_000;

/// Waits until `lines` are delivered; the engine's threads do the work meanwhile.
fn wait_delivered(engine: &Engine, lines: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while engine.ledger().sinks[0].row.delivered.get() < lines {
        assert!(Instant::now() < deadline, "delivered {}", engine.ledger().sinks[0].row.delivered.get());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn file_to_blackhole_allocates_less_than_once_per_block() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.log");
    let text = format!("{}\n", "x".repeat(LINE - 1)).repeat(LINES as usize);
    fs::write(&path, &text).expect("written");
    let config = format!(
        "data_dir: {dir}/state\nadmin: {{ listen: off }}\n\
         sources: {{ a: {{ type: file, include: [\"{dir}/*.log\"] }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n",
        dir = dir.path().display()
    );
    let config = Config::parse("test.yaml", &config, &|_| None).unwrap_or_else(|report| panic!("{report}"));
    let engine = Engine::start(config).unwrap_or_else(|error| panic!("{error}"));
    // Warm: pools are filled, tables have grown.
    wait_delivered(&engine, LINES);
    let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
    let before = CALLS.load(Relaxed);
    file.write_all(text.as_bytes()).expect("appended");
    wait_delivered(&engine, 2 * LINES);
    let calls = CALLS.load(Relaxed) - before;
    // As many as 64 KiB blocks could hold the text in; there are more blocks than that, never fewer.
    let blocks = text.len() as u64 / (64 << 10);
    println!("{calls} allocations for {blocks} blocks, {LINES} entries");
    assert!(calls < blocks, "{calls} allocations for {blocks} blocks");
    let ended = engine.stop(Instant::now() + Duration::from_secs(30));
    assert_eq!((ended.delivered, ended.undelivered, ended.all_ended), (2 * LINES, 0, true));
}
