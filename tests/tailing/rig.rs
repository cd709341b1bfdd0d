//! One directory of logs, one instance that reads it, and a sink that can be struck dead.

use super::support::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What every case has in common. `SOURCE` is the source's further keys.
const CONFIG: &str = r#"
data_dir: state
admin: { listen: "127.0.0.1:0" }
quotas: { max_memory: 36MiB }
dispatcher: { retry_backoff: 50ms, retry_multiplier: 1, retry_jitter: none }
sources:
  logs: { type: file, rescan: 200ms, rotate_wait: 500ms, partial_timeout: 1s, SOURCE }
sinks: { out: { type: file, path: "out/{source}" } }
"#;
/// More than everything between a source and a dead sink holds, with [`CONFIG`]'s memory, and more than may be on its way
/// of a single file.
pub const FLOOD: u64 = 20 << 20;

/// How often a case is repeated: `RINGMAIN_ROUNDS`, or a few times.
pub fn rounds() -> u64 {
    std::env::var("RINGMAIN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

pub struct Rig {
    pub dir: tempfile::TempDir,
    config: String,
    pub instance: Option<Instance>,
    /// How many lines each stream was given; the streams' names in order.
    pub written: std::collections::BTreeMap<String, u64>,
    ends: u64,
    /// It was killed: what came twice must not stand for what is still to come.
    killed: bool,
}

impl Rig {
    /// A rig whose source has these further keys.
    pub fn new(source: &str) -> Rig {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("logs")).expect("created");
        let config = CONFIG.replace("SOURCE", source);
        Rig {
            dir,
            config,
            instance: None,
            written: std::collections::BTreeMap::new(),
            ends: 0,
            killed: false,
        }
    }

    /// A rig that reads `logs/*.log` and runs.
    pub fn running() -> Rig {
        let mut rig = Rig::new(r#"include: ["logs/*.log"]"#);
        rig.start();
        rig
    }

    /// Gives it other `quotas.max_memory`.
    pub fn set_memory(&mut self, size: &str) {
        self.config = self.config.replace("36MiB", size);
    }

    pub fn start(&mut self) {
        self.instance = Some(Instance::start(self.dir.path(), &self.config));
    }

    pub fn running_instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("it runs")
    }

    /// Ends it as a service manager does; its exit code.
    pub fn stop(&mut self) -> i32 {
        self.instance.take().expect("it runs").terminate()
    }

    pub fn kill(&mut self) {
        self.instance.take().expect("it runs").kill();
        self.killed = true;
    }

    /// The sink can deliver nothing any more: where its file should be is a directory.
    pub fn block(&mut self) {
        let out = self.dir.path().join("out/logs");
        if out.exists() {
            fs::rename(&out, self.dir.path().join("kept")).expect("moved away");
        }
        fs::create_dir_all(&out).expect("created");
        if let Some(instance) = &mut self.instance {
            // It holds the file open: now it looks for it by its name again.
            instance.signal("HUP");
            instance.wait_log("nothing changed");
        }
    }

    pub fn unblock(&self) {
        let (out, kept) = (self.dir.path().join("out/logs"), self.dir.path().join("kept"));
        fs::remove_dir(&out).expect("removed");
        if kept.exists() {
            fs::rename(kept, out).expect("moved back");
        }
    }

    /// Kills the sink and writes so much that nothing more is read, whatever comes.
    pub fn flood(&mut self) {
        self.block();
        for n in 0..4 {
            let text = self.text(&format!("flood{n}"), FLOOD / 4 / 2000, 2000);
            append(&self.log(&format!("flood{n}.log")), text.as_bytes());
        }
        self.wait_blocked();
    }

    /// Waits until the source does not read any more though there is something to read.
    pub fn wait_blocked(&mut self) {
        self.running_instance().wait_stats("the source stands still", |stats| {
            let (source, sink) = (row(stats, "sources", "logs"), row(stats, "sinks", "out"));
            let unread =
                number(source, "lag_bytes") > FLOOD / 2 && number(source, "received") * 2000 < FLOOD / 2;
            source["gate_open"] == false || (number(sink, "errors") > 0 && unread)
        });
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    /// The next `count` lines of a stream.
    pub fn text(&mut self, stream: &str, count: u64, len: usize) -> String {
        let next = self.written.entry(stream.into()).or_default();
        let text = (*next..*next + count).map(|n| line(stream, n, len) + "\n").collect();
        *next += count;
        text
    }

    /// Appends the next `count` lines of `stream` to the log `name`.
    pub fn append(&mut self, name: &str, stream: &str, count: u64) {
        let text = self.text(stream, count, 100);
        append(&self.log(name), text.as_bytes());
    }

    /// Shifts the numbered files and gives the log the number 1, as `logrotate` does; `app.log` is then missing.
    pub fn rotate(&self, name: &str) {
        for n in (1..200).rev() {
            for end in ["", ".gz", ".zst"] {
                let from = self.log(&format!("{name}.{n}{end}"));
                if from.exists() {
                    fs::rename(from, self.log(&format!("{name}.{}{end}", n + 1))).expect("renamed");
                }
            }
        }
        fs::rename(self.log(name), self.log(&format!("{name}.1"))).expect("renamed");
    }

    /// As `gzip` does: the same time of writing, and the plain file goes.
    pub fn gzip(&self, name: &str) {
        let path = self.log(name);
        let (text, meta) = (fs::read(&path).expect("a log"), fs::metadata(&path).expect("a log"));
        let packed = File::create(self.log(&format!("{name}.gz"))).expect("created");
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        encoder.write_all(&text).expect("packed");
        let packed = encoder.finish().expect("packed");
        packed.set_modified(meta.modified().expect("a time")).expect("set");
        fs::remove_file(path).expect("removed");
    }

    /// Everything that came out so far; a line that is only half there is left out.
    pub fn out(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let path = self.dir.path().join("out/logs");
        if path.is_file() {
            let mut file = File::open(path).expect("it is there");
            file.read_to_end(&mut bytes).expect("it can be read");
        }
        let whole = memchr_last_newline(&bytes);
        bytes.truncate(whole);
        bytes
    }

    /// Waits until as many lines came out as were written, in all.
    pub fn wait_out(&mut self) {
        let want: u64 = self.written.values().sum::<u64>() + self.ends;
        self.wait_lines(want);
    }

    /// Waits until `want` lines came out.
    pub fn wait_lines(&mut self, want: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines_out();
            if lines >= want {
                return;
            }
            if Instant::now() > deadline {
                let lost = self.recount();
                let lost: Vec<_> = self
                    .written
                    .iter()
                    .map(|(stream, count)| (stream, lost.lost_and_twice(stream, *count)))
                    .filter(|(_, lost)| *lost != (0, 0))
                    .collect();
                let log = self.instance.as_mut().map(Instance::log).unwrap_or_default();
                panic!("{lines} of {want} lines came out; (lost, twice): {lost:?}\n{log}");
            }
            if let Some(instance) = &mut self.instance {
                instance.stats();
            }
        }
    }

    fn lines_out(&self) -> u64 {
        let out = self.out();
        let mut lines = out.split_inclusive(|byte| *byte == b'\n');
        let count = match self.killed {
            true => lines.collect::<std::collections::HashSet<_>>().len(),
            false => lines.by_ref().count(),
        };
        count as u64
    }

    pub fn recount(&self) -> Recount {
        let mut recount = Recount::default();
        let out = String::from_utf8_lossy(&self.out()).into_owned();
        recount.add(&out);
        recount.foreign.retain(|line| !line.starts_with("end "));
        recount
    }

    /// Waits for a look at everything and for what it finds: a file that is written now is found after what was there
    /// before.
    pub fn wait_looked(&mut self) {
        self.ends += 1;
        let text = format!("end {}", self.ends);
        append(&self.log(&format!("end{}.log", self.ends)), format!("{text}\n").as_bytes());
        let deadline = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&self.out()).contains(&format!("{text}\n")) {
            assert!(Instant::now() < deadline, "{text} never came\n{}", self.running_instance().log());
            self.running_instance().stats();
        }
        self.running_instance().wait_stats("nothing waits", |stats| {
            at_rest(stats) && number(row(stats, "sources", "logs"), "lag_bytes") == 0
        });
    }

    /// Waits for all lines, ends it, starts it again, ends it: nothing lost, nothing twice, nothing torn.
    pub fn assert_all(&mut self, what: &str) {
        self.wait_out();
        self.wait_looked();
        self.stop();
        self.start();
        self.wait_looked();
        self.stop();
        self.assert_recount(what, 0);
    }

    /// Nothing is lost, nothing torn, and at most `twice` lines came twice.
    pub fn assert_recount(&self, what: &str, twice_max: u64) -> u64 {
        let recount = self.recount();
        let mut all_twice = 0;
        for (stream, count) in &self.written {
            let (lost, twice) = recount.lost_and_twice(stream, *count);
            assert_eq!(lost, 0, "{what}: lost of {count} lines of {stream}; {twice} twice");
            all_twice += twice;
        }
        assert!(all_twice <= twice_max, "{what}: {all_twice} lines came twice");
        assert!(recount.foreign.is_empty(), "{what}: torn {:?}", recount.foreign.first());
        all_twice
    }
}

fn memchr_last_newline(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
    file.write_all(bytes).expect("written");
}
