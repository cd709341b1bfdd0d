//! CPU time of this thread instead of wall time: what other programs do on the machine then matters little.

use std::{hint::black_box, time::Duration};

use criterion::{Throughput, measurement::Measurement, measurement::ValueFormatter, measurement::WallTime};

/// CPU time this thread has used.
#[allow(unsafe_code)]
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec to the address of one, which lives until the call returns.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Lets criterion count CPU time; it is shown like wall time.
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }
    fn end(&self, start: Duration) -> Duration {
        now() - start
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// What one round of work is: how many lines, how many bytes.
#[derive(Clone, Copy)]
pub struct Work {
    pub lines: u64,
    pub bytes: u64,
}

impl Work {
    pub fn throughput(self) -> Throughput {
        Throughput::ElementsAndBytes { elements: self.lines, bytes: self.bytes }
    }
}

/// Runs each candidate in turn, over and over, and prints its best time per line; the first is the bound the others
/// are compared with. In turn, because a neighbour's load then falls on all alike.
pub fn compare(work: Work, candidates: &mut [(&str, &mut dyn FnMut() -> u64)]) {
    const ROUNDS: usize = 15;
    const REPEATS: u32 = 200;
    let mut best = vec![f64::INFINITY; candidates.len()];
    for _ in 0..ROUNDS {
        for ((_, run), best) in candidates.iter_mut().zip(&mut best) {
            let start = now();
            for _ in 0..REPEATS {
                black_box(run());
            }
            let ns = (now() - start).as_nanos() as f64 / f64::from(REPEATS) / work.lines as f64;
            *best = best.min(ns);
        }
    }
    for ((name, _), ns) in candidates.iter().zip(&best) {
        let (lines, bytes) = (1e3 / ns, 1e3 / ns * work.bytes as f64 / work.lines as f64);
        let ratio = best[0] / ns;
        println!(
            "{name:<36} {ns:8.1} cpu ns/line {lines:8.2} M lines/s {bytes:9.0} MB/s {ratio:6.2} of the bound"
        );
    }
}
