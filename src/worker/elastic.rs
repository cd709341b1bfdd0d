//! How many workers a pool should have: a pure function of what it looks like, what it looked like, and the time.
//!
//! A pool grows while blocks wait in its ring for longer than they should, or the ring is congested, and all its workers
//! are at it: then workers are what is short. It shrinks by a worker that had nothing to do for `idle_timeout`. In between
//! lies the hysteresis: pressure has to last before it counts, a new worker has to show what it brings before there is
//! another, and a worker that is needed now and then is never idle for long. Not here: starting and ending them.

use std::fmt;
use std::time::{Duration, Instant};

/// The longest blocks should wait in the ring, on average, while workers could be added.
pub const WAIT_MAX: Duration = Duration::from_millis(10);
/// All workers are at it when they have blocks for this share of their time.
pub const BUSY: f64 = 0.9;
/// How long a pool has to be under pressure before it grows.
pub const PRESSED: Duration = Duration::from_millis(100);
/// How long it stays as it is after it has grown.
pub const PAUSE: Duration = Duration::from_millis(500);

/// What the config allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least workers, one at least.
    pub min: usize,
    /// The most.
    pub max: usize,
    /// How long a worker is kept that has nothing to do.
    pub idle_timeout: Duration,
}

/// What a pool looked like since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How many workers there are.
    pub workers: usize,
    /// How many of them are at a block now.
    pub busy: usize,
    /// The share of their time that they were at one, 0 to 1.
    pub utilisation: f64,
    /// How many blocks are in the ring now.
    pub queued: usize,
    /// How long the blocks that were taken out had waited, on average. Where none was, how long there was none.
    pub wait: Duration,
    /// Whether the ring is over its high watermark and not yet under its low one.
    pub congested: bool,
    /// How long the worker has had nothing to do that has had nothing to do for longest; zero where all are at something.
    pub longest_idle: Duration,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing.
    Stay,
    /// Add so many workers.
    Grow(usize, Reason),
    /// Let so many go, those first that have had nothing to do for longest.
    Shrink(usize, Reason),
}

/// Why a pool changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// Blocks waited so long while all workers were busy.
    Waited(Duration),
    /// The ring came to its high watermark while all workers were busy.
    Congested,
    /// A worker had nothing to do for so long.
    Idle(Duration),
    /// There are fewer than `min_workers`.
    Below(usize),
    /// There are more than `max_workers`.
    Above(usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Waited(wait) => {
                write!(f, "blocks waited {} ms while all workers were busy", wait.as_millis())
            }
            Reason::Congested => {
                f.write_str("the ring was over its high watermark while all workers were busy")
            }
            Reason::Idle(idle) => write!(f, "a worker had nothing to do for {idle:.0?}"),
            Reason::Below(min) => write!(f, "there were fewer than {min}"),
            Reason::Above(max) => write!(f, "there were more than {max}"),
        }
    }
}

/// What is remembered from look to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elastic {
    /// Since when it has been under pressure without a break.
    pressed: Option<Instant>,
    /// When it grew last, and how long blocks waited then.
    grew: Option<(Instant, Duration)>,
}

impl Elastic {
    /// What is to be done at `now`, within `bounds`.
    pub fn decide(&mut self, bounds: &Bounds, load: &Load, now: Instant) -> Verdict {
        if load.workers < bounds.min {
            return Verdict::Grow(bounds.min - load.workers, Reason::Below(bounds.min));
        }
        if load.workers > bounds.max {
            return Verdict::Shrink(load.workers - bounds.max, Reason::Above(bounds.max));
        }
        let age = self.grew.map(|(then, _)| now.saturating_duration_since(then));
        let Some(reason) = pressure(load) else {
            self.pressed = None;
            // A pool that has just grown keeps what it has: whoever came last has had no time to be needed.
            let settled = age.is_none_or(|age| age >= bounds.idle_timeout);
            let spare = load.workers > bounds.min && load.longest_idle >= bounds.idle_timeout;
            return if spare && settled {
                Verdict::Shrink(1, Reason::Idle(load.longest_idle))
            } else {
                Verdict::Stay
            };
        };
        let pressed = *self.pressed.get_or_insert(now);
        let lasts = now.saturating_duration_since(pressed) >= PRESSED;
        let paused = age.is_some_and(|age| age < PAUSE);
        // The last one was enough if what has gathered gets less; a full ring says nothing of what waits before it.
        let eases = |(then, wait)| !load.congested && then >= pressed && load.wait < wait;
        let room = bounds.max - load.workers;
        if !lasts || paused || room == 0 || self.grew.is_some_and(eases) {
            return Verdict::Stay;
        }
        self.grew = Some((now, load.wait));
        // By half, so that many are soon there and a few are not doubled for nothing.
        Verdict::Grow((load.workers / 2).clamp(1, room), reason)
    }
}

/// Whether workers are what is short.
fn pressure(load: &Load) -> Option<Reason> {
    let all_busy = load.busy == load.workers && load.utilisation >= BUSY && load.queued > 0;
    match all_busy {
        false => None,
        true if load.wait >= WAIT_MAX => Some(Reason::Waited(load.wait)),
        true => load.congested.then_some(Reason::Congested),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(50);
    const S: Duration = Duration::from_secs(1);
    const BOUNDS: Bounds = Bounds { min: 1, max: 4, idle_timeout: Duration::from_secs(10) };
    const PRESSED_LOAD: Load = Load {
        workers: 1,
        busy: 1,
        utilisation: 1.0,
        queued: 3,
        wait: Duration::from_millis(30),
        congested: false,
        longest_idle: Duration::ZERO,
    };

    /// What is decided at the end of `lasting`, looked at all the time.
    fn after(elastic: &mut Elastic, load: &Load, t0: Instant, lasting: Duration) -> Verdict {
        let mut verdict = Verdict::Stay;
        for look in 0..=lasting.as_millis() / LOOK.as_millis() {
            verdict = elastic.decide(&BOUNDS, load, t0 + look as u32 * LOOK);
        }
        verdict
    }

    #[test]
    fn it_grows_when_blocks_wait_for_long_and_all_workers_are_at_it() {
        let t0 = Instant::now();
        let grow = Verdict::Grow(1, Reason::Waited(Duration::from_millis(30)));
        assert_eq!(after(&mut Elastic::default(), &PRESSED_LOAD, t0, PRESSED - LOOK), Verdict::Stay);
        assert_eq!(after(&mut Elastic::default(), &PRESSED_LOAD, t0, PRESSED), grow);
        let stay = |load: Load| {
            assert_eq!(after(&mut Elastic::default(), &load, t0, PRESSED), Verdict::Stay, "{load:?}");
        };
        stay(Load { wait: WAIT_MAX - Duration::from_nanos(1), ..PRESSED_LOAD });
        stay(Load { utilisation: 0.89, ..PRESSED_LOAD });
        stay(Load { workers: 2, ..PRESSED_LOAD });
        stay(Load { queued: 0, ..PRESSED_LOAD });
        stay(Load { workers: 4, busy: 4, ..PRESSED_LOAD });
        let congested = Load { wait: Duration::ZERO, congested: true, ..PRESSED_LOAD };
        assert_eq!(
            after(&mut Elastic::default(), &congested, t0, PRESSED),
            Verdict::Grow(1, Reason::Congested)
        );
    }

    #[test]
    fn a_moment_without_pressure_begins_the_count_anew_and_growth_pauses() {
        let (t0, mut elastic) = (Instant::now(), Elastic::default());
        for look in 0..=20 {
            // Every other look finds a worker that waits.
            let load = Load { busy: look % 2, ..PRESSED_LOAD };
            assert_eq!(elastic.decide(&BOUNDS, &load, t0 + look as u32 * LOOK), Verdict::Stay);
        }
        let t1 = t0 + 2 * S;
        assert_ne!(after(&mut elastic, &PRESSED_LOAD, t1, PRESSED), Verdict::Stay);
        let two = Load { workers: 2, busy: 2, ..PRESSED_LOAD };
        let grew = t1 + PRESSED;
        assert_eq!(elastic.decide(&BOUNDS, &two, grew + PAUSE - LOOK), Verdict::Stay);
        // What waits gets less: one more was enough. In a ring that is full it may get less because of that alone.
        let eases = Load { wait: Duration::from_millis(29), ..two };
        assert_eq!(elastic.decide(&BOUNDS, &eases, grew + PAUSE), Verdict::Stay);
        let full = Load { congested: true, ..eases };
        assert!(matches!(Elastic::clone(&elastic).decide(&BOUNDS, &full, grew + PAUSE), Verdict::Grow(1, _)));
        assert!(matches!(elastic.decide(&BOUNDS, &two, grew + PAUSE), Verdict::Grow(1, _)));
    }

    #[test]
    fn one_that_had_nothing_to_do_for_the_timeout_goes_and_the_least_stay() {
        let (t0, mut elastic) = (Instant::now(), Elastic::default());
        let idle = |workers, seconds| Load {
            workers,
            busy: 0,
            utilisation: 0.0,
            queued: 0,
            wait: Duration::ZERO,
            congested: false,
            longest_idle: seconds * S,
        };
        assert_eq!(elastic.decide(&BOUNDS, &idle(3, 9), t0), Verdict::Stay);
        let shrink = Verdict::Shrink(1, Reason::Idle(10 * S));
        assert_eq!(elastic.decide(&BOUNDS, &idle(3, 10), t0), shrink);
        assert_eq!(elastic.decide(&BOUNDS, &idle(1, 1000), t0), Verdict::Stay);
        // Not while blocks wait for those that are at it, and not sooner than the timeout after it grew.
        assert_ne!(after(&mut elastic, &PRESSED_LOAD, t0, PRESSED), Verdict::Stay);
        let grew = t0 + PRESSED;
        assert_eq!(elastic.decide(&BOUNDS, &idle(2, 10), grew + 9 * S), Verdict::Stay);
        assert_eq!(elastic.decide(&BOUNDS, &idle(2, 10), grew + 10 * S), shrink);
    }

    #[test]
    fn other_bounds_are_come_to_at_once() {
        let (now, mut elastic) = (Instant::now(), Elastic::default());
        let load = Load { workers: 9, ..PRESSED_LOAD };
        assert_eq!(elastic.decide(&BOUNDS, &load, now), Verdict::Shrink(5, Reason::Above(4)));
        let more = Bounds { min: 3, ..BOUNDS };
        assert_eq!(elastic.decide(&more, &PRESSED_LOAD, now), Verdict::Grow(2, Reason::Below(3)));
    }

    #[test]
    fn many_are_there_soon_and_never_more_than_the_most() {
        let bounds = Bounds { max: 14, ..BOUNDS };
        let (t0, mut elastic, mut workers, mut steps) = (Instant::now(), Elastic::default(), 1, vec![]);
        for look in 0..200 {
            let load = Load { workers, busy: workers, ..PRESSED_LOAD };
            if let Verdict::Grow(more, _) = elastic.decide(&bounds, &load, t0 + look * LOOK) {
                workers += more;
                steps.push(workers);
            }
        }
        assert_eq!(steps, [2, 3, 4, 6, 9, 13, 14]);
    }

    /// A pool under a load that is a number of workers, by blocks of 5 ms: the load comes in, so many workers are at it as
    /// are needed, newest idle first, and what they do not manage waits.
    struct Simulated {
        workers: Vec<f64>,
        backlog: f64,
        elastic: Elastic,
        changes: Vec<(f64, usize)>,
    }

    impl Simulated {
        fn run(&mut self, t0: Instant, from: f64, to: f64, load: f64) {
            let look = LOOK.as_secs_f64();
            let mut at = from;
            while at < to {
                let offered = self.backlog + load * look;
                let capacity = self.workers.len() as f64 * look;
                let done = offered.min(capacity);
                self.backlog = offered - done;
                // The first ones carry the load; the last ones rest.
                let needed = (done / look).ceil() as usize;
                for (at, idle) in self.workers.iter_mut().enumerate() {
                    *idle = if at < needed { 0.0 } else { *idle + look };
                }
                let busy = needed.min(self.workers.len());
                let load = Load {
                    workers: self.workers.len(),
                    busy,
                    utilisation: done / capacity,
                    queued: (self.backlog / 0.005) as usize,
                    wait: Duration::from_secs_f64(self.backlog / self.workers.len() as f64),
                    congested: false,
                    longest_idle: Duration::from_secs_f64(
                        self.workers.iter().fold(0.0, |most: f64, idle| most.max(*idle)),
                    ),
                };
                match self.elastic.decide(&BOUNDS, &load, t0 + Duration::from_secs_f64(at)) {
                    Verdict::Stay => {}
                    Verdict::Grow(more, _) => self.workers.extend(std::iter::repeat_n(0.0, more)),
                    Verdict::Shrink(fewer, _) => self.workers.truncate(self.workers.len() - fewer),
                }
                if self.changes.last().is_none_or(|(_, count)| *count != self.workers.len()) {
                    self.changes.push((at, self.workers.len()));
                }
                at += look;
            }
        }
    }

    #[test]
    fn it_follows_a_stepping_load_up_at_once_and_down_after_the_timeout_without_flapping() {
        let t0 = Instant::now();
        let mut pool = Simulated {
            workers: vec![0.0],
            backlog: 0.0,
            elastic: Elastic::default(),
            changes: vec![(0.0, 1)],
        };
        let steps =
            [(0.0, 30.0, 0.5), (30.0, 60.0, 2.4), (60.0, 90.0, 3.7), (90.0, 150.0, 1.5), (150.0, 240.0, 0.1)];
        for (from, to, load) in steps {
            pool.run(t0, from, to, load);
        }
        let counts: Vec<usize> = pool.changes.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 2, 3, 4, 3, 2, 1], "{:?}", pool.changes);
        let at = |count: usize, up: bool| {
            let place = counts.iter().position(|other| *other == count).unwrap();
            let place = if up { place } else { counts.iter().rposition(|other| *other == count).unwrap() };
            pool.changes[place].0
        };
        assert!(at(2, true) - 30.0 < 1.0 && at(3, true) - 30.0 < 2.0, "{:?}", pool.changes);
        assert!(at(4, true) - 60.0 < 1.0 && pool.backlog == 0.0, "{:?}", pool.changes);
        assert!(at(3, false) > 99.9 && at(1, false) > 159.9, "{:?}", pool.changes);
    }

    #[test]
    fn a_load_that_swings_within_the_timeout_keeps_its_workers() {
        let (t0, mut pool) = (
            Instant::now(),
            Simulated { workers: vec![0.0], backlog: 0.0, elastic: Elastic::default(), changes: vec![] },
        );
        for swing in 0..50 {
            let from = f64::from(swing) * 6.0;
            pool.run(t0, from, from + 3.0, 2.5);
            pool.run(t0, from + 3.0, from + 6.0, 0.2);
        }
        let counts: Vec<usize> = pool.changes.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 2, 3], "{:?}", pool.changes);
    }
}
