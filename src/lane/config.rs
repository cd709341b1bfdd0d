//! What a lane is told: the `dispatcher` keys about batches and pressure, with what its sink overrides.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::batcher::InFlightLimits;
use crate::buffer::config::BufferConfig;
use crate::sinks::config::{BreakerConfig, Ordering, RetryConfig};
use crate::sources::config::Strategy;
use crate::units;

/// Everything one lane is told, all keys resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneConfig {
    /// Limits of one batch.
    pub batch: BatchConfig,
    /// Most batches out at once.
    pub concurrency: Concurrency,
    /// Whether the order within a stream is kept.
    pub ordering: Ordering,
    /// How long its sink is borne with.
    pub retry: RetryConfig,
    /// Where entries wait.
    pub buffer: BufferConfig,
    /// When its sink is left alone.
    pub circuit_breaker: BreakerConfig,
    /// The sink that takes its entries while its own is out of reach for long.
    pub fallback: Option<String>,
    /// How long its own must have been so.
    #[serde(with = "units::duration")]
    pub fallback_after: Duration,
    /// From `dispatcher.batch_timeout`: longest an entry waits for company.
    #[serde(skip)]
    pub batch_timeout: Duration,
    /// From `dispatcher.backpressure`.
    #[serde(skip)]
    pub backpressure: BackpressureConfig,
    /// From `dispatcher.flow_control`.
    #[serde(skip)]
    pub flow_control: FlowControlConfig,
}

/// How many batches may be out at once. With flow control fewer are while a sink suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as help, beginning with one, so many at most.
    Auto(usize),
    /// So many at first and at most.
    Set(usize),
}

impl Concurrency {
    /// Most batches out at once where nobody said how many. Eight times what one request carries was enough in every
    /// scenario of docs/flow-control.md, and each costs a thread.
    pub const AUTO_MOST: usize = 8;

    /// Most batches out at once, and senders.
    pub fn most(self) -> usize {
        match self {
            Concurrency::Auto(most) | Concurrency::Set(most) => most,
        }
    }

    /// The bounds for the batcher.
    pub fn limits(self) -> InFlightLimits {
        let start = if matches!(self, Concurrency::Auto(_)) { 1 } else { self.most() };
        InFlightLimits { start, most: self.most() }
    }
}

impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Concurrency::Auto(_) => serializer.serialize_str("auto"),
            Concurrency::Set(most) => serializer.serialize_u64(*most as u64),
        }
    }
}

/// Limits of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchConfig {
    /// Entries in a batch: the fixed size without flow control, where adaptation starts with it. Never more than
    /// `max_entries`.
    #[serde(skip)]
    pub size: usize,
    /// Most entries in a batch.
    pub max_entries: usize,
    /// Most bytes of text in a batch; a single entry that is larger goes alone.
    #[serde(with = "units::size")]
    pub max_bytes: usize,
}

impl BatchConfig {
    /// Most entries in a batch where the sink does not say.
    pub const MAX_ENTRIES: usize = 10_000;
    /// Most bytes in a batch where the sink does not say. A batch waits until it is full while others are sent: with
    /// 4 MiB its text had left the caches by then, and writing a file cost up to half more. A quarter of what a file may
    /// have on its way, so that its reader need not stop while a batch is out.
    pub const MAX_BYTES: usize = 1 << 20;

    /// What a sender that makes a request of it takes beside its blocks: the body, and the same packed. In bytes.
    pub fn request_memory(&self) -> usize {
        2 * self.max_bytes
    }
}

/// When sources are told that there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackpressureConfig {
    /// `false`: no watermarks; sources block when the queue is full.
    pub enabled: bool,
    /// The share of a queue at which its sources are told to stop.
    #[serde(deserialize_with = "units::share")]
    pub high_watermark: f64,
    /// The share of a queue at which they are told to go on.
    #[serde(deserialize_with = "units::share")]
    pub low_watermark: f64,
    /// What sources do that cannot go on and have no `strategy` of their own.
    pub strategy: Strategy,
}

impl BackpressureConfig {
    /// What sources do that have no `strategy` of their own: they block where backpressure is off.
    pub fn in_force(&self) -> Strategy {
        if self.enabled { self.strategy } else { Strategy::Block }
    }
}

impl Default for BackpressureConfig {
    fn default() -> Self {
        BackpressureConfig {
            enabled: true,
            high_watermark: 0.8,
            low_watermark: 0.6,
            strategy: Strategy::Block,
        }
    }
}

/// Adaptive batching and requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowControlConfig {
    /// `false`: `batch_size` and `batch_timeout` exactly.
    pub enabled: bool,
    /// The time one request should take.
    #[serde(with = "units::positive_duration")]
    pub target_latency: Duration,
    /// How far one answer moves the batch size.
    #[serde(deserialize_with = "units::share")]
    pub adjustment_factor: f64,
}

impl Default for FlowControlConfig {
    fn default() -> Self {
        FlowControlConfig {
            enabled: true,
            target_latency: Duration::from_millis(100),
            adjustment_factor: 0.1,
        }
    }
}
