//! Faults of the storage below the data directory: the process dies at a call, the disk is full, calls fail.

use super::Context;
use super::clock::cpu;
use crate::ground::{Ground, Profile};
use crate::product::Start;
use crate::strace::{self, Injection, STORAGE};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a traced run may take to reach its call.
const REACH: Duration = Duration::from_secs(2);
/// Kills on the same directory before it is compared.
const TOGETHER: usize = 4;

pub fn calls_a(context: &mut Context) {
    calls(context, Profile::A);
}

pub fn calls_b(context: &mut Context) {
    calls(context, Profile::B);
}

pub fn calls_d(context: &mut Context) {
    calls(context, Profile::D);
}

fn calls(context: &mut Context, profile: Profile) {
    let all = enumerate(context, profile);
    assert!(!all.is_empty(), "no storage call was seen");
    // Of few calls more than a tenth, so that each kind has its turn.
    let step = match all.len() {
        _ if context.long => 1,
        0..100 => 4,
        _ => 10,
    };
    let first = context.random.usize(0..step);
    let chosen: Vec<_> = all.iter().skip(first).step_by(step).cloned().collect();
    let (mut reached, mut again) = (0, 0);
    for group in chosen.chunks(TOGETHER) {
        let mut ground = Ground::new(profile, &mut context.random);
        ground.plan.rate = 500;
        ground.load();
        for (call, nth) in group {
            reached += u64::from(die_at(&mut ground, Injection::kill(call, *nth)));
            // Killed once more while it recovers from that.
            let (call, nth) = all[ground.random.usize(0..all.len().min(60))].clone();
            again += u64::from(die_at(&mut ground, Injection::kill(&call, nth.min(20))));
            context.row.times += 1;
        }
        ground.start();
        let findings = ground.settle(false);
        if findings.lost > 0 {
            context.row.note(format!("lost after kills at {group:?}"));
        }
        context.row.add(&findings);
    }
    context.row.note(format!(
        "{} points, every {step}th from {first}: {reached} of {} reached, {again} more while it recovered",
        all.len(),
        chosen.len()
    ));
}

/// Whether it died of the injection; if not it is killed now.
fn die_at(ground: &mut Ground, injection: Injection) -> bool {
    let start = Start { injections: vec![injection], ..Start::default() };
    let recipe = ground.recipe.clone();
    ground.product.spawn(&start, |epoch| recipe.config(epoch));
    let ended = ground.product.wait_end(REACH).is_some();
    if !ended {
        ground.product.kill();
    }
    ended
}

/// The storage calls of a short run from nothing, and of the start after it.
fn enumerate(context: &mut Context, profile: Profile) -> Vec<(String, u32)> {
    let mut ground = Ground::new(profile, &mut context.random);
    ground.plan.rate = 500;
    ground.load();
    let mut points = Vec::new();
    for number in 0..2 {
        let trace = ground.path().join(format!("trace{number}"));
        let start = Start { trace: Some((trace.clone(), STORAGE.into())), ..Start::default() };
        let recipe = ground.recipe.clone();
        ground.product.spawn(&start, |epoch| recipe.config(epoch));
        ground.product.wait_end(Duration::from_millis(1_200));
        ground.product.kill();
        wait_quiet(&trace);
        points.extend(strace::points(&trace, &ground.path().join("state")));
    }
    points.sort();
    points.dedup();
    points
}

/// Waits until a file has not grown for a while.
fn wait_quiet(path: &Path) {
    let (mut len, deadline) = (0, Instant::now() + Duration::from_secs(10));
    loop {
        sleep(Duration::from_millis(200));
        let now = fs::metadata(path).map_or(0, |about| about.len());
        if (now == len && now > 0) || Instant::now() > deadline {
            return;
        }
        len = now;
    }
}

pub fn full_a(context: &mut Context) {
    full(context, Profile::A);
}

pub fn full_b(context: &mut Context) {
    full(context, Profile::B);
}

fn full(context: &mut Context, profile: Profile) {
    full_disk(context, profile);
    let mut faults = Vec::new();
    for error in ["ENOSPC", "EROFS", "EIO"] {
        for calls in ["pwrite64", "fdatasync,fsync", "renameat,renameat2,rename", "fallocate"] {
            faults.push((calls, error));
        }
    }
    context.random.shuffle(&mut faults);
    faults.truncate(context.times(5, 12) as usize);
    for (calls, error) in faults {
        failing(context, profile, calls, error);
    }
}

/// Calls fail for a while: from the third to the thirtieth of each thread.
fn failing(context: &mut Context, profile: Profile, calls: &str, error: &str) {
    let mut ground = Ground::new(profile, &mut context.random);
    ground.plan.rate = 500;
    let what = format!("error={error}");
    let injection = Injection { calls: calls.into(), what, when: "3..30".into() };
    let start = Start { injections: vec![injection], ..Start::default() };
    let recipe = ground.recipe.clone();
    ground.load();
    ground.product.spawn(&start, |epoch| recipe.config(epoch));
    let ended = ground.product.wait_end(Duration::from_millis(1_500));
    context.row.times += 1;
    if let Some(status) = ended {
        context.row.failures.push(format!("{error} at {calls}: it ended with {status}"));
        ground.start();
    } else if ground.random.bool() {
        ground.product.kill();
        ground.start();
    }
    let findings = ground.settle(false);
    if findings.lost > 0 {
        context.row.note(format!("lost by {error} at {calls}"));
    }
    context.row.add(&findings);
}

/// A real disk of 64 MiB that others fill.
fn full_disk(context: &mut Context, profile: Profile) {
    let mut ground = Ground::new(profile, &mut context.random);
    let disk = Tmpfs::mount(&ground.path().join("disk"), "64m");
    ground.recipe.data_dir = disk.path.join("state");
    let answers = ground.load();
    ground.start();
    sleep(Duration::from_millis(700));
    for _ in 0..context.times(3, 20) {
        let filler = disk.fill();
        let (process, taken) = (ground.product.get().id(), ground.sink.receipts().taken());
        let used = cpu(process);
        sleep(Duration::from_secs(2));
        let busy = (cpu(process) - used) / 2.0;
        let went_on = ground.sink.receipts().taken() - taken;
        // Every second time it dies, and has to start, on a full disk.
        let killed = context.row.times % 2 == 1;
        if killed {
            ground.product.kill();
            ground.start();
            sleep(Duration::from_millis(500));
        }
        fs::remove_file(filler).expect("removed");
        let freed = Instant::now();
        let at = ground.sink.receipts().taken();
        while ground.sink.receipts().taken() == at && freed.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(20));
        }
        let resumed = freed.elapsed();
        context.row.require(resumed < Duration::from_secs(5), || {
            format!("it went on {resumed:.1?} after there was room")
        });
        context.row.times += 1;
        context.row.note(format!(
            "full {}: {went_on} delivered meanwhile, {busy:.2} cores, on again after {:.1} s{}",
            profile.letter(),
            resumed.as_secs_f64(),
            if killed { ", killed and started on the full disk" } else { "" }
        ));
        sleep(Duration::from_millis(300));
    }
    let findings = ground.settle(false);
    context.row.add(&findings);
    if let Some(answers) = answers {
        let busy = answers.busy.load(std::sync::atomic::Ordering::SeqCst);
        context.row.note(format!("{busy} requests answered with 503"));
    }
    drop(ground);
}

/// A file system in memory; unmounted when dropped.
struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    fn mount(path: &Path, size: &str) -> Tmpfs {
        fs::create_dir_all(path).expect("created");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "torture"])
            .arg(path)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "a tmpfs can be mounted: it needs root");
        Tmpfs { path: path.to_path_buf() }
    }

    /// Takes all room that is left, and says by which file.
    fn fill(&self) -> PathBuf {
        let path = self.path.join("filler");
        let mut file = File::create(&path).expect("created");
        for size in [1 << 20, 4 << 10, 1] {
            let piece = vec![b'x'; size];
            while file.write(&piece).is_ok_and(|written| written > 0) {}
        }
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
