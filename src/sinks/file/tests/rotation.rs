//! Rotation: when, under which names, and what a kill at any moment leaves.

use super::*;
use rotate::Compress;
use std::io::Read;

const HOUR: Duration = Duration::from_secs(3600);

impl Setup {
    /// The names in the output directory, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is in all files whose name begins with `prefix`, unpacked, the oldest first and the live one last.
    fn all(&self, prefix: &str) -> String {
        let mut names: Vec<String> =
            self.names().into_iter().filter(|name| name.starts_with(prefix)).collect();
        // By age: the stamp, then the number.
        names.sort_by_key(|name| match rotate::Rotated::parse(name) {
            Some(name) => (0, name.at, name.number),
            None => (1, 0, 0),
        });
        names.iter().map(|name| self.unpacked(name)).collect()
    }

    fn unpacked(&self, name: &str) -> String {
        let (mut text, file) = (String::new(), File::open(self.path(name)).unwrap());
        match () {
            () if name.ends_with(".gz") => {
                assert!(flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap() > 0)
            }
            () if name.ends_with(".zst") => {
                assert!(zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap() > 0)
            }
            () if name.ends_with(".tmp") => {}
            () => text = fs::read_to_string(self.path(name)).unwrap(),
        }
        text
    }

    fn upkeep(&self) {
        self.sink.upkeep_at(self.now, &Flag::default());
    }

    /// The time now as rotation writes it.
    fn stamp(&self) -> String {
        rotate::rotated_name("", self.now.wall, 0)
    }
}

fn by_size(max_size: usize) -> RotateConfig {
    RotateConfig { max_size: Some(max_size), ..RotateConfig::default() }
}

#[test]
fn a_file_is_rotated_before_it_grows_too_large_and_no_line_is_split_or_lost() {
    let setup = Setup::rotating(None, "a.log", by_size(10));
    let stamp = setup.stamp();
    for line in ["1234", "5678", "9", "a line that is longer than a file may be", "x"] {
        setup.send_lines("s", &[line]).unwrap();
    }
    let names: Vec<String> =
        ["a.log".into(), format!("a.log{stamp}"), format!("a.log{stamp}.1"), format!("a.log{stamp}.2")]
            .into();
    assert_eq!(setup.names(), names);
    let text: Vec<String> = setup.names().iter().map(|name| setup.read(name)).collect();
    assert_eq!(text, ["x\n", "1234\n5678\n", "9\n", "a line that is longer than a file may be\n"]);
}

#[test]
fn a_file_is_rotated_when_its_period_is_over_written_to_or_not() {
    let hourly = RotateConfig { every: Some(HOUR), ..RotateConfig::default() };
    let mut setup = Setup::rotating(None, "{source}.log", hourly.clone());
    setup.send_lines("a", &["1"]).unwrap();
    setup.send_lines("b", &["1"]).unwrap();
    setup.upkeep();
    setup.pass(HOUR);
    setup.send_lines("a", &["2"]).unwrap();
    setup.upkeep();
    let stamp = setup.stamp();
    assert_eq!(setup.names(), ["a.log".into(), format!("a.log{stamp}"), format!("b.log{stamp}")]);
    assert_eq!((setup.read("a.log"), setup.read(&format!("b.log{stamp}"))), ("2\n".into(), "1\n".into()));
    // A new process goes by the time of the last write.
    let mut again = Setup::rotating(Some(setup.dir), "{source}.log", hourly);
    again.pass(HOUR);
    again.send_lines("a", &["3"]).unwrap();
    assert_eq!((again.read("a.log"), again.all("a.log")), ("3\n".into(), "1\n2\n3\n".into()));
}

#[test]
fn the_only_file_of_a_sink_is_rotated_though_it_was_not_opened_since_the_start() {
    let daily = RotateConfig { every: Some(24 * HOUR), ..RotateConfig::default() };
    let setup = Setup::rotating(None, "a.log", daily.clone());
    setup.send_lines("a", &["1"]).unwrap();
    let mut again = Setup::rotating(Some(setup.dir), "a.log", daily);
    again.pass(24 * HOUR);
    again.upkeep();
    assert_eq!(again.names(), [format!("a.log{}", again.stamp())]);
}

#[test]
fn rotated_files_are_compressed_once_nobody_writes_to_them_and_the_oldest_go() {
    for (compress, suffix) in [(Compress::Gzip, ".gz"), (Compress::Zstd, ".zst")] {
        let config = RotateConfig { keep: Some(2), compress, ..by_size(1) };
        let mut setup = Setup::rotating(None, "{source}.log", config);
        for line in ["1", "2", "3", "4"] {
            setup.send_lines("a", &[line]).unwrap();
            setup.pass(Duration::from_secs(1));
        }
        setup.upkeep();
        let plain = setup.names();
        assert_eq!(plain.len(), 3, "the oldest went at once, none is compressed so soon: {plain:?}");
        setup.pass(2 * keep::SETTLE);
        setup.upkeep();
        let expected: Vec<String> =
            plain.iter().map(|name| format!("{name}{}", if name == "a.log" { "" } else { suffix })).collect();
        assert_eq!(setup.names(), expected);
        assert_eq!(setup.all("a.log"), "2\n3\n4\n");
        let stat = |name: &str| fs::metadata(setup.path(name)).unwrap();
        assert_eq!(stat(&expected[1]).mode(), stat("a.log").mode());
    }
}

#[test]
fn a_compressed_file_is_durable_under_its_name_before_the_original_goes() {
    let mut setup = Setup::rotating(None, "a.log", RotateConfig { compress: Compress::Gzip, ..by_size(1) });
    setup.send_lines("a", &["1"]).unwrap();
    let name = format!("a.log{}", setup.stamp());
    setup.send_lines("a", &["2"]).unwrap();
    setup.pass(2 * keep::SETTLE);
    setup.wiring.done.lock().clear();
    setup.upkeep();
    let done: Vec<String> =
        setup.wiring.done.lock().iter().filter(|what| *what != "write").cloned().collect();
    let expected = [
        format!("remove {name}.gz.tmp"),
        format!("create {name}.gz.tmp"),
        "sync".into(),
        format!("rename {name}.gz.tmp to {name}.gz"),
        "sync dir".into(),
        format!("remove {name}"),
    ];
    assert_eq!(done, expected);
}

#[test]
fn a_rotated_file_is_synced_by_the_next_checkpoint_and_so_is_its_new_name() {
    let setup = Setup::rotating(None, "a.log", by_size(1));
    setup.send_lines("a", &["1"]).unwrap();
    setup.sink.sync().unwrap();
    setup.send_lines("a", &["2"]).unwrap();
    setup.send_lines("a", &["3"]).unwrap();
    setup.wiring.synced.lock().clear();
    setup.wiring.done.lock().clear();
    setup.sink.sync().unwrap();
    let ino = |name: &str| fs::metadata(setup.path(name)).unwrap().ino();
    let mut synced = setup.wiring.synced.lock().clone();
    synced.sort_unstable();
    let mut expected = vec![ino("a.log"), ino(&format!("a.log{}.1", setup.stamp()))];
    expected.sort_unstable();
    assert_eq!(synced, expected, "the first one was synced before");
    assert_eq!(setup.wiring.done.lock().last().unwrap(), "sync dir");
}

#[test]
fn what_an_earlier_process_left_unsynced_is_synced_once() {
    let setup = Setup::new("a.log", 4, Fsync::Checkpoint);
    setup.sink.sync().unwrap();
    setup.sink.sync().unwrap();
    assert_eq!(*setup.wiring.done.lock(), ["sync all"]);
    let never = Setup::new("a.log", 4, Fsync::None);
    never.sink.sync().unwrap();
    assert!(never.wiring.done.lock().is_empty());
}

/// Sends numbered lines in batches until the disk is dead, rotating and compressing all the while. Says which batches
/// were taken.
fn work(setup: &mut Setup) -> Vec<u32> {
    let mut taken = Vec::new();
    for batch in 0..6 {
        let lines: Vec<String> = (0..3).map(|line| format!("{batch} {line} {}", "x".repeat(20))).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if setup.send_lines("a", &lines).is_ok() {
            taken.push(batch);
        }
        if batch % 2 == 1 {
            let _ = setup.sink.sync();
            setup.pass(2 * keep::SETTLE);
            setup.upkeep();
        }
    }
    taken
}

#[test]
fn a_kill_before_any_operation_loses_no_line_and_splits_none() {
    let config = |compress| RotateConfig { compress, ..by_size(100) };
    for compress in [Compress::Gzip, Compress::Zstd, Compress::None] {
        let mut whole = Setup::rotating(None, "{source}.log", config(compress));
        assert_eq!(work(&mut whole).len(), 6);
        let operations = whole.wiring.operations.load(Relaxed);
        assert!(operations > 20, "{operations}");
        for killed_at in 1..=operations {
            let mut setup = Setup::rotating(None, "{source}.log", config(compress));
            setup.wiring.killed_at.store(killed_at, Relaxed);
            let taken = work(&mut setup);
            let context = format!("{compress:?}, killed before operation {killed_at} of {operations}");
            let now = setup.now;
            let mut next = Setup::rotating(Some(setup.dir), "{source}.log", config(compress));
            next.now = now;
            // The process that follows sends again what was not taken, and tidies up.
            for batch in (0..6).filter(|batch| !taken.contains(batch)) {
                next.send_lines("a", &[&format!("{batch} again")]).unwrap();
            }
            next.pass(Duration::from_secs(3600));
            next.upkeep();
            next.pass(2 * keep::SETTLE);
            next.upkeep();
            let all = next.all("a.log");
            for batch in 0..6 {
                for line in 0..3 {
                    let line = format!("{batch} {line} {}\n", "x".repeat(20));
                    let times = all.matches(&line).count();
                    // What was written and not acknowledged may stand there; nothing stands twice.
                    let least = usize::from(taken.contains(&batch));
                    assert!((least..=1).contains(&times), "{line:?} is there {times} times: {context}");
                }
            }
            let whole_line = |line: &str| line.ends_with(" again") || line.len() == 24;
            assert!(all.lines().all(whole_line), "{all}: {context}");
            let left = next.names();
            assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}: {context}");
            let packed = left.iter().filter(|name| name.ends_with(compress.suffix())).count();
            assert!(packed + 2 >= left.len(), "{left:?}: {context}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_rotated_is_written_on() {
    let mut setup = Setup::rotating(None, "a.log", by_size(1));
    setup.send_lines("a", &["1"]).unwrap();
    // The one operation that fails is the rename.
    let directory = setup.path(&format!("a.log{}", setup.stamp()));
    fs::create_dir(&directory).unwrap();
    setup.send_lines("a", &["2"]).unwrap();
    assert_eq!(setup.read(&format!("a.log{}.1", setup.stamp())), "1\n", "another name is found");
    setup.pass(Duration::from_secs(1));
    for number in 0..=9999 {
        let taken = rotate::rotated_name("a.log", setup.now.wall, number);
        File::create(setup.path(&taken)).unwrap();
    }
    setup.send_lines("a", &["3"]).unwrap();
    assert_eq!(setup.read("a.log"), "2\n3\n");
    setup.pass(Duration::from_secs(11));
    setup.send_lines("a", &["4"]).unwrap();
    assert_eq!(setup.read("a.log"), "4\n");
}

#[test]
fn a_dated_file_counts_as_rotated_when_its_day_is_over() {
    let config = RotateConfig { keep: Some(1), compress: Compress::Zstd, ..RotateConfig::default() };
    let mut setup = Setup::rotating(None, "{date}.log", config);
    for name in ["2001-01-01.log", "2001-01-02.log", "notes.log"] {
        fs::write(setup.path(name), "x\n").unwrap();
    }
    setup.pass(HOUR);
    setup.upkeep();
    setup.pass(2 * keep::SETTLE);
    setup.upkeep();
    let names = setup.names();
    assert!(
        names.len() == 2 && names[0].starts_with("2001-01-02.log-") && names[0].ends_with(".zst"),
        "{names:?}"
    );
    assert_eq!(names[1], "notes.log");
}

#[test]
fn names_as_long_as_they_get_can_be_rotated_and_compressed() {
    let config = RotateConfig { compress: Compress::Zstd, ..by_size(1) };
    let mut setup = Setup::rotating(None, "{source}{origin}", config);
    let long = stream(&"s".repeat(300), &"o".repeat(300), &[]);
    for line in ["1", "2"] {
        setup.send(&batch_of(&long, &[line])).unwrap();
    }
    setup.pass(2 * keep::SETTLE);
    setup.upkeep();
    let names = setup.names();
    assert_eq!(names.iter().filter(|name| name.ends_with(".zst")).count(), 1, "{names:?}");
}

#[test]
fn what_another_process_works_on_is_left_alone() {
    let mut setup = Setup::rotating(None, "a.log", RotateConfig { compress: Compress::Gzip, ..by_size(1) });
    setup.send_lines("a", &["1"]).unwrap();
    let name = format!("a.log{}", setup.stamp());
    setup.send_lines("a", &["2"]).unwrap();
    fs::write(setup.path(&format!("{name}.gz.tmp")), "half").unwrap();
    setup.pass(2 * keep::SETTLE);
    let other = Base::open(&setup.path("")).unwrap();
    let claimed = pack::claim(&other, &name).unwrap().unwrap();
    setup.upkeep();
    assert_eq!(setup.names(), ["a.log".to_owned(), name.clone(), format!("{name}.gz.tmp")]);
    drop(claimed);
    setup.pass(2 * keep::SETTLE);
    setup.upkeep();
    assert_eq!(setup.names(), ["a.log".to_owned(), format!("{name}.gz")]);
}

#[test]
fn a_file_moved_away_by_someone_else_is_no_rotation_of_ours() {
    let mut setup = Setup::rotating(None, "a.log", by_size(1000));
    setup.send_lines("a", &["1"]).unwrap();
    fs::rename(setup.path("a.log"), setup.path("a.log.1")).unwrap();
    setup.sink.reopen();
    setup.send_lines("a", &["2"]).unwrap();
    setup.pass(HOUR);
    setup.upkeep();
    assert_eq!((setup.names(), setup.read("a.log")), (vec!["a.log".into(), "a.log.1".into()], "2\n".into()));
}

#[test]
fn a_file_that_is_gone_when_it_is_due_is_made_anew() {
    let mut setup = Setup::rotating(None, "a.log", by_size(1));
    setup.send_lines("a", &["1"]).unwrap();
    fs::rename(setup.path("a.log"), setup.path("moved")).unwrap();
    setup.send_lines("a", &["2"]).unwrap();
    assert_eq!((setup.read("moved"), setup.read("a.log")), ("1\n".into(), "2\n".into()));
    setup.pass(HOUR);
    let hourly = RotateConfig { every: Some(HOUR), ..RotateConfig::default() };
    let mut again = Setup::rotating(Some(setup.dir), "{source}.log", hourly);
    again.send_lines("b", &["1"]).unwrap();
    fs::rename(again.path("b.log"), again.path("moved.too")).unwrap();
    again.upkeep();
    again.pass(HOUR);
    again.upkeep();
    again.send_lines("b", &["2"]).unwrap();
    assert_eq!((again.read("moved.too"), again.read("b.log")), ("1\n".into(), "2\n".into()));
}
