//! The table at the end.

use crate::data::Data;
use crate::engine::Run;
use std::time::Duration;

/// What a pipeline is to reach, by CPU time.
#[derive(Clone, Copy)]
pub enum Mark {
    GigabytesPerCore(f64),
    OfTheBound(f64),
}

/// A run of the engine, and what was run beside it.
pub struct Round {
    pub run: Run,
    pub bound: Duration,
    pub serde: Option<Duration>,
}

/// All rounds of one pipeline.
pub struct Report {
    name: &'static str,
    lines: f64,
    bytes: f64,
    kept: f64,
    mark: Option<Mark>,
    rounds: Vec<Round>,
}

/// The best and the middle of a figure.
#[derive(Clone, Copy)]
struct Spread {
    best: f64,
    median: f64,
}

impl Report {
    pub fn new(name: &'static str, data: &Data, mark: Option<Mark>) -> Report {
        let (lines, bytes) = (data.lines as f64, data.bytes as f64);
        Report { name, lines, bytes, kept: lines - data.debug as f64, mark, rounds: Vec::new() }
    }

    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    pub fn has_rounds(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// `figure` of every round; less is better.
    fn least(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        let mut all: Vec<f64> = self.rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        Spread { best: all[0], median: all[all.len() / 2] }
    }

    /// `figure` of every round; more is better.
    fn most(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        let Spread { best, median } = self.least(|round| -figure(round));
        Spread { best: -best, median: -median }
    }

    fn print(&self) {
        let seconds = |time: Duration| time.as_secs_f64();
        let per_line = |time: Duration| seconds(time) / self.lines * 1e9;
        let rate = self.most(|round| self.lines / seconds(round.run.wall));
        let speed = self.most(|round| self.bytes / seconds(round.run.wall) / 1e6);
        let cost = self.least(|round| per_line(round.run.cpu));
        let bound = self.least(|round| per_line(round.bound));
        let per_core = self.most(|round| self.bytes / seconds(round.run.cpu) / 1e9);
        let ratio = self.most(|round| seconds(round.bound) / seconds(round.run.cpu));
        let batch = self.most(|round| self.kept / round.run.batches as f64);
        let sleeps = self.least(|round| round.run.sleeps as f64);
        let touched = self.least(|round| round.run.touched as f64 / f64::from(1 << 20));
        println!("\npipeline/{} ({} rounds; best, median)", self.name, self.rounds.len());
        let row = |what: &str, Spread { best, median }: Spread, digits: usize| {
            println!("  {what:<38}{best:>14.digits$}{median:>14.digits$}");
        };
        row("lines/s, wall", rate, 0);
        row("MB/s, wall", speed, 0);
        row("CPU ns per line", cost, 1);
        row("bound, CPU ns per line", bound, 1);
        row("GB/s per core", per_core, 2);
        row("of the bound, by CPU", ratio, 2);
        if self.rounds[0].serde.is_some() {
            let serde = |round: &Round| seconds(round.serde.unwrap_or_default());
            row("serde_json Value, CPU ns per line", self.least(|round| serde(round) / self.lines * 1e9), 1);
            row(
                "times as fast as serde_json Value",
                self.most(|round| serde(round) / seconds(round.run.cpu)),
                1,
            );
        }
        row("entries per batch", batch, 0);
        row("sleeps of all threads", sleeps, 0);
        row("MiB of memory touched anew", touched, 0);
        let (reached, mark) = match self.mark {
            None => return,
            Some(Mark::GigabytesPerCore(mark)) => (per_core, mark),
            Some(Mark::OfTheBound(mark)) => (ratio, mark),
        };
        let judged = |value: f64| if value >= mark { "met" } else { "MISSED" };
        println!(
            "  {:<38}{:>14}{:>14}",
            format!("mark of {mark}"),
            judged(reached.best),
            judged(reached.median)
        );
    }
}

/// Prints all reports.
pub fn print(reports: &[Report]) {
    reports.iter().for_each(Report::print);
}
