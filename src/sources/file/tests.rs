//! The whole source against real files, with a made-up engine on the other side of its door. Time is an argument: no
//! test waits.

use super::*;
use crate::ack::Status;
use crate::block::Blocks;
use crate::entry::Entry;
use crate::ledger::{Named, SourceLedger};
use crate::pool::Budget;
use crate::ring::Ring;
use crate::ring::credits::{Amount, Credits, Watermarks};
use crate::sources::inlet::{Assigned, DomainId, Drained, Gate, Hallway, Shipment, Strategy};
use crate::sources::multiline::Rule;
use crate::sources::multiline::pattern::Pattern;
use crate::storage_io::Disk;
use crate::thread::WaitList;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const SEC: Duration = Duration::from_secs(1);

struct Rig {
    dir: tempfile::TempDir,
    settings: FileSettings,
    hallway: Arc<Hallway>,
    gate: Arc<Gate>,
    ledger: Named<SourceLedger>,
    running: Option<(FileReader, Arc<Ending>, Arc<Checkpoint>)>,
    now: Instant,
    /// What becomes of blocks: settled as this, or held.
    fate: Option<Status>,
    held: Vec<Shipment>,
    /// Origin (file name), text, flags of everything that came, in order.
    got: Vec<(String, String, u8)>,
}

fn rig(change: impl FnOnce(&mut FileSettings, &Path)) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    let log = dir.path().join("log");
    let mut settings = FileSettings {
        open: crate::pool::Allowance::default(),
        source: SourceId(0),
        include: vec![log.join("*.log").display().to_string()],
        exclude: vec![],
        read_from: ReadFrom::Beginning,
        max_line: 100_000,
        partial_timeout: 5 * SEC,
        rescan: 5 * SEC,
        rotate_wait: 5 * SEC,
        ignore_older: None,
        open_files: 1024,
        format: Format::Plain,
        multiline: None,
        scratch: dir.path().join("data"),
        never_read: vec![dir.path().join("data")],
        never_match: Vec::new(),
        labels: Labels::new([("job", "test")]),
    };
    change(&mut settings, &log);
    let hallway = Arc::new(Hallway {
        ring: Ring::new(1024),
        credits: Credits::new(Amount { entries: 1 << 20, bytes: 1 << 28 }, Watermarks::default()),
        freed: WaitList::default(),
        transit: Budget::new(64 << 20),
        blocks: Blocks::new(settings.max_line + 1),
        block_entries: 4096,
    });
    let mut rig = Rig {
        dir,
        settings,
        hallway,
        gate: Arc::default(),
        ledger: Named::new("app", "file"),
        running: None,
        now: Instant::now(),
        fate: Some(Status::Delivered),
        held: Vec::new(),
        got: Vec::new(),
    };
    rig.start();
    rig
}

impl Rig {
    fn start(&mut self) {
        let checkpoint = Checkpoint::open(Arc::new(Disk), &self.dir.path().join("data")).unwrap();
        let (checkpoint, ending) = (Arc::new(checkpoint), Arc::new(Ending::default()));
        let spec = InletSpec {
            domain: DomainId(0),
            source: self.ledger.clone(),
            strategy: Strategy::Block,
            gate: Arc::clone(&self.gate),
            assigned: Assigned::to(&self.hallway),
            drained: Drained::new(usize::MAX),
            limits: crate::sources::rate::Limits::default(),
        };
        let reader =
            FileReader::new(self.settings.clone(), spec, Arc::clone(&ending), Arc::clone(&checkpoint))
                .unwrap();
        self.running = Some((reader, ending, checkpoint));
    }

    /// A clean stop: everything is shipped, settled and written down.
    fn stop(&mut self) {
        let (_, ending, _) = self.running.as_ref().unwrap();
        ending.stop();
        self.run();
        let (reader, ending, checkpoint) = self.running.take().unwrap();
        assert!(ending.wait_shipped(Instant::now()), "the reader says that it has shipped all");
        drop(reader);
        checkpoint.flush_durable(&mut || Ok(())).unwrap();
    }

    /// A death: nothing is said to anyone, and what was not flushed is gone.
    fn kill(&mut self, flush: bool) {
        let (reader, _, checkpoint) = self.running.take().unwrap();
        if flush {
            checkpoint.flush_fast().unwrap();
        }
        drop(reader);
        self.held.clear();
        while let Some(shipment) = self.hallway.ring.pop() {
            self.hallway.credits.give(shipment.credits.0 as u64, shipment.credits.1 as u64);
        }
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Turns until there is nothing more to do at this time.
    fn run(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            let next = self.running.as_mut().unwrap().0.reader.turn(self.now);
            let mut busy = next == Next::Again;
            while let Some(shipment) = self.hallway.ring.pop() {
                busy = true;
                self.take(shipment);
            }
            if let Next::Sleep { until: Some(until), listen: false, .. } = next {
                // A part-filled block waits its 5 ms.
                self.now = self.now.max(until);
                busy = true;
            }
            quiet = if busy { 0 } else { quiet + 1 };
        }
    }

    /// A step in time, then everything there is to do.
    fn after(&mut self, time: Duration) {
        self.now += time;
        self.run();
    }

    fn take(&mut self, shipment: Shipment) {
        let block = &shipment.block;
        let mut next = 0;
        for (place, entry) in block.entries().iter().enumerate() {
            assert_eq!(entry.offset, next, "entries are whole lines that follow each other");
            next = entry.offset + entry.len + 1;
            let view = block.view(place);
            let origin = Path::new(&*view.stream().origin).file_name().unwrap().to_str().unwrap();
            self.got.push((origin.into(), String::from_utf8(view.text().to_vec()).unwrap(), entry.flags));
        }
        assert_eq!(block.text().len(), next as usize);
        self.hallway.credits.give(shipment.credits.0 as u64, shipment.credits.1 as u64);
        self.hallway.freed.call();
        match self.fate {
            None => self.held.push(shipment),
            Some(Status::Failed) => drop(shipment),
            Some(status) => shipment.whole.settle(status),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("log").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What `logrotate` does: shift the numbered ones, then the file itself.
    fn rotate(&self, name: &str, keep: usize) {
        for n in (1..keep).rev() {
            let (from, to) = (self.path(&format!("{name}.{n}")), self.path(&format!("{name}.{}", n + 1)));
            let _ = fs::rename(from, to);
        }
        self.rename(name, &format!("{name}.1"));
    }

    /// Three files come to `a.log` and are rotated away, then an empty one stays; the lines, in their order.
    fn come_and_go(&self) -> Vec<String> {
        let mut want = Vec::new();
        for from in [0, 100, 200] {
            let (text, lines) = numbered(from..from + 5);
            self.append("a.log", &text);
            self.rotate("a.log", 4);
            want.extend(lines);
        }
        self.append("a.log", "");
        want
    }

    fn copytruncate(&self, name: &str, keep: usize) {
        for n in (1..keep).rev() {
            let (from, to) = (self.path(&format!("{name}.{n}")), self.path(&format!("{name}.{}", n + 1)));
            let _ = fs::rename(from, to);
        }
        fs::copy(self.path(name), self.path(&format!("{name}.1"))).unwrap();
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    /// All that came since the last time it was asked.
    fn texts(&mut self) -> Vec<String> {
        self.got.drain(..).map(|(_, text, _)| text).collect()
    }

    fn lines(&mut self) -> Vec<String> {
        self.run();
        self.texts()
    }

    fn reader(&self) -> &Reader {
        &self.running.as_ref().unwrap().0.reader
    }
}

fn numbered(range: std::ops::Range<usize>) -> (String, Vec<String>) {
    let lines: Vec<String> =
        range.map(|n| format!("line {n} of a log that is long enough to be told by its text")).collect();
    (lines.iter().map(|line| format!("{line}\n")).collect(), lines)
}

#[test]
fn lines_of_several_files_come_in_their_files_order_and_share_a_block() {
    let mut rig = rig(|_, _| {});
    for n in 0..30 {
        rig.append(&format!("{n}.log"), "one\ntwo\n");
    }
    rig.append("other.txt", "no\n");
    rig.run();
    assert_eq!(rig.got.len(), 60);
    for n in 0..30 {
        let own: Vec<_> =
            rig.got.iter().filter(|row| row.0 == format!("{n}.log")).map(|row| &row.1).collect();
        assert_eq!(own, ["one", "two"]);
    }
    rig.got.clear();
    rig.append("7.log", "three\n");
    rig.append("new.log", "first\n");
    rig.after(Duration::from_millis(20));
    rig.got.sort();
    assert_eq!(rig.texts(), ["three", "first"], "the notices told, long before the rescan");
    let list = rig.running.as_ref().unwrap().0.files();
    rig.after(SEC);
    let rows = list.lock().clone();
    assert_eq!((rows.len(), rows[30].size, rows[30].offset), (31, 6, 6));
    assert_eq!((rig.ledger.row.streams.get(), rig.ledger.row.lag_bytes.get()), (31, 0));
}

#[test]
fn a_renamed_file_is_read_on_before_the_new_one_begins_and_late_writes_are_not_lost() {
    let mut rig = rig(|_, _| {});
    rig.append("a.log", "1\n");
    let mut writer = OpenOptions::new().append(true).open(rig.path("a.log")).unwrap();
    assert_eq!(rig.lines(), ["1"]);
    writer.write_all(b"2\n").unwrap();
    rig.rotate("a.log", 3);
    writer.write_all(b"3\n").unwrap();
    rig.append("a.log", "4\n");
    assert_eq!(rig.lines(), ["2", "3", "4"]);
    writer.write_all(b"late\n").unwrap();
    rig.after(SEC);
    assert_eq!(rig.texts(), ["late"]);
    rig.after(10 * SEC);
    rig.after(SEC);
    assert_eq!(rig.reader().open_count, 1, "the old one is let go");
    assert_eq!(rig.running.as_ref().unwrap().2.len(), 1);
    writer.write_all(b"too late\n").unwrap();
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn five_rotations_while_nothing_can_be_delivered_lose_nothing_and_keep_the_order() {
    let mut rig = rig(|_, _| {});
    let mut want = Vec::new();
    rig.gate.close();
    for n in 0..6 {
        let (text, lines) = numbered(n * 100..n * 100 + 100);
        rig.append("a.log", &text);
        want.extend(lines);
        if n % 2 == 0 {
            rig.run(); // Sometimes two rotations come between two looks.
        }
        if n < 5 {
            rig.rotate("a.log", 9);
        }
    }
    rig.after(60 * SEC);
    assert!(rig.got.is_empty());
    rig.gate.open();
    assert_eq!(rig.lines(), want);
    rig.after(60 * SEC);
    rig.after(60 * SEC);
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn rotation_into_a_matched_name_reads_nothing_twice() {
    let mut rig = rig(|settings, log| settings.include = vec![log.join("a.log*").display().to_string()]);
    let mut want = Vec::new();
    for n in 0..5 {
        let (text, lines) = numbered(n * 10..n * 10 + 10);
        rig.append("a.log", &text);
        want.extend(lines);
        if n == 2 {
            rig.restart();
        }
        rig.run();
        rig.rotate("a.log", 9);
        rig.after(10 * SEC);
    }
    assert_eq!(rig.lines(), want);
    rig.restart();
    rig.after(10 * SEC);
    assert!(rig.lines().is_empty());
}

#[test]
fn what_was_rotated_away_while_we_were_down_is_found_by_its_name() {
    for matched in [false, true] {
        let mut rig = rig(|settings, log| {
            if matched {
                settings.include.push(log.join("a.log.*").display().to_string());
            }
        });
        let (text, first) = numbered(0..50);
        rig.append("a.log", &text);
        assert_eq!(rig.lines(), first);
        rig.stop();
        let mut want = Vec::new();
        for n in 1..5 {
            let (text, lines) = numbered(n * 100..n * 100 + 10);
            rig.append("a.log", &text);
            want.extend(lines);
            if n < 4 {
                rig.rotate("a.log", 9);
            }
        }
        rig.start();
        let mut got = rig.lines();
        if matched {
            got.sort();
            want.sort();
        }
        assert_eq!(got, want, "matched: {matched}");
        rig.after(20 * SEC);
        rig.restart();
        rig.after(20 * SEC);
        assert!(rig.lines().is_empty(), "matched: {matched}");
    }
}

#[test]
fn a_start_after_which_all_files_are_gone_looks_into_each_of_the_others_a_few_times_however_many_are_missed()
{
    const FILES: usize = 60;
    let mut rig = rig(|_, _| {});
    let rotate_all = |rig: &mut Rig, from: usize| {
        let mut want = Vec::new();
        for n in from..from + FILES {
            let (text, lines) = numbered(n * 100..n * 100 + 10);
            rig.append("a.log", &text);
            want.extend(lines);
            if rig.running.is_some() {
                rig.run();
            }
            rig.rotate("a.log", FILES);
        }
        rig.append("a.log", "");
        want
    };
    let want = rotate_all(&mut rig, 0);
    assert_eq!(rig.lines(), want);
    rig.stop();
    // Deleted, their numbers could be those of the others.
    fs::rename(rig.path(""), rig.dir.path().join("away")).unwrap();
    fs::create_dir(rig.path("")).unwrap();
    let want = rotate_all(&mut rig, FILES);
    let mut opens = inotify::Inotify::init().unwrap();
    opens.watches().add(rig.path(""), inotify::WatchMask::OPEN).unwrap();
    rig.start();
    assert_eq!(rig.lines(), want);
    assert_eq!(rig.ledger.row.files_vanished.get(), FILES as u64 + 1, "all are missed");
    let (mut buffer, mut count) = ([0; 64 << 10], std::collections::HashMap::new());
    while let Ok(events) = opens.read_events(&mut buffer) {
        for name in events.filter_map(|event| event.name) {
            *count.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    assert!(count.len() > FILES, "{}", count.len());
    assert!(count.values().all(|opened| *opened < 10), "{count:?}");
}

#[test]
fn rotated_files_that_begin_alike_and_were_copied_or_packed_while_we_were_down_are_each_read_on() {
    const FILES: usize = 6;
    let mut rig = rig(|_, _| {});
    let (head, _) = numbered(0..20);
    for n in 0..FILES {
        rig.append("a.log", &format!("{head}{}", numbered(n * 100..n * 100 + 5).0));
        rig.run();
        rig.rotate("a.log", FILES);
    }
    rig.append("a.log", &head);
    rig.run();
    rig.stop();
    rig.got.clear();
    let mut want = Vec::new();
    for n in (1..=FILES).rev() {
        let (text, lines) = numbered(n * 1000..n * 1000 + 3);
        let name = format!("a.log.{n}");
        rig.append(&name, &text);
        want.extend(lines);
        let bytes = fs::read(rig.path(&name)).unwrap();
        let (end, bytes) = match n % 3 {
            0 => (".zst", zstd::encode_all(&*bytes, 1).unwrap()),
            1 => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&bytes).unwrap();
                (".gz", encoder.finish().unwrap())
            }
            _ => ("", bytes),
        };
        // While the first is there the other has another number.
        fs::write(rig.path("new"), bytes).unwrap();
        fs::remove_file(rig.path(&name)).unwrap();
        rig.rename("new", &format!("{name}{end}"));
    }
    rig.start();
    assert_eq!(rig.lines(), want);
    assert_eq!(rig.ledger.row.files_vanished.get(), 0);
}

#[test]
fn a_file_that_was_rotated_away_after_a_death_was_known_before_anything_of_it_was_handed_on() {
    let mut rig = rig(|_, _| {});
    let (text, mut lines) = numbered(0..50);
    rig.append("a.log", &text);
    assert_eq!(rig.lines(), lines);
    // Nobody else wrote anything down.
    rig.kill(false);
    let (more, others) = numbered(50..60);
    rig.append("a.log", &more);
    rig.rotate("a.log", 9);
    rig.append("a.log", "new\n");
    rig.start();
    lines.extend(others);
    lines.push("new".into());
    assert_eq!(rig.lines(), lines);
}

#[test]
fn a_file_cut_in_place_is_read_from_its_beginning_and_its_rest_from_the_copy() {
    for matched in [false, true] {
        let mut rig = rig(|settings, log| {
            if matched {
                settings.include.push(log.join("a.log.*").display().to_string());
            }
        });
        let mut want = Vec::new();
        for n in 0..5 {
            let (text, lines) = numbered(n * 100..n * 100 + 20);
            rig.append("a.log", &text);
            rig.after(6 * SEC);
            // Written after our last look, and cut before the next one.
            let (text, more) = numbered(n * 100 + 20..n * 100 + 30);
            rig.append("a.log", &text);
            rig.copytruncate("a.log", 9);
            want.extend(lines.into_iter().chain(more));
        }
        rig.after(6 * SEC);
        assert_eq!(rig.lines(), want, "matched: {matched}");
        rig.after(20 * SEC);
        rig.restart();
        rig.after(20 * SEC);
        assert!(rig.lines().is_empty(), "matched: {matched}");
    }
}

#[test]
fn a_file_cut_before_anything_of_it_was_read_is_read_from_its_copy() {
    let mut rig = rig(|_, _| {});
    rig.gate.close();
    let mut want = Vec::new();
    for n in 0..3 {
        let (text, lines) = numbered(n * 100..n * 100 + 20);
        rig.append("a.log", &text);
        want.extend(lines);
        // The second cut is not even seen: both come between two looks.
        if n != 1 {
            rig.after(SEC);
        }
        if n < 2 {
            rig.copytruncate("a.log", 9);
        }
    }
    rig.after(SEC);
    rig.gate.open();
    assert_eq!(rig.lines(), want);
    rig.after(20 * SEC);
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn what_was_written_copied_and_cut_between_two_looks_at_an_empty_file_is_read_from_its_copy_alone() {
    let mut rig = rig(|_, _| {});
    let (text, lines) = numbered(0..20);
    rig.append("a.log", &text);
    assert_eq!(rig.lines(), lines);
    rig.copytruncate("a.log", 9);
    rig.after(SEC);
    assert!(rig.lines().is_empty());
    for n in 1..4 {
        let (text, lines) = numbered(n * 100..n * 100 + 20);
        rig.append("a.log", &text);
        rig.copytruncate("a.log", 9);
        rig.after(SEC);
        assert_eq!(rig.lines(), lines, "copy {n}");
    }
    let (text, lines) = numbered(900..910);
    rig.append("a.log", &text);
    rig.after(SEC);
    assert_eq!(rig.lines(), lines);
    rig.after(20 * SEC);
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn two_cuts_in_place_while_we_were_down_lose_nothing() {
    let mut rig = rig(|_, _| {});
    let (text, first) = numbered(0..20);
    rig.append("a.log", &text);
    assert_eq!(rig.lines(), first);
    rig.stop();
    let mut want = Vec::new();
    for n in 1..4 {
        let (text, lines) = numbered(n * 100..n * 100 + 20);
        rig.append("a.log", &text);
        want.extend(lines);
        if n < 3 {
            rig.copytruncate("a.log", 9);
        }
    }
    rig.start();
    assert_eq!(rig.lines(), want);
    rig.after(20 * SEC);
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn a_file_cut_and_grown_past_the_old_offset_is_noticed_running_and_down() {
    let mut rig = rig(|_, _| {});
    rig.append("a.log", "old 1\nold 2\n");
    assert_eq!(rig.lines().len(), 2);
    let new = "new 1\nnew 2\nnew 3\n";
    fs::write(rig.path("a.log"), new).unwrap();
    assert_eq!(rig.lines(), ["new 1", "new 2", "new 3"]);
    rig.stop();
    fs::write(rig.path("a.log"), "again 1\nagain 2\nagain 3\nagain 4\n").unwrap();
    rig.start();
    assert_eq!(rig.lines().len(), 4);
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn a_restart_goes_on_where_it_stopped_and_after_a_kill_where_the_fast_tier_was() {
    let mut rig = rig(|_, _| {});
    rig.append("a.log", "1\n2\n");
    assert_eq!(rig.lines(), ["1", "2"]);
    rig.append("a.log", "3\npart");
    rig.restart();
    rig.append("a.log", "ial\n");
    assert_eq!(rig.lines(), ["3", "partial"]);
    rig.kill(true);
    rig.append("a.log", "4\n");
    rig.start();
    assert_eq!(rig.lines(), ["4"], "the fast tier knew");
    rig.append("a.log", "5\n");
    assert_eq!(rig.lines(), ["5"]);
    rig.kill(false);
    // Another boot: only what was durable at the last clean stop counts.
    let fast = rig.dir.path().join("data/positions.fast");
    let mut bytes = fs::read(&fast).unwrap();
    bytes[20] ^= 1;
    fs::write(&fast, bytes).unwrap();
    rig.start();
    assert_eq!(rig.lines(), ["3", "partial", "4", "5"]);
}

#[test]
fn a_lost_checkpoint_means_everything_again_and_never_the_end() {
    let mut rig = rig(|settings, log| {
        settings.read_from = ReadFrom::End;
        fs::write(log.join("a.log"), "1\n").unwrap();
    });
    assert!(rig.lines().is_empty());
    rig.stop();
    for name in ["positions", "positions.prev", "positions.fast"] {
        let _ = fs::write(rig.dir.path().join("data").join(name), "");
    }
    rig.start();
    assert_eq!(rig.lines(), ["1"]);
}

#[test]
fn what_got_the_number_of_an_empty_file_says_nothing_of_the_files_before_it() {
    for (reused, has_read) in [("a.log.1", true), ("a.log.1", false), ("a.log", true), ("a.log", false)] {
        let mut rig = rig(|_, _| {});
        if has_read {
            rig.append("a.log", "before\n");
            assert_eq!(rig.lines(), ["before"]);
            rig.rotate("a.log", 4);
        }
        rig.append("a.log", "");
        rig.run();
        rig.stop();
        fs::remove_file(rig.path("a.log")).unwrap();
        let want = rig.come_and_go();
        // Which number a new file gets is the file system's affair: what it may do is done here.
        let checkpoint = Checkpoint::open(Arc::new(Disk), &rig.dir.path().join("data")).unwrap();
        let known = checkpoint.loaded("app").into_iter();
        for (key, mut position) in known.filter(|(_, position)| position.head_len == 0) {
            position.inode = fs::metadata(rig.path(reused)).unwrap().ino();
            checkpoint.set(key, position);
        }
        checkpoint.flush_durable(&mut || Ok(())).unwrap();
        drop(checkpoint);
        rig.start();
        assert_eq!(rig.lines(), want, "{reused}, {has_read}");
    }
}

#[test]
fn what_came_and_was_rotated_right_before_the_end_is_read_at_the_next_start() {
    for begins in ["", "begun\n"] {
        let mut rig = rig(|_, _| {});
        rig.append("a.log", begins);
        rig.run();
        rig.got.clear();
        let want = rig.come_and_go();
        // Nothing was looked at between the first of it and the end.
        rig.stop();
        rig.start();
        assert_eq!(rig.lines(), want, "{begins:?}");
    }
}

#[test]
fn from_the_end_is_for_files_of_the_very_first_start_only() {
    let mut rig = rig(|settings, log| {
        settings.read_from = ReadFrom::End;
        fs::write(log.join("old.log"), "old\nhalf").unwrap();
    });
    assert!(rig.lines().is_empty());
    rig.append("old.log", " a line\nnew\n");
    rig.append("later.log", "later\n");
    rig.run();
    rig.got.sort();
    assert_eq!(rig.texts(), ["later", "new"]);
    rig.stop();
    rig.append("down.log", "written while down\n");
    rig.start();
    assert_eq!(rig.lines(), ["written while down"]);
}

#[test]
fn old_files_are_passed_over_but_read_when_they_grow() {
    let mut rig = rig(|settings, _| settings.ignore_older = Some(3600 * SEC));
    rig.append("old.log", "old\n");
    let old = std::time::SystemTime::now() - 7200 * SEC;
    File::options().append(true).open(rig.path("old.log")).unwrap().set_modified(old).unwrap();
    rig.append("fresh.log", "fresh\n");
    assert_eq!(rig.lines(), ["fresh"]);
    rig.append("old.log", "grown\n");
    assert_eq!(rig.lines(), ["grown"]);
}

#[test]
fn fifty_files_that_begin_alike_stay_fifty_files() {
    let mut rig = rig(|_, _| {});
    let header = "#".repeat(4095) + "\n";
    for round in 0..3 {
        for n in 0..50 {
            let text = if round == 0 { header.clone() } else { format!("{n} in round {round}\n") };
            rig.append(&format!("{n}.log"), &text);
        }
        rig.run();
        assert_eq!(rig.texts().len(), 50, "round {round}");
        rig.restart();
        rig.after(10 * SEC);
        assert!(rig.texts().is_empty());
    }
}

#[test]
fn a_number_given_to_another_file_does_not_give_it_the_offset() {
    let mut rig = rig(|_, _| {});
    let (text, lines) = numbered(0..20);
    rig.append("a.log", &text);
    assert_eq!(rig.lines(), lines);
    rig.stop();
    // The same inode, other content and another name: as if the first file was deleted and its number reused.
    rig.rename("a.log", "b.log");
    fs::write(rig.path("b.log"), format!("other\n{text}")).unwrap();
    rig.start();
    assert_eq!(rig.lines().len(), 21);
}

#[test]
fn a_line_without_end_waits_for_it_and_goes_out_after_the_timeout() {
    let mut rig = rig(|_, _| {});
    rig.append("a.log", "whole\nhal");
    assert_eq!(rig.lines(), ["whole"]);
    rig.after(4 * SEC);
    rig.append("a.log", "f");
    rig.run();
    rig.after(4 * SEC);
    assert!(rig.texts().is_empty(), "it grew four seconds ago");
    rig.after(2 * SEC);
    assert_eq!(rig.texts(), ["half"]);
    rig.restart();
    rig.append("a.log", "\nnext\n");
    assert_eq!(rig.lines(), ["next"], "its end makes no empty line, even after a restart");
}

fn multiline(change: impl FnOnce(&mut Rules)) -> impl FnOnce(&mut FileSettings, &Path) {
    let rule = Rule::Start(Pattern::compile("^[A-Z]").unwrap());
    let mut rules = Rules { rule, max_lines: 100, max_bytes: 10_000, timeout: SEC };
    change(&mut rules);
    move |settings, _| settings.multiline = Some(Arc::new(rules))
}

#[test]
fn an_event_waits_for_its_next_line_as_long_as_asked_and_a_line_under_way_for_its_end() {
    let mut rig = rig(multiline(|_| {}));
    rig.append("a.log", "One\n more\nTwo\n");
    assert_eq!(rig.lines(), ["One\n more"]);
    rig.after(SEC / 2);
    rig.append("a.log", " more\n");
    rig.run();
    rig.after(SEC * 7 / 10);
    assert!(rig.texts().is_empty(), "it grew 0.7 seconds ago");
    rig.append("a.log", " an");
    rig.run();
    rig.after(SEC * 7 / 10);
    assert!(rig.texts().is_empty(), "what is under way counts");
    rig.after(SEC / 2);
    assert_eq!(rig.texts(), ["Two\n more"]);
    rig.after(4 * SEC);
    assert!(rig.texts().is_empty(), "the line waits on by itself");
    rig.append("a.log", "d\nThree\n");
    assert_eq!(rig.lines(), [" and"]);
    rig.after(2 * SEC);
    assert_eq!(rig.texts(), ["Three"]);
}

#[test]
fn an_event_that_grows_for_ever_goes_out_after_ten_timeouts() {
    let mut rig = rig(multiline(|_| {}));
    rig.append("a.log", "One\n");
    rig.run();
    let mut wanted = "One".to_owned();
    for _ in 0..19 {
        rig.after(SEC / 2);
        assert!(rig.texts().is_empty());
        rig.append("a.log", " more\n");
        rig.run();
        wanted += "\n more";
    }
    rig.after(SEC);
    assert_eq!(rig.texts(), [wanted]);
}

#[test]
fn a_death_or_a_failure_in_the_middle_of_an_event_does_not_split_it() {
    for flush in [true, false] {
        let mut rig = rig(multiline(|_| {}));
        rig.append("a.log", "One\n more\nTwo\n more\n");
        assert_eq!(rig.lines(), ["One\n more"]);
        rig.kill(flush);
        rig.append("a.log", " and more\nThree\n");
        rig.start();
        let (first, last) = ("One\n more", "Two\n more\n and more");
        assert_eq!(rig.lines(), if flush { vec![last] } else { vec![first, last] });
        // A clean stop leaves the open event for the next start, too.
        rig.append("a.log", " more\n");
        rig.restart();
        rig.append("a.log", " again\nFour\n");
        assert_eq!(rig.lines(), ["Three\n more\n again"]);
    }
}

#[test]
fn the_last_event_of_a_rotated_file_comes_before_the_first_of_the_next() {
    let mut rig = rig(multiline(|_| {}));
    rig.append("a.log", "One\nTwo\n more\n");
    assert_eq!(rig.lines(), ["One"]);
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", " no head\nThree\nFour\n");
    rig.run();
    for _ in 0..20 {
        rig.after(SEC / 2);
    }
    assert_eq!(rig.texts(), ["Two\n more", " no head", "Three", "Four"]);
}

#[test]
fn an_over_long_line_is_cut_marked_counted_and_not_taken_up_again_in_its_middle() {
    let mut rig = rig(|settings, _| settings.max_line = 1000);
    rig.append("a.log", "a\n");
    rig.append("a.log", &"x".repeat(300_000));
    rig.run();
    let cut = rig.got.last().unwrap();
    assert_eq!((cut.1.len(), cut.2), (1000, Entry::CUT));
    assert_eq!((rig.texts().len(), rig.ledger.row.cut.get()), (2, 1));
    rig.restart();
    rig.append("a.log", &format!("{}\nafter\n", "x".repeat(5000)));
    assert_eq!(rig.lines(), ["after"]);
}

#[test]
fn long_lines_get_larger_blocks_and_arrive_whole() {
    let mut rig = rig(|settings, _| settings.max_line = 1 << 20);
    let lines: Vec<String> =
        (0..12).map(|n| n.to_string().repeat([3, 70_000, 300_000, 900_000][n % 4] / (1 + n / 10))).collect();
    rig.append("a.log", &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    assert!(rig.lines() == lines);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut rig = rig(|_, _| {});
    rig.append("a.log", "1\n");
    rig.run();
    rig.gate.close();
    let (text, lines) = numbered(0..5000);
    rig.append("a.log", &text);
    rig.append("never-seen.log", "2\n");
    rig.run();
    rig.got.clear();
    fs::remove_file(rig.path("a.log")).unwrap();
    fs::remove_file(rig.path("never-seen.log")).unwrap();
    rig.after(60 * SEC);
    rig.gate.open();
    let mut want = lines;
    want.push("2".into());
    rig.run();
    let mut got = rig.texts();
    got.sort();
    want.sort();
    assert_eq!(got, want);
    rig.after(20 * SEC);
    assert_eq!((rig.reader().open_count, rig.running.as_ref().unwrap().2.len()), (0, 0));
}

#[test]
fn what_failed_is_read_again_in_order_and_the_position_waits() {
    let mut rig = rig(|_, _| {});
    rig.append("a.log", "1\n");
    rig.run();
    rig.fate = Some(Status::Failed);
    let (text, lines) = numbered(0..3000);
    rig.append("a.log", &text);
    rig.run();
    assert!(rig.ledger.row.replayed_blocks.get() > 0);
    rig.fate = None;
    rig.after(SEC);
    rig.kill(true);
    rig.got.clear();
    rig.fate = Some(Status::Persisted);
    rig.start();
    assert_eq!(rig.lines(), lines);
    rig.restart();
    assert!(rig.lines().is_empty());
}

#[test]
fn settled_in_any_order_the_position_moves_over_the_done_prefix_only() {
    let mut rig = rig(|_, _| {});
    rig.fate = None;
    let (text, _) = numbered(0..8000);
    rig.append("a.log", &text);
    rig.run();
    assert!(rig.held.len() > 4);
    let at = |rig: &Rig| rig.running.as_ref().unwrap().2.loaded("app")[0].1.offset;
    let last = rig.held.pop().unwrap();
    last.whole.settle(Status::Delivered);
    rig.run();
    assert_eq!(at(&rig), 0);
    let first = rig.held.remove(0);
    let len = first.block.text().len() as u64;
    first.whole.settle(Status::Dropped);
    rig.run();
    assert_eq!(at(&rig), len);
    for shipment in std::mem::take(&mut rig.held).into_iter().rev() {
        shipment.whole.settle(Status::DeadLettered);
    }
    rig.run();
    assert_eq!(at(&rig), text.len() as u64);
}

#[test]
fn what_comes_back_of_an_older_reading_does_not_count_for_the_newer_one() {
    let mut rig = rig(|_, _| {});
    rig.fate = None;
    let (text, _) = numbered(0..3000);
    rig.append("a.log", &text);
    rig.run();
    let mut old = std::mem::take(&mut rig.held);
    assert!(old.len() >= 3);
    drop(old.remove(0));
    rig.run();
    rig.after(SEC);
    let mut new = std::mem::take(&mut rig.held);
    let first = new.remove(0);
    let len = first.block.text().len() as u64;
    old.into_iter().chain([first]).for_each(|shipment| shipment.whole.settle(Status::Delivered));
    rig.run();
    assert_eq!(rig.running.as_ref().unwrap().2.loaded("app")[0].1.offset, len);
}

#[test]
fn a_rotated_file_is_kept_until_everything_of_it_is_settled() {
    for delete in [false, true] {
        let mut rig = rig(|_, _| {});
        rig.append("a.log", "1\n2\n");
        rig.fate = None;
        rig.run();
        rig.rotate("a.log", 2);
        rig.append("a.log", "3\n");
        if delete {
            fs::remove_file(rig.path("a.log.1")).unwrap();
        }
        rig.run();
        rig.after(60 * SEC);
        assert_eq!(rig.texts(), ["1", "2", "3"]);
        let failed = rig.held.remove(0);
        drop(failed);
        rig.fate = Some(Status::Delivered);
        rig.run();
        rig.after(SEC);
        assert_eq!(rig.texts(), ["1", "2"]);
    }
}

#[test]
fn no_more_than_the_window_is_on_its_way() {
    let mut rig = rig(|_, _| {});
    rig.fate = None;
    let line = "y".repeat(999) + "\n";
    rig.append("a.log", &line.repeat(10_000));
    rig.append("b.log", "small\n");
    rig.run();
    let out: usize = rig.held.iter().map(|shipment| shipment.block.text().len()).sum();
    assert!((4 << 20..(4 << 20) + (1 << 17)).contains(&out), "{out}");
    assert!(rig.got.iter().any(|row| row.1 == "small"), "another file goes on");
    assert!(rig.ledger.row.lag_bytes.get() >= 10_000_000);
    rig.after(2 * SEC);
    assert!(rig.ledger.row.lag_millis.get() >= 1000);
    rig.fate = Some(Status::Delivered);
    for shipment in std::mem::take(&mut rig.held) {
        shipment.whole.settle(Status::Delivered);
    }
    rig.run();
    assert_eq!(rig.got.len(), 10_001);
    rig.after(SEC);
    assert_eq!((rig.ledger.row.lag_bytes.get(), rig.ledger.row.lag_millis.get()), (0, 0));
}

#[test]
fn one_turn_does_not_read_one_file_only() {
    let mut rig = rig(|_, _| {});
    for name in ["a.log", "b.log", "c.log"] {
        rig.append(name, &format!("{}\n", name.repeat(200)).repeat(1000));
    }
    rig.running.as_mut().unwrap().0.reader.turn(rig.now);
    let mut seen = Vec::new();
    while let Some(shipment) = rig.hallway.ring.pop() {
        seen.extend(shipment.block.runs().iter().map(|run| run.stream.origin.clone()));
        shipment.whole.settle(Status::Delivered);
    }
    let longest = seen.chunk_by(|a, b| a == b).map(<[_]>::len).max();
    assert!(longest <= Some(5), "never more than 256 KiB of one file in a row: {seen:?}");
}

#[test]
fn more_files_than_may_be_open_are_all_read_and_read_on() {
    let mut rig = rig(|settings, _| settings.open_files = 4);
    for round in 0..4 {
        for n in 0..25 {
            rig.append(&format!("{n}.log"), &format!("{n} {round}\n"));
        }
        rig.run();
        assert!(rig.reader().open_count <= 4);
        let mut got = rig.texts();
        got.sort();
        got.dedup();
        assert_eq!(got.len(), 25, "round {round}");
        if round == 1 {
            // One that rests is rotated with news in it that we have not looked at.
            rig.append("0.log", "last words\n");
            rig.rotate("0.log", 2);
            assert_eq!(rig.lines(), ["last words"]);
        }
    }
}

#[test]
fn our_own_output_binary_files_and_odd_things_are_not_read() {
    let mut rig = rig(|settings, log| {
        settings.never_read.push(log.join("out"));
        fs::create_dir(log.join("out")).unwrap();
    });
    rig.append("zip.log", "\x1f");
    fs::write(rig.path("zip.log"), b"\x1f\x8b\x08 text\n").unwrap();
    fs::write(rig.path("bin.log"), b"text\n\0\0\n").unwrap();
    rig.append("out/own.txt", "own\n");
    std::os::unix::fs::symlink(rig.path("out/own.txt"), rig.path("link.log")).unwrap();
    fs::create_dir(rig.path("dir.log")).unwrap();
    fs::hard_link(rig.path("bin.log"), rig.path("bin2.log")).unwrap();
    rig.append("good.log", "good\n");
    fs::hard_link(rig.path("good.log"), rig.path("same.log")).unwrap();
    assert_eq!(rig.lines(), ["good"]);
    rig.after(10 * SEC);
    rig.restart();
    assert!(rig.lines().is_empty());
    assert_eq!((rig.running.as_ref().unwrap().2.len(), rig.reader().skipped.len()), (1, 3));
}

#[test]
fn a_link_is_followed_and_what_it_points_to_is_watched() {
    let mut rig = rig(|_, _| {});
    fs::create_dir(rig.path("real")).unwrap();
    rig.append("real/a.txt", "1\n");
    std::os::unix::fs::symlink(rig.path("real/a.txt"), rig.path("a.log")).unwrap();
    assert_eq!(rig.lines(), ["1"]);
    rig.append("real/a.txt", "2\n");
    rig.after(Duration::from_millis(10));
    assert_eq!(rig.texts(), ["2"]);
}

#[test]
fn new_directories_are_found_and_moved_ones_followed() {
    let mut rig = rig(|settings, log| settings.include = vec![log.join("**/*.log").display().to_string()]);
    rig.run();
    fs::create_dir_all(rig.path("x/y")).unwrap();
    rig.append("x/y/a.log", "1\n");
    assert_eq!(rig.lines(), ["1"]);
    rig.append("x/y/a.log", "2\n");
    assert_eq!(rig.lines(), ["2"]);
    rig.rename("x", "z");
    rig.append("z/y/a.log", "3\n");
    assert_eq!(rig.lines(), ["3"]);
}

#[test]
fn a_stop_ships_what_was_read_and_leaves_at_once_when_told_to() {
    let mut rig = rig(|_, _| {});
    rig.fate = None;
    rig.append("a.log", "1\n2\nhalf");
    rig.run();
    let (reader, ending, _) = rig.running.as_mut().unwrap();
    ending.stop();
    assert!(matches!(reader.reader.turn(rig.now), Next::Sleep { blocked: false, .. }));
    assert!(ending.wait_shipped(Instant::now()));
    ending.leave();
    assert_eq!(reader.reader.turn(rig.now), Next::Done);
    rig.kill(true);
    rig.texts();
    rig.fate = Some(Status::Delivered);
    rig.start();
    assert_eq!(rig.lines(), ["1", "2"], "nobody settled them");
}

#[test]
fn on_its_own_thread_it_sleeps_and_wakes_by_itself() {
    let mut rig = rig(|_, _| {});
    let (reader, ending, _) = rig.running.take().unwrap();
    let hallway = Arc::clone(&rig.hallway);
    let thread = crate::thread::Threads::default().spawn("reader", &[], move |row| reader.run(row)).unwrap();
    let pop = || loop {
        match hallway.ring.pop() {
            Some(shipment) => break shipment,
            None => std::thread::yield_now(),
        }
    };
    for n in 0..20 {
        rig.append("a.log", &format!("{n}\n"));
        let shipment = pop();
        assert_eq!(shipment.block.text(), format!("{n}\n").as_bytes());
        shipment.whole.settle(Status::Delivered);
    }
    ending.stop();
    thread.join().unwrap();
    assert!(ending.wait_shipped(Instant::now()));
}

/// Writers that append, rotate and cut, a reader that is stopped, killed, blocked and failed, at random; every line must
/// come, lines of a file in order, and none twice unless something failed.
#[test]
fn whatever_happens_no_line_is_lost_and_none_comes_before_its_elder() {
    for seed in 0..40 {
        let clean = seed % 2 == 0;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut rig = rig(|settings, _| settings.open_files = [2, 1024][seed as usize / 2 % 2]);
        let (mut written, mut closed) = ([0; 3], false);
        // A file that is rotated away before we ever saw it is an old log like any other.
        (0..3).for_each(|file| rig.append(&format!("{file}.log"), ""));
        rig.run();
        for _ in 0..120 {
            // As if each step took longer than the keeper's 20 ms.
            rig.running.as_ref().unwrap().2.flush_fast().unwrap();
            let file = rng.usize(..3);
            let name = format!("{file}.log");
            match rng.u32(..20) {
                0..10 => {
                    let most = [30, 400][rng.usize(..2)];
                    let many = rng.usize(1..most);
                    let text: String = (written[file]..written[file] + many)
                        .map(|n| format!("{n} {file} {}\n", "z".repeat(40 + n % 90)))
                        .collect();
                    rig.append(&name, &text);
                    written[file] += many;
                }
                10..13 => rig.after(rng.u32(1..4000) * Duration::from_millis(1)),
                // Each file is rotated in one way, as by one program.
                13 if file < 2 && rig.path(&name).exists() => rig.rotate(&name, 50),
                13..15 if file == 2 && rig.settings.open_files > 3 => {
                    // A copy of a very short file cannot be told from any other: everything is read before the cut.
                    rig.run();
                    rig.copytruncate(&name, 50);
                }
                15 if !closed => {
                    rig.restart();
                    rig.run();
                }
                16 if !closed && !clean => {
                    rig.kill(rng.bool());
                    rig.start();
                    rig.run();
                }
                17 => {
                    if closed {
                        rig.gate.open()
                    } else {
                        rig.gate.close()
                    }
                    closed = !closed;
                }
                18 if !clean => {
                    rig.fate = Some(Status::Failed);
                    rig.after(Duration::from_millis(50));
                    rig.fate = Some(Status::Delivered);
                }
                _ => rig.run(),
            }
        }
        if closed {
            rig.gate.open();
        }
        rig.after(SEC);
        // With two files open at a time, each rotated one is waited for before the next is opened.
        (0..4).for_each(|_| rig.after(10 * SEC));
        for (file, count) in written.iter().enumerate() {
            let number = |text: &str| text.split(' ').next().and_then(|n| n.parse::<usize>().ok()).unwrap();
            let own = rig.got.iter().filter(|row| row.0 == format!("{file}.log"));
            let got: Vec<usize> = own.map(|row| number(&row.1)).collect();
            if clean {
                let wrong = got.iter().zip(0..).find(|(got, want)| **got != *want);
                assert_eq!((wrong, got.len()), (None, *count), "seed {seed}, file {file}");
            }
            let mut next = 0;
            for n in got {
                assert!(n <= next, "seed {seed}, file {file}: {n} came before {next}");
                next = next.max(n + 1);
            }
            assert_eq!(next, *count, "seed {seed}, file {file}");
        }
    }
}
