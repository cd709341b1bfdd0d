//! Runs single tests of other test binaries.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What came of a test whose key was taken away.
pub enum Outcome {
    /// It failed; what it said.
    Red(String),
    /// The config is refused without the key, so that nothing ran.
    Refused,
    /// It passed.
    Green,
    /// It passed, and no config it gave had the key.
    Absent,
}

/// The test binaries, by name.
pub struct Tests {
    binaries: BTreeMap<String, PathBuf>,
    real: PathBuf,
    marks: tempfile::TempDir,
}

impl Tests {
    /// Has cargo build all.
    pub fn build() -> Tests {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // What cargo told us of this package would have it build others anew that asked for the same names.
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        for (name, _) in std::env::vars_os() {
            if told.iter().any(|told| name.to_string_lossy().starts_with(told)) {
                command.env_remove(name);
            }
        }
        let out = command
            .args(["test", "--no-run", "--tests", "--message-format=json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(out.status.success(), "the tests do not build");
        let artifacts = out.stdout.split(|byte| *byte == b'\n').filter_map(|line| {
            let artifact: serde_json::Value = serde_json::from_slice(line).ok()?;
            let is_test = artifact["target"]["kind"][0] == "test";
            let name = artifact["target"]["name"].as_str().filter(|_| is_test)?;
            Some((name.to_owned(), artifact["executable"].as_str()?.into()))
        });
        let real = std::env::var_os("RINGMAIN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_ringmain").into());
        Tests {
            binaries: artifacts.collect(),
            real: real.into(),
            marks: tempfile::tempdir().expect("a directory"),
        }
    }

    /// How long the test takes as it is; `None` if it fails.
    pub fn time(&self, binary: &str, name: &str) -> Option<Duration> {
        let (begun, mut command) = (Instant::now(), self.command(binary, name));
        let output = command.env("RINGMAIN_BIN", &self.real).output().expect("it runs");
        output.status.success().then(|| begun.elapsed())
    }

    /// Runs the test with `key` taken out of every config it gives. After `patience` it counts as failed.
    pub fn without(&self, key: &str, binary: &str, name: &str, patience: Duration) -> Outcome {
        let mark = self.marks.path().join(key.replace('/', "_"));
        let mut child = self
            .command(binary, name)
            .env("RINGMAIN_BIN", std::env::current_exe().expect("a path"))
            .env("RINGMAIN_REAL", &self.real)
            .env("RINGMAIN_WITHOUT", key)
            .env("RINGMAIN_WITHOUT_MARK", &mark)
            .spawn()
            .expect("it runs");
        let (ended, said) = watch(&mut child, patience);
        let marks = std::fs::read_to_string(&mark).unwrap_or_default();
        match ended {
            Some(true) if marks.is_empty() => Outcome::Absent,
            Some(true) => Outcome::Green,
            // Nothing that was started with it taken out got past its config.
            _ if !marks.is_empty() && marks.lines().all(|line| line == "refused") => Outcome::Refused,
            Some(false) => Outcome::Red(last_words(&said)),
            None => Outcome::Red("waits in vain".into()),
        }
    }

    fn command(&self, binary: &str, name: &str) -> Command {
        let path = self.binaries.get(binary).unwrap_or_else(|| panic!("no test binary {binary}"));
        let mut command = Command::new(path);
        command
            .args(["--exact", name, "--nocapture"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// Waits for the end of `child`: whether it was a good one, `None` if it took too long, and what it said.
fn watch(child: &mut Child, patience: Duration) -> (Option<bool>, String) {
    let mut pipes = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let readers = (
        std::thread::spawn(move || drop(pipes.0.read_to_end(&mut Vec::new()))),
        std::thread::spawn(move || {
            let mut said = Vec::new();
            drop(pipes.1.read_to_end(&mut said));
            String::from_utf8_lossy(&said).into_owned()
        }),
    );
    let (begun, mut ended) = (Instant::now(), None);
    while ended.is_none() && begun.elapsed() < patience {
        ended = child.try_wait().expect("it is ours").map(|status| status.success());
        std::thread::sleep(Duration::from_millis(20));
    }
    // What it started is of its group.
    let group = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
    readers.0.join().expect("read");
    (ended, readers.1.join().expect("read"))
}

/// The first line of what the test panicked with.
fn last_words(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    lines.next().unwrap_or_default().chars().take(100).collect()
}
