//! What a source of frames is told by its config.

use super::listen::Listen;
use crate::labels::{Labels, SourceId};
use crate::pool::Allowance;
use crate::tls::{ServerTls, ServerTlsKeys};
use std::sync::Arc;
use std::time::Duration;

/// What a source of frames is told by its config.
#[derive(Clone)]
pub struct Settings {
    /// The source's number.
    pub source: SourceId,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// What those are that listen with TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// A TLS handshake that takes longer is broken off.
    pub handshake_timeout: Duration,
    /// The mode of the files of unix sockets.
    pub socket_mode: u32,
    /// Most connections at once; further ones are closed at once and counted.
    pub max_connections: usize,
    /// How many of these may be open now; further ones wait outside.
    pub open: Allowance,
    /// Most connections of one address at once. IPv6 peers count by their /64, as one host can have all of it; processes
    /// of this host count as one address.
    pub max_connections_per_address: usize,
    /// A connection that completes no message for this long is closed. Zero: never.
    pub idle_timeout: Duration,
    /// Longest message in bytes; a longer one is cut or refused, as the framing says.
    pub max_message: usize,
    /// Most memory for unfinished messages, all connections together, in bytes.
    pub partial_memory: usize,
    /// The receive buffer to ask for at each UDP socket, in bytes.
    pub receive_buffer: usize,
    /// What a datagram holds.
    pub datagrams: Datagram,
    /// The labels every entry has.
    pub labels: Labels,
}

/// What a datagram holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Datagram {
    /// One message, whatever is in it.
    #[default]
    Message,
    /// Lines, each a message.
    Lines,
}

/// Reads the certificate that the source called `name` listens with, if it has one.
///
/// Errors name the source and the file.
pub fn load_tls(keys: Option<&ServerTlsKeys>, name: &str) -> Result<Option<Arc<ServerTls>>, String> {
    let owner = format!("source {name}");
    let load = |keys| ServerTls::load(keys, &owner).map_err(|why| format!("{owner}: tls: {why}"));
    keys.map(load).transpose()
}
