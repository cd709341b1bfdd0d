//! Our own logs: one line per message on stderr, each message at most once per [`PERIOD`] and cause.
//!
//! A cause is the place in the code that speaks together with what it says: for warnings and errors the first
//! [`CAUSE_BYTES`] bytes without their digits, so that counts and times make no new cause; for everything else the exact
//! words. `warn!(cause = %name, ...)` names the cause instead. What was held back is counted and told with the next message
//! of that cause, or by [`sweep`] once it has been quiet.
//!
//! Not here: what to say. The words belong to whoever knows what happened to the data.

mod line;
mod quiet;

use line::{Style, Words};
use parking_lot::Mutex;
pub use quiet::Quiet;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

/// Each cause speaks at most once in this time.
pub const PERIOD: Duration = Duration::from_secs(10);
/// How many bytes of a warning's text tell its cause.
pub const CAUSE_BYTES: usize = 64;
/// Most causes kept apart at a time. Beyond them, one place in the code is one cause, whatever it says.
pub const CAUSES_MAX: usize = 1024;
/// The environment variable with a filter, such as `debug` or `ringmain::sources=trace,info`.
pub const FILTER: &str = "RINGMAIN_LOG";

/// Bytes of a message kept to tell what was held back.
const SAMPLE_BYTES: usize = 256;

static LOGS: OnceLock<Arc<Mutex<Limiter>>> = OnceLock::new();

/// Begins to log to stderr: what the filter in [`FILTER`] lets through, without one `level` and above. The second call
/// in a process changes nothing.
pub fn init(level: Level) {
    let limiter = Arc::new(Mutex::new(Limiter::default()));
    if LOGS.set(Arc::clone(&limiter)).is_err() {
        return;
    }
    let wanted = std::env::var(FILTER).unwrap_or_default();
    let builder = EnvFilter::builder().with_default_directive(level.into());
    let (filter, wrong) = match builder.parse(&wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::default().add_directive(level.into()), Some(error)),
    };
    let lines = Lines { limiter, style: Style::of_stderr(), out: write };
    if tracing::subscriber::set_global_default(Registry::default().with(filter).with(lines)).is_err() {
        return; // The process that uses us as a library has a subscriber of its own: that one hears us.
    }
    if let Some(error) = wrong {
        tracing::warn!("{FILTER}={wanted:?} is no filter: logging {level} and above: {error}");
    }
}

/// Tells what was held back by causes that have been quiet for [`PERIOD`] since. Call it every few seconds.
pub fn sweep(now: Instant) {
    tell(LOGS.get(), |limiter| limiter.sweep(now));
}

/// Tells everything that was held back: before the process ends.
pub fn flush() {
    tell(LOGS.get(), Limiter::flush);
}

fn tell(logs: Option<&Arc<Mutex<Limiter>>>, held: impl FnOnce(&mut Limiter) -> Vec<Held>) {
    let Some(logs) = logs else { return };
    // Written after the lock is released: a slow stderr must not hold up everyone who has something to say.
    let held = held(&mut logs.lock());
    let style = Style::of_stderr();
    for Held { level, sample, count } in held {
        write(&style.line(level, crate::clock::unix_nanos(), &sample, &format!(" ({count} more like it)")));
    }
}

/// A line is one write, so that lines of several threads do not mix. There is nobody to tell if it fails.
fn write(line: &str) {
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Writes events as lines, as far as the limiter lets them.
struct Lines<W> {
    limiter: Arc<Mutex<Limiter>>,
    style: Style,
    out: W,
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let level = *event.metadata().level();
        let cause = Cause::of(event.metadata(), &words);
        let Some(held) = self.limiter.lock().ask(cause, level, &words.text, Instant::now()) else { return };
        let more = if held > 0 { format!(" (and {held} more like it)") } else { String::new() };
        (self.out)(&self.style.line(level, crate::clock::unix_nanos(), &words.text, &more));
    }
}

/// Who speaks, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    place: u64,
    words: u64,
}

impl Cause {
    /// The cause of what is said at `place` in the code: `exact` words, or words that count without their digits.
    pub fn new(place: impl Hash, words: &str, exact: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        if exact {
            words.hash(&mut hasher);
        } else {
            let head = words.as_bytes().iter().take(CAUSE_BYTES).filter(|byte| !byte.is_ascii_digit());
            head.for_each(|byte| hasher.write_u8(*byte));
        }
        let words = hasher.finish();
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        Cause { place: hasher.finish(), words }
    }

    fn of(metadata: &Metadata<'_>, words: &Words) -> Self {
        let place = metadata.callsite();
        match &words.cause {
            Some(cause) => Cause::new(place, cause, true),
            None => Cause::new(place, &words.text, *metadata.level() > Level::WARN),
        }
    }

    /// Everything that is said at this place.
    fn place_only(self) -> Self {
        Cause { words: 0, ..self }
    }
}

/// Messages of one cause that were not written.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// How bad they are.
    pub level: Level,
    /// The last of them.
    pub sample: String,
    /// How many.
    pub count: u64,
}

struct Told {
    at: Instant,
    held: Held,
}

/// Decides who may speak. Bounded: [`CAUSES_MAX`] causes, and one for each place in the code beyond that.
#[derive(Default)]
pub struct Limiter {
    told: HashMap<Cause, Told>,
}

impl Limiter {
    /// Whether `cause` may speak now, and if so, how many of its messages were held back before.
    pub fn ask(&mut self, cause: Cause, level: Level, text: &str, now: Instant) -> Option<u64> {
        let full = self.told.len() >= CAUSES_MAX && !self.told.contains_key(&cause);
        let cause = if full { cause.place_only() } else { cause };
        let fresh = || Told { at: now, held: Held { level, sample: String::new(), count: 0 } };
        let told = match self.told.entry(cause) {
            Entry::Vacant(entry) => {
                entry.insert(fresh());
                return Some(0);
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        if now.saturating_duration_since(told.at) >= PERIOD {
            return Some(std::mem::replace(told, fresh()).held.count);
        }
        told.held.count += 1;
        told.held.sample.clear();
        told.held.sample.push_str(&text[..text.floor_char_boundary(SAMPLE_BYTES)]);
        None
    }

    /// Forgets the causes that may speak again, and gives what they held back.
    pub fn sweep(&mut self, now: Instant) -> Vec<Held> {
        let over = self.told.extract_if(|_, told| now.saturating_duration_since(told.at) >= PERIOD);
        over.map(|(_, told)| told.held).filter(|held| held.count > 0).collect()
    }

    /// Forgets all causes, and gives what they held back.
    pub fn flush(&mut self) -> Vec<Held> {
        self.told.drain().map(|(_, told)| told.held).filter(|held| held.count > 0).collect()
    }
}

/// All that `body` says on this thread, as it says it.
#[cfg(test)]
pub fn heard(body: impl FnOnce()) -> Vec<String> {
    struct All(Arc<Mutex<Vec<String>>>);
    impl<S: Subscriber> Layer<S> for All {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut words = Words::default();
            event.record(&mut words);
            self.0.lock().push(words.text);
        }
    }
    let said = Arc::default();
    tracing::subscriber::with_default(Registry::default().with(All(Arc::clone(&said))), body);
    std::mem::take(&mut *said.lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(words: &str) -> Cause {
        Cause::new("place", words, false)
    }

    #[test]
    fn a_cause_speaks_once_per_period_and_then_tells_how_often_it_was_silent() {
        let (mut limiter, t0) = (Limiter::default(), Instant::now());
        let mut ask =
            |text: &str, at| limiter.ask(warned(text), Level::WARN, text, t0 + Duration::from_millis(at));
        assert_eq!(ask("512 entries kept, next attempt in 4s", 0), Some(0));
        assert_eq!(ask("7 entries kept, next attempt in 19s", 1), None);
        assert_eq!(ask("8 entries kept, next attempt in 1s", 9_999), None);
        assert_eq!(ask("another matter", 9_999), Some(0));
        assert_eq!(ask("9 entries kept, next attempt in 1s", 10_000), Some(2));
        assert_eq!(ask("9 entries kept, next attempt in 1s", 19_999), None);
        assert_eq!(ask("9 entries kept, next attempt in 1s", 20_000), Some(1));
    }

    #[test]
    fn what_was_held_back_is_told_though_its_cause_stays_quiet() {
        let (mut limiter, t0) = (Limiter::default(), Instant::now());
        for (text, at) in [("file a1 is unreadable", 0), ("file a2 is unreadable", 5), ("once", 5)] {
            limiter.ask(warned(text), Level::WARN, text, t0 + Duration::from_secs(at));
        }
        assert_eq!(limiter.sweep(t0 + Duration::from_secs(9)), []);
        let held = Held { level: Level::WARN, sample: "file a2 is unreadable".into(), count: 1 };
        assert_eq!(limiter.sweep(t0 + Duration::from_secs(10)), [held]);
        assert_eq!(limiter.told.len(), 1);
        limiter.ask(warned("once"), Level::INFO, "once", t0 + Duration::from_secs(10));
        assert_eq!(limiter.flush().len(), 1);
        assert!(limiter.told.is_empty());
    }

    #[test]
    fn life_events_that_differ_in_a_digit_are_different_messages() {
        let info = |words| Cause::new("place", words, true);
        assert_ne!(info("listens on tcp://127.0.0.1:514"), info("listens on tcp://127.0.0.1:515"));
        assert_eq!(warned("worker-1 was replaced"), warned("worker-2 was replaced"));
        assert_ne!(warned("a"), Cause::new("other place", "a", false));
    }

    #[test]
    fn ordinary_tracing_calls_are_limited_by_place_and_words_or_by_the_cause_they_name() {
        let (written, limiter) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
        let out = {
            let written = Arc::clone(&written);
            move |line: &str| written.lock().push(line.to_owned())
        };
        let lines = Lines { limiter: Arc::clone(&limiter), style: Style::Journal, out };
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            for n in 0..3 {
                tracing::warn!(path = "/a", "sink out: {n} entries kept");
                tracing::warn!(cause = %"disk", "full at /data/{}", ["x", "y", "z"][n]);
                tracing::info!("listens on port {n}");
            }
        });
        let expected = [
            "<4>sink out: 0 entries kept path=/a\n",
            "<4>full at /data/x\n",
            "<6>listens on port 0\n",
            "<6>listens on port 1\n",
            "<6>listens on port 2\n",
        ];
        assert_eq!(*written.lock(), expected);
        let mut held =
            limiter.lock().flush().into_iter().map(|held| (held.sample, held.count)).collect::<Vec<_>>();
        held.sort();
        assert_eq!(held, [("full at /data/z".into(), 2), ("sink out: 2 entries kept path=/a".into(), 2)]);
    }

    #[test]
    fn a_flood_of_causes_keeps_its_memory_bounded() {
        let (mut limiter, t0) = (Limiter::default(), Instant::now());
        let long = "ä".repeat(10_000);
        let mut spoke = 0;
        for n in 0..CAUSES_MAX + 500 {
            let cause = Cause::new("place", &n.to_string(), true);
            spoke += usize::from(limiter.ask(cause, Level::WARN, &long, t0).is_some());
        }
        assert_eq!((limiter.told.len(), spoke), (CAUSES_MAX + 1, CAUSES_MAX + 1));
        assert!(limiter.told.values().all(|told| told.held.sample.len() <= SAMPLE_BYTES));
        limiter.sweep(t0 + PERIOD);
        assert!(limiter.told.is_empty());
    }
}
