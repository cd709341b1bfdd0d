//! Ringmain as a library: submitted entries come out at built-in and custom sinks, in order, each once, and the numbers
//! say so.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

use ringmain::admin::Status;
use ringmain::batch::Batch;
use ringmain::block::Block;
use ringmain::delivery::dlq::filter::Filter;
use ringmain::delivery::dlq::read::look;
use ringmain::delivery::dlq::store::dir_of;
use ringmain::dispatcher::{ConfigBuilder, Dispatcher};
use ringmain::labels::Labels;
use ringmain::sinks::config::{FileSinkConfig, Format, SinkKind};
use ringmain::sinks::{SendError, Sink};
use ringmain::sources::submit::{LogEntry, Refusal};
use ringmain::steps::{Step, StepError, Verdict};
use ringmain::storage_io::Disk;
use ringmain::units::Auto;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Keeps what it is given, behind a door that can be shut.
#[derive(Default)]
struct Memory {
    texts: Mutex<Vec<String>>,
    shut: Mutex<bool>,
    opened: Condvar,
    failures: AtomicUsize,
    refuse: Option<&'static str>,
    started: AtomicBool,
    stopped: AtomicBool,
}

impl Sink for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn start(&self) -> io::Result<()> {
        self.started.store(true, SeqCst);
        Ok(())
    }

    fn send(&self, batch: &Batch) -> Result<(), SendError> {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.opened.wait(shut).unwrap();
        }
        if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(SendError::Retry { why: "not yet".into(), after: None });
        }
        let mut refused = Vec::new();
        for (place, entry) in batch.iter().enumerate() {
            let text = String::from_utf8_lossy(entry.text()).into_owned();
            match self.refuse {
                Some(word) if text.contains(word) => refused.push((place, "not that".into())),
                _ => self.texts.lock().unwrap().push(text),
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(SendError::Partial(refused)) }
    }

    fn is_healthy(&self) -> Result<(), String> {
        match *self.shut.lock().unwrap() {
            true => Err("the door is shut".into()),
            false => Ok(()),
        }
    }

    fn stop(&self) {
        self.stopped.store(true, SeqCst);
    }
}

impl Memory {
    fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

fn builder(dir: &Path) -> ConfigBuilder {
    ConfigBuilder::new()
        .data_dir(dir.join("state"))
        .change(|general| general.dispatcher.retry_backoff = Duration::from_millis(1))
}

#[test]
fn what_many_threads_submit_comes_out_once_and_in_the_order_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut dispatcher = Dispatcher::new(builder(dir.path()).queue_size(1000).workers(2).build().unwrap());
    let memory = Arc::new(Memory { failures: AtomicUsize::new(3), ..Memory::default() });
    let file = FileSinkConfig {
        format: Format::Json,
        ..FileSinkConfig::at(&format!("{}/all.log", dir.path().display()))
    };
    dispatcher.add_sink("memory", Arc::clone(&memory)).add_sink("file", SinkKind::File(file));
    dispatcher.start().unwrap();
    assert!(memory.started.load(SeqCst));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let submitter = dispatcher.submitter().unwrap();
            scope.spawn(move || {
                let labels = Labels::new([("thread", thread.to_string())]);
                for number in 0..5000 {
                    let message = format!("{thread} {number}");
                    submitter
                        .submit(LogEntry { message, labels: labels.clone(), ..LogEntry::default() })
                        .unwrap();
                }
            });
        }
    });
    let ended = dispatcher.stop(LONG).unwrap();
    assert_eq!((ended.received, ended.delivered, ended.dropped, ended.undelivered), (20_000, 40_000, 0, 0));
    assert!(memory.stopped.load(SeqCst));
    let texts = memory.texts.lock().unwrap();
    for thread in 0..4 {
        let of_it = texts.iter().filter_map(|text| text.strip_prefix(&format!("{thread} ")));
        let numbers: Vec<usize> = of_it.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..5000).collect::<Vec<_>>(), "thread {thread}");
    }
    let written = fs::read_to_string(dir.path().join("all.log")).unwrap();
    assert_eq!(written.lines().count(), 20_000);
    let first: serde_json::Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    assert_eq!(first["labels"]["thread"], first["message"].as_str().unwrap()[..1]);
}

#[test]
fn a_submitted_message_of_several_lines_is_one_line_of_a_raw_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut dispatcher = Dispatcher::new(builder(dir.path()).build().unwrap());
    let file = FileSinkConfig::at(&format!("{}/all.log", dir.path().display()));
    dispatcher.add_sink("file", SinkKind::File(FileSinkConfig { format: Format::Raw, ..file }));
    dispatcher.start().unwrap();
    let submitter = dispatcher.submitter().unwrap();
    for message in ["one", "two\nforged line\n", "\n", "three"] {
        let entry = LogEntry { timestamp: Some(std::time::SystemTime::now()), ..LogEntry::new(message) };
        submitter.submit(entry).unwrap();
        submitter.submit(LogEntry::new(message)).unwrap();
    }
    dispatcher.stop(LONG).unwrap();
    let written = fs::read_to_string(dir.path().join("all.log")).unwrap();
    let twice = |line: &str| format!("{line}\n{line}\n");
    assert_eq!(written, ["one", r"two\nforged line\n", r"\n", "three"].map(twice).concat());
}

#[test]
fn a_full_dispatcher_gives_entries_back_or_waits_and_its_numbers_and_health_say_so() {
    let dir = tempfile::tempdir().unwrap();
    // The lane takes far more than the test submits: the ring is kept full by the workers' window.
    let config = builder(dir.path()).queue_size(64).workers(1).change(|general| {
        general.quotas.max_memory = Auto::Set(128 << 20);
    });
    let mut dispatcher = Dispatcher::new(config.build().unwrap());
    let memory = Arc::new(Memory { shut: Mutex::new(true), ..Memory::default() });
    dispatcher.add_sink("memory", Arc::clone(&memory));
    dispatcher.start().unwrap();
    let text = "x".repeat(8 << 10);
    let mut taken = 0;
    let refused = loop {
        match dispatcher.try_submit(LogEntry::new(text.clone())) {
            Ok(()) => taken += 1,
            Err(refused) if refused.why == Refusal::Full && dispatcher.stats().in_flight > 1000 => {
                break refused;
            }
            Err(_) => std::thread::yield_now(),
        }
        assert!(taken < 100_000, "it never was full");
    };
    assert_eq!(refused.entry.message.len(), text.len());
    let stats = dispatcher.stats();
    assert_eq!((stats.delivered, stats.dropped), (0, 0));
    assert!(stats.in_flight > 0 && stats.received <= taken && (0.0..=1.0).contains(&stats.queue_utilization));
    let health = dispatcher.health();
    let sink = health.components.iter().find(|component| component.name == "sink memory").unwrap();
    assert_eq!((sink.status, sink.reason.as_deref()), (Status::Degraded, Some("the door is shut")));
    let submitter = dispatcher.submitter().unwrap();
    let waiting = std::thread::spawn(move || submitter.submit(LogEntry::new("waited")));
    memory.open();
    waiting.join().unwrap().unwrap();
    let ended = dispatcher.stop(LONG).unwrap();
    assert_eq!((ended.received, ended.delivered), (taken + 1, taken + 1));
    assert_eq!(memory.texts.lock().unwrap().last().unwrap(), "waited");
}

#[test]
fn what_a_custom_sink_refuses_is_counted_and_a_custom_step_takes_entries_out() {
    struct NoPings;
    impl Step for NoPings {
        fn name(&self) -> &'static str {
            "no_pings"
        }
        fn apply(&self, block: &mut Block, index: usize) -> Result<Verdict, StepError> {
            let ping = block.view(index).text() == b"ping";
            Ok(if ping { Verdict::Discard } else { Verdict::Keep })
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut dispatcher = Dispatcher::new(builder(dir.path()).build().unwrap());
    let memory = Arc::new(Memory { refuse: Some("bad"), ..Memory::default() });
    dispatcher.add_sink("memory", Arc::clone(&memory)).add_step(Arc::new(NoPings));
    dispatcher.start().unwrap();
    dispatcher.submit_batch(["1", "ping", "bad", "2", "ping"].map(LogEntry::new)).unwrap();
    let ended = dispatcher.stop(LONG).unwrap();
    assert_eq!((ended.received, ended.delivered, ended.dropped, ended.undelivered), (5, 2, 0, 0));
    let mut letters = Vec::new();
    let seen = look(&Disk, &dir_of(&dir.path().join("state")), &Filter::default(), &mut |_, letter| {
        letters.push((letter.why, letter.entry.received));
        Ok(true)
    });
    assert_eq!(seen.unwrap().shown, 1);
    assert_eq!(letters, [("not that".to_string(), b"bad".to_vec())]);
    assert_eq!(*memory.texts.lock().unwrap(), ["1", "2"]);
    let refused = dispatcher.submit(LogEntry::new("late")).unwrap_err();
    assert_eq!(refused.why, Refusal::Stopping);
}

#[test]
fn a_sink_that_cannot_start_keeps_the_dispatcher_from_starting() {
    struct Broken;
    impl Sink for Broken {
        fn kind(&self) -> &'static str {
            "broken"
        }
        fn start(&self) -> io::Result<()> {
            Err(io::Error::other("no licence"))
        }
        fn send(&self, _: &Batch) -> Result<(), SendError> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut dispatcher = Dispatcher::new(builder(dir.path()).build().unwrap());
    dispatcher.add_sink("mine", Arc::new(Broken));
    assert!(dispatcher.start().unwrap_err().to_string().contains("sink mine: no licence"));
    dispatcher.add_sink("mine", Arc::new(Memory::default()));
    dispatcher.start().unwrap();
}

/// They are built by a plain `cargo test`; where they are not, there is nothing to be run.
#[test]
fn the_examples_run_and_say_what_they_are_to_show() {
    let beside = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples");
    for (name, says) in [
        ("embed", "1001 received, 1001 delivered, 0 not"),
        ("custom_sink", "demo: goodbye"),
        ("custom_step", "\"fields\":{\"took_ms\":2100}"),
        ("custom_step", "slow: 4 entries, 1 taken out, errors: 1, `took` is no number of milliseconds"),
        ("metrics", "\ndispatcher_entries_received_total "),
        ("metrics", "\nhealth: Ok\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let Ok(output) = Command::new(beside.join(name)).current_dir(dir.path()).output() else { continue };
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.contains(says), "{name}: {says} in\n{out}\n{output:?}");
    }
}
