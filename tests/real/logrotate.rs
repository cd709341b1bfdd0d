//! logrotate turns a file that is written to and read: no line is lost, none comes twice.

use super::part::finish;
use super::support::{Instance, Recount, assert_ledger, line, number, row};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
sources: { logs: { type: file, include: ["logs/*.log"], read_from: beginning } }
sinks: { all: { type: file, path: out/all.log } }
"#;
const ROTATIONS: u64 = 20;

/// Appends numbered lines, as a logger that looks now and then whether its file is still the one of that name.
struct Writer {
    path: PathBuf,
    file: File,
    next: u64,
}

impl Writer {
    fn new(dir: &Path) -> Self {
        fs::create_dir(dir.join("logs")).expect("a directory");
        let path = dir.join("logs/app.log");
        let file = Self::open(&path);
        Writer { path, file, next: 0 }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().create(true).append(true).open(path).expect("a log file")
    }

    fn write(&mut self, lines: u64) {
        for number in self.next..self.next + lines {
            self.file.write_all((line("app", number, 100) + "\n").as_bytes()).expect("written");
        }
        self.next += lines;
    }

    fn reopen_if_moved(&mut self) {
        let own = self.file.metadata().expect("its own").ino();
        if fs::metadata(&self.path).is_ok_and(|named| named.ino() != own) {
            self.file = Self::open(&self.path);
        }
    }
}

/// Writes logrotate's config with `how`, and gives the command that rotates once.
fn rotation(dir: &Path, how: &str) -> Command {
    let config = format!("{}/logs/*.log {{\n  rotate 100\n  {how}\n}}\n", dir.display());
    fs::write(dir.join("logrotate.conf"), config).expect("written");
    let mut command = Command::new("logrotate");
    command.args(["--force", "--state"]).arg(dir.join("logrotate.state")).arg(dir.join("logrotate.conf"));
    command
}

fn wait_received(instance: &mut Instance, lines: u64) {
    instance.wait_stats("they were read", |stats| number(row(stats, "sources", "logs"), "received") >= lines);
}

/// Ends it; nothing was lost, nothing came twice.
fn assert_all(mut instance: Instance, dir: &Path, lines: u64) -> Recount {
    let stats = instance.wait_delivered("all", lines);
    assert_ledger(&stats);
    assert_eq!(instance.terminate(), 0);
    let recount = Recount::of(&dir.join("out"));
    assert_eq!(recount.lost_and_twice("app", lines), (0, 0), "lost and twice");
    assert_eq!((recount.lines(), recount.foreign.len()), (lines, 0));
    recount
}

#[test]
fn a_file_renamed_by_logrotate_while_it_is_written_is_read_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::new(dir.path());
    let mut instance = Instance::start(dir.path(), CONFIG);
    let mut rotate = rotation(dir.path(), "create 0644\n  compress\n  delaycompress");
    let (written, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let lines = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !is_over.load(SeqCst) {
                writer.write(10);
                written.store(writer.next, SeqCst);
                writer.reopen_if_moved();
                // Some thousand lines in a second: busy, and not a race against the disk.
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            writer.write(10);
            writer.next
        });
        let rotating = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..ROTATIONS {
                let before = written.load(SeqCst);
                finish(&mut rotate);
                // The next rotation compresses this file: a reader that is too late finds only that.
                wait_received(&mut instance, before + 100);
            }
        }));
        is_over.store(true, SeqCst);
        let lines = writing.join().expect("the writer ends");
        rotating.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        lines
    });
    let compressed = fs::read_dir(dir.path().join("logs")).expect("the logs").flatten();
    let compressed =
        compressed.filter(|file| file.path().extension().is_some_and(|name| name == "gz")).count();
    assert_eq!(compressed as u64, ROTATIONS - 1);
    // Order holds within a file: for a moment this writer wrote to the old one while the new one was there.
    assert_all(instance, dir.path(), lines);
}

#[test]
fn a_file_copied_and_truncated_by_logrotate_is_read_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::new(dir.path());
    let mut instance = Instance::start(dir.path(), CONFIG);
    let mut rotate = rotation(dir.path(), "copytruncate");
    for round in 0..ROTATIONS {
        // What is written between the copy and the truncation is in neither file: nothing is. Growing beyond what it
        // was and staying below it look different to a reader.
        writer.write(if round % 2 == 0 { 300 } else { 1_000 });
        wait_received(&mut instance, writer.next);
        finish(&mut rotate);
        assert_eq!(fs::metadata(&writer.path).expect("the log").len(), 0);
    }
    writer.write(100);
    assert_all(instance, dir.path(), writer.next).assert_exact("app", writer.next);
}
