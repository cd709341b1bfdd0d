//! The configuration file: read, checked, joined.
//!
//! Text becomes a tree that knows its places ([`tree`]), variables are replaced ([`mod@env`]), structs are filled from it
//! ([`de`], [`read`]), everything is looked at together ([`check`]), and what was left open is decided ([`decide`]).
//! Either all of it is right or a [`Report`] names everything that is not. The structs stand beside what they configure.

pub mod cases;
mod cgroup;
pub mod check;
pub mod de;
pub mod decide;
pub mod describe;
pub mod env;
pub mod keys;
pub mod read;
pub mod report;
pub mod schema;
pub mod threads;
pub mod topology;
pub mod tree;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use cases::TestConfig;
pub use check::TextChecks;
pub use decide::{Cores, Decided, GENERAL, Host, PoolPlan};
pub use keys::{AdminConfig, AffinityConfig, DispatcherConfig, PoolConfig, QuotasConfig, WorkerPoolConfig};
pub use report::{Problem, Report};

use crate::lane::config::{BatchConfig, Concurrency, LaneConfig};
use crate::sinks::config::{FALLBACK_AFTER, SinkKeys, SinkKind};
use crate::sources::config::{SourceKind, Strategy};
use crate::sources::net::http::Promise;
use crate::sources::rate::config::RateLimitConfig;
use crate::steps::config::StepConfig;
use crate::units::{Auto, Pairs};
use serde::{Deserialize, Serialize};
use tree::{Body, FILE_BYTES_MAX, Node};

/// The config that runs when none is named, and the manual of all keys.
pub const EXAMPLE: &str = include_str!("../../config.example.yaml");
/// What [`EXAMPLE`] is called in messages.
pub const EXAMPLE_NAME: &str = "config.example.yaml (built in)";

/// A config that was read, checked and joined: every key has its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it came from, for messages.
    pub name: String,
    /// Checkpoints and the lock file: one instance per directory.
    pub data_dir: PathBuf,
    /// The way to look in.
    pub admin: AdminConfig,
    /// Queues, workers, batches, patience.
    pub dispatcher: DispatcherConfig,
    /// Hard budgets, as written; their values are in `decided`.
    pub quotas: QuotasConfig,
    /// The cores of each kind of thread, as written; their values are in `decided`.
    pub affinity: AffinityConfig,
    /// In the order of the file.
    pub sources: Vec<SourceConfig>,
    /// In the order of the file.
    pub pipelines: Vec<PipelineConfig>,
    /// In the order of the file, those that are not enabled included.
    pub sinks: Vec<SinkConfig>,
    /// Cases for `ringmain test`, by name, in the order of the file.
    pub tests: Vec<(String, TestConfig)>,
    /// What `auto` came to on this host.
    pub decided: Decided,
    /// The paths of all keys that were written, joined with `.`.
    pub written: HashSet<String>,
}

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// Its name in the file.
    pub name: String,
    /// The pipeline its entries go through, one of [`Config::pipelines`].
    pub pipeline: Option<String>,
    /// Labels every entry of this source carries.
    pub labels: Pairs<String>,
    /// What it does when it cannot go on.
    pub strategy: Strategy,
    /// How fast its entries may come.
    pub rate_limit: Option<RateLimitConfig>,
    /// Its type with the keys of that.
    pub kind: SourceKind,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineConfig {
    /// Its name in the file.
    pub name: String,
    /// Which workers it is for.
    pub workers: PipelineKeys,
    /// Its steps in order.
    pub steps: Vec<StepConfig>,
}

/// Which workers a pipeline is for; by default those of the general pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineKeys {
    /// Those of the pool of this name.
    pub pool: Option<String>,
    /// Those of the first pool that can do all of this.
    pub needs: Vec<String>,
}

impl PipelineKeys {
    /// Which of `pools` they are of, the first of which is the general one; `None` if there is none such.
    pub fn pool_among(&self, pools: &[PoolPlan]) -> Option<usize> {
        let can = |pool: &PoolPlan| self.needs.iter().all(|need| pool.capabilities.contains(need));
        match &self.pool {
            Some(name) => pools.iter().position(|pool| pool.name == *name),
            None if self.needs.is_empty() => Some(0),
            // The specialised ones first: the general one is for what nobody else can.
            None => (1..pools.len()).chain(0..1).find(|at| can(&pools[*at])),
        }
    }
}

/// One sink with its lane.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkConfig {
    /// Its name in the file.
    pub name: String,
    /// `false`: it is left out.
    pub enabled: bool,
    /// Only entries for which this expression holds go to it.
    pub when: Option<String>,
    /// What its lane is told.
    pub lane: LaneConfig,
    /// Its type with the keys of that.
    pub kind: SinkKind,
}

impl Config {
    /// Reads a file for this host, with the variables of this process.
    pub fn load(path: &Path) -> Result<Config, Report> {
        Config::load_for(path, &Host::here())
    }

    /// The same for another host.
    pub fn load_for(path: &Path, host: &Host) -> Result<Config, Report> {
        let name = path.display().to_string();
        let whole = |message: String| Report::new(&name, "", vec![Problem::whole(message)]);
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| whole(format!("cannot read `{name}`: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            whole(format!(
                "`{name}` is not UTF-8 text: byte {} fits nothing",
                error.utf8_error().valid_up_to()
            ))
        })?;
        Config::parse_for(&name, &text, &process_environment, host, &TextChecks::default())
    }

    /// The built-in example, for this host.
    pub fn example() -> Result<Config, Report> {
        Config::parse(EXAMPLE_NAME, EXAMPLE, &process_environment)
    }

    /// Reads `text` for this host; `name` stands for the file in messages, `env` answers for variables.
    pub fn parse(name: &str, text: &str, env: env::Lookup) -> Result<Config, Report> {
        Config::parse_for(name, text, env, &Host::here(), &TextChecks::default())
    }

    /// Reads `text` for a given host and given languages inside of values: a pure function.
    pub fn parse_for(
        name: &str,
        text: &str,
        env: env::Lookup,
        host: &Host,
        languages: &TextChecks,
    ) -> Result<Config, Report> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut problems = Vec::new();
        let Some(root) = tree::parse(text, env, &mut problems) else {
            return Err(Report::new(name, text, problems));
        };
        if !matches!(root.body, Body::Map(_)) {
            let problem = Problem::at(
                root.span.clone(),
                "the config is not a map",
                "expected `sources:`, `sinks:`, ...",
            );
            return Err(Report::new(name, text, vec![problem]));
        }
        let written = read::read(&root, &mut problems);
        check::check(&root, &written, host, languages, &mut problems);
        match written.general {
            Some(general) if problems.is_empty() => {
                let written = read::Written { general: None, ..written };
                Ok(join(name, &root, general, written, host))
            }
            _ => Err(Report::new(name, text, problems)),
        }
    }

    /// The pipeline of this name.
    pub fn pipeline(&self, name: &str) -> Option<&PipelineConfig> {
        self.pipelines.iter().find(|pipeline| pipeline.name == name)
    }

    /// The place among the pools of the one whose workers the source's entries are for.
    pub fn pool_of(&self, source: &SourceConfig) -> usize {
        let pipeline = source.pipeline.as_ref().and_then(|name| self.pipeline(name));
        // One that needs what nobody can was refused when the file was read.
        pipeline.and_then(|pipeline| pipeline.workers.pool_among(&self.decided.pools)).unwrap_or(0)
    }

    /// Whether sinks in memory go to disk when they are full.
    pub fn spills(&self) -> bool {
        self.sources.iter().any(|source| source.strategy == Strategy::Spill)
    }

    /// Whether the sink has a buffer on disk, to be used always or when memory is full.
    pub fn has_buffer(&self, sink: &SinkConfig) -> bool {
        sink.lane.buffer.is_on_disk() || self.spills()
    }

    /// The sinks that entries go to.
    pub fn enabled_sinks(&self) -> impl Iterator<Item = &SinkConfig> {
        self.sinks.iter().filter(|sink| sink.enabled)
    }
}

fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn join(
    name: &str,
    root: &Node,
    general: keys::GeneralConfig,
    written: read::Written,
    host: &Host,
) -> Config {
    let keys::GeneralConfig { data_dir, admin, dispatcher, quotas, affinity } = general;
    let (paths, decided) = (paths(root), decide::decide(host, &dispatcher, &quotas, &affinity));
    let on_disk = written.sinks.iter().any(|(_, keys, _)| keys.enabled && keys.buffer.is_on_disk());
    let gathers = |kind: &SourceKind| threads::listens(kind) || matches!(kind, SourceKind::Docker(_));
    let gathering = written.sources.iter().filter(|(.., kind)| gathers(kind)).count();
    let share = decided.max_memory / 8 / gathering.max(1);
    let source = |(name, keys, mut kind): (String, crate::sources::config::SourceKeys, SourceKind)| {
        let is_written = |key: &str| paths.contains(&format!("sources.{name}.{key}"));
        modest(&mut kind, share, is_written);
        SourceConfig {
            name,
            pipeline: keys.pipeline,
            labels: keys.labels,
            strategy: keys.strategy.unwrap_or(dispatcher.backpressure.in_force()),
            rate_limit: keys.rate_limit,
            kind: promising(kind, on_disk),
        }
    };
    let mut sinks: Vec<_> = written.sinks.into_iter().map(|sink| in_full(&dispatcher, sink)).collect();
    modest_senders(&mut sinks, decided.max_memory / 32);
    Config {
        name: name.into(),
        sources: written.sources.into_iter().map(source).collect(),
        pipelines: written
            .pipelines
            .into_iter()
            .map(|(name, workers, steps)| PipelineConfig { name, workers, steps })
            .collect(),
        sinks,
        tests: written.tests,
        decided,
        written: paths,
        data_dir,
        admin,
        dispatcher,
        quotas,
        affinity,
    }
}

/// What was not written of the memory for what has not fully arrived is no more than a share of all memory.
fn modest(kind: &mut SourceKind, share: usize, is_written: impl Fn(&str) -> bool) {
    let partial = |partial: &mut usize, message: usize| {
        if !is_written("partial_memory") {
            *partial = (*partial).min(share).max(message);
        }
    };
    let bodies = |wire: &mut usize, bodies: &mut usize, inflated: &mut usize| {
        if !is_written("max_body") {
            *wire = (*wire).min(share / 2);
        }
        if !is_written("body_memory") {
            *bodies = (*bodies).min(share).max(2 * *wire);
        }
        if !is_written("max_inflated") {
            *inflated = (*inflated).min(share / 2).max(*wire);
        }
    };
    match kind {
        SourceKind::Syslog(syslog) => partial(&mut syslog.partial_memory, syslog.max_message),
        SourceKind::Socket(socket) => partial(&mut socket.partial_memory, socket.max_message),
        SourceKind::Docker(docker) => partial(&mut docker.partial_memory, docker.max_line),
        SourceKind::Http(http) => bodies(&mut http.max_body, &mut http.body_memory, &mut http.max_inflated),
        SourceKind::Loki(loki) => bodies(&mut loki.max_body, &mut loki.body_memory, &mut loki.max_inflated),
        SourceKind::File(_) | SourceKind::Stdin(_) | SourceKind::Submit(_) => {}
    }
}

fn in_full(dispatcher: &DispatcherConfig, (name, keys, kind): (String, SinkKeys, SinkKind)) -> SinkConfig {
    SinkConfig { name, enabled: keys.enabled, lane: lane(dispatcher, &keys, &kind), when: keys.when, kind }
}

/// Where nobody said how many requests are out at once, all of them together take no more than a share of all memory, as
/// far as one each does.
fn modest_senders(sinks: &mut [SinkConfig], share: usize) {
    let is_auto = |sink: &SinkConfig| sink.enabled && matches!(sink.lane.concurrency, Concurrency::Auto(_));
    let count = sinks.iter().filter(|sink| is_auto(sink)).count();
    for sink in sinks.iter_mut().filter(|sink| is_auto(sink)) {
        let most = share / count / sink.lane.batch.request_memory().max(1);
        sink.lane.concurrency = Concurrency::Auto(most.clamp(1, Concurrency::AUTO_MOST));
    }
}

/// The source with what it promises, if that was not written: as much as the sinks can keep.
fn promising(mut kind: SourceKind, on_disk: bool) -> SourceKind {
    let promise = if on_disk { Promise::Persisted } else { Promise::Delivered };
    match &mut kind {
        SourceKind::Http(http) => http.ack = http.ack.or(Some(promise)),
        SourceKind::Loki(loki) => loki.ack = loki.ack.or(Some(promise)),
        _ => {}
    }
    kind
}

/// What a sink of these keys tells its lane.
pub(crate) fn lane(dispatcher: &DispatcherConfig, keys: &SinkKeys, kind: &SinkKind) -> LaneConfig {
    let max_entries = keys.batch.max_entries.unwrap_or(BatchConfig::MAX_ENTRIES);
    LaneConfig {
        batch: BatchConfig {
            size: dispatcher.batch_size.min(max_entries),
            max_entries,
            max_bytes: keys.batch.max_bytes.unwrap_or(BatchConfig::MAX_BYTES),
        },
        concurrency: match keys.concurrency.unwrap_or_else(|| kind.concurrency()) {
            Auto::Auto => Concurrency::Auto(Concurrency::AUTO_MOST),
            Auto::Set(most) => Concurrency::Set(most),
        },
        ordering: keys.ordering,
        retry: dispatcher.retry().with(&keys.retry),
        circuit_breaker: dispatcher.circuit_breaker.with(&keys.circuit_breaker),
        fallback: keys.fallback.clone(),
        fallback_after: keys.fallback_after.unwrap_or(FALLBACK_AFTER),
        buffer: keys.buffer,
        batch_timeout: dispatcher.batch_timeout,
        backpressure: dispatcher.backpressure,
        flow_control: dispatcher.flow_control,
    }
}

fn paths(root: &Node) -> HashSet<String> {
    fn collect(node: &Node, before: &str, paths: &mut HashSet<String>) {
        for (key, value) in node.entries() {
            let path = if before.is_empty() { key.name.clone() } else { format!("{before}.{}", key.name) };
            collect(value, &path, paths);
            paths.insert(path);
        }
    }
    let mut all = HashSet::new();
    collect(root, "", &mut all);
    all
}

#[cfg(test)]
mod tests;
