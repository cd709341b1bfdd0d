//! Compares what had to arrive with what did.

use crate::entry::{Found, Id, Stream};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// How long what was answered may take to be written down.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the generators gave away, and what of it has to arrive.
#[derive(Default)]
pub struct Obligations {
    streams: Mutex<BTreeMap<Stream, Given>>,
}

#[derive(Default, Clone)]
struct Given {
    /// All numbers below were sent.
    sent: u64,
    /// Bytes of text of them.
    bytes: u64,
    obliged: Vec<Range<u64>>,
}

impl Obligations {
    /// Says that `numbers` (in order, without gaps between calls) are on their way, and how many bytes they have.
    pub fn sent(&self, stream: Stream, numbers: Range<u64>, bytes: usize) {
        let mut streams = self.streams.lock().unwrap();
        let given = streams.entry(stream).or_default();
        assert_eq!(given.sent, numbers.start, "stream {stream} is numbered without gaps");
        given.sent = numbers.end;
        given.bytes += bytes as u64;
    }

    /// Says that `numbers` have to arrive from now on.
    pub fn oblige(&self, stream: Stream, numbers: Range<u64>) {
        let mut streams = self.streams.lock().unwrap();
        let obliged = &mut streams.entry(stream).or_default().obliged;
        match obliged.last_mut() {
            Some(last) if last.end == numbers.start => last.end = numbers.end,
            _ => obliged.push(numbers),
        }
    }

    /// How many were sent.
    pub fn sent_count(&self) -> u64 {
        self.streams.lock().unwrap().values().map(|given| given.sent).sum()
    }

    /// How many of those that were sent are such.
    pub fn count(&self, is_such: impl Fn(Stream, u64) -> bool) -> u64 {
        let streams = self.streams.lock().unwrap();
        let of = |(stream, given): (&Stream, &Given)| {
            (0..given.sent).filter(|number| is_such(*stream, *number)).count()
        };
        streams.iter().map(of).sum::<usize>() as u64
    }

    /// How many have to arrive.
    pub fn obliged_count(&self) -> u64 {
        let streams = self.streams.lock().unwrap();
        streams.values().flat_map(|given| &given.obliged).map(|range| range.end - range.start).sum()
    }
}

/// One arrival.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    pub number: u64,
    /// Which start of the product sent it.
    pub epoch: u32,
    place: u64,
}

/// What a destination took, in its order; nothing is ever taken back.
#[derive(Default)]
pub struct Receipts {
    places: AtomicU64,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// How many places were written down.
    places: u64,
    streams: BTreeMap<Stream, Vec<Receipt>>,
    corrupt: u64,
    foreign: u64,
    bad: Vec<String>,
    taken: u64,
}

impl Receipts {
    /// The next place in the order of arrival.
    pub fn place(&self) -> u64 {
        self.places.fetch_add(1, SeqCst)
    }

    /// Adds what was found in a request's records.
    pub fn take(&self, epoch: u32, found: &[(Found, &[u8])]) {
        self.take_at(self.place(), epoch, found);
    }

    /// Adds what was found in a request's records, which has its place already: whoever answers before it writes down
    /// what came may be overtaken by the next request.
    pub fn take_at(&self, place: u64, epoch: u32, found: &[(Found, &[u8])]) {
        let mut log = self.log.lock().unwrap();
        log.places += 1;
        for (found, record) in found {
            log.taken += 1;
            match found {
                Found::Whole(Id { stream, number, .. }) => {
                    log.streams.entry(*stream).or_default().push(Receipt { number: *number, epoch, place });
                    continue;
                }
                Found::Corrupt => log.corrupt += 1,
                Found::Foreign => log.foreign += 1,
            }
            if log.bad.len() < 3 {
                let text = String::from_utf8_lossy(&record[..record.len().min(300)]).into_owned();
                log.bad.push(format!("{found:?}: {text}"));
            }
        }
    }

    /// How many arrived, each as often as it did.
    pub fn taken(&self) -> u64 {
        self.log.lock().unwrap().taken
    }

    /// What came, with all that was answered before this call.
    fn whole(&self) -> MutexGuard<'_, Log> {
        let (answered, begun) = (self.places.load(SeqCst), Instant::now());
        loop {
            let log = self.log.lock().unwrap();
            if log.places >= answered {
                return log;
            }
            drop(log);
            assert!(begun.elapsed() < PATIENCE, "requests were answered and never written down");
            yield_now();
        }
    }

    /// How many different entries the start `epoch` sent.
    pub fn distinct_of(&self, epoch: u32) -> u64 {
        let log = self.whole();
        let distinct = |receipts: &Vec<Receipt>| {
            let mut numbers: Vec<u64> = receipts
                .iter()
                .filter(|receipt| receipt.epoch == epoch)
                .map(|receipt| receipt.number)
                .collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers.len() as u64
        };
        log.streams.values().map(distinct).sum()
    }
}

/// What the comparison found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub sent: u64,
    pub sent_bytes: u64,
    pub obliged: u64,
    pub received: u64,
    /// Obligations that never arrived.
    pub lost: u64,
    /// Sent without an obligation and never arrived.
    pub unpromised_lost: u64,
    /// Arrivals beyond the first of their entry.
    pub twice: u64,
    /// The most of them next to each other in a stream.
    pub longest: u64,
    pub corrupt: u64,
    pub foreign: u64,
    /// First arrivals behind a later entry of their stream.
    pub inverted: u64,
    /// What to look at first.
    pub examples: Vec<String>,
}

impl Findings {
    /// Twice, as a share of what was sent.
    pub fn twice_share(&self) -> f64 {
        self.twice as f64 / self.sent.max(1) as f64
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Findings) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.obliged += other.obliged;
        self.received += other.received;
        self.lost += other.lost;
        self.unpromised_lost += other.unpromised_lost;
        self.twice += other.twice;
        self.longest = self.longest.max(other.longest);
        self.corrupt += other.corrupt;
        self.foreign += other.foreign;
        self.inverted += other.inverted;
        self.examples.extend(other.examples.iter().take(5).cloned());
    }
}

impl Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} obliged, {} arrived: {} lost, {} twice ({:.3} %, at most {} in a row), {} corrupt, {} foreign, \
             {} out of order",
            self.obliged,
            self.received,
            self.lost,
            self.twice,
            self.twice_share() * 100.0,
            self.longest,
            self.corrupt,
            self.foreign,
            self.inverted
        )?;
        if self.unpromised_lost > 0 {
            write!(f, "; {} never promised and lost", self.unpromised_lost)?;
        }
        Ok(())
    }
}

/// Obligations against the receipts of one destination.
pub fn compare(obligations: &Obligations, receipts: &Receipts) -> Findings {
    compare_to(obligations, &[receipts])
}

/// Obligations against the receipts of several destinations, any of which will do (such as dead letters).
pub fn compare_to(obligations: &Obligations, receipts: &[&Receipts]) -> Findings {
    let streams = obligations.streams.lock().unwrap();
    let mut findings = Findings::default();
    let mut arrived: BTreeMap<Stream, Vec<Receipt>> = BTreeMap::new();
    for receipts in receipts {
        let log = receipts.whole();
        findings.corrupt += log.corrupt;
        findings.foreign += log.foreign;
        findings.examples.extend(log.bad.iter().cloned());
        for (stream, receipts) in &log.streams {
            let mut receipts = receipts.clone();
            receipts.sort_by_key(|receipt| receipt.place);
            arrived.entry(*stream).or_default().extend(receipts);
        }
    }
    for (stream, given) in streams.iter() {
        findings.sent += given.sent;
        findings.sent_bytes += given.bytes;
        let came = arrived.remove(stream).unwrap_or_default();
        one_stream(*stream, given, &came, &mut findings);
    }
    for (stream, receipts) in arrived {
        findings.foreign += receipts.len() as u64;
        findings.examples.push(format!("nothing was sent as {stream}: {:?}", receipts[0]));
    }
    findings
}

fn one_stream(stream: Stream, given: &Given, came: &[Receipt], findings: &mut Findings) {
    let mut times = vec![0_u32; given.sent as usize];
    let (mut highest, mut run) = (None, 0);
    for receipt in came {
        findings.received += 1;
        let Some(times) = times.get_mut(receipt.number as usize) else {
            findings.foreign += 1;
            findings.examples.push(format!("{stream} was not sent that far: {receipt:?}"));
            continue;
        };
        *times += 1;
        if *times > 1 {
            run += 1;
            findings.twice += 1;
            findings.longest = findings.longest.max(run);
            continue;
        }
        run = 0;
        if highest.is_some_and(|highest| receipt.number < highest) {
            findings.inverted += 1;
            if findings.inverted == 1 {
                findings.examples.push(format!("{stream}: {receipt:?} behind {highest:?}"));
            }
        }
        highest = highest.max(Some(receipt.number));
    }
    let mut promised = vec![false; given.sent as usize];
    for range in &given.obliged {
        findings.obliged += range.end - range.start;
        promised[range.start as usize..range.end as usize].fill(true);
    }
    let mut first = None;
    for (number, (times, promised)) in times.iter().zip(&promised).enumerate() {
        match (times, promised) {
            (0, true) => {
                findings.lost += 1;
                let around = given.obliged.iter().find(|range| range.contains(&(number as u64)));
                first.get_or_insert_with(|| {
                    format!("{stream}: {number} of {} never arrived (obliged {around:?})", given.sent)
                });
            }
            (0, false) => findings.unpromised_lost += 1,
            _ => {}
        }
    }
    findings.examples.extend(first);
}

/// The checker finds what is planted: one that cannot fail proves nothing.
pub fn self_test() {
    let stream = Stream { way: 'f', number: 0 };
    let whole = |number| (Found::Whole(Id { stream, number, kind: crate::entry::Kind::Plain }), &b""[..]);
    let (obligations, receipts) = (Obligations::default(), Receipts::default());
    obligations.sent(stream, 0..8, 80);
    obligations.oblige(stream, 0..3);
    obligations.oblige(stream, 3..6);
    // The first to arrive is written down last.
    let (first, second) = (receipts.place(), receipts.place());
    receipts.take_at(second, 1, &[0, 1, 4, 2].map(whole));
    receipts.take_at(first, 1, &[0, 1].map(whole));
    receipts.take(2, &[whole(9), whole(5), whole(5), (Found::Corrupt, b"x"), (Found::Foreign, b"y")]);
    let found = compare(&obligations, &receipts);
    assert_eq!((found.sent, found.obliged, found.received), (8, 6, 9), "{found}");
    assert_eq!((found.lost, found.unpromised_lost), (1, 2), "{found}");
    assert_eq!((found.twice, found.longest, found.inverted), (3, 2, 1), "{found}");
    assert_eq!((found.corrupt, found.foreign), (1, 2), "{found}");
    assert_eq!((receipts.distinct_of(1), receipts.distinct_of(2)), (4, 2));
}
