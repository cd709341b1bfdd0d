//! Whether those everything depends on make progress: workers and the intake.

use crate::thread::{Doing, Row};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker that is at one block, or an intake that is at one turn, for longer than this is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What was last seen of each thread.
#[derive(Default)]
pub struct Vigil {
    seen: HashMap<i32, (u32, Instant)>,
}

impl Vigil {
    /// Looks at the threads at `now`; says who is stuck, if anybody is.
    pub fn look(&mut self, rows: &[Arc<Row>], now: Instant) -> Option<String> {
        let watched = |row: &&Arc<Row>| row.name.starts_with("worker-") || row.name == "intake";
        let mut before = std::mem::take(&mut self.seen);
        let mut stuck = Vec::new();
        for row in rows.iter().filter(watched) {
            let (turns, doing) = (row.turns(), row.doing());
            // One that sleeps is woken when there is something; only one that is at it can be stuck.
            let since = match before.remove(&row.tid()) {
                Some((seen, since)) if seen == turns && doing == Doing::Working => since,
                _ => now,
            };
            self.seen.insert(row.tid(), (turns, since));
            let at_it = now.saturating_duration_since(since);
            if at_it > STUCK_AFTER {
                stuck.push(format!("{} is at the same thing for {}s", row.name, at_it.as_secs()));
            }
        }
        (!stuck.is_empty()).then(|| stuck.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::Threads;

    #[test]
    fn only_a_thread_that_is_at_the_same_thing_for_long_is_stuck() {
        let threads = Threads::default();
        for name in ["worker-0", "intake", "send-out-0"] {
            let ended = threads.spawn(name, &[], |row| row.set(Doing::Working)).unwrap();
            ended.join().unwrap();
        }
        let (rows, now) = (threads.rows(), Instant::now());
        rows.iter().for_each(|row| row.set(Doing::Working));
        let mut vigil = Vigil::default();
        assert_eq!(vigil.look(&rows, now), None);
        assert_eq!(vigil.look(&rows, now + STUCK_AFTER), None);
        let stuck = vigil.look(&rows, now + 2 * STUCK_AFTER).unwrap();
        assert_eq!(stuck, "worker-0 is at the same thing for 20s, intake is at the same thing for 20s");
        // A worker that takes the next block, and an intake that goes to sleep, are well.
        rows[0].set(Doing::Working);
        rows[1].set(Doing::Idle);
        assert_eq!(vigil.look(&rows, now + 3 * STUCK_AFTER), None);
        assert_eq!(
            vigil.look(&rows, now + 5 * STUCK_AFTER),
            Some("worker-0 is at the same thing for 20s".into())
        );
    }
}
