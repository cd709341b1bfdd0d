//! What becomes of rotated files: compressed, kept for a while, removed. Also what rotates files nobody writes to.
//!
//! It works from what is on the disk, not from what it remembers: a kill at any moment leaves nothing that the next look
//! does not put right. Files are taken to follow each other (a *series*) if their paths differ in nothing but what they
//! say of time.

use super::beneath::{self, Base};
use super::disk::Disk;
use super::handles::{self, Now};
use super::pack::{self, Packed};
use super::rotate::{Compress, RotateConfig};
use super::shape::{Found, Shape};
use crate::clock::UnixNanos;
use crate::thread::Flag;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// How long a file is left alone after it was last written to: others who write to it notice a rotation within a second.
pub(super) const SETTLE: Duration = Duration::from_secs(5);
/// How long after its day or hour is over a file may still get late entries before it counts as rotated.
const LATE: Duration = Duration::from_secs(600);
/// How often the disk is looked at when nothing was rotated.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// When what could not be done is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Something to be done to the files of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// What a compression that was cut short left behind, beside this original.
    Discard {
        path: String,
        original: String,
    },
    /// There are enough later ones, or it is too old.
    Remove {
        path: String,
        original: String,
    },
    Compress {
        path: String,
    },
    /// The day or hour of its name is over.
    Retire {
        path: String,
    },
}

/// One rotated file under the names it has.
#[derive(Default)]
struct Generation {
    /// By how they are compressed.
    forms: BTreeMap<Compress, String>,
    temps: Vec<String>,
}

/// When it was rotated, which of that second, and its path without what compressing adds.
type Age = (UnixNanos, u32, String);

/// What is to be done to the files that were `found`.
pub(super) fn plan(found: &[Found], config: &RotateConfig, now: UnixNanos) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut all: BTreeMap<&str, BTreeMap<Age, Generation>> = BTreeMap::new();
    for file in found {
        match file.rotated() {
            Some(name) => {
                let extra = name.compress.suffix().len() + if name.temp { ".tmp".len() } else { 0 };
                let original = file.path[..file.path.len() - extra].to_owned();
                let series = all.entry(&file.series).or_default();
                let generation = series.entry((name.at, name.number, original)).or_default();
                match name.temp {
                    true => generation.temps.push(file.path.clone()),
                    false => drop(generation.forms.insert(name.compress, file.path.clone())),
                }
            }
            None if config.tends_rotated() && is_over(file, now) => {
                tasks.push(Task::Retire { path: file.path.clone() });
            }
            None => {}
        }
    }
    let keep = config.keep.unwrap_or(usize::MAX);
    let mut compress = Vec::new();
    for series in all.into_values() {
        let mut kept = 0;
        for ((at, _, original), Generation { forms, temps }) in series.into_iter().rev() {
            let discard = |path| Task::Discard { path, original: original.clone() };
            tasks.extend(temps.into_iter().map(discard));
            let too_old =
                config.max_age.is_some_and(|max| now.saturating_sub(at).max(0) as u128 > max.as_nanos());
            if too_old || kept >= keep {
                let remove = |path| Task::Remove { path, original: original.clone() };
                tasks.extend(forms.into_values().map(remove));
                continue;
            }
            kept += usize::from(!forms.is_empty());
            if forms.contains_key(&Compress::None) {
                // The original is whole; of the others nobody knows.
                let others = forms.into_iter().filter(|(form, _)| *form != Compress::None);
                tasks.extend(others.map(|(_, path)| discard(path)));
                if config.compress != Compress::None {
                    compress.push(Task::Compress { path: original });
                }
            }
        }
    }
    // What frees room comes first, then the oldest.
    tasks.extend(compress.into_iter().rev());
    tasks
}

fn is_over(file: &Found, now: UnixNanos) -> bool {
    let late = i64::try_from(LATE.as_nanos()).unwrap_or(i64::MAX);
    file.until.is_some_and(|until| until.saturating_add(late) <= now)
}

/// Keeps the files of one sink.
pub(super) struct Keeper {
    shape: Shape,
    config: RotateConfig,
    /// The period that was the present one at the last look.
    period: i64,
    sweep_at: Option<Instant>,
}

/// What the keeper's owner does for it.
pub(super) trait Owner {
    /// Rotates what is open and due; how many that were.
    fn rotate_due(&self, now: Now) -> usize;
    /// Closes and rotates the file `path`; whether that worked.
    fn retire(&self, path: &str, now: Now) -> bool;
}

impl Keeper {
    pub(super) fn new(shape: Shape, config: RotateConfig) -> Self {
        Keeper { shape, config, period: i64::MIN, sweep_at: None }
    }

    /// Does what is due. `rotated` says that something was rotated since the last call.
    pub(super) fn upkeep(
        &mut self,
        owner: &dyn Owner,
        disk: &dyn Disk,
        base: &Base,
        (now, mut rotated): (Now, bool),
        stop: &Flag,
    ) {
        let period = self.config.period(now.wall);
        if std::mem::replace(&mut self.period, period) != period {
            rotated |= owner.rotate_due(now) > 0;
        }
        let due = self.sweep_at.get_or_insert(now.steady);
        if rotated {
            *due = (*due).min(now.steady + SETTLE);
        }
        if now.steady < *due {
            return;
        }
        let again = match self.sweep(owner, disk, base, now, stop) {
            Ok(again) => again,
            Err(error) => {
                tracing::warn!("rotated files cannot be looked through: {error}");
                AGAIN
            }
        };
        self.sweep_at = Some(now.steady + again);
    }

    /// Looks at what there is and does what is to be done. Gives the time until the next look.
    fn sweep(
        &self,
        owner: &dyn Owner,
        disk: &dyn Disk,
        base: &Base,
        now: Now,
        stop: &Flag,
    ) -> io::Result<Duration> {
        let mut again = LOOK_EVERY;
        let (mut removed, mut compressed) = (0, 0);
        for task in plan(&self.shape.walk(base)?, &self.config, now.wall) {
            if stop.is_raised() {
                break;
            }
            let done = match &task {
                Task::Retire { path } => {
                    // Something to compress or to count at the next look.
                    if is_settled(base, path, now, LATE)? && owner.retire(path, now) {
                        again = again.min(SETTLE);
                    }
                    Ok(())
                }
                Task::Discard { path, original } => remove(disk, base, path, original).map(drop),
                Task::Remove { path, original } => {
                    remove(disk, base, path, original).map(|done| removed += usize::from(done))
                }
                Task::Compress { path } => {
                    compress(disk, base, path, self.config.compress, now, stop).map(|packed| match packed {
                        Packed::Done => compressed += 1,
                        Packed::Later => again = again.min(SETTLE),
                    })
                }
            };
            if let Err(error) = done {
                tracing::warn!("rotated files: {task:?} failed, and is tried again in {AGAIN:?}: {error}");
                again = again.min(AGAIN);
            }
        }
        if removed + compressed > 0 {
            tracing::info!("rotated files: {compressed} compressed, {removed} removed");
        }
        Ok(again)
    }
}

fn is_settled(base: &Base, path: &str, now: Now, settle: Duration) -> io::Result<bool> {
    let stat = match base.find(path).and_then(|file| file.metadata()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    // A time in the future says that a clock is wrong, not that someone is writing.
    Ok(u128::from(now.wall.abs_diff(handles::written(&stat))) >= settle.as_nanos() && stat.len() > 0)
}

fn compress(
    disk: &dyn Disk,
    base: &Base,
    path: &str,
    how: Compress,
    now: Now,
    stop: &Flag,
) -> io::Result<Packed> {
    match is_settled(base, path, now, SETTLE)? {
        true => pack::pack(disk, base, path, how, stop),
        false => Ok(Packed::Later),
    }
}

/// Removes a file that was made of `original`, or `original` itself, unless somebody works on that.
fn remove(disk: &dyn Disk, base: &Base, path: &str, original: &str) -> io::Result<bool> {
    let _claimed = match base.has(original)? {
        true => match pack::claim(base, original)? {
            None => return Ok(false),
            claimed => claimed,
        },
        false => None,
    };
    pack::remove_if_there(disk, base, path)?;
    tracing::debug!("rotated file {} removed", beneath::name(path));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000_000;
    /// 2026-11-23T14:00:00Z.
    const NOW: UnixNanos = 1_795_442_400_000_000_000;

    fn file(path: &str) -> Found {
        let name = super::super::rotate::Rotated::parse(beneath::name(path));
        let series = name.map_or("a", |name| name.live).to_owned();
        Found { path: path.into(), series, until: None, is_rotated: name.is_some() }
    }

    fn tasks(config: RotateConfig, files: &[&str]) -> Vec<String> {
        let found: Vec<Found> = files.iter().map(|path| file(path)).collect();
        let word = |task: Task| match task {
            Task::Discard { path, .. } => format!("discard {path}"),
            Task::Remove { path, .. } => format!("remove {path}"),
            Task::Compress { path } => format!("compress {path}"),
            Task::Retire { path } => format!("retire {path}"),
        };
        plan(&found, &config, NOW).into_iter().map(word).collect()
    }

    const FILES: [&str; 6] = [
        "a",
        "a-20261101T000000.gz",
        "a-20261120T000000.1",
        "a-20261120T000000.2",
        "a-20261120T000000.10",
        "b-20261101T000000",
    ];

    #[test]
    fn as_many_of_each_series_are_kept_as_asked_and_the_newest_of_them() {
        let config = RotateConfig { keep: Some(2), ..RotateConfig::default() };
        assert_eq!(tasks(config, &FILES), ["remove a-20261120T000000.1", "remove a-20261101T000000.gz"]);
    }

    #[test]
    fn what_is_too_old_goes_whatever_else_there_is() {
        let config =
            RotateConfig { max_age: Some(Duration::from_secs(5 * 86_400)), ..RotateConfig::default() };
        assert_eq!(tasks(config, &FILES), ["remove a-20261101T000000.gz", "remove b-20261101T000000"]);
        assert_eq!(tasks(RotateConfig::default(), &FILES), [""; 0]);
    }

    #[test]
    fn what_stays_is_compressed_oldest_first() {
        let config = RotateConfig { compress: Compress::Zstd, keep: Some(3), ..RotateConfig::default() };
        let expected = [
            "remove a-20261101T000000.gz",
            "compress b-20261101T000000",
            "compress a-20261120T000000.1",
            "compress a-20261120T000000.2",
            "compress a-20261120T000000.10",
        ];
        assert_eq!(tasks(config, &FILES), expected);
    }

    #[test]
    fn of_a_compression_cut_short_the_original_stays() {
        let files = [
            "a-20261120T000000",
            "a-20261120T000000.gz",
            "a-20261121T000000",
            "a-20261121T000000.gz.tmp",
            "a-20261122T000000.zst",
            "a-20261122T000000.zst.tmp",
        ];
        let discards = [
            "discard a-20261122T000000.zst.tmp",
            "discard a-20261121T000000.gz.tmp",
            "discard a-20261120T000000.gz",
        ];
        assert_eq!(tasks(RotateConfig::default(), &files), discards);
        let config = RotateConfig { compress: Compress::Gzip, keep: Some(3), ..RotateConfig::default() };
        let compress = ["compress a-20261120T000000", "compress a-20261121T000000"];
        assert_eq!(tasks(config, &files), [&discards[..], &compress].concat());
    }

    #[test]
    fn a_file_of_a_day_that_is_over_counts_as_rotated() {
        let at = |until: i64| Found { until: Some(until), ..file("a") };
        let config = RotateConfig { max_age: Some(Duration::from_secs(60)), ..RotateConfig::default() };
        let late = LATE.as_nanos() as i64;
        assert_eq!(plan(&[at(NOW - late)], &config, NOW), [Task::Retire { path: "a".into() }]);
        assert_eq!(plan(&[at(NOW - late + 1), at(NOW + DAY)], &config, NOW), []);
        let only_size = RotateConfig { max_size: Some(1), ..RotateConfig::default() };
        assert_eq!(plan(&[at(NOW - DAY)], &only_size, NOW), []);
    }
}
