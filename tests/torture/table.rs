//! What an experiment came to, and the table of all.

use crate::check::Findings;
use std::time::Duration;

/// The outcome of one experiment.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub name: String,
    /// How often what it does to the product was done.
    pub times: u64,
    pub findings: Findings,
    /// What else was measured.
    pub notes: Vec<String>,
    pub failures: Vec<String>,
    pub took: Duration,
}

impl Row {
    pub fn new(name: &str) -> Row {
        Row { name: name.into(), ..Row::default() }
    }

    /// Adds a run's findings and complains of what is never right: loss, damage, disorder.
    pub fn add(&mut self, findings: &Findings) {
        let Findings { lost, corrupt, foreign, inverted, .. } = *findings;
        if lost + corrupt + foreign + inverted > 0 {
            self.failures.push(format!("{findings}: {}", findings.examples.join("; ")));
        }
        self.findings.add(findings);
    }

    /// Complains unless `holds`.
    pub fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.failures.push(what());
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Nothing came twice.
    pub fn require_once(&mut self) {
        let twice = self.findings.twice;
        self.require(twice == 0, || format!("{twice} came twice"));
    }

    /// One line of result.
    pub fn line(&self) -> String {
        let verdict = if self.failures.is_empty() { "passed" } else { "FAILED" };
        let (name, times, findings, took) = (&self.name, self.times, &self.findings, self.took.as_secs_f64());
        let mut line = format!("{verdict}  {name}  x{times}: {findings}; {took:.1} s");
        for note in &self.notes {
            line += &format!("; {note}");
        }
        for failure in &self.failures {
            line += &format!("\n        {failure}");
        }
        line
    }
}

/// All rows, as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| experiment | times | entries | lost | twice | most in a row | corrupt, foreign | out of order | seconds | |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let found = &row.findings;
        let verdict = if row.failures.is_empty() { String::new() } else { "**failed**; ".into() };
        text += &format!(
            "| {} | {} | {} | {} | {} ({:.3} %) | {} | {} | {} | {:.0} | {verdict}{} |\n",
            row.name,
            row.times,
            found.sent,
            found.lost,
            found.twice,
            found.twice_share() * 100.0,
            found.longest,
            found.corrupt + found.foreign,
            found.inverted,
            row.took.as_secs_f64(),
            row.notes.join("; ")
        );
    }
    text
}
