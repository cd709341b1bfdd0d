//! HTTP on the intake thread: connections in, requests to the decode threads, answers back.
//!
//! The [`server`] is a [`Member`](super::Member) of the intake. It moves bytes only: heads are judged by [`admission`]
//! (who asks, for what, and whether there is room), bodies are gathered within [`memory`] and handed, whole, to the
//! [`decode`] thread of their connection. There they are inflated, read into blocks and shipped; when a request's
//! entries have become what its source promises ([`Promise`]), its answer goes back over a queue.
//!
//! A request is refused for want of room at its head, before its body is sent, or not at all: one that was admitted
//! may wait, and its sender with it, but is taken.
//! A source that changes goes on with its connections ([`change`]); each request is served under the [`Terms`] it came under.
//! Not here: the protocol (see [`crate::http`]), what bodies hold (see [`super::super::body`]), and what a source makes
//! of paths and types ([`Service`], implemented beside each source's config).

pub mod admission;
pub mod change;
mod client;
mod clients;
pub mod decode;
mod desk;
pub mod memory;
mod requests;
pub mod server;
mod service;
mod terms;
mod writer;

pub use requests::Who;
pub use server::HttpServer;
pub use service::{NoStreams, Outcome, Reading, Service, Streams};
pub use terms::Terms;

use crate::auth::Auth;
use crate::http::{Patience, Response};
use crate::labels::{Labels, SourceId, Stream};
use crate::pool::Allowance;
use crate::pool::Charge;
use crate::sources::body::inflate::InflateLimits;
use crate::sources::net::listen::Listen;
use crate::tls::ServerTls;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most requests of one source that are being received or wait for their answer; further ones are told to come later.
pub const REQUESTS_MAX: usize = 4096;

/// When a request is answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// When its entries are in the queue: a crash of this process, or a sink that loses them, goes unnoticed.
    Accepted,
    /// When every sink they go to has them: delivered, or in its buffer on disk.
    Persisted,
    /// When they are delivered to every sink they go to.
    #[default]
    Delivered,
}

/// What a source of requests is told by its config.
#[derive(Clone)]
pub struct HttpSettings {
    /// The source's number.
    pub source: SourceId,
    /// The source's type.
    pub kind: &'static str,
    /// Where to listen: for connections, so no datagrams.
    pub listen: Vec<Listen>,
    /// What those are that listen with TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// The mode of the files of unix sockets.
    pub socket_mode: u32,
    /// Most connections at once.
    pub max_connections: usize,
    /// How many of these may be open now; further ones wait outside.
    pub open: Allowance,
    /// Most connections of one address at once.
    pub max_connections_per_address: usize,
    /// How long each state of a connection may last.
    pub patience: Patience,
    /// Whom to let send; everyone, without.
    pub auth: Option<Auth>,
    /// What a body may cost.
    pub limits: InflateLimits,
    /// Most memory for bodies as they were sent, all requests together, in bytes.
    pub body_memory: usize,
    /// Longest entry, in bytes.
    pub max_entry: usize,
    /// When to answer.
    pub promise: Promise,
    /// How long an answer may wait for that.
    pub promise_timeout: Duration,
    /// How many threads read bodies.
    pub decoders: usize,
    /// The labels every entry has.
    pub labels: Labels,
}

/// A request that has come whole, on its way to its decode thread.
pub struct Job {
    /// Whose it is.
    pub who: Who,
    /// What is to be made of it.
    pub reading: Reading,
    /// Its body, as it was sent.
    pub body: Vec<u8>,
    /// What the body is charged to.
    pub charge: Option<Charge>,
    /// Whose entries it brings.
    pub stream: Arc<Stream>,
    /// When its last byte came.
    pub arrived: Instant,
    /// What it came under.
    pub terms: Arc<Terms>,
}

/// An answer on its way back.
pub struct Answer {
    /// To whom.
    pub who: Who,
    /// What.
    pub response: Response,
}
