//! Whether threads make progress: who is at the same thing for too long, what it is, and for how long.

use crate::thread::{Doing, Row};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker that is at one block, or an intake that is at one turn, for longer than this is stuck, and with it all of us.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Any other thread, where it has not said itself how long it may take.
pub const SLOW_AFTER: Duration = Duration::from_secs(120);
/// The most that one look adds. Whoever looks comes every second; if it was kept from that, by a stopped process or a
/// starved machine, the others were as well, and nothing of that time counts against them.
const STEP_MAX: Duration = Duration::from_secs(2);

/// What was last seen of each thread.
#[derive(Default)]
pub struct Vigil {
    seen: HashMap<i32, Seen>,
    looked: Option<Instant>,
}

struct Seen {
    turns: u32,
    at_it: Duration,
    told: bool,
}

/// What one look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Who is stuck of those everything depends on.
    pub stuck: Option<String>,
    /// Who else is at the same thing for too long.
    pub slow: Option<String>,
    /// How many they are.
    pub count: usize,
    /// What is to be said: each that got stuck, and each that goes on, once.
    pub news: Vec<News>,
}

/// One thing to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It got stuck.
    Stuck(String),
    /// It goes on.
    GoesOn(String),
}

impl Vigil {
    /// Looks at the threads at `now`.
    pub fn look(&mut self, rows: &[Arc<Row>], now: Instant) -> Looked {
        let step =
            self.looked.map_or(Duration::ZERO, |last| now.saturating_duration_since(last).min(STEP_MAX));
        self.looked = Some(now);
        let mut before = std::mem::take(&mut self.seen);
        let (mut stuck, mut slow, mut looked) = (Vec::new(), Vec::new(), Looked::default());
        for row in rows {
            let (turns, doing) = (row.turns(), row.doing());
            // One that sleeps is woken when there is something; only one that is at it can be stuck.
            let at_something = matches!(doing, Doing::Working | Doing::Sending);
            let mut seen = match before.remove(&row.tid()) {
                Some(seen) if seen.turns == turns && at_something => {
                    Seen { at_it: seen.at_it + step, ..seen }
                }
                other => {
                    if other.is_some_and(|seen| seen.told) {
                        looked.news.push(News::GoesOn(format!("thread {} goes on", row.name)));
                    }
                    Seen { turns, at_it: Duration::ZERO, told: false }
                }
            };
            let vital = row.name.starts_with("worker-") || row.name == "intake";
            let most = if vital { STUCK_AFTER } else { row.patience().unwrap_or(SLOW_AFTER) };
            if seen.at_it > most {
                let what = format!(
                    "{} is {} at the same thing for {}s",
                    row.name,
                    doing.name(),
                    seen.at_it.as_secs()
                );
                if !seen.told {
                    looked.news.push(News::Stuck(format!("thread {what}")));
                }
                seen.told = true;
                looked.count += 1;
                if vital { &mut stuck } else { &mut slow }.push(what);
            }
            self.seen.insert(row.tid(), seen);
        }
        let join = |all: Vec<String>| (!all.is_empty()).then(|| all.join(", "));
        (looked.stuck, looked.slow) = (join(stuck), join(slow));
        looked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::Threads;

    const S: Duration = Duration::from_secs(1);

    fn rows(names: &[&str], doing: Doing) -> Vec<Arc<Row>> {
        let threads = Threads::default();
        for name in names {
            threads.spawn(*name, &[], |_| ()).unwrap().join().unwrap();
        }
        let rows = threads.rows();
        rows.iter().for_each(|row| row.set(doing));
        rows
    }

    /// Looks once a second from `from` to `to`; gives the last look and all news.
    fn watch(
        vigil: &mut Vigil,
        rows: &[Arc<Row>],
        t0: Instant,
        seconds: std::ops::Range<u32>,
    ) -> (Looked, Vec<News>) {
        let (mut last, mut news) = (Looked::default(), Vec::new());
        for second in seconds {
            last = vigil.look(rows, t0 + second * S);
            news.append(&mut last.news.clone());
        }
        (last, news)
    }

    #[test]
    fn a_worker_that_is_at_the_same_thing_for_long_is_named_once() {
        let (rows, t0) = (rows(&["worker-0", "intake"], Doing::Working), Instant::now());
        let mut vigil = Vigil::default();
        assert_eq!(watch(&mut vigil, &rows, t0, 0..11), (Looked::default(), vec![]));
        let (looked, news) = watch(&mut vigil, &rows, t0, 11..21);
        let stuck =
            "worker-0 is working at the same thing for 20s, intake is working at the same thing for 20s";
        assert_eq!((looked.stuck.as_deref(), looked.slow, looked.count), (Some(stuck), None, 2));
        assert_eq!(news.len(), 2, "{news:?}");
        // A worker that takes the next block, and an intake that goes to sleep, are well.
        rows[0].set(Doing::Working);
        rows[1].set(Doing::Idle);
        let (looked, news) = watch(&mut vigil, &rows, t0, 21..31);
        let on = ["worker-0", "intake"].map(|name| News::GoesOn(format!("thread {name} goes on")));
        assert_eq!((looked.count, news), (0, on.to_vec()));
    }

    #[test]
    fn an_idle_thread_a_stopped_process_and_a_starved_one_are_no_alarm() {
        let t0 = Instant::now();
        let idle = rows(&["worker-0", "send-out-0", "reader-a"], Doing::Idle);
        assert_eq!(watch(&mut Vigil::default(), &idle, t0, 0..1000), (Looked::default(), vec![]));
        let waiting = rows(&["send-out-0"], Doing::BackingOff);
        assert_eq!(watch(&mut Vigil::default(), &waiting, t0, 0..1000), (Looked::default(), vec![]));
        // Stopped for 30 s at the second look, whatever they are at.
        let busy = rows(&["worker-0", "intake", "send-out-0"], Doing::Working);
        let mut vigil = Vigil::default();
        for at in [0, 1, 31, 32, 62] {
            assert_eq!(vigil.look(&busy, t0 + at * S), Looked::default());
        }
    }

    #[test]
    fn a_sender_has_the_time_it_asked_for() {
        let t0 = Instant::now();
        for (patience, seconds) in [(None, 121), (Some(300 * S), 301)] {
            let rows = rows(&["send-out-0"], Doing::Sending);
            patience.into_iter().for_each(|patience| rows[0].set_patience(patience));
            let mut vigil = Vigil::default();
            assert_eq!(watch(&mut vigil, &rows, t0, 0..seconds).0, Looked::default());
            let (looked, news) = watch(&mut vigil, &rows, t0, seconds..seconds + 1);
            let what = format!("send-out-0 is sending at the same thing for {seconds}s");
            assert_eq!((looked.slow, looked.stuck), (Some(what.clone()), None));
            assert_eq!(news, [News::Stuck(format!("thread {what}"))]);
        }
    }
}
