//! Looking at live entries: at a source, behind a step, or in front of a sink, without slowing their way.
//!
//! Nobody looks most of the time: then a block costs one relaxed load. While somebody does, whoever has the block shows
//! it to the taps at that point, never waits for them, and spends no more on it than the tap's rates allow: what is beyond
//! them is counted, not shown. A tap lives as long as it is asked for what it has seen.

use crate::block::Block;
use crate::expr::Expr;
use crate::sinks::format::{Encoder, Format};
use parking_lot::Mutex;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Most taps at once.
pub const TAPS_MAX: usize = 8;
/// Most bytes a tap keeps until it is asked.
pub const KEPT_MAX: usize = 1 << 20;
/// A tap that is not asked for this long is closed.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// Most entries per second a tap holds its filter against.
pub const LOOKED_AT_MAX: u64 = 100_000;
/// Most entries per second a tap may be told to show.
pub const RATE_MAX: u64 = 10_000;

/// Where entries are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// As they came in at the source of this name.
    Source(String),
    /// Behind a step of a pipeline, by its place, from 1 on.
    Step(String, usize),
    /// In front of the sink of this name.
    Sink(String),
}

impl Point {
    /// Reads `source:NAME`, `step:PIPELINE/PLACE` or `sink:NAME`.
    ///
    /// Errors: what would be right, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("source", name)) if !name.is_empty() => Ok(Point::Source(name.into())),
            Some(("sink", name)) if !name.is_empty() => Ok(Point::Sink(name.into())),
            Some(("step", rest)) => rest
                .rsplit_once('/')
                .and_then(|(name, place)| Some((name, place.parse().ok().filter(|place| *place > 0)?)))
                .map(|(name, place)| Point::Step(name.into(), place))
                .ok_or_else(|| {
                    format!("`{text}` names no step: expected `step:PIPELINE/1` for its first step")
                }),
            _ => Err(format!(
                "`{text}` is no place to look at: expected `source:NAME`, `step:PIPELINE/1` or `sink:NAME`"
            )),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Source(name) => write!(f, "source:{name}"),
            Point::Step(name, place) => write!(f, "step:{name}/{place}"),
            Point::Sink(name) => write!(f, "sink:{name}"),
        }
    }
}

/// What somebody wants to see.
pub struct Wish {
    /// Their own name for it: whoever asks with the same goes on where they were.
    pub id: String,
    /// Where to look.
    pub point: Point,
    /// Only entries for which this holds.
    pub filter: Option<Expr>,
    /// Most entries per second.
    pub rate: u64,
}

/// What a tap has seen since it was last asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Entries as JSON, a line each.
    pub lines: Vec<u8>,
    /// How many lines.
    pub shown: u64,
    /// Entries beyond the rates, or seen while somebody else was being shown some: not among the lines, though some might
    /// meet the filter.
    pub skipped: u64,
}

/// All taps that are open.
#[derive(Default)]
pub struct Taps {
    /// How many, so that a block need not ask for the lock to learn that there is none.
    open: AtomicUsize,
    taps: Mutex<Vec<Tap>>,
    /// Entries shown to nobody, because the taps were busy.
    missed: AtomicUsize,
}

struct Tap {
    wish: Wish,
    seen: Seen,
    encoder: Encoder,
    show: Allowance,
    look: Allowance,
    asked: Instant,
}

/// So many per second, a second's worth at once.
struct Allowance {
    rate: u64,
    left: u64,
    since: Instant,
}

impl Allowance {
    fn new(rate: u64, now: Instant) -> Self {
        Allowance { rate, left: rate, since: now }
    }

    fn refill(&mut self, now: Instant) {
        let earned =
            now.saturating_duration_since(self.since).as_nanos() * u128::from(self.rate) / 1_000_000_000;
        if earned > 0 {
            self.left = self.left.saturating_add(u64::try_from(earned).unwrap_or(u64::MAX)).min(self.rate);
            self.since = now;
        }
    }
}

impl Taps {
    /// Whether anyone looks anywhere: asked once per block and place.
    pub fn is_open(&self) -> bool {
        // Relaxed: a block more or less is no matter.
        self.open.load(Relaxed) > 0
    }

    /// Shows the entries at `places` of the block to whoever looks at a point for which `is_here` holds. Never waits.
    pub fn show<'a, I: Iterator<Item = usize>>(
        &self,
        is_here: impl Fn(&Point) -> bool,
        block: &'a Block,
        places: impl Fn(&'a Block) -> I,
        now: Instant,
    ) {
        let Some(mut taps) = self.taps.try_lock() else {
            // Relaxed: for display only.
            self.missed.fetch_add(places(block).count(), Relaxed);
            return;
        };
        for tap in taps.iter_mut().filter(|tap| is_here(&tap.wish.point)) {
            tap.show(block, places(block), now);
        }
    }

    /// What the tap of this wish has seen since it was last asked; the first time it is opened, and has seen nothing.
    ///
    /// Errors: there are too many already.
    pub fn ask(&self, wish: Wish, now: Instant) -> Result<Seen, String> {
        let mut taps = self.taps.lock();
        taps.retain(|tap| now.saturating_duration_since(tap.asked) < FORGOTTEN_AFTER);
        let count = taps.len();
        let known = taps.iter_mut().find(|tap| tap.wish.id == wish.id && tap.wish.point == wish.point);
        let seen = match known {
            Some(tap) => {
                tap.asked = now;
                let missed = self.missed.swap(0, Relaxed) as u64;
                let seen = std::mem::take(&mut tap.seen);
                Ok(Seen { skipped: seen.skipped + missed, ..seen })
            }
            None if count >= TAPS_MAX => Err(format!("{TAPS_MAX} taps are open already: close one")),
            None => {
                let wish = Wish { rate: wish.rate.clamp(1, RATE_MAX), ..wish };
                taps.push(Tap {
                    seen: Seen::default(),
                    encoder: Encoder::new(Format::Json),
                    show: Allowance::new(wish.rate, now),
                    look: Allowance::new(LOOKED_AT_MAX, now),
                    asked: now,
                    wish,
                });
                Ok(Seen::default())
            }
        };
        self.open.store(taps.len(), Relaxed);
        seen
    }

    /// Closes the taps nobody asks any more.
    pub fn sweep(&self, now: Instant) {
        if self.is_open() {
            let mut taps = self.taps.lock();
            taps.retain(|tap| now.saturating_duration_since(tap.asked) < FORGOTTEN_AFTER);
            self.open.store(taps.len(), Relaxed);
        }
    }
}

impl Tap {
    fn show(&mut self, block: &Block, places: impl Iterator<Item = usize>, now: Instant) {
        self.show.refill(now);
        self.look.refill(now);
        for place in places {
            if self.show.left == 0 || self.look.left == 0 || self.seen.lines.len() >= KEPT_MAX {
                self.seen.skipped += 1;
                continue;
            }
            self.look.left -= 1;
            if self.wish.filter.as_ref().is_none_or(|filter| filter.matches(block, place)) {
                self.show.left -= 1;
                self.seen.shown += 1;
                let stream = block.stream_of(place);
                self.encoder.encode(block, stream, std::iter::once(place), &mut self.seen.lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::labels::{Labels, SourceId, Stream};
    use std::sync::Arc;

    fn block(count: usize) -> Block {
        let mut block = Block::new(4096);
        let stream = Stream::new(SourceId(0), "app".into(), "file", "a.log", Labels::default());
        block.begin_run(&Arc::new(stream));
        for number in 0..count {
            let text = format!("line {number}");
            let at = block.append(text.as_bytes()).unwrap();
            block.push(Entry::at(at, text.len() as u32));
        }
        block.reset_side();
        block
    }

    fn wish(id: &str, filter: &str, rate: u64) -> Wish {
        let filter = (!filter.is_empty()).then(|| Expr::compile(filter).unwrap());
        Wish { id: id.into(), point: Point::Source("app".into()), filter, rate }
    }

    fn here(point: &Point) -> bool {
        *point == Point::Source("app".into())
    }

    #[test]
    fn a_tap_shows_what_passes_its_filter_from_when_it_was_opened() {
        let (taps, now) = (Taps::default(), Instant::now());
        assert!(!taps.is_open());
        taps.ask(wish("me", "message == 'line 2'", 10), now).unwrap();
        assert!(taps.is_open());
        let block = block(5);
        taps.show(here, &block, |_| 0..5, now);
        taps.show(|_| false, &block, |_| 0..5, now);
        let seen = taps.ask(wish("me", "", 10), now).unwrap();
        let line = serde_json::from_slice::<serde_json::Value>(&seen.lines).unwrap();
        assert_eq!((line["message"].as_str(), seen.shown, seen.skipped), (Some("line 2"), 1, 0));
        assert_eq!(taps.ask(wish("me", "", 10), now).unwrap(), Seen::default());
    }

    #[test]
    fn a_tap_shows_no_more_than_its_rate_and_counts_the_rest() {
        let (taps, now) = (Taps::default(), Instant::now());
        let sec = Duration::from_secs(1);
        taps.ask(wish("me", "", 3), now).unwrap();
        let block = block(5);
        let round = |now| {
            taps.show(here, &block, |_| 0..5, now);
            let seen = taps.ask(wish("me", "", 3), now).unwrap();
            (seen.shown, seen.skipped)
        };
        assert_eq!(
            [round(now), round(now), round(now + sec), round(now + 9 * sec)],
            [(3, 2), (0, 5), (3, 2), (3, 2)]
        );
    }

    #[test]
    fn taps_are_few_and_closed_when_nobody_asks() {
        let (taps, now) = (Taps::default(), Instant::now());
        for number in 0..TAPS_MAX {
            taps.ask(wish(&number.to_string(), "", 1), now).unwrap();
        }
        assert!(taps.ask(wish("one more", "", 1), now).unwrap_err().contains("taps are open"));
        let later = now + FORGOTTEN_AFTER;
        taps.ask(wish("one more", "", 1), later).unwrap();
        assert_eq!(taps.taps.lock().len(), 1);
        taps.sweep(later + FORGOTTEN_AFTER);
        assert!(!taps.is_open());
    }

    #[test]
    fn points_are_read_as_they_are_written_and_errors_say_what_would_be_right() {
        for text in ["source:app", "step:parse/2", "step:a/b/1", "sink:out"] {
            assert_eq!(Point::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "app", "source:", "step:parse", "step:parse/0", "step:parse/x", "lane:x"] {
            assert!(Point::parse(text).unwrap_err().contains("expected"), "{text}");
        }
    }
}
