//! How long a line is on its way: each carries the moment it was written, and whoever tails the output looks at the clock.

use crate::support::Instance;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes of a line, its newline included.
pub const LINE: usize = 250;
/// How often lines are written.
const TICK: Duration = Duration::from_millis(1);
/// How often a file is looked at for more.
const LOOK: Duration = Duration::from_micros(100);
/// How long the last lines are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands before the moment, in nanoseconds and 12 digits.
const STAMP: &[u8] = b" at=";
const DIGITS: usize = 12;

/// How lines come in.
#[derive(Clone, Copy)]
pub enum Way {
    File,
    Tcp,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::File => "file",
            Way::Tcp => "syslog over TCP",
        }
    }

    /// The output's name below `out`.
    pub fn file_name(self) -> &'static str {
        match self {
            Way::File => "host.log",
            Way::Tcp => "syslog.log",
        }
    }

    /// Where to write lines.
    pub fn open(self, input: &Path, instance: &mut Instance) -> Box<dyn Write> {
        match self {
            Way::File => Box::new(OpenOptions::new().append(true).open(input).expect("the input")),
            Way::Tcp => {
                let address = instance.address("source syslog", "tcp://");
                let stream = TcpStream::connect(address).expect("it listens");
                stream.set_nodelay(true).expect("can be set");
                Box::new(stream)
            }
        }
    }
}

/// What was found.
pub struct Found {
    pub through: Percentiles,
    pub control: Option<Percentiles>,
    pub written: u64,
    pub came: usize,
}

/// Of many durations: half are shorter than the first, and so on.
pub struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    fn of(mut nanos: Vec<u64>) -> Percentiles {
        nanos.sort_unstable();
        let at = |share: f64| {
            let place = (nanos.len() as f64 * share) as usize;
            nanos.get(place.min(nanos.len().saturating_sub(1))).map_or(f64::NAN, |nanos| *nanos as f64 / 1e6)
        };
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50, p90, p99, max } = self;
        write!(f, "{p50:>9.2} ms p50, {p90:.2} p90, {p99:.2} p99, {max:.2} at most")
    }
}

/// Writes `rate` lines a second to `sender` for `span`, and tails `out`, and `control` if there is one.
pub fn measure(
    sender: &mut dyn Write,
    control: Option<&Path>,
    out: &Path,
    rate: u64,
    span: Duration,
) -> Found {
    let (base, done) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let through = scope.spawn(|| tail(out, base, &done, rate * span.as_secs()));
        let control = control.map(|path| scope.spawn(|| tail(path, base, &done, rate * span.as_secs())));
        let written = write(sender, base, rate, span);
        done.store(true, SeqCst);
        let through = through.join().expect("the tail ends well");
        let came = through.len();
        let control = control.map(|tail| Percentiles::of(tail.join().expect("the tail ends well")));
        Found { through: Percentiles::of(through), control, written, came }
    })
}

/// Every tick, as many lines as are due.
fn write(sender: &mut dyn Write, base: Instant, rate: u64, span: Duration) -> u64 {
    let (mut written, all) = (0, rate * span.as_secs());
    let mut text = Vec::new();
    while written < all {
        let now = base.elapsed();
        let due = ((now.as_secs_f64() * rate as f64) as u64).min(all);
        text.clear();
        for _ in written..due {
            let begin = text.len();
            text.extend_from_slice(b"<14>1 - host app - - -");
            text.extend_from_slice(STAMP);
            write!(text, "{:0DIGITS$} ", now.as_nanos()).expect("memory");
            text.resize(begin + LINE - 1, b'x');
            text.push(b'\n');
        }
        sender.write_all(&text).expect("it can be written to");
        written = due;
        sleep(TICK);
    }
    written
}

/// How long each line took to come, until `lines` have come or no more do.
fn tail(path: &Path, base: Instant, done: &AtomicBool, lines: u64) -> Vec<u64> {
    let mut took = Vec::with_capacity(lines as usize);
    let mut file = None;
    let (mut buffer, mut held) = (vec![0; 1 << 20], 0);
    let mut quiet = Instant::now();
    while (took.len() as u64) < lines && !(done.load(SeqCst) && quiet.elapsed() > PATIENCE) {
        let Some(open) = &mut file else {
            file = File::open(path).ok();
            sleep(LOOK);
            continue;
        };
        let n = open.read(&mut buffer[held..]).expect("it can be read");
        if n == 0 {
            sleep(LOOK);
            continue;
        }
        let now = base.elapsed().as_nanos() as u64;
        quiet = Instant::now();
        let text = &buffer[..held + n];
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        took.extend(text[..whole].split_inclusive(|byte| *byte == b'\n').map(|line| now - stamp(line)));
        let end = text.len();
        buffer.copy_within(whole..end, 0);
        held = end - whole;
    }
    took
}

/// The moment a line was written.
fn stamp(line: &[u8]) -> u64 {
    let at = line.windows(STAMP.len()).position(|window| window == STAMP).expect("a stamp") + STAMP.len();
    std::str::from_utf8(&line[at..at + DIGITS]).expect("digits").parse().expect("a number")
}
