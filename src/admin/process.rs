//! The process and its threads as the system sees them: read from `/proc` when someone asks. What cannot be read is shown
//! as zero or left out.

use crate::thread::{Doing, Row};
use serde::Serialize;
use std::fs;

/// In what part of a second the kernel tells times to programs (`USER_HZ`): 100 per second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessStats {
    /// Its number.
    pub pid: u32,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub start_time_seconds: f64,
    /// Seconds of CPU it used.
    pub cpu_seconds: f64,
    /// Bytes of its memory that are in RAM.
    pub resident_bytes: u64,
    /// The most that ever were.
    pub resident_peak_bytes: u64,
    /// How many threads it has.
    pub threads: u64,
    /// How many files, sockets and the like it has open.
    pub open_fds: u64,
    /// How many it may have.
    pub max_fds: u64,
}

impl ProcessStats {
    /// This process now.
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let times = Times::of(&read("/proc/self/stat")).unwrap_or_default();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        ProcessStats {
            pid: std::process::id(),
            start_time_seconds: number_after(&read("/proc/stat"), "btime") as f64 + times.start_seconds,
            cpu_seconds: times.cpu_seconds,
            resident_bytes: number_after(&status, "VmRSS:") << 10,
            resident_peak_bytes: number_after(&status, "VmHWM:") << 10,
            threads: number_after(&status, "Threads:"),
            // Less the one that reads the list.
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64).saturating_sub(1),
            max_fds: limit.unwrap_or(u64::MAX),
        }
    }
}

/// The first number of the line that begins with `key`, or zero.
fn number_after(text: &str, key: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(key));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// One thread.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ThreadStats {
    /// Its name.
    pub name: String,
    /// Its id in the system.
    pub tid: i32,
    /// What it says it does.
    pub doing: &'static str,
    /// The cores it was asked onto; empty means anywhere.
    pub cores: Vec<usize>,
    /// The core it was last seen on.
    pub core: Option<u32>,
    /// Seconds of CPU it used.
    pub cpu_seconds: Option<f64>,
    /// The system does not know it any more though it never said that it ended: it panicked.
    pub lost: bool,
}

/// The thread of `row` now.
pub fn thread(row: &Row) -> ThreadStats {
    let tid = row.tid();
    let read = |name| fs::read_to_string(format!("/proc/self/task/{tid}/{name}")).ok();
    let times = (tid != 0).then(|| read("stat")).flatten().and_then(|text| Times::of(&text));
    // Nanoseconds where the kernel has them: an idle thread does not fill a tick in a minute.
    let exact = (tid != 0).then(|| read("schedstat")).flatten().and_then(|text| on_cpu(&text));
    // Read after the system was asked, so that one that ended in between is not called lost.
    let doing = row.doing();
    ThreadStats {
        name: row.name.clone(),
        tid,
        doing: doing.name(),
        cores: row.cores.clone(),
        core: times.map(|times| times.core),
        cpu_seconds: exact.or(times.map(|times| times.cpu_seconds)),
        lost: tid != 0 && times.is_none() && doing != Doing::Ended,
    }
}

/// The time on a CPU, which `schedstat` gives first, in nanoseconds.
fn on_cpu(schedstat: &str) -> Option<f64> {
    Some(schedstat.split(' ').next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// What a `stat` file of a process or thread says of time (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Times {
    cpu_seconds: f64,
    start_seconds: f64,
    core: u32,
}

impl Times {
    fn of(stat: &str) -> Option<Times> {
        // The name stands in parentheses and may hold spaces and parentheses; the field behind it is number 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Times {
            cpu_seconds: (number(14)? + number(15)?) as f64 / TICKS_PER_SECOND,
            start_seconds: number(22)? as f64 / TICKS_PER_SECOND,
            core: u32::try_from(number(39)?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::Threads;
    use std::sync::mpsc::channel;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 1234 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 5 0";
        let times = Times { cpu_seconds: 2.0, start_seconds: 12.34, core: 5 };
        assert_eq!(Times::of(stat), Some(times));
        for cut in 0..stat.len() {
            let _ = Times::of(&stat[..cut]);
        }
    }

    #[test]
    fn this_process_began_before_now_and_uses_memory_and_files() {
        let stats = ProcessStats::now();
        let now = crate::clock::unix_nanos() as f64 / 1e9;
        assert!(stats.start_time_seconds > 1.7e9 && stats.start_time_seconds < now + 2.0);
        assert!(stats.resident_bytes > 0 && stats.resident_peak_bytes >= stats.resident_bytes);
        assert!(stats.threads > 0 && stats.open_fds > 2 && stats.max_fds > stats.open_fds);
    }

    #[test]
    fn a_thread_is_seen_at_work_at_its_end_and_when_it_panicked() {
        for panics in [false, true] {
            let (threads, (go, wait), (up, is_up)) = (Threads::default(), channel(), channel());
            let body = move |row: &Row| {
                row.set(Doing::Working);
                up.send(()).unwrap();
                wait.recv().unwrap();
                if panics {
                    std::panic::resume_unwind(Box::new("without a message on stderr"));
                }
            };
            let handle = threads.spawn("one (a)", &[], body).unwrap();
            is_up.recv().unwrap();
            let row = &threads.rows()[0];
            let stats = thread(row);
            assert_eq!((&*stats.name, stats.doing, stats.lost), ("one (a)", "working", false));
            assert!(stats.core.is_some() && stats.cpu_seconds.is_some());
            go.send(()).unwrap();
            assert_eq!(handle.join().is_err(), panics);
            // The system forgets a thread a moment after it can be joined.
            while thread(row).core.is_some() {
                std::thread::yield_now();
            }
            assert_eq!(thread(row).lost, panics);
        }
    }
}
