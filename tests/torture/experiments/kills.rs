//! The product is ended, at moments it does not choose.

use super::Context;
use crate::ground::{Ground, Profile};
use crate::support;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest start until it is ready.
const READY_MAX: Duration = Duration::from_secs(1);
/// Most bytes in the sockets of four connections: what Linux lets both sides of one hold (`tcp_wmem`, `tcp_rmem`).
const SOCKETS: u64 = 4 * (4 + 6) * 1024 * 1024;
/// Most bytes on their way from the sockets to the disk: `quotas.max_memory` at its least.
const WINDOW: u64 = 64 * 1024 * 1024;
/// Bytes that come in within the 50 ms of a group commit, at the load of the rig.
const GROUP: u64 = 8_000 * 260 / 20;
/// Longest end when everything is well.
const END_MAX: Duration = Duration::from_secs(5);

pub fn terms(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    ground.load();
    let mut slowest = Duration::ZERO;
    for _ in 0..context.times(8, 100) {
        ground.start();
        sleep(Duration::from_millis(ground.random.u64(0..600)));
        let (code, took) = ground.product.terminate();
        context.row.require(code == 0, || format!("exit code {code}"));
        context.row.times += 1;
        slowest = slowest.max(took);
    }
    ground.start();
    let findings = ground.settle(false);
    context.row.add(&findings);
    context.row.require_once();
    context.row.require(slowest <= END_MAX, || format!("an end took {slowest:.1?}"));
    context.row.note(format!("slowest end {slowest:.1?}"));
}

pub fn kills_a(context: &mut Context) {
    kills(context, Profile::A);
}

pub fn kills_b(context: &mut Context) {
    kills(context, Profile::B);
}

/// Plain TCP has no answers: what is lost is measured, and has a bound.
pub fn kills_d(context: &mut Context) {
    kills(context, Profile::D);
    let (times, row) = (context.row.times, &mut context.row);
    let bytes =
        row.findings.sent_bytes / row.findings.sent.max(1) * row.findings.unpromised_lost / times.max(1);
    // A kill may cost what was in the sockets and on its way through memory, and what waited for the next sync.
    let bound = SOCKETS + WINDOW + GROUP;
    row.require(bytes <= bound, || format!("{bytes} bytes lost a kill, at most {bound} may be"));
    row.note(format!(
        "about {bytes} bytes lost a kill ({:.1} entries); the bound is {bound}",
        row.findings.unpromised_lost as f64 / times.max(1) as f64
    ));
}

fn kills(context: &mut Context, profile: Profile) {
    let mut ground = Ground::new(profile, &mut context.random);
    let answers = ground.load();
    for _ in 0..context.times(20, 1_000) {
        ground.start();
        sleep(Duration::from_millis(ground.random.u64(50..3_000)));
        ground.product.kill();
        context.row.times += 1;
    }
    ground.start();
    let findings = ground.settle(false);
    context.row.add(&findings);
    let share = findings.twice_share();
    context.row.require(share < 0.01, || format!("{:.3} % came twice", share * 100.0));
    let slowest = ground.product.ready_after.iter().max().copied().unwrap_or_default();
    context.row.require(slowest <= READY_MAX, || format!("a start took {slowest:.1?} until it was ready"));
    context.row.note(format!("slowest start {} ms", slowest.as_millis()));
    context.row.note(format!("{:.1} twice a kill", findings.twice as f64 / context.row.times as f64));
    if let Some(answers) = answers {
        use std::sync::atomic::Ordering::SeqCst;
        let [taken, busy, other, broken] =
            [&answers.taken, &answers.busy, &answers.other, &answers.broken].map(|count| count.load(SeqCst));
        context.row.note(format!("requests: {taken} taken, {busy} busy, {other} other, {broken} broken"));
    }
}

pub fn second_instance(context: &mut Context) {
    let mut ground = Ground::new(Profile::A, &mut context.random);
    ground.load();
    ground.start();
    for _ in 0..context.times(5, 50) {
        let begun = Instant::now();
        let (code, _, said) = support::run(ground.path(), &["-c", "config.yaml"]);
        let took = begun.elapsed();
        context.row.times += 1;
        context.row.require(code == 3, || format!("the second one ended with {code}: {said}"));
        context.row.require(said.contains("lock"), || format!("it does not say why: {said}"));
        context.row.require(took < Duration::from_secs(1), || format!("it took {took:.1?} to say so"));
    }
    let findings = ground.settle(true);
    context.row.add(&findings);
    context.row.require_once();
}
