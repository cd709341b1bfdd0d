//! Log files that grow, and are renamed as logrotate does it.

use super::{Generators, Plan};
use crate::entry::{Sizes, Stream};
use std::fs::{File, OpenOptions, rename};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Starts `count` files `DIR/fN.log`, from `first` on, which are renamed every `rotate` (to `.1`, `.2`, ..; all are kept).
///
/// A file survives whatever happens to its reader: all that was written has to arrive.
pub fn start(
    plan: &Plan,
    dir: &Path,
    first: u32,
    count: u32,
    rotate: Option<Duration>,
    into: &mut Generators,
) {
    for number in first..first + count {
        let plan = plan.clone();
        let mut log = Log::open(dir.join(format!("f{number}.log")));
        let stream = Stream { way: 'f', number };
        let (mut next, mut rotated) = (0, Instant::now());
        into.start(plan.rate, move |due| {
            if rotate.is_some_and(|every| rotated.elapsed() >= every) {
                log.rotate();
                rotated = Instant::now();
            }
            let text = plan.text(stream, next..next + due, Sizes::Mixed, "", "\n");
            // In two parts now and then, so that a line is half there for a moment.
            let (half, rest) = text.as_bytes().split_at(if next % 7 == 0 { text.len() / 2 } else { 0 });
            plan.obligations.sent(stream, next..next + due, text.len());
            log.file.write_all(half).expect("appended");
            log.file.write_all(rest).expect("appended");
            plan.obligations.oblige(stream, next..next + due);
            next += due;
            due
        });
    }
}

struct Log {
    path: PathBuf,
    file: File,
    rotations: u32,
}

impl Log {
    fn open(path: PathBuf) -> Log {
        let file = append(&path);
        Log { path, file, rotations: 0 }
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", self.rotations));
        rename(&self.path, name).expect("renamed");
        self.file = append(&self.path);
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a log file")
}

/// Starts one writer of `count` files `DIR/fN.log`, a few lines to each in turn.
pub fn spread(plan: &Plan, dir: &Path, count: u32, into: &mut Generators) {
    let plan = plan.clone();
    let mut files: Vec<(File, Stream, u64)> = (0..count)
        .map(|number| (append(&dir.join(format!("f{number}.log"))), Stream { way: 'f', number }, 0))
        .collect();
    let mut at = 0;
    into.start(plan.rate, move |due| {
        let mut left = due;
        while left > 0 {
            let some = left.min(4);
            let (file, stream, next) = &mut files[at];
            let text = plan.text(*stream, *next..*next + some, Sizes::Mixed, "", "\n");
            plan.obligations.sent(*stream, *next..*next + some, text.len());
            file.write_all(text.as_bytes()).expect("appended");
            plan.obligations.oblige(*stream, *next..*next + some);
            *next += some;
            at = (at + 1) % count as usize;
            left -= some;
        }
        due
    });
}
