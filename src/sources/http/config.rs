//! The keys of the `http` source.

use super::service::HttpService;
use crate::auth::Auth;
use crate::http::Patience;
use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::sources::body::inflate::InflateLimits;
use crate::sources::net::http::{HttpSettings, Promise};
use crate::sources::net::listen::{Listen, listen_some};
use crate::sources::net::settings::load_tls;
use crate::tls::ServerTlsKeys;
use crate::units::{self, Auto, Pairs};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// Entries in the bodies of HTTP requests: NDJSON, JSON, lines.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSourceConfig {
    /// Where to listen: `tcp://127.0.0.1:8480`, `tls://0.0.0.0:8443`, `unix:///run/ringmain.sock`; at least one.
    #[serde(deserialize_with = "listen_some")]
    pub listen: Vec<Listen>,
    /// The certificate for `tls://` addresses, its key, and whom clients must be known to.
    pub tls: Option<ServerTlsKeys>,
    /// Who may send: `{ username, password }` or `{ bearer }`; everyone, without.
    pub auth: Option<Auth>,
    /// The paths that are posted to, and the format of what is.
    #[serde(default = "paths", deserialize_with = "some_paths")]
    pub paths: Pairs<Format>,
    /// Labels, and the headers of requests whose values they get.
    #[serde(default)]
    pub header_labels: Pairs<String>,
    /// When a request is answered with success: `delivered` when all its sinks have its entries, `persisted` when each has
    /// them or its buffer on disk does, `accepted` when they are in the queue. Absent: `persisted` if any sink has a buffer
    /// on disk, else `delivered`.
    #[serde(default)]
    pub ack: Option<Promise>,
    /// Longest a request waits for that; then it is answered with 503, and its entries may still be delivered.
    #[serde(default = "ack_timeout", with = "units::positive_duration")]
    pub ack_timeout: Duration,
    /// Longest entry in bytes. A longer line of text is cut there and marked; longer JSON is refused.
    #[serde(default = "max_entry", with = "units::line_size")]
    pub max_entry: usize,
    /// Longest body as it is sent.
    #[serde(default = "max_body", with = "units::size")]
    pub max_body: usize,
    /// Longest body once it is unpacked.
    #[serde(default = "max_inflated", with = "units::size")]
    pub max_inflated: usize,
    /// Most memory for bodies as they are sent, all requests together.
    #[serde(default = "body_memory", with = "units::size")]
    pub body_memory: usize,
    /// Threads that unpack and read bodies; `auto`: one for four cores, up to four.
    #[serde(default, with = "units::threads_or_auto")]
    pub decoders: Auto<usize>,
    /// Who may connect to unix sockets: the mode of their files, in octal.
    #[serde(default = "socket_mode", with = "units::file_mode")]
    pub socket_mode: u32,
    /// Most connections at once; further ones are answered with 503.
    #[serde(default = "max_connections", with = "units::count")]
    pub max_connections: usize,
    /// Most connections of one address at once; further ones are answered with 429.
    #[serde(default = "max_connections_per_address", with = "units::count")]
    pub max_connections_per_address: usize,
    /// Longest from the first byte of a request's head to its last, for a TLS handshake, and before the rate of a body is
    /// looked at.
    #[serde(default = "header_timeout", with = "units::positive_duration")]
    pub header_timeout: Duration,
    /// Least bytes per second of a body, on average.
    #[serde(default = "min_body_rate", with = "units::size")]
    pub min_body_rate: usize,
    /// Longest pause between two requests of a connection.
    #[serde(default = "idle_timeout", with = "units::positive_duration")]
    pub idle_timeout: Duration,
}

/// How entries are written in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// As its `Content-Type` says.
    Auto,
    /// A JSON object or string a line.
    Ndjson,
    /// An array of them, or one after the other.
    Json,
    /// A line each.
    Lines,
}

impl HttpSourceConfig {
    /// What the source called `name`, of the number `source`, is told. Reads the files of its `tls`.
    ///
    /// Errors name the source and the file.
    pub fn settings(&self, name: &str, source: SourceId, labels: Labels) -> Result<HttpSettings, String> {
        Ok(HttpSettings {
            source,
            kind: "http",
            listen: self.listen.clone(),
            tls: load_tls(self.tls.as_ref(), name)?,
            socket_mode: self.socket_mode,
            max_connections: self.max_connections,
            open: Allowance::default(),
            max_connections_per_address: self.max_connections_per_address,
            patience: Patience {
                head: self.header_timeout,
                body_grace: self.header_timeout,
                body_rate: self.min_body_rate as u64,
                idle: self.idle_timeout,
                ..Patience::default()
            },
            auth: self.auth.clone(),
            limits: InflateLimits {
                wire: self.max_body,
                inflated: self.max_inflated,
                ..InflateLimits::default()
            },
            body_memory: self.body_memory,
            max_entry: self.max_entry,
            promise: self.ack.unwrap_or_default(),
            promise_timeout: self.ack_timeout,
            decoders: decoders(&self.decoders),
            labels,
        })
    }

    /// What is made of requests.
    pub fn service(&self) -> HttpService {
        HttpService { paths: self.paths.0.clone(), header_labels: self.header_labels.0.clone() }
    }
}

/// How many decode threads: as written, or by the cores there are.
pub fn decoders(written: &Auto<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, |count| count.get());
    written.set().copied().unwrap_or_else(|| (cores() / 4).clamp(1, 4))
}

fn some_paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<Format>, D::Error> {
    let paths = Pairs::<Format>::deserialize(deserializer)?;
    let bad = |path: &str| {
        !path.starts_with('/')
            || !path.bytes().all(|byte| byte.is_ascii_graphic())
            || path.contains(['?', '#'])
    };
    if paths.0.is_empty() || paths.0.iter().any(|(path, _)| bad(path)) {
        return Err(serde::de::Error::custom(
            "expected paths such as `/` or `/lines`, without `?` or blanks",
        ));
    }
    Ok(paths)
}

fn paths() -> Pairs<Format> {
    Pairs(vec![("/".into(), Format::Auto)])
}

pub(in crate::sources) fn ack_timeout() -> Duration {
    Duration::from_secs(30)
}

pub(in crate::sources) fn max_entry() -> usize {
    256 << 10
}

pub(in crate::sources) fn max_body() -> usize {
    InflateLimits::default().wire
}

pub(in crate::sources) fn max_inflated() -> usize {
    InflateLimits::default().inflated
}

pub(in crate::sources) fn body_memory() -> usize {
    64 << 20
}

pub(in crate::sources) fn socket_mode() -> u32 {
    0o660
}

pub(in crate::sources) fn max_connections() -> usize {
    4096
}

pub(in crate::sources) fn max_connections_per_address() -> usize {
    1024
}

pub(in crate::sources) fn header_timeout() -> Duration {
    Patience::default().head
}

pub(in crate::sources) fn min_body_rate() -> usize {
    Patience::default().body_rate as usize
}

pub(in crate::sources) fn idle_timeout() -> Duration {
    Patience::default().idle
}
