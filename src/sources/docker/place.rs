//! How far a container's log was read: the last line of each stream, by its time and what it said.
//!
//! Engines know no offsets, but times; and many lines may have the same (podman tells whole seconds). So a place is a
//! time, how many lines of that time are done with, and a checksum of what they said, in order. Coming back, a [`Skip`]
//! passes over what was read before and tells when it is not what was read then: lines are then given twice rather than
//! lost.

use crate::checkpoint::{Edge, Position};
use std::path::Path;
use std::sync::Arc;

/// How much earlier than the last line we ask: the engine writes down two streams, not quite in the order of their times.
const SLACK: i64 = 10_000_000_000;
/// How far ahead of our clock an engine's may be.
const AHEAD_MAX: i64 = 3600 * SECOND;
const SECOND: i64 = 1_000_000_000;
/// What the paths of our positions begin with: no path of a file does.
const PREFIX: &str = "container:";

/// A place in one stream of a container's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The time of the last line, in nanoseconds since 1970-01-01 UTC.
    pub time: i64,
    /// How many lines of that time there were.
    pub count: u32,
    /// CRC32C of these lines' checksums.
    pub crc: u32,
    /// Nothing that was said before this is still to come, by the engine's times.
    pub from: i64,
}

impl Place {
    /// The place before everything said from `time` on.
    pub fn at(time: i64) -> Place {
        Place { time, from: time, ..Place::default() }
    }

    /// A line of this time and checksum follows.
    pub fn line(&mut self, time: i64, crc: u32) {
        if time != self.time {
            (self.time, self.count, self.crc) = (time, 0, 0);
        }
        self.count = self.count.saturating_add(1);
        self.crc = crc32c::crc32c_append(self.crc, &crc.to_le_bytes());
    }

    /// What a line of `time` that comes next is stamped with: no two of a stream have the same stamp.
    pub fn stamp(&self, time: i64) -> i64 {
        time.saturating_add(if time == self.time { i64::from(self.count) } else { 0 })
    }

    /// As it is stored: the place of `path`.
    pub fn position(&self, path: &Arc<Path>, last_seen: i64) -> Position {
        Position {
            path: Arc::clone(path),
            dev: self.from as u64,
            inode: self.count.into(),
            head_crc: 0,
            head_len: 0,
            offset: self.time as u64,
            edge: Edge::Line,
            tail_crc: self.crc,
            last_seen,
        }
    }

    /// What was stored, as it counts at `now`: a time far ahead was said by a clock that was wrong, and nothing would ever
    /// come behind it.
    pub fn of(position: &Position, now: i64) -> Place {
        let from = (position.dev as i64).clamp(0, now.max(0));
        let time = position.offset as i64;
        if time <= 0 {
            // Set back to the beginning, by whomever.
            return Place::default();
        }
        if time > now.saturating_add(AHEAD_MAX) {
            return Place { from, ..Place::default() };
        }
        let count = u32::try_from(position.inode).unwrap_or(u32::MAX);
        Place { time, count, crc: position.tail_crc, from }
    }
}

/// What the position of a container's stream is stored under.
pub fn path(id: &str, std: &str) -> Arc<Path> {
    Path::new(&format!("{PREFIX}{id}/{std}")).into()
}

/// The container and the stream that a position is about, if it is one of ours.
pub fn whose(path: &Path) -> Option<(&str, &str)> {
    path.to_str()?.strip_prefix(PREFIX)?.split_once('/')
}

/// What may still come behind a line of this `time` was said after this.
pub fn before(time: i64) -> i64 {
    time.saturating_sub(SLACK).max(0)
}

/// The second to ask the engine for, to hear all that was said at `from` and later; `None`: everything.
///
/// Engines compare with `after` or `not before`, and round: a second earlier is in any case early enough.
pub fn since(from: i64) -> Option<i64> {
    Some(from / SECOND - 1).filter(|second| *second > 0)
}

/// Passes over the lines up to a place.
#[derive(Clone, Copy, Debug)]
pub struct Skip {
    upto: Place,
    seen: Place,
}

/// What a line is, coming back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was read before.
    Yes,
    /// It, and everything behind it, was not.
    No,
    /// Those before it were not the lines that were read before.
    Differs,
}

impl Skip {
    /// Up to `place`.
    pub fn to(place: Place) -> Skip {
        Skip { upto: place, seen: Place::at(place.time) }
    }

    /// Whether the next line, of this time, was read before.
    pub fn knows(&self, time: i64) -> Known {
        let Place { time: last, count, crc, .. } = self.upto;
        let (seen, same) = (self.seen.count, self.seen.crc == crc);
        if seen > 0 && seen == count && same {
            // Behind the last one, whatever its time: the clock may have been set back.
            return Known::No;
        }
        match time.cmp(&last) {
            std::cmp::Ordering::Less => Known::Yes,
            std::cmp::Ordering::Equal if seen < count => Known::Yes,
            // None of them is there any more: the log was cut behind them.
            _ if seen == 0 => Known::No,
            _ => Known::Differs,
        }
    }

    /// A line that was read before is over; false if it was another then.
    pub fn passed(&mut self, time: i64, crc: u32) -> bool {
        if time != self.upto.time {
            return true;
        }
        self.seen.line(time, crc);
        self.seen.count < self.upto.count || self.seen.crc == self.upto.crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines `log`, of which `read` were read; how many are given when `log` is read again.
    fn again(read: &[(i64, u32)], log: &[(i64, u32)]) -> Result<Vec<(i64, u32)>, ()> {
        let mut place = Place::at(0);
        read.iter().for_each(|(time, crc)| place.line(*time, *crc));
        let mut skip = Some(Skip::to(place));
        let mut given = Vec::new();
        for &(time, crc) in log {
            match skip.as_ref().map_or(Known::No, |skip| skip.knows(time)) {
                Known::Yes => {
                    if !skip.as_mut().unwrap().passed(time, crc) {
                        return Err(());
                    }
                }
                Known::No => {
                    skip = None;
                    given.push((time, crc));
                }
                Known::Differs => return Err(()),
            }
        }
        Ok(given)
    }

    #[test]
    fn lines_that_were_read_are_passed_over_and_no_others() {
        let log: Vec<(i64, u32)> =
            vec![(1, 7), (1, 7), (1, 8), (2, 1), (2, 1), (2, 1), (5, 2), (4, 3), (4, 3), (9, 9)];
        for read in 0..=log.len() {
            let given = again(&log[..read], &log).unwrap();
            // A clock set back costs lines given twice, and none lost.
            let wanted = if read == 8 || read == 9 { &log[6..] } else { &log[read..] };
            assert_eq!(given, wanted, "{read} read");
        }
    }

    #[test]
    fn other_lines_of_the_same_time_are_found_out() {
        let log = [(1, 1), (2, 5), (2, 6), (2, 7), (3, 1)];
        // The log was rotated: the first of them are gone.
        assert_eq!(again(&log[..3], &log[2..]), Err(()));
        assert_eq!(again(&log[..3], &[(2, 5), (2, 9), (3, 1)]), Err(()));
        assert_eq!(again(&log[..3], &[(2, 5), (3, 1)]), Err(()));
        assert_eq!(again(&log[..3], &log[4..]), Ok(vec![(3, 1)]));
        assert_eq!(again(&[], &log), Ok(log.to_vec()));
    }

    #[test]
    fn a_place_survives_its_position_and_no_two_stamps_are_the_same() {
        let mut place = Place { from: 77, ..Place::default() };
        let stamps: Vec<i64> = [5, 5, 5, 9, 9]
            .map(|time| {
                let stamp = place.stamp(time);
                place.line(time, 1);
                stamp
            })
            .into();
        assert_eq!(stamps, [5, 6, 7, 9, 10]);
        let path = path("ab12", "stderr");
        assert_eq!(whose(&path), Some(("ab12", "stderr")));
        assert_eq!(whose(Path::new("/var/log/container:x/stdout")), None);
        assert_eq!(Place::of(&place.position(&path, 3), 100), place);
        let reset = crate::checkpoint::Position { offset: 0, ..place.position(&path, 3) };
        assert_eq!(Place::of(&reset, 100), Place::default());
        let ahead = Place { time: 2 * AHEAD_MAX, count: 1, crc: 1, from: 2 * AHEAD_MAX };
        assert_eq!(Place::of(&ahead.position(&path, 3), 100), Place { from: 100, ..Place::default() });
    }

    #[test]
    fn the_engine_is_asked_for_a_time_before_both_streams() {
        let time = 1_795_839_346_585_508_564;
        assert_eq!(since(before(time)), Some(1_795_839_335));
        assert_eq!((since(before(0)), since(0)), (None, None));
    }
}
