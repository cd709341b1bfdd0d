//! Which of the files beneath the base are a template's: those it names, and what rotation made of them.

use super::beneath::Base;
use super::places::OVERFLOW;
use super::rotate::Rotated;
use crate::clock::UnixNanos;
use crate::sinks::template::Template;
use regex::{Captures, Regex};
use std::io;

/// Most names looked at in one walk.
const NAMES_MAX: usize = 1_000_000;
/// Most files found in one walk.
const FOUND_MAX: usize = 100_000;

const HOUR: i64 = 3_600_000_000_000;

/// The files of a template.
pub(super) struct Shape {
    /// One for each name of a path.
    names: Vec<Regex>,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path beneath the base.
    pub path: String,
    /// The same for all files that follow each other under one name: the path without what it says of time.
    pub series: String,
    /// When the last entry for it can have been said, if its path says so.
    pub until: Option<UnixNanos>,
    /// Whether it is rotated, or still to be written to.
    pub is_rotated: bool,
}

impl Found {
    /// The name it was given by rotation, taken apart.
    pub(super) fn rotated(&self) -> Option<Rotated<'_>> {
        Rotated::parse(super::beneath::name(&self.path)).filter(|_| self.is_rotated)
    }
}

/// What the names on the way to a file say.
#[derive(Clone, Default)]
struct Trail {
    path: String,
    series: String,
    date: Option<String>,
    hour: Option<String>,
}

impl Shape {
    /// The files of `template`.
    pub(super) fn of(template: &Template) -> Result<Self, regex::Error> {
        let names: Result<_, _> = template.patterns().iter().map(|pattern| Regex::new(pattern)).collect();
        Ok(Shape { names: names? })
    }

    /// All of them that there are; at most [`FOUND_MAX`].
    pub(super) fn walk(&self, base: &Base) -> io::Result<Vec<Found>> {
        let mut walk = Walk { shape: self, base, found: Vec::new(), looked_at: 0 };
        walk.descend(0, &Trail::default())?;
        if walk.is_enough() {
            tracing::warn!("more than {FOUND_MAX} files: not all of them are compressed or removed in time");
        }
        Ok(walk.found)
    }
}

struct Walk<'a> {
    shape: &'a Shape,
    base: &'a Base,
    found: Vec<Found>,
    looked_at: usize,
}

impl Walk<'_> {
    fn is_enough(&self) -> bool {
        self.looked_at >= NAMES_MAX || self.found.len() >= FOUND_MAX
    }

    fn descend(&mut self, depth: usize, trail: &Trail) -> io::Result<()> {
        let is_last = depth + 1 == self.shape.names.len();
        let pattern = &self.shape.names[depth];
        let mut below = Vec::new();
        let (looked_at, found) = (&mut self.looked_at, &mut self.found);
        self.base.list(&trail.path, |name, is_dir| {
            *looked_at += 1;
            match is_dir {
                true if !is_last => below.extend(trail.follow(pattern, name, name)),
                false => found.extend(trail.find(pattern, name, is_last, depth == 0)),
                true => {}
            }
            *looked_at < NAMES_MAX && found.len() < FOUND_MAX
        })?;
        for trail in below {
            if self.is_enough() {
                break;
            }
            match self.descend(depth + 1, &trail) {
                // Removed meanwhile, or not a directory any more.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

impl Trail {
    fn find(&self, pattern: &Regex, name: &str, is_last: bool, at_base: bool) -> Option<Found> {
        let rotated = Rotated::parse(name);
        let live = rotated.map_or(name, |rotated| rotated.live);
        let trail = match () {
            () if at_base && live == OVERFLOW => {
                Trail { path: name.to_owned(), series: live.to_owned(), ..Trail::default() }
            }
            () if is_last => self.follow(pattern, live, name)?,
            () => return None,
        };
        let until = trail.until();
        Some(Found { path: trail.path, series: trail.series, until, is_rotated: rotated.is_some() })
    }

    /// The trail with one more name, called `whole`, of which `name` is to match.
    fn follow(&self, pattern: &Regex, name: &str, whole: &str) -> Option<Trail> {
        let said = pattern.captures(name)?;
        let mut trail = self.clone();
        let group = |group: &str| said.name(group).map(|found| found.as_str().to_owned());
        trail.date = trail.date.or_else(|| group("date"));
        trail.hour = trail.hour.or_else(|| group("hour"));
        if !trail.path.is_empty() {
            trail.path.push('/');
            trail.series.push('/');
        }
        trail.path.push_str(whole);
        push_without_time(&said, name, &mut trail.series);
        Some(trail)
    }

    /// The end of the day or hour that the names say.
    fn until(&self) -> Option<UnixNanos> {
        let date: jiff::civil::Date = self.date.as_ref()?.parse().ok()?;
        let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
        let hour = self.hour.as_ref().map(|hour| hour.parse::<i64>().map_or(0, |hour| hour.min(23)));
        let end = hour.map_or(24, |hour| hour + 1);
        start.checked_mul(1_000_000_000)?.checked_add(end * HOUR)
    }
}

fn push_without_time(said: &Captures<'_>, name: &str, out: &mut String) {
    let mut parts: Vec<_> = ["date", "hour"].iter().filter_map(|group| said.name(group)).collect();
    parts.sort_by_key(|part| part.start());
    let mut at = 0;
    for part in parts {
        out.push_str(&name[at..part.start()]);
        // Stands in no name.
        out.push('*');
        at = part.end();
    }
    out.push_str(&name[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(template: &str, files: &[&str]) -> Vec<(String, String, Option<i64>, bool)> {
        let temp = tempfile::tempdir().unwrap();
        for file in files {
            let path = temp.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let template = Template::compile(&format!("{}/{template}", temp.path().display())).unwrap();
        let shape = Shape::of(&template).unwrap();
        let mut found = shape.walk(&Base::open(template.base()).unwrap()).unwrap();
        found.sort_by(|one, other| one.path.cmp(&other.path));
        found.into_iter().map(|file| (file.path, file.series, file.until, file.is_rotated)).collect()
    }

    #[test]
    fn files_of_a_template_are_told_from_all_others() {
        let all = [
            "app/2026-11-23.log",
            "app/2026-11-22.log",
            "app/2026-11-22.log-20261123T140000",
            "app/2026-11-21.log-20261123T140000.1.gz",
            "app/2026-11-21.log-20261123T140000.gz.tmp",
            "app/2026-11-21.log.torn",
            "app/2026-13-21.log",
            "app/2026-11-21.log.gz",
            "app/x/2026-11-21.log",
            "2026-11-21.log",
            "__overflow__",
            "__overflow__-20261123T140000.zst",
        ];
        let day = |days: i64| Some(1_795_392_000_000_000_000 + days * 24 * HOUR);
        let row = |path: &str, series: &str, until, is_rotated| {
            (path.to_owned(), series.to_owned(), until, is_rotated)
        };
        let app = |path: &str, until, is_rotated| row(path, "app/*.log", until, is_rotated);
        let expected = [
            row(all[10], OVERFLOW, None, false),
            row(all[11], OVERFLOW, None, true),
            app(all[3], day(-1), true),
            app(all[4], day(-1), true),
            app(all[1], day(0), false),
            app(all[2], day(0), true),
            app(all[0], day(1), false),
            // No such day: nothing is concluded from it.
            app(all[6], None, false),
        ];
        assert_eq!(found("{source}/{date}.log", &all), expected);
    }

    #[test]
    fn a_date_may_stand_anywhere_on_the_way() {
        let files = ["2026-11-23/05/app.log", "2026-11-23/06/app.log-20261123T140000", "2026-11-23/app.log"];
        let hour = |hour: i64| Some(1_795_392_000_000_000_000 + hour * HOUR);
        let series = "*/*/app.log".to_owned();
        let expected = [
            (files[0].to_owned(), series.clone(), hour(6), false),
            (files[1].to_owned(), series, hour(7), true),
        ];
        assert_eq!(found("{date}/{hour}/{source}.log", &files), expected);
    }

    #[test]
    fn a_fixed_path_is_one_series() {
        let files = ["a.log", "a.log-20261123T140000", "b.log", "xa.log-20261123T140000"];
        let expected = [
            ("a.log".to_owned(), "a.log".to_owned(), None, false),
            (files[1].to_owned(), "a.log".to_owned(), None, true),
        ];
        assert_eq!(found("a.log", &files), expected);
    }
}
