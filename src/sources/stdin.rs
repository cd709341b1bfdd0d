//! Lines from standard input, on a thread of its own.
//!
//! Standard input may be anything, and shared with others: a terminal set to non-blocking here would be so for the
//! shell as well. So it stays as it is, and each read is preceded by a look whether it would wait. What cannot be
//! waited for by readiness (a file, `/dev/null`) never makes a reader wait, and is read straight away.

use crate::labels::{Labels, SourceId, Stream};
use crate::sources::ending::Ending;
use crate::sources::framing::LineFramer;
use crate::sources::inlet::InletSpec;
use crate::sources::multiline::Rules;
use crate::sources::multiline::framer::EventFramer;
use crate::sources::net::filler::Filler;
use crate::sources::net::incoming::{Framing, HEADROOM, Incoming, Pumped};
use crate::sources::net::{Intake, Member, Next, Place, Readiness, Turn};
use crate::thread::{Row, Wake};
use mio::Interest;
use mio::unix::SourceFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most reads in a turn, between which the pace is looked after.
const TURN_READS: usize = 16;
/// How long after being told to stop what is already there is read.
const LAST_READ: Duration = Duration::from_secs(1);

/// What the source is told.
#[derive(Clone, Debug)]
pub struct StdinSettings {
    /// The source's number.
    pub source: SourceId,
    /// Longest line in bytes; longer ones are cut and marked.
    pub max_line: usize,
    /// Which lines are one event, unless each is.
    pub multiline: Option<Arc<Rules>>,
    /// Labels of every entry.
    pub labels: Labels,
}

/// The reader of standard input.
pub struct StdinReader(Intake);

impl StdinReader {
    /// A reader with these settings.
    ///
    /// Errors: no descriptors left, or the longest line or event does not fit a block.
    pub fn new(settings: StdinSettings, spec: InletSpec, ending: Arc<Ending>) -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Self::of(input, settings, spec, ending)
    }

    fn of(input: File, settings: StdinSettings, spec: InletSpec, ending: Arc<Ending>) -> io::Result<Self> {
        let max_line = settings.max_line;
        match &settings.multiline {
            None => Self::framed(LineFramer::new(max_line), max_line, input, settings, spec, ending),
            Some(rules) => {
                let framer = EventFramer::new(Arc::clone(rules), max_line);
                let longest = framer.longest();
                Self::framed(framer, longest, input, settings, spec, ending)
            }
        }
    }

    fn framed<F: Framing + Clone + 'static>(
        framing: F,
        longest: usize,
        input: File,
        settings: StdinSettings,
        spec: InletSpec,
        ending: Arc<Ending>,
    ) -> io::Result<Self> {
        let StdinSettings { source, labels, .. } = settings;
        let name = Arc::clone(&spec.source.name);
        let largest = spec.largest_block();
        if longest.saturating_add(HEADROOM) > largest {
            let error = format!("source {name}: entries of {longest} bytes do not fit blocks of {largest}");
            return Err(io::Error::new(ErrorKind::InvalidInput, error));
        }
        let mut intake = Intake::new(ending)?;
        let input = Input::open(input, &intake.place()?)?;
        let stream = Arc::new(Stream::new(source, name, "stdin", "stdin", labels));
        let lines = Lines {
            input,
            incoming: Incoming::new(stream, framing, longest),
            filler: Filler::new(spec, intake.waker()),
            state: State::Reading,
            blocked: false,
        };
        intake.add(Box::new(lines));
        Ok(StdinReader(intake))
    }

    /// Wakes the thread.
    pub fn waker(&self) -> Arc<dyn Wake> {
        self.0.waker()
    }

    /// Reads to the end of the input, or until told to stop; then stays until all is settled or it is told to leave.
    pub fn run(self, row: &Row) {
        self.0.keeping_to_cpu().run(row);
    }
}

/// Standard input, which is never waited for.
struct Input {
    file: File,
    /// Whether a read may wait, and readiness says when it does not.
    may_wait: bool,
}

impl Input {
    fn open(file: File, place: &Place) -> io::Result<Self> {
        let fd = file.as_raw_fd();
        let may_wait = match place.register(0, &mut SourceFd(&fd), Interest::READABLE) {
            Ok(()) => true,
            // epoll_ctl(2): EPERM is a target that does not support it, such as a regular file.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
            Err(error) => return Err(error),
        };
        Ok(Input { file, may_wait })
    }
}

impl Read for Input {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if self.may_wait && poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&now))? == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.file.read(room)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// All is read and in a block.
    Ended,
    /// ... and shipped.
    Shipped,
}

/// The one member of the reader's loop.
struct Lines<F> {
    input: Input,
    incoming: Incoming<F>,
    filler: Filler,
    state: State,
    blocked: bool,
}

impl<F: Framing + Clone> Lines<F> {
    /// Reads as far as a turn goes; true if there may be more.
    fn read(&mut self, stopping: Option<Instant>, now: Instant) -> bool {
        for _ in 0..TURN_READS {
            match self.incoming.pump(&mut self.input, &mut self.filler, now) {
                Pumped::Moved { .. } => {}
                Pumped::Empty if stopping.is_some() => self.incoming.end(),
                Pumped::Empty | Pumped::Blocked => return false,
                Pumped::Ended => {
                    self.state = State::Ended;
                    if stopping.is_none() {
                        tracing::info!("source {}: end of input", self.filler.source_name());
                    }
                    return false;
                }
                Pumped::Broken { .. } => unreachable!("lines can always be told apart"),
            }
        }
        true
    }
}

impl<F: Framing + Clone> Member for Lines<F> {
    // A notice only ends the sleep: whether there is something to read is asked of the input itself.
    fn notice(&mut self, _: u32, _: Readiness) {}

    fn turn(&mut self, turn: &Turn) -> Next {
        let now = turn.now;
        if turn.woken {
            self.filler.woken();
        }
        let last = turn.stopping.is_some_and(|since| now >= since + LAST_READ);
        if last {
            self.incoming.end();
        }
        // Handing in what was read needs room, but no open gate.
        let may_move = if last { !self.filler.is_stuck() } else { self.filler.may_read() };
        let more = self.state == State::Reading && may_move && self.read(turn.stopping, now);
        if self.state == State::Reading && may_move && !more {
            self.incoming.end_open(&mut self.filler, now);
        }
        self.filler.ledger().cut.add(self.incoming.take_cut());
        let due = self.filler.keep_pace(now);
        if turn.stopping.is_some() && self.state == State::Ended && self.filler.ship(now) {
            self.state = State::Shipped;
        }
        self.blocked = !may_move || self.filler.is_stuck();
        let end =
            turn.stopping.filter(|_| self.state == State::Reading && !last).map(|since| since + LAST_READ);
        let open = self.incoming.due().filter(|_| self.state == State::Reading && !self.blocked);
        match due.into_iter().chain(end).chain(open).min() {
            _ if more && !self.blocked => Next::Now,
            Some(due) => Next::At(due),
            None => Next::Told,
        }
    }

    fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn has_shipped(&self) -> bool {
        self.state == State::Shipped
    }

    fn is_idle(&self) -> bool {
        self.has_shipped() && self.filler.is_idle()
    }

    fn leave(&mut self) {
        let lost = self.filler.abandon(0);
        if lost > 0 {
            tracing::error!(
                "source {}: {lost} lines lost: they were read, and the time to deliver them is over",
                self.filler.source_name()
            );
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::sources::multiline::Rule;
    use crate::sources::multiline::pattern::Pattern;
    use crate::sources::net::tests::House;
    use crate::thread::Threads;
    use std::io::{Seek, Write};
    use std::thread::JoinHandle;

    fn start(house: &House, input: File, max_line: usize) -> JoinHandle<()> {
        let ending = Arc::clone(&house.ending);
        let (source, labels) = (SourceId(0), Labels::default());
        let settings = StdinSettings { source, max_line, multiline: None, labels };
        let reader = StdinReader::of(input, settings, house.spec(), ending).unwrap();
        Threads::default().spawn("stdin", &[], move |row| reader.run(row)).unwrap()
    }

    /// Takes what comes until `count` lines did, then ends the reader.
    fn lines(house: &mut House, thread: JoinHandle<()>, count: usize) -> Vec<String> {
        let patience = Instant::now() + Duration::from_secs(20);
        while house.count() < count && Instant::now() < patience {
            house.empty();
            std::thread::yield_now();
        }
        house.ending.stop();
        assert!(house.ending.wait_shipped(patience));
        house.empty();
        thread.join().unwrap();
        house.came.remove("stdin").unwrap_or_default()
    }

    fn pipe() -> (File, File) {
        let (read, write) = io::pipe().unwrap();
        (File::from(std::os::fd::OwnedFd::from(read)), File::from(std::os::fd::OwnedFd::from(write)))
    }

    #[test]
    fn lines_of_a_pipe_arrive_unchanged_and_the_last_needs_no_newline() {
        let mut house = House::new(100_000, 50);
        let (read, mut write) = pipe();
        let thread = start(&house, read, 10_000);
        let sent: Vec<String> =
            (0..20_000).map(|n| format!("line {n} \t\0 {}\r", "x".repeat(n % 300))).collect();
        // The pipe holds 64 KiB: the reader must take some while we write.
        let (writing, all) = (sent.clone(), Arc::clone(&house.hallway));
        let writer = std::thread::spawn(move || write.write_all(writing.join("\n").as_bytes()).unwrap());
        assert_eq!(lines(&mut house, thread, sent.len()), sent);
        writer.join().unwrap();
        assert_eq!(all.transit.used(), 0);
    }

    #[test]
    fn a_file_and_a_device_that_cannot_be_waited_for_are_read_to_their_end() {
        let mut house = House::new(1000, 50);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\n\ntoo long\nthree").unwrap();
        file.rewind().unwrap();
        let thread = start(&house, file, 5);
        assert_eq!(lines(&mut house, thread, 4), ["one", "", "too l", "three"]);
        assert_eq!(house.ledger.row.cut.get(), 1);
        let mut house = House::new(1000, 50);
        let thread = start(&house, File::open("/dev/null").unwrap(), 5);
        assert!(lines(&mut house, thread, 0).is_empty());
    }

    #[test]
    fn a_reader_told_to_stop_hands_in_what_is_in_an_open_pipe() {
        let mut house = House::new(1000, 50);
        let (read, mut write) = pipe();
        write.write_all(b"one\ntw").unwrap();
        let thread = start(&house, read, 100);
        assert_eq!(lines(&mut house, thread, 1), ["one", "tw"]);
        drop(write);
    }

    #[test]
    fn lines_that_belong_together_are_one_entry_that_waits_as_long_as_asked() {
        let rule = || Rule::Continue(Pattern::compile(r"^\s").unwrap());
        let rules = |timeout| Rules { rule: rule(), max_lines: 2000, max_bytes: 20_000, timeout };
        let settings = |timeout| StdinSettings {
            source: SourceId(0),
            max_line: 1000,
            multiline: Some(Arc::new(rules(timeout))),
            labels: Labels::default(),
        };
        let long = "long".to_owned() + &"\n ".repeat(1000);
        let start = |house: &House, input, timeout| {
            let reader =
                StdinReader::of(input, settings(timeout), house.spec(), Arc::clone(&house.ending)).unwrap();
            Threads::default().spawn("stdin", &[], move |row| reader.run(row)).unwrap()
        };
        let mut house = House::new(1000, 50);
        let (read, mut write) = pipe();
        write.write_all(format!("one\n more\n{long}\ntwo\n m").as_bytes()).unwrap();
        let thread = start(&house, read, Duration::from_millis(1));
        // `two` goes out by itself, its rest when the input ends.
        let came = lines(&mut house, thread, 3);
        assert_eq!(came, ["one\n more", &long, "two", " m"]);
        drop(write);
        let mut house = House::new(1000, 50);
        let (read, mut write) = pipe();
        write.write_all(b"one\n more\ntwo\n more\nthree\n").unwrap();
        drop(write);
        let thread = start(&house, read, Duration::from_secs(3600));
        assert_eq!(lines(&mut house, thread, 3), ["one\n more", "two\n more", "three"]);
    }

    #[test]
    fn the_input_keeps_its_flags() {
        let house = House::new(1000, 50);
        let (read, _write) = pipe();
        let flags = rustix::fs::fcntl_getfl(&read).unwrap();
        let thread = start(&house, read.try_clone().unwrap(), 100);
        assert_eq!(rustix::fs::fcntl_getfl(&read).unwrap(), flags);
        house.ending.stop();
        house.ending.leave();
        thread.join().unwrap();
    }
}
