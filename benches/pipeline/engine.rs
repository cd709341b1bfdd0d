//! One run of the engine over the data.

use crate::clock;
use crate::data::Data;
use ringmain::config::Config;
use ringmain::engine::Engine;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is looked whether all is through.
const LOOK: Duration = Duration::from_millis(2);
/// Longest a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run took.
pub struct Run {
    /// CPU time of all threads of the engine, start and end included.
    pub cpu: Duration,
    /// From the start until the last line was delivered.
    pub wall: Duration,
    /// Batches the sink was given.
    pub batches: u64,
    /// Times a thread went to sleep.
    pub sleeps: u64,
    /// Bytes of memory touched for the first time: how far sources ran ahead of sinks, mostly.
    pub touched: u64,
}

impl Run {
    /// Runs `config` over the data, which is in `dir` or sent to where the engine listens.
    pub fn of(config: &str, data: &Data, dir: &Path) -> Run {
        for name in ["state", "out"] {
            std::fs::remove_dir_all(dir.join(name)).ok();
        }
        let config = format!("data_dir: state\nadmin: {{ listen: off }}\n{config}");
        let place = |name: &str| format!("{}/{name}", dir.display());
        let config = config.replace("state", &place("state"));
        let config = config.replace("\"in/", &format!("\"{}/", place("in")));
        let config = config.replace("\"out/", &format!("\"{}/", place("out")));
        let config = Config::parse("bench", &config, &|_| None).unwrap_or_else(|report| panic!("{report}"));
        let (before, cpu, wall) = (usage(), clock::process(), Instant::now());
        let engine = Engine::start(config).unwrap_or_else(|error| panic!("{error}"));
        let sender = listening(&engine).map(|address| data.send(address));
        let waiting = clock::thread();
        while !is_through(&engine, data) {
            assert!(wall.elapsed() < PATIENCE, "never through: {:?}", engine.ledger());
            std::thread::sleep(LOOK);
        }
        let (wall, waited) = (wall.elapsed(), clock::thread() - waiting);
        let sent = sender.map_or(Duration::ZERO, |sender| sender.join().expect("the sender ended well"));
        let batches = engine.ledger().sinks[0].row.batches.get();
        assert_eq!(engine.ledger().imbalance(), None);
        let ended = engine.stop(Instant::now() + PATIENCE);
        let cpu = clock::process() - cpu - waited - sent;
        assert_eq!((ended.undelivered, ended.dropped, ended.all_ended), (0, 0, true));
        let after = usage();
        let sleeps = (after.ru_nvcsw - before.ru_nvcsw) as u64;
        let touched = (after.ru_minflt - before.ru_minflt) as u64 * 4096;
        Run { cpu, wall, batches, sleeps, touched }
    }
}

fn is_through(engine: &Engine, data: &Data) -> bool {
    let ledger = engine.ledger();
    let (source, sink) = (&ledger.sources[0].row, &ledger.sinks[0].row);
    source.filtered.get() + sink.delivered.get() == data.lines
}

fn listening(engine: &Engine) -> Option<SocketAddr> {
    let described = engine.describe();
    let found = described.iter().find_map(|line| line.split_once("tcp://"))?.1;
    let end = found.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':');
    found[..end.unwrap_or(found.len())].parse().ok()
}

/// What the threads of this process have used, those that have ended too (getrusage(2)).
#[allow(unsafe_code)]
fn usage() -> libc::rusage {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes one rusage to the address of one; all zeros is a valid rusage before that.
    unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0, "usage can be had");
        usage.assume_init()
    }
}
