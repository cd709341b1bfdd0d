//! Other programs on the same rig: killed as often, at the same load, counted by the same checker.
//!
//! They need `.ci/parts DIR` with `DIR/bin` in the `PATH`.

use crate::check::{Findings, compare};
use crate::experiments::Context;
use crate::generate::{Generators, Plan, file};
use crate::ground::{Ground, Profile};
use crate::sink::lines::Lines;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Lines a second and file: what a queue that syncs every message keeps up with.
const RATE: u64 = 50;
const FILES: u32 = 4;
/// Nothing more is expected after so long without an arrival.
const QUIET: Duration = Duration::from_secs(20);
/// Longest wait for that.
const DRAIN: Duration = Duration::from_secs(180);

pub fn rsyslog(context: &mut Context) {
    let version = said("rsyslogd", "-v");
    peer(context, &version, include_str!("rsyslog.conf"), |dir| {
        let mut command = Command::new("rsyslogd");
        // A number left by one that was killed may be that of any process by now.
        let _ = fs::remove_file(dir.join("pid"));
        command.arg("-n").arg("-f").arg(dir.join("peer.conf")).arg("-i").arg(dir.join("pid"));
        command
    });
}

pub fn syslog_ng(context: &mut Context) {
    let version = said("syslog-ng", "--version");
    peer(context, &version, include_str!("syslog-ng.conf"), |dir| {
        let mut command = Command::new("syslog-ng");
        let path = |name: &str| dir.join(name);
        command
            .args(["-F", "-e", "--no-caps", "-f"])
            .arg(path("peer.conf"))
            .arg("-R")
            .arg(path("state/persist"));
        command.arg("-p").arg(path("pid")).arg("-c").arg(path("ctl"));
        command
    });
}

/// The product, at the load of the others.
pub fn ours(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    ground.plan.rate = RATE;
    file::start(&ground.plan, &ground.logs(), 0, FILES, None, &mut ground.generators);
    for _ in 0..context.times(20, 100) {
        ground.start();
        sleep(alive(&mut context.random));
        ground.product.kill();
        context.row.times += 1;
    }
    ground.start();
    let findings = ground.settle(false);
    context.row.add(&findings);
}

fn alive(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(300..1_200))
}

/// The first line of what a program says of its version.
fn said(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; `.ci/parts DIR` gets it into DIR/bin"));
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_string()
}

fn peer(context: &mut Context, version: &str, config: &str, command: impl Fn(&Path) -> Command) {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["logs", "state"] {
        fs::create_dir(dir.path().join(name)).expect("created");
    }
    let run = context.random.u32(..);
    let sink = Lines::start(run);
    let config = config
        .replace("{dir}", dir.path().to_str().expect("text"))
        .replace("{port}", &sink.port().to_string());
    fs::write(dir.path().join("peer.conf"), config).expect("written");
    let plan = Plan { run, obligations: Arc::default(), rate: RATE, poison_every: 0 };
    let mut generators = Generators::default();
    file::start(&plan, &dir.path().join("logs"), 0, FILES, None, &mut generators);
    for _ in 0..context.times(20, 100) {
        let mut running = Running::start(dir.path(), command(dir.path()));
        sleep(alive(&mut context.random));
        let ended = running.0.try_wait().expect("its status can be had");
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", log(dir.path()));
        drop(running);
        context.row.times += 1;
    }
    generators.stop();
    let _running = Running::start(dir.path(), command(dir.path()));
    let (begun, mut taken, mut since) = (Instant::now(), 0, Instant::now());
    while since.elapsed() < QUIET && begun.elapsed() < DRAIN {
        sleep(Duration::from_millis(100));
        let now = sink.receipts().taken();
        if now != taken {
            (taken, since) = (now, Instant::now());
        }
    }
    // What it lost is its own affair: it is shown, and no failure of ours.
    let findings: Findings = compare(&plan.obligations, sink.receipts());
    if findings.lost > 0 {
        let log = log(dir.path());
        let mut said: Vec<&str> = log.lines().collect();
        said.dedup();
        said.truncate(20);
        println!("what it said:\n{}", said.join("\n"));
    }
    context.row.findings.add(&findings);
    context.row.note(version.to_string());
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("peer.log")).unwrap_or_default()
}

/// A running peer. Killed, as a crash would, when dropped.
struct Running(Child);

impl Running {
    fn start(dir: &Path, mut command: Command) -> Running {
        let log = File::options().create(true).append(true).open(dir.join("peer.log")).expect("a log file");
        let also = log.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(log).stderr(also);
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
