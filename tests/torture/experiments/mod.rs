//! What is done to the product, by name.

mod backlog;
mod clock;
mod damage;
mod isolation;
mod kills;
mod network;
mod order;
mod outages;
mod panics;
mod refusals;
mod storage;

use crate::peers;
use crate::table::Row;

/// What an experiment is given, and where it puts what it found.
pub struct Context {
    /// Full counts instead of those of every change.
    pub long: bool,
    /// How often, whatever it would be otherwise.
    pub times: Option<u64>,
    pub random: fastrand::Rng,
    pub row: Row,
}

impl Context {
    /// How often: `short` with every change, `long` in a full run.
    pub fn times(&self, short: u64, long: u64) -> u64 {
        self.times.unwrap_or(if self.long { long } else { short })
    }
}

/// Name, what it does, and how. Names begin with the row of the reliability catalogue.
pub const EXPERIMENTS: &[(&str, &str, fn(&mut Context))] = &[
    ("R01-A", "SIGTERM at random under load: nothing lost, nothing twice", kills::terms),
    ("R03-A", "kill -9 at random under load; files with rotation to HTTP by memory", kills::kills_a),
    ("R03-B", "the same; HTTP by a buffer on disk to Loki", kills::kills_b),
    ("R03-D", "the same; syslog over TCP by a buffer on disk to HTTP", kills::kills_d),
    (
        "R04-A",
        "SIGKILL at the n-th storage call, and again while it recovers; files to HTTP",
        storage::calls_a,
    ),
    ("R04-B", "the same; HTTP by a buffer on disk to Loki", storage::calls_b),
    ("R04-D", "the same; syslog over TCP by a buffer on disk to HTTP", storage::calls_d),
    ("R07", "outages of the destination, every kind", outages::outages),
    (
        "R09-A",
        "a full disk, a read-only disk and failing calls under the data directory; files to HTTP",
        storage::full_a,
    ),
    ("R09-B", "the same; HTTP by a buffer on disk to Loki", storage::full_b),
    ("R18", "segments of a buffer are damaged", damage::segments_damaged),
    ("R19", "states of buffers and positions are damaged", damage::states_damaged),
    ("R20", "the wall clock jumps", clock::jumps),
    ("R22", "steps panic at single entries, the sink at every fifth batch", panics::panics),
    ("R23", "single entries are refused for good", refusals::poison),
    ("R23-Loki", "Loki leaves out single entries and says how many", refusals::ignored),
    ("R24", "everybody is kept out for a while: 401, 403, 404", refusals::kept_out),
    ("R25", "a dead destination beside a living one", isolation::dead_beside_living),
    ("R26", "a destination that drips, stays silent, or half a connection", network::drips),
    ("R27", "a network that comes and goes", network::flaps),
    ("R32", "a start with a backlog of 10 GiB", backlog::ten_gib),
    ("R33-UDP", "what the kernel drops of UDP is counted", order::datagrams),
    ("R35", "a second instance on the same directory", kills::second_instance),
    ("R37", "dead letters over kills, and given again", refusals::letters_survive),
    ("R38", "order of 1,000 streams over retries, two batches out at once", order::thousand),
    ("peer-ours", "kill -9 twenty times at the load of the peers", peers::ours),
    ("peer-rsyslog", "the same with rsyslog", peers::rsyslog),
    ("peer-syslog-ng", "the same with syslog-ng", peers::syslog_ng),
];
