//! What is on disk is damaged while the product does not run: it starts, delivers the rest, and says how many are gone.

use super::Context;
use super::backlog::memory;
use crate::check::{Findings, compare};
use crate::ground::{Ground, Profile, Recipe};
use crate::product::Product;
use crate::sink::Sink;
use crate::sink::fault::Act;
use crate::support::{files, number, row};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// A stopped product's directory with a backlog, to be copied and damaged.
pub struct Backlog {
    pub ground: Ground,
    /// Resident memory of the product when it began, in KiB.
    pub memory: u64,
}

impl Backlog {
    /// Entries that were answered for and wait on disk, in several segments.
    pub fn make(context: &mut Context) -> Backlog {
        let mut ground = Ground::new(Profile::B, &mut context.random);
        ground.recipe.buffer_size = "9MiB".into();
        ground.plan.rate = 1_000;
        ground.sink.always(Act::Refuse(503, None));
        ground.start();
        let memory = memory(ground.product.get().id());
        ground.load();
        sleep(Duration::from_millis(1_600));
        ground.generators.stop();
        let (code, _) = ground.product.terminate();
        assert_eq!(code, 0, "what is kept on disk is no loss");
        assert!(ground.plan.obligations.obliged_count() > 0, "something was taken");
        Backlog { ground, memory }
    }

    /// Copies it, damages the copy, starts the product there, and gives what arrived, what it reports as lost, and how many
    /// starts that took.
    fn damaged(&self, damage: impl FnOnce(&Path)) -> (Findings, u64) {
        let dir = tempfile::tempdir().expect("a directory");
        copy(&self.ground.path().join("state"), &dir.path().join("state"));
        damage(&dir.path().join("state"));
        let sink = Sink::start(self.ground.plan.run);
        let recipe = Recipe { to: sink.port(), ..self.ground.recipe.clone() };
        let mut product = Product::new(dir.path());
        product.start(|epoch| recipe.config(epoch));
        let stats = product.drain();
        let reported = row(&stats, "sinks", "out")["buffer"]["lost_entries"].as_u64().unwrap_or(0);
        let delivered = number(row(&stats, "sinks", "out"), "delivered");
        let (code, _) = product.terminate();
        assert_eq!(code, 0);
        let findings = compare(&self.ground.plan.obligations, sink.receipts());
        assert_eq!(
            delivered,
            sink.receipts().distinct_of(1) + findings.twice,
            "delivered, as it says and as it arrived"
        );
        (findings, reported)
    }
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).expect("below it"));
        fs::create_dir_all(target.parent().expect("one")).expect("created");
        fs::copy(&path, target).expect("copied");
    }
}

pub fn segments(state: &Path) -> Vec<PathBuf> {
    let mut found = files(&state.join("buffer"));
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seg-")));
    found
}

/// R18.
pub fn segments_damaged(context: &mut Context) {
    let backlog = Backlog::make(context);
    let (mut worst, mut tails) = (0, 0);
    for number in 0..context.times(100, 1_000) {
        let mut random = context.random.fork();
        let (mut what, mut is_last) = (String::new(), false);
        let (findings, reported) =
            backlog.damaged(|state| (what, is_last) = damage_segment(state, number, &mut random));
        context.row.times += 1;
        worst = worst.max(findings.lost);
        let (lost, row) = (findings.lost, &mut context.row);
        // Of what was torn off the end nobody can know that it was there.
        tails += u64::from(is_last && reported < lost);
        row.require(reported == lost || (is_last && reported < lost), || {
            format!("{what}: {lost} lost, {reported} reported")
        });
        let damaged = findings.corrupt + findings.foreign + findings.inverted;
        row.require(damaged == 0, || format!("{what}: {findings}: {:?}", findings.examples));
        row.require(findings.lost < findings.obliged, || format!("{what}: everything is gone"));
        row.require(findings.twice == 0, || format!("{what}: {} came twice", findings.twice));
        row.findings.sent += findings.sent;
        row.findings.received += findings.received;
    }
    context
        .row
        .note(format!("at most {worst} entries lost by one damage, all reported but for {tails} torn ends"));
}

/// Says what it did and whether that was to the last segment with records.
fn damage_segment(state: &Path, number: u64, random: &mut fastrand::Rng) -> (String, bool) {
    let segments = segments(state);
    assert!(!segments.is_empty(), "no segments in {}", state.display());
    let at = random.usize(0..segments.len());
    let path = &segments[at];
    let mut bytes = fs::read(path).expect("read");
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    let place = random.usize(0..used);
    let name = path.file_name().expect("one").to_string_lossy().into_owned();
    let is_last = at + 2 >= segments.len();
    let what = match number % 8 {
        0 => {
            bytes[place] ^= 1 << random.u8(0..8);
            format!("a bit at {place}")
        }
        1 => {
            let end = (place + random.usize(1..5_000)).min(bytes.len());
            bytes[place..end].fill(0);
            format!("zeros {place}..{end}")
        }
        2 => {
            bytes.truncate(place);
            format!("cut at {place}")
        }
        3 => {
            let end = (place + random.usize(1..500)).min(bytes.len());
            random.fill(&mut bytes[place..end]);
            format!("noise {place}..{end}")
        }
        4 => {
            fs::remove_file(path).expect("removed");
            return (format!("{name}: removed"), is_last);
        }
        5 => {
            fs::write(path.with_file_name("seg-of-another-kind"), "no segment at all").expect("written");
            fs::write(path.with_file_name("seg-99999999999999999990"), "no segment at all").expect("written");
            return ("foreign files".into(), false);
        }
        6 => {
            bytes.truncate(0);
            "emptied".into()
        }
        _ => {
            // Another segment's bytes under its name.
            bytes = fs::read(&segments[(at + 1) % segments.len()]).expect("read");
            "the bytes of its neighbour".into()
        }
    };
    fs::write(path, bytes).expect("written");
    (format!("{name}: {what}"), is_last)
}

/// R19.
pub fn states_damaged(context: &mut Context) {
    let backlog = Backlog::make(context);
    for number in 0..context.times(100, 500) {
        let mut random = context.random.fork();
        let mut what = String::new();
        let (findings, reported) = backlog.damaged(|state| what = damage_state(state, number, &mut random));
        context.row.times += 1;
        context.row.require(findings.lost == 0 && reported == 0, || {
            format!("{what}: {} lost, {reported} reported: {:?}", findings.lost, findings.examples)
        });
        context.row.add(&findings);
    }
}

fn damage_state(state: &Path, number: u64, random: &mut fastrand::Rng) -> String {
    let is_state = |path: &PathBuf| {
        let name = path.file_name().expect("one").to_string_lossy();
        name.starts_with("state") || name.starts_with("positions")
    };
    let found: Vec<PathBuf> = files(state).into_iter().filter(is_state).collect();
    assert!(!found.is_empty(), "no state in {}", state.display());
    let path = &found[random.usize(0..found.len())];
    let mut bytes = fs::read(path).expect("read");
    let place = random.usize(0..bytes.len().max(1));
    let what = match number % 6 {
        0 => {
            bytes.clear();
            "emptied"
        }
        1 => {
            bytes.truncate(place);
            "cut"
        }
        2 => {
            bytes.fill(0);
            "all zeros"
        }
        3 => {
            random.fill(&mut bytes);
            "noise"
        }
        4 => {
            fs::remove_file(path).expect("removed");
            return format!("{}: removed", path.display());
        }
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.u8(0..8);
            }
            fs::write(path.with_extension("tmp"), "left over").expect("written");
            "a bit, and a temporary file left over"
        }
    };
    fs::write(path, bytes).expect("written");
    format!("{}: {what}", path.display())
}
