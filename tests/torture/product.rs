//! The release binary as a child process: started plainly, under a tracer, or with a shim before its libraries.

use crate::strace::Injection;
use crate::support::{self, Instance};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(20);

/// How it is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// What the tracer does to its system calls.
    pub injections: Vec<Injection>,
    /// Where the tracer writes what it saw, and of which calls.
    pub trace: Option<(PathBuf, String)>,
    pub environment: Vec<(String, String)>,
}

impl Start {
    /// The command line without the arguments of the binary.
    ///
    /// Whatever becomes of the rig, the kernel kills the product with it.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if !self.injections.is_empty() || self.trace.is_some() {
            // `-D`: the product is our child, and the tracer beside it.
            command.args(["strace", "-D", "-f", "-q", "-e", "signal=none"]);
            let mut calls: Vec<&str> = self.injections.iter().map(|injection| &injection.calls[..]).collect();
            match &self.trace {
                Some((path, what)) => {
                    calls.push(what);
                    command.arg("-y").arg("-o").arg(path);
                }
                None => _ = command.args(["-o", "/dev/null"]),
            }
            command.arg("-e").arg(format!("trace={}", calls.join(",")));
            for injection in &self.injections {
                command.arg("-e").arg(injection.argument());
            }
            for (name, value) in &self.environment {
                command.arg("-E").arg(format!("{name}={value}"));
            }
        } else {
            command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        }
        command.arg(support::binary());
        command
    }
}

/// One process after the other on the same directory.
pub struct Product {
    dir: PathBuf,
    /// Counts starts from 1.
    pub epoch: u32,
    instance: Option<Instance>,
    /// How long each start took until it was ready.
    pub ready_after: Vec<Duration>,
}

impl Product {
    pub fn new(dir: &Path) -> Product {
        Product { dir: dir.to_path_buf(), epoch: 0, instance: None, ready_after: Vec::new() }
    }

    /// Starts it with a config that is made for the number of the start, and waits until it is ready.
    pub fn start(&mut self, config: impl Fn(u32) -> String) {
        self.spawn(&Start::default(), config);
        let begun = Instant::now();
        self.get().wait_log("ready");
        self.ready_after.push(begun.elapsed());
    }

    /// Starts it; it may end before it is ready.
    pub fn spawn(&mut self, start: &Start, config: impl Fn(u32) -> String) {
        assert!(self.instance.is_none(), "it runs");
        self.epoch += 1;
        let mut command = start.command();
        self.instance = Some(Instance::spawn_by(&self.dir, &config(self.epoch), &mut command));
    }

    /// The running process.
    pub fn get(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("it runs")
    }

    pub fn kill(&mut self) {
        self.instance.take().expect("it runs").kill();
    }

    /// Asks it to end; exit code and how long that took.
    pub fn terminate(&mut self) -> (i32, Duration) {
        let begun = Instant::now();
        (self.instance.take().expect("it runs").terminate(), begun.elapsed())
    }

    /// Waits so long for it to end by itself; if it did, how.
    pub fn wait_end(&mut self, longest: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + longest;
        loop {
            let ended = self.get().ended();
            if ended.is_some() {
                self.instance = None;
                return ended;
            }
            if Instant::now() >= deadline {
                return None;
            }
            sleep(LOOK);
        }
    }

    /// Waits until everything it was given is out of its hands, and gives `/stats`. It may take long, as long as it goes on.
    pub fn drain(&mut self) -> Value {
        loop {
            let (before, begun) = (out_of_hands(&self.get().stats()), Instant::now());
            let goes_on = |stats: &Value| begun.elapsed() > PACE && out_of_hands(stats) > before;
            let is_so = |stats: &Value| is_drained(stats) || goes_on(stats);
            let stats = self.get().wait_stats("everything delivered, or more than before", is_so);
            if is_drained(&stats) {
                return stats;
            }
        }
    }
}

/// How often it has to have gone on.
const PACE: Duration = Duration::from_secs(1);

/// How many copies the sinks have done with.
fn out_of_hands(stats: &Value) -> u64 {
    let row = |row: &Value| {
        let dropped =
            row["dropped"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64());
        let done = ["delivered", "dead_lettered"].into_iter().filter_map(|key| row[key].as_u64());
        done.chain(dropped).sum::<u64>()
    };
    stats["sinks"].as_array().into_iter().flatten().map(row).sum()
}

/// Whether nothing is on its way: neither in memory nor in a buffer on disk nor in a file not yet read.
pub fn is_drained(stats: &Value) -> bool {
    let zero = |table: &str, key: &str| {
        let rows = stats[table].as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().all(|row| row[key].as_u64().unwrap_or(0) == 0)
    };
    zero("sources", "in_transit")
        && zero("sources", "lag_bytes")
        && zero("sinks", "in_flight")
        && zero("sinks", "persisted")
}
