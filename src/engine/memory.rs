//! How the memory budget is shared out: what the program takes beside blocks, transit for what is on its way, a quota for
//! each lane.
//!
//! Transit is everything between a source and a lane: open blocks, the ring, the workers, the sequencers. A lane's gate
//! closes while all that is in transit still fits its quota, so that workers never wait for a lane. Each pool of workers
//! has a share of transit to itself, so that what waits for one keeps no memory from the others.
//!
//! What is bounded but not made of blocks is set aside from the beginning. What nobody counted shows in what the system
//! says of the whole process: then there is as much less for blocks ([`Pressure`]).

use crate::config::threads::{count, planned};
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::lane::Quota;
use crate::sinks::config::SinkKind;
use crate::sources::config::SourceKind;
use crate::sources::http::config::decoders;
use crate::steps::config::StepConfig;
use std::time::{Duration, Instant};

/// The least that may be in transit, in bytes.
pub const TRANSIT_MIN: usize = 4 << 20;
/// The least of it for one of several pools of workers.
pub const POOL_MIN: usize = 2 << 20;
/// The most, in bytes: more would only wait longer.
pub const TRANSIT_MAX: usize = 32 << 20;
/// The program itself: its code as far as it runs, its tables. Measured: 12 to 14 MiB, 21 MiB without optimization.
const PROGRAM: usize = 16 << 20;
/// A thread: its stack as far as it was ever used, its name, what the allocator keeps for it.
const THREAD: usize = 128 << 10;
/// A buffer on disk: records that are not synced yet, one that is being made, one that is being read.
const BUFFER: usize = 6 << 20;

/// What the process takes beside blocks, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// The program and its threads.
    pub program: usize,
    /// Messages and bodies that have not fully arrived.
    pub arriving: usize,
    /// What senders make of batches.
    pub senders: usize,
    /// What buffers on disk need of memory.
    pub buffers: usize,
    /// What steps remember of entries: `dedupe`, `throttle`, `metric`.
    pub steps: usize,
}

impl Reserve {
    /// What `config` needs.
    pub fn of(config: &Config) -> Self {
        let buffers = config.enabled_sinks().filter(|sink| config.has_buffer(sink)).count();
        Reserve {
            program: PROGRAM + count(&planned(config)) * THREAD,
            arriving: config.sources.iter().map(arriving).sum(),
            senders: config.enabled_sinks().map(|sink| sink.lane.concurrency.most() * per_sender(sink)).sum(),
            buffers: buffers * BUFFER,
            steps: config.pipelines.iter().flat_map(|pipeline| &pipeline.steps).map(StepConfig::memory).sum(),
        }
    }

    /// All of it.
    pub fn total(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part with the words for it.
    fn parts(&self) -> [(&'static str, usize); 5] {
        [
            ("the program", self.program),
            ("what has not fully arrived", self.arriving),
            ("what senders make of batches", self.senders),
            ("buffers on disk", self.buffers),
            ("what steps remember", self.steps),
        ]
    }

    /// What there is of it, in words.
    fn told(&self) -> String {
        let parts = self.parts().into_iter().filter(|(_, bytes)| *bytes > 0);
        let told: Vec<_> = parts.map(|(what, bytes)| format!("{what} {} MiB", mib(bytes))).collect();
        told.join(", ")
    }
}

/// As many MiB as hold so many bytes.
fn mib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

fn arriving(source: &SourceConfig) -> usize {
    match &source.kind {
        SourceKind::Syslog(syslog) => syslog.partial_memory,
        SourceKind::Socket(socket) => socket.partial_memory,
        SourceKind::Docker(docker) => docker.partial_memory,
        SourceKind::Http(http) => http.body_memory + decoders(&http.decoders) * http.max_inflated,
        SourceKind::Loki(loki) => loki.body_memory + decoders(&loki.decoders) * loki.max_inflated,
        SourceKind::File(_) | SourceKind::Stdin(_) | SourceKind::Submit(_) => 0,
    }
}

fn per_sender(sink: &SinkConfig) -> usize {
    match &sink.kind {
        SinkKind::Http(_) | SinkKind::Loki(_) => sink.lane.batch.request_memory(),
        SinkKind::File(_) | SinkKind::Console(_) => 1 << 20,
        SinkKind::Blackhole(_) | SinkKind::Custom(_) => 0,
    }
}

/// The shares, in bytes.
#[derive(Clone, Debug)]
pub struct Shares {
    /// What all blocks may take together.
    pub blocks: usize,
    /// What may be between sources and lanes.
    pub transit: usize,
    /// Of this, what may be on its way through each pool.
    pub pools: Vec<usize>,
    /// Each lane's marks.
    pub lane: Quota,
}

/// What is to be shared out, and among whom.
#[derive(Clone, Debug)]
pub struct Claims {
    /// `quotas.max_memory`.
    pub budget: usize,
    /// What of it is not for blocks.
    pub reserve: Reserve,
    /// How many lanes there are.
    pub lanes: usize,
    /// For each pool of workers, how many threads may hold two blocks each: its own, and those that make blocks for them.
    pub threads: Vec<usize>,
    /// The largest class of blocks.
    pub largest: usize,
    /// A lane's low mark, as a part of its high one.
    pub low: f64,
}

impl Claims {
    /// The least that must be in transit through each pool.
    fn needs(&self) -> Vec<usize> {
        let floor = if self.threads.len() > 1 { POOL_MIN } else { TRANSIT_MIN };
        self.threads.iter().map(|threads| floor.max(2 * threads * self.largest)).collect()
    }

    /// The least that blocks need: how often, and what.
    fn least(&self) -> (usize, usize) {
        // Each lane must be able to take in all of transit, and hold on to as much again.
        (2 * self.lanes.max(1) + 1, TRANSIT_MIN.max(self.needs().iter().sum()))
    }

    /// Shares the budget out.
    ///
    /// Errors: the budget does not hold them; says what would.
    pub fn share_out(&self) -> Result<Shares, String> {
        let (shares, least) = self.least();
        let blocks = self.budget.saturating_sub(self.reserve.total());
        if blocks / shares < least {
            let of_pools = match self.threads.len() {
                0 | 1 => String::new(),
                pools => format!(" of {pools} pools"),
            };
            return Err(format!(
                "`quotas.max_memory` of {} MiB is too small: {} sinks and {} threads{} with blocks of {} KiB need {} MiB, \
                 beside what is set aside ({}): {} MiB in all",
                self.budget >> 20,
                self.lanes.max(1),
                self.threads.iter().sum::<usize>(),
                of_pools,
                self.largest >> 10,
                mib(shares * least),
                self.reserve.told(),
                mib(shares * least + self.reserve.total()),
            ));
        }
        Ok(self.among(blocks))
    }

    /// The same with `withheld` bytes less for blocks, or as many less as there can be.
    pub fn share_out_but(&self, withheld: usize) -> Result<Shares, String> {
        self.share_out()?;
        let (shares, least) = self.least();
        let blocks = self.budget.saturating_sub(self.reserve.total());
        Ok(self.among(blocks.saturating_sub(withheld).max(shares * least)))
    }

    fn among(&self, blocks: usize) -> Shares {
        let (shares, least) = self.least();
        let transit = (blocks / 8).min(TRANSIT_MAX).min(blocks / shares).max(least);
        let quota = (blocks - transit) / self.lanes.max(1);
        let high = quota - transit;
        let needs = self.needs();
        // What is more than the least, all have in equal parts.
        let more = (transit - needs.iter().sum::<usize>()) / needs.len().max(1);
        let pools = needs.iter().map(|need| need + more).collect();
        Shares { blocks, transit, pools, lane: Quota { high, low: (high as f64 * self.low) as usize } }
    }
}

/// How often there may be a look at what the process takes.
const LOOK: Duration = Duration::from_millis(100);
/// How often memory that nobody uses may be given back because of it: that walks all of it.
const TRIM: Duration = Duration::from_secs(1);

/// Holds the whole process to its budget: a pure function of what it takes and of time.
#[derive(Debug, Default)]
pub struct Pressure {
    withheld: usize,
    looked: Option<Instant>,
    trimmed: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Memory that nobody uses goes back to the system.
    pub trim: bool,
    /// Blocks get this much less than their share from now on.
    pub withhold: Option<usize>,
}

impl Pressure {
    /// How many bytes of their share blocks do not get.
    pub fn withheld(&self) -> usize {
        self.withheld
    }

    /// Whether it is time for a look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK)
    }

    /// What to do when the process takes `resident` bytes of a `budget`, of which up to `blocks` are for blocks.
    pub fn look(&mut self, resident: usize, budget: usize, blocks: usize, now: Instant) -> Relief {
        self.looked = Some(now);
        let (full, calm) = (budget / 100 * 97, budget / 100 * 85);
        let before = self.withheld;
        if resident > full {
            // As much as is too much, and at least a bit: it may take a while to show.
            let over = (resident - full).max(blocks / 64);
            self.withheld = (before + over).min(blocks);
        } else if resident < calm {
            self.withheld = before.saturating_sub((blocks / 64).max(1));
        }
        let may_trim = self.trimmed.is_none_or(|at| now.saturating_duration_since(at) >= TRIM);
        let trim = resident > budget / 100 * 90 && may_trim;
        if trim {
            self.trimmed = Some(now);
        }
        Relief { trim, withhold: (self.withheld != before).then_some(self.withheld) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn claims(budget: usize, lanes: usize, threads: &[usize]) -> Claims {
        let threads = threads.to_vec();
        let reserve = Reserve { program: 20 * MIB, ..Reserve::default() };
        Claims { budget, reserve, lanes, threads, largest: 260 << 10, low: 0.75 }
    }

    #[test]
    fn all_shares_together_are_the_budget_and_each_lane_has_room_for_all_transit() {
        for (budget, lanes, threads) in [(64 * MIB, 1, 3), (256 * MIB, 3, 10), (4096 * MIB, 64, 8)] {
            for withheld in [0, 10 * MIB, budget] {
                let shares = claims(budget, lanes, &[threads]).share_out_but(withheld).unwrap();
                assert_eq!(shares.pools, [shares.transit]);
                // Past its high mark a lane can still be given everything that is in transit.
                let all = shares.transit + lanes * (shares.lane.high + shares.transit);
                assert!(all <= shares.blocks && shares.blocks <= budget - 20 * MIB);
                assert!(shares.lane.low < shares.lane.high);
            }
        }
    }

    #[test]
    fn every_pool_has_what_its_threads_may_hold_and_an_equal_part_of_the_rest() {
        let claims = |budget, threads| Claims { largest: 256 << 10, ..claims(budget, 2, threads) };
        let shares = claims(1044 * MIB, &[3, 20, 1]).share_out().unwrap();
        assert_eq!(shares.transit, 32 * MIB);
        let more = 32 * MIB - 14 * MIB;
        assert_eq!(shares.pools, [2 * MIB + more / 3, 10 * MIB + more / 3, 2 * MIB + more / 3]);
        assert!(shares.pools.iter().sum::<usize>() <= shares.transit);
        let error = claims(35 * MIB, &[1, 1]).share_out().unwrap_err();
        assert!(error.contains("2 threads of 2 pools") && error.contains("need 20 MiB"), "{error}");
    }

    #[test]
    fn a_budget_that_cannot_hold_them_is_refused_with_the_one_that_would() {
        let error = claims(47 * MIB, 3, &[4]).share_out().unwrap_err();
        assert!(error.contains("need 28 MiB") && error.contains("48 MiB in all"), "{error}");
        assert!(claims(48 * MIB, 3, &[4]).share_out().is_ok());
    }

    #[test]
    fn what_a_config_holds_beside_blocks_is_set_aside() {
        let reserve = |sources: &str, sinks: &str| {
            let text = format!(
                "quotas: {{ max_memory: 1GiB }}\nadmin: {{ listen: off }}\nsources: {{ {sources} }}\nsinks: {{ {sinks} }}\n"
            );
            Reserve::of(&Config::parse("test", &text, &|_| None).unwrap())
        };
        let (stdin, hole) = ("in: { type: stdin }", "out: { type: blackhole }");
        let least = reserve(stdin, hole);
        assert_eq!((least.arriving, least.senders, least.buffers), (0, 0, 0));
        let syslog = "in: { type: syslog, listen: ['tcp://127.0.0.1:1'], partial_memory: 9MiB }";
        assert_eq!(reserve(syslog, hole).arriving, 9 * MIB);
        let http = "in: { type: http, listen: ['tcp://127.0.0.1:1'], body_memory: 30MiB, max_body: 5MiB, max_inflated: 5MiB, decoders: 3 }";
        assert_eq!(reserve(http, hole).arriving, 45 * MIB);
        let sink =
            "out: { type: http, url: 'http://127.0.0.1:1/', concurrency: 3, batch: { max_bytes: 2MiB } }";
        let with = reserve(stdin, sink);
        assert_eq!((with.senders, with.program), (12 * MIB, least.program + 2 * THREAD));
        let disk = "out: { type: blackhole, buffer: { type: disk } }";
        assert_eq!(reserve(stdin, disk).buffers, BUFFER);
    }

    #[test]
    fn what_steps_may_remember_is_set_aside_and_refused_where_it_does_not_fit() {
        let reserve = |step: &str| {
            let text = format!(
                "quotas: {{ max_memory: 1GiB }}\npipelines: {{ p: [{step}] }}\n\
                 sources: {{ in: {{ type: stdin, pipeline: p }} }}\nsinks: {{ out: {{ type: blackhole }} }}\n"
            );
            Reserve::of(&Config::parse("test", &text, &|_| None).unwrap())
        };
        assert_eq!(reserve("{ parse: json }").steps, 0);
        let dedupe = |more: &str| reserve(&format!("{{ dedupe: {{ max_keys: 100000{more} }} }}")).steps;
        let windows = dedupe(", emit: nothing");
        assert!((10 * MIB..40 * MIB).contains(&windows), "{windows}");
        assert_eq!(dedupe(""), windows + 8 * MIB);
        assert_eq!(dedupe(", max_bytes: 100MiB"), windows + 100 * MIB);
        let throttle = |keys: usize| reserve(&format!("{{ throttle: {{ rate: 1, max_keys: {keys} }} }}"));
        assert_eq!(throttle(3000).steps, 3 * throttle(1000).steps);
        let metric = |more: &str| {
            reserve(&format!("{{ metric: {{ name: a, type: counter, labels: {{ x: x{more} }} }} }}")).steps
        };
        assert_eq!(metric(", y: y") - metric(""), 1001 * (256 + 16));
        let (budget, reserve) = (1024 * MIB, throttle(20_000_000));
        let error = Claims { reserve, ..claims(budget, 1, &[1]) }.share_out().unwrap_err();
        assert!(error.contains("`quotas.max_memory` of 1024 MiB is too small"), "{error}");
        assert!(error.contains("what steps remember 2442 MiB): 24"), "{error}");
    }

    #[test]
    fn what_was_not_written_is_no_more_than_a_share_of_little_memory() {
        let kinds = |memory: &str| {
            let text = format!(
                "quotas: {{ max_memory: {memory} }}\nsources:\n  a: {{ type: syslog, listen: ['tcp://127.0.0.1:1'] }}\n  \
                 b: {{ type: http, listen: ['tcp://127.0.0.1:2'] }}\n  \
                 c: {{ type: socket, listen: ['tcp://127.0.0.1:3'], partial_memory: 15MiB }}\nsinks: {{ out: {{ type: \
                 blackhole }} }}\n"
            );
            let config = Config::parse("test", &text, &|_| None).unwrap();
            let of = |at: usize| match &config.sources[at].kind {
                SourceKind::Syslog(syslog) => (syslog.partial_memory, 0, 0),
                SourceKind::Http(http) => (http.body_memory, http.max_body, http.max_inflated),
                SourceKind::Socket(socket) => (socket.partial_memory, 0, 0),
                _ => unreachable!(),
            };
            [of(0), of(1), of(2)]
        };
        assert_eq!(kinds("4GiB"), [(16 * MIB, 0, 0), (64 * MIB, 10 * MIB, 64 * MIB), (15 * MIB, 0, 0)]);
        assert_eq!(kinds("96MiB"), [(4 * MIB, 0, 0), (4 * MIB, 2 * MIB, 2 * MIB), (15 * MIB, 0, 0)]);
    }

    #[test]
    fn as_many_requests_are_out_where_nobody_said_as_their_bodies_fit_a_share_of_little_memory() {
        let most = |memory: &str| {
            let text = format!(
                "quotas: {{ max_memory: {memory} }}\nsources: {{ in: {{ type: stdin }} }}\nsinks:\n  a: {{ type: http, url: \
                 'http://127.0.0.1:1/' }}\n  b: {{ type: loki, url: 'http://127.0.0.1:1/', batch: {{ max_bytes: 512KiB }} }}\n  \
                 c: {{ type: http, url: 'http://127.0.0.1:1/', concurrency: 5 }}\n  d: {{ type: blackhole }}\n"
            );
            let config = Config::parse("test", &text, &|_| None).unwrap();
            config.sinks.iter().map(|sink| sink.lane.concurrency.most()).collect::<Vec<_>>()
        };
        assert_eq!(most("1GiB"), [8, 8, 5, 1]);
        assert_eq!(most("256MiB"), [2, 4, 5, 1]);
        assert_eq!(most("64MiB"), [1, 1, 5, 1]);
    }

    #[test]
    fn a_process_over_its_budget_gets_less_for_blocks_until_it_is_not_and_then_all_of_it_again() {
        let (mut pressure, begun) = (Pressure::default(), Instant::now());
        let at = |tenths: u32| begun + LOOK * tenths;
        assert_eq!(pressure.look(80 * MIB, 100 * MIB, 64 * MIB, at(0)), Relief::default());
        assert!(!pressure.is_due(begun + LOOK / 2) && pressure.is_due(at(1)));
        // In between it holds what it has.
        assert_eq!(
            pressure.look(91 * MIB, 100 * MIB, 64 * MIB, at(1)),
            Relief { trim: true, withhold: None }
        );
        let relief = pressure.look(105 * MIB, 100 * MIB, 64 * MIB, at(2));
        let withheld = relief.withhold.unwrap();
        assert!(!relief.trim && (8 * MIB..9 * MIB).contains(&withheld), "{relief:?}");
        assert!(pressure.look(105 * MIB, 100 * MIB, 64 * MIB, at(11)).trim);
        let all =
            (12..100).filter_map(|n| pressure.look(1 << 30, 100 * MIB, 64 * MIB, at(n)).withhold).last();
        assert_eq!(all, Some(64 * MIB));
        let none = (100..300).filter_map(|n| pressure.look(MIB, 100 * MIB, 64 * MIB, at(n)).withhold).last();
        assert_eq!(none, Some(0));
    }
}
