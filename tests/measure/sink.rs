//! How long entries are on their way to an HTTP sink that takes its time, and how long the simulation says they are.
//!
//! The destination is a server of ours that takes `20 ms + 20 us * entries` for a request, any number at once. Lines come
//! in by TCP, one connection; order does not matter, so that several requests may be out. What is compared is the middle
//! of all latencies: the two should differ by less than a quarter.

use crate::destination::{Destination, status};
use crate::simulation::{self, MS, ORDINARY, Scenario};
use crate::support::Instance;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_secs(15);
/// What comes before is start and ramp.
const SETTLE: Duration = Duration::from_secs(5);
/// How often lines are written.
const TICK: Duration = MS;

/// Measures at `rate` lines a second, simulates the same, and prints both.
pub fn compare(rate: u64) {
    let real = measure(rate);
    let simulated = simulate(rate);
    let off = (real.0 - simulated.p50) / simulated.p50 * 100.0;
    println!("\nto an HTTP sink of 20 ms + 20 us an entry, {rate} lines/s, {} s", SPAN.as_secs());
    println!("  on their way        p50 {:>6.1} ms, p99 {:>6.1} ms", real.0, real.1);
    println!("  simulated           p50 {:>6.1} ms, p99 {:>6.1} ms", simulated.p50, simulated.p99);
    println!("  p50 differs by      {off:>6.1} % (goal: within 25 %)");
}

fn measure(rate: u64) -> (f64, f64) {
    let dir = tempfile::tempdir().expect("a directory");
    let zero = Instant::now();
    let latencies = Arc::new(Mutex::new(Vec::<f64>::new()));
    let there = Destination::start();
    let seen = Arc::clone(&latencies);
    there.judge(move |request| {
        let came = Instant::now();
        let text = std::str::from_utf8(&request.body).expect("text");
        let sent: Vec<u128> = text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
        sleep((came + ORDINARY.takes(sent.len())).saturating_duration_since(Instant::now()));
        let now = zero.elapsed();
        let settled = sent.into_iter().filter(|at| *at >= SETTLE.as_nanos());
        seen.lock().expect("no panic").extend(settled.map(|at| (now.as_nanos() - at) as f64 / 1e6));
        status(204)
    });
    let config = format!(
        "data_dir: state\nadmin: {{ listen: '127.0.0.1:0' }}\ndispatcher: {{ queue_size: 100000 }}\n\
         sources: {{ in: {{ type: socket, listen: ['tcp://127.0.0.1:0'], framing: newline }} }}\n\
         sinks: {{ out: {{ type: http, url: '{}', body: lines, ordering: none }} }}\n",
        there.url()
    );
    let mut instance = Instance::start(dir.path(), &config);
    let address = instance.address("source in", "tcp://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("can be set");
    let (begun, mut written) = (Instant::now(), 0);
    while begun.elapsed() < SPAN + SETTLE {
        let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
        let at = zero.elapsed().as_nanos();
        let text: String = (written..due).map(|n| format!("{at} {n} {}\n", "x".repeat(80))).collect();
        stream.write_all(text.as_bytes()).expect("it reads");
        written = due;
        sleep(TICK);
    }
    sleep(Duration::from_secs(2));
    let mut all = std::mem::take(&mut *latencies.lock().expect("no panic"));
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

fn simulate(rate: u64) -> simulation::Outcome {
    let rates: fn(f64) -> f64 = match rate {
        2_000 => |_| 2_000.0,
        10_000 => |_| 10_000.0,
        _ => |_| 40_000.0,
    };
    simulation::run(&Scenario {
        streams: 1,
        span: SPAN + SETTLE,
        measured_from: SETTLE,
        seed: 1,
        noise: false,
        ..Scenario::ordinary("as measured", rates)
    })
}
