//! How the budget of open descriptors is shared out: what must always be had is kept, the rest is for connections and files.
//!
//! Shares are known before anything is opened, and the kernel holds the process to the budget as well: so whoever has
//! a share keeps within it by closing what was unused longest or letting connections wait, and nobody else, a
//! checkpoint least of all, is ever refused.

use crate::admin::CONNECTIONS_MAX;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::pool::Allowance;
use crate::sinks::config::SinkKind;
use crate::sources::config::SourceKind;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Standard streams, the lock, signals, the keeper's files, dead letters, one that is read to look at `/proc`.
const HOUSE: usize = 24;
/// The admin server: its listener and loop, and what it answers at a time.
const ADMIN: usize = CONNECTIONS_MAX + 4;
/// The intake's loop and waker.
const INTAKE: usize = 4;
/// A reader's loop and waker, its notices, one file to look at and one to unpack into.
const READER: usize = 6;
/// A buffer on disk: its segment, the next, the one that is read, its state, its directory, with as many again at a
/// change of segments.
const BUFFER: usize = 12;
/// The least a source or a sink can work with beyond that.
const LEAST: usize = 8;

/// The shares of all sources and sinks that have any.
#[derive(Default)]
pub struct Descriptors {
    allowances: Mutex<HashMap<String, Allowance>>,
    /// The kernel was told a budget.
    told: AtomicBool,
}

/// What a config comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is kept for what must always be had.
    pub kept: usize,
    /// What each source and sink may have, by [`key`]. Empty without a budget.
    pub shares: Vec<(String, usize)>,
}

/// What a source (`true`) or sink of this name is known by.
pub fn key(source: bool, name: &str) -> String {
    format!("{} {name}", if source { "source" } else { "sink" })
}

impl Plan {
    /// Shares out `quotas.max_fds`.
    ///
    /// Errors: it is too little; says what would do.
    pub fn of(config: &Config) -> Result<Plan, String> {
        let kept = kept(config);
        let Some(max) = config.quotas.max_fds else { return Ok(Plan { kept, shares: Vec::new() }) };
        let sources = config.sources.iter().map(|source| (key(true, &source.name), source_wants(source)));
        let sinks = config.enabled_sinks().map(|sink| (key(false, &sink.name), sink_wants(sink)));
        let wants: Vec<(String, usize)> = sources.chain(sinks).filter(|(_, wanted)| *wanted > 0).collect();
        let need = kept + LEAST * wants.len();
        if max < need {
            return Err(format!(
                "`quotas.max_fds` of {max} is too small: {kept} are kept for checkpoints, buffers, threads and the admin \
                 server, and {} sources and sinks need {LEAST} each: {need} in all",
                wants.len()
            ));
        }
        let counts: Vec<usize> = wants.iter().map(|(_, wanted)| *wanted).collect();
        let shares = share_out(max - kept, &counts);
        Ok(Plan { kept, shares: wants.into_iter().map(|(key, _)| key).zip(shares).collect() })
    }
}

/// Shares `total` out fairly: nobody gets more than wanted, and nobody who wants more than others get has less than they.
fn share_out(total: usize, wants: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|at| wants[*at]);
    let (mut shares, mut left) = (vec![0; wants.len()], total);
    for (done, at) in order.into_iter().enumerate() {
        shares[at] = wants[at].min(left / (wants.len() - done));
        left -= shares[at];
    }
    shares
}

fn kept(config: &Config) -> usize {
    let admin = if config.admin.listen.is_some() { ADMIN } else { 0 };
    let sources = config.sources.iter().map(|source| match &source.kind {
        SourceKind::File(_) | SourceKind::Stdin(_) | SourceKind::Submit(_) => READER,
        // It lists, and listens for events, beside the logs.
        SourceKind::Docker(_) => READER + 2,
        SourceKind::Syslog(syslog) => 2 * syslog.listen.len(),
        SourceKind::Socket(socket) => 2 * socket.listen.len(),
        SourceKind::Http(http) => 2 * http.listen.len(),
        SourceKind::Loki(loki) => 2 * loki.listen.len(),
    });
    let sinks = config.enabled_sinks().map(|sink| {
        let own = match &sink.kind {
            // A connection each, and one that is being made anew or looks a name up.
            SinkKind::Http(_) | SinkKind::Loki(_) => 2 * sink.lane.concurrency.most(),
            // The base, and two files while rotated ones are packed.
            SinkKind::File(_) => 4,
            SinkKind::Console(_) | SinkKind::Blackhole(_) | SinkKind::Custom(_) => 1,
        };
        own + if config.has_buffer(sink) { BUFFER } else { 0 }
    });
    HOUSE + admin + INTAKE + sources.sum::<usize>() + sinks.sum::<usize>()
}

fn source_wants(source: &SourceConfig) -> usize {
    match &source.kind {
        SourceKind::File(file) => file.open_files,
        SourceKind::Docker(docker) => docker.connections,
        SourceKind::Syslog(syslog) => syslog.max_connections,
        SourceKind::Socket(socket) => socket.max_connections,
        SourceKind::Http(http) => http.max_connections,
        SourceKind::Loki(loki) => loki.max_connections,
        SourceKind::Stdin(_) | SourceKind::Submit(_) => 0,
    }
}

fn sink_wants(sink: &SinkConfig) -> usize {
    match &sink.kind {
        // As many again wait to be synced, with the directories they are new in.
        SinkKind::File(file) => file.open_files.saturating_mul(2),
        _ => 0,
    }
}

impl Descriptors {
    /// What this one may have; whoever asks again gets the same allowance.
    pub fn allowance(&self, key: &str) -> Allowance {
        self.allowances.lock().entry(key.into()).or_default().clone()
    }

    /// Nobody has more than `plan` says, while it is not sure that this comes into force: who is new has its share, who is
    /// there the lesser of both.
    pub fn prepare(&self, plan: &Plan) {
        let mut all = self.allowances.lock();
        for (key, share) in &plan.shares {
            let allowance = all.entry(key.clone()).or_default();
            allowance.set(allowance.get().min(*share));
        }
    }

    /// The shares of `plan` are in force. Without a budget there are none.
    pub fn enforce(&self, plan: &Plan, max_fds: Option<usize>) {
        for (key, allowance) in self.allowances.lock().iter() {
            let share = plan.shares.iter().find(|(other, _)| other == key).map(|(_, share)| *share);
            // One that is leaving keeps the least.
            allowance.set(share.unwrap_or(if max_fds.is_some() { LEAST } else { usize::MAX }));
        }
        // Relaxed: whoever changes what runs holds the lock of all that. Without a budget the limit is the administrator's,
        // who may have set another one meanwhile.
        if max_fds.is_some() || self.told.load(Relaxed) {
            crate::sys::limit_open_files(max_fds);
        }
        self.told.store(max_fds.is_some(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_fds: &str, sources: &str) -> Config {
        let text = format!(
            "admin: {{ listen: off }}\nquotas: {{ max_fds: {max_fds} }}\nsources: {{ {sources} }}\n\
             sinks: {{ out: {{ type: file, path: out/a, open_files: 10 }} }}\n"
        );
        Config::parse("test", &text, &|_| None).unwrap()
    }

    #[test]
    fn who_wants_little_has_it_and_the_others_share_the_rest() {
        assert_eq!(share_out(100, &[1000, 10, 50]), [45, 10, 45]);
        assert_eq!(share_out(100, &[10, 20]), [10, 20]);
        assert_eq!(share_out(7, &[5, 5]), [3, 4]);
        assert!(share_out(7, &[]).is_empty());
    }

    #[test]
    fn shares_and_what_is_kept_are_within_the_budget_and_one_too_small_is_refused_with_the_one_that_would_do()
    {
        let sources = "a: { type: file, include: ['x'] }, b: { type: syslog, listen: ['tcp://127.0.0.1:1'] }";
        let plan = Plan::of(&config("200", sources)).unwrap();
        assert_eq!(plan.kept + plan.shares.iter().map(|(_, share)| share).sum::<usize>(), 200);
        assert_eq!(plan.shares[2], ("sink out".into(), 20));
        let need = plan.kept + 3 * LEAST;
        let error = Plan::of(&config(&(need - 1).to_string(), sources)).unwrap_err();
        assert!(error.contains(&format!("{need} in all")), "{error}");
        assert!(Plan::of(&config(&need.to_string(), sources)).is_ok());
        assert!(Plan::of(&config("off", sources)).unwrap().shares.is_empty());
    }

    #[test]
    fn an_allowance_is_the_lesser_one_until_it_is_sure_which_is_in_force() {
        let plan = |share| Plan { kept: 1, shares: vec![("source a".into(), share)] };
        let all = Descriptors::default();
        let allowance = all.allowance("source a");
        assert_eq!(allowance.get(), usize::MAX);
        all.prepare(&plan(50));
        all.prepare(&plan(70));
        assert_eq!(allowance.get(), 50);
        all.prepare(&plan(40));
        assert_eq!(allowance.get(), 40);
    }
}
