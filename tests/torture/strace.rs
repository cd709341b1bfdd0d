//! Faults at single system calls, by `strace`: the calls of a run by number, and what is injected into which.

use std::collections::BTreeMap;
use std::path::Path;

/// The calls that storage is made of.
pub const STORAGE: &str = "write,pwrite64,writev,pwritev,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,fallocate,openat";

/// What happens at calls.
#[derive(Clone, Debug)]
pub struct Injection {
    /// One call or several, separated by commas.
    pub calls: String,
    /// `signal=KILL`, `error=ENOSPC`.
    pub what: String,
    /// At which, counted per thread: `5`, `5+` (from there on), `5..9`.
    pub when: String,
}

impl Injection {
    /// Kills the process at the `nth` such call of any of its threads.
    pub fn kill(call: &str, nth: u32) -> Injection {
        Injection { calls: call.into(), what: "signal=KILL".into(), when: nth.to_string() }
    }

    pub fn argument(&self) -> String {
        format!("inject={}:{}:when={}", self.calls, self.what, self.when)
    }
}

/// The storage calls below `data` that a trace shows: for each call, its numbers as its threads count them.
pub fn points(trace: &Path, data: &Path) -> Vec<(String, u32)> {
    let text = std::fs::read(trace).expect("the tracer wrote it");
    let text = String::from_utf8_lossy(&text);
    let data = data.to_str().expect("a path of text");
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut points = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.trim_start().split_once(char::is_whitespace) else { continue };
        let rest = rest.trim_start();
        // An unfinished call is counted where it begins.
        let Some((call, arguments)) = rest.split_once('(') else { continue };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        if arguments.contains(data) || relative(arguments) {
            points.push((call.to_string(), *count));
        }
    }
    points.sort();
    points.dedup();
    points
}

/// Whether a path among the arguments is of the data directory, as the config of the rig names it.
fn relative(arguments: &str) -> bool {
    arguments.contains("\"state/") || arguments.contains("\"./state/") || arguments.contains("\"state\"")
}
