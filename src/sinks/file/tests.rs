use super::*;
use crate::config::Config;
use crate::sinks::config::SinkKind;
use crate::sinks::testing::{Builder, add_field, batch_of, block_of, stream};
use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What a [`Broken`] disk does next, seen and set from outside.
#[derive(Default)]
struct Wiring {
    /// Bytes it still takes, plus one; 0 is all there are.
    room: AtomicU64,
    /// Most bytes per write, or 0.
    bite: AtomicUsize,
    no_truncate: AtomicBool,
    no_sync: AtomicBool,
    synced: Mutex<Vec<u64>>,
    /// Operations so far, those that failed included.
    operations: AtomicU64,
    /// This operation and all after it fail, as if the process had been killed before it; 0 is never.
    killed_at: AtomicU64,
    /// What was done, in words.
    done: Mutex<Vec<String>>,
}

impl Wiring {
    fn live(&self, what: impl FnOnce() -> String) -> io::Result<()> {
        let operation = self.operations.fetch_add(1, Relaxed) + 1;
        let killed_at = self.killed_at.load(Relaxed);
        if killed_at > 0 && operation >= killed_at {
            return Err(io::Error::other("killed"));
        }
        self.done.lock().push(what());
        Ok(())
    }
}

struct Broken(Arc<Wiring>);

impl Disk for Broken {
    fn write(&self, file: &File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.live(|| "write".into())?;
        let bite = match self.0.bite.load(Relaxed) {
            0 => usize::MAX,
            bite => bite,
        };
        let room = match self.0.room.load(Relaxed) {
            0 => u64::MAX,
            room => room - 1,
        };
        let most = bite.min(usize::try_from(room).unwrap());
        let taken: Vec<u8> = bytes.iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
        let len = taken.len();
        if len == 0 {
            return Err(io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error()));
        }
        (&*file).write_all(&taken)?;
        if room != u64::MAX {
            self.0.room.store(room - len as u64 + 1, Relaxed);
        }
        Ok(len)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.0.live(|| format!("truncate to {len}"))?;
        if self.0.no_truncate.load(Relaxed) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        file.set_len(len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.0.live(|| "sync".into())?;
        if self.0.no_sync.load(Relaxed) {
            return Err(io::Error::from_raw_os_error(Errno::IO.raw_os_error()));
        }
        self.0.synced.lock().push(file.metadata()?.ino());
        Ok(())
    }

    fn sync_dir(&self, _: &File) -> io::Result<()> {
        self.0.live(|| "sync dir".into())
    }

    fn sync_all(&self, _: &Base) -> io::Result<()> {
        self.0.live(|| "sync all".into())
    }

    fn create(&self, base: &Base, path: &str, made: &mut dyn FnMut(&str)) -> io::Result<File> {
        self.0.live(|| format!("create {path}"))?;
        System.create(base, path, made)
    }

    fn rename(&self, base: &Base, path: &str, to: &str) -> io::Result<()> {
        self.0.live(|| format!("rename {path} to {to}"))?;
        System.rename(base, path, to)
    }

    fn remove(&self, base: &Base, path: &str) -> io::Result<()> {
        self.0.live(|| format!("remove {path}"))?;
        System.remove(base, path)
    }
}

struct Setup {
    dir: tempfile::TempDir,
    wiring: Arc<Wiring>,
    sink: FileSink,
    now: Now,
}

impl Setup {
    fn new(path: &str, open_files: usize, fsync: Fsync) -> Self {
        Setup::with(path, Format::Raw, open_files, fsync)
    }

    fn with(path: &str, format: Format, open_files: usize, fsync: Fsync) -> Self {
        let settings = |path| FileSinkSettings {
            path,
            format,
            open_files,
            open: Allowance::default(),
            fsync,
            max_files: 10_000,
            rotate: None,
        };
        Setup::of(tempfile::tempdir().unwrap(), path, settings)
    }

    /// A sink with these keys beside its path, as a config has them.
    fn written(path: &str, keys: &str) -> Self {
        let text = format!(
            "sources: {{ in: {{ type: stdin }} }}\nsinks: {{ out: {{ type: file, path: x{keys} }} }}\n"
        );
        let config = Config::parse("test", &text, &|_| None).unwrap();
        let SinkKind::File(file) = &config.sinks[0].kind else { panic!("{text}") };
        let settings = FileSinkSettings::of(file, Allowance::default()).unwrap();
        Setup::of(tempfile::tempdir().unwrap(), path, |path| FileSinkSettings { path, ..settings })
    }

    fn of(dir: tempfile::TempDir, path: &str, settings: impl FnOnce(Template) -> FileSinkSettings) -> Self {
        let path = Template::compile(&format!("{}/out/{path}", dir.path().display())).unwrap();
        let wiring = Arc::new(Wiring::default());
        let sink = FileSink::on(Box::new(Broken(Arc::clone(&wiring))), settings(path)).unwrap();
        // What it did to open is not looked at.
        wiring.operations.store(0, Relaxed);
        wiring.done.lock().clear();
        Setup { dir, wiring, sink, now: now() }
    }

    /// A sink that rotates as `rotate` says, in a directory of its own or that of another.
    fn rotating(dir: Option<tempfile::TempDir>, path: &str, rotate: RotateConfig) -> Self {
        let settings = |path| FileSinkSettings {
            open: Allowance::default(),
            path,
            format: Format::Raw,
            open_files: 4,
            fsync: Fsync::Checkpoint,
            max_files: 10_000,
            rotate: Some(rotate),
        };
        Setup::of(dir.unwrap_or_else(|| tempfile::tempdir().unwrap()), path, settings)
    }

    fn send(&self, batch: &Batch) -> Result<(), String> {
        self.sink.send_at(batch, self.now).map_err(|error| error.to_string())
    }

    fn send_lines(&self, source: &str, lines: &[&str]) -> Result<(), String> {
        self.send(&batch_of(&stream(source, "o", &[]), lines))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn pass(&mut self, time: Duration) {
        self.now.steady += time;
        self.now.wall += time.as_nanos() as i64;
    }
}

#[test]
fn entries_are_appended_to_their_files_in_order() {
    let setup = Setup::new("{source}/x.log", 8, Fsync::Checkpoint);
    let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
    let (batch, _) = Builder::default().lines(&a, &["1", "2"]).lines(&b, &["x"]).lines(&a, &["3"]).build();
    setup.send(&batch).unwrap();
    setup.send_lines("a", &["4"]).unwrap();
    assert_eq!((setup.read("a/x.log"), setup.read("b/x.log")), ("1\n2\n3\n4\n".into(), "x\n".into()));
}

#[test]
fn long_spans_short_ones_and_unended_ones_keep_their_order() {
    for bite in [0, 61, 4999] {
        let setup = Setup::new("x.log", 8, Fsync::None);
        setup.wiring.bite.store(bite, Relaxed);
        let one = stream("s", "o", &[]);
        let (mut builder, mut expected) = (Builder::default(), String::new());
        for round in 0..100 {
            let lines = [format!("{round} {}", "y".repeat(round * 97 % 9000)), format!("{round} short")];
            expected.extend(lines.iter().flat_map(|line| [line, "\n"]));
            let mut block = block_of(&one, &lines);
            if round % 3 == 0 {
                // As a datagram: no newline behind the last entry.
                block.shrink(block.text().len() - 1);
            }
            builder = builder.block(block);
        }
        setup.send(&builder.build().0).unwrap();
        assert!(setup.read("x.log") == expected, "{bite} bytes per write");
    }
}

#[test]
fn more_text_than_the_buffer_holds_is_written_whole() {
    for format in [Format::Text, Format::Json, Format::Raw] {
        let setup = Setup::with("x.log", format, 1, Fsync::None);
        let lines: Vec<String> = (0..4000).map(|at| format!("{at} {}", "z".repeat(300))).collect();
        let one = stream("s", "o", &[]);
        let mut block = block_of(&one, &lines);
        // Every other entry: no two stand together.
        (0..4000).filter(|at| at % 2 == 1).for_each(|at| block.discard(at));
        setup.send(&Builder::default().block(block).build().0).unwrap();
        let text = setup.read("x.log");
        assert_eq!(text.lines().count(), 2000);
        for (line, at) in text.lines().zip((0..4000).step_by(2)) {
            assert!(line.contains(&format!("{at} zzz")), "{format:?} {at}");
        }
    }
}

#[test]
fn a_full_disk_keeps_the_batch_whole_wherever_it_fills_up() {
    let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
    let long = "l".repeat(5000);
    for room in 0..5100 {
        // Around the edges every byte, inside the long line some.
        if (30..5000).contains(&room) && room % 611 != 0 {
            continue;
        }
        let setup = Setup::new("{source}.log", 1, Fsync::Checkpoint);
        setup.send_lines("a", &["before"]).unwrap();
        let (batch, _) =
            Builder::default().lines(&a, &["1", "2"]).lines(&b, &["x", &long]).lines(&a, &["3"]).build();
        setup.wiring.room.store(room + 1, Relaxed);
        let result = setup.send(&batch);
        if room < 2 * 3 + 2 + 5001 {
            assert!(result.unwrap_err().contains(".log: no space left on its disk"));
            assert_eq!(
                (setup.read("a.log"), setup.read("b.log")),
                ("before\n".into(), String::new()),
                "{room}"
            );
        }
        setup.wiring.room.store(0, Relaxed);
        if room < 2 * 3 + 2 + 5001 {
            setup.send(&batch).unwrap();
        }
        assert_eq!(setup.read("a.log"), "before\n1\n2\n3\n", "{room}");
        assert_eq!(setup.read("b.log"), format!("x\n{long}\n"));
        assert_eq!(setup.sink.duplicates(), 0);
    }
}

#[test]
fn what_cannot_be_taken_back_is_counted_and_no_line_is_torn() {
    let setup = Setup::new("a.log", 1, Fsync::Checkpoint);
    let batch = batch_of(&stream("a", "1", &[]), &["one", "two"]);
    setup.wiring.no_truncate.store(true, Relaxed);
    setup.wiring.room.store(6 + 1, Relaxed);
    setup.send(&batch).unwrap_err();
    setup.wiring.room.store(0, Relaxed);
    setup.send(&batch).unwrap();
    assert_eq!(setup.read("a.log"), "one\none\ntwo\n");
    assert_eq!((setup.sink.duplicates(), setup.read("a.log.torn")), (2, "tw\n".into()));
}

#[test]
fn what_someone_else_appended_is_not_cut_off() {
    let setup = Setup::new("{source}.log", 1, Fsync::Checkpoint);
    let (a, b) = (stream("a", "1", &[]), stream("b", "2", &[]));
    setup.send_lines("a", &["ours"]).unwrap();
    let (batch, _) = Builder::default().lines(&a, &["1"]).lines(&b, &["2"]).build();
    // The attempt fails at `b`, whose place is taken; the other writer comes before the undo.
    fs::create_dir(setup.path("b.log")).unwrap();
    let mut state = setup.sink.state.lock();
    setup.sink.write(&mut state, &batch, setup.now).unwrap_err();
    fs::OpenOptions::new().append(true).open(setup.path("a.log")).unwrap().write_all(b"theirs\n").unwrap();
    setup.sink.undo(&mut state);
    drop(state);
    assert_eq!((setup.read("a.log"), setup.sink.duplicates()), ("ours\n1\ntheirs\n".into(), 1));
}

#[test]
fn a_thousand_files_go_through_two_handles() {
    let setup = Setup::new("{fields.user}/{source}.log", 2, Fsync::Checkpoint);
    let one = stream("s", "o", &[]);
    for round in 0..2 {
        let lines: Vec<String> = (0..1000).map(|at| format!("{round} {at}")).collect();
        let mut block = block_of(&one, &lines);
        for at in 0..1000 {
            add_field(
                &mut block,
                at,
                b"user",
                format!("u{}", at % 500).as_bytes(),
                crate::entry::Kind::Plain,
            );
        }
        setup.send(&Builder::default().block(block).build().0).unwrap();
    }
    let open =
        fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let ours = open.filter(|path| path.starts_with(setup.path("")) && path.is_file()).count();
    assert!(ours <= 2 + 64, "{ours} files are open");
    for at in 0..500 {
        let expected = format!("0 {at}\n0 {}\n1 {at}\n1 {}\n", at + 500, at + 500);
        assert_eq!(setup.read(&format!("u{at}/s.log")), expected);
    }
    setup.sink.sync().unwrap();
    let synced = setup.wiring.synced.lock();
    let all =
        (0..500).all(|at| synced.contains(&fs::metadata(setup.path(&format!("u{at}/s.log"))).unwrap().ino()));
    assert!(all, "every file was synced");
}

#[test]
fn a_file_moved_away_is_left_within_a_second_and_at_once_when_told() {
    let mut setup = Setup::new("a.log", 4, Fsync::Checkpoint);
    setup.send_lines("a", &["1"]).unwrap();
    fs::rename(setup.path("a.log"), setup.path("a.log.1")).unwrap();
    setup.send_lines("a", &["2"]).unwrap();
    setup.pass(Duration::from_secs(1));
    setup.send_lines("a", &["3"]).unwrap();
    assert_eq!((setup.read("a.log.1"), setup.read("a.log")), ("1\n2\n".into(), "3\n".into()));

    fs::rename(setup.path("a.log"), setup.path("a.log.2")).unwrap();
    setup.sink.reopen();
    setup.send_lines("a", &["4"]).unwrap();
    assert_eq!((setup.read("a.log.2"), setup.read("a.log")), ("3\n".into(), "4\n".into()));

    fs::rename(setup.path(""), setup.dir.path().join("old")).unwrap();
    setup.sink.reopen();
    setup.send_lines("a", &["5"]).unwrap();
    assert_eq!(setup.read("a.log"), "5\n");
}

#[test]
fn a_removed_file_or_directory_is_made_again_at_once() {
    let setup = Setup::new("{source}/a.log", 4, Fsync::Checkpoint);
    setup.send_lines("a", &["1"]).unwrap();
    fs::remove_file(setup.path("a/a.log")).unwrap();
    setup.send_lines("a", &["2"]).unwrap();
    assert_eq!(setup.read("a/a.log"), "2\n");
    fs::remove_dir_all(setup.path("")).unwrap();
    setup.send_lines("a", &["3"]).unwrap();
    assert_eq!(setup.read("a/a.log"), "3\n");
    setup.sink.sync().unwrap();
}

#[test]
fn a_file_cut_at_any_byte_goes_on_with_whole_lines() {
    let sample = b"first\n\nsecond line\nthird\n";
    for cut in 0..=sample.len() {
        let setup = Setup::new("a.log", 4, Fsync::Checkpoint);
        fs::write(setup.path("a.log"), &sample[..cut]).unwrap();
        setup.send_lines("a", &["next"]).unwrap();
        let whole = sample[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let expected = [&sample[..whole], b"next\n"].concat();
        assert_eq!(setup.read("a.log").as_bytes(), expected, "cut at {cut}");
    }
}

#[test]
fn a_sync_covers_all_that_was_written_since_the_last() {
    let setup = Setup::new("{source}.log", 4, Fsync::Checkpoint);
    let synced = || std::mem::take(&mut *setup.wiring.synced.lock());
    let ino = |name: &str| fs::metadata(setup.path(name)).unwrap().ino();
    setup.send_lines("a", &["1"]).unwrap();
    setup.send_lines("b", &["1"]).unwrap();
    assert!(synced().is_empty());
    setup.sink.sync().unwrap();
    let mut both = synced();
    both.sort_unstable();
    let mut expected = vec![ino("a.log"), ino("b.log")];
    expected.sort_unstable();
    assert_eq!(both, expected);
    setup.send_lines("b", &["2"]).unwrap();
    setup.sink.sync().unwrap();
    assert_eq!(synced(), [ino("b.log")]);
    setup.sink.sync().unwrap();
    assert!(synced().is_empty());
}

#[test]
fn fsync_always_syncs_before_the_batch_counts_and_none_never() {
    let usual = Setup::written("a.log", "");
    usual.send_lines("a", &["1"]).unwrap();
    assert!(usual.wiring.synced.lock().is_empty());
    usual.sink.sync().unwrap();
    assert_eq!(usual.wiring.synced.lock().len(), 1);

    let always = Setup::written("a.log", ", fsync: always");
    always.send_lines("a", &["1"]).unwrap();
    assert_eq!(always.wiring.synced.lock().len(), 1);
    always.wiring.no_sync.store(true, Relaxed);
    always.send_lines("a", &["2"]).unwrap_err();
    assert_eq!(always.read("a.log"), "1\n");
    always.wiring.no_sync.store(false, Relaxed);
    always.send_lines("a", &["2"]).unwrap();
    assert_eq!((always.read("a.log"), always.sink.duplicates()), ("1\n2\n".into(), 0));

    let never = Setup::written("a.log", ", fsync: none");
    never.send_lines("a", &["1"]).unwrap();
    never.sink.sync().unwrap();
    assert!(never.wiring.synced.lock().is_empty());
}

#[test]
fn a_failed_sync_is_never_forgotten() {
    let setup = Setup::new("a.log", 4, Fsync::Checkpoint);
    setup.send_lines("a", &["1"]).unwrap();
    setup.wiring.no_sync.store(true, Relaxed);
    assert!(setup.sink.sync().is_err());
    setup.wiring.no_sync.store(false, Relaxed);
    assert!(setup.sink.sync().is_err());
    assert!(setup.sink.is_healthy().unwrap_err().contains("could not be made durable"));
}

#[test]
fn the_sink_says_why_it_is_unwell_until_it_is_well() {
    let setup = Setup::new("a.log", 4, Fsync::Checkpoint);
    let batch = batch_of(&stream("a", "o", &[]), &["1"]);
    setup.wiring.room.store(1, Relaxed);
    let Err(SendError::Retry { why, after: None }) = setup.sink.send(&batch) else {
        panic!("a full disk is no refusal")
    };
    assert!(why.ends_with("out/a.log: no space left on its disk"), "{why}");
    assert_eq!(setup.sink.is_healthy(), Err(why));
    setup.wiring.room.store(0, Relaxed);
    assert!(setup.sink.send(&batch).is_ok());
    assert_eq!(setup.sink.is_healthy(), Ok(()));
}

#[test]
fn a_planted_link_holds_the_batch_back() {
    let setup = Setup::new("{labels.app}/x.log", 4, Fsync::Checkpoint);
    let outside = setup.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, setup.path("evil")).unwrap();
    let error = setup.send(&batch_of(&stream("a", "o", &[("app", "evil")]), &["x"])).unwrap_err();
    assert!(error.ends_with("out/evil/x.log: a symbolic link stands in the way"), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    setup.send(&batch_of(&stream("a", "o", &[("app", "../outside")]), &["x"])).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_base_that_cannot_be_is_told_at_once() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "").unwrap();
    fs::create_dir(temp.path().join("dir")).unwrap();
    let error = |path: &str| {
        let path = Template::compile(&format!("{}/{path}", temp.path().display())).unwrap();
        let settings = FileSinkSettings {
            open: Allowance::default(),
            path,
            format: Format::Raw,
            open_files: 1,
            fsync: Fsync::None,
            max_files: 1,
            rotate: None,
        };
        FileSink::new(settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error("file/x.log").contains("file: "), "{}", error("file/x.log"));
    assert!(error("dir").contains("dir: "), "{}", error("dir"));
    assert_eq!(error("new/dirs/x.log"), "");
}

#[test]
fn nothing_is_lost_or_torn_on_a_disk_that_fails_at_random() {
    let mut random = fastrand::Rng::with_seed(7);
    let setup = Setup::new("{source}.log", 2, Fsync::Checkpoint);
    let streams: Vec<_> = (0..5).map(|at| stream(&format!("s{at}"), "o", &[])).collect();
    let mut expected = vec![String::new(); 5];
    for round in 0..300 {
        let mut builder = Builder::default();
        for part in 0..random.usize(1..8) {
            let to = random.usize(0..5);
            let lines: Vec<String> = (0..random.usize(1..5))
                .map(|at| format!("{round}.{part}.{at}{}", "x".repeat(random.usize(0..3000))))
                .collect();
            expected[to].extend(lines.iter().flat_map(|line| [line, "\n"]));
            builder = builder.lines(&streams[to], &lines);
        }
        let (batch, _) = builder.build();
        setup.wiring.bite.store(random.usize(0..5000), Relaxed);
        setup.wiring.room.store(random.u64(1..30_000), Relaxed);
        while setup.send(&batch).is_err() {
            setup.wiring.room.store(random.u64(1..60_000), Relaxed);
        }
    }
    for (at, expected) in expected.iter().enumerate() {
        assert!(setup.read(&format!("s{at}.log")) == *expected, "s{at}.log");
    }
    assert_eq!(setup.sink.duplicates(), 0);
}

#[test]
fn the_real_disk_that_is_full_says_so() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = System.write(&full, &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(explain(Path::new("out"), "a.log", error).to_string(), "out/a.log: no space left on its disk");
}

#[test]
fn ten_thousand_hostile_values_make_no_file_outside_the_base() {
    use proptest::prelude::*;
    let settings = |path| FileSinkSettings {
        open: Allowance::default(),
        path,
        format: Format::Raw,
        open_files: 64,
        fsync: Fsync::None,
        max_files: 100_000,
        rotate: None,
    };
    let template = "{labels.l}/{fields.f}{origin}/x-{source}{fields.f}";
    let setup = Setup::of(tempfile::tempdir().unwrap(), template, settings);
    let outside = setup.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "kept").unwrap();
    // What someone who may write there plants, under names that values can have.
    symlink(&outside, setup.path("evil")).unwrap();
    fs::create_dir(setup.path("sub")).unwrap();
    symlink(&outside, setup.path("sub/evil")).unwrap();
    symlink(outside.join("secret"), setup.path("__overflow__")).unwrap();
    let hostile = || {
        let classics = proptest::sample::select(vec![
            "../../x",
            "..",
            ".",
            "/etc/passwd",
            "..%2f..%2f",
            "%252e%252e",
            "a\0b",
            "..\\..\\x",
            "\u{2025}/\u{ff0f}",
            "x.",
            "x ",
            "evil",
            "sub",
            "secret",
            "CON",
            "-rf",
            "~",
            "$(id)",
            "`id`",
            "a\nb",
            "",
            "__overflow__",
            "x.torn",
            "x-20261123T140000.gz",
        ]);
        prop_oneof![
            3 => classics.prop_map(|text| text.as_bytes().to_vec()),
            2 => "(\\PC|[./\\\\%\\x00-\\x20]){0,40}".prop_map(String::into_bytes),
            1 => "[./]{4090,4100}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..40),
        ]
    };
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let values = (hostile(), hostile(), hostile(), hostile());
    let ran = runner.run(&values, |(source, origin, label, field)| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let one = stream(&text(&source), &text(&origin), &[("l", &text(&label))]);
        let mut block = block_of(&one, &["x"]);
        add_field(&mut block, 0, b"f", &field, crate::entry::Kind::Plain);
        // A planted link in the way is an error, and the only one.
        if let Err(error) = setup.send(&Builder::default().block(block).build().0) {
            prop_assert!(error.contains("symbolic link"), "{}", error);
        }
        Ok(())
    });
    ran.unwrap();
    let made = fs::read_dir(setup.path("")).unwrap().count();
    assert!(made > 1000, "only {made} names: hardly anything was tried");
    let names = |dir: &Path| {
        let entries =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(setup.dir.path()), ["out".to_owned(), "outside".to_owned()].into());
    assert_eq!(names(&outside), ["secret".to_owned()].into());
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"kept");
}

mod rotation;
