//! The torture rig: breaks the release binary in every way its promises speak of, and counts from outside what arrives.
//!
//! `cargo test --release --test torture -- [--long] [--times N] [--seed N] [NAME...]`: all experiments (the peers only with `--long`), or
//! those whose names begin with one of the words; `--list` names them. A run prints its seed; with `--seed N` the same faults come again, though not to
//! the same microsecond. `RINGMAIN_BIN` names another binary. What the numbers mean stands in `docs/guarantees.md`.
//!
//! Obligations are written down by the generators, receipts by the destinations; the product is asked for nothing but its own
//! numbers, which have to be the same. Plain `cargo test` leaves this out.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says with them what it relies on")]

mod check;
mod entry;
mod experiments;
mod generate;
mod ground;
mod peers;
mod product;
mod proxy;
mod sink;
mod strace;
#[path = "../support/mod.rs"]
mod support;
mod table;

use experiments::{Context, EXPERIMENTS};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;
use table::{Row, table};

fn main() -> ExitCode {
    let (mut long, mut times, mut seed, mut names) = (false, None, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &argument[..] {
            "--long" => long = true,
            "--times" => times = arguments.next().and_then(|text| text.parse().ok()),
            "--seed" => seed = arguments.next().and_then(|text| text.parse().ok()),
            "--list" => {
                EXPERIMENTS.iter().for_each(|(name, what, _)| println!("{name:<16} {what}"));
                return ExitCode::SUCCESS;
            }
            // What `cargo test` may pass on.
            "--nocapture" | "--quiet" | "-q" => {}
            name if !name.starts_with('-') => names.push(name.to_string()),
            other => {
                eprintln!(
                    "error: unknown option {other}; known: --long, --times N, --seed N, --list, and names"
                );
                return ExitCode::from(2);
            }
        }
    }
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("torture: seed {seed} (`--seed {seed}` runs it again), {}", support::binary().display());
    entry::self_test();
    check::self_test();
    // The peers are no part of what a change has to pass.
    let of_all = |name: &str| names.is_empty() && (long || !name.starts_with("peer"));
    let wanted = |name: &str| of_all(name) || names.iter().any(|begin| name.starts_with(&begin[..]));
    let begun = Instant::now();
    let mut rows = Vec::new();
    for (number, (name, what, experiment)) in (0..).zip(EXPERIMENTS) {
        if !wanted(name) {
            continue;
        }
        println!("--- {name}: {what}");
        // Each has its own sequence, so that it is the same alone as among all.
        let mut context =
            Context { long, times, random: fastrand::Rng::with_seed(seed ^ number), row: Row::new(name) };
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| experiment(&mut context)));
        context.row.took = began.elapsed();
        if let Err(panic) = result {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            context.row.failures.push(said.unwrap_or_else(|| "a panic without words".into()));
        }
        println!("{}", context.row.line());
        rows.push(context.row);
    }
    println!("\n{}", table(&rows));
    let failed = rows.iter().filter(|row| !row.failures.is_empty()).count();
    let (count, seconds) = (rows.len(), begun.elapsed().as_secs());
    println!("torture: {count} experiments, {failed} failed, {seconds} s, seed {seed}");
    if failed > 0 || rows.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
