//! How much CPU the whole process may use: a bucket that fills with time, at the rate of the limit, and empties by the
//! clock of the process's own CPU.
//!
//! Threads whose work can wait ask before each piece of it, and rest while the bucket is empty. Others do not ask, but what
//! they use is taken from the bucket as well, so that those who ask make up for it. Not here: who asks (see `Row::keep_to_cpu`
//! in `thread`).

use crate::sys;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// The bucket holds what the limit comes to in this time: so much may be used at once after less was used before.
const BURST: Duration = Duration::from_millis(100);
/// The longest rest at a time: others use CPU meanwhile, or the limit is another.
const REST_MAX: Duration = Duration::from_millis(100);
/// How long a thread waits for one piece of work at most. Where those who do not ask use more than there may be, the others
/// still go on at this pace, and what is owed is no more than can be made up for in this time.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What may still be used.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// In seconds of CPU; below zero more was used than there was.
    level: f64,
    /// As of when, by either clock.
    at: Instant,
    cpu: Duration,
}

impl Bucket {
    /// One that is full for a limit of `cores`; the process has used `cpu` by now.
    pub fn full(cores: f64, now: Instant, cpu: Duration) -> Self {
        Bucket { level: cores * BURST.as_secs_f64(), at: now, cpu }
    }

    /// How long to rest under a limit of `cores`, when the process has used `cpu` by `now`; nothing if the work may go on.
    pub fn rest(&mut self, cores: f64, now: Instant, cpu: Duration) -> Duration {
        let filled = cores * now.saturating_duration_since(self.at).as_secs_f64();
        let used = cpu.saturating_sub(self.cpu).as_secs_f64();
        let (most, least) = (cores * BURST.as_secs_f64(), -cores * WAIT_MAX.as_secs_f64());
        self.level = (self.level + filled - used).clamp(least, most);
        (self.at, self.cpu) = (self.at.max(now), self.cpu.max(cpu));
        match self.level < 0.0 {
            true => Duration::from_secs_f64((-self.level / cores).min(REST_MAX.as_secs_f64())),
            false => Duration::ZERO,
        }
    }
}

/// The limit in force, and who rests for it.
pub struct CpuLimit {
    /// In hundredths of a core; 0: none.
    limit: AtomicU32,
    state: Mutex<State>,
    /// The limit is another, or nobody is to rest any longer.
    changed: Condvar,
    /// How long threads rested, together, in nanoseconds.
    rested: AtomicU64,
}

struct State {
    bucket: Bucket,
    /// How often all were told to go on.
    calls: u64,
    /// The limit does not hold any more, whatever is set.
    lifted: bool,
}

impl Default for CpuLimit {
    fn default() -> Self {
        let bucket = Bucket::full(0.0, Instant::now(), Duration::ZERO);
        CpuLimit {
            limit: AtomicU32::new(0),
            state: Mutex::new(State { bucket, calls: 0, lifted: false }),
            changed: Condvar::new(),
            rested: AtomicU64::new(0),
        }
    }
}

impl CpuLimit {
    /// Whether there is one: all that those who ask pay while there is none.
    pub fn is_on(&self) -> bool {
        // Relaxed: whoever sees a new limit late is late by one piece of work; the rest is under the lock.
        self.limit.load(Relaxed) != 0
    }

    /// This many hundredths of a core from now on, or as many as there are.
    pub fn set(&self, hundredths: Option<u32>) {
        let mut state = self.state.lock();
        let limit = hundredths.filter(|_| !state.lifted).unwrap_or(0);
        // Relaxed, here and below: written under the lock only.
        if self.limit.swap(limit, Relaxed) == 0 {
            state.bucket = Bucket::full(cores(limit), Instant::now(), sys::process_cpu());
        }
        drop(state);
        self.changed.notify_all();
    }

    /// None from now on, whatever is set later: what is left to do has to be done in time.
    pub fn lift(&self) {
        self.state.lock().lifted = true;
        self.set(None);
    }

    /// Everyone who rests now goes on with one piece of work, as it may be another by now.
    pub fn call(&self) {
        self.state.lock().calls += 1;
        self.changed.notify_all();
    }

    /// Looks at what was used, so that much that was not used before does not make up for much that is used later.
    pub fn look(&self) {
        let limit = self.limit.load(Relaxed);
        if limit != 0 {
            self.state.lock().bucket.rest(cores(limit), Instant::now(), sys::process_cpu());
        }
    }

    /// Rests until the next piece of work may be done; `resting` is called before each rest.
    pub fn wait(&self, mut resting: impl FnMut()) {
        let mut state = self.state.lock();
        let (begun, call) = (Instant::now(), state.calls);
        let mut now = begun;
        while state.calls == call && now.saturating_duration_since(begun) < WAIT_MAX {
            let limit = self.limit.load(Relaxed);
            if limit == 0 {
                break;
            }
            let rest = state.bucket.rest(cores(limit), now, sys::process_cpu());
            if rest.is_zero() {
                break;
            }
            resting();
            self.changed.wait_until(&mut state, now + rest);
            let woken = Instant::now();
            // Relaxed: read for display only.
            self.rested.fetch_add(woken.saturating_duration_since(now).as_nanos() as u64, Relaxed);
            now = woken;
        }
    }

    /// How long threads rested for it, all together.
    pub fn rested(&self) -> Duration {
        Duration::from_nanos(self.rested.load(Relaxed))
    }
}

fn cores(hundredths: u32) -> f64 {
    f64::from(hundredths) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Works in pieces of `piece` on `threads` cores, each asking before each of its pieces, and says how much of a core was
    /// used over `wall`; what `others` use goes on beside that and asks nobody.
    fn used(cores: f64, threads: usize, piece: Duration, others: f64, wall: Duration) -> f64 {
        let t0 = Instant::now();
        let (mut bucket, mut own) = (Bucket::full(cores, t0, Duration::ZERO), Duration::ZERO);
        let mut free = vec![Duration::ZERO; threads];
        loop {
            let thread = (0..threads).min_by_key(|thread| free[*thread]).unwrap();
            let at = free[thread];
            if at >= wall {
                return own.as_secs_f64() / wall.as_secs_f64() + others;
            }
            let cpu = own + Duration::from_secs_f64(others * at.as_secs_f64());
            let rest = bucket.rest(cores, t0 + at, cpu);
            assert!(rest <= REST_MAX);
            free[thread] += if rest.is_zero() { piece } else { rest };
            own += if rest.is_zero() { piece } else { Duration::ZERO };
        }
    }

    #[test]
    fn over_some_seconds_no_more_is_used_than_may_be_and_nearly_all_of_it() {
        for (cores, threads, piece) in
            [(0.3, 1, ms(1)), (0.3, 4, ms(1)), (1.5, 4, ms(2)), (0.05, 2, ms(5)), (0.3, 1, ms(40))]
        {
            let used = used(cores, threads, piece, 0.0, ms(10_000));
            let most = cores * 1.02 + (threads as f64) * piece.as_secs_f64() / 10.0;
            assert!(used <= most && used >= cores * 0.97, "{cores} by {threads} of {piece:?}: {used}");
        }
    }

    #[test]
    fn those_who_ask_make_up_for_those_who_do_not() {
        let all = used(0.5, 2, ms(1), 0.2, ms(10_000));
        assert!((0.48..=0.52).contains(&all), "{all}");
    }

    #[test]
    fn who_uses_less_than_there_may_be_never_rests_and_time_off_is_worth_a_burst_at_most() {
        let t0 = Instant::now();
        let mut bucket = Bucket::full(0.5, t0, ms(0));
        for second in 1..100 {
            let cpu = ms(second * 400);
            assert_eq!(bucket.rest(0.5, t0 + ms(second * 1000), cpu), Duration::ZERO);
        }
        let (idle, cpu) = (t0 + ms(1_000_000), ms(99 * 400));
        assert_eq!(bucket.rest(0.5, idle, cpu), Duration::ZERO);
        // A tenth of a second's worth, 50 ms, and then as much rest as what was beyond takes to come.
        assert_eq!(bucket.rest(0.5, idle + ms(20), cpu + ms(60)), ms(0));
        assert_eq!(bucket.rest(0.5, idle + ms(20), cpu + ms(70)), ms(20));
        assert_eq!(bucket.rest(0.5, idle + ms(20), cpu + ms(500)), REST_MAX);
        // What is owed stays owed: it takes (500 - 60) / 0.5 ms.
        assert_eq!(bucket.rest(0.5, idle + ms(20 + 870), cpu + ms(500)), ms(10));
        assert_eq!(bucket.rest(0.5, idle + ms(20 + 881), cpu + ms(500)), ms(0));
    }

    #[test]
    fn clocks_that_go_back_cost_nothing() {
        let t0 = Instant::now();
        let mut bucket = Bucket::full(1.0, t0 + ms(50), ms(500));
        assert_eq!(bucket.rest(1.0, t0, ms(100)), Duration::ZERO);
        assert_eq!(bucket.rest(1.0, t0 + ms(50), ms(600)), Duration::ZERO);
        assert_eq!(bucket.rest(1.0, t0 + ms(50), ms(610)), ms(10));
    }

    #[test]
    fn who_rests_goes_on_when_called_when_the_limit_goes_and_for_good_at_the_end() {
        for how in [CpuLimit::call, CpuLimit::lift, |limit: &CpuLimit| limit.set(None)] {
            let limit = Arc::new(CpuLimit::default());
            limit.set(Some(1));
            // Owes more than any test lasts.
            limit.state.lock().bucket.level = -1e6;
            let (resting, rests) = std::sync::mpsc::channel();
            let mine = Arc::clone(&limit);
            let sleeper = std::thread::spawn(move || mine.wait(|| resting.send(()).unwrap_or_default()));
            rests.recv().unwrap();
            let begun = Instant::now();
            how(&limit);
            sleeper.join().unwrap();
            assert!(begun.elapsed() < WAIT_MAX && limit.rested() > Duration::ZERO);
        }
        let limit = CpuLimit::default();
        limit.lift();
        limit.set(Some(1));
        assert!(!limit.is_on());
    }
}
