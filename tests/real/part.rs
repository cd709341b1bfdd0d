//! A program that is not ours, as a child process.

use super::support::PATIENCE;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A running program. Killed when dropped, and then heard if the test fails.
pub struct Part {
    child: Child,
    log: PathBuf,
}

impl Part {
    /// Starts a program whose output goes to a file in `dir`.
    pub fn start(dir: &Path, command: &mut Command) -> Part {
        let log = dir.join("part.log");
        let file = File::create(&log).expect("a log file");
        let also = file.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(also).spawn();
        Part { child: child.unwrap_or_else(|error| missing(command, &error)), log }
    }

    /// Waits for a file it makes, and gives what that holds.
    pub fn wait_file(&mut self, path: &Path) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match fs::read_to_string(path) {
                Ok(text) if !text.is_empty() => return text,
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
            let ended = self.child.try_wait().expect("its status can be had");
            assert!(ended.is_none() && Instant::now() < deadline, "no {}, {ended:?}", path.display());
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- what the other program said:\n{}",
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// Runs a program to its end, which has to be a good one.
pub fn finish(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| missing(command, &error));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

fn missing(command: &Command, error: &std::io::Error) -> ! {
    panic!("{}: {error}; `.ci/parts DIR` gets it into DIR/bin", command.get_program().display())
}
