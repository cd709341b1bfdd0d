//! Every thread, what it does, since when, where it runs and may run, and how much CPU it takes: as a table and as JSON.

use super::process::{self, ThreadStats};
use crate::thread::Row;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

/// One thread.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ThreadLook {
    /// What `/stats` shows of it.
    #[serde(flatten)]
    pub stats: ThreadStats,
    /// For how many seconds it has been doing that.
    pub since_seconds: f64,
    /// The cores the system lets it run on, such as `0-3,8`.
    pub allowed: String,
    /// How much of a core it took since the last look, or since it began; 1 is a whole one.
    pub cpu_share: Option<f64>,
}

/// What the last look saw: shares are taken between two of them.
#[derive(Default)]
pub struct Looks(HashMap<i32, (f64, Instant)>);

impl Looks {
    /// All threads that have not ended; `begun` is when the first of them did.
    pub fn look(&mut self, rows: &[Arc<Row>], begun: Instant, now: Instant) -> Vec<ThreadLook> {
        let before = std::mem::take(&mut self.0);
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let stats = process::thread(row);
            let (cpu, since) = before.get(&stats.tid).copied().unwrap_or((0.0, begun));
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            let used = stats.cpu_seconds.map(|used| (used - cpu).max(0.0));
            let cpu_share = used.filter(|_| seconds > 0.0).map(|used| used / seconds);
            if let Some(used) = stats.cpu_seconds {
                self.0.insert(stats.tid, (used, now));
            }
            let status = fs::read_to_string(format!("/proc/self/task/{}/status", stats.tid));
            let allowed = status.ok().as_deref().and_then(allowed).unwrap_or_default().to_owned();
            all.push(ThreadLook { stats, since_seconds: row.since().as_secs_f64(), allowed, cpu_share });
        }
        all
    }
}

/// The cores a thread may run on, of its `status` file (proc_pid_status(5)).
fn allowed(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::trim)
}

/// The same for people.
pub fn table(all: &[ThreadLook]) -> String {
    let mut out = format!(
        "{:<24} {:<16} {:>9} {:>5} {:>7} {:>10}  cores\n",
        "thread", "doing", "since", "core", "cpu", "cpu time"
    );
    for ThreadLook { stats, since_seconds, allowed, cpu_share } in all {
        let doing = if stats.lost { "lost" } else { stats.doing };
        let core = stats.core.map_or("-".into(), |core| core.to_string());
        let share = cpu_share.map_or("-".into(), |share| format!("{:.1} %", share * 100.0));
        let time = stats.cpu_seconds.map_or("-".into(), |seconds| format!("{seconds:.2} s"));
        let since = format!("{since_seconds:.1} s");
        let bound = if stats.cores.is_empty() { "" } else { " (bound)" };
        let name = &stats.name;
        let _ = writeln!(
            out,
            "{name:<24} {doing:<16} {since:>9} {core:>5} {share:>7} {time:>10}  {allowed}{bound}"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::{Doing, Threads};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_look_shows_where_a_thread_may_run_and_how_much_it_took_since_the_last() {
        let (threads, (go, wait), (up, is_up)) = (Threads::default(), channel::<()>(), channel());
        let cores: Vec<usize> =
            core_affinity::get_core_ids().unwrap().into_iter().map(|core| core.id).collect();
        let core = cores[0];
        let handle = threads
            .spawn("busy", &[core], move |row| {
                row.set(Doing::Working);
                up.send(()).unwrap();
                wait.recv().unwrap();
                let begun = crate::sys::thread_cpu();
                while crate::sys::thread_cpu() < begun + Duration::from_millis(50) {}
                row.set(Doing::Blocked);
                up.send(()).unwrap();
                wait.recv().unwrap();
            })
            .unwrap();
        is_up.recv().unwrap();
        let (mut looks, begun) = (Looks::default(), Instant::now());
        let first = looks.look(&threads.rows(), begun, begun + Duration::from_secs(1));
        assert_eq!((first[0].stats.doing, &*first[0].allowed), ("working", &*core.to_string()));
        assert_eq!(first[0].stats.core, Some(core as u32));
        go.send(()).unwrap();
        is_up.recv().unwrap();
        let second = looks.look(&threads.rows(), begun, begun + Duration::from_secs(2));
        let share = second[0].cpu_share.unwrap();
        assert!((0.05..0.5).contains(&share), "{share}");
        assert_eq!(second[0].stats.doing, "blocked");
        let text = table(&second);
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!((line[0], line[1]), ("busy", "blocked"));
        assert!(text.trim_end().ends_with(&format!("{core} (bound)")), "{text}");
        go.send(()).unwrap();
        handle.join().unwrap();
    }

    #[test]
    fn the_cores_of_a_status_file_are_found() {
        assert_eq!(allowed("Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,8\n"), Some("0-3,8"));
        assert_eq!(allowed(""), None);
    }
}
