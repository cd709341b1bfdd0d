//! What is done to the product, by name.

mod clock;
mod kills;
mod network;
mod order;
mod outages;
mod storage;

use crate::table::Row;

/// What an experiment is given, and where it puts what it found.
pub struct Context {
    /// Full counts instead of those of every change.
    pub long: bool,
    pub random: fastrand::Rng,
    pub row: Row,
}

impl Context {
    /// How often: `short` with every change, `long` in a full run.
    pub fn times(&self, short: u64, long: u64) -> u64 {
        if self.long { long } else { short }
    }
}

/// Name, what it does, and how. Names begin with the row of the reliability catalogue.
pub const EXPERIMENTS: &[(&str, &str, fn(&mut Context))] = &[
    ("R01-A", "SIGTERM at random under load: nothing lost, nothing twice", kills::terms),
    ("R03-A", "kill -9 at random under load; files with rotation to HTTP by memory", kills::kills_a),
    ("R04-A", "SIGKILL at the n-th storage call, and again while it recovers; files to HTTP", storage::calls_a),
    ("R07", "outages of the destination, every kind", outages::outages),
    ("R09", "a full disk, a read-only disk and failing calls under the data directory", storage::full),
    ("R20", "the wall clock jumps", clock::jumps),
    ("R26", "a destination that drips, stays silent, or half a connection", network::drips),
    ("R27", "a network that comes and goes", network::flaps),
    ("R35", "a second instance on the same directory", kills::second_instance),
    ("R38", "order of 1,000 streams over retries, two batches out at once", order::thousand),
];
