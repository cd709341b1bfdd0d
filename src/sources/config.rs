//! What every source can be told, the catalog of source types, and the keys of `stdin`.
//!
//! A new type is one struct beside its source and one line in each part of [`SourceKind`].

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::docker::config::DockerSourceConfig;
use super::file::config::FileSourceConfig;
use super::http::config::HttpSourceConfig;
pub use super::inlet::Strategy;
use super::loki::config::LokiSourceConfig;
use super::multiline::config::{MultilineConfig, multiline};
use super::rate::config::RateLimitConfig;
use super::socket::config::SocketSourceConfig;
use super::submit::SubmitSourceConfig;
use super::syslog::config::SyslogSourceConfig;
use crate::units::{self, Pairs};

/// The keys of every source, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceKeys {
    /// The pipeline its entries go through; none: they go to the sinks as they came.
    pub pipeline: Option<String>,
    /// Labels every entry of this source carries.
    pub labels: Pairs<String>,
    /// What this source does when it cannot go on; absent: as `dispatcher.backpressure.strategy` says.
    pub strategy: Option<Strategy>,
    /// How fast its entries may come; absent: as fast as `dispatcher.rate_limit` lets all of them.
    pub rate_limit: Option<RateLimitConfig>,
}

/// The types of sources with their own keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Files found by globs.
    File(FileSourceConfig),
    /// What containers say, asked of their engine.
    Docker(DockerSourceConfig),
    /// Syslog over TCP, TLS, UDP and unix sockets.
    Syslog(SyslogSourceConfig),
    /// Entries in the bodies of HTTP requests.
    Http(HttpSourceConfig),
    /// What clients of Loki push.
    Loki(LokiSourceConfig),
    /// Messages of any kind over TCP, TLS, UDP and unix sockets.
    Socket(SocketSourceConfig),
    /// Lines on the standard input.
    Stdin(StdinSourceConfig),
    /// What a program that uses the library submits; no config file can name it.
    Submit(SubmitSourceConfig),
}

impl SourceKind {
    /// The names of all types, as `type:` knows them.
    pub const TYPES: &'static [&'static str] =
        &["file", "docker", "syslog", "socket", "http", "loki", "stdin"];

    /// The same, and what only programs have.
    pub const ALL_TYPES: &'static [&'static str] =
        &["file", "docker", "syslog", "socket", "http", "loki", "stdin", "submit"];

    /// Reads the keys of the type called `name`; an unknown name is an unknown variant.
    pub fn read<'de, D: Deserializer<'de>>(name: &str, keys: D) -> Result<Self, D::Error> {
        match name {
            "file" => FileSourceConfig::deserialize(keys).map(Self::File),
            "docker" => DockerSourceConfig::deserialize(keys).map(Self::Docker),
            "syslog" => SyslogSourceConfig::deserialize(keys).map(Self::Syslog),
            "http" => HttpSourceConfig::deserialize(keys).map(Self::Http),
            "loki" => LokiSourceConfig::deserialize(keys).map(Self::Loki),
            "socket" => SocketSourceConfig::deserialize(keys).map(Self::Socket),
            "stdin" => StdinSourceConfig::deserialize(keys).map(Self::Stdin),
            unknown => Err(D::Error::unknown_variant(unknown, Self::TYPES)),
        }
    }

    /// The name `type:` knows it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Docker(_) => "docker",
            Self::Syslog(_) => "syslog",
            Self::Http(_) => "http",
            Self::Loki(_) => "loki",
            Self::Socket(_) => "socket",
            Self::Stdin(_) => "stdin",
            Self::Submit(_) => "submit",
        }
    }
}

/// Lines on the standard input, until it ends.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StdinSourceConfig {
    /// Longest line in bytes; a longer one is cut there and marked.
    #[serde(with = "units::line_size")]
    pub max_line: usize,
    /// Which lines are one event; absent: each is one.
    #[serde(deserialize_with = "multiline", skip_serializing_if = "Option::is_none")]
    pub multiline: Option<MultilineConfig>,
}

impl Default for StdinSourceConfig {
    fn default() -> Self {
        StdinSourceConfig { max_line: 256 << 10, multiline: None }
    }
}
