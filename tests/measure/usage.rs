//! What the kernel says of a process (proc(5)).

use std::collections::BTreeMap;
use std::fs;

/// The resident memory of a process, in words.
pub fn memory(process: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let mib = |key| number(&status, key) as f64 / 1024.0;
    format!(
        "{:>9.1} MiB now ({:.1} its own, {:.1} of files), {:.1} MiB at most",
        mib("VmRSS:"),
        mib("RssAnon:"),
        mib("RssFile:"),
        mib("VmHWM:")
    )
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
