//! The binary as a child process, and what the kernel says of it (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running instance. Killed when dropped.
pub struct Child {
    child: std::process::Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Child {
    /// Starts the binary in `dir` and waits until it is ready.
    pub fn start(dir: &Path, config: &str) -> Child {
        fs::write(dir.join("config.yaml"), config).expect("the config can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringmain"))
            .args(["-c", "config.yaml"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, log) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.for_each(|line| sender.send(line).unwrap_or(()));
        });
        let mut started = Child { child, log, seen: Vec::new() };
        started.wait_log("ready");
        started
    }

    /// The log line that contains `words`.
    pub fn wait_log(&mut self, words: &str) -> String {
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            let line = self.log.recv_timeout(PATIENCE);
            self.seen.push(line.unwrap_or_else(|_| panic!("no {words:?} in {:#?}", self.seen)));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, in words.
    pub fn memory(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let mib = |key| number(&status, key) as f64 / 1024.0;
        format!(
            "{:>9.1} MiB now ({:.1} its own, {:.1} of files), {:.1} MiB at most",
            mib("VmRSS:"),
            mib("RssAnon:"),
            mib("RssFile:"),
            mib("VmHWM:")
        )
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used, by thread.
pub struct Usage {
    pub threads: BTreeMap<String, ThreadUsage>,
}

/// What one thread has used.
#[derive(Clone, Copy, Default)]
pub struct ThreadUsage {
    /// Seconds of CPU time.
    pub cpu: f64,
    /// Times it went to sleep, and so was woken.
    pub wakes: u64,
}

impl Usage {
    pub fn of(process: u32) -> Usage {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
        let thread = |task: fs::DirEntry| {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let cpu =
                read("schedstat").split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0)
                    / 1e9;
            let wakes = number(&read("status"), "\nvoluntary_ctxt_switches:");
            let id = task.file_name();
            (format!("{} ({})", read("comm").trim(), id.to_string_lossy()), ThreadUsage { cpu, wakes })
        };
        Usage { threads: tasks.filter_map(Result::ok).map(thread).collect() }
    }

    pub fn cpu(&self) -> f64 {
        self.threads.values().map(|thread| thread.cpu).sum()
    }

    pub fn wakes(&self) -> u64 {
        self.threads.values().map(|thread| thread.wakes).sum()
    }
}

/// The number behind `key`.
fn number(status: &str, key: &str) -> u64 {
    let found = status.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    found.unwrap_or_else(|| panic!("no {key} in {status}"))
}
