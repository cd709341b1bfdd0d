//! `ringmain gen`: numbered lines of several kinds, to try a config or to load one.
//!
//! A line is a function of its number, the seed and the size, so whoever receives lines can tell which are missing, which
//! came twice, and whether each is what was sent. Times count a millisecond for each line from the same moment, unless
//! `--now` is said.

mod lines;
mod place;

use super::{exit, fail};
use crate::units;
use clap::Args;
use lines::{Kind, Lines};
use place::{Out, Place};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often a rate is looked after: what is due by then is sent together.
const TICK: Duration = Duration::from_millis(10);
/// Most lines handed over between two looks at the clock.
const TICK_LINES: u64 = 1000;
/// How long it may take before it says how far it is, and how often it does.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to make, and where to.
#[derive(Debug, Args)]
pub struct GenArgs {
    /// What the lines look like; `java` has stack traces over several lines
    #[arg(long, value_enum, default_value = "plain")]
    kind: Kind,
    /// `-` is standard output; else a file to append to, or `tcp://ADDRESS`, `udp://ADDRESS`, `unix://PATH`,
    /// `unixgram://PATH`; with `syslog+` in front, as the text of RFC 5424 messages
    #[arg(long, value_name = "PLACE", default_value = "-", value_parser = Place::parse)]
    to: Place,
    /// How many entries
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Entries a second; without it, as fast as they are taken
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Bytes an entry is filled up to, such as `250` or `4KiB`
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    size: usize,
    /// Another seed makes other lines; the same makes the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The number of the first entry
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// Gives entries the present time instead of one that is always the same
    #[arg(long)]
    now: bool,
}

/// Makes them.
pub fn run(args: &GenArgs) -> ExitCode {
    let begun = Instant::now();
    let mut sent = 0;
    let done = args.to.open().and_then(|mut out| send(args, &mut out, begun, &mut sent));
    match done {
        Ok(bytes) => {
            let took = begun.elapsed().as_secs_f64();
            let rate = sent as f64 / took.max(1e-9);
            // Nothing can be said to somebody who closed stderr.
            let _ = writeln!(
                io::stderr().lock(),
                "{sent} entries ({bytes} bytes) to {} in {took:.1}s, {rate:.0} a second",
                args.to
            );
            ExitCode::from(exit::CLEAN)
        }
        // Who reads us has seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && args.to.is_stdout() => {
            ExitCode::from(exit::CLEAN)
        }
        Err(error) => fail(
            exit::NOT_STARTED,
            &format!("{}: {error}; {sent} of {} entries were sent", args.to, args.count),
        ),
    }
}

/// Sends all entries; how many bytes that was is the result.
fn send(args: &GenArgs, out: &mut Out, begun: Instant, sent: &mut u64) -> io::Result<u64> {
    let lines = Lines::new(args.kind, args.seed, args.size, args.now);
    let (mut bytes, mut entry) = (0, Vec::new());
    let mut told = begun;
    while *sent < args.count {
        let now = Instant::now();
        let due = due(args.rate, now - begun, *sent, args.count);
        for number in (args.first + *sent..).take(due as usize) {
            entry.clear();
            lines.write(number, &mut entry);
            bytes += entry.len() as u64 + 1;
            out.send(&entry)?;
            *sent += 1;
        }
        if now - told >= PATIENCE {
            told = now;
            say(args, *sent, now - begun);
        }
        if args.rate.is_some() && *sent < args.count {
            out.flush()?;
            std::thread::sleep(TICK);
        }
    }
    out.finish()?;
    Ok(bytes)
}

/// How many entries are due at once.
fn due(rate: Option<u64>, elapsed: Duration, sent: u64, count: u64) -> u64 {
    let by_now = match rate {
        None => count,
        // The first tick's share is due at once.
        Some(rate) => ((elapsed + TICK).as_secs_f64() * rate as f64).ceil() as u64,
    };
    by_now.saturating_sub(sent).min(count - sent).min(TICK_LINES)
}

fn say(args: &GenArgs, sent: u64, elapsed: Duration) {
    let stderr = io::stderr();
    if stderr.is_terminal() {
        let share = sent * 100 / args.count;
        let rate = sent as f64 / elapsed.as_secs_f64();
        let _ = writeln!(stderr.lock(), "{sent} of {} entries ({share} %), {rate:.0} a second", args.count);
    }
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = units::parse_size(text).and_then(|bytes| usize::try_from(bytes).ok());
    bytes
        .filter(|bytes| *bytes <= 16 << 20)
        .ok_or_else(|| format!("expected at most 16MiB, and {}", units::SIZE_EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_from_the_first_tick_to_the_last() {
        let ms = Duration::from_millis;
        assert_eq!(due(Some(100), ms(0), 0, 50), 1);
        assert_eq!(due(Some(100), ms(90), 1, 50), 9);
        assert_eq!(due(Some(100), ms(90), 10, 50), 0);
        assert_eq!(due(Some(100), ms(5000), 45, 50), 5);
        assert_eq!(due(Some(1), ms(0), 0, 50), 1);
        assert_eq!(due(Some(1_000_000), ms(0), 0, 1 << 40), TICK_LINES);
        assert_eq!(due(None, ms(0), 0, 1 << 40), TICK_LINES);
    }

    #[test]
    fn a_file_gets_the_same_lines_whenever_they_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, seed| {
            let to = Place::parse(dir.path().join(name).to_str().unwrap()).unwrap();
            let args =
                GenArgs { kind: Kind::Json, to, count: 5, rate: None, size: 120, seed, first: 7, now: false };
            let (mut out, mut sent) = (args.to.open().unwrap(), 0);
            let bytes = send(&args, &mut out, Instant::now(), &mut sent).unwrap();
            drop(out);
            let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
            assert_eq!((sent, bytes, text.lines().count()), (5, text.len() as u64, 5));
            text
        };
        let first = made("a", 1);
        assert_eq!(first, made("b", 1));
        assert_ne!(first, made("c", 2));
        assert!(first.contains("\"n\":7,") && first.contains("\"n\":11,"), "{first}");
    }
}
