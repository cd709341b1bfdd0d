//! When to cut a batch, and how large: pure decisions over what waits and what the sink's answers cost.
//!
//! The cost of a request is learned as `latency = a + b * entries`, by least squares with exponentially fading weights.
//! Where the fixed part `a` leaves room under the target, a batch is as large as the target allows; where it does not, a
//! batch of `a / b` entries still makes half of the request useful work. Plain additive increase and multiplicative
//! decrease on latency collapses there: a sink that takes 100 ms for anything would be sent one entry at a time.

mod in_flight;
mod setback;

use in_flight::InFlight;
pub use in_flight::InFlightLimits;
use setback::Setback;
use std::time::Duration;

/// How long an entry waits for company when nothing is being sent.
pub const IDLE: Duration = Duration::from_millis(5);
/// How long an entry waits for company at most while flow control is on.
pub const LINGER: Duration = Duration::from_millis(50);
/// What one answer's weight has become by the next answer.
const FADE: f64 = 0.95;

/// The bounds of one sink's batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Where adaptation starts; without flow control the exact size.
    pub batch_size: usize,
    /// Longest an entry waits for company.
    pub batch_timeout: Duration,
    /// Most entries, whatever adaptation wants.
    pub max_entries: usize,
    /// Most bytes of text; a single larger entry still goes alone.
    pub max_bytes: u64,
}

/// How batches adapt to the sink.
#[derive(Clone, Copy, Debug)]
pub struct FlowControl {
    /// Off: `batch_size` and `batch_timeout` exactly.
    pub enabled: bool,
    /// What one request should take.
    pub target_latency: Duration,
    /// How far one answer moves the size once the first overshoot was seen, as a fraction of it.
    pub adjustment_factor: f64,
}

/// What waits at a lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    /// Entries that could go now.
    pub entries: usize,
    /// Bytes of their text.
    pub bytes: u64,
    /// How long the oldest of them has waited.
    pub age: Duration,
    /// Batches being sent.
    pub batches_out: usize,
}

/// Whether to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// When this much more time has passed, unless more comes.
    In(Duration),
    /// Nothing waits.
    Never,
}

/// How the sink took a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken, or refused because of its data.
    Took,
    /// The sink was overloaded or did not answer.
    Overloaded,
}

/// Decides for one lane. Time comes in as an argument.
#[derive(Clone, Debug)]
pub struct Batcher {
    limits: BatchLimits,
    flow: FlowControl,
    cost: Cost,
    want: f64,
    /// A request has taken longer than the target once: from here on small moves.
    overshot: bool,
    setback: Setback,
    in_flight: InFlight,
    last_latency: Duration,
}

impl Batcher {
    /// A batcher that knows nothing of its sink yet, and has as many batches out as there are senders.
    pub fn new(limits: BatchLimits, flow: FlowControl) -> Self {
        let want = limits.batch_size.clamp(1, limits.max_entries.max(1)) as f64;
        Batcher {
            limits,
            flow,
            cost: Cost::default(),
            want,
            overshot: false,
            setback: Setback::default(),
            in_flight: InFlight::new(InFlightLimits::NONE),
            last_latency: Duration::ZERO,
        }
    }

    /// The same with bounds on how many batches are out.
    pub fn with_in_flight(mut self, limits: InFlightLimits) -> Self {
        self.in_flight = InFlight::new(limits);
        self
    }

    /// Other bounds on how many batches are out; if they are the same, what was found out stays.
    pub fn set_in_flight(&mut self, limits: InFlightLimits) {
        self.in_flight.set_limits(limits);
    }

    /// How many batches may be out at once. Without flow control as many as ever.
    pub fn in_flight_limit(&self) -> usize {
        if self.flow.enabled { self.in_flight.limit() } else { self.in_flight.most() }
    }

    /// A batch is due, and [`Batcher::in_flight_limit`] are out: another might help.
    pub fn held_up(&mut self) {
        self.in_flight.held_up();
    }

    /// Other bounds; what it learned of the sink stays.
    pub fn set_limits(&mut self, limits: BatchLimits, flow: FlowControl) {
        if !flow.enabled || flow.enabled != self.flow.enabled {
            self.want = limits.batch_size as f64;
        }
        (self.limits, self.flow) = (limits, flow);
        self.want = self.want.clamp(1.0, self.limits.max_entries.max(1) as f64);
    }

    /// How many entries the next batch should have.
    pub fn optimal_batch_size(&self) -> usize {
        self.want as usize
    }

    /// The most entries a batch may have so that a part need not be split for a few.
    pub fn hard_limit(&self) -> usize {
        if self.flow.enabled { self.limits.max_entries.max(self.want as usize) } else { self.want as usize }
    }

    /// The most bytes of text a batch may have.
    pub fn max_bytes(&self) -> u64 {
        self.limits.max_bytes
    }

    /// How long the last request took.
    pub fn last_latency(&self) -> Duration {
        self.last_latency
    }

    /// Whether a batch is to be cut from what waits.
    pub fn should_flush(&self, waiting: Waiting) -> Due {
        if waiting.entries == 0 {
            return Due::Never;
        }
        if waiting.entries >= self.optimal_batch_size() || waiting.bytes >= self.limits.max_bytes {
            return Due::Now;
        }
        let timeout = self.limits.batch_timeout;
        let patience = match self.flow.enabled {
            false => timeout,
            true if waiting.batches_out == 0 => timeout.min(IDLE),
            true => timeout.min(LINGER),
        };
        match patience.checked_sub(waiting.age) {
            None | Some(Duration::ZERO) => Due::Now,
            Some(left) => Due::In(left),
        }
    }

    /// Which batches these are: another number from the moment on that failures made them smaller.
    pub fn epoch(&self) -> u32 {
        self.setback.epoch
    }

    /// Learns from an answer to a batch of `entries` that was cut in `epoch` and took `latency`; `pressed` if another full
    /// batch was waiting.
    pub fn answered(&mut self, entries: usize, epoch: u32, latency: Duration, pressed: bool, answer: Answer) {
        self.last_latency = latency;
        if !self.flow.enabled || entries == 0 {
            return;
        }
        let ceiling = self.limits.max_entries.max(1) as f64;
        if answer == Answer::Overloaded {
            self.in_flight.answered(true, None);
            self.overshot = true;
            self.want = self.setback.failed(epoch, self.want).clamp(1.0, ceiling);
            return;
        }
        let expected = self.cost.expected(entries as f64);
        self.in_flight.answered(false, expected.map(|expected| latency.as_secs_f64() / expected));
        self.cost.learn(entries as f64, latency.as_secs_f64());
        let target = self.flow.target_latency.as_secs_f64();
        self.overshot |= latency.as_secs_f64() > target;
        let trial = self.setback.is_trial();
        self.setback.took(epoch);
        if trial {
            return;
        }
        let full = entries as f64 >= self.want.floor();
        if full && pressed && !self.overshot {
            self.want = (self.want * 2.0).min(ceiling);
        } else if let Some(best) = self.cost.best(target, pressed) {
            let step = self.flow.adjustment_factor;
            let grown = if full || pressed { self.want * (1.0 + step) } else { self.want };
            self.want = best.clamp(self.want * (1.0 - step), grown.max(1.0)).clamp(1.0, ceiling);
        }
    }

    /// Learns that a batch that was cut in `epoch` was taken after attempts that failed: nothing of its cost, but that the
    /// sink takes such.
    pub fn took_at_last(&mut self, epoch: u32) {
        self.setback.took(epoch);
    }
}

/// The line `latency = a + b * entries`, fitted to the answers so far, recent ones counting most. Seconds.
#[derive(Clone, Debug, Default)]
struct Cost {
    weight: f64,
    n: f64,
    nn: f64,
    l: f64,
    nl: f64,
    line: Option<(f64, f64)>,
}

impl Cost {
    /// What a batch of `n` should take.
    fn expected(&self, n: f64) -> Option<f64> {
        self.line.map(|(a, b)| (a + b * n).max(1e-6))
    }

    fn learn(&mut self, n: f64, latency: f64) {
        // A stall of the machine is no property of the sink.
        let latency = self.expected(n).map_or(latency, |expected| latency.min(3.0 * expected));
        for (sum, new) in [
            (&mut self.weight, 1.0),
            (&mut self.n, n),
            (&mut self.nn, n * n),
            (&mut self.l, latency),
            (&mut self.nl, n * latency),
        ] {
            *sum = *sum * FADE + new;
        }
        let (mean_n, mean_l) = (self.n / self.weight, self.l / self.weight);
        let spread = self.nn / self.weight - mean_n * mean_n;
        self.line = if spread > 0.01 * mean_n * mean_n {
            let b = ((self.nl / self.weight - mean_n * mean_l) / spread).max(1e-9);
            Some(((mean_l - b * mean_n).max(0.0), b))
        } else {
            // All of one size: the slope cannot be told. Keep the last one, or take half of the cost as fixed.
            let b =
                self.line.map_or(mean_l / 2.0 / mean_n, |(_, b)| b).clamp(1e-9, (mean_l / mean_n).max(1e-9));
            Some(((mean_l - b * mean_n).max(0.0), b))
        };
    }

    /// The best size for requests of `target` seconds.
    fn best(&self, target: f64, pressed: bool) -> Option<f64> {
        let (a, b) = self.line?;
        let floor = a / b;
        let want = if a < target / 2.0 { (target - a) / b } else { floor };
        Some(if pressed { want.max(4.0 * floor.min(want)) } else { want })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    fn batcher(flow: bool) -> Batcher {
        let limits = BatchLimits {
            batch_size: 100,
            batch_timeout: Duration::from_secs(5),
            max_entries: 10_000,
            max_bytes: 1 << 20,
        };
        Batcher::new(limits, FlowControl { enabled: flow, target_latency: 100 * MS, adjustment_factor: 0.1 })
    }
    fn waiting(entries: usize, age: Duration) -> Waiting {
        Waiting { entries, age, ..Waiting::default() }
    }

    #[test]
    fn without_flow_control_size_and_timeout_hold_exactly() {
        let mut batcher = batcher(false);
        assert_eq!(batcher.should_flush(waiting(0, Duration::ZERO)), Due::Never);
        assert_eq!(batcher.should_flush(waiting(99, Duration::ZERO)), Due::In(Duration::from_secs(5)));
        assert_eq!(batcher.should_flush(waiting(100, Duration::ZERO)), Due::Now);
        assert_eq!(batcher.should_flush(waiting(1, Duration::from_secs(5))), Due::Now);
        batcher.answered(100, 0, MS, true, Answer::Took);
        assert_eq!((batcher.optimal_batch_size(), batcher.hard_limit()), (100, 100));
    }

    #[test]
    fn an_idle_sink_gets_a_lone_entry_after_5_ms_and_a_busy_one_after_50() {
        let batcher = batcher(true);
        assert_eq!(batcher.should_flush(waiting(1, MS)), Due::In(4 * MS));
        let busy = Waiting { batches_out: 1, ..waiting(1, MS) };
        assert_eq!(batcher.should_flush(busy), Due::In(49 * MS));
        let large = Waiting { bytes: 1 << 20, ..busy };
        assert_eq!(batcher.should_flush(large), Due::Now);
    }

    #[test]
    fn under_pressure_the_size_doubles_until_the_first_overshoot() {
        let mut batcher = batcher(true);
        for expected in [200, 400, 800, 1600] {
            let n = batcher.optimal_batch_size();
            batcher.answered(n, 0, 20 * MS + n as u32 * Duration::from_micros(20), true, Answer::Took);
            assert_eq!(batcher.optimal_batch_size(), expected);
        }
        batcher.answered(1600, 0, 200 * MS, true, Answer::Overloaded);
        assert_eq!(batcher.optimal_batch_size(), 800);
    }

    /// How the sink takes so many batches, one after the other: the share that failed at first, and the mean size.
    fn run(batcher: &mut Batcher, batches: usize, mut fails: impl FnMut(usize) -> bool) -> (f64, f64) {
        let (mut failed, mut entries) = (0, 0);
        for _ in 0..batches {
            let (n, epoch) = (batcher.optimal_batch_size(), batcher.epoch());
            entries += n;
            let mut attempts = 1;
            // A batch stays as it is until it is taken or given up.
            while attempts <= 4 && fails(n) {
                batcher.answered(n, epoch, MS, false, Answer::Overloaded);
                attempts += 1;
            }
            failed += usize::from(attempts > 1);
            match attempts {
                1 => {
                    batcher.answered(n, epoch, MS + n as u32 * Duration::from_micros(10), true, Answer::Took)
                }
                2..=4 => batcher.took_at_last(epoch),
                _ => {}
            }
        }
        (failed as f64 / batches as f64, entries as f64 / batches as f64)
    }

    #[test]
    fn failures_that_have_nothing_to_do_with_the_size_do_not_make_batches_small() {
        for share in [0.02, 0.1, 0.2, 0.3, 0.4] {
            for seed in 0..20 {
                let (mut batcher, mut random) = (batcher(true), fastrand::Rng::with_seed(seed));
                run(&mut batcher, 500, |_| random.f64() < share);
                let (_, mean) = run(&mut batcher, 2000, |_| random.f64() < share);
                assert!(mean > 3000.0, "{mean} entries at {share}, seed {seed}");
            }
        }
    }

    #[test]
    fn batches_that_cannot_become_smaller_grow_again_once_the_sink_is_well() {
        let mut batcher = batcher(true);
        // Whatever is wanted, a run of 20 is sent.
        for n in 0..60 {
            let epoch = batcher.epoch();
            batcher.answered(20, epoch, MS, false, Answer::Overloaded);
            if n % 3 == 0 {
                batcher.took_at_last(epoch);
            }
        }
        for _ in 0..300 {
            let (n, epoch) = (batcher.optimal_batch_size().max(20), batcher.epoch());
            batcher.answered(n, epoch, 40 * MS + n as u32 * Duration::from_micros(10), true, Answer::Took);
        }
        assert!(batcher.optimal_batch_size() > 1000, "{}", batcher.optimal_batch_size());
    }

    #[test]
    fn a_sink_that_fails_larger_batches_gets_smaller_ones_also_when_its_limit_moves() {
        let mut batcher = batcher(true);
        for limit in [1000, 60, 4000, 7, 500] {
            run(&mut batcher, 300, |n| n > limit);
            let (failed, mean) = run(&mut batcher, 1000, |n| n > limit);
            assert!(failed < 0.25, "{failed} failed at {limit}");
            assert!(mean > 0.5 * limit as f64 && mean < 1.1 * limit as f64, "{mean} at {limit}");
        }
    }

    #[test]
    fn the_size_settles_where_the_request_takes_its_target() {
        let mut batcher = batcher(true);
        for _ in 0..300 {
            let n = batcher.optimal_batch_size();
            batcher.answered(n, 0, 20 * MS + n as u32 * Duration::from_micros(20), true, Answer::Took);
        }
        let n = batcher.optimal_batch_size();
        assert!((3400..=4600).contains(&n), "20 ms + 20 us an entry fits 4000 into 100 ms, not {n}");
    }

    #[test]
    fn a_sink_whose_fixed_cost_exceeds_the_target_is_not_starved() {
        let mut batcher = batcher(true);
        for _ in 0..300 {
            let n = batcher.optimal_batch_size();
            batcher.answered(n, 0, 150 * MS + n as u32 * Duration::from_micros(20), true, Answer::Took);
        }
        assert!(batcher.optimal_batch_size() >= 1000, "{}", batcher.optimal_batch_size());
    }
}
