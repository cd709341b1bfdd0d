//! One container: what is known of it, how far its log was read, and what its two streams have begun.

use super::DockerSettings;
use super::exchange::Exchange;
use super::list::Listed;
use super::place::{self, Known, Place, Skip};
use super::select::{Picker, bounded};
use crate::checkpoint::Key;
use crate::labels::Stream;
use crate::sources::containers::frames::Frames;
use crate::sources::containers::join::Joiner;
use crate::sources::containers::{Piece, Std};
use crate::sources::multiline::TIMEOUTS_MAX;
use crate::sources::progress::Progress;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A place in a container's log: of both streams, and how many bytes of text came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// By [`Std`].
    pub places: [Place; 2],
    /// Since this run began to read it.
    pub bytes: u64,
}

/// What is done about its log.
pub enum Phase {
    /// All of it was read, and the container says nothing more, as far as we know.
    Resting,
    /// It is read on at this time.
    Due(Instant),
    /// It is followed: the answer lasts as long as the container runs.
    Following(Box<Exchange>),
    /// What it has now is read, to its end.
    Looking(Box<Exchange>),
    /// It was read to its end; whether it still runs is asked.
    Asked,
    /// It is to be read, and too many others are.
    Waiting,
}

/// One stream's state between two lines and between two events.
pub struct Half {
    /// Where its entries go.
    pub stream: Arc<Stream>,
    /// Its position in the checkpoint, and what that is called.
    pub key: Key,
    /// What it is called there.
    pub path: Arc<Path>,
    /// Everything up to here is in a block, or was read before.
    pub given: Place,
    /// Everything up to here was heard; before the last line, and with it.
    pub heard: [Place; 2],
    /// What of it was read before.
    pub skip: Option<Skip>,
    /// The open line and event.
    pub joiner: Joiner,
    line: Line,
    /// When the open event goes out, and when it does though it grows.
    pub until: Option<(Instant, Instant)>,
}

/// The line that comes in.
#[derive(Clone, Copy, Default)]
struct Line {
    begun: bool,
    time: i64,
    stamp: Option<i64>,
    crc: u32,
    known: bool,
    /// Its beginning went out already, cut.
    given_up: bool,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// It was read before, or is kept until more comes.
    Kept,
    /// It is an entry as it is, with this time.
    Entry(&'a [u8], Option<i64>),
    /// What comes is not what was read before: from the last time on everything is to be read again.
    Differs,
}

impl Half {
    fn new(
        stream: Arc<Stream>,
        (key, path): (Key, Arc<Path>),
        place: Place,
        settings: &DockerSettings,
    ) -> Half {
        Half {
            stream,
            key,
            path,
            given: place,
            heard: [place; 2],
            skip: None,
            joiner: Joiner::new(settings.max_line, settings.multiline.clone()),
            line: Line::default(),
            until: None,
        }
    }

    /// Reading begins anew behind `place`.
    fn rewind(&mut self, place: Place, settings: &DockerSettings) {
        (self.given, self.heard, self.skip) = (place, [place; 2], Some(Skip::to(place)));
        self.joiner = Joiner::new(settings.max_line, settings.multiline.clone());
        (self.line, self.until) = (Line::default(), None);
    }

    /// Takes the next piece. The joiner must have nothing more to give.
    pub fn take<'a>(&mut self, piece: Piece<'a>) -> Taken<'a> {
        if !self.line.begun {
            let [_, heard] = self.heard;
            let time = piece.time.unwrap_or(heard.time);
            let known = match self.skip.as_ref().map_or(Known::No, |skip| skip.knows(time)) {
                Known::Differs => return Taken::Differs,
                known => known == Known::Yes,
            };
            if !known {
                self.skip = None;
            }
            let stamp = piece.time.map(|time| heard.stamp(time));
            self.line = Line { begun: true, time, stamp, crc: 0, known, given_up: false };
        }
        let line = &mut self.line;
        line.crc = crc32c::crc32c_append(line.crc, piece.text);
        line.begun = !piece.ends;
        let Line { time, stamp, crc, known, given_up, .. } = *line;
        if known {
            let same = !piece.ends || self.skip.as_mut().is_none_or(|skip| skip.passed(time, crc));
            return if same { Taken::Kept } else { Taken::Differs };
        }
        if piece.ends {
            self.heard[0] = self.heard[1];
            self.heard[1].line(time, crc);
        }
        if given_up {
            return Taken::Kept;
        }
        let piece = Piece { time: stamp, ..piece };
        if self.joiner.passes(&piece) {
            self.given = self.heard[1];
            return Taken::Entry(piece.text, stamp);
        }
        self.joiner.add(&piece);
        Taken::Kept
    }

    /// What the joiner gave was put into a block.
    pub fn took(&mut self) {
        // If the last line is not part of it, neither is its place.
        self.given = self.heard[usize::from(!self.joiner.has_waiting_line())];
        self.joiner.took();
    }

    /// The open line goes out as far as it is there, marked as cut; the rest of it is passed over.
    pub fn give_up_line(&mut self) {
        self.line.given_up |= self.line.begun && self.joiner.cut_line();
    }

    /// The log has ended: so does the open line, though it has no end.
    pub fn end(&mut self) {
        if self.line.begun && !self.line.known {
            let Line { time, crc, .. } = self.line;
            self.heard[0] = self.heard[1];
            self.heard[1].line(time, crc);
            self.joiner.end_line();
        }
        self.line = Line::default();
    }

    /// Notes how long the open event waits for more: something was added to it, or it was begun `anew`.
    pub fn note_waiting(&mut self, anew: bool, timeout: Duration, now: Instant) {
        let before = self.until.filter(|_| !anew);
        self.until = self.joiner.has_event().then(|| {
            let latest = before.map_or(now + timeout * TIMEOUTS_MAX, |(_, latest)| latest);
            ((now + timeout).min(latest), latest)
        });
    }
}

/// One container.
pub struct Container {
    /// What the engine says of it.
    pub listed: Listed,
    /// Standard output and standard error.
    pub halves: [Half; 2],
    /// What is done about its log.
    pub phase: Phase,
    /// The messages of the answer that is read.
    pub frames: Frames,
    /// What is safe.
    pub progress: Progress<Point>,
    /// Goes up when it is read again from the safe place.
    pub generation: u32,
    /// Bytes of text given so far.
    pub bytes: u64,
    /// All that was said before this is in blocks.
    floor: i64,
    /// The time of the last line of this answer, known or not.
    pub seen: i64,
    /// Something happened to it since its answer began.
    pub has_news: bool,
    /// The next answer is only a look: what came last may have been missed.
    pub looks: bool,
    /// The status of an answer that is no success, and what came of its body.
    pub refusal: Option<(u16, Vec<u8>)>,
    /// Why its log cannot be read.
    pub trouble: Option<String>,
    /// How long it rests before the next attempt, if that fails too.
    pub backoff: Duration,
    /// It stands in the queue of those to be read.
    pub queued: bool,
    /// It has as many bytes on their way as one container may have.
    pub parked: bool,
    /// The engine does not know it any more.
    pub gone: bool,
    /// The last time it asked to be looked at.
    pub timer: Option<Instant>,
    /// Its position changed since it was told to the checkpoint.
    pub dirty: bool,
}

/// The shortest rest after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);

/// The longest.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

impl Container {
    /// A container that was read up to `places`.
    pub fn new(
        listed: Listed,
        keys: [(Key, Arc<Path>); 2],
        places: [Place; 2],
        picker: &Picker,
        settings: &DockerSettings,
    ) -> Container {
        let [out, err] = keys;
        let half = |std: Std, keys| {
            let stream = stream(&listed, std, picker, settings);
            Half::new(stream, keys, places[std as usize], settings)
        };
        let halves = [half(Std::Out, out), half(Std::Err, err)];
        Container {
            halves,
            listed,
            phase: Phase::Resting,
            frames: Frames::default(),
            progress: Progress::new(Point { places, bytes: 0 }),
            generation: 0,
            bytes: 0,
            floor: floor(places),
            seen: 0,
            has_news: true,
            looks: false,
            refusal: None,
            trouble: None,
            backoff: BACKOFF_MIN,
            queued: false,
            parked: false,
            gone: false,
            timer: None,
            dirty: false,
        }
    }

    /// The engine says this of it now.
    pub fn learn(&mut self, listed: Listed, picker: &Picker, settings: &DockerSettings) {
        let same = self.listed.name == listed.name && self.listed.labels == listed.labels;
        self.listed = listed;
        if !same {
            for std in Std::ALL {
                self.halves[std as usize].stream = stream(&self.listed, std, picker, settings);
            }
        }
    }

    /// The place that everything before is in a block.
    pub fn point(&self) -> Point {
        let from = self.from();
        Point { places: [0, 1].map(|half| Place { from, ..self.halves[half].given }), bytes: self.bytes }
    }

    /// From when on the engine would have to be asked, to hear all that is in no block yet. Its log is in order but for
    /// some slack, so all that is still to come was said not long before the last line.
    fn from(&self) -> i64 {
        let open = self.halves.iter().filter_map(|half| half.joiner.since()).min();
        let read = self.floor.max(place::before(self.seen));
        open.map_or(read, |open| open.min(read))
    }

    /// Reading goes on with a new answer, behind what is in blocks. What to ask it for.
    pub fn resume(&mut self, settings: &DockerSettings) -> Option<i64> {
        let from = self.from();
        (self.floor, self.seen) = (from, 0);
        for half in &mut self.halves {
            half.rewind(half.given, settings);
        }
        (self.frames, self.refusal) = (Frames::default(), None);
        place::since(from)
    }

    /// Goes back to the safe place.
    pub fn rewind(&mut self, settings: &DockerSettings) {
        let safe = self.progress.safe();
        self.generation = self.generation.wrapping_add(1);
        self.progress = Progress::new(safe);
        self.bytes = safe.bytes;
        (self.floor, self.seen) = (floor(safe.places), 0);
        for (half, place) in self.halves.iter_mut().zip(safe.places) {
            half.rewind(place, settings);
        }
    }

    /// How long it rests after a failure: the next time longer.
    pub fn rest(&mut self) -> Duration {
        let rest = self.backoff;
        self.backoff = (rest * 2).min(BACKOFF_MAX);
        rest
    }

    /// Bytes of its open lines and events.
    pub fn kept(&self) -> usize {
        self.halves.iter().map(|half| half.joiner.kept()).sum()
    }

    /// Its answer, if one is read.
    pub fn exchange(&mut self) -> Option<&mut Exchange> {
        match &mut self.phase {
            Phase::Following(exchange) | Phase::Looking(exchange) => Some(exchange),
            _ => None,
        }
    }

    /// Whether it has a connection.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Following(_) | Phase::Looking(_))
    }

    /// The name to show: the id where it has none.
    pub fn name(&self) -> &str {
        bounded(if self.listed.name.is_empty() { &self.listed.id } else { &self.listed.name })
    }
}

fn floor(places: [Place; 2]) -> i64 {
    places[0].from.min(places[1].from)
}

/// Both streams of a container share a name, and so a bucket: what it says to one stays in order with what it says to the
/// other.
fn stream(listed: &Listed, std: Std, picker: &Picker, settings: &DockerSettings) -> Arc<Stream> {
    let labels = picker.labels(listed, std, &settings.labels);
    let name = if listed.name.is_empty() { &listed.id } else { &listed.name };
    let (source, source_name) = (settings.source, Arc::clone(&settings.name));
    Arc::new(Stream::new(source, source_name, "docker", bounded(name), labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{Labels, SourceId};

    fn half() -> Half {
        let settings = DockerSettings {
            source: SourceId(0),
            name: "app".into(),
            socket: "/none".into(),
            read_from: crate::sources::file::ReadFrom::Beginning,
            max_line: 100,
            multiline: None,
            rescan: BACKOFF_MAX,
            timeout: BACKOFF_MAX,
            connections: 1,
            open: crate::pool::Allowance::default(),
            partial_memory: 1 << 20,
            labels: Labels::default(),
        };
        let stream = Stream::new(SourceId(0), "app".into(), "docker", "web", Labels::default());
        Half::new(Arc::new(stream), (Key::NONE, place::path("a", "stdout")), Place::default(), &settings)
    }

    fn piece(time: i64, text: &str, ends: bool) -> Piece<'_> {
        Piece { std: Std::Out, time: Some(time), text: text.as_bytes(), ends }
    }

    #[test]
    fn a_line_that_is_given_up_goes_out_once_and_its_place_is_behind_all_of_it() {
        let mut half = half();
        assert_eq!(half.take(piece(5, "begin", false)), Taken::Kept);
        half.give_up_line();
        assert_eq!(half.joiner.done().map(|done| (done.text, done.cut)), Some((&b"begin"[..], true)));
        half.took();
        assert_eq!(half.given, Place::default(), "it is read again whole, if it comes to that");
        assert_eq!(half.take(piece(6, "more", false)), Taken::Kept);
        assert_eq!(half.take(piece(7, "end", true)), Taken::Kept);
        assert!(half.joiner.done().is_none() && half.joiner.is_empty());
        assert_eq!(half.take(piece(8, "next", true)), Taken::Entry(b"next", Some(8)));
        let mut whole = Place::default();
        whole.line(5, crc32c::crc32c(b"beginmoreend"));
        whole.line(8, crc32c::crc32c(b"next"));
        assert_eq!(half.given, whole);
    }

    #[test]
    fn lines_of_one_time_have_stamps_of_their_own() {
        let mut half = half();
        let stamps = [3, 3, 4].map(|time| match half.take(piece(time, "x", true)) {
            Taken::Entry(_, stamp) => stamp,
            other => panic!("{other:?}"),
        });
        assert_eq!(stamps, [Some(3), Some(4), Some(4)]);
    }
}
