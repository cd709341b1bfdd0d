//! Drives the binary as a child process and recounts from outside what it says of itself.
#![allow(dead_code, reason = "each test binary uses its own part of the support")]

pub mod engine;
pub mod http;
pub mod tls;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest a test waits for anything before it fails: far beyond what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The binary under test: `RINGMAIN_BIN`, or the one cargo built for this test.
pub fn binary() -> PathBuf {
    std::env::var_os("RINGMAIN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ringmain").into(), PathBuf::from)
}

/// Random numbers whose seed is printed: `RINGMAIN_SEED` runs them again.
pub fn random() -> (u64, fastrand::Rng) {
    let seed = std::env::var("RINGMAIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (set RINGMAIN_SEED to run it again)");
    (seed, fastrand::Rng::with_seed(seed))
}

/// A running instance. Killed when dropped.
pub struct Instance {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Instance {
    /// Starts the binary in `dir` with `config` and waits until it says that it is ready.
    pub fn start(dir: &Path, config: &str) -> Instance {
        let mut instance = Instance::spawn(dir, config);
        instance.wait_log("ready");
        instance
    }

    /// Starts the binary in `dir` with `config`.
    pub fn spawn(dir: &Path, config: &str) -> Instance {
        Instance::spawn_by(dir, config, &mut Command::new(binary()))
    }

    /// Starts it by a command line of one's own, to which the arguments of the binary are added.
    pub fn spawn_by(dir: &Path, config: &str, command: &mut Command) -> Instance {
        fs::write(dir.join("config.yaml"), config).expect("the config can be written");
        let mut child = command
            .args(["-c", "config.yaml"])
            .current_dir(dir)
            .env("RINGMAIN_LOG", "info")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Instance { child, log, seen: Vec::new() }
    }

    /// Waits for a log line that contains `words`, and gives it.
    pub fn wait_log(&mut self, words: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(words)) {
            return line.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(_) => panic!("no log line says {words:?}; it said:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// All log lines so far.
    pub fn log(&mut self) -> String {
        self.seen.extend(self.log.try_iter());
        self.seen.join("\n")
    }

    /// The address after `scheme` in the log line of `component`, such as `tcp://`.
    pub fn address(&mut self, component: &str, scheme: &str) -> String {
        let line = self.wait_log(component);
        let at = line.find(scheme).unwrap_or_else(|| panic!("no {scheme} in {line}"));
        let rest = &line[at + scheme.len()..];
        rest.split([',', '/', ' ']).next().expect("an address").to_string()
    }

    /// What `GET path` on the admin address answers: status and body.
    pub fn get(&mut self, path: &str) -> (u16, String) {
        let address = self.address("admin: http", "http://");
        let mut stream = TcpStream::connect(address).expect("the admin server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_string())
    }

    /// `/stats`.
    pub fn stats(&mut self) -> Value {
        serde_json::from_str(&self.get("/stats").1).expect("stats are JSON")
    }

    /// Waits until `is_so` says yes to `/stats`, and gives them.
    pub fn wait_stats(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats();
            if is_so(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{stats:#}\n{}", self.log());
            self.pause();
        }
    }

    /// Waits until nothing is on its way and `delivered` copies came out of the sink `sink`.
    pub fn wait_delivered(&mut self, sink: &str, delivered: u64) -> Value {
        self.wait_stats(&format!("{delivered} delivered by {sink}"), |stats| {
            let row = row(stats, "sinks", sink);
            number(row, "delivered") >= delivered && at_rest(stats)
        })
    }

    fn pause(&mut self) {
        match self.log.recv_timeout(LOOK) {
            Ok(line) => self.seen.push(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("piped and not yet taken")
    }

    /// Its standard output.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("piped and not yet taken")
    }

    /// Sends a signal, such as `TERM`. After `STOP` all of it stands still.
    pub fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "HUP" => Signal::HUP,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            other => panic!("no signal called {other}"),
        };
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is ours to signal");
        let deadline = Instant::now() + PATIENCE;
        while signal == Signal::STOP && !self.stands_still() {
            assert!(Instant::now() < deadline, "it was told to stop and goes on");
            std::thread::yield_now();
        }
    }

    /// Whether every thread is stopped: on a busy machine some run on for a while.
    fn stands_still(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it is there");
        let stats =
            tasks.flatten().map(|task| fs::read_to_string(task.path().join("stat")).unwrap_or_default());
        // The state stands behind the name in parentheses.
        stats
            .into_iter()
            .all(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')))
    }

    /// Asks it to end and gives its exit code.
    pub fn terminate(mut self) -> i32 {
        self.signal("TERM");
        self.wait().code().unwrap_or_else(|| panic!("killed by a signal\n{}", self.log()))
    }

    /// Kills it, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.seen.extend(self.log.try_iter());
        self.child.try_wait().expect("its status can be had")
    }

    /// Waits for it to end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its status can be had") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log());
            self.pause();
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- its log:\n{}", self.log());
        }
    }
}

/// Puts another config where the instance in `dir` reads it.
pub fn put(dir: &Path, config: &str) {
    // As an editor does: the file is there at any moment.
    fs::write(dir.join("config.new"), config).expect("written");
    fs::rename(dir.join("config.new"), dir.join("config.yaml")).expect("renamed");
}

/// Signals a reload, and waits for what is said of it: the first line after the signal that contains one of `words`.
pub fn reload(instance: &mut Instance, words: &[&str]) -> String {
    let before = lines_with(&instance.log(), words);
    instance.signal("HUP");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = instance.log();
        if lines_with(&log, words) > before {
            let found = log.lines().rfind(|line| words.iter().any(|word| line.contains(word)));
            return found.unwrap_or_default().to_owned();
        }
        assert!(Instant::now() < deadline, "no word of the reload: {words:?}\n{log}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// How many lines contain one of `words`.
fn lines_with(log: &str, words: &[&str]) -> usize {
    log.lines().filter(|line| words.iter().any(|word| line.contains(word))).count()
}

/// What is said at the end of every reload, good or bad.
pub const SAID: [&str; 3] = [": in force", ": nothing changed", ": refused"];

/// The row of `/stats` in `table` that is called `name`.
pub fn row<'a>(stats: &'a Value, table: &str, name: &str) -> &'a Value {
    let rows = stats[table].as_array().unwrap_or_else(|| panic!("no table {table} in {stats:#}"));
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name} in {table}"))
}

/// The number `key` of a row.
pub fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {row:#}"))
}

/// Whether no entry is on its way.
pub fn at_rest(stats: &Value) -> bool {
    let rows = |table: &str, key: &str| {
        stats[table].as_array().is_some_and(|rows| rows.iter().all(|row| row[key] == 0))
    };
    rows("sources", "in_transit") && rows("sinks", "in_flight")
}

/// Asserts the three equations of the ledger, recomputed here from the numbers of `/stats`.
pub fn assert_ledger(stats: &Value) {
    assert!(at_rest(stats), "not at rest: {stats:#}");
    let dropped = |row: &Value| {
        row["dropped"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum::<u64>())
    };
    let (mut routed, mut copies) = (0, 0);
    for row in stats["sources"].as_array().expect("sources") {
        let out = number(row, "filtered") + dropped(row) + number(row, "routed") + number(row, "unrouted");
        assert_eq!(number(row, "received"), out + number(row, "in_transit"), "{row:#}");
        routed += number(row, "routed") + number(row, "fan_out_extra");
    }
    for row in stats["sinks"].as_array().expect("sinks") {
        let kept = number(row, "delivered") + number(row, "persisted") + number(row, "dead_lettered");
        assert_eq!(number(row, "copies"), kept + dropped(row) + number(row, "in_flight"), "{row:#}");
        copies += number(row, "copies");
    }
    assert_eq!(copies, routed, "copies in all lanes are what was routed\n{stats:#}");
}

/// A numbered line of `stream`, padded to about `len` bytes. Its number and stream can be read back: [`Recount`].
pub fn line(stream: &str, number: u64, len: usize) -> String {
    let mut line = format!("stream={stream} n={number} ");
    let fill = len.saturating_sub(line.len());
    line.extend((0..fill).map(|at| char::from(b'a' + ((number as usize + at) % 26) as u8)));
    line
}

/// What came out, by stream: every number in the order it came.
#[derive(Default, Debug)]
pub struct Recount {
    pub streams: BTreeMap<String, Vec<u64>>,
    pub foreign: Vec<String>,
}

impl Recount {
    /// Reads every file below `dir` (names in order) and checks each line against what [`line`] makes of its number.
    pub fn of(dir: &Path) -> Recount {
        let mut recount = Recount::default();
        for path in files(dir) {
            let text = fs::read(&path).expect("output can be read");
            assert!(text.is_empty() || text.ends_with(b"\n"), "{} ends in a whole line", path.display());
            recount.add(&String::from_utf8(text).expect("output is text"));
        }
        recount
    }

    /// Adds lines.
    pub fn add(&mut self, text: &str) {
        for out in text.lines() {
            let start = out.find("stream=");
            let parsed = start.and_then(|at| {
                let whole = &out[at..];
                let mut words = whole.split(' ');
                let stream = words.next()?.strip_prefix("stream=")?;
                let number: u64 = words.next()?.strip_prefix("n=")?.parse().ok()?;
                (line(stream, number, whole.len()) == whole).then(|| (stream.to_string(), number))
            });
            match parsed {
                Some((stream, number)) => self.streams.entry(stream).or_default().push(number),
                None => self.foreign.push(out.to_string()),
            }
        }
    }

    /// How many lines came out in all.
    pub fn lines(&self) -> u64 {
        self.streams.values().map(|numbers| numbers.len() as u64).sum()
    }

    /// Asserts that `stream` came out as 0, 1, .. `count` - 1: none lost, none twice, none out of order.
    pub fn assert_exact(&self, stream: &str, count: u64) {
        let numbers = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let wrong = numbers.iter().enumerate().find(|(at, number)| *at as u64 != **number);
        assert!(wrong.is_none(), "stream {stream}: (place, number) {wrong:?} of {} lines", numbers.len());
        assert_eq!(numbers.len() as u64, count, "stream {stream}");
    }

    /// How many of `count` numbers of `stream` are missing, and how many came more than once.
    pub fn lost_and_twice(&self, stream: &str, count: u64) -> (u64, u64) {
        let mut times = vec![0_u32; count as usize];
        for number in self.streams.get(stream).map_or(&[][..], Vec::as_slice) {
            times[*number as usize] += 1;
        }
        let lost = times.iter().filter(|times| **times == 0).count() as u64;
        (lost, times.iter().map(|times| u64::from(times.saturating_sub(1))).sum())
    }
}

/// All files below `dir`, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}

/// Runs the binary with `args` in `dir` to its end: exit code, standard output, standard error.
pub fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(binary()).args(args).current_dir(dir).stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
