//! The sections of the file that belong to the whole house: `admin`, `dispatcher`, `quotas`, `affinity`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::delivery::dlq::config::DlqConfig;
use crate::lane::config::{BackpressureConfig, FlowControlConfig};
use crate::secret::Secret;
use crate::sinks::config::{BreakerConfig, Jitter, RetryConfig};
use crate::sources::rate::config::RateLimitConfig;
use crate::units::{self, Auto, Pairs};

/// The sections whose keys are read as they stand; `sources`, `pipelines` and `sinks` are read by name.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneralConfig {
    /// Checkpoints and the lock file: one instance per directory.
    pub data_dir: PathBuf,
    /// The way to look in.
    pub admin: AdminConfig,
    /// Queues, workers, batches, patience.
    pub dispatcher: DispatcherConfig,
    /// Hard budgets.
    pub quotas: QuotasConfig,
    /// The cores of each kind of thread.
    pub affinity: AffinityConfig,
}

impl Default for GeneralConfig {
    fn default() -> Self {
        GeneralConfig {
            data_dir: "./data".into(),
            admin: AdminConfig::default(),
            dispatcher: DispatcherConfig::default(),
            quotas: QuotasConfig::default(),
            affinity: AffinityConfig::default(),
        }
    }
}

/// The way to look in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port of the HTTP server with `/metrics`, `/stats`, `/health`, `/ready`; `off` for none.
    #[serde(deserialize_with = "listen", serialize_with = "listen_text")]
    pub listen: Option<SocketAddr>,
    /// What a request that changes something has to show (`Authorization: Bearer TOKEN`); without one, nothing can be
    /// changed by requests.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { listen: Some(SocketAddr::from(([127, 0, 0, 1], 8401))), token: None }
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(None);
    }
    let numeric = text.strip_prefix("localhost:").map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map(Some).map_err(|_| {
        serde::de::Error::custom("expected a numeric address and a port such as `127.0.0.1:8401`, or `off`")
    })
}

fn listen_text<S: Serializer>(listen: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match listen {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str("off"),
    }
}

/// Queues, workers, batches, patience.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DispatcherConfig {
    /// Entries each ring may hold.
    #[serde(with = "units::count")]
    pub queue_size: usize,
    /// Workers at the start; `auto` goes by the cores (see [`super::decide`]).
    #[serde(with = "units::threads_or_auto")]
    pub worker_count: Auto<usize>,
    /// Entries in a batch: the fixed size without flow control, where adaptation starts with it.
    #[serde(with = "units::count")]
    pub batch_size: usize,
    /// Longest an entry waits for company before its batch is cut.
    #[serde(with = "units::positive_duration")]
    pub batch_timeout: Duration,
    /// Further attempts after answers about the batch itself; a sink that is unwell is tried for ever.
    #[serde(with = "units::retries")]
    pub max_retries: Option<u32>,
    /// The wait after the first failure of a sink.
    #[serde(with = "units::positive_duration")]
    pub retry_backoff: Duration,
    /// The longest wait.
    #[serde(with = "units::positive_duration")]
    pub retry_backoff_max: Duration,
    /// How much longer each wait is than the one before.
    #[serde(deserialize_with = "units::growth")]
    pub retry_multiplier: f64,
    /// Whether the waits are spread at random.
    pub retry_jitter: Jitter,
    /// How long a sink may keep us out (401, 403, 404) before its entries are dead letters.
    #[serde(with = "units::duration")]
    pub auth_grace: Duration,
    /// When a sink is left alone for a while.
    pub circuit_breaker: BreakerConfig,
    /// Longest a stop may take; what is not delivered by then is named, and read again at the next start.
    #[serde(with = "units::duration")]
    pub drain_timeout: Duration,
    /// When sources are told that there is no room.
    pub backpressure: BackpressureConfig,
    /// Adaptive batching and requests in flight.
    pub flow_control: FlowControlConfig,
    /// The workers together.
    pub worker_pool: WorkerPoolConfig,
    /// What sinks and steps refuse.
    pub dlq: DlqConfig,
    /// How fast the entries of all sources together may come; absent: as fast as they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitConfig>,
}

impl DispatcherConfig {
    /// How long failed attempts wait where a sink says nothing else.
    pub fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: self.retry_backoff,
            backoff_max: self.retry_backoff_max,
            multiplier: self.retry_multiplier,
            jitter: self.retry_jitter,
            max_retries: self.max_retries,
            auth_grace: self.auth_grace,
        }
    }
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        DispatcherConfig {
            queue_size: 10_000,
            worker_count: Auto::Auto,
            batch_size: 100,
            batch_timeout: Duration::from_secs(5),
            max_retries: Some(3),
            retry_backoff: Duration::from_secs(1),
            retry_backoff_max: Duration::from_secs(60),
            retry_multiplier: 2.0,
            retry_jitter: Jitter::Full,
            auth_grace: Duration::from_secs(3600),
            circuit_breaker: BreakerConfig::default(),
            drain_timeout: Duration::from_secs(30),
            backpressure: BackpressureConfig::default(),
            flow_control: FlowControlConfig::default(),
            worker_pool: WorkerPoolConfig::default(),
            dlq: DlqConfig::default(),
            rate_limit: None,
        }
    }
}

/// The workers together: how many there may be in the general pool, and the pools of specialised ones beside it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerPoolConfig {
    /// The least workers of the general pool; `auto`: one, or `worker_count` where that is written and `max_workers` not.
    #[serde(with = "units::threads_or_auto")]
    pub min_workers: Auto<usize>,
    /// The most; `auto`: `worker_count` if that is written, else it goes by the cores (see [`super::decide`]).
    #[serde(with = "units::threads_or_auto")]
    pub max_workers: Auto<usize>,
    /// How long a worker that has nothing to do is kept.
    #[serde(with = "units::positive_duration")]
    pub idle_timeout: Duration,
    /// Entries worked on and not yet back in order; never less than two blocks per worker.
    #[serde(with = "units::count")]
    pub queue_size: usize,
    /// Whether each pool has histograms of how long blocks wait and are worked on.
    pub enable_metrics: bool,
    /// Pools of workers for certain pipelines, each with a ring of its own.
    pub pools: Pairs<PoolConfig>,
}

impl Default for WorkerPoolConfig {
    fn default() -> Self {
        WorkerPoolConfig {
            min_workers: Auto::Auto,
            max_workers: Auto::Auto,
            idle_timeout: Duration::from_secs(300),
            queue_size: 1000,
            enable_metrics: true,
            pools: Pairs::default(),
        }
    }
}

/// Specialised workers: a pool with a ring of its own, for the pipelines that name it or need what it can.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// How many: a number, or from `min` to `max` as the load wants.
    pub workers: PoolWorkers,
    /// Their cores, one each in turn: a list of core ids; `auto` and `[]` bind them to none.
    #[serde(with = "cores")]
    pub cores: Auto<Vec<usize>>,
    /// What pipelines can ask for with `needs`, in any words.
    pub capabilities: Vec<String>,
}

/// How many workers a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolWorkers {
    /// The least, and how many at the start.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl Default for PoolWorkers {
    fn default() -> Self {
        PoolWorkers { min: 1, max: 1 }
    }
}

impl<'de> Deserialize<'de> for PoolWorkers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer};

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Range {
            #[serde(deserialize_with = "units::threads")]
            min: usize,
            #[serde(deserialize_with = "units::threads")]
            max: usize,
        }
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = PoolWorkers;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a whole number from 1 to 256, or a map of `min` and `max`")
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<PoolWorkers, E> {
                match usize::try_from(count) {
                    Ok(count @ 1..=256) => Ok(PoolWorkers { min: count, max: count }),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(count), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PoolWorkers, A::Error> {
                let Range { min, max } = Range::deserialize(MapAccessDeserializer::new(map))?;
                Ok(PoolWorkers { min, max })
            }
        }
        deserializer.deserialize_any(Count)
    }
}

impl Serialize for PoolWorkers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.min == self.max {
            true => serializer.serialize_u64(self.min as u64),
            false => serializer.collect_map([("min", self.min), ("max", self.max)]),
        }
    }
}

/// Hard budgets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotasConfig {
    /// Most resident memory; `auto` goes by the memory of the host or its cgroup (see [`super::decide`]).
    #[serde(with = "units::size_or_auto")]
    pub max_memory: Auto<usize>,
    /// Most threads; a config that comes to more is refused.
    #[serde(with = "units::count_or_off")]
    pub max_threads: Option<usize>,
    /// Most open file descriptors; connections and files share what is left of them.
    #[serde(with = "units::count_or_off")]
    pub max_fds: Option<usize>,
    /// How much CPU the whole process may use, in hundredths of a core.
    #[serde(with = "units::cores_or_off")]
    pub cpu_limit: Option<u32>,
}

/// The cores of each kind of thread: a list of core ids, `[]` to pin nothing, `auto` to let the program decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AffinityConfig {
    /// The thread of the sockets.
    #[serde(with = "cores")]
    pub intake: Auto<Vec<usize>>,
    /// The threads that read files.
    #[serde(with = "cores")]
    pub readers: Auto<Vec<usize>>,
    /// The workers, each on one core of the list in turn.
    #[serde(with = "cores")]
    pub workers: Auto<Vec<usize>>,
    /// The threads that deliver.
    #[serde(with = "cores")]
    pub senders: Auto<Vec<usize>>,
}

mod cores {
    use super::*;
    use serde::de::{Error, SeqAccess, Unexpected, Visitor};
    use std::fmt;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Auto<Vec<usize>>, D::Error> {
        struct Cores;
        impl<'de> Visitor<'de> for Cores {
            type Value = Auto<Vec<usize>>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`auto` or a list of core ids such as `[0, 1]`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "auto" => Ok(Auto::Auto),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut cores = Vec::new();
                while let Some(core) = items.next_element()? {
                    cores.push(core);
                }
                Ok(Auto::Set(cores))
            }
        }
        deserializer.deserialize_any(Cores)
    }

    pub fn serialize<S: Serializer>(cores: &Auto<Vec<usize>>, serializer: S) -> Result<S::Ok, S::Error> {
        match cores {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Set(cores) => cores.serialize(serializer),
        }
    }
}
