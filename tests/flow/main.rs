//! Flow control, simulated: what batches and requests in flight come to at sinks of several kinds.
//!
//! Driven are the shipped lane, batcher and limit; sink, arrivals and time are computed (see `simulation`). The bounds are those
//! of docs/flow-control.md; `cargo test --test flow -- --nocapture` prints what came of each run.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]
#![cfg(not(loom))]

#[path = "../support/destination.rs"]
mod destination;
mod http;
mod simulation;
#[path = "../support/mod.rs"]
mod support;

use ringmain::lane::batcher::{FlowControl, InFlightLimits};
use simulation::{ORDINARY, Outcome, Scenario, Sink, run};
use std::time::Duration;

const SEEDS: [u64; 3] = [1, 2, 3];

/// Runs the scenario with each seed, in order with the first only; everything must arrive. Gives the middle one of their
/// p50 and p99.
fn middle(scenario: &Scenario) -> (f64, f64) {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    // Order costs the machine more, and its bound is wider.
    for seed in SEEDS.into_iter().take(if scenario.ordered { 1 } else { SEEDS.len() }) {
        let outcome = run(&Scenario { seed, ..scenario.clone() });
        let order = if scenario.ordered { "in order" } else { "any order" };
        println!("{:<28} {order:<9} seed {seed}: {outcome}", scenario.name);
        assert_eq!(outcome.dropped, 0, "{}, seed {seed}: {outcome}", scenario.name);
        assert_eq!(outcome.delivered, outcome.arrived, "{}, seed {seed}", scenario.name);
        p50.push(outcome.p50);
        p99.push(outcome.p99);
    }
    let middle = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (middle(p50), middle(p99))
}

/// No worse than `p99` and a fifth, where order does not matter; and nothing is lost where it does.
fn holds(scenario: &Scenario, p99: f64) {
    let (_, came) = middle(scenario);
    assert!(came <= p99 * 1.2, "{}: p99 {came:.0} ms, not {p99:.0}", scenario.name);
    let ordered = Scenario { ordered: true, span: Duration::from_secs(10), ..scenario.clone() };
    let (_, came) = middle(&ordered);
    // A request that takes three times as long holds up its streams, at one in a hundred some of them are always behind one.
    assert!(came <= p99 * 3.0, "{} in order: p99 {came:.0} ms, not {p99:.0}", scenario.name);
}

#[test]
fn at_a_low_load_entries_do_not_wait_for_company() {
    holds(&Scenario::ordinary("low load, 2,000/s", |_| 2000.0), 70.0);
}

#[test]
fn a_step_to_a_high_load_is_followed_before_the_queue_is_full() {
    let step = |t| if t < 5.0 { 2000.0 } else { 100_000.0 };
    holds(&Scenario::ordinary("step to 100,000/s", step), 305.0);
}

#[test]
fn a_sink_that_becomes_slow_is_not_starved() {
    let slower = |t| if t < 5.0 { ORDINARY } else { Sink { fixed_ms: 100.0, ..ORDINARY } };
    holds(&Scenario { sink: slower, ..Scenario::ordinary("20 to 100 ms at 40,000/s", |_| 40_000.0) }, 450.0);
}

#[test]
fn a_sink_that_works_on_two_requests_at_once_gets_what_it_can_take() {
    let two = |_| Sink { parallel: 2, ..ORDINARY };
    holds(&Scenario { sink: two, ..Scenario::ordinary("two at once, 40,000/s", |_| 40_000.0) }, 208.0);
}

#[test]
fn where_the_entries_cost_and_not_the_request_batches_stay_small() {
    let heavy = |_| Sink { fixed_ms: 5.0, entry_us: 200.0, parallel: usize::MAX };
    holds(&Scenario { sink: heavy, ..Scenario::ordinary("200 us an entry, 30,000/s", |_| 30_000.0) }, 126.0);
}

#[test]
fn one_stream_alone_ramps_up_by_larger_batches() {
    let ramp = |t: f64| (1000.0 + t * 2000.0).min(35_000.0);
    let one = Scenario { streams: 1, ordered: true, ..Scenario::ordinary("one stream, to 35,000/s", ramp) };
    middle(&one);
    let step = |t| if t < 5.0 { 1000.0 } else { 35_000.0 };
    middle(&Scenario {
        streams: 1,
        ordered: true,
        ..Scenario::ordinary("one stream, step to 35,000/s", step)
    });
    let outcome = run(&one);
    assert_eq!(outcome.most_in_flight, 1, "its order allows no more");
}

/// The rig can fail: without adaptation most of it is lost.
#[test]
fn batches_of_a_hundred_one_by_one_lose_nearly_all() {
    let fixed = Scenario {
        flow: FlowControl { enabled: false, ..Scenario::ordinary("", |_| 0.0).flow },
        in_flight: InFlightLimits { start: 1, most: 1 },
        span: Duration::from_secs(10),
        ..Scenario::ordinary("fixed 100, one at once", |_| 40_000.0)
    };
    let Outcome { arrived, dropped, .. } = run(&fixed);
    assert!(dropped as f64 > 0.6 * arrived as f64, "{dropped} of {arrived}");
}
