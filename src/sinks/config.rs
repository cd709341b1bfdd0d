//! What every sink can be told, the catalog of sink types, and the keys of `file`, `console` and `blackhole`.
//!
//! A new type is one struct and one line in each part of [`SinkKind`].

use std::path::Path;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::custom::CustomSink;
pub use super::file::Fsync;
pub use super::file::rotate::{Compress, RotateConfig};
pub use super::format::Format;
pub use super::http::config::HttpSinkConfig;
pub use super::loki::config::LokiSinkConfig;
pub use super::patience::{BreakerConfig, BreakerKeys, FALLBACK_AFTER, Jitter, RetryConfig, RetryKeys};
use crate::buffer::config::BufferConfig;
use crate::units::{self, Auto};

/// The keys of every sink, as written; absent ones take their value from `dispatcher` or from the default named here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkKeys {
    /// `false` leaves the sink out as if it were not written.
    pub enabled: bool,
    /// An expression; only entries for which it holds go to this sink.
    pub when: Option<String>,
    /// Limits of one batch.
    pub batch: BatchKeys,
    /// Most batches out at once (`auto` for sinks that send requests, 1 for others).
    #[serde(deserialize_with = "units::optional_threads_or_auto")]
    pub concurrency: Option<Auto<usize>>,
    /// Whether the order within a stream is kept (`stream`).
    pub ordering: Ordering,
    /// How long it is borne with; absent keys: as `dispatcher.retry_...`, `max_retries` and `auth_grace` say.
    pub retry: RetryKeys,
    /// Where its entries wait (`type: memory`).
    pub buffer: BufferConfig,
    /// When it is left alone; absent keys: as `dispatcher.circuit_breaker` says.
    pub circuit_breaker: BreakerKeys,
    /// The sink that takes its entries while it is out of reach for long.
    pub fallback: Option<String>,
    /// How long it must have been so (1m).
    #[serde(with = "units::optional_duration")]
    pub fallback_after: Option<Duration>,
}

impl Default for SinkKeys {
    fn default() -> Self {
        SinkKeys {
            enabled: true,
            when: None,
            batch: BatchKeys::default(),
            concurrency: None,
            ordering: Ordering::Stream,
            retry: RetryKeys::default(),
            buffer: BufferConfig::default(),
            circuit_breaker: BreakerKeys::default(),
            fallback: None,
            fallback_after: None,
        }
    }
}

/// Limits of one batch, as written in a sink.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchKeys {
    /// Most entries in a batch (10000).
    #[serde(with = "units::optional_count")]
    pub max_entries: Option<usize>,
    /// Most bytes of text in a batch (1MiB).
    #[serde(with = "units::optional_size")]
    pub max_bytes: Option<usize>,
}

/// What order a sink's batches keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Entries of one stream arrive in their order.
    Stream,
    /// Any sender takes anything, for destinations that sort by time themselves.
    None,
}

/// The types of sinks with their own keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// Files named by a template.
    File(FileSinkConfig),
    /// Grafana Loki.
    Loki(Box<LokiSinkConfig>),
    /// Any HTTP endpoint.
    Http(Box<HttpSinkConfig>),
    /// The standard output.
    Console(ConsoleSinkConfig),
    /// Counts and forgets, for measuring.
    Blackhole(BlackholeSinkConfig),
    /// What a program that uses the library brought along; no config file can name it.
    Custom(CustomSink),
}

impl SinkKind {
    /// The names of all types, as `type:` knows them.
    pub const TYPES: &'static [&'static str] = &["file", "loki", "http", "console", "blackhole"];

    /// Reads the keys of the type called `name`; an unknown name is an unknown variant.
    pub fn read<'de, D: Deserializer<'de>>(name: &str, keys: D) -> Result<Self, D::Error> {
        match name {
            "file" => FileSinkConfig::deserialize(keys).map(Self::File),
            "loki" => LokiSinkConfig::deserialize(keys).map(|loki| Self::Loki(Box::new(loki))),
            "http" => HttpSinkConfig::deserialize(keys).map(|http| Self::Http(Box::new(http))),
            "console" => ConsoleSinkConfig::deserialize(keys).map(Self::Console),
            "blackhole" => BlackholeSinkConfig::deserialize(keys).map(Self::Blackhole),
            unknown => Err(D::Error::unknown_variant(unknown, Self::TYPES)),
        }
    }

    /// The name `type:` knows it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Loki(_) => "loki",
            Self::Http(_) => "http",
            Self::Console(_) => "console",
            Self::Blackhole(_) => "blackhole",
            Self::Custom(sink) => sink.0.kind(),
        }
    }

    /// How many batches may be out where nobody said: one at a time for what is in this house, for that is fastest; as many as
    /// help for what answers from elsewhere.
    pub fn concurrency(&self) -> Auto<usize> {
        match self {
            Self::Loki(_) | Self::Http(_) => Auto::Auto,
            _ => Auto::Set(1),
        }
    }

    /// Keys that do not fit together: the key, what is wrong, what would be right.
    pub fn problem(&self) -> Option<(&'static str, String, String)> {
        match self {
            Self::Loki(loki) => loki.problem(),
            Self::Http(http) => http.problem(),
            _ => None,
        }
    }

    /// The longest that one request may take; zero where the sink makes none.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Loki(loki) => loki.timeout,
            Self::Http(http) => http.timeout,
            _ => Duration::ZERO,
        }
    }

    /// The values that are patterns, each with the keys that lead to it.
    pub fn patterns(&self) -> Vec<(Vec<&str>, &str)> {
        match self {
            Self::Loki(loki) => loki.patterns(),
            Self::Http(http) => http.patterns(),
            _ => Vec::new(),
        }
    }
}

/// Files named by a template, appended to.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSinkConfig {
    /// A template such as `./data/out/{source}/{date}.log`. The directories before the first `{` are the base
    /// directory, which no rendered name can leave.
    #[serde(deserialize_with = "file_path")]
    pub path: String,
    /// How an entry is written.
    #[serde(default = "raw")]
    pub format: Format,
    /// Most files open at once; the one unused for longest is closed first.
    #[serde(default = "open_files", with = "units::count")]
    pub open_files: usize,
    /// When what was written is forced to the disk.
    #[serde(default)]
    pub fsync: Fsync,
    /// Most different files written to within an hour; entries for further ones go to `__overflow__` in the base
    /// directory.
    #[serde(default = "max_files", with = "units::count")]
    pub max_files: usize,
    /// When files are rotated, and which rotated ones are kept; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<RotateConfig>,
}

impl FileSinkConfig {
    /// The file at this path, a template, with the defaults of everything else.
    pub fn at(path: &str) -> Self {
        FileSinkConfig {
            path: path.into(),
            format: raw(),
            open_files: open_files(),
            fsync: Fsync::default(),
            max_files: max_files(),
            rotate: None,
        }
    }

    /// The base directory: all of the path up to the last `/` before the first `{`, `.` when there is none.
    pub fn base(&self) -> &Path {
        let literal = self.path.split('{').next().unwrap_or("");
        match literal.rfind('/') {
            Some(0) => Path::new("/"),
            Some(slash) => Path::new(&literal[..slash]),
            None => Path::new("."),
        }
    }
}

/// Lines on the standard output.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleSinkConfig {
    /// How an entry is written.
    pub format: Format,
}

impl Default for ConsoleSinkConfig {
    fn default() -> Self {
        ConsoleSinkConfig { format: Format::Text }
    }
}

/// Counts and forgets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlackholeSinkConfig {}

fn raw() -> Format {
    Format::Raw
}

fn open_files() -> usize {
    128
}

fn max_files() -> usize {
    10_000
}

fn file_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(D::Error::custom("expected the path of a file such as `./data/out/{source}/{date}.log`"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_the_part_of_the_path_that_no_entry_can_change() {
        let cases = [
            ("./data/out/{source}/{date}.log", "./data/out"),
            ("/srv/logs/app-{date}.log", "/srv/logs"),
            ("/{source}", "/"),
            ("{source}.log", "."),
            ("all.log", "."),
            ("out/all.log", "out"),
        ];
        for (path, base) in cases {
            let config = FileSinkConfig {
                path: path.into(),
                format: Format::Raw,
                open_files: 1,
                fsync: Fsync::None,
                max_files: 1,
                rotate: None,
            };
            assert_eq!(config.base(), Path::new(base), "{path}");
        }
    }
}
